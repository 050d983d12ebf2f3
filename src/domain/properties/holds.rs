//! Holds and reversals: what they leave as it was, and pools as they were before.

use proptest::prelude::*;

use super::cases;
use super::operations::{Op, Outcome, Past, Step, hold_id, steps, tick};
use super::wallet::{by_id, carry_out, no_plan, prefix};
use crate::{Amount, BookedRows, Category, DrawnPart, Entry, Grant, Limit, OnInsufficient, Refusal, Status, Wallet};

/// Ledger rows as they are read for a look into the past: added up by kind and grant.
fn booked(entries: &[Entry]) -> Vec<BookedRows> {
    let mut sums: Vec<BookedRows> = Vec::new();
    for entry in entries {
        let end_before = entry.change.expires_at.map(|(from, _)| from);
        let priority_before = entry.change.priority.map(|(from, _)| from);
        let of_hold = entry.reservation.is_some();
        let key = (entry.kind, entry.grant_id, of_hold);
        match sums.iter_mut().find(|sum| (sum.kind, sum.grant_id, sum.of_hold) == key) {
            Some(sum) => {
                sum.amount = sum.amount.checked_add(entry.amount).unwrap();
                sum.effective_at = sum.effective_at.min(entry.effective_at);
                // Of the first that changed it.
                sum.end_before = sum.end_before.or(end_before);
                sum.priority_before = sum.priority_before.or(priority_before);
            }
            None => sums.push(BookedRows {
                kind: entry.kind,
                grant_id: entry.grant_id,
                amount: entry.amount,
                effective_at: entry.effective_at,
                of_hold,
                end_before,
                priority_before,
            }),
        }
    }
    sums
}

/// The pool after each tick at which something was done, and in the end.
fn history(mut steps: Vec<Step>) -> (Vec<(i64, Wallet)>, Wallet) {
    let mut pasts: Vec<(i64, Wallet)> = Vec::new();
    for (_, op) in &mut steps {
        // The ledger does not say of a grant that has begun since whether its payment was still awaited then.
        if let Op::Add(spec) = op {
            spec.unpaid = false;
        }
    }
    carry_out(&steps, 1, |wallet, caller, op| {
        wallet.advance(tick(caller.now), &mut no_plan).unwrap();
        // What is voided of a grant that does not count yet has no effect, and the ledger does not say how much it was.
        if let Op::Void { pick, .. } = op
            && wallet.find(caller.picked(*pick)).is_ok_and(|grant| grant.status != Status::Active)
        {
            return Ok(Outcome::Done);
        }
        let outcome = caller.on_wallet(wallet, op);
        pasts.retain(|(then, _)| *then < caller.now);
        pasts.push((caller.now, wallet.clone()));
        outcome
    });
    let last = pasts.last().unwrap().1.clone();
    (pasts, last)
}

proptest! {
    #![proptest_config(cases(4_000))]

    /// And goes on from there as it would have.
    #[test]
    fn a_pool_can_be_seen_as_it_was(steps in steps()) {
        let (pasts, last) = history(steps);
        for (then, before) in &pasts {
            let mut past = last.clone();
            past.holds = before.holds.clone();
            past.rewind(tick(*then), &booked(&last.entries[before.entries.len()..])).unwrap();
            let mut expected = before.clone();
            prop_assert_eq!(past.figures, expected.figures);
            let grants = |wallet: &Wallet| -> Vec<_> {
                let open = by_id(wallet).into_iter().filter(|grant| grant.status == Status::Active);
                open.map(|g| (g.id, g.priority, g.expires_at, [g.consumed, g.held, g.expired, g.voided])).collect()
            };
            prop_assert_eq!(grants(&past), grants(&expected));
            for later in [0, 1, 2, 3, 5, 8, 13, 40] {
                past.advance(tick(then + later), &mut no_plan).unwrap();
                expected.advance(tick(then + later), &mut no_plan).unwrap();
                prop_assert_eq!(past.figures, expected.figures, "{} ticks after {}", later, then);
            }
        }
    }
}

/// Any pool, and the instant at which it is.
fn pools() -> impl Strategy<Value = (i64, Wallet)> {
    let unlimited = |(now, wallet): (i64, Wallet)| (now, Wallet { frozen: false, ceiling: None, ..wallet });
    steps().prop_map(move |steps| unlimited(history(steps).0.pop().unwrap()))
}

fn features() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(&[None, None, Some("a"), Some("b"), Some("c")][..])
}

/// Whatever the ledger says of the way there.
fn assert_alike(one: &Wallet, other: &Wallet) {
    assert_eq!(one.figures, other.figures);
    assert_eq!(by_id(one), by_id(other));
}

/// What the entries from `first` on drew.
fn drawn(wallet: &Wallet, first: usize) -> Vec<DrawnPart> {
    let rows = wallet.entries[first..].iter().filter(|entry| entry.kind.is_usage());
    rows.map(|entry| DrawnPart { grant_id: entry.grant_id, left: -entry.amount }).collect()
}

fn credits(count: i128) -> Amount {
    Amount::from_raw(count)
}

/// All of a usage, the first parts as large as they are said to be.
fn reverse_in_parts(wallet: &mut Wallet, mut drawn: Vec<DrawnPart>, parts: Vec<i128>, now: i64) {
    for part in parts.into_iter().chain([i128::MAX]) {
        let mut back = part.min(drawn.iter().map(|part| part.left.raw()).sum());
        let paid = Past::paid(&wallet.entries);
        wallet.reverse(&drawn, &paid, credits(back), tick(now)).unwrap();
        for part in drawn.iter_mut().rev() {
            let undone = back.min(part.left.raw());
            part.left = credits(part.left.raw() - undone);
            back -= undone;
        }
        assert!(wallet.audit());
    }
    assert!(drawn.iter().all(|part| part.left.is_zero()));
}

proptest! {
    #![proptest_config(cases(1_000))]

    /// Also of a pool that is frozen or at its spending limit, and by a part of its grants.
    #[test]
    fn what_can_be_afforded_is_what_is_drawn(
        steps in steps(),
        cost in 0..40_i128,
        feature in features(),
        cap in any::<bool>(),
        loaded in 0..5_usize,
    ) {
        let (now, mut wallet) = history(steps).0.pop().unwrap();
        let mode = if cap { OnInsufficient::Cap } else { OnInsufficient::Reject };
        let afforded = wallet.afford(credits(cost), feature, mode);
        let part = prefix(&wallet, loaded).afford(credits(cost), feature, mode);
        prop_assert!(part == afforded || part == Err(Refusal::NeedsAllGrants));
        prop_assert_eq!(wallet.draw(credits(cost), feature, mode, tick(now)), afforded);
    }

    #[test]
    fn a_hold_that_is_released_was_nothing((now, before) in pools(), cost in 0..40_i128, feature in features()) {
        let mut wallet = before.clone();
        let id = hold_id(usize::MAX);
        if wallet.reserve(&id, credits(cost), feature, tick(now + 1), tick(now)).is_ok() {
            prop_assert_eq!(wallet.figures.held.raw(), before.figures.held.raw() + cost);
            prop_assert_eq!(wallet.figures.balance.raw(), before.figures.balance.raw() - cost);
            prop_assert_eq!(wallet.release(&id, tick(now)), Ok(credits(cost)));
            assert_alike(&wallet, &before);
            prop_assert_eq!(wallet.release(&id, tick(now)), Err(Refusal::HoldClosed));
        }
    }

    /// In one part or in many.
    #[test]
    fn a_hold_that_is_settled_is_a_usage(
        (now, before) in pools(),
        cost in 0..40_i128,
        feature in features(),
        parts in prop::collection::vec(0..15_i128, 0..4),
    ) {
        let (mut held, mut used) = (before.clone(), before);
        let id = hold_id(usize::MAX);
        let reserved = held.reserve(&id, credits(cost), feature, tick(now + 1), tick(now));
        let drawn = used.draw(credits(cost), feature, OnInsufficient::Reject, tick(now));
        prop_assert_eq!(reserved, drawn.map(|_| ()));
        if reserved.is_ok() {
            let mut rest = cost;
            for part in parts {
                let part = part.min(rest);
                rest -= part;
                held.settle(&id, credits(part), feature, false, tick(now)).unwrap();
                prop_assert_eq!(held.find_hold(&id).unwrap().held(), credits(rest));
            }
            held.settle(&id, credits(rest), feature, true, tick(now)).unwrap();
            prop_assert_eq!(held.find_hold(&id).unwrap().charged, credits(cost));
            assert_alike(&held, &used);
        }
    }

    /// In one part or in many.
    #[test]
    fn a_usage_that_is_reversed_was_nothing(
        (now, before) in pools(),
        cost in 1..40_i128,
        feature in features(),
        parts in prop::collection::vec(1..15_i128, 0..4),
    ) {
        let mut wallet = before.clone();
        let taken = wallet.draw(credits(cost), feature, OnInsufficient::Cap, tick(now)).unwrap().credits.raw();
        prop_assert_eq!(wallet.figures.balance.raw(), before.figures.balance.raw() - taken);
        let drawn = drawn(&wallet, before.entries.len());
        reverse_in_parts(&mut wallet, drawn, parts, now);
        assert_alike(&wallet, &before);
    }

    /// Also where it was more than was held, and its debt has been paid since.
    #[test]
    fn a_settlement_that_is_reversed_was_nothing(
        (now, before) in pools(),
        (cost, beyond) in (0..20_i128, 0..20_i128),
        feature in features(),
        close in any::<bool>(),
        grants in prop::collection::vec(1..9_i128, 0..4),
        parts in prop::collection::vec(1..15_i128, 0..6),
    ) {
        let mut expected = Wallet { overdraft: Limit::Unlimited, ..before };
        let mut wallet = expected.clone();
        let id = hold_id(usize::MAX);
        wallet.reserve(&id, credits(cost), feature, tick(now + 1), tick(now)).unwrap();
        let first = wallet.entries.len();
        wallet.settle(&id, credits(cost + beyond), feature, close, tick(now)).unwrap();
        let drawn = drawn(&wallet, first);
        for (amount, id) in grants.into_iter().zip(1_000..) {
            for pool in [&mut wallet, &mut expected] {
                let grant = Grant::new(id, credits(amount), Category::Paid, 50, tick(now), tick(now));
                pool.add(grant, false, tick(now)).unwrap();
            }
        }
        reverse_in_parts(&mut wallet, drawn, parts, now);
        assert_alike(&wallet, &expected);
    }

    /// What is asked for beyond what there is to reverse is refused.
    #[test]
    fn no_more_is_reversed_than_was_drawn((now, before) in pools(), cost in 1..40_i128, more in 1..10_i128) {
        let mut wallet = before.clone();
        let taken = wallet.draw(credits(cost), None, OnInsufficient::Cap, tick(now)).unwrap().credits.raw();
        let drawn = drawn(&wallet, before.entries.len());
        let paid = Past::paid(&wallet.entries);
        prop_assert_eq!(wallet.reverse(&drawn, &paid, credits(taken + more), tick(now)), Err(Refusal::Overflow));
    }

    /// The payments of debt have to be told: nothing is made up for those that are not.
    #[test]
    fn debt_that_was_paid_is_not_reversed_without_its_payments((now, before) in pools(), cost in 1..40_i128, pays in 1..40_i128) {
        let mut wallet = Wallet { overdraft: Limit::Unlimited, ..before };
        let first = wallet.entries.len();
        wallet.draw(credits(cost), None, OnInsufficient::Reject, tick(now)).unwrap();
        let drawn = drawn(&wallet, first);
        let grant = Grant::new(1_000, credits(pays), Category::Paid, 50, tick(now), tick(now));
        wallet.add(grant, false, tick(now)).unwrap();
        let owed: i128 = drawn.iter().filter(|part| part.grant_id.is_none()).map(|part| part.left.raw()).sum();
        let expected = if owed > wallet.figures.debt.raw() { Err(Refusal::Overflow) } else { Ok(()) };
        prop_assert_eq!(wallet.reverse(&drawn, &[], credits(cost), tick(now)), expected);
    }
}
