//! What a usage costs, and which pool pays: the subscription of the scope, the rate in force, the credit type's pool.

use std::rc::Rc;

use credit_pools_domain::{Amount, EvalError, Instant, Limit, Price};
use serde_json::{Map, Value};

use super::opening::check_scope;
use super::pool::{self, describe_scope};
use super::usage::{Request, check_occurred};
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::store::cache;
use crate::store::catalogue::{self, RateVersion};
use crate::store::customers;
use crate::store::subscriptions::{self, Terms};

/// The rate in force for a usage, and the subscription that it is in.
#[derive(Clone)]
pub struct Quote {
    pub scope: Rc<Terms>,
    pub rate: RateVersion,
}

/// What is known of a usage by feature before its pool is locked.
#[derive(Clone)]
pub struct Resolved {
    /// The revision of the scope's present subscription, if it has one: the locked pool must have the same.
    revision: Option<i64>,
    pub quote: Option<Quote>,
}

impl Resolved {
    /// Whether the subscription has changed since, as the locked pool's row tells.
    pub fn is_stale(&self, scope_revision: i64) -> bool {
        self.revision.is_some_and(|revision| revision != scope_revision)
    }
}

/// The subscription and the rate of a usage at `at`: as this session remembers them, or (`anew`) as they are now. Late
/// usage counts by the subscription of its own time, though that may be over.
pub fn resolve(request: &Request, feature_id: &str, at: Instant, anew: bool) -> Resolved {
    let (customer_id, resource_id) = (request.customer_id, request.resource_id);
    let find = if anew { cache::read_scope } else { cache::scope };
    let current = find(customer_id, resource_id);
    let revision = current.as_ref().map(|scope| scope.revision);
    let covers = |scope: &Rc<Terms>| at >= scope.starts_at && at < scope.ends_at;
    let scope = current.filter(covers).or_else(|| {
        let late = request.occurred_at.is_some();
        if late { cache::scope_at(customer_id, resource_id, at) } else { None }
    });
    Resolved { revision, quote: scope.and_then(|scope| quote(scope, feature_id, at)) }
}

/// The subscription's own rate, else the plan's, else the one for every plan.
fn quote(scope: Rc<Terms>, feature_id: &str, at: Instant) -> Option<Quote> {
    let mut rate = cache::rate_at(feature_id, &scope.plan_id, at)?;
    if let Some(own) = scope.rates.get(feature_id) {
        rate.price = own.clone();
    }
    Some(Quote { scope, rate })
}

/// What a quoted usage costs once its pool is locked, at the pool's instant.
pub fn cost_now(request: &Request, quote: &Quote, value: Amount, now: Instant) -> Result<Amount> {
    check_covered(request, quote, now)?;
    let rate = &quote.rate;
    cost(&rate.price, value, request.dimensions, scale_of(&rate.credit_type_id))
}

/// The usage must lie within its subscription, at the pool's instant.
pub fn check_covered(request: &Request, quote: &Quote, now: Instant) -> Result<()> {
    let scope = &quote.scope;
    let occurred_at = check_occurred(request, now)?;
    let over = request.occurred_at.is_none() && now >= scope.ends_at;
    if now < scope.starts_at || occurred_at < scope.starts_at || over {
        return Err(no_subscription(request, occurred_at));
    }
    Ok(())
}

pub fn scale_of(credit_type_id: &str) -> u32 {
    cache::credit_type(credit_type_id).map_or(0, |t| t.scale)
}

/// Why a usage by feature found no pool and price: the first broken link, named.
pub fn why_not(request: &Request, feature_id: &str, value: Amount, at: Instant) -> Error {
    let (customer_id, resource_id) = (request.customer_id, request.resource_id);
    if let Err(error) = check_scope(customer_id, resource_id) {
        return error;
    }
    if !catalogue::feature_exists(feature_id) {
        return Error::unknown("feature", feature_id);
    }
    let now = clock::now();
    let Some(subscription) = subscriptions::of_scope(customer_id, resource_id) else {
        return no_subscription(request, now);
    };
    if now < subscription.starts_at.max(at) || now >= subscription.ends_at || at < subscription.starts_at {
        if let Err(error) = check_occurred(request, now) {
            return error;
        }
        return no_subscription(request, at);
    }
    let rate = cache::rate_at(feature_id, &subscription.plan_id, at);
    let Some(rate) = rate else {
        return Error::new(
            Kind::NoRate,
            format!("feature \"{feature_id}\" has no rate for plan \"{}\" at {at}", subscription.plan_id),
        )
        .with("feature_id", feature_id)
        .with("plan_id", subscription.plan_id.as_str())
        .with("at", at.to_string())
        .hint("Define one with define_rate.");
    };
    match cost(&rate.price, value, request.dimensions, scale_of(&rate.credit_type_id)) {
        Ok(cost) => no_pool(request, &rate.credit_type_id, cost),
        Err(error) => error,
    }
}

/// What a usage costs, by its value and the numbers among its dimensions.
pub fn cost(price: &Price, value: Amount, dimensions: Option<&str>, scale: u32) -> Result<Amount> {
    let mut read: Option<Map<String, Value>> = None;
    let cost = price.cost(
        value,
        |name| {
            // Read only where a formula asks.
            let parse = || dimensions.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            match read.get_or_insert_with(parse).get(name) {
                Some(Value::Number(number)) => Amount::parse(&number.to_string()).ok(),
                _ => None,
            }
        },
        scale,
    );
    cost.map_err(|error| {
        let about = match &error {
            EvalError::MissingDimension(_) => "dimensions",
            EvalError::DivisionByZero(_) | EvalError::Negative(_) => "formula",
            EvalError::Overflow => "value",
        };
        let refused = match price.formula() {
            None => Error::argument(about, "the cost of this value has too many digits"),
            Some(formula) => {
                Error::argument(about, format!("the rate's formula gives no cost: {error}")).with("formula", formula)
            }
        };
        match error {
            EvalError::MissingDimension(name) => refused.with("dimension", name),
            EvalError::Negative(cost) => refused.with_number("cost", cost),
            EvalError::DivisionByZero(position) => refused.with("position", position),
            EvalError::Overflow => refused,
        }
    })
}

/// A pool that was never opened has nothing.
pub fn no_pool(request: &Request, credit_type_id: &str, required: Amount) -> Error {
    let scope = describe_scope(request.resource_id, credit_type_id);
    pool::insufficient(&scope, None, Amount::ZERO, required, required, Limit::Finite(Amount::ZERO))
}

fn no_subscription(request: &Request, at: Instant) -> Error {
    let scope = match request.resource_id {
        "" => "the customer's global scope".to_owned(),
        resource => format!("resource \"{resource}\""),
    };
    let others: Vec<String> = customers::subscribed_scopes(request.customer_id, at)
        .into_iter()
        .filter(|other| other != request.resource_id)
        .map(
            |other| {
                if other.is_empty() { "the global scope (no resource_id)".to_owned() } else { format!("\"{other}\"") }
            },
        )
        .collect();
    let hint = match others.as_slice() {
        [] => "No scope of this customer has one: call provision_subscription first.".to_owned(),
        names => {
            format!("These scopes of the customer have one: {}. Usage never moves to another scope.", names.join(", "))
        }
    };
    Error::new(Kind::NoActiveSubscription, format!("{scope} has no active subscription at that time"))
        .with("customer_id", request.customer_id)
        .with("resource_id", Some(request.resource_id).filter(|id| !id.is_empty()))
        .with("at", at.to_string())
        .hint(hint)
}
