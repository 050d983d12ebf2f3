//! Maintenance among others: many sessions at the boundary of a period, and a pool that somebody damaged.

use rand::{Rng, SeedableRng, rngs::StdRng};
use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::thread;
use support::{Database, Row, Session, check_invariants, seeded};

const POOLS: i64 = 240;

/// `POOLS` customers with 100 credits a month and 20 of which half are carried over, since January.
fn world() -> (Database, Session) {
    let database = Database::with_catalogue();
    let mut session = database.session();
    at(&mut session, 1);
    for call in [
        "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 100)",
        "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', entry_id => 'kept', amount => 20, priority => 90, rollover_max => 50, rollover_percent => 50)",
    ] {
        session.call(call);
    }
    session.row(&format!(
        "SELECT count(*) FROM generate_series(1, {POOLS}) i,
         LATERAL credit_pools.provision_subscription(customer_id => 'c' || i, plan_id => 'plan-basic', resource_id => 'ws')"
    ));
    (database, session)
}

/// Sets the clock to the first of a month of 2026, the very boundary.
fn at(session: &mut Session, month: i64) {
    session.exec(&format!("SET credit_pools.test_clock = '2026-{month:02}-01 00:00+00'"));
}

fn processed(rows: &[Row], task: &str) -> i64 {
    rows.iter().find(|row| row.get("task") == task).unwrap_or_else(|| panic!("no {task} in {rows:?}")).int("processed")
}

fn maintain(session: &mut Session, max_pools: &str) -> Vec<Row> {
    session.rows(&format!("SELECT * FROM credit_pools.run_maintenance({max_pools})"))
}

/// Every pool has exactly one grant per entry and period, and nothing was made for another.
fn check_periods(session: &mut Session, last_month: i64) {
    let wrong = session.rows(&format!(
        "SELECT p.customer_id, e.entry_id, m.at, count(g.grant_id) FROM credit_pools.pools p
         CROSS JOIN (VALUES ('default'), ('kept')) e (entry_id)
         CROSS JOIN generate_series(timestamptz '2026-01-01 00:00+00', '2026-{last_month:02}-01 00:00+00', '1 month') m (at)
         LEFT JOIN credit_pools.grants g ON g.customer_id = p.customer_id AND g.pool_id = p.pool_id
              AND g.entry_id = e.entry_id AND g.period_start = m.at AND g.source = 'plan'
         GROUP BY 1, 2, 3 HAVING count(g.grant_id) <> 1 LIMIT 3"
    ));
    assert!(wrong.is_empty(), "not one grant per period: {wrong:#?}");
    let most = session.value(
        "SELECT max(n) FROM (SELECT count(*) AS n FROM credit_pools.grants WHERE source = 'plan' GROUP BY pool_id) x",
    );
    assert_eq!(most, (2 * last_month).to_string(), "grants of other periods");
}

/// Half of the sessions carry out what is due, the others use the same pools at that very instant: who comes first
/// renews the pool, once, and nobody waits for ever or fails.
#[test]
fn usage_and_maintenance_meet_at_the_boundary() {
    const SESSIONS: usize = 8;
    const USERS: usize = 4;
    let (seed, _) = seeded("at the boundary");
    let (database, mut session) = world();
    let used = AtomicI64::new(0);
    for month in 2..5 {
        let (users, start) = (AtomicUsize::new(USERS), Barrier::new(SESSIONS));
        let used_before = used.load(Ordering::SeqCst);
        thread::scope(|scope| {
            for number in 0..SESSIONS {
                let (database, used, users, start) = (&database, &used, &users, &start);
                scope.spawn(move || {
                    let mut session = database.session();
                    at(&mut session, month);
                    let mut random = StdRng::seed_from_u64(seed + 100 * month as u64 + number as u64);
                    start.wait();
                    if number >= USERS {
                        while users.load(Ordering::SeqCst) > 0 {
                            let rows = maintain(&mut session, "50");
                            assert_eq!(processed(&rows, "failed"), 0, "{rows:?}");
                        }
                        return;
                    }
                    // A panic must end the loops of the others, too.
                    struct Leaving<'a>(&'a AtomicUsize);
                    impl Drop for Leaving<'_> {
                        fn drop(&mut self) {
                            self.0.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                    let _leaving = Leaving(users);
                    for _ in 0..POOLS {
                        let (customer, value) = (random.random_range(1..=POOLS), random.random_range(1..4));
                        let row = session.call(&format!(
                            "report_usage(customer_id => 'c{customer}', resource_id => 'ws', feature_id => 'feature-ai-tokens', value => {value}, on_insufficient => 'cap')"
                        ));
                        assert_eq!(row.int("credits_consumed"), value, "the new period's credits are there: {row:?}");
                        used.fetch_add(value, Ordering::SeqCst);
                    }
                });
            }
        });
        at(&mut session, month);
        let rows = maintain(&mut session, "");
        assert_eq!((processed(&rows, "failed"), processed(&rows, "remaining")), (0, 0), "{rows:?}");
        check_periods(&mut session, month);
        let total = used.load(Ordering::SeqCst);
        // Of the 20 that are used last nothing was used: ten are carried over for one period, twice the same.
        let row = session.row("SELECT sum(balance) AS balance, sum(consumed) AS consumed, sum(expired) AS expired FROM credit_pools.pools");
        assert_eq!(row.int("consumed"), total, "{row:?}");
        assert_eq!(row.int("balance"), POOLS * (100 + 20 + 10) - (total - used_before), "{row:?}");
    }
    check_invariants(&mut session);
}

/// The procedure from three sessions at once, each committing batches of its own.
#[test]
fn three_sessions_maintain_at_once() {
    let (database, mut session) = world();
    for month in 2..4 {
        let start = Barrier::new(3);
        thread::scope(|scope| {
            for number in 0..3 {
                let (database, start) = (&database, &start);
                scope.spawn(move || {
                    let mut session = database.session();
                    at(&mut session, month);
                    start.wait();
                    let batch = if number == 0 { "" } else { "batch_size => 7" };
                    session.exec(&format!("CALL credit_pools.maintain({batch})"));
                });
            }
        });
        at(&mut session, month);
        let rows = maintain(&mut session, "");
        assert_eq!(
            (processed(&rows, "pools"), processed(&rows, "remaining")),
            (0, 0),
            "nothing was left over: {rows:?}"
        );
        check_periods(&mut session, month);
        let total = session.value("SELECT sum(balance) FROM credit_pools.pools");
        assert_eq!(total, (POOLS * 130).to_string());
    }
    check_invariants(&mut session);
}

/// What one batch of the procedure did stays, whatever becomes of the rest.
#[test]
fn batches_commit_one_by_one() {
    let (database, mut session) = world();
    at(&mut session, 2);
    let booked =
        "SELECT count(*) FROM credit_pools.pool_grant WHERE source = 'plan' AND period_start = '2026-02-01 00:00+00'";
    session.exec("CALL credit_pools.maintain(batch_size => 10, max_batches => 3)");
    assert_eq!(session.value(booked), "60");
    // Another session holds one of the rows: it is passed over, the others are done.
    let mut other = database.session();
    other.exec("BEGIN");
    let held = other.value("SELECT customer_id FROM credit_pools.pool WHERE next_transition_at <= '2026-02-01 00:00+00' LIMIT 1 FOR UPDATE");
    session.exec("CALL credit_pools.maintain(batch_size => 50)");
    assert_eq!(session.value(booked), (2 * (POOLS - 1)).to_string());
    let rows = maintain(&mut session, "");
    assert_eq!((processed(&rows, "pools"), processed(&rows, "remaining")), (0, 1), "{held} is locked: {rows:?}");
    other.exec("ROLLBACK");
    session.exec("CALL credit_pools.maintain()");
    assert_eq!(session.value(booked), (2 * POOLS).to_string());
    // In a transaction of the caller's there is nothing that it could commit.
    session.exec("BEGIN");
    assert_eq!(session.fault("CALL credit_pools.maintain()").code, "2D000");
    session.exec("ROLLBACK");
    check_periods(&mut session, 2);
    check_invariants(&mut session);
}

/// A pool whose sums somebody broke by hand is passed over and named, the others are renewed; once it is mended, it is
/// renewed like them.
#[test]
fn a_damaged_pool_does_not_stop_the_others() {
    let (database, mut session) = world();
    let (mut watched, warnings) = database.session_with_warnings();
    at(&mut watched, 2);
    let damage = |session: &mut Session, by: &str| {
        session
            .exec(&format!("UPDATE credit_pools.pool SET balance = balance {by} WHERE customer_id IN ('c1', 'c77')"));
    };
    damage(&mut session, "+ 1");
    // One pool at a time: those that fail do not use up what was asked for, be they the first in turn.
    let rows = maintain(&mut watched, "max_pools => 1");
    assert_eq!((processed(&rows, "pools"), processed(&rows, "renewals")), (1, 2), "{rows:?}");
    let rows = maintain(&mut watched, "max_pools => 1");
    assert_eq!((processed(&rows, "pools"), processed(&rows, "renewals")), (1, 2), "{rows:?}");
    assert_eq!(processed(&rows, "remaining"), POOLS - 2, "{rows:?}");
    warnings.lock().expect("no poison").clear();
    let rows = maintain(&mut watched, "");
    assert_eq!((processed(&rows, "pools"), processed(&rows, "failed")), (POOLS - 4, 2), "{rows:?}");
    assert_eq!(processed(&rows, "remaining"), 2, "{rows:?}");
    let said = warnings.lock().expect("no poison").join("\n");
    assert!(said.contains("\"c1\"") && said.contains("\"c77\""), "the pools are named: {said}");
    assert_eq!(said.lines().count(), 2, "a warning each, and no more: {said}");
    // The procedure ends although they stay due.
    watched.exec("CALL credit_pools.maintain(batch_size => 1)");
    let left = "SELECT count(*) FROM credit_pools.pool WHERE next_transition_at <= '2026-02-01 00:00+00'";
    assert_eq!(session.value(left), "2");
    // A call on the pool itself says what is wrong, and does no harm.
    let fault = watched.call_fault(
        "consume_credits(customer_id => 'c1', resource_id => 'ws', credit_type_id => 'ai-tokens', amount => 1)",
    );
    assert_eq!(fault.code, "PC005", "{fault}");
    damage(&mut session, "- 1");
    let rows = maintain(&mut watched, "");
    assert_eq!((processed(&rows, "pools"), processed(&rows, "failed")), (2, 0), "{rows:?}");
    at(&mut session, 2);
    check_periods(&mut session, 2);
    check_invariants(&mut session);
}
