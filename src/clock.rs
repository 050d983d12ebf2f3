//! The one source of time.

use std::ffi::CString;

use credit_pools_domain::Instant;
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::Error;
use crate::settings;

fn test_instant() -> Option<Instant> {
    let text = CString::new(settings::test_clock()?).ok()?;
    // SAFETY: timestamptz_in takes a C string, a type oid that it ignores, and a typmod; a malformed
    // setting is PostgreSQL's own error (22007).
    let datum = unsafe {
        pgrx::direct_function_call_as_datum(
            pg_sys::timestamptz_in,
            &[Some(text.as_ptr().into()), Some(pg_sys::InvalidOid.into()), Some((-1_i32).into())],
        )
    }?;
    let instant = Instant::from_micros(datum.value() as i64);
    if !instant.is_finite() {
        Error::argument("credit_pools.test_clock", "credit_pools.test_clock must be a finite instant").raise();
    }
    Some(instant)
}

/// For reads: the start of the statement.
pub fn statement_start() -> Instant {
    // SAFETY: reads a variable of the backend.
    test_instant().unwrap_or_else(|| Instant::from_micros(unsafe { pg_sys::GetCurrentStatementStartTimestamp() }))
}

/// For writes: this very instant. To be taken after the pool is locked.
pub fn now() -> Instant {
    // SAFETY: asks the operating system's clock.
    test_instant().unwrap_or_else(|| Instant::from_micros(unsafe { pg_sys::GetCurrentTimestamp() }))
}

/// credit_pools.clock(): the instant that reads in this statement take for now.
#[pg_extern(stable, parallel_safe)]
fn clock() -> TimestampWithTimeZone {
    crate::store::spi::timestamp(statement_start())
}
