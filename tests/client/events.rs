//! The outbox from outside: every change has its event, once, and who reads in order never misses one, however
//! transactions overlap, end, or are cut off. Reading: events/reading.rs; prepared transactions, crashes and NOTIFY:
//! events/commits.rs; what must have an event, from the ledger: events/causes.rs and events/alerts.rs.

#[path = "events/alerts.rs"]
mod alerts;
#[path = "events/causes.rs"]
mod causes;
#[path = "events/commits.rs"]
mod commits;
#[path = "events/history.rs"]
mod history;
#[path = "events/outbox.rs"]
mod outbox;
#[path = "events/reading.rs"]
mod reading;

use history::History;
use std::collections::BTreeSet;
use support::{Database, broken_invariants, seeded};

/// Everything that a pool knows, in random order, by a test clock: the events are told from the ledger, one to one.
#[test]
fn every_cause_has_its_event() {
    const RUNS: usize = 3;
    const STEPS: usize = 500;
    let (seed, mut random) = seeded("causes");
    let mut all = BTreeSet::new();
    for run in 0..RUNS {
        // Maintenance is for all pools, by the clock of the session that runs it: a database for each history.
        let database = Database::with_catalogue();
        let mut session = database.session();
        session.exec("SET synchronous_commit = off; SET credit_pools.event_retention = -1");
        history::prepare(&mut session);
        let mut history = History::new(&mut session, &mut random, &format!("r{run}"));
        for _ in 0..STEPS {
            history.step();
        }
        let (levels, counts) = (std::mem::take(&mut history.levels), std::mem::take(&mut history.counts));
        eprintln!("run {run} (seed {seed}): calls that worked, and that were refused: {counts:?}");
        let kinds = causes::kinds(&mut session);
        eprintln!("  events: {kinds:?}");
        all.extend(kinds.into_iter().map(|(kind, _)| kind));
        causes::check(&mut session, &levels);
        let broken = broken_invariants(&mut session, true);
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }
    for kind in [
        "pool.opened",
        "credits.granted",
        "credits.depleted",
        "credits.expired",
        "credits.voided",
        "balance.low",
        "balance.depleted",
        "reservation.expired",
        "recharge.requested",
        "recharge.succeeded",
        "subscription.created",
    ] {
        assert!(all.contains(kind), "no {kind}, seed {seed}");
    }
}
