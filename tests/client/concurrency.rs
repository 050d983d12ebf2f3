//! Many sessions at once: a pool is never overdrawn, another pool never waits, a key counts once, a ROLLBACK is as if
//! nothing had been, and recharges stay within their limits.

use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use support::{Database, Row, Session, TYPE, at_once, check_invariants, seeded, units};

const THREADS: usize = 8;

fn provision(session: &mut Session, customer: &str, resource: &str) {
    session.call(&format!(
        "provision_subscription(customer_id => '{customer}', plan_id => 'plan-basic', resource_id => '{resource}')"
    ));
}

fn grant(session: &mut Session, customer: &str, resource: &str, amount: i64) {
    session.call(&format!(
        "grant_credits(customer_id => '{customer}', resource_id => '{resource}', credit_type_id => 'ai-tokens', amount => {amount})"
    ));
}

fn usage(customer: &str, resource: &str, value: i64) -> String {
    format!(
        "report_usage(customer_id => '{customer}', resource_id => '{resource}', feature_id => 'feature-ai-tokens', value => {value})"
    )
}

fn capped(customer: &str, resource: &str, value: i64) -> String {
    format!(
        "report_usage(customer_id => '{customer}', resource_id => '{resource}', feature_id => 'feature-ai-tokens', value => {value}, on_insufficient => 'cap')"
    )
}

/// Counts down when its thread ends, also by a panic: the threads that watch must not wait for ever.
struct Leaving<'a>(&'a AtomicUsize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn one_pool_is_never_overdrawn() {
    let (seed, _) = seeded("one pool");
    let database = Database::with_catalogue();
    let mut session = database.session();
    provision(&mut session, "c1", "ws-a");
    // Several grants, so that a usage often takes the rest of one and a part of the next.
    for amount in [70, 130, 333, 500, 467] {
        grant(&mut session, "c1", "ws-a", amount);
    }
    let consumed: i64 = at_once(&database, THREADS, |number, session| {
        let mut random = StdRng::seed_from_u64(seed + number as u64);
        let mut consumed = 0;
        for _ in 0..60 {
            let value = random.random_range(1..10);
            match session.try_call(&usage("c1", "ws-a", value)) {
                Ok(row) => {
                    assert_eq!(row.int("credits_consumed"), value);
                    assert!(row.int("balance") >= 0, "{row:?}");
                    consumed += value;
                }
                Err(fault) => {
                    assert_eq!(fault.code, "PC001", "{fault}");
                    let left: i64 = fault.figure("balance").unwrap_or_default().parse().expect("a whole balance");
                    assert!(left < value, "refused although {left} is enough for {value}");
                }
            }
        }
        consumed
    })
    .into_iter()
    .sum();
    let left: i64 = session.balance("c1", Some("ws-a"), TYPE).parse().expect("a whole balance");
    assert_eq!(consumed + left, 1500);
    assert!((0..10).contains(&left), "{left} left: the threads asked for more than there was");
    check_invariants(&mut session);
}

#[test]
fn cap_and_overdraft_stop_at_the_floor() {
    let database = Database::with_catalogue();
    let mut session = database.session();
    session.call(
        "open_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', overdraft_limit => 50)",
    );
    grant(&mut session, "c1", "ws-a", 200);
    let taken: i64 = at_once(&database, THREADS, |_, session| {
        let mut taken = 0;
        for _ in 0..20 {
            let row = session.call("consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 7, on_insufficient => 'cap')");
            assert_eq!(row.int("credits_consumed") + row.int("shortfall"), 7);
            taken += row.int("credits_consumed");
        }
        taken
    })
    .into_iter()
    .sum();
    assert_eq!(taken, 250);
    assert_eq!(session.balance("c1", Some("ws-a"), TYPE), "-50");
    // Grants from everywhere at once: the debt is paid once.
    at_once(&database, THREADS, |_, session| grant(session, "c1", "ws-a", 10));
    let row = session.row("SELECT balance, debt FROM credit_pools.pools WHERE resource_id = 'ws-a'");
    assert_eq!((row.get("balance"), row.get("debt")), ("30", "0"));
    check_invariants(&mut session);
}

/// Whatever one session has open on pool A, the others go on with pools B of the same customer: nobody waits as long as
/// `lock_timeout` allows, in any combination of calls.
#[test]
fn another_pool_never_waits() {
    let database = Database::with_catalogue();
    let mut session = database.session();
    session.call("define_plan_credits(plan_id => 'plan-pro', credit_type_id => 'ai-tokens', amount => 10)");
    let policy =
        "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 5, recharge_amount => 50)";
    provision(&mut session, "c1", "ws-a");
    session.call(policy);
    for number in 1..THREADS {
        provision(&mut session, "c1", &format!("ws-b{number}"));
        grant(&mut session, "c1", &format!("ws-b{number}"), 1000);
    }
    grant(&mut session, "c1", "ws-a", 1000);
    let first_grant = session.value("SELECT min(grant_id) FROM credit_pools.grants WHERE resource_id = 'ws-a'");
    let first_usage = session.call(&usage("c1", "ws-a", 2)).get("usage_id").to_owned();
    session.call("reserve_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5, reservation_id => 'held')");
    let held = [
        usage("c1", "ws-a", 3),
        // Falls below the threshold: the recharge is requested inside the open transaction.
        usage("c1", "ws-a", 990),
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-search', value => 3, idempotency_key => 'held')".to_owned(),
        "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5)".to_owned(),
        // A further type: opens a pool.
        "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'cents', amount => 5, idempotency_key => 'held')".to_owned(),
        "provision_subscription(customer_id => 'c1', plan_id => 'plan-pro', resource_id => 'ws-a')".to_owned(),
        "provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-new')".to_owned(),
        "open_pool(customer_id => 'c1', resource_id => 'ws-newer', credit_type_id => 'ai-tokens')".to_owned(),
        "set_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', overdraft_limit => 7, status => 'frozen')".to_owned(),
        format!("void_grant(customer_id => 'c1', grant_id => {first_grant}, amount => 2)"),
        "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', resource_id => 'ws-a', threshold => 2000, recharge_amount => 50)".to_owned(),
        "reserve_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5)".to_owned(),
        "settle_reservation(customer_id => 'c1', reservation_id => 'held', amount => 2, final => false)".to_owned(),
        "extend_reservation(customer_id => 'c1', reservation_id => 'held')".to_owned(),
        "release_reservation(customer_id => 'c1', reservation_id => 'held')".to_owned(),
        format!("reverse_usage(customer_id => 'c1', usage_id => {first_usage})"),
        format!("update_grant(customer_id => 'c1', grant_id => {first_grant}, priority => 7)"),
        r#"report_usage_batch('[{"customer_id": "c1", "resource_id": "ws-a", "feature_id": "feature-ai-tokens", "value": 4}]')"#.to_owned(),
        "set_limit(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 100, per => '1 day')".to_owned(),
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 3, update_behavior => 'set')".to_owned(),
    ];
    for (round, call) in held.iter().enumerate() {
        session.exec("BEGIN");
        session.call(call);
        at_once(&database, THREADS, |number, session| {
            // Thread 0 works on a scope that is new, and on another customer.
            session.exec("SET lock_timeout = '200ms'");
            let own = format!("ws-b{number}");
            let resource = own.as_str();
            if number == 0 {
                let fresh = format!("ws-fresh-{round}");
                provision(session, "c1", &fresh);
                session.call(&format!(
                    "open_pool(customer_id => 'c1', resource_id => 'ws-open-{round}', credit_type_id => 'ai-tokens')"
                ));
                session
                    .call(&format!("provision_subscription(customer_id => 'other-{round}', plan_id => 'plan-basic')"));
                grant(session, "c1", &fresh, 10);
                session.call(&usage("c1", &fresh, 6));
                return;
            }
            for turn in 0..4 {
                session.call(&usage("c1", resource, 1));
                session.call(&format!(
                    "report_usage(customer_id => 'c1', resource_id => '{resource}', feature_id => 'feature-search', value => 2, idempotency_key => '{resource}-{round}-{turn}')"
                ));
                session.call(&format!(
                    "consume_credits(customer_id => 'c1', resource_id => '{resource}', credit_type_id => 'ai-tokens', amount => 1, on_insufficient => 'cap')"
                ));
            }
            grant(session, "c1", resource, 5);
            session.call(&format!("grant_credits(customer_id => 'c1', resource_id => '{resource}', credit_type_id => 'cents', amount => 1)"));
            session.call(&format!("set_pool(customer_id => 'c1', resource_id => '{resource}', credit_type_id => 'ai-tokens', overdraft_limit => {round})"));
            session.call(&format!(
                "void_grant(customer_id => 'c1', grant_id => (SELECT grant_id FROM credit_pools.grants WHERE resource_id = '{resource}' AND credit_type_id = 'ai-tokens' ORDER BY 1 DESC LIMIT 1))"
            ));
            // Below the threshold: the recharge of this pool, by the policy that all pools share (no max_spend).
            let balance = session.balance("c1", Some(resource), TYPE);
            session.call(&format!(
                "consume_credits(customer_id => 'c1', resource_id => '{resource}', credit_type_id => 'ai-tokens', amount => {balance})"
            ));
            let recharges = session.rows(&format!(
                "SELECT recharge_id FROM credit_pools.recharges WHERE resource_id = '{resource}' AND status = 'pending'"
            ));
            assert_eq!(recharges.len(), 1, "the neighbour's recharge fired in round {round}");
            session.call(&format!(
                "complete_recharge(customer_id => 'c1', recharge_id => {}, payment_reference => 'p')",
                recharges[0].get("recharge_id")
            ));
            grant(session, "c1", resource, 100);
        });
        session.exec("ROLLBACK");
    }
    check_invariants(&mut session);
}

#[test]
fn a_policy_with_a_spend_limit_makes_only_simultaneous_recharges_wait() {
    let database = Database::with_catalogue();
    let mut session = database.session();
    for resource in ["ws-a", "ws-b"] {
        provision(&mut session, "c1", resource);
        grant(&mut session, "c1", resource, 100);
    }
    session.call("set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 10, recharge_amount => 50, price_per_credit => 0.01, price_currency => 'EUR', max_spend => 10)");
    let mut other = database.session();
    other.exec("SET lock_timeout = '200ms'");
    session.exec("BEGIN");
    // No recharge here, so no wait there, not even for a recharge.
    session.call(&usage("c1", "ws-a", 20));
    other.call(&usage("c1", "ws-b", 20));
    other.exec("BEGIN");
    other.call(&usage("c1", "ws-b", 75));
    assert_eq!(other.value("SELECT count(*) FROM credit_pools.recharges WHERE status = 'pending'"), "1");
    other.exec("ROLLBACK");
    // A recharge here: usage there goes on as long as it fires none.
    session.call(&usage("c1", "ws-a", 75));
    other.call(&usage("c1", "ws-b", 20));
    other.call("grant_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 1)");
    session.exec("COMMIT");
    other.call(&usage("c1", "ws-b", 55));
    check_invariants(&mut session);
}

#[test]
fn the_same_key_at_once_counts_once() {
    let database = Database::with_catalogue();
    let mut session = database.session();
    provision(&mut session, "c1", "ws-a");
    grant(&mut session, "c1", "ws-a", 1000);
    let check = |call: &str| -> Row {
        let rows = at_once(&database, THREADS, |_, session| session.call(call));
        let first: Vec<&Row> = rows.iter().filter(|row| !row.flag("is_duplicate")).collect();
        assert_eq!(first.len(), 1, "exactly one first call: {rows:?}");
        for row in &rows {
            assert_eq!(row.without("is_duplicate"), first[0].without("is_duplicate"), "{call}");
        }
        first[0].clone()
    };
    for round in 0..10 {
        let row = check(&format!(
            "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 5, idempotency_key => 'u{round}')"
        ));
        assert_eq!(row.int("balance"), 1000 - 5 * (round + 1));
    }
    check(
        "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 50, idempotency_key => 'g')",
    );
    assert_eq!(session.balance("c1", Some("ws-a"), TYPE), "1000");
    check(
        "provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-k', idempotency_key => 'p')",
    );
    // One of the eight rolls back: another of them has to do it.
    let outcome = at_once(&database, THREADS, |number, session| {
        session.exec("BEGIN");
        let row = session.call(
            "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 100, idempotency_key => 'rolled')",
        );
        let keep = number % 2 == 0;
        session.exec(if keep { "COMMIT" } else { "ROLLBACK" });
        keep && !row.flag("is_duplicate")
    });
    assert_eq!(outcome.iter().filter(|done| **done).count(), 1);
    assert_eq!(session.balance("c1", Some("ws-a"), TYPE), "900");
    // The same key with other payloads at once: one wins, the others conflict.
    let codes = at_once(&database, THREADS, |number, session| {
        session
            .try_call(&format!(
                "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => {}, idempotency_key => 'contended')",
                number + 1
            ))
            .map_or_else(|fault| fault.code, |_| "done".to_owned())
    });
    assert_eq!(codes.iter().filter(|code| *code == "done").count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| *code == "PC004").count(), THREADS - 1, "{codes:?}");
    check_invariants(&mut session);
}

#[test]
fn only_what_committed_counts() {
    let (seed, _) = seeded("random transactions");
    let database = Database::with_catalogue();
    let mut session = database.session();
    let resources = ["ws-a", "ws-b", "ws-c"];
    for resource in resources {
        provision(&mut session, "c1", resource);
        grant(&mut session, "c1", resource, 100_000);
    }
    let effects: Vec<[i64; 3]> = at_once(&database, THREADS, |number, session| {
        let mut random = StdRng::seed_from_u64(seed + number as u64);
        let mut effects = [0; 3];
        for transaction in 0..15 {
            let mut within = [0; 3];
            session.exec("BEGIN");
            // Pools in a fixed order, as an application would to avoid deadlocks.
            for (place, resource) in resources.iter().enumerate() {
                for step in 0..random.random_range(0..3) {
                    let amount = random.random_range(1..50);
                    match random.random_range(0..4) {
                        0 => {
                            grant(session, "c1", resource, amount);
                            within[place] += amount;
                        }
                        1 => {
                            session.call(&usage("c1", resource, amount));
                            within[place] -= amount;
                        }
                        2 => {
                            session.call(&format!(
                                "consume_credits(customer_id => 'c1', resource_id => '{resource}', credit_type_id => 'ai-tokens', amount => {amount}, idempotency_key => '{number}-{transaction}-{place}-{step}')"
                            ));
                            within[place] -= amount;
                        }
                        _ => {
                            session.exec("SAVEPOINT s");
                            session.call(&usage("c1", resource, amount));
                            session.exec("ROLLBACK TO s");
                        }
                    }
                }
            }
            if random.random_bool(0.4) {
                session.exec("ROLLBACK");
            } else {
                session.exec("COMMIT");
                for place in 0..3 {
                    effects[place] += within[place];
                }
            }
        }
        effects
    });
    for (place, resource) in resources.iter().enumerate() {
        let expected: i64 = 100_000 + effects.iter().map(|effect| effect[place]).sum::<i64>();
        assert_eq!(session.balance("c1", Some(resource), TYPE), expected.to_string(), "{resource}");
    }
    check_invariants(&mut session);
}

#[test]
fn a_customer_is_first_provisioned_by_many_at_once() {
    let database = Database::with_catalogue();
    let mut session = database.session();
    for round in 0..5 {
        // One new customer, a resource each.
        at_once(&database, THREADS, |number, session| {
            let resource = format!("ws-{number}");
            provision(session, &format!("many-{round}"), &resource);
            grant(session, &format!("many-{round}"), &resource, 10);
            session.call(&usage(&format!("many-{round}"), &resource, 3));
        });
        assert_eq!(
            session.value(&format!("SELECT count(*) || ' ' || min(balance) || ' ' || max(balance) FROM credit_pools.pools WHERE customer_id = 'many-{round}'")),
            "8 7 7"
        );
        // The very same scope.
        let rows = at_once(&database, THREADS, |_, session| {
            session.call(&format!(
                "provision_subscription(customer_id => 'same-{round}', plan_id => 'plan-basic', resource_id => 'ws')"
            ))
        });
        assert_eq!(rows.iter().filter(|row| !row.flag("is_duplicate")).count(), 1, "{rows:?}");
        let ids: BTreeSet<&str> = rows.iter().map(|row| row.get("subscription_id")).collect();
        assert_eq!(ids.len(), 1, "one subscription: {rows:?}");
        // The same pool, opened.
        let rows = at_once(&database, THREADS, |_, session| {
            session.call(&format!(
                "open_pool(customer_id => 'open-{round}', resource_id => 'ws', credit_type_id => 'ai-tokens')"
            ))
        });
        let ids: BTreeSet<&str> = rows.iter().map(|row| row.get("pool_id")).collect();
        assert_eq!(ids.len(), 1, "one pool: {rows:?}");
        // A known scope, its first pool of a further type opened by grants.
        let rows = at_once(&database, THREADS, |_, session| {
            session.call(&format!("grant_credits(customer_id => 'open-{round}', resource_id => 'ws', credit_type_id => 'cents', amount => 1)"))
        });
        let ids: BTreeSet<&str> = rows.iter().map(|row| row.get("pool_id")).collect();
        assert_eq!(ids.len(), 1, "one pool: {rows:?}");
        assert_eq!(session.balance(&format!("open-{round}"), Some("ws"), "cents"), "8");
    }
    // Two new customers: neither waits for the other, however long its transaction is open.
    let mut other = database.session();
    other.exec("SET lock_timeout = '200ms'");
    session.exec("BEGIN");
    provision(&mut session, "first", "ws");
    provision(&mut other, "second", "ws");
    grant(&mut other, "second", "ws", 5);
    session.exec("COMMIT");
    check_invariants(&mut session);
}

#[test]
fn policies_change_while_usage_goes_on() {
    let (seed, _) = seeded("policies against usage");
    let database = Database::with_catalogue();
    let mut session = database.session();
    let resources: Vec<String> = (0..4).map(|number| format!("ws-{number}")).collect();
    for resource in &resources {
        provision(&mut session, "c1", resource);
        grant(&mut session, "c1", resource, 10_000);
    }
    session.call("define_plan_credits(plan_id => 'plan-pro', credit_type_id => 'cents', amount => 10)");
    // 40P01 (deadlock) or any other error fails the test by the panic of `call`.
    at_once(&database, THREADS, |number, session| {
        let mut random = StdRng::seed_from_u64(seed + number as u64);
        for turn in 0..40 {
            let resource = &resources[random.random_range(0..resources.len())];
            match number {
                0 => {
                    session.call(&format!(
                        "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => {}, recharge_amount => 10, price_per_credit => 0.01, price_currency => 'EUR', max_spend => 5, enabled => {})",
                        random.random_range(0..12_000),
                        turn % 5 != 0
                    ));
                }
                1 => {
                    session.call(&format!(
                        "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', resource_id => '{resource}', threshold => {}, recharge_amount => 10, settlement => 'immediate')",
                        random.random_range(0..12_000)
                    ));
                }
                2 => {
                    session.rows("SELECT * FROM credit_pools.run_maintenance()");
                    for recharge in
                        session.rows("SELECT * FROM credit_pools.claim_recharges(worker => 'w', max_count => 3)")
                    {
                        session.call(&format!(
                            "complete_recharge(customer_id => 'c1', recharge_id => {}, payment_reference => 'p{turn}')",
                            recharge.get("recharge_id")
                        ));
                    }
                }
                3 => grant(session, "c1", resource, 7),
                4 => {
                    // A new scope whose plan changes to one with a further credit type: a pool opens.
                    let fresh = format!("ws-new-{turn}");
                    provision(session, "c1", &fresh);
                    session.call(&format!(
                        "provision_subscription(customer_id => 'c1', plan_id => 'plan-pro', resource_id => '{fresh}')"
                    ));
                }
                _ => {
                    session.call(&usage("c1", resource, random.random_range(1..30)));
                }
            }
        }
    });
    check_invariants(&mut session);
}

/// In flight at most one per pool, spend never above the limit: watched all the time and exact at the end.
fn storm(settlement: &str) {
    let (seed, _) = seeded("recharge storm");
    let database = Database::with_catalogue();
    let mut session = database.session();
    let resources: Vec<String> = (0..5).map(|number| format!("ws-{number}")).collect();
    for resource in &resources {
        provision(&mut session, "c1", resource);
        grant(&mut session, "c1", resource, 120);
    }
    session.call(&format!(
        "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 100, target_balance => 150, price_per_credit => 0.01, price_currency => 'EUR', max_spend => 12.34, settlement => '{settlement}')"
    ));
    let consumers = AtomicUsize::new(THREADS - 3);
    let references = Mutex::new(BTreeSet::new());
    at_once(&database, THREADS, |number, session| {
        let mut random = StdRng::seed_from_u64(seed + number as u64);
        match number {
            // Watches.
            0 => {
                while consumers.load(Ordering::SeqCst) > 0 {
                    let row = session.row(
                        "SELECT coalesce(max(n), 0) AS most, coalesce(sum(spent), 0) <= 12.34 AS within, coalesce(sum(spent), 0) AS spent FROM (
                           SELECT count(*) FILTER (WHERE status IN ('pending', 'processing')) AS n,
                                  sum(price) FILTER (WHERE status IN ('pending', 'processing', 'succeeded')) AS spent
                           FROM credit_pools.recharges GROUP BY pool_id) x",
                    );
                    assert!(row.int("most") <= 1 && row.flag("within"), "{row:?}");
                    thread::sleep(std::time::Duration::from_millis(3));
                }
            }
            // Pays; each recharge is completed by two workers at once, it must count once.
            1 | 2 => {
                while consumers.load(Ordering::SeqCst) > 0 {
                    let claimed = session.rows(&format!(
                        "SELECT * FROM credit_pools.claim_recharges(worker => 'w{number}', max_count => 2)"
                    ));
                    for recharge in &claimed {
                        let id = recharge.get("recharge_id").to_owned();
                        assert!(
                            references.lock().expect("no poison").insert(id.clone()),
                            "recharge {id} was given to two workers"
                        );
                        let complete = format!(
                            "complete_recharge(customer_id => 'c1', recharge_id => {id}, payment_reference => 'pay-{id}')"
                        );
                        assert!(!session.call(&complete).flag("is_duplicate"));
                        assert!(session.call(&complete).flag("is_duplicate"));
                    }
                    if claimed.is_empty() {
                        thread::sleep(std::time::Duration::from_millis(2));
                    }
                }
            }
            _ => {
                let _leaving = Leaving(&consumers);
                for _ in 0..60 {
                    let resource = &resources[random.random_range(0..resources.len())];
                    session.call(&capped("c1", resource, random.random_range(1..40)));
                }
            }
        }
    });
    // Whatever is in flight gets paid, then every pool is driven down: what the limit leaves is spent to the last cent.
    for _ in 0..10 {
        for resource in &resources {
            session.call(&capped("c1", resource, 10_000));
        }
        for recharge in session.rows("SELECT * FROM credit_pools.claim_recharges(worker => 'last', max_count => 100)") {
            session.call(&format!(
                "complete_recharge(customer_id => 'c1', recharge_id => {}, payment_reference => 'p')",
                recharge.get("recharge_id")
            ));
        }
    }
    let row = session.row(
        "SELECT sum(price) FILTER (WHERE status = 'succeeded') AS spent, sum(amount) FILTER (WHERE status = 'succeeded') AS credits,
                count(*) FILTER (WHERE status IN ('pending', 'processing')) AS flying,
                count(*) FILTER (WHERE status = 'skipped' AND reason = 'spend_limit') AS skipped
         FROM credit_pools.recharges",
    );
    assert_eq!(units(row.get("spent"), 2), 1234, "{row:?}");
    assert_eq!(row.get("credits"), "1234");
    assert_eq!(row.get("flying"), "0");
    assert!(row.int("skipped") >= 1, "a skip by the limit is a row: {row:?}");
    let made = session.value("SELECT coalesce(sum(amount), 0) FROM credit_pools.grants WHERE recharge_id IS NOT NULL");
    assert_eq!(made, "1234", "a grant per recharge, once");
    check_invariants(&mut session);
}

#[test]
fn a_storm_of_recharges_on_payment() {
    storm("on_payment");
}

#[test]
fn a_storm_of_recharges_settled_at_once() {
    storm("immediate");
}

/// Eight sessions push one pool below its threshold at the same moment: one recharge.
#[test]
fn one_pool_below_the_threshold_asks_once() {
    let database = Database::with_catalogue();
    let mut session = database.session();
    for round in 0..10 {
        let customer = format!("c{round}");
        provision(&mut session, &customer, "ws");
        grant(&mut session, &customer, "ws", 100);
        session.call(&format!(
            "set_auto_recharge(customer_id => '{customer}', credit_type_id => 'ai-tokens', threshold => 60, target_balance => 200)"
        ));
        at_once(&database, THREADS, |_, session| session.call(&usage(&customer, "ws", 10)));
        let row = session.row(&format!(
            "SELECT count(*) FILTER (WHERE status = 'pending') AS pending, max(amount) FILTER (WHERE status = 'pending') AS amount FROM credit_pools.recharges WHERE customer_id = '{customer}'"
        ));
        // Fired by the fifth usage, at 50: the whole gap to the target.
        assert_eq!((row.get("pending"), row.get("amount")), ("1", "150"), "{row:?}");
    }
    check_invariants(&mut session);
}

/// Maintenance from several sessions at once books what is due once, and waits for nobody.
#[test]
fn maintenance_from_several_sessions() {
    let database = Database::with_catalogue();
    let mut session = database.session();
    session.exec("SET credit_pools.test_clock = '2026-01-01 00:00+00'");
    for number in 0..30 {
        let customer = format!("c{number}");
        provision(&mut session, &customer, "ws");
        for days in 1..4 {
            session.call(&format!(
                "grant_credits(customer_id => '{customer}', resource_id => 'ws', credit_type_id => 'ai-tokens', amount => 10, expires_at => timestamptz '2026-01-01 00:00+00' + interval '{days} days')"
            ));
        }
        session.call(&format!(
            "grant_credits(customer_id => '{customer}', resource_id => 'ws', credit_type_id => 'ai-tokens', amount => 5, effective_at => '2026-01-03 00:00+00')"
        ));
    }
    at_once(&database, THREADS, |number, session| {
        session.exec("SET credit_pools.test_clock = '2026-01-10 00:00+00'");
        for turn in 0..10 {
            if number % 2 == 0 {
                session.rows("SELECT * FROM credit_pools.run_maintenance()");
            } else {
                session.rows("SELECT * FROM credit_pools.run_maintenance(max_pools => 3)");
                session.call(&capped(&format!("c{}", (number * 7 + turn) % 30), "ws", 1));
            }
        }
    });
    session.exec("SET credit_pools.test_clock = '2026-01-10 00:00+00'");
    session.rows("SELECT * FROM credit_pools.run_maintenance()");
    let row = session
        .row("SELECT count(*) AS pools, sum(expired) AS expired, sum(granted) AS granted FROM credit_pools.pools");
    assert_eq!((row.get("pools"), row.get("expired"), row.get("granted")), ("30", "900", "1050"));
    check_invariants(&mut session);
}
