//! Spending limits: caps per calendar window on a pool, or on a customer across all resources.

use std::cell::RefCell;
use std::rc::Rc;

use credit_pools_domain::{Amount, Instant, Limit, Span, SpendingLimit, Zone};

use super::opening::check_scope;
use super::pool::{LockedPool, describe_scope};
use super::recharging::customer_zone;
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::store::limits::{self, Covered, LimitRow, Of};
use crate::store::pools::PoolRow;
use crate::store::{catalogue, customers, ledger, pools};

/// The limits that cover one pool. A customer's may be shared with the other pools that a call has locked.
#[derive(Clone, Default)]
pub struct Limits(Vec<Rc<RefCell<LimitRow>>>);

impl Limits {
    /// Of a locked pool, in their present windows. The rows are locked, too. What holds of this pool gave back is taken off
    /// when it is booked; that of others may not be booked yet.
    pub fn lock_for(pool: &PoolRow, now: Instant) -> Limits {
        let rows = limits::lock_for(&pool.customer_id, &pool.credit_type_id, &pool.resource_id);
        Limits::entered(rows, pool, now, |row| row.all_resources.then_some(Of::AllBut(pool.pool_id)))
    }

    /// The same without a lock, for reads: nothing is booked first.
    pub fn read_for(pool: &PoolRow, now: Instant) -> Limits {
        let rows = limits::read_for(&pool.customer_id, &pool.credit_type_id, &pool.resource_id);
        Limits::entered(rows, pool, now, |row| Some(if row.all_resources { Of::All } else { Of::Pool(pool.pool_id) }))
    }

    fn entered(mut rows: Vec<LimitRow>, pool: &PoolRow, now: Instant, of: impl Fn(&LimitRow) -> Option<Of>) -> Limits {
        let PoolRow { customer_id, credit_type_id, .. } = pool;
        if !rows.is_empty() {
            let zone = customer_zone(customer_id).unwrap_or_else(|_| Zone::utc());
            for row in &mut rows {
                // It was within the calendar when it was set.
                if let Ok(window) = zone.window(row.per, now) {
                    row.limit.enter(window);
                }
                if let Some(of) = of(row) {
                    row.over = limits::timed_out(customer_id, credit_type_id, of, row.limit.window_start, now);
                }
            }
        }
        Limits(rows.into_iter().map(|row| Rc::new(RefCell::new(row))).collect())
    }

    /// Takes the customer's limits from `others`, so that what one pool spends counts for the next.
    pub fn share(&mut self, others: &Limits) {
        let customers = others.0.iter().filter(|row| row.borrow().all_resources);
        self.0.retain(|row| !row.borrow().all_resources);
        self.0.extend(customers.map(Rc::clone));
    }

    /// What may still be used under the tightest.
    pub fn left(&self) -> Option<Amount> {
        self.0.iter().map(|row| row.borrow().left()).min()
    }

    pub fn spend(&self, amount: Amount) {
        self.each(amount, |limit| limit.spend(amount));
    }

    pub fn unspend(&self, amount: Amount, since: Instant) {
        self.each(amount, |limit| limit.unspend(amount, since));
    }

    fn each(&self, amount: Amount, change: impl Fn(&mut SpendingLimit)) {
        for row in self.0.iter().filter(|_| amount.is_positive()) {
            let mut row = row.borrow_mut();
            change(&mut row.limit);
            row.dirty = true;
        }
    }

    pub fn save(&self, customer_id: &str, credit_type_id: &str, scope_id: &str) {
        for row in &self.0 {
            if row.borrow().dirty {
                limits::save(customer_id, credit_type_id, scope_id, &row.borrow());
                row.borrow_mut().dirty = false;
            }
        }
    }

    /// The refusal of the tightest.
    pub fn refusal(&self, scope_id: &str, credit_type_id: &str, required: Amount) -> Error {
        let tightest = self.0.iter().min_by_key(|row| row.borrow().left());
        let Some(row) = tightest.map(|row| row.borrow()) else {
            return Error::new(Kind::LimitExceeded, "a spending limit is reached");
        };
        let SpendingLimit { amount, window_start, window_end, .. } = row.limit;
        let used = row.used();
        let (scope, who) = if row.all_resources {
            ("customer", format!("the customer, credit type \"{credit_type_id}\","))
        } else {
            ("pool", format!("the pool of {}", describe_scope(scope_id, credit_type_id)))
        };
        let per = &row.per_text;
        Error::new(
            Kind::LimitExceeded,
            format!("the spending limit of {who} is {amount} per {per}: {used} used, {required} required"),
        )
        .with_number("limit", amount)
        .with_number("used", used)
        .with_number("required", required)
        .with("per", per.as_str())
        .with("scope", scope)
        .with("window_start", window_start.to_string())
        .with("window_end", window_end.to_string())
        .hint("Wait for the next window, or change the limit with set_limit.")
    }
}

/// The calendar window around an instant, in the customer's time zone.
pub fn window(customer_id: &str, per: Span, now: Instant) -> Option<(Instant, Instant)> {
    customer_zone(customer_id).ok()?.window(per, now).ok()
}

pub struct Request<'a> {
    pub customer_id: &'a str,
    pub resource_id: &'a str,
    pub credit_type_id: &'a str,
    /// Infinity lifts the limit.
    pub amount: Limit,
    pub per: Span,
    pub all_resources: bool,
}

/// Sets or lifts a limit. What was used in the window before counts. Locks the pools that it covers, by id.
pub fn set(request: &Request) -> Result<SpendingLimit> {
    let Request { customer_id, resource_id, credit_type_id, all_resources, per, .. } = *request;
    check_scope(customer_id, resource_id)?;
    let credit_type =
        catalogue::credit_type(credit_type_id).ok_or_else(|| Error::unknown("credit_type", credit_type_id))?;
    if let Limit::Finite(amount) = request.amount {
        super::granting::check_scale("amount", amount, credit_type.scale)?;
    }
    // Pools that are opened meanwhile find the limit; those that are there are locked.
    let rows = if all_resources {
        customers::lock_customer(customer_id);
        pools::lock_credit_type(customer_id, credit_type_id)
    } else {
        customers::lock_scope(customer_id, resource_id);
        pools::lock_by_name(customer_id, resource_id, credit_type_id).into_iter().collect()
    };
    let scope = if all_resources { "" } else { resource_id };
    if pools::hidden(customer_id, credit_type_id, scope, rows.len()) && (all_resources || !resource_id.is_empty()) {
        return Err(Error::new(Kind::SerializationFailure, "could not serialize access: a pool was opened meanwhile"));
    }
    let mut locked = LockedPool::all_advanced(rows)?;
    // What is due is booked first, so that it counts as it will.
    for pool in &mut locked {
        pool.write_due()?;
    }
    let now = locked.iter().map(|pool| pool.now).max().unwrap_or_else(clock::now);
    let window = customer_zone(customer_id)?.window(per, now);
    let (window_start, window_end) = window.map_err(|_| super::recharging::bad_span("per"))?;
    let mut used = Amount::ZERO;
    for pool in &locked {
        let pool_id = pool.row.pool_id;
        let (before, _) = ledger::last_recorded_by(customer_id, pool_id, window_start.plus_micros(-1));
        let part = limits::used_since(customer_id, pool_id, before, window_start);
        used = used.checked_add(part).ok_or_else(|| Error::argument("amount", "too much was used to be counted"))?;
    }
    let covered = Covered { customer_id, credit_type_id, all_resources, scope_id: scope, per };
    let limit = |amount| SpendingLimit { amount, window_start, window_end, used };
    let set = match request.amount {
        Limit::Finite(amount) => {
            if limits::amount_of(&covered) != Some(amount) {
                limits::put(&covered, &limit(amount), now);
            }
            limit(amount)
        }
        Limit::Unlimited => {
            limits::remove(&covered);
            limit(Amount::ZERO)
        }
    };
    for pool in &locked {
        let limited = limits::any_for(customer_id, credit_type_id, &pool.row.resource_id);
        if pool.row.limited != limited {
            pools::set_limited(customer_id, pool.row.pool_id, limited);
        }
    }
    Ok(set)
}
