//! Tables and indexes without the executor; everything unsafe about that is here.
//!
//! Invariants
//! - PostgreSQL's functions are called as it declares them (`raw`), not through pgrx's wrappers, each of which sets a jump:
//!   a stretch of them runs in one `guarded`. An error of PostgreSQL jumps out of it, over what stands in its closure, so
//!   that closure owns nothing that must be dropped: raw pointers and borrowed slices only.
//! - What such an error leaves open (relations, buffers, snapshots, scans) belongs to the transaction's resource owner and
//!   snapshot stack, which its end, or its subtransaction's, clears. Otherwise everything is closed in reverse order.
//! - A relation is opened under the lock that the executor would take, kept to the transaction's end as there. Taking the
//!   lock takes in what others have changed: `layout::holds` is asked after the last one, before the first use.
//! - A row that is updated is one that `lock_one` has locked, or belongs to a pool that it has locked, in this call and
//!   this transaction: nobody else can have changed it. PostgreSQL raises an error should it be otherwise.
//! - An `Image` is a copy of the row, so nothing points into a buffer that is no longer pinned.
//! - A place that was remembered says nothing by itself: the row there is looked at under the active snapshot, and has to
//!   have the keys that are looked for, which are unique.
//! - The layout has checked that the relations are heap tables and btree indexes over the columns named there, without
//!   expressions; a row inserted gives every column a value of its type.
//!
//! Modelled on what ExecLockRows, ExecSimpleRelationInsert and ExecSimpleRelationUpdate do (src/backend/executor).

use std::ptr;

use pgrx::pg_sys::{self, Datum, Oid};

use super::layout::{self, Index, Layout, Table};
use super::remembered::Root;
use crate::store::spi::{Arg, Row};

/// Declares functions of PostgreSQL, and that they are just so in its headers: a major where one is not does not compile.
macro_rules! as_in_headers {
    ($($(#[$only:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        unsafe extern "C-unwind" {
            $($(#[$only])* pub fn $name($($argument: $type),*) $(-> $result)?;)*
        }
        $($(#[$only])* const _: unsafe fn($($type),*) $(-> $result)? = pgrx::pg_sys::$name;)*
    };
}

mod raw {
    use pgrx::pg_sys::*;
    use std::ffi::c_int;

    as_in_headers! {
        fn CommandCounterIncrement();
        fn GetTransactionSnapshot() -> Snapshot;
        fn GetActiveSnapshot() -> Snapshot;
        fn PushActiveSnapshot(snapshot: Snapshot);
        fn PopActiveSnapshot();
        fn GetCurrentCommandId(used: bool) -> CommandId;
        fn table_open(relation: Oid, lock: LOCKMODE) -> Relation;
        fn table_close(relation: Relation, lock: LOCKMODE);
        fn index_open(relation: Oid, lock: LOCKMODE) -> Relation;
        fn index_close(relation: Relation, lock: LOCKMODE);
        fn MakeSingleTupleTableSlot(shape: TupleDesc, ops: *const TupleTableSlotOps) -> *mut TupleTableSlot;
        fn ExecDropSingleTupleTableSlot(slot: *mut TupleTableSlot);
        fn ExecStoreVirtualTuple(slot: *mut TupleTableSlot) -> *mut TupleTableSlot;
        fn ScanKeyInit(
            entry: ScanKey,
            attribute: AttrNumber,
            strategy: StrategyNumber,
            procedure: RegProcedure,
            argument: Datum,
        );
        #[cfg(not(feature = "pg18"))]
        fn index_beginscan(
            heap: Relation,
            index: Relation,
            snapshot: Snapshot,
            keys: c_int,
            orders: c_int,
        ) -> IndexScanDesc;
        #[cfg(feature = "pg18")]
        fn index_beginscan(
            heap: Relation,
            index: Relation,
            snapshot: Snapshot,
            instrument: *mut IndexScanInstrumentation,
            keys: c_int,
            orders: c_int,
        ) -> IndexScanDesc;
        fn index_rescan(scan: IndexScanDesc, keys: ScanKey, key_count: c_int, orders: ScanKey, order_count: c_int);
        fn index_getnext_slot(
            scan: IndexScanDesc,
            direction: ScanDirection::Type,
            slot: *mut TupleTableSlot,
        ) -> bool;
        fn index_endscan(scan: IndexScanDesc);
        fn RelationGetNumberOfBlocksInFork(relation: Relation, fork: ForkNumber::Type) -> BlockNumber;
        fn ReadBuffer(relation: Relation, block: BlockNumber) -> Buffer;
        #[cfg(feature = "pg15")]
        fn ReadRecentBuffer(file: RelFileNode, fork: ForkNumber::Type, block: BlockNumber, recent: Buffer) -> bool;
        #[cfg(not(feature = "pg15"))]
        fn ReadRecentBuffer(file: RelFileLocator, fork: ForkNumber::Type, block: BlockNumber, recent: Buffer) -> bool;
        fn LockBuffer(buffer: Buffer, mode: c_int);
        fn UnlockReleaseBuffer(buffer: Buffer);
        fn heap_hot_search_buffer(
            place: ItemPointer,
            relation: Relation,
            buffer: Buffer,
            snapshot: Snapshot,
            tuple: HeapTuple,
            all_dead: *mut bool,
            first_call: bool,
        ) -> bool;
        fn heap_get_root_tuples(page: Page, roots: *mut OffsetNumber);
        fn ExecStoreBufferHeapTuple(
            tuple: HeapTuple,
            slot: *mut TupleTableSlot,
            buffer: Buffer,
        ) -> *mut TupleTableSlot;
        fn slot_getsomeattrs_int(slot: *mut TupleTableSlot, count: c_int);
        fn CreateTupleDescCopy(shape: TupleDesc) -> TupleDesc;
        fn heap_deform_tuple(tuple: HeapTuple, shape: TupleDesc, values: *mut Datum, nulls: *mut bool);
        fn simple_table_tuple_insert(relation: Relation, slot: *mut TupleTableSlot);
        fn GetCurrentTransactionId() -> TransactionId;
        fn SpeculativeInsertionLockAcquire(transaction: TransactionId) -> u32;
        fn SpeculativeInsertionLockRelease(transaction: TransactionId);
        fn heap_multi_insert(
            relation: Relation,
            slots: *mut *mut TupleTableSlot,
            count: c_int,
            command: CommandId,
            options: c_int,
            state: BulkInsertState,
        );
        #[cfg(feature = "pg15")]
        fn simple_table_tuple_update(
            relation: Relation,
            place: ItemPointer,
            slot: *mut TupleTableSlot,
            snapshot: Snapshot,
            enter: *mut bool,
        );
        #[cfg(not(feature = "pg15"))]
        fn simple_table_tuple_update(
            relation: Relation,
            place: ItemPointer,
            slot: *mut TupleTableSlot,
            snapshot: Snapshot,
            enter: *mut TU_UpdateIndexes::Type,
        );
        fn simple_heap_delete(relation: Relation, place: ItemPointer);
        fn index_insert(
            index: Relation,
            values: *mut Datum,
            nulls: *mut bool,
            place: ItemPointer,
            heap: Relation,
            unique: IndexUniqueCheck::Type,
            unchanged: bool,
            info: *mut IndexInfo,
        ) -> bool;
        fn CreateExecutorState() -> *mut EState;
        fn FreeExecutorState(state: *mut EState);
        fn InitResultRelInfo(
            info: *mut ResultRelInfo,
            relation: Relation,
            range_table_index: Index,
            root: *mut ResultRelInfo,
            options: c_int,
        );
        fn ExecOpenIndices(info: *mut ResultRelInfo, speculative: bool);
        fn ExecCloseIndices(info: *mut ResultRelInfo);
        #[cfg(feature = "pg15")]
        fn ExecInsertIndexTuples(
            info: *mut ResultRelInfo,
            slot: *mut TupleTableSlot,
            state: *mut EState,
            update: bool,
            no_duplicate_error: bool,
            conflict: *mut bool,
            arbiters: *mut List,
        ) -> *mut List;
        #[cfg(not(feature = "pg15"))]
        fn ExecInsertIndexTuples(
            info: *mut ResultRelInfo,
            slot: *mut TupleTableSlot,
            state: *mut EState,
            update: bool,
            no_duplicate_error: bool,
            conflict: *mut bool,
            arbiters: *mut List,
            only_summarizing: bool,
        ) -> *mut List;
    }
}

const NO_LOCK: pg_sys::LOCKMODE = pg_sys::NoLock as pg_sys::LOCKMODE;
/// That of UPDATE and INSERT, also where a row is but locked: it will be written.
const WRITE_LOCK: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
const READ_LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
const MOST_KEYS: usize = 3;
/// No page has more line pointers than rows of nothing but a header, each with its pointer (MaxHeapTuplesPerPage).
const MOST_ON_PAGE: usize = pg_sys::BLCKSZ as usize / 28;
/// So many new versions of a row must have room on its page, as others may write there at the same time.
const ROOM_FOR: u32 = 4;
/// Where the id of its usage is in a ledger row's values.
const USAGE_ID: usize = 7;
/// The operators = of text and bigint (pg_proc.dat; fixed for ever).
const TEXT_EQUAL: u32 = 67;
const BIGINT_EQUAL: u32 = 467;

/// Runs PostgreSQL's functions; an error of theirs becomes an unwinding that goes on from here.
///
/// # Safety
/// The closure owns nothing that must be dropped while it runs.
unsafe fn guarded<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: backends have one thread; the rest is the caller's promise.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(body) }
}

/// A row as it was read, and its place.
pub struct Image {
    /// The tuple, aligned as PostgreSQL wants it.
    words: Box<[u64]>,
    length: u32,
    place: pg_sys::ItemPointerData,
    table: Oid,
}

impl Image {
    /// # Safety
    /// The slot holds a heap tuple in a buffer.
    unsafe fn of(slot: *mut pg_sys::TupleTableSlot, table: Oid) -> Image {
        // SAFETY: such a slot points to its tuple, whose data has the length that it says.
        unsafe {
            let tuple = &*(*slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tuple;
            let mut words = vec![0_u64; (tuple.t_len as usize).div_ceil(8)].into_boxed_slice();
            ptr::copy_nonoverlapping(tuple.t_data.cast::<u8>(), words.as_mut_ptr().cast::<u8>(), tuple.t_len as usize);
            Image { words, length: tuple.t_len, place: tuple.t_self, table }
        }
    }

    /// The tuple, for PostgreSQL to read.
    fn tuple(&self) -> pg_sys::HeapTupleData {
        pg_sys::HeapTupleData {
            t_len: self.length,
            t_self: self.place,
            t_tableOid: self.table,
            t_data: self.words.as_ptr().cast_mut().cast(),
        }
    }
}

/// What came of looking where a row was remembered to be.
pub enum Remembered {
    Found(Image),
    /// It is there, on a page that is nearly full. Reading it by its index takes away what nobody needs there any more.
    Crowded,
    /// It is not there, or not as the caller's snapshot has it.
    Gone,
}

/// Rows of a table, read one after the other: where they are remembered to be, or by the first columns of an index.
pub struct Search<'t> {
    table: &'t Table,
    relation: pg_sys::Relation,
    mode: pg_sys::LOCKMODE,
    slot: *mut pg_sys::TupleTableSlot,
    /// The index, once one was needed.
    scan: Option<(pg_sys::Relation, pg_sys::IndexScanDesc)>,
}

impl<'t> Search<'t> {
    /// In a snapshot of its own, which sees what this transaction has written, of rows that are to be written. `None`: the
    /// layout holds no more.
    pub fn begin(table: &'t Table) -> Option<Search<'t>> {
        Search::open(table, WRITE_LOCK, true)
    }

    /// The same of rows that are but read.
    pub fn begin_to_read_latest(table: &'t Table) -> Option<Search<'t>> {
        Search::open(table, READ_LOCK, true)
    }

    /// In the caller's snapshot, of rows that are but read.
    pub fn begin_to_read(table: &'t Table) -> Option<Search<'t>> {
        Search::open(table, READ_LOCK, false)
    }

    fn open(table: &'t Table, mode: pg_sys::LOCKMODE, latest: bool) -> Option<Search<'t>> {
        // SAFETY: see the module's invariants.
        let (relation, slot) = unsafe {
            guarded(|| {
                if latest {
                    raw::CommandCounterIncrement();
                }
                let relation = raw::table_open(table.oid, mode);
                if !layout::holds() {
                    raw::table_close(relation, NO_LOCK);
                    return None;
                }
                raw::PushActiveSnapshot(if latest { raw::GetTransactionSnapshot() } else { raw::GetActiveSnapshot() });
                let slot = raw::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsBufferHeapTuple);
                Some((relation, slot))
            })
        }?;
        Some(Search { table, relation, mode, slot, scan: None })
    }

    /// Looks for the rows with these keys, the first columns of the index, which is the same one each time. `false`: the
    /// layout holds no more.
    pub fn find(&mut self, index: &Index, keys: &[Arg]) -> bool {
        let Some((values, count)) = key_values(keys) else { return false };
        let (relation, mode, scan) = (self.relation, self.mode, self.scan);
        // SAFETY: see the module's invariants. The keys are of the types of the index's first columns, under the collation C.
        self.scan = unsafe {
            guarded(|| {
                let (index, scan) = match scan {
                    Some(open) => open,
                    None => {
                        let index = raw::index_open(index.oid, mode);
                        if !layout::holds() {
                            raw::index_close(index, NO_LOCK);
                            return None;
                        }
                        let scan = raw::index_beginscan(
                            relation,
                            index,
                            raw::GetActiveSnapshot(),
                            #[cfg(feature = "pg18")]
                            ptr::null_mut(), // it is not explained
                            count as i32,
                            0,
                        );
                        (index, scan)
                    }
                };
                rescan(scan, &values, count);
                Some((index, scan))
            })
        };
        self.scan.is_some()
    }

    /// The next of the rows that `find` looks for.
    pub fn next(&mut self) -> Option<Image> {
        let ((_, scan), slot) = (self.scan?, self.slot);
        // SAFETY: see the module's invariants; the slot is of buffered heap tuples.
        unsafe {
            let found = guarded(|| raw::index_getnext_slot(scan, pg_sys::ScanDirection::ForwardScanDirection, slot));
            found.then(|| Image::of(slot, self.table.oid))
        }
    }

    /// The next of them, locked as `FOR NO KEY UPDATE` does, in its last version. `None` also where this transaction has
    /// changed it in the same command, or somebody has deleted it.
    pub fn lock_next(&mut self) -> Option<Image> {
        let (relation, (_, scan), slot) = (self.relation, self.scan?, self.slot);
        // SAFETY: see the module's invariants.
        unsafe {
            let locked = guarded(|| {
                raw::index_getnext_slot(scan, pg_sys::ScanDirection::ForwardScanDirection, slot)
                    && lock(relation, (*slot).tts_tid, slot)
            });
            locked.then(|| Image::of(slot, self.table.oid))
        }
    }

    /// A row that was found before, locked in the same way.
    pub fn lock_found(&mut self, found: &Image) -> Option<Image> {
        let (relation, slot, place) = (self.relation, self.slot, found.place);
        // SAFETY: see the module's invariants.
        unsafe { guarded(|| lock(relation, place, slot)).then(|| Image::of(slot, self.table.oid)) }
    }

    /// The row that was remembered at `root`, if it is there and has these values in these columns.
    pub fn at(&mut self, root: Root, values: &[(usize, Arg)]) -> Remembered {
        self.look(root, values, false)
    }

    /// The same, locked as `lock_next` does.
    pub fn lock_at(&mut self, root: Root, values: &[(usize, Arg)]) -> Remembered {
        self.look(root, values, true)
    }

    fn look(&mut self, root: Root, values: &[(usize, Arg)], locks: bool) -> Remembered {
        let (relation, slot) = (self.relation, self.slot);
        // SAFETY: see the module's invariants; the columns are of the table.
        unsafe {
            let found = guarded(|| {
                let found = fetch(relation, root, slot);
                let right = found.is_some() && has_values(slot, values);
                if right && found == Some(Room::Enough) && (!locks || lock(relation, (*slot).tts_tid, slot)) {
                    return found;
                }
                found.filter(|room| right && *room == Room::Little)
            });
            match found {
                Some(Room::Enough) => Remembered::Found(Image::of(slot, self.table.oid)),
                Some(Room::Little) => Remembered::Crowded,
                None => Remembered::Gone,
            }
        }
    }

    /// Where the versions of a row start, for `at`.
    pub fn root(&self, image: &Image) -> Option<Root> {
        let (relation, block) = (self.relation, block_of(&image.place));
        // SAFETY: see the module's invariants; the block is there, as one of the row's versions was just read in it.
        unsafe {
            guarded(|| {
                let mut roots = [0; MOST_ON_PAGE];
                let buffer = raw::ReadBuffer(relation, block);
                raw::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
                raw::heap_get_root_tuples(pg_sys::BufferGetPage(buffer), roots.as_mut_ptr());
                raw::UnlockReleaseBuffer(buffer);
                let offset = usize::from(image.place.ip_posid);
                let root = offset.checked_sub(1).and_then(|index| roots.get(index)).copied().unwrap_or(0);
                (root != 0).then_some(Root { block, offset: root, buffer })
            })
        }
    }

    /// Reads the table's columns of a row as a statement that names them would give them.
    pub fn read<T>(&self, image: &Image, read: impl FnOnce(&Row) -> T) -> T {
        let mut values = vec![Datum::from(0); self.table.width];
        let mut nulls = vec![true; self.table.width];
        let mut tuple = image.tuple();
        // SAFETY: the image is of a row of this table, whose shape has `width` attributes; the values point into the
        // image, and what is read is copied while it lives. Nothing here raises.
        unsafe {
            let shape = (*self.relation).rd_att;
            raw::heap_deform_tuple(&mut tuple, shape, values.as_mut_ptr(), nulls.as_mut_ptr());
        }
        let pick = |index: &usize| (values[*index], nulls[*index]);
        let (values, nulls) = self.table.columns.iter().map(pick).unzip();
        read(&Row::of(values, nulls))
    }

    pub fn end(self) {
        let Search { relation, slot, scan, .. } = self;
        // SAFETY: see the module's invariants: closes what `begin` and `find` have opened.
        unsafe {
            guarded(|| {
                raw::ExecDropSingleTupleTableSlot(slot);
                if let Some((index, scan)) = scan {
                    raw::index_endscan(scan);
                    raw::index_close(index, NO_LOCK);
                }
                raw::table_close(relation, NO_LOCK);
                raw::PopActiveSnapshot();
            });
        }
    }
}

/// Whether a page has room for new versions of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Enough,
    Little,
}

fn block_of(place: &pg_sys::ItemPointerData) -> u32 {
    (u32::from(place.ip_blkid.bi_hi) << 16) | u32::from(place.ip_blkid.bi_lo)
}

/// Puts the version that the active snapshot sees, of the row whose versions start at `root`, into the slot. Does what an
/// index scan does once it has a place, but for pruning the page.
///
/// # Safety
/// In `guarded`, with the relation open, a snapshot active, and a slot of buffered heap tuples.
unsafe fn fetch(relation: pg_sys::Relation, root: Root, slot: *mut pg_sys::TupleTableSlot) -> Option<Room> {
    // SAFETY: as above. The tuple is looked for under the page's lock, and kept by the slot's pin.
    unsafe {
        let buffer = read_block(relation, root)?;
        let mut place = pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData { bi_hi: (root.block >> 16) as u16, bi_lo: root.block as u16 },
            ip_posid: root.offset,
        };
        let tuple = &raw mut (*slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).base.tupdata;
        raw::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let snapshot = raw::GetActiveSnapshot();
        let found = raw::heap_hot_search_buffer(&mut place, relation, buffer, snapshot, tuple, ptr::null_mut(), true);
        let page = &*pg_sys::BufferGetPage(buffer).cast::<pg_sys::PageHeaderData>();
        let free = u32::from(page.pd_upper.saturating_sub(page.pd_lower));
        if found {
            (*slot).tts_tableOid = (*relation).rd_id;
            raw::ExecStoreBufferHeapTuple(tuple, slot, buffer);
        }
        raw::UnlockReleaseBuffer(buffer);
        found.then(|| if free >= ROOM_FOR * ((*tuple).t_len + 8) { Room::Enough } else { Room::Little })
    }
}

/// The block, pinned; `None` where the table has it no more. As a rule it still is in the buffer where it was, which saves
/// asking for the file's length and looking for the buffer.
///
/// # Safety
/// In `guarded`, with the relation open.
unsafe fn read_block(relation: pg_sys::Relation, root: Root) -> Option<pg_sys::Buffer> {
    let main = pg_sys::ForkNumber::MAIN_FORKNUM;
    // SAFETY: as above. The buffer is a shared one, as the table is, and is taken only while it has this very block.
    unsafe {
        #[cfg(feature = "pg15")]
        let file = (*relation).rd_node;
        #[cfg(not(feature = "pg15"))]
        let file = (*relation).rd_locator;
        if raw::ReadRecentBuffer(file, main, root.block, root.buffer) {
            return Some(root.buffer);
        }
        // Vacuum may have cut the table off since.
        let there = root.block < raw::RelationGetNumberOfBlocksInFork(relation, main);
        there.then(|| raw::ReadBuffer(relation, root.block))
    }
}

/// Whether the row in the slot has these values; they are bigints and texts under the collation C.
///
/// # Safety
/// In `guarded`; the columns are of the slot's row, and of the values' types.
unsafe fn has_values(slot: *mut pg_sys::TupleTableSlot, values: &[(usize, Arg)]) -> bool {
    // SAFETY: as above; a text is looked into only where it is stored as it is.
    unsafe {
        let last = values.iter().map(|(column, _)| *column).max().unwrap_or(0);
        raw::slot_getsomeattrs_int(slot, last as i32 + 1);
        values.iter().all(|(column, value)| {
            let (stored, null) = (*(*slot).tts_values.add(*column), *(*slot).tts_isnull.add(*column));
            match value {
                Arg::Int(value) => !null && stored.value() as i64 == *value,
                Arg::Text(value) => {
                    let text = stored.cast_mut_ptr::<pg_sys::varlena>();
                    !null
                        && !pgrx::varlena::varatt_is_1b_e(text)
                        && !pgrx::varlena::varatt_is_4b_c(text)
                        && pgrx::varlena::varlena_to_byte_slice(text) == value.as_bytes()
                }
                _ => false,
            }
        })
    }
}

/// Datums of keys with the operators by which they are looked up, and how many they are.
fn key_values(keys: &[Arg]) -> Option<([(Datum, u32); MOST_KEYS], usize)> {
    let mut values = [(Datum::from(0), 0_u32); MOST_KEYS];
    for (slot, key) in values.iter_mut().zip(keys) {
        *slot = (key.datum()?, if matches!(key, Arg::Int(_)) { BIGINT_EQUAL } else { TEXT_EQUAL });
    }
    Some((values, keys.len().min(MOST_KEYS)))
}

/// # Safety
/// In `guarded`; the values are of the types of the first columns of the scan's index.
unsafe fn rescan(scan: pg_sys::IndexScanDesc, values: &[(Datum, u32); MOST_KEYS], count: usize) {
    let mut entries = [pg_sys::ScanKeyData::default(); MOST_KEYS];
    // SAFETY: as above; the scan makes a copy of the entries.
    unsafe {
        for (number, (value, equal)) in values.iter().take(count).enumerate() {
            let entry = entries.as_mut_ptr().add(number);
            let strategy = pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber;
            raw::ScanKeyInit(entry, number as i16 + 1, strategy, Oid::from(*equal), *value);
        }
        raw::index_rescan(scan, entries.as_mut_ptr(), count as i32, ptr::null_mut(), 0);
    }
}

/// Locks a row as `FOR NO KEY UPDATE` does, and puts its last version into the slot.
///
/// # Safety
/// In `guarded`, with the relation open, a snapshot active, and a slot of buffered heap tuples.
unsafe fn lock(
    relation: pg_sys::Relation,
    mut place: pg_sys::ItemPointerData,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: as above. The function is that of heap tables.
    unsafe {
        let Some(lock) = (*(*relation).rd_tableam).tuple_lock else { return false };
        let flags = pg_sys::TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS | pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
        let mut failure = pg_sys::TM_FailureData::default();
        let result = lock(
            relation,
            &mut place,
            raw::GetActiveSnapshot(),
            slot,
            raw::GetCurrentCommandId(false),
            pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
            pg_sys::LockWaitPolicy::LockWaitBlock,
            flags as u8,
            &mut failure,
        );
        result == pg_sys::TM_Result::TM_Ok
    }
}

/// New values for the columns of a row that a usage changes (`Table::changed`).
pub struct Update<'a> {
    pub image: &'a Image,
    pub values: &'a [Arg<'a>],
}

/// Updates rows of one table. `false`: the layout holds no more, and nothing was done.
pub fn update_rows(table: &Table, updates: &[Update]) -> bool {
    let changes: Vec<(Values, pg_sys::HeapTupleData)> =
        updates.iter().map(|update| (datums(update.values), update.image.tuple())).collect();
    // SAFETY: see the module's invariants; the closure borrows what it reads.
    unsafe {
        guarded(|| {
            raw::PushActiveSnapshot(raw::GetTransactionSnapshot());
            let relation = raw::table_open(table.oid, WRITE_LOCK);
            let holds = layout::holds();
            if holds {
                for (values, tuple) in &changes {
                    update_row(relation, table, tuple, values);
                }
            }
            raw::table_close(relation, NO_LOCK);
            raw::PopActiveSnapshot();
            raw::CommandCounterIncrement();
            holds
        })
    }
}

/// Inserts ledger rows, each with whether it carries a usage's key. `None`: the layout holds no more, and nothing was done.
/// `Some(Err)`: the key of that row is taken, or being taken; it is not there, others may be, and the caller undoes them.
pub fn insert_entries(layout: &Layout, entries: &[(&[Arg], bool)]) -> Option<Result<(), usize>> {
    let rows: Vec<(Values, bool)> = entries.iter().map(|(entry, keyed)| (datums(entry), *keyed)).collect();
    let mut slots: Vec<*mut pg_sys::TupleTableSlot> = vec![ptr::null_mut(); rows.len()];
    // SAFETY: see the module's invariants. A virtual slot has room for a value per attribute of its shape.
    unsafe {
        let (rows, slots) = (&rows, slots.as_mut_slice());
        guarded(|| {
            let ledger = raw::table_open(layout.ledger.oid, WRITE_LOCK);
            let indexes = [&layout.ledger_key, &layout.ledger_place, &layout.ledger_usage];
            let opened = indexes.map(|index| raw::index_open(index.oid, WRITE_LOCK));
            let holds = layout::holds();
            let mut taken = None;
            if holds {
                // A copy of the shape: the table's own is counted, slot by slot, in a list that grows with them.
                let shape = raw::CreateTupleDescCopy((*ledger).rd_att);
                for (slot, (entry, _)) in slots.iter_mut().zip(rows) {
                    *slot = entry_slot(layout, shape, entry);
                }
                let count = slots.len() as i32;
                let command = raw::GetCurrentCommandId(true);
                raw::heap_multi_insert(ledger, slots.as_mut_ptr(), count, command, 0, ptr::null_mut());
                use pg_sys::IndexUniqueCheck::{UNIQUE_CHECK_NO, UNIQUE_CHECK_PARTIAL, UNIQUE_CHECK_YES};
                let checks = [UNIQUE_CHECK_PARTIAL, UNIQUE_CHECK_YES, UNIQUE_CHECK_NO];
                'rows: for (row, (slot, (entry, keyed))) in slots.iter().zip(rows).enumerate() {
                    let of_usage = !entry.get(USAGE_ID).is_none_or(|(_, null)| *null);
                    let wanted = [*keyed, true, of_usage];
                    for number in (0..3).filter(|number| wanted[*number]) {
                        let index = indexes[number];
                        if !enter(ledger, opened[number], index, *slot, checks[number]) && number == 0 {
                            taken = Some(row);
                            // So that the caller can wait for whoever has the key; it undoes the rest.
                            raw::CommandCounterIncrement();
                            raw::simple_heap_delete(ledger, &raw mut (**slot).tts_tid);
                            break 'rows;
                        }
                    }
                }
                for slot in slots.iter() {
                    raw::ExecDropSingleTupleTableSlot(*slot);
                }
            }
            for index in opened {
                raw::index_close(index, NO_LOCK);
            }
            raw::table_close(ledger, NO_LOCK);
            raw::CommandCounterIncrement();
            holds.then_some(taken.map_or(Ok(()), Err))
        })
    }
}

/// Datums and whether they are NULL.
type Values = Vec<(Datum, bool)>;

fn datums(args: &[Arg]) -> Values {
    args.iter().map(Arg::datum).map(|datum| (datum.unwrap_or(Datum::from(0)), datum.is_none())).collect()
}

/// Inserts a ledger row and updates the rows that it goes with. `false`: the usage's key is taken, or somebody is taking it,
/// or the layout holds no more; nothing is left of it then.
pub fn write_usage(layout: &Layout, entry: &[Arg], keyed: bool, updates: &[(&Table, Update)]) -> bool {
    let entry = datums(entry);
    let changes: Vec<(&Table, Values, pg_sys::HeapTupleData)> =
        updates.iter().map(|(table, update)| (*table, datums(update.values), update.image.tuple())).collect();
    // SAFETY: see the module's invariants; the closure borrows what it reads.
    unsafe {
        guarded(|| {
            let ledger = raw::table_open(layout.ledger.oid, WRITE_LOCK);
            let written = layout::holds() && insert_entry(layout, ledger, &entry, keyed);
            if written {
                for (table, values, tuple) in &changes {
                    // Locked when its row was read, for the whole transaction.
                    let relation = raw::table_open(table.oid, NO_LOCK);
                    update_row(relation, table, tuple, values);
                    raw::table_close(relation, NO_LOCK);
                }
            }
            raw::table_close(ledger, NO_LOCK);
            raw::CommandCounterIncrement();
            written
        })
    }
}

/// # Safety
/// In `guarded`, with the ledger open for writing; a value per column of `Layout::ledger`.
unsafe fn insert_entry(layout: &Layout, ledger: pg_sys::Relation, entry: &[(Datum, bool)], keyed: bool) -> bool {
    // SAFETY: see the module's invariants. A virtual slot has room for a value per attribute of its shape.
    unsafe {
        use pg_sys::IndexUniqueCheck::{UNIQUE_CHECK_NO, UNIQUE_CHECK_PARTIAL, UNIQUE_CHECK_YES};
        let slot = entry_slot(layout, (*ledger).rd_att, entry);
        let mut free = true;
        if keyed {
            // As ON CONFLICT does: the row is there on trial, and where its key is taken goes again, as if it had never been
            // (for logical decoding, too). Asking for the key and entering it are one: whoever else comes with it finds it taken.
            let methods = &*(*ledger).rd_tableam;
            let (Some(insert), Some(complete)) = (methods.tuple_insert_speculative, methods.tuple_complete_speculative)
            else {
                return false;
            };
            let transaction = raw::GetCurrentTransactionId();
            let token = raw::SpeculativeInsertionLockAcquire(transaction);
            insert(ledger, slot, raw::GetCurrentCommandId(true), 0, ptr::null_mut(), token);
            free = open_and_enter(ledger, &layout.ledger_key, slot, UNIQUE_CHECK_PARTIAL);
            complete(ledger, slot, token, free);
            raw::SpeculativeInsertionLockRelease(transaction);
        } else {
            raw::simple_table_tuple_insert(ledger, slot);
        }
        if free {
            open_and_enter(ledger, &layout.ledger_place, slot, UNIQUE_CHECK_YES);
            open_and_enter(ledger, &layout.ledger_usage, slot, UNIQUE_CHECK_NO);
        }
        raw::ExecDropSingleTupleTableSlot(slot);
        free
    }
}

/// A slot with the values of a ledger row.
///
/// # Safety
/// In `guarded`; a value per column of `Layout::ledger`, and its table's shape.
unsafe fn entry_slot(
    layout: &Layout,
    shape: pg_sys::TupleDesc,
    entry: &[(Datum, bool)],
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: a virtual slot has room for a value per attribute of its shape.
    unsafe {
        let slot = raw::MakeSingleTupleTableSlot(shape, &raw const pg_sys::TTSOpsVirtual);
        for (index, (value, null)) in layout.ledger.columns.iter().zip(entry) {
            *(*slot).tts_values.add(*index) = *value;
            *(*slot).tts_isnull.add(*index) = *null;
        }
        raw::ExecStoreVirtualTuple(slot);
        slot
    }
}

/// # Safety
/// As `enter`.
unsafe fn open_and_enter(
    table: pg_sys::Relation,
    index: &Index,
    slot: *mut pg_sys::TupleTableSlot,
    unique: pg_sys::IndexUniqueCheck::Type,
) -> bool {
    // SAFETY: as `enter`.
    unsafe {
        let opened = raw::index_open(index.oid, WRITE_LOCK);
        let is_unique = enter(table, opened, index, slot, unique);
        raw::index_close(opened, NO_LOCK);
        is_unique
    }
}

/// Enters the slot's row into an index. `false`, under a partial check only: there may be another one with that key.
///
/// # Safety
/// In `guarded`; the slot holds a row that was just inserted into the table.
unsafe fn enter(
    table: pg_sys::Relation,
    opened: pg_sys::Relation,
    index: &Index,
    slot: *mut pg_sys::TupleTableSlot,
    unique: pg_sys::IndexUniqueCheck::Type,
) -> bool {
    let mut values = [Datum::from(0); MOST_KEYS];
    let mut nulls = [false; MOST_KEYS];
    // SAFETY: see the module's invariants. btree reads nothing of the information on the index.
    unsafe {
        for (key, column) in index.columns.iter().enumerate().take(MOST_KEYS) {
            values[key] = *(*slot).tts_values.add(*column);
            nulls[key] = *(*slot).tts_isnull.add(*column);
        }
        let mut info = pg_sys::IndexInfo { type_: pg_sys::NodeTag::T_IndexInfo, ..pg_sys::IndexInfo::default() };
        let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
        let place = &raw mut (*slot).tts_tid;
        raw::index_insert(opened, values, nulls, place, table, unique, false, &mut info)
    }
}

/// # Safety
/// In `guarded`, with the relation open for writing; the tuple is the row's last version, locked by this transaction.
unsafe fn update_row(
    relation: pg_sys::Relation,
    table: &Table,
    tuple: &pg_sys::HeapTupleData,
    changed: &[(Datum, bool)],
) {
    // SAFETY: see the module's invariants.
    unsafe {
        let mut tuple = *tuple;
        let shape = (*relation).rd_att;
        let slot = raw::MakeSingleTupleTableSlot(shape, &raw const pg_sys::TTSOpsVirtual);
        raw::heap_deform_tuple(&mut tuple, shape, (*slot).tts_values, (*slot).tts_isnull);
        for (index, (value, null)) in table.changed.iter().zip(changed) {
            *(*slot).tts_values.add(*index) = *value;
            *(*slot).tts_isnull.add(*index) = *null;
        }
        raw::ExecStoreVirtualTuple(slot);
        let mut enter = Default::default();
        raw::simple_table_tuple_update(relation, &mut tuple.t_self, slot, raw::GetActiveSnapshot(), &mut enter);
        if let Some(which) = to_enter(enter) {
            enter_everywhere(relation, slot, which);
        }
        raw::ExecDropSingleTupleTableSlot(slot);
    }
}

/// Which indexes a new version is entered into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// It is on another page, or has changed what an index holds.
    All,
    /// Those that keep a summary of blocks (BRIN) of what has changed; for the others it is where it was.
    #[cfg(not(feature = "pg15"))]
    Summarizing,
}

#[cfg(feature = "pg15")]
fn to_enter(enter: bool) -> Option<Which> {
    enter.then_some(Which::All)
}
#[cfg(not(feature = "pg15"))]
fn to_enter(enter: pg_sys::TU_UpdateIndexes::Type) -> Option<Which> {
    match enter {
        pg_sys::TU_UpdateIndexes::TU_None => None,
        pg_sys::TU_UpdateIndexes::TU_Summarizing => Some(Which::Summarizing),
        _ => Some(Which::All),
    }
}

/// Enters a new version of a row into all of its table's indexes, whichever these are.
///
/// # Safety
/// In `guarded`; the slot holds the version that was just written.
unsafe fn enter_everywhere(relation: pg_sys::Relation, slot: *mut pg_sys::TupleTableSlot, which: Which) {
    #[cfg(feature = "pg15")]
    let _ = which; // All: a new version in place is in no index there.
    // SAFETY: see the module's invariants. A relation that no query names has the range table's index 0.
    unsafe {
        let state = raw::CreateExecutorState();
        let mut info = pg_sys::ResultRelInfo { type_: pg_sys::NodeTag::T_ResultRelInfo, ..Default::default() };
        raw::InitResultRelInfo(&mut info, relation, 0, ptr::null_mut(), 0);
        raw::ExecOpenIndices(&mut info, false);
        let (conflict, arbiters) = (ptr::null_mut(), ptr::null_mut());
        raw::ExecInsertIndexTuples(
            &mut info,
            slot,
            state,
            true,
            false,
            conflict,
            arbiters,
            #[cfg(not(feature = "pg15"))]
            {
                which == Which::Summarizing
            },
        );
        raw::ExecCloseIndices(&mut info);
        raw::FreeExecutorState(state);
    }
}
