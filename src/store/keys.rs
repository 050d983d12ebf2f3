//! Idempotency keys of the calls other than usage, whose keys are in the ledger.

use serde_json::Value;

use super::spi::{Arg, Statement};

/// What is known of a key.
pub struct Seen {
    pub payload_digest: i64,
    pub result: Option<Value>,
}

/// Takes the key for this call; `false` where it is taken. Waits while another session is taking it.
pub fn claim(customer_id: &str, call: &str, key: &str, payload_digest: i64, now: credit_pools_domain::Instant) -> bool {
    static CLAIM: Statement = Statement::new(
        "INSERT INTO credit_pools.idempotency_key (customer_id, call, key, payload_digest, created_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (customer_id, call, key) DO NOTHING",
    );
    CLAIM.run(&[Arg::Text(customer_id), Arg::Text(call), Arg::Text(key), Arg::Int(payload_digest), Arg::Time(now)]) > 0
}

pub fn find(customer_id: &str, call: &str, key: &str) -> Option<Seen> {
    static FIND: Statement = Statement::new(
        "SELECT payload_digest, result FROM credit_pools.idempotency_key
         WHERE customer_id = $1 AND call = $2 AND key = $3",
    );
    FIND.first(&[Arg::Text(customer_id), Arg::Text(call), Arg::Text(key)], |row| Seen {
        payload_digest: row.int(1).unwrap_or_default(),
        result: row.json(2),
    })
}

pub fn keep_result(customer_id: &str, call: &str, key: &str, result: &str) {
    static KEEP: Statement = Statement::new(
        "UPDATE credit_pools.idempotency_key SET result = $4
         WHERE customer_id = $1 AND call = $2 AND key = $3",
    );
    KEEP.write(&[Arg::Text(customer_id), Arg::Text(call), Arg::Text(key), Arg::Json(Some(result))], 1);
}
