//! PREPARE TRANSACTION, ended by another session: the pool waits, nothing else does.

use crate::calls::CALLS;
use crate::world::{USE_10, left, world};
use std::io::Write;
use support::{Session, check_invariants, digest};

/// `false`, and said so, where the server takes none.
fn can_prepare(session: &mut Session, what: &str) -> bool {
    let can = session.value("SHOW max_prepared_transactions") != "0";
    if !can {
        // Not through eprintln!, which the test runner swallows when a test passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {what} needs a server with max_prepared_transactions above 0");
    }
    can
}

#[test]
fn another_session_ends_it() {
    let (database, mut session) = world();
    if !can_prepare(&mut session, "another_session_ends_it") {
        return;
    }
    let name = session.value("SELECT current_database()");
    for (number, end) in ["COMMIT", "ROLLBACK"].iter().enumerate() {
        let keyed = |call: &str| format!("{}, idempotency_key => 'key-{number}')", call.trim_end_matches(')'));
        let grant =
            "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5)";
        let other_pool =
            "consume_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 1)";
        let mut gone = database.session();
        gone.exec("BEGIN");
        gone.call(&keyed(USE_10));
        gone.call(&keyed(grant));
        gone.exec(&format!("PREPARE TRANSACTION '{name}-{number}'"));
        drop(gone);
        session.exec("SET lock_timeout = '200ms'");
        // Reads of the pool and of everything else.
        assert_eq!(left(&mut session), "1000");
        for read in [
            "check_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1)",
            "estimate_usage(customer_id => 'c1', resource_id => 'ws-b', feature_id => 'feature-search', value => 1)",
            "balance_at(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', at => clock_timestamp())",
        ] {
            // There is no subscription in ws-b; that it says so is an answer, too.
            if let Err(fault) = session.try_call(read) {
                assert_eq!(fault.code, "PC003", "{fault}");
            }
        }
        // Other pools, of the same customer and of others; new pools, new customers.
        session.exec("BEGIN");
        session.call(other_pool);
        session.call("provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-n')");
        session.call("report_usage(customer_id => 'c1', resource_id => 'ws-n', feature_id => 'feature-ai-tokens', value => 1, on_insufficient => 'cap')");
        session.call(&keyed("consume_credits(customer_id => 'c2', credit_type_id => 'ai-tokens', amount => 1)"));
        session.exec("ROLLBACK");
        session.rows("SELECT * FROM credit_pools.run_maintenance()");
        // The pool itself, and the keys that may come to be used.
        for call in [USE_10.to_owned(), keyed(other_pool), keyed(&grant.replace("ws-a", "ws-b"))] {
            assert_eq!(session.call_fault(&call).code, "55P03", "{call}");
        }
        let mut other = database.session();
        other.exec(&format!("{end} PREPARED '{name}-{number}'"));
        let committed = *end == "COMMIT";
        assert_eq!(left(&mut session), if committed { "995" } else { "1000" });
        session.exec("BEGIN");
        let again = session.call(&keyed(USE_10));
        assert_eq!(again.flag("is_duplicate"), committed, "{end}");
        session.exec("ROLLBACK");
        if committed {
            session.call("consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5)");
            session.call("grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 10)");
            assert_eq!(left(&mut session), "1000");
        }
    }
    check_invariants(&mut session);
}

/// Every kind of call may stand in a prepared transaction; undone, it leaves nothing.
#[test]
fn every_call_can_be_prepared() {
    let (_database, mut session) = world();
    if !can_prepare(&mut session, "every_call_can_be_prepared") {
        return;
    }
    let name = session.value("SELECT current_database()");
    let before = digest(&mut session);
    for call in CALLS {
        session.exec("BEGIN");
        session.rows(&format!("SELECT * FROM credit_pools.{}", call.call));
        session.exec(&format!("PREPARE TRANSACTION '{name}-call'"));
        assert_eq!(digest(&mut session), before, "{}", call.call);
        session.exec(&format!("ROLLBACK PREPARED '{name}-call'"));
        assert_eq!(digest(&mut session), before, "{}", call.call);
    }
    for call in CALLS.iter().filter(|call| call.call.starts_with("report_usage") || call.call.starts_with("grant")) {
        session.exec("BEGIN");
        session.rows(&format!("SELECT * FROM credit_pools.{}", call.call));
        session.exec(&format!("PREPARE TRANSACTION '{name}-call'"));
        session.exec(&format!("COMMIT PREPARED '{name}-call'"));
    }
    check_invariants(&mut session);
}
