//! The extension's settings (GUCs), all under `credit_pools.`.

use std::ffi::CString;
use std::time::Duration;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static TEST_CLOCK: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static ACTOR: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static WORKER_DATABASES: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static WORKER_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(10);
static EVENTS: GucSetting<bool> = GucSetting::<bool>::new(true);
static EVENT_NOTIFY: GucSetting<bool> = GucSetting::<bool>::new(false);
static EVENT_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(MONTH_IN_MINUTES);
static EVENT_SOURCE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(DEFAULT_SOURCE));
static ROLLUP_ROWS: GucSetting<i32> = GucSetting::<i32>::new(1_000);
static PROGRESS_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(10);
static SHARD: GucSetting<i32> = GucSetting::<i32>::new(0);

static DIRECT_ACCESS: GucSetting<bool> = GucSetting::<bool>::new(true);

const MONTH_IN_MINUTES: i32 = 30 * 24 * 60;
const DEFAULT_SOURCE: &std::ffi::CStr = c"/credit_pools";

/// Ids carry the shard's number above this bit: 2048 shards with 4.5 × 10^15 ids each.
const SHARD_SHIFT: u32 = 52;

pub fn register() {
    GucRegistry::define_string_guc(
        c"credit_pools.test_clock",
        c"The instant that credit_pools takes for now; empty for the real time.",
        c"For tests. A timestamp with time zone; only a superuser may set it.",
        &TEST_CLOCK,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"credit_pools.actor",
        c"Who acts, as recorded in the ledger; empty for the session's user.",
        c"Set by an application that connects as one role on behalf of many users.",
        &ACTOR,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"credit_pools.shard",
        c"The number of this installation, in the top bits of every id that it makes.",
        c"0 to 2047. Set once for a database that is one of several shards, before it makes its first id.",
        &SHARD,
        0,
        2047,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"credit_pools.direct_access",
        c"Whether usage goes to its tables and indexes directly, where it can, instead of by statements.",
        c"Both do the same; statements take several times as long. For tests and for the case of doubt.",
        &DIRECT_ACCESS,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"credit_pools.rollup_rows",
        c"Ledger rows of a pool that must wait before maintenance adds them up for charts; 0: never.",
        c"Charts are right at any setting: what has not been added up is read from the ledger.",
        &ROLLUP_ROWS,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"credit_pools.progress_interval",
        c"Seconds between two NOTICEs of a long call (maintenance, archive_ledger, verify_ledger); 0 for none.",
        c"A call that is over sooner says nothing.",
        &PROGRESS_INTERVAL,
        0,
        86_400,
        GucContext::Userset,
        GucFlags::UNIT_S,
    );
    register_events();
    // The worker's settings can be read by a postmaster only that has loaded the library; elsewhere they do nothing.
    GucRegistry::define_string_guc(
        c"credit_pools.worker_databases",
        c"Databases in which a background worker runs the maintenance; empty for none.",
        c"Names with commas between. Needs shared_preload_libraries = 'credit_pools' and a restart.",
        &WORKER_DATABASES,
        // SAFETY: reads a variable of the process. Outside of preloading, Postmaster settings cannot be defined.
        if unsafe { pgrx::pg_sys::process_shared_preload_libraries_in_progress } {
            GucContext::Postmaster
        } else {
            GucContext::Suset
        },
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"credit_pools.worker_interval",
        c"Seconds between two looks of the background worker at what is due; 0 pauses it.",
        c"Read again when the configuration is reloaded.",
        &WORKER_INTERVAL,
        0,
        86_400,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    // SAFETY: a static C string. Refuses unknown settings under our prefix, so that a misspelt one is told.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"credit_pools".as_ptr()) };
}

fn register_events() {
    GucRegistry::define_bool_guc(
        c"credit_pools.events",
        c"Whether what happens is written to the outbox, the view events.",
        c"Off where nobody reads them. Events of the time while it is off never come.",
        &EVENTS,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"credit_pools.event_notify",
        c"Whether a transaction that writes events also sends NOTIFY credit_pools_events at its commit.",
        c"All notifying transactions of a server wait for each other at their commits.",
        &EVENT_NOTIFY,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"credit_pools.event_retention",
        c"How long maintenance keeps events that every consumer has acknowledged; -1 for ever.",
        c"Counted from when they were written. An event that a consumer has not acknowledged is kept.",
        &EVENT_RETENTION,
        -1,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_MIN,
    );
    GucRegistry::define_string_guc(
        c"credit_pools.event_source",
        c"The attribute source of events: a URI or a path that tells this database from others.",
        c"Of CloudEvents 1.0. Together with the event's id it is unique.",
        &EVENT_SOURCE,
        GucContext::Suset,
        GucFlags::default(),
    );
}

fn non_empty(setting: &GucSetting<Option<CString>>) -> Option<String> {
    let value = setting.get()?.into_string().ok()?;
    (!value.is_empty()).then_some(value)
}

pub fn test_clock() -> Option<String> {
    non_empty(&TEST_CLOCK)
}

pub fn actor() -> Option<String> {
    non_empty(&ACTOR)
}

pub fn direct_access() -> bool {
    DIRECT_ACCESS.get()
}

pub fn events_are_written() -> bool {
    EVENTS.get()
}

pub fn events_are_notified() -> bool {
    EVENT_NOTIFY.get()
}

/// In microseconds.
pub fn event_retention() -> Option<i64> {
    let minutes = i64::from(EVENT_RETENTION.get());
    (minutes >= 0).then_some(minutes * 60_000_000)
}

pub fn rollup_rows() -> Option<i64> {
    Some(i64::from(ROLLUP_ROWS.get())).filter(|rows| *rows > 0)
}

pub fn progress_interval() -> Option<Duration> {
    let seconds = u64::from(PROGRESS_INTERVAL.get().unsigned_abs());
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

pub fn event_source() -> String {
    non_empty(&EVENT_SOURCE).unwrap_or_else(|| DEFAULT_SOURCE.to_string_lossy().into_owned())
}

/// Names as in a list of search_path: with commas between, in double quotes where they need them.
pub fn worker_databases() -> Vec<String> {
    let names = non_empty(&WORKER_DATABASES).unwrap_or_default();
    names.split(',').map(|name| name.trim().trim_matches('"').to_owned()).filter(|name| !name.is_empty()).collect()
}

pub fn worker_runs() -> bool {
    WORKER_INTERVAL.get() > 0
}

/// A paused worker looks at its settings now and then.
pub fn worker_interval() -> Duration {
    Duration::from_secs(match WORKER_INTERVAL.get() {
        0 => 60,
        seconds => seconds.unsigned_abs().into(),
    })
}

/// An id of this installation from a sequence's value.
pub fn id_of_shard(value: i64) -> i64 {
    (i64::from(SHARD.get()) << SHARD_SHIFT) | value
}
