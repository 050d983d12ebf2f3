//! The archive: rows that were moved out of the ledger's own table, and the keys of the usages among them.
//!
//! A row moves, and its key with it, in one transaction that has the pool locked, so every statement that reads both
//! tables finds it once. But the unique index that tells a key as taken has those of the ledger's own table only: whoever
//! writes a usage with a key asks here as well (`unless_archived`), before and after the row is inserted, and both times of
//! all that is committed by then:
//! - before, for every call that comes later than the archiving. A call on the same pool always does: it has the lock.
//! - after, for a call on another pool of the customer that had asked before the archiving was committed: its insertion
//!   waits for that (the row with the key is being deleted) and then finds the key free. There is nothing to undo it with,
//!   so the transaction has to run again.
//!
//! As long as nothing is archived, both questions are a look at the length of a file, which grows before anything in it is
//! committed.

use std::sync::atomic::{AtomicBool, Ordering};

use credit_pools_domain::Instant;
use pgrx::pg_sys;

use super::direct;
use super::in_hand::{self, Thing};
use super::spi::{Arg, Row, Statement, kept_back};
use crate::error::{Error, Kind};

/// The ledger's rows, archived or not, as a table of a FROM clause. PostgreSQL takes each part by its own index.
macro_rules! all_entries {
    () => {
        "(SELECT * FROM credit_pools.ledger_entry UNION ALL SELECT * FROM credit_pools.ledger_archive)"
    };
}

pub(super) use all_entries;

/// Inserts the rows of a usage, whose key it is; `false` where the key is taken, and nothing was inserted.
pub fn unless_archived(customer_id: &str, key: Option<&str>, insert: impl FnOnce() -> bool) -> bool {
    let Some(key) = key else { return insert() };
    if has_key(customer_id, key) {
        return false;
    }
    let inserted = insert();
    if inserted && has_key(customer_id, key) {
        archived_meanwhile().raise();
    }
    inserted
}

/// Whether a usage in the archive has the key, by all that is committed by now.
pub fn has_key(customer_id: &str, key: &str) -> bool {
    static FIND: Statement = Statement::new(
        "SELECT 1 FROM credit_pools.archived_usage u WHERE u.customer_id = $1 AND u.idempotency_key = $2",
    );
    has_keys() && FIND.first_of_latest(&[Arg::Text(customer_id), Arg::Text(key)], |_| ()).is_some()
}

/// Whether usages in the archive have one of these keys (of a customer each).
pub fn has_any_key(keys: &[(&str, &str)]) -> bool {
    static FIND: Statement = Statement::new(
        "SELECT 1 FROM unnest($1, $2) k (customer_id, key)
         CROSS JOIN LATERAL (
             SELECT 1 FROM credit_pools.archived_usage u
             WHERE u.customer_id = k.customer_id AND u.idempotency_key = k.key LIMIT 1) u
         LIMIT 1",
    );
    if keys.is_empty() || !has_keys() {
        return false;
    }
    let (customers, names): (Vec<Arg>, Vec<Arg>) = keys.iter().map(|(c, k)| (Arg::Text(c), Arg::Text(k))).unzip();
    FIND.first_of_latest(&[Arg::Column(&customers), Arg::Column(&names)], |_| ()).is_some()
}

/// Whether there may be any key in the archive: its table has a page.
pub fn has_keys() -> bool {
    // SAFETY: finds, opens and closes a table of the extension; no error can come between. The lock is given back.
    unsafe {
        let look_up = || {
            let schema = pg_sys::get_namespace_oid(c"credit_pools".as_ptr(), false);
            pg_sys::get_relname_relid(c"archived_usage".as_ptr(), schema)
        };
        let table = direct::archived_usage().unwrap_or_else(look_up);
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let relation = pg_sys::table_open(table, lock);
        let pages = pg_sys::RelationGetNumberOfBlocksInFork(relation, pg_sys::ForkNumber::MAIN_FORKNUM);
        pg_sys::table_close(relation, lock);
        pages > 0
    }
}

/// A key went into the archive after this call had looked there.
pub fn archived_meanwhile() -> Error {
    Error::new(Kind::SerializationFailure, "could not serialize access to an idempotency key")
}

/// Where a walk over pools has come to: customer and pool.
pub type PoolKey = (String, i64);

/// Which pools are looked at, and which of their rows: recorded earlier than `before`.
#[derive(Clone, Copy)]
pub struct Old<'a> {
    pub before: Instant,
    /// `None`: of all.
    pub customer_id: Option<&'a str>,
}

/// Pools behind `after` that have rows to move.
pub fn pools(of: &Old, after: (&str, i64), limit: i64) -> Vec<PoolKey> {
    // The oldest row of each kind, found behind those that have moved: what is left of these in the index until it is
    // vacuumed would be gone through each time.
    macro_rules! page {
        ($customer:literal) => {
            concat!(
                "SELECT p.customer_id, p.pool_id
                 FROM credit_pools.pool p
                 LEFT JOIN LATERAL (
                     SELECT h.up_to_seq, h.up_to_usage FROM credit_pools.ledger_archive_head h
                     WHERE h.customer_id = p.customer_id AND h.pool_id = p.pool_id
                     ORDER BY h.up_to_seq DESC, h.up_to_usage DESC LIMIT 1) h ON true
                 WHERE (p.customer_id, p.pool_id) > ($1, $2) ",
                $customer,
                "  AND ((SELECT e.recorded_at < $4 AND e.seq < p.seq FROM credit_pools.ledger_entry e
                         WHERE e.customer_id = p.customer_id AND e.pool_id = p.pool_id
                           AND e.seq > COALESCE(h.up_to_seq, 0)
                         ORDER BY e.seq LIMIT 1)
                        OR (SELECT e.recorded_at < $4 FROM credit_pools.ledger_entry e
                            WHERE e.customer_id = p.customer_id AND e.pool_id = p.pool_id
                              AND e.seq < - COALESCE(h.up_to_usage, 0)
                            ORDER BY e.seq DESC LIMIT 1))
                 ORDER BY p.customer_id, p.pool_id LIMIT $5"
            )
        };
    }
    static ALL: Statement = Statement::new(page!("AND $3::text IS NULL"));
    static OF_CUSTOMER: Statement = Statement::new(page!("AND p.customer_id = $3"));
    let args =
        [Arg::Text(after.0), Arg::Int(after.1), Arg::MaybeText(of.customer_id), Arg::Time(of.before), Arg::Int(limit)];
    (if of.customer_id.is_some() { &OF_CUSTOMER } else { &ALL })
        .rows(&args, |row| (row.text(1).unwrap_or_default(), row.int(2).unwrap_or_default()))
}

/// The pool's last row, once it is locked; `None`: somebody else has it locked, or it is gone.
pub fn lock(pool: &PoolKey, wait: bool) -> Option<i64> {
    static WAIT: Statement = Statement::new(
        "SELECT p.seq FROM credit_pools.pool p WHERE p.customer_id = $1 AND p.pool_id = $2 FOR NO KEY UPDATE OF p",
    );
    static TRY: Statement = Statement::new(
        "SELECT p.seq FROM credit_pools.pool p
         WHERE p.customer_id = $1 AND p.pool_id = $2 FOR NO KEY UPDATE OF p SKIP LOCKED",
    );
    let args = [Arg::Text(&pool.0), Arg::Int(pool.1)];
    let seq = (if wait { &WAIT } else { &TRY }).first(&args, |row| row.int(1)).flatten();
    if seq.is_some() {
        in_hand::take(Thing::Pool(pool.1));
    }
    seq
}

/// How far a pool's rows are archived.
#[derive(Clone)]
pub struct Head {
    pub up_to_seq: i64,
    pub up_to_usage: i64,
    pub hash: Vec<u8>,
    pub balance_after: String,
    pub recorded_at: Instant,
}

macro_rules! heads_of_pool {
    ($rest:literal) => {
        concat!(
            "SELECT h.up_to_seq, h.up_to_usage, h.entry_hash, h.balance_after::text, h.recorded_at
             FROM credit_pools.ledger_archive_head h WHERE h.customer_id = $1 AND h.pool_id = $2
             ORDER BY h.up_to_seq DESC, h.up_to_usage DESC",
            $rest
        )
    };
}

fn read_head(row: &Row) -> Head {
    Head {
        up_to_seq: row.int(1).unwrap_or_default(),
        up_to_usage: row.int(2).unwrap_or_default(),
        hash: row.bytes(3).unwrap_or_default(),
        balance_after: row.text(4).unwrap_or_default(),
        recorded_at: row.time(5).unwrap_or(Instant::NEG_INFINITY),
    }
}

/// Of a locked pool.
pub fn head(pool: &PoolKey) -> Head {
    static LAST: Statement = Statement::new(heads_of_pool!(" LIMIT 1"));
    LAST.first(&[Arg::Text(&pool.0), Arg::Int(pool.1)], read_head).unwrap_or_else(|| Head {
        up_to_seq: 0,
        up_to_usage: 0,
        hash: Vec::new(),
        balance_after: "0".to_owned(),
        recorded_at: Instant::NEG_INFINITY,
    })
}

/// All heads of a pool, the last one first, in the caller's snapshot.
pub fn heads(customer_id: &str, pool_id: i64) -> Vec<Head> {
    static ALL: Statement = Statement::read(heads_of_pool!(""));
    ALL.rows(&[Arg::Text(customer_id), Arg::Int(pool_id)], read_head)
}

/// The last of the rows behind `head`, up to `last`, that were recorded before an instant: as the head that they will have.
pub fn last_old(pool: &PoolKey, head: &Head, last: i64, before: Instant) -> Option<Head> {
    static FIND: Statement = Statement::new(
        "SELECT e.seq, $6::bigint, e.entry_hash, e.balance_after::text, e.recorded_at
         FROM credit_pools.ledger_entry e
         WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq > $3 AND e.seq <= $4 AND e.recorded_at < $5
         ORDER BY e.seq DESC LIMIT 1",
    );
    let args = [
        Arg::Text(&pool.0),
        Arg::Int(pool.1),
        Arg::Int(head.up_to_seq),
        Arg::Int(last),
        Arg::Time(before),
        Arg::Int(head.up_to_usage),
    ];
    FIND.first(&args, read_head)
}

/// The last of the next `limit` usages without credits that were recorded before an instant. Ids are given in the order
/// of recording under the pool's lock; one that is not in that order, as by a sequence with a cache, stays behind.
pub fn last_old_usage(pool: &PoolKey, head: &Head, limit: i64, before: Instant) -> Option<i64> {
    static FIND: Statement = Statement::new(
        "SELECT - min(x.seq)
         FROM (SELECT e.seq, e.recorded_at FROM credit_pools.ledger_entry e
               WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq < - $3
               ORDER BY e.seq DESC LIMIT $4) x
         WHERE x.recorded_at < $5",
    );
    let args = [Arg::Text(&pool.0), Arg::Int(pool.1), Arg::Int(head.up_to_usage), Arg::Int(limit), Arg::Time(before)];
    FIND.first(&args, |row| row.int(1)).flatten()
}

/// Rows of a locked pool: `first` to `last`, recorded before an instant.
pub struct Range {
    pub first: i64,
    pub last: i64,
    pub before: Instant,
}

impl Range {
    fn args<'a>(&self, pool: &'a PoolKey) -> [Arg<'a>; 5] {
        [Arg::Text(&pool.0), Arg::Int(pool.1), Arg::Int(self.first), Arg::Int(self.last), Arg::Time(self.before)]
    }
}

/// Keeps the keys of the usages among rows that are to move, with what `usage_by_key` says of them; how many.
pub fn keep_keys(pool: &PoolKey, range: &Range) -> i64 {
    // A usage's rows lie together. Its last one is found by its own look only where the next row is of the same usage.
    static KEEP: Statement = Statement::new(
        "WITH keyed AS (
             SELECT e.seq, e.idempotency_key, e.payload_digest, e.usage_id, e.credits, e.shortfall, e.balance_after,
                    e.seq > 0 AND n.usage_id = e.usage_id AND n.entry_type <> 'reverse' AS goes_on
             FROM credit_pools.ledger_entry e
             LEFT JOIN LATERAL (
                 SELECT l.usage_id, l.entry_type FROM credit_pools.ledger_entry l
                 WHERE l.customer_id = $1 AND l.pool_id = $2 AND l.seq = e.seq + 1 LIMIT 1) n ON true
             WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq >= $3 AND e.seq <= $4 AND e.recorded_at < $5
               AND e.idempotency_key IS NOT NULL AND e.credits IS NOT NULL),
         usages AS MATERIALIZED (
             SELECT k.*, COALESCE(x.seq, k.seq) AS last_seq, COALESCE(x.balance_after, k.balance_after) AS last_balance
             FROM keyed k
             LEFT JOIN LATERAL (
                 SELECT l.seq, l.balance_after
                 FROM credit_pools.ledger_entry l
                 WHERE k.goes_on AND l.customer_id = $1 AND l.pool_id = $2 AND l.seq > k.seq
                   AND l.usage_id = k.usage_id AND l.entry_type <> 'reverse'
                   AND NOT EXISTS (
                       SELECT 1 FROM credit_pools.ledger_entry n
                       WHERE n.customer_id = $1 AND n.pool_id = $2 AND n.seq = l.seq + 1
                         AND n.usage_id = k.usage_id AND n.entry_type <> 'reverse')
                 ORDER BY l.seq LIMIT 1) x ON true),
         settled AS MATERIALIZED (
             SELECT r.cause_seq, min(s.balance_after) AS balance_after
             FROM credit_pools.recharge r
             JOIN credit_pools.ledger_entry s
               ON s.customer_id = r.customer_id AND s.pool_id = r.pool_id AND s.seq = r.settled_seq
             WHERE r.customer_id = $1 AND r.pool_id = $2 AND r.settled_seq IS NOT NULL AND r.cause_seq >= $3
               AND r.cause_seq <= (SELECT max(u.last_seq) FROM usages u)
             GROUP BY r.cause_seq),
         kept AS (
             INSERT INTO credit_pools.archived_usage
                 (customer_id, idempotency_key, payload_digest, usage_id, pool_id, credits, shortfall, balance)
             SELECT $1, u.idempotency_key, u.payload_digest, u.usage_id, $2, u.credits, COALESCE(u.shortfall, 0),
                    COALESCE(s.balance_after, u.last_balance)
             FROM usages u
             LEFT JOIN settled s ON u.seq > 0 AND s.cause_seq = u.last_seq
             ON CONFLICT (customer_id, idempotency_key) DO NOTHING RETURNING 1)
         SELECT (SELECT count(*) FROM usages), (SELECT count(*) FROM kept)",
    );
    let count = |row: &Row| [1, 2].map(|column| row.int(column).unwrap_or_default());
    let [keys, kept] = KEEP.first(&range.args(pool), count).unwrap_or_default();
    // A key that another transaction has kept since this one's snapshot is a serialization failure of PostgreSQL's.
    if keys != kept {
        kept_back("archived_usage");
    }
    kept
}

/// The one DELETE of the ledger that its guard lets pass is the next one.
static MOVING: AtomicBool = AtomicBool::new(false);

/// Asked by the guard: for one statement of this session, and only while rows move.
pub fn may_delete() -> bool {
    MOVING.swap(false, Ordering::Relaxed)
}

/// What moved.
#[derive(Clone, Copy, Default)]
pub struct Moved {
    pub rows: i64,
    pub bytes: i64,
}

/// Moves rows of a locked pool into the archive.
pub fn move_rows(pool: &PoolKey, range: &Range) -> Moved {
    static MOVE: Statement = Statement::new(
        "WITH gone AS (
             DELETE FROM credit_pools.ledger_entry e
             WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq >= $3 AND e.seq <= $4 AND e.recorded_at < $5
             RETURNING e.*),
         kept AS (
             INSERT INTO credit_pools.ledger_archive AS a SELECT * FROM gone RETURNING pg_column_size(a.*) AS bytes)
         SELECT (SELECT count(*) FROM gone), count(*), COALESCE(sum(bytes), 0) FROM kept",
    );
    static LEFT: Statement = Statement::new(
        "SELECT 1 FROM credit_pools.ledger_entry e
         WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq >= $3 AND e.seq <= $4 AND e.recorded_at < $5 LIMIT 1",
    );
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            MOVING.store(false, Ordering::Relaxed);
        }
    }
    let args = range.args(pool);
    let moved = {
        let _reset = Reset;
        MOVING.store(true, Ordering::Relaxed);
        let count = |row: &Row| [1, 2, 3].map(|column| row.int(column).unwrap_or_default());
        MOVE.first(&args, count).unwrap_or_default()
    };
    let [gone, rows, bytes] = moved;
    if gone != rows {
        kept_back("ledger_archive");
    }
    if LEFT.run(&args) > 0 {
        kept_back("ledger_entry");
    }
    Moved { rows, bytes }
}

/// Says how far a locked pool is archived now.
pub fn add_head(pool: &PoolKey, head: &Head, entries: i64, usage_events: i64, now: Instant) {
    static ADD: Statement = Statement::new(
        "INSERT INTO credit_pools.ledger_archive_head
             (customer_id, pool_id, up_to_seq, up_to_usage, entry_hash, balance_after, recorded_at, entries,
              usage_events, archived_at)
         VALUES ($1, $2, $3, $4, $5, $6::text::numeric, $7, $8, $9, $10)",
    );
    ADD.write(
        &[
            Arg::Text(&pool.0),
            Arg::Int(pool.1),
            Arg::Int(head.up_to_seq),
            Arg::Int(head.up_to_usage),
            Arg::Bytes(Some(&head.hash)),
            Arg::Text(&head.balance_after),
            Arg::Time(head.recorded_at),
            Arg::Int(entries),
            Arg::Int(usage_events),
            Arg::Time(now),
        ],
        1,
    );
}

/// Where one table ends and the other begins.
#[derive(Clone, Default)]
pub struct Ends {
    /// The last row that is archived, and the first that is not; 0 where there is none.
    pub last: i64,
    pub next: i64,
}

/// Where a pool's archive ends and its ledger begins, by the rows themselves.
pub fn ends(customer_id: &str, pool_id: i64) -> Ends {
    static READ: Statement = Statement::read(
        "SELECT COALESCE((SELECT a.seq FROM credit_pools.ledger_archive a
                          WHERE a.customer_id = $1 AND a.pool_id = $2 AND a.seq > 0 ORDER BY a.seq DESC LIMIT 1), 0),
                COALESCE((SELECT e.seq FROM credit_pools.ledger_entry e
                          WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq > 0 ORDER BY e.seq LIMIT 1), 0)",
    );
    let read = |row: &Row| Ends { last: row.int(1).unwrap_or_default(), next: row.int(2).unwrap_or_default() };
    READ.first(&[Arg::Text(customer_id), Arg::Int(pool_id)], read).unwrap_or_default()
}

/// Usages in a pool's archive whose key is not kept, or kept of another usage.
pub fn lost_keys(customer_id: &str, pool_id: i64) -> Vec<(i64, String)> {
    static READ: Statement = Statement::read(
        "SELECT a.seq, a.idempotency_key FROM credit_pools.ledger_archive a
         WHERE a.customer_id = $1 AND a.pool_id = $2 AND a.idempotency_key IS NOT NULL AND a.credits IS NOT NULL
           AND NOT EXISTS (
               SELECT 1 FROM credit_pools.archived_usage u
               WHERE u.customer_id = $1 AND u.idempotency_key = a.idempotency_key AND u.usage_id = a.usage_id
                 AND u.pool_id = $2 AND u.payload_digest IS NOT DISTINCT FROM a.payload_digest
                 AND u.credits = a.credits AND u.shortfall = COALESCE(a.shortfall, 0))
         ORDER BY a.seq LIMIT 1000",
    );
    let read = |row: &Row| (row.int(1).unwrap_or_default(), row.text(2).unwrap_or_default());
    READ.rows(&[Arg::Text(customer_id), Arg::Int(pool_id)], read)
}
