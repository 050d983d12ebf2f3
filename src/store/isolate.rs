//! Long work in pieces: memory that is freed after each, and failures that undo one piece only.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;

use crate::error::Result;

/// Runs `body` in a memory context of its own. What PostgreSQL allocates for it (values of statements above all)
/// would otherwise pile up until the SQL function ends.
pub fn in_scratch_memory<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: the context is a child of the current one, which outlives it also where `body` unwinds; Rust values
    // do not live in it.
    unsafe {
        let outer = pg_sys::CurrentMemoryContext;
        let scratch = pg_sys::AllocSetContextCreateInternal(
            outer,
            c"credit_pools scratch".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        );
        pg_sys::MemoryContextSwitchTo(scratch);
        let value = body();
        pg_sys::MemoryContextSwitchTo(outer);
        pg_sys::MemoryContextDelete(scratch);
        value
    }
}

/// Runs `body` in a subtransaction: where it fails, what it wrote is undone, its message comes back, and the rest of
/// the call goes on. What concerns the whole session (cancelled, shutting down, out of memory or disk) is not kept
/// from it.
pub fn attempt<T>(body: impl FnOnce() -> Result<T>) -> std::result::Result<T, String> {
    // SAFETY: the sequence of calls is PL/pgSQL's for a block with EXCEPTION: begin, then release or roll back, each
    // time with the memory context and the resource owner of before.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let restore = move || {
            pg_sys::MemoryContextSwitchTo(context);
            pg_sys::CurrentResourceOwner = owner;
        };
        let roll_back = move || {
            pg_sys::MemoryContextSwitchTo(context);
            pg_sys::FlushErrorState();
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
            restore();
        };
        PgTryBuilder::new(AssertUnwindSafe(|| match body() {
            Ok(value) => {
                pg_sys::ReleaseCurrentSubTransaction();
                restore();
                Ok(value)
            }
            Err(error) => {
                roll_back();
                Err(error.to_string())
            }
        }))
        .catch_others(move |cause: CaughtError| {
            let (CaughtError::PostgresError(report)
            | CaughtError::ErrorReport(report)
            | CaughtError::RustPanic { ereport: report, .. }) = &cause;
            if concerns_the_session(report.sql_error_code()) {
                // With PostgreSQL's error state as it is; the transaction's end cleans up.
                cause.rethrow();
            }
            roll_back();
            Err(report.message().to_owned())
        })
        .execute()
    }
}

fn concerns_the_session(code: PgSqlErrorCode) -> bool {
    use PgSqlErrorCode::*;
    matches!(
        code,
        ERRCODE_QUERY_CANCELED
            | ERRCODE_ADMIN_SHUTDOWN
            | ERRCODE_CRASH_SHUTDOWN
            | ERRCODE_CANNOT_CONNECT_NOW
            | ERRCODE_DATABASE_DROPPED
            | ERRCODE_INSUFFICIENT_RESOURCES
            | ERRCODE_DISK_FULL
            | ERRCODE_OUT_OF_MEMORY
            | ERRCODE_T_R_SERIALIZATION_FAILURE
            | ERRCODE_T_R_DEADLOCK_DETECTED
    )
}
