//! Holds: credits put aside for a running job, settled, released, or given more time.

use std::rc::Rc;

use credit_pools_domain::{Amount, Drawn, Hold, HoldStatus, Instant, Price, Span};
use serde::{Deserialize, Serialize};

use super::granting::check_scale;
use super::pool::LockedPool;
use super::pricing;
use super::replay::Payload;
use super::usage::{self, Charge};
use crate::error::{Error, Kind, Result};
use crate::store::ledger::{self, Note, UsageNote};
use crate::store::reservations::{self, Reservation};
use crate::store::spi::{Sequence, next_id};
use crate::store::{cache, spi};

/// No hold is longer (contract, section 5).
const LONGEST_HOLD: i64 = 86_400_000_000;

pub struct Request<'a> {
    pub reservation_id: Option<&'a str>,
    /// What would be used.
    pub usage: usage::Request<'a>,
    pub ttl: Span,
}

/// A hold as a call returns it.
pub struct Held {
    pub reservation_id: String,
    pub pool_id: i64,
    pub credit_type_id: String,
    pub status: HoldStatus,
    /// Held at first.
    pub amount: Amount,
    pub held: Amount,
    pub charged: Amount,
    pub balance: Amount,
    pub expires_at: Instant,
    pub is_duplicate: bool,
}

/// Puts credits aside, once per reservation_id. The id is looked up before everything else and, as another session may
/// be making the same hold, again under the lock and where the call fails.
pub fn reserve<'a>(
    customer_id: &str,
    reservation_id: Option<&str>,
    payload: &Payload,
    request: impl FnOnce() -> Result<Request<'a>>,
) -> Result<Held> {
    if let Some(first) = recorded(customer_id, reservation_id, payload)? {
        return Ok(first);
    }
    match request().and_then(|request| put_aside(&request, payload)) {
        Ok(held) => Ok(held),
        Err(error) => recorded(customer_id, reservation_id, payload)?.ok_or(error),
    }
}

/// What the call that made the hold returned; another payload is a conflict.
fn recorded(customer_id: &str, reservation_id: Option<&str>, payload: &Payload) -> Result<Option<Held>> {
    let known = reservation_id.and_then(|id| reservations::one(customer_id, id));
    let Some(reservation) = known else { return Ok(None) };
    if reservation.payload_digest != payload.digest() {
        return Err(other_figures(&reservation.hold.id));
    }
    let row = crate::store::pools::read(customer_id, reservation.pool_id);
    Ok(Some(Held {
        reservation_id: reservation.hold.id.to_string(),
        pool_id: reservation.pool_id,
        credit_type_id: row.map(|row| row.credit_type_id).unwrap_or_default(),
        status: HoldStatus::Active,
        amount: reservation.amount,
        held: reservation.amount,
        charged: Amount::ZERO,
        balance: reservation.first_balance,
        expires_at: reservation.first_expires_at,
        is_duplicate: true,
    }))
}

fn other_figures(reservation_id: &str) -> Error {
    Error::new(
        Kind::IdempotencyConflict,
        format!("reservation \"{reservation_id}\" was made or settled before with other figures"),
    )
    .with("reservation_id", reservation_id)
    .hint("Repeat the call with the values of the first time, or take a new reservation_id for a new hold.")
}

fn put_aside(request: &Request, payload: &Payload) -> Result<Held> {
    let customer_id = request.usage.customer_id;
    let Charge { mut pool, cost, quote } = usage::locked(&request.usage)?;
    if let Some(first) = recorded(customer_id, request.reservation_id, payload)? {
        return Ok(first);
    }
    let id: Rc<str> = match request.reservation_id {
        Some(id) => Rc::from(id),
        None => made_id(customer_id),
    };
    let now = pool.now;
    let expires_at = end_of(now, request.ttl)?;
    let feature_id = request.usage.what.feature();
    pool.load_first(cost);
    pool.load_limits();
    pool.ask(|wallet| wallet.reserve(&id, cost, feature_id, expires_at, now))?;
    pool.spend(cost);
    let by_value = request.usage.what.value();
    let hold = pool.row.wallet.holds.iter_mut().find(|hold| hold.id == id);
    let hold = hold.ok_or_else(|| Error::state("the reservation was not made"))?;
    (hold.fresh, hold.dirty) = (false, false);
    let reservation = Reservation {
        hold: hold.clone(),
        pool_id: pool.row.pool_id,
        amount: cost,
        feature_id: feature_id.map(str::to_owned),
        value: by_value,
        price: quote.map(|quote| quote.rate.price),
        dimensions: request.usage.dimensions.map(str::to_owned),
        payload_digest: payload.digest(),
        first_expires_at: expires_at,
        first_balance: pool.row.wallet.figures.balance,
        closing_digest: None,
        closing_result: None,
        metadata: request.usage.metadata.map(str::to_owned),
    };
    if !reservations::insert(customer_id, &reservation) {
        return Err(other_figures(&id));
    }
    pool.write(Note { dimensions: request.usage.dimensions, metadata: request.usage.metadata, ..Note::default() });
    let balance = pool.final_balance();
    if balance != reservation.first_balance {
        reservations::keep_balance(customer_id, &id, balance);
    }
    Ok(Held { balance, is_duplicate: false, ..seen(&pool, &reservation, &reservation.hold) })
}

fn made_id(customer_id: &str) -> Rc<str> {
    loop {
        let id = format!("rsv_{}", next_id(Sequence::Reservation));
        if reservations::one(customer_id, &id).is_none() {
            return Rc::from(id);
        }
    }
}

fn end_of(now: Instant, ttl: Span) -> Result<Instant> {
    let micros = ttl.nominal_micros();
    if !(1..=LONGEST_HOLD).contains(&micros) {
        return Err(Error::argument("ttl", "ttl must be above zero and at most 24 hours"));
    }
    Ok(now.plus_micros(micros))
}

fn seen(pool: &LockedPool, reservation: &Reservation, hold: &Hold) -> Held {
    Held {
        reservation_id: hold.id.to_string(),
        pool_id: pool.row.pool_id,
        credit_type_id: pool.row.credit_type_id.clone(),
        status: hold.status,
        amount: reservation.amount,
        held: hold.held(),
        charged: hold.charged,
        balance: pool.final_balance(),
        expires_at: hold.expires_at,
        is_duplicate: false,
    }
}

/// A hold's pool, locked and with what is due carried out, and the hold as it is now.
fn lock(customer_id: &str, reservation_id: &str) -> Result<(LockedPool, Reservation)> {
    let unknown = || Error::unknown("reservation", reservation_id);
    let pool_id = reservations::one(customer_id, reservation_id).ok_or_else(unknown)?.pool_id;
    let mut pool = LockedPool::lock(customer_id, pool_id)?;
    let mut reservation = reservations::one(customer_id, reservation_id).ok_or_else(unknown)?;
    match pool.row.wallet.find_hold(reservation_id) {
        // As the clock left it.
        Some(hold) => reservation.hold = hold.clone(),
        None if reservation.hold.status == HoldStatus::Active => pool.load_hold(reservation.hold.clone())?,
        None => {}
    }
    pool.load_limits();
    Ok((pool, reservation))
}

fn closed(reservation: &Reservation) -> Error {
    let (id, status) = (&*reservation.hold.id, reservation.hold.status.as_str());
    Error::state(format!("reservation \"{id}\" is {status}")).with("reservation_id", id).with("status", status)
}

/// How much of a hold is to be charged.
#[derive(Clone, Copy)]
pub enum Figure {
    Held,
    Amount(Amount),
    Value(Amount),
}

pub struct Settlement<'a> {
    pub reservation_id: &'a str,
    pub figure: Figure,
    /// The hold ends with it.
    pub close: bool,
    pub dimensions: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
    pub metadata: Option<&'a str>,
    /// Tells a repeated settlement from another.
    pub digest: i64,
}

#[derive(Serialize, Deserialize)]
pub struct Settled {
    pub usage_id: i64,
    pub pool_id: i64,
    pub credit_type_id: String,
    pub credits_consumed: Amount,
    pub balance: Amount,
    pub held: Amount,
    #[serde(skip)]
    pub is_duplicate: bool,
}

/// Charges a hold: what is held to the grants that back it, an excess as any usage.
pub fn settle(customer_id: &str, settlement: &Settlement) -> Result<Settled> {
    let (mut pool, reservation) = lock(customer_id, settlement.reservation_id)?;
    let id = &*reservation.hold.id;
    match reservation.hold.status {
        HoldStatus::Active => {}
        HoldStatus::Settled => {
            if reservation.closing_digest != Some(settlement.digest) {
                return Err(other_figures(id));
            }
            if pool.has_due() {
                pool.write(Note::default());
            }
            let first = reservation.closing_result.and_then(|result| serde_json::from_value::<Settled>(result).ok());
            let first = first.ok_or_else(|| Error::state(format!("reservation \"{id}\" has no recorded result")))?;
            return Ok(Settled { is_duplicate: true, ..first });
        }
        HoldStatus::Released | HoldStatus::Expired => return Err(closed(&reservation)),
    }
    cache::refresh();
    let charge = charge_of(&pool, &reservation, settlement)?;
    let (now, feature_id) = (pool.now, reservation.feature_id.as_deref());
    let held = reservation.hold.held();
    pool.ask(|wallet| wallet.settle(id, charge, feature_id, settlement.close, now))?;
    // What was held counts under the limits since it was put aside.
    if charge > held {
        pool.spend(minus(charge, held));
    } else if settlement.close {
        pool.unspend(minus(held, charge), reservation.hold.created_at);
    }
    let usage_id = next_id(Sequence::Usage);
    let by_value = matches!(settlement.figure, Figure::Value(_));
    let note = Note {
        usage: Some(UsageNote {
            usage_id,
            feature_id,
            value: if let Figure::Value(value) = settlement.figure { Some(value) } else { None },
            credits: charge,
            shortfall: Amount::ZERO,
            rate: reservation.price.as_ref().filter(|_| by_value).and_then(Price::per_unit),
            payload_digest: None,
        }),
        idempotency_key: settlement.idempotency_key,
        dimensions: settlement.dimensions.or(reservation.dimensions.as_deref()),
        metadata: settlement.metadata,
        ..Note::default()
    };
    if charge.is_zero() {
        ledger::insert_unbooked(&pool.row, &note, &spi::actor(), now, now);
        pool.write(Note { idempotency_key: settlement.idempotency_key, ..Note::default() });
    } else {
        pool.write(note);
    }
    let drawn = Drawn { credits: charge, shortfall: Amount::ZERO };
    let outcome = usage::outcome(&pool, usage_id, drawn);
    let settled = Settled {
        usage_id,
        pool_id: outcome.pool_id,
        credit_type_id: outcome.credit_type_id,
        credits_consumed: charge,
        balance: outcome.balance,
        held: pool.row.wallet.find_hold(id).map_or(Amount::ZERO, Hold::held),
        is_duplicate: false,
    };
    if settlement.close
        && let Ok(text) = serde_json::to_string(&settled)
    {
        reservations::keep_closing(customer_id, id, settlement.digest, &text);
    }
    Ok(settled)
}

fn minus(one: Amount, other: Amount) -> Amount {
    one.checked_sub(other).unwrap_or_default()
}

/// What a settlement costs: by value at the price of the hold.
fn charge_of(pool: &LockedPool, reservation: &Reservation, settlement: &Settlement) -> Result<Amount> {
    let scale = pricing::scale_of(&pool.row.credit_type_id);
    match (settlement.figure, &reservation.price) {
        (Figure::Held, _) => Ok(reservation.hold.held()),
        (Figure::Amount(amount), _) => check_scale("amount", amount, scale).map(|()| amount),
        (Figure::Value(value), Some(price)) => {
            let dimensions = settlement.dimensions.or(reservation.dimensions.as_deref());
            pricing::cost(price, value, dimensions, scale)
        }
        (Figure::Value(_), None) => Err(Error::argument("value", "the reservation is of credits, not of a feature")
            .hint("Settle it by amount, or leave both out to charge all that is held.")),
    }
}

/// Gives all of a hold back. One that was given back before, or timed out, is the same success.
pub fn release(customer_id: &str, reservation_id: &str) -> Result<Held> {
    let (mut pool, reservation) = lock(customer_id, reservation_id)?;
    let now = pool.now;
    let is_duplicate = match reservation.hold.status {
        HoldStatus::Active => false,
        HoldStatus::Settled => return Err(closed(&reservation)),
        HoldStatus::Released | HoldStatus::Expired => true,
    };
    if !is_duplicate {
        let held = pool.ask(|wallet| wallet.release(reservation_id, now))?;
        pool.unspend(held, reservation.hold.created_at);
        pool.write(Note::default());
    } else if pool.has_due() {
        pool.write(Note::default());
    }
    let hold = pool.row.wallet.find_hold(reservation_id).unwrap_or(&reservation.hold);
    Ok(Held { is_duplicate, ..seen(&pool, &reservation, hold) })
}

/// Lets a hold end `ttl` from now.
pub fn extend(customer_id: &str, reservation_id: &str, ttl: Span) -> Result<Held> {
    let (mut pool, reservation) = lock(customer_id, reservation_id)?;
    let now = pool.now;
    let expires_at = end_of(now, ttl)?;
    if reservation.hold.status != HoldStatus::Active {
        return Err(closed(&reservation));
    }
    let changed = pool.ask(|wallet| wallet.extend(reservation_id, expires_at, now))?;
    if changed || pool.has_due() {
        pool.write(Note::default());
    }
    let hold = pool.row.wallet.find_hold(reservation_id).unwrap_or(&reservation.hold);
    Ok(seen(&pool, &reservation, hold))
}
