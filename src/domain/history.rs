//! A pool as it was: what was booked later is taken back.

use std::collections::HashMap;

use crate::{Amount, EntryType, Grant, Instant, Refusal, Status, Wallet};

/// Ledger rows of one kind and grant, added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookedRows {
    pub kind: EntryType,
    pub grant_id: Option<i64>,
    /// Sum of their effects on the balance.
    pub amount: Amount,
    /// Of the first of them.
    pub effective_at: Instant,
    /// The grant's priority before the first of them changed it.
    pub priority_before: Option<i16>,
    /// They are about a hold.
    pub of_hold: bool,
    /// The grant's end before the first of them changed it.
    pub end_before: Option<Instant>,
}

impl Wallet {
    /// The pool as it was when its last row was recorded, at `known_at`, of the pool as it is now with all its grants.
    /// `rows` are those that were recorded later. What the clock did since is for `advance` to do again.
    pub fn rewind(&mut self, known_at: Instant, rows: &[BookedRows]) -> Result<(), Refusal> {
        self.take_back(rows)?;
        let mut later: HashMap<i64, Vec<&BookedRows>> = HashMap::new();
        for row in rows {
            later.entry(row.grant_id.unwrap_or_default()).or_default().push(row);
        }
        self.grants.retain(|grant| grant.created_at <= known_at);
        for grant in &mut self.grants {
            let Some(rows) = later.get(&grant.id) else {
                if grant.status == Status::Expired && grant.expires_at > known_at && grant.remaining().is_positive() {
                    // All of it was held when it ended: no row says so.
                    grant.status = Status::Active;
                }
                continue;
            };
            grant.expires_at = rows.iter().find_map(|row| row.end_before).unwrap_or(grant.expires_at);
            grant.priority = rows.iter().find_map(|row| row.priority_before).unwrap_or(grant.priority);
            let not_begun = |unpaid| if unpaid { Status::PendingPayment } else { Status::Scheduled };
            let booked = |kind: EntryType| rows.iter().find(|row| row.kind == kind);
            if let Some(start) = booked(EntryType::Grant) {
                // By the clock at its own start; where its payment came late, at another instant.
                grant.unpaid = start.effective_at != grant.effective_at;
                grant.status = not_begun(grant.unpaid);
            } else if booked(EntryType::Expire).is_some_and(|row| row.amount.is_zero()) {
                grant.expired = Amount::ZERO;
                grant.status = not_begun(grant.unpaid);
            } else if !matches!(grant.status, Status::Scheduled) && !grant.unpaid {
                // What a hold gives back to a voided grant is voided again.
                let voids = |row: &&&BookedRows| row.kind == EntryType::Void && !row.of_hold;
                let voided_since = rows.iter().any(|row| voids(&row)) || booked(EntryType::TransferOut).is_some();
                grant.status = match grant.status {
                    // What it still had in a hold, or was reversed, came back later.
                    Status::Voided if !voided_since => Status::Voided,
                    Status::Expired if grant.remaining().is_zero() && grant.expired.is_positive() => Status::Expired,
                    _ if grant.remaining().is_zero() => Status::Depleted,
                    _ if grant.unheld().is_zero() && grant.expires_at <= known_at => Status::Expired,
                    _ => Status::Active,
                };
            }
        }
        let restricted = self.grants.iter().filter(|grant| grant.is_restricted()).map(Grant::available);
        self.figures.restricted =
            restricted.into_iter().try_fold(Amount::ZERO, Amount::checked_add).ok_or(Refusal::Overflow)?;
        self.next_transition = Instant::NEG_INFINITY;
        self.entries.clear();
        Ok(())
    }

    /// Counts rows again that were recorded later, but say of themselves that they count earlier.
    pub fn put_back(&mut self, rows: &[BookedRows]) -> Result<(), Refusal> {
        let minus = |row: &BookedRows| BookedRows { amount: -row.amount, grant_id: None, ..*row };
        self.take_back(&rows.iter().map(minus).collect::<Vec<BookedRows>>())
    }

    /// Undoes rows in the sums of the pool and of its grants.
    fn take_back(&mut self, rows: &[BookedRows]) -> Result<(), Refusal> {
        for row in rows {
            self.take_back_one(row).ok_or(Refusal::Overflow)?;
        }
        Ok(())
    }

    fn take_back_one(&mut self, row: &BookedRows) -> Option<()> {
        let figures = &mut self.figures;
        let grant = self.grants.iter_mut().find(|grant| Some(grant.id) == row.grant_id);
        figures.balance = figures.balance.checked_sub(row.amount)?;
        match (row.kind, grant) {
            (EntryType::Open | EntryType::Schedule | EntryType::Update, _) => {}
            (EntryType::Grant, Some(grant)) => {
                // What had been voided of it before it began counts with it.
                figures.granted = figures.granted.checked_sub(grant.amount)?;
                let voided = grant.amount.checked_sub(row.amount)?;
                figures.voided = figures.voided.checked_sub(voided)?;
            }
            (EntryType::Grant | EntryType::RolloverIn | EntryType::TransferIn, _) => {
                figures.granted = figures.granted.checked_sub(row.amount)?;
            }
            (EntryType::Reserve | EntryType::Release | EntryType::ReservationExpire, grant) => {
                figures.held = figures.held.checked_add(row.amount)?;
                match (grant, row.grant_id) {
                    (Some(grant), _) => grant.held = grant.held.checked_add(row.amount)?,
                    (None, None) => figures.unbacked = figures.unbacked.checked_add(row.amount)?,
                    (None, Some(_)) => {}
                }
            }
            (EntryType::Debt | EntryType::DebtSettle | EntryType::Reverse, None) if row.grant_id.is_none() => {
                figures.debt = figures.debt.checked_add(row.amount)?;
            }
            (EntryType::Consume | EntryType::Debt | EntryType::DebtSettle | EntryType::Reverse, grant) => {
                figures.consumed = figures.consumed.checked_add(row.amount)?;
                if let Some(grant) = grant {
                    grant.consumed = grant.consumed.checked_add(row.amount)?;
                }
            }
            (EntryType::Expire | EntryType::RolloverOut, grant) => {
                figures.expired = figures.expired.checked_add(row.amount)?;
                if let Some(grant) = grant {
                    grant.expired = grant.expired.checked_add(row.amount)?;
                }
            }
            (EntryType::Void | EntryType::TransferOut, grant) => {
                figures.voided = figures.voided.checked_add(row.amount)?;
                if let Some(grant) = grant {
                    grant.voided = grant.voided.checked_add(row.amount)?;
                }
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Category, Entry, Limit, OnInsufficient};

    fn at(day: i64) -> Instant {
        Instant::from_micros(day * 86_400_000_000)
    }

    fn rows(entries: &[Entry]) -> Vec<BookedRows> {
        let row = |entry: &Entry| BookedRows {
            kind: entry.kind,
            grant_id: entry.grant_id,
            amount: entry.amount,
            effective_at: entry.effective_at,
            of_hold: entry.reservation.is_some(),
            priority_before: entry.change.priority.map(|(from, _)| from),
            end_before: entry.change.expires_at.map(|(from, _)| from),
        };
        entries.iter().map(row).collect()
    }

    #[test]
    fn what_came_later_is_as_if_it_had_not_been() {
        let mut wallet = Wallet::open(Limit::Finite(Amount::from_units(50)), at(0));
        let units = Amount::from_units;
        let grant = |id, amount, from, until| Grant {
            expires_at: at(until),
            ..Grant::new(id, units(amount), Category::Paid, 50, at(from), at(0))
        };
        let mut no_ids = || 0;
        wallet.add(grant(1, 100, 0, 10), false, at(0)).unwrap();
        wallet.add(grant(2, 40, 8, 20), false, at(0)).unwrap();
        wallet.draw(units(30), None, OnInsufficient::Reject, at(1)).unwrap();
        let then = wallet.clone();
        wallet.draw(units(90), None, OnInsufficient::Reject, at(5)).unwrap();
        wallet.advance(at(12), &mut no_ids).unwrap();
        wallet.void(2, Some(units(5)), at(12)).unwrap();
        let mut past = wallet.clone();
        past.rewind(at(1), &rows(&wallet.entries[then.entries.len()..])).unwrap();
        assert_eq!(past.figures, then.figures);
        past.advance(at(9), &mut no_ids).unwrap();
        let mut expected = then.clone();
        expected.advance(at(9), &mut no_ids).unwrap();
        assert_eq!((past.figures, past.figures.balance), (expected.figures, units(110)));
    }
}
