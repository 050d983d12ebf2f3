//! Figures, grants, usage, ledger and recharges of all pools of a page.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use credit_pools_domain::{Amount, Figures, Grant, Instant, Limit, Status, Wallet};
use credit_pools_page::{self as shown, GrantLine};

use super::{Share, is_due, plus};
use crate::engine::{charting, reading};
use crate::store::page::{self as store, Found};
use crate::store::rollups::Source;

pub struct PoolFigures {
    pub now: Figures,
    overdraft: Limit,
    pub next_expiry: Option<(Instant, Amount)>,
    expiring: Amount,
}

impl PoolFigures {
    pub fn shown(&self, used: Amount, per_day: Amount) -> shown::Figures {
        let now = &self.now;
        shown::Figures {
            balance: now.balance,
            granted: now.granted,
            consumed: now.consumed,
            expired: now.expired,
            voided: now.voided,
            held: now.held,
            debt: now.debt,
            restricted: now.restricted,
            overdraft: self.overdraft,
            used,
            per_day,
            expiring: self.expiring,
            next_expiry_amount: self.next_expiry.map(|(_, amount)| amount),
            utilization: utilization(now.consumed, now.granted),
        }
    }
}

/// To four places, half away from zero, as the view pools has it.
fn utilization(consumed: Amount, granted: Amount) -> Option<Amount> {
    let share = consumed.divide_floor(granted, 5)?;
    let half = Amount::parse("0.00005").ok()?;
    share.checked_add(half)?.divide_floor(Amount::from_units(1), 4)
}

/// Rows of all pools, by pool.
pub struct Parts {
    pub usage: HashMap<i64, Vec<(Option<String>, Vec<Amount>)>>,
    grants: HashMap<i64, Vec<GrantLine>>,
    /// Of pools in which something is due.
    due: HashMap<i64, Due>,
    pub ledger: HashMap<i64, Vec<shown::LedgerLine>>,
    pub recharges: HashMap<i64, Vec<shown::RechargeLine>>,
}

struct Due {
    figures: PoolFigures,
    grants: Vec<Grant>,
}

impl Parts {
    pub fn read(customer_id: &str, found: &[Found], shares: &[Share], bounds: &[Instant], now: Instant) -> Parts {
        let limits = |of: fn(&Share, &Found) -> i64| -> Vec<(i64, i64)> {
            found.iter().zip(shares).map(|(pool, share)| (pool.row.pool_id, of(share, pool))).collect()
        };
        let mut due = HashMap::new();
        let mut due_ids = Vec::new();
        let rows: Vec<_> = found.iter().filter(|pool| is_due(pool, now)).map(|pool| &pool.row).collect();
        let mut wallets = reading::wallets_now(customer_id, &rows);
        for (pool, share) in found.iter().zip(shares) {
            if let Some(wallet) = wallets.remove(&pool.row.pool_id) {
                let mut of_pool = Due::of(wallet, now);
                of_pool.grants.truncate(usize::try_from(share.grants).unwrap_or_default());
                due_ids.extend(of_pool.grants.iter().map(|grant| grant.id).filter(|id| *id > 0));
                due.insert(pool.row.pool_id, of_pool);
            }
        }
        let mut booked = limits(|share, _| share.grants);
        booked.retain(|(pool_id, _)| !due.contains_key(pool_id));
        let mut grants: HashMap<i64, Vec<GrantLine>> = HashMap::new();
        for (pool_id, line) in store::grants(customer_id, &booked) {
            grants.entry(pool_id).or_default().push(line);
        }
        for (pool_id, most) in booked {
            if let Some(lines) = grants.get_mut(&pool_id) {
                lines.truncate(usize::try_from(most).unwrap_or_default());
            }
        }
        for (pool_id, line) in store::grants_by_id(customer_id, &due_ids) {
            grants.entry(pool_id).or_default().push(line);
        }

        let mut ledger: HashMap<i64, Vec<(i64, shown::LedgerLine)>> = HashMap::new();
        for (pool_id, seq, line) in
            store::ledger(customer_id, &limits(|share, pool| (pool.row.wallet.seq - share.ledger).max(0)))
        {
            ledger.entry(pool_id).or_default().push((seq, line));
        }
        let ledger = ledger.into_iter().map(|(pool_id, mut lines)| {
            lines.sort_by_key(|(seq, _)| Reverse(*seq));
            (pool_id, lines.into_iter().map(|(_, line)| line).collect())
        });
        let mut recharges: HashMap<i64, Vec<shown::RechargeLine>> = HashMap::new();
        for (pool_id, line) in store::recharges(customer_id, &limits(|share, _| share.recharges)) {
            recharges.entry(pool_id).or_default().push(line);
        }
        for lines in recharges.values_mut() {
            lines.sort_by_key(|line| Reverse(line.recharge_id));
        }
        Parts { usage: usage(customer_id, found, bounds), grants, due, ledger: ledger.collect(), recharges }
    }

    pub fn figures_and_grants(&mut self, pool: &Found) -> (PoolFigures, Vec<GrantLine>) {
        let lines = self.grants.remove(&pool.row.pool_id).unwrap_or_default();
        let Some(Due { figures, grants }) = self.due.remove(&pool.row.pool_id) else {
            let figures = PoolFigures {
                now: pool.row.wallet.figures,
                overdraft: pool.row.wallet.overdraft,
                next_expiry: pool.next_expiry,
                expiring: pool.expiring,
            };
            return (figures, lines);
        };
        let mut booked: HashMap<i64, GrantLine> =
            lines.into_iter().filter_map(|line| Some((line.grant_id?, line))).collect();
        let lines = grants.iter().map(|grant| as_of_now(grant, booked.remove(&grant.id)));
        (figures, lines.collect())
    }
}

impl Due {
    fn of(wallet: Wallet, now: Instant) -> Due {
        let mut grants = wallet.grants;
        grants.sort_by(|a, b| match (a.status.is_open(), b.status.is_open()) {
            (true, true) => a.burn_order(b),
            (false, false) => b.id.cmp(&a.id),
            (a, b) => b.cmp(&a),
        });
        let usable = || grants.iter().filter(|grant| grant.available().is_positive() && grant.expires_at.is_finite());
        let at = usable().map(|grant| grant.expires_at).min();
        let sum = |until: Instant| {
            usable()
                .filter(|grant| grant.expires_at <= until)
                .map(Grant::available)
                .fold(Amount::ZERO, |a, b| plus(a, &b))
        };
        let figures = PoolFigures {
            now: wallet.figures,
            overdraft: wallet.overdraft,
            next_expiry: at.map(|at| (at, sum(at))),
            expiring: sum(now.plus_micros(charting::SOON)),
        };
        Due { figures, grants }
    }
}

/// A grant as it is by the clock, with what its row says besides; a renewal that is not booked has none.
fn as_of_now(grant: &Grant, booked: Option<GrantLine>) -> GrantLine {
    let line = booked.unwrap_or_else(|| GrantLine {
        grant_id: None,
        status: "",
        category: grant.category.as_str(),
        source: grant.source.as_str(),
        priority: grant.priority,
        amount: grant.amount,
        remaining: Amount::ZERO,
        available: Amount::ZERO,
        held: Amount::ZERO,
        effective_at: grant.effective_at,
        expires_at: None,
        price: None,
        price_currency: None,
        display_name: None,
        reason: None,
        feature_ids: grant.features.clone(),
        metadata: None,
    });
    GrantLine {
        status: grant.status.as_str(),
        remaining: grant.remaining(),
        available: if grant.status == Status::Active { grant.available() } else { Amount::ZERO },
        held: grant.held,
        expires_at: Some(grant.expires_at).filter(|at| at.is_finite()),
        ..line
    }
}

/// Credits by pool, feature and day, the most used feature first.
fn usage(customer_id: &str, found: &[Found], bounds: &[Instant]) -> HashMap<i64, Vec<(Option<String>, Vec<Amount>)>> {
    let sources: Vec<Source> = found.iter().map(|pool| pool.source.clone()).collect();
    let days = bounds.len().saturating_sub(1);
    let mut usage: HashMap<i64, BTreeMap<Option<String>, Vec<Amount>>> = HashMap::new();
    for sum in charting::by_pool(customer_id, &sources, bounds) {
        let of_pool = usage.entry(sum.pool_id.unwrap_or_default()).or_default();
        let of_feature = of_pool.entry(sum.feature_id).or_insert_with(|| vec![Amount::ZERO; days]);
        if let Some(day) = of_feature.get_mut(sum.bucket) {
            *day = plus(*day, &sum.credits);
        }
    }
    let ordered = |of_pool: BTreeMap<Option<String>, Vec<Amount>>| {
        let mut features: Vec<_> =
            of_pool.into_iter().filter(|(_, days)| days.iter().any(|day| !day.is_zero())).collect();
        features.sort_by_key(|(_, days)| Reverse(days.iter().fold(Amount::ZERO, plus)));
        features
    };
    usage.into_iter().map(|(pool_id, of_pool)| (pool_id, ordered(of_pool))).collect()
}
