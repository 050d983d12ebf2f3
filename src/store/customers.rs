//! Customers and their resources. `resource_id` "" is the customer's global scope.

use credit_pools_domain::Instant;

use super::in_hand::{self, Thing};
use super::spi::{Arg, Statement};

pub fn exists(customer_id: &str) -> bool {
    static FIND: Statement = Statement::new("SELECT 1 FROM credit_pools.customer WHERE customer_id = $1");
    FIND.run(&[Arg::Text(customer_id)]) > 0
}

pub fn time_zone(customer_id: &str) -> Option<String> {
    static FIND: Statement = Statement::new("SELECT time_zone FROM credit_pools.customer WHERE customer_id = $1");
    FIND.first(&[Arg::Text(customer_id)], |row| row.text(1)).flatten()
}

pub fn resource_exists(customer_id: &str, resource_id: &str) -> bool {
    static FIND: Statement =
        Statement::new("SELECT 1 FROM credit_pools.resource WHERE customer_id = $1 AND resource_id = $2");
    FIND.run(&[Arg::Text(customer_id), Arg::Text(resource_id)]) > 0
}

/// Makes the customer, its global scope and the resource where they are missing.
pub fn ensure(customer_id: &str, resource_id: &str, time_zone: &str, now: Instant) {
    static CUSTOMER: Statement = Statement::new(
        "INSERT INTO credit_pools.customer (customer_id, time_zone, created_at) VALUES ($1, $2, $3)
         ON CONFLICT (customer_id) DO NOTHING",
    );
    static RESOURCE: Statement = Statement::new(
        "INSERT INTO credit_pools.resource (customer_id, resource_id, created_at) VALUES ($1, $2, $3)
         ON CONFLICT (customer_id, resource_id) DO NOTHING",
    );
    // The plain look first: on a table's unique index ON CONFLICT costs a failed insertion.
    if !exists(customer_id) {
        CUSTOMER.run(&[Arg::Text(customer_id), Arg::Text(time_zone), Arg::Time(now)]);
    }
    for scope in ["", resource_id] {
        if !resource_exists(customer_id, scope) {
            RESOURCE.run(&[Arg::Text(customer_id), Arg::Text(scope), Arg::Time(now)]);
        }
    }
}

/// Locks a scope against another change of its subscription or of its own recharge policy.
pub fn lock_scope(customer_id: &str, resource_id: &str) {
    static LOCK: Statement = Statement::new(
        "SELECT 1 FROM credit_pools.resource WHERE customer_id = $1 AND resource_id = $2 FOR NO KEY UPDATE",
    );
    LOCK.run(&[Arg::Text(customer_id), Arg::Text(resource_id)]);
    in_hand::take(Thing::Scope(customer_id.to_owned(), resource_id.to_owned()));
}

/// Keeps the customer's recharge policies as they are until the transaction ends. Shared with each other.
pub fn share_customer(customer_id: &str) {
    static CUSTOMER: Statement = Statement::new("SELECT 1 FROM credit_pools.customer WHERE customer_id = $1 FOR SHARE");
    CUSTOMER.run(&[Arg::Text(customer_id)]);
}

/// Keeps the customer's and the scope's recharge policies and the scope's subscription as they are until
/// the pool that is being opened is there. Openings share this lock with each other.
pub fn share_for_opening(customer_id: &str, resource_id: &str) {
    static SCOPE: Statement =
        Statement::new("SELECT 1 FROM credit_pools.resource WHERE customer_id = $1 AND resource_id = $2 FOR SHARE");
    share_customer(customer_id);
    SCOPE.run(&[Arg::Text(customer_id), Arg::Text(resource_id)]);
}

/// Locks out openings of pools of the whole customer, for a policy that covers them all. An update, not
/// only a lock, so that an opening at REPEATABLE READ with an older snapshot fails (40001) and does not
/// miss the policy.
pub fn lock_customer(customer_id: &str) {
    static LOCK: Statement =
        Statement::new("UPDATE credit_pools.customer SET created_at = created_at WHERE customer_id = $1");
    LOCK.run(&[Arg::Text(customer_id)]);
}

/// The scopes of a customer that have an active subscription at an instant, the global one as "".
pub fn subscribed_scopes(customer_id: &str, at: Instant) -> Vec<String> {
    static FIND: Statement = Statement::new(
        "SELECT resource_id FROM credit_pools.subscription
         WHERE customer_id = $1 AND status = 'active' AND starts_at <= $2 AND ends_at > $2
         ORDER BY resource_id LIMIT 4",
    );
    FIND.rows(&[Arg::Text(customer_id), Arg::Time(at)], |row| row.text(1).unwrap_or_default())
}
