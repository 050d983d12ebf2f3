//! The SQL functions: check arguments, call the engine, shape the row. A file per group of the contract.
//!
//! Every argument is an `Option` with DEFAULT NULL: a function with plain arguments would be STRICT and
//! silently do nothing for a NULL, and a missing argument gets a clear error instead of "no such function".

mod args;
mod batch;
mod catalogue;
mod checks;
mod events;
mod grants;
mod limits;
mod maintenance;
mod metering;
mod pools;
mod reads;
mod recharge;
mod reservations;
mod subscriptions;
mod triggers;
mod usage;
mod verify;

use crate::error::{Error, Result};
use crate::store::spi;

/// Runs a call connected to SPI, and raises what it refuses.
fn call<T>(body: impl FnOnce() -> Result<T>) -> T {
    spi::connected(body).unwrap_or_else(|error: Error| error.raise())
}
