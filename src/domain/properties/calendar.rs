//! Steps, periods and windows in zones with and without daylight saving.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::cases;
use crate::{Instant, Span, Zone};

pub const SECOND: i64 = 1_000_000;
pub const HOUR: i64 = 3600 * SECOND;
pub const DAY: i64 = 24 * HOUR;
const UNIX_TO_2000: i64 = 10_957 * DAY;

/// Daylight saving by an hour, half an hour and two hours, at midnight and by Ramadan; odd offsets; zones
/// that skipped a whole day.
const ZONES: [&str; 19] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "America/Santiago",
    "America/Nuuk",
    "Atlantic/Azores",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Tehran",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Kwajalein",
];

pub fn zones() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&ZONES[..])
}

pub fn zone(name: &str) -> Zone {
    Zone::find(name).unwrap()
}

fn time_zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

/// From 1980 to 2060, often on a whole hour.
pub fn instants() -> impl Strategy<Value = Instant> {
    let any_time = -20 * 365 * DAY..60 * 365 * DAY;
    (any_time, any::<bool>()).prop_map(|(at, whole)| Instant::from_micros(if whole { at / HOUR * HOUR } else { at }))
}

pub fn spans() -> impl Strategy<Value = Span> {
    let only = prop_oneof![
        4 => (1..30_i32).prop_map(|months| Span { months, ..Span::default() }),
        4 => (1..100_i32).prop_map(|days| Span { days, ..Span::default() }),
        2 => (1..1000 * HOUR).prop_map(|micros| Span { micros, ..Span::default() }),
        1 => (1..5000_i64).prop_map(|micros| Span { micros, ..Span::default() }),
    ];
    let mixed =
        (0..30_i32, 0..100_i32, 0..1000 * HOUR).prop_map(|(months, days, micros)| Span { months, days, micros });
    prop_oneof![4 => only, 1 => mixed.prop_filter("no time at all", |span| span.check_positive().is_ok())]
}

/// Those that a window can have.
fn unmixed() -> impl Strategy<Value = Span> {
    spans()
        .prop_filter("mixed units", |s| [s.months != 0, s.days != 0, s.micros != 0].iter().filter(|x| **x).count() == 1)
}

fn local(zone: &TimeZone, at: Instant) -> DateTime {
    zone.to_datetime(Timestamp::from_microsecond(at.micros() + UNIX_TO_2000).unwrap())
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Year, month and day of a day counted from 2000-01-01, by turning the pages.
fn date(mut days: i64) -> (i64, i64, i64) {
    let (mut year, mut month) = (2000, 1);
    while days < 0 {
        (year, month) = if month == 1 { (year - 1, 12) } else { (year, month - 1) };
        days += month_days(year, month);
    }
    while days >= month_days(year, month) {
        days -= month_days(year, month);
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
    (year, month, days + 1)
}

proptest! {
    #![proptest_config(cases(1_000))]

    /// "An anchor on the 31st gives 28 February and then 31 March"; days count from there, as PostgreSQL adds them.
    #[test]
    fn months_keep_the_anchors_day_as_far_as_they_have_it(
        anchor in instants(),
        months in 0..15_i32,
        days in prop_oneof![Just(0), 0..40_i32],
        steps in 0..60_i64,
    ) {
        let stepped = Zone::utc().step(anchor, Span { months, days, micros: 0 }, steps).unwrap();
        prop_assert_eq!(stepped.micros().rem_euclid(DAY), anchor.micros().rem_euclid(DAY));
        let (year, month, day) = date(anchor.micros().div_euclid(DAY));
        let (mut to_year, mut to_month) = (year, month);
        for _ in 0..i64::from(months) * steps {
            (to_year, to_month) = if to_month == 12 { (to_year + 1, 1) } else { (to_year, to_month + 1) };
        }
        let by_months = (to_year, to_month, day.min(month_days(to_year, to_month)));
        let before_days = stepped.micros().div_euclid(DAY) - i64::from(days) * steps;
        prop_assert_eq!(date(before_days), by_months);
    }

    /// Days and months keep the local time of day, unless daylight saving leaves it out on that day.
    #[test]
    fn calendar_steps_keep_the_local_time(name in zones(), anchor in instants(), span in spans(), steps in 0..60_i64) {
        let span = Span { micros: 0, ..span };
        let tz = time_zone(name);
        let stepped = local(&tz, zone(name).step(anchor, span, steps).unwrap());
        if steps == 0 || span == Span::default() {
            return Ok(());
        }
        // What a gap before midnight leaves out comes on the next day.
        let time = local(&tz, anchor).time();
        let wanted = [stepped.date(), stepped.date().yesterday().unwrap()].map(|date| date.to_datetime(time));
        let left_out = wanted.map(|wanted| tz.to_ambiguous_timestamp(wanted).is_ambiguous()).contains(&true);
        prop_assert!(stepped == wanted[0] || left_out, "{stepped}");
    }

    #[test]
    fn elapsed_time_is_elapsed_time(name in zones(), anchor in instants(), micros in 1..100 * HOUR, steps in 0..1000_i64) {
        let span = Span { micros, ..Span::default() };
        prop_assert_eq!(zone(name).step(anchor, span, steps), Ok(Instant::from_micros(anchor.micros() + micros * steps)));
    }

    #[test]
    fn more_steps_lead_further(name in zones(), anchor in instants(), span in spans(), steps in 0..60_i64) {
        let zone = zone(name);
        let step = |steps| zone.step(anchor, span, steps).unwrap();
        // A day that the zone skipped has no length.
        prop_assert!(step(steps) <= step(steps + 1) && step(steps) < step(steps + 2));
        if !["Pacific/Apia", "Pacific/Kiritimati", "Pacific/Kwajalein"].contains(&name) {
            prop_assert!(step(steps) < step(steps + 1));
            prop_assert!(step(steps + 1).micros() - step(steps).micros() >= span.shortest_micros());
        }
    }

    #[test]
    fn a_period_contains_its_instant(name in zones(), anchor in instants(), span in spans(), at in instants()) {
        let zone = zone(name);
        let (number, start, end) = zone.period(anchor, span, at).unwrap();
        prop_assert_eq!((Ok(start), Ok(end)), (zone.step(anchor, span, number), zone.step(anchor, span, number + 1)));
        if at < anchor {
            prop_assert_eq!((number, start), (0, anchor));
        } else {
            prop_assert!(number >= 0 && start <= at && at < end);
        }
        // Half open: at its end the next has begun.
        if start < end {
            prop_assert_eq!(zone.period(anchor, span, Instant::from_micros(end.micros() - 1)).unwrap().0, number);
            prop_assert!(zone.period(anchor, span, end).unwrap().0 > number);
        }
    }

    #[test]
    fn a_window_contains_its_instant_and_touches_the_next(name in zones(), span in unmixed(), at in instants()) {
        let zone = zone(name);
        let (start, end) = zone.window(span, at).unwrap();
        prop_assert!(start <= at && at < end);
        prop_assert_eq!(zone.window(span, start), Ok((start, end)));
        prop_assert_eq!(zone.window(span, Instant::from_micros(end.micros() - 1)), Ok((start, end)));
        prop_assert_eq!(zone.window(span, end).unwrap().0, end);
        prop_assert_eq!(zone.window(span, Instant::from_micros(start.micros() - 1)).unwrap().1, start);
    }

    /// Months begin on a first, weeks on a Monday, days at the first moment of a day.
    #[test]
    fn calendar_windows_begin_where_the_calendar_says(name in zones(), at in instants(), weeks in 1..5_i32) {
        let (zone, tz) = (zone(name), time_zone(name));
        let local_start = |span| local(&tz, zone.window(span, at).unwrap().0);
        let first = local_start(Span::MONTH);
        prop_assert_eq!((first.year(), first.month(), first.day()), (local(&tz, at).year(), local(&tz, at).month(), 1));
        let january = local_start(Span { months: 12, ..Span::default() });
        prop_assert_eq!((january.year(), january.month(), january.day()), (local(&tz, at).year(), 1, 1));
        let day = local_start(Span { days: 1, ..Span::default() });
        prop_assert_eq!(day.date(), local(&tz, at).date());
        let week = Span { days: 7 * weeks, ..Span::default() };
        let skipped = name.starts_with("Pacific/");
        prop_assert!(skipped || local_start(week).weekday() == jiff::civil::Weekday::Monday);
    }

    /// Also beyond what jiff and PostgreSQL can name: an error, never a panic.
    #[test]
    fn no_time_is_absurd_enough_to_panic(
        name in zones(),
        anchor in any::<i64>(),
        at in prop_oneof![any::<i64>(), Just(i64::MAX), Just(i64::MIN)],
        span in (any::<i32>(), any::<i32>(), prop_oneof![any::<i64>(), 0..5_i64]),
        units in 0..8_u8,
        steps in prop_oneof![any::<i64>(), -3..3_i64],
    ) {
        let zone = zone(name);
        let (anchor, at) = (Instant::from_micros(anchor), Instant::from_micros(at));
        let span = Span {
            months: if units & 1 == 0 { 0 } else { span.0 },
            days: if units & 2 == 0 { 0 } else { span.1 },
            micros: if units & 4 == 0 { 0 } else { span.2 },
        };
        let _ = zone.step(anchor, span, steps);
        let _ = zone.window(span, at);
        let _ = (span.nominal_micros(), span.shortest_micros(), at.to_string());
        if span.check_positive().is_ok() {
            let _ = zone.period(anchor, span, at);
        }
    }
}
