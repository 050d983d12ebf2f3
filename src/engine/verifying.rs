//! Are the books sound? Every pool's ledger is gone through from its first row, and then held against the other tables.
//!
//! All of it in one snapshot and without a lock, so that usage goes on meanwhile. A pool's rows come in pieces; what is
//! kept of a pool is a few figures per grant and per hold.

use std::collections::BTreeMap;

use credit_pools_domain::{Amount, Audit, Finding, StoredEntry, Wallet, hex, unhex};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::store::archive::{self, Head};
use crate::store::isolate::in_scratch_memory;
use crate::store::verification::{self, Books, Selection};
use crate::store::{customers, grants, reservations, rollups, schedules};

/// Rows of a ledger, and pools, that are read at once.
const PIECE: i64 = 1_000;

/// Something that is wrong, and where.
pub struct Found {
    pub customer_id: String,
    pub resource_id: Option<String>,
    pub credit_type_id: Option<String>,
    pub pool_id: Option<i64>,
    pub finding: Finding,
}

/// A pool's customer and id.
type PoolKey = (String, i64);
/// Hashes by `seq`.
type Kept = BTreeMap<i64, Vec<u8>>;

/// Heads that were kept elsewhere.
#[derive(Default)]
pub struct KeptHeads {
    of_pools: BTreeMap<i64, Kept>,
    /// By whom they are said to be, where that is known.
    customers: BTreeMap<i64, String>,
}

impl KeptHeads {
    pub fn is_empty(&self) -> bool {
        self.of_pools.is_empty()
    }

    /// From an array of rows of ledger_head.
    pub fn parse(text: &str) -> Result<KeptHeads> {
        let wrong = |what: &str| {
            Error::argument("heads", format!("heads must be an array of rows of ledger_head: {what}"))
                .hint("Such as (SELECT jsonb_agg(h) FROM credit_pools.ledger_head() h).")
        };
        let rows = match serde_json::from_str(text) {
            Ok(Value::Array(rows)) => rows,
            _ => return Err(wrong("it is no array")),
        };
        let mut heads = KeptHeads::default();
        for row in rows {
            let number = |key: &str| row.get(key).and_then(Value::as_i64);
            let (Some(pool_id), Some(seq)) = (number("pool_id"), number("seq").filter(|seq| *seq > 0)) else {
                return Err(wrong("pool_id or seq is missing"));
            };
            let hash = row.get("entry_hash").and_then(Value::as_str).and_then(unhex).filter(|hash| hash.len() == 32);
            let hash = hash.ok_or_else(|| wrong("entry_hash is no hash"))?;
            if let Some(customer_id) = row.get("customer_id").and_then(Value::as_str) {
                heads.customers.insert(pool_id, customer_id.to_owned());
            }
            if heads.of_pools.entry(pool_id).or_default().insert(seq, hash.clone()).is_some_and(|other| other != hash) {
                return Err(wrong("two hashes of one row"));
            }
        }
        Ok(heads)
    }
}

/// Goes through the pools of a selection, behind `after`.
pub fn verify(
    of: &Selection,
    after: Option<&PoolKey>,
    heads: &mut KeptHeads,
    progress: &mut Progress,
) -> Result<Vec<Found>> {
    check_selection(of)?;
    let (mut found, mut sound) = (Vec::new(), 0);
    // A tenant's selections may lie before it.
    let mut after = after.map_or(start(of), |after| after.clone().max(start(of)));
    loop {
        let books = in_scratch_memory(|| verification::pools(of, (&after.0, after.1), PIECE));
        let Some(last) = books.last() else { break };
        after = (last.customer_id.clone(), last.pool_id);
        for pool in &books {
            let kept = heads.of_pools.remove(&pool.pool_id).unwrap_or_default();
            let findings = in_scratch_memory(|| audit(pool, kept, progress));
            sound += i64::from(findings.is_empty());
            progress.tick(|| {
                let (customer_id, pool_id) = (&pool.customer_id, pool.pool_id);
                format!(
                    "{sound} sound pools, {} problems, up to pool {pool_id} of customer \"{customer_id}\"",
                    found.len()
                )
            });
            found.extend(findings.into_iter().map(|finding| Found {
                customer_id: pool.customer_id.clone(),
                resource_id: pool.resource_id.clone(),
                credit_type_id: Some(pool.credit_type_id.clone()),
                pool_id: Some(pool.pool_id),
                finding,
            }));
        }
    }
    if of.resource_id.is_none() && of.credit_type_id.is_none() {
        found.extend(lost_pools(of, heads));
        found.extend(orphans(of));
    }
    Ok(found)
}

/// Where the ledgers of a selection end.
pub fn heads(of: &Selection) -> Result<Vec<Books>> {
    check_selection(of)?;
    let mut heads = Vec::new();
    let mut after = start(of);
    loop {
        pgrx::check_for_interrupts!();
        let books = in_scratch_memory(|| verification::pools(of, (&after.0, after.1), PIECE));
        let Some(last) = books.last() else { return Ok(heads) };
        after = (last.customer_id.clone(), last.pool_id);
        heads.extend(books);
    }
}

/// What is asked for by name has to be there.
fn check_selection(of: &Selection) -> Result<()> {
    match (of.customer_id, of.resource_id) {
        (Some(customer_id), Some(resource_id)) => super::opening::check_scope(customer_id, resource_id),
        (Some(customer_id), None) if !customers::exists(customer_id) => Err(Error::unknown("customer", customer_id)),
        (None, Some(_)) => {
            Err(Error::argument("customer_id", "a resource is one of a customer: customer_id is required"))
        }
        _ => Ok(()),
    }
}

/// Where the pools of a selection begin.
fn start(of: &Selection) -> PoolKey {
    (of.customer_id.unwrap_or_default().to_owned(), i64::MIN)
}

/// One pool.
fn audit(books: &Books, kept: Kept, progress: &mut Progress) -> Vec<Finding> {
    let (customer_id, pool_id) = (books.customer_id.as_str(), books.pool_id);
    let mut audit = Audit::new(kept);
    let mut archived = Archived::of(customer_id, pool_id);
    let mut after = i64::MIN;
    loop {
        progress.tick(|| {
            format!("in pool {pool_id} of customer \"{customer_id}\", {} of {} rows", after.max(0), books.pool.seq)
        });
        let entries = in_scratch_memory(|| verification::entries(customer_id, pool_id, after, PIECE));
        for entry in &entries {
            audit.read(entry);
            archived.read(entry);
        }
        match entries.last() {
            Some(last) if entries.len() as i64 == PIECE => after = last.seq,
            _ => break,
        }
    }
    audit.check_head(&books.pool);
    audit.check_reversals(&verification::reversals(customer_id, &audit.reversed_usages()));
    let holds = verification::holds(customer_id, pool_id, &audit.holds());
    audit.check_state(&books.pool, &verification::grants(customer_id, pool_id), &holds);
    let mut findings = audit.findings();
    // Sums that cannot be read would end the call below; they have been told.
    if findings.is_empty() {
        let mut audit = Audit::new(Kept::new());
        audit.check_due(&books.pool, due(customer_id, pool_id));
        findings = audit.findings();
    }
    for (recharge_id, what) in verification::broken_recharges(customer_id, pool_id) {
        let detail = [("recharge_id".to_owned(), json!(recharge_id)), ("problem".to_owned(), json!(what))];
        findings.push(Finding { seq: None, problem: "recharge", detail: detail.into_iter().collect() });
    }
    findings.extend(archived.findings());
    // What is wrong in the ledger itself has been told.
    if findings.is_empty() {
        for (quarter, feature_id) in in_scratch_memory(|| rollups::wrong_sums(customer_id, pool_id)) {
            let detail = [("quarter", json!(quarter.to_string())), ("feature_id", json!(feature_id))];
            let detail = detail.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
            findings.push(Finding { seq: None, problem: "rollup", detail });
        }
    }
    findings
}

/// What a pool has in the archive, against the heads that were written with it.
struct Archived<'a> {
    pool: (&'a str, i64),
    /// By their row, those that the ledger has not come to yet.
    heads: BTreeMap<i64, Head>,
    up_to_seq: i64,
    findings: Vec<Finding>,
}

impl<'a> Archived<'a> {
    fn of(customer_id: &'a str, pool_id: i64) -> Archived<'a> {
        let heads = in_scratch_memory(|| archive::heads(customer_id, pool_id));
        Archived {
            pool: (customer_id, pool_id),
            up_to_seq: heads.iter().map(|head| head.up_to_seq).max().unwrap_or_default(),
            heads: heads.into_iter().filter(|head| head.up_to_seq > 0).map(|head| (head.up_to_seq, head)).collect(),
            findings: Vec::new(),
        }
    }

    fn report(&mut self, seq: i64, detail: Value) {
        if let Value::Object(detail) = detail {
            self.findings.push(Finding { seq: Some(seq), problem: "archive", detail });
        }
    }

    fn read(&mut self, entry: &StoredEntry) {
        let Some(head) = self.heads.remove(&entry.seq) else { return };
        let same = entry.hash.as_ref() == Some(&head.hash)
            && Amount::parse(&entry.balance_after) == Amount::parse(&head.balance_after)
            && entry.recorded_at == head.recorded_at.micros();
        if !same {
            self.report(entry.seq, json!({"entry_hash": hex(&head.hash), "balance_after": head.balance_after}));
        }
    }

    /// Once all rows have been read.
    fn findings(mut self) -> Vec<Finding> {
        let (customer_id, pool_id) = self.pool;
        for seq in std::mem::take(&mut self.heads).into_keys() {
            self.report(seq, json!({"problem": "its row is not there"}));
        }
        let ends = archive::ends(customer_id, pool_id);
        if ends.last != self.up_to_seq || ends.next != ends.last + 1 {
            let detail = json!({"head": self.up_to_seq, "last_archived": ends.last, "first_not_archived": ends.next});
            self.report(ends.last, detail);
        }
        for (seq, key) in archive::lost_keys(customer_id, pool_id) {
            self.report(seq, json!({"idempotency_key": key, "problem": "the key is not kept as it was used"}));
        }
        self.findings
    }
}

/// When something is to happen in the pool by the clock.
fn due(customer_id: &str, pool_id: i64) -> credit_pools_domain::Instant {
    let wallet = Wallet {
        grants: grants::read_open(customer_id, pool_id),
        schedules: schedules::read_running(customer_id, pool_id),
        holds: reservations::read_open(customer_id, pool_id),
        ..Wallet::open(credit_pools_domain::Limit::Unlimited, credit_pools_domain::Instant::NEG_INFINITY)
    };
    wallet.earliest_transition()
}

/// Heads were kept of them, and they are not there any more.
fn lost_pools(of: &Selection, heads: &mut KeptHeads) -> Vec<Found> {
    let mut lost = Vec::new();
    for (pool_id, kept) in std::mem::take(&mut heads.of_pools) {
        let said = heads.customers.get(&pool_id).cloned();
        // Of whom it was, or of all, was asked.
        if of.customer_id.is_some() && said.as_deref() != of.customer_id {
            heads.of_pools.insert(pool_id, kept);
            continue;
        }
        for seq in kept.keys() {
            let detail = [("problem".to_owned(), json!("its pool is not there"))];
            lost.push(Found {
                customer_id: said.clone().unwrap_or_default(),
                resource_id: None,
                credit_type_id: None,
                pool_id: Some(pool_id),
                finding: Finding { seq: Some(*seq), problem: "kept_head", detail: detail.into_iter().collect() },
            });
        }
    }
    lost
}

fn orphans(of: &Selection) -> Vec<Found> {
    let orphans = in_scratch_memory(|| verification::orphans(of.customer_id));
    let found = orphans.into_iter().map(|(customer_id, id, table)| {
        let of_usage = table == "usage_reversal" || table == "archived_usage";
        let mut detail = serde_json::Map::new();
        detail.insert("table".to_owned(), json!(table));
        if of_usage {
            detail.insert("usage_id".to_owned(), json!(id));
        }
        Found {
            customer_id,
            resource_id: None,
            credit_type_id: None,
            pool_id: (!of_usage).then_some(id),
            finding: Finding { seq: None, problem: "orphan", detail },
        }
    });
    found.collect()
}
