//! Subscriptions.

use std::collections::HashMap;

use credit_pools_domain::{Amount, Instant};
use serde_json::Value;

use super::spi::{Arg, Row, Statement};

pub struct Subscription {
    pub subscription_id: String,
    pub resource_id: String,
    pub plan_id: String,
    pub active: bool,
    pub starts_at: Instant,
    pub ends_at: Instant,
    pub time_zone: String,
    /// JSON values as PostgreSQL prints them.
    pub quantities: Option<String>,
    pub rate_overrides: Option<String>,
    pub amount_overrides: Option<String>,
    pub metadata: Option<String>,
    pub revision: i64,
}

impl Subscription {
    /// The subscription's own rates by feature. They were checked when they were set.
    pub fn rates(&self) -> HashMap<String, Amount> {
        amounts(self.rate_overrides.as_deref()).collect()
    }
}

/// An object of numbers, as the extension keeps it.
pub fn amounts(json: Option<&str>) -> impl Iterator<Item = (String, Amount)> {
    let object = json.and_then(|text| serde_json::from_str::<serde_json::Map<String, Value>>(text).ok());
    object.into_iter().flatten().filter_map(|(key, value)| Some((key, Amount::parse(&value.to_string()).ok()?)))
}

macro_rules! subscription_columns {
    () => {
        "s.subscription_id, s.resource_id, s.plan_id, s.status = 'active', s.starts_at, s.ends_at, s.time_zone,
         s.quantities::text, s.rate_overrides::text, s.amount_overrides::text, s.metadata::text, s.revision"
    };
}

fn read(row: &Row) -> Subscription {
    Subscription {
        subscription_id: row.text(1).unwrap_or_default(),
        resource_id: row.text(2).unwrap_or_default(),
        plan_id: row.text(3).unwrap_or_default(),
        active: row.boolean(4),
        starts_at: row.time(5).unwrap_or(Instant::INFINITY),
        ends_at: row.time(6).unwrap_or(Instant::INFINITY),
        time_zone: row.text(7).unwrap_or_default(),
        quantities: row.text(8),
        rate_overrides: row.text(9),
        amount_overrides: row.text(10),
        metadata: row.text(11),
        revision: row.int(12).unwrap_or_default(),
    }
}

/// The scope's subscription of status active; by the clock it may have ended or not yet begun.
pub fn of_scope(customer_id: &str, resource_id: &str) -> Option<Subscription> {
    static FIND: Statement = Statement::new(concat!(
        "SELECT ",
        subscription_columns!(),
        " FROM credit_pools.subscription s
          WHERE s.customer_id = $1 AND s.resource_id = $2 AND s.status = 'active'"
    ));
    FIND.first(&[Arg::Text(customer_id), Arg::Text(resource_id)], read)
}

pub fn by_id(customer_id: &str, subscription_id: &str) -> Option<Subscription> {
    static FIND: Statement = Statement::new(concat!(
        "SELECT ",
        subscription_columns!(),
        " FROM credit_pools.subscription s WHERE s.customer_id = $1 AND s.subscription_id = $2"
    ));
    FIND.first(&[Arg::Text(customer_id), Arg::Text(subscription_id)], read)
}

/// Writes a new subscription, or the new state of an old one.
pub fn put(customer_id: &str, subscription: &Subscription, now: Instant) {
    static PUT: Statement = Statement::new(
        "INSERT INTO credit_pools.subscription AS s
             (customer_id, subscription_id, resource_id, plan_id, status, starts_at, ends_at, time_zone, quantities,
              rate_overrides, amount_overrides, metadata, revision, created_at, updated_at)
         VALUES ($1, $2, $3, $4, 'active', $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)
         ON CONFLICT (customer_id, subscription_id) DO UPDATE SET
             plan_id = excluded.plan_id, ends_at = excluded.ends_at, quantities = excluded.quantities,
             rate_overrides = excluded.rate_overrides, amount_overrides = excluded.amount_overrides,
             metadata = excluded.metadata, revision = excluded.revision, updated_at = excluded.updated_at",
    );
    PUT.run(&[
        Arg::Text(customer_id),
        Arg::Text(&subscription.subscription_id),
        Arg::Text(&subscription.resource_id),
        Arg::Text(&subscription.plan_id),
        Arg::Time(subscription.starts_at),
        Arg::Time(subscription.ends_at),
        Arg::Text(&subscription.time_zone),
        Arg::Json(subscription.quantities.as_deref()),
        Arg::Json(subscription.rate_overrides.as_deref()),
        Arg::Json(subscription.amount_overrides.as_deref()),
        Arg::Json(subscription.metadata.as_deref()),
        Arg::Int(subscription.revision),
        Arg::Time(now),
    ]);
}

/// A subscription whose end has passed makes room for the next one of its scope.
pub fn mark_ended(customer_id: &str, subscription_id: &str, now: Instant) {
    static END: Statement = Statement::new(
        "UPDATE credit_pools.subscription SET status = 'ended', updated_at = $3
         WHERE customer_id = $1 AND subscription_id = $2",
    );
    END.run(&[Arg::Text(customer_id), Arg::Text(subscription_id), Arg::Time(now)]);
}
