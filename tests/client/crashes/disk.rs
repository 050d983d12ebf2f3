//! No room on the disk: the call fails with the server's own error and nothing of it is there; the others go on where they
//! can. Once there is room, the same key works.

use crate::client::Client;
use crate::world::{World, verify};
use crate::{DURABLE, eight, go_on, make_up, skipped, under_load};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::{Cluster, Session, check_invariants, digest, seeded};

/// One backend that may not let files grow: RLIMIT_FSIZE, above a segment of WAL and just below the ledger's next page.
#[test]
fn a_file_that_cannot_grow() {
    let cluster = Cluster::start(DURABLE);
    let mut session = cluster.session();
    support::seed_catalogue(&mut session);
    let scope = "customer_id => 'c1', resource_id => 'ws-a'";
    session.call(&format!("provision_subscription({scope}, plan_id => 'plan-basic')"));
    session.call(&format!("grant_credits({scope}, credit_type_id => 'ai-tokens', amount => 1000000)"));
    // What cannot be compressed.
    session.exec(
        "CREATE FUNCTION bulk(n int) RETURNS jsonb LANGUAGE sql
         AS 'SELECT jsonb_build_object(''bulk'', string_agg(md5(n || ''-'' || i), '''')) FROM generate_series(1, 45) i'",
    );
    session.exec("CREATE TABLE jobs (id int, customer text, resource text, key text)");
    session.call("meter_table(\"table\" => 'jobs', feature_id => 'feature-ai-tokens', customer_column => 'customer', resource_column => 'resource', key_column => 'key')");
    let size = |session: &mut Session| -> i64 {
        session.value("SELECT pg_relation_size('credit_pools.ledger_entry')").parse().expect("bytes")
    };
    let mut part = 0;
    while size(&mut session) < 17 << 20 {
        part += 1;
        session.exec(&format!(
            "SELECT count(*) FROM credit_pools.report_usage_batch((SELECT jsonb_agg(jsonb_build_object('customer_id', 'c1', 'resource_id', 'ws-a', 'feature_id', 'feature-ai-tokens', 'value', 1, 'metadata', bulk({part} * 1000 + i))) FROM generate_series(1, 1000) i))"
        ));
    }
    session.exec("ANALYZE");
    let mut limited = cluster.session();
    let backend = limited.value("SELECT pg_backend_pid()");
    // The soft limit is the server's user's own to raise again.
    let limit = |bytes: &str| cluster.run(&format!("as_server prlimit --pid {backend} --fsize={bytes}:"));
    if !limit("unlimited") {
        skipped("a file that cannot grow: prlimit is not here, or not allowed");
        return;
    }
    let calls: [(&str, String); 5] = [
        ("usage", format!("report_usage({scope}, feature_id => 'feature-ai-tokens', value => 1, metadata => bulk({{n}}), idempotency_key => 'k{{n}}')")),
        ("consumption", format!("consume_credits({scope}, credit_type_id => 'ai-tokens', amount => 1, metadata => bulk({{n}}), idempotency_key => 'k{{n}}')")),
        (
            "batch",
            "report_usage_batch((SELECT jsonb_agg(jsonb_build_object('customer_id', 'c1', 'resource_id', 'ws-a', 'feature_id', 'feature-ai-tokens', 'value', 1, 'metadata', bulk(i), 'idempotency_key', 'k{n}-' || i)) FROM generate_series(1, 7) i))".to_owned(),
        ),
        ("hold", format!("reserve_credits({scope}, credit_type_id => 'ai-tokens', amount => 1, metadata => bulk({{n}}), reservation_id => 'k{{n}}')")),
        ("transfer", "transfer_credits(customer_id => 'c1', credit_type_id => 'ai-tokens', amount => 1, from_resource_id => 'ws-a', to_resource_id => 'ws-b', reason => bulk({n}) ->> 'bulk', idempotency_key => 'k{n}')".to_owned()),
    ];
    session.call("open_pool(customer_id => 'c1', resource_id => 'ws-b', credit_type_id => 'ai-tokens')");
    let mut number = 0;
    for (name, call) in &calls {
        // The last page takes some more.
        let (sql, before, fault) = loop {
            number += 1;
            let bytes = size(&mut session);
            assert!(limit(&bytes.to_string()), "prlimit");
            let sql = format!("SELECT * FROM credit_pools.{}", call.replace("{n}", &number.to_string()));
            let before = digest(&mut session);
            match limited.try_rows(&sql) {
                Ok(_) => assert!(number < 300, "{name}: the ledger grows on, whatever the limit is"),
                Err(fault) => break (sql, before, fault),
            }
        };
        // A file that is too large is no full disk to PostgreSQL, and has no code of its own.
        let storage = matches!(fault.code.as_str(), "53100" | "58030" | "XX000")
            && fault.message.contains("could not extend file");
        assert!(storage, "{name}: {fault}");
        assert_eq!(digest(&mut session), before, "{name}: something of it is there");
        let other = session.call(&format!("consume_credits({scope}, credit_type_id => 'ai-tokens', amount => 1)"));
        assert_eq!(other.get("credits_consumed"), "1", "others go on");
        assert!(limit("unlimited"), "prlimit");
        let rows = limited.rows(&sql);
        assert!(rows.iter().all(|row| !row.flag("is_duplicate")), "{name}: with room the same key works: {rows:?}");
        let rows = limited.rows(&sql);
        assert!(rows.iter().all(|row| row.flag("is_duplicate")), "{name}: once: {rows:?}");
    }
    // A metered table loses its own rows with the usage; these are small and use up what is left in the pages first.
    let bytes = size(&mut session);
    assert!(limit(&bytes.to_string()), "prlimit");
    let insert = "INSERT INTO jobs SELECT i, 'c1', 'ws-a', 'job-' || i FROM generate_series(1, 30000) i";
    let fault = limited.fault(insert);
    assert!(fault.message.contains("could not extend file"), "{fault}");
    assert_eq!(session.value("SELECT count(*) FROM jobs"), "0");
    assert!(limit("unlimited"), "prlimit");
    limited.exec(insert);
    check_invariants(&mut session);
    verify(&mut session);
}

/// A server whose files below `what` lie on a disk of so many megabytes; None, and said loudly, where nobody may mount.
fn small_disk(what: &str, megabytes: usize, settings: &[&str]) -> Option<Cluster> {
    let may = Command::new("unshare").args(["--mount", "--", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        skipped(&format!("{what} on a full disk: mounting a small file system needs root, and unshare"));
        return None;
    }
    let settings: Vec<&str> = DURABLE.iter().chain(settings).copied().collect();
    let cluster = Cluster::start_apart(&settings);
    let mounted = cluster.run(&format!(
        "mkdir small && mount -t tmpfs -o size={megabytes}m tmpfs small && install -d -m 700 -o \"$(stat -c %U data)\" small/files && trap 'umount -l \"$CLUSTER/small\"; cluster_stop' EXIT"
    ));
    assert!(mounted, "a small disk");
    Some(cluster)
}

/// Whatever was free is not.
fn fill(cluster: &Cluster) {
    assert!(!cluster.run("cat /dev/zero >small/ballast 2>/dev/null"), "it is full at some time");
}

fn make_room(cluster: &Cluster) {
    assert!(cluster.run("rm small/ballast"), "room");
}

/// The tables' disk is full under load: 53100 for whoever needs another page.
#[test]
fn tables_on_a_full_disk() {
    let Some(cluster) = small_disk("tables", 64, &[]) else { return };
    let (seed, _) = seeded("full disk");
    let mut session = cluster.session();
    let folder = cluster.folder().join("small/files").display().to_string();
    session.exec(&format!("CREATE TABLESPACE small LOCATION '{folder}'"));
    for what in ["TABLE", "INDEX", "MATERIALIZED VIEW"] {
        session.exec(&format!("ALTER {what} ALL IN TABLESPACE pg_default SET TABLESPACE small"));
    }
    let world = World::new(cluster, &["53100"]);
    let mut clients = eight(seed);
    under_load(&world, &mut clients, |session| {
        sleep(Duration::from_millis(500));
        fill(&world.cluster);
        let limit = Instant::now() + Duration::from_secs(30);
        while world.counted("undone") < 50 && Instant::now() < limit {
            sleep(Duration::from_millis(100));
        }
        assert_eq!(session.value("SELECT 1"), "1", "the server goes on");
        make_room(&world.cluster);
        world.wait_for_calls(50);
    });
    world.check(&mut world.cluster.session(), &mut clients);
    make_up(&world, &mut clients);
    eprintln!("full disk: seed {seed}");
    world.check_at_the_end(&mut world.cluster.session());
    assert!(world.counted("undone") >= 50, "nobody needed room");
    assert_eq!(world.counted("calls cut off"), 0, "nobody lost his connection");
}

/// The WAL's disk is full under load: PostgreSQL goes down, since nothing can be promised any more. With room it comes back
/// with all that was.
#[test]
fn wal_on_a_full_disk() {
    let Some(cluster) = small_disk("WAL", 160, &["max_wal_size=64MB", "min_wal_size=32MB"]) else { return };
    let (seed, _) = seeded("WAL on a full disk");
    cluster.stop();
    assert!(cluster.run("mv data/pg_wal small/files/ && ln -s \"$PWD/small/files/pg_wal\" data/pg_wal"), "moved");
    cluster.start_again();
    let world = World::new(cluster, &["53100"]);
    let mut clients: Vec<Client> = eight(seed);
    let postmaster = world.cluster.postmaster();
    let down = std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| client.work(&world, false));
        }
        let mut session = world.cluster.session();
        sleep(Duration::from_millis(500));
        fill(&world.cluster);
        // Segments that are there already are used up first.
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            let switched = session.try_exec("SELECT pg_switch_wal()");
            if switched.is_err() || Instant::now() > limit {
                return switched.is_err();
            }
            sleep(Duration::from_millis(50));
        }
    });
    assert!(down, "no WAL, no server");
    world.cluster.wait_until_down(postmaster);
    make_room(&world.cluster);
    world.cluster.start_again();
    world.check(&mut world.cluster.session(), &mut clients);
    go_on(&world, &mut clients);
    eprintln!("WAL on a full disk: seed {seed}");
    world.check_at_the_end(&mut world.cluster.session());
}
