//! The calls of the load, each with what it must leave in the tables: once where it was acknowledged, whole or not at all
//! where its client was cut off.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use std::fmt::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Usage,
    UsageWithoutKey,
    Consumption,
    Batch,
    BatchWithoutKeys,
    Hold,
    Settlement,
    Release,
    Extension,
    Grant,
    GrantWithoutKey,
    Void,
    Reversal,
    Transfer,
    Change,
    Subscription,
    Claim,
    Payment,
    Transaction,
    MeteredRow,
    Maintenance,
}

/// What a call leaves: a name of `check::TRACES`, and there under its token an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub what: &'static str,
    pub token: String,
    pub amount: i64,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub kind: Kind,
    pub customer: String,
    /// More than one: a transaction of the application.
    pub statements: Vec<String>,
    /// The statement whose rows are the call's result.
    pub answer: usize,
    pub traces: Vec<Trace>,
    /// Carried out a second time it does nothing. Without a key nobody may repeat what he does not know the outcome of.
    pub repeatable: bool,
    /// Its rows tell whether it is a repetition.
    pub flagged: bool,
    /// SQLSTATEs that are an answer, beside PC001.
    pub refusals: &'static [&'static str],
}

/// What a client has been told that it can go on from.
#[derive(Default)]
pub struct Own {
    /// Customer, grant, and the credits that may still be voided.
    pub grants: Vec<(String, i64, i64)>,
    /// Customer, usage, credits. A usage is taken back once.
    pub usages: Vec<(String, i64, i64)>,
    pub holds: Vec<Hold>,
    /// Claimed recharges: customer, recharge, amount.
    pub payments: Vec<(String, i64, i64)>,
}

#[derive(Clone, Debug)]
pub struct Hold {
    pub customer: String,
    pub id: String,
    pub left: i64,
    pub long: bool,
}

pub const CUSTOMERS: usize = 4;
pub const RESOURCES: usize = 3;

/// A pool that has plenty, and one that comes to its threshold again and again.
fn scope(random: &mut StdRng) -> (String, String) {
    if random.random_bool(0.3) {
        let customer = format!("r{}", random.random_range(0..2));
        let resource = format!("resource_id => 'ws-{}'", random.random_range(0..RESOURCES));
        return (customer, resource);
    }
    let resource = match random.random_range(0..=RESOURCES) {
        RESOURCES => "resource_id => NULL".to_owned(),
        number => format!("resource_id => 'ws-{number}'"),
    };
    (format!("c{}", random.random_range(0..CUSTOMERS)), resource)
}

fn draw_kind(random: &mut StdRng) -> Kind {
    use Kind::*;
    const WEIGHTS: [(Kind, u32); 21] = [
        (Usage, 20),
        (UsageWithoutKey, 12),
        (Consumption, 10),
        (Batch, 6),
        (BatchWithoutKeys, 3),
        (Hold, 8),
        (Settlement, 8),
        (Release, 2),
        (Extension, 2),
        (Grant, 6),
        (GrantWithoutKey, 3),
        (Void, 4),
        (Reversal, 6),
        (Transfer, 4),
        (Change, 3),
        (Subscription, 1),
        (Claim, 4),
        (Payment, 6),
        (Transaction, 6),
        (MeteredRow, 5),
        (Maintenance, 2),
    ];
    WEIGHTS.choose_weighted(random, |(_, weight)| *weight).expect("weights").0
}

/// The next call of a client. `token` names whatever it leaves; `clock` is the world's, as SQL.
pub fn draw(random: &mut StdRng, own: &mut Own, token: &str, clock: &str) -> Call {
    loop {
        let kind = draw_kind(random);
        if let Some(call) = of_kind(kind, random, own, token, clock) {
            return call;
        }
    }
}

fn trace(what: &'static str, token: impl Into<String>, amount: i64) -> Trace {
    Trace { what, token: token.into(), amount }
}

fn call(kind: Kind, customer: &str, sql: String, traces: Vec<Trace>) -> Call {
    let refusals: &[&str] = match kind {
        // The amount is more than is left, or an end has come near while the server was down.
        Kind::Void | Kind::Grant => &["22023"],
        // The hold has timed out.
        Kind::Settlement | Kind::Extension => &["PC005"],
        _ => &[],
    };
    Call {
        kind,
        customer: customer.to_owned(),
        statements: vec![format!("SELECT * FROM credit_pools.{sql}")],
        answer: 0,
        traces,
        repeatable: true,
        flagged: true,
        refusals,
    }
}

/// None where the client has nothing that such a call could be about.
pub fn of_kind(kind: Kind, random: &mut StdRng, own: &mut Own, token: &str, clock: &str) -> Option<Call> {
    let (customer, resource) = scope(random);
    let amount: i64 = random.random_range(1..=20);
    let pool = format!("customer_id => '{customer}', {resource}, credit_type_id => 'ai-tokens'");
    let key = format!("idempotency_key => '{token}'");
    let mark = format!(r#"'{{"call": "{token}"}}'"#);
    let used = |amount| vec![trace("usage", token, amount)];
    let usage = format!(
        "report_usage(customer_id => '{customer}', {resource}, feature_id => 'feature-ai-tokens', value => {amount}, dimensions => {mark}"
    );
    Some(match kind {
        Kind::Usage => call(kind, &customer, format!("{usage}, {key})"), used(amount)),
        Kind::UsageWithoutKey => Call { repeatable: false, ..call(kind, &customer, format!("{usage})"), used(amount)) },
        Kind::Consumption => {
            let sql = format!("consume_credits({pool}, amount => {amount}, dimensions => {mark}, {key})");
            call(kind, &customer, sql, used(amount))
        }
        Kind::Batch | Kind::BatchWithoutKeys => batch(kind, random, token),
        Kind::Hold => {
            let ttl = if random.random_bool(0.5) { "30 minutes" } else { "23 hours" };
            let sql =
                format!("reserve_credits({pool}, reservation_id => '{token}', amount => {amount}, ttl => '{ttl}')");
            call(kind, &customer, sql, vec![trace("hold", token, amount)])
        }
        Kind::Settlement => {
            let hold = own.holds.choose(random)?;
            let customer = hold.customer.clone();
            let last = hold.left < 2 || random.random_bool(0.5);
            let amount = random.random_range(1..=hold.left.max(1));
            let sql = format!(
                "settle_reservation(customer_id => '{customer}', reservation_id => '{}', amount => {amount}, final => {last}, dimensions => {mark}, {key})",
                hold.id
            );
            call(kind, &customer, sql, used(amount))
        }
        Kind::Release | Kind::Extension => {
            let long: Vec<&Hold> = own.holds.iter().filter(|hold| hold.long).collect();
            let hold = long.choose(random)?;
            let which = format!("customer_id => '{}', reservation_id => '{}'", hold.customer, hold.id);
            if kind == Kind::Release {
                let traces = vec![trace("release", hold.id.clone(), 0)];
                call(kind, &hold.customer, format!("release_reservation({which})"), traces)
            } else {
                call(kind, &hold.customer, format!("extend_reservation({which}, ttl => '23 hours')"), Vec::new())
            }
        }
        // The recharged pools live on their recharges.
        Kind::Grant | Kind::GrantWithoutKey | Kind::Transaction if customer.starts_with('r') => return None,
        Kind::Grant | Kind::GrantWithoutKey => {
            let amount = 10 * amount;
            let end = if random.random_bool(0.3) {
                format!(", expires_at => {clock} + interval '30 minutes'")
            } else {
                String::new()
            };
            let given = vec![trace("grant", token, amount)];
            let sql = format!("grant_credits({pool}, amount => {amount}, metadata => {mark}");
            if kind == Kind::Grant {
                call(kind, &customer, format!("{sql}{end}, {key})"), given)
            } else {
                Call { repeatable: false, ..call(kind, &customer, format!("{sql})"), given) }
            }
        }
        Kind::Void => {
            let (customer, grant_id, left) = own.grants.choose(random)?.clone();
            let amount = random.random_range(1..=left.clamp(1, 5));
            let sql = format!(
                "void_grant(customer_id => '{customer}', grant_id => {grant_id}, amount => {amount}, reason => '{token}', {key})"
            );
            call(kind, &customer, sql, vec![trace("void", token, amount)])
        }
        Kind::Reversal => {
            let place = (!own.usages.is_empty()).then(|| random.random_range(0..own.usages.len()))?;
            let (customer, usage_id, credits) = own.usages.swap_remove(place);
            let amount = random.random_range(1..=credits);
            let sql = format!(
                "reverse_usage(customer_id => '{customer}', usage_id => {usage_id}, credits => {amount}, reason => '{token}', {key})"
            );
            call(kind, &customer, sql, vec![trace("reversal", token, amount)])
        }
        Kind::Transfer => {
            let customer = format!("c{}", random.random_range(0..CUSTOMERS));
            let from = random.random_range(0..RESOURCES);
            let to = (from + random.random_range(1..RESOURCES)) % RESOURCES;
            let sql = format!(
                "transfer_credits(customer_id => '{customer}', credit_type_id => 'ai-tokens', amount => {amount}, from_resource_id => 'ws-{from}', to_resource_id => 'ws-{to}', reason => '{token}', {key})"
            );
            call(kind, &customer, sql, vec![trace("gone", token, amount), trace("come", token, amount)])
        }
        Kind::Change => {
            let (customer, grant_id, _) = own.grants.choose(random)?.clone();
            let sql = format!(
                "update_grant(customer_id => '{customer}', grant_id => {grant_id}, display_name => '{token}', {key})"
            );
            call(kind, &customer, sql, vec![trace("change", token, 0)])
        }
        Kind::Subscription => {
            let customer = format!("c{}", random.random_range(0..CUSTOMERS));
            let sql = format!(
                "provision_subscription(customer_id => '{customer}', plan_id => 'plan-basic', resource_id => '{token}', subscription_id => '{token}', {key})"
            );
            call(kind, &customer, sql, vec![trace("subscription", token, 0)])
        }
        Kind::Claim => {
            let sql = format!("claim_recharges(worker => '{token}', max_count => 2, lease => '30 minutes')");
            Call { repeatable: false, flagged: false, ..call(kind, "r0", sql, Vec::new()) }
        }
        Kind::Payment => {
            let (customer, recharge_id, amount) = own.payments.pop()?;
            let sql = format!(
                "complete_recharge(customer_id => '{customer}', recharge_id => {recharge_id}, payment_reference => 'pay-{recharge_id}')"
            );
            // Whoever claimed it after the lease may have come first.
            Call {
                flagged: false,
                ..call(kind, &customer, sql, vec![trace("payment", format!("pay-{recharge_id}"), amount)])
            }
        }
        Kind::Transaction => {
            let given = format!("grant_credits({pool}, amount => {amount}, metadata => {mark}, {key})");
            let mut call = call(kind, &customer, format!("{usage}, {key})"), used(amount));
            call.statements.insert(0, "BEGIN".to_owned());
            call.statements.insert(1, format!("INSERT INTO job VALUES ('{token}') ON CONFLICT DO NOTHING"));
            call.statements.push(format!("SELECT * FROM credit_pools.{given}"));
            call.statements.push("COMMIT".to_owned());
            call.answer = 2;
            call.traces.extend([trace("job", token, 0), trace("grant", token, amount)]);
            call
        }
        Kind::MeteredRow => {
            let place = random.random_range(0..RESOURCES);
            let sql = format!(
                "INSERT INTO metered VALUES ('{token}', '{customer}', 'ws-{place}', {amount}) ON CONFLICT DO NOTHING"
            );
            let traces = vec![trace("usage", token, amount), trace("row", token, amount)];
            Call { flagged: false, statements: vec![sql], ..call(kind, &customer, String::new(), traces) }
        }
        Kind::Maintenance => {
            let sql = format!("run_maintenance(max_pools => {})", random.random_range(1..8));
            Call { flagged: false, ..call(kind, "", sql, Vec::new()) }
        }
    })
}

fn batch(kind: Kind, random: &mut StdRng, token: &str) -> Call {
    let mut events = String::from("[");
    let mut traces = Vec::new();
    for number in 0..random.random_range(2..30) {
        let (customer, resource) = (random.random_range(0..CUSTOMERS), random.random_range(0..RESOURCES));
        let amount = random.random_range(1..=5);
        let mark = format!("{token}-{number}");
        let key = if kind == Kind::Batch { format!(r#", "idempotency_key": "{mark}""#) } else { String::new() };
        let comma = if number == 0 { "" } else { ", " };
        write!(
            events,
            r#"{comma}{{"customer_id": "c{customer}", "resource_id": "ws-{resource}", "feature_id": "feature-ai-tokens", "value": {amount}, "dimensions": {{"call": "{mark}"}}{key}}}"#
        )
        .expect("memory");
        traces.push(trace("usage", mark, amount));
    }
    events.push(']');
    let sql = format!("report_usage_batch('{events}')");
    Call { repeatable: kind == Kind::Batch, ..call(kind, "", sql, traces) }
}
