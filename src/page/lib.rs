//! The page of a customer's credits: one HTML document that needs nothing else. Pure: what is on it comes in as a `Page`.
//!
//! Invariants
//! - Nothing that a customer, an application or an operator has named reaches the document unescaped: text of the
//!   document goes through `escape::html`, all the rest through `escape::json` into a block of data, which the script
//!   reads and only ever shows as text.
//! - No network and no evaluation: the document's own policy (CSP) forbids both, and allows its script and its style by
//!   their hashes alone.
//! - A document has at most `MAX_BYTES`, whatever is known (fit.rs).

mod document;
mod escape;
mod fit;
mod model;
mod wire;
mod words;

pub use fit::{MAX_BYTES, render};
pub use model::{
    CreditType, Feature, Figures, GrantLine, History, HistoryKind, LedgerLine, Page, Policy, Pool, RechargeLine,
    Subscription,
};
pub use words::span_in_words;

#[cfg(test)]
mod tests;
