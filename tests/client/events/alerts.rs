//! balance.low and balance.depleted, worked out naively from the running balance of the ledger.

use std::collections::BTreeMap;
use support::{Row, Session, decimal, units};

const SCALE: usize = 6;

/// Which absolute levels hold for whom since when. Whoever changes them has booked all that is due before.
#[derive(Default)]
pub struct Levels {
    /// Microseconds since 1970, the customer (None: all that have none of their own), the levels (None: none of its own).
    pub changes: Vec<(i64, Option<String>, Option<Vec<i64>>)>,
}

impl Levels {
    fn of(&self, customer: &str, at: i64) -> Vec<i64> {
        let last = |whose: Option<&str>| {
            let mut known = self.changes.iter().filter(|(since, who, _)| *since < at && who.as_deref() == whose);
            known.next_back().and_then(|(.., levels)| levels.clone())
        };
        let mut levels = last(Some(customer)).or_else(|| last(None)).unwrap_or_default();
        levels.sort_unstable_by(|a, b| b.cmp(a));
        levels.dedup();
        levels
    }
}

/// What must have been told: the pool, when, the level (None: depleted), and the balance.
type Told = (i64, i64, Option<i128>, i128);

/// One change of a balance: what one call did, or what the clock did at one instant.
fn steps(rows: &[Row]) -> Vec<(i64, i64, i128)> {
    let mut steps: Vec<(i64, i64, i128)> = Vec::new();
    for row in rows {
        let (recorded, effective) = (row.int("recorded"), row.int("effective"));
        // A call's own rows count when it is made; what was due counts at its own instant.
        let at = effective.min(recorded);
        let after = units(row.get("balance_after"), SCALE);
        match steps.last_mut() {
            Some(last) if (last.0, last.1) == (recorded, at) => last.2 = after,
            _ => steps.push((recorded, at, after)),
        }
    }
    steps
}

fn expected(session: &mut Session, levels: &Levels) -> Vec<Told> {
    let rows = session.rows(
        "SELECT pool_id, customer_id, balance_after, (extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded,
                (extract(epoch FROM effective_at) * 1000000)::bigint AS effective
         FROM book ORDER BY pool_id, seq",
    );
    let mut pools: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
    for row in rows {
        pools.entry(row.int("pool_id")).or_default().push(row);
    }
    let mut told = Vec::new();
    for (pool_id, rows) in pools {
        let customer = rows[0].get("customer_id").to_owned();
        let mut before = 0;
        for (recorded, at, after) in steps(&rows) {
            for level in levels.of(&customer, recorded) {
                let level = i128::from(level) * 10_i128.pow(SCALE as u32);
                if before >= level && after < level {
                    told.push((pool_id, at, Some(level), after));
                }
            }
            if before > 0 && after <= 0 {
                told.push((pool_id, at, None, after));
            }
            before = after;
        }
    }
    told
}

pub fn complaints(session: &mut Session, levels: &Levels) -> Vec<String> {
    let rows = session.rows(
        "SELECT pool_id, type, d ->> 'threshold' AS threshold, d ->> 'balance' AS balance, (extract(epoch FROM at) * 1000000)::bigint AS at
         FROM told WHERE type IN ('balance.low', 'balance.depleted') ORDER BY pool_id, event_id",
    );
    let mut found: Vec<Told> = rows
        .iter()
        .map(|row| {
            let level = (row.get("type") == "balance.low").then(|| units(row.get("threshold"), SCALE));
            (row.int("pool_id"), row.int("at"), level, units(row.get("balance"), SCALE))
        })
        .collect();
    let mut wanted = expected(session, levels);
    found.sort_unstable();
    wanted.sort_unstable();
    if found == wanted {
        return Vec::new();
    }
    let show = |(pool, at, level, balance): &Told| {
        let level = level.map_or("depleted".to_owned(), |level| format!("below {}", decimal(level, SCALE)));
        format!("pool {pool} at {at}: {level}, balance {}", decimal(*balance, SCALE))
    };
    let at = found.iter().zip(&wanted).take_while(|(found, wanted)| found == wanted).count();
    vec![format!(
        "balance.low and balance.depleted, {} told of {}; the first difference:\n  told   {:?}\n  should {:?}",
        found.len(),
        wanted.len(),
        found[at..].iter().take(3).map(show).collect::<Vec<_>>(),
        wanted[at..].iter().take(3).map(show).collect::<Vec<_>>()
    )]
}
