//! Crashes: the server is killed under load, again and again. Whatever was acknowledged is there afterwards, once; whoever
//! was cut off repeats the call with the same key, and the world has it once. The books are sound, and writes go on.
//!
//! `CREDIT_POOLS_CRASH_CYCLES` (20) is how often the whole server is killed.

mod bouncer;
mod calls;
mod client;
mod disk;
mod interrupted;
mod lost;
mod world;

use client::Client;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};
use support::{Cluster, Session, seeded};
use world::World;

const CLIENTS: usize = 8;

/// As in life; only that what a killed server has written need not be synced file by file, since the power was not gone.
/// Checkpoints and vacuum as often as can be, so that recovery begins everywhere.
const DURABLE: &[&str] = &[
    "fsync=on",
    "full_page_writes=on",
    "synchronous_commit=on",
    "recovery_init_sync_method=syncfs",
    "checkpoint_timeout=30s",
    "autovacuum_naptime=1s",
];

fn cycles() -> usize {
    std::env::var("CREDIT_POOLS_CRASH_CYCLES")
        .map_or(20, |text| text.trim().parse().expect("CREDIT_POOLS_CRASH_CYCLES is a number"))
}

/// Said past the test runner, which keeps to itself what a test prints that does not fail.
fn skipped(what: &str) {
    let _ = writeln!(std::io::stdout(), "\nSKIPPED  {what}");
}

fn eight(seed: u64) -> Vec<Client> {
    (0..CLIENTS).map(|number| Client::new(number, seed)).collect()
}

#[test]
fn a_server_that_is_killed_loses_nothing_and_does_nothing_twice() {
    let (seed, mut random) = seeded("killed server");
    let cycles = cycles();
    let world = World::new(Cluster::start(DURABLE), &[]);
    let mut clients = eight(seed);
    for cycle in 0..cycles {
        let at_once = random.random_bool(0.5);
        let length = Duration::from_millis(random.random_range(200..1300));
        let checkpoint = random.random_bool(0.5).then(|| length.mul_f64(random.random_range(0.0..1.0)));
        let before = world.counted("calls acknowledged");
        thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| client.work(&world, false));
            }
            if let Some(after) = checkpoint {
                let world = &world;
                scope.spawn(move || {
                    thread::sleep(after);
                    // It may be killed in the middle.
                    let _ = world.cluster.session().try_exec("CHECKPOINT");
                });
            }
            thread::sleep(length);
            world.cluster.kill_server(at_once);
        });
        let killed = Instant::now();
        world.cluster.start_again();
        let up = Instant::now();
        world.check(&mut world.cluster.session(), &mut clients);
        eprintln!(
            "cycle {cycle}: {} killed after {} ms and {} calls, up again in {} ms, checked in {} ms",
            if at_once { "all at once" } else { "the postmaster" },
            length.as_millis(),
            world.counted("calls acknowledged") - before,
            (up - killed).as_millis(),
            up.elapsed().as_millis()
        );
        world.move_clock(1);
    }
    go_on(&world, &mut clients);
    eprintln!("killed server: {cycles} cycles, seed {seed}");
    world.check_at_the_end(&mut world.cluster.session());
    if cycles >= 20 {
        let outcomes = ["cut off, and done", "cut off, and not done"];
        for what in outcomes.iter().chain(&["repeated: it had been done", "repeated: it had not been done"]) {
            assert!(world.counted(what) > 0, "{what}: never");
        }
    }
}

/// As the kernel does that runs out of memory: the postmaster ends all others with the victim and recovers by itself.
#[test]
fn a_backend_that_is_killed_takes_the_others_with_it_and_nothing_else() {
    let (seed, mut random) = seeded("killed backend");
    let world = World::new(Cluster::start(DURABLE), &[]);
    let mut clients = eight(seed);
    let cycles = cycles().div_ceil(4);
    for _ in 0..cycles {
        let length = Duration::from_millis(random.random_range(200..900));
        thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| client.work(&world, false));
            }
            let mut session = world.cluster.session();
            thread::sleep(length);
            let victim = *backends(&mut session).choose(&mut random).expect("clients");
            assert!(world.cluster.kill(victim), "it was there");
        });
        // All of the scope's clients are back: all have lost their connection.
        let mut session = world.cluster.session_after_crash();
        world.check(&mut session, &mut clients);
        world.move_clock(1);
    }
    go_on(&world, &mut clients);
    eprintln!("killed backend: {cycles} cycles, seed {seed}");
    world.check_at_the_end(&mut world.cluster.session());
}

/// pg_terminate_backend: the client loses its connection, and nobody else does.
#[test]
fn terminated_sessions_lose_their_connection_only() {
    let (seed, mut random) = seeded("terminated sessions");
    let world = World::new(Cluster::start(DURABLE), &[]);
    let mut clients = eight(seed);
    let terminated = under_load(&world, &mut clients, |session| {
        let mut terminated = 0;
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            thread::sleep(Duration::from_millis(random.random_range(1..60)));
            terminated += at_random(session, "pg_terminate_backend", &mut random);
        }
        terminated
    });
    world.check(&mut world.cluster.session(), &mut clients);
    eprintln!("terminated sessions: {terminated}, seed {seed}");
    world.check_at_the_end(&mut world.cluster.session());
    let cut = world.counted("calls cut off");
    assert!(cut > 0 && cut <= terminated, "{cut} calls were cut off by {terminated} terminations");
}

/// pg_cancel_backend at random under load: an error, and nothing of the call is there; with its key it works later.
#[test]
fn cancelled_under_load() {
    let (seed, mut random) = seeded("cancelled under load");
    let world = World::new(Cluster::start(DURABLE), &["57014"]);
    let mut clients = eight(seed);
    under_load(&world, &mut clients, |session| {
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            thread::sleep(Duration::from_millis(random.random_range(0..10)));
            at_random(session, "pg_cancel_backend", &mut random);
        }
    });
    let mut session = world.cluster.session();
    world.check(&mut session, &mut clients);
    make_up(&world, &mut clients);
    eprintln!("cancelled under load: seed {seed}");
    world.check_at_the_end(&mut session);
    assert!(world.counted("undone") > 0 && world.counted("calls cut off") == 0, "cancelled, and not cut off");
}

/// The clients work, and connect anew where they must, until `act` is done.
pub fn under_load<T>(world: &World, clients: &mut [Client], act: impl FnOnce(&mut Session) -> T) -> T {
    world.begin();
    thread::scope(|scope| {
        // Also where `act` panics, the clients are to end.
        let _end = End(world);
        for client in clients.iter_mut() {
            scope.spawn(|| client.work(world, true));
        }
        act(&mut world.cluster.session())
    })
}

struct End<'a>(&'a World);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn make_up(world: &World, clients: &mut [Client]) {
    let mut session = world.cluster.session();
    for client in clients.iter_mut() {
        client.make_up(world, &mut session);
    }
    world.check(&mut session, clients);
}

/// Some undisturbed load, in which every client says again what it was cut off in.
pub fn go_on(world: &World, clients: &mut [Client]) {
    under_load(world, clients, |_| world.wait_for_calls(100));
    assert!(clients.iter().all(|client| client.pending.is_none()), "nobody was cut off any more");
    world.check(&mut world.cluster.session(), clients);
}

/// The processes of all other sessions of clients.
fn backends(session: &mut Session) -> Vec<i64> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    session.rows(sql).iter().map(|row| row.int("pid")).collect()
}

/// Does it to one session that is at work. How many it met.
fn at_random(session: &mut Session, function: &str, random: &mut StdRng) -> usize {
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state = 'active'";
    let pids: Vec<i64> = session.rows(sql).iter().map(|row| row.int("pid")).collect();
    pids.choose(random).map_or(0, |pid| {
        let met = session.value(&format!("SELECT {function}({pid})"));
        usize::from(met == "t")
    })
}
