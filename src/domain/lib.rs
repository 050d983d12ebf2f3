//! The rules of credit_pools, free of any database.
//!
//! Everything that decides (which grant a usage draws from, what expires when, whether a pool
//! recharges, how a ledger row is sealed) is here, so that every path through the extension decides
//! alike and can be tested in milliseconds. Nothing here knows SQL.

mod alert;
mod amount;
mod audit;
mod calendar;
mod changes;
mod chart;
mod due;
mod event;
mod formula;
mod grant;
mod history;
mod hold;
mod ids;
mod money;
mod price;
mod recharge;
mod reversal;
mod schedule;
mod seal;
mod spending;
mod text;
mod wallet;

pub use alert::{Alerts, Level, Share, Standing};
pub use amount::{Amount, AmountError, Limit, MAX_INTEGER_DIGITS, MAX_SCALE};
pub use audit::{Audit, Finding, StoredEntry, StoredGrant, StoredHold, StoredPool, hex, unhex};
pub use calendar::{CalendarError, Instant, Span, Zone};
pub use chart::{ChartError, MAX_BUCKETS, buckets};
pub use event::{EventError, EventsError, MAX_EVENTS, UsageEvent, parse_events};
pub use formula::{EvalError, Formula, FormulaError, FormulaErrorKind, MAX_FORMULA_CHARS, MAX_FORMULA_DEPTH};
pub use grant::{Category, Grant, Source, Status};
pub use history::BookedRows;
pub use hold::{HeldPart, Hold, HoldStatus};
pub use ids::{IdError, MAX_ID_CHARS, check_id};
pub use money::{currency_is_well_formed, minor_digits};
pub use price::Price;
pub use recharge::{Attempt, Decision, PolicyRules, PoolView, Size, SkipReason, Spending, marks_passed};
pub use reversal::{DrawnPart, PaidDebt};
pub use schedule::{Cadence, EntryTerms, Period, Rollover, Schedule};
pub use seal::{SealedRow, fingerprint, seal};
pub use spending::SpendingLimit;
pub use text::{Charset, Column, Sheet};
pub use wallet::{Drawn, Entry, EntryType, Figures, GrantChange, OnInsufficient, Refusal, Wallet};

#[cfg(test)]
mod properties;
