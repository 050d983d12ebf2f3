//! Holds, limits and batches by many sessions at once: no credit is held or spent twice, a limit is exact, a key counts
//! once however it comes, and batches never meet in a deadlock.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom, seq::SliceRandom};
use std::thread::sleep;
use std::time::Duration;
use support::{Database, Session, TYPE, at_once, check_invariants, seeded, text};

fn pool(session: &mut Session, customer: &str, resource: &str, amount: i64) {
    session.call(&format!(
        "provision_subscription(customer_id => '{customer}', plan_id => 'plan-basic', resource_id => '{resource}')"
    ));
    session.call(&format!(
        "grant_credits(customer_id => '{customer}', resource_id => '{resource}', credit_type_id => 'ai-tokens', amount => {amount})"
    ));
}

fn usage(customer: &str, resource: &str, value: i64) -> String {
    format!(
        "report_usage(customer_id => '{customer}', resource_id => '{resource}', feature_id => 'feature-ai-tokens', value => {value})"
    )
}

fn reserve(resource: &str, id: &str, amount: i64, ttl: &str) -> String {
    format!(
        "reserve_credits(customer_id => 'c1', resource_id => '{resource}', credit_type_id => 'ai-tokens', reservation_id => '{id}', amount => {amount}, ttl => '{ttl}')"
    )
}

/// One usage event of a batch.
fn event(customer: &str, resource: &str, value: i64, key: Option<&str>) -> String {
    let key = key.map_or(String::new(), |key| format!(r#", "idempotency_key": "{key}""#));
    format!(
        r#"{{"customer_id": "{customer}", "resource_id": "{resource}", "feature_id": "feature-ai-tokens", "value": {value}{key}}}"#
    )
}

fn batch(events: &[String]) -> String {
    format!("SELECT * FROM credit_pools.report_usage_batch(events => {})", text(&format!("[{}]", events.join(", "))))
}

#[test]
fn of_twenty_sessions_that_each_reserve_75_of_500_exactly_six_succeed() {
    let database = Database::with_catalogue();
    let mut session = database.session();
    for round in 0..3 {
        let resource = format!("ws-{round}");
        pool(&mut session, "c1", &resource, 500);
        let answers = at_once(&database, 20, |number, session| {
            session.try_call(&reserve(&resource, &format!("r-{round}-{number}"), 75, "1 hour"))
        });
        let mut held: Vec<i64> = Vec::new();
        for answer in &answers {
            match answer {
                Ok(row) => held.push(row.int("balance")),
                Err(fault) => {
                    assert_eq!(fault.code, "PC001", "{fault}");
                    assert_eq!(fault.figure("balance").as_deref(), Some("50"), "{fault}");
                    assert_eq!(fault.figure("shortfall").as_deref(), Some("25"), "{fault}");
                }
            }
        }
        held.sort_unstable();
        assert_eq!(held, [50, 125, 200, 275, 350, 425], "round {round}");
        let row =
            session.row(&format!("SELECT balance, held FROM credit_pools.pools WHERE resource_id = '{resource}'"));
        assert_eq!((row.get("balance"), row.get("held")), ("50", "450"));
    }
    check_invariants(&mut session);
}

/// The same reservation settled, released and extended by several at once, while others end by the clock.
#[test]
fn holds_of_many_sessions() {
    let (seed, _) = seeded("holds of many sessions");
    let database = Database::with_catalogue();
    let mut session = database.session();
    let resources = ["ws-a", "ws-b"];
    for resource in resources {
        for amount in [300, 500, 200] {
            pool(&mut session, "c1", resource, amount);
        }
        session.call(&format!(
            "set_pool(customer_id => 'c1', resource_id => '{resource}', credit_type_id => 'ai-tokens', overdraft_limit => 100)"
        ));
    }
    let charged: i64 = at_once(&database, 8, |number, session| {
        let mut random = StdRng::seed_from_u64(seed + number as u64);
        let mut charged = 0;
        for turn in 0..120 {
            let resource = resources[random.random_range(0..2)];
            // Few names, so that sessions meet at one reservation.
            let id = format!("r{}", random.random_range(0..=turn / 6));
            let amount = random.random_range(1..60);
            let call = match random.random_range(0..12) {
                0..=3 => reserve(resource, &id, amount, ["20 milliseconds", "200 milliseconds", "1 hour"][amount as usize % 3]),
                4 => format!("settle_reservation(customer_id => 'c1', reservation_id => '{id}')"),
                5 => format!("settle_reservation(customer_id => 'c1', reservation_id => '{id}', amount => {amount})"),
                6 => format!("settle_reservation(customer_id => 'c1', reservation_id => '{id}', amount => {}, final => false)", amount / 4),
                7 => format!("release_reservation(customer_id => 'c1', reservation_id => '{id}')"),
                8 => format!("extend_reservation(customer_id => 'c1', reservation_id => '{id}', ttl => '{amount} milliseconds')"),
                9 => usage("c1", resource, amount),
                10 => format!("consume_credits(customer_id => 'c1', resource_id => '{resource}', credit_type_id => 'ai-tokens', amount => {amount}, on_insufficient => 'cap')"),
                _ => format!("grant_credits(customer_id => 'c1', resource_id => '{resource}', credit_type_id => 'ai-tokens', amount => {amount})"),
            };
            let undone = random.random_bool(0.1);
            if undone {
                session.exec("BEGIN");
            }
            match session.try_call(&call) {
                Ok(row) => {
                    assert!(!row.has("balance") || row.int("balance") >= -100, "{row:?}\n from {call}");
                    if row.has("credits_consumed") && !row.flag("is_duplicate") && !undone {
                        charged += row.int("credits_consumed");
                    }
                }
                // Not there (yet), closed by another, other figures than another's, or no credits left.
                Err(fault) => assert!(matches!(fault.code.as_str(), "PC001" | "PC002" | "PC004" | "PC005"), "{fault}"),
            }
            if undone {
                session.exec("ROLLBACK");
            }
            if turn % 40 == 39 {
                session.rows("SELECT * FROM credit_pools.run_maintenance()");
                session.exec("CALL credit_pools.archive(before => clock_timestamp(), batch_rows => 50)");
            }
        }
        charged
    })
    .into_iter()
    .sum();
    assert!(charged > 0);
    assert_eq!(session.value("SELECT sum(credits) FROM credit_pools.usage_events"), charged.to_string(), "seed {seed}");
    sleep(Duration::from_millis(250));
    check_invariants(&mut session);
    let states = session.rows("SELECT status, count(*) AS n FROM credit_pools.reservations GROUP BY status");
    assert!(states.len() >= 3, "all that can become of a hold has: {states:?}");
}

/// Usage, holds and what is undone, in all resources of a customer: the cap is spent to the last credit, and not beyond.
#[test]
fn a_customer_wide_limit_is_exact() {
    let (seed, _) = seeded("a limit of many sessions");
    let database = Database::with_catalogue();
    let mut session = database.session();
    let resources: Vec<String> = (0..4).map(|number| format!("ws-{number}")).collect();
    for resource in &resources {
        pool(&mut session, "c1", resource, 1000);
    }
    session.call("set_limit(customer_id => 'c1', credit_type_id => 'ai-tokens', amount => 400, per => '1 year', all_resources => true)");
    session.call("set_limit(customer_id => 'c1', resource_id => 'ws-0', credit_type_id => 'ai-tokens', amount => 60, per => '1 year')");
    let sums: Vec<(i64, i64)> = at_once(&database, 16, |number, session| {
        let mut random = StdRng::seed_from_u64(seed + number as u64);
        let (mut all, mut first) = (0, 0);
        for turn in 0..20 {
            let place = random.random_range(0..resources.len());
            let resource = &resources[place];
            let value = random.random_range(1..12);
            let kind = random.random_range(0..6);
            let undone = random.random_bool(0.15);
            let id = format!("r-{number}-{turn}");
            let call = if kind == 0 { reserve(resource, &id, value, "1 hour") } else { usage("c1", resource, value) };
            session.exec("BEGIN");
            let mut spent = match session.try_call(&call) {
                Ok(_) => value,
                Err(fault) => {
                    assert_eq!(fault.code, "PC007", "{fault}");
                    let figure =
                        |key: &str| -> i64 { fault.figure(key).unwrap_or_default().parse().expect("a whole figure") };
                    assert!(figure("used") + figure("required") > figure("limit"), "refused although it fits: {fault}");
                    0
                }
            };
            if undone || spent == 0 {
                session.exec("ROLLBACK");
                spent = 0;
            } else {
                session.exec("COMMIT");
            }
            if kind == 0 && spent > 0 {
                // Half of it is charged, the rest is free for others again.
                spent = value / 2;
                session.call(&format!(
                    "settle_reservation(customer_id => 'c1', reservation_id => '{id}', amount => {spent})"
                ));
            }
            all += spent;
            first += if place == 0 { spent } else { 0 };
        }
        (all, first)
    });
    let (all, first) = sums.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(all <= 400 && first <= 60, "{all} of 400, {first} of 60 (seed {seed})");
    let used = |session: &mut Session, wide: bool| -> i64 {
        session.row(&format!("SELECT used FROM credit_pools.limits WHERE all_resources = {wide}")).int("used")
    };
    assert_eq!((used(&mut session, true), used(&mut session, false)), (all, first), "seed {seed}");
    // What is left goes to the last credit, by whoever comes first.
    let rest: i64 = at_once(&database, 16, |number, session| {
        let resource = &resources[1 + number % 3];
        let mut taken = 0;
        for _ in 0..30 {
            match session.try_call(&format!(
                "consume_credits(customer_id => 'c1', resource_id => '{resource}', credit_type_id => 'ai-tokens', amount => 3, on_insufficient => 'cap')"
            )) {
                Ok(row) => taken += row.int("credits_consumed"),
                Err(fault) => panic!("cap never fails: {fault}"),
            }
        }
        taken
    })
    .into_iter()
    .sum();
    assert_eq!(all + rest, 400, "seed {seed}");
    assert_eq!(used(&mut session, true), 400);
    let fault = session.call_fault(&usage("c1", "ws-1", 1));
    assert_eq!((fault.code.as_str(), fault.figure("scope").as_deref()), ("PC007", Some("customer")), "{fault}");
    // The whole is spent in the pools, too.
    assert_eq!(session.value("SELECT sum(balance) FROM credit_pools.pools WHERE credit_type_id = 'ai-tokens'"), "3600");
    check_invariants(&mut session);
}

/// Batches over the same pools of two customers in any order, and single calls between them.
#[test]
fn batches_in_opposite_orders_never_deadlock() {
    let (seed, _) = seeded("batches in opposite orders");
    let database = Database::with_catalogue();
    let mut session = database.session();
    let places: Vec<(String, String)> =
        (0..2).flat_map(|c| (0..4).map(move |r| (format!("c{c}"), format!("ws-{r}")))).collect();
    for (customer, resource) in &places {
        pool(&mut session, customer, resource, 100_000);
    }
    let sums: Vec<Vec<i64>> = at_once(&database, 8, |number, session| {
        let mut random = StdRng::seed_from_u64(seed + number as u64);
        let mut sums = vec![0; places.len()];
        for turn in 0..12 {
            let mut order: Vec<usize> = (0..places.len()).chain(0..places.len()).collect();
            match number % 3 {
                0 => {}
                1 => order.reverse(),
                _ => order.shuffle(&mut random),
            }
            let mut within = vec![0; places.len()];
            let events: Vec<String> = order
                .iter()
                .map(|place| {
                    let value = random.random_range(1..20);
                    within[*place] += value;
                    let (customer, resource) = &places[*place];
                    let key =
                        (*place % 2 == 0).then(|| format!("{number}-{turn}-{}-{value}-{}", place, within[*place]));
                    event(customer, resource, value, key.as_deref())
                })
                .collect();
            let undone = turn % 4 == 3;
            session.exec("BEGIN");
            let rows = session.rows(&batch(&events));
            assert_eq!(rows.len(), events.len());
            session.exec(if undone { "ROLLBACK" } else { "COMMIT" });
            if !undone {
                for (sum, value) in sums.iter_mut().zip(&within) {
                    *sum += value;
                }
            }
            let place = random.random_range(0..places.len());
            session.call(&usage(&places[place].0, &places[place].1, 1));
            sums[place] += 1;
        }
        sums
    });
    for (place, (customer, resource)) in places.iter().enumerate() {
        let used: i64 = sums.iter().map(|sum| sum[place]).sum();
        let balance = session.balance(customer, Some(resource), TYPE);
        assert_eq!(balance, (100_000 - used).to_string(), "{customer} {resource}, seed {seed}");
    }
    check_invariants(&mut session);
}

/// A key by a batch here and by a single call there, at the same moment: one of them counts.
#[test]
fn the_same_key_by_batch_and_by_single_call() {
    let (seed, _) = seeded("keys by batch and by call");
    let database = Database::with_catalogue();
    let mut session = database.session();
    for resource in ["ws-a", "ws-b"] {
        pool(&mut session, "c1", resource, 10_000);
    }
    for round in 0..8 {
        let answers = at_once(&database, 8, |number, session| {
            let mut random = StdRng::seed_from_u64(seed + 100 * round + number as u64);
            let mut counted = 0;
            if number % 2 == 0 {
                let keys: Vec<String> = (0..6).map(|key| format!("k-{round}-{key}")).collect();
                let events: Vec<String> = (0..12)
                    .map(|_| {
                        let key = keys.choose(&mut random).expect("six keys");
                        // The pool and value belong to the key.
                        let place = if key.ends_with(['0', '2', '4']) { "ws-a" } else { "ws-b" };
                        event("c1", place, 10, Some(key))
                    })
                    .collect();
                for row in session.rows(&batch(&events)) {
                    assert_eq!(row.get("credits_consumed"), "10");
                    counted += i64::from(!row.flag("is_duplicate"));
                }
            } else {
                for _ in 0..6 {
                    let key = random.random_range(0..6);
                    let place = if key % 2 == 0 { "ws-a" } else { "ws-b" };
                    let row = session.call(
                        &usage("c1", place, 10)
                            .replace("value => 10", &format!("value => 10, idempotency_key => 'k-{round}-{key}'")),
                    );
                    counted += i64::from(!row.flag("is_duplicate"));
                }
            }
            counted
        });
        let counted: i64 = answers.iter().sum();
        let keys = session.value(&format!(
            "SELECT count(DISTINCT idempotency_key) FROM credit_pools.ledger WHERE idempotency_key LIKE 'k-{round}-%'"
        ));
        assert_eq!(counted.to_string(), keys, "round {round}, seed {seed}");
    }
    let row = session.row(
        "SELECT sum(balance) AS balance, (SELECT sum(credits) FROM credit_pools.usage_events) AS used,
                (SELECT 10 * count(DISTINCT idempotency_key) FROM credit_pools.ledger WHERE entry_type = 'consume') AS keyed
         FROM credit_pools.pools WHERE credit_type_id = 'ai-tokens'",
    );
    assert_eq!(row.int("balance"), 20_000 - row.int("used"), "seed {seed}");
    assert_eq!(row.get("used"), row.get("keyed"), "seed {seed}");
    check_invariants(&mut session);
}
