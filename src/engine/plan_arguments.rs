//! What a subscription may change of its plan: `overrides` and `quantities`, as they are given.

use credit_pools_domain::{Amount, check_id};
use serde_json::Value;

use super::catalogue::parse_formula;
use crate::error::{Error, Result};
use crate::store::catalogue;

/// The `overrides` argument: {"rates": {feature: credits per unit}, "amounts": {credit type or credit
/// type/entry: credits}}.
#[derive(Default)]
pub struct Overrides {
    pub rates_text: Option<String>,
    pub amounts_text: Option<String>,
}

impl Overrides {
    pub fn read(text: Option<&str>) -> Result<Overrides> {
        let mut overrides = Overrides::default();
        if text.is_none() {
            return Ok(overrides);
        }
        let Some(Value::Object(parts)) = json(text) else {
            return Err(Error::argument("overrides", "overrides is nested too deeply"));
        };
        for (key, part) in parts {
            let part = part.to_string();
            match key.as_str() {
                "rates" => {
                    numbers("overrides", &part, "rate")?;
                    overrides.rates_text = Some(part);
                }
                "amounts" => {
                    numbers("overrides", &part, "credit_type")?;
                    overrides.amounts_text = Some(part);
                }
                _ => {
                    return Err(Error::argument("overrides", format!("overrides has the unknown key \"{key}\""))
                        .with("key", key)
                        .hint("Known keys: rates, amounts."));
                }
            }
        }
        Ok(overrides)
    }
}

/// Checks an object of known ids and non-negative numbers; a rate may also be {"formula": text}.
pub fn numbers(argument: &str, text: &str, kind: &str) -> Result<()> {
    let bad = |key: &str| {
        Error::argument(argument, format!("{argument}: the value of \"{key}\" is no number of 0 or more"))
            .with("key", key)
    };
    let Some(Value::Object(pairs)) = json(Some(text)) else {
        return Err(Error::argument(argument, format!("{argument} must be an object of numbers")));
    };
    for (key, value) in pairs {
        let id = key.split('/').next().unwrap_or_default();
        let known = check_id(&key).is_ok()
            && if kind == "credit_type" {
                catalogue::credit_type(id).is_some()
            } else {
                catalogue::feature_exists(&key)
            };
        if !known {
            return Err(Error::unknown(if kind == "rate" { "feature" } else { kind }, key));
        }
        if let ("rate", Value::Object(parts)) = (kind, &value) {
            let Some((_, Value::String(formula))) = parts.iter().find(|(name, _)| *name == "formula") else {
                return Err(bad(&key));
            };
            if parts.len() > 1 {
                return Err(bad(&key));
            }
            parse_formula(argument, formula)?;
            continue;
        }
        let Value::Number(number) = value else { return Err(bad(&key)) };
        let amount = Amount::parse(&number.to_string()).map_err(|_| bad(&key))?;
        if amount.is_negative() || !amount.within_outside_limit() {
            return Err(bad(&key));
        }
    }
    Ok(())
}

pub fn json(text: Option<&str>) -> Option<Value> {
    text.and_then(|text| serde_json::from_str(text).ok())
}
