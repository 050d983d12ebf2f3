//! Random plans and random calls through time against a naive model of plans that renew, roll over and end: after
//! every call the views, now and then what reads say before maintenance against what it books, and `balance_at` for
//! instants that were looked at before.
//!
//! `CREDIT_POOLS_RENEWAL_RUNS` (300) cases of `CREDIT_POOLS_RENEWAL_STEPS` (40) steps. A difference is cut down to a
//! short sequence and printed as SQL. `CREDIT_POOLS_TEST_SEED` plays the same cases again.

mod calls;
mod play;
mod world;

use calls::{Case, FUNCTIONS, Step};
use play::{Difference, Game};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};
use support::{Database, Session, broken_invariants, seeded};

const THREADS: usize = 2;

#[test]
fn plans_through_time_are_as_in_the_naive_model() {
    let runs = number("CREDIT_POOLS_RENEWAL_RUNS", 300);
    let steps = number("CREDIT_POOLS_RENEWAL_STEPS", 40);
    let (_, mut seeds) = seeded("renewals");
    let seeds: Vec<u64> = (0..runs).map(|_| seeds.random()).collect();
    let shares: Vec<&[u64]> = seeds.chunks(runs.div_ceil(THREADS).max(1)).collect();
    let counts = thread::scope(|scope| {
        let workers: Vec<_> = shares.iter().map(|share| scope.spawn(|| play_all(share, steps))).collect();
        let mut counts = BTreeMap::new();
        for worker in workers {
            match worker.join() {
                Ok(more) => more.iter().for_each(|(what, count)| *counts.entry(*what).or_insert(0) += count),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        counts
    });
    eprintln!("called and compared: {counts:#?}");
    if runs >= 100 {
        let functions = FUNCTIONS.iter().map(|(function, _)| *function);
        for what in ["reads", "past", "past, late", "ahead"].into_iter().chain(functions) {
            // A type is archived once in a case at most.
            let least = if what == "archive_credit_type" { runs / 100 } else { runs / 10 };
            assert!(counts.get(what).is_some_and(|count| *count >= least), "{what} hardly ever worked: {counts:?}");
        }
    }
}

/// Each thread has a database of its own: maintenance is for all pools, by the clock of the session that runs it.
fn play_all(seeds: &[u64], steps: usize) -> BTreeMap<&'static str, usize> {
    let database = Database::new();
    let mut sessions = sessions(&database);
    let mut counts = BTreeMap::new();
    for (run, seed) in seeds.iter().enumerate() {
        let case = calls::draw(&mut StdRng::seed_from_u64(*seed), steps);
        match Game::new(&mut sessions, format!("r{run}"), &case).play(&case) {
            Ok(more) => more.iter().for_each(|(what, count)| *counts.entry(*what).or_insert(0) += count),
            Err(difference) => {
                let first = difference.what.clone();
                let (short, difference) = shrink(&database, case, difference);
                let trail: Vec<String> = difference.trail.iter().map(|sql| format!("{sql};")).collect();
                panic!(
                    "run {run}, step {} of {}: {}\n\n(before it was cut down: {first})\n\n{}",
                    difference.step,
                    short.steps.len(),
                    difference.what,
                    trail.join("\n")
                );
            }
        }
    }
    let broken = broken_invariants(&mut sessions[0], true);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    counts
}

fn sessions(database: &Database) -> [Session; 2] {
    [(); 2].map(|()| {
        let mut session = database.session();
        session.exec("SET synchronous_commit = off");
        session
    })
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.trim().parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Leaves out steps and entries that are not needed for a difference, as long as a minute allows.
fn shrink(database: &Database, case: Case, difference: Difference) -> (Case, Difference) {
    let limit = Instant::now() + Duration::from_secs(60);
    let mut attempts = 0;
    let mut best = case;
    best.steps.truncate(difference.step + 1);
    let mut worst = difference;
    let mut sessions = sessions(database);
    let mut attempt = |candidate: Case, best: &mut Case, worst: &mut Difference| {
        attempts += 1;
        match Game::new(&mut sessions, format!("s{attempts}"), &candidate).play(&candidate) {
            // The same kind of difference: another one may hide behind it.
            Err(difference) if kind(&difference) == kind(worst) => {
                *best = candidate;
                best.steps.truncate(difference.step + 1);
                *worst = difference;
                // A failed statement may have left a transaction open.
                sessions = self::sessions(database);
                true
            }
            Err(_) => {
                sessions = self::sessions(database);
                false
            }
            Ok(_) => false,
        }
    };
    loop {
        let size = best.steps.len();
        let mut chunk = size.div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            while from < best.steps.len() && Instant::now() < limit {
                let mut candidate = best.clone();
                candidate.steps.drain(from..(from + chunk).min(candidate.steps.len()));
                if !attempt(candidate, &mut best, &mut worst) {
                    from += chunk;
                }
            }
            chunk /= 2;
        }
        for plan in 0..best.plans.len() {
            while best.plans[plan].entries.len() > 1 && Instant::now() < limit {
                let mut candidate = best.clone();
                candidate.plans[plan].entries.pop();
                let gone = candidate.plans[plan].entries.len();
                candidate.steps.retain(
                    |step| !matches!(step, Step::Redefine { plan: of, entry, .. } if (*of, *entry) == (plan, gone)),
                );
                if !attempt(candidate, &mut best, &mut worst) {
                    break;
                }
            }
        }
        if best.steps.len() == size || Instant::now() >= limit {
            return (best, worst);
        }
    }
}

/// The first words, figures aside.
fn kind(difference: &Difference) -> String {
    difference.what.chars().filter(|c| !c.is_ascii_digit()).take(24).collect()
}
