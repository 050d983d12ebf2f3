//! Random sequences of calls against a naive model, seeds printed. The model of a pool's rules: the result or SQLSTATE of
//! every call always; the views `pools`, `grants`, `reservations` and `limits` before and after maintenance, and the ledger
//! row by row, every so many steps. Auto-recharge has a model of its own (recharge/). Plans through time are in `renewals`.
//!
//! `CREDIT_POOLS_MODEL_RUNS` (200) sequences of `CREDIT_POOLS_MODEL_STEPS` (500) steps, `CREDIT_POOLS_RECHARGE_RUNS` (60) of
//! as many for auto-recharge. A difference is played again with a comparison after every step, cut down to a short
//! sequence and printed as SQL. `CREDIT_POOLS_TEST_SEED` plays the same sequences again.

mod answers;
mod calls;
mod compare;
mod coverage;
mod holds;
mod naive;
mod play;
mod reads;
mod recharge;
mod reversal;
mod steps;

use coverage::{Counts, POOL_RULES};
use play::{Difference, Game};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::thread;
use std::time::{Duration, Instant};
use steps::{Step, draw};
use support::{Database, Session, broken_invariants, seeded};

const THREADS: usize = 2;
/// Steps between two comparisons of everything: they cost as much as some dozens of calls.
const EVERY: usize = 50;

#[test]
fn the_server_does_what_the_naive_model_does() {
    let runs = number("CREDIT_POOLS_MODEL_RUNS", 200);
    let steps = number("CREDIT_POOLS_MODEL_STEPS", 500);
    let counts = in_threads("model", runs, |seeds| play_all(seeds, steps));
    counts.print("the rules of a pool");
    if runs * steps >= 20_000 {
        counts.check(POOL_RULES, runs / 2);
    }
}

/// Each thread plays a share of the sequences.
fn in_threads(what: &str, runs: usize, play: impl Fn(&[u64]) -> Counts + Sync) -> Counts {
    let begun = Instant::now();
    let (_, mut seeds) = seeded(what);
    let seeds: Vec<u64> = (0..runs).map(|_| seeds.random()).collect();
    let counts = thread::scope(|scope| {
        let shares = seeds.chunks(runs.div_ceil(THREADS).max(1));
        let workers: Vec<_> = shares.map(|share| scope.spawn(|| play(share))).collect();
        let mut counts = Counts::default();
        for worker in workers {
            match worker.join() {
                Ok(more) => counts.add(&more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        counts
    });
    eprintln!("{what}: {runs} sequences in {} s", begun.elapsed().as_secs());
    counts
}

/// In a database of its own: maintenance is for all pools, by the clock of the session that runs it.
fn play_all(seeds: &[u64], steps: usize) -> Counts {
    let database = Database::new();
    let mut session = session(&database);
    let mut all = Counts::default();
    for (run, seed) in seeds.iter().enumerate() {
        let mut random = StdRng::seed_from_u64(*seed);
        let sequence: Vec<Step> = (0..steps).map(|_| draw(&mut random)).collect();
        match Game::new(&mut session, format!("r{run}")).play(&sequence, EVERY) {
            Ok(counts) => all.add(&counts),
            Err(difference) => {
                let first = difference.what.clone();
                let (short, difference) = find(&database, sequence, difference);
                let trail: Vec<String> = difference.trail.iter().map(|sql| format!("{sql};")).collect();
                panic!(
                    "run {run}, step {} of {}: {}\n\n(before it was cut down: {first})\n\n{}",
                    difference.step,
                    short.len(),
                    difference.what,
                    trail.join("\n")
                );
            }
        }
    }
    let broken = broken_invariants(&mut session, true);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    all
}

fn session(database: &Database) -> Session {
    let mut session = database.session();
    session.exec("SET synchronous_commit = off");
    session
}

/// 4850, not 4850.000000: in results, in views and in the ledger, whether or not something is due.
#[test]
fn amounts_have_no_trailing_zeros() {
    let database = Database::new();
    let mut session = database.session();
    for step in [
        "set_config('credit_pools.test_clock', '2026-01-01 00:00+00', false)",
        "credit_pools.define_credit_type(credit_type_id => 't', scale => 4)",
        "credit_pools.open_pool(customer_id => 'c', credit_type_id => 't', overdraft_limit => 10.00)",
        "credit_pools.grant_credits(customer_id => 'c', credit_type_id => 't', amount => 10.50, price => 3.10, price_currency => 'EUR', expires_at => '2026-01-02 00:00+00')",
        "credit_pools.grant_credits(customer_id => 'c', credit_type_id => 't', amount => 100.00)",
        "credit_pools.grant_credits(customer_id => 'c', credit_type_id => 't', amount => 7.0000, effective_at => '2026-01-03 00:00+00')",
        "credit_pools.consume_credits(customer_id => 'c', credit_type_id => 't', amount => 4.2500)",
        "credit_pools.consume_credits(customer_id => 'c', credit_type_id => 't', amount => 0.2500)",
        "credit_pools.consume_credits(customer_id => 'c', credit_type_id => 't', amount => 108.00)",
        "credit_pools.void_grant(customer_id => 'c', grant_id => 3, amount => 1.50)",
    ] {
        let sql = format!("SELECT * FROM {step}");
        check_digits(&mut session, &sql);
    }
    for clock in ["2026-01-01", "2026-01-02", "2026-01-05"] {
        session.exec(&format!("SET credit_pools.test_clock = '{clock} 00:00+00'"));
        for view in ["pools", "grants", "ledger", "usage_events"] {
            check_digits(&mut session, &format!("SELECT * FROM credit_pools.{view}"));
        }
    }
}

fn check_digits(session: &mut Session, sql: &str) {
    for row in session.rows(sql) {
        for column in [
            "amount",
            "balance",
            "remaining",
            "available",
            "consumed",
            "expired",
            "voided",
            "held",
            "debt",
            "granted",
            "restricted",
            "overdraft_limit",
            "next_expiry_amount",
            "credits",
            "credits_consumed",
            "shortfall",
            "balance_before",
            "balance_after",
        ] {
            if row.has(column)
                && let Some(found) = row.opt(column)
            {
                let zeros = found.contains('.') && (found.ends_with('0') || found.ends_with('.'));
                assert!(!zeros, "{column} is {found}: {row:?}\n from {sql}");
            }
        }
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.trim().parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The step that makes the difference, by a comparison after every step; then what is needed for it.
fn find(database: &Database, sequence: Vec<Step>, difference: Difference) -> (Vec<Step>, Difference) {
    let steps = difference.step + 1;
    let difference = match Game::new(&mut session(database), "again".to_owned()).play(&sequence[..steps], 1) {
        Err(exact) => exact,
        // It depends on something else than the sequence: nothing to cut down.
        Ok(_) => return (sequence, difference),
    };
    shrink(database, sequence, difference)
}

/// Leaves out what is not needed for a difference, as long as a minute allows.
fn shrink(database: &Database, sequence: Vec<Step>, difference: Difference) -> (Vec<Step>, Difference) {
    let limit = Instant::now() + Duration::from_secs(60);
    let mut session = session(database);
    let mut best = sequence;
    best.truncate(difference.step + 1);
    let mut worst = difference;
    let mut attempts = 0;
    let mut chunk = best.len() / 2;
    while chunk > 0 {
        let mut from = 0;
        while from < best.len() && Instant::now() < limit {
            let mut candidate = best.clone();
            candidate.drain(from..(from + chunk).min(candidate.len()));
            attempts += 1;
            let result = Game::new(&mut session, format!("s{attempts}")).play(&candidate, 1);
            if result.is_err() {
                // A failed statement may have left a transaction open.
                session = self::session(database);
            }
            match result {
                // The same kind of difference: another one may hide behind it.
                Err(difference) if kind(&difference.what) == kind(&worst.what) => {
                    candidate.truncate(difference.step + 1);
                    best = candidate;
                    worst = difference;
                }
                _ => from += chunk,
            }
        }
        chunk /= 2;
    }
    (best, worst)
}

/// The first words, figures aside.
fn kind(what: &str) -> String {
    what.chars().filter(|c| !c.is_ascii_digit() && *c != '-').take(24).collect()
}
