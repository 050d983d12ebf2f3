//! Holds: credits put aside for a running job, until it is settled, released, or its time is over.
//!
//! A held part stays the hold's, whatever becomes of its grant: it can be settled after the grant's end, but what comes
//! back to a grant that is over is over, too (contract, section 10).

use std::rc::Rc;

use crate::{Amount, Drawn, EntryType, GrantChange, Instant, OnInsufficient, Refusal, Status, Wallet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldStatus {
    Active,
    Settled,
    Released,
    /// Timed out.
    Expired,
}

impl HoldStatus {
    const NAMES: [(HoldStatus, &'static str); 4] = [
        (HoldStatus::Active, "active"),
        (HoldStatus::Settled, "settled"),
        (HoldStatus::Released, "released"),
        (HoldStatus::Expired, "expired"),
    ];

    pub fn as_str(self) -> &'static str {
        HoldStatus::NAMES.iter().find(|(status, _)| *status == self).map_or("", |(_, name)| name)
    }

    pub fn parse(text: &str) -> Option<HoldStatus> {
        HoldStatus::NAMES.iter().find(|(_, name)| *name == text).map(|(status, _)| *status)
    }
}

/// What a hold has of one grant, or (`None`) of the overdraft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldPart {
    pub grant_id: Option<i64>,
    pub amount: Amount,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub id: Rc<str>,
    pub status: HoldStatus,
    /// In the order in which they were taken, and will be charged; the overdraft's is the last.
    pub parts: Vec<HeldPart>,
    pub expires_at: Instant,
    /// When it began and, unless it is active, ended.
    pub created_at: Instant,
    pub closed_at: Option<Instant>,
    /// Settled so far, beyond the hold included.
    pub charged: Amount,
    /// Not in its table yet.
    pub fresh: bool,
    /// Changed since it was loaded.
    pub dirty: bool,
}

impl Hold {
    /// What is still held.
    pub fn held(&self) -> Amount {
        Amount::from_raw(self.parts.iter().map(|part| part.amount.raw()).sum())
    }

    pub fn next_transition(&self) -> Instant {
        if self.status == HoldStatus::Active { self.expires_at } else { Instant::INFINITY }
    }

    /// Takes `amount` out of the parts, first ones first.
    fn withdraw(&mut self, amount: Amount) -> Option<Vec<HeldPart>> {
        let mut rest = amount;
        let mut taken = Vec::new();
        for part in &mut self.parts {
            let amount = part.amount.min(rest);
            if amount.is_positive() {
                taken.push(HeldPart { amount, ..*part });
                part.amount = part.amount.checked_sub(amount)?;
                rest = rest.checked_sub(amount)?;
            }
        }
        self.parts.retain(|part| part.amount.is_positive());
        rest.is_zero().then_some(taken)
    }
}

impl Wallet {
    /// Puts `cost` aside, as a usage of `feature` would take it.
    pub fn reserve(
        &mut self,
        id: &Rc<str>,
        cost: Amount,
        feature: Option<&str>,
        expires_at: Instant,
        now: Instant,
    ) -> Result<(), Refusal> {
        if self.frozen {
            return Err(Refusal::Frozen);
        }
        let mut rest = self.fit(cost, feature, OnInsufficient::Reject)?.credits;
        let first = self.entries.len();
        let mut parts = Vec::new();
        for index in 0..self.grants.len() {
            let Some(grant) = self.grants.get_mut(index) else { break };
            let amount = grant.available().min(rest);
            if amount.is_zero() || !grant.serves(feature) {
                continue;
            }
            grant.held = grant.held.checked_add(amount).ok_or(Refusal::Overflow)?;
            grant.dirty = true;
            let (grant_id, restricted) = (Some(grant.id), grant.is_restricted());
            self.unrestrict(restricted, amount)?;
            self.put_aside_part(HeldPart { grant_id, amount }, now, &mut parts)?;
            rest = rest.checked_sub(amount).ok_or(Refusal::Overflow)?;
        }
        if rest.is_positive() {
            self.figures.unbacked = self.figures.unbacked.checked_add(rest).ok_or(Refusal::Overflow)?;
            self.put_aside_part(HeldPart { grant_id: None, amount: rest }, now, &mut parts)?;
        }
        self.attribute(first, id);
        self.watch(expires_at);
        self.holds.push(Hold {
            id: Rc::clone(id),
            status: HoldStatus::Active,
            parts,
            expires_at,
            created_at: now,
            closed_at: None,
            charged: Amount::ZERO,
            fresh: true,
            dirty: false,
        });
        Ok(())
    }

    fn put_aside_part(&mut self, part: HeldPart, now: Instant, parts: &mut Vec<HeldPart>) -> Result<(), Refusal> {
        self.figures.held = self.figures.held.checked_add(part.amount).ok_or(Refusal::Overflow)?;
        self.book(EntryType::Reserve, -part.amount, part.grant_id, now)?;
        parts.push(part);
        Ok(())
    }

    /// Charges `charge` to a hold: up to what is held from the grants that back it, an excess as any usage. `close`
    /// gives the rest back, otherwise it stays held.
    pub fn settle(
        &mut self,
        id: &str,
        charge: Amount,
        feature: Option<&str>,
        close: bool,
        now: Instant,
    ) -> Result<Drawn, Refusal> {
        let hold = self.open_hold(id)?;
        let held = hold.held();
        let within = charge.min(held);
        let beyond = charge.checked_sub(within).ok_or(Refusal::Overflow)?;
        if beyond.is_positive() && self.frozen {
            // The excess is usage like any other.
            return Err(Refusal::Frozen);
        }
        let hold = self.open_hold(id)?;
        let overdrawn = hold.parts.iter().any(|part| part.grant_id.is_none());
        if (beyond.is_positive() || overdrawn) && !self.all_loaded {
            return Err(Refusal::NeedsAllGrants);
        }
        let first = self.entries.len();
        let leaving = if close { held } else { within };
        let taken = self.give_back(id, leaving, EntryType::Release, now)?;
        let (mut rest, mut owed) = (within, Amount::ZERO);
        let mut returned = Vec::new();
        for part in taken {
            let charged = part.amount.min(rest);
            rest = rest.checked_sub(charged).ok_or(Refusal::Overflow)?;
            let left = part.amount.checked_sub(charged).ok_or(Refusal::Overflow)?;
            match part.grant_id {
                Some(grant_id) if charged.is_positive() => {
                    let index = self.index(grant_id)?;
                    self.consume(index, charged)?;
                    self.book(EntryType::Consume, -charged, Some(grant_id), now)?;
                }
                Some(_) => {}
                // Nothing backed it; by now there may be credits, otherwise it is debt.
                None => owed = owed.checked_add(charged).ok_or(Refusal::Overflow)?,
            }
            returned.push(HeldPart { amount: left, ..part });
        }
        if owed.is_positive() {
            self.sort();
            self.take(owed, feature, now)?;
        }
        self.end_returned(&returned, now)?;
        self.attribute(first, &Rc::from(id));
        self.settle_debt(now)?;
        if beyond.is_positive() {
            let first = self.entries.len();
            // The hold itself was counted by the limits when it was made; only the excess meets them now.
            let fit = self.fit(beyond, feature, OnInsufficient::Reject)?;
            self.take(fit.credits, feature, now)?;
            self.attribute(first, &Rc::from(id));
        }
        let hold = self.open_hold(id)?;
        hold.charged = hold.charged.checked_add(charge).ok_or(Refusal::Overflow)?;
        if close {
            hold.status = HoldStatus::Settled;
            hold.closed_at = Some(now);
        }
        Ok(Drawn { credits: charge, shortfall: Amount::ZERO })
    }

    /// Gives all of a hold back.
    pub fn release(&mut self, id: &str, now: Instant) -> Result<Amount, Refusal> {
        let held = self.open_hold(id)?.held();
        self.end_hold(id, HoldStatus::Released, EntryType::Release, now)?;
        self.settle_debt(now)?;
        Ok(held)
    }

    /// Gives a hold another end. A row of 0 says so. `false`: it had that end.
    pub fn extend(&mut self, id: &str, expires_at: Instant, now: Instant) -> Result<bool, Refusal> {
        let hold = self.open_hold(id)?;
        let before = hold.expires_at;
        if before == expires_at {
            return Ok(false);
        }
        hold.expires_at = expires_at;
        self.watch(expires_at);
        let first = self.entries.len();
        self.append(EntryType::Update, Amount::ZERO, None, now);
        self.attribute(first, &Rc::from(id));
        if let Some(entry) = self.entries.last_mut() {
            entry.change = GrantChange { expires_at: Some((before, expires_at)), ..GrantChange::default() };
        }
        Ok(true)
    }

    /// Ends the holds whose time is over. What comes back pays debt with the rest of the instant.
    pub(crate) fn end_holds(&mut self, at: Instant) -> Result<(), Refusal> {
        for index in 0..self.holds.len() {
            let Some(hold) = self.holds.get(index) else { break };
            if hold.next_transition() <= at {
                let id = Rc::clone(&hold.id);
                self.end_hold(&id, HoldStatus::Expired, EntryType::ReservationExpire, at)?;
            }
        }
        Ok(())
    }

    fn end_hold(&mut self, id: &str, status: HoldStatus, kind: EntryType, at: Instant) -> Result<(), Refusal> {
        let held = self.open_hold(id)?.held();
        let first = self.entries.len();
        let returned = self.give_back(id, held, kind, at)?;
        self.end_returned(&returned, at)?;
        self.attribute(first, &Rc::from(id));
        let hold = self.open_hold(id)?;
        hold.status = status;
        hold.closed_at = Some(at);
        Ok(())
    }

    /// Takes `amount` out of a hold and books it back, also to grants that are over.
    fn give_back(&mut self, id: &str, amount: Amount, kind: EntryType, at: Instant) -> Result<Vec<HeldPart>, Refusal> {
        let taken = self.open_hold(id)?.withdraw(amount).ok_or(Refusal::Overflow)?;
        for part in &taken {
            self.figures.held = self.figures.held.checked_sub(part.amount).ok_or(Refusal::Overflow)?;
            match part.grant_id {
                Some(grant_id) => {
                    let index = self.index(grant_id)?;
                    let Some(grant) = self.grants.get_mut(index) else { return Err(Refusal::UnknownGrant) };
                    grant.held = grant.held.checked_sub(part.amount).ok_or(Refusal::Overflow)?;
                    grant.dirty = true;
                    let restricted = grant.is_restricted();
                    self.restrict(restricted, part.amount)?;
                }
                None => {
                    let unbacked = self.figures.unbacked.checked_sub(part.amount);
                    self.figures.unbacked = unbacked.ok_or(Refusal::Overflow)?;
                }
            }
            self.book(kind, part.amount, part.grant_id, at)?;
        }
        Ok(taken)
    }

    /// What came back to grants that are over is over at once.
    fn end_returned(&mut self, returned: &[HeldPart], at: Instant) -> Result<(), Refusal> {
        for part in returned.iter().filter(|part| part.amount.is_positive()) {
            if let Some(grant_id) = part.grant_id {
                let status = self.find(grant_id)?.status;
                let kind = if status == Status::Voided { EntryType::Void } else { EntryType::Expire };
                self.end_part(grant_id, part.amount, kind, at)?;
            }
        }
        Ok(())
    }

    /// Takes a part that has just come back off a grant that is over; nothing where it is active.
    pub(crate) fn end_part(
        &mut self,
        grant_id: i64,
        part: Amount,
        kind: EntryType,
        at: Instant,
    ) -> Result<(), Refusal> {
        let index = self.index(grant_id)?;
        let Some(grant) = self.grants.get_mut(index) else { return Err(Refusal::UnknownGrant) };
        if grant.status == Status::Active {
            return Ok(());
        }
        grant.dirty = true;
        let restricted = grant.is_restricted();
        if kind == EntryType::Void {
            grant.voided = grant.voided.checked_add(part).ok_or(Refusal::Overflow)?;
            self.figures.voided = self.figures.voided.checked_add(part).ok_or(Refusal::Overflow)?;
        } else {
            grant.expired = grant.expired.checked_add(part).ok_or(Refusal::Overflow)?;
            self.figures.expired = self.figures.expired.checked_add(part).ok_or(Refusal::Overflow)?;
        }
        self.unrestrict(restricted, part)?;
        self.book(kind, -part, Some(grant_id), at)
    }

    pub fn find_hold(&self, id: &str) -> Option<&Hold> {
        self.holds.iter().find(|hold| &*hold.id == id)
    }

    /// An open hold, to be changed.
    fn open_hold(&mut self, id: &str) -> Result<&mut Hold, Refusal> {
        let hold = self.holds.iter_mut().find(|hold| &*hold.id == id && hold.status == HoldStatus::Active);
        let hold = hold.ok_or(Refusal::HoldClosed)?;
        hold.dirty = true;
        Ok(hold)
    }
}
