//! Whether the tables are as the extension made them, and where their columns and indexes are. Looked up once, and again
//! after PostgreSQL has told of a change to one of them.

use std::cell::RefCell;
use std::ffi::CStr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::{PgRelation, pg_sys};

use super::remembered;
use crate::store::grants::DRAW_COLUMNS;
use crate::store::ledger::ENTRY_COLUMNS;
use crate::store::pools::POOL_COLUMNS;
use crate::store::subscriptions::TERMS_COLUMNS;

/// A table and, for lists of columns that statements name, where these are in a row.
pub struct Table {
    pub oid: pg_sys::Oid,
    pub width: usize,
    /// The columns that are read, or for the ledger written.
    pub columns: Vec<usize>,
    /// Those that a usage changes.
    pub changed: Vec<usize>,
}

pub struct Index {
    pub oid: pg_sys::Oid,
    /// Its key columns, in the table's rows.
    pub columns: Vec<usize>,
}

pub struct Layout {
    pub pool: Table,
    pub pool_by_name: Index,
    pub grant: Table,
    /// Customer and pool first, the grant's id last.
    pub burn_order: Index,
    pub ledger: Table,
    /// Of a usage's key: entered first, so that a key that is taken is found before anything else is written.
    pub ledger_key: Index,
    pub ledger_place: Index,
    pub ledger_usage: Index,
    /// But read: what somebody adds to it does not matter.
    pub subscription: Table,
    pub active_subscription: Index,
    /// But asked whether it has a page.
    pub archived_usage: pg_sys::Oid,
}

/// What a usage changes of its pool, and of its grant.
pub const USED_OF_POOL: &str = "seq, balance, restricted, consumed, last_hash, last_recorded_at";
pub const USED_OF_GRANT: &str = "consumed, status";

thread_local! {
    static LAYOUT: RefCell<Option<Rc<Layout>>> = const { RefCell::new(None) };
}
/// Looked up and found to be not as it should: not to be looked up again until something changes.
static UNUSABLE: AtomicBool = AtomicBool::new(false);
static STALE: AtomicBool = AtomicBool::new(true);
static TABLES: [std::sync::atomic::AtomicU32; 5] = [const { std::sync::atomic::AtomicU32::new(0) }; 5];

/// To be called for each relation of which PostgreSQL says that it has changed; 0 is all of them.
pub fn forget(relation: u32) {
    if relation == 0 || TABLES.iter().any(|table| table.load(Ordering::Relaxed) == relation) {
        STALE.store(true, Ordering::Relaxed);
    }
}

/// Whether nothing has been told to have changed since `current` was called.
pub fn holds() -> bool {
    !STALE.load(Ordering::Relaxed)
}

pub fn current() -> Option<Rc<Layout>> {
    if holds() {
        if UNUSABLE.load(Ordering::Relaxed) {
            return None;
        }
        return LAYOUT.with_borrow(Clone::clone);
    }
    // Before it is looked up: what changes meanwhile is told, and marks it again.
    STALE.store(false, Ordering::Relaxed);
    remembered::clear();
    let found = look_up().map(Rc::new);
    UNUSABLE.store(found.is_none(), Ordering::Relaxed);
    LAYOUT.set(found.clone());
    if holds() { found } else { None }
}

fn look_up() -> Option<Layout> {
    let oid = |name: &CStr| {
        // SAFETY: looks names up in the system catalogue; 0 where they are missing.
        let oid = unsafe {
            let schema = pg_sys::get_namespace_oid(c"credit_pools".as_ptr(), true);
            pg_sys::get_relname_relid(name.as_ptr(), schema)
        };
        (oid != pg_sys::InvalidOid).then_some(oid)
    };
    let (pool, grant, ledger) = (oid(c"pool")?, oid(c"pool_grant")?, oid(c"ledger_entry")?);
    let (subscription, archived_usage) = (oid(c"subscription")?, oid(c"archived_usage")?);
    for (slot, oid) in TABLES.iter().zip([pool, grant, ledger, subscription, archived_usage]) {
        slot.store(oid.to_u32(), Ordering::Relaxed);
    }
    let (pool, grant, ledger) = (Opened::open(pool), Opened::open(grant), Opened::open(ledger));
    let subscription = Opened::open(subscription);
    let plain = subscription.is_heap()
        && pool.is_plain(Some(c"pool_evaluate_recharge"))
        && grant.is_plain(None)
        && ledger.is_plain(Some(c"ledger_entry_append_only"))
        // A row is made of what is named; another column would stay empty.
        && ledger.0.tuple_desc().len() == ENTRY_COLUMNS.split(',').count();
    if !plain {
        return None;
    }
    let name_key = pool.index("pool_of_scope", "scope_id, customer_id, credit_type_id")?;
    let burn_order = grant.index(
        "pool_grant_burn_order",
        "customer_id, pool_id, priority, unlimited, expires_at, plain, effective_at, created_at, grant_id",
    )?;
    let layout = Layout {
        pool: pool.table(POOL_COLUMNS, USED_OF_POOL)?,
        pool_by_name: name_key,
        grant: grant.table(DRAW_COLUMNS, USED_OF_GRANT)?,
        burn_order,
        ledger: ledger.table(ENTRY_COLUMNS, "")?,
        ledger_key: ledger.index("ledger_entry_usage_key", "customer_id, idempotency_key")?,
        ledger_place: ledger.index("ledger_entry_pkey", "customer_id, pool_id, seq")?,
        ledger_usage: ledger.index("ledger_entry_usage", "usage_id, customer_id")?,
        subscription: subscription.table(TERMS_COLUMNS, "")?,
        active_subscription: subscription.index("subscription_one_active", "customer_id, resource_id")?,
        archived_usage,
    };
    (ledger.indexes().count() == 3).then_some(layout)
}

/// A relation under a lock that keeps its definition, until it is dropped.
struct Opened(PgRelation);

impl Opened {
    fn open(oid: pg_sys::Oid) -> Opened {
        // SAFETY: raises where there is no such relation.
        Opened(unsafe { PgRelation::with_lock(oid, pg_sys::AccessShareLock as pg_sys::LOCKMODE) })
    }

    /// A heap table that is read as a whole.
    fn is_heap(&self) -> bool {
        // SAFETY: the relation is open: what its cache entry points to stays.
        unsafe {
            let class = &*self.0.rd_rel;
            class.relkind as u8 == pg_sys::RELKIND_RELATION
                && class.relam == pg_sys::HEAP_TABLE_AM_OID
                && class.relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT
                && !class.relispartition
                && !class.relhassubclass
                && !class.relforcerowsecurity
        }
    }

    /// One on which nothing happens that the extension does not know of.
    fn is_plain(&self, trigger: Option<&CStr>) -> bool {
        // SAFETY: as above.
        unsafe {
            let class = &*self.0.rd_rel;
            let constraints = (*self.0.rd_att).constr;
            let unconstrained = constraints.is_null()
                || ((*constraints).num_check == 0
                    && (*constraints).num_defval == 0
                    && !(*constraints).has_generated_stored);
            self.is_heap()
                // The executor refuses some updates of published tables with another one than the key.
                && class.relreplident as u8 == pg_sys::REPLICA_IDENTITY_DEFAULT
                && self.0.rd_rules.is_null()
                && unconstrained
                && self.has_only_trigger(trigger)
        }
    }

    fn has_only_trigger(&self, name: Option<&CStr>) -> bool {
        // SAFETY: as above; a descriptor has as many triggers as it says.
        unsafe {
            let triggers = self.0.trigdesc;
            match name {
                None => triggers.is_null() || (*triggers).numtriggers == 0,
                Some(name) => {
                    !triggers.is_null()
                        && (*triggers).numtriggers == 1
                        && CStr::from_ptr((*(*triggers).triggers).tgname) == name
                }
            }
        }
    }

    /// Where the columns of a list are in a row, as the statements name them.
    fn columns(&self, list: &str) -> Option<Vec<usize>> {
        let shape = self.0.tuple_desc();
        let place = |name: &str| {
            let name = name.split_once('.').map_or(name, |(_, name)| name);
            shape.iter().position(|attribute| !attribute.is_dropped() && attribute.name() == name)
        };
        list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(place).collect()
    }

    fn table(&self, columns: &str, changed: &str) -> Option<Table> {
        let width = self.0.tuple_desc().len();
        Some(Table { oid: self.0.oid(), width, columns: self.columns(columns)?, changed: self.columns(changed)? })
    }

    fn indexes(&self) -> impl Iterator<Item = PgRelation> {
        self.0.indices(pg_sys::AccessShareLock as pg_sys::LOCKMODE)
    }

    /// A valid btree index of that name over just these columns.
    fn index(&self, name: &str, columns: &str) -> Option<Index> {
        let columns = self.columns(columns)?;
        let index = self.indexes().find(|index| index.name() == name)?;
        // SAFETY: as above; an index has as many key columns as it says.
        let right = unsafe {
            let form = &*index.rd_index;
            let keys = form.indkey.values.as_slice(usize::try_from(form.indnkeyatts).unwrap_or(0));
            keys.len() == columns.len()
                && form.indnatts == form.indnkeyatts
                && keys.iter().zip(&columns).all(|(key, column)| usize::try_from(*key).ok() == Some(column + 1))
                && (*index.rd_rel).relam == pg_sys::BTREE_AM_OID
                && form.indisvalid
                && form.indisready
                && form.indimmediate
        };
        right.then(|| Index { oid: index.oid(), columns })
    }
}
