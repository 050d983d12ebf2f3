//! The levels of balance alerts: a credit type's, and those of a customer's own.

use credit_pools_domain::{Alerts, Amount, Instant};

use super::spi::{Arg, Row, Statement};

/// Sets (`None`: removes) the levels of a customer's own.
pub fn put(customer_id: &str, credit_type_id: &str, alerts: Option<&Alerts>, now: Instant) {
    static PUT: Statement = Statement::new(
        "INSERT INTO credit_pools.balance_alert (customer_id, credit_type_id, thresholds, percents, updated_at)
         VALUES ($1, $2, COALESCE($3, '{}'), COALESCE($4, '{}'), $5)
         ON CONFLICT (customer_id, credit_type_id) DO UPDATE SET
             thresholds = excluded.thresholds, percents = excluded.percents, updated_at = excluded.updated_at",
    );
    static REMOVE: Statement =
        Statement::new("DELETE FROM credit_pools.balance_alert WHERE customer_id = $1 AND credit_type_id = $2");
    match alerts {
        Some(alerts) => {
            let (thresholds, percents) = columns(alerts);
            PUT.run(&[
                Arg::Text(customer_id),
                Arg::Text(credit_type_id),
                Arg::Numbers(&thresholds),
                Arg::Numbers(&percents),
                Arg::Time(now),
            ])
        }
        None => REMOVE.run(&[Arg::Text(customer_id), Arg::Text(credit_type_id)]),
    };
}

/// Sets (`None`: removes) the levels of a credit type.
pub fn put_default(credit_type_id: &str, alerts: Option<&Alerts>) {
    static PUT: Statement = Statement::new(
        "UPDATE credit_pools.credit_type SET
             alert_thresholds = CASE WHEN $4 THEN COALESCE($2, '{}') END,
             alert_percents = CASE WHEN $4 THEN COALESCE($3, '{}') END
         WHERE credit_type_id = $1",
    );
    let (thresholds, percents) = alerts.map(columns).unwrap_or_default();
    PUT.run(&[
        Arg::Text(credit_type_id),
        Arg::Numbers(&thresholds),
        Arg::Numbers(&percents),
        Arg::Bool(alerts.is_some()),
    ]);
}

/// A customer's own levels.
pub fn of_customer(customer_id: &str, credit_type_id: &str) -> Option<Alerts> {
    static FIND: Statement = Statement::new(
        "SELECT thresholds, percents FROM credit_pools.balance_alert WHERE customer_id = $1 AND credit_type_id = $2",
    );
    FIND.first(&[Arg::Text(customer_id), Arg::Text(credit_type_id)], |row| read(row, 1)).flatten()
}

/// Levels out of two columns, thresholds and percents.
pub fn read(row: &Row, column: usize) -> Option<Alerts> {
    if row.is_null(column) && row.is_null(column + 1) {
        return None;
    }
    Some(Alerts::new(row.amounts(column), row.amounts(column + 1)))
}

/// Levels as values of two columns; an empty one is NULL.
pub fn columns(alerts: &Alerts) -> (Vec<Arg<'static>>, Vec<Arg<'static>>) {
    let numbers = |amounts: &[Amount]| amounts.iter().map(|amount| Arg::Number(*amount)).collect();
    (numbers(alerts.thresholds()), numbers(alerts.percents()))
}
