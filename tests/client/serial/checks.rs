//! What can be said of single calls: those that were acknowledged, refused, or wrote nothing.

use crate::calls::{Answer, Call, Record, Usage};
use crate::history::History;
use crate::setting::{OVERDRAFT, Setting};
use std::collections::{BTreeMap, HashMap};
use support::{Row, Session, decimal, units};

fn answered(record: &Record) -> Vec<&Row> {
    match &record.answer {
        Answer::Rows(rows) => rows.iter().collect(),
        _ => Vec::new(),
    }
}

/// An event of a batch.
fn is_refused(row: &Row) -> bool {
    row.has("error_code") && row.opt("error_code").is_some()
}

pub fn is_repeated(row: &Row) -> bool {
    row.has("is_duplicate") && row.opt("is_duplicate") == Some("t")
}

/// The usages of a call, each with its answer.
fn usages(record: &Record) -> Vec<(&Usage, &Row)> {
    let rows = answered(record);
    let list: Vec<&Usage> = match &record.call {
        Call::Usage(usage) => vec![usage],
        Call::Batch { usages, .. } => usages.iter().collect(),
        _ => Vec::new(),
    };
    list.into_iter().zip(rows).filter(|(_, row)| !is_refused(row)).collect()
}

/// As many rows in the tables as were said to be made, each with the id that was returned; a key once, however often it
/// was used, with one result.
pub fn acknowledged_once(session: &mut Session, records: &[Record], history: &History) {
    let mut made: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut first: HashMap<(usize, &str), &Row> = HashMap::new();
    let mut again: Vec<(usize, &str, &Row)> = Vec::new();
    for record in records {
        for (usage, row) in usages(record) {
            match (&usage.key, row.flag("is_duplicate")) {
                (Some(key), true) => again.push((usage.place.customer, key, row)),
                (None, true) => panic!("a duplicate without a key: {record:?}"),
                (key, false) => {
                    made.entry("usage").or_default().push(row.get("usage_id").to_owned());
                    if let Some(key) = key {
                        let before = first.insert((usage.place.customer, key), row);
                        assert!(before.is_none(), "key {key} counted twice: {before:?} and {record:?}");
                    }
                }
            }
        }
        for row in answered(record) {
            match &record.call {
                Call::Settle { .. } if !row.flag("is_duplicate") => {
                    made.entry("usage").or_default().push(row.get("usage_id").to_owned());
                }
                Call::Grant { .. } => made.entry("grant").or_default().push(row.get("grant_id").to_owned()),
                Call::Reserve { id, .. } if !row.flag("is_duplicate") => {
                    made.entry("hold").or_default().push(id.clone())
                }
                _ => {}
            }
        }
    }
    let columns = ["usage_id", "pool_id", "credits_consumed", "shortfall", "balance"];
    for (customer, key, row) in &again {
        let first = first.get(&(*customer, *key)).unwrap_or_else(|| panic!("nobody used key {key} first: {row:?}"));
        assert_eq!(row.only(&columns), first.only(&columns), "key {key}");
    }
    let queries = [
        ("usage", "SELECT usage_id AS id FROM credit_pools.usage_events"),
        ("grant", "SELECT grant_id AS id FROM credit_pools.grants WHERE source = 'manual'"),
        ("hold", "SELECT reservation_id AS id FROM credit_pools.reservations"),
    ];
    for (what, query) in queries {
        let mut found: Vec<String> = session.rows(query).iter().map(|row| row.get("id").to_owned()).collect();
        let mut wanted = made.remove(what).unwrap_or_default();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "what was acknowledged is there, and nothing else: {what}");
    }
    assert!(again.len() > 10 || history.order.len() < 1000, "keys hardly ever met: {}", again.len());
}

/// PC001 says a balance that the pool really had, and that what was asked for did not fit into.
pub fn refusals(setting: &Setting, records: &[Record], history: &History) {
    for record in records {
        let events = answered(record).into_iter().filter(|row| is_refused(row) && row.get("error_code") == "PC001");
        for row in events {
            let detail: serde_json::Value = serde_json::from_str(row.get("error_detail")).expect("JSON");
            let figure = |name: &str| units(&detail[name].to_string(), 2);
            assert!(figure("balance") - figure("required") < figure("floor"), "refused although it fits: {row:?}");
            let place = setting.place(detail["pool_id"].as_i64().expect("an id"));
            let known = &history.balances[&place];
            assert!(known.contains(&decimal(figure("balance"), 2)), "{place:?} never had this balance: {row:?}");
        }
        assert!(!matches!(record.answer, Answer::Refused(_)) || !history.wrote(record.number), "{record:?}");
        let Answer::Refused(fault) = &record.answer else { continue };
        if fault.code != "PC001" {
            continue;
        }
        let figure = |name: &str| units(&fault.figure(name).unwrap_or_else(|| panic!("no {name}: {fault}")), 2);
        let place = setting.place(figure("pool_id") as i64 / 100);
        let (balance, required, floor) = (figure("balance"), figure("required"), figure("floor"));
        assert!(balance - required < floor, "refused although it fits: {fault}");
        let overdraft = if place.customer == 0 { -OVERDRAFT } else { 0 };
        assert!(floor == overdraft || matches!(record.call, Call::Transfer { .. }), "{fault}");
        // A settlement is asked for what it needs beyond its hold, when that has come back; transfers look at credits alone.
        if matches!(record.call, Call::Usage(_) | Call::Reserve { .. }) {
            let known = &history.balances[&place];
            assert!(known.contains(&decimal(balance, 2)), "{place:?} never had {balance} hundredths: {fault}");
        }
    }
}

/// A call that wrote no ledger row moved nothing: it is a repetition, or there was nothing to move.
pub fn without_rows(setting: &Setting, records: &[Record], history: &History) {
    for record in records.iter().filter(|record| !history.wrote(record.number)) {
        for row in answered(record) {
            if is_refused(row) || is_repeated(row) {
                continue;
            }
            for column in ["credits_consumed", "credits_returned", "voided", "held"] {
                if row.has(column) {
                    assert_eq!(row.get(column), "0", "{column} without a ledger row: {record:?}");
                }
            }
            assert!(!matches!(record.call, Call::Grant { .. } | Call::Transfer { .. }), "{record:?}");
            if row.has("pool_id") && row.has("balance") {
                let place = setting.place(row.int("pool_id"));
                let known = &history.balances[&place];
                assert!(known.contains(row.get("balance")), "{place:?} never had this balance: {record:?}");
            }
        }
    }
}

pub fn report(records: &[Record], history: &History) {
    let mut counts: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for record in records {
        let count = counts.entry(record.call.name()).or_default();
        match &record.answer {
            Answer::Rows(rows) => {
                count[0] += 1;
                count[3] += rows.iter().filter(|row| is_repeated(row)).count();
            }
            Answer::Refused(_) => count[1] += 1,
            Answer::Undone => count[2] += 1,
        }
    }
    let recharges = history.rows.values().flatten().filter(|row| row.opt("recharge_id").is_some()).count();
    let due = |row: &&Row| ["expire", "reservation_expire"].contains(&row.get("entry_type"));
    let due = history.rows.values().flatten().filter(due).count();
    let both = history.rows.len() - history.order.len();
    eprintln!(
        "serial: {} calls, {} of them in an order by seq, {both} further pools of a call, {recharges} recharges, {due} rows of what was due",
        records.len(),
        history.order.len()
    );
    eprintln!("  {:>8} {:>8} {:>8} {:>8}", "worked", "refused", "undone", "repeated");
    for (name, [worked, refused, undone, repeated]) in &counts {
        eprintln!("  {worked:>8} {refused:>8} {undone:>8} {repeated:>8}  {name}");
    }
    if records.len() > 2_000 {
        let rare: Vec<&&str> = counts.iter().filter(|(_, count)| count[0] < 20).map(|(name, _)| name).collect();
        assert!(counts.len() == 10 && rare.is_empty(), "hardly ever worked: {rare:?}");
        assert!(both > 20 && recharges > 5 && due > 5, "hardly anything met");
    }
}
