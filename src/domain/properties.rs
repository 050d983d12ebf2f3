//! Properties of the rules, tried on random inputs.
//!
//! What is expected is computed here in another way than in the code under test, from the contract's
//! words: credits one by one, time tick by tick, decimals as text.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod alert;
mod amount;
mod audit;
mod calendar;
mod event;
mod formula;
mod holds;
mod model;
mod operations;
mod plan_calls;
mod plan_model;
mod plans;
mod recharge;
mod schedule;
mod spending;
mod wallet;

use proptest::test_runner::Config;

/// So many random cases, or `CREDIT_POOLS_PROPERTY_FACTOR` (1) times as many; a failing one is printed, not kept in a file.
fn cases(count: u32) -> Config {
    let factor = std::env::var("CREDIT_POOLS_PROPERTY_FACTOR").map_or(1, |text| text.trim().parse().expect("a factor"));
    Config { cases: count * factor, failure_persistence: None, ..Config::default() }
}
