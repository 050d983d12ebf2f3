//! The fixed shape of a usage below the executor: the pool's row found by its index and locked, its first grants read in
//! order, a ledger row inserted, grant and pool updated. It does what the statements beside it do, to the same rows, under
//! the same locks; starting four plans for that took two thirds of a usage's time (docs/performance.md).
//!
//! Whoever calls it has the statement at hand, too: each function here may answer that it cannot, and has then changed
//! nothing. It cannot
//! - where the setting `credit_pools.direct_access` is off, the tests' way to compare the two;
//! - in a transaction that keeps one snapshot (REPEATABLE READ and above), whose conflicts the executor finds, in one that
//!   may not write, and where a read runs with statements that are made to write;
//! - where the tables are not as the extension made them (`layout`): a trigger, rule, index, policy or column of somebody's
//!   own needs the executor;
//! - where what it finds is out of the ordinary: no such pool, a key that somebody else is just taking.
//!
//! `access` is the unsafe part.

mod access;
mod layout;

use std::rc::Rc;

use pgrx::pg_sys;

use access::{Image, Search, Update};
pub use layout::forget;
use layout::Layout;

use super::spi::{self, Arg, Row};

/// The layout of the tables, where they can be gone to directly.
fn ready() -> Option<Rc<Layout>> {
    // SAFETY: reads variables of the backend.
    let ordinary = unsafe { !pg_sys::XactReadOnly && !pg_sys::IsInParallelMode() };
    if !ordinary || spi::sees_the_past() || !crate::settings::direct_access() {
        return None;
    }
    layout::current()
}

/// A pool that was locked here, with the places of its rows: they can be written here, too.
pub struct Places {
    layout: Rc<Layout>,
    pool: Image,
    grants: Vec<(i64, Image)>,
}

/// Locks the pool of a name as `FOR NO KEY UPDATE` does, and gives the columns `POOL_COLUMNS` to `read`.
pub fn lock_pool<T>(
    customer_id: &str,
    scope_id: &str,
    credit_type_id: &str,
    read: impl FnOnce(&Row) -> T,
) -> Option<(T, Places)> {
    let layout = ready()?;
    let keys = [Arg::Text(customer_id), Arg::Text(scope_id), Arg::Text(credit_type_id)];
    let mut search = Search::begin(&layout.pool, layout.pool_by_name, &keys)?;
    let found = search.lock_next().map(|image| (search.read(&image, read), image));
    search.end();
    let (value, pool) = found?;
    Some((value, Places { layout, pool, grants: Vec::new() }))
}

impl Places {
    /// Gives the columns `DRAW_COLUMNS` of the pool's open grants to `take`, in order of consumption, until it says that
    /// they are enough. `take` gives the grant's id, or nothing where it has no use for it.
    pub fn open_grants(
        &mut self,
        customer_id: &str,
        pool_id: i64,
        mut take: impl FnMut(&Row) -> (Option<i64>, bool),
    ) -> bool {
        let keys = [Arg::Text(customer_id), Arg::Int(pool_id)];
        let Some(mut search) = Search::begin(&self.layout.grant, self.layout.burn_order, &keys) else { return false };
        while let Some(image) = search.next() {
            let (id, enough) = search.read(&image, &mut take);
            if let Some(id) = id {
                self.grants.push((id, image));
            }
            if enough {
                break;
            }
        }
        search.end();
        true
    }

    /// Writes a usage that draws from one grant: its ledger row, the grant, the pool. `false`: it has to be written by the
    /// statement, which also finds out why.
    pub fn write_usage(&self, entry: &[Arg], keyed: bool, grant_id: i64, grant: &[Arg], pool: &[Arg]) -> bool {
        let Some((_, image)) = self.grants.iter().find(|(id, _)| *id == grant_id) else { return false };
        let layout = &self.layout;
        let updates = [
            Update { table: &layout.grant, image, values: grant },
            Update { table: &layout.pool, image: &self.pool, values: pool },
        ];
        access::write_usage(layout, entry, keyed, &updates)
    }
}
