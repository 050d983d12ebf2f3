//! A storm on auto-recharge: 32 sessions use up ten pools of one customer, three payment workers refuse, die, come late
//! and say things twice, and an operator closes breakers in between. Whatever happens, each promise of the contract's
//! section 6 holds: seen in one snapshot while it goes on, and afterwards in the tables and in what the workers
//! wrote down themselves.
//!
//! `CREDIT_POOLS_STORM_SECONDS` (60) is the length of the first storm; the others take a part of it.

#[path = "events/alerts.rs"]
mod alerts;
#[path = "events/causes.rs"]
mod causes;
#[path = "storm/payments.rs"]
mod payments;
#[path = "storm/record.rs"]
mod record;
#[path = "storm/sessions.rs"]
mod sessions;
#[path = "storm/setting.rs"]
mod setting;
#[path = "storm/tables.rs"]
mod tables;

use rand::{SeedableRng, rngs::StdRng};
use record::Did;
use setting::{Policy, Setting, World};
use support::{Session, at_once, seeded};

const WORKERS: usize = 3;

const WIDE: Policy = Policy {
    resource: None,
    threshold: 100,
    size: ("recharge_amount", 90),
    price_per_credit: "0.037",
    max_spend: "100.01",
    max_count: 60,
    period: 3000,
    cooldown: 150,
    backoff: 80,
    max_failures: 3,
    settlement: "on_payment",
};

/// What a storm shows that comes to the limit of the money, or of the number.
const MONEY: &[&str] = &["skipped: spend_limit", "amounts cut to the limit", "periods spent to the cent"];
const NUMBER: &[&str] = &["skipped: count_limit", "periods with their whole number"];

/// More than the threshold and any debt; the first storm's recharges often leave a pool as low as it was.
const FULL: (&str, i64) = ("target_balance", 260);

#[test]
fn of_payments() {
    storm(Setting { name: "payments", share: 100, sessions: 32, policies: vec![WIDE], reached: vec![MONEY] });
}

#[test]
fn of_recharges_that_settle_at_once() {
    let policy =
        Policy { settlement: "immediate", max_spend: "500.00", max_count: 14, period: 1500, cooldown: 60, ..WIDE };
    storm(Setting { name: "settled at once", share: 25, sessions: 16, policies: vec![policy], reached: vec![NUMBER] });
}

/// One pool has a policy of its own, and so a budget, a pace and a back-off of its own.
#[test]
fn of_two_policies() {
    let own = Policy {
        resource: Some("ws-3"),
        threshold: 150,
        size: ("recharge_amount", 120),
        price_per_credit: "0.11",
        max_spend: "30.01",
        max_count: 20,
        period: 2000,
        cooldown: 90,
        backoff: 50,
        max_failures: 2,
        settlement: "on_payment",
    };
    let wide = Policy { size: FULL, max_spend: "500.00", max_count: 18, ..WIDE };
    storm(Setting {
        name: "two policies",
        share: 35,
        sessions: 16,
        policies: vec![wide, own],
        reached: vec![MONEY, NUMBER],
    });
}

fn storm(setting: Setting) {
    let (seed, _) = seeded(&format!("storm: {}", setting.name));
    let (world, mut session) = World::new(setting, seed);
    let hammers = world.setting.sessions;
    at_once(&world.database, hammers + WORKERS + 3, |number, session| {
        let mut random = StdRng::seed_from_u64(seed.wrapping_mul(1000) + number as u64);
        session.exec("SET synchronous_commit = off");
        match number.checked_sub(hammers) {
            None => sessions::hammer(&world, &mut random, session),
            Some(worker) if worker < WORKERS => payments::worker(&world, worker, &mut random, session),
            Some(WORKERS) => payments::operator(&world, &mut random, session),
            Some(4) => sessions::sampler(&world, session),
            Some(_) => payments::maintainer(&world, &mut random, session),
        }
    });
    payments::drain(&world, &mut session);
    eprintln!("storm: {}", world.setting.name);
    record::check(&world, &mut session);
    tables::check(&world, &mut session);
    tables::count(&world, &mut session);
    report(&world, &mut session);
}

/// The table of what happened; it fails where that was a calm.
fn report(world: &World, session: &mut Session) {
    let mut record = world.record();
    let did =
        |record: &record::Record, wanted: fn(&Did) -> bool| record.answers.iter().filter(|a| wanted(&a.did)).count();
    let late = record.answers.iter().filter(|a| a.start > a.until).cloned().collect::<Vec<_>>();
    let counts: [(&'static str, usize); 11] = [
        ("claims", record.claims.len()),
        ("completed", did(&record, |did| *did == Did::Completed { again: false })),
        ("completed again", did(&record, |did| *did == Did::Completed { again: true })),
        ("completed with another reference", did(&record, |did| *did == Did::Contradicted)),
        ("declined, to be tried again", did(&record, |did| matches!(did, Did::Declined { next: Some(_), .. }))),
        ("declined for good", did(&record, |did| matches!(did, Did::Declined { next: None, .. }))),
        ("declined again", did(&record, |did| *did == Did::DeclinedAgain)),
        ("answers refused, as it was over", did(&record, |did| *did == Did::Refused)),
        ("completed late", late.iter().filter(|a| a.did == Did::Completed { again: false }).count()),
        ("declined late", late.iter().filter(|a| matches!(a.did, Did::Declined { .. })).count()),
        ("tried again", record.claims.iter().filter(|claim| claim.attempts > 0).count()),
    ];
    for (what, number) in counts {
        record.add(what, number);
    }
    for (kind, number) in causes::kinds(session) {
        eprintln!("  {number:>8}  events {kind}");
    }
    for (what, number) in &record.counts {
        eprintln!("  {number:>8}  {what}");
    }
    let mut expected = vec![
        "calls or transactions",
        "refused usage",
        "transactions rolled back",
        "samples",
        "resets",
        "skipped: cooldown",
        "ledger rows that settle debt",
        "marks of limits that were told",
        "pools that maintenance looked at again",
    ];
    expected.extend(world.setting.reached.iter().copied().flatten().copied());
    if !world.setting.is_immediate() {
        expected.extend([
            "completed again",
            "completed with another reference",
            "declined, to be tried again",
            "declined for good",
            "answers refused, as it was over",
            "completed late",
            "declined late",
            "tried again",
            "died",
            "died after the charge",
            "claims lost with their connection",
            "answers rolled back",
            "leases that ran out and were taken over",
            "found charged already",
            "paid after it was given up",
            "declined again",
            "recharges with three attempts",
            "skipped: breaker",
            "skipped: pending",
            "recharges that a reset asked for",
        ]);
    }
    if world.seconds < 12 {
        eprintln!("  {} seconds are too few to ask for everything", world.seconds);
        return;
    }
    let calm: Vec<&str> = expected.into_iter().filter(|what| record.counts.get(what).is_none_or(|n| *n == 0)).collect();
    assert!(calm.is_empty(), "a calm, not a storm (seed {}): no {calm:?}", world.seed);
}
