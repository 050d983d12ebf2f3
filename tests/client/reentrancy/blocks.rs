//! Calls inside savepoints and PL/pgSQL blocks with EXCEPTION: what is undone is undone whole, with what the session
//! remembers of it, and what comes after works.

use crate::calls::CALLS;
use crate::world::{USE_10, broken, left, world};
use support::{Session, check_invariants, digest};

/// Every kind of call, undone by ROLLBACK TO and done again, also after an inner savepoint was released.
#[test]
fn every_call_can_be_undone_by_a_savepoint() {
    let (_database, mut session) = world();
    let before = digest(&mut session);
    for call in CALLS {
        let sql = format!("SELECT * FROM credit_pools.{}", call.call);
        session.exec("BEGIN");
        let untouched = digest(&mut session);
        assert_eq!(untouched, before, "{sql}");
        session.exec("SAVEPOINT a");
        session.rows(&sql);
        let done = digest(&mut session);
        assert_ne!(done, untouched, "{sql}");
        session.exec("ROLLBACK TO a");
        assert_eq!(digest(&mut session), untouched, "{sql}");
        // Nested: the inner one is released into the outer one, which is undone.
        session.exec("SAVEPOINT b; SAVEPOINT c");
        session.rows(&sql);
        session.exec("RELEASE c");
        session.call("consume_credits(customer_id => 'c2', credit_type_id => 'ai-tokens', amount => 1)");
        session.exec("ROLLBACK TO b");
        assert_eq!(digest(&mut session), untouched, "{sql}");
        // The third time it stays, and the books are sound.
        session.rows(&sql);
        session.exec("RELEASE b; RELEASE a");
        session.call(
            "consume_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 1)",
        );
        let broken = broken(&mut session);
        assert!(broken.is_empty(), "{sql}: {}", broken.join("\n"));
        session.exec("ROLLBACK");
    }
    check_invariants(&mut session);
}

/// (the statements before, the failing call, its code)
const FAILING: &[(&str, &str, &str)] = &[
    (
        "",
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 100000)",
        "PC001",
    ),
    ("", "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'nope', value => 1)", "PC002"),
    (
        "",
        "report_usage(customer_id => 'c1', resource_id => 'ws-b', feature_id => 'feature-ai-tokens', value => 1)",
        "PC003",
    ),
    (
        "SELECT FROM credit_pools.report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1, idempotency_key => 'k')",
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 2, idempotency_key => 'k')",
        "PC004",
    ),
    (
        "SELECT FROM credit_pools.set_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', status => 'frozen')",
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1)",
        "PC005",
    ),
    (
        "",
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-unpriced', value => 1)",
        "PC006",
    ),
    (
        "SELECT FROM credit_pools.set_limit(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 0.5, per => '1 day')",
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1)",
        "PC007",
    ),
    (
        "",
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 0)",
        "22023",
    ),
    ("SET LOCAL ROLE pg_monitor", "report_usage(customer_id => 'c1')", "42501"),
    ("SET TRANSACTION READ ONLY", USE_10, "25006"),
    // A bad input never reaches the function.
    ("", "report_usage(customer_id => 'c1', metadata => '{')", "22P02"),
    ("SET LOCAL credit_pools.test_clock = 'nonsense'", USE_10, "22007"),
    // The first half of a batch, which then fails as a whole.
    (
        "",
        r#"report_usage_batch(events => '[{"customer_id": "c1", "resource_id": "ws-a", "feature_id": "feature-ai-tokens", "value": 2, "idempotency_key": "b1"}, {"customer_id": "c1", "resource_id": "ws-a", "feature_id": "feature-ai-tokens", "value": 20000}]')"#,
        "PC001",
    ),
    (
        "",
        "transfer_credits(customer_id => 'c1', credit_type_id => 'ai-tokens', amount => 100000, from_resource_id => 'ws-a', to_resource_id => 'ws-b')",
        "PC001",
    ),
    ("", "settle_reservation(customer_id => 'c1', reservation_id => 'r1', amount => 100000)", "PC001"),
    ("", "settle_reservation(customer_id => 'c1', reservation_id => 'r9', amount => 1)", "PC002"),
    ("", "provision_subscription(customer_id => 'c9', plan_id => 'nope')", "PC002"),
    (
        "",
        "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 20, target_balance => 10)",
        "22023",
    ),
    (
        "",
        "apply_catalog(catalog => '{\"features\": [{\"feature_id\": \"f-new\"}], \"rates\": [{\"feature_id\": \"f-new\", \"credit_type_id\": \"nope\", \"credits_per_unit\": 1}]}')",
        "PC002",
    ),
];

/// Each code, caught by its own name and by OTHERS, a hundred times in one transaction.
#[test]
fn a_caught_error_of_any_code_leaves_nothing() {
    let (_database, mut session) = world();
    session.exec(
        "CREATE FUNCTION caught(call text, times int, by_name text) RETURNS text LANGUAGE plpgsql AS $$
         DECLARE seen text;
         BEGIN
           FOR turn IN 1..times LOOP
             BEGIN
               EXECUTE 'SELECT FROM credit_pools.' || call;
               RETURN 'did not fail';
             EXCEPTION WHEN OTHERS THEN
               IF seen <> SQLSTATE THEN RETURN 'first ' || seen || ', then ' || SQLSTATE; END IF;
               seen := SQLSTATE;
             END;
           END LOOP;
           RETURN seen;
         END $$",
    );
    for (setup, call, code) in FAILING {
        session.exec("BEGIN");
        session
            .exec("GRANT EXECUTE ON FUNCTION caught TO pg_monitor; GRANT USAGE ON SCHEMA credit_pools TO pg_monitor");
        session.exec("SAVEPOINT a");
        if !setup.is_empty() {
            session.exec(setup);
        }
        let superuser = !setup.contains("ROLE");
        let before = if superuser { digest(&mut session) } else { Vec::new() };
        assert_eq!(session.value(&format!("SELECT caught({}, 100, '')", support::text(call))), *code, "{call}");
        if superuser {
            assert_eq!(digest(&mut session), before, "{call} left something");
        }
        // Goes on in the same transaction.
        if setup.is_empty() {
            let balance = left(&mut session);
            assert_eq!(balance, "1000", "{call}");
            assert_eq!(session.call(USE_10).get("balance"), "990", "{call}");
            assert_eq!(
                session.value(&format!("SELECT caught({}, 1, '')", support::text(call))),
                *code,
                "again: {call}"
            );
            let broken = broken(&mut session);
            assert!(broken.is_empty(), "{call}: {}", broken.join("\n"));
        }
        session.exec("ROLLBACK");
        assert_eq!(left(&mut session), "1000", "{call}");
    }
    check_invariants(&mut session);
}

/// Cancelled and timed out in the middle of a call, and caught by name: the block is undone, the rest goes on.
#[test]
fn a_caught_timeout_leaves_nothing() {
    let (database, mut session) = world();
    let mut other = database.session();
    session.exec(
        "CREATE FUNCTION in_time(OUT code text) LANGUAGE plpgsql AS $$
         BEGIN
           PERFORM credit_pools.consume_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 7);
           PERFORM credit_pools.report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 10);
           code := 'done';
         EXCEPTION WHEN lock_not_available OR query_canceled OR deadlock_detected THEN
           code := SQLSTATE;
         END $$",
    );
    for (setting, code) in [("lock_timeout", "55P03"), ("statement_timeout", "57014")] {
        other.exec("BEGIN");
        other.call(USE_10);
        let before = digest(&mut session);
        session.exec(&format!("BEGIN; SET LOCAL {setting} = '300ms'"));
        assert_eq!(session.value("SELECT code FROM in_time()"), code);
        session.exec(&format!("SET LOCAL {setting} = 0"));
        assert_eq!(digest(&mut session), before, "{setting}");
        other.exec("ROLLBACK");
        assert_eq!(session.value("SELECT code FROM in_time()"), "done");
        session.exec("ROLLBACK");
    }
    assert_eq!(left(&mut session), "1000");
    check_invariants(&mut session);
}

/// What a block that fails has taught the session (a new plan, a new rate, a closed credit type, a pool) it forgets.
#[test]
fn nothing_is_remembered_of_an_undone_block() {
    let (_database, mut session) = world();
    let cost = |session: &mut Session| {
        let row = session.call(
            "estimate_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1)",
        );
        row.get("credits").to_owned()
    };
    assert_eq!(cost(&mut session), "1");
    for undone in [
        "provision_subscription(customer_id => 'c1', plan_id => 'plan-pro', resource_id => 'ws-a')",
        "define_rate(feature_id => 'feature-ai-tokens', credit_type_id => 'ai-tokens', plan_id => 'plan-basic', credits_per_unit => 7)",
        "archive_credit_type(credit_type_id => 'ai-tokens')",
        "cancel_subscription(customer_id => 'c1', subscription_id => 's1')",
        "transfer_subscription(customer_id => 'c1', subscription_id => 's1', to_resource_id => 'ws-b')",
        "set_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', status => 'frozen')",
        "set_limit(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 0.1, per => '1 day')",
        "define_credit_type(credit_type_id => 'ai-tokens', scale => 6, unit_singular => 'token')",
    ] {
        for way in ["block", "savepoint", "transaction"] {
            session.exec("BEGIN");
            match way {
                "block" => session.exec(&format!(
                    "DO $$ BEGIN
                       PERFORM credit_pools.{undone};
                       PERFORM credit_pools.report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1);
                       RAISE EXCEPTION 'undo';
                     EXCEPTION WHEN OTHERS THEN NULL; END $$"
                )),
                _ => {
                    session.exec("SAVEPOINT a");
                    session.call(undone);
                    let _ = session.try_call(USE_10);
                    session.exec("ROLLBACK TO a");
                }
            }
            if way == "transaction" {
                session.exec("ROLLBACK; BEGIN");
            }
            assert_eq!(cost(&mut session), "1", "{way}: {undone}");
            let row = session.call(USE_10);
            assert_eq!((row.get("credits_consumed"), row.get("balance")), ("10", "990"), "{way}: {undone}");
            session.call(
                "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1)",
            );
            session.exec("ROLLBACK");
        }
    }
    check_invariants(&mut session);
}

/// A procedure that commits between calls, with blocks around them, which undo the last piece only.
#[test]
fn procedures_that_commit() {
    let (_database, mut session) = world();
    session.exec(
        "CREATE PROCEDURE work(rounds int) LANGUAGE plpgsql AS $$
         DECLARE n int;
         BEGIN
           FOR n IN 1..rounds LOOP
             PERFORM credit_pools.report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1, idempotency_key => 'work-' || n);
             BEGIN
               PERFORM credit_pools.consume_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 3);
               PERFORM credit_pools.consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1e6);
             EXCEPTION WHEN SQLSTATE 'PC001' THEN NULL;
             END;
             IF n % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
           END LOOP;
         END $$",
    );
    session.exec("CALL work(9)");
    assert_eq!(left(&mut session), "994", "six of nine were committed");
    assert_eq!(session.balance("c1", Some("ws-b"), "ai-tokens"), "500");
    session.exec("CALL work(9)");
    assert_eq!(left(&mut session), "994", "the same keys again, but for the three that were rolled back twice");
    // The extension's own procedure among them.
    session.exec("DO $$ BEGIN PERFORM credit_pools.consume_credits(customer_id => 'c2', credit_type_id => 'ai-tokens', amount => 1); COMMIT; CALL credit_pools.maintain(); END $$");
    let fault =
        session.fault("DO $$ BEGIN CALL credit_pools.maintain(); EXCEPTION WHEN division_by_zero THEN NULL; END $$");
    assert!(matches!(fault.code.as_str(), "2D000" | "25001"), "it commits, so not in a block: {fault}");
    check_invariants(&mut session);
}
