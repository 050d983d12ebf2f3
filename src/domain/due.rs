//! What happens in a pool by the clock alone: grants end and begin, what is left is carried over, plans renew.
//!
//! Carried out under the pool's lock by whichever call comes first. At one instant the order is: end of holds,
//! expiry, rollover, new grants, settlement of debt (contract, section 2). The outcome is the same whoever does it and however late,
//! but for one thing: a period whose credits would be gone by then, which nothing could have come of, is passed over.

use std::collections::HashSet;

use crate::{Amount, EntryType, Grant, Hold, Instant, Limit, Period, Refusal, Schedule, Source, Status, Wallet};

/// Makes the id of a grant that the clock brings.
pub type NextId<'a> = &'a mut dyn FnMut() -> i64;

/// A part of an ending grant that lives on.
struct Carried {
    index: usize,
    part: Amount,
    expires_at: Instant,
}

impl Wallet {
    /// Carries out what is due at `now`. Returns whether anything was looked at.
    pub fn advance(&mut self, now: Instant, next_id: NextId) -> Result<bool, Refusal> {
        if self.next_transition > now {
            return Ok(false);
        }
        if !self.all_loaded {
            return Err(Refusal::NeedsAllGrants);
        }
        // What is over is put aside: a pool that nobody looked at for years passes through many grants.
        let mut closed = Vec::new();
        loop {
            self.put_aside(&mut closed);
            let next = self.earliest_transition();
            if next > now || !next.is_finite() {
                self.next_transition = next;
                self.grants.append(&mut closed);
                return Ok(true);
            }
            self.end_holds(next)?;
            self.sort();
            let carried = self.end_grants(next)?;
            for carried in carried {
                self.roll_over(carried, next, now, next_id)?;
            }
            self.begin_grants(next)?;
            for index in 0..self.schedules.len() {
                self.renew(index, next, now, next_id)?;
            }
            // A subscription that is said to have begun earlier pays no debt before it was made.
            let begun_at = self.schedules.iter().map(|schedule| schedule.begun_at).max();
            self.settle_debt(next.max(begun_at.unwrap_or(next)))?;
        }
    }

    fn put_aside(&mut self, closed: &mut Vec<Grant>) {
        let over = |grant: &Grant| !grant.status.is_open() && grant.held.is_zero();
        if self.grants.iter().any(over) {
            let (over, open): (Vec<Grant>, Vec<Grant>) = std::mem::take(&mut self.grants).into_iter().partition(over);
            self.grants = open;
            closed.extend(over);
        }
    }

    /// The instant of the next transition among what is loaded.
    pub fn earliest_transition(&self) -> Instant {
        let grants = self.grants.iter().map(Grant::next_transition);
        let schedules = self.schedules.iter().map(Schedule::next_transition);
        let holds = self.holds.iter().map(Hold::next_transition);
        grants.chain(schedules).chain(holds).min().unwrap_or(Instant::INFINITY)
    }

    /// Ends grants whose time is over, and says what of them is carried over.
    fn end_grants(&mut self, at: Instant) -> Result<Vec<Carried>, Refusal> {
        let mut all = Vec::new();
        for index in 0..self.grants.len() {
            if self.grants.get(index).is_some_and(|g| g.status.is_open() && g.expires_at <= at) {
                let carried = self.carried_part(index, at, &all);
                let part = carried.as_ref().map_or(Amount::ZERO, |carried| carried.part);
                self.expire(index, part, at)?;
                all.extend(carried);
            }
        }
        Ok(all)
    }

    /// What a plan's grant that ends leaves to the next period; `before` ends at the same instant.
    fn carried_part(&self, index: usize, at: Instant, before: &[Carried]) -> Option<Carried> {
        let grant = self.grants.get(index).filter(|g| g.source == Source::Plan && g.status == Status::Active)?;
        let schedule = self.schedules.iter().find(|s| Some(s.id) == grant.schedule_id)?;
        let ours = |id: Option<i64>| id == grant.schedule_id;
        let living = self.grants.iter().filter(|g| {
            g.source == Source::Rollover && g.status == Status::Active && ours(g.schedule_id) && g.expires_at > at
        });
        let leaving = before.iter().filter(|c| self.grants.get(c.index).is_some_and(|g| ours(g.schedule_id)));
        let carried = living
            .map(Grant::remaining)
            .chain(leaving.map(|c| c.part))
            .try_fold(Amount::ZERO, |sum, part| sum.checked_add(part))?;
        let (part, expires_at) = schedule.carry(at, grant.unheld(), carried)?;
        // Sums that would pass what an amount can carry: better no rollover than a pool that cannot be used.
        let all = before.iter().map(|c| c.part).try_fold(part, |sum, part| sum.checked_add(part))?;
        self.figures.granted.checked_add(all)?;
        Some(Carried { index, part, expires_at })
    }

    /// Ends a grant, but for `kept`, which is carried over in a moment.
    fn expire(&mut self, index: usize, kept: Amount, at: Instant) -> Result<(), Refusal> {
        let Some(grant) = self.grants.get_mut(index) else { return Err(Refusal::UnknownGrant) };
        let counted = grant.status == Status::Active;
        let part = grant.unheld().checked_sub(kept).ok_or(Refusal::Overflow)?;
        grant.expired = grant.expired.checked_add(part).ok_or(Refusal::Overflow)?;
        grant.dirty = true;
        if kept.is_zero() {
            grant.status = Status::Expired;
        } else if part.is_zero() {
            return Ok(());
        }
        let (id, restricted) = (grant.id, grant.is_restricted());
        if counted && part.is_zero() {
            // All that is left of it is held, and outlives it.
            Ok(())
        } else if counted {
            self.figures.expired = self.figures.expired.checked_add(part).ok_or(Refusal::Overflow)?;
            self.unrestrict(restricted, part)?;
            self.book(EntryType::Expire, -part, Some(id), at)
        } else {
            // It never counted: an unpaid grant whose time ran out.
            self.append_pending(EntryType::Expire, part, id, at);
            Ok(())
        }
    }

    /// Two rows that cancel out: off the grant that ends, onto one that lives on.
    fn roll_over(&mut self, carried: Carried, at: Instant, now: Instant, next_id: NextId) -> Result<(), Refusal> {
        let Carried { index, part, expires_at } = carried;
        let Some(grant) = self.grants.get_mut(index) else { return Err(Refusal::UnknownGrant) };
        grant.expired = grant.expired.checked_add(part).ok_or(Refusal::Overflow)?;
        grant.status = Status::Expired;
        let id = grant.id;
        let heir = Grant {
            source: Source::Rollover,
            source_grant_id: Some(id),
            expires_at,
            schedule_id: grant.schedule_id,
            status: Status::Active,
            ..Grant::new(next_id(), part, grant.category, grant.priority, at, now)
        };
        self.figures.expired = self.figures.expired.checked_add(part).ok_or(Refusal::Overflow)?;
        self.book(EntryType::RolloverOut, -part, Some(id), at)?;
        self.figures.granted = self.figures.granted.checked_add(part).ok_or(Refusal::Overflow)?;
        let heir_id = heir.id;
        self.push(heir);
        self.book(EntryType::RolloverIn, part, Some(heir_id), at)
    }

    fn begin_grants(&mut self, at: Instant) -> Result<(), Refusal> {
        for index in 0..self.grants.len() {
            let Some(grant) = self.grants.get(index) else { break };
            if grant.status != Status::Scheduled || grant.effective_at > at {
                continue;
            }
            if self.figures.granted.checked_add(grant.amount).is_some() {
                self.start(index, at)?;
            } else {
                // The only way on for a pool whose sums are at their end.
                self.void(grant.id, None, at)?;
                self.explain_last("the sums of the pool have no room for it");
            }
        }
        Ok(())
    }

    /// A schedule at one of its boundaries, or at its subscription's end.
    fn renew(&mut self, index: usize, at: Instant, now: Instant, next_id: NextId) -> Result<(), Refusal> {
        let debt_free = self.figures.debt.is_zero();
        let Some(schedule) = self.schedules.get_mut(index) else { return Ok(()) };
        if schedule.next_transition() > at {
            return Ok(());
        }
        if schedule.ends_at <= at {
            schedule.stop();
            let given = schedule.overdraft;
            self.withdraw_overdraft(given);
            return Ok(());
        }
        let (id, taken) = (schedule.id, schedule.take_period());
        let Some(period) = taken else { return Ok(()) };
        if period.expires_at <= now && debt_free && !schedule.may_roll_over_from(period.effective_at) {
            schedule.skip_expired(now);
            return Ok(());
        }
        self.grant_period(id, &period, Some(period.start), now, next_id)
    }

    /// What higher quantities add to the periods that run.
    pub fn top_up(&mut self, schedules: &HashSet<i64>, now: Instant, next_id: NextId) -> Result<(), Refusal> {
        for index in 0..self.schedules.len() {
            let Some(schedule) = self.schedules.get_mut(index).filter(|s| schedules.contains(&s.id)) else { continue };
            let (id, added) = (schedule.id, schedule.top_up(now));
            if let Some(period) = added {
                self.watch(period.expires_at);
                // Not for the period as such: that has its grant.
                self.grant_period(id, &period, None, now, next_id)?;
            }
        }
        self.settle_debt(now)
    }

    fn grant_period(
        &mut self,
        schedule_id: i64,
        period: &Period,
        period_start: Option<Instant>,
        now: Instant,
        next_id: NextId,
    ) -> Result<(), Refusal> {
        if self.figures.granted.checked_add(period.amount).is_none() {
            // As for a rollover: no more credits, but a pool that can be used.
            return Ok(());
        }
        let grant = Grant {
            source: Source::Plan,
            schedule_id: Some(schedule_id),
            period_start,
            expires_at: period.expires_at,
            ..Grant::new(next_id(), period.amount, period.category, period.priority, period.effective_at, now)
        };
        self.push(grant);
        self.start(self.grants.len() - 1, period.effective_at)
    }

    /// The limit that a plan gave ends with it; one that was set by hand stays.
    pub fn withdraw_overdraft(&mut self, given: Limit) {
        if self.overdraft == given {
            self.overdraft = Limit::Finite(Amount::ZERO);
        }
    }

    /// A grant begins to count. What was voided of it before counts with it, so that the sums agree.
    pub(crate) fn start(&mut self, index: usize, effective_at: Instant) -> Result<(), Refusal> {
        let Some(grant) = self.grants.get_mut(index) else { return Err(Refusal::UnknownGrant) };
        grant.status = Status::Active;
        grant.dirty = true;
        let (id, part, restricted, source) = (grant.id, grant.unheld(), grant.is_restricted(), grant.source);
        let (amount, voided) = (grant.amount, grant.voided);
        let figures = &mut self.figures;
        figures.granted = figures.granted.checked_add(amount).ok_or(Refusal::Overflow)?;
        figures.voided = figures.voided.checked_add(voided).ok_or(Refusal::Overflow)?;
        self.restrict(restricted, part)?;
        self.book(EntryType::Grant, part, Some(id), effective_at)?;
        if source == Source::Plan {
            self.explain_last("plan");
        }
        Ok(())
    }

    /// Debt is paid by the credits that have become active, in burn order, by two rows that cancel out.
    /// Feature-limited credits never pay debt (contract, section 10).
    pub(crate) fn settle_debt(&mut self, at: Instant) -> Result<(), Refusal> {
        if self.figures.debt.is_zero() {
            return Ok(());
        }
        self.sort();
        for index in 0..self.grants.len() {
            let Some(grant) = self.grants.get(index) else { break };
            let part = grant.available().min(self.figures.debt);
            if part.is_zero() || grant.is_restricted() {
                continue;
            }
            self.figures.debt = self.figures.debt.checked_sub(part).ok_or(Refusal::Overflow)?;
            self.book(EntryType::DebtSettle, part, None, at)?;
            let id = self.consume(index, part)?;
            self.book(EntryType::DebtSettle, -part, Some(id), at)?;
        }
        Ok(())
    }
}
