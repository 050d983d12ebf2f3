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
mod remembered;

use std::rc::Rc;

use pgrx::pg_sys;

use access::{Image, Remembered, Search, Update};
pub use layout::forget;
use layout::{Index, Layout};
use remembered::{FirstGrant, Name};

use super::spi::{self, Arg, Row};

/// The table of archived keys, where it is known.
pub fn archived_usage() -> Option<pg_sys::Oid> {
    layout::current().map(|layout| layout.archived_usage)
}

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

/// The same with the columns that have them.
fn with_columns<'a>(index: &Index, keys: [Arg<'a>; 3]) -> Vec<(usize, Arg<'a>)> {
    index.columns.iter().copied().zip(keys).collect()
}

/// A pool that was locked here, with the places of its rows: they can be written here, too.
pub struct Places {
    layout: Rc<Layout>,
    name: Name,
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
    let mut search = Search::begin(&layout.pool)?;
    let name = Name::of(customer_id, scope_id, credit_type_id);
    let keys = name_key(customer_id, scope_id, credit_type_id);
    let found = find_pool(&layout, &mut search, name, keys, Search::lock_at, Search::lock_next);
    let found = found.map(|image| (search.read(&image, read), image));
    search.end();
    let (value, pool) = found?;
    Some((value, Places { layout, name, pool, grants: Vec::new() }))
}

/// Reads the pool of a name in the caller's snapshot. `None`: the statement may know of one.
pub fn read_pool<T>(
    customer_id: &str,
    scope_id: &str,
    credit_type_id: &str,
    read: impl FnOnce(&Row) -> T,
) -> Option<T> {
    // A SERIALIZABLE transaction has to leave its mark on the index that it reads.
    if spi::keeps_snapshot() || !crate::settings::direct_access() {
        return None;
    }
    let layout = layout::current()?;
    let mut search = Search::begin_to_read(&layout.pool)?;
    let name = Name::of(customer_id, scope_id, credit_type_id);
    let keys = name_key(customer_id, scope_id, credit_type_id);
    let found = find_pool(&layout, &mut search, name, keys, Search::at, Search::next);
    let found = found.map(|image| search.read(&image, read));
    search.end();
    found
}

/// Gives the columns `TERMS_COLUMNS` of a scope's active subscription to `read`. `None`: the statement may know of one.
pub fn read_subscription<T>(customer_id: &str, resource_id: &str, read: impl FnOnce(&Row) -> T) -> Option<T> {
    let layout = ready()?;
    let mut search = Search::begin_to_read_latest(&layout.subscription)?;
    let keys = [Arg::Text(customer_id), Arg::Text(resource_id)];
    let image = if search.find(&layout.active_subscription, &keys) { search.next() } else { None };
    let found = image.map(|image| search.read(&image, read));
    search.end();
    found
}

/// A pool where it was last, or else by its index.
fn find_pool<'t>(
    layout: &Layout,
    search: &mut Search<'t>,
    name: Name,
    keys: [Arg; 3],
    at: impl Fn(&mut Search<'t>, remembered::Root, &[(usize, Arg)]) -> Remembered,
    next: impl Fn(&mut Search<'t>) -> Option<Image>,
) -> Option<Image> {
    let index = &layout.pool_by_name;
    let mut remembers = false;
    if let Some(root) = remembered::pool(name) {
        match at(search, root, &with_columns(index, keys)) {
            Remembered::Found(image) => return Some(image),
            Remembered::Crowded => remembers = true,
            Remembered::Gone => {}
        }
    }
    let image = if search.find(index, &keys) { next(search) } else { None }?;
    if !remembers && let Some(root) = search.root(&image) {
        remembered::remember_pool(name, root);
    }
    Some(image)
}

/// Locks the pools of many names (customer, scope, credit type) in the order of customers and ids, which `key` tells of what
/// `read` has read. `None`: some may be locked, but they are to be locked and read by the statement.
pub fn lock_pools<T, K: Ord>(
    names: &[(&str, &str, &str)],
    read: impl Fn(&Row) -> T,
    key: impl Fn(&Row) -> K,
) -> Option<Vec<(T, Places)>> {
    let layout = ready()?;
    let mut search = Search::begin(&layout.pool)?;
    let mut found: Vec<(K, Name, Image)> = Vec::with_capacity(names.len());
    for (customer_id, scope_id, credit_type_id) in names {
        let name = Name::of(customer_id, scope_id, credit_type_id);
        let keys = name_key(customer_id, scope_id, credit_type_id);
        let Some(image) = find_pool(&layout, &mut search, name, keys, Search::at, Search::next) else { break };
        found.push((search.read(&image, &key), name, image));
    }
    if found.len() != names.len() {
        search.end();
        return None;
    }
    found.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    let mut pools = Vec::with_capacity(found.len());
    for (_, name, image) in found {
        pgrx::check_for_interrupts!();
        let Some(pool) = search.lock_found(&image) else { break };
        let value = search.read(&pool, &read);
        pools.push((value, Places { layout: Rc::clone(&layout), name, pool, grants: Vec::new() }));
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

/// A pool that was locked here, of which grants are to be read.
pub struct Drawing<'p> {
    pub places: &'p mut Places,
    pub customer_id: &'p str,
    pub pool_id: i64,
    pub grants_revision: i64,
}

/// What a look at a grant says.
pub enum Take {
    /// Of no use.
    Pass,
    /// The grant of that id, and more of them.
    More(i64),
    /// The grant of that id, and no more of them.
    Enough(i64),
}

/// Gives the columns `DRAW_COLUMNS` of the open grants of pools to `take`, in order of consumption, until they are enough.
/// `take` gets the pool's index and, with `true`, the first of several grants alone: it passes that on unless it is enough,
/// and is then asked from the start. `false`: to be read by the statement.
pub fn open_grants(pools: &mut [Drawing], mut take: impl FnMut(usize, &Row, bool) -> Take) -> bool {
    let Some(layout) = pools.first().map(|pool| Rc::clone(&pool.places.layout)) else { return true };
    let Some(mut search) = Search::begin(&layout.grant) else { return false };
    let mut holds = true;
    for (index, pool) in pools.iter_mut().enumerate() {
        holds = open_grants_of(&layout, &mut search, pool, |row, alone| take(index, row, alone));
        if !holds {
            break;
        }
    }
    search.end();
    holds
}

fn open_grants_of(
    layout: &Layout,
    search: &mut Search,
    pool: &mut Drawing,
    mut take: impl FnMut(&Row, bool) -> Take,
) -> bool {
    let (name, revision) = (pool.places.name, pool.grants_revision);
    let keys = [Arg::Text(pool.customer_id), Arg::Int(pool.pool_id)];
    let columns = &layout.burn_order.columns;
    let mut remembers = false;
    if let (Some(known), Some(id)) = (remembered::first_grant(name, revision), columns.last()) {
        let values: Vec<(usize, Arg)> =
            columns.iter().copied().zip(keys).chain([(*id, Arg::Int(known.grant_id))]).collect();
        match search.at(known.root, &values) {
            Remembered::Found(image) => {
                let taken = search.read(&image, |row| take(row, !known.only));
                if let Take::Enough(id) | Take::More(id) = taken {
                    pool.places.grants.push((id, image));
                    return true;
                }
            }
            Remembered::Crowded => remembers = true,
            Remembered::Gone => {}
        }
    }
    if !search.find(&layout.burn_order, &keys) {
        return false;
    }
    let mut only = true;
    while let Some(image) = search.next() {
        let taken = search.read(&image, |row| take(row, false));
        if let Take::More(id) | Take::Enough(id) = taken {
            pool.places.grants.push((id, image));
        }
        if let Take::Enough(_) = taken {
            only = false; // or not known to be so
            break;
        }
    }
    only &= pool.places.grants.len() == 1;
    if !remembers
        && let Some((grant_id, image)) = pool.places.grants.first()
        && let Some(root) = search.root(image)
    {
        remembered::remember_grant(name, FirstGrant { revision, grant_id: *grant_id, root, only });
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
