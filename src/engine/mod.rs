//! The ways through the house: each call of the contract from checked arguments to what it returns.
//!
//! A call locks its pool, carries out what is due, asks the rules (`credit_pools_domain`), writes through
//! the store, and shapes nothing: that is the api's part.

pub mod administration;
pub mod alerting;
pub mod archiving;
pub mod batching;
pub mod catalogue;
pub mod charting;
pub mod checking;
pub mod explaining;
pub mod giving_access;
pub mod granting;
pub mod holding;
pub mod lifecycle;
pub mod limiting;
pub mod looking_again;
pub mod maintenance;
pub mod metering;
pub mod opening;
pub mod outbox;
pub mod payments;
pub mod plan_arguments;
pub mod plan_pools;
pub mod policies;
pub mod pool;
pub mod pricing;
pub mod provisioning;
pub mod reading;
pub mod recharging;
pub mod replay;
pub mod reporting;
pub mod reversing;
pub mod rolling_up;
pub mod showing;
pub mod signals;
pub mod totals;
pub mod transferring;
pub mod usage;
pub mod verifying;
