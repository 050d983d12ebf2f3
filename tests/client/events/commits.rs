//! Commits that are not plain: prepared ones, those that a crash cuts off, and what LISTEN hears of them.

use crate::alerts::Levels;
use crate::outbox::{Consumer, Seen, ack, all_shown, eventually, fetch, page, shown};
use postgres::fallible_iterator::FallibleIterator;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;
use support::{Cluster, Database, Session, check_invariants, seed_catalogue, seeded};

fn open(session: &mut Session, pools: usize) {
    seed_catalogue(session);
    for number in 0..pools {
        session.call(&format!(
            "open_pool(customer_id => 'c1', resource_id => 'ws-{number}', credit_type_id => 'ai-tokens')"
        ));
    }
}

fn grant(number: usize, key: &str) -> String {
    format!(
        "grant_credits(customer_id => 'c1', resource_id => 'ws-{number}', credit_type_id => 'ai-tokens', amount => 5, idempotency_key => '{key}')"
    )
}

fn consume(number: usize, amount: i64) -> String {
    format!(
        "consume_credits(customer_id => 'c1', resource_id => 'ws-{number}', credit_type_id => 'ai-tokens', amount => {amount}, on_insufficient => 'cap')"
    )
}

/// A prepared transaction may still commit, be it tomorrow: what was written after it waits.
#[test]
fn a_prepared_transaction_holds_back_what_comes_after_it() {
    let cluster = Cluster::start(&["max_prepared_transactions=5", "autovacuum=off"]);
    let (mut session, mut other) = (cluster.session(), cluster.session());
    open(&mut session, 3);
    let mut position = all_shown(&mut session).last().expect("pools were opened").id;
    for (round, end) in ["COMMIT PREPARED 'p'", "ROLLBACK PREPARED 'p'"].into_iter().enumerate() {
        let first = session.call(&grant(0, &format!("first-{round}"))).int("grant_id");
        session.exec("BEGIN");
        let prepared = session.call(&grant(1, &format!("prepared-{round}"))).int("grant_id");
        session.exec("PREPARE TRANSACTION 'p'");
        let later: Vec<i64> =
            (0..3).map(|n| other.call(&grant(2, &format!("later-{round}-{n}"))).int("grant_id")).collect();
        // Who prepared it has gone meanwhile.
        session = cluster.session();
        for _ in 0..5 {
            let read = page(&mut session, position, 100);
            let granted: Vec<i64> = read.iter().filter_map(|event| event.granted()).collect();
            assert_eq!(granted, [first], "only what came before it");
            assert_eq!(fetch(&mut other, "reader", 1000).last().expect("some").id, read.last().expect("one").id);
            sleep(Duration::from_millis(30));
        }
        let newest = session.value("SELECT max(event_id) FROM credit_pools.event").parse().expect("a number");
        assert_eq!(ack(&mut other, "reader", newest).expect_err("it is held back").code, "22023");
        session.exec(end);
        let granted: Vec<i64> = page(&mut session, position, 100).iter().filter_map(|event| event.granted()).collect();
        let expected: Vec<i64> = match round {
            0 => [first, prepared].into_iter().chain(later).collect(),
            _ => [first].into_iter().chain(later).collect(),
        };
        assert_eq!(granted, expected, "all of it, in order, at once: no other transaction is open");
        position = shown(&mut session).last().expect("some").id;
        ack(&mut other, "reader", position).expect("it is shown");
        assert!(fetch(&mut other, "reader", 10).is_empty());
    }
    check_invariants(&mut session);
}

/// The server dies under load, more than once: what was committed has its event, what was not has none, and who reads
/// goes on where it was.
#[test]
fn a_crash_loses_no_event_and_makes_none() {
    const WRITERS: usize = 4;
    const CRASHES: usize = 3;
    let (seed, mut random) = seeded("events and crashes");
    let cluster = Cluster::start(&["log_min_messages=panic", "max_prepared_transactions=5"]);
    let mut session = cluster.session();
    open(&mut session, WRITERS);
    let (committed, rolled_back) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeSet::new()));
    let connect = || cluster.session_after_crash();
    let mut reader = Seen::default();
    for crash in 0..CRASHES {
        let dead = AtomicBool::new(false);
        thread::scope(|scope| {
            let mut backends = Vec::new();
            for number in 0..WRITERS {
                let mut session = cluster.session();
                backends.push(session.value("SELECT pg_backend_pid()").parse::<i64>().expect("a number"));
                let (committed, rolled_back, dead) = (&committed, &rolled_back, &dead);
                scope.spawn(move || {
                    let mut random = StdRng::seed_from_u64(seed + (100 * crash + number) as u64);
                    for turn in 0.. {
                        let key = format!("{crash}-{number}-{turn}");
                        match transaction(&mut session, &mut random, number, &key) {
                            Some(true) => committed.lock().expect("no poison").insert(key),
                            Some(false) => rolled_back.lock().expect("no poison").insert(key),
                            // Whether its COMMIT was done nobody knows.
                            None => break,
                        };
                        assert!(turn < 100_000, "the server should have died");
                    }
                    dead.store(true, Ordering::SeqCst);
                });
            }
            // Reads and acknowledges until the server is gone.
            let mut consumer = cluster.session();
            let (mut seen, dead) = (std::mem::take(&mut reader), &dead);
            let read = scope.spawn(move || {
                while !dead.load(Ordering::SeqCst) {
                    let sql = "SELECT event_id, type, pool_id, data FROM credit_pools.fetch_events(consumer => 'reader', max => 50)";
                    let Ok(rows) = consumer.try_rows(sql) else { break };
                    let Some(last) = rows.last().map(|row| row.int("event_id")) else { continue };
                    let ids = rows.iter().map(|row| row.int("event_id"));
                    assert!(ids.clone().is_sorted() && ids.clone().all(|id| id > seen.position), "{rows:#?}");
                    seen.take(&crate::outbox::read_all(&rows));
                    if ack(&mut consumer, "reader", last).is_ok() {
                        seen.position = last;
                    }
                }
                seen
            });
            sleep(Duration::from_millis(random.random_range(600..1100)));
            assert!(cluster.kill(backends[random.random_range(0..WRITERS)]));
            reader = match read.join() {
                Ok(seen) => seen,
                Err(panic) => std::panic::resume_unwind(panic),
            };
        });
        session = cluster.session_after_crash();
        // Whether the last acknowledgement is one, the server knows.
        let position = session.value("SELECT event_id FROM credit_pools.event_consumers WHERE consumer = 'reader'");
        let position: i64 = position.parse().expect("a number");
        assert!(position >= reader.position, "acknowledged is acknowledged");
        reader.position = position;
        eprintln!("crash {crash}: {} events read, {position} acknowledged", reader.events.len());
        let all = all_shown(&mut session);
        let lost: Vec<_> = reader.events.keys().filter(|id| !all.iter().any(|event| event.id == **id)).collect();
        assert!(lost.is_empty(), "read before the crash, and gone after it: {lost:?}");
        crate::causes::check(&mut session, &Levels::default());
    }
    let mut consumer = Consumer::new("reader".to_owned(), &connect);
    consumer.seen = reader;
    consumer.drain(&mut random);
    let all: Vec<i64> = all_shown(&mut session).iter().map(|event| event.id).collect();
    assert_eq!(consumer.seen.ids(), all, "seed {seed}");
    let keys: BTreeSet<String> = session
        .rows("SELECT idempotency_key FROM credit_pools.ledger WHERE entry_type = 'grant'")
        .iter()
        .map(|row| row.get("idempotency_key").to_owned())
        .collect();
    let (committed, rolled_back) =
        (committed.into_inner().expect("no poison"), rolled_back.into_inner().expect("no poison"));
    assert!(keys.is_superset(&committed) && keys.is_disjoint(&rolled_back), "seed {seed}");
    eprintln!(
        "{} transactions committed for sure, {} in all, {} rolled back",
        committed.len(),
        keys.len(),
        rolled_back.len()
    );
    assert!(committed.len() > 100 && rolled_back.len() > 10);
    check_invariants(&mut session);
}

/// A grant and some usage. Whether it is committed; None where the server has gone.
fn transaction(session: &mut Session, random: &mut StdRng, number: usize, key: &str) -> Option<bool> {
    let keep = random.random_bool(0.8);
    session.try_exec("BEGIN").ok()?;
    session.try_call(&grant(number, key)).ok()?;
    if random.random_bool(0.5) {
        session.try_call(&consume(number, random.random_range(1..12))).ok()?;
    }
    session.try_exec(if keep { "COMMIT" } else { "ROLLBACK" }).ok()?;
    Some(keep)
}

/// What arrives: so many, however long they take, and whatever comes right after them.
fn heard(session: &mut Session, expected: usize) -> Vec<String> {
    let mut notifications = session.client.notifications();
    let mut heard = Vec::new();
    loop {
        let patience = Duration::from_millis(if heard.len() < expected { 10_000 } else { 200 });
        let Some(notification) = notifications.timeout_iter(patience).next().expect("the connection stays") else {
            return heard;
        };
        heard.push(format!("{}:{}", notification.channel(), notification.payload()));
    }
}

#[test]
fn listeners_hear_once_per_transaction_where_it_is_wanted() {
    let database = Database::new();
    let (mut session, mut listener) = (database.session(), database.session());
    open(&mut session, 2);
    listener.exec("LISTEN credit_pools_events");
    session.call(&grant(0, "quiet"));
    assert!(heard(&mut listener, 0).is_empty(), "off by default");
    let subscribed = "provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-2')";
    session.call(subscribed);
    session.call(&grant(2, "to be estimated"));
    assert!(heard(&mut listener, 0).is_empty(), "off");
    session.exec("SET credit_pools.event_notify = on");
    let once = ["credit_pools_events:".to_owned()];
    session.call(&grant(0, "one"));
    assert_eq!(heard(&mut listener, 1), once, "a call by itself");
    session.exec("BEGIN");
    for number in 0..3 {
        session.call(&grant(number % 2, &format!("more-{number}")));
    }
    session.call(&consume(0, 100));
    assert!(heard(&mut listener, 0).is_empty(), "not before the commit");
    session.exec("COMMIT");
    assert_eq!(heard(&mut listener, 1), once, "a transaction of several events");
    session.exec("BEGIN");
    session.call(&grant(0, "undone"));
    session.exec("ROLLBACK");
    assert!(heard(&mut listener, 0).is_empty(), "nothing has happened");
    session.exec("BEGIN; SAVEPOINT s");
    session.call(&grant(0, "undone"));
    session.exec("ROLLBACK TO s; COMMIT");
    session.call_fault(&consume(0, 0));
    session.call(&grant(0, "one"));
    session.call(
        "estimate_usage(customer_id => 'c1', feature_id => 'feature-search', resource_id => 'ws-2', value => 200)",
    );
    assert!(
        heard(&mut listener, 0).is_empty(),
        "nor by a savepoint that is undone, a refusal, a duplicate, or an estimate"
    );
    // Usage that leads to no event.
    session.call(&grant(0, "large"));
    assert_eq!(heard(&mut listener, 1), once);
    session.call(&consume(0, 1));
    assert!(heard(&mut listener, 0).is_empty(), "no event, no notification");
    // Who hears of it can read it; at once, but for others' open transactions.
    eventually(|| shown(&mut listener).len() == all_shown(&mut session).len());
    session.exec("SET credit_pools.events = off");
    let before = all_shown(&mut session).len();
    session.call(&grant(0, "unwritten"));
    assert_eq!((all_shown(&mut session).len(), heard(&mut listener, 0).len()), (before, 0), "no events at all");
    check_invariants(&mut session);
}
