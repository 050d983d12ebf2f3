//! Schedules in real zones against naive scans of their periods, and with absurd values.

use proptest::prelude::*;

use super::calendar::{DAY, HOUR, instants, spans, zone, zones};
use super::cases;
use crate::{
    Amount, Cadence, Category, EntryTerms, Grant, Instant, Limit, OnInsufficient, Period, Rollover, Schedule, Source,
    Span, Wallet, Zone,
};

/// The most that an amount from outside can be.
const MOST: i128 = 10_i128.pow(36) - 1;

fn terms(every: Option<Span>, expires_after: Option<Span>) -> EntryTerms {
    EntryTerms {
        effective_at: Instant::NEG_INFINITY,
        amount: Amount::ONE,
        category: Category::Recurring,
        priority: 50,
        cadence: Cadence { every, expires_after },
        rollover: Rollover::NONE,
    }
}

fn schedule(zone: Zone, anchor: Instant, terms: Vec<EntryTerms>) -> Schedule {
    Schedule {
        id: 1,
        zone,
        anchor,
        ends_at: Instant::INFINITY,
        archived_at: Instant::INFINITY,
        cut_at_end: false,
        terms,
        scale: 18,
        overdraft: Limit::Finite(Amount::ZERO),
        next_at: anchor,
        not_before: Instant::NEG_INFINITY,
        granted: None,
        period: None,
        begun_at: Instant::NEG_INFINITY,
        running: true,
        dirty: false,
    }
}

/// "cadence under an hour: 22023".
fn cadences() -> impl Strategy<Value = Span> {
    spans().prop_map(|span| Span { micros: if span.micros == 0 { 0 } else { span.micros.max(HOUR) }, ..span })
}

fn lives() -> impl Strategy<Value = Option<Span>> {
    prop_oneof![Just(None), cadences().prop_map(Some)]
}

/// Some time in the first periods of a cadence.
fn within(anchor: Instant, every: Span, periods: i64, part: u16) -> Instant {
    anchor.plus_micros(
        (every.nominal_micros() * periods).saturating_add(every.nominal_micros() / 65_536 * i64::from(part)),
    )
}

/// The boundaries up to `now` and the first beyond. A day that the zone skipped has no length, and so no period.
fn boundaries(zone: &Zone, anchor: Instant, every: Span, now: Instant) -> Vec<Instant> {
    let mut all = vec![anchor];
    for step in 1.. {
        let next = zone.step(anchor, every, step).unwrap();
        if *all.last().unwrap() == next {
            continue;
        }
        let beyond = *all.last().unwrap() > now;
        if beyond {
            break;
        }
        all.push(next);
    }
    all
}

/// All that is granted up to `now`, boundary after boundary.
fn take_all(schedule: &mut Schedule, now: Instant) -> Vec<Period> {
    let mut all = vec![];
    while schedule.next_transition() <= now && schedule.ends_at > schedule.next_transition() {
        all.extend(schedule.take_period());
    }
    all
}

fn living(periods: &[Period], now: Instant) -> Vec<Period> {
    periods.iter().filter(|period| period.expires_at > now).copied().collect()
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn periods_are_the_anchor_and_whole_cadences(
        name in zones(),
        anchor in instants(),
        every in cadences(),
        count in 1..40_i64,
    ) {
        let zone = zone(name);
        let mut schedule = schedule(zone.clone(), anchor, vec![terms(Some(every), None)]);
        let now = within(anchor, every, count, 0);
        let boundaries = boundaries(&zone, anchor, every, now);
        let taken = take_all(&mut schedule, now);
        let found: Vec<_> = taken.iter().map(|period| (period.start, period.effective_at, period.expires_at)).collect();
        let expected: Vec<_> = boundaries.windows(2).map(|pair| (pair[0], pair[0], pair[1])).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(schedule.next_at, *boundaries.last().unwrap());
    }

    /// "A period whose credits would be expired leaves no grant"; "every still valid earlier period leaves its own".
    #[test]
    fn a_start_in_the_past_leaves_the_living_periods(
        name in zones(),
        anchor in instants(),
        every in cadences(),
        life in lives(),
        periods in 0..40_i64,
        part in any::<u16>(),
    ) {
        let zone = zone(name);
        let now = within(anchor, every, periods, part);
        let expected: Vec<_> = boundaries(&zone, anchor, every, now)
            .windows(2)
            .map(|pair| (pair[0], life.map_or(pair[1], |life| zone.step(pair[0], life, 1).unwrap())))
            .filter(|(start, expires)| *start <= now && *expires > now)
            .collect();
        let mut schedule = schedule(zone, anchor, vec![terms(Some(every), life)]);
        schedule.begin(now);
        if let Some((first, _)) = expected.first() {
            prop_assert_eq!(schedule.next_at, *first);
        }
        let found = living(&take_all(&mut schedule, now), now);
        prop_assert_eq!(found.iter().map(|p| (p.start, p.expires_at)).collect::<Vec<_>>(), expected);
    }

    /// Passing over what is gone changes nothing of what lives, whatever versions the entry has had.
    #[test]
    fn what_is_passed_over_is_gone(
        name in zones(),
        anchor in instants(),
        versions in prop::collection::vec((cadences(), lives(), 0..30_i64, any::<u16>()), 1..4),
        periods in 0..30_i64,
        part in any::<u16>(),
        (ends_in, cut) in (prop::option::of(0..30_i64), any::<bool>()),
    ) {
        let mut all = vec![];
        let mut from = anchor;
        for (every, life, after, part) in versions {
            let effective_at = if all.is_empty() { Instant::NEG_INFINITY } else { from };
            all.push(EntryTerms { effective_at, ..terms(Some(every), life) });
            from = within(from, every, after, part);
        }
        let last = all.last().unwrap().cadence.every.unwrap();
        let now = within(all.last().unwrap().effective_at.max(anchor), last, periods, part);
        // The periods are walked one by one: not too many of them.
        let shortest = all.iter().map(|terms| terms.cadence.every.unwrap().nominal_micros()).min().unwrap();
        let now = now.min(anchor.plus_micros(shortest.saturating_mul(300)));
        let mut eager = schedule(zone(name), anchor, all);
        eager.cut_at_end = cut;
        eager.ends_at = ends_in.map_or(Instant::INFINITY, |n| within(anchor, last, n, part));
        let mut patient = eager.clone();
        let expected = living(&take_all(&mut eager, now), now);
        let mut found = vec![];
        while patient.next_transition() <= now && patient.ends_at > patient.next_transition() {
            let Some(period) = patient.take_period() else { continue };
            found.push(period);
            if period.expires_at <= now {
                patient.skip_expired(now);
            }
        }
        prop_assert_eq!(living(&found, now), expected);
        if eager.ends_at > now {
            prop_assert_eq!((patient.next_at, patient.granted), (eager.next_at, eager.granted));
        }
    }

    /// Without an expiry of their own, the credits of one period end when the next ones come, also where the cadence
    /// changes.
    #[test]
    fn there_is_no_gap_between_two_periods(
        name in zones(),
        anchor in instants(),
        versions in prop::collection::vec((cadences(), 0..10_i64, any::<u16>()), 1..4),
    ) {
        let mut all = vec![];
        let mut from = anchor;
        for (every, after, part) in versions {
            let effective_at = if all.is_empty() { Instant::NEG_INFINITY } else { from };
            all.push(EntryTerms { effective_at, ..terms(Some(every), None) });
            from = within(from, every, after, part);
        }
        let mut schedule = schedule(zone(name), anchor, all);
        let mut end = anchor;
        for _ in 0..60 {
            let period = schedule.take_period().unwrap();
            prop_assert_eq!((period.start, period.effective_at), (end, end));
            prop_assert!(period.expires_at > period.start);
            end = period.expires_at;
        }
    }

    /// "The new plan's entries grant for the current period from now on, unless that plan's entry has granted for this
    /// period."
    #[test]
    fn a_plan_that_comes_back_grants_the_period_that_runs_once(
        name in zones(),
        anchor in instants(),
        every in cadences(),
        taken in 0..10_i64,
        away in 0..10_i64,
        part in any::<u16>(),
    ) {
        let zone = zone(name);
        let left = within(anchor, every, taken, 0);
        let mut schedule = schedule(zone.clone(), anchor, vec![terms(Some(every), None)]);
        let before = if taken == 0 { vec![] } else { take_all(&mut schedule, left) };
        schedule.stop();
        prop_assert_eq!(schedule.next_transition(), Instant::INFINITY);
        let now = within(left, every, away, part);
        schedule.resume(now);
        let boundaries = boundaries(&zone, anchor, every, now);
        let current = boundaries.windows(2).rfind(|pair| pair[0] <= now).unwrap();
        let found = take_all(&mut schedule, now);
        if before.iter().any(|period| period.start == current[0]) {
            prop_assert_eq!(found, vec![]);
        } else {
            let found: Vec<_> = found.iter().map(|p| (p.start, p.effective_at, p.expires_at)).collect();
            prop_assert_eq!(found, vec![(current[0], now, current[1])]);
        }
        prop_assert_eq!(schedule.next_transition(), current[1]);
    }
}

/// Anything that a column can hold, often at an end of the calendar.
fn absurd_instants() -> impl Strategy<Value = Instant> {
    let year = 365 * DAY;
    prop_oneof![
        2 => -20 * year..60 * year,
        // The years -4000 and 9999, and where PostgreSQL's time ends.
        1 => -6010 * year..-5990 * year,
        1 => 7990 * year..8010 * year,
        1 => 290_000 * year..292_270 * year,
        1 => any::<i64>().prop_map(|at| at.clamp(i64::MIN + 1, i64::MAX - 1)),
    ]
    .prop_map(Instant::from_micros)
}

fn absurd_spans() -> impl Strategy<Value = Span> {
    prop_oneof![
        cadences(),
        Just(Span { months: 12_000, ..Span::default() }),
        Just(Span { months: i32::MAX, days: i32::MAX, micros: i64::MAX }),
        (1..i32::MAX, 0..i32::MAX, 0..i64::MAX).prop_map(|(months, days, micros)| Span { months, days, micros }),
        (0..i32::MAX, HOUR..i64::MAX).prop_map(|(days, micros)| Span { months: 0, days, micros }),
    ]
}

fn absurd_terms() -> impl Strategy<Value = EntryTerms> {
    let amounts = || prop_oneof![Just(0), Just(1), Just(MOST), 0..=MOST].prop_map(Amount::from_raw);
    let percent = prop_oneof![Just(100 * 10_i128.pow(18)), 0..=100 * 10_i128.pow(18)].prop_map(Amount::from_raw);
    let periods = prop_oneof![1..4_i64, Just(i64::from(i32::MAX)), Just(i64::MAX), Just(0)];
    let every = prop::option::weighted(0.9, absurd_spans());
    let rollover = (amounts(), percent, periods).prop_map(|(max, percent, periods)| Rollover { max, percent, periods });
    (absurd_instants(), amounts(), every, prop::option::of(absurd_spans()), rollover).prop_map(
        |(effective_at, amount, every, expires_after, rollover)| EntryTerms {
            effective_at,
            amount,
            rollover,
            ..terms(every, expires_after)
        },
    )
}

/// Of a scheduled grant.
fn waiting(id: i64, starts: Instant, now: Instant) -> Grant {
    Grant::new(id, Amount::from_raw(MOST), Category::Paid, 50, starts, now)
}

proptest! {
    #![proptest_config(cases(1_000))]

    /// A pool that refuses to be advanced could never be used again.
    #[test]
    fn nothing_is_absurd_enough_to_stop_a_pool(
        name in zones(),
        anchor in absurd_instants(),
        entries in prop::collection::vec(prop::collection::vec(absurd_terms(), 1..3), 1..4),
        mut times in prop::collection::vec(absurd_instants(), 1..6),
        (ends_at, archived_at) in (prop::option::of(absurd_instants()), prop::option::of(absurd_instants())),
        (cut, resumed) in (any::<bool>(), any::<bool>()),
        scale in 0..=18_u32,
    ) {
        times.sort();
        let elapsed = times.last().unwrap().micros().saturating_sub(anchor.micros().min(times[0].micros()));
        // Hours from here to the end of time are too many to be waited for.
        let fits = |span: Span| span.nominal_micros() > elapsed / 50;
        let mut wallet = Wallet::open(Limit::Unlimited, times[0]);
        for (id, mut versions) in entries.into_iter().enumerate() {
            versions.sort_by_key(|terms| terms.effective_at);
            versions[0].effective_at = Instant::NEG_INFINITY;
            for terms in &mut versions {
                terms.cadence.every = terms.cadence.every.filter(|every| fits(*every));
            }
            let mut schedule = schedule(zone(name), anchor, versions);
            schedule.ends_at = ends_at.unwrap_or(Instant::INFINITY);
            schedule.archived_at = archived_at.unwrap_or(Instant::INFINITY);
            (schedule.id, schedule.scale, schedule.cut_at_end) = (id as i64, scale, cut);
            if resumed {
                schedule.resume(times[0]);
            } else {
                schedule.begin(times[0]);
            }
            wallet.schedules.push(schedule);
        }
        let mut id = 0;
        let mut next_id = || {
            id += 1;
            id
        };
        let all = (0..wallet.schedules.len() as i64).collect();
        for (index, now) in times.into_iter().enumerate() {
            wallet.watch(wallet.earliest_transition());
            wallet.advance(now, &mut next_id).unwrap();
            prop_assert!(wallet.audit() && wallet.next_transition > now);
            for schedule in &mut wallet.schedules {
                schedule.terms.iter_mut().for_each(|terms| terms.amount = Amount::from_raw(MOST));
            }
            let _ = wallet.top_up(&all, now, &mut next_id);
            prop_assert!(wallet.audit());
            let _ = wallet.draw(Amount::from_raw(MOST / 3), None, OnInsufficient::Cap, now);
            if index % 2 == 1 {
                for schedule in &mut wallet.schedules {
                    schedule.stop();
                    schedule.resume(now);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn so_much_can_be_carried_that_sums_end_but_not_the_pool(
        entries in 1..4_i64,
        every in 1..4_i64,
        periods in 1..5_i64,
        gaps in prop::collection::vec(1..40_i64, 1..8),
        used in 0..=MOST,
    ) {
        let hours = |n: i64| Span { micros: n * HOUR, ..Span::default() };
        let rollover = Rollover { max: Amount::from_raw(MOST), percent: Amount::from_units(100), periods };
        let start = Instant::from_micros(0);
        let mut wallet = Wallet::open(Limit::Finite(Amount::ZERO), start);
        for id in 0..entries {
            let terms = EntryTerms { amount: Amount::from_raw(MOST), rollover, ..terms(Some(hours(every)), None) };
            wallet.schedules.push(Schedule { id, ..schedule(Zone::utc(), start, vec![terms]) });
        }
        wallet.watch(start);
        let mut id = 0;
        let mut now = start;
        for gap in gaps {
            now = now.plus_micros(gap * HOUR);
            wallet.advance(now, &mut || { id += 1; id }).unwrap();
            prop_assert!(wallet.audit());
            let _ = wallet.draw(Amount::from_raw(used), None, OnInsufficient::Cap, now);
            wallet.grants.retain(|grant| grant.status.is_open());
        }
    }

    /// Grants that wait for their start count when it comes: what cannot be counted then must be refused now.
    #[test]
    fn no_grant_that_waits_stops_the_pool(count in 90..120_i64, distinct in any::<bool>(), plan in any::<bool>()) {
        let start = Instant::from_micros(0);
        let mut wallet = Wallet::open(Limit::Finite(Amount::ZERO), start);
        for id in 1..=count {
            let begins = start.plus_micros(if distinct { id * HOUR } else { HOUR });
            let _ = wallet.add(waiting(id, begins, start), false, start);
        }
        if plan {
            let every = Span { micros: HOUR, ..Span::default() };
            let terms = EntryTerms { amount: Amount::from_raw(MOST), ..terms(Some(every), None) };
            wallet.schedules.push(schedule(Zone::utc(), start, vec![terms]));
            wallet.watch(start);
        }
        let mut id = count;
        for hours in [50, 110, 130] {
            let advanced = wallet.advance(start.plus_micros(hours * HOUR), &mut || { id += 1; id });
            prop_assert!(advanced.is_ok());
            prop_assert!(wallet.audit());
        }
        prop_assert!(wallet.grants.iter().all(|grant| grant.source != Source::Rollover));
    }
}
