//! Grants: their states and the order in which usage draws from them.

use std::cmp::Ordering;

use crate::{Amount, Instant, fingerprint};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    Paid,
    Promotional,
    Recurring,
}

impl Category {
    pub fn parse(text: &str) -> Option<Category> {
        Some(match text {
            "paid" => Category::Paid,
            "promotional" => Category::Promotional,
            "recurring" => Category::Recurring,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Category::Paid => "paid",
            Category::Promotional => "promotional",
            Category::Recurring => "recurring",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Paid for, but `effective_at` lies ahead.
    Scheduled,
    /// Unusable until its payment is confirmed.
    PendingPayment,
    Active,
    Depleted,
    Expired,
    Voided,
}

impl Status {
    pub fn parse(text: &str) -> Option<Status> {
        Some(match text {
            "scheduled" => Status::Scheduled,
            "pending_payment" => Status::PendingPayment,
            "active" => Status::Active,
            "depleted" => Status::Depleted,
            "expired" => Status::Expired,
            "voided" => Status::Voided,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Scheduled => "scheduled",
            Status::PendingPayment => "pending_payment",
            Status::Active => "active",
            Status::Depleted => "depleted",
            Status::Expired => "expired",
            Status::Voided => "voided",
        }
    }

    /// Something can still happen to the grant by the clock alone, or by a usage.
    pub fn is_open(self) -> bool {
        matches!(self, Status::Scheduled | Status::PendingPayment | Status::Active)
    }
}

/// Where a grant came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Manual,
    Recharge,
    /// A plan's entry, for one period.
    Plan,
    /// What was carried over from a plan's grant.
    Rollover,
    /// Moved here from another pool by a call.
    Transfer,
}

impl Source {
    pub fn parse(text: &str) -> Option<Source> {
        Some(match text {
            "manual" => Source::Manual,
            "recharge" => Source::Recharge,
            "plan" => Source::Plan,
            "rollover" => Source::Rollover,
            "transfer" => Source::Transfer,
            _ => return None,
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Source::Manual => "manual",
            Source::Recharge => "recharge",
            Source::Plan => "plan",
            Source::Rollover => "rollover",
            Source::Transfer => "transfer",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub id: i64,
    pub category: Category,
    pub priority: i16,
    /// Usable for these features only; `None` for all.
    pub features: Option<Vec<String>>,
    pub amount: Amount,
    pub consumed: Amount,
    pub held: Amount,
    pub expired: Amount,
    pub voided: Amount,
    pub status: Status,
    /// Its payment has not been confirmed, whatever has become of it.
    pub unpaid: bool,
    pub effective_at: Instant,
    /// `Instant::INFINITY` for none.
    pub expires_at: Instant,
    pub created_at: Instant,
    pub source: Source,
    /// The schedule that made it.
    pub schedule_id: Option<i64>,
    /// The boundary that it was granted for.
    pub period_start: Option<Instant>,
    /// The grant whose rest it carries on.
    pub source_grant_id: Option<i64>,
    /// Not in its table yet.
    pub fresh: bool,
    /// Changed since it was loaded.
    pub dirty: bool,
}

impl Grant {
    /// A grant for every feature and without an end, that has not begun and is in no table.
    pub fn new(
        id: i64,
        amount: Amount,
        category: Category,
        priority: i16,
        effective_at: Instant,
        created_at: Instant,
    ) -> Grant {
        Grant {
            id,
            category,
            priority,
            features: None,
            amount,
            consumed: Amount::ZERO,
            held: Amount::ZERO,
            expired: Amount::ZERO,
            voided: Amount::ZERO,
            status: Status::Scheduled,
            unpaid: false,
            effective_at,
            expires_at: Instant::INFINITY,
            created_at,
            source: Source::Manual,
            schedule_id: None,
            period_start: None,
            source_grant_id: None,
            fresh: true,
            dirty: false,
        }
    }

    /// What was promised with the grant, as a short hash: the ledger's rows keep it, so that a change beside them shows.
    pub fn terms_digest(&self) -> i64 {
        let (priority, amount) = (self.priority.to_string(), self.amount.to_string());
        let times = [self.effective_at, self.expires_at].map(|at| at.micros().to_string());
        let mut fields = vec![Some(self.category.as_str()), Some(&priority), Some(&amount)];
        fields.extend(times.iter().map(|at| Some(at.as_str())));
        fields.push(Some(if self.unpaid { "unpaid" } else { "paid" }));
        let features = self.features.iter().flatten();
        fields.extend(features.map(|feature| Some(feature.as_str())));
        fingerprint(&fields)
    }

    /// What is left of the grant, the held part included. Invariant: never negative.
    pub fn remaining(&self) -> Amount {
        Amount::from_raw(self.amount.raw() - self.consumed.raw() - self.expired.raw() - self.voided.raw())
    }

    /// What is left and not held; counts in the balance while the grant is active.
    pub fn unheld(&self) -> Amount {
        Amount::from_raw(self.remaining().raw() - self.held.raw())
    }

    /// What a usage could draw now.
    pub fn available(&self) -> Amount {
        if self.status == Status::Active { self.unheld() } else { Amount::ZERO }
    }

    pub fn is_restricted(&self) -> bool {
        self.features.is_some()
    }

    /// Whether a usage of `feature` (`None`: of credits without a feature) may draw from it.
    pub fn serves(&self, feature: Option<&str>) -> bool {
        match &self.features {
            None => true,
            Some(features) => feature.is_some_and(|f| features.iter().any(|g| g == f)),
        }
    }

    /// When something happens to the grant by the clock alone.
    pub fn next_transition(&self) -> Instant {
        match self.status {
            Status::Scheduled => self.effective_at.min(self.expires_at),
            Status::PendingPayment | Status::Active => self.expires_at,
            Status::Depleted | Status::Expired | Status::Voided => Instant::INFINITY,
        }
    }

    /// Why it is drawn from before `other`: the first part of the order of consumption in which they differ.
    pub fn why_before(&self, other: &Grant) -> &'static str {
        if self.priority != other.priority {
            "its priority is lower"
        } else if self.is_restricted() != other.is_restricted() {
            "it is limited to features"
        } else if self.expires_at != other.expires_at {
            "it expires earlier"
        } else if (self.category == Category::Promotional) != (other.category == Category::Promotional) {
            "it is promotional"
        } else if self.effective_at != other.effective_at {
            "it began earlier"
        } else {
            "it was made earlier"
        }
    }

    /// Order of consumption (contract, section 4): priority, feature-limited before unlimited, expiry with
    /// none last, promotional first, then start, creation and insertion. The index
    /// `pool_grant_burn_order` has the same columns.
    pub fn burn_order(&self, other: &Grant) -> Ordering {
        let key = |g: &Grant| {
            (
                g.priority,
                !g.is_restricted(),
                g.expires_at,
                g.category != Category::Promotional,
                g.effective_at,
                g.created_at,
                g.id,
            )
        };
        key(self).cmp(&key(other))
    }
}
