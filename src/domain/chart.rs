//! The buckets of a chart, on a customer's calendar.

use crate::calendar::{CalendarError, Instant, Span, Zone};

/// More than a screen has, and few enough to be made at once.
pub const MAX_BUCKETS: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChartError {
    TooManyBuckets,
    /// A bucket of months and days, or of days and hours: it begins nowhere in particular.
    MixedUnits,
    OutOfRange,
}

impl From<CalendarError> for ChartError {
    fn from(error: CalendarError) -> ChartError {
        if error == CalendarError::MixedUnits { ChartError::MixedUnits } else { ChartError::OutOfRange }
    }
}

/// The boundaries of the buckets that cover `from` to `to`: the first is `from` or lies before it, the last is `to` or lies
/// behind it, and each bucket ends where the next begins.
///
/// Months begin on the first, counted from January 2000, and days at midnight, counted from Monday 3 January 2000, both in
/// the customer's time zone. A time that goes into a day is counted from each midnight: up to an hour as time that passes,
/// so that a day of 25 hours has 25 hours, and what is longer by the wall clock, so that the afternoon stays the afternoon.
/// Where the clock goes on or back by less than a bucket, one bucket is longer.
/// Any other time is counted from the beginning of the year 2000, as time that passes.
pub fn buckets(zone: &Zone, span: Span, from: Instant, to: Instant) -> Result<Vec<Instant>, ChartError> {
    span.check_positive()?;
    let width = to.micros().saturating_sub(from.micros());
    // Before a single one is made. A real bucket may be a little longer than a usual one.
    if width / span.nominal_micros().max(1) > 2 * MAX_BUCKETS as i64 {
        return Err(ChartError::TooManyBuckets);
    }
    let mut series = Series { from, to, bounds: Vec::new() };
    match (span.months, span.days, span.micros) {
        (0, 0, micros) if DAY.micros % micros == 0 => series.by_the_day(zone, micros)?,
        (0, 0, micros) => series.by_elapsed_time(zone, micros)?,
        _ => series.by_the_calendar(zone, span)?,
    }
    Ok(series.bounds)
}

const HOUR: i64 = 3_600_000_000;
const DAY: Span = Span { months: 0, days: 0, micros: 24 * HOUR };
const A_DAY: Span = Span { months: 0, days: 1, micros: 0 };

struct Series {
    from: Instant,
    to: Instant,
    bounds: Vec<Instant>,
}

impl Series {
    /// `false`: there are enough.
    fn add(&mut self, bound: Instant) -> Result<bool, ChartError> {
        match self.bounds.last() {
            // The wall clock passes over an hour: its bucket is none.
            Some(last) if bound <= *last => return Ok(true),
            Some(last) if *last >= self.to => return Ok(false),
            Some(_) if bound <= self.from => self.bounds.clear(),
            _ => {}
        }
        self.bounds.push(bound);
        if self.bounds.len() > MAX_BUCKETS + 1 { Err(ChartError::TooManyBuckets) } else { Ok(bound < self.to) }
    }

    fn by_the_calendar(&mut self, zone: &Zone, span: Span) -> Result<(), ChartError> {
        let (mut start, mut end) = zone.window(span, self.from)?;
        loop {
            if !self.add(start)? {
                return Ok(());
            }
            if end <= start {
                return Err(ChartError::OutOfRange);
            }
            (start, end) = (end, zone.window(span, end)?.1);
        }
    }

    fn by_the_day(&mut self, zone: &Zone, micros: i64) -> Result<(), ChartError> {
        let (mut start, mut end) = zone.window(A_DAY, self.from)?;
        loop {
            let usual = end.micros() - start.micros() == DAY.micros;
            let (mut at, mut step) = (start, 0);
            if micros <= HOUR && self.from > start {
                // From the bucket that `from` lies in; where the clock has moved meanwhile, it takes a second look.
                at = self.from;
                while at > start && zone.past_midnight(at)? % micros != 0 {
                    at = at.plus_micros(-(zone.past_midnight(at)? % micros)).max(start);
                }
            }
            while at < end {
                if !self.add(at)? {
                    return Ok(());
                }
                step += 1;
                at = if usual && micros <= HOUR {
                    at.plus_micros(micros)
                } else if micros > HOUR {
                    // Behind the day's last it is the next day's first.
                    zone.clock_time(start, step * micros)?
                } else {
                    let next = at.plus_micros(micros);
                    let beyond = zone.past_midnight(next)? % micros;
                    // The clock went on by half an hour, say: up to where it says the right thing again.
                    next.plus_micros((micros - beyond) % micros)
                };
            }
            if end <= start {
                return Err(ChartError::OutOfRange);
            }
            (start, end) = (end, zone.window(A_DAY, end)?.1);
        }
    }

    fn by_elapsed_time(&mut self, zone: &Zone, micros: i64) -> Result<(), ChartError> {
        let (origin, _) = zone.window(Span { months: 12, ..Span::default() }, Instant::from_micros(HOUR * 24))?;
        let passed = self.from.micros().checked_sub(origin.micros()).ok_or(ChartError::OutOfRange)?;
        let mut at = passed.div_euclid(micros).checked_mul(micros).and_then(|n| n.checked_add(origin.micros()));
        loop {
            let bound = at.ok_or(ChartError::OutOfRange)?;
            if !self.add(Instant::from_micros(bound))? {
                return Ok(());
            }
            at = bound.checked_add(micros);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        Instant::parse(text).unwrap()
    }

    fn span(text: &str) -> Span {
        Span::parse(text).unwrap()
    }

    fn shown(zone: &str, span_text: &str, from: &str, to: &str) -> Vec<String> {
        let zone = Zone::find(zone).unwrap();
        let bounds = buckets(&zone, span(span_text), at(from), at(to)).unwrap();
        bounds.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn days_and_months_are_those_of_the_zone() {
        assert_eq!(
            shown("Europe/Berlin", "1 day", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z"),
            ["2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"]
        );
        assert_eq!(
            shown("Asia/Kathmandu", "1 month", "2026-01-31T18:15:00Z", "2026-02-28T18:15:00Z"),
            ["2026-01-31T18:15:00Z", "2026-02-28T18:15:00Z"]
        );
        assert_eq!(
            shown("Asia/Kathmandu", "1 hour", "2026-01-31T18:20:00Z", "2026-01-31T19:15:00.000001Z"),
            ["2026-01-31T18:15:00Z", "2026-01-31T19:15:00Z", "2026-01-31T20:15:00Z"]
        );
    }

    #[test]
    fn a_day_of_25_hours_has_25_hours_and_four_quarters() {
        let (from, to) = ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
        assert_eq!(shown("Europe/Berlin", "1 hour", from, to).len(), 26);
        assert_eq!(
            shown("Europe/Berlin", "6 hours", from, to),
            [
                "2026-10-24T22:00:00Z",
                "2026-10-25T05:00:00Z",
                "2026-10-25T11:00:00Z",
                "2026-10-25T17:00:00Z",
                "2026-10-25T23:00:00Z"
            ]
        );
        // The short one in spring; two hours of it are one.
        assert_eq!(shown("Europe/Berlin", "1 hour", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z").len(), 24);
        assert_eq!(
            shown("Europe/Berlin", "2 hours", "2026-03-28T23:00:00Z", "2026-03-29T03:00:00Z"),
            ["2026-03-28T23:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z", "2026-03-29T04:00:00Z"]
        );
    }

    #[test]
    fn a_clock_that_moves_by_half_an_hour_makes_one_long_hour() {
        assert_eq!(
            shown("Australia/Lord_Howe", "1 hour", "2026-04-04T14:00:00Z", "2026-04-04T17:00:00Z"),
            ["2026-04-04T14:00:00Z", "2026-04-04T15:30:00Z", "2026-04-04T16:30:00Z", "2026-04-04T17:30:00Z"]
        );
        assert_eq!(
            shown("Australia/Lord_Howe", "1 hour", "2026-04-04T15:15:00Z", "2026-04-04T16:00:00Z"),
            ["2026-04-04T14:00:00Z", "2026-04-04T15:30:00Z", "2026-04-04T16:30:00Z"]
        );
    }

    #[test]
    fn a_day_may_begin_at_one() {
        assert_eq!(
            shown("Africa/Cairo", "12 hours", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"),
            ["2026-04-23T22:00:00Z", "2026-04-24T09:00:00Z", "2026-04-24T21:00:00Z"]
        );
    }

    #[test]
    fn what_does_not_go_into_a_day_goes_on() {
        assert_eq!(
            shown("UTC", "7 hours", "2000-01-01T08:00:00Z", "2000-01-02T01:00:00Z"),
            ["2000-01-01T07:00:00Z", "2000-01-01T14:00:00Z", "2000-01-01T21:00:00Z", "2000-01-02T04:00:00Z"]
        );
        assert_eq!(
            shown("Europe/Berlin", "36 hours", "1999-12-31T22:00:00Z", "2000-01-01T00:00:00Z"),
            ["1999-12-30T11:00:00Z", "1999-12-31T23:00:00Z", "2000-01-02T11:00:00Z"]
        );
    }

    #[test]
    fn covers_what_was_asked_for_without_a_gap() {
        let spans =
            ["15 minutes", "45 minutes", "1 hour", "3 hours", "7 hours", "1 day", "7 days", "1 month", "1 year"];
        for zone in
            ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Cairo"]
        {
            for text in spans {
                for from in ["2026-03-20T05:07:00Z", "2018-10-20T00:00:00Z", "2026-10-03T13:30:00Z"] {
                    let from = at(from);
                    let to = from.plus_micros(40 * 24 * HOUR + 1);
                    let bounds = buckets(&Zone::find(zone).unwrap(), span(text), from, to).unwrap();
                    assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{zone} {text} {bounds:?}");
                    assert!(bounds[0] <= from && from < bounds[1], "{zone} {text} {from}: {bounds:?}");
                    let [.., before, last] = bounds[..] else { panic!() };
                    assert!(before < to && to <= last, "{zone} {text} {to}: {bounds:?}");
                }
            }
        }
    }

    #[test]
    fn refuses_what_makes_no_chart() {
        let (utc, from) = (Zone::utc(), at("2026-01-01T00:00:00Z"));
        let to = from.plus_micros(HOUR);
        let second = |n: i64| Span { micros: n, ..Span::default() };
        assert_eq!(buckets(&utc, second(1), from, to), Err(ChartError::TooManyBuckets));
        assert_eq!(buckets(&utc, second(HOUR / 10_000), from, to).map(|b| b.len()), Ok(10_001));
        assert_eq!(buckets(&utc, second(HOUR / 10_001), from, to), Err(ChartError::TooManyBuckets));
        // Nor does it take long, whatever day it is.
        let (berlin, from) = (Zone::find("Europe/Berlin").unwrap(), at("2026-10-25T20:00:00Z"));
        assert_eq!(buckets(&berlin, second(1), from, from.plus_micros(100)).map(|b| b.len()), Ok(101));
        assert_eq!(buckets(&utc, Span { months: 1, days: 1, micros: 0 }, from, to), Err(ChartError::MixedUnits));
        assert_eq!(buckets(&utc, Span { days: 1, ..second(1) }, from, to), Err(ChartError::MixedUnits));
        let _ = buckets(&utc, Span { months: i32::MAX, ..Span::default() }, from, to);
        let _ = buckets(&utc, Span { days: i32::MAX, ..Span::default() }, from, to);
        let _ = buckets(&utc, second(i64::MAX), from, to);
    }
}
