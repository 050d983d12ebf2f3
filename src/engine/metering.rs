//! Tables that charge by themselves: each row that is inserted is a usage, in the same transaction.

use credit_pools_domain::{Amount, AmountError, OnInsufficient, check_id, fingerprint};
use pgrx::PgRelation;
use pgrx::prelude::*;

use super::batching::{self, Event};
use super::usage::{self, Behavior, Key, Request, What};
use crate::error::{Error, Result};
use crate::store::catalogue;
use crate::store::isolate::in_scratch_memory;
use crate::store::transition::{self, Column};

/// PostgreSQL cuts longer names.
const LONGEST_NAME: usize = 63;

/// What of a table is metered, and where its rows say so. Columns by name; an empty name is none.
pub struct Metering<'a> {
    pub feature_id: &'a str,
    pub customer_column: &'a str,
    pub resource_column: &'a str,
    pub value_column: &'a str,
    pub key_column: &'a str,
}

struct Columns {
    customer: Column,
    resource: Option<Column>,
    value: Option<Column>,
    key: Option<Column>,
}

/// The name of the trigger that meters a feature.
pub fn trigger_name(feature_id: &str) -> String {
    let name = format!("credit_pools_meter_{feature_id}");
    if name.len() <= LONGEST_NAME {
        return name;
    }
    format!("credit_pools_meter_{:016x}", fingerprint(&[Some(feature_id)]).cast_unsigned())
}

/// Checks that a table can be metered so.
pub fn check(table: &PgRelation, metering: &Metering) -> Result<()> {
    if !(table.is_table() || table.is_partitioned_table()) {
        return Err(Error::argument("table", format!("\"{}\" is not a table", table.name())));
    }
    if table.namespace() == "credit_pools" {
        return Err(Error::argument("table", "a table of credit_pools cannot be metered"));
    }
    if !catalogue::feature_exists(metering.feature_id) {
        return Err(Error::unknown("feature", metering.feature_id));
    }
    columns(table, metering).map(|_| ())
}

fn columns(table: &PgRelation, metering: &Metering) -> Result<Columns> {
    let find = |argument: &str, name: &str, fits: fn(Column) -> bool, kinds: &str| -> Result<Option<Column>> {
        if name.is_empty() {
            return Ok(None);
        }
        let wrong = |text: String| Error::argument(argument, text).with("column", name).with("table", table.name());
        let missing = || wrong(format!("table \"{}\" has no column \"{name}\"", table.name()));
        let column = transition::column(table, name).ok_or_else(missing)?;
        if !fits(column) {
            let kind = column.type_name();
            return Err(wrong(format!("column \"{name}\" is of type {kind}, not {kinds}")).with("type", kind));
        }
        Ok(Some(column))
    };
    let (text, number) = ("a text, uuid, integer or numeric type", "an integer or numeric type");
    let customer = find("customer_column", metering.customer_column, Column::is_text, text)?;
    Ok(Columns {
        customer: customer.ok_or_else(|| Error::argument("customer_column", "customer_column is required"))?,
        resource: find("resource_column", metering.resource_column, Column::is_text, text)?,
        value: find("value_column", metering.value_column, Column::is_number, number)?,
        key: find("key_column", metering.key_column, Column::is_text, text)?,
    })
}

/// A row as the statement inserted it.
struct Row {
    /// Its place among the inserted rows, from 0.
    index: usize,
    customer_id: String,
    resource_id: String,
    value: Amount,
    key: Option<String>,
}

/// Charges the rows that a statement has inserted; one that cannot be paid fails the statement.
pub fn charge(trigger: &PgTrigger, table: &PgRelation, metering: &Metering) -> Result<()> {
    let columns = columns(table, metering)?;
    let (mut rows, mut bad, mut index) = (Vec::new(), None, 0);
    let found = in_scratch_memory(|| {
        transition::each_inserted(trigger, |inserted| {
            match read(inserted, &columns, metering, index) {
                Ok(row) => rows.extend(row),
                Err(error) => bad = bad.take().or(Some((index, error))),
            }
            index += 1;
        })
    });
    if !found {
        return Err(Error::state("charge_inserted is for triggers that meter_table makes"));
    }
    let of_row = |error: Error, index: usize| error.with("row", index).with("table", table.name());
    let events: Vec<Event> = rows.iter().map(|row| event(row, metering)).collect();
    let charged = if events.is_empty() { Ok(Vec::new()) } else { batching::report_all(&events, true) };
    match (charged, bad) {
        // As the rows come: the first that is wrong is told.
        (Err(error), bad) => {
            let at = error.number("index").and_then(|at| at.to_string().parse::<usize>().ok());
            let row = at.and_then(|at| rows.get(at)).map_or(0, |row| row.index);
            match bad {
                Some((index, error)) if index < row => Err(of_row(error, index)),
                _ => Err(of_row(error.without("index"), row)),
            }
        }
        (Ok(_), Some((index, error))) => Err(of_row(error, index)),
        (Ok(_), None) => Ok(()),
    }
}

/// What a row says, or nothing where it says 0.
fn read(row: &transition::InsertedRow, columns: &Columns, metering: &Metering, index: usize) -> Result<Option<Row>> {
    let wrong = |column: &str, what: &str| Error::argument(column, format!("{column} {what}")).with("column", column);
    let value = match columns.value {
        None => Amount::ONE,
        Some(column) => {
            let name = metering.value_column;
            let value = row.number(column).ok_or_else(|| wrong(name, "is NULL"))?;
            value.map_err(|error| match error {
                AmountError::TooManyDecimals => wrong(name, "has more than 18 decimals"),
                AmountError::NotFinite => wrong(name, "must be a finite number"),
                _ => wrong(name, "has more than 18 digits before the decimal point"),
            })?
        }
    };
    if value.is_negative() || !value.within_outside_limit() {
        return Err(wrong(metering.value_column, "must be zero or more, with at most 18 digits before the point"));
    }
    let id = |column: Column, name: &str| -> Result<Option<String>> {
        let Some(text) = row.text(column) else { return Ok(None) };
        match check_id(&text) {
            Ok(()) => Ok(Some(text)),
            Err(_) => Err(wrong(name, "must be 1 to 255 characters without control characters")),
        }
    };
    let customer_id = id(columns.customer, metering.customer_column)?;
    let customer_id = customer_id.ok_or_else(|| wrong(metering.customer_column, "is NULL"))?;
    let resource_id = columns.resource.map(|column| id(column, metering.resource_column)).transpose()?.flatten();
    let key = columns.key.map(|column| id(column, metering.key_column)).transpose()?.flatten();
    let resource_id = resource_id.unwrap_or_default();
    Ok(value.is_positive().then_some(Row { index, customer_id, resource_id, value, key }))
}

fn event<'r>(row: &'r Row, metering: &Metering<'r>) -> Event<'r> {
    let key = row.key.as_deref().map(|key| {
        let resource = Some(row.resource_id.as_str()).filter(|id| !id.is_empty());
        let value = row.value.to_string();
        let payload = usage::payload(resource, Some(metering.feature_id), Some(&value), None, None, None, None, None);
        Key { key, payload }
    });
    Event {
        customer_id: &row.customer_id,
        key,
        request: Ok(Request {
            customer_id: &row.customer_id,
            resource_id: &row.resource_id,
            what: What::Feature { feature_id: metering.feature_id, value: row.value },
            occurred_at: None,
            on_insufficient: OnInsufficient::Reject,
            behavior: Behavior::Delta,
            dimensions: None,
            metadata: None,
        }),
    }
}
