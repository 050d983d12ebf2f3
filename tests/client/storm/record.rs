//! What the payment workers and the operator wrote down themselves: every claim, every answer, every reset. Checked
//! against each other, without a look at the tables.

use crate::setting::{World, cents};
use std::collections::BTreeMap;
use support::{Row, Session};

#[derive(Default)]
pub struct Record {
    pub claims: Vec<Claim>,
    pub answers: Vec<Answer>,
    pub resets: Vec<Reset>,
    /// Decisions that the operator's calls have made, by pool.
    pub by_operator: BTreeMap<i64, i64>,
    /// Millionths of a credit.
    pub consumed: i128,
    pub counts: BTreeMap<&'static str, usize>,
}

impl Record {
    pub fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&mut self, what: &'static str, number: usize) {
        *self.counts.entry(what).or_default() += number;
    }
}

/// `start` and `end` are the call's, by the worker's clock; the other instants are the server's.
#[derive(Clone, Debug)]
pub struct Claim {
    pub recharge_id: i64,
    pub pool_id: i64,
    pub price: i128,
    pub attempts: i64,
    pub start: i64,
    pub end: i64,
    pub at: i64,
    pub until: i64,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub recharge_id: i64,
    /// When the lease of the claim that it answers ends.
    pub until: i64,
    pub start: i64,
    pub end: i64,
    pub did: Did,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Did {
    Completed {
        again: bool,
    },
    /// Another reference for a payment that is done: PC004.
    Contradicted,
    /// PC005: it is over.
    Refused,
    Declined {
        attempts: i64,
        next: Option<i64>,
    },
    /// The attempt has been declined before, by whomever.
    DeclinedAgain,
}

#[derive(Debug)]
pub struct Reset {
    pub start: i64,
    pub end: i64,
    pub covered: Vec<i64>,
}

/// The two clocks are one; only rounding may part them.
const ROUNDING: i64 = 1000;

/// Everything that was written down of one recharge, and its row.
struct Story<'a> {
    world: &'a World,
    row: &'a Row,
    claims: Vec<&'a Claim>,
    answers: Vec<&'a Answer>,
}

pub fn check(world: &World, session: &mut Session) {
    let rows = session.rows(
        "SELECT recharge_id, pool_id, status, attempts, price, (extract(epoch FROM updated_at) * 1000000)::bigint AS updated,
                (extract(epoch FROM created_at) * 1000000)::bigint AS created
         FROM credit_pools.recharges WHERE status <> 'skipped' ORDER BY recharge_id",
    );
    let skips = session.rows(
        "SELECT s.pool_id, (extract(epoch FROM s.updated_at) * 1000000)::bigint AS updated,
                (SELECT (extract(epoch FROM max(f.updated_at)) * 1000000)::bigint FROM credit_pools.recharges f
                 WHERE f.pool_id = s.pool_id AND f.status = 'failed' AND f.updated_at <= s.updated_at) AS opened
         FROM credit_pools.recharges s WHERE s.status = 'skipped' AND s.reason = 'breaker'",
    );
    let record = world.record();
    let mut complaints = Vec::new();
    let mut stories: BTreeMap<i64, Story> = rows
        .iter()
        .map(|row| (row.int("recharge_id"), Story { world, row, claims: Vec::new(), answers: Vec::new() }))
        .collect();
    for claim in &record.claims {
        stories.get_mut(&claim.recharge_id).expect("a recharge that was claimed is there").claims.push(claim);
    }
    for answer in &record.answers {
        stories.get_mut(&answer.recharge_id).expect("a recharge").answers.push(answer);
    }
    let mut taken_over = 0;
    for story in stories.values_mut() {
        story.claims.sort_by_key(|claim| claim.at);
        story.answers.sort_by_key(|answer| answer.end);
        if !world.setting.is_immediate() {
            story.check_leases(&mut complaints, &mut taken_over);
            story.check_pauses(&mut complaints);
            story.check_end(&mut complaints);
        }
    }
    check_breakers(&record, &rows, &mut complaints);
    check_resets(&record, &skips, &mut complaints);
    check_money(world, &rows, &mut complaints);
    drop(record);
    world.record().add("leases that ran out and were taken over", taken_over);
    let shown = complaints.len().min(5);
    assert!(
        complaints.is_empty(),
        "seed {}, {} complaints:\n{}",
        world.seed,
        complaints.len(),
        complaints[..shown].join("\n")
    );
}

impl Story<'_> {
    fn say(&self, complaints: &mut Vec<String>, what: &str) {
        complaints.push(format!("{what}: {:?}\n  {:#?}\n  {:#?}", self.row, self.claims, self.answers));
    }

    /// When another attempt may be made after each failure, with the answer that says so.
    fn declines(&self) -> impl Iterator<Item = (&Answer, i64, Option<i64>)> {
        self.answers.iter().filter_map(|answer| match answer.did {
            Did::Declined { attempts, next } => Some((*answer, attempts, next)),
            _ => None,
        })
    }

    /// A claim is one worker's until its lease ends or somebody answers.
    fn check_leases(&self, complaints: &mut Vec<String>, taken_over: &mut usize) {
        for pair in self.claims.windows(2) {
            let (first, second) = (pair[0], pair[1]);
            let answered = self
                .declines()
                .any(|(answer, _, next)| answer.end >= first.at && next.is_some_and(|next| next <= second.at));
            if second.at < first.until && !answered {
                self.say(complaints, "claimed twice within one lease");
            }
            *taken_over += usize::from(second.at >= first.until && !answered);
        }
        let done = self.answers.iter().find(|answer| answer.did == Did::Completed { again: false });
        if let Some(done) = done
            && self.claims.iter().any(|claim| claim.at > done.end)
        {
            self.say(complaints, "claimed after it was paid");
        }
    }

    /// After a failure the next attempt waits, and twice as long after each further one.
    fn check_pauses(&self, complaints: &mut Vec<String>) {
        let policy = self.world.policy(self.row.int("pool_id"));
        for (answer, attempts, next) in self.declines() {
            match next {
                Some(next) => {
                    let failed = next - policy.pause(attempts);
                    if failed < answer.start - ROUNDING || failed > answer.end + ROUNDING {
                        self.say(complaints, "the pause does not double");
                    }
                    // Who answers after the lease may do so at the moment when another claims.
                    let meets = |claim: &Claim| claim.at <= answer.end && answer.until <= claim.at;
                    let early = |claim: &&&Claim| claim.at > failed && claim.at < next && !meets(claim);
                    if self.claims.iter().find(early).is_some() {
                        self.say(complaints, "tried again too early");
                    }
                }
                None if self.claims.iter().any(|claim| claim.start > answer.end) => {
                    self.say(complaints, "claimed although it has failed for good");
                }
                None => {}
            }
        }
        for claim in &self.claims {
            let sure = self.declines().filter(|(answer, ..)| answer.end < claim.start).count() as i64;
            let most = self.declines().filter(|(answer, ..)| answer.start < claim.end).count() as i64;
            if !(sure..=most).contains(&claim.attempts) {
                self.say(complaints, "a claim tells another number of attempts");
            }
        }
    }

    fn check_end(&self, complaints: &mut Vec<String>) {
        let policy = self.world.policy(self.row.int("pool_id"));
        let status = self.row.get("status");
        let mut numbers: Vec<i64> = self.declines().map(|(_, attempts, _)| attempts).collect();
        numbers.sort_unstable();
        let failures = numbers.len() as i64;
        if numbers.iter().copied().ne(1..=failures) {
            self.say(complaints, "failures are not counted one by one");
        }
        let paid = self.answers.iter().filter(|answer| answer.did == Did::Completed { again: false }).count() as i64;
        let last = self.declines().filter(|(.., next)| next.is_none()).count() as i64;
        if (paid, last) != (i64::from(status == "succeeded"), i64::from(status == "failed")) {
            self.say(complaints, "it has not ended as somebody was told, once");
        }
        let attempts = self.row.int("attempts");
        if attempts != failures + paid || attempts > policy.max_failures {
            self.say(complaints, "another number of attempts");
        }
        if self.declines().any(|(_, attempts, next)| next.is_some() && attempts >= policy.max_failures) {
            self.say(complaints, "it should have given up");
        }
        // Refused only where it is over, and the other answers only where it was not.
        let over = self.row.int("updated");
        for answer in &self.answers {
            let right = match &answer.did {
                Did::Completed { again: false } => answer.start <= over + ROUNDING && over <= answer.end + ROUNDING,
                Did::Completed { again: true } | Did::Contradicted => {
                    status == "succeeded" && over <= answer.end + ROUNDING
                }
                Did::DeclinedAgain => status != "succeeded" || answer.start <= over + ROUNDING,
                Did::Refused => over <= answer.end + ROUNDING,
                Did::Declined { next, .. } => {
                    answer.start <= over + ROUNDING && (next.is_some() || over <= answer.end + ROUNDING)
                }
            };
            if !right {
                self.say(complaints, "an answer that cannot be");
            }
        }
    }
}

/// From the last failure on, until somebody resets it, a pool asks for nothing and nothing of it is handed out.
fn check_breakers(record: &Record, rows: &[Row], complaints: &mut Vec<String>) {
    for failed in rows.iter().filter(|row| row.get("status") == "failed") {
        let (pool_id, opened) = (failed.int("pool_id"), failed.int("updated"));
        let resets = record.resets.iter().filter(|reset| reset.covered.contains(&pool_id) && reset.end > opened);
        let closed = resets.map(|reset| reset.start).min().unwrap_or(i64::MAX);
        let within = |at: i64| at > opened && at < closed;
        if let Some(row) = rows.iter().find(|row| row.int("pool_id") == pool_id && within(row.int("created"))) {
            complaints.push(format!("asked for although the breaker is open since {failed:?}: {row:?}"));
        }
        let gave_up = record.answers.iter().find(|answer| {
            answer.recharge_id == failed.int("recharge_id") && matches!(answer.did, Did::Declined { next: None, .. })
        });
        // Who gives up after the lease may meet another who claims.
        let meets = |claim: &Claim| gave_up.is_some_and(|by| claim.at <= by.end && by.until <= claim.at);
        let wrong = |claim: &&Claim| claim.pool_id == pool_id && within(claim.at) && !meets(claim);
        if let Some(claim) = record.claims.iter().find(wrong) {
            complaints.push(format!("handed out although the breaker is open since {failed:?}: {claim:?}"));
        }
    }
}

/// Who has been reset is not passed over for its breaker, unless another recharge has failed since.
fn check_resets(record: &Record, skips: &[Row], complaints: &mut Vec<String>) {
    for skip in skips {
        let (pool_id, opened, looked) = (skip.int("pool_id"), skip.int("opened"), skip.int("updated"));
        let between = |reset: &&Reset| reset.covered.contains(&pool_id) && reset.start > opened && reset.end < looked;
        if let Some(reset) = record.resets.iter().find(between) {
            complaints.push(format!("passed over for its breaker, although it was reset: {skip:?}, {reset:?}"));
        }
    }
}

/// What the provider has taken is what succeeded, recharge by recharge and to the cent.
fn check_money(world: &World, rows: &[Row], complaints: &mut Vec<String>) {
    let succeeded: BTreeMap<i64, i128> = rows
        .iter()
        .filter(|row| row.get("status") == "succeeded")
        .map(|row| (row.int("recharge_id"), cents(row.get("price"))))
        .collect();
    let charged = world.provider.charged();
    if world.setting.is_immediate() {
        assert!(charged.is_empty(), "nothing was handed out to be paid");
    } else if *charged != succeeded {
        let differs = |(id, price): &(&i64, &i128)| charged.get(id) != Some(*price);
        let first: Vec<_> = succeeded.iter().filter(differs).take(3).collect();
        let more: Vec<_> = charged.iter().filter(|(id, _)| !succeeded.contains_key(id)).take(3).collect();
        complaints.push(format!("paid, but not charged so: {first:?}; charged for nothing: {more:?}"));
    }
}
