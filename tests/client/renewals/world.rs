//! Plans through time once more, as plainly as possible and straight from the contract (sections 2, 3, 5 and 10):
//! one customer whose every instant is lived through at once, nothing taken from the extension. Amounts count in
//! hundredths, time in minutes.

use std::collections::BTreeMap;

pub type Amount = i128;
pub type Minute = i64;

pub const NEVER: Minute = Minute::MAX;
pub const SCOPES: [Option<&str>; 3] = [None, Some("ws"), Some("late")];

/// One version of a plan's entry.
#[derive(Clone, Debug)]
pub struct Terms {
    pub from: Minute,
    /// For one seat where the entry counts seats.
    pub amount: Amount,
    /// Of no meaning where the entry comes once.
    pub every: Minute,
    pub lasts: Option<Minute>,
    pub category: &'static str,
    pub priority: i64,
    pub max: Amount,
    /// Of what is left, in thousandths.
    pub part: i128,
    pub periods: i64,
}

#[derive(Clone, Debug)]
pub struct Entry {
    /// Oldest first, the first from ever.
    pub versions: Vec<Terms>,
    pub once: bool,
    pub per_seat: bool,
}

impl Entry {
    fn at(&self, at: Minute) -> &Terms {
        self.versions.iter().rfind(|terms| terms.from <= at).unwrap_or(&self.versions[0])
    }

    /// Seats in tenths; the product is rounded half away from zero.
    fn amount(&self, terms: &Terms, seats: i128) -> Amount {
        if self.per_seat { (terms.amount * seats + 5) / 10 } else { terms.amount }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub entries: Vec<Entry>,
    pub overdraft: Amount,
}

impl Plan {
    /// The limit that the plan gives a pool, where it gives any.
    fn limit(&self) -> Option<Amount> {
        (!self.entries.is_empty()).then_some(self.overdraft)
    }
}

/// Subscription, plan and entry, by place.
pub type Origin = (usize, usize, usize);

#[derive(Clone, Debug)]
pub struct Lot {
    pub amount: Amount,
    pub consumed: Amount,
    pub expired: Amount,
    pub voided: Amount,
    pub category: &'static str,
    pub priority: i64,
    pub start: Minute,
    pub end: Minute,
    pub created: Minute,
    pub begun: bool,
    pub over: bool,
    pub source: &'static str,
    pub origin: Option<Origin>,
    /// The boundary that it was granted for, where it was granted at one.
    pub period: Option<Minute>,
}

impl Lot {
    pub fn rest(&self) -> Amount {
        self.amount - self.consumed - self.expired - self.voided
    }

    pub fn available(&self) -> Amount {
        if self.begun && !self.over { self.rest() } else { 0 }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Pool {
    pub opened: bool,
    pub overdraft: Amount,
    pub debt: Amount,
    /// Usage in all, the unpaid part included.
    pub used: Amount,
    pub lots: Vec<Lot>,
}

impl Pool {
    pub fn balance(&self) -> Amount {
        self.lots.iter().map(Lot::available).sum::<Amount>() - self.debt
    }

    /// What began to count: granted, consumed, expired, voided.
    pub fn sums(&self) -> [Amount; 4] {
        let begun = || self.lots.iter().filter(|lot| lot.begun);
        [
            begun().map(|lot| lot.amount).sum(),
            begun().map(|lot| lot.consumed).sum(),
            begun().map(|lot| lot.expired).sum(),
            begun().map(|lot| lot.voided).sum(),
        ]
    }

    /// The order of consumption, of all that has not ended.
    fn order(&self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.lots.len()).filter(|place| !self.lots[*place].over).collect();
        places.sort_by_key(|place| {
            let lot = &self.lots[*place];
            (lot.priority, lot.end, lot.category != "promotional", lot.start, lot.created, *place)
        });
        places
    }

    fn settle(&mut self) {
        for place in self.order() {
            let part = self.debt.min(self.lots[place].available());
            self.lots[place].consumed += part;
            self.debt -= part;
        }
    }

    fn take(&mut self, cost: Amount, cap: bool) -> Answer<Amount> {
        let room = (self.balance() + self.overdraft).max(0);
        if room < cost && !cap {
            return Err(vec!["PC001"]);
        }
        let taken = cost.min(room);
        let mut open = taken;
        for place in self.order() {
            let part = open.min(self.lots[place].available());
            self.lots[place].consumed += part;
            open -= part;
        }
        self.debt += open;
        self.used += taken;
        Ok(taken)
    }
}

/// The period that an entry granted last.
#[derive(Clone, Debug)]
struct Given {
    terms: Terms,
    /// Where the next begins.
    until: Minute,
    /// Of its credits, unless the subscription takes them with it.
    end: Minute,
    most: Amount,
}

#[derive(Clone, Debug)]
pub struct Subscription {
    pub scope: usize,
    pub plan: usize,
    pub anchor: Minute,
    pub ends: Minute,
    pub cancelled: bool,
    /// Its credits end with it.
    cut: bool,
    pub seats: i128,
    /// Of every entry that it was made with, also of plans that it left.
    given: BTreeMap<(usize, usize), Option<Given>>,
}

/// What a call answers: its result or any of these codes.
pub type Answer<T> = Result<T, Vec<&'static str>>;

/// What was recorded at one instant and counts from an earlier one.
#[derive(Clone, Debug)]
pub struct Late {
    pub scope: usize,
    pub recorded: Minute,
    pub counts: Minute,
    pub effect: Amount,
}

#[derive(Clone, Debug)]
pub struct World {
    pub now: Minute,
    pub plans: Vec<Plan>,
    pub archived: Minute,
    pub pools: [Pool; SCOPES.len()],
    pub subscriptions: Vec<Subscription>,
    pub late: Vec<Late>,
    /// When a plan or a subscription changed last: what was to come is another thing from then on.
    pub changed: Minute,
}

impl World {
    pub fn new(plans: Vec<Plan>) -> World {
        World {
            now: 0,
            plans,
            archived: NEVER,
            pools: Default::default(),
            subscriptions: Vec::new(),
            late: Vec::new(),
            changed: 0,
        }
    }

    /// The scope's subscription, unless it is over.
    pub fn current(&self, scope: usize) -> Option<usize> {
        self.subscriptions.iter().position(|s| s.scope == scope && self.now < s.ends)
    }

    // -------------------------------------------------------------------------------------------- the clock

    /// The next instant at which something happens by itself.
    pub fn next_event(&self) -> Option<Minute> {
        let lots = self.pools.iter().flat_map(|pool| &pool.lots).filter(|lot| !lot.over);
        let ends = lots.clone().map(|lot| lot.end);
        let starts = lots.filter(|lot| !lot.begun).map(|lot| lot.start);
        let plans = self.subscriptions.iter().filter(|s| self.now < s.ends).flat_map(|subscription| {
            let entries = subscription.given.iter().filter(|((plan, _), _)| *plan == subscription.plan);
            entries
                .map(|(_, given)| given.as_ref().map_or(subscription.anchor, |given| given.until))
                .filter(|at| *at < self.archived)
                .chain([subscription.ends])
        });
        ends.chain(starts).chain(plans).filter(|at| *at > self.now && *at < NEVER).min()
    }

    pub fn advance(&mut self, now: Minute) {
        while let Some(next) = self.next_event().filter(|next| *next <= now) {
            self.now = next;
            self.live_through_now();
        }
        self.now = now;
    }

    /// "At one instant the order is: expiry, rollover, new grants, settlement of debt" (section 2).
    fn live_through_now(&mut self) {
        for scope in 0..self.pools.len() {
            self.end_lots(scope);
            for place in self.pools[scope].order() {
                let lot = &mut self.pools[scope].lots[place];
                lot.begun |= lot.start <= self.now;
            }
            for number in 0..self.subscriptions.len() {
                let subscription = &self.subscriptions[number];
                if subscription.scope != scope {
                    continue;
                }
                if subscription.ends == self.now {
                    self.take_limit_back(number);
                }
                for entry in self.running(number) {
                    self.begin_period(number, entry, self.now);
                }
            }
            self.pools[scope].settle();
        }
    }

    /// The entries whose periods begin by themselves.
    fn running(&self, number: usize) -> Vec<usize> {
        let subscription = &self.subscriptions[number];
        let ours = subscription.given.keys().filter(|(plan, _)| *plan == subscription.plan);
        if self.now < subscription.ends { ours.map(|(_, entry)| *entry).collect() } else { Vec::new() }
    }

    /// "At the end the plan's overdraft limit ends, too, if the pool still has exactly that limit."
    fn take_limit_back(&mut self, number: usize) {
        let Subscription { scope, plan, .. } = self.subscriptions[number];
        let pool = &mut self.pools[scope];
        if self.plans[plan].limit() == Some(pool.overdraft) {
            pool.overdraft = 0;
        }
    }

    fn end_lots(&mut self, scope: usize) {
        let ending = |world: &World, place: &usize| world.pools[scope].lots[*place].end <= world.now;
        let places: Vec<usize> = self.pools[scope].order().into_iter().filter(|place| ending(self, place)).collect();
        // Each ends before any is carried over; what an entry carries counts those before.
        let mut heirs: Vec<Lot> = Vec::new();
        for place in places {
            let heir = self.heir(scope, place, &heirs);
            let lot = &mut self.pools[scope].lots[place];
            lot.expired += lot.rest();
            lot.over = true;
            heirs.extend(heir);
        }
        self.pools[scope].lots.extend(heirs);
    }

    /// "percent of what is left, cut down to the scale, at most rollover_max less what the entry still carries"; only
    /// while the subscription with that plan goes on.
    fn heir(&self, scope: usize, place: usize, before: &[Lot]) -> Option<Lot> {
        let lot = &self.pools[scope].lots[place];
        let (number, plan, entry) = lot.origin.filter(|_| lot.source == "plan" && lot.begun)?;
        let subscription = &self.subscriptions[number];
        let goes_on = subscription.scope == scope && subscription.plan == plan && self.now < subscription.ends;
        let entry = &self.plans[plan].entries[entry];
        if !goes_on || entry.once || self.now >= self.archived {
            return None;
        }
        let terms = entry.at(self.now);
        let living = self.pools[scope].lots.iter().filter(|other| !other.over && other.end > self.now).chain(before);
        let carried: Amount =
            living.filter(|other| other.source == "rollover" && other.origin == lot.origin).map(Lot::rest).sum();
        let amount = (lot.rest() * terms.part / 1000).min(terms.max - carried);
        // "first boundary at or after the expiry, plus the periods"
        let mut boundary = subscription.anchor;
        while boundary < self.now {
            boundary += terms.every;
        }
        let end = self.ends_with(number, boundary + terms.periods * terms.every);
        (amount > 0 && end > self.now).then(|| Lot {
            amount,
            consumed: 0,
            expired: 0,
            voided: 0,
            start: self.now,
            end,
            created: self.now,
            source: "rollover",
            period: None,
            ..lot.clone()
        })
    }

    fn ends_with(&self, number: usize, end: Minute) -> Minute {
        let subscription = &self.subscriptions[number];
        if subscription.cut { end.min(subscription.ends) } else { end }
    }

    /// Begins the period of an entry that `at` lies in, unless it has begun already.
    fn begin_period(&mut self, number: usize, entry: usize, at: Minute) {
        let subscription = &self.subscriptions[number];
        let plan = subscription.plan;
        let Some(given) = subscription.given.get(&(plan, entry)) else { return };
        let covered = given.as_ref().map(|given| given.until);
        let over = at >= subscription.ends || at >= self.archived;
        if at < subscription.anchor || over || covered.is_some_and(|covered| covered > at) {
            return;
        }
        let definition = &self.plans[plan].entries[entry];
        let terms = definition.at(at).clone();
        let grid = at - (at - subscription.anchor) % terms.every;
        // "A changed cadence: the period that runs ends as planned, then the grid of the new cadence."
        let (start, until) = if definition.once {
            (at, NEVER)
        } else {
            (covered.map_or(grid, |covered| covered.max(grid)), grid + terms.every)
        };
        let most = definition.amount(&terms, subscription.seats);
        let end = terms.lasts.map_or(until, |lasts| start + lasts);
        let given = Given { terms, until, end, most };
        self.add_plan_lot(number, entry, &given, most, at, (start == at).then_some(start));
        self.subscriptions[number].given.insert((plan, entry), Some(given));
    }

    fn add_plan_lot(
        &mut self,
        number: usize,
        entry: usize,
        given: &Given,
        amount: Amount,
        start: Minute,
        period: Option<Minute>,
    ) {
        let Subscription { scope, plan, .. } = self.subscriptions[number];
        let end = self.ends_with(number, given.end);
        if amount == 0 || end <= self.now {
            return;
        }
        if start < self.now {
            self.late.push(Late { scope, recorded: self.now, counts: start, effect: amount });
        }
        self.pools[scope].lots.push(Lot {
            amount,
            consumed: 0,
            expired: 0,
            voided: 0,
            category: given.terms.category,
            priority: given.terms.priority,
            start,
            end,
            created: self.now,
            begun: true,
            over: false,
            source: "plan",
            origin: Some((number, plan, entry)),
            period,
        });
    }

    // -------------------------------------------------------------------------------------------- the calls

    /// Whether it was there already.
    pub fn provision(
        &mut self,
        scope: usize,
        plan: usize,
        starts: Option<Minute>,
        ends: Minute,
        seats: i128,
    ) -> Answer<bool> {
        let current = self.current(scope);
        if let Some(number) = current {
            if self.subscriptions[number].plan == plan {
                return Ok(true);
            }
            self.take_limit_back(number);
            self.subscriptions[number].plan = plan;
        } else {
            let anchor = starts.unwrap_or(self.now);
            if ends <= anchor || ends <= self.now {
                return Err(vec!["22023"]);
            }
            self.subscriptions.push(Subscription {
                scope,
                plan,
                anchor,
                ends,
                cancelled: false,
                cut: false,
                seats,
                given: BTreeMap::new(),
            });
        }
        self.changed = self.now;
        self.give_limit(scope, plan);
        let number = current.unwrap_or(self.subscriptions.len() - 1);
        let subscription = &mut self.subscriptions[number];
        for entry in 0..self.plans[plan].entries.len() {
            subscription.given.entry((plan, entry)).or_insert(None);
        }
        if current.is_some() {
            // "New plan's entries grant for the current period from now on, unless it has granted for this period."
            for entry in self.running(number) {
                self.begin_period(number, entry, self.now);
            }
        } else {
            // "With `starts_at` in the past, a period whose credits would be expired leaves no grant."
            loop {
                let next = |entry: &usize| {
                    let subscription = &self.subscriptions[number];
                    let given = &subscription.given[&(plan, *entry)];
                    given.as_ref().map_or(subscription.anchor, |given| given.until)
                };
                let entries = self.running(number);
                let Some(at) = entries.iter().map(next).min() else { break };
                if at > self.now || at >= self.archived {
                    break;
                }
                for entry in entries {
                    self.begin_period(number, entry, at);
                }
                self.pools[scope].settle();
            }
        }
        self.pools[scope].settle();
        Ok(false)
    }

    /// The pool opens with the plan's limit, or takes it over.
    fn give_limit(&mut self, scope: usize, plan: usize) {
        if let Some(limit) = self.plans[plan].limit() {
            self.pools[scope].opened = true;
            self.pools[scope].overdraft = limit;
        }
    }

    pub fn cancel(&mut self, number: usize, at: Option<Minute>, expire: bool) -> Answer<()> {
        let at = at.unwrap_or(self.now);
        let subscription = &mut self.subscriptions[number];
        let mut codes = Vec::new();
        if subscription.ends <= self.now {
            codes.push("PC005");
        }
        if at < self.now {
            codes.push("22023");
        } else if at >= subscription.ends {
            codes.push(if subscription.cancelled { "PC005" } else { "22023" });
        }
        if !codes.is_empty() {
            return Err(codes);
        }
        self.changed = self.now;
        subscription.cancelled = true;
        subscription.ends = at;
        subscription.cut = expire;
        if expire {
            // Also what a transfer left elsewhere.
            let ours = |lot: &&mut Lot| lot.origin.is_some_and(|(owner, _, _)| owner == number);
            let lots = self.pools.iter_mut().flat_map(|pool| &mut pool.lots);
            for lot in lots.filter(ours).filter(|lot| lot.available() > 0) {
                lot.end = lot.end.min(at);
            }
        }
        if at == self.now {
            self.live_through_now();
        }
        Ok(())
    }

    pub fn transfer(&mut self, number: usize, to: usize, moving: bool) -> Answer<()> {
        let subscription = &self.subscriptions[number];
        let from = subscription.scope;
        let mut codes = Vec::new();
        if from == to {
            codes.push("22023");
        }
        if subscription.ends <= self.now || (from != to && self.current(to).is_some()) {
            codes.push("PC005");
        }
        if !codes.is_empty() {
            return Err(codes);
        }
        self.changed = self.now;
        if !subscription.given.is_empty() {
            self.pools[to].opened = true;
        }
        self.take_limit_back(number);
        for place in self.pools[from].order() {
            let lot = &mut self.pools[from].lots[place];
            let ours = lot.origin.is_some_and(|(owner, _, _)| owner == number);
            let part = lot.available();
            if !moving || !ours || part == 0 {
                continue;
            }
            lot.voided += part;
            let moved = Lot {
                amount: part,
                consumed: 0,
                expired: 0,
                voided: 0,
                created: self.now,
                period: None,
                ..lot.clone()
            };
            self.pools[to].lots.push(moved);
        }
        self.give_limit(to, self.subscriptions[number].plan);
        self.subscriptions[number].scope = to;
        self.pools[to].settle();
        Ok(())
    }

    pub fn set_seats(&mut self, number: usize, seats: i128) -> Answer<()> {
        if self.subscriptions[number].ends <= self.now {
            return Err(vec!["PC005"]);
        }
        self.changed = self.now;
        self.subscriptions[number].seats = seats;
        let plan = self.subscriptions[number].plan;
        for entry in self.running(number) {
            let Some(Some(mut given)) = self.subscriptions[number].given.get(&(plan, entry)).cloned() else { continue };
            let wanted = self.plans[plan].entries[entry].amount(&given.terms, seats);
            let missing = wanted - given.most;
            if missing <= 0 {
                continue;
            }
            given.most = wanted;
            self.add_plan_lot(number, entry, &given, missing, self.now, None);
            self.subscriptions[number].given.insert((plan, entry), Some(given));
        }
        let scope = self.subscriptions[number].scope;
        self.pools[scope].settle();
        Ok(())
    }

    pub fn grant(
        &mut self,
        scope: usize,
        amount: Amount,
        category: &'static str,
        priority: i64,
        start: Minute,
        end: Minute,
    ) -> Answer<()> {
        if end <= start || end <= self.now {
            return Err(vec!["22023"]);
        }
        let begun = start <= self.now;
        if start < self.now {
            self.late.push(Late { scope, recorded: self.now, counts: start, effect: amount });
        }
        let (created, source) = (self.now, "manual");
        self.pools[scope].lots.push(Lot {
            amount,
            consumed: 0,
            expired: 0,
            voided: 0,
            category,
            priority,
            start,
            end,
            created,
            begun,
            over: false,
            source,
            origin: None,
            period: None,
        });
        self.pools[scope].settle();
        Ok(())
    }

    /// Takes credits; for a feature it needs a subscription at the time of the usage.
    pub fn consume(
        &mut self,
        scope: usize,
        by_feature: bool,
        cost: Amount,
        cap: bool,
        at: Minute,
    ) -> Answer<(Amount, Amount)> {
        let serves = |s: &Subscription| s.scope == scope && s.anchor <= at && at < s.ends;
        if by_feature && !self.subscriptions.iter().any(serves) {
            return Err(vec!["PC003"]);
        }
        let taken = self.pools[scope].take(cost, cap)?;
        if at < self.now {
            self.late.push(Late { scope, recorded: self.now, counts: at, effect: -taken });
        }
        Ok((taken, cost - taken))
    }

    pub fn void(&mut self, scope: usize, place: usize, amount: Option<Amount>) -> Answer<()> {
        let lot = &mut self.pools[scope].lots[place];
        let part = amount.unwrap_or(lot.rest());
        if part > lot.rest() {
            return Err(vec!["22023"]);
        }
        lot.voided += part;
        // Nothing is left to begin.
        lot.over |= lot.rest() == 0 && !lot.begun;
        Ok(())
    }

    pub fn redefine(&mut self, plan: usize, entry: usize, mut terms: Terms) {
        let versions = &mut self.plans[plan].entries[entry].versions;
        terms.from = self.now;
        versions.push(terms);
        self.changed = self.now;
    }

    pub fn add_entry(&mut self, plan: usize, entry: Entry) {
        self.plans[plan].entries.push(entry);
        self.changed = self.now;
    }
}
