//! Usage taken back.

use std::collections::HashMap;

use credit_pools_domain::{Amount, DrawnPart, EntryType, PaidDebt};
use serde::{Deserialize, Serialize};

use super::granting::check_scale;
use super::pool::LockedPool;
use super::pricing;
use crate::error::{Error, Result};
use crate::store::ledger::{Note, ReversalNote};
use crate::store::usages::{self, UsageHead};
use crate::store::{cache, reservations};

#[derive(Serialize, Deserialize)]
pub struct Outcome {
    pub usage_id: i64,
    pub pool_id: i64,
    pub credits_returned: Amount,
    /// With what was returned before.
    pub reversed: Amount,
    pub balance: Amount,
}

/// Gives credits of a usage back to the grants that they came from: `credits`, or all that is left.
pub fn reverse(
    customer_id: &str,
    usage_id: i64,
    credits: Option<Amount>,
    reason: Option<&str>,
    idempotency_key: Option<&str>,
) -> Result<Outcome> {
    let unknown = || Error::unknown("usage", usage_id);
    let pool_id = usages::head(customer_id, usage_id).ok_or_else(unknown)?.pool_id;
    let mut pool = LockedPool::lock(customer_id, pool_id)?;
    // The ledger is read below, and what the clock did belongs to it.
    pool.write_due()?;
    let head = usages::head(customer_id, usage_id).ok_or_else(unknown)?;
    cache::refresh();
    if let Some(credits) = credits {
        check_scale("credits", credits, pricing::scale_of(&pool.row.credit_type_id))?;
    }
    let drawn = Drawn::of(customer_id, usage_id);
    let left = drawn.left();
    let credits = credits.unwrap_or(left);
    if credits > left {
        return Err(Error::argument("credits", format!("only {left} credits of the usage are left to reverse"))
            .with("usage_id", usage_id)
            .with_number("left", left));
    }
    if credits.is_positive() {
        pool.load_limits();
        // A usage that is taken back as a whole is out of its period's total, too.
        let counted = |value: Amount| value.checked_sub(usages::value_gone(customer_id, usage_id));
        let value = head.value.filter(|_| credits == left).and_then(counted).filter(|value| value.is_positive());
        let note = Note {
            reversal: Some(ReversalNote { usage_id, feature_id: head.feature_id.as_deref(), value: value.map(|v| -v) }),
            reason,
            idempotency_key,
            ..Note::default()
        };
        take_back(&mut pool, &head, &drawn, credits)?;
        usages::add_reversed(customer_id, usage_id, credits, value.unwrap_or_default());
        pool.write(note);
    }
    Ok(Outcome {
        usage_id,
        pool_id,
        credits_returned: credits,
        reversed: usages::reversed(customer_id, usage_id),
        balance: pool.final_balance(),
    })
}

/// What a usage drew, less what has been reversed, in the order in which it was drawn.
pub struct Drawn(Vec<DrawnPart>);

impl Drawn {
    pub fn of(customer_id: &str, usage_id: i64) -> Drawn {
        let rows = usages::rows(customer_id, usage_id);
        let mut reversed: HashMap<Option<i64>, Amount> = HashMap::new();
        for row in rows.iter().filter(|row| row.kind == EntryType::Reverse) {
            let sum = reversed.entry(row.grant_id).or_default();
            *sum = sum.checked_add(row.amount).unwrap_or(*sum);
        }
        let mut parts: Vec<DrawnPart> = Vec::new();
        // Last drawn, first reversed.
        for row in rows.iter().rev().filter(|row| row.kind.is_usage()) {
            let gone = reversed.entry(row.grant_id).or_default();
            let back = (-row.amount).min(*gone);
            *gone = gone.checked_sub(back).unwrap_or_default();
            parts.push(DrawnPart { grant_id: row.grant_id, left: row.amount.checked_add(back).map_or(back, |a| -a) });
        }
        parts.reverse();
        Drawn(parts)
    }

    pub fn left(&self) -> Amount {
        Amount::from_raw(self.0.iter().map(|part| part.left.raw()).sum())
    }

    fn debt(&self) -> Amount {
        Amount::from_raw(self.0.iter().filter(|part| part.grant_id.is_none()).map(|part| part.left.raw()).sum())
    }
}

/// The reversal itself, in a locked pool with its limits loaded; still to be booked.
pub fn take_back(pool: &mut LockedPool, head: &UsageHead, drawn: &Drawn, credits: Amount) -> Result<()> {
    let customer_id = pool.row.customer_id.clone();
    // Paid by grants since, if it is more than the pool still owes.
    let paid: Vec<PaidDebt> = if drawn.debt() > pool.row.wallet.figures.debt {
        usages::paid_debt(&customer_id, pool.row.pool_id)
    } else {
        Vec::new()
    };
    let sources = drawn.0.iter().filter_map(|part| part.grant_id).chain(paid.iter().map(|paid| paid.grant_id));
    for grant_id in sources {
        pool.load_grant(grant_id)?;
    }
    let now = pool.now;
    pool.ask(|wallet| wallet.reverse(&drawn.0, &paid, credits, now))?;
    uncount(pool, head, drawn, credits);
    Ok(())
}

/// Under spending limits a usage counts since it was charged; what a hold was charged, since the hold was made. The last
/// drawn, and so what went beyond the hold, goes back first.
fn uncount(pool: &LockedPool, head: &UsageHead, drawn: &Drawn, credits: Amount) {
    let customer_id = &pool.row.customer_id;
    let hold = head.reservation_id.as_deref().filter(|_| pool.row.limited);
    let Some(reservation) = hold.and_then(|id| reservations::one(customer_id, id)) else {
        return pool.unspend(credits, head.recorded_at);
    };
    let minus = |one: Amount, other: Amount| one.checked_sub(other).unwrap_or_default().max(Amount::ZERO);
    let gone = minus(head.credits, drawn.left());
    let beyond = minus(usages::beyond_hold(customer_id, head, &reservation.hold.id), gone).min(credits);
    pool.unspend(beyond, head.recorded_at);
    pool.unspend(minus(credits, beyond), reservation.hold.created_at);
}
