//! The errors of holds, reversals, limits and batches.

use super::{Answer, Code, INSUFFICIENT, Invalid, Unknown, assert_table, check_table, complaint, prepare, world};
use support::{Session, check_invariants, digest, text};

const LIMIT: Answer = Code("PC007", &["limit", "used", "required", "window_end", "per", "scope"]);
const STATE: Answer = Code("PC005", &[]);
const CONFLICT: Answer = Code("PC004", &[]);

const SCOPE: &str = "customer_id => 'c1', resource_id => 'ws-a'";
const TYPE: &str = "credit_type_id => 'ai-tokens'";

/// `$s`: customer c1 and ws-a; `$t`: the credit type; `$c`: the customer; `$f`: the feature.
fn spelled(call: &str) -> String {
    call.replace("$s", SCOPE)
        .replace("$t", TYPE)
        .replace("$c", "customer_id => 'c1'")
        .replace("$f", "feature_id => 'feature-ai-tokens'")
}

fn assert_calls(session: &mut Session, table: &[(&str, Answer)]) {
    let table: Vec<(String, Answer)> = table.iter().map(|(call, answer)| (spelled(call), answer.clone())).collect();
    let complaints = check_table(session, &table);
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), table.len(), complaints.join("\n"));
}

fn call(session: &mut Session, call: &str) -> support::Row {
    session.call(&spelled(call))
}

#[test]
fn of_reservations() {
    let (_database, mut session) = world();
    // 100: 10 used, 10 in r1, 20 in by-feature.
    prepare(&mut session);
    call(&mut session, "reserve_credits($s, $f, value => 20, reservation_id => 'by-feature')");
    for id in ["settled", "released"] {
        call(&mut session, &format!("reserve_credits($s, $t, amount => 5, reservation_id => '{id}')"));
    }
    call(&mut session, "settle_reservation($c, reservation_id => 'settled', amount => 3)");
    call(&mut session, "release_reservation($c, reservation_id => 'released')");
    let before = digest(&mut session);
    // The same once more: the same answer, and nothing changes.
    for same in [
        "reserve_credits($s, $f, value => 20, reservation_id => 'by-feature')",
        "reserve_credits($s, $t, amount => 5, reservation_id => 'settled')",
        "reserve_credits($s, $t, amount => 5, reservation_id => 'released')",
        "settle_reservation($c, reservation_id => 'settled', amount => 3)",
        "release_reservation($c, reservation_id => 'released')",
    ] {
        let row = call(&mut session, same);
        assert!(row.flag("is_duplicate"), "{row:?} of {same}");
    }
    assert_eq!(digest(&mut session), before);
    assert_calls(
        &mut session,
        &[
            ("reserve_credits($s, $t, amount => 57.000001)", INSUFFICIENT),
            ("reserve_credits($s, $f, value => 58)", INSUFFICIENT),
            ("settle_reservation($c, reservation_id => 'r1', amount => 67.000001)", INSUFFICIENT),
            ("settle_reservation($c, reservation_id => 'by-feature', value => 78)", INSUFFICIENT),
            ("settle_reservation($c, reservation_id => 'r1', amount => 68, final => false)", INSUFFICIENT),
            // Whom and what.
            (
                "reserve_credits(customer_id => 'nope', resource_id => 'ws-a', $t, amount => 1)",
                Unknown("customer", "nope"),
            ),
            ("reserve_credits($c, resource_id => 'nope', $t, amount => 1)", Unknown("resource", "nope")),
            ("reserve_credits($s, credit_type_id => 'nope', amount => 1)", Unknown("credit_type", "nope")),
            ("reserve_credits($s, feature_id => 'nope', value => 1)", Unknown("feature", "nope")),
            ("settle_reservation($c, reservation_id => 'nope')", Unknown("reservation", "nope")),
            ("release_reservation($c, reservation_id => 'nope')", Unknown("reservation", "nope")),
            ("extend_reservation($c, reservation_id => 'nope')", Unknown("reservation", "nope")),
            ("settle_reservation(customer_id => 'nope', reservation_id => 'r1')", Unknown("reservation", "r1")),
            ("reserve_credits($c, resource_id => 'ws-b', $f, value => 1)", Code("PC003", &[])),
            ("reserve_credits($s, feature_id => 'feature-unpriced', value => 1)", Code("PC006", &[])),
            // A pool that was never opened has nothing.
            ("reserve_credits($s, credit_type_id => 'images', amount => 1)", INSUFFICIENT),
            // The id is taken.
            ("reserve_credits($s, $f, value => 21, reservation_id => 'by-feature')", CONFLICT),
            ("reserve_credits($s, $t, amount => 20, reservation_id => 'by-feature')", CONFLICT),
            ("reserve_credits($c, resource_id => 'ws-b', $f, value => 20, reservation_id => 'by-feature')", CONFLICT),
            ("reserve_credits($s, $f, value => 20, reservation_id => 'by-feature', ttl => '2 hours')", CONFLICT),
            (
                "reserve_credits($s, $f, value => 20, reservation_id => 'by-feature', metadata => '{\"a\": 1}')",
                CONFLICT,
            ),
            (
                "reserve_credits($s, $f, value => 20, reservation_id => 'by-feature', dimensions => '{\"a\": 1}')",
                CONFLICT,
            ),
            ("reserve_credits($s, $t, amount => 6, reservation_id => 'released')", CONFLICT),
            // Closed.
            ("settle_reservation($c, reservation_id => 'settled')", CONFLICT),
            ("settle_reservation($c, reservation_id => 'settled', amount => 4)", CONFLICT),
            ("settle_reservation($c, reservation_id => 'settled', amount => 3, final => false)", CONFLICT),
            ("settle_reservation($c, reservation_id => 'released')", STATE),
            ("release_reservation($c, reservation_id => 'settled')", STATE),
            ("extend_reservation($c, reservation_id => 'settled')", STATE),
            ("extend_reservation($c, reservation_id => 'released')", STATE),
            // What does not go together.
            ("reserve_credits($s)", Invalid(&["amount", "value", "feature_id", "credit_type_id"])),
            ("reserve_credits($s, $t)", Invalid(&["amount"])),
            ("reserve_credits($s, $f)", Invalid(&["value"])),
            (
                "reserve_credits($s, $t, amount => 1, $f, value => 1)",
                Invalid(&["amount", "value", "feature_id", "credit_type_id"]),
            ),
            ("reserve_credits($s, $t, value => 1)", Invalid(&["amount", "value", "feature_id"])),
            ("reserve_credits($s, $f, amount => 1)", Invalid(&["amount", "value", "feature_id", "credit_type_id"])),
            ("reserve_credits($s, $f, value => 0)", Invalid(&["value"])),
            ("reserve_credits($s, $f, value => -1)", Invalid(&["value"])),
            ("reserve_credits($s, $f, value => 'NaN')", Invalid(&["value"])),
            ("reserve_credits($s, $t, amount => 1, ttl => '24 hours 1 microsecond')", Invalid(&["ttl"])),
            ("reserve_credits($s, $t, amount => 1, ttl => '1 month')", Invalid(&["ttl"])),
            ("reserve_credits($s, $t, amount => 1, ttl => '178000000 years')", Invalid(&["ttl"])),
            ("reserve_credits($s, $t, amount => 1, ttl => '1 day -24 hours')", Invalid(&["ttl"])),
            ("extend_reservation($c, reservation_id => 'r1', ttl => '25 hours')", Invalid(&["ttl"])),
            ("extend_reservation($c, reservation_id => 'r1', ttl => '-1 microsecond')", Invalid(&["ttl"])),
            ("settle_reservation($c, reservation_id => 'r1', value => 1)", Invalid(&["value"])),
            (
                "settle_reservation($c, reservation_id => 'by-feature', amount => 1, value => 1)",
                Invalid(&["amount", "value"]),
            ),
            ("settle_reservation($c, reservation_id => 'by-feature', value => -1)", Invalid(&["value"])),
            ("settle_reservation($c, reservation_id => 'r1', amount => 0.0000001)", Invalid(&["amount"])),
        ],
    );
    // Frozen: what is held goes on, nothing new is held, nor more than is held charged.
    call(&mut session, "set_pool($s, $t, status => 'frozen')");
    assert_calls(
        &mut session,
        &[
            ("reserve_credits($s, $t, amount => 1)", STATE),
            ("settle_reservation($c, reservation_id => 'r1', amount => 11)", STATE),
        ],
    );
    let row = call(
        &mut session,
        "settle_reservation($c, reservation_id => 'r1', amount => 4, final => false, idempotency_key => 'k')",
    );
    assert_eq!((row.get("credits_consumed"), row.get("held")), ("4", "6"));
    assert!(
        call(
            &mut session,
            "settle_reservation($c, reservation_id => 'r1', amount => 4, final => false, idempotency_key => 'k')"
        )
        .flag("is_duplicate")
    );
    assert_calls(
        &mut session,
        &[(
            "settle_reservation($c, reservation_id => 'r1', amount => 5, final => false, idempotency_key => 'k')",
            CONFLICT,
        )],
    );
    call(&mut session, "extend_reservation($c, reservation_id => 'r1', ttl => '24 hours')");
    call(&mut session, "release_reservation($c, reservation_id => 'r1')");
    // Its time is over.
    session.exec("SET credit_pools.test_clock = '2999-01-01 00:00+00'");
    assert_calls(
        &mut session,
        &[
            ("settle_reservation($c, reservation_id => 'by-feature')", STATE),
            ("extend_reservation($c, reservation_id => 'by-feature')", STATE),
        ],
    );
    assert_eq!(call(&mut session, "release_reservation($c, reservation_id => 'by-feature')").get("status"), "expired");
    check_invariants(&mut session);
}

#[test]
fn of_reversals_transfers_and_changed_grants() {
    let (_database, mut session) = world();
    prepare(&mut session);
    let usage = call(&mut session, "report_usage($s, $f, value => 20)").get("usage_id").to_owned();
    let grant = session.value("SELECT min(grant_id) FROM credit_pools.grants");
    call(&mut session, &format!("reverse_usage($c, usage_id => {usage}, credits => 5, idempotency_key => 'k')"));
    call(
        &mut session,
        "transfer_credits($c, $t, amount => 5, from_resource_id => 'ws-a', to_resource_id => 'ws-b', idempotency_key => 'k')",
    );
    call(&mut session, &format!("update_grant($c, grant_id => {grant}, priority => 8, idempotency_key => 'k')"));
    let pending = session.value("SELECT grant_id FROM credit_pools.grants WHERE status = 'pending_payment'");
    call(&mut session, &format!("void_grant($c, grant_id => {pending})"));
    let reverse = |arguments: &str| format!("reverse_usage($c, usage_id => {usage}{arguments})");
    let fault = session.call_fault(&spelled(&reverse(", credits => 15.000001")));
    assert_eq!(complaint(&fault, &Invalid(&["credits"])), None, "{fault}");
    assert_eq!(fault.figure("left").as_deref(), Some("15"), "{fault}");
    assert_calls(
        &mut session,
        &[
            (&reverse(", credits => 0"), Invalid(&["credits"])),
            (&reverse(", credits => 0.0000001"), Invalid(&["credits"])),
            (&reverse(", credits => 6, idempotency_key => 'k'"), CONFLICT),
            (&reverse(", idempotency_key => 'k'"), CONFLICT),
            ("reverse_usage($c, usage_id => -1)", Unknown("usage", "-1")),
            ("reverse_usage($c, usage_id => NULL)", Invalid(&["usage_id"])),
            (&reverse("").replace("$c", "customer_id => 'nope'"), Code("PC002", &["kind", "id"])),
            // 100 - 10 - 10 held - 15 - 5.
            (
                "transfer_credits($c, $t, amount => 60.000001, from_resource_id => 'ws-a', to_resource_id => 'ws-b')",
                INSUFFICIENT,
            ),
            (
                "transfer_credits($c, $t, amount => 6, from_resource_id => 'ws-a', to_resource_id => 'ws-b', idempotency_key => 'k')",
                CONFLICT,
            ),
            (
                "transfer_credits($c, $t, amount => 1, from_resource_id => 'ws-a', to_resource_id => 'ws-a')",
                Invalid(&["to_resource_id"]),
            ),
            (
                "transfer_credits($c, $t, amount => 1, from_resource_id => 'nope', to_resource_id => 'ws-a')",
                Unknown("resource", "nope"),
            ),
            (
                "transfer_credits($c, credit_type_id => 'nope', amount => 1, to_resource_id => 'ws-a')",
                Unknown("credit_type", "nope"),
            ),
            (&format!("update_grant($c, grant_id => {grant}, priority => 9, idempotency_key => 'k')"), CONFLICT),
            (
                &format!("update_grant($c, grant_id => {grant}, expires_at => '2020-01-01 00:00+00')"),
                Invalid(&["expires_at"]),
            ),
            (&format!("update_grant($c, grant_id => {grant}, expires_at => '-infinity')"), Invalid(&["expires_at"])),
            (&format!("update_grant($c, grant_id => {pending}, priority => 1)"), STATE),
            ("update_grant($c, grant_id => -1, priority => 1)", Unknown("grant", "-1")),
        ],
    );
    // All of it; then there is nothing left, which is no error, but for an amount.
    assert_eq!(call(&mut session, &reverse("")).get("credits_returned"), "15");
    assert_eq!(call(&mut session, &reverse("")).get("credits_returned"), "0");
    assert_calls(&mut session, &[(&reverse(", credits => 1"), Invalid(&["credits"]))]);
    check_invariants(&mut session);
}

#[test]
fn pc007_limit_exceeded() {
    let (_database, mut session) = world();
    session.exec("SET credit_pools.test_clock = '2999-12-30 13:00+00'");
    prepare(&mut session);
    // 10 used and 10 held before there was a limit; they count.
    let row = call(&mut session, "set_limit($s, $t, amount => 25, per => '1 day')");
    assert_eq!((row.get("used"), row.get("window_end")), ("20", "2999-12-31 00:00:00+00"), "{row:?}");
    assert_calls(
        &mut session,
        &[
            ("report_usage($s, $f, value => 5.000001)", LIMIT),
            ("consume_credits($s, $t, amount => 6)", LIMIT),
            // It would not fit the pool either: the limit comes first.
            ("consume_credits($s, $t, amount => 600)", LIMIT),
            ("reserve_credits($s, $t, amount => 6)", LIMIT),
            ("settle_reservation($c, reservation_id => 'r1', amount => 16)", LIMIT),
            (
                "set_limit($s, $t, amount => 5, per => '1 day', all_resources => true)",
                Invalid(&["resource_id", "all_resources"]),
            ),
            ("set_limit($s, $t, amount => 0, per => '1 day')", Invalid(&["amount"])),
            ("set_limit($s, $t, amount => -5, per => '1 day')", Invalid(&["amount"])),
            ("set_limit($s, $t, amount => 'NaN', per => '1 day')", Invalid(&["amount"])),
            ("set_limit($s, $t, amount => '-Infinity', per => '1 day')", Invalid(&["amount"])),
            ("set_limit($s, $t, amount => 0.0000001, per => '1 day')", Invalid(&["amount"])),
            ("set_limit($s, $t, amount => NULL, per => '1 day')", Invalid(&["amount"])),
            ("set_limit($s, $t, amount => 5, per => NULL)", Invalid(&["per"])),
            ("set_limit($s, $t, amount => 5, per => '1 day -1 hour')", Invalid(&["per"])),
            ("set_limit(customer_id => 'nope', $t, amount => 5, per => '1 day')", Unknown("customer", "nope")),
            ("set_limit($c, resource_id => 'nope', $t, amount => 5, per => '1 day')", Unknown("resource", "nope")),
            ("set_limit($s, credit_type_id => 'nope', amount => 5, per => '1 day')", Unknown("credit_type", "nope")),
        ],
    );
    let fault = session.call_fault(&spelled("report_usage($s, $f, value => 6)"));
    for (key, wanted) in [("limit", "25"), ("used", "20"), ("required", "6"), ("scope", "pool")] {
        assert_eq!(fault.figure(key).as_deref(), Some(wanted), "{key} of {fault}");
    }
    assert!(fault.figure("window_end").is_some_and(|end| end.starts_with("2999-12-31T00:00:00")), "{fault}");
    // A tighter one on the customer; the tightest is named.
    call(&mut session, "set_limit($c, $t, amount => 23, per => '1 month', all_resources => true)");
    let fault = session.call_fault(&spelled("report_usage($s, $f, value => 6)"));
    for (key, wanted) in [("limit", "23"), ("scope", "customer")] {
        assert_eq!(fault.figure(key).as_deref(), Some(wanted), "{key} of {fault}");
    }
    assert!(fault.figure("window_end").is_some_and(|end| end.starts_with("3000-01-01T00:00:00")), "{fault}");
    // It counts every resource: what ws-b uses, ws-a cannot.
    call(&mut session, "grant_credits($c, resource_id => 'ws-b', $t, amount => 50)");
    call(&mut session, "consume_credits($c, resource_id => 'ws-b', $t, amount => 2)");
    let row = call(&mut session, "consume_credits($s, $t, amount => 7, on_insufficient => 'cap')");
    assert_eq!((row.get("credits_consumed"), row.get("shortfall")), ("1", "6"));
    assert_calls(&mut session, &[("consume_credits($c, resource_id => 'ws-b', $t, amount => 1)", LIMIT)]);
    let fault = session.fault(&format!(
        "SELECT * FROM credit_pools.report_usage_batch({})",
        text(r#"[{"customer_id": "c1", "resource_id": "ws-a", "feature_id": "feature-free", "value": 5}, {"customer_id": "c1", "resource_id": "ws-a", "feature_id": "feature-ai-tokens", "value": 5}]"#)
    ));
    assert_eq!(complaint(&fault, &LIMIT), None, "{fault}");
    assert_eq!(fault.figure("index").as_deref(), Some("1"), "{fault}");
    let row = call(&mut session, "check_credits($s, $f, value => 1)");
    assert_eq!((row.get("is_granted"), row.get("denial_reason")), ("f", "limit_exceeded"));
    let row = call(&mut session, "estimate_usage($s, $f, value => 1)");
    assert_eq!((row.get("would_be_rejected"), row.get("error_code")), ("t", "PC007"));
    // What the hold gives back is free again; no limit is none.
    call(&mut session, "release_reservation($c, reservation_id => 'r1')");
    call(&mut session, "consume_credits($s, $t, amount => 10)");
    assert_calls(&mut session, &[("consume_credits($s, $t, amount => 1)", LIMIT)]);
    call(&mut session, "set_limit($c, $t, amount => 'Infinity', per => '1 month', all_resources => true)");
    call(&mut session, "consume_credits($s, $t, amount => 1)");
    // The next day begins anew.
    session.exec("SET credit_pools.test_clock = '2999-12-31 00:00+00'");
    call(&mut session, "consume_credits($s, $t, amount => 25)");
    assert_calls(&mut session, &[("consume_credits($s, $t, amount => 1)", LIMIT)]);
    check_invariants(&mut session);
}

#[test]
fn of_questions() {
    let (_database, mut session) = world();
    call(&mut session, "set_pool($c, resource_id => 'ws-b', $t, status => 'frozen')");
    // What a usage would meet, asked beforehand.
    for (arguments, reason) in [
        ("$s, $f, value => 101", "insufficient_credits"),
        ("$s, $t, amount => 100.000001", "insufficient_credits"),
        ("$s, credit_type_id => 'images', amount => 1", "insufficient_credits"),
        ("$c, resource_id => 'ws-b', $f, value => 1", "no_active_subscription"),
        ("$c, resource_id => 'ws-b', $t, amount => 1", "invalid_state"),
        ("$s, feature_id => 'feature-unpriced', value => 1", "no_rate"),
    ] {
        let row = call(&mut session, &format!("check_credits({arguments})"));
        assert_eq!((row.get("is_granted"), row.opt("denial_reason")), ("f", Some(reason)), "{arguments}: {row:?}");
    }
    assert_calls(
        &mut session,
        &[
            ("check_credits(customer_id => 'nope', $t, amount => 1)", Unknown("customer", "nope")),
            ("check_credits($c, resource_id => 'nope', $t, amount => 1)", Unknown("resource", "nope")),
            ("check_credits($s, credit_type_id => 'nope', amount => 1)", Unknown("credit_type", "nope")),
            ("check_credits($s, feature_id => 'nope', value => 1)", Unknown("feature", "nope")),
            ("check_credits($s)", Invalid(&["amount", "value", "feature_id", "credit_type_id"])),
            (
                "check_credits($s, $t, amount => 1, $f, value => 1)",
                Invalid(&["amount", "value", "feature_id", "credit_type_id"]),
            ),
            ("check_credits($s, $t, amount => 0)", Invalid(&["amount"])),
            ("check_credits($s, $t, amount => 0.0000001)", Invalid(&["amount"])),
            ("estimate_usage($s, feature_id => 'nope', value => 1)", Unknown("feature", "nope")),
            ("estimate_usage($s, feature_id => 'feature-unpriced', value => 1)", Code("PC006", &[])),
            ("estimate_usage($c, resource_id => 'ws-b', $f, value => 1)", Code("PC003", &[])),
            ("estimate_usage($s, $f, value => 1, occurred_at => '2999-01-01 00:00+00')", Invalid(&["occurred_at"])),
            ("explain_usage($c, usage_id => -1)", Unknown("usage", "-1")),
            ("explain_usage($c, usage_id => NULL)", Invalid(&["usage_id"])),
            ("report_usage($s, $f, value => -1, update_behavior => 'set')", Invalid(&["value"])),
            ("report_usage($s, $f, value => NULL, update_behavior => 'set')", Invalid(&["value"])),
        ],
    );
    check_invariants(&mut session);
}

/// Events of a batch: DETAIL names the event by its index, and the argument.
#[test]
fn of_batches() {
    let (_database, mut session) = world();
    const GOOD: &str = r#"{"customer_id": "c1", "resource_id": "ws-a", "feature_id": "feature-ai-tokens", "value": 1}"#;
    let before = digest(&mut session);
    for events in ["NULL", "'null'", "'{}'", "'1'", "'\"x\"'", "'true'", "'[]'", &text(GOOD)] {
        for atomic in [true, false] {
            let fault = session.call_fault(&format!("report_usage_batch(events => {events}, atomic => {atomic})"));
            assert_eq!(complaint(&fault, &Invalid(&["events"])), None, "{fault}");
        }
    }
    for count in [100_001, 1_000_000] {
        let fault = session.call_fault(&format!(
            "report_usage_batch((SELECT jsonb_agg('{{}}'::jsonb) FROM generate_series(1, {count})))"
        ));
        assert_eq!(complaint(&fault, &Invalid(&["events"])), None, "{fault}");
    }
    // What is changed in a good event, and what is to blame.
    let replace = |from: &str, to: &str| GOOD.replace(from, to);
    let table: Vec<(String, &str, &str)> = vec![
        ("null".into(), "22023", ""),
        ("1".into(), "22023", ""),
        ("[]".into(), "22023", ""),
        ("\"x\"".into(), "22023", ""),
        ("{}".into(), "22023", "customer_id"),
        (replace("\"c1\"", "null"), "22023", "customer_id"),
        (replace("\"c1\"", "1"), "22023", "customer_id"),
        (replace("\"c1\"", "[\"c1\"]"), "22023", "customer_id"),
        (replace("\"c1\"", "\"\""), "22023", "customer_id"),
        (replace("\"c1\"", "\"nope\""), "PC002", ""),
        (replace("\"ws-a\"", "true"), "22023", "resource_id"),
        (replace("\"ws-a\"", "\"\""), "22023", "resource_id"),
        (replace("\"ws-a\"", "\"nope\""), "PC002", ""),
        (replace("\"ws-a\"", "\"ws-b\""), "PC003", ""),
        (replace("\"feature-ai-tokens\"", "null"), "22023", "feature_id"),
        (replace("\"feature-ai-tokens\"", "{}"), "22023", "feature_id"),
        (replace("\"feature-ai-tokens\"", "\"nope\""), "PC002", ""),
        (replace("\"feature-ai-tokens\"", "\"feature-unpriced\""), "PC006", ""),
        (replace("1}", "\"1\"}"), "22023", "value"),
        (replace("1}", "null}"), "22023", "value"),
        (replace("1}", "0}"), "22023", "value"),
        (replace("1}", "-1}"), "22023", "value"),
        (replace("1}", "1e200}"), "22023", "value"),
        (replace("1}", "true}"), "22023", "value"),
        (replace("1}", "[1]}"), "22023", "value"),
        (replace("1}", "101}"), "PC001", ""),
        (replace("1}", "1, \"valeu\": 2}"), "22023", "valeu"),
        (replace("1}", "1, \"\": 2}"), "22023", ""),
        (replace("1}", "1, \"CUSTOMER_ID\": 2}"), "22023", "CUSTOMER_ID"),
        (replace("1}", "1, \"occurred_at\": 5}"), "22023", "occurred_at"),
        (replace("1}", "1, \"occurred_at\": \"yesterday\"}"), "22023", "occurred_at"),
        (replace("1}", "1, \"occurred_at\": \"2026-01-01T00:00:00\"}"), "22023", "occurred_at"),
        (replace("1}", "1, \"occurred_at\": \"infinity\"}"), "22023", "occurred_at"),
        (replace("1}", "1, \"occurred_at\": \"2999-01-01T00:00:00Z\"}"), "22023", "occurred_at"),
        (replace("1}", "1, \"dimensions\": []}"), "22023", "dimensions"),
        (replace("1}", "1, \"dimensions\": \"x\"}"), "22023", "dimensions"),
        (replace("1}", "1, \"metadata\": 1}"), "22023", "metadata"),
        (replace("1}", "1, \"idempotency_key\": \"\"}"), "22023", "idempotency_key"),
        (replace("1}", "1, \"idempotency_key\": 1}"), "22023", "idempotency_key"),
        (replace("1}", "1, \"on_insufficient\": \"nope\"}"), "22023", "on_insufficient"),
        (replace("1}", "1, \"on_insufficient\": true}"), "22023", "on_insufficient"),
        (replace("1}", "1, \"update_behavior\": \"nope\"}"), "22023", "update_behavior"),
    ];
    let mut complaints = Vec::new();
    for (event, code, argument) in &table {
        let sql = format!("report_usage_batch(events => {}", text(&format!("[{GOOD}, {event}, {GOOD}]")));
        let fault = session.call_fault(&format!("{sql})"));
        if fault.code != *code
            || fault.figure("index").as_deref() != Some("1")
            || (!argument.is_empty() && fault.figure("argument").as_deref() != Some(*argument))
            || fault.hint.is_none()
            || digest(&mut session) != before
        {
            complaints.push(format!("{event} should be {code} of {argument}, index 1: {fault}"));
        }
        // Not atomic: the others count.
        session.exec("BEGIN");
        let rows = session.rows(&format!("SELECT * FROM credit_pools.{sql}, atomic => false)"));
        let codes: Vec<Option<&str>> = rows.iter().map(|row| row.opt("error_code")).collect();
        if codes != [None, Some(*code), None]
            || rows[1].opt("error_message").is_none()
            || rows[2].opt("balance") != Some("98")
        {
            complaints.push(format!("{event}, not atomic, should be {code}: {rows:?}"));
        }
        session.exec("ROLLBACK");
    }
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), table.len(), complaints.join("\n"));
    check_invariants(&mut session);
}

/// The functions of this file refuse what others refuse: also with every argument NULL.
#[test]
fn every_argument_null() {
    let (_database, mut session) = world();
    assert_table(
        &mut session,
        &[
            ("reserve_credits(customer_id => NULL)", Invalid(&["customer_id"])),
            ("settle_reservation(customer_id => NULL, reservation_id => NULL)", Invalid(&["customer_id"])),
            ("release_reservation(customer_id => 'c1', reservation_id => NULL)", Invalid(&["reservation_id"])),
            ("check_credits(customer_id => NULL)", Invalid(&["customer_id"])),
            (
                "set_limit(customer_id => 'c1', credit_type_id => NULL, amount => 1, per => '1 day')",
                Invalid(&["credit_type_id"]),
            ),
            (
                "transfer_credits(customer_id => 'c1', credit_type_id => NULL, amount => 1)",
                Invalid(&["credit_type_id"]),
            ),
            ("reverse_usage(customer_id => NULL, usage_id => 1)", Invalid(&["customer_id"])),
        ],
    );
}
