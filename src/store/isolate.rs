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
/// the call goes on; so too after a deadlock, which the locks that are given back resolve. What concerns the whole session
/// (cancelled, shutting down, out of memory or disk) is not kept from it.
pub fn attempt<T>(body: impl FnOnce() -> Result<T>) -> std::result::Result<T, String> {
    let _piece = super::in_hand::Piece::begin();
    let subtransaction = Subtransaction::begin();
    PgTryBuilder::new(AssertUnwindSafe(|| match body() {
        Ok(value) => {
            subtransaction.commit();
            Ok(value)
        }
        Err(error) => {
            subtransaction.roll_back();
            Err(error.to_string())
        }
    }))
    .catch_others(|cause: CaughtError| {
        let (CaughtError::PostgresError(report)
        | CaughtError::ErrorReport(report)
        | CaughtError::RustPanic { ereport: report, .. }) = &cause;
        if concerns_the_session(report.sql_error_code()) {
            subtransaction.pass_on(cause);
        }
        subtransaction.roll_back();
        Err(report.message().to_owned())
    })
    .execute()
}

/// Runs `body` in a subtransaction, whose end `keep` decides: what is not kept is undone, and its locks are given back.
/// Errors of PostgreSQL go on to the caller, as if there were no subtransaction.
pub fn undo_unless<T>(keep: impl FnOnce(&T) -> bool, body: impl FnOnce() -> T) -> T {
    let subtransaction = Subtransaction::begin();
    PgTryBuilder::new(AssertUnwindSafe(|| {
        let value = body();
        if keep(&value) {
            subtransaction.commit();
        } else {
            subtransaction.roll_back();
        }
        value
    }))
    .catch_others(|cause: CaughtError| subtransaction.pass_on(cause))
    .execute()
}

/// The sequence of calls is PL/pgSQL's for a block with EXCEPTION: begin, then release or roll back, each time with the
/// memory context and the resource owner of before.
#[derive(Clone, Copy)]
struct Subtransaction {
    context: pg_sys::MemoryContext,
    owner: pg_sys::ResourceOwner,
}

impl Subtransaction {
    fn begin() -> Subtransaction {
        // SAFETY: as described at the type; the caller's context and owner outlive the subtransaction.
        unsafe {
            let begun = Subtransaction { context: pg_sys::CurrentMemoryContext, owner: pg_sys::CurrentResourceOwner };
            pg_sys::BeginInternalSubTransaction(std::ptr::null());
            pg_sys::MemoryContextSwitchTo(begun.context);
            begun
        }
    }

    fn restore(self) {
        // SAFETY: both are of the caller, who is still running.
        unsafe {
            pg_sys::MemoryContextSwitchTo(self.context);
            pg_sys::CurrentResourceOwner = self.owner;
        }
    }

    fn commit(self) {
        // SAFETY: ends the subtransaction that `begin` began.
        unsafe { pg_sys::ReleaseCurrentSubTransaction() };
        self.restore();
    }

    fn roll_back(self) {
        // SAFETY: as above; the error that led here, if any, is done with.
        unsafe {
            pg_sys::MemoryContextSwitchTo(self.context);
            pg_sys::FlushErrorState();
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        self.restore();
    }

    /// Rolls back and lets the error go on: whoever catches it further out is in the transaction that it began.
    fn pass_on(self, cause: CaughtError) -> ! {
        // SAFETY: as above; PostgreSQL's error state stays for whoever catches the error.
        unsafe {
            pg_sys::MemoryContextSwitchTo(self.context);
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        self.restore();
        cause.rethrow()
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
    )
}
