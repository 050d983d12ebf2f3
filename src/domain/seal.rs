//! The hash chain of a ledger: each row is sealed with the row before it.
//!
//! Canonical form: a JSON array of strings and nulls, without white space, in UTF-8, with only the
//! escapes that JSON demands. The row's hash is SHA-256 over the hash before (32 bytes; none for the
//! first row) and that array. Numbers and JSON values are PostgreSQL's text of them, instants are
//! microseconds since 2000-01-01 00:00 UTC, so that an export can be checked by an independent program.
//!
//! A usage that moved no credits has no place in the chain: it is sealed by itself, with no hash before.

use sha2::{Digest, Sha256};

/// What is sealed, in this order.
#[derive(Clone, Debug, Default)]
pub struct SealedRow<'a> {
    pub customer_id: &'a str,
    pub pool_id: i64,
    pub seq: i64,
    pub entry_type: &'a str,
    pub amount: &'a str,
    pub balance_after: &'a str,
    pub grant_id: Option<i64>,
    pub usage_id: Option<i64>,
    pub feature_id: Option<&'a str>,
    pub value: Option<&'a str>,
    pub reservation_id: Option<&'a str>,
    pub recharge_id: Option<i64>,
    pub idempotency_key: Option<&'a str>,
    pub actor: &'a str,
    pub reason: Option<&'a str>,
    pub dimensions: Option<&'a str>,
    pub metadata: Option<&'a str>,
    pub effective_at: i64,
    pub recorded_at: i64,
    pub credits: Option<&'a str>,
    pub shortfall: Option<&'a str>,
    pub rate: Option<&'a str>,
    /// Of a usage's key, or of a grant's terms.
    pub digest: Option<i64>,
}

pub fn seal(previous: &[u8], row: &SealedRow<'_>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(previous);
    hasher.update(canonical(row));
    hasher.finalize().into()
}

/// Eight bytes of SHA-256 over a JSON array of the given texts: tells whether two payloads are the same.
pub fn fingerprint(fields: &[Option<&str>]) -> i64 {
    let mut out = Vec::with_capacity(160);
    let _ = serde_json::to_writer(&mut out, fields);
    let hash: [u8; 32] = Sha256::digest(&out).into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn canonical(row: &SealedRow<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(320);
    let number = |n: i64| Some(n.to_string());
    let id = |n: Option<i64>| n.map(|n| n.to_string());
    let (pool_id, seq) = (number(row.pool_id), number(row.seq));
    let (grant_id, usage_id, recharge_id) = (id(row.grant_id), id(row.usage_id), id(row.recharge_id));
    let (effective_at, recorded_at) = (number(row.effective_at), number(row.recorded_at));
    let digest = id(row.digest);
    let fields = [
        Some(row.customer_id),
        pool_id.as_deref(),
        seq.as_deref(),
        Some(row.entry_type),
        Some(row.amount),
        Some(row.balance_after),
        grant_id.as_deref(),
        usage_id.as_deref(),
        row.feature_id,
        row.value,
        row.reservation_id,
        recharge_id.as_deref(),
        row.idempotency_key,
        Some(row.actor),
        row.reason,
        row.dimensions,
        row.metadata,
        effective_at.as_deref(),
        recorded_at.as_deref(),
        row.credits,
        row.shortfall,
        row.rate,
        digest.as_deref(),
    ];
    // Writing strings to a Vec cannot fail.
    let _ = serde_json::to_writer(&mut out, &fields);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_is_a_compact_json_array() {
        let row = SealedRow {
            customer_id: "c\"1",
            pool_id: 7,
            seq: 1,
            entry_type: "open",
            amount: "0",
            balance_after: "0",
            actor: "app",
            ..SealedRow::default()
        };
        let text = String::from_utf8(canonical(&row)).unwrap();
        assert_eq!(
            text,
            r#"["c\"1","7","1","open","0","0",null,null,null,null,null,null,null,"app",null,null,null,"0","0",null,null,null,null]"#
        );
    }

    #[test]
    fn any_change_changes_the_hash() {
        let row = SealedRow { customer_id: "c", pool_id: 1, seq: 2, ..SealedRow::default() };
        let sealed = seal(&[1; 32], &row);
        assert_ne!(sealed, seal(&[2; 32], &row));
        assert_ne!(sealed, seal(&[1; 32], &SealedRow { amount: "1", ..row.clone() }));
        assert_eq!(sealed, seal(&[1; 32], &row));
    }
}
