//! Maintenance that is killed in the middle, on a server of its own: a backend that dies takes the connections of all
//! others with it. Whatever was killed when: each period is granted once, nothing is lost, the books are sound.

use rand::Rng;
use std::thread;
use std::time::{Duration, Instant};
use support::{Cluster, Fault, Session, check_invariants, seed_catalogue, seeded};

const POOLS: i64 = 2000;

#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Terminate,
    Cancel,
}

/// The months that are gone through: what does the work, and how it is ended, in turn.
const MONTHS: [(&str, &[End]); 4] = [
    ("SELECT * FROM credit_pools.run_maintenance()", &[End::Kill, End::Kill]),
    ("CALL credit_pools.maintain(200)", &[End::Kill, End::Kill, End::Kill]),
    ("SELECT * FROM credit_pools.run_maintenance()", &[End::Cancel, End::Terminate]),
    ("CALL credit_pools.maintain(200)", &[End::Cancel, End::Terminate, End::Kill]),
];

fn at(session: &mut Session, month: usize) {
    session.exec(&format!("SET credit_pools.test_clock = '2026-{month:02}-01 00:00+00'"));
}

/// Pools that have both grants of the month; one that has another number of them is a failure.
fn renewed(session: &mut Session, month: usize) -> i64 {
    let row = session.row(&format!(
        "SELECT count(*) AS pools, coalesce(bool_and(n = 2), true) AS right FROM (
           SELECT count(*) AS n FROM credit_pools.pool_grant
           WHERE source = 'plan' AND period_start = '2026-{month:02}-01 00:00+00' GROUP BY customer_id, pool_id) x"
    ));
    assert!(row.flag("right"), "each entry once: {row:?}");
    row.int("pools")
}

#[test]
fn maintenance_that_is_killed_goes_on_where_it_was() {
    let (_, mut random) = seeded("killed maintenance");
    // The server's own words about the killed processes are no news.
    let cluster = Cluster::start(&["log_min_messages=panic"]);
    let mut session = cluster.session();
    at(&mut session, 1);
    seed_catalogue(&mut session);
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
    let (mut interrupted, mut within) = (0, 0);
    for (place, (work, ends)) in MONTHS.iter().enumerate() {
        let month = place + 2;
        at(&mut session, month);
        session.row(&format!(
            "SELECT sum(credits_consumed) FROM generate_series(1, {POOLS}, 100) i,
             LATERAL credit_pools.consume_credits(customer_id => 'c' || i, resource_id => 'ws', credit_type_id => 'ai-tokens', amount => 7)"
        ));
        let used = POOLS / 100;
        // How long it takes all in all, so that the blows fall within.
        session.exec("BEGIN");
        let began = Instant::now();
        session.rows("SELECT * FROM credit_pools.run_maintenance()");
        let takes = began.elapsed();
        session.exec("ROLLBACK");
        let mut last = renewed(&mut session, month);
        assert_eq!(last, used, "the usage renewed its pools");
        for end in *ends {
            let outcome = run_and_end(&cluster, work, month, *end, takes.mul_f64(random.random_range(0.05..0.7)));
            session = cluster.session_after_crash();
            at(&mut session, month);
            let now = renewed(&mut session, month);
            eprintln!("{work}, {end:?}: {last}, then {now} of {POOLS} pools renewed, {outcome:?}");
            match outcome {
                Ok(()) => assert_eq!(now, POOLS, "it said that all is done"),
                Err(fault) => {
                    interrupted += 1;
                    let codes: &[&str] = match end {
                        End::Kill => &["closed", "57P02"],
                        End::Terminate => &["57P01", "closed"],
                        End::Cancel => &["57014"],
                    };
                    assert!(codes.contains(&fault.code.as_str()), "{fault}");
                    if work.starts_with("CALL") {
                        // Whole batches, and none of those that were there before is lost.
                        assert!(now >= last && (now == POOLS || (now - used) % 200 == 0), "{now} pools after {last}");
                        within += i64::from(now > last && now < POOLS);
                    } else {
                        assert!(now == last, "all or nothing: {now} pools after {last}");
                    }
                }
            }
            last = now;
        }
        session.exec(work);
        assert_eq!(renewed(&mut session, month), POOLS, "what was left is done");
        let again = session.rows("SELECT * FROM credit_pools.run_maintenance()");
        assert!(again.iter().all(|row| row.int("processed") == 0), "nothing is due any more: {again:?}");
        let wrong = session.rows(&format!(
            "SELECT customer_id, balance FROM credit_pools.pools
             WHERE balance <> 130 - CASE WHEN substr(customer_id, 2)::int % 100 = 1 THEN 7 ELSE 0 END
                OR granted <> 120 + {place} * 130 + 130 LIMIT 3"
        ));
        assert!(wrong.is_empty(), "month {month}: {wrong:#?}");
    }
    assert!(interrupted >= 5, "only {interrupted} were interrupted");
    assert!(within >= 1, "no blow fell between two batches");
    // Many rows for the planner, and it has not heard of them.
    session.exec("ANALYZE");
    check_invariants(&mut session);
}

/// Starts the work in a session of its own and ends it after a while. What became of the statement.
fn run_and_end(cluster: &Cluster, work: &str, month: usize, end: End, after: Duration) -> Result<(), Fault> {
    let mut session = cluster.session();
    at(&mut session, month);
    let mut other = cluster.session();
    let backend: i64 = session.value("SELECT pg_backend_pid()").parse().expect("a number");
    thread::scope(|scope| {
        let worker = scope.spawn(move || session.try_rows(work).map(|_| ()));
        thread::sleep(after);
        match end {
            End::Kill => {
                cluster.kill(backend);
            }
            End::Terminate => {
                other.rows(&format!("SELECT pg_terminate_backend({backend})"));
            }
            End::Cancel => {
                other.rows(&format!("SELECT pg_cancel_backend({backend})"));
            }
        }
        match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
