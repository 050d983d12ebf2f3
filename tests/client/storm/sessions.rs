//! The sessions that use up the pools, and the one that watches.

use crate::setting::{CUSTOMER, Pool, World};
use rand::{Rng, rngs::StdRng};
use std::thread::sleep;
use std::time::Duration;
use support::{Fault, Row, Session, units};

/// What a session did, as far as it is committed.
#[derive(Default)]
struct Effect {
    /// Millionths of a credit.
    consumed: i128,
    granted: Vec<(usize, i64)>,
}

pub fn hammer(world: &World, random: &mut StdRng, session: &mut Session) {
    let _watch = world.watch();
    let mut own: Vec<(usize, i64)> = Vec::new();
    let mut consumed = 0;
    while !world.is_over() {
        let place = random.random_range(0..world.pools.len());
        let many = random.random_bool(0.08);
        let rolled_back = many && random.random_bool(0.5);
        let mut effect = Effect::default();
        let outcome = if many {
            // One pool: a transaction over several could meet another in a deadlock, by the application's fault.
            session.exec("BEGIN");
            transaction(world, random, session, place, &mut own, &mut effect)
        } else {
            one(world, random, session, place, &mut own, &mut effect)
        };
        if many {
            session.exec(if rolled_back || outcome.is_err() { "ROLLBACK" } else { "COMMIT" });
        }
        let mut record = world.record();
        match outcome {
            Err(fault) => {
                assert_eq!(fault.code, "PC001", "{fault}");
                record.count("refused usage");
            }
            Ok(()) if rolled_back => record.count("transactions rolled back"),
            Ok(()) => {
                record.count("calls or transactions");
                drop(record);
                consumed += effect.consumed;
                own.extend(effect.granted);
            }
        }
        if random.random_bool(0.3) {
            sleep(Duration::from_millis(random.random_range(0..30)));
        }
    }
    world.record().consumed += consumed;
}

fn transaction(
    world: &World,
    random: &mut StdRng,
    session: &mut Session,
    place: usize,
    own: &mut Vec<(usize, i64)>,
    effect: &mut Effect,
) -> Result<(), Fault> {
    for _ in 0..random.random_range(1..4) {
        if random.random_bool(0.3) {
            session.exec("SAVEPOINT s");
            let _ = one(world, random, session, place, &mut own.clone(), &mut Effect::default());
            session.exec("ROLLBACK TO s");
        }
        one(world, random, session, place, own, effect)?;
    }
    if random.random_bool(0.3) {
        sleep(Duration::from_millis(random.random_range(0..20)));
    }
    Ok(())
}

/// One call on one pool. Grants are voided once only, so that none is gone when a rolled back transaction has voided it.
fn one(
    world: &World,
    random: &mut StdRng,
    session: &mut Session,
    place: usize,
    own: &mut Vec<(usize, i64)>,
    effect: &mut Effect,
) -> Result<(), Fault> {
    let pool = &world.pools[place];
    let scope = format!("customer_id => '{CUSTOMER}'{}", pool.argument());
    let amount = amount(world, random);
    let call = match random.random_range(0..100) {
        0..60 => format!(
            "consume_credits({scope}, credit_type_id => 'ai-tokens', amount => {amount}, on_insufficient => 'cap')"
        ),
        60..72 => format!("consume_credits({scope}, credit_type_id => 'ai-tokens', amount => {amount})"),
        72..90 => format!(
            "report_usage({scope}, feature_id => 'feature-ai-tokens', value => {amount}, on_insufficient => 'cap')"
        ),
        90..95 => {
            let row = session
                .try_call(&format!("grant_credits({scope}, credit_type_id => 'ai-tokens', amount => {amount})"))?;
            effect.granted.push((place, row.int("grant_id")));
            return Ok(());
        }
        95..98 => {
            let Some(at) = own.iter().position(|(of, _)| *of == place) else { return Ok(()) };
            return void(session, own.swap_remove(at).1).map(drop);
        }
        _ => {
            // What a recharge brought may be taken back as well.
            return match newest_recharge(session, pool) {
                Some(grant_id) => void(session, grant_id).map(drop),
                None => Ok(()),
            };
        }
    };
    let row = session.try_call(&call)?;
    effect.consumed += units(row.get("credits_consumed"), 6);
    Ok(())
}

fn void(session: &mut Session, grant_id: i64) -> Result<Row, Fault> {
    session.try_call(&format!("void_grant(customer_id => '{CUSTOMER}', grant_id => {grant_id})"))
}

fn newest_recharge(session: &mut Session, pool: &Pool) -> Option<i64> {
    let rows = session.rows(&format!(
        "SELECT grant_id FROM credit_pools.recharges WHERE customer_id = '{CUSTOMER}' AND pool_id = {} AND status = 'succeeded'
         ORDER BY recharge_id DESC LIMIT 1",
        pool.pool_id
    ));
    rows.first().map(|row| row.int("grant_id"))
}

/// Small and large by turns: small ones make many cheap recharges and come to the limit of their number, large ones
/// make dear ones and come to the limit of the money.
fn amount(world: &World, random: &mut StdRng) -> i64 {
    let period = world.setting.policies[0].period * 1000;
    if crate::setting::micros() / period % 2 == 0 { random.random_range(1..12) } else { random.random_range(20..80) }
}

/// Looks at everything at once, all the time: one statement sees one instant.
pub fn sampler(world: &World, session: &mut Session) {
    let _watch = world.watch();
    let periods: Vec<String> = world
        .setting
        .policies
        .iter()
        .map(|policy| {
            let resource = policy.resource.map_or("NULL".to_owned(), support::text);
            format!("({resource}, interval '{} milliseconds')", policy.period)
        })
        .collect();
    let sql = format!(
        "WITH periods (resource_id, period) AS (VALUES {}),
         asked AS (
           SELECT r.pool_id, r.status, r.price, r.created_at, r.next_attempt_at, p.resource_id AS policy
           FROM credit_pools.recharges r
           JOIN periods p ON p.resource_id IS NOT DISTINCT FROM
                (SELECT o.resource_id FROM periods o WHERE o.resource_id = r.resource_id)
           WHERE r.status IN ('pending', 'processing', 'succeeded')),
         spending AS (
           SELECT p.resource_id, w.start, sum(a.price) AS spent, count(*) AS n FROM periods p
           JOIN asked a ON a.policy IS NOT DISTINCT FROM p.resource_id
           CROSS JOIN LATERAL (SELECT date_bin(p.period, a.created_at, 'epoch') AS start) w GROUP BY 1, 2),
         policies AS (
           SELECT a.*, date_bin(p.period, credit_pools.clock(), 'epoch') AS start FROM credit_pools.auto_recharge_policies a
           JOIN periods p ON p.resource_id IS NOT DISTINCT FROM a.resource_id)
         SELECT 'two in flight' AS what, pool_id::text AS more FROM asked WHERE status <> 'succeeded' GROUP BY pool_id HAVING count(*) > 1
         UNION ALL
         SELECT 'above a limit', s::text FROM spending s JOIN policies p ON p.resource_id IS NOT DISTINCT FROM s.resource_id
         WHERE s.spent > p.max_spend OR s.n > p.max_count
         UNION ALL
         SELECT 'in flight although the breaker is open', a.pool_id::text FROM asked a JOIN credit_pools.pool p USING (pool_id)
         WHERE a.status <> 'succeeded' AND p.breaker_opened_at IS NOT NULL
         UNION ALL
         SELECT 'counted ' || coalesce(p.spent_in_period::text, 'nothing'), coalesce(s::text, 'nothing')
         FROM policies p LEFT JOIN spending s ON s.resource_id IS NOT DISTINCT FROM p.resource_id AND s.start = p.start
         WHERE p.spent_in_period <> coalesce(s.spent, 0)",
        periods.join(", ")
    );
    let full = format!("SELECT count(*) FROM ({sql}) x");
    assert_eq!(session.value(&full), "0", "before it begins");
    while !world.is_over() {
        let wrong = session.rows(&sql);
        assert!(wrong.is_empty(), "seen by the sampler, seed {}: {wrong:#?}", world.seed);
        world.record().count("samples");
        sleep(Duration::from_millis(15));
    }
}
