//! Who reads the outbox, how far, and how long what was read is kept.

use credit_pools_domain::Instant;

use crate::clock;
use crate::error::{Error, Result};
use crate::settings;
use crate::store::events::{self, Fetched};
use crate::store::spi;

/// Events that one statement deletes: bounds how long it takes.
const PIECE: i64 = 10_000;

/// What a consumer has not acknowledged, oldest first. Its first call makes it known, so that nothing is deleted before
/// it has had it.
pub fn fetch(consumer: &str, limit: i64) -> Vec<Fetched> {
    let position = events::position(consumer);
    if position.is_none() && spi::may_write() {
        events::make_consumer(consumer, clock::now());
    }
    events::fetch(position.unwrap_or_default(), limit)
}

/// Moves a consumer on, up to the newest event that it can have seen. When it was.
pub fn acknowledge(consumer: &str, event_id: i64) -> Result<Instant> {
    let now = clock::now();
    events::make_consumer(consumer, now);
    let position = events::lock_consumer(consumer).unwrap_or_default();
    if event_id < position {
        return Err(Error::argument(
            "event_id",
            format!("consumer \"{consumer}\" has acknowledged event {position} already"),
        )
        .with("event_id", event_id)
        .with("acknowledged", position)
        .hint("To read events again, drop the consumer with drop_event_consumer and start anew."));
    }
    let newest = events::newest().unwrap_or_default();
    if event_id > newest.max(position) || event_id < 0 {
        return Err(Error::argument("event_id", "event_id is beyond the newest event that can be read")
            .with("event_id", event_id)
            .with("newest", newest)
            .hint("Acknowledge the event_id of the last event that fetch_events gave and that was worked on."));
    }
    events::acknowledge(consumer, event_id, now);
    Ok(now)
}

/// Deletes what is older than the retention and acknowledged by all. `all`: however long it takes.
pub fn delete_old(all: bool) -> i64 {
    let Some(retention) = settings::event_retention() else { return 0 };
    let before = clock::now().plus_micros(-retention);
    // Usually there is nothing to do, and one look tells.
    if events::oldest_written_at().is_none_or(|at| at >= before) {
        return 0;
    }
    let (mut deleted, mut last) = (0, i64::MIN);
    loop {
        pgrx::check_for_interrupts!();
        let (piece, upto) = events::delete_old(before, last, PIECE);
        (deleted, last) = (deleted + piece, upto);
        if piece == 0 || !all {
            return deleted;
        }
    }
}
