//! Credits from one pool of a customer to another, by explicit call only.

use credit_pools_domain::{Amount, Limit};
use serde::{Deserialize, Serialize};

use super::granting::check_scale;
use super::opening::{check_scope, granting_credit_type, open_or_lock};
use super::pool::{LockedPool, describe_scope, insufficient};
use crate::error::{Error, Result};
use crate::store::ledger::Note;
use crate::store::spi::{Sequence, next_id};
use crate::store::{catalogue, pools};

pub struct Request<'a> {
    pub customer_id: &'a str,
    pub credit_type_id: &'a str,
    pub amount: Amount,
    pub from_resource_id: &'a str,
    pub to_resource_id: &'a str,
    pub reason: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
pub struct Outcome {
    pub amount: Amount,
    pub from_pool_id: i64,
    pub from_balance: Amount,
    pub to_pool_id: i64,
    pub to_balance: Amount,
}

/// Moves credits. Both pools are locked in the order of their ids; one that is missing at the end is opened.
pub fn transfer(request: &Request) -> Result<Outcome> {
    let Request { customer_id, credit_type_id, from_resource_id, to_resource_id, .. } = *request;
    if from_resource_id == to_resource_id {
        return Err(Error::argument("to_resource_id", "credits cannot be transferred to the pool that they are in"));
    }
    check_scope(customer_id, from_resource_id)?;
    check_scope(customer_id, to_resource_id)?;
    let credit_type =
        catalogue::credit_type(credit_type_id).ok_or_else(|| Error::unknown("credit_type", credit_type_id))?;
    check_scale("amount", request.amount, credit_type.scale)?;
    if pools::read_by_name(customer_id, to_resource_id, credit_type_id).is_none() {
        // New, and so nobody's: that its id is the later one makes no cycle.
        granting_credit_type(credit_type_id)?;
        let (mut pool, _) = open_or_lock(customer_id, to_resource_id, credit_type_id, None, None)?;
        pool.write(Note::default());
    }
    let mut locked =
        LockedPool::all_advanced(pools::lock_pair(customer_id, credit_type_id, from_resource_id, to_resource_id))?;
    let mut take = |resource_id: &str| {
        let index = locked.iter().position(|pool| pool.row.resource_id == resource_id)?;
        Some(locked.swap_remove(index))
    };
    let Some(mut to) = take(to_resource_id) else {
        return Err(Error::state("the pool was not opened"));
    };
    let Some(mut from) = take(from_resource_id) else {
        let (none, floor) = (Amount::ZERO, Limit::Finite(Amount::ZERO));
        let scope = describe_scope(from_resource_id, credit_type_id);
        return Err(insufficient(&scope, None, none, request.amount, request.amount, floor));
    };
    let now = from.now;
    let moved = from.ask(|wallet| wallet.transfer(request.amount, &mut || next_id(Sequence::Grant), now))?;
    let now = to.now;
    for grant in moved {
        to.ask(|wallet| wallet.transfer_in(grant.clone(), now))?;
    }
    let note = Note { reason: request.reason, idempotency_key: request.idempotency_key, ..Note::default() };
    from.write(note.clone());
    to.write(note.clone());
    Ok(Outcome {
        amount: request.amount,
        from_pool_id: from.row.pool_id,
        from_balance: from.final_balance(),
        to_pool_id: to.row.pool_id,
        to_balance: to.final_balance(),
    })
}
