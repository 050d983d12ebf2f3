use serde_json::Value;
use std::fmt;

/// A failed statement, taken apart.
#[derive(Clone, Debug)]
pub struct Fault {
    pub sql: String,
    /// SQLSTATE; `closed` where the connection broke without one.
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Fault {
    pub fn new(sql: &str, error: &postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => Fault {
                sql: sql.to_owned(),
                code: db.code().code().to_owned(),
                message: db.message().to_owned(),
                detail: db.detail().map(str::to_owned),
                hint: db.hint().map(str::to_owned),
            },
            None => Fault {
                sql: sql.to_owned(),
                code: "closed".to_owned(),
                message: format!("{error} ({error:?})"),
                detail: None,
                hint: None,
            },
        }
    }

    /// DETAIL as the JSON object that the contract promises, or why it is none.
    pub fn figures(&self) -> Result<serde_json::Map<String, Value>, String> {
        let detail = self.detail.as_deref().ok_or("no DETAIL")?;
        match serde_json::from_str(detail) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Err(format!("DETAIL is JSON but no object: {detail}")),
            Err(error) => Err(format!("DETAIL is no JSON ({error}): {detail}")),
        }
    }

    /// A figure of DETAIL as text, be it written as a number or as a string.
    pub fn figure(&self, key: &str) -> Option<String> {
        match self.figures().ok()?.get(key)? {
            Value::String(value) => Some(value.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Never right, whatever the input was: an internal error, a panic, a lost connection.
    pub fn is_crash(&self) -> bool {
        self.code == "closed"
            || self.code.starts_with("XX")
            || self.code.starts_with("08")
            || self.code.starts_with("57P")
            || self.message.contains("panicked")
    }

    /// One of the contract's own codes, section 8.
    pub fn is_contract_code(&self) -> bool {
        matches!(self.code.as_str(), "PC001" | "PC002" | "PC003" | "PC004" | "PC005" | "PC006" | "PC007" | "22023")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} {}\n  DETAIL: {}\n  HINT: {}\n  from: {}",
            self.code,
            self.message,
            self.detail.as_deref().unwrap_or("-"),
            self.hint.as_deref().unwrap_or("-"),
            self.sql
        )
    }
}
