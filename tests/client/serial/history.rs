//! One order of all calls that agrees with each pool's ledger: every pool's rows are taken apart by the call that wrote
//! them, and the orders of all pools must fit together.

use crate::calls::{Answer, Record};
use crate::setting::{Place, Setting};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use support::{Row, Session};

pub struct History {
    /// A pool's rows of a call, in order.
    pub rows: HashMap<(usize, Place), Vec<Row>>,
    /// Calls in an order that every pool agrees with.
    pub order: Vec<usize>,
    /// Every balance that a pool ever had.
    pub balances: BTreeMap<Place, BTreeSet<String>>,
}

impl History {
    pub fn read(session: &mut Session, setting: &Setting, records: &[Record]) -> History {
        let mut rows: HashMap<(usize, Place), Vec<Row>> = HashMap::new();
        let mut balances: BTreeMap<Place, BTreeSet<String>> = BTreeMap::new();
        let mut orders: Vec<Vec<usize>> = Vec::new();
        let by_number: HashMap<usize, &Record> = records.iter().map(|record| (record.number, record)).collect();
        for place in Place::all() {
            let ledger = session.rows(&format!(
                "SELECT * FROM credit_pools.ledger WHERE pool_id = {} ORDER BY seq",
                setting.pool_id(place)
            ));
            let mut order: Vec<usize> = Vec::new();
            for row in ledger {
                balances.entry(place).or_default().insert(row.get("balance_after").to_owned());
                let Some(number) = row.get("actor").strip_prefix("call-") else { continue };
                let number: usize = number.parse().expect("a number");
                if order.last() != Some(&number) {
                    assert!(!order.contains(&number), "the rows of call {number} are not together in {place:?}");
                    order.push(number);
                }
                rows.entry((number, place)).or_default().push(row);
            }
            check_real_time(&order, &by_number, place);
            orders.push(order);
        }
        for number in rows.keys().map(|(number, _)| number) {
            let record = by_number[number];
            assert!(
                matches!(record.answer, Answer::Rows(_)),
                "a call that was refused or undone left rows: {record:?}"
            );
        }
        History { rows, order: merge(&orders), balances }
    }

    pub fn rows_of(&self, number: usize, place: Place) -> &[Row] {
        self.rows.get(&(number, place)).map_or(&[], Vec::as_slice)
    }

    pub fn wrote(&self, number: usize) -> bool {
        Place::all().iter().any(|place| self.rows.contains_key(&(number, *place)))
    }
}

/// A call that had returned before another one began comes before it.
fn check_real_time(order: &[usize], records: &HashMap<usize, &Record>, place: Place) {
    let mut latest: Option<&Record> = None;
    for number in order {
        let record = records[number];
        if let Some(latest) = latest {
            assert!(
                record.end >= latest.start,
                "{record:?} ended before {latest:?} began, and comes later in {place:?}"
            );
        }
        if latest.is_none_or(|latest| record.start > latest.start) {
            latest = Some(record);
        }
    }
}

/// The union of the pools' orders has no circle.
fn merge(orders: &[Vec<usize>]) -> Vec<usize> {
    let mut after: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let mut waits: BTreeMap<usize, usize> = BTreeMap::new();
    for order in orders {
        for number in order {
            waits.entry(*number).or_insert(0);
        }
        for pair in order.windows(2) {
            if after.entry(pair[0]).or_default().insert(pair[1]) {
                *waits.entry(pair[1]).or_insert(0) += 1;
            }
        }
    }
    let mut ready: Vec<usize> = waits.iter().filter(|(_, waits)| **waits == 0).map(|(number, _)| *number).collect();
    let mut merged = Vec::new();
    while let Some(number) = ready.pop() {
        merged.push(number);
        for next in after.get(&number).into_iter().flatten() {
            let left = waits.get_mut(next).expect("counted");
            *left -= 1;
            if *left == 0 {
                ready.push(*next);
            }
        }
    }
    let stuck: Vec<&usize> = waits.iter().filter(|(_, waits)| **waits > 0).map(|(number, _)| number).collect();
    assert!(stuck.is_empty(), "the pools tell orders that do not fit together: calls {stuck:?}");
    merged
}
