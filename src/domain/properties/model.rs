//! A pool as the contract words it, as naive as can be: time passes tick by tick, credits are used one by
//! one, and every figure is added up afresh from the grants.
//!
//! Credits are whole numbers here; `unit` says how much of an `Amount` one of them is.

use crate::{Amount, Category, Drawn, EntryType, Figures, HoldStatus, Limit, Refusal, Status};

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
    /// The hold that it moves, by its number.
    pub hold: Option<usize>,
    /// From what to what it changes the priority and the end of the grant or the hold.
    pub priority: Option<(i16, i16)>,
    pub ends: Option<(Option<i64>, Option<i64>)>,
}

/// Credits put aside.
#[derive(Clone, Debug)]
pub struct Held {
    /// Credit by credit in order of consumption: of which grant, or (`None`) of the overdraft.
    pub credits: Vec<Option<i64>>,
    pub feature: Option<&'static str>,
    pub state: HoldStatus,
    pub ends: i64,
    pub made: i64,
    pub closed: Option<i64>,
    pub charged: i128,
}

/// Credits side by side from the same grant.
pub fn runs(credits: &[Option<i64>]) -> Vec<(Option<i64>, i128)> {
    let mut runs: Vec<(Option<i64>, i128)> = Vec::new();
    for credit in credits {
        match runs.last_mut() {
            Some((grant, count)) if grant == credit => *count += 1,
            _ => runs.push((*credit, 1)),
        }
    }
    runs
}

#[derive(Clone, Debug)]
pub struct Model {
    pub unit: i128,
    pub now: i64,
    pub debt: i128,
    /// `None` is unlimited.
    pub overdraft: Option<i128>,
    pub frozen: bool,
    /// What spending limits leave.
    pub ceiling: Option<i128>,
    pub lots: Vec<Lot>,
    pub rows: Vec<Row>,
    /// In the order in which they were made.
    pub holds: Vec<Held>,
    /// What is left to reverse of each usage that took credits: of each of its rows the grant (or none) and the amount.
    pub usages: Vec<Vec<(Option<i64>, i128)>>,
    /// The debt that grants have paid, and that was not undone.
    pub payments: Vec<(i64, i128)>,
}

impl Model {
    pub fn open(unit: i128) -> Model {
        let mut model = Model {
            unit,
            now: 0,
            debt: 0,
            overdraft: Some(0),
            frozen: false,
            ceiling: None,
            lots: vec![],
            rows: vec![],
            holds: vec![],
            usages: vec![],
            payments: vec![],
        };
        model.book(EntryType::Open, None, 0, 0);
        model
    }

    pub fn credits(&self, count: i128) -> Amount {
        Amount::from_raw(count * self.unit)
    }

    /// "What active grants still hold, less holds, less open debt."
    pub fn balance(&self) -> i128 {
        self.lots.iter().map(Lot::free).sum::<i128>() - self.debt - self.unbacked()
    }

    /// "Beyond the grants a hold uses the overdraft, as a usage may."
    fn unbacked(&self) -> i128 {
        self.holds.iter().flat_map(|hold| &hold.credits).filter(|credit| credit.is_none()).count() as i128
    }

    pub fn figures(&self) -> Figures {
        let sum = |what: fn(&Lot) -> i128| self.credits(self.lots.iter().map(what).sum());
        Figures {
            balance: self.credits(self.balance()),
            held: self.credits(self.holds.iter().map(|hold| hold.credits.len() as i128).sum()),
            unbacked: self.credits(self.unbacked()),
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
        self.book(kind, grant, self.balance() - self.rows.last().unwrap().balance, at);
    }

    /// The same where several rows say what has been done.
    fn book(&mut self, kind: EntryType, grant: Option<i64>, amount: i128, at: i64) {
        let balance = self.rows.last().map_or(0, |last| last.balance) + amount;
        self.rows.push(Row { kind, amount, balance, grant, at, reason: None, hold: None, priority: None, ends: None });
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

    /// "At one instant the order is: end of holds, expiry, new grants, settlement of debt (in order of consumption),
    /// usage."
    pub fn pass_until(&mut self, now: i64) {
        while self.now < now {
            self.now += 1;
            self.end_holds();
            for index in self.in_order() {
                if self.lots[index].is_open() && self.lots[index].ends == Some(self.now) {
                    let lot = &mut self.lots[index];
                    let (id, lost) = (lot.id, lot.rest());
                    lot.expired += lost;
                    lot.state = Status::Expired;
                    // Nothing is said of what is held: that is the hold's.
                    if lost > 0 {
                        self.record(EntryType::Expire, Some(id), self.now);
                    }
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
                self.consume(index, part);
                self.record(EntryType::DebtSettle, Some(self.lots[index].id), self.now);
                self.payments.push((self.lots[index].id, part));
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

    fn consume(&mut self, index: usize, part: i128) {
        let lot = &mut self.lots[index];
        lot.consumed += part;
        // What is over stays so.
        if lot.state == Status::Active && lot.is_used_up() {
            lot.state = Status::Depleted;
        }
    }

    /// "A usage is checked against what it may touch", and debt and what is held of the overdraft count against it.
    fn touchable(&self, feature: Option<&str>) -> i128 {
        let lots = self.lots.iter().filter(|lot| lot.serves(feature));
        lots.map(Lot::free).sum::<i128>() - self.debt - self.unbacked()
    }

    /// "Down to minus that limit."
    fn has_room(&self, feature: Option<&str>) -> bool {
        self.overdraft.is_none_or(|limit| self.touchable(feature) > -limit)
    }

    fn insufficient(&self, feature: Option<&str>, cost: i128, missing: i128) -> Refusal {
        Refusal::Insufficient {
            balance: self.credits(self.touchable(feature)),
            required: self.credits(cost),
            shortfall: self.credits(missing),
            floor: self.overdraft.map_or(Limit::Unlimited, |limit| Limit::Finite(self.credits(-limit))),
        }
    }

    /// Where the next credit comes from; no grant has one: from the overdraft.
    fn source(&self, feature: Option<&str>) -> Option<usize> {
        self.in_order().into_iter().find(|index| self.lots[*index].serves(feature) && self.lots[*index].free() > 0)
    }

    /// "PC007 before PC001": what limits leave of a cost.
    fn within_limits(&self, cost: i128) -> i128 {
        self.ceiling.map_or(cost, |left| cost.min(left.max(0)))
    }

    /// Takes credit after credit, each from the first grant that has one, and then as debt "down to minus that
    /// limit". "`reject` takes nothing, `cap` takes what is there down to the floor", and to the spending limit.
    pub fn draw(&mut self, cost: i128, feature: Option<&str>, cap: bool, at: i64) -> Result<Drawn, Refusal> {
        if self.frozen {
            return Err(Refusal::Frozen);
        }
        let wanted = self.within_limits(cost);
        if wanted < cost && !cap {
            return Err(Refusal::OverLimit { required: self.credits(cost) });
        }
        let before = self.clone();
        let mut taken = 0;
        while taken < wanted && self.has_room(feature) {
            self.take_one(feature, before.rows.len(), at);
            taken += 1;
        }
        if taken < cost && !cap {
            *self = before;
            return Err(self.insufficient(feature, cost, cost - taken));
        }
        self.keep_usage(before.rows.len());
        Ok(Drawn { credits: self.credits(taken), shortfall: self.credits(cost - taken) })
    }

    /// "One ledger row per grant touched", of the rows that are this drawing's own.
    fn take_one(&mut self, feature: Option<&str>, own: usize, at: i64) {
        let (kind, grant) = match self.source(feature) {
            Some(index) => {
                self.consume(index, 1);
                (EntryType::Consume, Some(self.lots[index].id))
            }
            None => {
                self.debt += 1;
                (EntryType::Debt, None)
            }
        };
        match self.rows[own..].last() {
            Some(last) if (last.kind, last.grant) == (kind, grant) => {
                let amount = self.rows.pop().unwrap().amount - 1;
                self.book(kind, grant, amount, at);
            }
            _ => self.book(kind, grant, -1, at),
        }
    }

    /// The rows that took credits since are a usage.
    fn keep_usage(&mut self, since: usize) {
        let rows = self.rows[since..].iter().filter(|row| [EntryType::Consume, EntryType::Debt].contains(&row.kind));
        let drawn: Vec<_> = rows.map(|row| (row.grant, -row.amount)).collect();
        if !drawn.is_empty() {
            self.usages.push(drawn);
        }
    }

    /// "One ledger row `reserve` per grant, in order of consumption", and one without a grant for the overdraft.
    pub fn reserve(&mut self, cost: i128, feature: Option<&'static str>, ends: i64) -> Result<(), Refusal> {
        if self.frozen {
            return Err(Refusal::Frozen);
        }
        if self.within_limits(cost) < cost {
            return Err(Refusal::OverLimit { required: self.credits(cost) });
        }
        let before = self.clone();
        let (state, number) = (HoldStatus::Active, self.holds.len());
        self.holds.push(Held { credits: vec![], feature, state, ends, made: self.now, closed: None, charged: 0 });
        for taken in 0..cost {
            if !self.has_room(feature) {
                *self = before;
                return Err(self.insufficient(feature, cost, cost - taken));
            }
            let source = self.source(feature);
            if let Some(index) = source {
                self.lots[index].held += 1;
            }
            self.holds[number].credits.push(source.map(|index| self.lots[index].id));
        }
        for (grant, count) in runs(&self.holds[number].credits) {
            self.book(EntryType::Reserve, grant, -count, self.now);
        }
        self.mark(before.rows.len(), number);
        Ok(())
    }

    /// Says of the rows since that they are about a hold.
    fn mark(&mut self, since: usize, number: usize) {
        self.rows[since..].iter_mut().for_each(|row| row.hold = Some(number));
    }

    /// Credits come back, "then: a part of a grant that has ended `expire`, of a voided grant `void`".
    fn end_returned(&mut self, credits: &[Option<i64>]) {
        for (grant, count) in runs(credits) {
            let Some(index) = grant.map(|id| self.index(id).unwrap()) else { continue };
            let lot = &mut self.lots[index];
            match lot.state {
                Status::Active => {}
                Status::Voided => {
                    lot.voided += count;
                    self.book(EntryType::Void, grant, -count, self.now);
                }
                _ => {
                    lot.expired += count;
                    self.book(EntryType::Expire, grant, -count, self.now);
                }
            }
        }
    }

    fn give_back(&mut self, credits: &[Option<i64>], kind: EntryType) {
        for (grant, count) in runs(credits) {
            if let Some(id) = grant {
                let index = self.index(id).unwrap();
                self.lots[index].held -= count;
            }
            self.book(kind, grant, count, self.now);
        }
    }

    fn close_hold(&mut self, number: usize, state: HoldStatus, kind: EntryType) {
        let since = self.rows.len();
        let hold = &mut self.holds[number];
        (hold.state, hold.closed) = (state, Some(self.now));
        let credits = std::mem::take(&mut hold.credits);
        self.give_back(&credits, kind);
        self.end_returned(&credits);
        self.mark(since, number);
    }

    /// "At expires_at all parts return."
    pub fn end_holds(&mut self) {
        for number in 0..self.holds.len() {
            if self.holds[number].state == HoldStatus::Active && self.holds[number].ends == self.now {
                self.close_hold(number, HoldStatus::Expired, EntryType::ReservationExpire);
            }
        }
    }

    /// The tick at which the next hold is over unless a call changes it.
    pub fn next_time_out(&self) -> Option<i64> {
        self.holds.iter().filter(|hold| hold.state == HoldStatus::Active).map(|hold| hold.ends).min()
    }

    fn open_hold(&self, number: usize) -> Result<(), Refusal> {
        let hold = self.holds.get(number).filter(|hold| hold.state == HoldStatus::Active);
        hold.map(|_| ()).ok_or(Refusal::HoldClosed)
    }

    pub fn release(&mut self, number: usize) -> Result<Amount, Refusal> {
        self.open_hold(number)?;
        let held = self.holds[number].credits.len();
        self.close_hold(number, HoldStatus::Released, EntryType::Release);
        self.settle();
        Ok(self.credits(held as i128))
    }

    /// "A ledger row `update` of 0; the same instant again = no row."
    pub fn extend(&mut self, number: usize, ends: i64) -> Result<bool, Refusal> {
        self.open_hold(number)?;
        if self.holds[number].ends == ends {
            return Ok(false);
        }
        let before = std::mem::replace(&mut self.holds[number].ends, ends);
        self.book(EntryType::Update, None, 0, self.now);
        self.rows.last_mut().unwrap().ends = Some((Some(before), Some(ends)));
        self.mark(self.rows.len() - 1, number);
        Ok(true)
    }

    /// "`release` rows for all that leaves the hold, then `consume` from the grants that backed it, in the hold's order;
    /// then what came back to ended grants; then debt_settle if there is debt; an excess is drawn last like a usage (all
    /// undone where it does not fit)." `None`: all that is held.
    pub fn settle_hold(&mut self, number: usize, charge: Option<i128>, close: bool) -> Result<Drawn, Refusal> {
        self.open_hold(number)?;
        let (before, since) = (self.clone(), self.rows.len());
        let credits = std::mem::take(&mut self.holds[number].credits);
        let charge = charge.unwrap_or(credits.len() as i128);
        let within = credits.len().min(charge as usize);
        let leaving = if close { credits.len() } else { within };
        self.holds[number].credits = credits[leaving..].to_vec();
        self.give_back(&credits[..leaving], EntryType::Release);
        let feature = self.holds[number].feature;
        for (grant, count) in runs(&credits[..within]) {
            if let Some(id) = grant {
                self.consume(self.index(id).unwrap(), count);
                self.book(EntryType::Consume, grant, -count, self.now);
            } else {
                // "Charged to grants that have become available meanwhile, else to debt; always fits."
                let own = self.rows.len();
                (0..count).for_each(|_| self.take_one(feature, own, self.now));
            }
        }
        self.end_returned(&credits[within..leaving]);
        self.mark(since, number);
        self.settle();
        let excess = self.rows.len();
        let usages = self.usages.len();
        if let Err(refusal) = self.draw_excess(charge - within as i128, feature) {
            *self = before;
            return Err(refusal);
        }
        self.usages.truncate(usages);
        self.mark(excess, number);
        self.keep_usage(since);
        let hold = &mut self.holds[number];
        hold.charged += charge;
        if close {
            (hold.state, hold.closed) = (HoldStatus::Settled, Some(self.now));
        }
        Ok(Drawn { credits: self.credits(charge), shortfall: Amount::ZERO })
    }

    fn draw_excess(&mut self, excess: i128, feature: Option<&str>) -> Result<(), Refusal> {
        if excess > 0 { self.draw(excess, feature, false, self.now).map(|_| ()) } else { Ok(()) }
    }

    /// "Rows of the usage undone last drawn first; one `reverse` row each", at most what is left. `None`: all of it.
    pub fn reverse(&mut self, usage: usize, credits: Option<i128>) {
        let left: i128 = self.usages[usage].iter().map(|(_, amount)| amount).sum();
        let mut rest = credits.unwrap_or(left).min(left);
        while rest > 0 {
            let (grant, drawn) = self.usages[usage].pop().unwrap();
            let part = drawn.min(rest);
            rest -= part;
            if drawn > part {
                self.usages[usage].push((grant, drawn - part));
            }
            match grant {
                Some(id) => {
                    self.book(EntryType::Reverse, grant, part, self.now);
                    self.return_credits(id, part);
                }
                None => self.reverse_debt(part),
            }
        }
        self.settle();
    }

    /// "Open debt of the pool shrinks first (`reverse` row without grant). Where the debt was settled since, the
    /// settlement is undone, latest first: `debt_settle` (+part on the grant), `debt_settle` (-part, no grant), then
    /// `reverse` (+part, no grant)."
    fn reverse_debt(&mut self, amount: i128) {
        let open = amount.min(self.debt);
        if open > 0 {
            self.debt -= open;
            self.book(EntryType::Reverse, None, open, self.now);
        }
        let mut rest = amount - open;
        while rest > 0 {
            let (id, paid) = self.payments.pop().unwrap();
            let part = paid.min(rest);
            rest -= part;
            if paid > part {
                self.payments.push((id, paid - part));
            }
            self.book(EntryType::DebtSettle, Some(id), part, self.now);
            self.return_credits(id, part);
            self.book(EntryType::DebtSettle, None, -part, self.now);
            self.book(EntryType::Reverse, None, part, self.now);
        }
    }

    /// "Grant active again if it was depleted and its end is not reached. Grant expired/voided: then `expire` row at
    /// once."
    fn return_credits(&mut self, id: i64, part: i128) {
        let (index, now) = (self.index(id).unwrap(), self.now);
        let lot = &mut self.lots[index];
        lot.consumed -= part;
        if lot.state == Status::Depleted {
            lot.state = if lot.ends.is_none_or(|ends| ends > now) { Status::Active } else { Status::Expired };
        }
        if lot.state != Status::Active {
            lot.expired += part;
            self.book(EntryType::Expire, Some(id), -part, now);
        }
    }

    /// "Only by explicit call": what is there of the unlimited grants, in order of consumption. Returns the parts.
    pub fn transfer(&mut self, amount: i128) -> Result<Vec<Amount>, Refusal> {
        if self.frozen {
            return Err(Refusal::Frozen);
        }
        let there = self.touchable(None);
        if amount > there {
            let (balance, required) = (self.credits(there), self.credits(amount));
            let (shortfall, floor) = (self.credits(amount - there), Limit::Finite(Amount::ZERO));
            return Err(Refusal::Insufficient { balance, required, shortfall, floor });
        }
        let (mut rest, mut moved) = (amount, vec![]);
        for index in self.in_order() {
            let lot = &mut self.lots[index];
            let part = lot.free().min(rest);
            if part == 0 || !lot.features.is_empty() {
                continue;
            }
            rest -= part;
            lot.voided += part;
            if lot.is_used_up() {
                // What was used of it can still be reversed.
                lot.state = if lot.consumed == 0 { Status::Voided } else { Status::Depleted };
            }
            let id = lot.id;
            self.record(EntryType::TransferOut, Some(id), self.now);
            moved.push(self.credits(part));
        }
        Ok(moved)
    }

    /// "Each change is a ledger row of amount 0."
    pub fn update(&mut self, id: i64, priority: Option<i16>, ends: Option<i64>) -> Result<(), Refusal> {
        let index = self.index(id)?;
        let lot = &mut self.lots[index];
        let priorities = priority.filter(|new| *new != lot.priority).map(|new| (lot.priority, new));
        let both_ends = ends.filter(|new| Some(*new) != lot.ends).map(|new| (lot.ends, Some(new)));
        if (priorities.is_some() || both_ends.is_some()) && !lot.is_open() {
            return Err(Refusal::GrantClosed { status: lot.state });
        }
        lot.priority = priority.unwrap_or(lot.priority);
        lot.ends = ends.or(lot.ends);
        self.record(EntryType::Update, Some(id), self.now);
        let row = self.rows.last_mut().unwrap();
        (row.priority, row.ends) = (priorities, both_ends);
        Ok(())
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
}
