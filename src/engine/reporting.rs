//! The report of a scope: for each of its pools balance, usage as a bar chart, grants, the latest ledger rows, and what
//! auto-recharge does.

use std::collections::BTreeMap;

use credit_pools_domain::{Amount, Charset, Column, Grant, Instant, Limit, Sheet, Span, Zone};

use super::charting::{self, Grouping, Window};
use super::reading;
use crate::clock;
use crate::error::{Error, Result};
use crate::store::reports::{self, LedgerLine, RechargeState};
use crate::store::rollups::Source;
use crate::store::subscriptions;

/// What is asked for.
pub struct Form {
    /// Of usage, today included.
    pub days: i32,
    /// Columns of the terminal.
    pub width: usize,
    /// Grants and ledger rows to show.
    pub rows: usize,
    pub charset: Charset,
}

/// Columns that the chart's axis takes.
const AXIS: usize = 12;
/// Features that are named below the chart.
const FEATURES: usize = 5;

pub fn report(customer_id: &str, resource_id: &str, credit_type_id: Option<&str>, form: &Form) -> Result<Vec<String>> {
    let window = Window { customer_id, resource_id, credit_type_id, from: None, to: None };
    let zone = charting::zone_of(customer_id)?;
    let mut lines = Vec::new();
    for source in charting::pools(&window)? {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let of_pool = Window { credit_type_id: Some(&source.credit_type_id), ..window };
        lines.extend(pool(&of_pool, &source, &zone, form)?);
    }
    Ok(lines)
}

fn pool(window: &Window, source: &Source, zone: &Zone, form: &Form) -> Result<Vec<String>> {
    let (customer_id, pool_id) = (window.customer_id, source.pool_id);
    let mut sheet = Sheet::new(form.width, form.charset);
    heading(&mut sheet, window, source, zone);
    figures(&mut sheet, customer_id, pool_id, zone)?;

    sheet.blank();
    usage(&mut sheet, window, zone, form)?;

    let mut grants = reading::grants_now(customer_id, pool_id);
    // What can be used, in the order in which it will be; then what is over, the latest first.
    grants.sort_by(|a, b| {
        let is_over = |grant: &Grant| !grant.status.is_open();
        is_over(a).cmp(&is_over(b)).then_with(|| if is_over(a) { b.id.cmp(&a.id) } else { a.burn_order(b) })
    });
    sheet.blank();
    sheet.heading(&counted("Grants", grants.len(), form.rows));
    grants.truncate(form.rows);
    let columns = [
        Column::Right("grant"),
        Column::Left("status"),
        Column::Cut("category"),
        Column::Right("prio"),
        Column::Right("amount"),
        Column::Right("left"),
        Column::Left("expires"),
    ];
    sheet.table(&columns, &grants.iter().map(|grant| grant_row(grant, zone)).collect::<Vec<_>>());

    let rows = reports::latest_rows(customer_id, pool_id, i64::try_from(form.rows).unwrap_or(i64::MAX));
    sheet.blank();
    sheet.heading(&counted("Ledger, newest first", usize::try_from(source.seq).unwrap_or_default(), form.rows));
    let columns = [
        Column::Right("seq"),
        Column::Left("recorded"),
        Column::Left("type"),
        Column::Right("amount"),
        Column::Right("balance"),
        Column::Cut("what"),
    ];
    sheet.table(&columns, &rows.iter().map(|row| ledger_row(row, zone)).collect::<Vec<_>>());

    sheet.blank();
    sheet.heading("Auto-recharge");
    if let Some(state) = reports::recharge_state(customer_id, pool_id) {
        recharge(&mut sheet, &state, zone);
    }
    Ok(sheet.into_lines())
}

fn heading(sheet: &mut Sheet, window: &Window, source: &Source, zone: &Zone) {
    let now = clock::statement_start();
    let whose = match &source.resource_id {
        Some(resource_id) => format!("{} / {resource_id}", window.customer_id),
        None => format!("{}, global pool", window.customer_id),
    };
    let zone_name = crate::store::customers::time_zone(window.customer_id).unwrap_or_default();
    sheet.ends(&format!("{} of {whose}", source.credit_type_id), &format!("{} {zone_name}", zone.wall_clock(now)));
    let subscription = subscriptions::covering(window.customer_id, window.resource_id, now);
    sheet.line(&match subscription {
        None => "No subscription".to_owned(),
        Some(subscription) => {
            let period = super::plan_pools::period(&subscription, now).ok();
            let period = period.map(|(start, end)| format!(", period {} to {}", zone.date(start), zone.date(end)));
            format!("Plan {}{}", subscription.plan_id, period.unwrap_or_default())
        }
    });
    sheet.blank();
}

fn figures(sheet: &mut Sheet, customer_id: &str, pool_id: i64, zone: &Zone) -> Result<()> {
    let pool = reading::pool_now(customer_id, pool_id).ok_or_else(|| Error::unknown("pool", pool_id))?;
    let figures = pool.figures;
    let overdraft = match pool.overdraft {
        Limit::Finite(amount) => amount.to_string(),
        Limit::Unlimited => "unlimited".to_owned(),
    };
    sheet.figures(&[
        ("balance", figures.balance.to_string()),
        ("held", figures.held.to_string()),
        ("debt", figures.debt.to_string()),
        ("granted", figures.granted.to_string()),
        ("consumed", figures.consumed.to_string()),
        ("expired", figures.expired.to_string()),
        ("voided", figures.voided.to_string()),
        ("overdraft", overdraft),
        ("next expiry", pool.next_expiry.map_or("none".to_owned(), |(_, amount)| amount.to_string())),
    ]);
    if let Some((at, amount)) = pool.next_expiry {
        sheet.line(&format!("{amount} expire at {} unless they are used before", zone.wall_clock(at)));
    }
    Ok(())
}

fn usage(sheet: &mut Sheet, window: &Window, zone: &Zone, form: &Form) -> Result<()> {
    const DAY: Span = Span { months: 0, days: 1, micros: 0 };
    let out_of_range = |_| Error::argument("days", "the time leaves the range of the calendar");
    let now = clock::statement_start();
    let (today, _) = zone.window(DAY, now).map_err(out_of_range)?;
    let from = zone.step(today, Span { days: 1 - form.days, ..Span::default() }, 1).map_err(out_of_range)?;
    // As fine as there is room for.
    let room = i32::try_from(form.width.saturating_sub(AXIS)).unwrap_or(i32::MAX);
    let (bucket, name) = match form.days {
        days if days <= room => (DAY, "day"),
        days if days / 7 + 2 <= room => (Span { days: 7, ..Span::default() }, "week"),
        _ => (Span::MONTH, "month"),
    };
    let window = Window { from: Some(from), ..*window };
    let by_feature = Grouping { feature: true, ..Grouping::default() };
    let chart = charting::chart(&window, Some(bucket), &by_feature, |_| true)?;
    let too_large = || Error::argument("days", "a sum of the usage has too many digits");
    let mut features: BTreeMap<&str, Amount> = BTreeMap::new();
    let (mut bars, mut total, mut events) = (Vec::new(), Amount::ZERO, 0);
    for (start, groups) in chart.bounds.iter().zip(chart.usage.chunks(chart.groups.len().max(1))) {
        let mut sum = Amount::ZERO;
        for (group, usage) in chart.groups.iter().zip(groups) {
            sum = sum.checked_add(usage.credits).ok_or_else(too_large)?;
            events += usage.events;
            let feature = features.entry(group.feature_id.as_deref().unwrap_or("plain credits")).or_default();
            *feature = feature.checked_add(usage.credits).ok_or_else(too_large)?;
        }
        total = total.checked_add(sum).ok_or_else(too_large)?;
        bars.push((zone.date(*start), sum));
    }
    sheet.heading(&format!("Usage by {name} since {}: {total} credits, {events} events", zone.date(from)));
    sheet.bars(&bars);
    let mut features: Vec<(&str, Amount)> = features.into_iter().filter(|(_, credits)| !credits.is_zero()).collect();
    features.sort_by_key(|(_, credits)| std::cmp::Reverse(*credits));
    let others = features.len().saturating_sub(FEATURES);
    let mut named: Vec<String> =
        features.iter().take(FEATURES).map(|(feature, credits)| format!("{feature} {credits}")).collect();
    if others > 0 {
        named.push(format!("{others} more"));
    }
    if !named.is_empty() {
        sheet.line(&named.join(", "));
    }
    Ok(())
}

/// A heading that says how many of how many follow.
fn counted(name: &str, all: usize, most: usize) -> String {
    if all > most { format!("{name} ({most} of {all})") } else { format!("{name} ({all})") }
}

fn grant_row(grant: &Grant, zone: &Zone) -> Vec<String> {
    let taken = [grant.consumed, grant.expired, grant.voided];
    let left = taken.into_iter().try_fold(grant.amount, Amount::checked_sub).unwrap_or_default();
    vec![
        // A renewal that has come by the clock, and is booked by the next call.
        if grant.id > 0 { grant.id.to_string() } else { "due".to_owned() },
        grant.status.as_str().to_owned(),
        format!("{}, {}", grant.category.as_str(), grant.source.as_str()),
        grant.priority.to_string(),
        grant.amount.to_string(),
        left.to_string(),
        if grant.expires_at.is_finite() { zone.wall_clock(grant.expires_at) } else { "never".to_owned() },
    ]
}

fn ledger_row(row: &LedgerLine, zone: &Zone) -> Vec<String> {
    let mut what = Vec::new();
    if let Some(feature_id) = &row.feature_id {
        what.push(match row.value {
            Some(value) => format!("{feature_id} x {value}"),
            None => feature_id.clone(),
        });
    }
    what.extend(row.grant_id.map(|grant_id| format!("grant {grant_id}")));
    what.extend(row.reservation_id.as_ref().map(|reservation_id| format!("hold {reservation_id}")));
    what.extend(row.reason.clone());
    vec![
        row.seq.to_string(),
        zone.wall_clock(row.recorded_at),
        row.entry_type.clone(),
        row.amount.to_string(),
        row.balance_after.to_string(),
        what.join(", "),
    ]
}

fn recharge(sheet: &mut Sheet, state: &RechargeState, zone: &Zone) {
    let at = |at: Instant| zone.wall_clock(at);
    let size = match (state.target_balance, state.recharge_amount) {
        (Some(target), _) => format!("up to {target}"),
        (_, Some(amount)) => format!("by {amount}"),
        _ => String::new(),
    };
    let whose = if state.is_override { "the resource's own policy" } else { "the customer's policy" };
    let policy = format!("below {} {size} ({whose})", state.threshold);
    sheet.line(&match state.state.as_str() {
        "none" => "No policy covers this pool".to_owned(),
        "off" => format!("Off: {policy} is disabled"),
        "breaker" => {
            let since = state.breaker_opened_at.map(at).unwrap_or_default();
            format!("Stopped after failed payments at {since}: {policy}")
        }
        "pending" => format!("{} wait for their payment", state.pending.unwrap_or_default()),
        _ => format!("On: {policy}"),
    });
    if let Some(last) = &state.last {
        let reason = last.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        sheet.line(&format!("Last: {} {} at {}{reason}", last.amount, last.status, at(last.at)));
    }
}
