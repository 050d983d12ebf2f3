//! Tables that charge by themselves: each INSERT is paid in its own transaction, by whatever way its rows come.

use std::io::Write;
use std::time::Instant;
use support::{Database, Fault, Session, at_once, check_invariants, digest};

const JOBS: &str = "CREATE TABLE jobs (id bigint PRIMARY KEY, customer text, resource text, units numeric, key text)";

const METER: &str = "meter_table(\"table\" => 'jobs', feature_id => 'feature-ai-tokens', customer_column => 'customer', resource_column => 'resource', value_column => 'units', key_column => 'key')";

/// Customers c0, c1, ... with resources ws-0, ws-1, ... of so many credits each.
fn pools(session: &mut Session, customers: i64, resources: i64, amount: i64) {
    session.rows(&format!(
        "SELECT p.subscription_id FROM generate_series(0, {customers} - 1) c, generate_series(0, {resources} - 1) r,
         LATERAL credit_pools.provision_subscription(customer_id => 'c' || c, plan_id => 'plan-basic', resource_id => 'ws-' || r) p,
         LATERAL credit_pools.grant_credits(customer_id => p.customer_id, resource_id => p.resource_id, credit_type_id => 'ai-tokens', amount => {amount}) g"
    ));
}

/// Customer c0 with ws-0 of 100 credits, the table `jobs`, metered.
fn world() -> (Database, Session) {
    let database = Database::with_catalogue();
    let mut session = database.session();
    pools(&mut session, 1, 2, 100);
    session.exec(JOBS);
    session.call(METER);
    (database, session)
}

fn left(session: &mut Session, resource: &str) -> String {
    session.value(&format!(
        "SELECT balance FROM credit_pools.pools WHERE customer_id = 'c0' AND resource_id = '{resource}' AND credit_type_id = 'ai-tokens'"
    ))
}

fn copy(session: &mut Session, rows: &str) -> Result<u64, Fault> {
    let statement = "COPY jobs FROM STDIN";
    let mut writer = session.client.copy_in(statement).expect("COPY begins");
    writer.write_all(rows.as_bytes()).expect("the rows go out");
    writer.finish().map_err(|error| Fault::new(statement, &error))
}

#[test]
fn a_hundred_thousand_rows() {
    const ROWS: &str = "SELECT i, 'c' || i % 10, 'ws-' || i / 10 % 10, 1 + i % 3, CASE WHEN i % 2 = 0 THEN 'key-' || i END FROM generate_series";
    let database = Database::with_catalogue();
    let mut session = database.session();
    session.exec("SET synchronous_commit = off");
    pools(&mut session, 10, 10, 10_000);
    session.exec(JOBS);
    session.call(METER);
    let before = digest(&mut session);
    session.exec("BEGIN");
    session.exec(&format!("INSERT INTO jobs {ROWS}(1, 10000) i"));
    assert_eq!(session.value("SELECT count(*) FROM credit_pools.usage_events"), "10000");
    session.exec("ROLLBACK");
    assert_eq!(digest(&mut session), before, "ROLLBACK leaves no trace");
    // The last of all rows cannot be paid.
    let fault = session
        .fault(&format!("INSERT INTO jobs {ROWS}(1, 10000) i UNION ALL SELECT 10001, 'c3', 'ws-3', 1000000, NULL"));
    assert_eq!(fault.code, "PC001", "{fault}");
    assert_eq!(fault.figure("row").as_deref(), Some("10000"), "{fault}");
    assert!(fault.figure("table").is_some_and(|table| table.ends_with("jobs")), "{fault}");
    assert_eq!(fault.figure("required").as_deref(), Some("1000000"), "{fault}");
    assert_eq!(digest(&mut session), before, "a row that cannot be paid takes all with it");
    assert_eq!(session.value("SELECT count(*) FROM jobs"), "0");
    // By COPY, and by INSERT into the same pools.
    let rows: String = (0..5000)
        .map(|i| {
            let key = if i % 2 == 0 { "\\N".to_owned() } else { format!("copied-{i}") };
            format!("{}\tc{}\tws-{}\t2\t{key}\n", 200_000 + i, i % 10, i / 10 % 10)
        })
        .collect();
    assert_eq!(copy(&mut session, &rows).expect("COPY is paid"), 5000);
    let start = Instant::now();
    session.exec(&format!("INSERT INTO jobs {ROWS}(1, 100000) i"));
    eprintln!("100000 rows in {} ms", start.elapsed().as_millis());
    let wrong = session.rows(
        "SELECT p.customer_id, p.resource_id, p.balance, j.units FROM credit_pools.pools p
         JOIN (SELECT customer, resource, sum(units) AS units FROM jobs GROUP BY 1, 2) j ON (customer, resource) = (customer_id, resource_id)
         WHERE credit_type_id = 'ai-tokens' AND balance <> 10000 - units",
    );
    assert!(wrong.is_empty(), "{wrong:?}");
    let row = session.row(
        "SELECT count(*) AS n, sum(credits) AS credits, (SELECT sum(units) FROM jobs) AS units, count(DISTINCT pool_id) AS pools FROM credit_pools.usage_events",
    );
    assert_eq!((row.get("n"), row.get("pools")), ("105000", "100"));
    assert_eq!(row.get("credits"), row.get("units"));
    // The checks are joins over all of it.
    session.exec("ANALYZE");
    check_invariants(&mut session);
}

#[test]
fn an_insert_is_paid_or_does_not_happen() {
    let (_database, mut session) = world();
    session.exec(
        "INSERT INTO jobs VALUES (1, 'c0', 'ws-0', 30, 'a'), (2, 'c0', 'ws-1', 5, NULL), (3, 'c0', 'ws-0', 2.5, NULL)",
    );
    assert_eq!((left(&mut session, "ws-0"), left(&mut session, "ws-1")), ("67.5".to_owned(), "95".to_owned()));
    let before = digest(&mut session);
    for (insert, code, row) in [
        ("(4, 'c0', 'ws-0', 1, NULL), (5, 'c0', 'ws-0', 67, NULL)", "PC001", "1"),
        ("(4, 'c0', 'ws-1', 1, NULL), (5, 'c0', 'ws-0', 1, 'a')", "PC004", "1"),
        ("(4, 'c0', 'nowhere', 1, NULL)", "PC002", "0"),
        ("(4, 'nobody', 'ws-0', 1, NULL)", "PC002", "0"),
        // The customer's global pool has no subscription.
        ("(4, 'c0', NULL, 1, NULL)", "PC003", "0"),
        ("(4, NULL, 'ws-0', 1, NULL)", "22023", "0"),
        ("(4, 'c0', 'ws-0', 1, NULL), (5, 'c0', 'ws-0', NULL, NULL)", "22023", "1"),
        ("(4, 'c0', 'ws-0', -1, NULL)", "22023", "0"),
        ("(4, 'c0', 'ws-0', 'NaN', NULL)", "22023", "0"),
        ("(4, 'c0', 'ws-0', 1, '')", "22023", "0"),
        ("(4, '', 'ws-0', 1, NULL)", "22023", "0"),
    ] {
        let fault = session.fault(&format!("INSERT INTO jobs VALUES {insert}"));
        assert_eq!(fault.code, code, "{fault}");
        assert_eq!(fault.figure("row").as_deref(), Some(row), "{fault}");
        assert!(fault.figure("table").is_some(), "{fault}");
        assert!(fault.hint.is_some(), "{fault}");
        assert_eq!(digest(&mut session), before, "{insert}");
        assert_eq!(session.value("SELECT count(*) FROM jobs"), "3", "{insert}");
    }
    assert_eq!(copy(&mut session, "7\tc0\tws-0\t68\t\\N\n").expect_err("cannot be paid").code, "PC001");
    assert_eq!(digest(&mut session), before);
    // 0 is not charged, no row is no charge, a key that was used counts once: in an earlier statement and in this one.
    session.exec("INSERT INTO jobs VALUES (8, 'c0', 'ws-0', 0, NULL)");
    session.exec("INSERT INTO jobs SELECT 9, 'c0', 'ws-0', 1, NULL WHERE false");
    session.exec("INSERT INTO jobs VALUES (10, 'c0', 'ws-0', 30, 'a')");
    assert_eq!(left(&mut session, "ws-0"), "67.5");
    session.exec("INSERT INTO jobs VALUES (11, 'c0', 'ws-0', 7, 'b'), (12, 'c0', 'ws-0', 7, 'b')");
    assert_eq!(left(&mut session, "ws-0"), "60.5");
    // Neither what is not inserted nor what is updated or deleted.
    session.exec("INSERT INTO jobs VALUES (11, 'c0', 'ws-0', 50, NULL) ON CONFLICT DO NOTHING");
    session.exec("INSERT INTO jobs VALUES (11, 'c0', 'ws-0', 50, NULL), (13, 'c0', 'ws-0', 0.5, NULL) ON CONFLICT (id) DO UPDATE SET units = 40");
    session.exec("UPDATE jobs SET units = 70 WHERE id = 12");
    session.exec("DELETE FROM jobs WHERE id = 1");
    assert_eq!(left(&mut session, "ws-0"), "60");
    // Savepoints, and an exception block.
    session.exec("BEGIN; INSERT INTO jobs VALUES (20, 'c0', 'ws-0', 10, NULL); SAVEPOINT s; INSERT INTO jobs VALUES (21, 'c0', 'ws-0', 20, NULL); ROLLBACK TO s; COMMIT");
    assert_eq!(left(&mut session, "ws-0"), "50");
    session.exec(
        "DO $$ BEGIN
           INSERT INTO jobs VALUES (22, 'c0', 'ws-0', 51, NULL);
           RAISE 'not paid for';
         EXCEPTION WHEN SQLSTATE 'PC001' THEN
           INSERT INTO jobs VALUES (22, 'c0', 'ws-0', 1, NULL);
         END $$",
    );
    assert_eq!(left(&mut session, "ws-0"), "49");
    check_invariants(&mut session);
}

#[test]
fn what_can_be_metered() {
    let (_database, mut session) = world();
    // A row is 1; keys and ids of other types; the global pool.
    session.call("provision_subscription(customer_id => '7', plan_id => 'plan-basic')");
    session.call("grant_credits(customer_id => '7', credit_type_id => 'ai-tokens', amount => 10)");
    session.exec("CREATE SCHEMA \"Odd schema\"; CREATE TABLE \"Odd schema\".\"Odd \"\"table\" (\"Customer id\" integer, \"Key\" uuid)");
    let row = session.call("meter_table(\"table\" => '\"Odd schema\".\"Odd \"\"table\"', feature_id => 'feature-ai-tokens', customer_column => 'Customer id', key_column => 'Key')");
    assert!(!row.get("trigger_name").is_empty());
    session.exec("INSERT INTO \"Odd schema\".\"Odd \"\"table\" VALUES (7, gen_random_uuid()), (7, NULL), (7, NULL), (7, '00000000-0000-0000-0000-000000000001')");
    session.exec("INSERT INTO \"Odd schema\".\"Odd \"\"table\" VALUES (7, '00000000-0000-0000-0000-000000000001')");
    assert_eq!(session.balance("7", None, "ai-tokens"), "6");
    // A smallint for the value; a second feature on the same table; the first again replaces its trigger.
    session.exec("CREATE TABLE calls (customer varchar(20), resource char(4), units smallint, tokens bigint)");
    let first = "meter_table(\"table\" => 'calls', feature_id => 'feature-ai-tokens', customer_column => 'customer', resource_column => 'resource', value_column => 'tokens')";
    session.call(first);
    session.call(first);
    session.call("meter_table(\"table\" => 'calls', feature_id => 'feature-search', customer_column => 'customer', resource_column => 'resource', value_column => 'units')");
    assert_eq!(session.value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'calls'::regclass"), "2");
    session.exec("INSERT INTO calls VALUES ('c0', 'ws-0', 4, 10)");
    assert_eq!(left(&mut session, "ws-0"), "88");
    let removed =
        session.rows("SELECT * FROM credit_pools.unmeter_table(\"table\" => 'calls', feature_id => 'feature-search')");
    assert_eq!(removed.len(), 1, "{removed:?}");
    session.exec("INSERT INTO calls VALUES ('c0', 'ws-0', 4, 10)");
    assert_eq!(left(&mut session, "ws-0"), "78");
    assert_eq!(session.rows("SELECT * FROM credit_pools.unmeter_table(\"table\" => 'calls')").len(), 1);
    session.exec("INSERT INTO calls VALUES ('c0', 'ws-0', 4, 10)");
    assert_eq!(left(&mut session, "ws-0"), "78");
    assert_eq!(session.value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'calls'::regclass"), "0");
    // A partitioned table, through its parent.
    session.exec("CREATE TABLE parts (customer text, resource text, day int) PARTITION BY RANGE (day); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10); CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20)");
    session.call("meter_table(\"table\" => 'parts', feature_id => 'feature-ai-tokens', customer_column => 'customer', resource_column => 'resource')");
    session.exec("INSERT INTO parts SELECT 'c0', 'ws-0', i FROM generate_series(0, 17) i");
    assert_eq!(left(&mut session, "ws-0"), "60");
    // Refused: with the argument's name, and nothing left behind.
    session.exec("CREATE TABLE odd (customer text, price double precision, flag boolean, at timestamptz, list text[], whole jsonb); CREATE VIEW seen AS SELECT * FROM odd");
    for (arguments, code, named) in [
        (
            "\"table\" => 'odd', feature_id => 'feature-ai-tokens', customer_column => 'customer', value_column => 'price'",
            "22023",
            "value_column",
        ),
        (
            "\"table\" => 'odd', feature_id => 'feature-ai-tokens', customer_column => 'customer', value_column => 'flag'",
            "22023",
            "value_column",
        ),
        (
            "\"table\" => 'odd', feature_id => 'feature-ai-tokens', customer_column => 'customer', value_column => 'customer'",
            "22023",
            "value_column",
        ),
        ("\"table\" => 'odd', feature_id => 'feature-ai-tokens', customer_column => 'at'", "22023", "customer_column"),
        (
            "\"table\" => 'odd', feature_id => 'feature-ai-tokens', customer_column => 'customer', resource_column => 'list'",
            "22023",
            "resource_column",
        ),
        (
            "\"table\" => 'odd', feature_id => 'feature-ai-tokens', customer_column => 'customer', key_column => 'whole'",
            "22023",
            "key_column",
        ),
        (
            "\"table\" => 'odd', feature_id => 'feature-ai-tokens', customer_column => 'no such'",
            "22023",
            "customer_column",
        ),
        (
            "\"table\" => 'odd', feature_id => 'feature-ai-tokens', customer_column => 'customer', value_column => 'no such'",
            "22023",
            "value_column",
        ),
        ("\"table\" => 'odd', feature_id => 'feature-ai-tokens'", "22023", "customer_column"),
        (
            "\"table\" => 'odd', feature_id => 'feature-ai-tokens', customer_column => 'ctid'",
            "22023",
            "customer_column",
        ),
        ("\"table\" => 'odd', feature_id => NULL, customer_column => 'customer'", "22023", "feature_id"),
        ("\"table\" => NULL, feature_id => 'feature-ai-tokens', customer_column => 'customer'", "22023", "table"),
        ("\"table\" => 'seen', feature_id => 'feature-ai-tokens', customer_column => 'customer'", "22023", "table"),
        (
            "\"table\" => 'credit_pools.customer', feature_id => 'feature-ai-tokens', customer_column => 'customer_id'",
            "22023",
            "table",
        ),
        ("\"table\" => 'odd', feature_id => 'nope', customer_column => 'customer'", "PC002", ""),
    ] {
        let fault = session.call_fault(&format!("meter_table({arguments})"));
        assert_eq!(fault.code, code, "{fault}");
        if !named.is_empty() {
            assert_eq!(fault.figure("argument").as_deref(), Some(named), "{fault}");
        }
        assert!(fault.hint.is_some(), "{fault}");
    }
    assert_eq!(session.value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'odd'::regclass"), "0");
    check_invariants(&mut session);
}

/// Who may insert into the table pays through it, without any right in credit_pools; a hostile search_path changes nothing.
#[test]
fn a_table_of_another_role() {
    let database = Database::with_catalogue();
    let mut session = database.session();
    pools(&mut session, 1, 2, 100);
    let owner = database.role("owner");
    let writer = database.role("writer");
    session.exec(&format!("CREATE SCHEMA app AUTHORIZATION {owner}; GRANT USAGE ON SCHEMA app TO {writer}"));
    session.exec(&format!("SET ROLE {owner}"));
    session.exec("CREATE TABLE app.jobs (id bigint, customer text, resource text, units numeric, key text)");
    session.exec(&format!("GRANT INSERT ON app.jobs TO {writer}"));
    session.exec("RESET ROLE");
    session.call(&METER.replace("'jobs'", "'app.jobs'"));
    for (number, role) in [&owner, &writer].into_iter().enumerate() {
        session.exec(&format!("SET ROLE {role}; SET search_path = app, pg_temp"));
        session.exec("CREATE TEMP TABLE IF NOT EXISTS pool (customer_id text); SET search_path = pg_temp, app");
        session.exec(&format!("INSERT INTO app.jobs VALUES ({number}, 'c0', 'ws-0', 10, NULL)"));
        let fault = session.fault("INSERT INTO app.jobs VALUES (9, 'c0', 'ws-0', 1000, NULL)");
        assert_eq!(fault.code, "PC001", "{fault}");
        let fault = session.fault("SELECT * FROM credit_pools.pools");
        assert_eq!(fault.code, "42501", "{fault}");
        session.exec("RESET ROLE; RESET search_path; DISCARD TEMP");
    }
    assert_eq!(left(&mut session, "ws-0"), "80");
    assert_eq!(
        session.value("SELECT string_agg(DISTINCT actor, ',' ORDER BY actor) FROM credit_pools.ledger WHERE entry_type = 'consume'"),
        session.value("SELECT session_user")
    );
    // A role that may neither.
    session.exec(&format!("SET ROLE {writer}"));
    let fault = session.call_fault(&METER.replace("'jobs'", "'app.jobs'"));
    assert_eq!(fault.code, "42501", "{fault}");
    session.exec("RESET ROLE");
    check_invariants(&mut session);
}

/// Sessions whose rows come in opposite orders: nobody waits for ever, and all is paid.
#[test]
fn metered_by_many_sessions() {
    let database = Database::with_catalogue();
    let mut session = database.session();
    pools(&mut session, 2, 5, 10_000);
    session.exec(JOBS);
    session.call(METER);
    at_once(&database, 8, |number, session| {
        for turn in 0..8 {
            let order = if number % 2 == 0 { "ASC" } else { "DESC" };
            session.exec(&format!(
                "INSERT INTO jobs SELECT {number} * 100000 + {turn} * 1000 + i, 'c' || i % 2, 'ws-' || i % 5, 1, NULL FROM generate_series(1, 100) i ORDER BY i {order}"
            ));
        }
    });
    let row = session.row(
        "SELECT sum(10000 - balance) AS used, min(balance) = max(balance) AS even FROM credit_pools.pools WHERE credit_type_id = 'ai-tokens'",
    );
    assert_eq!((row.get("used"), row.get("even")), ("6400", "t"));
    check_invariants(&mut session);
}
