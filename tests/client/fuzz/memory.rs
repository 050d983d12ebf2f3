//! What a session's process keeps in memory: it must not grow with the number of calls, be they good or bad.

use crate::{Function, discover, spelled, values::plausible, world};
use support::Session;

/// PostgreSQL's memory contexts and the process as the system sees it, in bytes. What Rust allocates is in the second only.
struct Memory {
    contexts: i64,
    process: i64,
}

fn memory(session: &mut Session) -> Memory {
    let contexts = session.value("SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts");
    // The second field of statm: resident pages. What is shared with other processes counts when it was touched.
    let process = session.value(
        "SELECT (split_part(pg_read_file('/proc/' || pg_backend_pid() || '/statm'), ' ', 2)::bigint
               - split_part(pg_read_file('/proc/' || pg_backend_pid() || '/statm'), ' ', 3)::bigint) * 4096",
    );
    Memory { contexts: contexts.parse().expect("bytes"), process: process.parse().expect("bytes") }
}

/// Rounds of the same work before the first look, and between the looks. Caches and arenas settle in the first.
const WARM_UP: usize = 2;
const CALLS_PER_ROUND: usize = 300;
const ROUNDS: usize = 3;
/// An arena of the allocator more or less is no leak; 100 bytes per call in each of the rounds would be.
const SLACK: i64 = 512 * 1024;

/// `CREDIT_POOLS_MEMORY_ROUNDS` times as many rounds.
fn rounds() -> usize {
    std::env::var("CREDIT_POOLS_MEMORY_ROUNDS").map_or(ROUNDS, |text| text.trim().parse().expect("a number of rounds"))
}

/// Does a round of `work` again and again; what it has grown by since the warm-up, in (contexts, process).
fn growth(session: &mut Session, mut work: impl FnMut(&mut Session)) -> (i64, i64) {
    for _ in 0..WARM_UP {
        work(session);
    }
    let before = memory(session);
    for _ in 0..rounds() {
        work(session);
    }
    let after = memory(session);
    (after.contexts - before.contexts, after.process - before.process)
}

/// One function, many times in one statement each: called well, with NULLs, with what it refuses. Rolled back, so that the
/// amount of data is the same in every round.
fn round(session: &mut Session, function: &Function) {
    let good: Vec<Option<String>> = function
        .arguments
        .iter()
        .map(|argument| {
            plausible(function, argument)
                .and_then(|values| values.first().cloned())
                .filter(|_| !argument.optional || argument.name.ends_with("_id"))
        })
        .collect();
    let nothing: Vec<Option<String>> = function.arguments.iter().map(|_| None).collect();
    let nonsense: Vec<Option<String>> = function
        .arguments
        .iter()
        .map(|argument| {
            (argument.kind == "text")
                .then(|| "'nonsense'".to_owned())
                .or_else(|| plausible(function, argument)?.first().cloned())
        })
        .collect();
    for values in [good, nothing, nonsense] {
        if function.procedure || function.arguments.iter().any(|argument| argument.name.is_empty()) {
            continue;
        }
        let call = spelled(function, &values).replace('\'', "''");
        // A block per call: the error of each is caught, so that the calls stay in one session and statement.
        session.exec(&format!(
            "BEGIN;
             DO $$ BEGIN
               FOR n IN 1..{} LOOP
                 BEGIN
                   EXECUTE '{call}';
                   IF n % 2 = 0 THEN RAISE EXCEPTION 'undo'; END IF;
                 EXCEPTION WHEN OTHERS THEN NULL;
                 END;
               END LOOP;
             END $$;
             ROLLBACK",
            CALLS_PER_ROUND / 3
        ));
    }
}

#[test]
fn no_function_leaks() {
    let (_database, mut session) = world();
    session.exec("SET statement_timeout = '60s'");
    let mut grown = Vec::new();
    for function in discover(&mut session).iter().filter(|function| !function.procedure) {
        let mut growth_of = || growth(&mut session, |session| round(session, function));
        let (mut contexts, mut process) = growth_of();
        if contexts > SLACK || process > 2 * SLACK {
            // Once more: a leak grows again.
            (contexts, process) = growth_of();
        }
        if contexts > SLACK || process > 2 * SLACK {
            grown.push(format!("{}: {contexts} bytes of contexts, {process} of the process", function.name));
        }
    }
    assert!(grown.is_empty(), "grown in {} rounds of {CALLS_PER_ROUND} calls:\n{}", rounds(), grown.join("\n"));
}

/// Statements of their own, as an application sends them: thousands of each, the failing ones too.
#[test]
fn a_long_session_does_not_grow() {
    let (_database, mut session) = world();
    session.call(
        "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1e9)",
    );
    let usage =
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1";
    let mut turn = 0;
    let (contexts, process) = growth(&mut session, |session| {
        for _ in 0..CALLS_PER_ROUND {
            turn += 1;
            session.call(&format!("{usage})"));
            session.call(&format!("{usage}, idempotency_key => 'm-{turn}', dimensions => '{{\"a\": {turn}}}')"));
            session.call_fault(&format!("{usage}e12)"));
            session.call_fault(&format!(
                "report_usage(customer_id => 'nope-{turn}', feature_id => 'feature-ai-tokens', value => 1)"
            ));
            session.call_fault(&format!("{usage}, metadata => '[]')"));
            session.call(
                "check_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1)",
            );
            session.rows(&format!(
                "SELECT * FROM credit_pools.report_usage_batch(events => '[{{\"customer_id\": \"c1\", \"resource_id\": \"ws-a\", \"feature_id\": \"feature-ai-tokens\", \"value\": 1}}, {{\"customer_id\": \"nope-{turn}\", \"feature_id\": \"f\", \"value\": 1}}]', atomic => false)"
            ));
        }
    });
    assert!(contexts < SLACK && process < 4 * SLACK, "{contexts} bytes of contexts, {process} of the process");
    // What a session keeps of rates and scopes has a bound, too: many customers, of each a little.
    session.exec("SET statement_timeout = '60s'");
    session.exec(
        "DO $$ BEGIN FOR n IN 1..500 LOOP
           PERFORM credit_pools.provision_subscription(customer_id => 'many-' || n, plan_id => 'plan-basic');
           PERFORM credit_pools.report_usage(customer_id => 'many-' || n, feature_id => 'feature-ai-tokens', value => 1, on_insufficient => 'cap');
         END LOOP; END $$",
    );
    let before = memory(&mut session);
    session.exec(
        "DO $$ BEGIN FOR n IN 1..500 LOOP
           PERFORM credit_pools.report_usage(customer_id => 'many-' || n, feature_id => 'feature-ai-tokens', value => 1, on_insufficient => 'cap');
         END LOOP; END $$",
    );
    let after = memory(&mut session);
    assert!(after.contexts - before.contexts < SLACK, "{} bytes", after.contexts - before.contexts);
}
