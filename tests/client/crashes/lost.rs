//! Connections that are lost: the client closes its socket in the middle, with and without COMMIT sent. Only the key can tell
//! what became of it, and it does.

use rand::Rng;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::{Database, Session, TYPE, check_invariants, seeded};

/// The protocol by hand: a client library would say good-bye.
struct Wire {
    socket: UnixStream,
    process: i32,
}

impl Wire {
    fn new(database: &str) -> Self {
        let host = std::env::var("PGHOST").expect("the folder of the socket");
        let port = std::env::var("PGPORT").unwrap_or_else(|_| "5432".to_owned());
        let socket = UnixStream::connect(Path::new(&host).join(format!(".s.PGSQL.{port}"))).expect("a socket");
        let user = std::env::var("PGUSER").unwrap_or_else(|_| "postgres".to_owned());
        let mut wire = Wire { socket, process: 0 };
        let mut body = 196_608_i32.to_be_bytes().to_vec();
        for word in ["user", &user, "database", database, ""] {
            body.extend(word.as_bytes());
            body.push(0);
        }
        wire.socket.write_all(&framed(None, &body)).expect("it listens");
        wire.until_ready();
        wire
    }

    /// Sends so many bytes of a query, or all.
    fn send(&mut self, sql: &str, bytes: Option<usize>) {
        let message = framed(Some(b'Q'), format!("{sql}\0").as_bytes());
        let bytes = bytes.unwrap_or(message.len()).min(message.len());
        self.socket.write_all(&message[..bytes]).expect("it listens");
    }

    /// Reads until the server waits for the next query.
    fn until_ready(&mut self) {
        loop {
            let mut head = [0; 5];
            self.socket.read_exact(&mut head).expect("an answer");
            let length = i32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
            let mut body = vec![0; length];
            self.socket.read_exact(&mut body).expect("an answer");
            match head[0] {
                b'E' => panic!("{}", String::from_utf8_lossy(&body)),
                b'K' => self.process = i32::from_be_bytes([body[0], body[1], body[2], body[3]]),
                b'Z' => return,
                _ => {}
            }
        }
    }

    fn run(&mut self, sql: &str) {
        self.send(sql, None);
        self.until_ready();
    }

    /// Closes the socket, and waits until the server's process has gone.
    fn lose(self, session: &mut Session) {
        let process = self.process;
        drop(self.socket);
        let limit = Instant::now() + Duration::from_secs(30);
        while session.value(&format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {process}")) != "0" {
            assert!(Instant::now() < limit, "the process of a lost connection goes on");
            sleep(Duration::from_millis(2));
        }
    }
}

fn framed(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend((body.len() as i32 + 4).to_be_bytes());
    message.extend(body);
    message
}

fn calls(key: &str) -> [String; 3] {
    let scope = "customer_id => 'c1', resource_id => 'ws-a'";
    [
        format!("report_usage({scope}, feature_id => 'feature-ai-tokens', value => 3, idempotency_key => '{key}')"),
        format!("grant_credits({scope}, credit_type_id => 'ai-tokens', amount => 1, idempotency_key => '{key}')"),
        format!("reserve_credits({scope}, credit_type_id => 'ai-tokens', amount => 2, reservation_id => '{key}')"),
    ]
}

/// What the three calls take from the balance.
const TAKEN: i64 = 4;

#[test]
fn the_key_tells_what_became_of_a_lost_connection() {
    let (_, mut random) = seeded("lost connections");
    let database = Database::with_catalogue();
    let mut session = database.session();
    session.call("provision_subscription(customer_id => 'c1', plan_id => 'plan-basic', resource_id => 'ws-a')");
    session.call(
        "grant_credits(customer_id => 'c1', resource_id => 'ws-a', credit_type_id => 'ai-tokens', amount => 10000)",
    );
    let name = session.value("SELECT current_database()");
    let (mut done, mut undone) = (0, 0);
    let mut left = 10_000;
    for round in 0..120 {
        let key = format!("round-{round}");
        let mut wire = Wire::new(&name);
        let select = |call: &String| format!("SELECT * FROM credit_pools.{call}");
        let sure = match round % 6 {
            // In a transaction that nobody has committed: before, while a call runs, and with half of a COMMIT.
            0 => {
                wire.run("BEGIN");
                calls(&key).iter().for_each(|call| wire.run(&select(call)));
                Some(false)
            }
            1 => {
                wire.run("BEGIN");
                wire.run(&select(&calls(&key)[0]));
                wire.send(&select(&calls(&key)[1]), None);
                Some(false)
            }
            2 => {
                wire.run("BEGIN");
                calls(&key).iter().for_each(|call| wire.run(&select(call)));
                wire.send("COMMIT", Some(random.random_range(1..11)));
                Some(false)
            }
            // COMMIT is on its way, its answer never read.
            3 => {
                wire.run("BEGIN");
                calls(&key).iter().for_each(|call| wire.run(&select(call)));
                wire.send("COMMIT", None);
                Some(true)
            }
            // One message with all of it, of which a part is missing.
            4 => {
                let all: Vec<String> = calls(&key).iter().map(select).collect();
                wire.send(&all.join(";"), Some(random.random_range(1..300)));
                Some(false)
            }
            // One with all of it, gone at any instant, and a server that looks whether anybody is there.
            _ => {
                wire.run("SET client_connection_check_interval = '1ms'");
                let all: Vec<String> = calls(&key).iter().map(select).collect();
                wire.send(&all.join("; SELECT pg_sleep(0.003); "), None);
                // From a part of a millisecond to half a second: some are too early on any machine, and some too late.
                sleep(Duration::from_millis(1 << (round / 6 % 10)).mul_f64(random.random_range(0.0..1.0)));
                None
            }
        };
        wire.lose(&mut session);
        let repeated: Vec<bool> = calls(&key).iter().map(|call| session.call(call).flag("is_duplicate")).collect();
        assert!(
            repeated.iter().all(|flag| *flag == repeated[0]),
            "round {round}: a part of a transaction: {repeated:?}"
        );
        if let Some(sure) = sure {
            assert_eq!(repeated[0], sure, "round {round}: whether it was committed");
        } else if repeated[0] {
            done += 1;
        } else {
            undone += 1;
        }
        left -= TAKEN;
        assert_eq!(session.balance("c1", Some("ws-a"), TYPE), left.to_string(), "round {round}: once");
    }
    eprintln!("lost in the middle: {done} done, {undone} undone");
    assert!(done > 0 && undone > 0, "both happen");
    check_invariants(&mut session);
    crate::world::verify(&mut session);
}
