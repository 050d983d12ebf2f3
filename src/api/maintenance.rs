//! run_maintenance.

use pgrx::prelude::*;

use super::call;
use crate::engine::maintenance;
use crate::error::Error;

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn run_maintenance(
    max_pools: default!(Option<i32>, "NULL"),
) -> TableIterator<'static, (name!(task, String), name!(processed, i64))> {
    let done = call(|| {
        if max_pools.is_some_and(|max| max < 1) {
            return Err(Error::argument("max_pools", "max_pools must be 1 or more, or NULL for all that is due"));
        }
        maintenance::run(max_pools.map(i64::from))
    });
    TableIterator::new(
        [
            ("pools", done.pools),
            ("holds_expired", done.holds),
            ("grants_started", done.started),
            ("grants_expired", done.expired),
            ("renewals", done.renewed),
            ("rollovers", done.rolled_over),
            ("recharges", done.recharges),
            ("subscriptions", done.subscriptions),
            ("events", done.events),
            ("rolled_up", done.rolled_up),
            ("failed", done.failed),
            ("remaining", done.remaining),
        ]
        .map(|(task, processed)| (task.to_owned(), processed)),
    )
}
