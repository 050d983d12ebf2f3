//! A pool as it is held in memory while its row is locked, and what may be done to it.
//!
//! Every change books ledger entries. Invariants, kept by every method:
//! - `balance = granted − consumed − expired − voided − held − debt`, and it is the last entry's balance
//! - `balance + debt + unbacked` = what the active grants still have beyond their holds
//! - where there is debt, no unlimited credit is left (it would have paid the debt)

use std::rc::Rc;

use crate::{Amount, Grant, Hold, Instant, Limit, Schedule, Status};

/// The kinds of ledger entry that this version writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryType {
    Open,
    Schedule,
    Grant,
    Consume,
    Expire,
    Void,
    Update,
    Reserve,
    Release,
    ReservationExpire,
    Debt,
    DebtSettle,
    Reverse,
    TransferIn,
    TransferOut,
    RolloverIn,
    RolloverOut,
}

impl EntryType {
    const NAMES: [(EntryType, &'static str); 17] = [
        (EntryType::Open, "open"),
        (EntryType::Schedule, "schedule"),
        (EntryType::Grant, "grant"),
        (EntryType::Consume, "consume"),
        (EntryType::Expire, "expire"),
        (EntryType::Void, "void"),
        (EntryType::Update, "update"),
        (EntryType::Reserve, "reserve"),
        (EntryType::Release, "release"),
        (EntryType::ReservationExpire, "reservation_expire"),
        (EntryType::Debt, "debt"),
        (EntryType::DebtSettle, "debt_settle"),
        (EntryType::Reverse, "reverse"),
        (EntryType::TransferIn, "transfer_in"),
        (EntryType::TransferOut, "transfer_out"),
        (EntryType::RolloverIn, "rollover_in"),
        (EntryType::RolloverOut, "rollover_out"),
    ];

    pub fn as_str(self) -> &'static str {
        EntryType::NAMES.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    pub fn parse(text: &str) -> Option<EntryType> {
        EntryType::NAMES.iter().find(|(_, name)| *name == text).map(|(kind, _)| *kind)
    }

    /// A row by which a usage takes credits.
    pub fn is_usage(self) -> bool {
        matches!(self, EntryType::Consume | EntryType::Debt)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub seq: i64,
    pub kind: EntryType,
    /// Signed effect on the balance.
    pub amount: Amount,
    pub balance_after: Amount,
    pub grant_id: Option<i64>,
    /// The hold that it moves.
    pub reservation: Option<Rc<str>>,
    pub effective_at: Instant,
    /// What the rules say of why, where the call itself does not.
    pub reason: Option<&'static str>,
    /// What an update changed.
    pub change: GrantChange,
    /// Of a row that moves nothing yet: the amount of the grant that is to begin, or what of it will not.
    pub pending: Option<Amount>,
}

/// What changed of a grant or of a hold: each from what it was to what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct GrantChange {
    pub priority: Option<(i16, i16)>,
    pub expires_at: Option<(Instant, Instant)>,
}

/// The running sums of a pool. `granted` counts grants from when they begin to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Figures {
    pub balance: Amount,
    pub held: Amount,
    /// The part of what is held that no grant backs: it counts against the overdraft.
    pub unbacked: Amount,
    pub debt: Amount,
    /// The part of the balance that only certain features may use.
    pub restricted: Amount,
    pub granted: Amount,
    pub consumed: Amount,
    pub expired: Amount,
    pub voided: Amount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInsufficient {
    Reject,
    Cap,
}

/// What a usage took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    pub credits: Amount,
    pub shortfall: Amount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Frozen,
    /// More than the spending limits leave.
    OverLimit {
        required: Amount,
    },
    Insufficient {
        balance: Amount,
        required: Amount,
        shortfall: Amount,
        floor: Limit,
    },
    /// More than the grant still has.
    ExceedsGrant {
        available: Amount,
    },
    /// A grant that was voided, used up or expired, where the call needs one that is not.
    GrantClosed {
        status: Status,
    },
    UnknownGrant,
    /// A hold that is over, where the call needs an open one.
    HoldClosed,
    /// The answer depends on grants that were not loaded: load them all and ask again.
    NeedsAllGrants,
    /// A sum beyond what an amount can carry.
    Overflow,
}

#[derive(Clone, Debug)]
pub struct Wallet {
    pub seq: i64,
    pub figures: Figures,
    pub overdraft: Limit,
    pub frozen: bool,
    /// What spending limits leave for now, as far as whoever asks knows of any.
    pub ceiling: Option<Amount>,
    /// Nothing happens by the clock alone before this instant; it may be too early, never too late.
    pub next_transition: Instant,
    /// In burn order. Either every open grant, or the active ones that usage would draw first.
    pub grants: Vec<Grant>,
    /// What the subscription's plan still has to grant; loaded with every open grant, in the order of entries.
    pub schedules: Vec<Schedule>,
    /// Those in hand: with every open grant all that are open, with the grants that they hold parts of.
    pub holds: Vec<Hold>,
    pub all_loaded: bool,
    /// The loaded grants are those that usage draws first, with none beside them.
    pub prefix_loaded: bool,
    pub entries: Vec<Entry>,
}

impl Wallet {
    /// A new pool with its opening entry.
    pub fn open(overdraft: Limit, now: Instant) -> Wallet {
        let mut wallet = Wallet {
            seq: 0,
            figures: Figures::default(),
            overdraft,
            frozen: false,
            ceiling: None,
            next_transition: Instant::INFINITY,
            grants: Vec::new(),
            schedules: Vec::new(),
            holds: Vec::new(),
            all_loaded: true,
            prefix_loaded: true,
            entries: Vec::new(),
        };
        wallet.append(EntryType::Open, Amount::ZERO, None, now);
        wallet
    }

    /// Puts a new grant into the pool. It begins at once unless it waits for its payment or its start;
    /// `start` in the past is kept as the entry's `effective_at`.
    pub fn add(&mut self, mut grant: Grant, unpaid: bool, now: Instant) -> Result<Status, Refusal> {
        let begins = !unpaid && grant.effective_at <= now;
        grant.unpaid = unpaid;
        grant.status = match (unpaid, begins) {
            (true, _) => Status::PendingPayment,
            (false, false) => Status::Scheduled,
            (false, true) => Status::Active,
        };
        let (id, start, amount) = (grant.id, grant.effective_at, grant.amount);
        self.next_transition = self.next_transition.min(grant.next_transition());
        self.push(grant);
        if begins {
            let index = self.grants.len() - 1;
            self.start(index, start)?;
            self.settle_debt(now)?;
        } else {
            self.append_pending(EntryType::Schedule, amount, id, now);
        }
        self.find(id).map(|g| g.status)
    }

    /// Takes a usage of `cost` out of the grants in burn order, and the rest as debt where the overdraft
    /// allows it.
    pub fn draw(
        &mut self,
        cost: Amount,
        feature: Option<&str>,
        on_insufficient: OnInsufficient,
        effective_at: Instant,
    ) -> Result<Drawn, Refusal> {
        if self.frozen {
            return Err(Refusal::Frozen);
        }
        if cost.is_zero() {
            return Ok(Drawn { credits: Amount::ZERO, shortfall: Amount::ZERO });
        }
        let fit = self.fit(cost, feature, on_insufficient)?;
        self.take(fit.credits, feature, effective_at)?;
        Ok(fit)
    }

    /// How much of `cost` a usage or a hold of `feature` may take: down to the floor, and within the spending limits.
    pub fn afford(
        &self,
        cost: Amount,
        feature: Option<&str>,
        on_insufficient: OnInsufficient,
    ) -> Result<Drawn, Refusal> {
        if self.frozen {
            return Err(Refusal::Frozen);
        }
        let capped = on_insufficient == OnInsufficient::Cap;
        let ceiling = self.ceiling.map_or(cost, |left| left.max(Amount::ZERO).min(cost));
        if ceiling < cost && !capped {
            return Err(Refusal::OverLimit { required: cost });
        }
        let balance = self.balance_for(feature)?;
        let room = match self.overdraft {
            Limit::Unlimited => cost,
            Limit::Finite(overdraft) => {
                let room = balance.checked_add(overdraft).ok_or(Refusal::Overflow)?.max(Amount::ZERO);
                if cost > room && !capped {
                    let shortfall = cost.checked_sub(room).ok_or(Refusal::Overflow)?;
                    let floor = Limit::Finite(-overdraft);
                    return Err(Refusal::Insufficient { balance, required: cost, shortfall, floor });
                }
                room
            }
        };
        let credits = ceiling.min(room);
        let shortfall = cost.checked_sub(credits).ok_or(Refusal::Overflow)?;
        // Whatever becomes of them, no sum passes its end half-way: what is refused has changed nothing.
        let f = &self.figures;
        let sums = [f.consumed, f.held, f.debt, -f.balance];
        if sums.iter().any(|sum| sum.checked_add(credits).is_none()) {
            return Err(Refusal::Overflow);
        }
        Ok(Drawn { credits, shortfall })
    }

    /// The same, with the grants at hand that it would be taken from.
    pub(crate) fn fit(
        &mut self,
        cost: Amount,
        feature: Option<&str>,
        on_insufficient: OnInsufficient,
    ) -> Result<Drawn, Refusal> {
        let fit = self.afford(cost, feature, on_insufficient)?;
        let usable = self.usable(feature)?;
        self.check_prefix(fit.credits.min(usable), feature)?;
        Ok(fit)
    }

    /// Takes what fits, in order of consumption, and the rest as debt.
    pub(crate) fn take(
        &mut self,
        credits: Amount,
        feature: Option<&str>,
        effective_at: Instant,
    ) -> Result<(), Refusal> {
        let mut owed = credits;
        for index in 0..self.grants.len() {
            if owed.is_zero() {
                break;
            }
            let Some(grant) = self.grants.get(index) else { break };
            let part = grant.available().min(owed);
            if part.is_zero() || !grant.serves(feature) {
                continue;
            }
            let id = self.consume(index, part)?;
            self.book(EntryType::Consume, -part, Some(id), effective_at)?;
            owed = owed.checked_sub(part).ok_or(Refusal::Overflow)?;
        }
        if owed.is_positive() {
            self.figures.debt = self.figures.debt.checked_add(owed).ok_or(Refusal::Overflow)?;
            self.book(EntryType::Debt, -owed, None, effective_at)?;
        }
        Ok(())
    }

    /// Adds a schedule, or a topped-up one's instant, to what the clock has to look at.
    pub fn watch(&mut self, at: Instant) {
        self.next_transition = self.next_transition.min(at);
    }

    /// Whether the sums agree, within the pool and within each loaded grant: asserted before anything is
    /// written, since the tables have no CHECK (see sql/schema/30_pools.sql).
    pub fn audit(&self) -> bool {
        let f = &self.figures;
        let counted = [f.held, f.unbacked, f.debt, f.restricted, f.granted, f.consumed, f.expired, f.voided];
        let gone = [f.consumed, f.expired, f.voided, f.held, f.debt];
        let left = gone.iter().try_fold(f.granted, |left, part| left.checked_sub(*part));
        counted.iter().all(|amount| !amount.is_negative())
            && left == Some(f.balance)
            && f.unbacked <= f.held
            && self.grants.iter().all(|grant| {
                let parts = [grant.consumed, grant.held, grant.expired, grant.voided, grant.unheld()];
                parts.iter().all(|amount| !amount.is_negative())
            })
    }

    /// Puts a grant beside the loaded ones.
    pub fn push(&mut self, grant: Grant) {
        self.prefix_loaded = false;
        self.grants.push(grant);
    }

    pub fn find(&self, grant_id: i64) -> Result<&Grant, Refusal> {
        self.grants.iter().find(|g| g.id == grant_id).ok_or(Refusal::UnknownGrant)
    }

    pub(crate) fn index(&self, grant_id: i64) -> Result<usize, Refusal> {
        self.grants.iter().position(|g| g.id == grant_id).ok_or(Refusal::UnknownGrant)
    }

    /// What usage of `feature` (`None`: of credits without a feature) is checked against.
    pub fn balance_for(&self, feature: Option<&str>) -> Result<Amount, Refusal> {
        self.free_of(self.usable(feature)?)
    }

    /// `usable` less what it has to answer for.
    fn free_of(&self, usable: Amount) -> Result<Amount, Refusal> {
        let free = usable.checked_sub(self.figures.debt).and_then(|free| free.checked_sub(self.figures.unbacked));
        free.ok_or(Refusal::Overflow)
    }

    /// What the active grants offer to a usage of `feature`.
    fn usable(&self, feature: Option<&str>) -> Result<Amount, Refusal> {
        if self.figures.restricted.is_zero() {
            let figures = &self.figures;
            let all = figures.balance.checked_add(figures.debt).and_then(|sum| sum.checked_add(figures.unbacked));
            return all.ok_or(Refusal::Overflow);
        }
        if !self.all_loaded {
            return Err(Refusal::NeedsAllGrants);
        }
        self.grants
            .iter()
            .filter(|g| g.serves(feature))
            .try_fold(Amount::ZERO, |sum, g| sum.checked_add(g.available()))
            .ok_or(Refusal::Overflow)
    }

    /// Sorts, and makes sure that the loaded grants cover `needed`.
    pub(crate) fn check_prefix(&mut self, needed: Amount, feature: Option<&str>) -> Result<(), Refusal> {
        self.sort();
        if self.all_loaded {
            return Ok(());
        }
        let loaded = self
            .grants
            .iter()
            .filter(|g| g.serves(feature))
            .try_fold(Amount::ZERO, |sum, g| sum.checked_add(g.available()))
            .ok_or(Refusal::Overflow)?;
        if loaded < needed || !self.prefix_loaded { Err(Refusal::NeedsAllGrants) } else { Ok(()) }
    }

    pub(crate) fn sort(&mut self) {
        self.grants.sort_by(Grant::burn_order);
    }

    pub(crate) fn consume(&mut self, index: usize, part: Amount) -> Result<i64, Refusal> {
        let Some(grant) = self.grants.get_mut(index) else { return Err(Refusal::UnknownGrant) };
        grant.consumed = grant.consumed.checked_add(part).ok_or(Refusal::Overflow)?;
        grant.dirty = true;
        // A held part may be of a grant that has ended: that stays so.
        if grant.remaining().is_zero() && grant.status == Status::Active {
            grant.status = Status::Depleted;
        }
        let (id, restricted) = (grant.id, grant.is_restricted());
        self.figures.consumed = self.figures.consumed.checked_add(part).ok_or(Refusal::Overflow)?;
        self.unrestrict(restricted, part)?;
        Ok(id)
    }

    pub(crate) fn restrict(&mut self, restricted: bool, part: Amount) -> Result<(), Refusal> {
        if restricted {
            self.figures.restricted = self.figures.restricted.checked_add(part).ok_or(Refusal::Overflow)?;
        }
        Ok(())
    }

    pub(crate) fn unrestrict(&mut self, restricted: bool, part: Amount) -> Result<(), Refusal> {
        if restricted {
            self.figures.restricted = self.figures.restricted.checked_sub(part).ok_or(Refusal::Overflow)?;
        }
        Ok(())
    }

    pub(crate) fn book(
        &mut self,
        kind: EntryType,
        amount: Amount,
        grant_id: Option<i64>,
        effective_at: Instant,
    ) -> Result<(), Refusal> {
        self.figures.balance = self.figures.balance.checked_add(amount).ok_or(Refusal::Overflow)?;
        self.append(kind, amount, grant_id, effective_at);
        Ok(())
    }

    pub(crate) fn explain_last(&mut self, reason: &'static str) {
        if let Some(entry) = self.entries.last_mut() {
            entry.reason = Some(reason);
        }
    }

    /// Says of the entries from `first` on which hold they are about.
    pub(crate) fn attribute(&mut self, first: usize, reservation: &Rc<str>) {
        for entry in self.entries.iter_mut().skip(first) {
            entry.reservation = Some(Rc::clone(reservation));
        }
    }

    pub(crate) fn append(&mut self, kind: EntryType, amount: Amount, grant_id: Option<i64>, effective_at: Instant) {
        self.seq += 1;
        self.entries.push(Entry {
            seq: self.seq,
            kind,
            amount,
            balance_after: self.figures.balance,
            grant_id,
            reservation: None,
            effective_at,
            reason: None,
            change: GrantChange::default(),
            pending: None,
        });
    }

    /// A row about `amount` of a grant that has not begun: the balance knows nothing of it.
    pub(crate) fn append_pending(&mut self, kind: EntryType, amount: Amount, grant_id: i64, effective_at: Instant) {
        self.append(kind, Amount::ZERO, Some(grant_id), effective_at);
        if let Some(entry) = self.entries.last_mut() {
            entry.pending = Some(amount);
        }
    }
}
