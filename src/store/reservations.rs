//! Holds. Read and written under the lock of their pool.

use std::rc::Rc;

use credit_pools_domain::{Amount, Formula, HeldPart, Hold, HoldStatus, Instant, Price};
use serde_json::Value;

use super::archive::all_entries;
use super::spi::{Arg, Row, Statement};

/// A hold with what the rules have no need of.
pub struct Reservation {
    pub hold: Hold,
    pub pool_id: i64,
    /// Held at first.
    pub amount: Amount,
    pub feature_id: Option<String>,
    pub value: Option<Amount>,
    /// Of its feature when it was made; a settlement has the same.
    pub price: Option<Price>,
    pub dimensions: Option<String>,
    pub payload_digest: i64,
    pub first_expires_at: Instant,
    pub first_balance: Amount,
    /// The call that settled it, and what that returned.
    pub closing_digest: Option<i64>,
    pub closing_result: Option<Value>,
    pub metadata: Option<String>,
}

macro_rules! hold_columns {
    () => {
        "r.reservation_id, r.status, r.grant_ids, r.parts, r.expires_at, r.created_at, r.closed_at, r.charged"
    };
}

macro_rules! reservation_columns {
    () => {
        concat!(
            hold_columns!(),
            ", r.pool_id, r.amount, r.feature_id, r.value, r.rate, r.formula, r.dimensions::text, r.payload_digest,
             r.first_expires_at, r.first_balance, r.closing_digest, r.closing_result, r.metadata::text"
        )
    };
}

fn read_hold(row: &Row) -> Hold {
    let parts = row.ints(3).into_iter().zip(row.amounts(4));
    Hold {
        id: Rc::from(row.text(1).unwrap_or_default()),
        status: row.text(2).as_deref().and_then(HoldStatus::parse).unwrap_or(HoldStatus::Released),
        parts: parts.map(|(grant_id, amount)| HeldPart { grant_id, amount }).collect(),
        expires_at: row.time(5).unwrap_or(Instant::INFINITY),
        created_at: row.time(6).unwrap_or(Instant::NEG_INFINITY),
        closed_at: row.time(7),
        charged: row.amount(8).unwrap_or_default(),
        fresh: false,
        dirty: false,
    }
}

fn read(row: &Row) -> Reservation {
    let formula = row.text(14).and_then(|text| Formula::parse(&text).ok());
    Reservation {
        hold: read_hold(row),
        pool_id: row.int(9).unwrap_or_default(),
        amount: row.amount(10).unwrap_or_default(),
        feature_id: row.text(11),
        value: row.amount(12),
        price: row.amount(13).map(Price::PerUnit).or(formula.map(|formula| Price::Formula(Rc::new(formula)))),
        dimensions: row.text(15),
        payload_digest: row.int(16).unwrap_or_default(),
        first_expires_at: row.time(17).unwrap_or(Instant::INFINITY),
        first_balance: row.amount(18).unwrap_or_default(),
        closing_digest: row.int(19),
        closing_result: row.json(20),
        metadata: row.text(21),
    }
}

pub fn one(customer_id: &str, reservation_id: &str) -> Option<Reservation> {
    static ONE: Statement = Statement::new(concat!(
        "SELECT ",
        reservation_columns!(),
        " FROM credit_pools.reservation r WHERE r.customer_id = $1 AND r.reservation_id = $2"
    ));
    ONE.first(&[Arg::Text(customer_id), Arg::Text(reservation_id)], read)
}

macro_rules! open_holds {
    () => {
        concat!(
            "SELECT ",
            hold_columns!(),
            " FROM credit_pools.reservation r
              WHERE r.customer_id = $1 AND r.pool_id = $2 AND r.status = 'active'
              ORDER BY r.expires_at, r.created_at, r.reservation_id"
        )
    };
}

/// The open holds of a pool, in the order in which their time runs out.
pub fn open(customer_id: &str, pool_id: i64) -> Vec<Hold> {
    static OPEN: Statement = Statement::new(open_holds!());
    OPEN.rows(&[Arg::Text(customer_id), Arg::Int(pool_id)], read_hold)
}

/// The same in the caller's snapshot, for reads.
pub fn read_open(customer_id: &str, pool_id: i64) -> Vec<Hold> {
    static OPEN: Statement = Statement::read(open_holds!());
    OPEN.rows(&[Arg::Text(customer_id), Arg::Int(pool_id)], read_hold)
}

/// The holds that were open when the ledger's last row was `seq`, as they were then: what later rows moved is put back.
pub fn read_as_of(customer_id: &str, pool_id: i64, seq: i64) -> Vec<Hold> {
    static AS_OF: Statement = Statement::read(concat!(
        "WITH moved AS (
             SELECT e.reservation_id, e.grant_id, sum(e.amount) AS amount, min(e.seq) AS first
             FROM ",
        all_entries!(),
        " e
             WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq > $3
               AND e.entry_type IN ('reserve', 'release', 'reservation_expire')
             GROUP BY e.reservation_id, e.grant_id),
         ends AS (
             SELECT DISTINCT ON (e.reservation_id) e.reservation_id, e.metadata #>> '{expires_at,from}' AS ends_at
             FROM ",
        all_entries!(),
        " e
             WHERE e.customer_id = $1 AND e.pool_id = $2 AND e.seq > $3 AND e.entry_type = 'update'
               AND e.reservation_id IS NOT NULL
             ORDER BY e.reservation_id, e.seq),
         parts AS (
             SELECT r.reservation_id, x.grant_id, x.amount, x.place
             FROM credit_pools.reservation r
             CROSS JOIN LATERAL unnest(r.grant_ids, r.parts) WITH ORDINALITY AS x (grant_id, amount, place)
             WHERE r.customer_id = $1 AND r.pool_id = $2
             UNION ALL
             SELECT m.reservation_id, m.grant_id, m.amount, m.first FROM moved m),
         held AS (
             SELECT t.reservation_id, t.grant_id, sum(t.amount) AS amount, min(t.place) AS place
             FROM parts t
             GROUP BY t.reservation_id, t.grant_id
             HAVING sum(t.amount) > 0)
         SELECT r.reservation_id, 'active', array_agg(h.grant_id ORDER BY h.grant_id IS NULL, h.place),
                array_agg(h.amount ORDER BY h.grant_id IS NULL, h.place),
                COALESCE(min(d.ends_at)::timestamptz, r.expires_at), r.created_at, NULL::timestamptz, 0::numeric
         FROM held h
         JOIN credit_pools.reservation r ON r.customer_id = $1 AND r.reservation_id = h.reservation_id
         LEFT JOIN ends d ON d.reservation_id = r.reservation_id
         GROUP BY r.reservation_id, r.expires_at, r.created_at
         ORDER BY 5, r.created_at, r.reservation_id",
    ));
    AS_OF.rows(&[Arg::Text(customer_id), Arg::Int(pool_id), Arg::Int(seq)], read_hold)
}

fn parts(hold: &Hold) -> (Vec<Arg<'static>>, Vec<Arg<'static>>) {
    hold.parts.iter().map(|part| (Arg::MaybeInt(part.grant_id), Arg::Number(part.amount))).unzip()
}

/// Writes a new hold, its first result with it; `false` where its id is taken.
pub fn insert(customer_id: &str, reservation: &Reservation) -> bool {
    static INSERT: Statement = Statement::new(
        "INSERT INTO credit_pools.reservation
             (customer_id, reservation_id, pool_id, status, amount, held, charged, grant_ids, parts, feature_id, value,
              rate, formula, dimensions, expires_at, created_at, payload_digest, first_expires_at, first_balance,
              metadata)
         VALUES ($1, $2, $3, $4, $5, $6, $7, COALESCE($8, '{}'), COALESCE($9, '{}'), $10, $11, $12, $13, $14, $15, $16,
                 $17, $18, $19, $20)
         ON CONFLICT (customer_id, reservation_id) DO NOTHING",
    );
    let hold = &reservation.hold;
    let (ids, amounts) = parts(hold);
    INSERT.run(&[
        Arg::Text(customer_id),
        Arg::Text(&hold.id),
        Arg::Int(reservation.pool_id),
        Arg::Text(hold.status.as_str()),
        Arg::Number(reservation.amount),
        Arg::Number(hold.held()),
        Arg::Number(hold.charged),
        Arg::Ints(&ids),
        Arg::Numbers(&amounts),
        Arg::MaybeText(reservation.feature_id.as_deref()),
        Arg::MaybeNumber(reservation.value),
        Arg::MaybeNumber(reservation.price.as_ref().and_then(Price::per_unit)),
        Arg::MaybeText(reservation.price.as_ref().and_then(Price::formula)),
        Arg::Json(reservation.dimensions.as_deref()),
        Arg::Time(hold.expires_at),
        Arg::Time(hold.created_at),
        Arg::Int(reservation.payload_digest),
        Arg::Time(reservation.first_expires_at),
        Arg::Number(reservation.first_balance),
        Arg::Json(reservation.metadata.as_deref()),
    ]) > 0
}

pub fn update(customer_id: &str, hold: &Hold) {
    static UPDATE: Statement = Statement::new(
        "UPDATE credit_pools.reservation
         SET status = $3, held = $4, charged = $5, grant_ids = COALESCE($6, '{}'), parts = COALESCE($7, '{}'),
             expires_at = $8, closed_at = $9
         WHERE customer_id = $1 AND reservation_id = $2",
    );
    let (ids, amounts) = parts(hold);
    UPDATE.write(
        &[
            Arg::Text(customer_id),
            Arg::Text(&hold.id),
            Arg::Text(hold.status.as_str()),
            Arg::Number(hold.held()),
            Arg::Number(hold.charged),
            Arg::Ints(&ids),
            Arg::Numbers(&amounts),
            Arg::Time(hold.expires_at),
            Arg::MaybeTime(hold.closed_at),
        ],
        1,
    );
}

/// The balance that the call which made a hold returned.
pub fn keep_balance(customer_id: &str, reservation_id: &str, balance: Amount) {
    static KEEP: Statement = Statement::new(
        "UPDATE credit_pools.reservation SET first_balance = $3 WHERE customer_id = $1 AND reservation_id = $2",
    );
    KEEP.write(&[Arg::Text(customer_id), Arg::Text(reservation_id), Arg::Number(balance)], 1);
}

/// The call that closed a hold, and what it returned.
pub fn keep_closing(customer_id: &str, reservation_id: &str, digest: i64, result: &str) {
    static KEEP: Statement = Statement::new(
        "UPDATE credit_pools.reservation SET closing_digest = $3, closing_result = $4
         WHERE customer_id = $1 AND reservation_id = $2",
    );
    KEEP.write(&[Arg::Text(customer_id), Arg::Text(reservation_id), Arg::Int(digest), Arg::Json(Some(result))], 1);
}
