//! Random histories of everything that a pool knows, by a test clock that only goes forward.

use crate::alerts::Levels;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use std::collections::BTreeMap;
use support::{Row, Session, text};

/// Calls come half past a minute, what is due is due at the full one or at a quarter: the two never meet.
const BEGIN: i64 = 1_767_225_630;
const LEVELS: [&[i64]; 4] = [&[100, 20, 0], &[250, 60], &[], &[75]];

#[derive(Clone)]
struct Known {
    customer: String,
    id: String,
}

/// A call, what it is, and whose.
struct Move {
    name: &'static str,
    customer: String,
    call: String,
}

pub struct History<'a> {
    session: &'a mut Session,
    random: &'a mut StdRng,
    customers: Vec<String>,
    /// Seconds since 1970.
    clock: i64,
    grants: Vec<Known>,
    unpaid: Vec<Known>,
    usages: Vec<Known>,
    holds: Vec<Known>,
    pub levels: Levels,
    pub counts: BTreeMap<&'static str, (usize, usize)>,
}

pub fn prepare(session: &mut Session) {
    for call in [
        "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', amount => 120)",
        "define_plan_credits(plan_id => 'plan-basic', credit_type_id => 'ai-tokens', entry_id => 'kept', amount => 40, cadence => '7 days', priority => 90, rollover_max => 60, rollover_percent => 50)",
        "define_plan_credits(plan_id => 'plan-pro', credit_type_id => 'ai-tokens', amount => 200, cadence => '7 days')",
    ] {
        session.call(call);
    }
}

impl<'a> History<'a> {
    pub fn new(session: &'a mut Session, random: &'a mut StdRng, name: &str) -> Self {
        let customers: Vec<String> = ["a", "b", "c", "d"].iter().map(|customer| format!("{name}-{customer}")).collect();
        let mut history = History {
            session,
            random,
            customers,
            clock: BEGIN,
            grants: Vec::new(),
            unpaid: Vec::new(),
            usages: Vec::new(),
            holds: Vec::new(),
            levels: Levels::default(),
            counts: BTreeMap::new(),
        };
        history.open();
        history
    }

    /// Each customer has a plan for `ws` and a pool for all; one of them has own levels, one none, one recharges.
    fn open(&mut self) {
        self.tick();
        self.alert(None, Some(LEVELS[0]));
        for (number, customer) in self.customers.clone().into_iter().enumerate() {
            self.tick();
            let start = self.at(-30);
            self.session.call(&format!(
                "provision_subscription(customer_id => '{customer}', plan_id => 'plan-basic', resource_id => 'ws', starts_at => {start})"
            ));
            self.tick();
            self.session.call(&format!(
                "open_pool(customer_id => '{customer}', credit_type_id => 'ai-tokens', overdraft_limit => {})",
                number * 40
            ));
            if number == 1 || number == 2 {
                self.tick();
                self.alert(Some(&customer), Some(LEVELS[number]));
            }
            if number == 3 {
                self.recharge(&customer);
            }
        }
    }

    fn tick(&mut self) {
        let most = if self.random.random_bool(0.6) { 15 } else { 350 };
        self.clock += 60 * self.random.random_range(1..most);
        let now = self.at(0);
        self.session.exec(&format!("SET credit_pools.test_clock = {now}"));
    }

    /// An instant as a literal, that many seconds from now.
    fn at(&mut self, seconds: i64) -> String {
        let sql = format!("SELECT to_timestamp({})::text", self.clock + seconds);
        text(&self.session.value(&sql))
    }

    /// A full minute within the next days.
    fn soon(&mut self) -> String {
        let minutes = self.random.random_range(1..6000);
        self.at(30 + 60 * minutes)
    }

    fn alert(&mut self, customer: Option<&str>, levels: Option<&[i64]>) {
        // What is due still counts against the levels that there were.
        self.session.rows("SELECT * FROM credit_pools.run_maintenance()");
        let whose = customer.map_or("NULL".to_owned(), text);
        let array = levels.map_or("NULL".to_owned(), |levels| {
            let levels: Vec<String> = levels.iter().map(i64::to_string).collect();
            format!("ARRAY[{}]::numeric[]", levels.join(", "))
        });
        self.session.call(&format!(
            "set_balance_alerts(customer_id => {whose}, credit_type_id => 'ai-tokens', thresholds => {array})"
        ));
        let levels = levels.map(<[i64]>::to_vec);
        self.levels.changes.push((self.clock * 1_000_000, customer.map(str::to_owned), levels));
    }

    fn recharge(&mut self, customer: &str) {
        self.tick();
        self.session.call(&format!(
            "set_auto_recharge(customer_id => '{customer}', credit_type_id => 'ai-tokens', threshold => 40, target_balance => 130,
             price_per_credit => 0.05, price_currency => 'EUR', max_spend => 60, max_failures => 2, cooldown => '2 hours')"
        ));
    }

    pub fn step(&mut self) {
        self.tick();
        let Move { name, customer, call } = self.draw();
        let rolled_back = self.random.random_bool(0.08);
        if rolled_back {
            self.session.exec("BEGIN");
        }
        let outcome = self.session.try_call(&call);
        if rolled_back {
            self.session.exec("ROLLBACK");
        }
        let count = self.counts.entry(name).or_default();
        match outcome {
            Ok(_) if rolled_back => {}
            Ok(row) => {
                count.0 += 1;
                self.remember(name, customer, &row);
            }
            Err(fault) => {
                assert!(fault.is_contract_code(), "{fault}");
                count.1 += 1;
            }
        }
    }

    fn remember(&mut self, name: &str, customer: String, row: &Row) {
        let known = |id: &str| Known { customer: customer.clone(), id: id.to_owned() };
        match name {
            "grant" => self.grants.push(known(row.get("grant_id"))),
            "grant, unpaid" => {
                self.grants.push(known(row.get("grant_id")));
                self.unpaid.push(known(row.get("grant_id")));
            }
            "use" => self.usages.push(known(row.get("usage_id"))),
            "reserve" => self.holds.push(known(row.get("reservation_id"))),
            _ => {}
        }
    }

    fn draw(&mut self) -> Move {
        let (kind, amount) = (self.random.random_range(0..100), self.random.random_range(1..130));
        let customer = self.customers.choose(self.random).expect("four").clone();
        match kind {
            0..53 => self.on_pool(kind, amount, customer),
            53..77 => self.on_known(kind, amount),
            77..87 => self.on_customer(kind, amount, customer),
            87..91 => self.on_recharge(amount),
            91 => {
                let customer = self.customers[3].clone();
                let call = format!("reset_auto_recharge(customer_id => '{customer}', credit_type_id => 'ai-tokens')");
                Move { name: "reset", customer, call }
            }
            92 => {
                let levels = if amount % 3 == 0 { None } else { Some(LEVELS[amount % 4]) };
                let whose = if amount % 5 == 0 { None } else { Some(customer) };
                self.alert(whose.as_deref(), levels);
                nothing("alert")
            }
            _ => {
                self.session.rows("SELECT * FROM credit_pools.run_maintenance()");
                nothing("maintenance")
            }
        }
    }

    fn on_pool(&mut self, kind: usize, amount: usize, customer: String) -> Move {
        let scope = ["", ", resource_id => 'ws'"][self.random.random_range(0..2)];
        let pool = format!("customer_id => '{customer}', credit_type_id => 'ai-tokens'{scope}, amount => {amount}");
        let subscription = format!("customer_id => '{customer}', resource_id => 'ws'");
        let (start, end) = (self.soon(), self.soon());
        let (name, call) = match kind {
            0..13 => ("use", format!("consume_credits({pool}, on_insufficient => 'cap')")),
            13..22 => ("use", format!("consume_credits({pool})")),
            22..30 => {
                ("use", format!("report_usage({subscription}, feature_id => 'feature-ai-tokens', value => {amount})"))
            }
            30..33 => ("grant", format!("grant_credits({pool}, priority => {})", amount % 100)),
            33..36 => ("grant", format!("grant_credits({pool}, priority => {}, expires_at => {end})", amount % 100)),
            36..40 => {
                let end = format!("{start}::timestamptz + interval '{amount} hours'");
                let terms = format!("category => 'promotional', effective_at => {start}, expires_at => {end}");
                ("grant", format!("grant_credits({pool}, {terms})"))
            }
            40..43 => {
                let terms = "payment_state => 'pending', price => 1, price_currency => 'EUR'";
                ("grant, unpaid", format!("grant_credits({pool}, {terms})"))
            }
            _ => ("reserve", format!("reserve_credits({pool}, ttl => '{} minutes 15 seconds')", amount * 10)),
        };
        Move { name, customer, call }
    }

    /// A call on something that the history has made; on nothing where there is none yet.
    fn on_known(&mut self, kind: usize, amount: usize) -> Move {
        let (name, known, newest) = match kind {
            53..56 => ("confirm", &self.unpaid, 10),
            56..62 => ("settle", &self.holds, 2),
            62..64 => ("release", &self.holds, 5),
            64..66 => ("extend", &self.holds, 2),
            66..70 => ("reverse", &self.usages, 10),
            70..74 => ("void", &self.grants, 10),
            _ => ("update", &self.grants, 10),
        };
        // Mostly something new: what is old is over.
        let Some(known) = known[known.len().saturating_sub(newest)..].choose(self.random).cloned() else {
            return nothing(name);
        };
        let Known { customer, id } = known;
        let whose = format!("customer_id => '{customer}'");
        let part = |argument: &str| {
            if amount % 2 == 1 { format!(", {argument} => {}", amount / 8 + 1) } else { String::new() }
        };
        let call = match name {
            "confirm" => format!("confirm_grant_payment({whose}, grant_id => {id}, payment_reference => 'p')"),
            "settle" => {
                let (charged, last) = (amount / 2 + 1, amount % 3 != 1);
                format!("settle_reservation({whose}, reservation_id => '{id}', amount => {charged}, final => {last})")
            }
            "release" => format!("release_reservation({whose}, reservation_id => '{id}')"),
            "extend" => {
                format!("extend_reservation({whose}, reservation_id => '{id}', ttl => '{amount} minutes 15 seconds')")
            }
            "reverse" => format!("reverse_usage({whose}, usage_id => {id}{})", part("credits")),
            "void" => format!("void_grant({whose}, grant_id => {id}, reason => 'r{amount}'{})", part("amount")),
            _ => format!("update_grant({whose}, grant_id => {id}, expires_at => {})", self.soon()),
        };
        Move { name, customer, call }
    }

    fn on_customer(&mut self, kind: usize, amount: usize, customer: String) -> Move {
        let whose = format!("customer_id => '{customer}'");
        let (name, call) = match kind {
            77..81 => {
                let (from, to) = if amount % 2 == 1 { ("'ws'", "NULL") } else { ("NULL", "'ws'") };
                let places = format!("from_resource_id => {from}, to_resource_id => {to}");
                (
                    "transfer",
                    format!("transfer_credits({whose}, credit_type_id => 'ai-tokens', amount => {amount}, {places})"),
                )
            }
            81..84 => {
                let place = if amount % 2 == 1 { "NULL" } else { "'ws'" };
                let limit = [0, 60, 150][amount % 3];
                let pool = format!("{whose}, resource_id => {place}, credit_type_id => 'ai-tokens'");
                ("overdraft", format!("set_pool({pool}, overdraft_limit => {limit})"))
            }
            84..86 => {
                let plan = ["plan-basic", "plan-pro"][amount % 2];
                ("provision", format!("provision_subscription({whose}, plan_id => '{plan}', resource_id => 'ws')"))
            }
            _ => {
                let active = format!(
                    "SELECT subscription_id FROM credit_pools.subscriptions WHERE customer_id = '{customer}' AND status = 'active'"
                );
                ("cancel", format!("cancel_subscription({whose}, subscription_id => ({active}))"))
            }
        };
        Move { name, customer, call }
    }

    /// The payment of whatever recharge is due.
    fn on_recharge(&mut self, amount: usize) -> Move {
        let claim = "SELECT * FROM credit_pools.claim_recharges(worker => 'w', lease => '15 seconds')";
        let claimed = self.session.rows(claim);
        let Some(claim) = claimed.first() else { return nothing("pay") };
        let customer = claim.get("customer_id").to_owned();
        let which = format!("customer_id => '{customer}', recharge_id => {}", claim.get("recharge_id"));
        let call = match amount % 4 {
            0 => format!("fail_recharge({which}, reason => 'declined', permanent => {})", amount % 8 == 4),
            _ => format!("complete_recharge({which}, payment_reference => 'p{amount}')"),
        };
        Move { name: "pay", customer, call }
    }
}

/// Where there is nothing to do, or it is done.
fn nothing(name: &'static str) -> Move {
    Move { name, customer: String::new(), call: "clock()".to_owned() }
}
