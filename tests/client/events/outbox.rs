//! Reading the outbox as an application would, with a record of what was read.

use serde_json::Value;
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::{Fault, Row, Session};

pub const COLUMNS: &str = "event_id, type, pool_id, data";

#[derive(Clone, Debug)]
pub struct Event {
    pub id: i64,
    pub kind: String,
    pub envelope: Value,
}

impl Event {
    fn read(row: &Row) -> Event {
        let envelope = serde_json::from_str(row.get("data")).expect("data is JSON");
        Event { id: row.int("event_id"), kind: row.get("type").to_owned(), envelope }
    }

    pub fn data(&self, key: &str) -> &Value {
        &self.envelope["data"][key]
    }

    /// The grant that an event of type credits.granted is about.
    pub fn granted(&self) -> Option<i64> {
        if self.kind == "credits.granted" { self.data("grant_id").as_i64() } else { None }
    }
}

pub fn read_all(rows: &[Row]) -> Vec<Event> {
    rows.iter().map(Event::read).collect()
}

pub fn events(session: &mut Session, sql: &str) -> Vec<Event> {
    read_all(&session.rows(sql))
}

pub fn fetch(session: &mut Session, consumer: &str, max: i64) -> Vec<Event> {
    events(session, &format!("SELECT {COLUMNS} FROM credit_pools.fetch_events(consumer => '{consumer}', max => {max})"))
}

pub fn ack(session: &mut Session, consumer: &str, event_id: i64) -> Result<Row, Fault> {
    session.try_call(&format!("ack_events(consumer => '{consumer}', event_id => {event_id})"))
}

/// What the view shows behind an event, in order.
pub fn page(session: &mut Session, after: i64, limit: i64) -> Vec<Event> {
    events(
        session,
        &format!("SELECT {COLUMNS} FROM credit_pools.events WHERE event_id > {after} ORDER BY event_id LIMIT {limit}"),
    )
}

pub fn shown(session: &mut Session) -> Vec<Event> {
    page(session, 0, i64::MAX)
}

/// All events of the table, once the view shows them all. A transaction elsewhere on the server, such as another
/// test's, may hold them back for a while.
pub fn all_shown(session: &mut Session) -> Vec<Event> {
    eventually(|| {
        let row = session.row(
            "SELECT (SELECT count(*) FROM credit_pools.events) AS shown, (SELECT count(*) FROM credit_pools.event) AS written",
        );
        row.get("shown") == row.get("written")
    });
    shown(session)
}

pub fn eventually(mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < limit, "does not come in half a minute");
        sleep(Duration::from_millis(5));
    }
}

/// What one who reads has seen so far.
#[derive(Default)]
pub struct Seen {
    pub events: BTreeMap<i64, Event>,
    /// Everything up to here is read and done with.
    pub position: i64,
    pub again: usize,
}

impl Seen {
    /// One pass: ascending, behind the position, and with what was read before unchanged.
    pub fn take(&mut self, pass: &[Event]) {
        assert!(pass.windows(2).all(|pair| pair[0].id < pair[1].id), "in order: {pass:#?}");
        for event in pass {
            assert!(event.id > self.position, "behind {}, which is done with: {event:?}", self.position);
            match self.events.insert(event.id, event.clone()) {
                Some(before) => {
                    assert_eq!((before.kind, before.envelope), (event.kind.clone(), event.envelope.clone()));
                    self.again += 1;
                }
                None => {
                    // Nothing that lies before what was read already: it would have been missed by who goes on from there.
                    let newest = self.events.keys().next_back().copied().unwrap_or_default();
                    assert_eq!(event.id, newest, "appears late, before what was read: {event:?}");
                }
            }
        }
    }

    pub fn ids(&self) -> Vec<i64> {
        self.events.keys().copied().collect()
    }

    /// The grants whose beginning was read.
    pub fn granted(&self) -> Vec<i64> {
        let mut granted: Vec<i64> = self.events.values().filter_map(Event::granted).collect();
        granted.sort_unstable();
        granted
    }
}

/// A consumer that fetches and acknowledges, and now and then breaks off before it has.
pub struct Consumer<'a> {
    pub name: String,
    pub seen: Seen,
    pub connect: &'a dyn Fn() -> Session,
    session: Session,
}

impl<'a> Consumer<'a> {
    pub fn new(name: String, connect: &'a dyn Fn() -> Session) -> Self {
        Consumer { name, seen: Seen::default(), session: connect(), connect }
    }

    /// Fetches once. Whether there was anything.
    pub fn turn(&mut self, random: &mut impl rand::Rng) -> bool {
        let pass = fetch(&mut self.session, &self.name, random.random_range(1..60));
        self.seen.take(&pass);
        let Some(last) = pass.last() else { return false };
        match random.random_range(0..20) {
            // It has worked on them, and is gone.
            0 | 1 => self.session = (self.connect)(),
            2 => {
                self.session.exec("BEGIN");
                ack(&mut self.session, &self.name, last.id).unwrap_or_else(|fault| panic!("{fault}"));
                self.session = (self.connect)();
            }
            3 => {
                self.session.exec("BEGIN");
                ack(&mut self.session, &self.name, last.id).unwrap_or_else(|fault| panic!("{fault}"));
                self.session.exec("ROLLBACK");
            }
            turn => {
                // Up to any of those that it was given, perhaps once more.
                let at = if turn < 8 { random.random_range(0..pass.len()) } else { pass.len() - 1 };
                for _ in 0..1 + turn % 2 {
                    let row = ack(&mut self.session, &self.name, pass[at].id).unwrap_or_else(|fault| panic!("{fault}"));
                    assert_eq!((row.get("consumer"), row.int("event_id")), (self.name.as_str(), pass[at].id));
                }
                self.seen.position = pass[at].id;
            }
        }
        true
    }

    /// Reads on until nothing that was written is unread.
    pub fn drain(&mut self, random: &mut impl rand::Rng) {
        eventually(|| {
            let more = self.turn(random);
            let last = self.seen.events.keys().next_back().copied().unwrap_or_default();
            let unread =
                self.session.value(&format!("SELECT count(*) FROM credit_pools.event WHERE event_id > {last}"));
            !more && unread == "0"
        });
    }
}
