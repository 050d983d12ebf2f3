//! What every client test needs: a database of its own, sessions whose results read as text, errors taken
//! apart, a small catalogue, and the invariants that must hold after whatever a test did.

mod catalogue;
mod cluster;
mod database;
mod fault;
mod invariants;
mod session;
mod threads;

pub use catalogue::{TYPE, seed_catalogue};
pub use cluster::Cluster;
pub use database::Database;
pub use fault::Fault;
pub use invariants::{broken_invariants, check_invariants, digest};
pub use session::{Row, Session};
pub use threads::at_once;

use rand::{Rng, SeedableRng, rngs::StdRng};

/// An SQL literal. Control characters and backslashes go through as they are.
pub fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// A generator whose seed is printed, and taken from `CREDIT_POOLS_TEST_SEED` to run the same again.
pub fn seeded(what: &str) -> (u64, StdRng) {
    let seed = match std::env::var("CREDIT_POOLS_TEST_SEED") {
        Ok(given) => given.trim().parse().expect("CREDIT_POOLS_TEST_SEED is a number"),
        Err(_) => rand::rng().random_range(0..1_000_000_000),
    };
    eprintln!("{what}: seed {seed} (run it again with CREDIT_POOLS_TEST_SEED={seed})");
    (seed, StdRng::seed_from_u64(seed))
}

/// An exact decimal as a whole number of 10^-scale. Panics where the text has more decimals than that.
pub fn units(decimal: &str, scale: usize) -> i128 {
    let (sign, digits) = match decimal.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, decimal),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    assert!(fraction.len() <= scale, "{decimal} has more than {scale} decimals");
    let joined = format!("{whole}{fraction:0<scale$}");
    let value: i128 = joined.parse().unwrap_or_else(|_| panic!("{decimal} is not a decimal number"));
    sign * value
}

/// The reverse of [`units`]: without trailing zeros, as the extension prints amounts.
pub fn decimal(units: i128, scale: usize) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}
