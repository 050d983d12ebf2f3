//! What is done to single grants of a pool: paid for, voided, changed, moved to another pool.

use crate::{Amount, EntryType, Grant, GrantChange, Instant, Limit, Refusal, Source, Status, Wallet};

impl Wallet {
    /// The payment of a grant has arrived. `false`: it had arrived before.
    pub fn confirm(&mut self, grant_id: i64, now: Instant) -> Result<bool, Refusal> {
        let index = self.index(grant_id)?;
        let Some(grant) = self.grants.get_mut(index) else { return Err(Refusal::UnknownGrant) };
        if !grant.unpaid {
            return Ok(false);
        }
        if grant.status != Status::PendingPayment {
            return Err(Refusal::GrantClosed { status: grant.status });
        }
        grant.unpaid = false;
        grant.dirty = true;
        if grant.effective_at > now {
            grant.status = Status::Scheduled;
            let next = grant.next_transition();
            self.next_transition = self.next_transition.min(next);
            self.append(EntryType::Update, Amount::ZERO, Some(grant_id), now);
        } else {
            // It counts from the payment on, not from the start that it was meant to have.
            self.start(index, now)?;
            self.settle_debt(now)?;
        }
        Ok(true)
    }

    /// Takes back `amount` of a grant, or all that is neither consumed nor held. Returns what was taken;
    /// a grant that is used up, expired or voided gives zero, whatever was asked.
    pub fn void(&mut self, grant_id: i64, amount: Option<Amount>, now: Instant) -> Result<Amount, Refusal> {
        let index = self.index(grant_id)?;
        let Some(grant) = self.grants.get_mut(index) else { return Err(Refusal::UnknownGrant) };
        if !grant.status.is_open() {
            return Ok(Amount::ZERO);
        }
        let available = grant.unheld();
        let part = amount.unwrap_or(available);
        if part > available {
            return Err(Refusal::ExceedsGrant { available });
        }
        if part.is_zero() && (amount.is_some() || grant.held.is_zero()) {
            return Ok(part);
        }
        grant.voided = grant.voided.checked_add(part).ok_or(Refusal::Overflow)?;
        grant.dirty = true;
        let counted = grant.status == Status::Active;
        let restricted = grant.is_restricted();
        // As a whole, it also stays away from what a hold gives back.
        if grant.remaining().is_zero() || amount.is_none() {
            grant.status = Status::Voided;
        }
        if counted {
            self.figures.voided = self.figures.voided.checked_add(part).ok_or(Refusal::Overflow)?;
            self.unrestrict(restricted, part)?;
            self.book(EntryType::Void, -part, Some(grant_id), now)?;
        } else {
            self.append_pending(EntryType::Void, part, grant_id, now);
        }
        Ok(part)
    }

    /// Makes a grant end earlier. A row of 0 says so; the end itself comes by the clock.
    pub fn end_earlier(&mut self, grant_id: i64, at: Instant, now: Instant) -> Result<(), Refusal> {
        let grant = self.find(grant_id)?;
        if grant.status.is_open() && grant.expires_at > at {
            self.update(grant_id, None, Some(at), now)?;
        }
        Ok(())
    }

    /// Changes the priority or the end of a grant to which something can still happen. A row of 0 says what.
    pub fn update(
        &mut self,
        grant_id: i64,
        priority: Option<i16>,
        expires_at: Option<Instant>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let index = self.index(grant_id)?;
        let Some(grant) = self.grants.get_mut(index) else { return Err(Refusal::UnknownGrant) };
        let change = GrantChange {
            priority: priority.filter(|new| *new != grant.priority).map(|new| (grant.priority, new)),
            expires_at: expires_at.filter(|new| *new != grant.expires_at).map(|new| (grant.expires_at, new)),
        };
        if change != GrantChange::default() {
            if !grant.status.is_open() {
                return Err(Refusal::GrantClosed { status: grant.status });
            }
            grant.priority = priority.unwrap_or(grant.priority);
            grant.expires_at = expires_at.unwrap_or(grant.expires_at);
            grant.dirty = true;
            self.next_transition = self.next_transition.min(grant.next_transition());
            // What is loaded may no longer be what usage draws first.
            self.prefix_loaded = false;
        }
        self.append(EntryType::Update, Amount::ZERO, Some(grant_id), now);
        if let Some(entry) = self.entries.last_mut() {
            entry.change = change;
        }
        Ok(())
    }

    /// Takes `amount` of the unlimited grants for another pool, in the order of consumption. Only what is there:
    /// nobody's overdraft goes to another pool.
    pub fn transfer(
        &mut self,
        amount: Amount,
        new_id: &mut dyn FnMut() -> i64,
        now: Instant,
    ) -> Result<Vec<Grant>, Refusal> {
        if self.frozen {
            return Err(Refusal::Frozen);
        }
        let balance = self.balance_for(None)?;
        if amount > balance {
            let shortfall = amount.checked_sub(balance).ok_or(Refusal::Overflow)?;
            let floor = Limit::Finite(Amount::ZERO);
            return Err(Refusal::Insufficient { balance, required: amount, shortfall, floor });
        }
        self.check_prefix(amount, None)?;
        let mut rest = amount;
        let mut moved = Vec::new();
        for index in 0..self.grants.len() {
            let Some(grant) = self.grants.get(index) else { break };
            let part = grant.available().min(rest);
            if part.is_zero() || grant.is_restricted() {
                continue;
            }
            let grant = self.transfer_out(grant.id, part, new_id(), now)?;
            // In the other pool it is nobody's plan's any more.
            moved.push(Grant { source: Source::Transfer, schedule_id: None, ..grant });
            rest = rest.checked_sub(part).ok_or(Refusal::Overflow)?;
        }
        Ok(moved)
    }

    /// Takes `part` of an active grant out of the pool. Returns the grant that it is to be in another pool, which
    /// keeps category, priority and expiry.
    pub fn transfer_out(&mut self, grant_id: i64, part: Amount, new_id: i64, now: Instant) -> Result<Grant, Refusal> {
        if self.frozen {
            return Err(Refusal::Frozen);
        }
        let index = self.index(grant_id)?;
        let Some(grant) = self.grants.get_mut(index) else { return Err(Refusal::UnknownGrant) };
        if part > grant.available() {
            return Err(Refusal::ExceedsGrant { available: grant.available() });
        }
        grant.voided = grant.voided.checked_add(part).ok_or(Refusal::Overflow)?;
        grant.dirty = true;
        if grant.remaining().is_zero() {
            // Moving is no judgement on what was used before: that may still be reversed.
            grant.status = if grant.consumed.is_zero() { Status::Voided } else { Status::Depleted };
        }
        let moved = Grant {
            features: grant.features.clone(),
            expires_at: grant.expires_at,
            source: grant.source,
            schedule_id: grant.schedule_id,
            source_grant_id: Some(grant_id),
            ..Grant::new(new_id, part, grant.category, grant.priority, grant.effective_at, now)
        };
        let restricted = grant.is_restricted();
        self.figures.voided = self.figures.voided.checked_add(part).ok_or(Refusal::Overflow)?;
        self.unrestrict(restricted, part)?;
        self.book(EntryType::TransferOut, -part, Some(grant_id), now)?;
        Ok(moved)
    }

    /// Takes in what `transfer_out` took out of another pool.
    pub fn transfer_in(&mut self, moved: Grant, now: Instant) -> Result<(), Refusal> {
        let (id, part, restricted) = (moved.id, moved.amount, moved.is_restricted());
        self.next_transition = self.next_transition.min(moved.expires_at);
        self.push(Grant { status: Status::Active, ..moved });
        self.figures.granted = self.figures.granted.checked_add(part).ok_or(Refusal::Overflow)?;
        self.restrict(restricted, part)?;
        self.book(EntryType::TransferIn, part, Some(id), now)?;
        self.settle_debt(now)
    }
}
