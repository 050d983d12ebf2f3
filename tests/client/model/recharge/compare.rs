//! The rows of the server beside the world.

use super::play::{Game, money};
use super::world::{POOLS, Size, Status};
use crate::calls::EPOCH;
use crate::naive::Grant;
use crate::play::differs;
use support::{Row, decimal};

impl Game<'_> {
    /// What the decisions since then are called, and the grants of those that were settled.
    pub fn learn(&mut self, decisions: usize) -> Result<(), String> {
        if self.world.recharges.iter().all(|recharge| recharge.id != 0) {
            return self.learn_grants();
        }
        let rows = self.session.rows(&format!(
            "SELECT recharge_id, pool_id FROM credit_pools.recharges WHERE customer_id = 'c-{}' AND recharge_id > {} ORDER BY recharge_id",
            self.run,
            self.world.recharges.iter().map(|recharge| recharge.id).max().unwrap_or(0)
        ));
        let new = self.world.recharges.len() - decisions;
        if rows.len() != new {
            differs!("minute {}: {new} decisions, not {rows:?}\n {}", self.world.now, self.shown());
        }
        for (row, recharge) in rows.iter().zip(&mut self.world.recharges[decisions..]) {
            if row.int("pool_id") != self.ids[recharge.pool] {
                differs!("decisions in another order: {rows:?}");
            }
            recharge.id = row.int("recharge_id");
        }
        for number in decisions..self.world.recharges.len() {
            let recharge = &self.world.recharges[number];
            let policy = self.world.policy(recharge.pool);
            let word = match (recharge.status, policy.map(|policy| policy.size)) {
                (Status::Skipped, _) => recharge.reason,
                (_, Some(Size::Fixed(amount))) if amount > recharge.amount => "cut to the limit",
                (_, Some(Size::Target(target))) if target - recharge.balance > recharge.amount => "cut to the limit",
                (Status::Succeeded, _) => "at once",
                _ => "asked for",
            };
            self.counts.worked(word);
        }
        self.learn_grants()
    }

    fn learn_grants(&mut self) -> Result<(), String> {
        for (place, pool) in self.world.pools.iter_mut().enumerate() {
            if pool.grants.iter().all(|grant| grant.id != 0) {
                continue;
            }
            let known: Vec<i64> = pool.grants.iter().map(|grant| grant.id).collect();
            let rows = self.session.rows(&format!(
                "SELECT grant_id FROM credit_pools.grants WHERE pool_id = {} ORDER BY grant_id",
                self.ids[place]
            ));
            let mut new = rows.iter().map(|row| row.int("grant_id")).filter(|id| !known.contains(id));
            for grant in pool.grants.iter_mut().filter(|grant| grant.id == 0) {
                let Some(id) = new.next() else { differs!("the grant of a recharge is missing in {rows:?}") };
                grant.id = id;
            }
        }
        Ok(())
    }

    pub fn compare(&mut self) -> Result<(), String> {
        let mut now = self.world.clone();
        for pool in 0..POOLS.len() {
            now.advance(pool);
        }
        let pools = self.session.rows(&format!(
            "SELECT pool_id, balance, debt, held FROM credit_pools.pools WHERE customer_id = 'c-{}' ORDER BY pool_id",
            self.run
        ));
        for (row, pool) in pools.iter().zip(&now.pools) {
            let pairs = [
                ("balance", decimal(pool.balance(), 2)),
                ("debt", decimal(pool.debt, 2)),
                ("held", decimal(pool.held(), 2)),
            ];
            self.check(row, &pairs)?;
        }
        let grants = self.session.rows(&format!(
            "SELECT grant_id, remaining, category, ((extract(epoch FROM expires_at) - {EPOCH}) / 60)::bigint AS ends
             FROM credit_pools.grants WHERE customer_id = 'c-{}' ORDER BY grant_id",
            self.run
        ));
        let mut wanted: Vec<&Grant> = now.pools.iter().flat_map(|pool| &pool.grants).collect();
        wanted.sort_by_key(|grant| grant.id);
        if grants.len() != wanted.len() {
            differs!("{} grants, should be {}", grants.len(), wanted.len());
        }
        for (row, grant) in grants.iter().zip(wanted) {
            let pairs = [
                ("grant_id", grant.id.to_string()),
                ("remaining", decimal(grant.remaining(), 2)),
                ("category", grant.category.to_owned()),
                ("ends", grant.end.map_or("NULL".to_owned(), |end| end.to_string())),
            ];
            self.check(row, &pairs)?;
        }
        let rows = self.session.rows(&format!(
            "SELECT recharge_id, pool_id, status, reason, amount, price, attempts, balance, payment_reference, grant_id,
                    ((extract(epoch FROM created_at) - {EPOCH}) / 60)::bigint AS created,
                    ((extract(epoch FROM next_attempt_at) - {EPOCH}) / 60)::bigint AS next
             FROM credit_pools.recharges WHERE customer_id = 'c-{}' ORDER BY recharge_id",
            self.run
        ));
        if rows.len() != self.world.recharges.len() {
            let last: Vec<&Row> = rows.iter().rev().take(4).collect();
            differs!(
                "{} decisions, should be {}: last {last:#?}\n {}",
                rows.len(),
                self.world.recharges.len(),
                self.shown()
            );
        }
        for (row, recharge) in rows.iter().zip(&self.world.recharges) {
            let mut pairs = vec![
                ("recharge_id", recharge.id.to_string()),
                ("status", recharge.status.word().to_owned()),
                ("balance", decimal(recharge.balance, 2)),
                ("created", recharge.created.to_string()),
            ];
            if recharge.status == Status::Skipped {
                pairs.push(("reason", recharge.reason.to_owned()));
            } else {
                pairs.push(("amount", decimal(recharge.amount, 2)));
                pairs.push(("price", money(recharge.price)));
                if recharge.status != Status::Succeeded {
                    // Whether the attempt that succeeded counts is not laid down.
                    pairs.push(("attempts", recharge.attempts.to_string()));
                }
                pairs.push(("payment_reference", recharge.reference.clone().unwrap_or("NULL".to_owned())));
            }
            if recharge.status == Status::Pending {
                pairs.push(("next", recharge.next.to_string()));
            }
            self.check(row, &pairs)?;
            if row.opt("grant_id").is_some() != (recharge.status == Status::Succeeded) {
                differs!("a grant comes of a recharge that succeeded: {row:?}");
            }
        }
        Ok(())
    }
}
