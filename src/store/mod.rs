//! Every SQL statement of the extension, a file per table family. Turns rows into domain values and back.

pub mod access;
pub mod alerts;
pub mod archive;
pub mod cache;
pub mod catalogue;
pub mod customers;
mod direct;
pub mod events;
pub mod grants;
pub mod in_hand;
pub mod isolate;
pub mod keys;
pub mod ledger;
pub mod limits;
mod numeric;
pub mod page;
pub mod pools;
pub mod recharges;
pub mod reports;
pub mod reservations;
pub mod rollups;
pub mod schedules;
pub mod spi;
pub mod subscriptions;
pub mod transition;
pub mod usages;
pub mod verification;
