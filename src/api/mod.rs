//! The SQL functions: check arguments, call the engine, shape the row. A file per group of the contract.
//!
//! Every argument is an `Option` with DEFAULT NULL: a function with plain arguments would be STRICT and
//! silently do nothing for a NULL, and a missing argument gets a clear error instead of "no such function".

mod access;
mod archive;
mod args;
mod batch;
mod catalogue;
mod chart;
mod checks;
mod composite;
mod events;
mod grants;
mod limits;
mod maintenance;
mod metering;
mod page;
mod pools;
mod reads;
mod recharge;
mod report;
mod reservations;
mod subscriptions;
mod triggers;
mod usage;
mod verify;

use crate::error::{Error, Kind, Result};
use crate::store::access::{Reach, as_owner, reach};
use crate::store::in_hand::Call;
use crate::store::spi;

/// Runs a call connected to SPI, and raises what it refuses.
fn call<T>(body: impl FnOnce() -> Result<T>) -> T {
    let result = {
        let _call = Call::begin();
        spi::connected(body)
    };
    result.unwrap_or_else(|error: Error| error.raise())
}

/// Runs a call that only reads, for a role that may see what it is about: with the owner's rights, as the tables are not
/// the caller's to read.
fn read<T>(body: impl FnOnce(&Reach) -> Result<T>) -> T {
    call(|| {
        let reach = reach();
        as_owner(|| body(&reach))
    })
}

/// A tenant may ask for its own only. What it may not see and what is not there are one to it.
fn visible(reach: &Reach, customer_id: &str, resource_id: &str) -> Result<()> {
    if reach.covers(customer_id, resource_id) { Ok(()) } else { Err(hidden(customer_id, resource_id)) }
}

/// All of a customer, and not just one resource of it.
fn visible_customer(reach: &Reach, customer_id: &str) -> Result<()> {
    if reach.covers_customer(customer_id) { Ok(()) } else { Err(hidden(customer_id, "")) }
}

fn hidden(customer_id: &str, resource_id: &str) -> Error {
    let what = match resource_id {
        "" => format!("customer \"{customer_id}\""),
        _ => format!("resource \"{resource_id}\" of customer \"{customer_id}\""),
    };
    Error::new(Kind::InsufficientPrivilege, format!("permission denied for {what}"))
        .hint("A tenant sees what grant_access has named for it.")
}
