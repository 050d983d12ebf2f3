//! Any function, any argument, any nonsense: the answer is a row or one of the contract's errors, never an internal
//! error, a panic or a lost connection; and the pools are sound afterwards. Functions and arguments are discovered, so
//! that a new one is covered the day it appears. `CREDIT_POOLS_FUZZ_CALLS` (8000) random calls.

#[path = "fuzz/memory.rs"]
mod memory;
#[path = "fuzz/values.rs"]
mod values;

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use support::{Database, Fault, Session, broken_invariants, digest, seeded, text};
use values::{extremes, plausible};

struct Function {
    name: String,
    procedure: bool,
    /// Its columns are to be said by who calls it.
    columns_unsaid: bool,
    arguments: Vec<Argument>,
}

struct Argument {
    name: String,
    kind: String,
    optional: bool,
}

/// Every function and procedure of the schema that SQL can call, with its input arguments. apply_access is behind
/// grant_access and revoke_access, which check the role's name.
fn discover(session: &mut Session) -> Vec<Function> {
    let rows = session.rows(
        "SELECT p.oid, p.proname, p.prokind = 'p' AS procedure, a.place, coalesce(p.proargnames[a.place], '') AS argument, format_type(a.kind, NULL) AS kind,
                a.place > p.pronargs - p.pronargdefaults AS optional,
                p.prorettype = 'record'::regtype AND p.proargmodes IS NULL AS columns_unsaid
         FROM pg_proc p LEFT JOIN LATERAL unnest(p.proargtypes) WITH ORDINALITY a(kind, place) ON true
         WHERE p.pronamespace = 'credit_pools'::regnamespace AND p.prokind IN ('f', 'p')
           AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype, 'internal'::regtype)
           AND NOT 'internal'::regtype = ANY (p.proargtypes::oid[]) AND p.proname <> 'apply_access'
         ORDER BY p.proname, p.oid, a.place",
    );
    let mut functions: Vec<(String, Function)> = Vec::new();
    for row in rows {
        let oid = row.get("oid");
        if functions.last().is_none_or(|(last, _)| last != oid) {
            let (name, procedure) = (row.get("proname").to_owned(), row.flag("procedure"));
            let columns_unsaid = row.flag("columns_unsaid");
            functions.push((oid.to_owned(), Function { name, procedure, columns_unsaid, arguments: Vec::new() }));
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
    let columns = if function.columns_unsaid { " AS r (a text, b bigint)" } else { "" };
    format!("{call} credit_pools.{}({}){columns}", function.name, list.join(", "))
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
