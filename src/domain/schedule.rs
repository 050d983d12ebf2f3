//! A plan's credits through time: which period an instant belongs to, what is granted for it, until when it
//! lasts and what of it is carried over.
//!
//! Boundaries are counted from the subscription's start in its time zone, never from the boundary before
//! (contract, section 2). What an entry grants is taken from the version of the entry in force at the boundary,
//! so that the result does not depend on when it is booked.

use crate::{Amount, CalendarError, Category, Instant, Limit, Span, Zone};

/// How a plan entry recurs and how long what it grants lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cadence {
    /// `None`: granted once.
    pub every: Option<Span>,
    /// `None`: to the end of the period, or for ever where it is granted once.
    pub expires_after: Option<Span>,
}

/// What of a period's credits outlives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollover {
    /// Most that the entry carries at any time; zero for none.
    pub max: Amount,
    /// Of what is left, 0 to 100.
    pub percent: Amount,
    /// How many periods the carried credits last.
    pub periods: i64,
}

impl Rollover {
    pub const NONE: Rollover = Rollover { max: Amount::ZERO, percent: Amount::ZERO, periods: 1 };
}

/// One version of a plan entry, as it applies to one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryTerms {
    pub effective_at: Instant,
    /// For one period, the subscription's quantity counted in.
    pub amount: Amount,
    pub category: Category,
    pub priority: i16,
    pub cadence: Cadence,
    pub rollover: Rollover,
}

impl EntryTerms {
    fn rolls_over(&self) -> bool {
        self.cadence.every.is_some() && self.rollover.max.is_positive() && self.rollover.percent.is_positive()
    }
}

/// Where one entry of a subscription's plan stands in one pool.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub id: i64,
    pub zone: Zone,
    /// The subscription's start.
    pub anchor: Instant,
    /// The subscription's end; `Instant::INFINITY` for none.
    pub ends_at: Instant,
    /// The credit type takes no new grants from then on.
    pub archived_at: Instant,
    /// The credits end with the subscription, not with their period.
    pub cut_at_end: bool,
    /// Versions of the entry, oldest first; the first counts from ever. Never empty.
    pub terms: Vec<EntryTerms>,
    /// Decimal places of the credit type.
    pub scale: u32,
    /// The limit that the plan gave the pool; it ends with the plan.
    pub overdraft: Limit,
    /// The next boundary at which something is granted.
    pub next_at: Instant,
    /// A change of plan grants from the change on, not from the period's start.
    pub not_before: Instant,
    /// The most that was granted for the period that runs; `None` before the first.
    pub granted: Option<Amount>,
    /// Start of the period that runs, and from when it was granted: later after a change of plan.
    pub period: Option<(Instant, Instant)>,
    /// When the subscription was made, in the call that makes it: what was over by then leaves no grant.
    pub begun_at: Instant,
    pub running: bool,
    /// Changed since it was loaded.
    pub dirty: bool,
}

/// What a schedule grants at one boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub start: Instant,
    /// `start`, or later where a change of plan came in between.
    pub effective_at: Instant,
    pub expires_at: Instant,
    pub amount: Amount,
    pub category: Category,
    pub priority: i16,
}

impl Schedule {
    /// When it has something to do by the clock alone.
    pub fn next_transition(&self) -> Instant {
        if self.running { self.next_at.max(self.not_before).min(self.ends_at) } else { Instant::INFINITY }
    }

    /// Puts a new subscription's schedule at its first period whose credits are not gone by `now`.
    pub fn begin(&mut self, now: Instant) {
        self.next_at = self.anchor;
        self.begun_at = now;
        self.skip_expired(now);
    }

    /// Lets it run from `now` on, after a change of plan: the period that runs is granted unless it was before.
    pub fn resume(&mut self, now: Instant) {
        self.running = true;
        self.dirty = true;
        self.not_before = now;
        if self.granted.is_none() {
            self.next_at = self.next_at.max(self.anchor);
        }
        let current = match self.terms_at(now).cadence.every {
            Some(every) if now > self.anchor => self.zone.period(self.anchor, every, now).map(|(_, start, _)| start),
            _ => Ok(self.next_at),
        };
        if let Ok(start) = current {
            self.next_at = self.next_at.max(start);
        }
    }

    /// Nothing more comes of it.
    pub fn stop(&mut self) {
        self.running = false;
        self.dirty = true;
    }

    pub fn terms_at(&self, at: Instant) -> &EntryTerms {
        let index = self.terms.partition_point(|terms| terms.effective_at <= at).saturating_sub(1);
        &self.terms[index.min(self.terms.len() - 1)]
    }

    /// Whether periods start and credits roll over at `at`.
    fn gives_at(&self, at: Instant) -> bool {
        self.running && at < self.ends_at && at < self.archived_at
    }

    /// Takes the period that begins at the next boundary, and moves on to the boundary after it. `None`: nothing
    /// is granted for it.
    pub fn take_period(&mut self) -> Option<Period> {
        let (start, effective_at) = (self.next_at, self.next_at.max(self.not_before));
        self.dirty = true;
        if !self.gives_at(effective_at) {
            self.next_at = Instant::INFINITY;
            return None;
        }
        let terms = self.terms_at(effective_at).clone();
        let granted_before = self.granted.replace(terms.amount).is_some();
        self.period = Some((start, effective_at));
        let Some(every) = terms.cadence.every else {
            self.next_at = Instant::INFINITY;
            return if granted_before { None } else { self.granted_period(&terms, effective_at, effective_at, None) };
        };
        // A calendar that ends is the end of the schedule, never an error in somebody's usage.
        let end = self.zone.period(self.anchor, every, start).map_or(Instant::INFINITY, |(_, _, end)| end);
        self.next_at = end;
        self.granted_period(&terms, start, effective_at, Some(end))
    }

    fn granted_period(
        &self,
        terms: &EntryTerms,
        start: Instant,
        effective_at: Instant,
        end: Option<Instant>,
    ) -> Option<Period> {
        let expires_at = self.expiry(terms, start, end);
        let given = terms.amount.is_positive() && expires_at > effective_at.max(self.begun_at);
        given.then_some(Period {
            start,
            effective_at,
            expires_at,
            amount: terms.amount,
            category: terms.category,
            priority: terms.priority,
        })
    }

    fn expiry(&self, terms: &EntryTerms, start: Instant, end: Option<Instant>) -> Instant {
        let own = match terms.cadence.expires_after {
            Some(span) => self.zone.step(start, span, 1).unwrap_or(Instant::INFINITY),
            None => end.unwrap_or(Instant::INFINITY),
        };
        if self.cut_at_end { own.min(self.ends_at) } else { own }
    }

    /// What a higher quantity adds to the period that runs, beyond the most that was granted for it.
    pub fn top_up(&mut self, now: Instant) -> Option<Period> {
        let granted = self.granted?;
        if !self.gives_at(now) {
            return None;
        }
        // By the version that the period was granted by: a later one counts from the next period.
        let (start, from) = self.period?;
        let terms = self.terms_at(from).clone();
        let missing = terms.amount.checked_sub(granted).filter(|missing| missing.is_positive())?;
        let (start, end) = match terms.cadence.every {
            Some(_) => (start, Some(self.next_at)),
            None => (from, None),
        };
        self.granted = Some(terms.amount);
        self.dirty = true;
        let expires_at = self.expiry(&terms, start, end);
        let (category, priority) = (terms.category, terms.priority);
        (expires_at > now).then_some(Period {
            start,
            effective_at: now,
            expires_at,
            amount: missing,
            category,
            priority,
        })
    }

    /// Puts it where it stood when the clock had last been looked at: before the first boundary after that. It had
    /// run since `since`, from the boundary `first` on.
    pub fn rewind(&mut self, looked_at: Instant, first: Instant, since: Instant) {
        self.running = true;
        self.granted = (looked_at >= self.anchor).then_some(Amount::ZERO);
        self.next_at = first;
        while self.next_at <= looked_at {
            let at = self.next_at;
            let Some(every) = self.terms_at(at.max(since)).cadence.every else {
                self.next_at = Instant::INFINITY;
                return;
            };
            // Over the grid as far as this version counts; from there on by the next one's.
            let version_ends = self.terms.iter().map(|terms| terms.effective_at).find(|next| *next > at.max(since));
            let target = version_ends.map_or(looked_at, |next| next.min(looked_at));
            let far = self.zone.period(self.anchor, every, target).map(|(_, start, _)| start);
            let next = self.zone.period(self.anchor, every, at).map(|(_, _, end)| end);
            self.next_at = match (far, next) {
                (Ok(start), Ok(end)) => {
                    if start > at {
                        start.max(end)
                    } else {
                        end
                    }
                }
                _ => Instant::INFINITY,
            };
        }
    }

    /// Whether credits that are granted from `at` on may be carried over.
    pub fn may_roll_over_from(&self, at: Instant) -> bool {
        let later = self.terms.iter().filter(|terms| terms.effective_at > at);
        self.terms_at(at).rolls_over() || later.into_iter().any(EntryTerms::rolls_over)
    }

    /// How much of `left`, which ends at `at`, is carried over, and until when; `carried` is what the entry carries
    /// already.
    pub fn carry(&self, at: Instant, left: Amount, carried: Amount) -> Option<(Amount, Instant)> {
        let terms = self.terms_at(at);
        if !self.gives_at(at) || !terms.rolls_over() {
            return None;
        }
        let every = terms.cadence.every?;
        let part = left.percent_floor(terms.rollover.percent, self.scale)?;
        let part = part.min(terms.rollover.max.checked_sub(carried)?);
        let (number, start, _) = self.zone.period(self.anchor, every, at).ok()?;
        let from = if start >= at { number } else { number.saturating_add(1) };
        let until = self.zone.step(self.anchor, every, from.saturating_add(terms.rollover.periods));
        let until = until.unwrap_or(Instant::INFINITY);
        let until = if self.cut_at_end { until.min(self.ends_at) } else { until };
        (part.is_positive() && until > at).then_some((part, until))
    }

    /// Passes over periods whose credits would be gone by `now` anyhow, up to the entry's next version.
    pub fn skip_expired(&mut self, now: Instant) {
        let from = self.next_at.max(self.anchor);
        if !from.is_finite() || from > now {
            return;
        }
        let until = self.terms.iter().map(|terms| terms.effective_at).find(|at| *at > from).unwrap_or(now).min(now);
        let terms = self.terms_at(from);
        let Some(every) = terms.cadence.every else { return };
        // After a change of cadence the first period begins beside the grid.
        let end = self.zone.period(self.anchor, every, from).map(|(_, _, end)| end);
        if self.expiry(terms, from, end.ok()) > now {
            return;
        }
        let number = |at| self.zone.period(self.anchor, every, at).map(|(number, _, _)| number);
        let (Ok(mut low), Ok(mut high)) = (number(from), number(until)) else { return };
        // The first period of low..=high whose credits outlive `now`, else the last.
        while low < high {
            let middle = low + (high - low) / 2;
            let step = |number| self.zone.step(self.anchor, every, number);
            let (Ok(start), Ok(end)) = (step(middle), step(middle + 1)) else { return };
            if self.expiry(terms, start, Some(end)) > now {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        if let Ok(start) = self.zone.step(self.anchor, every, low)
            && start > self.next_at
        {
            self.next_at = start;
            self.dirty = true;
        }
    }

    /// The period of the subscription that an instant lies in, for a cadence.
    pub fn period_of(
        zone: &Zone,
        anchor: Instant,
        every: Span,
        at: Instant,
    ) -> Result<(Instant, Instant), CalendarError> {
        zone.period(anchor, every, at.max(anchor)).map(|(_, start, end)| (start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        Instant::parse(text).unwrap()
    }

    fn schedule(cadence: Cadence, rollover: Rollover) -> Schedule {
        let terms = EntryTerms {
            effective_at: Instant::NEG_INFINITY,
            amount: Amount::from_units(1000),
            category: Category::Recurring,
            priority: 50,
            cadence,
            rollover,
        };
        Schedule {
            id: 1,
            zone: Zone::utc(),
            anchor: at("2026-01-31T00:00:00Z"),
            ends_at: Instant::INFINITY,
            archived_at: Instant::INFINITY,
            cut_at_end: false,
            terms: vec![terms],
            scale: 6,
            overdraft: Limit::Finite(Amount::ZERO),
            next_at: at("2026-01-31T00:00:00Z"),
            not_before: Instant::NEG_INFINITY,
            granted: None,
            period: None,
            begun_at: Instant::NEG_INFINITY,
            running: true,
            dirty: false,
        }
    }

    const MONTHLY: Cadence = Cadence { every: Some(Span::MONTH), expires_after: None };

    #[test]
    fn once_only_credits_come_once_and_stay() {
        let mut once = schedule(Cadence { every: None, expires_after: None }, Rollover::NONE);
        let period = once.take_period().unwrap();
        assert_eq!((period.start, period.expires_at), (once.anchor, Instant::INFINITY));
        assert_eq!((once.next_at, once.take_period()), (Instant::INFINITY, None));
    }

    #[test]
    fn recurring_credits_end_with_their_period_or_after_their_own_interval() {
        let mut monthly = schedule(MONTHLY, Rollover::NONE);
        let ends: Vec<String> = (0..3).map(|_| monthly.take_period().unwrap().expires_at.to_string()).collect();
        assert_eq!(ends, ["2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z", "2026-04-30T00:00:00Z"]);
        let week = Span { days: 7, ..Span::default() };
        let mut weekly = schedule(Cadence { expires_after: Some(week), ..MONTHLY }, Rollover::NONE);
        assert_eq!(weekly.take_period().unwrap().expires_at, at("2026-02-07T00:00:00Z"));
    }

    #[test]
    fn periods_that_are_over_are_passed_over() {
        let mut late = schedule(MONTHLY, Rollover::NONE);
        late.begin(at("2026-05-10T00:00:00Z"));
        assert_eq!(late.next_at, at("2026-04-30T00:00:00Z"));
        let three_months = Span { months: 3, ..Span::default() };
        let mut lasting = schedule(Cadence { expires_after: Some(three_months), ..MONTHLY }, Rollover::NONE);
        lasting.begin(at("2026-05-10T00:00:00Z"));
        assert_eq!(lasting.next_at, at("2026-02-28T00:00:00Z"));
        let mut early = schedule(MONTHLY, Rollover::NONE);
        early.begin(at("2025-05-10T00:00:00Z"));
        assert_eq!(early.next_at, early.anchor);
    }

    #[test]
    fn what_is_carried_is_capped_and_lasts_whole_periods() {
        let half = Rollover { max: Amount::from_units(300), percent: Amount::from_units(50), periods: 2 };
        let monthly = schedule(MONTHLY, half);
        let boundary = at("2026-02-28T00:00:00Z");
        let carry = |left, carried| monthly.carry(boundary, Amount::from_units(left), Amount::from_units(carried));
        assert_eq!(carry(101, 0), Some((Amount::parse("50.5").unwrap(), at("2026-04-30T00:00:00Z"))));
        assert_eq!(carry(1000, 0).unwrap().0, Amount::from_units(300));
        assert_eq!(carry(1000, 250).unwrap().0, Amount::from_units(50));
        assert_eq!((carry(1000, 300), carry(0, 0)), (None, None));
        let inside = monthly.carry(at("2026-02-10T00:00:00Z"), Amount::from_units(10), Amount::ZERO);
        assert_eq!(inside.unwrap().1, at("2026-04-30T00:00:00Z"));
    }

    #[test]
    fn a_new_version_counts_from_the_next_boundary() {
        let mut monthly = schedule(MONTHLY, Rollover::NONE);
        let week = Cadence { every: Some(Span { days: 7, ..Span::default() }), expires_after: None };
        let newer = EntryTerms { effective_at: at("2026-02-10T00:00:00Z"), cadence: week, ..monthly.terms[0].clone() };
        monthly.terms.push(newer);
        assert_eq!(monthly.take_period().unwrap().expires_at, at("2026-02-28T00:00:00Z"));
        // Saturdays from 31 January on: 28 February is one of them.
        assert_eq!(monthly.take_period().unwrap().expires_at, at("2026-03-07T00:00:00Z"));
    }

    #[test]
    fn rewinding_comes_to_where_it_stood() {
        let days = |days| Cadence { every: Some(Span { days, ..Span::default() }), expires_after: None };
        let mut forward = schedule(days(10), Rollover::NONE);
        for (from, every) in [("2026-03-05T00:00:00Z", 4), ("2026-03-06T00:00:00Z", 9), ("2026-05-01T00:00:00Z", 31)] {
            let newer = EntryTerms { effective_at: at(from), cadence: days(every), ..forward.terms[0].clone() };
            forward.terms.push(newer);
        }
        let mut looked_at = forward.anchor;
        for _ in 0..400 {
            while forward.next_at <= looked_at {
                forward.take_period();
            }
            let mut back = forward.clone();
            back.rewind(looked_at, forward.anchor, Instant::NEG_INFINITY);
            assert_eq!(back.next_at, forward.next_at, "{looked_at}");
            looked_at = looked_at.plus_micros(9 * 3_600_000_000);
        }
    }

    #[test]
    fn going_away_and_back_grants_a_period_once() {
        let mut monthly = schedule(MONTHLY, Rollover::NONE);
        monthly.take_period().unwrap();
        monthly.stop();
        assert_eq!(monthly.next_transition(), Instant::INFINITY);
        monthly.resume(at("2026-02-10T00:00:00Z"));
        assert_eq!(monthly.next_transition(), at("2026-02-28T00:00:00Z"));
        monthly.stop();
        monthly.resume(at("2026-05-10T00:00:00Z"));
        let period = monthly.take_period().unwrap();
        assert_eq!((period.start, period.effective_at), (at("2026-04-30T00:00:00Z"), at("2026-05-10T00:00:00Z")));
    }

    #[test]
    fn more_seats_are_granted_at_once_and_only_once() {
        let mut monthly = schedule(MONTHLY, Rollover::NONE);
        let now = at("2026-02-10T00:00:00Z");
        assert_eq!(monthly.top_up(now), None);
        monthly.take_period().unwrap();
        for (amount, added) in [(1500, Some(500)), (1000, None), (1500, None), (1600, Some(100))] {
            monthly.terms[0].amount = Amount::from_units(amount);
            let period = monthly.top_up(now);
            assert_eq!(period.map(|p| p.amount), added.map(Amount::from_units));
            assert!(period.is_none_or(|p| p.expires_at == at("2026-02-28T00:00:00Z")));
        }
    }
}
