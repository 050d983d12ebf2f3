//! What a storm is about: policies, pools, and the instants that its threads compare.

use crate::alerts::Levels;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use support::{Database, Session, text, units};

pub const CUSTOMER: &str = "c1";
pub const POOLS: usize = 10;
const LEVELS: [i64; 3] = [120, 30, 0];
/// How long a payment worker has for a claim, in milliseconds.
pub const LEASE: i64 = 180;

/// A policy, as the storm sets it and checks it. Times in milliseconds.
pub struct Policy {
    /// None: of all pools that have none of their own.
    pub resource: Option<&'static str>,
    pub threshold: i64,
    /// `target_balance` or `recharge_amount`.
    pub size: (&'static str, i64),
    pub price_per_credit: &'static str,
    pub max_spend: &'static str,
    pub max_count: i64,
    pub period: i64,
    pub cooldown: i64,
    pub backoff: i64,
    pub max_failures: i64,
    pub settlement: &'static str,
}

impl Policy {
    pub fn call(&self) -> String {
        let resource = self.resource.map_or(String::new(), |resource| format!(", resource_id => {}", text(resource)));
        let (size, amount) = self.size;
        format!(
            "set_auto_recharge(customer_id => '{CUSTOMER}', credit_type_id => 'ai-tokens', threshold => {}, {size} => {amount},
             price_per_credit => {}, price_currency => 'EUR', max_spend => {}, max_count => {}, spend_period => '{} milliseconds',
             cooldown => '{} milliseconds', backoff => '{} milliseconds', max_failures => {}, settlement => '{}'{resource})",
            self.threshold,
            self.price_per_credit,
            self.max_spend,
            self.max_count,
            self.period,
            self.cooldown,
            self.backoff,
            self.max_failures,
            self.settlement
        )
    }

    /// The pause after a number of failures, in microseconds.
    pub fn pause(&self, failures: i64) -> i64 {
        (self.backoff * 1000) << (failures - 1)
    }
}

pub struct Setting {
    pub name: &'static str,
    /// That many hundredths of `CREDIT_POOLS_STORM_SECONDS`.
    pub share: u64,
    pub sessions: usize,
    pub policies: Vec<Policy>,
    /// What must have been seen of the limits.
    pub reached: Vec<&'static [&'static str]>,
}

impl Setting {
    /// The first storm knows of each decision who asked for it; in the others maintenance goes on by itself.
    pub fn is_maintained(&self) -> bool {
        self.share < 100
    }

    pub fn is_immediate(&self) -> bool {
        self.policies.iter().all(|policy| policy.settlement == "immediate")
    }

    /// The policy of a pool, and its place in the list.
    pub fn policy_of(&self, resource: Option<&str>) -> &Policy {
        let own = self.policies.iter().find(|policy| resource.is_some() && policy.resource == resource);
        own.or_else(|| self.policies.iter().find(|policy| policy.resource.is_none())).expect("a policy of all pools")
    }
}

pub struct Pool {
    pub resource: Option<String>,
    pub pool_id: i64,
}

impl Pool {
    /// `, resource_id => …` for a call; the global pool has none.
    pub fn argument(&self) -> String {
        self.resource.as_ref().map_or(String::new(), |resource| format!(", resource_id => {}", text(resource)))
    }
}

/// What the threads of one storm share.
pub struct World {
    pub setting: Setting,
    pub seed: u64,
    pub database: Database,
    pub pools: Vec<Pool>,
    pub record: Mutex<crate::record::Record>,
    pub provider: crate::payments::Provider,
    pub seconds: u64,
    ends: Instant,
    stopped: AtomicBool,
}

impl World {
    /// Ten pools, with credits above the threshold; some may go into debt.
    pub fn new(setting: Setting, seed: u64) -> (World, Session) {
        let database = Database::with_catalogue();
        let mut session = database.session();
        session.call(&format!("set_balance_alerts(credit_type_id => 'ai-tokens', thresholds => ARRAY{LEVELS:?})"));
        let mut pools = Vec::new();
        for number in 0..POOLS {
            let mut pool = Pool { resource: (number > 0).then(|| format!("ws-{number}")), pool_id: 0 };
            let place = pool.argument();
            session
                .call(&format!("provision_subscription(customer_id => '{CUSTOMER}', plan_id => 'plan-basic'{place})"));
            let row = session.call(&format!(
                "grant_credits(customer_id => '{CUSTOMER}', credit_type_id => 'ai-tokens', amount => 400{place})"
            ));
            pool.pool_id = row.int("pool_id");
            if number % 4 == 0 {
                session.call(&format!(
                    "set_pool(customer_id => '{CUSTOMER}', credit_type_id => 'ai-tokens', overdraft_limit => 150{place})"
                ));
            }
            pools.push(pool);
        }
        for policy in &setting.policies {
            let row = session.call(&policy.call());
            assert_eq!(row.int("recharges_requested"), 0, "all pools have enough: {row:?}");
        }
        let seconds = (seconds() * setting.share / 100).max(4);
        let ends = Instant::now() + Duration::from_secs(seconds);
        let (record, provider) = Default::default();
        (
            World { setting, seed, database, pools, record, provider, seconds, ends, stopped: AtomicBool::new(false) },
            session,
        )
    }

    pub fn is_over(&self) -> bool {
        self.stopped.load(Ordering::SeqCst) || Instant::now() > self.ends
    }

    pub fn pool(&self, pool_id: i64) -> &Pool {
        self.pools.iter().find(|pool| pool.pool_id == pool_id).expect("a pool of the storm")
    }

    pub fn policy(&self, pool_id: i64) -> &Policy {
        self.setting.policy_of(self.pool(pool_id).resource.as_deref())
    }

    /// Ends the storm for all when the thread that holds it panics: nobody waits a minute for the message.
    pub fn watch(&self) -> Watch<'_> {
        Watch(&self.stopped)
    }

    /// The balances at which somebody is to hear of it.
    pub fn levels(&self) -> Levels {
        Levels { changes: vec![(0, None, Some(LEVELS.to_vec()))] }
    }

    pub fn record(&self) -> std::sync::MutexGuard<'_, crate::record::Record> {
        self.record.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

pub struct Watch<'a>(&'a AtomicBool);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

fn seconds() -> u64 {
    let given = std::env::var("CREDIT_POOLS_STORM_SECONDS").ok();
    given.map_or(60, |text| text.trim().parse().expect("CREDIT_POOLS_STORM_SECONDS is a number"))
}

/// Microseconds since 1970, by the clock that the server on this machine has, too.
pub fn micros() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_micros()).expect("in range")
}

/// A column of microseconds since 1970.
pub fn in_micros(column: &str) -> String {
    format!("(extract(epoch FROM {column}) * 1000000)::bigint")
}

pub fn cents(price: &str) -> i128 {
    units(price, 2)
}
