//! Recharge policies, their spending, and recharges.

use credit_pools_domain::{Amount, Attempt, Instant, Span, Spending};

use super::pools::{PoolRow, pool_columns};
use super::spi::{Arg, Row, Statement};

/// A policy as it is kept. `resource_id` "" is the policy of all pools.
#[derive(Clone, PartialEq)]
pub struct Policy {
    pub resource_id: String,
    pub enabled: bool,
    pub threshold: Amount,
    pub target_balance: Option<Amount>,
    pub recharge_amount: Option<Amount>,
    pub price_per_credit: Option<Amount>,
    pub price_currency: Option<String>,
    pub max_spend: Option<Amount>,
    pub spend_period: Span,
    pub max_count: Option<i64>,
    pub cooldown: Span,
    pub grant_expires_after: Option<Span>,
    pub immediate: bool,
    pub max_failures: i64,
    pub backoff: Span,
}

impl Policy {
    /// Which pools it is for.
    pub fn covers(&self) -> &'static str {
        if self.resource_id.is_empty() { "customer" } else { "resource" }
    }
}

/// The policy that covers a pool: the resource's own before the one of all pools.
pub fn policy_for(customer_id: &str, credit_type_id: &str, resource_id: &str) -> Option<Policy> {
    static FIND: Statement = Statement::new(
        "SELECT resource_id, enabled, threshold, target_balance, recharge_amount, price_per_credit, price_currency,
                max_spend, spend_period, max_count, cooldown, grant_expires_after, settlement = 'immediate',
                max_failures::bigint, backoff
         FROM credit_pools.recharge_policy
         WHERE customer_id = $1 AND credit_type_id = $2 AND resource_id IN ($3, '')
         ORDER BY resource_id DESC LIMIT 1",
    );
    FIND.first(&[Arg::Text(customer_id), Arg::Text(credit_type_id), Arg::Text(resource_id)], |row| Policy {
        resource_id: row.text(1).unwrap_or_default(),
        enabled: row.boolean(2),
        threshold: row.amount(3).unwrap_or_default(),
        target_balance: row.amount(4),
        recharge_amount: row.amount(5),
        price_per_credit: row.amount(6),
        price_currency: row.text(7),
        max_spend: row.amount(8),
        spend_period: row.span(9).unwrap_or(Span::MONTH),
        max_count: row.int(10),
        cooldown: row.span(11).unwrap_or_default(),
        grant_expires_after: row.span(12),
        immediate: row.boolean(13),
        max_failures: row.int(14).unwrap_or(1),
        backoff: row.span(15).unwrap_or_default(),
    })
}

/// Keeps a policy as it is to the end of the transaction.
pub fn share_policy(customer_id: &str, credit_type_id: &str, resource_id: &str) {
    static SHARE: Statement = Statement::new(
        "SELECT 1 FROM credit_pools.recharge_policy
         WHERE customer_id = $1 AND credit_type_id = $2 AND resource_id = $3 FOR SHARE",
    );
    SHARE.run(&[Arg::Text(customer_id), Arg::Text(credit_type_id), Arg::Text(resource_id)]);
}

pub fn put_policy(customer_id: &str, credit_type_id: &str, policy: &Policy, now: Instant) {
    static PUT: Statement = Statement::new(
        "INSERT INTO credit_pools.recharge_policy
             (customer_id, credit_type_id, resource_id, enabled, threshold, target_balance, recharge_amount,
              price_per_credit, price_currency, max_spend, spend_period, max_count, cooldown, grant_expires_after,
              settlement, max_failures, backoff, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
                 CASE WHEN $15 THEN 'immediate' ELSE 'on_payment' END, $16::integer, $17, $18, $18)
         ON CONFLICT (customer_id, credit_type_id, resource_id) DO UPDATE SET
             enabled = excluded.enabled, threshold = excluded.threshold, target_balance = excluded.target_balance,
             recharge_amount = excluded.recharge_amount, price_per_credit = excluded.price_per_credit,
             price_currency = excluded.price_currency, max_spend = excluded.max_spend,
             spend_period = excluded.spend_period, max_count = excluded.max_count, cooldown = excluded.cooldown,
             grant_expires_after = excluded.grant_expires_after, settlement = excluded.settlement,
             max_failures = excluded.max_failures, backoff = excluded.backoff, updated_at = excluded.updated_at",
    );
    PUT.write(
        &[
            Arg::Text(customer_id),
            Arg::Text(credit_type_id),
            Arg::Text(&policy.resource_id),
            Arg::Bool(policy.enabled),
            Arg::Number(policy.threshold),
            Arg::MaybeNumber(policy.target_balance),
            Arg::MaybeNumber(policy.recharge_amount),
            Arg::MaybeNumber(policy.price_per_credit),
            Arg::MaybeText(policy.price_currency.as_deref()),
            Arg::MaybeNumber(policy.max_spend),
            Arg::Interval(Some(policy.spend_period)),
            Arg::MaybeInt(policy.max_count),
            Arg::Interval(Some(policy.cooldown)),
            Arg::Interval(policy.grant_expires_after),
            Arg::Bool(policy.immediate),
            Arg::Int(policy.max_failures),
            Arg::Interval(Some(policy.backoff)),
            Arg::Time(now),
        ],
        1,
    );
}

/// A window of a policy's spending.
#[derive(Clone, Copy)]
pub struct Window {
    pub start: Instant,
    pub end: Instant,
}

/// A policy's counter of a window: (customer, credit type, policy, window).
#[derive(Clone, Copy)]
pub struct Counter<'a> {
    pub customer_id: &'a str,
    pub credit_type_id: &'a str,
    pub policy: &'a Policy,
    pub window: Window,
}

impl<'a> Counter<'a> {
    fn args(self) -> [Arg<'a>; 5] {
        [
            Arg::Text(self.customer_id),
            Arg::Text(self.credit_type_id),
            Arg::Text(&self.policy.resource_id),
            Arg::Time(self.window.start),
            Arg::Time(self.window.end),
        ]
    }

    /// With the currency, whose money is counted.
    fn args_with_currency(self) -> [Arg<'a>; 6] {
        let [customer_id, credit_type_id, policy, start, end] = self.args();
        [customer_id, credit_type_id, policy, start, end, Arg::MaybeText(self.policy.price_currency.as_deref())]
    }
}

/// Locks the counter of a policy's window and reads it. A missing one is counted from the recharges.
pub fn lock_spending(counter: Counter) -> Spending {
    static COUNT: Statement = Statement::new(
        "INSERT INTO credit_pools.recharge_spend
             (customer_id, credit_type_id, policy_resource_id, period_start, period_end, spent, count)
         SELECT $1, $2, $3, $4, $5, COALESCE(sum(price) FILTER (WHERE price_currency = $6), 0), count(*)
         FROM credit_pools.recharge
         WHERE customer_id = $1 AND credit_type_id = $2 AND policy_resource_id = $3
           AND created_at >= $4 AND created_at < $5 AND status IN ('pending', 'processing', 'succeeded')
         ON CONFLICT (customer_id, credit_type_id, policy_resource_id, period_start, period_end) DO NOTHING",
    );
    static LOCK: Statement = Statement::new(
        "SELECT spent, count FROM credit_pools.recharge_spend
         WHERE customer_id = $1 AND credit_type_id = $2 AND policy_resource_id = $3
           AND period_start = $4 AND period_end = $5 FOR NO KEY UPDATE",
    );
    if let Some(spending) = LOCK.first(&counter.args(), spending) {
        return spending;
    }
    COUNT.run(&counter.args_with_currency());
    LOCK.first(&counter.args(), spending).unwrap_or_default()
}

fn spending(row: &Row) -> Spending {
    Spending { spent: row.amount(1).unwrap_or_default(), count: row.int(2).unwrap_or_default() }
}

/// The same without the lock.
pub fn read_spending(counter: Counter) -> Spending {
    static READ: Statement = Statement::read(
        "SELECT COALESCE(s.spent, r.spent), COALESCE(s.count, r.count)
         FROM (SELECT COALESCE(sum(price) FILTER (WHERE price_currency = $6), 0) AS spent, count(*) AS count
               FROM credit_pools.recharge
               WHERE customer_id = $1 AND credit_type_id = $2 AND policy_resource_id = $3
                 AND created_at >= $4 AND created_at < $5 AND status IN ('pending', 'processing', 'succeeded')) r
         LEFT JOIN credit_pools.recharge_spend s
             ON s.customer_id = $1 AND s.credit_type_id = $2 AND s.policy_resource_id = $3
             AND s.period_start = $4 AND s.period_end = $5",
    );
    READ.first(&counter.args_with_currency(), spending).unwrap_or_default()
}

/// Counts a new recharge in the window whose counter is locked.
pub fn count_spending(counter: Counter, price: Amount) {
    static COUNT: Statement = Statement::new(
        "UPDATE credit_pools.recharge_spend SET spent = spent + $6, count = count + 1
         WHERE customer_id = $1 AND credit_type_id = $2 AND policy_resource_id = $3
           AND period_start = $4 AND period_end = $5",
    );
    let args: Vec<Arg> = counter.args().into_iter().chain([Arg::Number(price)]).collect();
    COUNT.run(&args);
}

/// Counts a recharge that has failed no more, in whatever windows it is counted: the policy may have got other periods
/// since it was asked for. Counters have money of the policy's currency only.
pub fn uncount_spending(customer_id: &str, recharge: &Recharge, policy: &Policy) {
    static UNCOUNT: Statement = Statement::new(
        "UPDATE credit_pools.recharge_spend SET spent = spent - $5, count = count - 1
         WHERE customer_id = $1 AND credit_type_id = $2 AND policy_resource_id = $3
           AND period_start <= $4 AND period_end > $4",
    );
    let counted = recharge.price.filter(|_| recharge.price_currency == policy.price_currency);
    UNCOUNT.run(&[
        Arg::Text(customer_id),
        Arg::Text(&recharge.credit_type_id),
        Arg::Text(&recharge.policy_resource_id),
        Arg::Time(recharge.created_at),
        Arg::Number(counted.unwrap_or(Amount::ZERO)),
    ]);
}

/// Counters are counted anew after a change of the policy; its pools must be locked.
pub fn forget_spending(customer_id: &str, credit_type_id: &str, policy: &str) {
    static FORGET: Statement = Statement::new(
        "DELETE FROM credit_pools.recharge_spend
         WHERE customer_id = $1 AND credit_type_id = $2 AND policy_resource_id = $3",
    );
    FORGET.run(&[Arg::Text(customer_id), Arg::Text(credit_type_id), Arg::Text(policy)]);
}

/// The recharge in flight of a pool.
pub struct InFlight {
    pub amount: Amount,
    pub next_attempt_at: Option<Instant>,
}

pub fn in_flight(customer_id: &str, pool_id: i64) -> Option<InFlight> {
    static FIND: Statement = Statement::new(
        "SELECT amount, next_attempt_at FROM credit_pools.recharge
         WHERE customer_id = $1 AND pool_id = $2 AND status IN ('pending', 'processing')",
    );
    FIND.first(&[Arg::Text(customer_id), Arg::Int(pool_id)], |row| InFlight {
        amount: row.amount(1).unwrap_or_default(),
        next_attempt_at: row.time(2),
    })
}

/// Whether a recharge is in flight that this transaction's snapshot does not show: only at REPEATABLE READ and above.
pub fn hidden_in_flight(customer_id: &str, pool_id: i64) -> bool {
    static FIND: Statement = Statement::new(
        "SELECT 1::bigint FROM credit_pools.recharge
         WHERE customer_id = $1 AND pool_id = $2 AND status IN ('pending', 'processing')",
    );
    super::spi::keeps_snapshot()
        && FIND.first_of_latest(&[Arg::Text(customer_id), Arg::Int(pool_id)], |row| row.int(1)).is_some()
}

/// The pool's latest decision.
pub fn latest(customer_id: &str, pool_id: i64) -> Option<i64> {
    static FIND: Statement =
        Statement::new("SELECT max(recharge_id) FROM credit_pools.recharge WHERE customer_id = $1 AND pool_id = $2");
    FIND.first(&[Arg::Text(customer_id), Arg::Int(pool_id)], |row| row.int(1)).flatten()
}

/// When the pool's last recharge was asked for.
pub fn last_asked_at(customer_id: &str, pool_id: i64) -> Option<Instant> {
    static FIND: Statement = Statement::new(
        "SELECT created_at FROM credit_pools.recharge
         WHERE customer_id = $1 AND pool_id = $2 AND status <> 'skipped'
         ORDER BY recharge_id DESC LIMIT 1",
    );
    FIND.first(&[Arg::Text(customer_id), Arg::Int(pool_id)], |row| row.time(1)).flatten()
}

/// Counts one more evaluation on the pool's latest decision, where that is a skip for the same reason.
pub fn repeat_skip(pool: &PoolRow, reason: &str, look_again_at: Option<Instant>, now: Instant) -> bool {
    static REPEAT: Statement = Statement::new(
        "UPDATE credit_pools.recharge SET evaluations = evaluations + 1, balance = $4, updated_at = $5,
             next_attempt_at = $6
         WHERE customer_id = $1
           AND recharge_id = (SELECT max(recharge_id) FROM credit_pools.recharge
                              WHERE customer_id = $1 AND pool_id = $2)
           AND status = 'skipped' AND reason = $3",
    );
    REPEAT.run(&[
        Arg::Text(&pool.customer_id),
        Arg::Int(pool.pool_id),
        Arg::Text(reason),
        Arg::Number(pool.wallet.figures.balance),
        Arg::Time(now),
        Arg::MaybeTime(look_again_at),
    ]) > 0
}

/// A pool whose skip has lost its reason by now.
pub struct Ended {
    pub pool: PoolRow,
    pub recharge_id: i64,
    /// Nothing was decided on the pool since.
    pub is_latest: bool,
}

impl Ended {
    fn read(row: &Row) -> Ended {
        Ended {
            pool: PoolRow::read(row),
            recharge_id: row.int(PoolRow::COLUMNS + 1).unwrap_or_default(),
            is_latest: row.boolean(PoolRow::COLUMNS + 2),
        }
    }
}

macro_rules! ended_columns {
    () => {
        concat!(
            pool_columns!(),
            ", r.recharge_id, r.recharge_id = (SELECT max(l.recharge_id) FROM credit_pools.recharge l
                                               WHERE l.customer_id = r.customer_id AND l.pool_id = r.pool_id)
              FROM credit_pools.recharge r
              JOIN credit_pools.pool p ON p.customer_id = r.customer_id AND p.pool_id = r.pool_id"
        )
    };
}

/// Locks such pools, passing over those that others are working on.
pub fn lock_ended(at: Instant, limit: i64) -> Vec<Ended> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        ended_columns!(),
        " WHERE r.status = 'skipped' AND r.next_attempt_at <= $1
          ORDER BY r.next_attempt_at LIMIT $2 FOR NO KEY UPDATE OF p, r SKIP LOCKED"
    ));
    LOCK.rows(&[Arg::Time(at), Arg::Int(limit)], Ended::read)
}

/// The same of one skip.
pub fn lock_one_ended(customer_id: &str, recharge_id: i64, at: Instant) -> Option<Ended> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT ",
        ended_columns!(),
        " WHERE r.customer_id = $1 AND r.recharge_id = $2 AND r.status = 'skipped' AND r.next_attempt_at <= $3
          FOR NO KEY UPDATE OF p, r SKIP LOCKED"
    ));
    LOCK.first(&[Arg::Text(customer_id), Arg::Int(recharge_id), Arg::Time(at)], Ended::read)
}

/// When a skip is to be looked at again; `None`: it has been.
pub fn look_again_at(customer_id: &str, recharge_id: i64, at: Option<Instant>) {
    static SET: Statement = Statement::new(
        "UPDATE credit_pools.recharge SET next_attempt_at = $3 WHERE customer_id = $1 AND recharge_id = $2",
    );
    SET.write(&[Arg::Text(customer_id), Arg::Int(recharge_id), Arg::MaybeTime(at)], 1);
}

/// A decision on its way into the table.
pub struct NewRecharge<'a> {
    pub recharge_id: i64,
    pub policy: &'a Policy,
    /// The reason of a skip, and when that ends where the clock ends it; otherwise the attempt.
    pub outcome: Result<Attempt, (&'a str, Option<Instant>)>,
}

pub fn insert(pool: &PoolRow, recharge: &NewRecharge, now: Instant) {
    static INSERT: Statement = Statement::new(
        "INSERT INTO credit_pools.recharge
             (customer_id, recharge_id, pool_id, resource_id, credit_type_id, policy_resource_id, status, reason, balance,
              amount, price, price_currency, grant_expires_after, max_failures, backoff, attempts, evaluations, next_attempt_at, cause_seq, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $8 IS NULL THEN 'skipped' ELSE 'pending' END, $7, $9, $8, $10, $11,
                 $12, $13::integer, $14, 0, 1, $17, $15, $16, $16)",
    );
    let attempt = recharge.outcome.as_ref().ok();
    let skip = recharge.outcome.err();
    let price = attempt.and_then(|a| a.price);
    INSERT.write(
        &[
            Arg::Text(&pool.customer_id),
            Arg::Int(recharge.recharge_id),
            Arg::Int(pool.pool_id),
            Arg::Text(&pool.resource_id),
            Arg::Text(&pool.credit_type_id),
            Arg::Text(&recharge.policy.resource_id),
            Arg::MaybeText(skip.map(|(reason, _)| reason)),
            Arg::MaybeNumber(attempt.map(|a| a.amount)),
            Arg::Number(pool.wallet.figures.balance),
            Arg::MaybeNumber(price),
            Arg::MaybeText(price.and(recharge.policy.price_currency.as_deref())),
            Arg::Interval(recharge.policy.grant_expires_after),
            Arg::Int(recharge.policy.max_failures),
            Arg::Interval(Some(recharge.policy.backoff)),
            Arg::Int(pool.wallet.seq),
            Arg::Time(now),
            Arg::MaybeTime(skip.map_or(Some(now), |(_, look_again_at)| look_again_at)),
        ],
        1,
    );
}

pub struct Recharge {
    pub recharge_id: i64,
    pub pool_id: i64,
    pub credit_type_id: String,
    pub policy_resource_id: String,
    pub status: String,
    pub amount: Amount,
    pub price: Option<Amount>,
    pub price_currency: Option<String>,
    pub grant_expires_after: Option<Span>,
    pub max_failures: i64,
    pub backoff: Span,
    pub grant_id: Option<i64>,
    pub attempts: i64,
    pub payment_reference: Option<String>,
    pub created_at: Instant,
    pub next_attempt_at: Option<Instant>,
}

pub fn by_id(customer_id: &str, recharge_id: i64) -> Option<Recharge> {
    static FIND: Statement = Statement::new(
        "SELECT recharge_id, pool_id, credit_type_id, policy_resource_id, status, amount, price, price_currency,
                grant_expires_after, max_failures::bigint, backoff, grant_id, attempts::bigint, payment_reference,
                created_at, next_attempt_at
         FROM credit_pools.recharge WHERE customer_id = $1 AND recharge_id = $2",
    );
    FIND.first(&[Arg::Text(customer_id), Arg::Int(recharge_id)], |row| Recharge {
        recharge_id: row.int(1).unwrap_or_default(),
        pool_id: row.int(2).unwrap_or_default(),
        credit_type_id: row.text(3).unwrap_or_default(),
        policy_resource_id: row.text(4).unwrap_or_default(),
        status: row.text(5).unwrap_or_default(),
        amount: row.amount(6).unwrap_or_default(),
        price: row.amount(7),
        price_currency: row.text(8),
        grant_expires_after: row.span(9),
        max_failures: row.int(10).unwrap_or(1),
        backoff: row.span(11).unwrap_or_default(),
        grant_id: row.int(12),
        attempts: row.int(13).unwrap_or_default(),
        payment_reference: row.text(14),
        created_at: row.time(15).unwrap_or(Instant::NEG_INFINITY),
        next_attempt_at: row.time(16),
    })
}

/// `settled_seq`: the last ledger row that it booked, where it settled in the call that asked for it.
pub fn mark_succeeded(
    customer_id: &str,
    recharge_id: i64,
    grant_id: i64,
    payment_reference: Option<&str>,
    settled_seq: Option<i64>,
    now: Instant,
) {
    static MARK: Statement = Statement::new(
        "UPDATE credit_pools.recharge SET status = 'succeeded', reason = NULL, grant_id = $3,
             payment_reference = $4, settled_seq = $5, attempts = attempts + 1, next_attempt_at = NULL,
             lease_expires_at = NULL, updated_at = $6
         WHERE customer_id = $1 AND recharge_id = $2",
    );
    MARK.write(
        &[
            Arg::Text(customer_id),
            Arg::Int(recharge_id),
            Arg::Int(grant_id),
            Arg::MaybeText(payment_reference),
            Arg::MaybeInt(settled_seq),
            Arg::Time(now),
        ],
        1,
    );
}

/// An attempt has failed: it waits for the next one, or with none to come it is over.
pub fn mark_failed(
    customer_id: &str,
    recharge_id: i64,
    reason: Option<&str>,
    attempts: i64,
    next_attempt_at: Option<Instant>,
    now: Instant,
) {
    static MARK: Statement = Statement::new(
        "UPDATE credit_pools.recharge SET status = CASE WHEN $5 IS NULL THEN 'failed' ELSE 'pending' END, reason = $3,
             attempts = $4::integer, next_attempt_at = $5, worker = NULL, lease_expires_at = NULL, updated_at = $6
         WHERE customer_id = $1 AND recharge_id = $2",
    );
    MARK.write(
        &[
            Arg::Text(customer_id),
            Arg::Int(recharge_id),
            Arg::MaybeText(reason),
            Arg::Int(attempts),
            Arg::MaybeTime(next_attempt_at),
            Arg::Time(now),
        ],
        1,
    );
}

pub struct Claimed {
    pub recharge_id: i64,
    pub customer_id: String,
    pub resource_id: String,
    pub credit_type_id: String,
    pub pool_id: i64,
    pub amount: Amount,
    pub price: Option<Amount>,
    pub price_currency: Option<String>,
    pub attempts: i64,
}

/// Hands recharges that are due, of any customer, to a worker, passing over those that others are taking.
pub fn claim(worker: &str, limit: i64, lease_expires_at: Instant, now: Instant) -> Vec<Claimed> {
    // A claimed one is due again when its lease ends.
    static CLAIM: Statement = Statement::new(
        "WITH due AS (
             SELECT customer_id, recharge_id FROM credit_pools.recharge
             WHERE status IN ('pending', 'processing') AND next_attempt_at <= $4
             ORDER BY next_attempt_at, recharge_id
             LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE credit_pools.recharge r
         SET status = 'processing', worker = $1, lease_expires_at = $3, next_attempt_at = $3, updated_at = $4
         FROM due WHERE r.customer_id = due.customer_id AND r.recharge_id = due.recharge_id
         RETURNING r.recharge_id, r.customer_id, r.resource_id, r.credit_type_id, r.pool_id, r.amount, r.price,
                   r.price_currency, r.attempts::bigint",
    );
    CLAIM.rows(&[Arg::Text(worker), Arg::Int(limit), Arg::Time(lease_expires_at), Arg::Time(now)], |row| Claimed {
        recharge_id: row.int(1).unwrap_or_default(),
        customer_id: row.text(2).unwrap_or_default(),
        resource_id: row.text(3).unwrap_or_default(),
        credit_type_id: row.text(4).unwrap_or_default(),
        pool_id: row.int(5).unwrap_or_default(),
        amount: row.amount(6).unwrap_or_default(),
        price: row.amount(7),
        price_currency: row.text(8),
        attempts: row.int(9).unwrap_or_default(),
    })
}

/// The newest recharge id of a customer, to count from.
pub fn newest(customer_id: &str) -> i64 {
    static NEWEST: Statement =
        Statement::new("SELECT COALESCE(max(recharge_id), 0) FROM credit_pools.recharge WHERE customer_id = $1");
    NEWEST.first(&[Arg::Text(customer_id)], |row| row.int(1)).flatten().unwrap_or_default()
}

/// Whether a pool has asked for a recharge with an id above the given one.
pub fn asked_since(customer_id: &str, pool_id: i64, recharge_id: i64) -> bool {
    static FIND: Statement = Statement::new(
        "SELECT 1 FROM credit_pools.recharge
         WHERE customer_id = $1 AND pool_id = $2 AND recharge_id > $3 AND status <> 'skipped' LIMIT 1",
    );
    FIND.run(&[Arg::Text(customer_id), Arg::Int(pool_id), Arg::Int(recharge_id)]) > 0
}
