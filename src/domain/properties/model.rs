//! A pool as the contract words it, as naive as can be: time passes tick by tick, credits are used one by
//! one, and every figure is added up afresh from the grants.
//!
//! Credits are whole numbers here; `unit` says how much of an `Amount` one of them is.

use crate::{Amount, Category, Drawn, EntryType, Figures, Limit, Refusal, Status};

/// A grant. `ends: None` is no expiry, no `features` is all features.
#[derive(Clone, Debug)]
pub struct Lot {
    pub id: i64,
    pub priority: i16,
    pub category: Category,
    pub features: Vec<&'static str>,
    pub amount: i128,
    pub consumed: i128,
    pub held: i128,
    pub expired: i128,
    pub voided: i128,
    pub state: Status,
    pub paid: bool,
    /// It has begun to count at some time.
    pub counted: bool,
    pub starts: i64,
    pub ends: Option<i64>,
    pub made: i64,
    /// Where a plan's credits come from; `None` for those that a call brought.
    pub origin: Option<Origin>,
}

/// What a plan's lot has to do with its entry.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The entry, numbered through all plans.
    pub entry: i64,
    pub carried: bool,
    /// The boundary that it was granted for.
    pub period: Option<i64>,
    /// The lot whose rest it carries on.
    pub from: Option<i64>,
    /// The pool was in debt at the boundary.
    pub in_debt: bool,
}

impl Lot {
    /// "Priority ascending, [feature-limited before unlimited ones of equal priority,] then expiry ascending
    /// (none last), then promotional before paid and recurring, then effective_at, then created_at, then
    /// insertion" (sections 4 and 10).
    pub fn comes_before(&self, other: &Lot) -> bool {
        if self.priority != other.priority {
            return self.priority < other.priority;
        }
        if self.features.is_empty() != other.features.is_empty() {
            return other.features.is_empty();
        }
        match (self.ends, other.ends) {
            (Some(_), None) => return true,
            (None, Some(_)) => return false,
            (Some(a), Some(b)) if a != b => return a < b,
            _ => {}
        }
        match (self.category, other.category) {
            (Category::Promotional, Category::Paid | Category::Recurring) => return true,
            (Category::Paid | Category::Recurring, Category::Promotional) => return false,
            _ => {}
        }
        if self.starts != other.starts {
            return self.starts < other.starts;
        }
        if self.made != other.made {
            return self.made < other.made;
        }
        self.id < other.id
    }

    pub fn rest(&self) -> i128 {
        self.amount - self.consumed - self.expired - self.voided - self.held
    }

    pub fn free(&self) -> i128 {
        if self.state == Status::Active { self.rest() } else { 0 }
    }

    fn serves(&self, feature: Option<&str>) -> bool {
        self.features.is_empty() || self.features.iter().any(|name| Some(*name) == feature)
    }

    pub fn is_open(&self) -> bool {
        [Status::Scheduled, Status::PendingPayment, Status::Active].contains(&self.state)
    }

    pub fn is_used_up(&self) -> bool {
        self.rest() + self.held == 0
    }

    /// The tick at which something happens to it unless a call changes it.
    pub fn next_event(&self) -> Option<i64> {
        match self.state {
            Status::Scheduled => Some(self.starts),
            Status::Active | Status::PendingPayment => self.ends,
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub kind: EntryType,
    pub amount: i128,
    pub balance: i128,
    pub grant: Option<i64>,
    pub at: i64,
    pub reason: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub unit: i128,
    pub now: i64,
    pub debt: i128,
    /// `None` is unlimited.
    pub overdraft: Option<i128>,
    pub frozen: bool,
    pub lots: Vec<Lot>,
    pub rows: Vec<Row>,
}

impl Model {
    pub fn open(unit: i128) -> Model {
        let opening = Row { kind: EntryType::Open, amount: 0, balance: 0, grant: None, at: 0, reason: None };
        Model { unit, now: 0, debt: 0, overdraft: Some(0), frozen: false, lots: Vec::new(), rows: vec![opening] }
    }

    pub fn credits(&self, count: i128) -> Amount {
        Amount::from_raw(count * self.unit)
    }

    /// "What active grants still hold, less holds, less open debt."
    pub fn balance(&self) -> i128 {
        self.lots.iter().map(Lot::free).sum::<i128>() - self.debt
    }

    pub fn figures(&self) -> Figures {
        let sum = |what: fn(&Lot) -> i128| self.credits(self.lots.iter().map(what).sum());
        Figures {
            balance: self.credits(self.balance()),
            held: sum(|lot| lot.held),
            unbacked: Amount::ZERO,
            debt: self.credits(self.debt),
            restricted: sum(|lot| if lot.features.is_empty() { 0 } else { lot.free() }),
            granted: sum(|lot| if lot.counted { lot.amount } else { 0 }),
            consumed: sum(|lot| lot.consumed),
            expired: sum(|lot| if lot.counted { lot.expired } else { 0 }),
            voided: sum(|lot| if lot.counted { lot.voided } else { 0 }),
        }
    }

    /// Writes down what has just been done: a row's amount is its effect on the balance.
    pub fn record(&mut self, kind: EntryType, grant: Option<i64>, at: i64) {
        let balance = self.balance();
        let amount = balance - self.rows.last().unwrap().balance;
        self.rows.push(Row { kind, amount, balance, grant, at, reason: None });
    }

    /// The open grants by their place: as many as come before one, so far back it is.
    pub fn in_order(&self) -> Vec<usize> {
        let open: Vec<usize> = (0..self.lots.len()).filter(|index| self.lots[*index].is_open()).collect();
        let mut order = vec![0; open.len()];
        for index in &open {
            order[open.iter().filter(|other| self.lots[**other].comes_before(&self.lots[*index])).count()] = *index;
        }
        order
    }

    /// "At one instant the order is: expiry, new grants, settlement of debt (in order of consumption), usage."
    pub fn pass_until(&mut self, now: i64) {
        while self.now < now {
            self.now += 1;
            for index in self.in_order() {
                if self.lots[index].is_open() && self.lots[index].ends == Some(self.now) {
                    let lot = &mut self.lots[index];
                    lot.expired += lot.rest();
                    lot.state = Status::Expired;
                    let id = lot.id;
                    self.record(EntryType::Expire, Some(id), self.now);
                }
            }
            self.begin_due();
            self.settle();
        }
    }

    pub fn begin_due(&mut self) {
        if !self.lots.iter().any(|lot| lot.state == Status::Scheduled && lot.starts == self.now) {
            return;
        }
        for index in self.in_order() {
            if self.lots[index].state == Status::Scheduled && self.lots[index].starts == self.now {
                self.begin(index, self.now);
            }
        }
    }

    pub fn begin(&mut self, index: usize, at: i64) {
        self.lots[index].state = Status::Active;
        self.lots[index].counted = true;
        self.record(EntryType::Grant, Some(self.lots[index].id), at);
    }

    /// "Debt is paid first by the next credits that become active", never by feature-limited ones, in "two rows
    /// that cancel out (+ on the debt, − on the grant)".
    pub fn settle(&mut self) {
        if self.debt == 0 {
            return;
        }
        for index in self.in_order() {
            let part = self.debt.min(self.lots[index].free());
            if part > 0 && self.lots[index].features.is_empty() {
                self.debt -= part;
                self.record(EntryType::DebtSettle, None, self.now);
                self.lots[index].consumed += part;
                if self.lots[index].is_used_up() {
                    self.lots[index].state = Status::Depleted;
                }
                self.record(EntryType::DebtSettle, Some(self.lots[index].id), self.now);
            }
        }
    }

    pub fn add(&mut self, mut lot: Lot) -> Status {
        let id = lot.id;
        lot.state = if !lot.paid {
            Status::PendingPayment
        } else if lot.starts > self.now {
            Status::Scheduled
        } else {
            Status::Active
        };
        // Not counted before its row is written.
        let begins = lot.state == Status::Active;
        let (index, starts) = (self.lots.len(), lot.starts);
        self.lots.push(lot);
        if begins {
            self.begin(index, starts);
            self.settle();
        } else {
            self.record(EntryType::Schedule, Some(id), self.now);
        }
        self.lots[index].state
    }

    pub fn index(&self, id: i64) -> Result<usize, Refusal> {
        self.lots.iter().position(|lot| lot.id == id).ok_or(Refusal::UnknownGrant)
    }

    /// "Confirmation of a payment: the same success" when it comes again.
    pub fn confirm(&mut self, id: i64) -> Result<bool, Refusal> {
        let index = self.index(id)?;
        let now = self.now;
        let lot = &mut self.lots[index];
        if lot.paid {
            return Ok(false);
        }
        if !lot.is_open() {
            return Err(Refusal::GrantClosed { status: lot.state });
        }
        lot.paid = true;
        if lot.starts > now {
            lot.state = Status::Scheduled;
            self.record(EntryType::Update, Some(id), now);
        } else {
            self.begin(index, now);
            self.settle();
        }
        Ok(true)
    }

    /// "A usage is checked against what it may touch."
    fn touchable(&self, feature: Option<&str>) -> i128 {
        self.lots.iter().filter(|lot| lot.serves(feature)).map(Lot::free).sum()
    }

    /// Takes credit after credit, each from the first grant that has one, and then as debt "down to minus that
    /// limit". "`reject` takes nothing, `cap` takes what is there down to the floor."
    pub fn draw(&mut self, cost: i128, feature: Option<&str>, cap: bool, at: i64) -> Result<Drawn, Refusal> {
        if self.frozen {
            return Err(Refusal::Frozen);
        }
        let before = self.clone();
        let order = self.in_order();
        let mut taken = 0;
        while taken < cost && self.overdraft.is_none_or(|limit| self.touchable(feature) - self.debt > -limit) {
            let source = order.iter().find(|i| self.lots[**i].serves(feature) && self.lots[**i].free() > 0);
            let (kind, grant) = match source {
                Some(index) => {
                    let lot = &mut self.lots[*index];
                    lot.consumed += 1;
                    if lot.is_used_up() {
                        lot.state = Status::Depleted;
                    }
                    (EntryType::Consume, Some(lot.id))
                }
                None => {
                    self.debt += 1;
                    (EntryType::Debt, None)
                }
            };
            // "One ledger row per grant touched."
            let last = self.rows.last().unwrap();
            if self.rows.len() > before.rows.len() && (last.kind, last.grant) == (kind, grant) {
                self.rows.pop();
            }
            self.record(kind, grant, at);
            taken += 1;
        }
        if taken < cost && !cap {
            let missing = cost - taken;
            *self = before;
            return Err(Refusal::Insufficient {
                balance: self.credits(self.touchable(feature) - self.debt),
                required: self.credits(cost),
                shortfall: self.credits(missing),
                floor: self.overdraft.map_or(Limit::Unlimited, |limit| Limit::Finite(self.credits(-limit))),
            });
        }
        Ok(Drawn { credits: self.credits(taken), shortfall: self.credits(cost - taken) })
    }

    /// "Takes what is neither consumed nor held. More than the remainder: 22023. A voided, expired or used-up
    /// grant: success without a row."
    pub fn void(&mut self, id: i64, amount: Option<i128>) -> Result<Amount, Refusal> {
        let index = self.index(id)?;
        let lot = &mut self.lots[index];
        if !lot.is_open() {
            return Ok(Amount::ZERO);
        }
        let part = amount.unwrap_or(lot.rest());
        if part > lot.rest() {
            let available = lot.rest();
            return Err(Refusal::ExceedsGrant { available: self.credits(available) });
        }
        lot.voided += part;
        let all = amount.is_none() && lot.held > 0;
        if lot.is_used_up() || all {
            lot.state = Status::Voided;
        }
        if part > 0 || all {
            self.record(EntryType::Void, Some(id), self.now);
        }
        Ok(self.credits(part))
    }

    /// A hold on one grant. `EntryType` has no name for it yet: the row is an update.
    pub fn hold(&mut self, id: i64, part: i128) {
        if let Ok(index) = self.index(id)
            && part <= self.lots[index].free()
        {
            self.lots[index].held += part;
            self.record(EntryType::Update, Some(id), self.now);
        }
    }
}
