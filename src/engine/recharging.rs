//! Auto-recharge: the evaluation that the pool's trigger asks for, and its explanation without any change.

use credit_pools_domain::{
    Amount, Attempt, Decision, Instant, PolicyRules, PoolView, Size, SkipReason, Span, Spending, Zone, marks_passed,
};

use super::opening::check_scope;
use super::payments;
use super::pool::{LockedPool, unknown_pool};
use super::reading::usable_now;
use super::signals::Signal;
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::store::pools::{self, PoolRow};
use crate::store::recharges::{self, Counter, NewRecharge, Policy, Window};
use crate::store::spi::{Sequence, next_id};
use crate::store::{cache, catalogue, customers, events};

/// What a decision looks at, but for the spending, whose lock is taken only where it decides.
struct Situation {
    view: PoolView,
    window: Window,
    cooldown_until: Option<Instant>,
}

impl Situation {
    fn of(pool: &PoolRow, balance: Amount, policy: &Policy, now: Instant) -> Result<Situation> {
        let PoolRow { customer_id, pool_id, .. } = pool;
        let zone = customer_zone(customer_id)?;
        let cooldown_until = cooldown_until(policy, &zone, customer_id, *pool_id)?.filter(|until| *until > now);
        let view = PoolView {
            balance,
            in_flight: recharges::in_flight(customer_id, *pool_id).map(|open| open.amount),
            cooling_down: cooldown_until.is_some(),
            breaker_open: pool.breaker_opened_at.is_some(),
        };
        Ok(Situation { view, window: spend_window(policy, &zone, now)?, cooldown_until })
    }
}

/// Looks at a pool that has just been changed by this transaction, and so is locked by it.
pub fn evaluate(customer_id: &str, pool_id: i64) -> Result<()> {
    let Some(pool) = pools::lock(customer_id, pool_id) else { return Ok(()) };
    if pool.wallet.frozen {
        // The trigger knows; a payment that arrives in a frozen pool does not.
        return Ok(());
    }
    let Some(policy) = recharges::policy_for(customer_id, &pool.credit_type_id, &pool.resource_id) else {
        return Ok(());
    };
    let now = clock::now().max(pool.last_recorded_at);
    let Situation { view, window, cooldown_until } = Situation::of(&pool, pool.wallet.figures.balance, &policy, now)?;
    cache::refresh();
    let rules = rules_of(&policy, &pool.credit_type_id);
    let mut spending = Spending::default();
    let decision = rules.decide(view, || {
        spending = recharges::lock_spending(Counter {
            customer_id,
            credit_type_id: &pool.credit_type_id,
            policy: &policy,
            window,
        });
        Ok::<_, Error>(spending)
    })?;
    match decision {
        Decision::Enough => Ok(()),
        Decision::Skip(reason) => {
            // What the clock ends is looked at again then: usage that is rejected would never ask.
            let look_again_at = match reason {
                SkipReason::Cooldown => cooldown_until,
                SkipReason::SpendLimit | SkipReason::CountLimit => Some(window.end),
                SkipReason::Disabled | SkipReason::Breaker | SkipReason::Pending => None,
            };
            if !recharges::repeat_skip(&pool, reason.as_str(), look_again_at, now) {
                let recharge_id = next_id(Sequence::Recharge);
                let skip = NewRecharge { recharge_id, policy: &policy, outcome: Err((reason.as_str(), look_again_at)) };
                recharges::insert(&pool, &skip, now);
                let skipped = about("recharge.skipped", &pool, recharge_id, now)
                    .with("reason", reason.as_str())
                    .with_amount("threshold", policy.threshold);
                events::write(&[skipped.of_pool(&pool)], now);
            }
            Ok(())
        }
        Decision::Recharge(_) if recharges::hidden_in_flight(customer_id, pool_id) => Err(Error::new(
            Kind::SerializationFailure,
            "could not serialize access: the pool was recharged by another session meanwhile",
        )),
        Decision::Recharge(attempt) => ask(pool, &policy, attempt, spending, window, now),
    }
}

/// Records a recharge; settles it where the policy does so at once.
fn ask(
    pool: PoolRow,
    policy: &Policy,
    attempt: Attempt,
    spending: Spending,
    window: Window,
    now: Instant,
) -> Result<()> {
    let recharge_id = next_id(Sequence::Recharge);
    let limited = policy.max_spend.is_some() || policy.max_count.is_some();
    if limited {
        // Before a trigger on the recharge could use credits of another pool under the same policy.
        let PoolRow { customer_id, credit_type_id, .. } = &pool;
        let price = attempt.price.unwrap_or(Amount::ZERO);
        recharges::count_spending(Counter { customer_id, credit_type_id, policy, window }, price);
    }
    recharges::insert(&pool, &NewRecharge { recharge_id, policy, outcome: Ok(attempt) }, now);
    let currency = policy.price_currency.as_deref();
    let requested =
        priced(about("recharge.requested", &pool, recharge_id, now), attempt.amount, attempt.price, currency)
            .with_amount("threshold", policy.threshold);
    let mut told = vec![requested];
    if limited {
        let price = attempt.price.unwrap_or(Amount::ZERO);
        told.extend(marks(&pool, policy, spending, price, window, now));
    }
    let told: Vec<events::Event> = told.iter().map(|signal| signal.of_pool(&pool)).collect();
    events::write(&told, now);
    if !policy.immediate {
        return Ok(());
    }
    let recharge =
        recharges::by_id(&pool.customer_id, recharge_id).ok_or_else(|| Error::unknown("recharge", recharge_id))?;
    let mut pool = LockedPool::advanced(pool)?;
    let grant_id = payments::settle(&mut pool, &recharge, None)?;
    payments::mark_succeeded(&pool, &recharge, grant_id, None, true);
    Ok(())
}

fn about(kind: &'static str, pool: &PoolRow, recharge_id: i64, now: Instant) -> Signal {
    Signal::new(kind, now).with_amount("balance", pool.wallet.figures.balance).with("recharge_id", recharge_id)
}

pub fn priced(signal: Signal, amount: Amount, price: Option<Amount>, currency: Option<&str>) -> Signal {
    signal
        .with_amount("amount", amount)
        .with_maybe("price", price)
        .with("price_currency", currency.filter(|_| price.is_some()))
}

/// The marks of the policy's limits that one more recharge passes.
fn marks(
    pool: &PoolRow,
    policy: &Policy,
    before: Spending,
    price: Amount,
    window: Window,
    now: Instant,
) -> Vec<Signal> {
    let spent = (before.spent, before.spent.checked_add(price).unwrap_or(before.spent));
    let count = (Amount::from_units(before.count), Amount::from_units(before.count.saturating_add(1)));
    let limits =
        [("max_spend", policy.max_spend, spent), ("max_count", policy.max_count.map(Amount::from_units), count)];
    let mut signals = Vec::new();
    for (name, limit, (used_before, used)) in limits {
        let Some(limit) = limit else { continue };
        for percent in marks_passed(used_before, used, limit) {
            let signal = Signal::new("recharge.limit_reached", now)
                .with_amount("balance", pool.wallet.figures.balance)
                .with("percent", percent)
                .with("limit", name)
                .with_amount("used", used)
                .with_amount("maximum", limit)
                .with("price_currency", policy.price_currency.as_deref())
                .with_instant("period_start", window.start)
                .with_instant("period_end", window.end)
                .with("policy", policy.covers());
            signals.push(signal);
        }
    }
    signals
}

/// Whether a pool would recharge at this instant, and if not, why.
pub struct Explanation {
    pub pool_id: i64,
    pub balance: Amount,
    pub policy: Option<Policy>,
    /// Without a policy, or of a frozen pool, there is nothing to decide.
    pub outcome: std::result::Result<Attempt, &'static str>,
    pub in_flight: Option<recharges::InFlight>,
    /// What counts in the policy's period, where it has a limit.
    pub spending: Option<(Spending, Window)>,
    pub cooldown_until: Option<Instant>,
    pub breaker_opened_at: Option<Instant>,
    pub last_recharge_id: Option<i64>,
}

/// Reads only: what is due is counted in memory.
pub fn explain(customer_id: &str, credit_type_id: &str, resource_id: &str) -> Result<Explanation> {
    check_scope(customer_id, resource_id)?;
    if catalogue::credit_type(credit_type_id).is_none() {
        return Err(Error::unknown("credit_type", credit_type_id));
    }
    let pool = pools::read_by_name(customer_id, resource_id, credit_type_id)
        .ok_or_else(|| unknown_pool(resource_id, credit_type_id))?;
    let now = clock::statement_start().max(pool.last_recorded_at);
    let balance = usable_now(&pool, now).figures.balance;
    let policy = recharges::policy_for(customer_id, credit_type_id, resource_id);
    let mut explanation = Explanation {
        pool_id: pool.pool_id,
        balance,
        outcome: Err("no_policy"),
        in_flight: recharges::in_flight(customer_id, pool.pool_id),
        spending: None,
        cooldown_until: None,
        breaker_opened_at: pool.breaker_opened_at,
        last_recharge_id: recharges::latest(customer_id, pool.pool_id),
        policy: policy.clone(),
    };
    let Some(policy) = policy else { return Ok(explanation) };
    let Situation { view, window, cooldown_until } = Situation::of(&pool, balance, &policy, now)?;
    explanation.cooldown_until = cooldown_until;
    let spending = recharges::read_spending(Counter { customer_id, credit_type_id, policy: &policy, window });
    if policy.max_spend.is_some() || policy.max_count.is_some() {
        explanation.spending = Some((spending, window));
    }
    cache::refresh();
    let decision = rules_of(&policy, credit_type_id).decide(view, || Ok::<_, Error>(spending))?;
    explanation.outcome = match decision {
        _ if pool.wallet.frozen => Err("frozen"),
        Decision::Recharge(attempt) => Ok(attempt),
        Decision::Skip(reason) => Err(reason.as_str()),
        Decision::Enough if balance < policy.threshold => Err("pending"),
        Decision::Enough => Err("enough"),
    };
    Ok(explanation)
}

pub fn rules_of(policy: &Policy, credit_type_id: &str) -> PolicyRules {
    let credit_type = cache::credit_type(credit_type_id);
    PolicyRules {
        // An archived credit type takes no new grants, so none is asked for.
        enabled: policy.enabled && credit_type.as_ref().is_none_or(|t| !t.archived),
        threshold: policy.threshold,
        size: match (policy.target_balance, policy.recharge_amount) {
            (Some(target), _) => Size::Target(target),
            (None, amount) => Size::Fixed(amount.unwrap_or(Amount::ZERO)),
        },
        price_per_credit: policy.price_per_credit,
        currency: policy.price_currency.clone(),
        max_spend: policy.max_spend,
        max_count: policy.max_count,
        scale: credit_type.map_or(0, |t| t.scale),
    }
}

/// When the pool may be asked for again, by its last recharge.
fn cooldown_until(policy: &Policy, zone: &Zone, customer_id: &str, pool_id: i64) -> Result<Option<Instant>> {
    if policy.cooldown == Span::default() {
        return Ok(None);
    }
    let Some(last) = recharges::last_asked_at(customer_id, pool_id) else { return Ok(None) };
    zone.step(last, policy.cooldown, 1).map(Some).map_err(|_| bad_span("cooldown"))
}

pub fn spend_window(policy: &Policy, zone: &Zone, now: Instant) -> Result<Window> {
    let (start, end) = zone.window(policy.spend_period, now).map_err(|_| bad_span("spend_period"))?;
    Ok(Window { start, end })
}

pub fn customer_zone(customer_id: &str) -> Result<Zone> {
    let name = customers::time_zone(customer_id).unwrap_or_else(|| "UTC".to_owned());
    Zone::find(&name).map_err(|_| super::provisioning::unknown_zone(&name))
}

pub fn bad_span(argument: &str) -> Error {
    Error::argument(argument, format!("{argument} leaves the range of the calendar"))
}
