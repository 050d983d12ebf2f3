//! Levels of balance alerts: a credit type's, or a customer's own.

use credit_pools_domain::{Alerts, Amount};

use super::granting::check_scale;
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::store::{alerts, catalogue, customers, pools};

/// More levels than anybody looks at; each is compared at every change of a balance.
const MOST_LEVELS: usize = 10;

/// Sets (`None`: removes) the levels of a credit type, or of a customer's own for all of its pools of the type. How many
/// pools that covers, where it is a customer's; those of a default are not looked for.
pub fn set(customer_id: Option<&str>, credit_type_id: &str, levels: Option<&Alerts>) -> Result<Option<i64>> {
    let credit_type =
        catalogue::credit_type(credit_type_id).ok_or_else(|| Error::unknown("credit_type", credit_type_id))?;
    for level in levels.map(Alerts::thresholds).unwrap_or_default() {
        check_scale("thresholds", *level, credit_type.scale)?;
    }
    let Some(customer_id) = customer_id else {
        alerts::put_default(credit_type_id, levels);
        return Ok(None);
    };
    if !customers::exists(customer_id) {
        return Err(Error::unknown("customer", customer_id));
    }
    // Pools that are opened meanwhile find the levels; those that are there are locked, by id.
    customers::lock_customer(customer_id);
    let rows = pools::lock_credit_type(customer_id, credit_type_id);
    if pools::hidden(customer_id, credit_type_id, "", rows.len()) {
        return Err(Error::new(Kind::SerializationFailure, "could not serialize access: a pool was opened meanwhile"));
    }
    alerts::put(customer_id, credit_type_id, levels, clock::now());
    for row in &rows {
        pools::set_alerts(customer_id, row.pool_id, levels);
    }
    Ok(i64::try_from(rows.len()).ok())
}

/// Levels as they were given, checked.
pub fn levels(thresholds: Option<Vec<Amount>>, percents: Option<Vec<Amount>>) -> Result<Option<Alerts>> {
    if thresholds.is_none() && percents.is_none() {
        return Ok(None);
    }
    let (thresholds, percents) = (thresholds.unwrap_or_default(), percents.unwrap_or_default());
    for (argument, levels) in [("thresholds", &thresholds), ("percents", &percents)] {
        if levels.len() > MOST_LEVELS {
            return Err(Error::argument(argument, format!("{argument} has more than {MOST_LEVELS} levels")));
        }
    }
    if thresholds.iter().any(|level| level.is_negative()) {
        return Err(Error::argument("thresholds", "thresholds must not be negative"));
    }
    if percents.iter().any(|percent| !percent.is_positive() || *percent > Amount::from_units(100)) {
        return Err(Error::argument("percents", "percents must be above 0, up to 100"));
    }
    Ok(Some(Alerts::new(thresholds, percents)))
}
