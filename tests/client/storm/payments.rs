//! Payment workers of every kind: quick, refused, slow, dead, and those that say everything twice.

use crate::record::{Answer, Claim, Did};
use crate::setting::{CUSTOMER, LEASE, Pool, World, cents, in_micros, micros};
use rand::{Rng, rngs::StdRng};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::thread::sleep;
use std::time::Duration;
use support::{Fault, Row, Session};

/// The payment provider: takes money once per recharge, and gives it back.
#[derive(Default)]
pub struct Provider(Mutex<BTreeMap<i64, i128>>);

impl Provider {
    pub fn charged(&self) -> MutexGuard<'_, BTreeMap<i64, i128>> {
        self.0.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    fn charge(&self, claim: &Claim) {
        self.charged().insert(claim.recharge_id, claim.price);
    }

    fn has_charged(&self, claim: &Claim) -> bool {
        self.charged().contains_key(&claim.recharge_id)
    }
}

/// What a worker comes back to after its lease.
struct Late {
    at: i64,
    claim: Claim,
    declines: bool,
}

pub fn worker(world: &World, number: usize, random: &mut StdRng, session: &mut Session) {
    let _watch = world.watch();
    let name = format!("worker-{number}");
    let mut late: Vec<Late> = Vec::new();
    while !world.is_over() {
        let (due, rest) = late.into_iter().partition(|late: &Late| late.at <= micros());
        late = rest;
        for Late { claim, declines, .. } in due {
            world.record().count("answers after the lease");
            if declines {
                decline(world, session, &claim, false, random.random_bool(0.5))
            } else {
                complete(world, session, &claim, "pay")
            };
        }
        if random.random_bool(0.03) {
            die_while_claiming(world, session, &name);
        }
        let claims = claim(world, session, &name, random.random_range(1..4));
        if claims.is_empty() {
            sleep(Duration::from_millis(random.random_range(1..8)));
        }
        for claim in claims {
            sleep(Duration::from_millis(random.random_range(0..12)));
            late.extend(handle(world, random, session, claim));
        }
    }
    // What it was still to answer late, it never does.
    world.record().add("died", late.len());
}

/// Claims for good, and records it.
pub fn claim(world: &World, session: &mut Session, worker: &str, most: i64) -> Vec<Claim> {
    let start = micros();
    let rows = session.rows(&format!(
        "SELECT *, {} AS until FROM credit_pools.claim_recharges(worker => '{worker}', max_count => {most}, lease => '{LEASE} milliseconds')",
        in_micros("lease_expires_at")
    ));
    let end = micros();
    assert!(rows.len() as i64 <= most, "more than asked for: {rows:?}");
    let claims: Vec<Claim> = rows.iter().map(|row| read_claim(row, start, end)).collect();
    world.record().claims.extend(claims.iter().cloned());
    claims
}

fn read_claim(row: &Row, start: i64, end: i64) -> Claim {
    assert_eq!((row.get("customer_id"), row.get("price_currency")), (CUSTOMER, "EUR"));
    let until = row.int("until");
    Claim {
        recharge_id: row.int("recharge_id"),
        pool_id: row.int("pool_id"),
        price: cents(row.get("price")),
        attempts: row.int("attempts"),
        start,
        end,
        at: until - LEASE * 1000,
        until,
    }
}

/// The connection breaks before the claim is committed: it never was.
fn die_while_claiming(world: &World, session: &mut Session, name: &str) {
    session.exec("BEGIN");
    let claimed = session.rows(&format!(
        "SELECT recharge_id FROM credit_pools.claim_recharges(worker => '{name}', max_count => 2, lease => '1 hour')"
    ));
    *session = world.database.session();
    world.record().add("claims lost with their connection", claimed.len());
}

fn handle(world: &World, random: &mut StdRng, session: &mut Session, claim: Claim) -> Option<Late> {
    let count = |what| world.record().count(what);
    let soon_over = |random: &mut StdRng| claim.until + random.random_range(-10_000..50_000);
    let fate = random.random_range(0..100);
    if world.provider.has_charged(&claim) {
        // Whoever had it before has taken the money, and told nobody.
        count("found charged already");
        complete(world, session, &claim, "pay");
        return None;
    }
    match fate {
        0..44 => complete(world, session, &claim, "pay"),
        44..49 => {
            count("said twice");
            complete(world, session, &claim, "pay");
            complete(world, session, &claim, "pay");
        }
        49..54 => {
            complete(world, session, &claim, "pay");
            complete(world, session, &claim, "another");
            decline(world, session, &claim, true, false);
        }
        54..58 => {
            count("answers rolled back");
            session.exec("BEGIN");
            let _ = session.try_call(&complete_call(&claim, "pay"));
            session.exec("ROLLBACK");
            complete(world, session, &claim, "pay");
        }
        58..61 => {
            count("answers rolled back");
            session.exec("BEGIN");
            let _ = session.try_call(&decline_call(&claim, true, false));
            session.exec("ROLLBACK");
            complete(world, session, &claim, "pay");
        }
        61..68 => decline(world, session, &claim, false, false),
        68..72 => decline(world, session, &claim, false, true),
        72..75 => {
            decline(world, session, &claim, false, true);
            decline(world, session, &claim, false, true);
        }
        75..78 => {
            decline(world, session, &claim, true, false);
            if random.random_bool(0.5) {
                count("paid after it was given up");
                complete(world, session, &claim, "pay");
            }
        }
        78..81 => count("died"),
        81..86 => {
            count("died");
            count("died after the charge");
            world.provider.charge(&claim);
        }
        86..94 => return Some(Late { at: soon_over(random), claim, declines: false }),
        _ => return Some(Late { at: soon_over(random), claim, declines: true }),
    }
    None
}

fn complete_call(claim: &Claim, reference: &str) -> String {
    let id = claim.recharge_id;
    format!(
        "complete_recharge(customer_id => '{CUSTOMER}', recharge_id => {id}, payment_reference => '{reference}-{id}')"
    )
}

/// `numbered`: it says which attempt it is, and so may say it twice.
fn decline_call(claim: &Claim, permanent: bool, numbered: bool) -> String {
    let id = claim.recharge_id;
    let attempt = if numbered { format!(", attempt => {}", claim.attempts + 1) } else { String::new() };
    format!(
        "fail_recharge(customer_id => '{CUSTOMER}', recharge_id => {id}, reason => 'declined', permanent => {permanent}{attempt})"
    )
}

/// Takes the money and says so. Where the recharge is over, the money goes back.
pub fn complete(world: &World, session: &mut Session, claim: &Claim, reference: &str) {
    if reference == "pay" {
        world.provider.charge(claim);
    }
    answer(world, claim, || match session.try_call(&complete_call(claim, reference)) {
        Ok(row) => {
            assert_eq!((row.int("pool_id"), row.get("status")), (claim.pool_id, "succeeded"));
            assert!(reference == "pay", "two references for one payment: {row:?}");
            Did::Completed { again: row.flag("is_duplicate") }
        }
        Err(fault) if fault.code == "PC004" && reference != "pay" => Did::Contradicted,
        Err(fault) => {
            let did = closed(&fault, "failed");
            world.provider.charged().remove(&claim.recharge_id);
            did
        }
    });
}

fn decline(world: &World, session: &mut Session, claim: &Claim, permanent: bool, numbered: bool) {
    answer(world, claim, || {
        let sql = format!(
            "SELECT *, {} AS next FROM credit_pools.{}",
            in_micros("next_attempt_at"),
            decline_call(claim, permanent, numbered)
        );
        match session.try_row(&sql) {
            Ok(row) if row.flag("is_duplicate") => {
                assert!(numbered && row.int("attempts") > claim.attempts, "{row:?}");
                Did::DeclinedAgain
            }
            Ok(row) => {
                let next = row.opt("next").map(|_| row.int("next"));
                assert_eq!(row.get("status"), if next.is_some() { "pending" } else { "failed" });
                assert!(next.is_none() || !permanent, "{row:?}");
                Did::Declined { attempts: row.int("attempts"), next }
            }
            Err(fault) => closed(&fault, "succeeded or failed"),
        }
    });
}

fn closed(fault: &Fault, states: &str) -> Did {
    let status = fault.figure("status").unwrap_or_default();
    assert!(fault.code == "PC005" && !status.is_empty() && states.contains(&status), "{fault}");
    Did::Refused
}

fn answer(world: &World, claim: &Claim, act: impl FnOnce() -> Did) {
    let start = micros();
    let did = act();
    let answer = Answer { recharge_id: claim.recharge_id, until: claim.until, start, end: micros(), did };
    world.record().answers.push(answer);
}

/// After the storm: whatever is in flight is paid, also what died with its worker.
pub fn drain(world: &World, session: &mut Session) {
    let flying = "SELECT count(*) FROM credit_pools.recharges WHERE status IN ('pending', 'processing')";
    let limit = micros() + 20_000_000;
    while session.value(flying) != "0" {
        assert!(micros() < limit, "in flight for ever");
        for claim in claim(world, session, "the-last", 100) {
            complete(world, session, &claim, "pay");
        }
        sleep(Duration::from_millis(10));
    }
}

/// The operator: closes breakers now and then, sets a policy anew as it is, or runs maintenance. With all pools in hand, so that what it
/// makes evaluate can be told from what the sessions do.
pub fn operator(world: &World, random: &mut StdRng, session: &mut Session) {
    let _watch = world.watch();
    let pools = format!(
        "SELECT pool_id FROM credit_pools.pool WHERE customer_id = '{CUSTOMER}' ORDER BY pool_id FOR NO KEY UPDATE"
    );
    while !world.is_over() {
        sleep(Duration::from_millis(random.random_range(100..600)));
        let start = micros();
        session.exec("BEGIN");
        session.rows(&pools);
        let before = evaluations(session);
        let reset = (world.setting.is_maintained() || random.random_bool(0.6)).then(|| operation(world, random));
        let asked = match &reset {
            Some((call, covered)) => {
                let row = session.call(call);
                assert_eq!(row.int("pools_covered"), covered.len() as i64, "{row:?} by {call}");
                row.int("recharges_requested")
            }
            None => maintain(world, session),
        };
        let after = evaluations(session);
        if random.random_bool(0.1) {
            session.exec("ROLLBACK");
            continue;
        }
        session.exec("COMMIT");
        let mut record = world.record();
        for (pool_id, sum) in after {
            *record.by_operator.entry(pool_id).or_default() += sum - before.get(&pool_id).copied().unwrap_or(0);
        }
        if let Some((_, covered)) = reset {
            record.count("resets");
            record.add("recharges that a reset asked for", asked as usize);
            record.resets.push(crate::record::Reset { start, end: micros(), covered });
        }
    }
}

/// What the operator does next, and the pools that it is about.
fn operation(world: &World, random: &mut StdRng) -> (String, Vec<i64>) {
    let pools = |wanted: &dyn Fn(&Pool) -> bool| -> Vec<i64> {
        world.pools.iter().filter(|pool| wanted(pool)).map(|pool| pool.pool_id).collect()
    };
    if random.random_bool(0.25) {
        let policy = &world.setting.policies[random.random_range(0..world.setting.policies.len())];
        return (policy.call(), pools(&|pool| std::ptr::eq(world.policy(pool.pool_id), policy)));
    }
    let reset = |resource: String| {
        format!("reset_auto_recharge(customer_id => '{CUSTOMER}', credit_type_id => 'ai-tokens'{resource})")
    };
    match world.pools.get(random.random_range(0..world.pools.len() * 2)) {
        Some(one) if one.resource.is_some() => (reset(one.argument()), vec![one.pool_id]),
        _ => (reset(String::new()), pools(&|pool| world.policy(pool.pool_id).resource.is_none())),
    }
}

/// Maintenance beside everything else: it looks again at pools whose cooldown or period has ended.
pub fn maintainer(world: &World, random: &mut StdRng, session: &mut Session) {
    let _watch = world.watch();
    while world.setting.is_maintained() && !world.is_over() {
        maintain(world, session);
        sleep(Duration::from_millis(random.random_range(0..60)));
    }
}

/// How many pools it looked at again.
fn maintain(world: &World, session: &mut Session) -> i64 {
    let rows = session.rows("SELECT * FROM credit_pools.run_maintenance()");
    let done = |task: &str| rows.iter().find(|row| row.get("task") == task).map_or(0, |row| row.int("processed"));
    assert_eq!(done("failed"), 0, "{rows:?}");
    world.record().add("pools that maintenance looked at again", done("recharges") as usize);
    done("recharges")
}

/// Decisions on record, by pool.
pub fn evaluations(session: &mut Session) -> BTreeMap<i64, i64> {
    let rows = session.rows("SELECT pool_id, sum(evaluations) AS n FROM credit_pools.recharges GROUP BY pool_id");
    rows.iter().map(|row| (row.int("pool_id"), row.int("n"))).collect()
}
