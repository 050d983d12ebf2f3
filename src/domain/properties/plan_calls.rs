//! Random plans and random calls about them, carried out on real wallets or on the model.

use std::collections::HashSet;

use proptest::prelude::*;

use super::model::Lot;
use super::operations::{Caller, Op, Outcome, Past, step, tick, tick_or_never};
use super::plan_model::{ENTRIES, FOREVER, Offer, Plan, PlanEntry, PlanModel, Version};
use crate::{
    Amount, Cadence, Category, EntryTerms, Grant, HoldStatus, Instant, Limit, Refusal, Rollover, Schedule, Span,
    Status, Wallet, Zone,
};

#[derive(Clone, Debug)]
pub enum Call {
    /// A call about one pool. Where it picks a grant, it is the one at that place of the open ones.
    Pool {
        other: bool,
        op: Op,
    },
    /// The first provisions, later ones change the plan.
    Provision {
        plan: usize,
        starts_in: i64,
        lasts: Option<i64>,
    },
    Seats(i128),
    Cancel {
        ends_in: i64,
        expire: bool,
    },
    Transfer {
        moving: bool,
    },
}

/// A call and the ticks that pass before it.
pub type PlanStep = (i64, Call);

fn version(from: i64, dice: [u8; 7]) -> Version {
    let [amount, every, life, max, percent, periods, more] = dice.map(i64::from);
    let every = 1 + (every + 4) % 12;
    Version {
        from,
        amount: i128::from((amount + 6) % 13),
        every,
        lasts: match life % 7 {
            4 => Some(1 + more % every),
            5 => Some(every),
            6 => Some(every + 1 + more % 20),
            _ => None,
        },
        max: if max % 2 == 0 { 0 } else { i128::from(1 + max % 23) },
        percent: [100, 100, 50, 33, 0, i128::from(percent % 101)][percent as usize % 6],
        periods: 1 + periods % 3,
    }
}

/// Its later versions may differ in one thing or in all.
fn entry(dice: [u8; 28]) -> PlanEntry {
    let [kind, seats, priority, second, third, keep, category, versions @ ..] = dice;
    let mut all: Vec<[u8; 7]> = versions.chunks(7).map(|part| part.try_into().unwrap()).collect();
    if keep % 2 == 1 {
        for place in (0..7).filter(|place| keep / 2 % 8 != *place) {
            let first = all[0][usize::from(place)];
            all.iter_mut().for_each(|version| version[usize::from(place)] = first);
        }
    }
    let mut versions = vec![version(i64::MIN, all[0])];
    let mut from = 0;
    for (later, dice) in [second, third].into_iter().zip(&all[1..]) {
        if later % 3 == 2 {
            from += i64::from(later / 3);
            versions.push(version(from % 50, *dice));
        }
    }
    versions.sort_by_key(|version| version.from);
    PlanEntry {
        versions,
        once: kind % 6 == 5,
        per_seat: seats % 3 == 2,
        category: [Category::Recurring, Category::Recurring, Category::Promotional][usize::from(category % 3)],
        priority: if priority < 192 { 50 } else { i16::from(priority % 101) },
    }
}

pub fn entries() -> impl Strategy<Value = PlanEntry> {
    any::<[u8; 28]>().prop_map(entry)
}

pub fn offers() -> impl Strategy<Value = Offer> {
    let plan = || {
        (entries(), entries(), any::<u8>()).prop_map(|(first, second, overdraft)| Plan {
            entries: vec![first, second],
            overdraft: [Some(0), Some(0), Some(5), Some(20), None][usize::from(overdraft % 5)],
        })
    };
    ([plan(), plan()], any::<u8>()).prop_map(|(plans, archived)| Offer {
        plans: plans.into(),
        archived: if archived >= 224 { i64::from(archived % 64) } else { FOREVER },
    })
}

fn plan_step(dice: [u8; 12]) -> PlanStep {
    let [kind, first, second, operation @ ..] = dice;
    let (gap, op) = step(operation);
    let call = match kind % 20 {
        0..3 => Call::Provision {
            plan: usize::from(first % 2),
            starts_in: [0, 0, 0, i64::from(second % 6), -i64::from(second % 40)][usize::from(second % 5)],
            lasts: (first % 7 == 6).then_some(1 + i64::from(second % 50)),
        },
        3 | 4 => Call::Seats(i128::from(first % 5)),
        5 => Call::Cancel { ends_in: if first % 3 == 0 { 0 } else { i64::from(first % 20) }, expire: second % 2 == 1 },
        6 => Call::Transfer { moving: first % 3 > 0 },
        _ => Call::Pool { other: first % 8 == 7, op },
    };
    (if second >= 240 { gap + i64::from(first % 40) } else { gap }, call)
}

pub fn plan_steps() -> impl Strategy<Value = Vec<PlanStep>> {
    prop::collection::vec(any::<[u8; 12]>().prop_map(plan_step), 1..25)
}

/// Decimal places of the credit type; one credit is its smallest amount.
pub fn scales() -> impl Strategy<Value = u32> {
    prop_oneof![Just(18), Just(6), 0..=18_u32]
}

pub fn smallest_amount(scale: u32) -> i128 {
    10_i128.pow(18 - scale)
}

/// The same operation on the grant with this id.
fn aimed(op: &Op, id: i64) -> Op {
    let place = (id - 1) as usize;
    match op.clone() {
        Op::Void { amount, .. } => Op::Void { pick: place, amount },
        Op::Confirm { .. } => Op::Confirm { pick: place },
        Op::Update { priority, ends_in, .. } => Op::Update { pick: place, priority, ends_in },
        // Of grants that are over and no more at hand; and what a call moves is not what the plan knows of.
        Op::Reverse { .. } | Op::Transfer { .. } => Op::Confirm { pick: usize::MAX },
        other => other,
    }
}

fn picked(op: &Op, open: &[i64], unknown: i64) -> i64 {
    match op {
        Op::Void { pick, .. } | Op::Confirm { pick } | Op::Update { pick, .. } => {
            *open.get(pick % (open.len() + 1)).unwrap_or(&unknown)
        }
        _ => unknown,
    }
}

/// The pools that a call is about: it carries out what is due there.
pub fn pools_of(call: &Call, subscribed_in: usize) -> Vec<usize> {
    match call {
        Call::Pool { other, .. } => vec![if *other { 1 - subscribed_in } else { subscribed_in }],
        Call::Transfer { .. } | Call::Cancel { .. } => vec![0, 1],
        _ => vec![subscribed_in],
    }
}

/// Whether a call is let through to the rules: those about a subscription need one that is not over.
fn is_refused(call: &Call, now: i64, active: Option<(usize, i64)>, existed: bool) -> bool {
    match (call, active) {
        (Call::Pool { .. }, _) => false,
        (Call::Provision { plan, .. }, Some((current, _))) => *plan == current,
        (Call::Provision { starts_in, lasts, .. }, None) => {
            existed || lasts.is_some_and(|lasts| now + starts_in + lasts <= now)
        }
        (Call::Cancel { ends_in, .. }, Some((_, ends))) => now + ends_in >= ends,
        (_, active) => active.is_none(),
    }
}

impl PlanModel {
    pub fn subscribed_in(&self) -> usize {
        self.subscription.as_ref().map_or(0, |subscription| subscription.pool)
    }

    pub fn call(&mut self, call: &Call) -> Result<Outcome, Refusal> {
        let active = self.active().map(|subscription| (subscription.plan, subscription.ends));
        if is_refused(call, self.now, active, self.subscription.is_some()) {
            return Ok(Outcome::Done);
        }
        let pool = pools_of(call, self.subscribed_in())[0];
        match call {
            Call::Pool { op, .. } => {
                let order = self.pools[pool].in_order();
                let open: Vec<i64> = order.iter().map(|index| self.pools[pool].lots[*index].id).collect();
                let id = self.id();
                let caller =
                    Caller { now: self.now, unit: self.pools[pool].unit, made: id - 1, past: &Past::default() };
                return caller.on_model(&mut self.pools[pool], &aimed(op, picked(op, &open, id)));
            }
            Call::Provision { plan, .. } if active.is_some() => self.change_plan(*plan),
            Call::Provision { plan, starts_in, lasts } => {
                let anchor = self.now + starts_in;
                self.provision(*plan, anchor, lasts.map_or(FOREVER, |lasts| anchor + lasts));
            }
            Call::Seats(seats) => self.set_seats(*seats),
            Call::Cancel { ends_in, expire } => self.cancel(self.now + ends_in, *expire),
            Call::Transfer { moving } => self.transfer(*moving)?,
        }
        Ok(Outcome::Done)
    }
}

/// What the tables keep of a subscription beside its schedules.
#[derive(Clone, Debug)]
struct Subscription {
    plan: usize,
    pool: usize,
    anchor: i64,
    ends: i64,
    cut: bool,
    seats: i128,
}

/// Two pools of one customer and the subscription that pays into one of them, as the calls see them.
#[derive(Clone, Debug)]
pub struct World {
    pub offer: Offer,
    pub scale: u32,
    pub wallets: [Wallet; 2],
    pasts: [Past; 2],
    subscription: Option<Subscription>,
    pub next_id: i64,
}

fn credits(count: i128, scale: u32) -> Amount {
    Amount::from_raw(count * smallest_amount(scale))
}

fn limit(overdraft: Option<i128>, scale: u32) -> Limit {
    overdraft.map_or(Limit::Unlimited, |limit| Limit::Finite(credits(limit, scale)))
}

pub fn ticks(count: i64) -> Span {
    Span { micros: tick(count).micros(), ..Span::default() }
}

fn instant(at: i64) -> Instant {
    tick_or_never((at < FOREVER).then_some(at))
}

pub fn entry_terms(entry: &PlanEntry, version: &Version, seats: i128, scale: u32) -> EntryTerms {
    EntryTerms {
        effective_at: if version.from == i64::MIN { Instant::NEG_INFINITY } else { tick(version.from) },
        amount: credits(entry.amount(version, seats), scale),
        category: entry.category,
        priority: entry.priority,
        cadence: Cadence {
            every: (!entry.once).then(|| ticks(version.every)),
            expires_after: version.lasts.map(ticks),
        },
        rollover: Rollover {
            max: if entry.once { Amount::ZERO } else { credits(version.max, scale) },
            percent: Amount::from_units(version.percent as i64),
            periods: version.periods,
        },
    }
}

impl World {
    pub fn open(offer: Offer, scale: u32) -> World {
        let wallets = [0, 1].map(|_| Wallet::open(Limit::Finite(Amount::ZERO), tick(0)));
        World { offer, scale, wallets, pasts: Default::default(), subscription: None, next_id: 1 }
    }

    /// As a call finds a pool: open holds, open grants and those with parts of the holds, and of each entry the versions that there are by now.
    pub fn load(&mut self, pool: usize, now: i64) {
        let wallet = &mut self.wallets[pool];
        wallet.grants.retain(|grant| grant.status.is_open() || grant.held.is_positive());
        wallet.holds.retain(|hold| hold.status == HoldStatus::Active);
        wallet.holds.iter_mut().for_each(|hold| (hold.fresh, hold.dirty) = (false, false));
        wallet.grants.iter_mut().for_each(|grant| (grant.fresh, grant.dirty) = (false, false));
        let Some(subscription) = &self.subscription else { return };
        for schedule in &mut wallet.schedules {
            let entry = self.offer.entry(schedule.id as usize);
            let known = entry.versions.iter().filter(|version| version.from <= now);
            schedule.terms = known.map(|version| entry_terms(entry, version, subscription.seats, self.scale)).collect();
            schedule.archived_at = instant(if self.offer.archived <= now { self.offer.archived } else { FOREVER });
            schedule.ends_at = instant(subscription.ends);
            schedule.cut_at_end = subscription.cut;
            // Nobody keeps them: what they are for has been granted by the end of the call.
            (schedule.not_before, schedule.begun_at) = (Instant::NEG_INFINITY, Instant::NEG_INFINITY);
            schedule.dirty = false;
        }
    }

    pub fn advance(&mut self, pool: usize, now: i64) -> bool {
        let next_id = &mut self.next_id;
        let mut id = || {
            *next_id += 1;
            *next_id - 1
        };
        self.wallets[pool].advance(tick(now), &mut id).unwrap()
    }

    pub fn look(&mut self, pool: usize, now: i64) {
        self.load(pool, now);
        self.advance(pool, now);
    }

    pub fn subscribed_in(&self) -> usize {
        self.subscription.as_ref().map_or(0, |subscription| subscription.pool)
    }

    /// The pools that the call is about are loaded and advanced.
    pub fn call(&mut self, call: &Call, now: i64) -> Result<Outcome, Refusal> {
        let active = self.subscription.as_ref().filter(|s| now < s.ends).map(|s| (s.plan, s.ends));
        if is_refused(call, now, active, self.subscription.is_some()) {
            return Ok(Outcome::Done);
        }
        let pool = pools_of(call, self.subscribed_in())[0];
        match call {
            Call::Pool { op, .. } => {
                let wallet = &mut self.wallets[pool];
                let mut open: Vec<&Grant> = wallet.grants.iter().filter(|grant| grant.status.is_open()).collect();
                open.sort_by(|one, other| one.burn_order(other));
                let open: Vec<i64> = open.iter().map(|grant| grant.id).collect();
                let past = &mut self.pasts[pool];
                let caller = Caller { now, unit: smallest_amount(self.scale), made: self.next_id - 1, past };
                self.next_id += 1;
                let first = wallet.entries.len();
                let outcome = caller.on_wallet(wallet, &aimed(op, picked(op, &open, caller.made + 1)));
                past.note(op, &outcome, &wallet.entries, first..wallet.entries.len());
                return outcome;
            }
            Call::Provision { plan, .. } if active.is_some() => self.change_plan(*plan, now),
            Call::Provision { plan, starts_in, lasts } => {
                let anchor = now + starts_in;
                let ends = lasts.map_or(FOREVER, |lasts| anchor + lasts);
                self.subscription = Some(Subscription { plan: *plan, pool, anchor, ends, cut: false, seats: 1 });
                self.add_schedules(*plan, now);
                let schedules = &mut self.wallets[pool].schedules;
                schedules.iter_mut().for_each(|schedule| schedule.begin(tick(now)));
                self.go_on_with(*plan, now);
            }
            Call::Seats(seats) => self.set_seats(*seats, now),
            Call::Cancel { ends_in, expire } => self.cancel(now + ends_in, *expire, now),
            Call::Transfer { moving } => self.transfer(*moving, now)?,
        }
        Ok(Outcome::Done)
    }

    fn add_schedules(&mut self, plan: usize, now: i64) {
        let subscription = self.subscription.as_ref().unwrap();
        let pool = subscription.pool;
        for entry in plan * ENTRIES..(plan + 1) * ENTRIES {
            let schedules = &mut self.wallets[pool].schedules;
            if schedules.iter().any(|schedule| schedule.id == entry as i64) {
                continue;
            }
            schedules.push(Schedule {
                id: entry as i64,
                zone: Zone::utc(),
                anchor: tick(subscription.anchor),
                ends_at: Instant::INFINITY,
                archived_at: Instant::INFINITY,
                cut_at_end: false,
                terms: vec![],
                scale: self.scale,
                overdraft: limit(self.offer.plans[plan].overdraft, self.scale),
                next_at: tick(subscription.anchor),
                not_before: Instant::NEG_INFINITY,
                granted: None,
                period: None,
                begun_at: Instant::NEG_INFINITY,
                running: true,
                dirty: false,
            });
            schedules.sort_by_key(|schedule| schedule.id);
        }
        self.load_keeping_grants(pool, now);
    }

    /// The call sees its own changes of the subscription.
    fn load_keeping_grants(&mut self, pool: usize, now: i64) {
        let grants = self.wallets[pool].grants.clone();
        self.load(pool, now);
        let wallet = &mut self.wallets[pool];
        wallet.grants = grants;
        let next = wallet.earliest_transition();
        wallet.watch(next);
    }

    fn go_on_with(&mut self, plan: usize, now: i64) {
        let pool = self.subscribed_in();
        let wallet = &mut self.wallets[pool];
        wallet.overdraft = limit(self.offer.plans[plan].overdraft, self.scale);
        let next = wallet.earliest_transition();
        wallet.watch(next);
        self.advance(pool, now);
    }

    fn change_plan(&mut self, plan: usize, now: i64) {
        self.subscription.as_mut().unwrap().plan = plan;
        self.add_schedules(plan, now);
        let wallet = &mut self.wallets[self.subscription.as_ref().unwrap().pool];
        for index in 0..wallet.schedules.len() {
            let schedule = &mut wallet.schedules[index];
            if schedule.id as usize / ENTRIES == plan {
                schedule.resume(tick(now));
            } else if schedule.running {
                schedule.stop();
                let given = schedule.overdraft;
                wallet.withdraw_overdraft(given);
            }
        }
        self.go_on_with(plan, now);
    }

    fn set_seats(&mut self, seats: i128, now: i64) {
        let pool = self.subscribed_in();
        self.subscription.as_mut().unwrap().seats = seats;
        self.load_keeping_grants(pool, now);
        let ours: HashSet<i64> = self.wallets[pool].schedules.iter().map(|schedule| schedule.id).collect();
        let next_id = &mut self.next_id;
        let mut id = || {
            *next_id += 1;
            *next_id - 1
        };
        self.wallets[pool].top_up(&ours, tick(now), &mut id).unwrap();
    }

    /// The open grants of the subscription's entries.
    fn recurring(&self, pool: usize) -> Vec<Grant> {
        let grants = self.wallets[pool].grants.iter();
        let mut ours: Vec<Grant> =
            grants.filter(|grant| grant.status.is_open() && grant.schedule_id.is_some()).cloned().collect();
        ours.sort_by(Grant::burn_order);
        ours
    }

    fn cancel(&mut self, at: i64, expire: bool, now: i64) {
        let pool = self.subscribed_in();
        let subscription = self.subscription.as_mut().unwrap();
        (subscription.ends, subscription.cut) = (at, expire);
        self.load_keeping_grants(pool, now);
        for pool in 0..2 {
            for grant in self.recurring(pool).iter().filter(|_| expire) {
                self.wallets[pool].end_earlier(grant.id, tick(at), tick(now)).unwrap();
            }
            self.advance(pool, now);
        }
    }

    fn transfer(&mut self, moving: bool, now: i64) -> Result<(), Refusal> {
        let from = self.subscribed_in();
        for grant in self.recurring(from).iter().filter(|grant| moving && grant.available().is_positive()) {
            let moved = self.wallets[from].transfer_out(grant.id, grant.available(), self.next_id, tick(now))?;
            self.next_id += 1;
            let to = &mut self.wallets[1 - from];
            to.transfer_in(moved, tick(now)).unwrap();
            assert!(to.next_transition <= to.earliest_transition(), "would sleep past the end of what came");
        }
        let schedules = std::mem::take(&mut self.wallets[from].schedules);
        schedules.iter().filter(|s| s.running).for_each(|s| self.wallets[from].withdraw_overdraft(s.overdraft));
        self.wallets[1 - from].schedules = schedules;
        let subscription = self.subscription.as_mut().unwrap();
        subscription.pool = 1 - from;
        let plan = subscription.plan;
        self.load_keeping_grants(1 - from, now);
        self.go_on_with(plan, now);
        Ok(())
    }
}

/// Whether a grant is what the model has as `lot`, but for its id and, where the clock's doings are booked `late`, the
/// instant at which it was made.
pub fn is_same(grant: &Grant, lot: &Lot, unit: i128, late: bool) -> bool {
    let counts = [lot.amount, lot.consumed, lot.held, lot.expired, lot.voided].map(|n| Amount::from_raw(n * unit));
    let origin = lot.origin.as_ref();
    let features = grant.features.iter().flatten().map(String::as_str);
    [grant.amount, grant.consumed, grant.held, grant.expired, grant.voided] == counts
        && (grant.category, grant.priority, grant.status) == (lot.category, lot.priority, lot.state)
        && features.eq(lot.features.iter().copied())
        && grant.unpaid != lot.paid
        && (grant.effective_at, grant.expires_at) == (tick(lot.starts), tick_or_never(lot.ends))
        && (grant.created_at == tick(lot.made) || late && origin.is_some() && grant.created_at > tick(lot.made))
        && grant.schedule_id == origin.map(|origin| origin.entry)
        && grant.period_start == origin.and_then(|origin| origin.period).map(tick)
        && grant.source_grant_id.is_some() == origin.is_some_and(|origin| origin.from.is_some())
        && (grant.source == crate::Source::Rollover) == origin.is_some_and(|origin| origin.carried)
        && (grant.source == crate::Source::Manual) == origin.is_none()
}

/// What a period that nothing came of looks like.
pub fn came_to_nothing(lot: &Lot) -> bool {
    lot.state == Status::Expired && lot.expired == lot.amount && lot.origin.as_ref().is_some_and(|o| !o.carried)
}
