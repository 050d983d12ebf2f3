//! Random sequences of calls against a naive model of the pool rules, compared after every step: results or SQLSTATEs,
//! the views `pools` and `grants` before and after maintenance, and the ledger row by row.
//!
//! `CREDIT_POOLS_MODEL_RUNS` (20) sequences of `CREDIT_POOLS_MODEL_STEPS` (250) steps. A difference is cut down to a
//! short sequence and printed as SQL. `CREDIT_POOLS_TEST_SEED` plays the same sequences again.

mod calls;
mod naive;
mod play;

use calls::{Step, draw};
use play::{Difference, Game};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::{Duration, Instant};
use support::{Database, Session, seeded};

#[test]
fn the_server_does_what_the_naive_model_does() {
    let runs = number("CREDIT_POOLS_MODEL_RUNS", 20);
    let steps = number("CREDIT_POOLS_MODEL_STEPS", 250);
    let (_, mut seeds) = seeded("model");
    let database = Database::new();
    let mut session = database.session();
    session.exec("SET synchronous_commit = off");
    for run in 0..runs {
        let mut random = StdRng::seed_from_u64(seeds.random());
        let sequence: Vec<Step> = (0..steps).map(|_| draw(&mut random)).collect();
        if let Err(difference) = Game::new(&mut session, format!("r{run}")).play(&sequence) {
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
                Err(difference) => {
                    candidate.truncate(difference.step + 1);
                    best = candidate;
                    worst = difference;
                    // A failed statement may have left a transaction open.
                    session = database.session();
                    session.exec("SET synchronous_commit = off");
                }
                Ok(()) => from += chunk,
            }
        }
        chunk /= 2;
    }
    (best, worst)
}
