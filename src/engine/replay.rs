//! Idempotency keys: a key changes the world at most once (contract, section 4).

use credit_pools_domain::fingerprint;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::store::keys;

/// What a call was asked to do, as texts, to tell a repetition from another call.
#[derive(Default)]
pub struct Payload(Vec<Option<String>>);

impl Payload {
    pub fn add(mut self, part: Option<impl ToString>) -> Payload {
        self.0.push(part.map(|p| p.to_string()));
        self
    }

    pub fn digest(&self) -> i64 {
        let parts: Vec<Option<&str>> = self.0.iter().map(Option::as_deref).collect();
        fingerprint(&parts)
    }
}

pub fn conflict(key: &str) -> Error {
    Error::new(Kind::IdempotencyConflict, format!("idempotency key \"{key}\" was used before with another payload"))
        .with("idempotency_key", key)
        .hint("Repeat the call with the values of the first time, or take a new key for a new call.")
}

/// Does the call, or returns what it returned the first time (`true`). The key is taken before anything
/// else is looked at; where the call fails, PostgreSQL gives it back with the statement.
pub fn once<T: Serialize + DeserializeOwned>(
    customer_id: &str,
    call: &str,
    key: Option<&str>,
    payload: &Payload,
    body: impl FnOnce() -> Result<T>,
) -> Result<(T, bool)> {
    let Some(key) = key else { return Ok((body()?, false)) };
    let digest = payload.digest();
    if keys::claim(customer_id, call, key, digest, clock::now()) {
        let result = body()?;
        if let Ok(text) = serde_json::to_string(&result) {
            keys::keep_result(customer_id, call, key, &text);
        }
        return Ok((result, false));
    }
    match keys::find(customer_id, call, key) {
        Some(seen) if seen.payload_digest == digest => seen
            .result
            .and_then(|result| serde_json::from_value(result).ok())
            .map(|result| (result, true))
            .ok_or_else(|| Error::state(format!("idempotency key \"{key}\" has no recorded result"))),
        Some(_) => Err(conflict(key)),
        // Taken by a transaction that this one's snapshot does not see.
        None => Err(Error::new(Kind::SerializationFailure, "could not serialize access to an idempotency key")),
    }
}
