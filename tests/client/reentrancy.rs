//! Triggers of somebody's own on the extension's tables that call the extension back, raise, keep rows back or change
//! them; and calls from every place where SQL takes an expression. Either the books stay sound or the call fails with an
//! error that says why, and then nothing of it is left. `CREDIT_POOLS_REENTRANCY_TRIALS` (400) random callbacks.

#[path = "reentrancy/blocks.rs"]
mod blocks;
#[path = "reentrancy/calls.rs"]
mod calls;
#[path = "reentrancy/places.rs"]
mod places;
#[path = "reentrancy/prepared.rs"]
mod prepared;
#[path = "reentrancy/world.rs"]
mod world;

use calls::{CALLS, Call, fitting};
use rand::{Rng, seq::IndexedRandom};
use support::{Fault, Session, check_invariants, digest, seeded, text};
use world::{USE_10, broken, left, world};

/// When a trigger runs, as CREATE TRIGGER puts it around the table's name.
const TIMES: &[(&str, &str)] = &[
    ("TRIGGER hook BEFORE INSERT OR UPDATE", "FOR EACH ROW"),
    ("TRIGGER hook AFTER INSERT OR UPDATE", "FOR EACH ROW"),
    ("TRIGGER hook BEFORE INSERT OR UPDATE", "FOR EACH STATEMENT"),
    ("TRIGGER hook AFTER INSERT OR UPDATE", "FOR EACH STATEMENT"),
    ("CONSTRAINT TRIGGER hook AFTER INSERT OR UPDATE", "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"),
];

/// What triggers call, and what is so afterwards where that call succeeded and the outer one is not about the same.
const CALLED_BACK: &[(&str, &str)] = &[
    ("consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 2)", ""),
    ("consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 50)", ""),
    ("consume_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 2)", ""),
    ("consume_credits(customer_id => 'c2', credit_type_id => 'ai-tokens', amount => 2)", ""),
    ("grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 3)", ""),
    (
        "void_grant(customer_id => 'c1', grant_id => (SELECT max(grant_id) FROM credit_pools.grants WHERE resource_id = 'ws-a'))",
        "",
    ),
    ("reserve_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 4)", ""),
    (
        "set_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', overdraft_limit => 77)",
        "SELECT overdraft_limit = 77 FROM credit_pools.pools WHERE resource_id = 'ws-a' AND customer_id = 'c1' AND credit_type_id = 'ai-tokens'",
    ),
    (
        "set_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', status => 'frozen')",
        "SELECT status = 'frozen' FROM credit_pools.pools WHERE resource_id = 'ws-a' AND customer_id = 'c1' AND credit_type_id = 'ai-tokens'",
    ),
    (
        "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 5, target_balance => 3000)",
        "",
    ),
    (
        "set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 1500, target_balance => 3000, settlement => 'immediate')",
        "",
    ),
    (
        "set_limit(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 100, per => '1 hour')",
        "",
    ),
    ("provision_subscription(customer_id => 'c1', plan_id => 'plan-pro', resource_id => 'ws-a')", ""),
    ("provision_subscription(customer_id => 'c9', plan_id => 'plan-pro', resource_id => 'ws-a')", ""),
    ("run_maintenance()", ""),
    ("check_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1)", ""),
    ("estimate_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1)", ""),
    (
        "balance_at(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', at => clock_timestamp())",
        "",
    ),
    ("pools", ""),
    ("grants", ""),
    ("ledger", ""),
];

/// What must never come out, whatever a trigger does: internal errors, and rules of the tables that the extension is there to
/// keep.
fn is_garbage(fault: &Fault) -> bool {
    fault.is_crash() || ["23505", "23502", "23514", "21000"].contains(&fault.code.as_str())
}

/// Lets `hook` call so at most `depth` times in this transaction; `caught`: it goes on where that fails.
fn set_hook(session: &mut Session, table: &str, (time, level): (&str, &str), call: &str, depth: i32, caught: bool) {
    session.exec(&format!(
        "CREATE {time} ON credit_pools.{table} {level} EXECUTE FUNCTION hook();
         SET LOCAL app.call = {}; SET LOCAL app.depth = '{depth}'; SET LOCAL app.caught = '{caught}'; SET LOCAL app.answer = ''",
        text(call)
    ));
}

/// The outer call, with what is deferred; where it fails, nothing of it is left.
fn run_outer(session: &mut Session, call: &Call) -> Result<(), Fault> {
    session.exec("SAVEPOINT outer_call");
    let result = session
        .try_rows(&format!("SELECT * FROM credit_pools.{}", call.call))
        .and_then(|_| session.try_exec("SET CONSTRAINTS ALL IMMEDIATE"));
    if result.is_err() {
        session.exec("ROLLBACK TO outer_call");
    }
    session.exec("SET LOCAL app.depth = '0'");
    result
}

#[test]
fn a_trigger_may_call_back() {
    let (seed, mut random) = seeded("callbacks");
    let (_database, mut session) = world();
    let trials: usize = std::env::var("CREDIT_POOLS_REENTRANCY_TRIALS")
        .map_or(400, |text| text.trim().parse().expect("a number of trials"));
    let before = digest(&mut session);
    let (mut fired, mut went_on, mut refused, mut complaints) = (0, 0, 0, Vec::new());
    for _ in 0..trials {
        let call = CALLS.choose(&mut random).expect("calls");
        let table = *call.writes.choose(&mut random).expect("it writes");
        let time = *TIMES.choose(&mut random).expect("times");
        let (back, so) = CALLED_BACK.choose(&mut random).expect("callbacks");
        let (caught, depth) = (random.random_bool(0.5), [1, 1, 3][random.random_range(0..3)]);
        let about =
            format!("seed {seed}: {} ON {table} {}, {back} (caught: {caught}) in {}", time.0, time.1, call.call);
        session.exec("BEGIN");
        set_hook(&mut session, table, time, back, depth, caught);
        let count = "SELECT last_value * is_called::int AS calls FROM public.hook_count";
        let calls = session.row(count).int("calls");
        let result = run_outer(&mut session, call);
        let answer = session.value("SELECT coalesce(current_setting('app.answer', true), '')");
        if session.row(count).int("calls") > calls {
            fired += 1;
        }
        match &result {
            Ok(()) => {
                went_on += usize::from(answer == "done");
                let about_the_same = call.call.split('(').next() == back.split('(').next();
                let kept = so.is_empty() || answer != "done" || about_the_same || session.value(so) == "t";
                if !kept {
                    complaints.push(format!("{about}: what it called back is lost"));
                }
                if !answer.is_empty() && answer != "done" {
                    refused += 1;
                    if ["XX", "23", "21", "08"].iter().any(|class| answer.starts_with(class)) {
                        complaints.push(format!("{about}: the trigger caught {answer}"));
                    }
                }
            }
            Err(fault) => {
                refused += 1;
                if is_garbage(fault) {
                    complaints.push(format!("{about}: {fault}"));
                }
            }
        }
        complaints.extend(broken(&mut session).into_iter().map(|rule| format!("{about}: {rule}")));
        session.exec("ROLLBACK");
        if complaints.len() > 5 {
            break;
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_eq!(digest(&mut session), before, "everything was rolled back");
    assert!(
        fired > trials / 2 && went_on > trials / 10 && refused > 0,
        "{fired} fired, {went_on} went on, {refused} refused"
    );
    check_invariants(&mut session);
}

/// A deferred constraint trigger runs when the call is over: there everything goes, on the same pool, too.
#[test]
fn a_deferred_trigger_may_do_anything() {
    let (_database, mut session) = world();
    for call in CALLS {
        for table in call.writes {
            session.exec("BEGIN");
            set_hook(&mut session, table, TIMES[4], CALLED_BACK[0].0, 1, false);
            let result = run_outer(&mut session, call);
            assert!(result.is_ok(), "{table}, {}: {}", call.call, result.expect_err("a fault"));
            assert_eq!(session.value("SELECT current_setting('app.answer')"), "done", "{table}, {}", call.call);
            let broken = broken(&mut session);
            assert!(broken.is_empty(), "{table}, {}: {}", call.call, broken.join("\n"));
            session.exec("ROLLBACK");
        }
    }
    // At COMMIT, as an application has it: every usage of the one pool is charged a fee in the other.
    session.exec(
        "CREATE FUNCTION fee() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
           IF NEW.entry_type = 'consume' AND NEW.credits IS NOT NULL AND NEW.metadata IS NULL THEN
             PERFORM credit_pools.consume_credits(customer_id => NEW.customer_id, resource_id => 'ws-b', credit_type_id => 'ai-tokens',
               amount => NEW.credits / 10, metadata => '{\"fee\": true}');
           END IF;
           RETURN NULL;
         END $$;
         CREATE CONSTRAINT TRIGGER fee AFTER INSERT ON credit_pools.ledger_entry DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION fee()",
    );
    session.call(USE_10);
    session.exec("BEGIN");
    session.call(USE_10);
    session.call(USE_10);
    assert_eq!(session.balance("c1", Some("ws-b"), "ai-tokens"), "499");
    session.exec("COMMIT");
    assert_eq!(session.balance("c1", Some("ws-b"), "ai-tokens"), "497");
    check_invariants(&mut session);
}

/// The pool is in the hands of the call that writes it; who wants it meanwhile is told, and what to do.
#[test]
fn the_same_pool_in_the_middle_of_a_call_is_refused() {
    let (_database, mut session) = world();
    for (back, _) in CALLED_BACK.iter().filter(|(_, so)| !so.is_empty()).chain(&CALLED_BACK[..1]) {
        session.exec("BEGIN");
        set_hook(&mut session, "ledger_entry", TIMES[1], back, 1, false);
        let fault = session.call_fault(&fitting("consume_credits").call.replace("amount => 10", "amount => 30"));
        assert_eq!(fault.code, "PC005", "{back}: {fault}");
        assert!(fault.message.contains("under way"), "{fault}");
        assert!(fault.hint.as_deref().unwrap_or_default().contains("DEFERR"), "{fault}");
        session.exec("ROLLBACK");
    }
    // Caught, it is as if it had not been tried; other pools go on meanwhile.
    session.exec("BEGIN");
    set_hook(&mut session, "ledger_entry", TIMES[1], CALLED_BACK[0].0, 1, true);
    assert_eq!(session.call(USE_10).get("balance"), "990");
    session.exec("SET LOCAL app.depth = '0'");
    assert_eq!(session.call(USE_10).get("balance"), "980", "not in hand any more");
    session.exec("COMMIT");
    check_invariants(&mut session);
}

/// What pools share is not overwritten either: a spending limit of the whole customer, the spending of a recharge policy.
#[test]
fn what_pools_share_is_counted_once_and_exactly() {
    let (_database, mut session) = world();
    session.call("set_limit(customer_id => 'c1', all_resources => true, credit_type_id => 'ai-tokens', amount => 1000, per => '1 day')");
    let used = "SELECT used FROM credit_pools.spending_limit";
    for time in TIMES {
        for caught in [false, true] {
            session.exec("BEGIN");
            let before: i64 = session.value(used).parse().expect("whole");
            set_hook(&mut session, "ledger_entry", *time, CALLED_BACK[2].0, 1, caught);
            let result = run_outer(&mut session, fitting("consume_credits"));
            let spent: i64 = session.value(used).parse::<i64>().expect("whole") - before;
            match &result {
                Err(fault) => {
                    assert_eq!((fault.code.as_str(), spent), ("PC005", 0), "{time:?} {fault}");
                    assert!(!caught && time.0.starts_with("TRIGGER"), "{time:?} {fault}");
                }
                Ok(()) => {
                    let answer = session.value("SELECT current_setting('app.answer')");
                    assert_eq!(spent, if answer == "done" { 12 } else { 10 }, "{time:?}, {answer}");
                }
            }
            session.exec("ROLLBACK");
        }
    }
    session.call("set_limit(customer_id => 'c1', all_resources => true, credit_type_id => 'ai-tokens', amount => 'Infinity', per => '1 day')");
    session.call("set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 100, target_balance => 1000, price_per_credit => 1, price_currency => 'EUR', max_spend => 1200)");
    for table in ["recharge", "recharge_spend", "event", "pool"] {
        for time in TIMES {
            session.exec("BEGIN");
            let other = "consume_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 490)";
            set_hook(&mut session, table, *time, other, 1, true);
            let low = fitting("consume_credits").call.replace("amount => 10", "amount => 950");
            session.call(&low);
            session.exec("SET CONSTRAINTS ALL IMMEDIATE");
            let row = session.row("SELECT coalesce(sum(price), 0) <= 1200 AND sum(price) = (SELECT spent FROM credit_pools.recharge_spend) AS sound, sum(price) AS spent FROM credit_pools.recharges WHERE status = 'pending'");
            assert!(row.flag("sound"), "{table}, {time:?}: {row:?}");
            let broken = broken(&mut session);
            assert!(broken.is_empty(), "{table}, {time:?}: {}", broken.join("\n"));
            session.exec("ROLLBACK");
        }
    }
}

/// Without a bound: it ends with the error of PostgreSQL's stack, with the contract's own, or when the credits are used up;
/// the server lives, and nothing of it is left.
#[test]
fn endless_recursion_ends() {
    let (database, mut session) = world();
    let before = digest(&mut session);
    for (time, level) in TIMES {
        for (back, codes) in [
            // Ever new customers, so that no pool is in hand twice.
            (
                "open_pool(customer_id => 'deep-' || nextval('public.hook_count'), credit_type_id => 'ai-tokens')",
                &["54001", "57014", "PC005"][..],
            ),
            (CALLED_BACK[0].0, &["PC001", "PC005", "54001"]),
        ] {
            session.exec("BEGIN; SET LOCAL statement_timeout = '3s'");
            set_hook(&mut session, "ledger_entry", (*time, *level), back, 1_000_000_000, false);
            let outer = session.try_rows(&format!("SELECT * FROM credit_pools.{USE_10}"));
            let result = outer.and_then(|_| session.try_exec("SET CONSTRAINTS ALL IMMEDIATE"));
            let fault = result.expect_err("it cannot go on for ever");
            assert!(codes.contains(&fault.code.as_str()), "{time} {level}, {back}: {}", fault.message);
            session.exec("ROLLBACK");
            assert_eq!(digest(&mut session), before, "{time} {level}");
        }
    }
    // Nothing stays in hand.
    assert_eq!(session.call(USE_10).get("balance"), "990");
    assert_eq!(database.session().call(USE_10).get("balance"), "980");
    check_invariants(&mut session);
}

/// A trigger's own error goes through as it is, and the call leaves nothing.
#[test]
fn a_trigger_that_raises() {
    let (_database, mut session) = world();
    session.exec(
        "CREATE FUNCTION raises() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'not on a Sunday' USING ERRCODE = 'ZZ123', DETAIL = 'its own', HINT = 'wait'; END $$",
    );
    let before = digest(&mut session);
    for call in CALLS {
        for table in call.writes {
            for (time, level) in TIMES {
                session.exec(&format!(
                    "BEGIN; CREATE {time} ON credit_pools.{table} {level} EXECUTE FUNCTION raises(); SAVEPOINT a"
                ));
                let outer = session.try_rows(&format!("SELECT * FROM credit_pools.{}", call.call));
                let fault = outer.and_then(|_| session.try_exec("SET CONSTRAINTS ALL IMMEDIATE")).expect_err("raised");
                let seen = (fault.code.as_str(), fault.message.as_str(), fault.hint.as_deref());
                assert_eq!(seen, ("ZZ123", "not on a Sunday", Some("wait")), "{time} {table}: {fault}");
                session.exec("ROLLBACK TO a");
                if call.writes.first() == Some(table) {
                    assert_eq!(digest(&mut session), before, "{time} {table} {}", call.call);
                }
                session.exec("ROLLBACK");
            }
        }
    }
    assert_eq!(session.call(USE_10).get("balance"), "990");
    check_invariants(&mut session);
}

/// A trigger that keeps a row back: the call notices and fails, or the row was not needed for the books.
#[test]
fn a_trigger_that_keeps_rows_back() {
    let (_database, mut session) = world();
    session.exec("CREATE FUNCTION swallows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$");
    let mut complaints = Vec::new();
    for call in CALLS {
        for table in call.writes {
            session.exec(&format!(
                "BEGIN; CREATE TRIGGER hook BEFORE INSERT OR UPDATE ON credit_pools.{table} FOR EACH ROW EXECUTE FUNCTION swallows();
                 SAVEPOINT a"
            ));
            let result = session.try_rows(&format!("SELECT * FROM credit_pools.{}", call.call));
            if let Err(fault) = &result {
                session.exec("ROLLBACK TO a");
                if is_garbage(fault) || !fault.is_contract_code() && fault.code != "40001" {
                    complaints.push(format!("{table}: {fault}"));
                }
            }
            session.exec(&format!("DROP TRIGGER hook ON credit_pools.{table}"));
            let broken = broken(&mut session);
            complaints.extend(broken.into_iter().map(|rule| format!("{table}, {} ({result:?}): {rule}", call.call)));
            session.exec("ROLLBACK");
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_eq!(left(&mut session), "1000");
}

/// A trigger that writes other figures than the call meant forges the books like an UPDATE of the owner's: verify_ledger tells.
/// What the call itself needs it does not lose.
#[test]
fn a_trigger_that_changes_rows_is_found_out() {
    let (_database, mut session) = world();
    if session.value("SELECT count(*) FROM pg_proc WHERE proname = 'verify_ledger'") == "0" {
        return;
    }
    for (table, change) in [
        ("ledger_entry", "amount := NEW.amount + 1"),
        ("ledger_entry", "balance_after := NEW.balance_after + 1"),
        ("ledger_entry", "entry_hash := sha256(NEW.entry_hash)"),
        ("ledger_entry", "actor := 'somebody else'"),
        ("ledger_entry", "metadata := '{\"a\": 1}'"),
        ("ledger_entry", "credits := NEW.credits + 1"),
        ("ledger_entry", "recorded_at := NEW.recorded_at - interval '1 day'"),
        ("pool", "balance := NEW.balance + 1"),
        ("pool", "consumed := NEW.consumed - 1"),
        ("pool", "last_hash := sha256(NEW.last_hash)"),
        ("pool", "seq := NEW.seq + 1"),
        ("pool_grant", "consumed := NEW.consumed - 1"),
        ("pool_grant", "amount := NEW.amount + 1"),
    ] {
        session.exec(&format!(
            "BEGIN;
             CREATE FUNCTION forges() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.{change}; RETURN NEW; END $$;
             CREATE TRIGGER hook BEFORE INSERT OR UPDATE ON credit_pools.{table} FOR EACH ROW EXECUTE FUNCTION forges()"
        ));
        session.call(USE_10);
        let problems = session.rows("SELECT problem FROM credit_pools.verify_ledger('c1')");
        assert!(!problems.is_empty(), "{table}: {change} is not found");
        // The next call may work on or refuse, but is no crash.
        if let Err(fault) = session.try_call(USE_10) {
            assert!(fault.is_contract_code() || fault.code == "23505", "{table}: {change}: {fault}");
        }
        session.exec("ROLLBACK");
    }
    assert!(session.rows("SELECT * FROM credit_pools.verify_ledger()").is_empty());
    check_invariants(&mut session);
}

/// A natural one: the payment is taken by a trigger as soon as a recharge is asked for.
#[test]
fn a_recharge_that_a_trigger_completes() {
    let (_database, mut session) = world();
    session.exec(
        "CREATE FUNCTION pay() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
           PERFORM credit_pools.complete_recharge(customer_id => NEW.customer_id, recharge_id => NEW.recharge_id, payment_reference => 'p-' || NEW.recharge_id);
           RETURN NULL;
         END $$;
         CREATE CONSTRAINT TRIGGER pay AFTER INSERT ON credit_pools.recharge DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW WHEN (NEW.status = 'pending') EXECUTE FUNCTION pay()",
    );
    session.call("set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 100, target_balance => 1000)");
    let low = fitting("consume_credits").call.replace("amount => 10", "amount => 950");
    for _ in 0..3 {
        assert_eq!(session.call(&low).get("balance"), "50", "before the end of the transaction");
        assert_eq!(left(&mut session), "1000", "after it");
    }
    session.exec("BEGIN");
    session.call(&low);
    assert_eq!(left(&mut session), "50");
    session.exec("SET CONSTRAINTS ALL IMMEDIATE");
    assert_eq!(left(&mut session), "1000");
    session.exec("ROLLBACK");
    assert_eq!(session.value("SELECT count(*) FROM credit_pools.recharges WHERE status = 'succeeded'"), "3");
    check_invariants(&mut session);
}
