//! Checked arguments: NULL, empty, too long, not finite, out of range. Each error names the argument.

use std::ffi::CStr;

use credit_pools_domain::{
    Amount, AmountError, IdError, Instant, Limit, OnInsufficient, Span, check_id, currency_is_well_formed,
};
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::nullable::Nullable;
use pgrx::pgrx_sql_entity_graph::metadata::{ArgumentError, Returns, ReturnsError, SqlMapping, SqlTranslatable};
use pgrx::prelude::*;
use pgrx::{FromDatum, direct_function_call, pg_sys};

use crate::engine::replay::Payload;
use crate::engine::usage::Behavior;
use crate::error::{Error, Result};
use crate::store::spi;

/// A jsonb argument as PostgreSQL prints it: no number in it loses a digit, as it would in a JSON library.
pub struct JsonText(String);

impl FromDatum for JsonText {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<JsonText> {
        if is_null {
            return None;
        }
        // SAFETY: the function is declared with jsonb, so the datum is one; jsonb_out returns a C string.
        let text = unsafe { direct_function_call::<&CStr>(pg_sys::jsonb_out, &[Some(datum)]) }?;
        Some(JsonText(text.to_string_lossy().into_owned()))
    }
}

// SAFETY: unboxes through FromDatum, as pgrx does for its own varlena types.
unsafe impl<'fcx> ArgAbi<'fcx> for JsonText {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the datum is of the declared type. Only called for non-NULL arguments.
        unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or_else(|| JsonText(String::new()))
    }

    unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
        // SAFETY: as above; NULL becomes None.
        unsafe { arg.unbox_arg_using_from_datum().into() }
    }
}

// SAFETY: names the SQL type that the datum has.
unsafe impl SqlTranslatable for JsonText {
    fn argument_sql() -> std::result::Result<SqlMapping, ArgumentError> {
        Ok(SqlMapping::literal("jsonb"))
    }

    fn return_sql() -> std::result::Result<Returns, ReturnsError> {
        Ok(Returns::One(SqlMapping::literal("jsonb")))
    }
}

impl JsonText {
    pub fn text(&self) -> &str {
        &self.0
    }
}

pub fn json(value: &Option<JsonText>) -> Option<&str> {
    value.as_ref().map(JsonText::text)
}

pub fn object<'a>(argument: &str, value: &'a Option<JsonText>) -> Result<Option<&'a str>> {
    match json(value) {
        Some(text) if !text.starts_with('{') => {
            Err(Error::argument(argument, format!("{argument} must be a JSON object")))
        }
        text => Ok(text),
    }
}

pub fn required<T>(argument: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::argument(argument, format!("{argument} is required")))
}

pub fn id<'a>(argument: &str, value: Option<&'a str>) -> Result<&'a str> {
    let value = required(argument, value)?;
    check_id(value).map(|()| value).map_err(|error| {
        Error::argument(
            argument,
            match error {
                IdError::Empty => format!("{argument} is empty"),
                IdError::TooLong => format!("{argument} has more than 255 characters"),
                IdError::ControlCharacter => format!("{argument} has a control character"),
            },
        )
    })
}

pub fn optional_id<'a>(argument: &str, value: Option<&'a str>) -> Result<Option<&'a str>> {
    value.map(|value| id(argument, Some(value))).transpose()
}

/// A resource; NULL is the customer's global scope, "" inside.
pub fn resource(value: Option<&str>) -> Result<&str> {
    Ok(optional_id("resource_id", value)?.unwrap_or_default())
}

/// A text that people read: any, within reason.
pub fn note<'a>(argument: &str, value: Option<&'a str>) -> Result<Option<&'a str>> {
    match value {
        Some(text) if text.chars().count() > 10_000 => {
            Err(Error::argument(argument, format!("{argument} has more than 10000 characters")))
        }
        text => Ok(text),
    }
}

fn bad_amount(argument: &str, error: AmountError) -> Error {
    Error::argument(
        argument,
        match error {
            AmountError::NotFinite => format!("{argument} must be a finite number"),
            AmountError::TooLarge => format!("{argument} has more than 18 digits before the decimal point"),
            AmountError::TooManyDecimals => format!("{argument} has more than 18 decimals"),
            AmountError::Malformed => format!("{argument} is no number"),
        },
    )
}

pub fn any_amount(argument: &str, value: &AnyNumeric) -> Result<Amount> {
    let amount = spi::amount(value).map_err(|error| bad_amount(argument, error))?;
    if amount.within_outside_limit() { Ok(amount) } else { Err(bad_amount(argument, AmountError::TooLarge)) }
}

pub fn positive(argument: &str, value: &Option<AnyNumeric>) -> Result<Amount> {
    positive_amount(argument, any_amount(argument, required(argument, value.as_ref())?)?)
}

pub fn positive_amount(argument: &str, amount: Amount) -> Result<Amount> {
    if amount.is_positive() {
        Ok(amount)
    } else {
        Err(Error::argument(argument, format!("{argument} must be above zero")))
    }
}

pub fn optional_positive(argument: &str, value: &Option<AnyNumeric>) -> Result<Option<Amount>> {
    value.is_some().then(|| positive(argument, value)).transpose()
}

pub fn optional_not_negative(argument: &str, value: &Option<AnyNumeric>) -> Result<Option<Amount>> {
    let Some(value) = value else { return Ok(None) };
    not_negative_amount(argument, any_amount(argument, value)?).map(Some)
}

pub fn not_negative_amount(argument: &str, amount: Amount) -> Result<Amount> {
    if amount.is_negative() {
        return Err(Error::argument(argument, format!("{argument} must not be negative")));
    }
    Ok(amount)
}

/// A limit: zero or more, or Infinity.
pub fn optional_limit(argument: &str, value: &Option<AnyNumeric>) -> Result<Option<Limit>> {
    match value {
        Some(number) if number.to_string().eq_ignore_ascii_case("infinity") => Ok(Some(Limit::Unlimited)),
        _ => Ok(optional_not_negative(argument, value)?.map(Limit::Finite)),
    }
}

pub fn priority(value: Option<i32>) -> Result<Option<i16>> {
    value
        .map(|priority| {
            i16::try_from(priority)
                .ok()
                .filter(|p| (0..=100).contains(p))
                .ok_or_else(|| Error::argument("priority", "priority must be 0 to 100").with("priority", priority))
        })
        .transpose()
}

pub fn instant(value: Option<TimestampWithTimeZone>) -> Option<Instant> {
    value.map(|at| Instant::from_micros(at.into_inner()))
}

/// Where a call that goes through the pools in order is to go on: behind a customer's pool.
pub fn place(customer_id: Option<&str>, pool_id: Option<i64>) -> Result<Option<(String, i64)>> {
    match (optional_id("after_customer_id", customer_id)?, pool_id) {
        (Some(customer_id), Some(pool_id)) => Ok(Some((customer_id.to_owned(), pool_id))),
        (None, None) => Ok(None),
        (None, _) => Err(Error::argument("after_customer_id", "after_pool_id needs after_customer_id")),
        (_, None) => Err(Error::argument("after_pool_id", "after_customer_id needs after_pool_id")),
    }
}

/// An instant that counts: not an infinity.
pub fn finite_instant(argument: &str, value: Option<TimestampWithTimeZone>) -> Result<Option<Instant>> {
    match instant(value) {
        Some(at) if !at.is_finite() => Err(Error::argument(argument, format!("{argument} must be a finite instant"))),
        at => Ok(at),
    }
}

pub fn positive_span(argument: &str, value: Option<Interval>) -> Result<Option<Span>> {
    let Some(interval) = value else { return Ok(None) };
    spi::span(interval)
        .check_positive()
        .map(Some)
        .map_err(|_| Error::argument(argument, format!("{argument} must be a positive interval, without mixed signs")))
}

pub fn on_insufficient(value: Option<&str>) -> Result<OnInsufficient> {
    match value.unwrap_or("reject") {
        "reject" => Ok(OnInsufficient::Reject),
        "cap" => Ok(OnInsufficient::Cap),
        other => {
            Err(Error::argument("on_insufficient", "on_insufficient must be reject or cap")
                .with("on_insufficient", other))
        }
    }
}

pub fn behavior(value: Option<&str>) -> Result<Behavior> {
    match value.unwrap_or("delta") {
        "delta" => Ok(Behavior::Delta),
        "set" => Ok(Behavior::Set),
        other => {
            Err(Error::argument("update_behavior", "update_behavior must be delta or set")
                .with("update_behavior", other))
        }
    }
}

/// The value of a usage: above zero, but that a new total may be zero.
pub fn usage_value(behavior: Behavior, value: &Option<AnyNumeric>) -> Result<Amount> {
    match behavior {
        Behavior::Delta => positive("value", value),
        Behavior::Set => {
            required("value", value.as_ref())?;
            optional_not_negative("value", value).map(Option::unwrap_or_default)
        }
    }
}

/// A price and its currency belong together.
pub fn price(amount: Option<Amount>, currency: Option<&str>) -> Result<Option<&str>> {
    match (amount, currency) {
        (_, Some(code)) if !currency_is_well_formed(code) => {
            Err(Error::argument("price_currency", "price_currency must be an ISO 4217 code, such as EUR")
                .with("price_currency", code))
        }
        (Some(_), None) => Err(Error::argument("price_currency", "a price needs its price_currency")),
        (_, code) => Ok(code),
    }
}

/// The shape of an idempotency key.
pub fn key(value: Option<&str>) -> Result<Option<&str>> {
    optional_id("idempotency_key", value)
}

/// A number by its value, not by how it was written.
pub fn number_text(value: &Option<AnyNumeric>) -> Option<String> {
    value.as_ref().map(|number| spi::amount(number).map_or_else(|_| number.to_string(), |amount| amount.to_string()))
}

/// Arguments as a payload sees them, before any check: a number by its value, not by how it was written.
pub trait Described {
    fn number(self, value: &Option<AnyNumeric>) -> Payload;
    fn instant(self, value: Option<TimestampWithTimeZone>) -> Payload;
}

impl Described for Payload {
    fn number(self, value: &Option<AnyNumeric>) -> Payload {
        self.add(number_text(value))
    }

    fn instant(self, value: Option<TimestampWithTimeZone>) -> Payload {
        self.add(value.map(TimestampWithTimeZone::into_inner))
    }
}
