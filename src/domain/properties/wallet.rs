//! The wallet against the model, and what holds for it at any time.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::cases;
use super::model::{Lot, Model};
use super::operations::{Caller, Op, Outcome, Past, Spec, Step, hold_id, specs, steps, tick, tick_or_never, units};
use crate::{
    Amount, Category, Grant, GrantChange, Hold, HoldStatus, Instant, Limit, OnInsufficient, Refusal, Status, Wallet,
};

/// The clock makes grants for plans only.
pub fn no_plan() -> i64 {
    unreachable!("there are no plans here")
}

pub fn by_id(wallet: &Wallet) -> Vec<Grant> {
    let mut grants: Vec<Grant> = wallet.grants.iter().map(|g| Grant { dirty: false, ..g.clone() }).collect();
    grants.sort_by_key(|g| g.id);
    grants
}

fn holds(wallet: &Wallet) -> Vec<Hold> {
    wallet.holds.iter().map(|hold| Hold { dirty: false, fresh: false, ..hold.clone() }).collect()
}

/// The same in everything that is kept, whatever the order in memory.
fn assert_same(one: &Wallet, other: &Wallet) {
    assert_eq!(one.figures, other.figures);
    assert_eq!(holds(one), holds(other));
    assert_eq!(by_id(one), by_id(other));
    assert_eq!(one.entries, other.entries);
    assert_eq!((one.seq, one.overdraft, one.frozen), (other.seq, other.overdraft, other.frozen));
    assert_eq!((one.next_transition, one.all_loaded), (other.next_transition, other.all_loaded));
}

fn assert_as_model(wallet: &Wallet, model: &Model, rows_seen: usize) {
    assert_eq!(wallet.figures, model.figures());
    assert_eq!(by_id(wallet), model.lots.iter().map(|lot| lot.grant(model.unit)).collect::<Vec<_>>());
    assert_eq!(
        holds(wallet),
        model.holds.iter().enumerate().map(|(n, held)| held.hold(n, model.unit)).collect::<Vec<_>>()
    );
    assert_eq!(wallet.entries.len(), model.rows.len());
    assert_eq!(model.rows.last().unwrap().balance, model.balance());
    for (entry, row) in wallet.entries.iter().zip(&model.rows).skip(rows_seen) {
        let found = (entry.kind, entry.amount, entry.balance_after, entry.grant_id, entry.effective_at);
        let expected = (row.kind, model.credits(row.amount), model.credits(row.balance), row.grant, tick(row.at));
        assert_eq!(found, expected);
        assert_eq!(entry.reservation, row.hold.map(hold_id));
        let ends = row.ends.map(|(from, to)| (tick_or_never(from), tick_or_never(to)));
        assert_eq!(entry.change, GrantChange { priority: row.priority, expires_at: ends });
    }
    let next_event = model.lots.iter().filter_map(|lot| lot.next_event()).chain(model.next_time_out()).min();
    assert!(wallet.next_transition <= next_event.map_or(Instant::INFINITY, tick), "would sleep past an event");
}

/// What holds for every pool, `rows_seen` of whose entries have been looked at before.
pub fn assert_sound(wallet: &Wallet, rows_seen: usize) {
    assert!(wallet.audit());
    let figures = wallet.figures;
    let sum = |what: fn(&Grant) -> i128| wallet.grants.iter().map(what).sum::<i128>();
    let taken = figures.consumed.raw() + figures.expired.raw() + figures.voided.raw();
    assert_eq!(figures.balance.raw(), figures.granted.raw() - taken - figures.held.raw() - figures.debt.raw());
    let free = figures.balance.raw() + figures.debt.raw() + figures.unbacked.raw();
    assert_eq!(free, sum(|g| g.available().raw()));
    assert_eq!(figures.restricted.raw(), sum(|g| if g.is_restricted() { g.available().raw() } else { 0 }));
    assert!(!figures.debt.is_negative());
    if figures.debt.is_positive() {
        assert_eq!(sum(|g| if g.is_restricted() { 0 } else { g.available().raw() }), 0, "debt beside free credits");
    }
    for grant in &wallet.grants {
        let parts = [grant.consumed, grant.held, grant.expired, grant.voided].map(Amount::raw);
        assert!(parts.iter().all(|part| *part >= 0) && parts.iter().sum::<i128>() <= grant.amount.raw());
        let closed = matches!(grant.status, Status::Depleted | Status::Voided | Status::Expired);
        assert_eq!(closed, grant.unheld().is_zero() && (grant.status != Status::Active || grant.held.is_zero()));
    }
    assert_eq!(wallet.entries.last().unwrap().balance_after, figures.balance);
    assert_eq!(wallet.entries.len() as i64, wallet.seq);
    for (index, entry) in wallet.entries.iter().enumerate().skip(rows_seen) {
        let before = index.checked_sub(1).map_or(0, |i| wallet.entries[i].balance_after.raw());
        assert_eq!((entry.seq, entry.amount.raw()), (index as i64 + 1, entry.balance_after.raw() - before));
    }
}

/// What holds between a pool before and after an operation.
fn assert_follows(before: &Wallet, after: &Wallet, op: &Op) {
    if let Limit::Finite(limit) = after.overdraft {
        let overdrawn = |wallet: &Wallet| wallet.figures.debt.raw() + wallet.figures.unbacked.raw();
        assert!(overdrawn(after) <= limit.raw().max(overdrawn(before)), "beyond the overdraft");
    }
    if !matches!(op, Op::Overdraft(_)) {
        assert_eq!(before.overdraft, after.overdraft);
    }
    for grant in &after.grants {
        let unchanged = before.find(grant.id).is_ok_and(|old| Grant { dirty: grant.dirty, ..old.clone() } == *grant);
        let waits = before.find(grant.id).is_err() && grant.status != Status::Active;
        assert!(unchanged || waits || grant.dirty, "a change that would not be written: {grant:?}");
    }
    for hold in &after.holds {
        let old = before.find_hold(&hold.id);
        let unchanged = old.is_some_and(|old| Hold { dirty: hold.dirty, fresh: hold.fresh, ..old.clone() } == *hold);
        assert!(
            unchanged || hold.dirty || (old.is_none() && hold.fresh),
            "a change that would not be written: {hold:?}"
        );
    }
}

fn clean(wallet: &mut Wallet) {
    wallet.grants.iter_mut().for_each(|g| g.dirty = false);
    wallet.holds.iter_mut().for_each(|hold| (hold.fresh, hold.dirty) = (false, false));
}

/// Carries out the steps, as calls do: first what is due, then the operation.
pub fn carry_out(
    steps: &[Step],
    unit: i128,
    mut each: impl FnMut(&mut Wallet, Caller, &Op) -> Result<Outcome, Refusal>,
) {
    let mut wallet = Wallet::open(Limit::Finite(Amount::ZERO), tick(0));
    let (mut now, mut made, mut past) = (0, 0, Past::default());
    for (gap, op) in steps {
        now += gap;
        let before = wallet.entries.len();
        let outcome = each(&mut wallet, Caller { now, unit, made, past: &past }, op);
        past.note(op, &outcome, &wallet.entries, before..wallet.entries.len());
        made += i64::from(matches!(op, Op::Add(_)));
    }
}

/// The first `count` active grants in burn order, as a call loads them that hopes for the best.
pub fn prefix(wallet: &Wallet, count: usize) -> Wallet {
    let mut part = wallet.clone();
    part.grants.retain(|g| g.status == Status::Active);
    part.grants.sort_by(Grant::burn_order);
    part.grants.truncate(count);
    part.holds.clear();
    (part.all_loaded, part.prefix_loaded) = (false, true);
    part
}

/// What came out of the part as out of the whole.
fn assert_part_of(part: &Wallet, whole: &Wallet) {
    assert_eq!((part.figures, part.seq), (whole.figures, whole.seq));
    assert_eq!(part.entries, whole.entries);
    for hold in holds(part) {
        assert_eq!(Some(&hold), holds(whole).iter().find(|other| other.id == hold.id));
    }
    for grant in by_id(part) {
        assert_eq!(Some(&grant), by_id(whole).iter().find(|g| g.id == grant.id));
    }
}

/// Calls load what they name, whatever its state and its place: a grant, a hold with the grants that back it, or all
/// that a usage is to be given back to.
fn load_named(part: &mut Wallet, whole: &Wallet, caller: Caller, op: &Op) {
    let mut grants = Vec::new();
    match op {
        Op::Void { pick, .. } | Op::Confirm { pick } | Op::Update { pick, .. } => grants.push(caller.picked(*pick)),
        Op::Settle { pick, .. } | Op::Release { pick } | Op::Extend { pick, .. } => {
            let hold = whole.find_hold(&caller.picked_hold(*pick)).filter(|hold| hold.status == HoldStatus::Active);
            let Some(hold) = hold else { return };
            grants.extend(hold.parts.iter().filter_map(|part| part.grant_id));
            if part.find_hold(&hold.id).is_none() {
                part.holds.push(hold.clone());
            }
        }
        Op::Reverse { pick, .. } => {
            let (parts, paid) = caller.reversible(whole, *pick).unwrap_or_default();
            grants.extend(parts.iter().filter_map(|part| part.grant_id));
            grants.extend(paid.iter().map(|payment| payment.grant_id));
        }
        _ => {}
    }
    for id in grants {
        if let (Err(_), Ok(grant)) = (part.find(id), whole.find(id)) {
            part.push(grant.clone());
        }
    }
}

/// In words, what first tells two grants apart in the order of consumption.
fn what_decides(lot: &Lot, other: &Lot) -> &'static str {
    let promotional = |lot: &Lot| lot.category == Category::Promotional;
    let differences = [
        (lot.priority != other.priority, "its priority is lower"),
        (lot.features.is_empty() != other.features.is_empty(), "it is limited to features"),
        (lot.ends != other.ends, "it expires earlier"),
        (promotional(lot) != promotional(other), "it is promotional"),
        (lot.starts != other.starts, "it began earlier"),
        (true, "it was made earlier"),
    ];
    differences.iter().find(|(differs, _)| *differs).map(|(_, why)| *why).unwrap()
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn the_wallet_does_what_the_model_does(steps in steps(), unit in units()) {
        let mut model = Model::open(unit);
        carry_out(&steps, unit, |wallet, caller, op| {
            let rows_seen = wallet.entries.len();
            let before = wallet.clone();
            clean(wallet);
            model.pass_until(caller.now);
            let due = model.rows.len() > rows_seen;
            assert_eq!(wallet.advance(tick(caller.now), &mut no_plan), Ok(due || before.next_transition <= tick(caller.now)));
            assert_as_model(wallet, &model, rows_seen);
            assert_follows(&before, wallet, op);

            let before = wallet.clone();
            clean(wallet);
            let outcome = caller.on_wallet(wallet, op);
            assert_eq!(outcome, caller.on_model(&mut model, op));
            if outcome.is_err() {
                assert_same(wallet, &before);
            }
            assert_as_model(wallet, &model, rows_seen);
            assert_sound(wallet, rows_seen);
            assert_follows(&before, wallet, op);
            outcome
        });
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn advancing_at_once_equals_advancing_through_every_instant(steps in steps()) {
        let mut patient = Wallet::open(Limit::Finite(Amount::ZERO), tick(0));
        let mut last = 0;
        carry_out(&steps, 1, |wallet, caller, op| {
            for now in last..=caller.now {
                patient.advance(tick(now), &mut no_plan).unwrap();
            }
            last = caller.now;
            wallet.advance(tick(caller.now), &mut no_plan).unwrap();
            // A wallet that has not looked for a while may wake up too early, never too late.
            assert!(wallet.next_transition <= wallet.earliest_transition());
            assert!(patient.next_transition <= patient.earliest_transition());
            wallet.next_transition = wallet.earliest_transition();
            patient.next_transition = patient.earliest_transition();
            assert_same(wallet, &patient);
            let outcome = caller.on_wallet(wallet, op);
            assert_eq!(outcome, caller.on_wallet(&mut patient, op));
            assert_same(wallet, &patient);
            outcome
        });
    }

    #[test]
    fn advancing_twice_is_advancing_once(steps in steps()) {
        carry_out(&steps, 1, |wallet, caller, op| {
            wallet.advance(tick(caller.now), &mut no_plan).unwrap();
            let once = wallet.clone();
            assert_eq!(wallet.advance(tick(caller.now), &mut no_plan), Ok(false));
            assert_same(wallet, &once);
            caller.on_wallet(wallet, op)
        });
    }

    #[test]
    fn a_part_of_the_grants_answers_like_all_or_asks_for_them(steps in steps(), count in 0..5_usize) {
        carry_out(&steps, 1, |wallet, caller, op| {
            let mut part = prefix(wallet, count);
            let untouched = part.clone();
            match part.advance(tick(caller.now), &mut no_plan) {
                Ok(due) => assert_eq!(wallet.advance(tick(caller.now), &mut no_plan), Ok(due)),
                refusal => {
                    assert_eq!(refusal, Err(Refusal::NeedsAllGrants));
                    assert_same(&part, &untouched);
                    wallet.advance(tick(caller.now), &mut no_plan).unwrap();
                    part = prefix(wallet, count);
                }
            }
            assert_part_of(&part, wallet);
            load_named(&mut part, wallet, caller, op);
            let untouched = part.clone();
            let outcome = caller.on_wallet(wallet, op);
            match caller.on_wallet(&mut part, op) {
                Err(Refusal::NeedsAllGrants) => assert_same(&part, &untouched),
                answer => {
                    assert_eq!(answer, outcome);
                    assert_part_of(&part, wallet);
                }
            }
            outcome
        });
    }

    #[test]
    fn a_part_of_the_grants_stays_right_over_several_operations(steps in steps(), count in 0..5_usize) {
        let mut kept: Option<Wallet> = None;
        carry_out(&steps, 1, |wallet, caller, op| {
            let mut part = kept.take().unwrap_or_else(|| prefix(wallet, count));
            let advanced = part.advance(tick(caller.now), &mut no_plan);
            wallet.advance(tick(caller.now), &mut no_plan).unwrap();
            if advanced.is_err() {
                return caller.on_wallet(wallet, op);
            }
            load_named(&mut part, wallet, caller, op);
            let outcome = caller.on_wallet(wallet, op);
            let answer = caller.on_wallet(&mut part, op);
            if answer != Err(Refusal::NeedsAllGrants) {
                assert_eq!(answer, outcome);
                assert_part_of(&part, wallet);
                kept = Some(part);
            }
            outcome
        });
    }

    #[test]
    fn a_payment_confirmed_again_is_the_same_success(spec in specs(), used in 0..20_i128, void in any::<bool>(), later in 0..20_i64) {
        let mut wallet = Wallet::open(Limit::Finite(Amount::ZERO), tick(0));
        let caller = Caller { now: 0, unit: 1, made: 0, past: &Past::default() };
        caller.on_wallet(&mut wallet, &Op::Add(Spec { unpaid: true, ..spec })).unwrap();
        assert_eq!(wallet.confirm(1, tick(0)), Ok(true));
        let _ = wallet.draw(Amount::from_raw(used), Some("a"), OnInsufficient::Cap, tick(0));
        if void {
            wallet.void(1, None, tick(0)).unwrap();
        }
        wallet.advance(tick(later), &mut no_plan).unwrap();
        let before = wallet.clone();
        prop_assert_eq!(wallet.confirm(1, tick(later)), Ok(false));
        assert_same(&wallet, &before);
    }

    #[test]
    fn the_burn_order_is_total_and_the_contracts(specs in prop::collection::vec((specs(), -3..3_i64), 3)) {
        let lots: Vec<_> = specs.iter().zip(1..).map(|((spec, made), id)| spec.lot(id, *made)).collect();
        let grants: Vec<Grant> = lots.iter().map(|lot| lot.grant(1)).collect();
        for (lot, grant) in lots.iter().zip(&grants) {
            for (other_lot, other) in lots.iter().zip(&grants) {
                let expected = match (lot.comes_before(other_lot), other_lot.comes_before(lot)) {
                    (true, false) => Ordering::Less,
                    (false, true) => Ordering::Greater,
                    both => {
                        assert!(!both.0 && lot.id == other_lot.id);
                        Ordering::Equal
                    }
                };
                prop_assert_eq!(grant.burn_order(other), expected);
                if expected.is_lt() {
                    let reason = what_decides(lot, other_lot);
                    prop_assert_eq!(grant.why_before(other), reason);
                }
            }
        }
        let [a, b, c] = &grants[..] else { unreachable!() };
        if a.burn_order(b).is_lt() && b.burn_order(c).is_lt() {
            prop_assert!(a.burn_order(c).is_lt());
        }
    }

}

proptest! {
    #![proptest_config(cases(200))]

    /// Sums leave the range in the end: that is a refusal, and until then everything is sound.
    #[test]
    fn the_largest_amounts_end_in_a_refusal(costs in prop::collection::vec(10_i128.pow(35)..10_i128.pow(36), 1..200)) {
        let mut wallet = Wallet::open(Limit::Unlimited, tick(0));
        let (mut made, mut past) = (0, Past::default());
        let largest = Spec {
            category: Category::Paid,
            priority: 50,
            features: vec![],
            amount: 10_i128.pow(36) - 1,
            starts_in: 0,
            lasts: None,
            unpaid: false,
        };
        for cost in costs {
            let op = match cost % 9 {
                0 | 1 => Op::Add(Spec { features: vec!["a"], ..largest.clone() }),
                2 | 3 => Op::Add(largest.clone()),
                4 | 5 => Op::Draw { cost, feature: None, cap: false, late: 0 },
                6 => Op::Reserve { cost, feature: Some("a"), lasts: 1 },
                7 => Op::Settle { pick: (cost / 9 % 5) as usize, charge: Some(cost), close: cost / 90 % 2 == 0 },
                _ => Op::Reverse { pick: (cost / 9 % 5) as usize, credits: None },
            };
            let (before, first) = (wallet.clone(), wallet.entries.len());
            let outcome = Caller { now: 0, unit: 1, made, past: &past }.on_wallet(&mut wallet, &op);
            past.note(&op, &outcome, &wallet.entries, first..wallet.entries.len());
            match outcome {
                Ok(_) => assert_sound(&wallet, wallet.entries.len() - 1),
                Err(Refusal::HoldClosed) => {}
                Err(refusal) => {
                    prop_assert_eq!(refusal, Refusal::Overflow);
                    // In a batch what is refused is left out, and the others go on.
                    if matches!(op, Op::Draw { .. } | Op::Reserve { .. }) {
                        assert_same(&wallet, &before);
                    }
                    break;
                }
            }
            made += i64::from(matches!(op, Op::Add(_)));
        }
    }
}
