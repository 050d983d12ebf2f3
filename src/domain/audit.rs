//! Whether a pool's books are sound: its ledger row by row, and then its grants, holds and sums against what the ledger
//! says of them.
//!
//! Nothing here trusts a figure because it was read: what a table has is a text until it has been understood. Sums are
//! kept as whole numbers of the smallest unit and stop at the ends of their range, so that no forged figure ends the audit.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{Amount, EntryType, Instant, SealedRow, seal};

/// A ledger row as its table has it; numbers and JSON as PostgreSQL prints them.
#[derive(Clone, Debug, Default)]
pub struct StoredEntry {
    pub customer_id: String,
    pub pool_id: i64,
    pub seq: i64,
    pub entry_type: String,
    pub amount: String,
    pub balance_after: String,
    pub grant_id: Option<i64>,
    pub usage_id: Option<i64>,
    pub feature_id: Option<String>,
    pub value: Option<String>,
    pub reservation_id: Option<String>,
    pub recharge_id: Option<i64>,
    pub idempotency_key: Option<String>,
    pub actor: String,
    pub reason: Option<String>,
    pub dimensions: Option<String>,
    pub metadata: Option<String>,
    pub effective_at: i64,
    pub recorded_at: i64,
    pub credits: Option<String>,
    pub shortfall: Option<String>,
    pub rate: Option<String>,
    pub digest: Option<i64>,
    pub hash: Option<Vec<u8>>,
}

impl StoredEntry {
    /// What of it is sealed.
    pub fn as_sealed(&self) -> SealedRow<'_> {
        SealedRow {
            customer_id: &self.customer_id,
            pool_id: self.pool_id,
            seq: self.seq,
            entry_type: &self.entry_type,
            amount: &self.amount,
            balance_after: &self.balance_after,
            grant_id: self.grant_id,
            usage_id: self.usage_id,
            feature_id: self.feature_id.as_deref(),
            value: self.value.as_deref(),
            reservation_id: self.reservation_id.as_deref(),
            recharge_id: self.recharge_id,
            idempotency_key: self.idempotency_key.as_deref(),
            actor: &self.actor,
            reason: self.reason.as_deref(),
            dimensions: self.dimensions.as_deref(),
            metadata: self.metadata.as_deref(),
            effective_at: self.effective_at,
            recorded_at: self.recorded_at,
            credits: self.credits.as_deref(),
            shortfall: self.shortfall.as_deref(),
            rate: self.rate.as_deref(),
            digest: self.digest,
        }
    }

    fn sealed_onto(&self, previous: &[u8]) -> Vec<u8> {
        seal(previous, &self.as_sealed()).to_vec()
    }
}

/// The pool's row.
#[derive(Clone, Debug)]
pub struct StoredPool {
    pub seq: i64,
    pub balance: String,
    pub held: String,
    pub unbacked: String,
    pub debt: String,
    pub restricted: String,
    pub granted: String,
    pub consumed: String,
    pub expired: String,
    pub voided: String,
    pub last_hash: Vec<u8>,
    pub last_recorded_at: i64,
    pub next_transition_at: Instant,
}

/// A grant's row.
#[derive(Clone, Debug)]
pub struct StoredGrant {
    pub grant_id: i64,
    pub amount: String,
    pub consumed: String,
    pub held: String,
    pub expired: String,
    pub voided: String,
    pub status: String,
    pub unpaid: bool,
    pub expires_at: Instant,
    pub restricted: bool,
    /// The columns that are there for the order of consumption say what the others do.
    pub in_order: bool,
    pub terms_digest: Option<i64>,
}

/// A reservation's row.
#[derive(Clone, Debug)]
pub struct StoredHold {
    pub reservation_id: String,
    pub active: bool,
    pub amount: String,
    pub held: String,
    pub charged: String,
    /// `None`: of the overdraft.
    pub parts: Vec<(Option<i64>, String)>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The row that it is about; `None`: the pool as a whole.
    pub seq: Option<i64>,
    pub problem: &'static str,
    pub detail: Map<String, Value>,
}

fn finding(seq: Option<i64>, problem: &'static str, detail: Value) -> Finding {
    let detail = match detail {
        Value::Object(detail) => detail,
        _ => Map::new(),
    };
    Finding { seq, problem, detail }
}

/// A sum in units of 10^-18.
type Sum = i128;

fn sum_of(text: &str) -> Option<Sum> {
    Amount::parse(text).ok().map(|amount| amount.raw())
}

fn add(sum: &mut Sum, part: Sum) {
    *sum = sum.saturating_add(part);
}

fn shown(sum: Sum) -> String {
    Amount::from_raw(sum).to_string()
}

/// What the ledger says of a grant.
#[derive(Clone, Debug, Default)]
struct GrantSums {
    begun: bool,
    granted: Sum,
    consumed: Sum,
    held: Sum,
    expired: Sum,
    voided: Sum,
    /// Before it began: what was promised, and what of that was voided or has expired.
    promised: Option<Sum>,
    voided_before: Sum,
    expired_before: Sum,
    /// A row voided, or moved away, all of it that was not held.
    ended: bool,
    terms: Option<i64>,
}

impl GrantSums {
    fn amount(&self) -> Sum {
        if self.begun { self.granted.saturating_add(self.voided_before) } else { self.promised.unwrap_or_default() }
    }

    fn gone(&self) -> [Sum; 6] {
        [self.consumed, self.held, self.expired, self.expired_before, self.voided, self.voided_before]
    }

    /// What is neither gone nor held.
    fn left(&self) -> Sum {
        self.gone().iter().fold(self.amount(), |left, part| left.saturating_sub(*part))
    }
}

/// What the ledger says of a hold.
#[derive(Clone, Debug, Default)]
struct HoldSums {
    reserved: Sum,
    held: Sum,
    charged: Sum,
}

/// The usage whose rows are being read.
struct Usage {
    usage_id: i64,
    seq: i64,
    credits: Option<Sum>,
    drawn: Sum,
}

/// One pool's audit: give it the rows in the order of `seq`, then ask for what is wrong.
#[derive(Default)]
pub struct Audit {
    findings: Vec<Finding>,
    seq: i64,
    /// The hash of the row before as it stands there and, should that be forged, as it should be.
    previous: Vec<Vec<u8>>,
    balance: Sum,
    recorded_at: Option<i64>,
    after_gap: bool,
    grants: BTreeMap<i64, GrantSums>,
    holds: BTreeMap<String, HoldSums>,
    unbacked: Sum,
    debt: Sum,
    usage: Option<Usage>,
    /// What usages got back.
    reversed: BTreeMap<i64, Sum>,
    /// Heads that were kept elsewhere and not met yet.
    kept: BTreeMap<i64, Vec<u8>>,
}

impl Audit {
    /// `kept`: hashes by `seq` that are known from elsewhere.
    pub fn new(kept: BTreeMap<i64, Vec<u8>>) -> Audit {
        Audit { previous: vec![Vec::new()], kept, ..Audit::default() }
    }

    fn report(&mut self, seq: impl Into<Option<i64>>, problem: &'static str, detail: Value) {
        self.findings.push(finding(seq.into(), problem, detail));
    }

    /// A usage that moved no credits: it stands beside the chain.
    fn read_unbooked(&mut self, entry: &StoredEntry) {
        let usage_id = entry.usage_id.unwrap_or_default();
        if entry.seq != -usage_id || entry.hash.as_ref() != Some(&entry.sealed_onto(&[])) {
            self.report(entry.seq, "unsealed", json!({"usage_id": entry.usage_id}));
        }
    }

    pub fn read(&mut self, entry: &StoredEntry) {
        if entry.seq <= 0 {
            self.read_unbooked(entry);
            return;
        }
        if entry.seq != self.seq + 1 {
            self.report(entry.seq, "gap", json!({"from": self.seq + 1, "to": entry.seq - 1}));
            self.after_gap = true;
        }
        self.check_hash(entry);
        let kind = EntryType::parse(&entry.entry_type);
        if (kind == Some(EntryType::Open)) != (entry.seq == 1) {
            self.report(entry.seq, "opening", json!({"entry_type": entry.entry_type}));
        }
        let (amount, after) = (sum_of(&entry.amount), sum_of(&entry.balance_after));
        let expected = self.balance.saturating_add(amount.unwrap_or_default());
        if !self.after_gap && after != Some(expected) || amount.is_none() {
            let detail = json!({"balance_after": entry.balance_after, "expected": shown(expected)});
            self.report(entry.seq, "balance", detail);
        }
        if self.recorded_at.is_some_and(|before| entry.recorded_at < before) {
            self.report(entry.seq, "order", json!({}));
        }
        if let Some(kept) = self.kept.remove(&entry.seq)
            && entry.hash.as_ref() != Some(&kept)
        {
            self.report(entry.seq, "kept_head", json!({"kept": hex(&kept)}));
        }
        self.seq = entry.seq;
        self.balance = after.unwrap_or(expected);
        self.recorded_at = Some(entry.recorded_at);
        self.after_gap = false;
        if let Some(kind) = kind {
            self.count(entry, kind, amount.unwrap_or_default());
        }
    }

    fn check_hash(&mut self, entry: &StoredEntry) {
        let sealed: Vec<Vec<u8>> = self.previous.iter().map(|previous| entry.sealed_onto(previous)).collect();
        let holds = entry.hash.as_ref().is_some_and(|hash| sealed.contains(hash));
        // What stood before the first row after a gap, nobody knows.
        let unknowable = self.after_gap && entry.hash.as_ref().is_some_and(|hash| hash.len() == 32);
        if !holds && !unknowable {
            self.report(entry.seq, "hash", json!({"entry_hash": entry.hash.as_deref().map(hex)}));
        }
        self.previous = entry.hash.iter().cloned().collect();
        if !holds && !unknowable {
            self.previous.extend(sealed);
        }
    }

    fn count(&mut self, entry: &StoredEntry, kind: EntryType, amount: Sum) {
        self.count_usage(entry, kind, amount);
        if let Some(id) = &entry.reservation_id {
            self.count_hold(id, kind, amount);
        }
        let Some(grant_id) = entry.grant_id else {
            match kind {
                EntryType::Debt | EntryType::DebtSettle | EntryType::Reverse => add(&mut self.debt, -amount),
                EntryType::Reserve | EntryType::Release | EntryType::ReservationExpire => {
                    add(&mut self.unbacked, -amount);
                }
                _ => {}
            }
            return;
        };
        let grant = self.grants.entry(grant_id).or_default();
        let pending = entry.value.as_deref().and_then(sum_of);
        match kind {
            EntryType::Grant | EntryType::RolloverIn | EntryType::TransferIn => {
                grant.begun = true;
                add(&mut grant.granted, amount);
            }
            EntryType::Schedule => grant.promised = pending,
            EntryType::Consume | EntryType::Debt | EntryType::DebtSettle | EntryType::Reverse => {
                add(&mut grant.consumed, -amount);
            }
            EntryType::Reserve | EntryType::Release | EntryType::ReservationExpire => add(&mut grant.held, -amount),
            EntryType::Expire if !grant.begun => add(&mut grant.expired_before, pending.unwrap_or_default()),
            EntryType::Void if !grant.begun => add(&mut grant.voided_before, pending.unwrap_or_default()),
            EntryType::Expire | EntryType::RolloverOut => add(&mut grant.expired, -amount),
            EntryType::Void | EntryType::TransferOut => add(&mut grant.voided, -amount),
            EntryType::Open | EntryType::Update => {}
        }
        if matches!(kind, EntryType::Void | EntryType::TransferOut) {
            grant.ended |= grant.left() == 0;
        }
        let brings = [EntryType::Schedule, EntryType::Grant, EntryType::RolloverIn, EntryType::TransferIn];
        if brings.contains(&kind) || kind == EntryType::Update {
            grant.terms = entry.digest;
        }
    }

    fn count_hold(&mut self, id: &str, kind: EntryType, amount: Sum) {
        if !self.holds.contains_key(id) {
            self.holds.insert(id.to_owned(), HoldSums::default());
        }
        let Some(hold) = self.holds.get_mut(id) else { return };
        match kind {
            EntryType::Reserve => {
                add(&mut hold.reserved, -amount);
                add(&mut hold.held, -amount);
            }
            EntryType::Release | EntryType::ReservationExpire => add(&mut hold.held, -amount),
            EntryType::Consume | EntryType::Debt => add(&mut hold.charged, -amount),
            _ => {}
        }
    }

    /// A usage's rows lie together, and the first says what it cost.
    fn count_usage(&mut self, entry: &StoredEntry, kind: EntryType, amount: Sum) {
        if kind == EntryType::Reverse {
            add(self.reversed.entry(entry.usage_id.unwrap_or_default()).or_default(), amount);
        }
        let ours = entry.usage_id.filter(|_| kind.is_usage());
        let credits = entry.credits.as_deref().and_then(sum_of);
        let goes_on = self.usage.as_ref().is_some_and(|usage| Some(usage.usage_id) == ours) && entry.credits.is_none();
        if !goes_on {
            self.end_usage();
            self.usage = ours.map(|usage_id| Usage { usage_id, seq: entry.seq, credits, drawn: 0 });
        }
        if let Some(usage) = &mut self.usage {
            add(&mut usage.drawn, -amount);
        }
    }

    fn end_usage(&mut self) {
        if let Some(Usage { usage_id, seq, credits, drawn }) = self.usage.take()
            && credits != Some(drawn)
        {
            let detail = json!({"usage_id": usage_id, "credits": credits.map(shown), "drawn": shown(drawn)});
            self.report(seq, "usage", detail);
        }
    }

    /// The last row was read: is it the pool's head?
    pub fn check_head(&mut self, pool: &StoredPool) {
        self.end_usage();
        let mut differs = Vec::new();
        if pool.seq != self.seq {
            differs.push(("seq", pool.seq.to_string(), self.seq.to_string()));
        }
        if sum_of(&pool.balance) != Some(self.balance) {
            differs.push(("balance", pool.balance.clone(), shown(self.balance)));
        }
        if self.previous.first() != Some(&pool.last_hash) {
            let last = self.previous.first().map(|hash| hex(hash)).unwrap_or_default();
            differs.push(("last_hash", hex(&pool.last_hash), last));
        }
        if self.recorded_at.is_some_and(|at| at > pool.last_recorded_at) {
            let text = |micros: i64| Instant::from_micros(micros).to_string();
            let last = self.recorded_at.map(text).unwrap_or_default();
            differs.push(("last_recorded_at", text(pool.last_recorded_at), last));
        }
        if !Instant::from_micros(pool.last_recorded_at).is_finite() {
            differs.push(("last_recorded_at", Instant::from_micros(pool.last_recorded_at).to_string(), String::new()));
        }
        for (column, pool, ledger) in differs {
            self.report(None, "head", json!({"column": column, "pool": pool, "ledger": ledger}));
        }
        for (seq, hash) in std::mem::take(&mut self.kept) {
            self.report(seq, "kept_head", json!({"kept": hex(&hash)}));
        }
    }

    /// The reservations that the ledger speaks of.
    pub fn holds(&self) -> Vec<&str> {
        self.holds.keys().map(String::as_str).collect()
    }

    /// The usages that the ledger gives something back to.
    pub fn reversed_usages(&self) -> Vec<i64> {
        self.reversed.keys().copied().collect()
    }

    /// What the usages of the pool say that they got back.
    pub fn check_reversals(&mut self, stored: &BTreeMap<i64, String>) {
        for (usage_id, given) in std::mem::take(&mut self.reversed) {
            let said = stored.get(&usage_id).map(String::as_str).unwrap_or("0");
            if sum_of(said) != Some(given) {
                let detail = json!({"usage_id": usage_id, "reversed": said, "ledger": shown(given)});
                self.report(None, "usage", detail);
            }
        }
    }

    /// The pool's grants and holds, all of them, and its sums.
    pub fn check_state(&mut self, pool: &StoredPool, grants: &[StoredGrant], holds: &[StoredHold]) {
        let held = self.check_holds(holds);
        let mut totals = Totals { debt: self.debt, unbacked: self.unbacked, ..Totals::default() };
        let mut ledger = std::mem::take(&mut self.grants);
        for grant in grants {
            let sums = ledger.remove(&grant.grant_id);
            self.check_grant(
                grant,
                sums,
                pool,
                held.get(&Some(grant.grant_id)).copied().unwrap_or_default(),
                &mut totals,
            );
        }
        for grant_id in ledger.keys() {
            self.report(None, "grant", json!({"grant_id": grant_id, "problem": "not there"}));
        }
        add(&mut totals.held, self.unbacked);
        self.check_pool(pool, &totals);
    }

    /// What the holds that are open hold of each grant.
    fn check_holds(&mut self, holds: &[StoredHold]) -> BTreeMap<Option<i64>, Sum> {
        let mut of_grants: BTreeMap<Option<i64>, Sum> = BTreeMap::new();
        let mut ledger = std::mem::take(&mut self.holds);
        for hold in holds {
            let id = &hold.reservation_id;
            let sums = ledger.remove(id).unwrap_or_default();
            let columns = [
                ("amount", &hold.amount, sums.reserved),
                ("held", &hold.held, sums.held),
                ("charged", &hold.charged, sums.charged),
            ];
            for (column, stored, expected) in columns {
                if sum_of(stored) != Some(expected) {
                    let detail = json!({"reservation_id": id, "column": column, "reservation": stored, "ledger": shown(expected)});
                    self.report(None, "hold", detail);
                }
            }
            let mut parts = 0;
            for (grant_id, part) in &hold.parts {
                let part = sum_of(part).unwrap_or_default();
                add(&mut parts, part);
                if hold.active {
                    add(of_grants.entry(*grant_id).or_default(), part);
                }
            }
            let open = if hold.active { sums.held } else { 0 };
            if parts != open && hold.active || sums.held != open {
                let detail = json!({"reservation_id": id, "column": "parts", "reservation": shown(parts), "ledger": shown(sums.held)});
                self.report(None, "hold", detail);
            }
        }
        for id in ledger.keys() {
            self.report(None, "hold", json!({"reservation_id": id, "problem": "not there"}));
        }
        let unbacked = of_grants.get(&None).copied().unwrap_or_default();
        if unbacked != self.unbacked {
            let detail = json!({"column": "unbacked", "reservation": shown(unbacked), "ledger": shown(self.unbacked)});
            self.report(None, "hold", detail);
        }
        of_grants
    }

    fn check_grant(
        &mut self,
        grant: &StoredGrant,
        sums: Option<GrantSums>,
        pool: &StoredPool,
        held: Sum,
        totals: &mut Totals,
    ) {
        let id = grant.grant_id;
        let Some(sums) = sums else {
            self.report(None, "grant", json!({"grant_id": id, "problem": "not in the ledger"}));
            return;
        };
        let amount = sums.amount();
        let columns = [
            ("amount", &grant.amount, amount),
            ("consumed", &grant.consumed, sums.consumed),
            ("held", &grant.held, sums.held),
            ("expired", &grant.expired, sums.expired.saturating_add(sums.expired_before)),
            ("voided", &grant.voided, sums.voided.saturating_add(sums.voided_before)),
        ];
        for (column, stored, expected) in columns {
            if sum_of(stored) != Some(expected) {
                let detail = json!({"grant_id": id, "column": column, "grant": stored, "ledger": shown(expected)});
                self.report(None, "grant", detail);
            }
        }
        let mut broken = |problem: &str| {
            self.report(None, "grant", json!({"grant_id": id, "problem": problem}));
        };
        if sums.terms != grant.terms_digest {
            broken("its terms are not those that the ledger has");
        }
        if held != sums.held {
            broken("holds have another part of it");
        }
        let left = sums.left();
        if left < 0 || sums.gone().iter().any(|part| *part < 0) {
            broken("more than its amount is gone");
        }
        if !grant.in_order {
            broken("its place in the order of consumption is not its own");
        }
        let booked = |at: Instant| at.micros() <= pool.last_recorded_at;
        let right = match grant.status.as_str() {
            "scheduled" => !sums.begun && !grant.unpaid && left > 0,
            "pending_payment" => !sums.begun && grant.unpaid && left > 0,
            "active" => sums.begun && left.saturating_add(sums.held) > 0,
            "depleted" => sums.begun && left == 0 && sums.held == 0,
            // What was reversed or came back of it is gone again at once; a part that is held may be there.
            "expired" => left == 0 && booked(grant.expires_at),
            "voided" => left == 0 && sums.ended,
            _ => false,
        };
        if !right {
            broken("its status is not what the ledger makes of it");
        }
        if sums.begun {
            add(&mut totals.granted, amount);
            add(&mut totals.consumed, sums.consumed);
            add(&mut totals.expired, sums.expired);
            add(&mut totals.voided, sums.voided.saturating_add(sums.voided_before));
            add(&mut totals.held, sums.held);
            if grant.status == "active" {
                add(&mut totals.available, left);
                if grant.restricted {
                    add(&mut totals.restricted, left);
                }
            }
        }
    }

    fn check_pool(&mut self, pool: &StoredPool, totals: &Totals) {
        let balance = totals.available.saturating_sub(totals.debt).saturating_sub(totals.unbacked);
        let columns = [
            ("balance", &pool.balance, balance),
            ("held", &pool.held, totals.held),
            ("unbacked", &pool.unbacked, totals.unbacked),
            ("debt", &pool.debt, totals.debt),
            ("restricted", &pool.restricted, totals.restricted),
            ("granted", &pool.granted, totals.granted),
            ("consumed", &pool.consumed, totals.consumed),
            ("expired", &pool.expired, totals.expired),
            ("voided", &pool.voided, totals.voided),
        ];
        for (column, stored, expected) in columns {
            if sum_of(stored) != Some(expected) {
                let detail = json!({"column": column, "pool": stored, "expected": shown(expected)});
                self.report(None, "pool", detail);
            }
        }
    }

    /// The clock brings something at `due`; the pool must know by then.
    pub fn check_due(&mut self, pool: &StoredPool, due: Instant) {
        if pool.next_transition_at > due {
            let detail = json!({"next_transition_at": pool.next_transition_at.to_string(), "due": due.to_string()});
            self.report(None, "due", detail);
        }
    }

    pub fn findings(self) -> Vec<Finding> {
        self.findings
    }
}

/// A pool's sums as its grants and its ledger make them.
#[derive(Default)]
struct Totals {
    available: Sum,
    restricted: Sum,
    held: Sum,
    unbacked: Sum,
    debt: Sum,
    granted: Sum,
    consumed: Sum,
    expired: Sum,
    voided: Sum,
}

/// As PostgreSQL prints a bytea.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("\\x"), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}

/// The reverse of [`hex`].
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if digits.len() % 2 == 0 { digits.chunks(2).map(pair).collect() } else { None }
}
