//! How much of it all goes onto the page.
//!
//! The pools that were asked for are shown in full as far as they go; the others share what is left, each with as many rows
//! as there is room for all to have. What is left out is said on the page.

use crate::document::document;
use crate::escape;
use crate::model::{Page, Pool};
use crate::wire;

/// Of the whole document.
pub const MAX_BYTES: usize = 1_000_000;

/// How many rows a pool has at most.
#[derive(Clone, Copy)]
pub struct Rows {
    pub ledger: usize,
    pub grants: usize,
    pub recharges: usize,
    pub history: usize,
    /// Of the chart; the others are added up.
    pub features: usize,
    /// With keys, dimensions, metadata.
    pub details: bool,
}

const fn rows(ledger: usize, grants: usize, recharges: usize, history: usize, features: usize) -> Rows {
    Rows { ledger, grants, recharges, history, features, details: true }
}
const fn brief(ledger: usize, grants: usize, recharges: usize, history: usize, features: usize) -> Rows {
    Rows { ledger, grants, recharges, history, features, details: false }
}

/// Of the pools that were asked for and of the others, from the most to the least.
const LEVELS: [(Rows, Rows); 10] = [
    (rows(100, 200, 20, 40, 12), rows(100, 200, 20, 40, 12)),
    (rows(100, 200, 20, 40, 12), rows(25, 50, 5, 20, 12)),
    (rows(100, 200, 20, 40, 12), brief(25, 25, 5, 10, 8)),
    (rows(100, 200, 20, 40, 12), brief(10, 10, 3, 6, 6)),
    (rows(100, 200, 20, 40, 12), brief(5, 5, 2, 4, 4)),
    (rows(100, 200, 20, 40, 12), brief(3, 3, 1, 3, 3)),
    (rows(100, 200, 20, 40, 12), brief(2, 2, 1, 2, 2)),
    (rows(100, 200, 20, 40, 12), brief(1, 1, 1, 1, 1)),
    (rows(50, 50, 10, 20, 6), brief(0, 0, 0, 0, 1)),
    (brief(10, 10, 3, 5, 3), brief(0, 0, 0, 0, 0)),
];

/// The page's document: of the most that fits.
pub fn render(page: &Page) -> String {
    render_within(page, MAX_BYTES)
}

pub fn render_within(page: &Page, max_bytes: usize) -> String {
    let every: Vec<&Pool> = page.pools.iter().collect();
    let mut made = String::new();
    for (full, other) in &LEVELS {
        // What is clearly too large is not made to find that out.
        if estimate(page, full, other) > max_bytes + max_bytes / 50 {
            continue;
        }
        made = at_level(page, &every, full, other);
        if made.len() <= max_bytes {
            return made;
        }
    }
    if made.is_empty() {
        let (full, other) = &LEVELS[LEVELS.len() - 1];
        made = at_level(page, &every, full, other);
    }
    // Names alone are too long: fewer pools, those that were asked for among them.
    let (full, other) = &LEVELS[LEVELS.len() - 1];
    let mut keep = every.len();
    while made.len() > max_bytes && keep > 1 {
        keep = keep * 3 / 4;
        let asked = page.pools.iter().filter(|pool| pool.in_full).take(keep);
        let mut chosen: Vec<&Pool> = asked.collect();
        let room = keep.saturating_sub(chosen.len());
        chosen.extend(page.pools.iter().filter(|pool| !pool.in_full).take(room));
        chosen.sort_by(|a, b| (&a.resource_id, &a.credit_type_id).cmp(&(&b.resource_id, &b.credit_type_id)));
        made = at_level(page, &chosen, full, other);
    }
    made
}

/// How large a page would become, by some of its pools.
fn estimate(page: &Page, full: &Rows, other: &Rows) -> usize {
    const SOME: usize = 40;
    let others: Vec<&Pool> = page.pools.iter().filter(|pool| !pool.in_full).collect();
    let each = others.len().div_ceil(SOME).max(1);
    let mut pools: Vec<&Pool> = page.pools.iter().filter(|pool| pool.in_full).collect();
    let without = at_level(page, &pools, full, other).len();
    pools.extend(others.iter().copied().step_by(each));
    let with = at_level(page, &pools, full, other).len();
    without + with.saturating_sub(without) * others.len() / others.len().div_ceil(each).max(1)
}

fn at_level(page: &Page, pools: &[&Pool], full: &Rows, other: &Rows) -> String {
    let missing = i64::try_from(page.pools.len() - pools.len()).unwrap_or_default();
    let left_out = page.left_out.saturating_add(missing);
    let data = escape::json(&wire::data(page, pools, left_out, |pool| if pool.in_full { *full } else { *other }));
    document(page, pools, left_out, &data)
}
