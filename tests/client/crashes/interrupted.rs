//! Statements that end in the middle, by whatever: an error that the contract does not have, and nothing of the call is
//! there. The same call with the same key is then a first call.

use rand::Rng;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use support::{Database, Fault, Session, TYPE, check_invariants, digest, seeded};

/// Calls that may wait for the pool of c1 and ws-a, each with the numbers that make it another call.
const ON_THE_POOL: &[&str] = &[
    "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 3, idempotency_key => 'k-{n}')",
    "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-search', value => {n}, update_behavior => 'set', idempotency_key => 'set-{n}')",
    "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 3, idempotency_key => 'c-{n}')",
    "report_usage_batch((SELECT jsonb_agg(jsonb_build_object('customer_id', 'c1', 'resource_id', CASE WHEN i % 2 = 0 THEN 'ws-a' ELSE 'ws-b' END, 'feature_id', 'feature-ai-tokens', 'value', 1, 'idempotency_key', 'b-{n}-' || i)) FROM generate_series(1, 60) i))",
    "report_usage_batch((SELECT jsonb_agg(jsonb_build_object('customer_id', 'c1', 'resource_id', 'ws-a', 'feature_id', CASE WHEN i % 20 = 0 THEN 'none' ELSE 'feature-ai-tokens' END, 'value', 1, 'idempotency_key', 'p-{n}-' || i)) FROM generate_series(1, 60) i), atomic => false)",
    "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 100, idempotency_key => 'g-{n}')",
    "void_grant(customer_id => 'c1', grant_id => {grant}, amount => 1, idempotency_key => 'v-{n}')",
    "update_grant(customer_id => 'c1', grant_id => {grant}, display_name => 'name {n}', idempotency_key => 'u-{n}')",
    "reverse_usage(customer_id => 'c1', usage_id => {usage}, credits => 1, idempotency_key => 'r-{n}')",
    "transfer_credits(customer_id => 'c1', credit_type_id => 'ai-tokens', amount => 2, from_resource_id => 'ws-b', to_resource_id => 'ws-a', idempotency_key => 't-{n}')",
    "transfer_credits(customer_id => 'c1', credit_type_id => 'ai-tokens', amount => 1, from_resource_id => 'ws-a', to_resource_id => NULL, idempotency_key => 't2-{n}')",
    "reserve_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5, reservation_id => 'h-{n}')",
    "settle_reservation(customer_id => 'c1', reservation_id => 'open', amount => 1, final => false, idempotency_key => 's-{n}')",
    "extend_reservation(customer_id => 'c1', reservation_id => 'open', ttl => '{n} minutes')",
    "set_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', overdraft_limit => {n})",
    "set_limit(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1000000{n}, per => '1 day')",
    "set_auto_recharge(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', threshold => {n}, recharge_amount => 50, max_spend => 100, price_per_credit => 0.01, price_currency => 'EUR')",
    "set_quantity(customer_id => 'c1', subscription_id => 'sub-a', feature_id => 'feature-ai-tokens', quantity => {n}, idempotency_key => 'q-{n}')",
    "provision_subscription(customer_id => 'c1', plan_id => '{plan}', resource_id => 'ws-a', subscription_id => 'sub-a', idempotency_key => 'ps-{n}')",
];

/// And those that may not.
const ELSEWHERE: &[&str] = &[
    "provision_subscription(customer_id => 'n{n}', plan_id => 'plan-basic', resource_id => 'new', subscription_id => 'sub-{n}', quantities => '{\"feature-ai-tokens\": 3}', idempotency_key => 'pn-{n}')",
    "open_pool(customer_id => 'o{n}', resource_id => 'ws-{n}', credit_type_id => 'ai-tokens')",
    "define_rate(feature_id => 'feature-search', credit_type_id => 'ai-tokens', plan_id => 'plan-pro', formula => 'value * {n}')",
    "define_plan_credits(plan_id => 'plan-pro', credit_type_id => 'ai-tokens', entry_id => 'e-{n}', amount => 5)",
    r#"apply_catalog('{"credit_types": [{"credit_type_id": "t{n}", "scale": 2}], "features": [{"feature_id": "f{n}"}], "plans": [{"plan_id": "p{n}"}], "rates": [{"feature_id": "f{n}", "credit_type_id": "t{n}", "credits_per_unit": 1, "plan_id": "p{n}"}]}')"#,
    "set_balance_alerts(customer_id => 'c1', credit_type_id => 'cents', thresholds => '{{n}}')",
    "estimate_usage(customer_id => 'c1', resource_id => 'ws-b', feature_id => 'feature-ai-tokens', value => {n})",
    "run_maintenance()",
];

struct World {
    database: Database,
    session: Session,
    grant: String,
    usage: String,
    number: usize,
}

impl World {
    fn new() -> Self {
        let database = Database::with_catalogue();
        let mut session = database.session();
        session.call("define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 10, quantity_feature_id => 'feature-ai-tokens')");
        for (customer, resource) in [("c1", "ws-a"), ("c1", "ws-b"), ("c2", "ws-a")] {
            let scope = format!("customer_id => '{customer}', resource_id => '{resource}'");
            let id = if customer == "c1" { format!("sub-{}", &resource[3..]) } else { "sub-c2".to_owned() };
            session
                .call(&format!("provision_subscription({scope}, plan_id => 'plan-basic', subscription_id => '{id}')"));
            for part in 1..=5 {
                session.call(&format!("grant_credits({scope}, credit_type_id => 'ai-tokens', amount => {part}00000)"));
            }
        }
        session.call("open_pool(customer_id => 'c1', credit_type_id => 'ai-tokens')");
        session.call("reserve_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5000, reservation_id => 'open')");
        let usage = session.call("consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5000)");
        let usage = usage.get("usage_id").to_owned();
        let grant = session
            .value("SELECT max(grant_id) FROM credit_pools.grants WHERE customer_id = 'c1' AND resource_id = 'ws-a'");
        World { database, session, grant, usage, number: 0 }
    }

    /// The next of these calls, unlike any before.
    fn statement(&mut self, call: &str) -> String {
        self.number += 1;
        let number = self.number.to_string();
        let other_plan = "SELECT CASE plan_id WHEN 'plan-pro' THEN 'plan-basic' ELSE 'plan-pro' END FROM credit_pools.subscriptions WHERE subscription_id = 'sub-a'";
        let plan = if call.contains("{plan}") { self.session.value(other_plan) } else { String::new() };
        let call = call
            .replace("{grant}", &self.grant)
            .replace("{usage}", &self.usage)
            .replace("{plan}", &plan)
            .replace("{n}", &number);
        format!("SELECT * FROM credit_pools.{call}")
    }

    fn check(&mut self) {
        self.session.exec("ANALYZE");
        check_invariants(&mut self.session);
        crate::world::verify(&mut self.session);
    }

    /// It was undone, so that the same call is a first call; done once more, it is a repetition.
    fn repeat(&mut self, sql: &str) {
        let first = self.session.rows(sql);
        let Some(row) = first.first() else { return };
        if row.has("is_duplicate") && !["extend_reservation", "estimate_usage"].iter().any(|call| sql.contains(call)) {
            let flags = |rows: &[support::Row]| -> Vec<bool> {
                let events = rows.iter().filter(|row| !row.has("error_code") || row.opt("error_code").is_none());
                events.map(|row| row.flag("is_duplicate")).collect()
            };
            assert!(!flags(&first).contains(&true), "undone, and it counts as done: {sql}\n{first:?}");
            let second = self.session.rows(sql);
            assert!(!flags(&second).contains(&false), "done, and it is done again: {sql}\n{second:?}");
        }
    }
}

/// pg_cancel_backend at any instant of any call: what is cancelled leaves nothing, and what comes too late changes nothing.
#[test]
fn cancelled_at_any_instant() {
    let (_, mut random) = seeded("cancelled calls");
    let mut world = World::new();
    let mut victim = world.database.session();
    let backend = victim.value("SELECT pg_backend_pid()");
    let mut canceller = world.database.session();
    let (begin, begins) = mpsc::channel::<Duration>();
    let (ended, ends) = mpsc::channel::<Duration>();
    let thread = thread::spawn(move || {
        for delay in begins {
            let until = Instant::now() + delay;
            while Instant::now() < until {
                thread::sleep(Duration::from_micros(50));
            }
            let began = Instant::now();
            canceller.rows(&format!("SELECT pg_cancel_backend({backend})"));
            ended.send(began.elapsed()).expect("somebody waits");
        }
    });
    let (mut cancelled, mut finished, mut missed) = (0, 0, Vec::new());
    let mut way = Duration::from_millis(1);
    for call in ON_THE_POOL.iter().chain(ELSEWHERE) {
        let mut took = Duration::from_millis(3);
        let (mut hits, mut attempts) = (0, 0);
        while hits < 3 && attempts < 20 {
            attempts += 1;
            let sql = world.statement(call);
            let before = digest(&mut world.session);
            // The canceller needs its time, too, so that the shortest calls have to begin after it.
            let (late, early) = if random.random_bool(0.5) {
                (took.mul_f64(random.random_range(0.0..0.9)), Duration::ZERO)
            } else {
                (Duration::ZERO, way.mul_f64(random.random_range(0.0..1.2)))
            };
            let sent = Instant::now();
            begin.send(late).expect("the canceller waits");
            while sent.elapsed() < early {
                thread::yield_now();
            }
            let began = Instant::now();
            let outcome = victim.try_rows(&sql);
            let lasted = began.elapsed();
            way = ends.recv().expect("the canceller answers");
            // One that came late must not meet the next statement.
            victim.exec("SELECT 1");
            match outcome {
                Err(fault) => {
                    assert_eq!(fault.code, "57014", "{fault}");
                    assert_eq!(digest(&mut world.session), before, "cancelled, and something of it is there: {sql}");
                    world.repeat(&sql);
                    hits += 1;
                }
                Ok(_) => {
                    took = lasted;
                    finished += 1;
                }
            }
        }
        let name = call.split('(').next().unwrap_or_default();
        if hits == 0 {
            missed.push(name);
        }
        cancelled += hits;
    }
    drop(begin);
    thread.join().expect("the canceller ends");
    world.check();
    let kinds = ON_THE_POOL.len() + ELSEWHERE.len();
    eprintln!("cancelled: {cancelled} calls, {finished} came through; never met of {kinds} kinds: {missed:?}");
    // The shortest are over before anybody comes, on a machine that is busy.
    assert!(missed.len() <= kinds / 2, "hardly ever met: {missed:?}");
}

/// Whoever waits for a pool longer than he wants gets his error, and nothing has happened.
#[test]
fn timeouts_while_waiting_for_a_pool() {
    let mut world = World::new();
    let mut holder = world.database.session();
    let mut waiting = world.database.session();
    for (setting, code) in [("lock_timeout", "55P03"), ("statement_timeout", "57014")] {
        for call in ON_THE_POOL {
            let sql = world.statement(call);
            let before = digest(&mut world.session);
            holder.exec("BEGIN");
            holder.call("consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1, idempotency_key => 'held')");
            waiting.exec(&format!("SET {setting} = '30ms'"));
            let fault = waiting.fault(&sql);
            waiting.exec(&format!("RESET {setting}"));
            assert_eq!(fault.code, code, "{fault}");
            holder.exec("ROLLBACK");
            assert_eq!(digest(&mut world.session), before, "{setting}, and something of it is there: {sql}");
            world.repeat(&sql);
        }
    }
    world.check();
}

/// Long calls in the middle of their own work: a big batch, and a big INSERT into a metered table.
#[test]
fn statement_timeout_in_the_middle_of_the_work() {
    let (_, mut random) = seeded("statement_timeout");
    let mut world = World::new();
    world.session.exec("CREATE TABLE jobs (id bigint PRIMARY KEY, customer text, resource text, key text)");
    world.session.call("meter_table(\"table\" => 'jobs', feature_id => 'feature-ai-tokens', customer_column => 'customer', resource_column => 'resource', key_column => 'key')");
    let (mut met, mut attempts) = (0, 0);
    // How long each of the three takes here, in ms: a time-out beyond that would meet nothing.
    let mut whole = [150; 3];
    while met < 9 && attempts < 60 {
        attempts += 1;
        world.number += 1;
        let number = world.number;
        let series = "generate_series(1, 1000) i";
        let sql = match number % 3 {
            0 => format!(
                "SELECT count(*) FROM credit_pools.report_usage_batch((SELECT jsonb_agg(jsonb_build_object('customer_id', 'c' || 1 + i % 2, 'resource_id', 'ws-a', 'feature_id', 'feature-ai-tokens', 'value', 1, 'idempotency_key', 'k{number}-' || i)) FROM {series}))"
            ),
            1 => format!(
                "INSERT INTO jobs SELECT {number} * 10000 + i, 'c' || 1 + i % 2, 'ws-a', 'j{number}-' || i FROM {series}"
            ),
            _ => format!(
                "SELECT count(*) FROM {series}, LATERAL credit_pools.consume_credits(customer_id => 'c' || 1 + i % 2, resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1, idempotency_key => 's{number}-' || i)"
            ),
        };
        let before = digest(&mut world.session);
        let timeout = random.random_range(3..whole[number % 3]);
        world.session.exec(&format!("SET statement_timeout = {timeout}"));
        let began = Instant::now();
        let outcome = world.session.try_rows(&sql);
        let took = began.elapsed().as_millis();
        // A short one may also end this.
        while world.session.try_rows("SET statement_timeout = '60s'").is_err() {}
        if let Err(fault) = outcome {
            assert_eq!(fault.code, "57014", "{fault}");
            assert_eq!(digest(&mut world.session), before, "{timeout} ms, and something of it is there: {sql}");
            met += 1;
            let left = world.session.balance("c2", Some("ws-a"), TYPE);
            world.session.rows(&sql);
            let now = world.session.balance("c2", Some("ws-a"), TYPE);
            assert_eq!(
                left.parse::<i64>().expect("whole") - now.parse::<i64>().expect("whole"),
                500,
                "the same call works afterwards: {sql}"
            );
        } else {
            whole[number % 3] = took.max(4);
        }
    }
    assert!(met >= 5, "only {met} of {attempts} ran into their timeout");
    world.check();
}

/// A transaction of the application: calls with these keys, on these pools. The second is met by the other's first.
struct Crossing {
    first: String,
    second: String,
}

/// Two transactions that lock two pools crosswise: one is the victim, all of it is gone, and it works when it is repeated.
#[test]
fn the_victim_of_a_deadlock_is_gone_whole() {
    let mut world = World::new();
    let usage = |resource: &str, key: &str| {
        format!(
            "consume_credits(customer_id => 'c1', resource_id => '{resource}', credit_type_id => 'ai-tokens', amount => 7, idempotency_key => '{key}')"
        )
    };
    let transfer = |from: &str, to: &str, key: &str| {
        format!(
            "transfer_credits(customer_id => 'c1', credit_type_id => 'ai-tokens', amount => 7, from_resource_id => '{from}', to_resource_id => '{to}', idempotency_key => '{key}')"
        )
    };
    let hold = |resource: &str, key: &str| {
        format!(
            "reserve_credits(customer_id => 'c1', resource_id => '{resource}', credit_type_id => 'ai-tokens', amount => 7, reservation_id => '{key}')"
        )
    };
    // What both do at last, by pool: taken from ws-a, and from ws-b.
    let rounds = [
        (
            Crossing { first: usage("ws-a", "u1"), second: usage("ws-b", "u2") },
            Crossing { first: usage("ws-b", "u3"), second: usage("ws-a", "u4") },
            (14, 14),
        ),
        (
            Crossing { first: usage("ws-a", "t1"), second: transfer("ws-b", "ws-a", "t2") },
            Crossing { first: usage("ws-b", "t3"), second: transfer("ws-a", "ws-b", "t4") },
            (7, 7),
        ),
        (
            Crossing { first: hold("ws-a", "h1"), second: hold("ws-b", "h2") },
            Crossing { first: hold("ws-b", "h3"), second: usage("ws-a", "h4") },
            (14, 14),
        ),
    ];
    for (one, other, (from_a, from_b)) in rounds {
        let balances = |world: &mut World| {
            ["ws-a", "ws-b"]
                .map(|resource| world.session.balance("c1", Some(resource), TYPE).parse::<i64>().expect("whole"))
        };
        let [a, b] = balances(&mut world);
        let mut sessions = [world.database.session(), world.database.session()];
        let crossings = [one, other];
        for (session, crossing) in sessions.iter_mut().zip(&crossings) {
            session.exec("SET deadlock_timeout = '100ms'");
            session.exec("BEGIN");
            assert!(!session.call(&crossing.first).flag("is_duplicate"));
        }
        let outcomes: Vec<Result<(), Fault>> = thread::scope(|scope| {
            let threads: Vec<_> = sessions
                .iter_mut()
                .zip(&crossings)
                .map(|(session, crossing)| {
                    scope.spawn(move || {
                        session.try_call(&crossing.second)?;
                        session.try_exec("COMMIT")
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let victims: Vec<usize> = (0..2).filter(|place| outcomes[*place].is_err()).collect();
        assert_eq!(victims.len(), 1, "one victim: {outcomes:?}");
        let victim = victims[0];
        let fault = outcomes[victim].as_ref().expect_err("the victim's");
        assert_eq!(fault.code, "40P01", "{fault}");
        sessions[victim].exec("ROLLBACK");
        // Its first call, which had succeeded, is gone, too.
        sessions[victim].exec("BEGIN");
        for call in [&crossings[victim].first, &crossings[victim].second] {
            let row = sessions[victim].call(call);
            assert!(!row.flag("is_duplicate"), "of the victim's transaction something was left: {row:?}");
        }
        sessions[victim].exec("COMMIT");
        for call in [&crossings[1 - victim].first, &crossings[1 - victim].second] {
            assert!(world.session.call(call).flag("is_duplicate"), "the other's transaction is there: {call}");
        }
        assert_eq!(balances(&mut world), [a - from_a, b - from_b]);
    }
    world.check();
}

/// An application that forgets its open transaction loses it, and whoever waited goes on.
#[test]
fn idle_in_transaction_session_timeout() {
    let mut world = World::new();
    let before = digest(&mut world.session);
    let usage = "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 7, idempotency_key => 'forgotten')";
    let mut forgetful = world.database.session();
    forgetful.exec("SET idle_in_transaction_session_timeout = '300ms'");
    forgetful.exec("BEGIN");
    forgetful.call(usage);
    forgetful.call("reserve_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 7, reservation_id => 'forgotten')");
    let began = Instant::now();
    let mut waiting = world.database.session();
    waiting.exec("BEGIN");
    let row = waiting.call(usage);
    assert!(!row.flag("is_duplicate"), "the same key waited, and was then the first: {row:?}");
    assert!(began.elapsed() > Duration::from_millis(200), "it has waited");
    waiting.exec("ROLLBACK");
    let fault = forgetful.fault("COMMIT");
    assert!(matches!(fault.code.as_str(), "25P03" | "closed"), "{fault}");
    assert_eq!(digest(&mut world.session), before, "nothing is left of it");
    world.repeat(&format!("SELECT * FROM credit_pools.{usage}"));
    world.check();
}
