//! Plans through time, as naive as the pool of `model`: every tick is lived through, boundaries are counted by
//! division, and what an entry has granted is remembered in words.

use super::model::{Lot, Model, Origin};
use crate::{Category, EntryType, Refusal, Status};

pub const FOREVER: i64 = i64::MAX;
/// Entries of each plan, numbered on through all plans.
pub const ENTRIES: usize = 2;

/// One version of a plan's entry; times in ticks.
#[derive(Clone, Debug)]
pub struct Version {
    pub from: i64,
    /// For one seat where the entry counts seats.
    pub amount: i128,
    pub every: i64,
    pub lasts: Option<i64>,
    pub max: i128,
    pub percent: i128,
    pub periods: i64,
}

#[derive(Clone, Debug)]
pub struct PlanEntry {
    /// Oldest first, the first from ever.
    pub versions: Vec<Version>,
    pub once: bool,
    pub per_seat: bool,
    pub category: Category,
    pub priority: i16,
}

impl PlanEntry {
    pub fn version(&self, at: i64) -> &Version {
        self.versions.iter().rfind(|version| version.from <= at).unwrap()
    }

    pub fn amount(&self, version: &Version, seats: i128) -> i128 {
        if self.per_seat { version.amount * seats } else { version.amount }
    }
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub entries: Vec<PlanEntry>,
    /// `None` is unlimited.
    pub overdraft: Option<i128>,
}

/// What there is to subscribe to.
#[derive(Clone, Debug)]
pub struct Offer {
    pub plans: Vec<Plan>,
    /// The credit type takes no new grants from then on.
    pub archived: i64,
}

impl Offer {
    pub fn entry(&self, number: usize) -> &PlanEntry {
        &self.plans[number / ENTRIES].entries[number % ENTRIES]
    }
}

/// The period that an entry granted last.
#[derive(Clone, Debug)]
pub struct Given {
    pub version: Version,
    /// Where the next begins; `FOREVER` for credits that come once.
    pub until: i64,
    pub expires: Option<i64>,
    pub most: i128,
}

#[derive(Clone, Debug)]
pub struct Subscription {
    pub plan: usize,
    /// The pool that it pays into.
    pub pool: usize,
    pub anchor: i64,
    pub ends: i64,
    /// Its credits end with it.
    pub cut: bool,
    pub seats: i128,
    /// By entry, also those of a plan that was left.
    pub given: Vec<Option<Given>>,
}

impl Subscription {
    fn ends_with_it(&self, at: Option<i64>) -> Option<i64> {
        if self.cut { Some(at.map_or(self.ends, |at| at.min(self.ends))) } else { at }
    }
}

#[derive(Clone, Debug)]
pub struct PlanModel {
    pub offer: Offer,
    pub pools: [Model; 2],
    pub subscription: Option<Subscription>,
    pub now: i64,
    pub next_id: i64,
}

impl PlanModel {
    pub fn open(offer: Offer, unit: i128) -> PlanModel {
        let pools = [Model::open(unit), Model::open(unit)];
        PlanModel { offer, pools, subscription: None, now: 0, next_id: 1 }
    }

    pub fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// The subscription, unless it is over.
    pub fn active(&self) -> Option<&Subscription> {
        self.subscription.as_ref().filter(|subscription| self.now < subscription.ends)
    }

    /// The entries whose periods begin by themselves.
    fn entries(&self) -> Vec<usize> {
        self.active().map_or(vec![], |s| (s.plan * ENTRIES..(s.plan + 1) * ENTRIES).collect())
    }

    pub fn pass_until(&mut self, now: i64) {
        while self.now < now {
            self.now += 1;
            self.live_through_now();
        }
    }

    /// "At one instant the order is: end of holds, expiry, rollover, new grants, settlement of debt" (section 2).
    fn live_through_now(&mut self) {
        for pool in 0..self.pools.len() {
            self.pools[pool].now = self.now;
            self.pools[pool].end_holds();
            self.end_lots(pool);
            self.pools[pool].begin_due();
            if let Some(subscription) = self.subscription.as_ref().filter(|s| s.pool == pool) {
                if subscription.ends == self.now {
                    self.take_limit_back();
                }
                for entry in self.entries() {
                    self.begin_period(entry, self.now);
                }
            }
            self.pools[pool].settle();
        }
    }

    /// "If the pool still has exactly that limit it becomes 0; debt stays."
    fn take_limit_back(&mut self) {
        let subscription = self.subscription.as_ref().unwrap();
        let pool = &mut self.pools[subscription.pool];
        if pool.overdraft == self.offer.plans[subscription.plan].overdraft {
            pool.overdraft = Some(0);
        }
    }

    /// Expiry "in burn order", and then "rollover pairs".
    fn end_lots(&mut self, pool: usize) {
        let now = self.now;
        if !self.pools[pool].lots.iter().any(|lot| lot.is_open() && lot.ends == Some(now)) {
            return;
        }
        let mut carried = vec![];
        for index in self.pools[pool].in_order() {
            if self.pools[pool].lots[index].ends != Some(now) {
                continue;
            }
            let heir = self.heir(pool, index, &carried);
            let lot = &mut self.pools[pool].lots[index];
            let lost = lot.rest() - heir.as_ref().map_or(0, |heir| heir.amount);
            lot.expired += lost;
            let id = lot.id;
            if heir.is_none() {
                lot.state = Status::Expired;
            }
            if lost > 0 {
                self.pools[pool].record(EntryType::Expire, Some(id), now);
            }
            carried.extend(heir.map(|heir| (index, heir)));
        }
        for (index, mut heir) in carried {
            heir.id = self.id();
            let pool = &mut self.pools[pool];
            let lot = &mut pool.lots[index];
            lot.expired += heir.amount;
            lot.state = Status::Expired;
            let (id, heir_id) = (lot.id, heir.id);
            pool.record(EntryType::RolloverOut, Some(id), now);
            pool.lots.push(heir);
            pool.record(EntryType::RolloverIn, Some(heir_id), now);
        }
    }

    /// "When an entry's plan grant expires while the subscription (with that plan) goes on: percent of what is left
    /// (unheld), cut down to the scale, at most rollover_max less what the entry still carries."
    fn heir(&self, pool: usize, index: usize, leaving: &[(usize, Lot)]) -> Option<Lot> {
        let lot = &self.pools[pool].lots[index];
        let origin = lot.origin.as_ref().filter(|origin| !origin.carried && lot.state == Status::Active)?;
        let subscription = self.active().filter(|s| s.pool == pool && s.plan == origin.entry as usize / ENTRIES)?;
        let entry = self.offer.entry(origin.entry as usize);
        if entry.once || self.now >= self.offer.archived {
            return None;
        }
        let version = entry.version(self.now);
        let carries = |other: &Lot| other.origin.as_ref().is_some_and(|o| o.carried && o.entry == origin.entry);
        let living = self.pools[pool].lots.iter().filter(|other| {
            carries(other) && other.state == Status::Active && other.ends.is_none_or(|ends| ends > self.now)
        });
        let carried: i128 = living.map(|other| other.rest() + other.held).sum::<i128>()
            + leaving.iter().filter(|(_, heir)| carries(heir)).map(|(_, heir)| heir.amount).sum::<i128>();
        let amount = (lot.rest() * version.percent / 100).min(version.max - carried);
        // "rollover_periods periods later (counted on the grid: first boundary at or after the expiry + periods)".
        let mut boundary = subscription.anchor;
        while boundary < self.now {
            boundary += version.every;
        }
        let ends = subscription.ends_with_it(Some(boundary + version.periods * version.every));
        (amount > 0 && ends > Some(self.now)).then(|| Lot {
            id: 0,
            amount,
            consumed: 0,
            held: 0,
            expired: 0,
            voided: 0,
            starts: self.now,
            ends,
            made: self.now,
            origin: Some(Origin { carried: true, period: None, from: Some(lot.id), ..origin.clone() }),
            ..lot.clone()
        })
    }

    /// Begins the period of an entry that `at` lies in, unless it has begun. "`start` in the past: periods whose
    /// credits would be expired by now leave no grant."
    fn begin_period(&mut self, number: usize, at: i64) {
        let subscription = self.subscription.as_mut().unwrap();
        let entry = self.offer.entry(number);
        let covered = subscription.given[number].as_ref().map(|given| given.until);
        if at < subscription.anchor || at >= subscription.ends || at >= self.offer.archived || covered > Some(at) {
            return;
        }
        let version = entry.version(at);
        let grid = at - (at - subscription.anchor) % version.every;
        // "A changed cadence: the period that runs ends as planned, then the grid of the new cadence."
        let start = if entry.once { at } else { covered.map_or(grid, |covered| covered.max(grid)) };
        let until = if entry.once { FOREVER } else { grid + version.every };
        let expires = match version.lasts {
            Some(lasts) => Some(start + lasts),
            None => (!entry.once).then_some(until),
        };
        let most = entry.amount(version, subscription.seats);
        let ends = subscription.ends_with_it(expires);
        subscription.given[number] = Some(Given { version: version.clone(), until, expires, most });
        if most > 0 && ends.is_none_or(|ends| ends > self.now) {
            self.grant(number, most, at, ends, Some(start));
        }
    }

    fn grant(&mut self, number: usize, amount: i128, starts: i64, ends: Option<i64>, period: Option<i64>) {
        let (id, made) = (self.id(), self.now);
        let PlanEntry { category, priority, .. } = *self.offer.entry(number);
        let pool = &mut self.pools[self.subscription.as_ref().unwrap().pool];
        let in_debt = pool.debt > 0;
        pool.lots.push(Lot {
            id,
            priority,
            category,
            features: vec![],
            amount,
            consumed: 0,
            held: 0,
            expired: 0,
            voided: 0,
            state: Status::Scheduled,
            paid: true,
            counted: false,
            starts,
            ends,
            made,
            origin: Some(Origin { entry: number as i64, carried: false, period, from: None, in_debt }),
        });
        pool.begin(pool.lots.len() - 1, starts);
        pool.rows.last_mut().unwrap().reason = Some("plan");
    }

    /// "Every still valid earlier period leaves its own grant with its own effective_at." Debt is paid now: it may not
    /// have been there then.
    pub fn provision(&mut self, plan: usize, anchor: i64, ends: i64) {
        let given = vec![None; self.offer.plans.len() * ENTRIES];
        self.subscription = Some(Subscription { plan, pool: 0, anchor, ends, cut: false, seats: 1, given });
        self.pools[0].overdraft = self.offer.plans[plan].overdraft;
        for at in anchor..=self.now {
            for entry in self.entries() {
                self.begin_period(entry, at);
            }
            self.pools[0].settle();
        }
    }

    /// "The new plan's entries grant for the current period from now on, unless that plan's entry has granted for
    /// this period (away and back)."
    pub fn change_plan(&mut self, plan: usize) {
        let subscription = self.subscription.as_mut().unwrap();
        subscription.plan = plan;
        let pool = subscription.pool;
        self.pools[pool].overdraft = self.offer.plans[plan].overdraft;
        for entry in self.entries() {
            self.begin_period(entry, self.now);
        }
        self.pools[pool].settle();
    }

    /// "More than has been granted for this period: the difference is granted at once, expiring with the period;
    /// fewer take nothing back, and going up again grants only what exceeds the most granted for it."
    pub fn set_seats(&mut self, seats: i128) {
        self.subscription.as_mut().unwrap().seats = seats;
        for number in self.entries() {
            let entry = self.offer.entry(number);
            let subscription = self.subscription.as_mut().unwrap();
            let Some(given) = &mut subscription.given[number] else { continue };
            let wanted = entry.amount(&given.version, seats);
            let missing = wanted - given.most;
            if missing <= 0 || self.now >= self.offer.archived {
                continue;
            }
            given.most = wanted;
            let expires = given.expires;
            let ends = subscription.ends_with_it(expires);
            if ends.is_none_or(|ends| ends > self.now) {
                self.grant(number, missing, self.now, ends, None);
            }
        }
        let pool = self.subscription.as_ref().unwrap().pool;
        self.pools[pool].settle();
    }

    /// "credits 'expire': the subscription's recurring grants get expires_at = min(own, at), with an `update` row of
    /// amount 0, and expire at `at`; renewals until then are cut to `at`, too." Those that a transfer left behind, too.
    pub fn cancel(&mut self, at: i64, expire: bool) {
        let subscription = self.subscription.as_mut().unwrap();
        (subscription.ends, subscription.cut) = (at, expire);
        for pool in &mut self.pools {
            for index in pool.in_order() {
                let lot = &mut pool.lots[index];
                if expire && lot.origin.is_some() && lot.ends.is_none_or(|ends| ends > at) {
                    lot.ends = Some(at);
                    let id = lot.id;
                    pool.record(EntryType::Update, Some(id), self.now);
                }
            }
        }
        if at == self.now {
            self.live_through_now();
        }
    }

    /// "'move': the unheld rest of the subscription's recurring grants goes over. 'keep': they stay where they are."
    /// "`frozen` refuses transfers out" (section 10), the whole call where there is something to move.
    pub fn transfer(&mut self, moving: bool) -> Result<(), Refusal> {
        let from = self.subscription.as_ref().unwrap().pool;
        for index in self.pools[from].in_order() {
            let lot = &mut self.pools[from].lots[index];
            let amount = lot.free();
            if !moving || lot.origin.is_none() || amount == 0 {
                continue;
            }
            if self.pools[from].frozen {
                return Err(Refusal::Frozen);
            }
            lot.voided += amount;
            let mut moved = Lot { amount, consumed: 0, held: 0, expired: 0, voided: 0, made: self.now, ..lot.clone() };
            if lot.is_used_up() {
                lot.state = if lot.consumed == 0 { Status::Voided } else { Status::Depleted };
            }
            let origin = moved.origin.as_mut().unwrap();
            (origin.from, origin.period) = (Some(lot.id), None);
            let (id, moved_id) = (lot.id, self.id());
            moved.id = moved_id;
            self.pools[from].record(EntryType::TransferOut, Some(id), self.now);
            let to = &mut self.pools[1 - from];
            to.lots.push(moved);
            to.record(EntryType::TransferIn, Some(moved_id), self.now);
            to.settle();
        }
        self.take_limit_back();
        let subscription = self.subscription.as_mut().unwrap();
        subscription.pool = 1 - from;
        self.pools[1 - from].overdraft = self.offer.plans[subscription.plan].overdraft;
        Ok(())
    }

    /// The next tick at which something happens in a pool unless a call changes it.
    pub fn next_event(&self, pool: usize) -> i64 {
        let lots = self.pools[pool].lots.iter().filter_map(Lot::next_event);
        let plan = self.active().filter(|subscription| subscription.pool == pool);
        let periods = plan.into_iter().flat_map(|subscription| {
            let boundaries = self.entries().into_iter().map(|entry| {
                let begins = subscription.given[entry].as_ref().map_or(subscription.anchor, |given| given.until);
                if begins > self.now && begins < self.offer.archived { begins } else { FOREVER }
            });
            boundaries.chain([subscription.ends])
        });
        lots.chain(periods).chain(self.pools[pool].next_time_out()).min().unwrap_or(FOREVER)
    }
}
