//! PgBouncer in transaction mode between clients and server: a client's next transaction runs in any of a few server
//! sessions, which others have used before it.

use crate::world::{World, verify};
use crate::{DURABLE, backends, eight, go_on, skipped, under_load};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;
use support::{Cluster, Session, check_invariants, seed_catalogue, seeded};

const PORT: u16 = 6432;

/// A bouncer with three server connections before the cluster; None, and said loudly, where there is none to be had.
fn bounced(cluster: &Cluster) -> Option<(String, u16)> {
    if !cluster.run("command -v pgbouncer >/dev/null") {
        skipped("PgBouncer in transaction mode: no pgbouncer here (Debian: pgbouncer)");
        return None;
    }
    let host = cluster.host();
    let lines = [
        "[databases]",
        &format!("* = host={host} port=5432 user=postgres"),
        "[pgbouncer]",
        "listen_addr =",
        &format!("listen_port = {PORT}"),
        &format!("unix_socket_dir = {host}"),
        "auth_type = any",
        "pool_mode = transaction",
        "default_pool_size = 3",
        "max_client_conn = 200",
        "server_login_retry = 0.1",
        "ignore_startup_parameters = options,extra_float_digits",
        &format!("pidfile = {host}/bouncer"),
    ];
    let config: Vec<String> = lines.iter().map(|line| format!("'{line}'")).collect();
    assert!(cluster.run(&format!("printf '%s\\n' {} >bouncer.ini && chmod a+r bouncer.ini", config.join(" "))));
    // It leaves this shell, which is to end it with the server, its id.
    assert!(
        cluster.run("as_server pgbouncer -q -d bouncer.ini && ln -s socket/bouncer bouncer.pid"),
        "pgbouncer starts"
    );
    Some((host.to_owned(), PORT))
}

fn connect(cluster: &Cluster, (host, port): &(String, u16)) -> Session {
    cluster.try_session_by(host, *port, "postgres").unwrap_or_else(|error| panic!("cannot connect: {error}"))
}

const CLIENTS: usize = 24;
const TURNS: usize = 10;

/// Keys, holds that live over several transactions, and what is set for one transaction only.
#[test]
fn transactions_share_server_sessions() {
    let (seed, _) = seeded("bounced transactions");
    let cluster = Cluster::start(DURABLE);
    let Some(way) = bounced(&cluster) else { return };
    let mut session = cluster.session();
    seed_catalogue(&mut session);
    session.exec("ALTER ROLE postgres SET statement_timeout = '60s'");
    for resource in ["ws-a", "ws-b"] {
        let scope = format!("customer_id => 'c1', resource_id => '{resource}'");
        session.call(&format!("provision_subscription({scope}, plan_id => 'plan-basic')"));
        session.call(&format!("grant_credits({scope}, credit_type_id => 'ai-tokens', amount => 100000)"));
    }
    let round = Barrier::new(CLIENTS);
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (cluster, way, round) = (&cluster, &way, &round);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed.wrapping_mul(100) + number as u64);
                let mut session = connect(cluster, way);
                for turn in 0..TURNS {
                    // Two clients have the same keys, at the same time.
                    one_turn(&mut session, &mut random, number, &format!("{}-{turn}", number / 2));
                }
                round.wait();
            });
        }
    });
    let servers = session.value("SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
    assert!(servers.parse::<i64>().expect("a number") <= 3, "{servers} server sessions for {CLIENTS} clients");
    // Per key: usage of 3, a hold of 10 of which 4 and 2 were charged, a transaction of 1 that counts, and one that was rolled back.
    let rows = session.rows(
        "SELECT resource_id, consumed, held, (SELECT count(*) FROM credit_pools.usage_events u WHERE u.pool_id = p.pool_id) AS events
         FROM credit_pools.pools p WHERE credit_type_id = 'ai-tokens' ORDER BY 1",
    );
    let keys = CLIENTS / 2 * TURNS;
    let sums = |column: &str| rows.iter().map(|row| row.int(column)).sum::<i64>();
    assert_eq!((sums("consumed"), sums("held"), sums("events")), (10 * keys as i64, 0, 4 * keys as i64), "{rows:?}");
    // Whoever set an actor is the actor, and only in that transaction.
    let actors = session.rows(
        "SELECT DISTINCT actor, split_part(idempotency_key, '-', 1) AS what FROM credit_pools.ledger
         WHERE idempotency_key IS NOT NULL ORDER BY 2, 1",
    );
    for row in &actors {
        let set = row.get("actor").starts_with("worker ");
        assert_eq!(set, row.get("what") == "actor", "actors: {actors:?}");
    }
    assert!(actors.iter().filter(|row| row.get("what") == "actor").count() > 3, "several actors: {actors:?}");
    check_invariants(&mut session);
    verify(&mut session);
}

fn one_turn(session: &mut Session, random: &mut StdRng, number: usize, name: &str) {
    let resource = if number % 4 < 2 { "ws-a" } else { "ws-b" };
    let scope = format!("customer_id => 'c1', resource_id => '{resource}'");
    let usage = format!(
        "report_usage({scope}, feature_id => 'feature-ai-tokens', value => 3, idempotency_key => 'usage-{name}')"
    );
    let first = session.call(&usage);
    let hold = format!("customer_id => 'c1', reservation_id => 'job-{name}'");
    session.call(&format!(
        "reserve_credits({scope}, reservation_id => 'job-{name}', credit_type_id => 'ai-tokens', amount => 10)"
    ));
    // What a session sets for its transaction is nobody else's: the next one may run in the same server session.
    session.exec("BEGIN");
    session.exec(&format!("SET LOCAL credit_pools.actor = 'worker {number}'"));
    session.call(&format!(
        "consume_credits({scope}, credit_type_id => 'ai-tokens', amount => 1, idempotency_key => 'actor-{name}')"
    ));
    session.exec("COMMIT");
    let part = format!("settle_reservation({hold}, amount => 4, final => false, idempotency_key => 'part-{name}')");
    session.call(&part);
    session.exec("BEGIN");
    session.exec("SET LOCAL credit_pools.actor = 'nobody'");
    session.call(&format!("consume_credits({scope}, credit_type_id => 'ai-tokens', amount => 50, idempotency_key => 'undone-{name}-{number}')"));
    session.exec("ROLLBACK");
    session.call(&format!("settle_reservation({hold}, amount => 2, idempotency_key => 'last-{name}')"));
    if random.random_bool(0.5) {
        thread::sleep(Duration::from_millis(random.random_range(0..5)));
    }
    for (call, what) in [(&usage, "usage"), (&part, "part")] {
        let again = session.call(call);
        assert!(again.flag("is_duplicate"), "{what}, repeated: {again:?}");
        if what == "usage" {
            assert_eq!(again.without("is_duplicate"), first.without("is_duplicate"), "the first result");
        }
    }
}

/// The plans and prices that server sessions keep are those of the catalogue as it is, whichever session changed it.
#[test]
fn kept_plans_follow_the_catalogue() {
    let cluster = Cluster::start(DURABLE);
    let Some(way) = bounced(&cluster) else { return };
    let mut direct = cluster.session();
    seed_catalogue(&mut direct);
    let scope = "customer_id => 'c1', resource_id => 'ws-a'";
    direct.call(&format!("provision_subscription({scope}, plan_id => 'plan-basic')"));
    direct.call(&format!("grant_credits({scope}, credit_type_id => 'ai-tokens', amount => 1000000)"));
    let mut clients: Vec<Session> = (0..9).map(|_| connect(&cluster, &way)).collect();
    let usage = format!("report_usage({scope}, feature_id => 'feature-ai-tokens', value => 2)");
    let mut expected = 2;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for round in 1..=6 {
        // Three at a time are in a transaction, so that all of the server's sessions have their turn.
        for three in clients.chunks_mut(3) {
            for client in three.iter_mut() {
                client.exec("BEGIN");
                *seen.entry(client.value("SELECT pg_backend_pid()")).or_default() += 1;
            }
            for client in three.iter_mut() {
                for _ in 0..7 {
                    assert_eq!(client.call(&usage).int("credits_consumed"), expected, "round {round}");
                }
                client.exec("COMMIT");
            }
        }
        match round {
            1..4 => {
                expected = 2 * (round + 4);
                let price = round + 4;
                clients[0].call(&format!("define_rate(feature_id => 'feature-ai-tokens', credit_type_id => 'ai-tokens', plan_id => 'plan-basic', credits_per_unit => {price})"));
            }
            4 => {
                expected = 4;
                clients[1].call(&format!("provision_subscription({scope}, plan_id => 'plan-pro')"));
            }
            _ => direct.exec("ANALYZE credit_pools.ledger_entry; ALTER TABLE credit_pools.pool SET (fillfactor = 60)"),
        }
    }
    assert_eq!(seen.len(), 3, "three server sessions: {seen:?}");
    check_invariants(&mut direct);
    verify(&mut direct);
}

/// The load of the crashes by the bouncer, whose server sessions are killed.
#[test]
fn a_backend_is_killed_behind_the_bouncer() {
    let (seed, mut random) = seeded("killed behind the bouncer");
    let mut world = World::new(Cluster::start(DURABLE), &[]);
    let Some((host, port)) = bounced(&world.cluster) else { return };
    world.connect_by(host, port);
    let world = world;
    let mut clients = eight(seed);
    for _ in 0..4 {
        under_load(&world, &mut clients, |session| {
            thread::sleep(Duration::from_millis(random.random_range(300..900)));
            let victim = *backends(session).choose(&mut random).expect("server sessions");
            assert!(world.cluster.kill(victim), "it was there");
            drop(world.cluster.session_after_crash());
            world.wait_for_calls(30);
        });
        world.check(&mut world.cluster.session(), &mut clients);
        world.move_clock(1);
    }
    go_on(&world, &mut clients);
    eprintln!("killed behind the bouncer: seed {seed}");
    world.check_at_the_end(&mut world.cluster.session());
}
