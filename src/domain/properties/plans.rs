//! Plans through time: real wallets against the model that lives through every tick, and what holds always.

use proptest::prelude::*;

use super::cases;
use super::model::Lot;
use super::operations::{Op, Spec, hold_id, tick};
use super::plan_calls::{
    Call, PlanStep, World, came_to_nothing, is_same, offers, plan_steps, pools_of, scales, smallest_amount,
};
use super::plan_model::{FOREVER, Offer, Plan, PlanEntry, PlanModel, Version};
use super::wallet::assert_sound;
use crate::{Category, Grant, Hold, HoldStatus, Schedule, Source, Status, Wallet};

/// How the model's lots of one pool are found in the wallet.
#[derive(Default)]
struct Seen {
    lots: usize,
    rows: usize,
    /// By lot: the grant, or none where its period was passed over.
    grants: Vec<Option<i64>>,
    last_grant: i64,
    entries: usize,
    skipped: i128,
    skips: i128,
}

impl Seen {
    /// Finds the new lots among the new grants. What nothing came of may be missing, and must be where there was
    /// neither debt nor rollover.
    fn match_new(&mut self, model: &PlanModel, pool: usize, wallet: &Wallet, late: bool) {
        let unit = model.pools[pool].unit;
        let mut new: Vec<&Grant> = wallet.grants.iter().filter(|grant| grant.id > self.last_grant).collect();
        new.sort_by_key(|grant| grant.id);
        let mut new = new.into_iter().peekable();
        for lot in &model.pools[pool].lots[self.lots..] {
            let found = new.next_if(|grant| is_same(grant, lot, unit, late));
            let gone = came_to_nothing(lot) && lot.made < model.now;
            let heir = model.pools[pool].lots.iter().any(|l| l.origin.as_ref().is_some_and(|o| o.from == Some(lot.id)));
            match found {
                Some(grant) => {
                    self.last_grant = grant.id;
                    assert!(!gone || heir || !must_be_skipped(model, lot), "of no use: {lot:?}");
                }
                None => {
                    let useless = gone && !heir && !lot.origin.as_ref().unwrap().in_debt;
                    assert!(useless, "missing: {lot:?}\nnext: {:?}\nin {:#?}", new.peek(), wallet.grants);
                    self.skipped += lot.amount;
                    self.skips += 1;
                }
            }
            self.grants.push(found.map(|grant| grant.id));
        }
        assert_eq!(new.next(), None, "the model has not got it");
        self.lots = self.grants.len();
    }

    fn compare(&mut self, model: &PlanModel, pool: usize, world: &World, late: bool) {
        let (wallet, expected) = (&world.wallets[pool], &model.pools[pool]);
        self.match_new(model, pool, wallet, late);
        let of_lot = |id: i64| expected.index(id).ok().and_then(|index| self.grants[index]);

        let mut figures = expected.figures();
        figures.granted = figures.granted.checked_sub(expected.credits(self.skipped)).unwrap();
        figures.expired = figures.expired.checked_sub(expected.credits(self.skipped)).unwrap();
        assert_eq!(wallet.figures, figures);

        let mut matched = 0;
        for (lot, id) in expected.lots.iter().zip(&self.grants) {
            let grant = id.and_then(|id| wallet.grants.iter().find(|grant| grant.id == id));
            matched += usize::from(grant.is_some());
            match grant {
                Some(grant) => {
                    assert!(is_same(grant, lot, expected.unit, late), "{grant:?}\nis not\n{lot:?}");
                    let source = lot.origin.as_ref().and_then(|origin| origin.from).and_then(of_lot);
                    assert!(source.is_none_or(|source| grant.source_grant_id == Some(source)));
                }
                None => assert!(id.is_none() || !lot.is_open(), "gone: {lot:?}"),
            }
        }
        assert_eq!(matched, wallet.grants.len());

        let mut entries = wallet.entries[self.entries..].iter();
        let mut balance = self.entries.checked_sub(1).map_or(0, |last| wallet.entries[last].balance_after.raw());
        for row in &expected.rows[self.rows..] {
            let id = row.grant.and_then(of_lot);
            if row.grant.is_some() && id.is_none() {
                continue;
            }
            let amount = expected.credits(row.amount);
            balance += amount.raw();
            let entry = entries.next().unwrap_or_else(|| panic!("missing: {row:?}"));
            let found = (entry.kind, entry.amount, entry.balance_after.raw(), entry.grant_id, entry.effective_at);
            assert_eq!(found, (row.kind, amount, balance, id, tick(row.at)));
            assert_eq!((entry.reason, &entry.reservation), (row.reason, &row.hold.map(hold_id)));
        }
        assert_eq!(entries.next(), None, "the model has not got it");
        let entries_seen = std::mem::replace(&mut self.entries, wallet.entries.len());
        self.rows = expected.rows.len();

        assert_sound(wallet, entries_seen);
        let next = model.next_event(pool);
        assert!(next == FOREVER || wallet.next_transition <= tick(next), "would sleep past an event");
        assert!(wallet.next_transition <= wallet.earliest_transition());
    }
}

/// "Skipped when their credits would be expired by now AND the entry has no rollover AND the pool has no debt at that
/// boundary." Versions that differ in rollover leave it open.
fn must_be_skipped(model: &PlanModel, lot: &Lot) -> bool {
    let origin = lot.origin.as_ref().unwrap();
    let entry = model.offer.entry(origin.entry as usize);
    let rolls_over = entry.versions.iter().any(|version| version.max > 0);
    !origin.in_debt && !rolls_over && lot.consumed == 0 && origin.period.is_some()
}

/// The same to every call: the figures that count, and what lives.
fn assert_alike(one: &Wallet, other: &Wallet) {
    let figures = |wallet: &Wallet| {
        let f = wallet.figures;
        (f.balance, f.held, f.unbacked, f.debt, f.restricted, f.consumed, f.voided, wallet.overdraft, wallet.frozen)
    };
    assert_eq!(figures(one), figures(other));
    let living = |wallet: &Wallet| -> Vec<Grant> {
        let mut all: Vec<Grant> = wallet.grants.iter().filter(|grant| grant.status.is_open()).cloned().collect();
        all.sort_by(Grant::burn_order);
        let created_at = tick(0);
        let unnamed = |grant| Grant { id: 0, source_grant_id: None, created_at, fresh: false, dirty: false, ..grant };
        all.into_iter().map(unnamed).collect()
    };
    assert_eq!(living(one), living(other));
    let holds = |wallet: &Wallet| -> Vec<_> {
        let open = wallet.holds.iter().filter(|hold| hold.status == HoldStatus::Active);
        open.map(|hold| (hold.id.clone(), hold.held(), hold.expires_at, hold.charged)).collect()
    };
    assert_eq!(holds(one), holds(other));
    let schedules = |wallet: &Wallet| -> Vec<_> {
        // Nobody asks what was granted last where nothing more comes.
        let granted = |s: &Schedule| s.granted.filter(|_| s.running && !s.archived_at.is_finite());
        wallet.schedules.iter().map(|s| (s.id, s.next_transition(), granted(s), s.running)).collect()
    };
    assert_eq!(schedules(one), schedules(other));
}

/// Everything that changed is written at the end of a call.
fn assert_written(before: &Wallet, after: &Wallet) {
    for grant in &after.grants {
        let old = before.grants.iter().find(|old| old.id == grant.id);
        let same = old.is_some_and(|old| Grant { dirty: grant.dirty, ..old.clone() } == *grant);
        assert!(same || grant.fresh || (old.is_some() && grant.dirty), "would not be written: {grant:?}");
    }
    for hold in &after.holds {
        let old = before.holds.iter().find(|old| old.id == hold.id);
        let same = old.is_some_and(|old| Hold { dirty: hold.dirty, fresh: hold.fresh, ..old.clone() } == *hold);
        assert!(same || hold.fresh || (old.is_some() && hold.dirty), "would not be written: {hold:?}");
    }
    for schedule in &after.schedules {
        let Some(old) = before.schedules.iter().find(|old| old.id == schedule.id) else { continue };
        let kept = |s: &Schedule| (s.next_at, s.granted, s.period, s.running);
        assert!(kept(old) == kept(schedule) || schedule.dirty, "would not be written: {schedule:?}");
    }
}

/// "An entry grants at most once per period of a subscription."
fn assert_once_per_period(model: &PlanModel) {
    let mut periods: Vec<(i64, i64)> = vec![];
    for lot in model.pools.iter().flat_map(|pool| &pool.lots) {
        if let Some((entry, period)) = lot.origin.as_ref().and_then(|o| Some((o.entry, o.period?))) {
            assert!(!periods.contains(&(entry, period)));
            periods.push((entry, period));
        }
    }
}

/// "`rollover_max` caps all that the entry carries at any time", whichever version it was carried under.
fn assert_capped(offer: &Offer, scale: u32, wallet: &Wallet) {
    for (number, entry) in offer.plans.iter().flat_map(|plan| &plan.entries).enumerate() {
        let most = entry.versions.iter().map(|version| version.max).max().unwrap();
        let carried = wallet.grants.iter().filter(|grant| {
            grant.source == Source::Rollover
                && grant.status == Status::Active
                && grant.schedule_id == Some(number as i64)
        });
        let carried: i128 = carried.map(|grant| grant.remaining().raw()).sum();
        assert!(carried <= most * smallest_amount(scale), "carries too much");
    }
}

struct Run {
    model: PlanModel,
    world: World,
    seen: [Seen; 2],
    late: bool,
    /// A transfer has left carried credits behind, which come on top.
    left_behind: bool,
}

impl Run {
    fn new(offer: Offer, scale: u32, late: bool) -> Run {
        let unit = smallest_amount(scale);
        let model = PlanModel::open(offer.clone(), unit);
        Run { model, world: World::open(offer, scale), seen: Default::default(), late, left_behind: false }
    }

    fn look(&mut self, pool: usize) {
        let now = self.model.now;
        self.world.load(pool, now);
        let before = self.world.wallets[pool].clone();
        self.world.advance(pool, now);
        self.seen[pool].compare(&self.model, pool, &self.world, self.late);
        assert_written(&before, &self.world.wallets[pool]);
        let once = self.world.wallets[pool].clone();
        assert!(!self.world.advance(pool, now), "advancing twice is advancing once");
        assert_eq!(self.world.wallets[pool].entries.len(), once.entries.len());
        assert_eq!(once.next_transition.min(once.earliest_transition()), once.next_transition);
    }

    fn step(&mut self, (gap, call): &PlanStep) {
        for _ in 0..*gap {
            self.model.pass_until(self.model.now + 1);
            if !self.late {
                (0..2).for_each(|pool| self.look(pool));
            }
        }
        let pools = pools_of(call, self.model.subscribed_in());
        pools.iter().for_each(|pool| self.look(*pool));
        for pool in &pools {
            self.world.load(*pool, self.model.now);
        }
        let before = self.world.wallets.clone();
        let expected = self.model.call(call);
        assert_eq!(self.world.call(call, self.model.now), expected);
        for pool in pools {
            self.seen[pool].compare(&self.model, pool, &self.world, self.late);
            let carries = |grant: &Grant| grant.source == Source::Rollover && grant.status == Status::Active;
            if self.model.subscribed_in() != pool {
                self.left_behind |= self.world.wallets[pool].grants.iter().any(carries);
            } else if !self.left_behind {
                assert_capped(&self.model.offer, self.world.scale, &self.world.wallets[pool]);
            }
            assert_written(&before[pool], &self.world.wallets[pool]);
        }
    }
}

proptest! {
    #![proptest_config(cases(10_000))]

    /// Pools are looked at when somebody calls, however late.
    #[test]
    fn a_plan_does_what_the_model_does(offer in offers(), steps in plan_steps(), scale in scales()) {
        let mut run = Run::new(offer, scale, true);
        steps.iter().for_each(|step| run.step(step));
        assert_once_per_period(&run.model);
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// Nothing is passed over then: the whole ledger is the model's.
    #[test]
    fn a_plan_that_is_looked_at_every_tick_does_what_the_model_does(
        offer in offers(),
        steps in plan_steps(),
        scale in scales(),
    ) {
        let mut run = Run::new(offer, scale, false);
        steps.iter().for_each(|step| run.step(step));
        assert_eq!([run.seen[0].skips, run.seen[1].skips], [0, 0]);
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// "Balances never depend on maintenance": what is looked at every tick and what nobody looks at for long are the
    /// same to every call.
    #[test]
    fn nobody_can_tell_how_often_a_pool_was_looked_at(offer in offers(), steps in plan_steps(), scale in scales()) {
        let mut eager = World::open(offer, scale);
        let mut patient = eager.clone();
        let mut now = 0;
        for (gap, call) in &steps {
            for _ in 0..*gap {
                now += 1;
                (0..2).for_each(|pool| eager.look(pool, now));
            }
            let pools = pools_of(call, patient.subscribed_in());
            pools.iter().for_each(|pool| patient.look(*pool, now));
            pools.iter().for_each(|pool| assert_alike(&patient.wallets[*pool], &eager.wallets[*pool]));
            assert_eq!(patient.call(call, now), eager.call(call, now));
            pools.iter().for_each(|pool| assert_alike(&patient.wallets[*pool], &eager.wallets[*pool]));
        }
    }

    /// Credits that end with their period are followed by the next ones in the same instant: whoever looks, whenever,
    /// finds the whole of what the entry gives for the period that runs.
    #[test]
    fn an_entry_that_nobody_draws_from_is_always_full(
        offer in offers(),
        looks in prop::collection::vec(0..9_i64, 1..12),
        starts_in in -30..5_i64,
        scale in scales(),
    ) {
        let mut offer = Offer { archived: FOREVER, ..offer };
        for entry in offer.plans.iter_mut().flat_map(|plan| &mut plan.entries) {
            (entry.once, entry.per_seat) = (false, false);
            for version in &mut entry.versions {
                (version.lasts, version.amount) = (None, version.amount.max(1));
            }
        }
        let mut run = Run::new(offer.clone(), scale, true);
        run.step(&(10, Call::Provision { plan: 0, starts_in, lasts: None }));
        for look in looks {
            run.model.pass_until(run.model.now + look);
            run.look(0);
            let now = run.model.now;
            for (number, entry) in offer.plans[0].entries.iter().enumerate().filter(|_| now >= 10 + starts_in) {
                let ours = |grant: &&Grant| grant.schedule_id == Some(number as i64) && grant.source == Source::Plan;
                let living = run.world.wallets[0].grants.iter().filter(|grant| grant.status == Status::Active);
                let living: Vec<&Grant> = living.filter(ours).collect();
                assert_eq!(living.len(), 1);
                let begun = entry.versions.iter().rfind(|v| tick(v.from.max(-1000)) <= living[0].effective_at).unwrap();
                assert_eq!(living[0].available().raw(), begun.amount * smallest_amount(scale));
            }
        }
    }
}

const ONCE_A_TEN: Version =
    Version { from: i64::MIN, amount: 6, every: 10, lasts: None, max: 0, percent: 100, periods: 1 };

fn plan_of(versions: Vec<Version>) -> Plan {
    let entry = PlanEntry { versions, once: false, per_seat: true, category: Category::Recurring, priority: 50 };
    let none = PlanEntry { versions: vec![Version { amount: 0, ..ONCE_A_TEN }], ..entry.clone() };
    Plan { entries: vec![entry, none], overdraft: Some(100) }
}

fn agree(plans: [Plan; 2], steps: &[PlanStep]) {
    for late in [false, true] {
        let mut run = Run::new(Offer { plans: plans.clone().into(), archived: FOREVER }, 0, late);
        steps.iter().for_each(|step| run.step(step));
    }
}

fn provision(plan: usize, starts_in: i64) -> Call {
    Call::Provision { plan, starts_in, lasts: None }
}

fn draw(cost: i128) -> Call {
    Call::Pool { other: false, op: Op::Draw { cost, feature: None, cap: false, late: 0 } }
}

/// "With `starts_at` in the past, a period whose credits would be expired leaves no grant", whatever it could have
/// carried over.
#[test]
fn a_late_start_carries_nothing_over() {
    let short = plan_of(vec![Version { lasts: Some(5), max: 9, ..ONCE_A_TEN }]);
    agree([short.clone(), short], &[(0, provision(0, -7)), (20, draw(1))]);
}

#[test]
fn a_late_start_passes_over_all_versions() {
    let versions = plan_of(vec![ONCE_A_TEN, Version { from: 10, every: 2, max: 9, ..ONCE_A_TEN }]);
    agree([versions.clone(), versions], &[(25, provision(0, -25)), (20, draw(1))]);
}

#[test]
fn a_late_start_pays_no_debt_with_what_is_gone() {
    let plan = plan_of(vec![Version { lasts: Some(5), ..ONCE_A_TEN }]);
    let overdraft = Call::Pool { other: false, op: Op::Overdraft(Some(100)) };
    agree([plan.clone(), plan], &[(0, overdraft), (0, draw(4)), (9, provision(0, -7)), (20, draw(1))]);
}

/// "Changes of a plan's entry count from each subscription's next period."
#[test]
fn more_seats_count_by_the_version_of_the_period() {
    let plan = plan_of(vec![ONCE_A_TEN, Version { from: 5, amount: 10, ..ONCE_A_TEN }]);
    agree([plan.clone(), plan], &[(0, provision(0, 0)), (6, Call::Seats(1)), (0, Call::Seats(2)), (20, draw(1))]);
}

/// They end as what was granted for the period ends, also where it was cut short by another cadence.
#[test]
fn more_seats_end_with_the_period() {
    let plan = plan_of(vec![ONCE_A_TEN, Version { from: 5, every: 8, lasts: Some(4), ..ONCE_A_TEN }]);
    agree([plan.clone(), plan], &[(0, provision(0, 0)), (11, Call::Seats(2)), (20, draw(1))]);
}

#[test]
fn more_seats_end_with_what_came_once() {
    let mut once = plan_of(vec![Version { lasts: Some(8), ..ONCE_A_TEN }]);
    once.entries[0].once = true;
    let steps = [(0, provision(0, -4)), (0, provision(1, 0)), (1, Call::Seats(2)), (20, draw(1))];
    agree([plan_of(vec![ONCE_A_TEN]), once], &steps);
}

/// Where the cadence has changed, a period may begin beside the grid; its credits live from there.
#[test]
fn a_period_beside_the_grid_is_not_passed_over_while_it_lives() {
    let newer = Version { from: 7, every: 7, lasts: Some(9), ..ONCE_A_TEN };
    let plan = plan_of(vec![Version { every: 5, ..ONCE_A_TEN }, newer]);
    agree([plan.clone(), plan], &[(0, provision(0, 0)), (18, draw(1))]);
}

/// What a plan gave cannot be had twice by a usage between its end and the next beginning.
#[test]
fn one_instant_has_one_order() {
    let add = Spec {
        category: Category::Paid,
        priority: 50,
        features: vec![],
        amount: 3,
        starts_in: 10,
        lasts: None,
        unpaid: false,
    };
    let plan = plan_of(vec![Version { max: 4, percent: 50, ..ONCE_A_TEN }]);
    let steps = [
        (0, provision(0, 0)),
        (0, Call::Pool { other: false, op: Op::Add(add) }),
        (9, draw(1)),
        (1, draw(15)),
        (10, draw(1)),
        (10, Call::Cancel { ends_in: 10, expire: false }),
        (10, draw(1)),
    ];
    agree([plan.clone(), plan], &steps);
}
