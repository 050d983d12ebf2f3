//! Random sequences of calls against a naive model of the pool rules, compared after every step: results or SQLSTATEs,
//! the views `pools` and `grants` before and after maintenance, and the ledger row by row.
//!
//! `CREDIT_POOLS_MODEL_RUNS` (12) sequences of `CREDIT_POOLS_MODEL_STEPS` (250) steps. A difference is cut down to a
//! short sequence and printed as SQL. `CREDIT_POOLS_TEST_SEED` plays the same sequences again.

mod calls;
mod holds;
mod naive;
mod play;
mod reversal;

use calls::{Step, draw};
use play::{Counts, Difference, Game};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::{Duration, Instant};
use support::{Database, Session, seeded};

#[test]
fn the_server_does_what_the_naive_model_does() {
    let runs = number("CREDIT_POOLS_MODEL_RUNS", 12);
    let steps = number("CREDIT_POOLS_MODEL_STEPS", 250);
    let (_, mut seeds) = seeded("model");
    let database = Database::new();
    let mut session = database.session();
    session.exec("SET synchronous_commit = off");
    let mut all = Counts::new();
    for run in 0..runs {
        let mut random = StdRng::seed_from_u64(seeds.random());
        let sequence: Vec<Step> = (0..steps).map(|_| draw(&mut random)).collect();
        let difference = match Game::new(&mut session, format!("r{run}")).play(&sequence) {
            Ok(counts) => {
                for (name, (worked, refused)) in counts {
                    let sum = all.entry(name).or_default();
                    *sum = (sum.0 + worked, sum.1 + refused);
                }
                continue;
            }
            Err(difference) => difference,
        };
        let first = difference.what.clone();
        let (short, difference) = shrink(&database, sequence, difference);
        let trail: Vec<String> = difference.trail.iter().map(|sql| format!("{sql};")).collect();
        panic!(
            "run {run}, step {} of {}: {}\n\n(before it was cut down: {first})\n\n{}",
            difference.step,
            short.len(),
            difference.what,
            trail.join("\n")
        );
    }
    eprintln!("calls that worked, and that were refused: {all:?}");
    // Else these sequences say little.
    let rare: Vec<&str> = all.iter().filter(|(_, (worked, _))| 2 * *worked < runs).map(|(name, _)| *name).collect();
    assert!(all.len() == 17 && (rare.is_empty() || steps < 200), "hardly ever worked: {rare:?} of {all:?}");
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

/// Leaves out what is not needed for a difference, as long as a minute allows.
fn shrink(database: &Database, sequence: Vec<Step>, difference: Difference) -> (Vec<Step>, Difference) {
    let limit = Instant::now() + Duration::from_secs(60);
    let mut session: Session = database.session();
    session.exec("SET synchronous_commit = off");
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
            match Game::new(&mut session, format!("s{attempts}")).play(&candidate) {
                // The same kind of difference: another one may hide behind it.
                Err(difference) if difference.what.get(..12) == worst.what.get(..12) => {
                    candidate.truncate(difference.step + 1);
                    best = candidate;
                    worst = difference;
                    // A failed statement may have left a transaction open.
                    session = database.session();
                    session.exec("SET synchronous_commit = off");
                }
                _ => from += chunk,
            }
        }
        chunk /= 2;
    }
    (best, worst)
}
