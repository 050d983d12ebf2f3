//! Ledger rows: written once, sealed, never changed.

use credit_pools_domain::{Amount, BookedRows, Entry, EntryType, Instant, SealedRow, seal};

use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::archive::{all_entries, has_any_key, unless_archived};
use super::direct::{self, Places};
use super::grants;
use super::pools::PoolRow;
use super::spi::{Arg, Row, Statement, kept_back, run_columns};
use credit_pools_domain::{Grant, Status};

/// What a call adds to the rows that it books.
#[derive(Clone, Default)]
pub struct Note<'a> {
    pub usage: Option<UsageNote<'a>>,
    pub reversal: Option<ReversalNote<'a>>,
    pub recharge_id: Option<i64>,
    pub idempotency_key: Option<&'a str>,
    pub reason: Option<&'a str>,
    pub dimensions: Option<&'a str>,
    pub metadata: Option<&'a str>,
    /// What an update changed that is not the rules' business, each as {from, to}.
    pub changes: Map<String, Value>,
}

/// The usage that rows belong to.
#[derive(Clone)]
pub struct UsageNote<'a> {
    pub usage_id: i64,
    pub feature_id: Option<&'a str>,
    pub value: Option<Amount>,
    pub credits: Amount,
    pub shortfall: Amount,
    pub rate: Option<Amount>,
    /// Of its key, which then stands with the usage.
    pub payload_digest: Option<i64>,
}

/// The usage that rows take back.
#[derive(Clone)]
pub struct ReversalNote<'a> {
    pub usage_id: i64,
    pub feature_id: Option<&'a str>,
    /// Taken out of the period's total.
    pub value: Option<Amount>,
}

/// Where a row stands among those of its call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The first, or the first of a usage: it carries what is said once.
    Head,
    Other,
}

/// One row, ready to be written.
pub struct LedgerRow<'a> {
    pub entry: Entry,
    note: Rc<Note<'a>>,
    place: Place,
    /// The call's metadata on its first row, what changed on an update.
    metadata: Option<String>,
    /// Of the grant that begins, or is to begin, or was changed.
    terms: Option<i64>,
    hash: [u8; 32],
}

impl<'a> LedgerRow<'a> {
    fn is_head(&self) -> bool {
        self.place == Place::Head
    }

    /// The usage that the row is a part of, or takes back.
    fn usage_id(&self) -> Option<i64> {
        usage_of(&self.entry, &self.note).map(|(id, ..)| id)
    }

    fn feature_id(&self) -> Option<&'a str> {
        usage_of(&self.entry, &self.note).and_then(|(_, feature, _)| feature)
    }

    fn value(&self) -> Option<Amount> {
        let of_usage = usage_of(&self.entry, &self.note).filter(|_| self.is_head()).and_then(|(.., value)| value);
        of_usage.or(self.entry.pending)
    }

    fn credits(&self) -> Option<Amount> {
        self.head_usage().map(|usage| usage.credits)
    }

    fn shortfall(&self) -> Option<Amount> {
        self.head_usage().map(|usage| usage.shortfall).filter(|shortfall| shortfall.is_positive())
    }

    fn rate(&self) -> Option<Amount> {
        self.head_usage().and_then(|usage| usage.rate)
    }

    fn digest(&self) -> Option<i64> {
        let of_key = self.head_usage().filter(|_| self.key().is_some()).and_then(|usage| usage.payload_digest);
        of_key.or(self.terms)
    }

    /// The usage that the row stands for.
    fn head_usage(&self) -> Option<&UsageNote<'a>> {
        self.note.usage.as_ref().filter(|_| self.is_head() && self.entry.kind.is_usage())
    }

    fn key(&self) -> Option<&'a str> {
        key_of(&self.entry, &self.note, self.place)
    }

    /// The key that another session may be writing, too.
    fn usage_key(&self) -> Option<&'a str> {
        self.head_usage().and(self.key())
    }
}

/// Usage, feature and value that a row is about.
fn usage_of<'a>(entry: &Entry, note: &Note<'a>) -> Option<(i64, Option<&'a str>, Option<Amount>)> {
    match entry.kind {
        EntryType::Reverse => note.reversal.as_ref().map(|r| (r.usage_id, r.feature_id, r.value)),
        kind if kind.is_usage() => note.usage.as_ref().map(|u| (u.usage_id, u.feature_id, u.value)),
        _ => None,
    }
}

/// A usage's own key stands with the usage, where it must be unique; that of another call elsewhere.
fn key_of<'a>(entry: &Entry, note: &Note<'a>, place: Place) -> Option<&'a str> {
    let with_usage = note.usage.as_ref().is_none_or(|usage| usage.payload_digest.is_some());
    note.idempotency_key.filter(|_| place == Place::Head && (with_usage || !entry.kind.is_usage()))
}

/// Seals the entries of a call onto the pool's chain; the pool's head moves with them. The first `due` of them were the
/// clock's, and have nothing of the call.
pub fn seal_all<'a>(
    pool: &mut PoolRow,
    entries: Vec<Entry>,
    due: usize,
    note: Note<'a>,
    actor: &str,
    recorded_at: Instant,
) -> Vec<LedgerRow<'a>> {
    let (note, nothing) = (Rc::new(note), Rc::new(Note::default()));
    let first_usage = entries.iter().skip(due).position(|e| note.usage.is_some() && e.kind.is_usage());
    let first_reversal = entries.iter().skip(due).position(|e| note.reversal.is_some() && e.kind == EntryType::Reverse);
    let mut rows = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let own = index.checked_sub(due);
        let note = if own.is_some() { &note } else { &nothing };
        let is_head = own.is_some() && [Some(0), first_usage, first_reversal].contains(&own);
        let place = if is_head { Place::Head } else { Place::Other };
        rows.push(sealed(pool, entry, Rc::clone(note), place, actor, recorded_at));
    }
    rows
}

fn sealed<'a>(
    pool: &mut PoolRow,
    entry: Entry,
    note: Rc<Note<'a>>,
    place: Place,
    actor: &str,
    recorded_at: Instant,
) -> LedgerRow<'a> {
    let head = place == Place::Head;
    // A settled hold's first rows are not the usage's: what the call says stands with the usage then.
    let says = head && (note.usage.is_none() || entry.kind.is_usage());
    let metadata = match changes(&entry, &note) {
        Some(changes) => Some(changes),
        None => note.metadata.filter(|_| says).map(str::to_owned),
    };
    let terms = terms_of(&entry, &pool.wallet.grants);
    let mut row = LedgerRow { entry, note, place, metadata, terms, hash: [0; 32] };
    let text = |amount: Option<Amount>| amount.map(|amount| amount.to_string());
    let (value, credits, shortfall, rate) =
        (text(row.value()), text(row.credits()), text(row.shortfall()), text(row.rate()));
    let (amount, balance_after) = (row.entry.amount.to_string(), row.entry.balance_after.to_string());
    row.hash = seal(
        &pool.last_hash,
        &SealedRow {
            customer_id: &pool.customer_id,
            pool_id: pool.pool_id,
            seq: row.entry.seq,
            entry_type: row.entry.kind.as_str(),
            amount: &amount,
            balance_after: &balance_after,
            grant_id: row.entry.grant_id,
            usage_id: row.usage_id(),
            feature_id: row.feature_id(),
            value: value.as_deref(),
            reservation_id: row.entry.reservation.as_deref(),
            recharge_id: row.note.recharge_id,
            idempotency_key: row.key(),
            actor,
            reason: row.reason(),
            dimensions: row.dimensions(),
            metadata: row.metadata.as_deref(),
            effective_at: row.entry.effective_at.micros(),
            recorded_at: recorded_at.micros(),
            credits: credits.as_deref(),
            shortfall: shortfall.as_deref(),
            rate: rate.as_deref(),
            digest: row.digest(),
        },
    );
    pool.last_hash = row.hash.to_vec();
    row
}

/// The terms of the grant that an entry brings, or changes.
fn terms_of(entry: &Entry, grants: &[Grant]) -> Option<i64> {
    let brings = matches!(
        entry.kind,
        EntryType::Schedule | EntryType::Grant | EntryType::TransferIn | EntryType::RolloverIn | EntryType::Update
    );
    let grant_id = entry.grant_id.filter(|_| brings)?;
    grants.iter().find(|grant| grant.id == grant_id).map(Grant::terms_digest)
}

impl<'a> LedgerRow<'a> {
    fn reason(&self) -> Option<&'a str> {
        self.note.reason.or(self.entry.reason)
    }

    fn dimensions(&self) -> Option<&'a str> {
        let says = self.is_head() && (self.note.usage.is_none() || self.entry.kind.is_usage());
        self.note.dimensions.filter(|_| says)
    }
}

/// What an update changed, as PostgreSQL prints it, since that is what is sealed.
fn changes(entry: &Entry, note: &Note) -> Option<String> {
    let mut changes = note.changes.clone();
    let mut note =
        |name: &str, from: Value, to: Value| changes.insert(name.to_owned(), json!({"from": from, "to": to}));
    if let Some((from, to)) = entry.change.priority {
        note("priority", from.into(), to.into());
    }
    if let Some((from, to)) = entry.change.expires_at {
        note("expires_at", from.to_string().into(), to.to_string().into());
    }
    if changes.is_empty() { None } else { super::spi::printed_json(&Value::Object(changes).to_string()) }
}

macro_rules! entry_columns {
    () => {
        "customer_id, pool_id, seq, entry_type, amount, balance_after, grant_id, usage_id, feature_id, value, credits,
         shortfall, rate, recharge_id, idempotency_key, payload_digest, actor, reason, dimensions, metadata,
         effective_at, recorded_at, entry_hash, reservation_id"
    };
}

/// The same, for those who write them without a statement.
pub const ENTRY_COLUMNS: &str = entry_columns!();

macro_rules! insert_entry {
    () => {
        concat!(
            "INSERT INTO credit_pools.ledger_entry (",
            entry_columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                       $22, $23, $24)"
        )
    };
}

/// A key that is taken makes the statement do nothing.
macro_rules! unless_key_taken {
    () => {
        " ON CONFLICT (customer_id, idempotency_key)
              WHERE idempotency_key IS NOT NULL AND credits IS NOT NULL DO NOTHING"
    };
}

const ENTRY_ARGS: usize = 24;

fn entry_args<'a>(
    pool: &'a PoolRow,
    row: &'a LedgerRow,
    actor: &'a str,
    recorded_at: Instant,
) -> [Arg<'a>; ENTRY_ARGS] {
    [
        Arg::Text(&pool.customer_id),
        Arg::Int(pool.pool_id),
        Arg::Int(row.entry.seq),
        Arg::Text(row.entry.kind.as_str()),
        Arg::Number(row.entry.amount),
        Arg::Number(row.entry.balance_after),
        Arg::MaybeInt(row.entry.grant_id),
        Arg::MaybeInt(row.usage_id()),
        Arg::MaybeText(row.feature_id()),
        Arg::MaybeNumber(row.value()),
        Arg::MaybeNumber(row.credits()),
        Arg::MaybeNumber(row.shortfall()),
        Arg::MaybeNumber(row.rate()),
        Arg::MaybeInt(row.note.recharge_id),
        Arg::MaybeText(row.key()),
        Arg::MaybeInt(row.digest()),
        Arg::Text(actor),
        Arg::MaybeText(row.reason()),
        Arg::Json(row.dimensions()),
        Arg::Json(row.metadata.as_deref()),
        Arg::Time(row.entry.effective_at),
        Arg::Time(recorded_at),
        Arg::Bytes(Some(&row.hash)),
        Arg::MaybeText(row.entry.reservation.as_deref()),
    ]
}

/// Writes one row; `false` where its usage's key is taken.
pub fn insert(pool: &PoolRow, row: &LedgerRow, actor: &str, recorded_at: Instant) -> bool {
    static PLAIN: Statement = Statement::new(insert_entry!());
    static KEYED: Statement = Statement::new(concat!(insert_entry!(), unless_key_taken!()));
    let args = entry_args(pool, row, actor, recorded_at);
    let key = row.usage_key();
    if key.is_some() {
        return unless_archived(&pool.customer_id, key, || KEYED.run(&args) > 0);
    }
    PLAIN.write(&args, 1);
    true
}

/// A row with its pool and the instant of its recording.
pub type Booked<'r, 'n> = (&'r PoolRow, &'r LedgerRow<'n>, Instant);

/// The columns that a usage without a key and without more to say has.
const PLAIN_COLUMNS: [usize; 15] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 20, 21, 22];

/// Of the other columns, all but the actor, which is everybody's.
fn says_more(args: &[Arg; ENTRY_ARGS]) -> bool {
    let others = args.iter().enumerate().filter(|(column, _)| !PLAIN_COLUMNS.contains(column) && *column != 16);
    others.into_iter().any(|(_, arg)| !arg.is_null())
}

/// Many rows that say no more than what they charge.
fn insert_plain(rows: &[[Arg; ENTRY_ARGS]], actor: &str) -> bool {
    static INSERT: Statement = Statement::new(
        "INSERT INTO credit_pools.ledger_entry
             (customer_id, pool_id, seq, entry_type, amount, balance_after, grant_id, usage_id, feature_id, value, credits,
              rate, effective_at, recorded_at, entry_hash, actor)
         SELECT u.*, $16
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) u",
    );
    let columns: Vec<Vec<Arg>> =
        PLAIN_COLUMNS.iter().map(|column| rows.iter().filter_map(|row| row.get(*column).copied()).collect()).collect();
    let args: Vec<Arg> = columns.iter().map(|column| Arg::Column(column)).chain([Arg::Text(actor)]).collect();
    INSERT.write(&args, rows.len() as u64);
    true
}

/// Writes many rows at once; `false` where the key of one of their usages is taken: then some are missing.
pub fn insert_all(rows: &[Booked], actor: &str) -> bool {
    static INSERT: Statement = Statement::new(concat!(
        "INSERT INTO credit_pools.ledger_entry (",
        entry_columns!(),
        ") SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
                                $20, $21, $22, $23, $24)",
        unless_key_taken!()
    ));
    let args: Vec<[Arg; ENTRY_ARGS]> = rows.iter().map(|(pool, row, at)| entry_args(pool, row, actor, *at)).collect();
    // Keys that were archived before have been looked for already.
    let keys: Vec<(&str, &str)> =
        rows.iter().filter_map(|(pool, row, _)| Some((pool.customer_id.as_str(), row.usage_key()?))).collect();
    let entries: Vec<(&[Arg], bool)> =
        args.iter().zip(rows).map(|(args, (_, row, _))| (args.as_slice(), row.usage_key().is_some())).collect();
    match direct::insert_entries(&entries) {
        Some(Ok(())) => return !has_any_key(&keys),
        Some(Err(taken)) => {
            // By the statement it waits for whoever is taking the key. What comes of it is undone with the rest.
            if let Some((pool, row, at)) = rows.get(taken) {
                insert(pool, row, actor, *at);
            }
            return false;
        }
        None => {}
    }
    if !args.is_empty() && !args.iter().any(says_more) {
        return insert_plain(&args, actor);
    }
    run_columns(&INSERT, &args) == rows.len() as u64 && !has_any_key(&keys)
}

macro_rules! one_grant_usage {
    ($on_conflict:expr) => {
        concat!(
            "WITH entry AS (",
            insert_entry!(),
            $on_conflict,
            " RETURNING 1), drawn AS (
                 UPDATE credit_pools.pool_grant SET consumed = $25, status = $26
                 WHERE customer_id = $1 AND grant_id = $7 AND EXISTS (SELECT 1 FROM entry) RETURNING 1)
             UPDATE credit_pools.pool SET seq = $3, balance = $6, consumed = $27, restricted = $28, last_hash = $23,
                 last_recorded_at = $22
             WHERE customer_id = $1 AND pool_id = $2 AND EXISTS (SELECT 1 FROM drawn)"
        )
    };
}

/// The common usage, one draw from one grant, as one statement: ledger row, grant, pool. `false` where the
/// key is taken; nothing is written then.
///
/// Where `places` says where the rows are, and neither the pool's trigger has anything to do nor the grant leaves its
/// index, without a statement.
pub fn write_one_grant_usage(
    pool: &PoolRow,
    places: Option<&Places>,
    row: &LedgerRow,
    grant: &Grant,
    actor: &str,
    recorded_at: Instant,
) -> bool {
    static PLAIN: Statement = Statement::new(one_grant_usage!(""));
    static KEYED: Statement = Statement::new(one_grant_usage!(unless_key_taken!()));
    let entry = entry_args(pool, row, actor, recorded_at);
    let figures = &pool.wallet.figures;
    let rest = [
        Arg::Number(grant.consumed),
        Arg::Text(grant.status.as_str()),
        Arg::Number(figures.consumed),
        Arg::Number(figures.restricted),
    ];
    let args: Vec<Arg> = entry.iter().copied().chain(rest).collect();
    let key = row.usage_key();
    let direct = places.filter(|_| grant.status == Status::Active && !pool.is_low());
    unless_archived(&pool.customer_id, key, || {
        let (drawn, used) = (grants::used(grant), pool.used());
        if direct.is_some_and(|places| places.write_usage(&entry, key.is_some(), grant.id, &drawn, &used)) {
            return true;
        }
        let written = (if key.is_some() { KEYED.run(&args) } else { PLAIN.run(&args) }) > 0;
        // Where the key was free, it is one of the three rows that was not written.
        if !written && (key.is_none() || is_written(pool, row)) {
            kept_back("ledger_entry, pool_grant or pool");
        }
        written
    })
}

fn is_written(pool: &PoolRow, row: &LedgerRow) -> bool {
    static FIND: Statement =
        Statement::new("SELECT 1 FROM credit_pools.ledger_entry WHERE customer_id = $1 AND pool_id = $2 AND seq = $3");
    FIND.run(&[Arg::Text(&pool.customer_id), Arg::Int(pool.pool_id), Arg::Int(row.entry.seq)]) > 0
}

/// Writes a usage that moved no credits: an event with seq = -usage_id, no ledger entry. `false` where its
/// key is taken.
pub fn insert_unbooked(pool: &PoolRow, note: &Note, actor: &str, effective_at: Instant, recorded_at: Instant) -> bool {
    static INSERT: Statement = Statement::new(concat!(
        "INSERT INTO credit_pools.ledger_entry
             (customer_id, pool_id, seq, entry_type, amount, balance_after, usage_id, feature_id, value, credits,
              shortfall, rate, idempotency_key, payload_digest, actor, dimensions, metadata, effective_at, recorded_at,
              entry_hash)
         VALUES ($1, $2, $15, 'consume', 0, $4, $3, $5, $6, 0, $7, $8, $9, $10, $11, $12, $13, $14, $16, $17)",
        unless_key_taken!()
    ));
    let Some(usage) = &note.usage else { return true };
    let seq = -usage.usage_id;
    let balance = pool.wallet.figures.balance;
    let shortfall = Some(usage.shortfall).filter(|s| !s.is_zero());
    // A key of another kind of call stands with that.
    let key = note.idempotency_key.filter(|_| usage.payload_digest.is_some());
    let text = |amount: Option<Amount>| amount.map(|amount| amount.to_string());
    let (balance_after, value) = (balance.to_string(), text(usage.value));
    let hash = seal(
        &[],
        &SealedRow {
            customer_id: &pool.customer_id,
            pool_id: pool.pool_id,
            seq,
            entry_type: EntryType::Consume.as_str(),
            amount: "0",
            balance_after: &balance_after,
            usage_id: Some(usage.usage_id),
            feature_id: usage.feature_id,
            value: value.as_deref(),
            idempotency_key: key,
            actor,
            dimensions: note.dimensions,
            metadata: note.metadata,
            effective_at: effective_at.micros(),
            recorded_at: recorded_at.micros(),
            credits: Some("0"),
            shortfall: text(shortfall).as_deref(),
            rate: text(usage.rate).as_deref(),
            digest: usage.payload_digest,
            ..SealedRow::default()
        },
    );
    let args = [
        Arg::Text(&pool.customer_id),
        Arg::Int(pool.pool_id),
        Arg::Int(usage.usage_id),
        Arg::Number(balance),
        Arg::MaybeText(usage.feature_id),
        Arg::MaybeNumber(usage.value),
        Arg::MaybeNumber(shortfall),
        Arg::MaybeNumber(usage.rate),
        Arg::MaybeText(key),
        Arg::MaybeInt(usage.payload_digest),
        Arg::Text(actor),
        Arg::Json(note.dimensions),
        Arg::Json(note.metadata),
        Arg::Time(effective_at),
        Arg::Int(seq),
        Arg::Time(recorded_at),
        Arg::Bytes(Some(&hash)),
    ];
    unless_archived(&pool.customer_id, key, || INSERT.run(&args) > 0)
}

/// A usage as its key finds it again.
pub struct RecordedUsage {
    pub payload_digest: i64,
    pub usage_id: i64,
    pub pool_id: i64,
    pub credit_type_id: String,
    pub credits: Amount,
    pub shortfall: Amount,
    /// At the end of the call that recorded it, a recharge that settled at once included.
    pub balance: Amount,
}

pub fn usage_by_key(customer_id: &str, key: &str) -> Option<RecordedUsage> {
    // The usage's rows lie together; the recharge that its last row caused, if it settled at once, names the
    // last row that it booked itself. What comes behind a row that is not archived is not, either.
    static FIND: Statement = Statement::new(
        "SELECT e.payload_digest, e.usage_id, e.pool_id, p.credit_type_id, e.credits, COALESCE(e.shortfall, 0),
                COALESCE(
                    (SELECT s.balance_after
                     FROM credit_pools.recharge r
                     JOIN credit_pools.ledger_entry s
                       ON s.customer_id = r.customer_id AND s.pool_id = r.pool_id AND s.seq = r.settled_seq
                     WHERE r.customer_id = e.customer_id AND r.pool_id = e.pool_id AND r.cause_seq = last.seq
                       AND r.settled_seq IS NOT NULL AND e.seq > 0
                     LIMIT 1),
                    last.balance_after)
         FROM credit_pools.ledger_entry e
         JOIN credit_pools.pool p ON p.customer_id = e.customer_id AND p.pool_id = e.pool_id
         CROSS JOIN LATERAL (
             SELECT l.seq, l.balance_after
             FROM credit_pools.ledger_entry l
             WHERE l.customer_id = e.customer_id AND l.pool_id = e.pool_id
               AND l.seq = COALESCE(
                   (SELECT min(n.seq) - 1 FROM credit_pools.ledger_entry n
                    WHERE e.seq > 0 AND n.customer_id = e.customer_id AND n.pool_id = e.pool_id AND n.seq > e.seq
                      AND (n.usage_id IS DISTINCT FROM e.usage_id OR n.entry_type = 'reverse')),
                   CASE WHEN e.seq > 0 THEN p.seq ELSE e.seq END)) last
         WHERE e.customer_id = $1 AND e.idempotency_key = $2 AND e.credits IS NOT NULL
         UNION ALL
         SELECT u.payload_digest, u.usage_id, u.pool_id, p.credit_type_id, u.credits, u.shortfall, u.balance
         FROM credit_pools.archived_usage u
         JOIN credit_pools.pool p ON p.customer_id = u.customer_id AND p.pool_id = u.pool_id
         WHERE u.customer_id = $1 AND u.idempotency_key = $2",
    );
    FIND.first(&[Arg::Text(customer_id), Arg::Text(key)], |row| RecordedUsage {
        payload_digest: row.int(1).unwrap_or_default(),
        usage_id: row.int(2).unwrap_or_default(),
        pool_id: row.int(3).unwrap_or_default(),
        credit_type_id: row.text(4).unwrap_or_default(),
        credits: row.amount(5).unwrap_or_default(),
        shortfall: row.amount(6).unwrap_or_default(),
        balance: row.amount(7).unwrap_or_default(),
    })
}

/// The last row that was recorded by an instant, and when. Rows are recorded in the order of `seq`, so the search goes
/// back from the end.
pub fn last_recorded_by(customer_id: &str, pool_id: i64, at: Instant) -> (i64, Instant) {
    static FIND: Statement = Statement::read(concat!(
        "SELECT e.seq, e.recorded_at FROM ",
        all_entries!(),
        " e WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq > 0 AND e.recorded_at <= $3
         ORDER BY e.seq DESC LIMIT 1",
    ));
    let args = [Arg::Text(customer_id), Arg::Int(pool_id), Arg::Time(at)];
    let found = FIND.first(&args, |row| row.int(1).zip(row.time(2))).flatten();
    found.unwrap_or((0, Instant::NEG_INFINITY))
}

fn read_sum(row: &Row) -> BookedRows {
    BookedRows {
        kind: row.text(1).as_deref().and_then(EntryType::parse).unwrap_or(EntryType::Update),
        grant_id: row.int(2),
        amount: row.amount(3).unwrap_or_default(),
        effective_at: row.time(4).unwrap_or(Instant::NEG_INFINITY),
        of_hold: row.boolean(6),
        priority_before: row.small_int(7),
        end_before: row.text(5).and_then(|text| match text.as_str() {
            "infinity" => Some(Instant::INFINITY),
            text => Instant::parse(text).ok(),
        }),
    }
}

/// The rows behind `after`, added up by kind and grant.
pub fn sums_after(customer_id: &str, pool_id: i64, after: i64) -> Vec<BookedRows> {
    static SUMS: Statement = Statement::read(concat!(
        "SELECT entry_type, grant_id, sum(amount), min(effective_at),
                (array_agg(metadata #>> '{expires_at,from}' ORDER BY seq)
                     FILTER (WHERE entry_type = 'update' AND metadata #>> '{expires_at,from}' IS NOT NULL))[1],
                reservation_id IS NOT NULL,
                (array_agg((metadata #>> '{priority,from}')::smallint ORDER BY seq)
                     FILTER (WHERE entry_type = 'update' AND metadata #>> '{priority,from}' IS NOT NULL))[1]
         FROM ",
        all_entries!(),
        " e WHERE customer_id = $1 AND pool_id = $2 AND seq > $3
         GROUP BY entry_type, grant_id, reservation_id IS NOT NULL",
    ));
    SUMS.rows(&[Arg::Text(customer_id), Arg::Int(pool_id), Arg::Int(after)], read_sum)
}

/// The rows behind `after`, up to `last`, by which calls said later what counts by `at` already: late usage, grants
/// and subscriptions with a start in the past. What the clock did late is none of them.
pub fn said_late(customer_id: &str, pool_id: i64, after: i64, last: i64, at: Instant) -> Vec<BookedRows> {
    static SUMS: Statement = Statement::read(concat!(
        "SELECT e.entry_type, e.grant_id, sum(e.amount), min(e.effective_at), NULL::text, false, NULL::smallint
         FROM ",
        all_entries!(),
        " e
         LEFT JOIN credit_pools.pool_grant g ON g.customer_id = e.customer_id AND g.grant_id = e.grant_id
         LEFT JOIN credit_pools.schedule c ON c.customer_id = g.customer_id AND c.schedule_id = g.schedule_id
         LEFT JOIN credit_pools.subscription s
           ON s.customer_id = c.customer_id AND s.subscription_id = c.subscription_id
         WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq > $3 AND e.seq <= $4 AND e.effective_at <= $5
           AND (e.entry_type IN ('consume', 'debt')
                OR e.entry_type = 'grant' AND g.created_at > $5 AND (s.subscription_id IS NULL OR s.created_at > $5))
         GROUP BY e.entry_type, e.grant_id",
    ));
    SUMS.rows(&[Arg::Text(customer_id), Arg::Int(pool_id), Arg::Int(after), Arg::Int(last), Arg::Time(at)], read_sum)
}

/// Which of these keys (of a customer each) usage has taken.
pub fn taken_keys(keys: &[(&str, &str)]) -> Vec<(String, String)> {
    static FIND: Statement = Statement::new(
        "SELECT e.customer_id, e.idempotency_key
         FROM unnest($1, $2) k (customer_id, key)
         CROSS JOIN LATERAL (
             (SELECT e.customer_id, e.idempotency_key FROM credit_pools.ledger_entry e
              WHERE e.customer_id = k.customer_id AND e.idempotency_key = k.key AND e.credits IS NOT NULL
                AND e.idempotency_key IS NOT NULL
              LIMIT 1)
             UNION ALL
             (SELECT u.customer_id, u.idempotency_key FROM credit_pools.archived_usage u
              WHERE u.customer_id = k.customer_id AND u.idempotency_key = k.key
              LIMIT 1)) e",
    );
    if keys.is_empty() {
        return Vec::new();
    }
    let customers: Vec<Arg> = keys.iter().map(|(customer_id, _)| Arg::Text(customer_id)).collect();
    let names: Vec<Arg> = keys.iter().map(|(_, key)| Arg::Text(key)).collect();
    FIND.rows(&[Arg::Column(&customers), Arg::Column(&names)], |row| {
        (row.text(1).unwrap_or_default(), row.text(2).unwrap_or_default())
    })
}
