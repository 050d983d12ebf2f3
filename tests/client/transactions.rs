//! The extension inside the transactions of an application: ROLLBACK is the refund, savepoints, kept plans, cursors,
//! two-phase commit, what other sessions change, and a hostile search_path.

use std::io::Write;
use support::{Database, Session, TYPE, check_invariants, digest};

/// customer c1, ws-a with plan-basic and 1000 credits.
fn world() -> (Database, Session) {
    let database = Database::with_catalogue();
    let mut session = database.session();
    fill(&mut session);
    (database, session)
}

fn fill(session: &mut Session) {
    session.call("provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-a')");
    session.call(
        "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1000)",
    );
}

const USE_10: &str =
    "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 10)";

fn left(session: &mut Session) -> String {
    session.balance("c1", Some("ws-a"), TYPE)
}

#[test]
fn rollback_is_the_refund() {
    let (_database, mut session) = world();
    session.exec("CREATE TABLE job (id int PRIMARY KEY, usage_id bigint)");
    let before = digest(&mut session);
    session.exec("BEGIN");
    session.exec(&format!("INSERT INTO job SELECT 1, usage_id FROM credit_pools.{USE_10}"));
    assert_eq!(left(&mut session), "990");
    session.exec("ROLLBACK");
    assert_eq!(left(&mut session), "1000");
    assert_eq!(digest(&mut session), before);
    // The application's own error undoes the usage just as well.
    session.exec(&format!("INSERT INTO job SELECT 1, usage_id FROM credit_pools.{USE_10}"));
    let fault = session.fault(&format!("INSERT INTO job SELECT 1, usage_id FROM credit_pools.{USE_10}"));
    assert_eq!(fault.code, "23505");
    assert_eq!(left(&mut session), "990");
    // And a refused usage undoes the application's work.
    session.exec("BEGIN");
    session.exec("INSERT INTO job VALUES (2, NULL)");
    let fault = session.call_fault(
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 991)",
    );
    assert_eq!(fault.code, "PC001");
    session.exec("COMMIT");
    assert_eq!(session.value("SELECT count(*) FROM job"), "1");
    // A key that was rolled back is free.
    let keyed = "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5, idempotency_key => 'k')";
    session.exec("BEGIN");
    assert!(!session.call(keyed).flag("is_duplicate"));
    assert!(session.call(keyed).flag("is_duplicate"));
    session.exec("ROLLBACK");
    assert!(!session.call(keyed).flag("is_duplicate"));
    assert_eq!(left(&mut session), "985");
    check_invariants(&mut session);
}

/// A rolled back DDL of data: customers, pools, policies and recharges are gone, too, and nothing remembers them.
#[test]
fn rollback_of_everything() {
    let (_database, mut session) = world();
    let before = digest(&mut session);
    for _ in 0..3 {
        session.exec("BEGIN");
        session.call("define_feature(feature_id => 'f-new')");
        session.call("define_plan(plan_id => 'p-new')");
        session.call("define_rate(feature_id => 'f-new', credit_type_id => 'ai-tokens', plan_id => 'p-new', credits_per_unit => 3)");
        session.call("provision_subscription(customer_id => 'c-new', plan_id => 'p-new')");
        session.call("grant_credits(customer_id => 'c-new', credit_type_id => 'ai-tokens', amount => 100)");
        session.call("set_auto_recharge(customer_id => 'c-new', credit_type_id => 'ai-tokens', threshold => 95, target_balance => 200, settlement => 'immediate')");
        let row = session.call("report_usage(customer_id => 'c-new', feature_id => 'f-new', value => 2)");
        assert_eq!((row.get("credits_consumed"), row.get("balance")), ("6", "200"), "recharged at once: {row:?}");
        session.exec("ROLLBACK");
        assert_eq!(digest(&mut session), before);
        let fault = session.call_fault("report_usage(customer_id => 'c-new', feature_id => 'f-new', value => 2)");
        assert_eq!(fault.code, "PC002", "{fault}");
        let fault = session.call_fault("provision_subscription(customer_id => 'c-new', plan_id => 'p-new')");
        assert_eq!(fault.code, "PC002", "{fault}");
    }
    check_invariants(&mut session);
}

#[test]
fn savepoints_and_exception_blocks() {
    let (_database, mut session) = world();
    session.exec("BEGIN");
    session.call(USE_10);
    session.exec("SAVEPOINT a");
    session.call(USE_10);
    session.exec("SAVEPOINT b");
    assert_eq!(session.call_fault(&USE_10.replace("10)", "100000)")).code, "PC001");
    session.exec("ROLLBACK TO b");
    session.call(USE_10);
    session.exec("ROLLBACK TO a");
    session.call(USE_10);
    session.exec("RELEASE a");
    session.exec("COMMIT");
    assert_eq!(left(&mut session), "980");

    session.exec(
        "CREATE FUNCTION try_use(amount numeric, OUT code text, OUT kept numeric) LANGUAGE plpgsql AS $$
         BEGIN
           BEGIN
             PERFORM credit_pools.grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1);
             PERFORM credit_pools.report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => amount);
             code := 'done';
           EXCEPTION WHEN SQLSTATE 'PC001' THEN
             code := SQLSTATE;
           END;
           SELECT credits_consumed INTO kept FROM credit_pools.report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1);
         END $$",
    );
    let mut expected = 980;
    for turn in 0..20 {
        let fits = turn % 3 == 0;
        let row = session.row(&format!("SELECT * FROM try_use({})", if fits { "5" } else { "100000" }));
        assert_eq!((row.get("code"), row.get("kept")), (if fits { "done" } else { "PC001" }, "1"), "turn {turn}");
        // What failed took the grant before it in the same block with it.
        expected -= if fits { 5 } else { 1 };
        assert_eq!(left(&mut session), expected.to_string(), "turn {turn}");
    }
    // Failing calls of every kind inside one block after another, in one transaction.
    session.exec(
        "DO $$
         DECLARE call text; n int := 0;
         BEGIN
           FOREACH call IN ARRAY ARRAY[
             'credit_pools.report_usage(customer_id => ''nope'', feature_id => ''feature-ai-tokens'', value => 1)',
             'credit_pools.report_usage(customer_id => ''c1'', feature_id => ''feature-ai-tokens'', value => 1)',
             'credit_pools.report_usage(customer_id => ''c1'', resource_id => ''ws-a'', feature_id => ''feature-ai-tokens'', value => 0)',
             'credit_pools.report_usage(customer_id => ''c1'', resource_id => ''ws-a'', feature_id => ''feature-unpriced'', value => 1)',
             'credit_pools.grant_credits(customer_id => ''c1'', resource_id => ''ws-a'', credit_type_id => ''ai-tokens'', amount => 0)',
             'credit_pools.provision_subscription(customer_id => ''c9'', plan_id => ''nope'')'] LOOP
             FOR i IN 1..20 LOOP
               BEGIN
                 EXECUTE 'SELECT FROM ' || call;
                 RAISE EXCEPTION 'did not fail: %', call;
               EXCEPTION WHEN SQLSTATE 'PC002' OR SQLSTATE 'PC003' OR SQLSTATE 'PC006' OR SQLSTATE '22023' THEN
                 n := n + 1;
               END;
             END LOOP;
           END LOOP;
           IF n <> 120 THEN RAISE EXCEPTION 'only %', n; END IF;
         END $$",
    );
    assert_eq!(left(&mut session), expected.to_string());
    check_invariants(&mut session);
}

/// More than five executions make Postgres try a generic plan; more than ten show that it stays right.
#[test]
fn prepared_statements_and_plans() {
    let (_database, mut session) = world();
    for mode in ["auto", "force_generic_plan", "force_custom_plan"] {
        session.exec(&format!("SET plan_cache_mode = {mode}"));
        let before: i64 = left(&mut session).parse().expect("a whole balance");
        let statement = session
            .client
            .prepare(
                "SELECT balance::text, is_duplicate FROM credit_pools.report_usage(customer_id => $1, resource_id => $2, feature_id => $3, value => $4::text::numeric, idempotency_key => $5)",
            )
            .expect("prepares");
        for turn in 1..=15_i64 {
            let key = (turn % 2 == 0).then(|| format!("{mode}-{turn}"));
            let row = session
                .client
                .query_one(&statement, &[&"c1", &Some("ws-a"), &"feature-ai-tokens", &"2", &key])
                .expect("runs");
            assert_eq!(row.get::<_, String>(0), (before - 2 * turn).to_string(), "{mode}, turn {turn}");
            assert!(!row.get::<_, bool>(1));
        }
        let error = session
            .client
            .query_one(&statement, &[&"c1", &Some("nope"), &"feature-ai-tokens", &"2", &None::<String>])
            .expect_err("an unknown resource");
        assert_eq!(error.code().map(|code| code.code()), Some("PC002"));
        let error = session
            .client
            .query_one(&statement, &[&"c1", &None::<String>, &"feature-ai-tokens", &"2", &None::<String>])
            .expect_err("no subscription there");
        assert_eq!(error.code().map(|code| code.code()), Some("PC003"));
    }
    // SQL-level PREPARE.
    session.exec(
        "PREPARE granting(text, numeric) AS SELECT * FROM credit_pools.grant_credits(customer_id => 'c1', resource_id => $1, credit_type_id => 'ai-tokens', amount => $2)",
    );
    let before: i64 = left(&mut session).parse().expect("a whole balance");
    for turn in 1..=12 {
        assert_eq!(session.row("EXECUTE granting('ws-a', 3)").int("balance"), before + 3 * turn);
    }
    check_invariants(&mut session);
}

#[test]
fn many_calls_in_one_statement() {
    let (_database, mut session) = world();
    // Each row's call sees what the row before did.
    let rows = session.rows(
        "SELECT n, u.balance FROM generate_series(1, 30) n
         CROSS JOIN LATERAL credit_pools.report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => n) u ORDER BY n",
    );
    let mut expected = 1000;
    for row in rows {
        expected -= row.int("n");
        assert_eq!(row.int("balance"), expected);
    }
    // The last of them fails: none of them was.
    let fault = session.fault(
        "SELECT n, u.balance FROM generate_series(1, 100) n
         CROSS JOIN LATERAL credit_pools.report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => n) u",
    );
    assert_eq!(fault.code, "PC001");
    assert_eq!(left(&mut session), expected.to_string());
    check_invariants(&mut session);
}

#[test]
fn kept_plans_survive_discard_and_a_new_extension() {
    let (database, mut session) = world();
    for round in 0..3 {
        for _ in 0..6 {
            session.call(USE_10);
        }
        assert_eq!(left(&mut session), "940");
        session.exec("DISCARD ALL");
        session.call(USE_10);
        assert_eq!(left(&mut session), "930");
        check_invariants(&mut session);
        session.exec("DROP EXTENSION credit_pools");
        let fault = session.call_fault(USE_10);
        assert!(matches!(fault.code.as_str(), "3F000" | "42883"), "{fault}");
        if round == 1 {
            // Made again by another session.
            database.session().exec("CREATE EXTENSION credit_pools");
        } else {
            session.exec("CREATE EXTENSION credit_pools");
        }
        support::seed_catalogue(&mut session);
        // The ids begin at 1 again, what they mean is new: nothing of the old catalogue may be remembered.
        session.call("define_rate(feature_id => 'feature-ai-tokens', credit_type_id => 'ai-tokens', plan_id => 'plan-basic', credits_per_unit => 4)");
        session.call("provision_subscription(customer_id => 'c1', plan_id => 'plan-pro', resource_id => 'ws-a')");
        session.call("open_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', overdraft_limit => 1000)");
        assert_eq!(session.call(USE_10).get("credits_consumed"), "20", "plan-pro");
        session.exec("DROP EXTENSION credit_pools; CREATE EXTENSION credit_pools");
        support::seed_catalogue(&mut session);
        fill(&mut session);
    }
    // Dropped and made again in a transaction that is rolled back.
    session.call(USE_10);
    session.exec("BEGIN");
    session.exec("DROP EXTENSION credit_pools");
    session.exec("CREATE EXTENSION credit_pools");
    support::seed_catalogue(&mut session);
    fill(&mut session);
    session.call(USE_10);
    session.exec("ROLLBACK");
    session.call(USE_10);
    assert_eq!(left(&mut session), "980");
    check_invariants(&mut session);
}

#[test]
fn inside_a_cursor() {
    let (_database, mut session) = world();
    session.exec("BEGIN");
    session.exec(&format!("DECLARE late CURSOR FOR SELECT * FROM credit_pools.{USE_10}"));
    // The cursor is open, its call has not run: this usage comes first.
    session.call(USE_10);
    assert_eq!(session.row("FETCH late").get("balance"), "980");
    assert!(session.rows("FETCH late").is_empty());
    session.exec("CLOSE late");
    // Row by row, with other calls between the fetches.
    session.exec(
        "DECLARE each CURSOR FOR SELECT u.balance FROM generate_series(1, 3) n
         CROSS JOIN LATERAL credit_pools.report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => n) u",
    );
    assert_eq!(session.row("FETCH each").get("balance"), "979");
    session.call(USE_10);
    assert_eq!(session.row("FETCH each").get("balance"), "967");
    session.exec("CLOSE each");
    session.exec("COMMIT");
    assert_eq!(left(&mut session), "967");
    session.exec("BEGIN");
    session.exec(&format!("DECLARE kept CURSOR WITH HOLD FOR SELECT * FROM credit_pools.{USE_10}"));
    session.exec("COMMIT");
    assert_eq!(session.row("FETCH kept").get("balance"), "957");
    assert_eq!(left(&mut session), "957");
    check_invariants(&mut session);
}

#[test]
fn two_phase_commit() {
    let (database, mut session) = world();
    if session.value("SHOW max_prepared_transactions") == "0" {
        // Not through eprintln!, which the test runner swallows when a test passes.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: two_phase_commit needs a server with max_prepared_transactions above 0"
        );
        return;
    }
    session.call("open_pool(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens')");
    session.exec("BEGIN");
    session.call(USE_10);
    session.exec("PREPARE TRANSACTION 'credit-pools-1'");
    let mut other = database.session();
    other.exec("SET lock_timeout = '200ms'");
    other.call("grant_credits(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens', amount => 5)");
    assert_eq!(other.call_fault(USE_10).code, "55P03", "the pool is locked by the prepared transaction");
    session.exec("COMMIT PREPARED 'credit-pools-1'");
    assert_eq!(other.call(USE_10).get("balance"), "980");
    session.exec("BEGIN");
    session.call(USE_10);
    session.exec("PREPARE TRANSACTION 'credit-pools-2'");
    session.exec("ROLLBACK PREPARED 'credit-pools-2'");
    assert_eq!(left(&mut session), "980");
    check_invariants(&mut session);
}

/// A backend may keep what it knows of the catalogue; it must not use it after another session changed it.
#[test]
fn a_catalogue_change_elsewhere_is_seen_by_the_next_call() {
    let (database, mut session) = world();
    let mut admin = database.session();
    session.call(
        "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 100000)",
    );
    let cost = |session: &mut Session| {
        session
            .call("report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1)")
            .get("credits_consumed")
            .to_owned()
    };
    let rate = |price: i32| {
        format!(
            "define_rate(feature_id => 'feature-ai-tokens', credit_type_id => 'ai-tokens', plan_id => 'plan-basic', credits_per_unit => {price})"
        )
    };
    for _ in 0..6 {
        assert_eq!(cost(&mut session), "1");
    }
    for price in 2..20 {
        admin.call(&rate(price));
        assert_eq!(cost(&mut session), price.to_string());
    }
    // In an open transaction, too; and not before the other one commits.
    session.exec("BEGIN");
    admin.exec("BEGIN");
    admin.call(&rate(30));
    assert_eq!(cost(&mut admin), "30");
    admin.exec("ROLLBACK");
    admin.exec("BEGIN");
    admin.call(&rate(31));
    assert_eq!(cost(&mut session), "19");
    admin.exec("COMMIT");
    assert_eq!(cost(&mut session), "31");
    session.exec("COMMIT");
    // What an old snapshot showed is right for that transaction and forgotten after it.
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        admin.call(&rate(31));
        assert_eq!(cost(&mut session), "31");
        session.exec(&format!("BEGIN ISOLATION LEVEL {level}"));
        left(&mut session);
        admin.call(&rate(32));
        assert_eq!(cost(&mut session), "31", "{level}");
        session.exec("COMMIT");
        assert_eq!(cost(&mut session), "32", "after {level}");
        admin.call(&rate(31));
        assert_eq!(cost(&mut session), "31");
    }
    // What a session changed itself and rolled back, by transaction and by savepoint.
    session.exec("BEGIN");
    session.call(&rate(40));
    assert_eq!(cost(&mut session), "40");
    session.exec("SAVEPOINT s");
    session.call(&rate(41));
    assert_eq!(cost(&mut session), "41");
    session.exec("ROLLBACK TO s");
    assert_eq!(cost(&mut session), "40");
    session.exec("ROLLBACK");
    assert_eq!(cost(&mut session), "31");
    // A change inside a block that fails.
    session.exec(
        "DO $$ BEGIN
           PERFORM credit_pools.define_rate(feature_id => 'feature-ai-tokens', credit_type_id => 'ai-tokens', plan_id => 'plan-basic', credits_per_unit => 50);
           PERFORM credit_pools.report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1);
           RAISE EXCEPTION 'no';
         EXCEPTION WHEN raise_exception THEN NULL; END $$",
    );
    assert_eq!(cost(&mut session), "31");
    // The plan, and with it the rate.
    admin.call("provision_subscription(customer_id => 'c1', plan_id => 'plan-pro', resource_id => 'ws-a')");
    assert_eq!(cost(&mut session), "2");
    admin.exec("BEGIN");
    admin.call("provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-a')");
    admin.exec("ROLLBACK");
    assert_eq!(cost(&mut session), "2");
    // A feature that was unknown, a rate that was missing.
    let usage = "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'f-late', value => 1)";
    assert_eq!(session.call_fault(usage).code, "PC002");
    admin.call("define_feature(feature_id => 'f-late')");
    assert_eq!(session.call_fault(usage).code, "PC006");
    admin.call("define_rate(feature_id => 'f-late', credit_type_id => 'ai-tokens', credits_per_unit => 7)");
    assert_eq!(session.call(usage).get("credits_consumed"), "7");
    admin.call("define_rate(feature_id => 'f-late', credit_type_id => 'ai-tokens', plan_id => 'plan-pro', credits_per_unit => 8)");
    assert_eq!(session.call(usage).get("credits_consumed"), "8");
    // Archived.
    let grant = "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1)";
    session.call(grant);
    admin.call("archive_credit_type(credit_type_id => 'ai-tokens')");
    assert_eq!(session.call_fault(grant).code, "PC005");
    // The pool's own state.
    admin.call(
        "set_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', status => 'frozen')",
    );
    assert_eq!(session.call_fault(usage).code, "PC005");
    admin.call("set_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', status => 'active', overdraft_limit => 1000000)");
    session.call(
        "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 500000)",
    );
    check_invariants(&mut session);
}

/// A session connected to a database keeps nothing of another one that was there under the same name before.
#[test]
fn each_database_has_its_own_catalogue() {
    let one = Database::with_catalogue();
    let two = Database::new();
    let mut in_one = one.session();
    fill(&mut in_one);
    let mut in_two = two.session();
    assert_eq!(in_two.call_fault(USE_10).code, "PC002");
    assert_eq!(in_one.call(USE_10).get("balance"), "990");
}

/// A role that may call the functions puts its own operators, functions, types and tables in front of everything that
/// the extension could mean. All of them raise: the first one that the extension used would fail the call.
#[test]
fn a_hostile_search_path_reaches_nothing() {
    let (database, mut session) = world();
    let role = database.role("mallory");
    let name = session.value("SELECT current_database()");
    session.exec(&format!(
        "CREATE SCHEMA trap AUTHORIZATION {role};
         GRANT USAGE ON SCHEMA credit_pools TO {role};
         GRANT EXECUTE ON ALL ROUTINES IN SCHEMA credit_pools TO {role};
         GRANT TEMPORARY ON DATABASE {name} TO {role}"
    ));
    let tables = session.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = 'credit_pools'::regnamespace AND relkind IN ('r', 'p', 'v')",
    );
    session.exec(&format!("SET SESSION AUTHORIZATION {role}"));
    session.exec("CREATE FUNCTION trap.sprung() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trap sprung as %', current_user USING ERRCODE = 'ZZ999'; END $$");
    for kind in ["text", "numeric", "bigint", "integer", "timestamptz", "boolean", "jsonb", "interval", "bytea"] {
        for (number, operator) in ["=", "<>", "<", ">", "<=", ">=", "+", "-", "*", "/", "||"].iter().enumerate() {
            let result = if number < 6 { "boolean" } else { kind };
            session.exec(&format!(
                "CREATE FUNCTION trap.op_{kind}_{number}(a {kind}, b {kind}) RETURNS {result} LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.sprung(); END $$;
                 CREATE OPERATOR trap.{operator} (LEFTARG = {kind}, RIGHTARG = {kind}, FUNCTION = trap.op_{kind}_{number})"
            ));
        }
    }
    for (name, arguments, result) in [
        ("now", "", "timestamptz"),
        ("clock_timestamp", "", "timestamptz"),
        ("statement_timestamp", "", "timestamptz"),
        ("nextval", "regclass", "bigint"),
        ("currval", "regclass", "bigint"),
        ("current_setting", "text, boolean", "text"),
        ("set_config", "text, text, boolean", "text"),
        ("round", "numeric, integer", "numeric"),
        ("trunc", "numeric, integer", "numeric"),
        ("scale", "numeric", "integer"),
        ("min_scale", "numeric", "integer"),
        ("trim_scale", "numeric", "numeric"),
        ("abs", "numeric", "numeric"),
        ("length", "text", "integer"),
        ("char_length", "text", "integer"),
        ("lower", "text", "text"),
        ("md5", "text", "text"),
        ("hashtext", "text", "integer"),
        ("sha256", "bytea", "bytea"),
        ("convert_to", "text, name", "bytea"),
        ("encode", "bytea, text", "text"),
        ("numeric_add", "numeric, numeric", "numeric"),
        ("jsonb_typeof", "jsonb", "text"),
        ("jsonb_build_object", "text, text", "jsonb"),
        ("date_trunc", "text, timestamptz, text", "timestamptz"),
        ("clock", "", "timestamptz"),
        ("pg_advisory_xact_lock", "bigint", "boolean"),
        ("sum", "bigint", "bigint"),
        ("run_maintenance", "integer", "bigint"),
        ("archive_ledger", "timestamptz, text, integer, integer, text, bigint", "bigint"),
    ] {
        session.exec(&format!(
            "CREATE FUNCTION trap.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.sprung(); END $$"
        ));
    }
    for table in &tables {
        let name = table.get("relname");
        session.exec(&format!("CREATE TABLE trap.{name} (trap boolean DEFAULT trap.sprung(), customer_id text)"));
        session.exec(&format!("CREATE TEMPORARY TABLE {name} (trap boolean, customer_id text)"));
    }
    session.exec("CREATE DOMAIN trap.numeric AS text CHECK (trap.sprung()); CREATE DOMAIN trap.text AS pg_catalog.text CHECK (trap.sprung())");
    session.exec("SET search_path = pg_temp, trap, pg_catalog, credit_pools");
    // A trap that no one can step into would prove nothing.
    assert_eq!(session.fault("SELECT 'a'::pg_catalog.text = 'a'::pg_catalog.text").code, "ZZ999");
    for call in [
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 1.5)",
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-search', value => 3, idempotency_key => 'k', dimensions => '{\"a\": 1}', metadata => '{\"b\": 2}')",
        "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-search', value => 3, idempotency_key => 'k', dimensions => '{\"a\": 1}', metadata => '{\"b\": 2}')",
        "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 1.5)",
        "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'cents', amount => 5, feature_ids => '{feature-search}', price => 1, price_currency => 'EUR')",
        "define_credit_type(credit_type_id => 't2', scale => 3)",
        "define_feature(feature_id => 'f2')",
        "define_plan(plan_id => 'p2')",
        "define_plan_credits(plan_id => 'p2', credit_type_id => 'ai-tokens', amount => 40, quantity_feature_id => 'f2')",
        "define_rate(feature_id => 'f2', credit_type_id => 'ai-tokens', plan_id => 'p2', credits_per_unit => 2)",
        "provision_subscription(customer_id => 'c2', plan_id => 'p2', resource_id => 'ws', quantities => '{\"f2\": 3}', overrides => '{\"rates\": {\"f2\": 4}}', time_zone => 'Europe/Paris')",
        "report_usage(customer_id => 'c2', resource_id => 'ws', feature_id => 'f2', value => 20, on_insufficient => 'cap')",
        "open_pool(customer_id => 'c2', credit_type_id => 'cents')",
        "set_pool(customer_id => 'c2', resource_id => 'ws', credit_type_id => 'ai-tokens', overdraft_limit => 50)",
        "set_auto_recharge(customer_id => 'c2', credit_type_id => 'ai-tokens', threshold => 50, target_balance => 100, price_per_credit => 0.01, price_currency => 'EUR', max_spend => 50)",
        "provision_subscription(customer_id => 'c2', plan_id => 'p2', resource_id => 'ws-s', subscription_id => 's', quantities => '{\"f2\": 3}')",
        "set_quantity(customer_id => 'c2', subscription_id => 's', feature_id => 'f2', quantity => 4)",
        "transfer_subscription(customer_id => 'c2', subscription_id => 's', to_resource_id => 'ws-t')",
        "cancel_subscription(customer_id => 'c2', subscription_id => 's', credits => 'expire')",
        "balance_at(customer_id => 'c2', credit_type_id => 'ai-tokens', resource_id => 'ws-t', at => pg_catalog.clock_timestamp())",
        "archive_credit_type(credit_type_id => 't2')",
        "clock()",
    ] {
        session.call(call);
    }
    session.rows("SELECT * FROM credit_pools.run_maintenance()");
    session.exec("CALL credit_pools.maintain()");
    session.exec("CALL credit_pools.archive(before => pg_catalog.clock_timestamp())");
    let claimed = session.rows("SELECT * FROM credit_pools.claim_recharges(worker => 'w', max_count => 5)");
    assert!(!claimed.is_empty());
    for (number, recharge) in claimed.iter().enumerate() {
        let id = recharge.get("recharge_id");
        session.call(&format!("fail_recharge(customer_id => 'c2', recharge_id => {id}, reason => 'declined')"));
        if number == 0 {
            session.call(&format!(
                "complete_recharge(customer_id => 'c2', recharge_id => {id}, payment_reference => 'p')"
            ));
        }
    }
    session.call("reset_auto_recharge(customer_id => 'c2', credit_type_id => 'ai-tokens')");
    // Errors and their DETAIL, too.
    for (call, code) in [
        (
            "report_usage(customer_id => 'c1', resource_id => 'ws-a', feature_id => 'feature-ai-tokens', value => 100000)",
            "PC001",
        ),
        ("report_usage(customer_id => 'c1', feature_id => 'feature-ai-tokens', value => 1)", "PC003"),
        (
            "report_usage(customer_id => 'c1', resource_id => 'nope', feature_id => 'feature-ai-tokens', value => 1)",
            "PC002",
        ),
        ("grant_credits(customer_id => 'c1', credit_type_id => 'ai-tokens', amount => 0)", "22023"),
    ] {
        let fault = session.call_fault(call);
        assert_eq!(fault.code, code, "{fault}");
    }
    // The role may call, it may not touch.
    for statement in [
        "SELECT * FROM credit_pools.pool",
        "INSERT INTO credit_pools.customer SELECT",
        "UPDATE credit_pools.pool SET balance = 1",
    ] {
        assert_eq!(session.fault(statement).code, "42501", "{statement}");
    }
    session.exec("RESET SESSION AUTHORIZATION; RESET search_path");
    let mut clean = database.session();
    check_invariants(&mut clean);
}

/// A plain role may not turn back the clock.
#[test]
fn the_test_clock_is_for_superusers() {
    let (database, mut session) = world();
    let role = database.role("plain");
    session.exec(&format!("SET SESSION AUTHORIZATION {role}"));
    let fault = session.fault("SET credit_pools.test_clock = '2030-01-01 00:00+00'");
    assert_eq!(fault.code, "42501", "{fault}");
    let fault = session.fault("SELECT set_config('credit_pools.test_clock', '2030-01-01 00:00+00', true)");
    assert_eq!(fault.code, "42501", "{fault}");
}

#[test]
fn a_snapshot_that_is_too_old_is_a_serialization_failure() {
    let (database, mut session) = world();
    let mut other = database.session();
    // A key that was used after the snapshot: not a unique violation, and not a second debit.
    let keyed = "consume_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 5, idempotency_key => 'k')";
    session.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(left(&mut session), "1000");
    other.call(keyed);
    let fault = session.call_fault(keyed);
    assert_eq!(fault.code, "40001", "{fault}");
    session.exec("ROLLBACK");
    // A customer, a resource and a pool that were made after it.
    let make = "provision_subscription(customer_id => 'c-new', plan_id => 'plan-basic', resource_id => 'ws')";
    session.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(left(&mut session), "995");
    other.call(make);
    let fault = session.call_fault(make);
    assert_eq!(fault.code, "40001", "{fault}");
    session.exec("ROLLBACK");
    session.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(left(&mut session), "995");
    other.call("open_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'cents')");
    let fault = session.call_fault("open_pool(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'cents')");
    assert_eq!(fault.code, "40001", "{fault}");
    session.exec("ROLLBACK");
    let fault = {
        session.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert_eq!(left(&mut session), "995");
        other
            .call("grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'images', amount => 1)");
        session.call_fault(
            "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'images', amount => 1)",
        )
    };
    assert_eq!(fault.code, "40001", "{fault}");
    session.exec("ROLLBACK");
    // A session that waited for the row.
    session.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(left(&mut session), "995");
    other.exec("BEGIN");
    other.call(USE_10);
    let waiting = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| session.call_fault(USE_10));
        std::thread::sleep(std::time::Duration::from_millis(300));
        other.exec("COMMIT");
        waiter.join().expect("the waiting call ends")
    });
    assert_eq!(waiting.code, "40001", "{waiting}");
    session.exec("ROLLBACK");
    // Without a concurrent change it works at every level, and a change of another pool is none.
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let before = left(&mut session);
        session.exec(&format!("BEGIN ISOLATION LEVEL {level}"));
        assert_eq!(left(&mut session), before);
        other
            .call("grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'images', amount => 1)");
        session.call(USE_10);
        session.call(USE_10);
        session.exec("COMMIT");
    }
    assert_eq!(left(&mut session), "945");
    check_invariants(&mut session);
}
