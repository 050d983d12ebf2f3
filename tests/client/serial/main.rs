//! Sixteen sessions call at random at the same pools. What came of it is what some order of the calls gives, one after the
//! other: the one that the ledgers tell by `seq`. In that order all calls are played again in the naive model of `model`,
//! and every result, every ledger row and the state at the end are compared. What was acknowledged is there once, what was
//! refused or rolled back left nothing.
//!
//! `CREDIT_POOLS_SERIAL_SECONDS` (8) is how long they call. `CREDIT_POOLS_TEST_SEED` draws the same calls again, though
//! they may meet in another way.

mod calls;
mod checks;
mod history;
// The model has more than is called here.
#[allow(dead_code)]
#[path = "../model/holds.rs"]
mod holds;
#[allow(dead_code)]
#[path = "../model/naive.rs"]
mod naive;
mod replay;
#[allow(dead_code)]
#[path = "../model/reversal.rs"]
mod reversal;
mod setting;
#[allow(dead_code)]
#[path = "../model/recharge/world.rs"]
mod world;

use calls::{Answer, Call, Known, Record};
use history::History;
use rand::{Rng, SeedableRng, rngs::StdRng};
use replay::Replay;
use setting::{Setting, set_clock};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{Database, Session, at_once, check_invariants, seeded};

const SESSIONS: usize = 16;
/// The clock stands while they call, and moves between: then grants expire and holds time out, booked by whoever comes
/// first.
const MINUTES: [i64; 4] = [0, 90, 200, 900];

#[test]
fn what_sixteen_sessions_did_is_what_one_could_have_done() {
    let seconds = std::env::var("CREDIT_POOLS_SERIAL_SECONDS").map_or(8, |text| text.parse().expect("seconds"));
    let (seed, _) = seeded("serial");
    let database = Database::new();
    let mut session = database.session();
    let mut setting = Setting::make(&mut session);
    let known = Mutex::new(Known::default());
    let numbers = AtomicUsize::new(0);
    let mut records: Vec<Record> = Vec::new();
    for (phase, minute) in MINUTES.into_iter().enumerate() {
        let until = Instant::now() + Duration::from_secs(seconds) / MINUTES.len() as u32;
        let parts = at_once(&database, SESSIONS, |number, session| {
            let seed = seed.wrapping_mul(1000) + (phase * SESSIONS + number) as u64;
            hammer(session, &mut StdRng::seed_from_u64(seed), minute, until, &known, &numbers)
        });
        records.extend(parts.into_iter().flatten());
    }
    records.sort_by_key(|record| record.number);
    let last = MINUTES[MINUTES.len() - 1];
    set_clock(&mut session, last);

    let history = History::read(&mut session, &setting, &records);
    checks::acknowledged_once(&mut session, &records, &history);
    checks::refusals(&setting, &records, &history);
    checks::without_rows(&setting, &records, &history);
    let by_number: HashMap<usize, &Record> = records.iter().map(|record| (record.number, record)).collect();
    for number in &history.order {
        Replay::call(&mut setting, &history, by_number[number]);
    }
    replay::compare_end(&mut session, &setting, last, &replay::closed_empty(&records, &history));
    check_invariants(&mut session);
    checks::report(&records, &history);
}

fn hammer(
    session: &mut Session,
    random: &mut StdRng,
    minute: i64,
    until: Instant,
    known: &Mutex<Known>,
    numbers: &AtomicUsize,
) -> Vec<Record> {
    session.exec("SET synchronous_commit = off");
    set_clock(session, minute);
    let mut records = Vec::new();
    while Instant::now() < until {
        let call = calls::draw(random, known);
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let record = call.make(number, minute, random.random_bool(0.08), session);
        note(&record, known);
        records.push(record);
    }
    records
}

/// What others may settle, void or reverse.
fn note(record: &Record, known: &Mutex<Known>) {
    let Answer::Rows(rows) = &record.answer else { return };
    let mut known = known.lock().unwrap_or_else(|poison| poison.into_inner());
    match &record.call {
        Call::Usage(usage) => known.usages.push((usage.place.customer, rows[0].int("usage_id"))),
        Call::Batch { usages, .. } => {
            let good = usages.iter().zip(rows).filter(|(_, row)| row.opt("error_code").is_none());
            known.usages.extend(good.map(|(usage, row)| (usage.place.customer, row.int("usage_id"))));
        }
        Call::Grant { place, .. } => known.grants.push((place.customer, rows[0].int("grant_id"))),
        Call::Reserve { place, id, .. } => known.holds.push((place.customer, id.clone())),
        Call::Settle { customer, .. } => known.usages.push((*customer, rows[0].int("usage_id"))),
        _ => {}
    }
}
