//! The errors of the contract: one table of kinds, their SQLSTATEs, and the way into PostgreSQL.
//!
//! Rules return `Result<_, Error>`; only the outermost shell of a SQL function raises. Everything that was
//! not written by then never happened, and what was is undone by PostgreSQL with the statement.

use std::ffi::CString;

use credit_pools_domain::Amount;
use pgrx::pg_sys;
use serde_json::{Map, Value, json};

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    InsufficientCredits,
    UnknownEntity,
    NoActiveSubscription,
    IdempotencyConflict,
    InvalidState,
    NoRate,
    LimitExceeded,
    InvalidParameter,
    InsufficientPrivilege,
    SerializationFailure,
}

impl Kind {
    fn sqlstate(self) -> &'static [u8; 5] {
        match self {
            Kind::InsufficientCredits => b"PC001",
            Kind::UnknownEntity => b"PC002",
            Kind::NoActiveSubscription => b"PC003",
            Kind::IdempotencyConflict => b"PC004",
            Kind::InvalidState => b"PC005",
            Kind::NoRate => b"PC006",
            Kind::LimitExceeded => b"PC007",
            Kind::InvalidParameter => b"22023",
            Kind::InsufficientPrivilege => b"42501",
            Kind::SerializationFailure => b"40001",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    detail: Map<String, Value>,
    hint: Option<String>,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error {
    pub fn code(&self) -> String {
        String::from_utf8_lossy(self.kind.sqlstate()).into_owned()
    }

    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind
    }

    pub fn without(mut self, key: &str) -> Error {
        self.detail.remove(key);
        self
    }

    /// A figure of DETAIL.
    pub fn number(&self, key: &str) -> Option<Amount> {
        match self.detail.get(key)? {
            Value::Number(number) => Amount::parse(&number.to_string()).ok(),
            Value::String(text) => Amount::parse(text).ok(),
            _ => None,
        }
    }

    pub fn detail(&self) -> &Map<String, Value> {
        &self.detail
    }

    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), detail: Map::new(), hint: None }
    }

    /// A bad value of an argument; DETAIL names the argument.
    pub fn argument(argument: &str, message: impl Into<String>) -> Error {
        Error::new(Kind::InvalidParameter, message).with("argument", argument)
    }

    pub fn unknown(kind: &str, id: impl Into<Value>) -> Error {
        let id = id.into();
        let shown = id.as_str().map_or_else(|| id.to_string(), |text| format!("\"{text}\""));
        Error::new(Kind::UnknownEntity, format!("{} {shown} does not exist", kind.replace('_', " ")))
            .with("kind", kind)
            .with("id", id)
    }

    pub fn state(message: impl Into<String>) -> Error {
        Error::new(Kind::InvalidState, message)
    }

    /// One figure for DETAIL.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Error {
        self.detail.insert(key.to_owned(), value.into());
        self
    }

    /// An exact number for DETAIL: a JSON number where that is exact for every reader, else its text.
    pub fn with_number(self, key: &str, number: impl std::fmt::Display) -> Error {
        let text = number.to_string();
        let value = match text.parse::<i64>() {
            Ok(whole) if whole.unsigned_abs() < (1 << 53) => json!(whole),
            _ => exact_number(&text),
        };
        self.with(key, value)
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// What to do, where the error itself does not say it better.
    fn default_hint(&self) -> Option<String> {
        let about = self.detail.get("kind").and_then(Value::as_str);
        let hint = match (self.kind, about) {
            (Kind::UnknownEntity, Some("customer" | "resource")) => "provision_subscription and open_pool make it.",
            (Kind::UnknownEntity, Some("plan")) => "Define it with define_plan.",
            (Kind::UnknownEntity, Some("feature")) => "Define it with define_feature.",
            (Kind::UnknownEntity, Some("credit_type")) => "Define it with define_credit_type.",
            (Kind::UnknownEntity, Some("auto_recharge_policy")) => "Set one with set_auto_recharge.",
            (Kind::UnknownEntity, Some("reservation")) => "The view reservations lists the holds of this customer.",
            (Kind::UnknownEntity, Some("usage")) => "The view usage_events lists the usage of this customer.",
            (Kind::UnknownEntity, _) => "The views grants, recharges and pools list what this customer has.",
            (Kind::InvalidState, _) => "The views pools, grants, subscriptions and recharges show the state.",
            (Kind::InvalidParameter, _) => {
                "Correct the argument that DETAIL names; \\df+ credit_pools.* tells the rules."
            }
            (Kind::IdempotencyConflict, _) => "Repeat the values of the first time, or take a new key or id.",
            (Kind::SerializationFailure, _) => "Run the transaction again.",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Reports the error to PostgreSQL and leaves through it.
    pub fn raise(mut self) -> ! {
        unsafe extern "C-unwind" {
            fn errstart(elevel: i32, domain: *const std::ffi::c_char) -> bool;
            fn errcode(sqlerrcode: i32) -> i32;
            fn errmsg(fmt: *const std::ffi::c_char, ...) -> i32;
            fn errdetail(fmt: *const std::ffi::c_char, ...) -> i32;
            fn errhint(fmt: *const std::ffi::c_char, ...) -> i32;
            fn errfinish(file: *const std::ffi::c_char, line: i32, function: *const std::ffi::c_char);
        }
        let state = self.kind.sqlstate();
        let code = state.iter().rev().fold(0_i32, |code, &c| (code << 6) | i32::from(c.wrapping_sub(b'0') & 0x3F));
        let hint = self.hint.take().or_else(|| self.default_hint()).map(c_string);
        let message = c_string(self.message);
        let detail = (!self.detail.is_empty()).then(|| c_string(Value::Object(self.detail).to_string()));

        // SAFETY: the calls and their order are those of PostgreSQL's ereport(); "%s" takes one C string
        // each, all of which outlive the call. errfinish at ERROR does not return: it jumps to the guard,
        // which turns the jump into an unwinding that PostgreSQL's error data survives.
        unsafe {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                if errstart(pgrx::PgLogLevel::ERROR as i32, std::ptr::null()) {
                    errcode(code);
                    errmsg(c"%s".as_ptr(), message.as_ptr());
                    if let Some(detail) = &detail {
                        errdetail(c"%s".as_ptr(), detail.as_ptr());
                    }
                    if let Some(hint) = &hint {
                        errhint(c"%s".as_ptr(), hint.as_ptr());
                    }
                    errfinish(c"error.rs".as_ptr(), 0, c"raise".as_ptr());
                }
            });
        }
        unreachable!("errfinish returned at ERROR")
    }
}

/// Texts from PostgreSQL have no zero byte; should one come from elsewhere, the text ends there.
fn c_string(text: String) -> CString {
    CString::new(text).unwrap_or_else(|error| {
        let end = error.nul_position();
        let mut bytes = error.into_vec();
        bytes.truncate(end);
        CString::new(bytes).unwrap_or_default()
    })
}

/// A decimal as a JSON number with all of its digits, or as a text where JSON has no such number.
pub fn exact_number(text: &str) -> Value {
    let number = serde_json::from_str::<serde_json::Number>(text).ok().filter(|number| number.to_string() == text);
    number.map_or_else(|| json!(text), Value::Number)
}
