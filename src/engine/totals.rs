//! Usage reported as the new total of a billing period (update_behavior 'set'): the difference to what was reported so
//! far is charged, or goes back.

use credit_pools_domain::{Amount, Drawn, Instant, Span, Zone};

use super::pool::LockedPool;
use super::pricing::{self, Quote};
use super::reversing;
use super::usage::{self, Key, Outcome, Request, What};
use crate::error::{Error, Result};
use crate::store::ledger::{self, Note, ReversalNote, UsageNote};
use crate::store::spi::{Sequence, next_id};
use crate::store::{spi, usages};

const A_MONTH: Span = Span { months: 1, days: 0, micros: 0 };

/// Brings a feature's total of the period in which the usage occurred to the value that was asked for. The pool is
/// locked and has nothing unwritten but what the clock did. `None`: the key is taken.
pub fn set(pool: &mut LockedPool, request: &Request, quote: &Quote, key: Option<&Key>) -> Result<Option<Outcome>> {
    let What::Feature { feature_id, value: wanted } = request.what else {
        return Err(Error::argument("update_behavior", "only usage of a feature has a total"));
    };
    pricing::check_covered(request, quote, pool.now)?;
    let occurred_at = usage::check_occurred(request, pool.now)?;
    let (start, end) = period(quote, occurred_at)?;
    let usage_id = next_id(Sequence::Usage);
    pool.write_due()?;
    let period = usages::Period { feature_id, start, end };
    let total = usages::total(&pool.row, &period, usage_id);
    let difference =
        wanted.checked_sub(total).ok_or_else(|| Error::argument("value", "the total has too many digits"))?;
    let request = &Request { what: What::Feature { feature_id, value: difference }, ..request.clone() };
    if difference.is_positive() {
        let cost = pricing::cost_now(request, quote, difference, pool.now)?;
        return usage::draw(pool, request, usage_id, cost, Some(&quote.rate.price), key);
    }
    let returned = lower(pool, &period, -difference)?;
    let note = Note {
        usage: Some(UsageNote {
            usage_id,
            feature_id: Some(feature_id),
            value: Some(difference),
            credits: Amount::ZERO,
            // What came back, for a call that is repeated.
            shortfall: -returned,
            rate: None,
            payload_digest: key.map(|key| key.payload.digest()),
        }),
        idempotency_key: key.map(|key| key.key),
        dimensions: request.dimensions,
        metadata: request.metadata,
        ..Note::default()
    };
    let recorded = ledger::insert_unbooked(&pool.row, &note, &spi::actor(), occurred_at, pool.now);
    let drawn = Drawn { credits: -returned, shortfall: Amount::ZERO };
    Ok(recorded.then(|| usage::outcome(pool, usage_id, drawn)))
}

/// The subscription's billing month around an instant.
fn period(quote: &Quote, at: Instant) -> Result<(Instant, Instant)> {
    let zone = Zone::find(&quote.scope.time_zone).unwrap_or_else(|_| Zone::utc());
    let period = zone.period(quote.scope.starts_at, A_MONTH, at);
    let (_, start, end) =
        period.map_err(|_| Error::argument("occurred_at", "the period leaves the calendar's range"))?;
    Ok((start, end))
}

/// Gives back what `value` of the period's usage cost, latest usage first; returns the credits.
fn lower(pool: &mut LockedPool, period: &usages::Period, value: Amount) -> Result<Amount> {
    let too_large = || Error::argument("value", "the total has too many digits");
    let customer_id = pool.row.customer_id.clone();
    let scale = pricing::scale_of(&pool.row.credit_type_id);
    pool.load_limits();
    let (mut rest, mut returned) = (value, Amount::ZERO);
    for candidate in usages::latest_first(&pool.row, period) {
        let part = candidate.value_left.min(rest);
        if !part.is_positive() {
            continue;
        }
        rest = rest.checked_sub(part).ok_or_else(too_large)?;
        let usage_id = candidate.usage_id;
        let drawn = reversing::Drawn::of(&customer_id, usage_id);
        let credits = if part == candidate.value_left {
            drawn.left()
        } else {
            // In proportion of its value, cut to the scale.
            drawn.left().share_floor(part, candidate.value_left, scale).ok_or_else(too_large)?
        };
        usages::add_reversed(&customer_id, usage_id, credits, part);
        let Some(head) = usages::head(&customer_id, usage_id).filter(|_| credits.is_positive()) else { continue };
        pool.reload_if_stale()?;
        reversing::take_back(pool, &head, &drawn, credits)?;
        let reversal = ReversalNote { usage_id, feature_id: Some(period.feature_id), value: None };
        pool.write(Note { reversal: Some(reversal), reason: Some("a lower total"), ..Note::default() });
        returned = returned.checked_add(credits).ok_or_else(too_large)?;
    }
    Ok(returned)
}
