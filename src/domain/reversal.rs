//! Usage taken back: to the grants that it was drawn from, last drawn first (contract, sections 5 and 10).

use crate::{Amount, EntryType, Instant, Refusal, Status, Wallet};

/// What one row of a usage drew, less what has been reversed of it: of a grant, or (`None`) as debt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrawnPart {
    pub grant_id: Option<i64>,
    pub left: Amount,
}

/// What a grant has paid of the pool's debt, less what of that was undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaidDebt {
    pub grant_id: i64,
    pub amount: Amount,
}

impl Wallet {
    /// Gives `credits` of a usage back. `parts` in the order in which they were drawn; `paid` the debt that grants have
    /// paid since, latest first. The grants of both are loaded, whatever their state.
    pub fn reverse(
        &mut self,
        parts: &[DrawnPart],
        paid: &[PaidDebt],
        credits: Amount,
        now: Instant,
    ) -> Result<(), Refusal> {
        let (mut rest, mut paid) = (credits, paid.to_vec());
        for part in parts.iter().rev() {
            let amount = part.left.min(rest);
            if amount.is_zero() {
                continue;
            }
            rest = rest.checked_sub(amount).ok_or(Refusal::Overflow)?;
            match part.grant_id {
                Some(grant_id) => self.return_to(grant_id, amount, EntryType::Reverse, now)?,
                None => self.reverse_debt(amount, &mut paid, now)?,
            }
        }
        if rest.is_positive() {
            return Err(Refusal::Overflow);
        }
        self.settle_debt(now)
    }

    /// The pool's open debt shrinks first. What grants have paid since goes back to them: the payment is undone, latest
    /// first, and then the debt.
    fn reverse_debt(&mut self, amount: Amount, paid: &mut [PaidDebt], now: Instant) -> Result<(), Refusal> {
        let open = amount.min(self.figures.debt);
        if open.is_positive() {
            self.shrink_debt(open, now)?;
        }
        let mut rest = amount.checked_sub(open).ok_or(Refusal::Overflow)?;
        for payment in paid {
            let part = payment.amount.min(rest);
            if part.is_zero() {
                continue;
            }
            rest = rest.checked_sub(part).ok_or(Refusal::Overflow)?;
            payment.amount = payment.amount.checked_sub(part).ok_or(Refusal::Overflow)?;
            self.return_to(payment.grant_id, part, EntryType::DebtSettle, now)?;
            self.figures.debt = self.figures.debt.checked_add(part).ok_or(Refusal::Overflow)?;
            self.book(EntryType::DebtSettle, -part, None, now)?;
            self.shrink_debt(part, now)?;
        }
        if rest.is_zero() { Ok(()) } else { Err(Refusal::Overflow) }
    }

    fn shrink_debt(&mut self, part: Amount, now: Instant) -> Result<(), Refusal> {
        self.figures.debt = self.figures.debt.checked_sub(part).ok_or(Refusal::Overflow)?;
        self.book(EntryType::Reverse, part, None, now)
    }

    /// Undoes a consumption. A grant that was only used up goes on; to one that is over it comes back and expires.
    fn return_to(&mut self, grant_id: i64, part: Amount, kind: EntryType, now: Instant) -> Result<(), Refusal> {
        let index = self.index(grant_id)?;
        let Some(grant) = self.grants.get_mut(index) else { return Err(Refusal::UnknownGrant) };
        grant.consumed = grant.consumed.checked_sub(part).ok_or(Refusal::Overflow)?;
        grant.dirty = true;
        if grant.status == Status::Depleted {
            grant.status = if grant.expires_at > now { Status::Active } else { Status::Expired };
            self.next_transition = self.next_transition.min(grant.next_transition());
            // It may come before what is loaded.
            self.prefix_loaded = false;
        }
        let restricted = grant.is_restricted();
        self.restrict(restricted, part)?;
        self.figures.consumed = self.figures.consumed.checked_sub(part).ok_or(Refusal::Overflow)?;
        self.book(kind, part, Some(grant_id), now)?;
        self.end_part(grant_id, part, EntryType::Expire, now)
    }
}
