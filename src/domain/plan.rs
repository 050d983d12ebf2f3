//! Which period of a plan's credits an instant belongs to.

use crate::{CalendarError, Instant, Span, Zone};

/// How a plan entry recurs and how long what it grants lasts.
#[derive(Clone, Copy, Debug)]
pub struct Cadence {
    /// `None`: granted once.
    pub every: Option<Span>,
    /// `None`: to the end of the period, or for ever where it is granted once.
    pub expires_after: Option<Span>,
}

/// One period of an entry, as it is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanPeriod {
    pub start: Instant,
    /// `Instant::INFINITY` for none.
    pub expires_at: Instant,
}

impl Cadence {
    /// The period that `at` lies in, counted from `anchor`.
    pub fn current(&self, zone: &Zone, anchor: Instant, at: Instant) -> Result<PlanPeriod, CalendarError> {
        let (start, end) = match self.every {
            Some(span) => {
                let (_, start, end) = zone.period(anchor, span, at)?;
                (start, end)
            }
            None => (anchor, Instant::INFINITY),
        };
        let expires_at = match self.expires_after {
            Some(span) => zone.step(start, span, 1)?,
            None => end,
        };
        Ok(PlanPeriod { start, expires_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    #[test]
    fn once_only_credits_start_at_the_anchor_and_stay() {
        let once = Cadence { every: None, expires_after: None };
        let anchor = Instant::from_micros(0);
        let period = once.current(&Zone::utc(), anchor, Instant::from_micros(400 * DAY)).unwrap();
        assert_eq!(period, PlanPeriod { start: anchor, expires_at: Instant::INFINITY });
    }

    #[test]
    fn recurring_credits_end_with_their_period_or_after_their_own_interval() {
        let anchor = Instant::from_micros(0);
        let at = Instant::from_micros(40 * DAY);
        let monthly = Cadence { every: Some(Span::MONTH), expires_after: None };
        let period = monthly.current(&Zone::utc(), anchor, at).unwrap();
        assert_eq!(period.start, Instant::from_micros(31 * DAY));
        assert_eq!(period.expires_at, Instant::from_micros((31 + 29) * DAY));
        let week = Span { days: 7, ..Span::default() };
        let weekly = Cadence { every: Some(Span::MONTH), expires_after: Some(week) };
        assert_eq!(weekly.current(&Zone::utc(), anchor, at).unwrap().expires_at, Instant::from_micros(38 * DAY));
    }
}
