//! The extension's settings (GUCs), all under `credit_pools.`.

use std::ffi::CString;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static TEST_CLOCK: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static ACTOR: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static SHARD: GucSetting<i32> = GucSetting::<i32>::new(0);

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
    // SAFETY: a static C string. Refuses unknown settings under our prefix, so that a misspelt one is told.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"credit_pools".as_ptr()) };
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

/// An id of this installation from a sequence's value.
pub fn id_of_shard(value: i64) -> i64 {
    (i64::from(SHARD.get()) << SHARD_SHIFT) | value
}
