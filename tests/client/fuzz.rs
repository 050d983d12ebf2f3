//! Any function, any argument, any nonsense: the answer is a row or one of the contract's errors, never an internal
//! error, a panic or a lost connection; and the pools are sound afterwards. Functions and arguments are discovered, so
//! that a new one is covered the day it appears. `CREDIT_POOLS_FUZZ_CALLS` (8000) random calls.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use support::{Database, Fault, Session, broken_invariants, digest, seeded, text};

struct Function {
    name: String,
    procedure: bool,
    arguments: Vec<Argument>,
}

struct Argument {
    name: String,
    kind: String,
    optional: bool,
}

/// Every function and procedure of the schema that SQL can call, with its input arguments.
fn discover(session: &mut Session) -> Vec<Function> {
    let rows = session.rows(
        "SELECT p.oid, p.proname, p.prokind = 'p' AS procedure, a.place, coalesce(p.proargnames[a.place], '') AS argument, format_type(a.kind, NULL) AS kind,
                a.place > p.pronargs - p.pronargdefaults AS optional
         FROM pg_proc p LEFT JOIN LATERAL unnest(p.proargtypes) WITH ORDINALITY a(kind, place) ON true
         WHERE p.pronamespace = 'credit_pools'::regnamespace AND p.prokind IN ('f', 'p')
           AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype, 'internal'::regtype)
           AND NOT 'internal'::regtype = ANY (p.proargtypes::oid[])
         ORDER BY p.proname, p.oid, a.place",
    );
    let mut functions: Vec<(String, Function)> = Vec::new();
    for row in rows {
        let oid = row.get("oid");
        if functions.last().is_none_or(|(last, _)| last != oid) {
            let (name, procedure) = (row.get("proname").to_owned(), row.flag("procedure"));
            functions.push((oid.to_owned(), Function { name, procedure, arguments: Vec::new() }));
        }
        if row.opt("place").is_some()
            && let Some((_, function)) = functions.last_mut()
        {
            function.arguments.push(Argument {
                name: row.get("argument").to_owned(),
                kind: row.get("kind").to_owned(),
                optional: row.flag("optional"),
            });
        }
    }
    functions.into_iter().map(|(_, function)| function).collect()
}

/// Values at and beyond the edges, by type.
fn extremes(kind: &str) -> Vec<String> {
    let list: &[&str] = match kind {
        "text" | "character varying" | "name" => &[
            "''",
            "'a' || chr(1)",
            "repeat('x', 255)",
            "repeat('x', 256)",
            "repeat('é', 256)",
            "repeat('x', 100000)",
            "' '",
            "chr(127)",
            "chr(133)",
            "chr(8232)",
            "'''; DROP SCHEMA credit_pools CASCADE; --'",
            "'%s%n{}'",
            "'\\'",
            "'NULL'",
            "chr(1114111)",
        ],
        "numeric" => &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "-1",
            "0",
            "1e200",
            "-1e200",
            "1e-200",
            "0.000001",
            "0.0000001",
            "999999999999999999",
            "999999999999999999.999999",
            "9999999999999999999",
            "repeat('9', 200)::numeric",
            "('0.' || repeat('9', 300))::numeric",
            "1e131071",
            "0.00",
            "1e18",
            "1e17",
            "340282366920938463463374607431768211456",
        ],
        "jsonb" | "json" => &[
            "'{}'",
            "'[]'",
            "'null'",
            "'1'",
            "'\"x\"'",
            "'{\"\": null}'",
            "'{\"rates\": {\"feature-ai-tokens\": 1e200}}'",
            "'{\"rates\": {\"feature-search\": 0.0000000000000000001}}'",
            "'{\"feature-search\": -1}'",
            "'{\"feature-search\": 1e100}'",
            "'{\"a\": {\"b\": [1, {}, null, \"\\u00e9\"]}}'",
            "'[{\"customer_id\": null}]'",
            "'{\"plans\": 1}'",
            "'{\"credit_types\": [null]}'",
            "'{\"credit_types\": [{}]}'",
            "'{\"rates\": [{\"feature_id\": 1}]}'",
            "'{\"amounts\": {\"ai-tokens\": 1e30}}'",
            "'{\"amounts\": {\"ai-tokens/default\": \"NaN\"}}'",
            "(repeat('[', 5000) || repeat(']', 5000))::jsonb",
            "(repeat('{\"a\":', 3000) || '1' || repeat('}', 3000))::jsonb",
            "jsonb_build_object(repeat('k', 300), repeat('v', 100000))",
        ],
        "timestamp with time zone" => &[
            "'infinity'",
            "'-infinity'",
            "'294276-12-31 23:59:59.999999+00'",
            "'4713-01-01 00:00+00 BC'",
            "'1970-01-01 00:00+00'",
            "now()",
            "now() - interval '1 second'",
            "now() + interval '1 day'",
            "'2999-12-31 00:00+00'",
            "'0001-01-01 00:00+00'",
        ],
        "interval" => &[
            "'0'",
            "'-1 day'",
            "'178000000 years'",
            "'-178000000 years'",
            "'1 microsecond'",
            "'1 month -31 days'",
            "'1 month'",
            "'2147483647 months'",
            "'-2147483648 days'",
            "'2147483647 days'",
            "'1000 years'",
            "'2562047788 hours'",
            "'1 year 1 month 1 day 1 second'",
        ],
        "integer" => &["0", "-1", "1", "2147483647", "(-2147483648)", "101", "50", "19"],
        "smallint" => &["0", "-1", "1", "32767", "(-32768)"],
        "bigint" => &["0", "-1", "1", "9223372036854775807", "(-9223372036854775808)"],
        "boolean" => &["true", "false"],
        "text[]" => &[
            "'{}'",
            "ARRAY[NULL]::text[]",
            "ARRAY['']",
            "ARRAY['feature-search']",
            "ARRAY['feature-search', 'feature-search']",
            "ARRAY['nope']",
            "ARRAY[['feature-search', 'feature-free'], ['a', 'b']]",
            "array_fill('x'::text, ARRAY[10000])",
            "'[5:6]={feature-search,feature-free}'::text[]",
        ],
        "bytea" => &["''", "'\\x00'", "'\\xff'"],
        "oid" | "regclass" => &["0", "'pg_catalog.pg_class'::regclass", "4294967295"],
        _ => &[],
    };
    let mut values: Vec<String> = list.iter().map(|value| (*value).to_owned()).collect();
    values.push("NULL".to_owned());
    values
}

/// Values with which a call gets far: names that exist, amounts that fit.
fn plausible(function: &Function, argument: &Argument) -> Option<Vec<String>> {
    let list: &[&str] = match argument.name.as_str() {
        // The others are needed.
        "credit_type_id" if function.name == "archive_credit_type" => &["'images'"],
        "customer_id" => &["'c1'", "'c1'", "'c2'"],
        "resource_id" => &["'ws-a'", "'ws-a'", "'ws-b'", "NULL"],
        "to_resource_id" => &["'ws-c'", "'ws-a'", "'ws-b'", "NULL"],
        "credit_type_id" => &["'ai-tokens'", "'ai-tokens'", "'ai-tokens'", "'images'", "'cents'"],
        "feature_id" | "quantity_feature_id" => &["'feature-ai-tokens'", "'feature-search'", "'feature-free'"],
        "plan_id" => &["'plan-basic'", "'plan-pro'"],
        "amount" | "value" | "recharge_amount" | "credits_per_unit" | "price" => &["1", "2.5", "10"],
        "target_balance" => &["500", "NULL"],
        "threshold" => &["20"],
        "max_spend" => &["1000", "NULL"],
        "price_per_credit" => &["0.01"],
        "price_currency" => &["'EUR'"],
        "overdraft_limit" => &["0", "10", "'Infinity'"],
        "grant_id" => &["(SELECT grant_id FROM credit_pools.grants ORDER BY random() LIMIT 1)"],
        "recharge_id" => &["(SELECT recharge_id FROM credit_pools.recharges ORDER BY random() LIMIT 1)"],
        "usage_id" => &["(SELECT usage_id FROM credit_pools.usage_events ORDER BY random() LIMIT 1)"],
        "pool_id" => &["(SELECT pool_id FROM credit_pools.pools ORDER BY random() LIMIT 1)"],
        "category" => &["'paid'", "'promotional'", "'recurring'"],
        "payment_state" => &["'paid'", "'pending'"],
        "on_insufficient" => &["'reject'", "'cap'"],
        "update_behavior" => &["'delta'", "'set'"],
        "reservation_id" => &["'r1'", "'r1'", "'r2'", "NULL"],
        "ttl" => &["'1 hour'", "'1 second'"],
        "per" => &["'1 day'", "'1 hour'"],
        "table" => &["'metered'::regclass"],
        "customer_column" => &["'customer'"],
        "resource_column" => &["'resource'", "NULL"],
        "value_column" => &["'units'", "NULL"],
        "key_column" => &["'key'", "NULL"],
        "events" => &[
            r#"'[{"customer_id": "c1", "resource_id": "ws-a", "feature_id": "feature-ai-tokens", "value": 1}]'"#,
            r#"'[{"customer_id": "c1", "resource_id": "ws-a", "feature_id": "feature-search", "value": 2, "idempotency_key": "k1"}, {"customer_id": "c2", "feature_id": "nope", "value": 2}]'"#,
        ],
        "settlement" => &["'on_payment'", "'immediate'"],
        "status" => &["'active'"],
        "time_zone" => &["'UTC'", "'America/Havana'"],
        "priority" => &["0", "50", "100"],
        "scale" => &["0", "6", "18"],
        "subscription_id" if function.name == "provision_subscription" => &["NULL", "'s1'", "'s2'"],
        "subscription_id" => &[
            "'s1'",
            "'s1'",
            "(SELECT subscription_id FROM credit_pools.subscriptions WHERE customer_id = 'c1' ORDER BY random() LIMIT 1)",
        ],
        "credits" if function.name == "transfer_subscription" => &["'move'", "'keep'"],
        "credits" if function.name == "cancel_subscription" => &["'keep'", "'expire'"],
        "at" => &["now()", "now() + interval '1 hour'", "now() + interval '40 days'"],
        "known_at" => &["NULL", "now()", "now() - interval '1 minute'"],
        "quantity" => &["0", "1", "2.5"],
        "rollover_max" => &["0", "20"],
        "rollover_percent" => &["100", "50"],
        "rollover_periods" => &["1", "3"],
        "batch_size" => &["1000", "1"],
        "max_batches" => &["NULL", "2"],
        "formula" => &["NULL"],
        "starts_at" | "effective_at" | "occurred_at" => &["NULL", "now()", "now() - interval '1 minute'"],
        "ends_at" | "expires_at" => &["NULL", "now() + interval '1 day'"],
        "cadence" | "spend_period" | "expires_after" | "grant_expires_after" => &["'1 month'"],
        "idempotency_key" => &["NULL", "'k1'", "'k2'"],
        "worker" => &["'worker-1'"],
        "entry_id" => &["'default'", "'extra'"],
        _ => match argument.kind.as_str() {
            "text" => &["'some-text'", "NULL"],
            "jsonb" => &["'{}'", "NULL"],
            "integer" | "bigint" | "numeric" => &["1", "5"],
            "boolean" => &["true"],
            "interval" => &["'1 hour'"],
            "text[]" => &["NULL", "ARRAY['feature-search']"],
            _ => return None,
        },
    };
    Some(list.iter().map(|value| (*value).to_owned()).collect())
}

fn spelled(function: &Function, values: &[Option<String>]) -> String {
    let list: Vec<String> = function
        .arguments
        .iter()
        .zip(values)
        .filter_map(|(argument, value)| {
            let value = value.as_deref()?;
            // Quoted: one of them is a reserved word.
            let name = if argument.name.is_empty() { String::new() } else { format!("\"{}\" => ", argument.name) };
            Some(format!("{name}({value})::{}", argument.kind))
        })
        .collect();
    let call = if function.procedure { "CALL" } else { "SELECT * FROM" };
    format!("{call} credit_pools.{}({})", function.name, list.join(", "))
}

/// A value for each argument: mostly plausible, `bad` times in a hundred extreme, sometimes left out.
fn arguments(random: &mut StdRng, function: &Function, bad: u32) -> Vec<Option<String>> {
    let positional = function.arguments.iter().any(|argument| argument.name.is_empty());
    function
        .arguments
        .iter()
        .map(|argument| {
            if argument.optional && !positional && random.random_range(0..100) < 40 {
                return None;
            }
            let values = match plausible(function, argument) {
                Some(values) if random.random_range(0..100) >= bad => values,
                _ => extremes(&argument.kind),
            };
            values.choose(random).cloned()
        })
        .collect()
}

/// Codes that an answer to bad input may have: the contract's, and what this version does not do yet.
fn allowed(fault: &Fault) -> bool {
    fault.is_contract_code() || matches!(fault.code.as_str(), "0A000" | "42501")
}

struct Findings {
    lines: Vec<String>,
    seen: BTreeSet<String>,
    calls: usize,
    succeeded: usize,
}

impl Findings {
    fn new() -> Self {
        Findings { lines: Vec::new(), seen: BTreeSet::new(), calls: 0, succeeded: 0 }
    }

    /// Notes each kind of trouble once. Returns whether the connection is gone.
    fn try_call(&mut self, session: &mut Session, function: &Function, sql: &str) -> bool {
        self.calls += 1;
        let fault = match session.try_rows(sql) {
            Ok(_) => {
                self.succeeded += 1;
                return false;
            }
            Err(fault) => fault,
        };
        let trouble = if fault.is_crash() {
            "crash"
        } else if !allowed(&fault) {
            "a code that the contract does not name"
        } else if fault.is_contract_code() && fault.figures().is_err() {
            "DETAIL is no JSON object"
        } else if fault.is_contract_code() && fault.hint.as_deref().unwrap_or_default().is_empty() {
            "no HINT"
        } else {
            return false;
        };
        let closed = fault.code == "closed" || fault.code.starts_with("57P") || fault.code.starts_with("08");
        // Once per kind of message, whatever the values in it.
        let words: String = fault.message.chars().filter(|c| c.is_ascii_alphabetic() || *c == ' ').take(40).collect();
        if self.seen.insert(format!("{} {} {words}", fault.code, function.name)) {
            let shown: String = fault.to_string().chars().take(900).collect();
            self.lines.push(format!("{trouble}: {shown}"));
        }
        closed
    }
}

fn world() -> (Database, Session) {
    let database = Database::with_catalogue();
    let mut session = database.session();
    // Endless work over absurd intervals has to show as an error here, not as a test without an end.
    session.exec("SET statement_timeout = '10s'");
    session.call("define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 30, quantity_feature_id => 'feature-search', rollover_max => 10)");
    session.call("define_plan_credits(plan_id => 'plan-pro', credit_type_id => 'ai-tokens', amount => 50, cadence => '1 hour', overdraft_limit => 5)");
    session.call("provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-a', subscription_id => 's1')");
    session.call("open_pool(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens')");
    session.call("open_pool(customer_id => 'c2', credit_type_id => 'ai-tokens')");
    for _ in 0..3 {
        session.call(
            "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1000)",
        );
    }
    session.call("set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 20, recharge_amount => 100)");
    session.call("reserve_credits(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-search', value => 10, reservation_id => 'r1')");
    session.exec("CREATE TABLE metered (customer text, resource text, units int, key text)");
    (database, session)
}

fn report(findings: &Findings, session: &mut Session) {
    let broken = broken_invariants(session, true);
    eprintln!("{} calls, {} of them succeeded", findings.calls, findings.succeeded);
    assert!(
        findings.lines.is_empty() && broken.is_empty(),
        "{} findings:\n{}\nbroken invariants:\n{}",
        findings.lines.len(),
        findings.lines.join("\n"),
        broken.join("\n")
    );
}

#[test]
fn nulls_and_extremes_one_by_one() {
    let (database, mut session) = world();
    let mut findings = Findings::new();
    let functions = discover(&mut session);
    assert!(functions.len() >= 20, "the functions of the contract are there");
    for function in &functions {
        let nulls: Vec<Option<String>> = function.arguments.iter().map(|_| Some("NULL".to_owned())).collect();
        let mut calls = vec![spelled(function, &nulls)];
        let good: Vec<Option<String>> = function
            .arguments
            .iter()
            .map(|argument| {
                plausible(function, argument).map_or(Some("NULL".to_owned()), |values| values.first().cloned())
            })
            .collect();
        calls.push(spelled(function, &good));
        for (at, argument) in function.arguments.iter().enumerate() {
            for extreme in extremes(&argument.kind) {
                let mut values = good.clone();
                values[at] = Some(extreme);
                calls.push(spelled(function, &values));
            }
        }
        for sql in calls {
            // Each by itself: what one of them changed must not stand in the way of the next. A procedure commits.
            session.exec(if function.procedure { "" } else { "BEGIN" });
            if findings.try_call(&mut session, function, &sql) {
                session = database.session();
                session.exec("SET statement_timeout = '10s'");
            } else if !function.procedure {
                session.exec("ROLLBACK");
            }
        }
    }
    report(&findings, &mut session);
}

#[test]
fn random_calls_of_every_function() {
    let (seed, mut random) = seeded("random calls");
    let (database, mut session) = world();
    let mut findings = Findings::new();
    let functions = discover(&mut session);
    let calls =
        std::env::var("CREDIT_POOLS_FUZZ_CALLS").map_or(8000, |text| text.trim().parse().expect("a number of calls"));
    for round in 0..calls {
        let Some(function) = functions.choose(&mut random) else { break };
        let bad = [2, 10, 40][round % 3];
        let values = arguments(&mut random, function, bad);
        let sql = spelled(function, &values);
        if findings.try_call(&mut session, function, &sql) {
            session = database.session();
            session.exec("SET statement_timeout = '10s'");
        }
        if round % 1000 == 999 {
            let broken = broken_invariants(&mut session, true);
            if !broken.is_empty() {
                findings.lines.push(format!("after call {round}, seed {seed}: {sql}"));
                break;
            }
        }
    }
    report(&findings, &mut session);
}

/// A JSON value of any kind, mostly small.
fn json(random: &mut StdRng, depth: usize) -> Value {
    match random.random_range(0..if depth == 0 { 9 } else { 12 }) {
        0 => Value::Null,
        1 => Value::Bool(random.random_bool(0.5)),
        2 => json!(random.random_range(-3..4)),
        3 => json!(random.random::<f64>() * 1e6),
        4 => json!(random.random::<i64>()),
        5 => [
            "1e200",
            "1e-200",
            "-0",
            "0.0000000000000000001",
            "99999999999999999999999999999999999999999999",
            "1e130000",
        ][random.random_range(0..6)]
        .parse()
        .map(Value::Number)
        .unwrap_or(Value::Null),
        6 => json!(
            ["", "c1", "ws-a", "k1", "set", "cap", "NaN", "2026-01-01T00:00:00Z", "infinity"]
                [random.random_range(0..9)]
        ),
        7 => json!("x".repeat(random.random_range(250..260))),
        8 => json!(["\u{1}", "\u{7f}", "é\u{301}", "\u{10ffff}", "'; --", "\u{2028}"][random.random_range(0..6)]),
        9 => Value::Array((0..random.random_range(0..4)).map(|_| json(random, depth - 1)).collect()),
        10 => {
            Value::Object((0..random.random_range(0..4)).map(|n| (format!("k{n}"), json(random, depth - 1))).collect())
        }
        _ => (0..random.random_range(1..400)).fold(json!(1), |inner, _| json!([inner])),
    }
}

/// An event, good or with something exchanged, added or left out.
fn event(random: &mut StdRng) -> Value {
    let mut one_of = |list: [&'static str; 3]| list[random.random_range(0..3)];
    let mut event = json!({
        "customer_id": one_of(["c1", "c1", "c2"]),
        "resource_id": one_of(["ws-a", "ws-a", "ws-b"]),
        "feature_id": one_of(["feature-ai-tokens", "feature-search", "feature-free"]),
        "value": random.random_range(1..5),
    });
    let names = [
        "customer_id",
        "resource_id",
        "feature_id",
        "value",
        "occurred_at",
        "dimensions",
        "idempotency_key",
        "on_insufficient",
        "update_behavior",
        "metadata",
        "surplus",
        "",
    ];
    for _ in 0..random.random_range(0..3) {
        let name = *names.choose(random).expect("names");
        if random.random_bool(0.2) {
            event.as_object_mut().expect("an object").remove(name);
        } else {
            event[name] = json(random, 3);
        }
    }
    if random.random_bool(0.05) { json(random, 4) } else { event }
}

/// Batches of nonsense: an error of the contract or a row per event; on error nothing changes, and the server lives on.
#[test]
fn random_batches() {
    let (seed, mut random) = seeded("random batches");
    let (_database, mut session) = world();
    let (mut failed, mut counted) = (0, 0);
    for round in 0..500 {
        let count = [0, 1, 1, 2, 3, 8, 30][random.random_range(0..7)];
        let events = if random.random_bool(0.05) {
            json(&mut random, 5)
        } else {
            Value::Array((0..count).map(|_| event(&mut random)).collect())
        };
        let atomic = random.random_bool(0.5);
        let literal = format!("jsonb {}", text(&events.to_string()));
        let before = digest(&mut session);
        let sql = format!("SELECT * FROM credit_pools.report_usage_batch(events => {literal}, atomic => {atomic})");
        let about = format!("round {round}, seed {seed}");
        match session.try_rows(&sql) {
            Ok(rows) => {
                assert_eq!(rows.len(), events.as_array().map_or(0, Vec::len), "{about}: {sql}");
                for row in rows {
                    let known = |code: &str| code.starts_with("PC00") || code == "22023";
                    match row.opt("error_code") {
                        None => counted += 1,
                        Some(code) => {
                            failed += 1;
                            assert!(!atomic && known(code), "{about}: {row:?} of {sql}");
                            assert!(
                                row.opt("usage_id").is_none() && row.opt("error_message").is_some(),
                                "{about}: {row:?}"
                            );
                        }
                    }
                }
            }
            Err(fault) => {
                failed += 1;
                let own = fault.is_contract_code() && fault.figures().is_ok() && fault.hint.is_some();
                // What is no jsonb never reaches the function.
                assert!(own || session.fault(&format!("SELECT {literal}")).code == fault.code, "{about}: {fault}");
                assert_eq!(digest(&mut session), before, "{about}: {sql}");
            }
        }
    }
    assert!(failed > 100 && counted > 100, "{failed} failed, {counted} counted");
    // As deep as Postgres lets it be.
    for deep in [100, 1000, 3000] {
        let nested = format!("('[' || repeat('{{\"metadata\":', {deep}) || '1' || repeat('}}', {deep}) || ']')::jsonb");
        let rows = session.rows(&format!("SELECT * FROM credit_pools.report_usage_batch({nested}, atomic => false)"));
        assert_eq!(rows[0].opt("error_code"), Some("22023"));
    }
    let broken = broken_invariants(&mut session, true);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Each try in a thread of its own: a server that spins must fail the test, not hang it.
#[test]
fn a_test_clock_that_is_no_time_does_not_crash() {
    let (database, _session) = world();
    let mut complaints = Vec::new();
    for clock in [
        "",
        "nonsense",
        "now",
        "2026-02-30",
        "999999-01-01",
        "4713-01-01 00:00+00 BC",
        "294276-12-31 23:59:59+00",
        "-infinity",
        "infinity",
        "2026-01-01 00:00+00",
    ] {
        let mut session = database.session();
        let (done, result) = mpsc::channel();
        thread::spawn(move || done.send(faults_at(&mut session, clock)));
        match result.recv_timeout(Duration::from_secs(40)) {
            Ok(faults) => {
                for fault in faults {
                    if fault.is_crash() || !(allowed(&fault) || matches!(fault.code.as_str(), "22007" | "22008")) {
                        complaints.push(format!("clock {clock:?}: {fault}"));
                    }
                }
            }
            Err(_) => {
                // Dropping the database would wait for that backend: leave it to whoever stops the server.
                std::mem::forget(database);
                panic!("clock {clock:?}: no answer, and statement_timeout has not ended it\n{}", complaints.join("\n"));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn faults_at(session: &mut Session, clock: &str) -> Vec<Fault> {
    session.exec("SET statement_timeout = '5s'");
    if let Err(fault) = session.try_exec(&format!("SET credit_pools.test_clock = {}", text(clock))) {
        return vec![fault];
    }
    let mut faults = Vec::new();
    for sql in [
        "SELECT * FROM credit_pools.clock()",
        "SELECT * FROM credit_pools.pools",
        "SELECT * FROM credit_pools.grants",
        "SELECT * FROM credit_pools.run_maintenance()",
        "SELECT * FROM credit_pools.report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1)",
        "SELECT * FROM credit_pools.grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1)",
        "SELECT * FROM credit_pools.provision_subscription(customer_id => 'c9', plan_id => 'plan-basic')",
    ] {
        session.exec("BEGIN");
        faults.extend(session.try_rows(sql).err());
        session.exec("ROLLBACK");
    }
    faults
}
