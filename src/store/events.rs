//! The outbox: events, and who has read how far.

use credit_pools_domain::{Amount, Instant};
use serde_json::{Map, Value, json};

use super::spi::{self, Arg, Row, Sequence, Statement, next_id, write_columns};
use crate::error::exact_number;
use crate::settings;

/// Rows that one statement writes: bounds the memory that it needs.
const PIECE: usize = 1_000;

/// Something that has happened. Its envelope is made when it is written.
pub struct Event<'a> {
    pub kind: &'static str,
    pub customer_id: &'a str,
    /// "" is the customer's global scope.
    pub resource_id: &'a str,
    pub credit_type_id: Option<&'a str>,
    pub pool_id: Option<i64>,
    /// When it counts, which may be before it was booked.
    pub at: Instant,
    pub data: &'a Map<String, Value>,
}

impl Event<'_> {
    /// The envelope of CloudEvents 1.0.
    fn envelope(&self, event_id: i64, source: &str) -> String {
        let resource_id = Some(self.resource_id).filter(|id| !id.is_empty());
        let mut data = Map::new();
        data.insert("customer_id".to_owned(), self.customer_id.into());
        data.insert("resource_id".to_owned(), resource_id.into());
        data.insert("credit_type_id".to_owned(), self.credit_type_id.into());
        if let Some(pool_id) = self.pool_id {
            data.insert("pool_id".to_owned(), pool_id.into());
        }
        data.extend(self.data.iter().map(|(key, value)| (key.clone(), value.clone())));
        let envelope = json!({
            "specversion": "1.0",
            "id": event_id.to_string(),
            "source": source,
            "type": self.kind,
            "subject": self.customer_id,
            "time": self.at.to_string(),
            "datacontenttype": "application/json",
            "data": data,
        });
        envelope.to_string()
    }
}

/// Writes events in the order in which they are given.
pub fn write(events: &[Event], now: Instant) {
    // The trigger sets the horizon, for restores, too.
    static INSERT: Statement = Statement::new(
        "INSERT INTO credit_pools.event
             (customer_id, event_id, resource_id, credit_type_id, pool_id, type, data, created_at)
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)",
    );
    if events.is_empty() || !settings::events_are_written() {
        return;
    }
    // What a horizon promises: whoever has an event id had a transaction id before. (For a standby that id must also be in
    // the WAL before: it is, by the lock of the pool or of the scope that every event is about.)
    spi::take_transaction_id();
    let source = settings::event_source();
    for piece in events.chunks(PIECE) {
        let texts: Vec<(i64, String)> = piece
            .iter()
            .map(|event| {
                let event_id = next_id(Sequence::Event);
                (event_id, event.envelope(event_id, &source))
            })
            .collect();
        let rows: Vec<[Arg; 8]> = piece
            .iter()
            .zip(&texts)
            .map(|(event, (event_id, data))| {
                [
                    Arg::Text(event.customer_id),
                    Arg::Int(*event_id),
                    Arg::MaybeText(Some(event.resource_id).filter(|id| !id.is_empty())),
                    Arg::MaybeText(event.credit_type_id),
                    Arg::MaybeInt(event.pool_id),
                    Arg::Text(event.kind),
                    Arg::Json(Some(data)),
                    Arg::Time(now),
                ]
            })
            .collect();
        write_columns(&INSERT, &rows);
    }
    if settings::events_are_notified() {
        static NOTIFY: Statement = Statement::new("SELECT pg_catalog.pg_notify('credit_pools_events', '')");
        // PostgreSQL sends the same notification once per transaction.
        NOTIFY.run(&[]);
    }
}

pub fn figure(amount: Amount) -> Value {
    exact_number(&amount.to_string())
}

/// An instant in an event; never is null.
pub fn instant(at: Instant) -> Value {
    if at.is_finite() { at.to_string().into() } else { Value::Null }
}

/// A row of the view.
pub struct Fetched {
    pub customer_id: String,
    pub resource_id: Option<String>,
    pub credit_type_id: Option<String>,
    pub event_id: i64,
    pub kind: String,
    pub data: pgrx::JsonB,
    pub created_at: Instant,
    pub pool_id: Option<i64>,
}

/// What a consumer has not acknowledged yet, oldest first.
pub fn fetch(after: i64, limit: i64) -> Vec<Fetched> {
    static FETCH: Statement = Statement::read(
        "SELECT customer_id, resource_id, credit_type_id, event_id, type, data, created_at, pool_id
         FROM credit_pools.events WHERE event_id > $1 ORDER BY event_id LIMIT $2",
    );
    FETCH.rows(&[Arg::Int(after), Arg::Int(limit)], |row| Fetched {
        customer_id: row.text(1).unwrap_or_default(),
        resource_id: row.text(2),
        credit_type_id: row.text(3),
        event_id: row.int(4).unwrap_or_default(),
        kind: row.text(5).unwrap_or_default(),
        data: pgrx::JsonB(row.json(6).unwrap_or_default()),
        created_at: row.time(7).unwrap_or(Instant::INFINITY),
        pool_id: row.int(8),
    })
}

/// The newest event that can be read.
pub fn newest() -> Option<i64> {
    static NEWEST: Statement =
        Statement::new("SELECT event_id FROM credit_pools.events ORDER BY event_id DESC LIMIT 1");
    NEWEST.first(&[], |row| row.int(1)).flatten()
}

/// How far a consumer has come, as this statement's snapshot shows it.
pub fn position(consumer: &str) -> Option<i64> {
    static FIND: Statement = Statement::read("SELECT event_id FROM credit_pools.event_consumer WHERE consumer = $1");
    FIND.first(&[Arg::Text(consumer)], |row| row.int(1)).flatten()
}

pub fn make_consumer(consumer: &str, now: Instant) {
    static MAKE: Statement = Statement::new(
        "INSERT INTO credit_pools.event_consumer (consumer, event_id, created_at) VALUES ($1, 0, $2)
         ON CONFLICT (consumer) DO NOTHING",
    );
    MAKE.run(&[Arg::Text(consumer), Arg::Time(now)]);
}

/// Locks a consumer and says how far it has come.
pub fn lock_consumer(consumer: &str) -> Option<i64> {
    static LOCK: Statement =
        Statement::new("SELECT event_id FROM credit_pools.event_consumer WHERE consumer = $1 FOR NO KEY UPDATE");
    LOCK.first(&[Arg::Text(consumer)], |row| row.int(1)).flatten()
}

pub fn acknowledge(consumer: &str, event_id: i64, now: Instant) {
    static MOVE: Statement = Statement::new(
        "UPDATE credit_pools.event_consumer SET event_id = $2, acknowledged_at = $3 WHERE consumer = $1",
    );
    MOVE.run(&[Arg::Text(consumer), Arg::Int(event_id), Arg::Time(now)]);
}

/// Whether there was such a consumer.
pub fn drop_consumer(consumer: &str) -> bool {
    static DROP: Statement = Statement::new("DELETE FROM credit_pools.event_consumer WHERE consumer = $1");
    DROP.run(&[Arg::Text(consumer)]) > 0
}

/// When the oldest event was written.
pub fn oldest_written_at() -> Option<Instant> {
    static FIND: Statement = Statement::new("SELECT created_at FROM credit_pools.event ORDER BY event_id LIMIT 1");
    FIND.first(&[], |row| row.time(1)).flatten()
}

/// Deletes of the oldest `limit` events behind `after` those that were written before `before` and that every consumer has
/// acknowledged; how many, and the last of them. Passes over those that another session is deleting. The newest stays: by it
/// `newest` tells what a consumer may have read, whatever was deleted before its first acknowledgement.
pub fn delete_old(before: Instant, after: i64, limit: i64) -> (i64, i64) {
    // Only what is deleted is locked: of those that are looked at, most are still to be kept.
    static DELETE: Statement = Statement::new(
        "WITH oldest AS MATERIALIZED (
             SELECT e.customer_id, e.event_id, e.created_at FROM credit_pools.event e
             WHERE e.event_id > $2
               AND e.event_id <= COALESCE((SELECT min(c.event_id) FROM credit_pools.event_consumer c),
                                          (SELECT max(v.event_id) FROM credit_pools.events v))
               AND e.event_id < (SELECT v.event_id FROM credit_pools.events v ORDER BY v.event_id DESC LIMIT 1)
             ORDER BY e.event_id LIMIT $3),
         old AS MATERIALIZED (
             SELECT e.customer_id, e.event_id FROM oldest o
             JOIN credit_pools.event e ON e.customer_id = o.customer_id AND e.event_id = o.event_id
             WHERE o.created_at < $1 FOR UPDATE OF e SKIP LOCKED),
         gone AS (
             DELETE FROM credit_pools.event e USING old o
             WHERE e.customer_id = o.customer_id AND e.event_id = o.event_id RETURNING e.event_id)
         SELECT count(*), max(event_id) FROM gone",
    );
    let read = |row: &Row| (row.int(1).unwrap_or_default(), row.int(2).unwrap_or(after));
    DELETE.first(&[Arg::Time(before), Arg::Int(after), Arg::Int(limit)], read).unwrap_or((0, after))
}
