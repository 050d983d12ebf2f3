//! Would a usage go through? check_credits asks the rules without a lock and writes nothing; estimate_usage makes the real
//! call and undoes it.

use credit_pools_domain::{Amount, EntryType, OnInsufficient};
use serde_json::{Value, json};

use super::limiting::Limits;
use super::pool::{describe_scope, explain, insufficient};
use super::reading;
use super::usage::{self, Behavior, Key, Request, What};
use super::{pricing, usage::check_plain};
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::store::isolate::undo_unless;
use crate::store::{cache, catalogue, pools, usages};

pub struct Checked {
    /// Why the usage would be refused.
    pub denial: Option<&'static str>,
    /// What it may touch.
    pub balance: Amount,
    pub required: Option<Amount>,
    pub pool_id: Option<i64>,
    pub credit_type_id: Option<String>,
}

/// The name of an error that a usage would be refused with (contract, section 8); others are the caller's.
fn denial(error: &Error) -> Option<&'static str> {
    [
        (Kind::InsufficientCredits, "insufficient_credits"),
        (Kind::NoActiveSubscription, "no_active_subscription"),
        (Kind::InvalidState, "invalid_state"),
        (Kind::NoRate, "no_rate"),
        (Kind::LimitExceeded, "limit_exceeded"),
    ]
    .into_iter()
    .find_map(|(kind, name)| error.is(kind).then_some(name))
}

/// Asks whether a usage would be accepted now, as the call itself would.
pub fn check(request: &Request) -> Result<Checked> {
    cache::refresh();
    let mut checked =
        Checked { denial: None, balance: Amount::ZERO, required: None, pool_id: None, credit_type_id: None };
    match try_out(request, &mut checked) {
        Ok(()) => Ok(checked),
        Err(error) => {
            let denial = denial(&error).ok_or(error)?;
            Ok(Checked { denial: Some(denial), ..checked })
        }
    }
}

fn try_out(request: &Request, checked: &mut Checked) -> Result<()> {
    let now = clock::statement_start();
    let at = request.occurred_at.unwrap_or(now);
    let find = |credit_type_id: &str| pools::read_by_name(request.customer_id, request.resource_id, credit_type_id);
    let (credit_type_id, quote, row) = match request.what {
        What::Feature { feature_id, value } => {
            // As the session remembers the subscription, if the pool's row says that it is still the one.
            let known = pricing::resolve(request, feature_id, at, false);
            let pool = known.quote.as_ref().and_then(|quote| find(&quote.rate.credit_type_id));
            let (quote, pool) = match pool {
                Some(pool) if !known.is_stale(pool.scope_revision) => (known.quote, Some(pool)),
                _ => {
                    let quote = pricing::resolve(request, feature_id, at, true).quote;
                    let pool = quote.as_ref().and_then(|quote| find(&quote.rate.credit_type_id));
                    (quote, pool)
                }
            };
            let quote = quote.ok_or_else(|| pricing::why_not(request, feature_id, value, at))?;
            (quote.rate.credit_type_id.clone(), Some((quote, value)), pool)
        }
        What::Credits { credit_type_id, amount } => {
            check_plain(credit_type_id, amount)?;
            checked.required = Some(amount);
            (credit_type_id.to_owned(), None, find(credit_type_id))
        }
    };
    checked.credit_type_id = Some(credit_type_id.clone());
    if let Some((quote, value)) = &quote {
        let now = row.as_ref().map_or(now, |row| now.max(row.last_recorded_at));
        checked.required = Some(pricing::cost_now(request, quote, *value, now)?);
    }
    let required = checked.required.unwrap_or_default();
    let Some(row) = row else {
        super::opening::check_scope(request.customer_id, request.resource_id)?;
        if catalogue::credit_type(&credit_type_id).is_none() {
            return Err(Error::unknown("credit_type", credit_type_id));
        }
        let scope = describe_scope(request.resource_id, &credit_type_id);
        let floor = credit_pools_domain::Limit::Finite(Amount::ZERO);
        return Err(insufficient(&scope, None, Amount::ZERO, required, required, floor));
    };
    checked.pool_id = Some(row.pool_id);
    let now = now.max(row.last_recorded_at);
    let limits = row.limited.then(|| Limits::read_for(&row, now));
    let feature_id = request.what.feature();
    let mut wallet = reading::usable_now(&row, now);
    wallet.ceiling = limits.as_ref().and_then(Limits::left);
    let refused = |refusal| explain(refusal, limits.as_ref(), &row);
    checked.balance = wallet.balance_for(feature_id).map_err(refused)?;
    wallet.afford(required, feature_id, OnInsufficient::Reject).map(|_| ()).map_err(refused)
}

pub struct Estimate {
    pub credits: Amount,
    pub shortfall: Amount,
    pub balance: Amount,
    pub balance_after: Amount,
    /// The error that the call would fail with.
    pub rejection: Option<Error>,
    /// What of it would come from which grant.
    pub grants: Value,
    pub warnings: Vec<String>,
    pub pool_id: Option<i64>,
    pub credit_type_id: Option<String>,
    pub is_duplicate: bool,
}

/// Makes the call in a subtransaction, looks at what came of it, and undoes it.
pub fn estimate<'a>(
    customer_id: &str,
    key: Option<&Key>,
    request: impl Fn() -> Result<Request<'a>>,
) -> Result<Estimate> {
    let made = undo_unless(
        |_| false,
        || {
            let outcome = usage::report(customer_id, key, &request)?;
            let rows = usages::rows(customer_id, outcome.usage_id);
            let low = pools::read(customer_id, outcome.pool_id)
                .is_some_and(|pool| pool.recharge_threshold.is_some_and(|t| pool.wallet.figures.balance < t));
            Ok((outcome, rows, low))
        },
    );
    let error: Error = match made {
        Ok((outcome, rows, low)) => {
            let balance = reading::pool_now(customer_id, outcome.pool_id).map(|pool| pool.figures.balance);
            let drawn = rows.iter().filter(|row| row.kind == EntryType::Consume);
            let grants: Vec<Value> =
                drawn.map(|row| json!({"grant_id": row.grant_id, "credits": number(-row.amount)})).collect();
            let mut warnings = Vec::new();
            if outcome.is_duplicate {
                warnings.push("the idempotency key was used before: nothing would be charged".to_owned());
            }
            if let Some(debt) = rows.iter().find(|row| row.kind == EntryType::Debt) {
                warnings.push(format!("{} of it would be debt", -debt.amount));
            }
            if outcome.shortfall.is_positive() {
                warnings.push(format!("{} of it could not be charged", outcome.shortfall));
            }
            if low {
                warnings.push("the balance would be below the threshold of the auto-recharge".to_owned());
            }
            return Ok(Estimate {
                credits: outcome.credits_consumed,
                shortfall: outcome.shortfall,
                balance: balance.unwrap_or(outcome.balance),
                balance_after: if outcome.is_duplicate { balance.unwrap_or(outcome.balance) } else { outcome.balance },
                rejection: None,
                grants: Value::Array(grants),
                warnings,
                pool_id: Some(outcome.pool_id),
                credit_type_id: Some(outcome.credit_type_id),
                is_duplicate: outcome.is_duplicate,
            });
        }
        Err(error) => error,
    };
    let refused = [Kind::InsufficientCredits, Kind::InvalidState, Kind::LimitExceeded].iter().any(|k| error.is(*k));
    if !refused {
        return Err(error);
    }
    let request = request()?;
    // A new total has no cost of its own; what the error says of the difference is the figure.
    let checked = check(&Request { behavior: Behavior::Delta, ..request })?;
    let required = error.number("required").or(checked.required).unwrap_or_default();
    let balance = checked.pool_id.and_then(|id| reading::pool_now(customer_id, id)).map(|pool| pool.figures.balance);
    let balance = balance.unwrap_or_default();
    Ok(Estimate {
        credits: required,
        shortfall: Amount::ZERO,
        balance,
        balance_after: balance,
        warnings: vec![error.to_string()],
        rejection: Some(error),
        grants: Value::Array(Vec::new()),
        pool_id: checked.pool_id,
        credit_type_id: checked.credit_type_id,
        is_duplicate: false,
    })
}

/// A figure as a JSON number with all its digits.
pub fn number(amount: Amount) -> Value {
    serde_json::from_str(&amount.to_string()).unwrap_or(Value::Null)
}
