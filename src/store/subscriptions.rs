//! Subscriptions.

use std::collections::HashMap;

use std::rc::Rc;

use credit_pools_domain::{Amount, Formula, Instant, Price, Zone};
use serde_json::{Map, Value};

use super::catalogue::PlanEntry;
use super::direct;
use super::spi::{Arg, Row, Statement};

pub struct Subscription {
    pub subscription_id: String,
    pub resource_id: String,
    pub plan_id: String,
    pub active: bool,
    pub starts_at: Instant,
    pub ends_at: Instant,
    /// When it was cancelled; its end may lie ahead.
    pub cancelled_at: Option<Instant>,
    /// What its plan granted ends with it.
    pub expires_credits: bool,
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
    pub fn rates(&self) -> HashMap<String, Price> {
        let object =
            self.rate_overrides.as_deref().and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
        object.into_iter().flatten().filter_map(|(feature, value)| Some((feature, price(&value)?))).collect()
    }

    pub fn amounts(&self) -> Amounts {
        Amounts::read(self.amount_overrides.as_deref(), self.quantities.as_deref())
    }

    /// Its time zone, which was known when it was set.
    pub fn zone(&self) -> Zone {
        Zone::find(&self.time_zone).unwrap_or_else(|_| Zone::utc())
    }

    /// As the view shows it.
    pub fn status_at(&self, at: Instant) -> &'static str {
        match (self.active && at < self.ends_at, self.cancelled_at) {
            (true, _) if at < self.starts_at => "scheduled",
            (true, _) => "active",
            (false, Some(_)) => "cancelled",
            (false, None) => "ended",
        }
    }
}

/// What usage needs of a subscription.
pub struct Terms {
    pub revision: i64,
    pub plan_id: String,
    pub starts_at: Instant,
    pub ends_at: Instant,
    pub time_zone: String,
    /// Its own, by feature.
    pub rates: HashMap<String, Price>,
}

/// The columns that `Terms::read` reads, for those who read them without a statement.
pub const TERMS_COLUMNS: &str = "revision, plan_id, starts_at, ends_at, time_zone, rate_overrides";

impl Terms {
    /// Of a subscription without rates of its own: those are read by the statement.
    fn read(row: &Row) -> Option<Terms> {
        row.is_null(6).then(|| Terms {
            revision: row.int(1).unwrap_or_default(),
            plan_id: row.text(2).unwrap_or_default(),
            starts_at: row.time(3).unwrap_or(Instant::INFINITY),
            ends_at: row.time(4).unwrap_or(Instant::INFINITY),
            time_zone: row.text(5).unwrap_or_default(),
            rates: HashMap::new(),
        })
    }
}

impl From<Subscription> for Terms {
    fn from(subscription: Subscription) -> Terms {
        Terms {
            revision: subscription.revision,
            starts_at: subscription.starts_at,
            ends_at: subscription.ends_at,
            rates: subscription.rates(),
            time_zone: subscription.time_zone,
            plan_id: subscription.plan_id,
        }
    }
}

/// What a subscription changes of its plan's amounts.
pub struct Amounts {
    overrides: HashMap<String, Amount>,
    quantities: HashMap<String, Amount>,
}

impl Amounts {
    pub fn read(overrides: Option<&str>, quantities: Option<&str>) -> Amounts {
        Amounts { overrides: amounts(overrides).collect(), quantities: amounts(quantities).collect() }
    }

    /// What one unit of the entry is: the subscription's own amount, or the plan's.
    pub fn each(&self, entry: &PlanEntry) -> Amount {
        let by_entry = || self.overrides.get(&format!("{}/{}", entry.credit_type_id, entry.entry_id));
        let own = if self.overrides.is_empty() { None } else { by_entry() };
        own.or_else(|| self.overrides.get(&entry.credit_type_id)).copied().unwrap_or(entry.amount)
    }

    /// The entry's amount for this subscription, times the quantity that it is counted by; nothing where it has too
    /// many digits.
    pub fn of(&self, entry: &PlanEntry, scale: u32) -> Option<Amount> {
        let each = self.each(entry);
        let Some(feature) = &entry.quantity_feature_id else { return Some(each) };
        let quantity = self.quantities.get(feature).copied().unwrap_or_default();
        each.multiply_rounded(quantity, scale).filter(|amount| amount.within_outside_limit())
    }
}

/// A price as `overrides` says it: credits per unit, or {"formula": text}.
pub fn price(value: &Value) -> Option<Price> {
    match value {
        Value::Number(number) => Amount::parse(&number.to_string()).ok().map(Price::PerUnit),
        value => {
            let formula = value.get("formula")?.as_str()?;
            Formula::parse(formula).ok().map(|formula| Price::Formula(Rc::new(formula)))
        }
    }
}

/// An object of numbers, as the extension keeps it.
pub fn amounts(json: Option<&str>) -> impl Iterator<Item = (String, Amount)> {
    let object = json.and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    object.into_iter().flatten().filter_map(|(key, value)| Some((key, Amount::parse(&value.to_string()).ok()?)))
}

macro_rules! subscription_columns {
    () => {
        "s.subscription_id, s.resource_id, s.plan_id, s.status = 'active', s.starts_at, s.ends_at, s.time_zone,
         s.quantities::text, s.rate_overrides::text, s.amount_overrides::text, s.metadata::text, s.revision,
         s.cancelled_at, s.end_credits = 'expire'"
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
        cancelled_at: row.time(13),
        expires_credits: row.boolean(14),
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

/// Its terms.
pub fn terms_of_scope(customer_id: &str, resource_id: &str) -> Option<Terms> {
    let direct = direct::read_subscription(customer_id, resource_id, Terms::read).flatten();
    direct.or_else(|| of_scope(customer_id, resource_id).map(Terms::from))
}

/// The plan that a subscription had at an instant.
pub fn plan_at(customer_id: &str, subscription_id: &str, at: Instant) -> Option<String> {
    static FIND: Statement = Statement::new(
        "SELECT plan_id FROM credit_pools.subscription_version
         WHERE customer_id = $1 AND subscription_id = $2 AND changed_at <= $3 ORDER BY changed_at DESC LIMIT 1",
    );
    FIND.first(&[Arg::Text(customer_id), Arg::Text(subscription_id), Arg::Time(at)], |row| row.text(1)).flatten()
}

/// The same of many scopes (customer, resource) at once, each with its customer.
pub fn of_scopes(scopes: &[(&str, &str)]) -> Vec<(String, Subscription)> {
    static FIND: Statement = Statement::new(concat!(
        "SELECT s.*
         FROM unnest($1, $2) n (customer_id, resource_id)
         CROSS JOIN LATERAL (SELECT ",
        subscription_columns!(),
        ", s.customer_id
          FROM credit_pools.subscription s
          WHERE s.customer_id = n.customer_id AND s.resource_id = n.resource_id AND s.status = 'active'
          LIMIT 1) s"
    ));
    if scopes.is_empty() {
        return Vec::new();
    }
    let customers: Vec<Arg> = scopes.iter().map(|(customer_id, _)| Arg::Text(customer_id)).collect();
    let resources: Vec<Arg> = scopes.iter().map(|(_, resource_id)| Arg::Text(resource_id)).collect();
    FIND.rows(&[Arg::Column(&customers), Arg::Column(&resources)], |row| (row.text(15).unwrap_or_default(), read(row)))
}

/// The last subscriptions of each of some scopes of a customer: the active one first, then the latest.
pub fn latest_of_scopes(customer_id: &str, resource_ids: &[&str], most: i64) -> Vec<Subscription> {
    static FIND: Statement = Statement::read(concat!(
        "SELECT s.*
         FROM unnest($2) n (resource_id)
         CROSS JOIN LATERAL (SELECT ",
        subscription_columns!(),
        " FROM credit_pools.subscription s
          WHERE s.customer_id = $1 AND s.resource_id = n.resource_id
          ORDER BY s.status = 'active' DESC, s.starts_at DESC, s.subscription_id LIMIT $3) s"
    ));
    if resource_ids.is_empty() {
        return Vec::new();
    }
    let resources: Vec<Arg> = resource_ids.iter().map(|resource_id| Arg::Text(resource_id)).collect();
    FIND.rows(&[Arg::Text(customer_id), Arg::Column(&resources), Arg::Int(most)], read)
}

/// The scope's subscription at an instant, over or not.
pub fn covering(customer_id: &str, resource_id: &str, at: Instant) -> Option<Subscription> {
    static FIND: Statement = Statement::new(concat!(
        "SELECT ",
        subscription_columns!(),
        " FROM credit_pools.subscription s
          WHERE s.customer_id = $1 AND s.resource_id = $2 AND s.starts_at <= $3 AND s.ends_at > $3
          ORDER BY s.starts_at DESC LIMIT 1"
    ));
    FIND.first(&[Arg::Text(customer_id), Arg::Text(resource_id), Arg::Time(at)], read)
}

pub fn by_id(customer_id: &str, subscription_id: &str) -> Option<Subscription> {
    static FIND: Statement = Statement::new(concat!(
        "SELECT ",
        subscription_columns!(),
        " FROM credit_pools.subscription s WHERE s.customer_id = $1 AND s.subscription_id = $2"
    ));
    FIND.first(&[Arg::Text(customer_id), Arg::Text(subscription_id)], read)
}

/// Writes a new subscription, or the new state of an old one, and keeps what it was until now.
pub fn put(customer_id: &str, subscription: &Subscription, now: Instant) {
    static PUT: Statement = Statement::new(
        "INSERT INTO credit_pools.subscription AS s
             (customer_id, subscription_id, resource_id, plan_id, status, starts_at, ends_at, time_zone, quantities,
              rate_overrides, amount_overrides, metadata, revision, created_at, updated_at, cancelled_at, end_credits)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14, $15, $16)
         ON CONFLICT (customer_id, subscription_id) DO UPDATE SET
             resource_id = excluded.resource_id, plan_id = excluded.plan_id, status = excluded.status,
             ends_at = excluded.ends_at, quantities = excluded.quantities,
             rate_overrides = excluded.rate_overrides, amount_overrides = excluded.amount_overrides,
             metadata = excluded.metadata, revision = excluded.revision, updated_at = excluded.updated_at,
             cancelled_at = excluded.cancelled_at, end_credits = excluded.end_credits",
    );
    PUT.write(
        &[
            Arg::Text(customer_id),
            Arg::Text(&subscription.subscription_id),
            Arg::Text(&subscription.resource_id),
            Arg::Text(&subscription.plan_id),
            Arg::Text(if subscription.active { "active" } else { "cancelled" }),
            Arg::Time(subscription.starts_at),
            Arg::Time(subscription.ends_at),
            Arg::Text(&subscription.time_zone),
            Arg::Json(subscription.quantities.as_deref()),
            Arg::Json(subscription.rate_overrides.as_deref()),
            Arg::Json(subscription.amount_overrides.as_deref()),
            Arg::Json(subscription.metadata.as_deref()),
            Arg::Int(subscription.revision),
            Arg::Time(now),
            Arg::MaybeTime(subscription.cancelled_at),
            Arg::Text(if subscription.expires_credits { "expire" } else { "keep" }),
        ],
        1,
    );
    static KEEP: Statement = Statement::new(
        "INSERT INTO credit_pools.subscription_version AS v
             (customer_id, subscription_id, changed_at, resource_id, plan_id, ends_at, end_credits, quantities,
              amount_overrides)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (customer_id, subscription_id, changed_at) DO UPDATE SET
             resource_id = excluded.resource_id, plan_id = excluded.plan_id, ends_at = excluded.ends_at,
             end_credits = excluded.end_credits, quantities = excluded.quantities,
             amount_overrides = excluded.amount_overrides",
    );
    KEEP.write(
        &[
            Arg::Text(customer_id),
            Arg::Text(&subscription.subscription_id),
            Arg::Time(now),
            Arg::Text(&subscription.resource_id),
            Arg::Text(&subscription.plan_id),
            Arg::Time(subscription.ends_at),
            Arg::Text(if subscription.expires_credits { "expire" } else { "keep" }),
            Arg::Json(subscription.quantities.as_deref()),
            Arg::Json(subscription.amount_overrides.as_deref()),
        ],
        1,
    );
}

/// Locks subscriptions that the clock has ended, each with its scope, passing over those that others are working on.
pub fn lock_over(at: Instant, limit: i64) -> Vec<(String, Subscription)> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        subscription_columns!(),
        ", s.customer_id
          FROM credit_pools.subscription s
          JOIN credit_pools.resource r ON r.customer_id = s.customer_id AND r.resource_id = s.resource_id
          WHERE s.status = 'active' AND s.ends_at < 'infinity' AND s.ends_at <= $1
          ORDER BY s.ends_at LIMIT $2 FOR NO KEY UPDATE OF r, s SKIP LOCKED"
    ));
    LOCK.rows(&[Arg::Time(at), Arg::Int(limit)], |row| (row.text(15).unwrap_or_default(), read(row)))
}

/// A subscription whose end has passed makes room for the next one of its scope.
pub fn mark_ended(customer_id: &str, subscription_id: &str, now: Instant) {
    static END: Statement = Statement::new(
        "UPDATE credit_pools.subscription
         SET status = CASE WHEN cancelled_at IS NULL THEN 'ended' ELSE 'cancelled' END, updated_at = $3
         WHERE customer_id = $1 AND subscription_id = $2",
    );
    END.write(&[Arg::Text(customer_id), Arg::Text(subscription_id), Arg::Time(now)], 1);
}
