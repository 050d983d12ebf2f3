//! The customers, their pools and what they are given to begin with.

use crate::naive::Pool;
use crate::world::{POOLS, Policy, Size, Terms, World};
use rand::{Rng, rngs::StdRng};
use support::{Session, decimal};

/// What a unit of each feature costs, in thousandths.
pub const RATES: [i128; 2] = [1000, 333];

pub const OVERDRAFT: i128 = 2_000;

/// A pool: by customer, and by place among the customer's. The first customer has all of them, the second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub customer: usize,
    pub pool: usize,
}

const PLACES: [Place; 4] = [
    Place { customer: 0, pool: 0 },
    Place { customer: 0, pool: 1 },
    Place { customer: 0, pool: 2 },
    Place { customer: 1, pool: 1 },
];

impl Place {
    pub fn all() -> [Place; 4] {
        PLACES
    }

    pub fn nth(number: usize) -> Place {
        PLACES[number % PLACES.len()]
    }

    pub fn draw(random: &mut StdRng) -> Place {
        Place::nth(random.random_range(0..PLACES.len()))
    }

    pub fn two_of_one_customer(random: &mut StdRng) -> (Place, Place) {
        let from = random.random_range(0..3);
        (PLACES[from], PLACES[(from + random.random_range(1..3)) % 3])
    }

    pub fn customer_id(self) -> String {
        format!("c{}", self.customer)
    }

    pub fn resource(self) -> Option<&'static str> {
        POOLS[self.pool]
    }

    pub fn resource_sql(self) -> String {
        self.resource().map_or("NULL".to_owned(), support::text)
    }

    pub fn sql(self) -> String {
        format!("customer_id => '{}', resource_id => {}", self.customer_id(), self.resource_sql())
    }
}

/// Minute 0 is the beginning of 2026.
pub fn instant(minute: i64) -> String {
    format!("to_timestamp({})", 1_767_225_600 + 60 * minute)
}

pub fn set_clock(session: &mut Session, minute: i64) {
    session.exec(&format!("SELECT set_config('credit_pools.test_clock', {}::text, false)", instant(minute)));
}

/// Both customers as the naive model has them.
pub struct Setting {
    pub worlds: [World; 2],
    /// The server's ids, and the places that they stand for.
    pub pools: Vec<(i64, Place)>,
}

impl Setting {
    pub fn make(session: &mut Session) -> Setting {
        set_clock(session, 0);
        for call in ["define_credit_type(credit_type_id => 't', scale => 2)", "define_plan(plan_id => 'p')"] {
            session.call(call);
        }
        for (feature, rate) in RATES.iter().enumerate() {
            session.call(&format!("define_feature(feature_id => 'f{feature}')"));
            session.call(&format!(
                "define_rate(feature_id => 'f{feature}', credit_type_id => 't', plan_id => 'p', credits_per_unit => {})",
                decimal(*rate, 3)
            ));
        }
        let terms = Terms { max_failures: 3, backoff: 1, lasts: Some(300) };
        let mut setting =
            Setting { worlds: [World::new(terms.clone(), OVERDRAFT), World::new(terms, 0)], pools: Vec::new() };
        for place in PLACES {
            session.call(&format!("provision_subscription({}, plan_id => 'p')", place.sql()));
            let limit = if place.customer == 0 { OVERDRAFT } else { 0 };
            let row = session.call(&format!(
                "set_pool({}, credit_type_id => 't', overdraft_limit => {})",
                place.sql(),
                decimal(limit, 2)
            ));
            setting.pools.push((row.int("pool_id"), place));
        }
        setting.recharge(session);
        setting
    }

    /// One pool of the first customer, and the second customer within limits, which are used up.
    fn recharge(&mut self, session: &mut Session) {
        let free = Policy {
            enabled: true,
            threshold: 1_000,
            size: Size::Target(6_000),
            price: None,
            max_spend: None,
            per: 60,
            max_count: None,
            cooldown: 0,
            immediate: true,
        };
        let limited = Policy {
            size: Size::Fixed(2_500),
            price: Some(37),
            max_spend: Some(3_000),
            max_count: Some(40),
            ..free.clone()
        };
        self.worlds[0].own[2] = Some(free);
        self.worlds[1].wide = Some(limited);
        let common = "threshold => 10, spend_period => '1 hour', grant_expires_after => '300 minutes', settlement => 'immediate'";
        session.call(&format!(
            "set_auto_recharge(customer_id => 'c0', credit_type_id => 't', resource_id => 'lab', target_balance => 60, {common})"
        ));
        session.call(&format!(
            "set_auto_recharge(customer_id => 'c1', credit_type_id => 't', recharge_amount => 25, price_per_credit => 0.037, price_currency => 'EUR', max_spend => 30, max_count => 40, {common})"
        ));
        // Both were low: their first recharge is the setting's own.
        for place in [Place { customer: 0, pool: 2 }, Place { customer: 1, pool: 1 }] {
            self.worlds[place.customer].evaluate(place.pool);
            let id = self.pool_id(place);
            let sql = format!("SELECT grant_id FROM credit_pools.grants WHERE pool_id = {id}");
            let id = session.value(&sql).parse().expect("an id");
            let pool = &mut self.worlds[place.customer].pools[place.pool];
            assert_eq!(pool.grants.len(), 1, "a recharge to begin with");
            pool.grants[0].id = id;
            pool.ledger.iter_mut().for_each(|entry| entry.grant = Some(id));
        }
    }

    pub fn place(&self, pool_id: i64) -> Place {
        self.pools.iter().find(|(id, _)| *id == pool_id).map(|(_, place)| *place).expect("a pool of the setting")
    }

    pub fn pool(&self, place: Place) -> &Pool {
        &self.worlds[place.customer].pools[place.pool]
    }

    pub fn pool_id(&self, place: Place) -> i64 {
        self.pools.iter().find(|(_, known)| *known == place).map(|(id, _)| *id).expect("a pool of the setting")
    }
}
