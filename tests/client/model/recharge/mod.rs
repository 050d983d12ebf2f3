//! Auto-recharge under the moving clock against a naive model: policies set and changed, usage, holds, expiry, payments
//! that are claimed, succeed, fail or come late, breakers and resets. The result of every call is compared, and every
//! decision on the way as a row of `recharges`, whose ids are learned in the order of the pool's decisions.

mod compare;
mod play;
mod steps;
mod world;

use crate::coverage::{Counts, RECHARGES};
use crate::{in_threads, kind, number, session};
use play::{Difference, Game};
use rand::{SeedableRng, rngs::StdRng};
use std::time::{Duration, Instant};
use steps::{Setting, Step};
use support::{Database, broken_invariants};

/// Steps between two comparisons of everything.
const EVERY: usize = 50;

#[test]
fn pools_recharge_as_in_the_naive_model() {
    let runs = number("CREDIT_POOLS_RECHARGE_RUNS", 60);
    let steps = number("CREDIT_POOLS_MODEL_STEPS", 500);
    let counts = in_threads("auto-recharge", runs, |seeds| play_all(seeds, steps));
    counts.print("auto-recharge");
    if runs * steps >= 10_000 {
        counts.check(RECHARGES, runs);
        let reasons = ["disabled", "breaker", "pending", "cooldown", "count_limit", "spend_limit"];
        let decisions: Vec<(&str, bool)> = reasons
            .iter()
            .chain(&["cut to the limit", "at once", "paid", "a doubled pause"])
            .map(|word| (*word, false))
            .collect();
        counts.check(&decisions, runs / 2);
    }
}

fn play_all(seeds: &[u64], steps: usize) -> Counts {
    let database = Database::new();
    let mut connection = session(&database);
    let mut all = Counts::default();
    for (run, seed) in seeds.iter().enumerate() {
        let mut random = StdRng::seed_from_u64(*seed);
        let setting = Setting::draw(&mut random);
        let sequence: Vec<Step> = (0..steps).map(|_| steps::draw(&mut random)).collect();
        match Game::new(&mut connection, format!("r{run}"), &setting).play(&sequence, EVERY) {
            Ok(counts) => all.add(&counts),
            Err(difference) => {
                let first = difference.what.clone();
                let (short, difference) = shrink(&database, &setting, sequence, difference);
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
    let broken = broken_invariants(&mut connection, false);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    all
}

/// Leaves out what is not needed for a difference, as long as a minute allows.
fn shrink(
    database: &Database,
    setting: &Setting,
    mut best: Vec<Step>,
    mut worst: Difference,
) -> (Vec<Step>, Difference) {
    let limit = Instant::now() + Duration::from_secs(60);
    best.truncate(worst.step + 1);
    let mut attempts = 0;
    let mut attempt = |candidate: &[Step]| {
        attempts += 1;
        let mut session = session(database);
        Game::new(&mut session, format!("s{attempts}"), setting).play(candidate, 1).err()
    };
    if let Some(exact) = attempt(&best) {
        best.truncate(exact.step + 1);
        worst = exact;
    }
    let mut chunk = best.len() / 2;
    while chunk > 0 {
        let mut from = 0;
        while from < best.len() && Instant::now() < limit {
            let mut candidate = best.clone();
            candidate.drain(from..(from + chunk).min(candidate.len()));
            match attempt(&candidate) {
                Some(difference) if kind(&difference.what) == kind(&worst.what) => {
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
