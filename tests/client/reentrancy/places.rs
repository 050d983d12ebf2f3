//! Calls from every place where SQL takes an expression, and in every kind of transaction.

use crate::world::{USE_10, broken, fill, left, world};
use support::{Session, check_invariants, digest};

const CONSUME: &str = "credit_pools.consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => ";

/// A function of the application's own, as one needs it where a value is wanted.
fn make_wrappers(session: &mut Session) {
    session.exec(&format!(
        "CREATE FUNCTION charge(amount numeric) RETURNS numeric LANGUAGE sql VOLATILE AS $$ SELECT balance FROM {CONSUME} amount) $$;
         CREATE FUNCTION left_over() RETURNS numeric LANGUAGE sql STABLE AS $$
           SELECT balance FROM credit_pools.pools WHERE customer_id = 'c1' AND resource_id = 'ws-a' AND credit_type_id = 'ai-tokens' $$;
         CREATE FUNCTION fits(amount numeric) RETURNS boolean LANGUAGE sql VOLATILE AS $$
           SELECT is_granted FROM credit_pools.check_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => amount) $$"
    ));
}

#[test]
fn in_every_kind_of_expression() {
    let (_database, mut session) = world();
    make_wrappers(&mut session);
    // DEFAULT and CHECK: once per row; a failing CHECK or a failing row takes it back.
    session.exec("CREATE TABLE job (id int PRIMARY KEY, paid numeric DEFAULT charge(10), CHECK (fits(1)))");
    session.exec("INSERT INTO job (id) VALUES (1), (2)");
    assert_eq!(left(&mut session), "980");
    assert_eq!(session.fault("INSERT INTO job (id) VALUES (3), (1)").code, "23505");
    assert_eq!(left(&mut session), "980");
    assert_eq!(session.fault("INSERT INTO job (id, paid) VALUES (4, charge(980)), (5, NULL)").code, "23514");
    assert_eq!(left(&mut session), "980");
    // RETURNING, WHERE, ORDER BY, CASE, a subselect, a view, a materialised one.
    assert_eq!(session.value("UPDATE job SET paid = 0 WHERE id = 1 RETURNING charge(10)"), "970");
    assert_eq!(session.value("SELECT count(*) FROM job WHERE charge(10) > 0"), "2");
    assert_eq!(left(&mut session), "950", "once per row");
    assert_eq!(session.value("SELECT CASE WHEN id = 2 THEN charge(10) END FROM job ORDER BY id DESC LIMIT 1"), "940");
    session.exec("CREATE VIEW charged AS SELECT id, charge(5) AS balance FROM job; CREATE MATERIALIZED VIEW once AS SELECT id, charge(5) AS balance FROM job");
    assert_eq!(left(&mut session), "930");
    session.rows("SELECT * FROM charged");
    assert_eq!(left(&mut session), "920");
    session.exec("REFRESH MATERIALIZED VIEW once");
    assert_eq!(left(&mut session), "910");
    assert_eq!(session.value("WITH paid AS (SELECT charge(10) AS balance) SELECT balance FROM paid"), "900");
    // A data-modifying statement that pays in its CTE and fails later.
    assert_eq!(
        session
            .fault(
                "WITH paid AS MATERIALIZED (SELECT charge(10) AS balance) INSERT INTO job SELECT 1, balance FROM paid"
            )
            .code,
        "23505"
    );
    assert_eq!(left(&mut session), "900");
    session.exec(
        "MERGE INTO job USING (VALUES (1), (7)) AS new (id) ON job.id = new.id
         WHEN MATCHED THEN UPDATE SET paid = charge(10)
         WHEN NOT MATCHED THEN INSERT (id, paid) VALUES (new.id, charge(20))",
    );
    assert_eq!(left(&mut session), "870");
    session.exec("DO $$ BEGIN PERFORM charge(10); INSERT INTO job (id) VALUES (8); END $$");
    assert_eq!(left(&mut session), "850");
    // Where the same input must always give the same: refused.
    for statement in [
        "CREATE INDEX ON job (charge(id))",
        "CREATE INDEX ON job (id) WHERE fits(id)",
        "CREATE TABLE g (id int, paid numeric GENERATED ALWAYS AS (charge(id)) STORED)",
        "CREATE INDEX ON job ((credit_pools.clock()))",
        "CREATE TABLE g (id int) PARTITION BY RANGE (charge(id))",
    ] {
        assert_eq!(session.fault(statement).code, "42P17", "{statement}");
    }
    // A rule and a policy of the application's.
    session.exec("CREATE TABLE doc (id int); INSERT INTO doc VALUES (1); CREATE RULE pay AS ON INSERT TO doc DO ALSO SELECT charge(10)");
    session.exec("INSERT INTO doc VALUES (2)");
    assert_eq!(left(&mut session), "840");
    check_invariants(&mut session);
}

#[test]
fn copy_and_cursors_on_an_application_table() {
    let (_database, mut session) = world();
    make_wrappers(&mut session);
    session.exec("CREATE TABLE call_log (id int PRIMARY KEY, customer text, resource text, units numeric)");
    session.call("meter_table(\"table\" => 'call_log', feature_id => 'feature-ai-tokens', customer_column => 'customer', resource_column => 'resource', value_column => 'units', key_column => 'id')");
    let copy = |session: &mut Session, lines: &str| {
        let mut writer = session.client.copy_in("COPY call_log FROM STDIN").expect("copy starts");
        std::io::Write::write_all(&mut writer, lines.as_bytes()).expect("lines");
        writer.finish().map_err(|error| support::Fault::new("COPY", &error))
    };
    let lines: String = (1..=50).map(|id| format!("{id}\tc1\tws-a\t2\n")).collect();
    assert_eq!(copy(&mut session, &lines).expect("copied"), 50);
    assert_eq!(left(&mut session), "900");
    // One row that does not fit, or a key that is there: none of it.
    for (lines, code) in
        [("60\tc1\tws-a\t1\n61\tc1\tws-a\t100000\n", "PC001"), ("62\tc1\tws-a\t1\n1\tc1\tws-a\t1\n", "23505")]
    {
        let fault = copy(&mut session, lines).expect_err("does not fit");
        assert_eq!(fault.code, code, "{fault}");
        assert_eq!(left(&mut session), "900");
    }
    session.exec("COPY call_log TO PROGRAM 'cat >/dev/null'");
    // A trigger of the application's that charges what is changed, under a cursor.
    session.exec(
        "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM charge(NEW.units - OLD.units); RETURN NEW; END $$;
         CREATE TRIGGER more BEFORE UPDATE ON call_log FOR EACH ROW EXECUTE FUNCTION more()",
    );
    let rows = "SELECT id, left_over() AS balance FROM call_log WHERE id <= 3 ORDER BY id";
    session.exec(&format!("BEGIN; DECLARE past SCROLL CURSOR FOR {rows}; DECLARE each CURSOR FOR {rows} FOR UPDATE"));
    session.row("FETCH past");
    for turn in 1..=3 {
        assert_eq!(session.row("FETCH each").int("id"), turn);
        session.exec("UPDATE call_log SET units = units + 5 WHERE CURRENT OF each");
    }
    assert_eq!(left(&mut session), "885");
    // The cursor keeps its snapshot, whatever was charged since.
    for fetch in ["FETCH ALL FROM past", "FETCH BACKWARD 2 FROM past"] {
        let rows = session.rows(fetch);
        assert_eq!(rows.iter().map(|row| row.get("balance")).collect::<Vec<_>>(), ["900", "900"], "{fetch}");
    }
    session.exec(&format!("DECLARE again CURSOR FOR {rows} FOR UPDATE; SAVEPOINT a"));
    session.row("FETCH again");
    assert_eq!(session.fault("UPDATE call_log SET units = 1e6 WHERE CURRENT OF again").code, "PC001");
    session.exec("ROLLBACK TO a");
    session.exec("COMMIT");
    // Held over the end of its transaction: the calls ran once, at COMMIT, and not again.
    session.exec("BEGIN; DECLARE held SCROLL CURSOR WITH HOLD FOR SELECT id, charge(1) AS balance FROM call_log WHERE id <= 3 ORDER BY id; COMMIT");
    for _ in 0..2 {
        let rows = session.rows("FETCH ALL FROM held");
        assert_eq!(rows.iter().map(|row| row.get("balance")).collect::<Vec<_>>(), ["884", "883", "882"]);
        session.exec("MOVE ABSOLUTE 0 FROM held");
    }
    session.exec("CLOSE held");
    assert_eq!(left(&mut session), "882");
    // A cursor that fails where it is materialised takes the transaction with it.
    session.exec("BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT charge(800) FROM generate_series(1, 2)");
    assert_eq!(session.fault("COMMIT").code, "PC001");
    assert_eq!(left(&mut session), "882");
    check_invariants(&mut session);
}

/// No function that writes may run in a worker, and what reads gives the same rows there.
#[test]
fn parallel_queries() {
    let (_database, mut session) = world();
    let wrong = session.rows(
        "SELECT p.oid::regprocedure AS function, proparallel, provolatile FROM pg_proc p
         WHERE pronamespace = 'credit_pools'::regnamespace AND prorettype <> 'trigger'::regtype
           AND provolatile = 'v' AND proparallel <> 'u'",
    );
    assert!(wrong.is_empty(), "{wrong:?}");
    session.exec(
        "CREATE TABLE big AS SELECT n, 'c' || (1 + n % 2) AS customer FROM generate_series(1, 3000) n; ANALYZE big",
    );
    make_wrappers(&mut session);
    let queries = [
        "SELECT p.pool_id, p.balance, p.granted, p.next_expiry_at, count(*) FROM big JOIN credit_pools.pools p ON p.customer_id = big.customer GROUP BY 1, 2, 3, 4 ORDER BY 1",
        "SELECT g.grant_id, g.status, g.available, count(*) FROM big JOIN credit_pools.grants g ON g.customer_id = big.customer GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        "SELECT l.pool_id, l.seq, l.balance_after, count(*) FROM big JOIN credit_pools.ledger l ON l.customer_id = big.customer GROUP BY 1, 2, 3 ORDER BY 1, 2",
        "SELECT count(*), min(credit_pools.clock()) = max(credit_pools.clock()) AND min(credit_pools.clock()) = statement_timestamp() AS one_instant FROM big",
        "SELECT count(*), min(credit_pools.clock()) FROM big WHERE credit_pools.clock() > 'epoch'",
        "SELECT count(*) FROM big WHERE n <= 20 AND fits(n * 100)",
        "SELECT sum(b.balance) FROM big CROSS JOIN LATERAL credit_pools.balance_at(customer_id => big.customer, resource_id => CASE customer WHEN 'c1' THEN 'ws-a' END, credit_type_id => 'ai-tokens', at => 'infinity') b WHERE n <= 20",
        "SELECT * FROM credit_pools.usage_events ORDER BY usage_id",
        "SELECT * FROM credit_pools.subscription_pools ORDER BY customer_id, resource_id, credit_type_id",
    ];
    session.exec("SET credit_pools.test_clock = '2026-02-03 04:05:06+00'; RESET credit_pools.test_clock");
    let forced = match session.value("SELECT current_setting('server_version_num')::int >= 160000").as_str() {
        "t" => "debug_parallel_query",
        _ => "force_parallel_mode",
    };
    let answer = |session: &mut Session, query: &str| session.try_rows(query).map_err(|fault| fault.code);
    for clock in ["", "SET credit_pools.test_clock = '2200-02-03 04:05:06+00'"] {
        session.exec("RESET ALL");
        session.exec(clock);
        let serial: Vec<_> = queries.iter().map(|query| answer(&mut session, query)).collect();
        for workers in ["0", "2", "4"] {
            session.exec(&format!(
                "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET min_parallel_index_scan_size = 0;
                 SET max_parallel_workers_per_gather = {workers}; SET {forced} = on"
            ));
            for (query, serial) in queries.iter().zip(&serial) {
                // The real clock goes on.
                if !(clock.is_empty() && query.contains("min(credit_pools.clock()) FROM")) {
                    assert_eq!(&answer(&mut session, query), serial, "{workers} workers: {query}");
                }
            }
        }
        // Writes, from a query that would go to workers.
        let before: i64 = left(&mut session).parse().expect("whole");
        let plan = session.rows("EXPLAIN SELECT sum(charge(1)) FROM big WHERE n <= 100");
        assert!(!format!("{plan:?}").contains("Gather"), "{plan:?}");
        session.rows("SELECT sum(charge(1)) FROM big WHERE n <= 100");
        assert_eq!(left(&mut session), (before - 100).to_string());
        session.exec("RESET ALL");
    }
    check_invariants(&mut session);
}

#[test]
fn read_only_and_serializable() {
    let (database, mut session) = world();
    let reads = [
        "check_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1)",
        "check_credits(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1)",
        "balance_at(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', at => clock_timestamp())",
        "clock()",
    ];
    let views = session.rows("SELECT viewname FROM pg_views WHERE schemaname = 'credit_pools' ORDER BY 1");
    // An estimate is the real call, undone.
    let estimate =
        "estimate_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1)";
    let writes: Vec<&str> = crate::calls::CALLS.iter().map(|call| call.call).chain([estimate]).collect();
    for begin in [
        "BEGIN READ ONLY",
        "BEGIN; SET TRANSACTION READ ONLY",
        "SET default_transaction_read_only = on",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
    ] {
        for call in &writes {
            session.exec(begin);
            let fault = session.fault(&format!("SELECT * FROM credit_pools.{call}"));
            assert_eq!(fault.code, "25006", "{begin}: {fault}");
            session.exec("ROLLBACK");
        }
        session.exec(begin);
        for read in reads {
            session.call(read);
        }
        for view in &views {
            session.rows(&format!("SELECT * FROM credit_pools.{}", view.get("viewname")));
        }
        assert_eq!(session.value("SELECT pg_current_xact_id_if_assigned() IS NULL"), "t", "{begin}: a read took an id");
        session.exec("COMMIT; RESET default_transaction_read_only");
    }
    // Two serializable transactions that read each other's pools and write their own: at most one may fail, with 40001, and
    // tried again it goes through.
    let mut other = database.session();
    for _ in 0..5 {
        session.exec("BEGIN ISOLATION LEVEL SERIALIZABLE");
        other.exec("BEGIN ISOLATION LEVEL SERIALIZABLE");
        other.balance("c1", Some("ws-a"), "ai-tokens");
        session.balance("c1", Some("ws-b"), "ai-tokens");
        let one = session.try_call(USE_10).and_then(|_| session.try_exec("COMMIT"));
        let two = other
            .try_call("consume_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 1)")
            .and_then(|_| other.try_exec("COMMIT"));
        let failed: Vec<String> = [one.err(), two.err()].into_iter().flatten().map(|fault| fault.code).collect();
        assert!(failed.len() < 2 && failed.iter().all(|code| code == "40001"), "{failed:?}");
        session.exec("ROLLBACK");
        other.exec("ROLLBACK");
    }
    check_invariants(&mut session);
}

/// As a logical subscriber applies changes: ordinary triggers are silent, so no recharge is asked for and no meter counts;
/// calls book as ever, and the ledger stays append-only.
#[test]
fn as_a_replica() {
    let (_database, mut session) = world();
    session.call("set_auto_recharge(customer_id => 'c1', credit_type_id => 'ai-tokens', threshold => 100, target_balance => 1000)");
    session.exec("CREATE TABLE call_log (id int, customer text, resource text)");
    session.call("meter_table(\"table\" => 'call_log', feature_id => 'feature-ai-tokens', customer_column => 'customer', resource_column => 'resource')");
    session.exec("SET session_replication_role = replica");
    session.exec("INSERT INTO call_log VALUES (1, 'c1', 'ws-a')");
    assert_eq!(left(&mut session), "1000", "a copied row was charged where it came from");
    assert_eq!(session.call("consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 950)").get("balance"), "50");
    assert_eq!(session.value("SELECT count(*) FROM credit_pools.recharges"), "0");
    assert_eq!(session.fault("DELETE FROM credit_pools.ledger_entry").code, "42501");
    assert_eq!(session.fault("TRUNCATE credit_pools.ledger_entry").code, "42501");
    session.exec("RESET session_replication_role");
    // The next call looks again: it is the level that counts.
    session.call(
        "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1)",
    );
    assert_eq!(session.value("SELECT count(*) FROM credit_pools.recharges WHERE status = 'pending'"), "1");
    check_invariants(&mut session);
}

#[test]
fn settings_that_end_with_the_transaction() {
    let (_database, mut session) = world();
    let shown = |session: &mut Session| {
        let row = session.row("SELECT string_agg(name || '=' || coalesce(setting, ''), ' ' ORDER BY name) AS settings FROM pg_settings WHERE name LIKE 'credit_pools.%'");
        row.get("settings").to_owned()
    };
    session.call("clock()");
    let before = shown(&mut session);
    session.exec(
        "BEGIN; SET LOCAL credit_pools.actor = 'alice'; SET LOCAL credit_pools.test_clock = '2150-01-01 00:00+00';
         SET LOCAL credit_pools.shard = 7; SET LOCAL credit_pools.events = off; SET LOCAL credit_pools.event_source = '/elsewhere'; SET LOCAL credit_pools.event_notify = on; SET LOCAL credit_pools.event_retention = '1h'",
    );
    let row = session.call("grant_credits(customer_id => 'c2', credit_type_id => 'ai-tokens', amount => 1)");
    assert_eq!(row.int("grant_id") >> 52, 7);
    let row = session.row(
        "SELECT actor, recorded_at::text AS at FROM credit_pools.ledger ORDER BY recorded_at DESC, seq DESC LIMIT 1",
    );
    assert_eq!((row.get("actor"), row.get("at")), ("alice", "2150-01-01 00:00:00+00"));
    session.exec("SAVEPOINT a; SET LOCAL credit_pools.actor = 'bob'; ROLLBACK TO a");
    session.call("grant_credits(customer_id => 'c2', credit_type_id => 'ai-tokens', amount => 1)");
    assert_eq!(session.value("SELECT count(*) FROM credit_pools.ledger WHERE actor = 'alice'"), "2");
    assert_eq!(session.value("SELECT count(*) FROM credit_pools.events WHERE created_at > '2149-01-01'"), "0");
    session.exec("ROLLBACK");
    assert_eq!(shown(&mut session), before);
    for (name, value) in
        [("shard", "2048"), ("shard", "-1"), ("event_retention", "-2"), ("events", "maybe"), ("nonsense", "1")]
    {
        session.exec("BEGIN");
        let fault = session.fault(&format!("SET LOCAL credit_pools.{name} = '{value}'"));
        assert!(matches!(fault.code.as_str(), "22023" | "42602"), "{name} {value}: {fault}");
        session.exec("ROLLBACK");
    }
    session.call(USE_10);
    assert_eq!(left(&mut session), "990");
    session.exec("SET credit_pools.actor = 'carol'");
    session.exec("DISCARD ALL");
    session.call(USE_10);
    assert_eq!(session.value("SELECT count(*) FROM credit_pools.ledger WHERE actor = 'carol'"), "0");
    check_invariants(&mut session);
}

/// Everything that a session keeps of the extension (plans, caches, settings, open cursors) meets a new one of the same name.
#[test]
fn a_new_extension_in_the_middle_of_a_session() {
    let (_database, mut session) = world();
    for round in 0..2 {
        for call in crate::calls::CALLS {
            session.exec("BEGIN");
            session.rows(&format!("SELECT * FROM credit_pools.{}", call.call));
            session.exec("ROLLBACK");
        }
        // A hold on the old one: the drop waits for nobody but fails where a cursor is open.
        session.exec("BEGIN; DECLARE open_pools CURSOR FOR SELECT * FROM credit_pools.pools");
        session.row("FETCH open_pools");
        assert_eq!(session.fault("DROP EXTENSION credit_pools").code, "55006");
        session.exec("ROLLBACK");
        if round == 1 {
            session.exec("BEGIN; DROP EXTENSION credit_pools CASCADE; CREATE EXTENSION credit_pools");
            assert_eq!(session.call_fault(USE_10).code, "PC002");
            session.exec("ROLLBACK");
            assert_eq!(left(&mut session), "1000");
        }
        session.exec("DROP EXTENSION credit_pools CASCADE");
        session.exec("CREATE EXTENSION credit_pools");
        assert_eq!(session.call_fault(USE_10).code, "PC002");
        support::seed_catalogue(&mut session);
        fill(&mut session);
        assert!(broken(&mut session).is_empty());
    }
    let before = digest(&mut session);
    for call in crate::calls::CALLS {
        session.exec("BEGIN");
        session.rows(&format!("SELECT * FROM credit_pools.{}", call.call));
        session.exec("ROLLBACK");
    }
    assert_eq!(digest(&mut session), before);
    check_invariants(&mut session);
}
