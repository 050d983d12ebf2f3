//! The views and the ledger beside the model.

use crate::calls::{EPOCH, POOLS};
use crate::naive::{Amount, Entry, Minute};
use crate::play::{Game, differs, same};
use support::{Fault, units};

impl Game<'_> {
    /// The views are right to the instant, whether or not maintenance has run.
    pub fn compare(&mut self, around_maintenance: bool) -> Result<(), String> {
        self.compare_views("before maintenance")?;
        if around_maintenance {
            self.session.exec("BEGIN");
            let result = match self.session.try_rows("SELECT * FROM credit_pools.run_maintenance()") {
                Ok(_) => self.compare_views("after maintenance").and_then(|()| self.compare_ledger(true)),
                Err(fault) => Err(fault.to_string()),
            };
            self.session.try_exec("ROLLBACK").map_err(|fault: Fault| fault.to_string())?;
            result?;
        }
        self.compare_ledger(false)
    }

    fn compare_views(&mut self, when: &str) -> Result<(), String> {
        let minute = |column: &str| format!("((extract(epoch FROM {column}) - {EPOCH}) / 60)::bigint");
        let holds = self.session.rows(&format!(
            "SELECT reservation_id, pool_id, status, amount, held, charged, {} AS ends
             FROM credit_pools.reservations WHERE customer_id = 'c-{}'",
            minute("expires_at"),
            self.run
        ));
        let pools = self.session.rows(&format!(
            "SELECT pool_id, balance, debt, restricted, held, overdraft_limit, status, {} AS expires, next_expiry_amount, expired, voided
             FROM credit_pools.pools WHERE customer_id = 'c-{}'",
            minute("next_expiry_at"),
            self.run
        ));
        let grants = self.session.rows(&format!(
            "SELECT grant_id, pool_id, amount, remaining, available, consumed, expired, voided, held, status, category, priority,
                    {} AS starts, {} AS expires
             FROM credit_pools.grants WHERE customer_id = 'c-{}'",
            minute("effective_at"),
            minute("expires_at"),
            self.run
        ));
        let limits = self.session.rows(&format!(
            "SELECT resource_id, all_resources, amount, (extract(epoch FROM per) / 60)::int AS per, used, remaining, {} AS starts, {} AS ends
             FROM credit_pools.limits WHERE customer_id = 'c-{}'",
            minute("window_start"),
            minute("window_end"),
            self.run
        ));
        if limits.len() != self.limits.len() {
            differs!("{when}: limits {limits:?}, should be {:?}", self.limits);
        }
        for limit in &self.limits {
            let used = limit.used(&self.pools, self.now);
            let (from, to) = limit.window(self.now);
            let wanted = [limit.amount, used, (limit.amount - used).max(0), i128::from(from), i128::from(to)];
            let row = limits.iter().find(|row| {
                let resource = limit.pool.and_then(|pool| POOLS[pool]);
                row.int("per") == limit.per
                    && row.flag("all_resources") == limit.pool.is_none()
                    && row.opt("resource_id") == resource
            });
            let found = row.map(|row| {
                [
                    units(row.get("amount"), 2),
                    units(row.get("used"), 2),
                    units(row.get("remaining"), 2).max(0),
                    i128::from(row.int("starts")),
                    i128::from(row.int("ends")),
                ]
            });
            if found != Some(wanted) {
                differs!("{when}, minute {}, view limits: {row:?}, should be {wanted:?}", self.now);
            }
        }
        if holds.len() != self.pools.iter().map(|pool| pool.holds.len()).sum::<usize>() {
            differs!("{when}: {} reservations", holds.len());
        }
        if pools.len() != self.pools.len() {
            differs!("{when}: {} pools", pools.len());
        }
        for (place, pool) in self.pools.iter().enumerate() {
            let id = self.ids[place].to_string();
            let Some(row) = pools.iter().find(|row| row.get("pool_id") == id) else { differs!("no pool {id}") };
            let mut wrong = Vec::new();
            let mut check = |column: &str, wanted: String| {
                let found = row.opt(column).unwrap_or("NULL");
                if !same(found, &wanted) {
                    wrong.push(format!("{column} is {found}, should be {wanted}"));
                }
            };
            check("balance", support::decimal(pool.balance(), 2));
            check("debt", support::decimal(pool.debt, 2));
            check("restricted", support::decimal(pool.restricted(), 2));
            check("held", support::decimal(pool.held(), 2));
            check("status", if pool.frozen { "frozen" } else { "active" }.to_owned());
            check(
                "overdraft_limit",
                pool.floor_below_zero.map_or("Infinity".to_owned(), |limit| support::decimal(limit, 2)),
            );
            check("expires", pool.next_expiry().map_or("NULL".to_owned(), |(end, _)| end.to_string()));
            if let Some((_, amount)) = pool.next_expiry() {
                check("next_expiry_amount", support::decimal(amount, 2));
            }
            if !wrong.is_empty() {
                differs!(
                    "{when}, minute {}, view pools: {}\n in {row:?}\n model {pool:#?}",
                    self.now,
                    wrong.join("; ")
                );
            }
            for hold in &pool.holds {
                let Some(row) = holds.iter().find(|row| row.get("reservation_id") == hold.id) else {
                    differs!("{when}: no reservation {}", hold.id)
                };
                let found =
                    ["pool_id", "status", "amount", "held", "charged", "ends"].map(|column| row.get(column).to_owned());
                let wanted = [
                    id.clone(),
                    hold.state.word().to_owned(),
                    support::decimal(hold.amount, 2),
                    support::decimal(hold.held(), 2),
                    support::decimal(hold.charged, 2),
                    hold.ends.to_string(),
                ];
                if !found.iter().zip(&wanted).all(|(found, wanted)| same(found, wanted)) {
                    differs!(
                        "{when}, minute {}, view reservations: {row:?}\n should be {wanted:?}\n model {hold:?}",
                        self.now
                    );
                }
            }
            let of_pool = grants.iter().filter(|row| row.get("pool_id") == id).count();
            if of_pool != pool.grants.len() {
                differs!("{when}: {of_pool} grants in pool {id}, should be {}", pool.grants.len());
            }
            for grant in &pool.grants {
                let id = grant.id.to_string();
                let Some(row) = grants.iter().find(|row| row.get("grant_id") == id) else { differs!("no grant {id}") };
                let mut wrong = Vec::new();
                let mut check = |column: &str, wanted: String| {
                    let found = row.opt(column).unwrap_or("NULL");
                    if !same(found, &wanted) {
                        wrong.push(format!("{column} is {found}, should be {wanted}"));
                    }
                };
                check("amount", support::decimal(grant.amount, 2));
                check("remaining", support::decimal(grant.remaining(), 2));
                check("available", support::decimal(grant.available(), 2));
                check("consumed", support::decimal(grant.consumed, 2));
                check("expired", support::decimal(grant.expired, 2));
                check("voided", support::decimal(grant.voided, 2));
                check("held", support::decimal(grant.held, 2));
                check("category", grant.category.to_owned());
                check("priority", grant.priority.to_string());
                check("starts", grant.start.to_string());
                check("expires", grant.end.map_or("NULL".to_owned(), |end| end.to_string()));
                let status = grant.status(self.now);
                if !status.contains(&row.get("status")) {
                    wrong.push(format!("status is {}, should be {status:?}", row.get("status")));
                }
                if !wrong.is_empty() {
                    differs!(
                        "{when}, minute {}, view grants: {}\n in {row:?}\n model {grant:?}",
                        self.now,
                        wrong.join("; ")
                    );
                }
            }
        }
        Ok(())
    }

    /// The ledger's rows are the model's in order; what is due but not booked may be missing at the end.
    fn compare_ledger(&mut self, all: bool) -> Result<(), String> {
        for (place, pool) in self.pools.iter().enumerate() {
            let rows = self.session.rows(&format!(
                "SELECT entry_type, amount, grant_id, ((extract(epoch FROM effective_at) - {EPOCH}) / 60)::bigint AS at
                 FROM credit_pools.ledger WHERE pool_id = {} AND (amount <> 0 OR entry_type = 'schedule' OR metadata ?| '{{priority,expires_at}}') ORDER BY seq",
                self.ids[place]
            ));
            let mut wanted: Vec<Shown> = pool.ledger.iter().map(show).collect();
            let found: Vec<Shown> = rows
                .iter()
                .map(|row| {
                    let kind = row.get("entry_type").to_owned();
                    let amount = units(row.get("amount"), 2);
                    let grant = row.opt("grant_id").map(str::to_owned);
                    Shown { kind, at: Some(row.int("at")), grant, amount, group: 0 }
                })
                .collect();
            if found.len() > wanted.len() || (all && found.len() < wanted.len()) {
                differs!(
                    "ledger of pool {}: {} rows, should be {}\n{}",
                    self.ids[place],
                    found.len(),
                    wanted.len(),
                    beside(&found, &wanted)
                );
            }
            for (number, row) in found.iter().enumerate() {
                let group = wanted[number].group;
                let ahead =
                    wanted[number..].iter().take_while(|model| model.group == group).position(|model| model.shows(row));
                let Some(ahead) = ahead else {
                    differs!("ledger of pool {} differs at row {number}\n{}", self.ids[place], beside(&found, &wanted));
                };
                wanted[number..=number + ahead].rotate_right(1);
            }
            if let Some(missing) = wanted[found.len()..].iter().find(|row| {
                !["expire", "grant", "debt_settle", "reservation_expire", "void"].contains(&row.kind.as_str())
            }) {
                differs!("ledger of pool {} lacks {missing:?}\n{}", self.ids[place], beside(&found, &wanted));
            }
        }
        Ok(())
    }

    pub fn finish(&mut self) -> Result<(), String> {
        for (place, pool) in self.pools.iter().enumerate() {
            let rows = self.session.rows(&format!(
                "SELECT usage_id, credits, reversed FROM credit_pools.usage_events WHERE pool_id = {}",
                self.ids[place]
            ));
            if rows.len() != pool.usages.len() {
                differs!("{} usage events, should be {}", rows.len(), pool.usages.len());
            }
            for usage in &pool.usages {
                let row = rows.iter().find(|row| row.int("usage_id") == usage.id);
                let right = row.is_some_and(|row| {
                    (units(row.get("credits"), 2), units(row.get("reversed"), 2)) == (usage.credits, usage.reversed)
                });
                if !right {
                    differs!("usage event {row:?}, should be {usage:?}");
                }
            }
        }
        let run = &self.run;
        let sql =
            format!("SELECT * FROM credit_pools.unmeter_table(\"table\" => 'metered_{run}'); DROP TABLE metered_{run}");
        self.session.try_rows(&sql).map_err(|fault| fault.to_string())?;
        self.counts.worked("unmeter_table");
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    kind: String,
    at: Option<Minute>,
    grant: Option<String>,
    amount: Amount,
    group: usize,
}

impl Shown {
    /// The model's row is this row of the server, as far as the model says.
    fn shows(&self, row: &Shown) -> bool {
        (&self.kind, &self.grant, self.amount) == (&row.kind, &row.grant, row.amount)
            && (self.at.is_none() || self.at == row.at)
    }
}

fn show(entry: &Entry) -> Shown {
    Shown {
        kind: entry.kind.to_owned(),
        at: entry.at,
        grant: entry.grant.map(|id| id.to_string()),
        amount: entry.amount,
        group: entry.group,
    }
}

fn beside(found: &[Shown], wanted: &[Shown]) -> String {
    let line = |row: Option<&Shown>| {
        row.map_or(String::new(), |row| {
            let at = row.at.map_or("any".to_owned(), |at| at.to_string());
            format!("{} {} of {} at {at}", row.kind, row.amount, row.grant.as_deref().unwrap_or("-"))
        })
    };
    let from = found.len().max(wanted.len()).saturating_sub(14);
    (from..found.len().max(wanted.len()))
        .map(|number| format!("  {:<44} | {}", line(found.get(number)), line(wanted.get(number))))
        .collect::<Vec<_>>()
        .join("\n")
}
