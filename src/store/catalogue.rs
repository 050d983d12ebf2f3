//! Credit types, features, plans, plan entries and rates.

use std::rc::Rc;

use credit_pools_domain::{Alerts, Amount, Formula, Instant, Limit, Price, Span};

use super::spi::{Arg, Row, Statement};

#[derive(Clone)]
pub struct CreditType {
    pub scale: u32,
    pub archived: bool,
    /// For customers that have none of their own.
    pub alerts: Option<Rc<Alerts>>,
}

pub fn credit_type(credit_type_id: &str) -> Option<CreditType> {
    static FIND: Statement = Statement::new(
        "SELECT scale, archived_at IS NOT NULL, alert_thresholds, alert_percents
         FROM credit_pools.credit_type WHERE credit_type_id = $1",
    );
    FIND.first(&[Arg::Text(credit_type_id)], |row| CreditType {
        scale: row.small_int(1).and_then(|scale| u32::try_from(scale).ok()).unwrap_or_default(),
        archived: row.boolean(2),
        alerts: super::alerts::read(row, 3).map(Rc::new),
    })
}

pub fn feature_exists(feature_id: &str) -> bool {
    static FIND: Statement = Statement::new("SELECT 1 FROM credit_pools.feature WHERE feature_id = $1");
    FIND.run(&[Arg::Text(feature_id)]) > 0
}

pub fn plan_exists(plan_id: &str) -> bool {
    static FIND: Statement = Statement::new("SELECT 1 FROM credit_pools.plan WHERE plan_id = $1");
    FIND.run(&[Arg::Text(plan_id)]) > 0
}

pub struct CreditTypeValues<'a> {
    pub display_name: Option<&'a str>,
    pub scale: Option<i16>,
    pub symbol: Option<&'a str>,
    pub unit_singular: Option<&'a str>,
    pub unit_plural: Option<&'a str>,
    pub metadata: Option<&'a str>,
}

/// Whether anything changed. NULL keeps what is there; a new type has scale 6.
pub fn upsert_credit_type(credit_type_id: &str, values: &CreditTypeValues, now: Instant) -> bool {
    static UPSERT: Statement = Statement::new(
        "INSERT INTO credit_pools.credit_type AS t
             (credit_type_id, display_name, scale, symbol, unit_singular, unit_plural, metadata, created_at)
         VALUES ($1, $2, COALESCE($3, 6::smallint), $4, $5, $6, $7, $8)
         ON CONFLICT (credit_type_id) DO UPDATE SET
             display_name = COALESCE($2, t.display_name),
             scale = COALESCE($3, t.scale),
             symbol = COALESCE($4, t.symbol),
             unit_singular = COALESCE($5, t.unit_singular),
             unit_plural = COALESCE($6, t.unit_plural),
             metadata = COALESCE($7, t.metadata)
         WHERE (t.display_name, t.scale, t.symbol, t.unit_singular, t.unit_plural, t.metadata)
             IS DISTINCT FROM (COALESCE($2, t.display_name), COALESCE($3, t.scale), COALESCE($4, t.symbol),
                 COALESCE($5, t.unit_singular), COALESCE($6, t.unit_plural), COALESCE($7, t.metadata))",
    );
    UPSERT.run(&[
        Arg::Text(credit_type_id),
        Arg::MaybeText(values.display_name),
        Arg::MaybeSmallInt(values.scale),
        Arg::MaybeText(values.symbol),
        Arg::MaybeText(values.unit_singular),
        Arg::MaybeText(values.unit_plural),
        Arg::Json(values.metadata),
        Arg::Time(now),
    ]) > 0
}

/// Whether any pool of the type exists; its scale is fixed from then on.
pub fn credit_type_in_use(credit_type_id: &str) -> bool {
    static FIND: Statement = Statement::new("SELECT 1 FROM credit_pools.pool WHERE credit_type_id = $1 LIMIT 1");
    FIND.run(&[Arg::Text(credit_type_id)]) > 0
}

pub fn archive_credit_type(credit_type_id: &str, now: Instant) -> bool {
    static ARCHIVE: Statement = Statement::new(
        "UPDATE credit_pools.credit_type SET archived_at = $2
         WHERE credit_type_id = $1 AND archived_at IS NULL",
    );
    ARCHIVE.run(&[Arg::Text(credit_type_id), Arg::Time(now)]) > 0
}

pub fn upsert_feature(
    feature_id: &str,
    display_name: Option<&str>,
    unit: Option<&str>,
    metadata: Option<&str>,
    now: Instant,
) -> bool {
    static UPSERT: Statement = Statement::new(
        "INSERT INTO credit_pools.feature AS t (feature_id, display_name, unit, metadata, created_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (feature_id) DO UPDATE SET
             display_name = COALESCE($2, t.display_name),
             unit = COALESCE($3, t.unit),
             metadata = COALESCE($4, t.metadata)
         WHERE (t.display_name, t.unit, t.metadata)
             IS DISTINCT FROM (COALESCE($2, t.display_name), COALESCE($3, t.unit), COALESCE($4, t.metadata))",
    );
    UPSERT.run(&[
        Arg::Text(feature_id),
        Arg::MaybeText(display_name),
        Arg::MaybeText(unit),
        Arg::Json(metadata),
        Arg::Time(now),
    ]) > 0
}

pub fn upsert_plan(plan_id: &str, display_name: Option<&str>, metadata: Option<&str>, now: Instant) -> bool {
    static UPSERT: Statement = Statement::new(
        "INSERT INTO credit_pools.plan AS t (plan_id, display_name, metadata, created_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (plan_id) DO UPDATE SET
             display_name = COALESCE($2, t.display_name),
             metadata = COALESCE($3, t.metadata)
         WHERE (t.display_name, t.metadata)
             IS DISTINCT FROM (COALESCE($2, t.display_name), COALESCE($3, t.metadata))",
    );
    UPSERT.run(&[Arg::Text(plan_id), Arg::MaybeText(display_name), Arg::Json(metadata), Arg::Time(now)]) > 0
}

/// What one plan grants of one credit type, in one version.
#[derive(Clone, PartialEq, Eq)]
pub struct PlanEntry {
    pub credit_type_id: String,
    pub entry_id: String,
    pub amount: Amount,
    pub cadence: Option<Span>,
    pub priority: i16,
    pub category: String,
    pub expires_after: Option<Span>,
    pub rollover_max: Amount,
    pub rollover_percent: Amount,
    pub rollover_periods: i64,
    pub quantity_feature_id: Option<String>,
    pub overdraft_limit: Limit,
}

/// The columns that `PlanEntry::read` reads, of the table under the alias e.
macro_rules! plan_entry_columns {
    () => {
        "e.credit_type_id, e.entry_id, e.amount, e.cadence, e.priority, e.category, e.expires_after, e.rollover_max,
         e.rollover_percent, e.rollover_periods::bigint, e.quantity_feature_id, e.overdraft_limit"
    };
}
pub(super) use plan_entry_columns;

impl PlanEntry {
    /// Reads its columns from behind the first `before` ones.
    pub fn read(row: &Row, before: usize) -> PlanEntry {
        PlanEntry {
            credit_type_id: row.text(before + 1).unwrap_or_default(),
            entry_id: row.text(before + 2).unwrap_or_default(),
            amount: row.amount(before + 3).unwrap_or_default(),
            cadence: row.span(before + 4),
            priority: row.small_int(before + 5).unwrap_or_default(),
            category: row.text(before + 6).unwrap_or_default(),
            expires_after: row.span(before + 7),
            rollover_max: row.amount(before + 8).unwrap_or_default(),
            rollover_percent: row.amount(before + 9).unwrap_or_default(),
            rollover_periods: row.int(before + 10).unwrap_or_default(),
            quantity_feature_id: row.text(before + 11),
            overdraft_limit: row.limit(before + 12).unwrap_or(Limit::Finite(Amount::ZERO)),
        }
    }
}

/// The versions in force at an instant of all entries of a plan.
pub fn plan_entries(plan_id: &str, at: Instant) -> Vec<PlanEntry> {
    static FIND: Statement = Statement::new(concat!(
        "SELECT DISTINCT ON (e.credit_type_id, e.entry_id) ",
        plan_entry_columns!(),
        " FROM credit_pools.plan_entry e WHERE e.plan_id = $1 AND e.effective_at <= $2
          ORDER BY e.credit_type_id, e.entry_id, e.effective_at DESC"
    ));
    FIND.rows(&[Arg::Text(plan_id), Arg::Time(at)], |row| PlanEntry::read(row, 0))
}

/// Adds a version of an entry, or replaces the one of the same instant.
pub fn put_plan_entry(plan_id: &str, entry: &PlanEntry, effective_at: Instant) {
    static PUT: Statement = Statement::new(
        "INSERT INTO credit_pools.plan_entry
             (plan_id, credit_type_id, entry_id, amount, cadence, priority, category, expires_after,
              rollover_max, rollover_percent, rollover_periods, quantity_feature_id, overdraft_limit, effective_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::integer, $12, $13, $14)
         ON CONFLICT (plan_id, credit_type_id, entry_id, effective_at) DO UPDATE SET
             amount = excluded.amount, cadence = excluded.cadence, priority = excluded.priority,
             category = excluded.category, expires_after = excluded.expires_after,
             rollover_max = excluded.rollover_max, rollover_percent = excluded.rollover_percent,
             rollover_periods = excluded.rollover_periods,
             quantity_feature_id = excluded.quantity_feature_id, overdraft_limit = excluded.overdraft_limit",
    );
    PUT.run(&[
        Arg::Text(plan_id),
        Arg::Text(&entry.credit_type_id),
        Arg::Text(&entry.entry_id),
        Arg::Number(entry.amount),
        Arg::Interval(entry.cadence),
        Arg::SmallInt(entry.priority),
        Arg::Text(&entry.category),
        Arg::Interval(entry.expires_after),
        Arg::Number(entry.rollover_max),
        Arg::Number(entry.rollover_percent),
        Arg::Int(entry.rollover_periods),
        Arg::MaybeText(entry.quantity_feature_id.as_deref()),
        Arg::Limit(entry.overdraft_limit),
        Arg::Time(effective_at),
    ]);
}

/// The credit types that a plan's own rates cost in, now or later.
pub fn rated_credit_types(plan_id: &str) -> Vec<String> {
    static FIND: Statement = Statement::new(
        "SELECT DISTINCT credit_type_id FROM credit_pools.rate WHERE plan_id = $1 ORDER BY credit_type_id",
    );
    FIND.rows(&[Arg::Text(plan_id)], |row| row.text(1).unwrap_or_default())
}

/// What a unit of a feature costs, from an instant on.
#[derive(Clone, PartialEq, Eq)]
pub struct RateVersion {
    pub effective_at: Instant,
    pub credit_type_id: String,
    pub price: Price,
}

/// The versions of a rate, oldest first; `plan_id` "" for the rate of every plan.
pub fn rate_versions(feature_id: &str, plan_id: &str) -> Vec<RateVersion> {
    static FIND: Statement = Statement::new(
        "SELECT effective_at, credit_type_id, credits_per_unit, formula FROM credit_pools.rate
         WHERE feature_id = $1 AND plan_id = $2 ORDER BY effective_at",
    );
    FIND.rows(&[Arg::Text(feature_id), Arg::Text(plan_id)], |row| RateVersion {
        effective_at: row.time(1).unwrap_or(Instant::INFINITY),
        credit_type_id: row.text(2).unwrap_or_default(),
        price: match (row.amount(3), row.text(4).and_then(|text| Formula::parse(&text).ok())) {
            (None, Some(formula)) => Price::Formula(Rc::new(formula)),
            (each, _) => Price::PerUnit(each.unwrap_or_default()),
        },
    })
}

/// Adds a version, or replaces the one of the same instant.
pub fn put_rate(feature_id: &str, plan_id: &str, rate: &RateVersion, now: Instant) {
    static PUT: Statement = Statement::new(
        "INSERT INTO credit_pools.rate
             (feature_id, plan_id, effective_at, credit_type_id, credits_per_unit, formula, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (feature_id, plan_id, effective_at) DO UPDATE SET
             credit_type_id = excluded.credit_type_id, credits_per_unit = excluded.credits_per_unit,
             formula = excluded.formula",
    );
    PUT.run(&[
        Arg::Text(feature_id),
        Arg::Text(plan_id),
        Arg::Time(rate.effective_at),
        Arg::Text(&rate.credit_type_id),
        Arg::MaybeNumber(rate.price.per_unit()),
        Arg::MaybeText(rate.price.formula()),
        Arg::Time(now),
    ]);
}
