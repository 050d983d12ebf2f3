//! Instants, intervals and the calendar of a customer.
//!
//! Steps of months and days are counted in the customer's time zone and always from the original anchor,
//! never from the step before, so that a plan anchored on 31 January renews on 28 February and then on
//! 31 March (contract, section 2). Time zones are the IANA database's, read from the system.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

const EPOCH_OFFSET_MICROS: i64 = 946_684_800_000_000;
const HOUR_MICROS: i64 = 3_600_000_000;
const DAY_MICROS: i64 = 24 * HOUR_MICROS;

/// Microseconds since 2000-01-01 00:00 UTC, as PostgreSQL counts them; the extremes are the infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(i64);

impl Instant {
    pub const INFINITY: Instant = Instant(i64::MAX);
    pub const NEG_INFINITY: Instant = Instant(i64::MIN);

    pub const fn from_micros(micros: i64) -> Instant {
        Instant(micros)
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    pub const fn is_finite(self) -> bool {
        self.0 != i64::MAX && self.0 != i64::MIN
    }

    /// `self` + a number of microseconds; stays finite.
    pub fn plus_micros(self, micros: i64) -> Instant {
        Instant(self.0.saturating_add(micros).clamp(i64::MIN + 1, i64::MAX - 1))
    }

    /// Reads an instant with its offset, such as `2026-03-01T00:00:00Z`.
    pub fn parse(text: &str) -> Result<Instant, CalendarError> {
        text.parse().map(Instant::from_timestamp).map_err(|_| CalendarError::Malformed)
    }

    fn to_timestamp(self) -> Result<Timestamp, CalendarError> {
        let unix = self.0.checked_add(EPOCH_OFFSET_MICROS).ok_or(CalendarError::OutOfRange)?;
        Timestamp::from_microsecond(unix).map_err(|_| CalendarError::OutOfRange)
    }

    fn from_timestamp(timestamp: Timestamp) -> Instant {
        Instant(timestamp.as_microsecond() - EPOCH_OFFSET_MICROS)
    }
}

impl std::fmt::Display for Instant {
    /// RFC 3339 in UTC, for messages and DETAIL.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (*self, self.to_timestamp()) {
            (Instant::INFINITY, _) => f.write_str("infinity"),
            (Instant::NEG_INFINITY, _) => f.write_str("-infinity"),
            (_, Ok(timestamp)) => write!(f, "{timestamp}"),
            (_, Err(_)) => write!(f, "{} microseconds from 2000-01-01", self.0),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarError {
    OutOfRange,
    UnknownZone,
    NotPositive,
    MixedUnits,
    Malformed,
}

/// An interval, with PostgreSQL's three parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

impl Span {
    pub const MONTH: Span = Span { months: 1, days: 0, micros: 0 };

    /// Reads an interval in ISO 8601 (`P1M`) or in words (`1 month`).
    pub fn parse(text: &str) -> Result<Span, CalendarError> {
        let span: jiff::Span = text.parse().map_err(|_| CalendarError::Malformed)?;
        let part = |n: i64| i32::try_from(n).map_err(|_| CalendarError::OutOfRange);
        let time = jiff::Span::new()
            .try_hours(span.get_hours())
            .and_then(|s| s.try_minutes(span.get_minutes()))
            .and_then(|s| s.try_seconds(span.get_seconds()))
            .and_then(|s| s.try_milliseconds(span.get_milliseconds()))
            .and_then(|s| s.try_microseconds(span.get_microseconds()))
            .and_then(|s| s.total(jiff::Unit::Microsecond))
            .map_err(|_| CalendarError::OutOfRange)?;
        Ok(Span {
            months: part(i64::from(span.get_years()) * 12 + i64::from(span.get_months()))?,
            days: part(i64::from(span.get_weeks()) * 7 + i64::from(span.get_days()))?,
            micros: time as i64,
        })
    }

    /// Refuses zero, negative and mixed signs.
    pub fn check_positive(self) -> Result<Span, CalendarError> {
        let negative = self.months < 0 || self.days < 0 || self.micros < 0;
        let positive = self.months > 0 || self.days > 0 || self.micros > 0;
        if negative || !positive { Err(CalendarError::NotPositive) } else { Ok(self) }
    }

    /// No step of this span is shorter; for estimates. A local day may have 23 hours, a month 28 days.
    pub fn shortest_micros(self) -> i64 {
        i64::from(self.months)
            .saturating_mul(28 * DAY_MICROS - HOUR_MICROS)
            .saturating_add(i64::from(self.days).saturating_mul(DAY_MICROS - 2 * HOUR_MICROS))
            .saturating_add(self.micros)
    }

    /// A usual length, to compare two spans by.
    pub fn nominal_micros(self) -> i64 {
        i64::from(self.months)
            .saturating_mul(30 * DAY_MICROS)
            .saturating_add(i64::from(self.days).saturating_mul(DAY_MICROS))
            .saturating_add(self.micros)
    }
}

/// A time zone of the IANA database.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

impl Zone {
    pub fn utc() -> Zone {
        Zone(TimeZone::UTC)
    }

    pub fn find(name: &str) -> Result<Zone, CalendarError> {
        if name.eq_ignore_ascii_case("utc") {
            return Ok(Zone::utc());
        }
        TimeZone::get(name).map(Zone).map_err(|_| CalendarError::UnknownZone)
    }

    fn local(&self, at: Instant) -> Result<DateTime, CalendarError> {
        Ok(self.0.to_datetime(at.to_timestamp()?))
    }

    fn instant(&self, local: DateTime) -> Result<Instant, CalendarError> {
        let zoned = local.to_zoned(self.0.clone()).map_err(|_| CalendarError::OutOfRange)?;
        Ok(Instant::from_timestamp(zoned.timestamp()))
    }

    /// `anchor` + `steps` × `span`: months and days by the local calendar, the rest as elapsed time.
    pub fn step(&self, anchor: Instant, span: Span, steps: i64) -> Result<Instant, CalendarError> {
        let out_of_range = CalendarError::OutOfRange;
        let micros = span.micros.checked_mul(steps).ok_or(out_of_range)?;
        let months = i64::from(span.months).checked_mul(steps).ok_or(out_of_range)?;
        let days = i64::from(span.days).checked_mul(steps).ok_or(out_of_range)?;
        let moved = if months == 0 && days == 0 {
            anchor
        } else {
            // jiff's calendar ends at the years -9999 and 9999: its spans refuse what lies beyond.
            let months = jiff::Span::new().try_months(months).map_err(|_| out_of_range)?;
            let days = jiff::Span::new().try_days(days).map_err(|_| out_of_range)?;
            let local =
                self.local(anchor)?.checked_add(months).and_then(|d| d.checked_add(days)).map_err(|_| out_of_range)?;
            self.instant(local)?
        };
        match moved.0.checked_add(micros) {
            Some(at) if Instant(at).is_finite() => Ok(Instant(at)),
            _ => Err(out_of_range),
        }
    }

    /// The period of a recurring plan that `at` lies in: its number from 0, its start and its end.
    /// Before the anchor it is period 0.
    pub fn period(&self, anchor: Instant, span: Span, at: Instant) -> Result<(i64, Instant, Instant), CalendarError> {
        if !at.is_finite() {
            return Err(CalendarError::OutOfRange);
        }
        let mut low = 0_i64;
        if at > anchor {
            let elapsed = at.0.saturating_sub(anchor.0);
            let mut high = (elapsed / span.shortest_micros().max(1)).saturating_add(1);
            // Largest n with anchor + n × span ≤ at.
            while low < high {
                let middle = low + (high - low) / 2 + (high - low) % 2;
                match self.step(anchor, span, middle) {
                    Ok(start) if start <= at => low = middle,
                    Ok(_) | Err(CalendarError::OutOfRange) => high = middle - 1,
                    Err(other) => return Err(other),
                }
            }
        }
        Ok((low, self.step(anchor, span, low)?, self.step(anchor, span, low.saturating_add(1))?))
    }

    /// What the wall clock says, in seconds from 1970-01-01 00:00 on it.
    pub fn wall_seconds(&self, at: Instant) -> Option<i64> {
        let timestamp = at.to_timestamp().ok()?;
        Some(timestamp.as_microsecond().div_euclid(1_000_000) + i64::from(self.0.to_offset(timestamp).seconds()))
    }

    /// What the wall clock says, in microseconds from 00:00.
    pub fn past_midnight(&self, at: Instant) -> Result<i64, CalendarError> {
        let time = self.local(at)?.time();
        let seconds = (i64::from(time.hour()) * 60 + i64::from(time.minute())) * 60 + i64::from(time.second());
        Ok(seconds * 1_000_000 + i64::from(time.subsec_nanosecond() / 1_000))
    }

    /// Date and time on the wall clock, to the minute; empty outside of the calendar.
    pub fn wall_clock(&self, at: Instant) -> String {
        self.local(at).map(|local| local.strftime("%Y-%m-%d %H:%M").to_string()).unwrap_or_default()
    }

    /// The date on the wall clock; empty outside of the calendar.
    pub fn date(&self, at: Instant) -> String {
        self.local(at).map(|local| local.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
    }

    /// So many microseconds past midnight on the wall clock of the day that `day` lies in.
    pub fn clock_time(&self, day: Instant, micros: i64) -> Result<Instant, CalendarError> {
        let midnight = self.local(day)?.date().at(0, 0, 0, 0);
        let passed = jiff::Span::new().try_microseconds(micros).map_err(|_| CalendarError::OutOfRange)?;
        self.instant(midnight.checked_add(passed).map_err(|_| CalendarError::OutOfRange)?)
    }

    /// The calendar window that `at` lies in, for spending limits: whole months are counted from January
    /// 2000, whole days from Monday 3 January 2000 (so 7 days are a week from Monday), elapsed time from
    /// 2000-01-01 00:00 UTC. Months, days and time cannot be mixed.
    pub fn window(&self, span: Span, at: Instant) -> Result<(Instant, Instant), CalendarError> {
        span.check_positive()?;
        match (span.months, span.days, span.micros) {
            (months, 0, 0) => {
                let local = self.local(at)?;
                let index = i32::from(local.year() - 2000) * 12 + i32::from(local.month()) - 1;
                let first = index.div_euclid(months) * months;
                Ok((self.month_start(first)?, self.month_start(first.saturating_add(months))?))
            }
            (0, days, 0) => {
                let monday = Date::constant(2000, 1, 3);
                let local = self.local(at)?.date();
                let passed = monday.until(local).map_err(|_| CalendarError::OutOfRange)?.get_days();
                let first = passed.div_euclid(days) * days;
                let day = |n: i32| -> Result<Instant, CalendarError> {
                    let date = jiff::Span::new().try_days(n).and_then(|span| monday.checked_add(span));
                    self.instant(date.map_err(|_| CalendarError::OutOfRange)?.at(0, 0, 0, 0))
                };
                Ok((day(first)?, day(first.saturating_add(days))?))
            }
            (0, 0, micros) => {
                let first = at.0.div_euclid(micros).saturating_mul(micros);
                Ok((Instant(first), Instant(first.saturating_add(micros))))
            }
            _ => Err(CalendarError::MixedUnits),
        }
    }

    fn month_start(&self, index: i32) -> Result<Instant, CalendarError> {
        let out_of_range = |_| CalendarError::OutOfRange;
        let year = i16::try_from(2000 + index.div_euclid(12)).map_err(|_| CalendarError::OutOfRange)?;
        let month = i8::try_from(index.rem_euclid(12) + 1).map_err(|_| CalendarError::OutOfRange)?;
        self.instant(Date::new(year, month, 1).map_err(out_of_range)?.at(0, 0, 0, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        Instant::from_timestamp(text.parse().unwrap())
    }

    #[test]
    fn the_wall_clock_is_that_of_the_zone() {
        let zone = Zone::find("Europe/Berlin").unwrap();
        assert_eq!(zone.wall_clock(at("2026-03-28T23:30:00Z")), "2026-03-29 00:30");
        assert_eq!(zone.date(at("2026-03-28T23:30:00Z")), "2026-03-29");
        assert_eq!(zone.date(Instant::INFINITY), "");
    }

    #[test]
    fn the_31st_is_kept_as_the_anchor() {
        let zone = Zone::utc();
        let anchor = at("2026-01-31T10:00:00Z");
        let starts: Vec<String> = (0..4).map(|n| zone.step(anchor, Span::MONTH, n).unwrap().to_string()).collect();
        assert_eq!(
            starts,
            ["2026-01-31T10:00:00Z", "2026-02-28T10:00:00Z", "2026-03-31T10:00:00Z", "2026-04-30T10:00:00Z"]
        );
    }

    #[test]
    fn daylight_saving_keeps_the_local_hour() {
        let zone = Zone::find("Europe/Berlin").unwrap();
        let anchor = at("2026-03-15T08:00:00Z");
        assert_eq!(zone.step(anchor, Span::MONTH, 1).unwrap(), at("2026-04-15T07:00:00Z"));
        let day = Span { days: 1, ..Span::default() };
        assert_eq!(zone.step(at("2026-03-28T08:00:00Z"), day, 1).unwrap(), at("2026-03-29T07:00:00Z"));
    }

    #[test]
    fn finds_the_period_of_an_instant() {
        let zone = Zone::utc();
        let anchor = at("2026-01-31T00:00:00Z");
        let (n, start, end) = zone.period(anchor, Span::MONTH, at("2026-03-01T00:00:00Z")).unwrap();
        assert_eq!((n, start, end), (1, at("2026-02-28T00:00:00Z"), at("2026-03-31T00:00:00Z")));
        assert_eq!(zone.period(anchor, Span::MONTH, at("2025-01-01T00:00:00Z")).unwrap().0, 0);
        assert_eq!(zone.period(anchor, Span::MONTH, end).unwrap().0, 2);
        let hour = Span { micros: HOUR_MICROS, ..Span::default() };
        assert_eq!(zone.period(anchor, hour, anchor.plus_micros(HOUR_MICROS * 1000 - 1)).unwrap().0, 999);
    }

    #[test]
    fn windows_follow_the_calendar_of_the_zone() {
        let berlin = Zone::find("Europe/Berlin").unwrap();
        let (start, end) = berlin.window(Span::MONTH, at("2026-03-31T22:30:00Z")).unwrap();
        assert_eq!((start, end), (at("2026-03-31T22:00:00Z"), at("2026-04-30T22:00:00Z")));
        let week = Span { days: 7, ..Span::default() };
        let (start, end) = Zone::utc().window(week, at("2026-11-22T12:00:00Z")).unwrap();
        assert_eq!((start, end), (at("2026-11-16T00:00:00Z"), at("2026-11-23T00:00:00Z")));
        let mixed = Span { months: 1, days: 1, micros: 0 };
        assert_eq!(Zone::utc().window(mixed, start), Err(CalendarError::MixedUnits));
    }

    #[test]
    fn reads_instants_and_intervals() {
        assert_eq!(Instant::parse("2026-03-01 01:00:00+01"), Ok(at("2026-03-01T00:00:00Z")));
        assert!(Instant::parse("2026-03-01").is_err());
        assert_eq!(Span::parse("1 month"), Ok(Span::MONTH));
        assert_eq!(Span::parse("P1Y2M"), Ok(Span { months: 14, ..Span::default() }));
        assert_eq!(Span::parse("2 weeks 36 hours"), Ok(Span { days: 14, micros: 36 * HOUR_MICROS, months: 0 }));
        assert!(Span::parse("soon").is_err());
    }

    #[test]
    fn refuses_absurd_steps_and_zones() {
        let far = Span { months: i32::MAX, ..Span::default() };
        assert_eq!(Zone::utc().step(at("2026-01-01T00:00:00Z"), far, 2), Err(CalendarError::OutOfRange));
        assert!(Zone::find("Mars/Olympus").is_err());
        assert!(Span { months: 1, days: -1, micros: 0 }.check_positive().is_err());
        assert!(Span::default().check_positive().is_err());
        let _ = Zone::utc().window(Span { days: i32::MAX, ..Span::default() }, at("1990-01-01T00:00:00Z"));
        let _ = Zone::utc().window(far, at("1990-01-01T00:00:00Z"));
    }
}
