//! Reading while others write: nothing is missed, nothing comes out of turn, whoever commits when.

use crate::alerts::Levels;
use crate::outbox::{Consumer, Seen, ack, all_shown, eventually, fetch, page, shown};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};
use support::{Database, Session, check_invariants, seeded};

const WRITERS: usize = 6;

/// Counts down when a writer ends, also by a panic.
struct Leaving<'a>(&'a AtomicUsize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A pool for each writer, and `ws-0` for all, opened long ago where the events are to be old.
fn world(clock: &str) -> (Database, Session) {
    let database = Database::with_catalogue();
    let mut session = database.session();
    session.exec(clock);
    session.call("set_balance_alerts(credit_type_id => 'ai-tokens', thresholds => ARRAY[60, 20])");
    for number in 0..=WRITERS {
        session.call(&format!(
            "open_pool(customer_id => 'c1', resource_id => 'ws-{number}', credit_type_id => 'ai-tokens')"
        ));
    }
    session.exec(NOW);
    (database, session)
}

const NOW: &str = "RESET credit_pools.test_clock";

fn grant(session: &mut Session, resource: &str, amount: i64) -> i64 {
    let call = format!(
        "grant_credits(customer_id => 'c1', resource_id => '{resource}', credit_type_id => 'ai-tokens', amount => {amount})"
    );
    session.call(&call).int("grant_id")
}

fn use_up(session: &mut Session, resource: &str, amount: i64) {
    session.call(&format!(
        "consume_credits(customer_id => 'c1', resource_id => '{resource}', credit_type_id => 'ai-tokens', amount => {amount}, on_insufficient => 'cap')"
    ));
}

/// Transactions of random length until `until`. The grants of those that are committed.
fn write(session: &mut Session, random: &mut StdRng, number: usize, until: Instant) -> BTreeSet<i64> {
    let own = format!("ws-{number}");
    let mut kept = BTreeSet::new();
    while Instant::now() < until {
        let mut within = BTreeSet::new();
        session.exec("BEGIN");
        for _ in 0..random.random_range(1..6) {
            match random.random_range(0..8) {
                0..3 => {
                    within.insert(grant(session, &own, random.random_range(1..80)));
                }
                3..6 => use_up(session, &own, random.random_range(1..90)),
                6 => {
                    session.exec("SAVEPOINT s");
                    grant(session, &own, 5);
                    use_up(session, &own, random.random_range(1..90));
                    session.exec("ROLLBACK TO s");
                }
                _ => {
                    // What is released stays, be it in a subtransaction.
                    session.exec("SAVEPOINT s");
                    within.insert(grant(session, &own, 7));
                    session.exec("RELEASE s");
                }
            }
            if random.random_bool(0.3) {
                sleep(Duration::from_millis(random.random_range(0..25)));
            }
        }
        if random.random_bool(0.3) {
            // A pool that all share, last: who comes here waits for the others' commits.
            within.insert(grant(session, "ws-0", 1));
        }
        if random.random_bool(0.25) {
            session.exec("ROLLBACK");
        } else {
            session.exec("COMMIT");
            kept.append(&mut within);
        }
    }
    kept
}

/// Goes on from the last event that it has read, page by page.
fn follow(session: &mut Session, random: &mut StdRng, seen: &mut Seen, repeatable: bool) {
    if !repeatable {
        let pass = page(session, seen.position, random.random_range(1..40));
        seen.take(&pass);
        seen.position = pass.last().map_or(seen.position, |event| event.id);
        return;
    }
    // One snapshot for several pages: it stands still, however long it takes.
    let first = seen.position;
    session.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let all = page(session, first, 1000);
    sleep(Duration::from_millis(random.random_range(0..30)));
    let mut read = 0;
    for _ in 0..3 {
        let pass = page(session, seen.position, random.random_range(1..20));
        read += pass.len();
        seen.take(&pass);
        seen.position = pass.last().map_or(seen.position, |event| event.id);
    }
    let again = page(session, first, 1000);
    let ids = |events: &[crate::outbox::Event]| events.iter().map(|event| event.id).collect::<Vec<_>>();
    assert_eq!(ids(&all), ids(&again), "the snapshot stands still");
    assert_eq!(ids(&all[..read]), seen.events.range(first + 1..).map(|(id, _)| *id).collect::<Vec<_>>());
    session.exec("COMMIT");
}

#[test]
fn each_consumer_gets_each_committed_event() {
    const CONSUMERS: usize = 3;
    let (seed, _) = seeded("consumers");
    let (database, mut session) = world(NOW);
    let (writing, until) = (AtomicUsize::new(WRITERS), Instant::now() + Duration::from_secs(7));
    let (kept, readers) = (Mutex::new(BTreeSet::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for number in 1..=WRITERS {
            let (database, kept, writing) = (&database, &kept, &writing);
            scope.spawn(move || {
                let _leaving = Leaving(writing);
                let mut random = StdRng::seed_from_u64(seed + number as u64);
                let mut done = write(&mut database.session(), &mut random, number, until);
                kept.lock().expect("no poison").append(&mut done);
            });
        }
        for number in 0..CONSUMERS {
            let (database, readers, writing) = (&database, &readers, &writing);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed + 100 + number as u64);
                let connect = || database.session();
                let mut consumer = Consumer::new(format!("consumer-{number}"), &connect);
                while writing.load(Ordering::SeqCst) > 0 {
                    if !consumer.turn(&mut random) {
                        sleep(Duration::from_millis(random.random_range(0..6)));
                    }
                }
                consumer.drain(&mut random);
                readers.lock().expect("no poison").push((consumer.name, consumer.seen));
            });
        }
        for repeatable in [false, true] {
            let (database, readers, writing) = (&database, &readers, &writing);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed + 200 + u64::from(repeatable));
                let (mut session, mut seen) = (database.session(), Seen::default());
                while writing.load(Ordering::SeqCst) > 0 {
                    follow(&mut session, &mut random, &mut seen, repeatable);
                }
                eventually(|| {
                    follow(&mut session, &mut random, &mut seen, repeatable);
                    let position = seen.position;
                    session.value(&format!("SELECT count(*) FROM credit_pools.event WHERE event_id > {position}"))
                        == "0"
                });
                readers.lock().expect("no poison").push((format!("view, repeatable: {repeatable}"), seen));
            });
        }
    });
    let kept: Vec<i64> = kept.into_inner().expect("no poison").into_iter().collect();
    let all: Vec<i64> = all_shown(&mut session).iter().map(|event| event.id).collect();
    let readers = readers.into_inner().expect("no poison");
    assert_eq!(readers.len(), CONSUMERS + 2);
    for (name, seen) in &readers {
        eprintln!("{name}: {} events, {} of them again", seen.events.len(), seen.again);
        assert_eq!(seen.ids(), all, "{name} has seen what is there, seed {seed}");
        assert_eq!(seen.granted(), kept, "{name}: the grants of committed transactions, once each, seed {seed}");
    }
    assert!(all.len() > 300 && readers.iter().any(|(_, seen)| seen.again > 10), "{} events are few", all.len());
    let rolled_back =
        session.value("SELECT last_value FROM credit_pools.event_id_seq").parse::<usize>().expect("a number")
            - all.len();
    assert!(rolled_back > 50, "{rolled_back} ids of rolled back events are few");
    for row in session.rows("SELECT consumer, event_id, oldest_pending_at FROM credit_pools.event_consumers") {
        let (_, seen) = readers.iter().find(|(name, _)| name == row.get("consumer")).expect("a consumer of this test");
        assert_eq!(row.int("event_id"), seen.position, "{row:?}");
        assert_eq!(row.opt("oldest_pending_at").is_none(), Some(&seen.position) == all.last(), "{row:?}");
    }
    let levels = Levels { changes: vec![(0, None, Some(vec![60, 20]))] };
    crate::causes::check(&mut session, &levels);
    check_invariants(&mut session);
}

/// An event waits for the transactions that began to write before it, whether they commit or not.
#[test]
fn who_writes_first_is_read_first() {
    let (database, mut session) = world(NOW);
    let (mut first, mut second, mut reader) = (database.session(), database.session(), database.session());
    let mut position = all_shown(&mut session).last().expect("pools were opened").id;
    ack(&mut reader, "reader", position).expect("it is there");
    // A reader that is open, be it for ever, holds nothing back.
    let mut open = database.session();
    open.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let at_open = shown(&mut open).len();
    for end in ["COMMIT", "ROLLBACK", "ROLLBACK TO s"] {
        first.exec("BEGIN");
        first.exec("SAVEPOINT s");
        let before = grant(&mut first, "ws-1", 10);
        let after = grant(&mut second, "ws-2", 10);
        // Neither the one that may still come nor the one behind it; not even to its own transaction.
        for _ in 0..3 {
            for session in [&mut first, &mut second, &mut reader] {
                assert_eq!(shown(session).last().expect("some").id, position);
            }
            assert!(fetch(&mut reader, "reader", 10).is_empty());
            sleep(Duration::from_millis(40));
        }
        let hidden = session.value("SELECT max(event_id) FROM credit_pools.event");
        let fault = ack(&mut reader, "reader", hidden.parse().expect("a number")).expect_err("it cannot be fetched");
        assert_eq!((fault.code.as_str(), fault.figure("argument").as_deref()), ("22023", Some("event_id")), "{fault}");
        first.exec(end);
        if end == "ROLLBACK TO s" {
            // Its transaction goes on, and may write more: an id behind those that were taken.
            grant(&mut first, "ws-1", 10);
            assert!(fetch(&mut reader, "reader", 10).is_empty());
            first.exec("COMMIT");
        }
        let mut read = Vec::new();
        let wanted = if end == "ROLLBACK" { 1 } else { 2 };
        eventually(|| {
            read = fetch(&mut reader, "reader", 10);
            read.len() >= wanted
        });
        let granted: Vec<i64> = read.iter().filter_map(|event| event.granted()).collect();
        match end {
            "COMMIT" => assert_eq!(granted, [before, after]),
            "ROLLBACK" => assert_eq!(granted, [after]),
            _ => assert!(granted.len() == 2 && granted[0] == after && granted[1] > before, "{granted:?}"),
        }
        position = read.last().expect("some").id;
        // The same again until it is acknowledged; that may be said twice, but not taken back.
        assert_eq!(fetch(&mut reader, "reader", 10).len(), read.len());
        for _ in 0..2 {
            ack(&mut reader, "reader", position).expect("it was fetched");
        }
        assert!(fetch(&mut reader, "reader", 10).is_empty());
        let fault = ack(&mut reader, "reader", position - 1).expect_err("backwards");
        assert_eq!((fault.code.as_str(), fault.figure("argument").as_deref()), ("22023", Some("event_id")), "{fault}");
    }
    assert_eq!(shown(&mut open).len(), at_open, "a snapshot stands still");
    open.exec("COMMIT");
    // Two that fetch as one consumer get the same.
    grant(&mut second, "ws-2", 10);
    eventually(|| !fetch(&mut reader, "reader", 10).is_empty());
    let ids = |session: &mut Session| fetch(session, "reader", 10).iter().map(|event| event.id).collect::<Vec<_>>();
    assert_eq!(ids(&mut reader), ids(&mut second));
    for (consumer, max) in [("reader", "0"), ("reader", "10001"), ("reader", "-1"), ("", "1")] {
        let fault = session.call_fault(&format!("fetch_events(consumer => '{consumer}', max => {max})"));
        assert_eq!(fault.code, "22023", "{fault}");
    }
    check_invariants(&mut session);
}

/// What is old goes, but only when all who read have had it.
#[test]
fn nothing_is_deleted_that_somebody_still_has_to_read() {
    const CONSUMERS: usize = 3;
    let (seed, _) = seeded("retention");
    // Long ago: whatever the writers do is older than the retention of 30 days.
    let long_ago = "SET credit_pools.test_clock = '2020-01-01 00:00+00'";
    let (database, mut session) = world(long_ago);
    let begin = AtomicUsize::new(CONSUMERS);
    let (writing, deleted) = (AtomicUsize::new(WRITERS), AtomicUsize::new(0));
    let (kept, readers) = (Mutex::new(BTreeSet::new()), Mutex::new(Vec::new()));
    let processed = |session: &mut Session| -> usize {
        let rows = session.rows("SELECT * FROM credit_pools.run_maintenance()");
        rows.iter().find(|row| row.get("task") == "events").expect("a task of events").int("processed") as usize
    };
    thread::scope(|scope| {
        for number in 1..=WRITERS {
            let (database, kept, writing, begin) = (&database, &kept, &writing, &begin);
            scope.spawn(move || {
                let _leaving = Leaving(writing);
                eventually(|| begin.load(Ordering::SeqCst) == 0);
                let mut random = StdRng::seed_from_u64(seed + number as u64);
                let mut session = database.session();
                session.exec(long_ago);
                let mut done = write(&mut session, &mut random, number, Instant::now() + Duration::from_secs(4));
                kept.lock().expect("no poison").append(&mut done);
            });
        }
        for number in 0..CONSUMERS {
            let (database, readers, writing, begin) = (&database, &readers, &writing, &begin);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed + 100 + number as u64);
                let connect = || database.session();
                let mut consumer = Consumer::new(format!("consumer-{number}"), &connect);
                consumer.turn(&mut random);
                begin.fetch_sub(1, Ordering::SeqCst);
                while writing.load(Ordering::SeqCst) > 0 {
                    if !consumer.turn(&mut random) {
                        sleep(Duration::from_millis(random.random_range(0..6)));
                    }
                }
                consumer.drain(&mut random);
                readers.lock().expect("no poison").push((consumer.name, consumer.seen));
            });
        }
        for _ in 0..2 {
            let (database, writing, deleted, begin) = (&database, &writing, &deleted, &begin);
            scope.spawn(move || {
                // What is deleted before a consumer is known, it does not see.
                eventually(|| begin.load(Ordering::SeqCst) == 0);
                let mut session = database.session();
                while writing.load(Ordering::SeqCst) > 0 {
                    deleted.fetch_add(processed(&mut session), Ordering::SeqCst);
                    sleep(Duration::from_millis(15));
                }
            });
        }
    });
    let kept: Vec<i64> = kept.into_inner().expect("no poison").into_iter().collect();
    let during = deleted.load(Ordering::SeqCst);
    let readers = readers.into_inner().expect("no poison");
    for (name, seen) in &readers {
        assert_eq!(seen.granted(), kept, "{name} has seen every grant, seed {seed}");
        assert_eq!(seen.ids(), readers[0].1.ids(), "{name} has seen what the others have, seed {seed}");
    }
    // Old is all but this.
    session.call("open_pool(customer_id => 'c1', resource_id => 'ws-new', credit_type_id => 'ai-tokens')");
    let last = all_shown(&mut session).last().expect("one").id;
    for (name, _) in &readers {
        ack(&mut session, name, last).unwrap_or_else(|fault| panic!("{fault}"));
    }
    // One more who reads, and does not acknowledge: from now on all is kept for it.
    let lazy = fetch(&mut session, "lazy", 10_000).len();
    assert_eq!(processed(&mut session), 0);
    assert_eq!(fetch(&mut session, "lazy", 10_000).len(), lazy);
    assert!(session.call("drop_event_consumer(consumer => 'lazy')").flag("dropped"));
    let after = processed(&mut session);
    eprintln!("{} events: {during} deleted while they were read, {after} at the end", readers[0].1.events.len());
    assert_eq!(during + after, readers[0].1.events.len(), "each deleted once, and not the new one");
    assert!(during > 50, "hardly any was deleted while others read");
    assert_eq!(shown(&mut session).len(), 1);
    for (name, _) in &readers {
        assert!(fetch(&mut session, name, 10).is_empty(), "{name} does not begin anew");
    }
    // Who nobody knows reads what is kept.
    assert_eq!(fetch(&mut session, "new", 10_000).len(), 1);
    check_invariants(&mut session);
}
