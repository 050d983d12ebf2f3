//! The server that is killed, what its clients were told, and what is in its tables.

use crate::calls::{CUSTOMERS, Call, Kind, RESOURCES, Trace};
use crate::client::Client;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::sleep;
use std::time::{Duration, Instant};
use support::{Cluster, Fault, Session, check_invariants, seed_catalogue};

/// What is on record under a name and a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    times: i64,
    amount: i64,
    id: Option<i64>,
}

type Book = BTreeMap<(String, String), Found>;

#[derive(Default)]
struct Record {
    acknowledged: Book,
    counts: BTreeMap<String, usize>,
}

type Way = Option<(String, u16)>;

pub struct World {
    pub cluster: Cluster,
    over: AtomicBool,
    way: Way,
    /// SQLSTATEs after which nothing of a call is there, and the same call may be made again.
    undone: &'static [&'static str],
    hour: AtomicUsize,
    record: Mutex<Record>,
}

/// Each kind of trace: the token and the number of rows that have it (1, where several rows of one call share it), their
/// amount and their id. A row that no call of the load can have made has a token that begins with `?`.
const TRACES: &str = "
    SELECT 'usage' AS what, coalesce(dimensions ->> 'call', idempotency_key, '?' || usage_id) AS token, count(*) AS times, sum(credits) AS amount, min(usage_id) AS id
    FROM credit_pools.usage_events GROUP BY 2
    UNION ALL
    SELECT 'grant', coalesce(metadata ->> 'call', '?' || grant_id), count(*), sum(amount), min(grant_id)
    FROM credit_pools.grants WHERE source = 'manual' AND reason IS DISTINCT FROM 'the first' GROUP BY 2
    UNION ALL
    SELECT 'payment', payment_reference, count(*), sum(amount), NULL
    FROM credit_pools.grants WHERE source = 'recharge' AND payment_reference IS NOT NULL GROUP BY 2
    UNION ALL
    SELECT 'hold', reservation_id, count(*), sum(amount), NULL FROM credit_pools.reservations GROUP BY 2
    UNION ALL
    SELECT 'release', reservation_id, count(*), 0, NULL FROM credit_pools.reservations WHERE status = 'released' GROUP BY 2
    UNION ALL
    SELECT CASE entry_type WHEN 'void' THEN 'void' WHEN 'reverse' THEN 'reversal' WHEN 'transfer_out' THEN 'gone' ELSE 'come' END,
           coalesce(reason, '?' || pool_id || '/' || min(seq)), 1, abs(sum(amount)), NULL
    FROM credit_pools.ledger WHERE entry_type IN ('void', 'reverse', 'transfer_out', 'transfer_in') GROUP BY entry_type, reason, pool_id
    UNION ALL
    SELECT 'change', coalesce(idempotency_key, '?' || pool_id || '/' || min(seq)), count(*), 0, NULL
    FROM credit_pools.ledger WHERE entry_type = 'update' AND grant_id IS NOT NULL GROUP BY idempotency_key, pool_id
    UNION ALL
    SELECT 'subscription', subscription_id, count(*), 0, NULL FROM credit_pools.subscriptions WHERE subscription_id NOT LIKE 'first-%' GROUP BY 2
    UNION ALL
    SELECT 'job', token, 1, 0, NULL FROM job
    UNION ALL
    SELECT 'row', token, 1, units, NULL FROM metered";

impl World {
    /// Four customers with plenty, each with a global pool and three more, and two whose pools are recharged all the time;
    /// plan-basic renews each pool by the hour.
    pub fn new(cluster: Cluster, undone: &'static [&'static str]) -> Self {
        let world = World {
            cluster,
            over: AtomicBool::new(false),
            way: Way::default(),
            undone,
            hour: AtomicUsize::new(0),
            record: Mutex::default(),
        };
        world.move_clock(0);
        let mut session = world.cluster.session();
        seed_catalogue(&mut session);
        session.exec(
            "CREATE TABLE job (token text PRIMARY KEY);
             CREATE TABLE metered (token text PRIMARY KEY, customer text, resource text, units numeric)",
        );
        session.call("meter_table(\"table\" => 'metered', feature_id => 'feature-ai-tokens', customer_column => 'customer', resource_column => 'resource', value_column => 'units', key_column => 'token')");
        session.call("define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 30, cadence => '1 hour', rollover_max => 20, rollover_percent => 50)");
        for customer in 0..CUSTOMERS {
            for resource in (0..RESOURCES).map(|number| format!("'ws-{number}'")).chain(["NULL".to_owned()]) {
                provision(&mut session, &format!("c{customer}"), &resource, 1_000_000);
            }
        }
        for customer in ["r0", "r1"] {
            for resource in 0..RESOURCES {
                provision(&mut session, customer, &format!("'ws-{resource}'"), 60);
            }
            let settlement = if customer == "r0" { "on_payment" } else { "immediate" };
            session.call(&format!("set_auto_recharge(customer_id => '{customer}', credit_type_id => 'ai-tokens', threshold => 400, recharge_amount => 40, price_per_credit => 0.01, price_currency => 'EUR', max_spend => 1000000, settlement => '{settlement}')"));
        }
        world
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub fn begin(&self) {
        self.over.store(false, Ordering::SeqCst);
    }

    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub fn is_undone(&self, fault: &Fault) -> bool {
        self.undone.contains(&fault.code.as_str())
    }

    /// From now on clients connect by a pooler: the folder of its socket, and its port.
    pub fn connect_by(&mut self, host: String, port: u16) {
        self.way = Some((host, port));
    }

    pub fn try_session(&self) -> Result<Session, postgres::Error> {
        match &self.way {
            Some((host, port)) => self.cluster.try_session_by(host, *port, "postgres"),
            None => self.cluster.try_session(),
        }
    }

    /// The sessions to come have another hour: every pool is due for renewal, short holds and grants are over.
    pub fn move_clock(&self, hours: usize) {
        let hour = self.hour.fetch_add(hours, Ordering::SeqCst) + hours;
        self.cluster.session().exec(&format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET credit_pools.test_clock = %L', current_database(), {}); END $$",
            clock(hour)
        ));
    }

    /// As an SQL expression.
    pub fn clock(&self) -> String {
        clock(self.hour.load(Ordering::SeqCst))
    }

    pub fn count(&self, what: &str, number: usize) {
        *self.record().counts.entry(what.to_owned()).or_default() += number;
    }

    pub fn counted(&self, what: &str) -> usize {
        self.record().counts.get(what).copied().unwrap_or(0)
    }

    /// Writes go on: so many more are acknowledged.
    pub fn wait_for_calls(&self, number: usize) {
        let wanted = self.counted("calls acknowledged") + number;
        let limit = Instant::now() + Duration::from_secs(30);
        while self.counted("calls acknowledged") < wanted {
            assert!(Instant::now() < limit, "writes do not go on");
            sleep(Duration::from_millis(20));
        }
    }

    /// Somebody was told that it is done.
    pub fn acknowledge(&self, call: &Call, id: Option<i64>) {
        self.count("calls acknowledged", 1);
        self.count(&format!("  {:?}", call.kind), 1);
        self.enter(&call.traces, id);
    }

    fn enter(&self, traces: &[Trace], id: Option<i64>) {
        let mut record = self.record();
        for (place, trace) in traces.iter().enumerate() {
            let id = id.filter(|_| place == 0);
            let found = Found { times: 1, amount: trace.amount, id };
            record.acknowledged.insert(name(trace), found);
        }
    }

    /// All that was acknowledged is there, once, and nothing else; a call that was cut off is there whole or not at all,
    /// which its client is to hear when it asks. The books are sound.
    pub fn check(&self, session: &mut Session, clients: &mut [Client]) {
        let book = read(session);
        for client in clients {
            for call in std::mem::take(&mut client.doubtful) {
                self.look_up(&call, &book);
            }
            if let Some(pending) = &mut client.pending {
                pending.found = self.look_up(&pending.call, &book);
            }
        }
        let record = self.record();
        let mut wrong = Vec::new();
        for (name, expected) in &record.acknowledged {
            match book.get(name) {
                None => wrong.push(format!("acknowledged and lost: {name:?} {expected:?}")),
                Some(found) if (found.times, found.amount) != (expected.times, expected.amount) => {
                    wrong.push(format!("acknowledged {name:?} {expected:?}, and found {found:?}"));
                }
                Some(found) if expected.id.is_some() && found.id != expected.id => {
                    wrong.push(format!("another id: {name:?} {expected:?}, and found {found:?}"));
                }
                Some(_) => {}
            }
        }
        for (name, found) in &book {
            if !record.acknowledged.contains_key(name) {
                wrong.push(format!("nobody was told of {name:?} {found:?}"));
            }
        }
        drop(record);
        assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong[..wrong.len().min(10)].join("\n"));
        verify(session);
    }

    /// What became of a call that was cut off. None where the tables cannot tell.
    fn look_up(&self, call: &Call, book: &Book) -> Option<bool> {
        let there = call.traces.iter().filter(|trace| book.contains_key(&name(trace))).count();
        assert!(there == 0 || there == call.traces.len(), "a part of a call: {call:?}");
        if call.traces.is_empty() {
            return None;
        }
        let found = there > 0;
        self.count(if found { "cut off, and done" } else { "cut off, and not done" }, 1);
        if found {
            self.enter(&call.traces, None);
        }
        // Where nothing was left to void, a success leaves nothing, either.
        (call.kind != Kind::Void || found).then_some(found)
    }

    /// After the last blow: everything that is due, and all invariants. Each pool has been renewed once for each hour.
    pub fn check_at_the_end(&self, session: &mut Session) {
        session.exec("ANALYZE");
        check_invariants(session);
        verify(session);
        let wrong = session.rows(
            "SELECT pool_id, period_start, count(*) FROM credit_pools.grants
             WHERE source = 'plan' GROUP BY 1, 2 HAVING count(*) <> 1 LIMIT 3",
        );
        assert!(wrong.is_empty(), "renewed more than once: {wrong:?}");
        let wrong = session.rows(&format!(
            "SELECT s.subscription_id, count(*) AS hours FROM credit_pools.subscriptions s
             JOIN credit_pools.grants g ON g.subscription_id = s.subscription_id AND g.source = 'plan'
             GROUP BY 1, s.starts_at HAVING count(*) <> extract(epoch FROM {} - s.starts_at) / 3600 + 1 LIMIT 3",
            self.clock()
        ));
        assert!(wrong.is_empty(), "not renewed each hour: {wrong:?}");
        self.print();
    }

    pub fn print(&self) {
        for (what, number) in &self.record().counts {
            eprintln!("  {number:>8}  {what}");
        }
    }
}

fn clock(hour: usize) -> String {
    format!("(timestamptz '2026-03-02 08:00+00' + interval '{hour} hours')")
}

fn name(trace: &Trace) -> (String, String) {
    (trace.what.to_owned(), trace.token.clone())
}

fn provision(session: &mut Session, customer: &str, resource: &str, amount: i64) {
    let scope = format!("customer_id => '{customer}', resource_id => {resource}");
    let id = format!("first-{customer}-{}", resource.trim_matches('\''));
    session.call(&format!("provision_subscription({scope}, plan_id => 'plan-basic', subscription_id => '{id}')"));
    session.call(&format!(
        "grant_credits({scope}, credit_type_id => 'ai-tokens', amount => {amount}, reason => 'the first')"
    ));
}

fn read(session: &mut Session) -> Book {
    session
        .rows(&format!("SELECT what, token, times, trim_scale(amount) AS amount, id FROM ({TRACES}) traces"))
        .iter()
        .map(|row| {
            let amount = row.get("amount").parse().expect("whole credits");
            let id = row.opt("id").map(|id| id.parse().expect("an id"));
            let found = Found { times: row.int("times"), amount, id };
            ((row.get("what").to_owned(), row.get("token").to_owned()), found)
        })
        .collect()
}

/// What the extension itself says about its books.
pub fn verify(session: &mut Session) {
    let problems = session.rows("SELECT * FROM credit_pools.verify_ledger() LIMIT 5");
    assert!(problems.is_empty(), "{problems:#?}");
}
