//! The fixed shape of a usage below the executor: the pool's row found by its index and locked, its first grants read in
//! order, a ledger row inserted, grant and pool updated. It does what the statements beside it do, to the same rows, under
//! the same locks; starting four plans for that took 60 % of a usage's time (docs/performance.md).
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
use layout::Layout;
pub use layout::forget;

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

/// A pool's name in the order of its index.
fn name_key<'a>(customer_id: &'a str, scope_id: &'a str, credit_type_id: &'a str) -> [Arg<'a>; 3] {
    [Arg::Text(scope_id), Arg::Text(customer_id), Arg::Text(credit_type_id)]
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
    let keys = name_key(customer_id, scope_id, credit_type_id);
    let mut search = Search::begin(&layout.pool, layout.pool_by_name, &keys)?;
    let found = search.lock_next().map(|image| (search.read(&image, read), image));
    search.end();
    let (value, pool) = found?;
    Some((value, Places { layout, pool, grants: Vec::new() }))
}

/// Reads the pool of a name in the caller's snapshot. `None`: the statement may know of one.
pub fn read_pool<T>(
    customer_id: &str,
    scope_id: &str,
    credit_type_id: &str,
    read: impl FnOnce(&Row) -> T,
) -> Option<T> {
    if !crate::settings::direct_access() {
        return None;
    }
    let layout = layout::current()?;
    let keys = name_key(customer_id, scope_id, credit_type_id);
    let mut search = Search::begin_to_read(&layout.pool, layout.pool_by_name, &keys)?;
    let found = search.next().map(|image| search.read(&image, read));
    search.end();
    found
}

/// Locks the pools of many names (customer, scope, credit type) in the order of customers and ids, which `key` tells of what
/// `read` has read. `None`: some may be locked, but they are to be locked and read by the statement.
pub fn lock_pools<T, K: Ord>(
    names: &[(&str, &str, &str)],
    read: impl Fn(&Row) -> T,
    key: impl Fn(&Row) -> K,
) -> Option<Vec<(T, Places)>> {
    let layout = ready()?;
    let mut search: Option<Search> = None;
    let mut found: Vec<(K, Image)> = Vec::with_capacity(names.len());
    for (customer_id, scope_id, credit_type_id) in names {
        let keys = name_key(customer_id, scope_id, credit_type_id);
        match &mut search {
            Some(search) => search.again(&keys)?,
            None => search = Some(Search::begin(&layout.pool, layout.pool_by_name, &keys)?),
        }
        if let Some(search) = &mut search
            && let Some(image) = search.next()
        {
            found.push((search.read(&image, &key), image));
        }
    }
    let Some(mut search) = search else { return Some(Vec::new()) };
    if found.len() != names.len() {
        search.end();
        return None;
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut pools = Vec::with_capacity(found.len());
    for (_, image) in found {
        pgrx::check_for_interrupts!();
        let Some(pool) = search.lock_found(&image) else { break };
        let value = search.read(&pool, &read);
        pools.push((value, Places { layout: Rc::clone(&layout), pool, grants: Vec::new() }));
    }
    search.end();
    (pools.len() == names.len()).then_some(pools)
}

/// Ledger rows of many usages, each with whether it carries a usage's key. `None`: to be inserted by the statement.
/// `Some(Err)`: the key of that one is taken, or being taken, and the caller undoes the others.
pub fn insert_entries(entries: &[(&[Arg], bool)]) -> Option<Result<(), usize>> {
    let layout = ready()?;
    access::insert_entries(&layout, entries)
}

/// Writes what usage has changed of grants, each named with the pool's places and its id. `false`: nothing was written.
pub fn update_grants(changes: &[(&Places, i64, [Arg; 2])]) -> bool {
    let Some(layout) = ready() else { return false };
    let found = changes.iter().map(|(places, id, values)| Some(Update { image: places.grant(*id)?, values }));
    let updates: Option<Vec<Update>> = found.collect();
    updates.is_some_and(|updates| access::update_rows(&layout.grant, &updates))
}

/// The same of pools.
pub fn update_pools(changes: &[(&Places, [Arg; 6])]) -> bool {
    let Some(layout) = ready() else { return false };
    let updates: Vec<Update> = changes.iter().map(|(places, values)| Update { image: &places.pool, values }).collect();
    access::update_rows(&layout.pool, &updates)
}

/// Gives the columns `DRAW_COLUMNS` of the open grants of pools to `take`, in order of consumption, until it says that they
/// are enough. `take` gets the pool's index, and gives the grant's id, or nothing where it has no use for it. `false`: to
/// be read by the statement.
pub fn open_grants(
    pools: &mut [(&mut Places, &str, i64)],
    mut take: impl FnMut(usize, &Row) -> (Option<i64>, bool),
) -> bool {
    let Some(layout) = pools.first().map(|(places, ..)| Rc::clone(&places.layout)) else { return true };
    let mut search: Option<Search> = None;
    for (index, (places, customer_id, pool_id)) in pools.iter_mut().enumerate() {
        let keys = [Arg::Text(customer_id), Arg::Int(*pool_id)];
        let begun = match &mut search {
            Some(search) => search.again(&keys),
            None => {
                search = Search::begin(&layout.grant, layout.burn_order, &keys);
                search.as_ref().map(|_| ())
            }
        };
        let (Some(()), Some(search)) = (begun, &mut search) else { return false };
        while let Some(image) = search.next() {
            let (id, enough) = search.read(&image, |row| take(index, row));
            if let Some(id) = id {
                places.grants.push((id, image));
            }
            if enough {
                break;
            }
        }
    }
    if let Some(search) = search {
        search.end();
    }
    true
}

impl Places {
    fn grant(&self, grant_id: i64) -> Option<&Image> {
        self.grants.iter().find(|(id, _)| *id == grant_id).map(|(_, image)| image)
    }

    /// Writes a usage that draws from one grant: its ledger row, the grant, the pool. `false`: it has to be written by the
    /// statement, which also finds out why.
    pub fn write_usage(&self, entry: &[Arg], keyed: bool, grant_id: i64, grant: &[Arg], pool: &[Arg]) -> bool {
        let Some(image) = self.grant(grant_id) else { return false };
        let layout = &self.layout;
        let updates = [
            (&layout.grant, Update { image, values: grant }),
            (&layout.pool, Update { image: &self.pool, values: pool }),
        ];
        access::write_usage(layout, entry, keyed, &updates)
    }
}
