//! The audit: it finds nothing in the books of any pool, and whatever is forged in them.

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::prelude::*;

use super::cases;
use super::operations::{Caller, Op, Past, Step, steps, tick};
use super::wallet::no_plan;
use crate::{
    Amount, Audit, Entry, EntryType, Finding, HoldStatus, Instant, Limit, StoredEntry, StoredGrant, StoredHold,
    StoredPool, Wallet, seal,
};

/// What the tables have of a pool.
#[derive(Clone)]
struct Books {
    pool: StoredPool,
    entries: Vec<StoredEntry>,
    grants: Vec<StoredGrant>,
    holds: Vec<StoredHold>,
    reversals: BTreeMap<i64, String>,
    due: Instant,
}

impl Books {
    fn findings(&self, kept: &[(i64, Vec<u8>)]) -> Vec<Finding> {
        let mut audit = Audit::new(kept.iter().cloned().collect());
        self.entries.iter().for_each(|entry| audit.read(entry));
        audit.check_head(&self.pool);
        audit.check_reversals(&self.reversals);
        audit.check_state(&self.pool, &self.grants, &self.holds);
        audit.check_due(&self.pool, self.due);
        audit.findings()
    }
}

/// Rows of the ledger as the store would write them.
struct Scribe {
    entries: Vec<StoredEntry>,
    reversals: BTreeMap<i64, Amount>,
}

impl Scribe {
    fn write(&mut self, wallet: &Wallet, new: Range<usize>, usage: Option<i64>, now: Instant) {
        let rows = &wallet.entries[new];
        let is_ours = |entry: &&Entry| usage.is_some() && entry.kind.is_usage();
        let credits: i128 = rows.iter().filter(is_ours).map(|entry| -entry.amount.raw()).sum();
        let mut head = true;
        for entry in rows {
            let of_usage = usage.filter(|_| entry.kind.is_usage());
            let brings = matches!(
                entry.kind,
                EntryType::Schedule
                    | EntryType::Grant
                    | EntryType::Update
                    | EntryType::TransferIn
                    | EntryType::RolloverIn
            );
            let grant = entry.grant_id.filter(|_| brings).and_then(|id| wallet.find(id).ok());
            if entry.kind == EntryType::Reverse {
                let given = self.reversals.entry(0).or_default();
                *given = given.checked_add(entry.amount).unwrap();
            }
            let previous = self.entries.last().and_then(|row| row.hash.clone()).unwrap_or_default();
            let mut row = StoredEntry {
                customer_id: "c".into(),
                pool_id: 1,
                seq: entry.seq,
                entry_type: entry.kind.as_str().into(),
                amount: entry.amount.to_string(),
                balance_after: entry.balance_after.to_string(),
                grant_id: entry.grant_id,
                usage_id: of_usage.or((entry.kind == EntryType::Reverse).then_some(0)),
                value: entry.pending.map(|amount| amount.to_string()),
                reservation_id: entry.reservation.as_deref().map(str::to_owned),
                actor: "app".into(),
                effective_at: entry.effective_at.micros(),
                recorded_at: now.micros(),
                credits: of_usage.filter(|_| head).map(|_| Amount::from_raw(credits).to_string()),
                digest: grant.map(|grant| grant.terms_digest()),
                ..StoredEntry::default()
            };
            head &= of_usage.is_none();
            row.hash = Some(seal(&previous, &row.as_sealed()).to_vec());
            self.entries.push(row);
        }
    }
}

/// A pool's books after these steps.
fn live(steps: &[Step]) -> Books {
    let mut wallet = Wallet::open(Limit::Finite(Amount::ZERO), tick(0));
    let mut scribe = Scribe { entries: Vec::new(), reversals: BTreeMap::new() };
    scribe.write(&wallet, 0..1, None, tick(0));
    let (mut now, mut made, mut past, unit) = (0, 0, Past::default(), 10_i128.pow(18));
    for (number, (gap, op)) in steps.iter().enumerate() {
        now += gap;
        let before = wallet.entries.len();
        wallet.advance(tick(now), &mut no_plan).unwrap();
        let due = wallet.entries.len();
        let outcome = Caller { now, unit, made, past: &past }.on_wallet(&mut wallet, op);
        if outcome.is_err() {
            wallet.entries.truncate(due);
        }
        made += i64::from(matches!(op, Op::Add(_)) && outcome.is_ok());
        past.note(op, &outcome, &wallet.entries, due..wallet.entries.len());
        scribe.write(&wallet, before..due, None, tick(now));
        scribe.write(&wallet, due..wallet.entries.len(), Some(1 + number as i64), tick(now));
    }
    let f = wallet.figures;
    let text = |amount: Amount| amount.to_string();
    let pool = StoredPool {
        seq: wallet.seq,
        balance: text(f.balance),
        held: text(f.held),
        unbacked: text(f.unbacked),
        debt: text(f.debt),
        restricted: text(f.restricted),
        granted: text(f.granted),
        consumed: text(f.consumed),
        expired: text(f.expired),
        voided: text(f.voided),
        last_hash: scribe.entries.last().and_then(|row| row.hash.clone()).unwrap(),
        last_recorded_at: tick(now).micros(),
        next_transition_at: wallet.next_transition,
    };
    let grants = wallet.grants.iter().map(|grant| StoredGrant {
        grant_id: grant.id,
        amount: text(grant.amount),
        consumed: text(grant.consumed),
        held: text(grant.held),
        expired: text(grant.expired),
        voided: text(grant.voided),
        status: grant.status.as_str().into(),
        unpaid: grant.unpaid,
        expires_at: grant.expires_at,
        restricted: grant.is_restricted(),
        in_order: true,
        terms_digest: Some(grant.terms_digest()),
    });
    let holds = wallet.holds.iter().map(|hold| StoredHold {
        reservation_id: hold.id.to_string(),
        active: hold.status == HoldStatus::Active,
        amount: {
            let ours = wallet.entries.iter().filter(|e| e.kind == EntryType::Reserve);
            let sum = ours.filter(|e| e.reservation.as_ref() == Some(&hold.id)).map(|e| -e.amount.raw()).sum();
            text(Amount::from_raw(sum))
        },
        held: text(hold.held()),
        charged: text(hold.charged),
        parts: hold.parts.iter().map(|part| (part.grant_id, text(part.amount))).collect(),
    });
    let reversals = scribe.reversals.into_iter().map(|(id, given)| (id, text(given))).collect();
    let due = wallet.earliest_transition();
    Books { pool, grants: grants.collect(), holds: holds.collect(), entries: scribe.entries, reversals, due }
}

/// Another figure than this.
fn another(figure: &mut String) {
    let raw = Amount::parse(figure).unwrap().raw();
    *figure = Amount::from_raw(raw + 1).to_string();
}

fn forge_entry(row: &mut StoredEntry, which: usize) {
    let other = |id: &mut Option<i64>| *id = Some(id.map_or(1, |id| id + 1));
    let text = |text: &mut Option<String>| *text = Some(format!("{}x", text.as_deref().unwrap_or_default()));
    match which % 21 {
        0 => row.entry_type = if row.entry_type == "void" { "expire".into() } else { "void".into() },
        1 => another(&mut row.amount),
        2 => another(&mut row.balance_after),
        3 => other(&mut row.grant_id),
        4 => other(&mut row.usage_id),
        5 => text(&mut row.feature_id),
        6 => text(&mut row.value),
        7 => text(&mut row.reservation_id),
        8 => other(&mut row.recharge_id),
        9 => text(&mut row.idempotency_key),
        10 => row.actor.push('x'),
        11 => text(&mut row.reason),
        12 => text(&mut row.dimensions),
        13 => text(&mut row.metadata),
        14 => row.effective_at += 1,
        15 => row.recorded_at -= 1,
        16 => text(&mut row.credits),
        17 => text(&mut row.shortfall),
        18 => text(&mut row.rate),
        19 => other(&mut row.digest),
        _ => row.hash = None,
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn the_books_of_any_life_are_sound(steps in steps()) {
        let books = live(&steps);
        let kept: Vec<_> = books.entries.iter().map(|row| (row.seq, row.hash.clone().unwrap())).collect();
        prop_assert_eq!(books.findings(&kept), vec![]);
    }

    #[test]
    fn a_forged_row_is_told_where_it_is(steps in steps(), pick: usize, which: usize) {
        let mut books = live(&steps);
        let place = pick % books.entries.len();
        let seq = books.entries[place].seq;
        forge_entry(&mut books.entries[place], which);
        let findings = books.findings(&[]);
        prop_assert!(findings.iter().any(|f| f.problem == "hash" && f.seq == Some(seq)), "{:?}", findings);
    }

    #[test]
    fn rows_that_are_gone_or_change_places_are_told(steps in steps(), pick: usize, swap: bool) {
        let mut books = live(&steps);
        let place = pick % books.entries.len();
        if swap && place > 0 {
            let (one, other) = (books.entries[place - 1].seq, books.entries[place].seq);
            books.entries.swap(place - 1, place);
            (books.entries[place - 1].seq, books.entries[place].seq) = (one, other);
        } else {
            books.entries.remove(place);
        }
        prop_assert!(!books.findings(&[]).is_empty());
    }

    #[test]
    fn a_figure_beside_the_ledger_is_told(steps in steps(), pick: usize, which: usize) {
        let mut books = live(&steps);
        let problem = if let (Some(grant), true) = (pick.checked_rem(books.grants.len()), which % 2 == 0) {
            let grant = &mut books.grants[grant];
            let figures = [&mut grant.amount, &mut grant.consumed, &mut grant.held, &mut grant.expired, &mut grant.voided];
            another(figures.into_iter().nth(which / 2 % 5).unwrap());
            "grant"
        } else {
            let pool = &mut books.pool;
            let figures = [
                &mut pool.balance, &mut pool.held, &mut pool.unbacked, &mut pool.debt, &mut pool.restricted,
                &mut pool.granted, &mut pool.consumed, &mut pool.expired, &mut pool.voided,
            ];
            another(figures.into_iter().nth(which / 2 % 9).unwrap());
            "pool"
        };
        let findings = books.findings(&[]);
        prop_assert!(findings.iter().any(|f| f.problem == problem), "{:?}", findings);
    }

    /// Who knows the form can make any chain anew; a head that was kept shows it.
    #[test]
    fn a_chain_made_anew_meets_the_head_that_was_kept(steps in steps(), pick: usize) {
        let mut books = live(&steps);
        let kept = books.entries.last().map(|row| (row.seq, row.hash.clone().unwrap())).unwrap();
        let place = pick % books.entries.len();
        books.entries[place].actor = "somebody else".into();
        let mut previous = Vec::new();
        for row in &mut books.entries {
            previous = seal(&previous, &row.as_sealed()).to_vec();
            row.hash = Some(previous.clone());
        }
        books.pool.last_hash = previous;
        prop_assert_eq!(books.findings(&[]), vec![]);
        let findings = books.findings(&[kept]);
        prop_assert!(findings.len() == 1 && findings[0].problem == "kept_head", "{:?}", findings);
    }
}
