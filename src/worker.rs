//! The optional background worker: run_maintenance by itself, every few seconds.
//!
//! Only where `shared_preload_libraries` names credit_pools, one process for each database that
//! `credit_pools.worker_databases` names. It commits after each batch and shows in pg_stat_activity what it does.

use std::ffi::CString;
use std::time::Duration;

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, BgWorkerStartTime, SignalWakeFlags};
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::engine::maintenance;
use crate::settings;
use crate::store::spi;

/// Pools per transaction: no lock is held for longer than such a batch takes.
const BATCH: i64 = 1_000;
/// Where the database is missing or the work fails as a whole.
const RESTART: Duration = Duration::from_secs(30);

/// To be called when the library is preloaded.
pub fn register() {
    // SAFETY: reads a variable of the postmaster.
    if !unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        return;
    }
    for database in settings::worker_databases() {
        BackgroundWorkerBuilder::new(&format!("credit_pools maintenance of {database}"))
            .set_type("credit_pools maintenance")
            .set_library("credit_pools")
            .set_function("credit_pools_worker_main")
            .set_extra(&database)
            .enable_spi_access()
            .set_start_time(BgWorkerStartTime::RecoveryFinished)
            .set_restart_time(Some(RESTART))
            .load();
    }
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn credit_pools_worker_main(_arg: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    BackgroundWorker::connect_worker_to_spi(Some(BackgroundWorker::get_extra()), None);
    loop {
        if BackgroundWorker::sighup_received() {
            // SAFETY: what PostgreSQL's own processes do after a SIGHUP.
            unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
        }
        let more = settings::worker_runs() && batch();
        let pause = if more { Duration::ZERO } else { settings::worker_interval() };
        if !BackgroundWorker::wait_latch(Some(pause)) {
            return;
        }
    }
}

/// One batch in a transaction of its own. Whether there is more to do.
fn batch() -> bool {
    report("maintenance", pg_sys::BackendState::STATE_RUNNING);
    let more = BackgroundWorker::transaction(|| {
        // The extension may be made later, or dropped.
        // SAFETY: looks a name up in the system catalogue.
        let here = unsafe { pg_sys::get_extension_oid(c"credit_pools".as_ptr(), true) } != pg_sys::InvalidOid;
        if !here {
            return false;
        }
        let _call = crate::store::in_hand::Call::begin();
        match spi::connected(|| maintenance::run(Some(BATCH))) {
            Ok(done) => done.leaves_more(),
            Err(error) => error.raise(),
        }
    });
    report("waiting", pg_sys::BackendState::STATE_IDLE);
    more
}

fn report(what: &str, state: pg_sys::BackendState::Type) {
    let Ok(text) = CString::new(format!("credit_pools: {what}")) else { return };
    // SAFETY: copies the text into this process's own entry.
    unsafe { pg_sys::pgstat_report_activity(state, text.as_ptr()) };
}
