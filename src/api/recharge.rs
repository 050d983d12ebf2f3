//! Auto-recharge: policies and payments.

use credit_pools_domain::{Amount, Span};
use pgrx::prelude::*;

use super::args;
use super::grants::reference;
use super::{call, read, visible_customer};
use crate::engine::policies::{self, Covered};
use crate::engine::{payments, recharging};
use crate::error::{Error, Result};
use crate::store::recharges::Policy;
use crate::store::spi;

/// The row of the functions below, which must spell it out for their SQL declaration.
type PolicyRow = TableIterator<
    'static,
    (
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(credit_type_id, String),
        name!(enabled, bool),
        name!(pools_covered, i64),
        name!(recharges_requested, i64),
    ),
>;

fn policy_row(
    customer_id: Option<&str>,
    resource_id: Option<&str>,
    credit_type_id: Option<&str>,
    enabled: bool,
    covered: Covered,
) -> PolicyRow {
    TableIterator::once((
        customer_id.unwrap_or_default().to_owned(),
        resource_id.map(str::to_owned),
        credit_type_id.unwrap_or_default().to_owned(),
        enabled,
        covered.pools,
        covered.asked,
    ))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn set_auto_recharge(
    customer_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    threshold: default!(Option<AnyNumeric>, "NULL"),
    target_balance: default!(Option<AnyNumeric>, "NULL"),
    recharge_amount: default!(Option<AnyNumeric>, "NULL"),
    price_per_credit: default!(Option<AnyNumeric>, "NULL"),
    price_currency: default!(Option<&str>, "NULL"),
    max_spend: default!(Option<AnyNumeric>, "NULL"),
    spend_period: default!(Option<Interval>, "'1 month'"),
    max_count: default!(Option<i32>, "NULL"),
    cooldown: default!(Option<Interval>, "'0'"),
    grant_expires_after: default!(Option<Interval>, "'1 year'"),
    settlement: default!(Option<&str>, "'on_payment'"),
    max_failures: default!(Option<i32>, "3"),
    enabled: default!(Option<bool>, "true"),
    resource_id: default!(Option<&str>, "NULL"),
    backoff: default!(Option<Interval>, "'1 minute'"),
) -> TableIterator<
    'static,
    (
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(credit_type_id, String),
        name!(enabled, bool),
        name!(pools_covered, i64),
        name!(recharges_requested, i64),
    ),
> {
    let enabled = enabled.unwrap_or(true);
    let covered = call(|| {
        let price_per_credit = args::optional_not_negative("price_per_credit", &price_per_credit)?;
        let price_currency = args::price(price_per_credit, price_currency)?;
        let policy = Policy {
            resource_id: args::resource(resource_id)?.to_owned(),
            enabled,
            threshold: args::required("threshold", args::optional_not_negative("threshold", &threshold)?)?,
            target_balance: args::optional_positive("target_balance", &target_balance)?,
            recharge_amount: args::optional_positive("recharge_amount", &recharge_amount)?,
            price_per_credit,
            price_currency: price_currency.map(str::to_owned),
            max_spend: args::optional_not_negative("max_spend", &max_spend)?,
            spend_period: args::positive_span("spend_period", spend_period)?.unwrap_or(Span::MONTH),
            max_count: not_negative("max_count", max_count)?,
            cooldown: pause(cooldown)?,
            grant_expires_after: args::positive_span("grant_expires_after", grant_expires_after)?,
            immediate: immediate(settlement.unwrap_or("on_payment"))?,
            max_failures: at_least_one("max_failures", max_failures.unwrap_or(3))?,
            backoff: args::positive_span("backoff", backoff)?.unwrap_or(MINUTE),
        };
        check_policy(&policy)?;
        policies::set_policy(
            args::id("customer_id", customer_id)?,
            args::id("credit_type_id", credit_type_id)?,
            &policy,
        )
    });
    policy_row(customer_id, resource_id, credit_type_id, enabled, covered)
}

const MINUTE: Span = Span { months: 0, days: 0, micros: 60_000_000 };

fn check_policy(policy: &Policy) -> Result<()> {
    match (policy.target_balance, policy.recharge_amount) {
        (None, None) => return Err(Error::argument("target_balance", "target_balance or recharge_amount is required")),
        (Some(_), Some(_)) => {
            return Err(Error::argument("recharge_amount", "target_balance and recharge_amount exclude each other"));
        }
        (Some(target), None) if target <= policy.threshold => {
            return Err(Error::argument("target_balance", "target_balance must be above threshold")
                .with_number("threshold", policy.threshold)
                .with_number("target_balance", target));
        }
        _ => {}
    }
    if policy.price_per_credit.is_none() && policy.price_currency.is_some() {
        // Forgotten, it would make all recharges free.
        return Err(Error::argument("price_per_credit", "a price_currency needs a price_per_credit")
            .hint("Set price_per_credit to 0 for credits that cost nothing."));
    }
    let Some(limit) = policy.max_spend else { return Ok(()) };
    let currency = policy.price_currency.as_deref().unwrap_or_default();
    if policy.price_per_credit.is_none_or(Amount::is_zero) {
        return Err(Error::argument("max_spend", "max_spend needs a price_per_credit"));
    }
    if limit.decimals() > credit_pools_domain::minor_digits(currency) {
        return Err(Error::argument("max_spend", format!("max_spend has more decimals than {currency}")));
    }
    Ok(())
}

fn not_negative(argument: &str, value: Option<i32>) -> Result<Option<i64>> {
    match value {
        Some(number) if number < 0 => Err(Error::argument(argument, format!("{argument} must not be negative"))),
        number => Ok(number.map(i64::from)),
    }
}

fn at_least_one(argument: &str, value: i32) -> Result<i64> {
    if value < 1 {
        return Err(Error::argument(argument, format!("{argument} must be 1 or more")));
    }
    Ok(i64::from(value))
}

/// A cooldown: zero for none.
fn pause(value: Option<Interval>) -> Result<Span> {
    match value.map(spi::span) {
        None => Ok(Span::default()),
        Some(span) if span == Span::default() => Ok(span),
        Some(span) => span
            .check_positive()
            .map_err(|_| Error::argument("cooldown", "cooldown must not be negative or of mixed signs")),
    }
}

fn immediate(settlement: &str) -> Result<bool> {
    match settlement {
        "on_payment" => Ok(false),
        "immediate" => Ok(true),
        other => {
            Err(Error::argument("settlement", "settlement must be on_payment or immediate").with("settlement", other))
        }
    }
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn reset_auto_recharge(
    customer_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(credit_type_id, String),
        name!(enabled, bool),
        name!(pools_covered, i64),
        name!(recharges_requested, i64),
    ),
> {
    let (policy, covered) = call(|| {
        policies::reset(
            args::id("customer_id", customer_id)?,
            args::id("credit_type_id", credit_type_id)?,
            args::resource(resource_id)?,
        )
    });
    policy_row(customer_id, resource_id, credit_type_id, policy.enabled, covered)
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn complete_recharge(
    customer_id: default!(Option<&str>, "NULL"),
    recharge_id: default!(Option<i64>, "NULL"),
    payment_reference: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(recharge_id, i64),
        name!(pool_id, i64),
        name!(status, String),
        name!(grant_id, Option<i64>),
        name!(amount, AnyNumeric),
        name!(balance, AnyNumeric),
        name!(is_duplicate, bool),
    ),
> {
    let settled = call(|| {
        payments::complete(
            args::id("customer_id", customer_id)?,
            args::required("recharge_id", recharge_id)?,
            reference(payment_reference)?,
        )
    });
    TableIterator::once((
        settled.recharge_id,
        settled.pool_id,
        settled.status,
        settled.grant_id,
        spi::numeric(settled.amount),
        spi::numeric(settled.balance),
        settled.is_duplicate,
    ))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn fail_recharge(
    customer_id: default!(Option<&str>, "NULL"),
    recharge_id: default!(Option<i64>, "NULL"),
    reason: default!(Option<&str>, "NULL"),
    permanent: default!(Option<bool>, "false"),
    attempt: default!(Option<i32>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(recharge_id, i64),
        name!(pool_id, i64),
        name!(status, String),
        name!(attempts, i64),
        name!(next_attempt_at, Option<TimestampWithTimeZone>),
        name!(is_duplicate, bool),
    ),
> {
    let failed = call(|| {
        let attempt = attempt.map(|attempt| at_least_one("attempt", attempt)).transpose()?;
        payments::fail(
            args::id("customer_id", customer_id)?,
            args::required("recharge_id", recharge_id)?,
            args::note("reason", reason)?,
            permanent.unwrap_or(false),
            attempt,
        )
    });
    TableIterator::once((
        failed.recharge_id,
        failed.pool_id,
        failed.status,
        failed.attempts,
        failed.next_attempt_at.map(spi::timestamp),
        failed.is_duplicate,
    ))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn claim_recharges(
    worker: default!(Option<&str>, "NULL"),
    max_count: default!(Option<i32>, "1"),
    lease: default!(Option<Interval>, "'5 minutes'"),
) -> TableIterator<
    'static,
    (
        name!(recharge_id, i64),
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(credit_type_id, String),
        name!(pool_id, i64),
        name!(amount, AnyNumeric),
        name!(price, Option<AnyNumeric>),
        name!(price_currency, Option<String>),
        name!(attempts, i64),
        name!(lease_expires_at, TimestampWithTimeZone),
    ),
> {
    let claimed = call(|| {
        let lease = args::positive_span("lease", lease)?.unwrap_or(Span { micros: 5 * MINUTE.micros, ..MINUTE });
        let limit = at_least_one("max_count", max_count.unwrap_or(1))?;
        payments::claim(args::id("worker", worker)?, limit, lease)
    });
    TableIterator::new(claimed.into_iter().map(|(claimed, until)| {
        (
            claimed.recharge_id,
            claimed.customer_id,
            Some(claimed.resource_id).filter(|id| !id.is_empty()),
            claimed.credit_type_id,
            claimed.pool_id,
            spi::numeric(claimed.amount),
            claimed.price.map(spi::numeric),
            claimed.price_currency,
            claimed.attempts,
            spi::timestamp(until),
        )
    }))
}

#[pg_extern(stable)]
#[search_path(pg_catalog, pg_temp)]
fn explain_recharge(
    customer_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(customer_id, String),
        name!(resource_id, Option<String>),
        name!(credit_type_id, String),
        name!(pool_id, i64),
        name!(would_fire, bool),
        name!(reason, Option<String>),
        name!(balance, AnyNumeric),
        name!(pending, Option<AnyNumeric>),
        name!(threshold, Option<AnyNumeric>),
        name!(amount, Option<AnyNumeric>),
        name!(price, Option<AnyNumeric>),
        name!(price_currency, Option<String>),
        name!(policy, Option<String>),
        name!(spent, Option<AnyNumeric>),
        name!(max_spend, Option<AnyNumeric>),
        name!(recharges, Option<i64>),
        name!(max_count, Option<i64>),
        name!(period_end, Option<TimestampWithTimeZone>),
        name!(cooldown_until, Option<TimestampWithTimeZone>),
        name!(breaker_opened_at, Option<TimestampWithTimeZone>),
        name!(next_attempt_at, Option<TimestampWithTimeZone>),
        name!(last_recharge_id, Option<i64>),
    ),
> {
    let found = read(|reach| {
        let customer_id = args::id("customer_id", customer_id)?;
        let credit_type_id = args::id("credit_type_id", credit_type_id)?;
        let resource_id = args::resource(resource_id)?;
        // The policy counts what all pools of the customer have spent.
        visible_customer(reach, customer_id)?;
        spi::reading(|| recharging::explain(customer_id, credit_type_id, resource_id))
    });
    let (policy, outcome) = (found.policy.as_ref(), found.outcome.as_ref());
    let spending = found.spending.as_ref();
    let attempt = outcome.ok();
    TableIterator::once((
        customer_id.unwrap_or_default().to_owned(),
        resource_id.map(str::to_owned),
        credit_type_id.unwrap_or_default().to_owned(),
        found.pool_id,
        attempt.is_some(),
        outcome.err().map(|reason| (*reason).to_owned()),
        spi::numeric(found.balance),
        found.in_flight.as_ref().map(|open| spi::numeric(open.amount)),
        policy.map(|policy| spi::numeric(policy.threshold)),
        attempt.map(|attempt| spi::numeric(attempt.amount)),
        attempt.and_then(|attempt| attempt.price).map(spi::numeric),
        attempt.and_then(|attempt| attempt.price).and_then(|_| policy?.price_currency.clone()),
        policy.map(|policy| policy.covers().to_owned()),
        spending.map(|(spending, _)| spi::numeric(spending.spent)),
        policy.and_then(|policy| policy.max_spend).map(spi::numeric),
        spending.map(|(spending, _)| spending.count),
        policy.and_then(|policy| policy.max_count),
        spending.map(|(_, window)| spi::timestamp(window.end)),
        found.cooldown_until.map(spi::timestamp),
        found.breaker_opened_at.map(spi::timestamp),
        found.in_flight.as_ref().and_then(|open| open.next_attempt_at).map(spi::timestamp),
        found.last_recharge_id,
    ))
}
