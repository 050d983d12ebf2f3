//! What a session keeps of the catalogue and of subscriptions, so that a usage does not read them anew.
//!
//! Rates and credit types: a change of their tables sends an invalidation with its commit (the triggers
//! rate_changed and credit_type_changed), which every session takes in before it looks here. What this
//! transaction changed itself is taken in at once, and again when it rolls back.
//!
//! Subscriptions: every change takes a new revision and writes it to the scope's pools. Who uses a
//! remembered one compares its revision with the locked pool's.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use credit_pools_domain::Instant;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::catalogue::{self, CreditType, RateVersion};
use super::subscriptions::{self, Terms};
use super::{direct, spi};

/// More entries than this are forgotten all at once: bounds the memory of a session.
const MOST_RATES: usize = 10_000;
const MOST_SCOPES: usize = 20_000;

/// Changes with every change of the catalogue.
static GENERATION: AtomicU64 = AtomicU64::new(0);
static RATE_TABLE: AtomicU32 = AtomicU32::new(0);
static CREDIT_TYPE_TABLE: AtomicU32 = AtomicU32::new(0);

#[derive(Default)]
struct Cache {
    generation: u64,
    rates: HashMap<(String, String), Rc<[RateVersion]>>,
    credit_types: HashMap<String, CreditType>,
    scopes: HashMap<(String, String), Rc<Terms>>,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// To be called once when the library is loaded.
pub fn register() {
    // SAFETY: registers a callback of the right type, for the life of the process.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::from(0)) };
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    let relation = relation.to_u32();
    direct::forget(relation);
    let watched = [&RATE_TABLE, &CREDIT_TYPE_TABLE];
    if relation == 0 || watched.iter().any(|table| table.load(Ordering::Relaxed) == relation) {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
}

/// Tells every session, at commit, that a table of the catalogue has changed.
pub fn announce_change(table: pg_sys::Oid) {
    // SAFETY: the oid is of a relation that this transaction has open.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(table) };
}

/// Takes in what other sessions have announced, and forgets what is no longer so: all of it, since the change
/// may have been another extension of the same name, with its own revisions.
pub fn refresh() {
    watch_tables();
    // SAFETY: may be called anywhere in a transaction; it runs callbacks such as ours.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    let generation = GENERATION.load(Ordering::Relaxed);
    CACHE.with_borrow_mut(|cache| {
        if cache.generation != generation {
            *cache = Cache { generation, ..Cache::default() };
        }
    });
}

/// Remembers which tables to watch. DROP EXTENSION invalidates them, and CREATE EXTENSION makes new ones.
fn watch_tables() {
    static SEEN: AtomicU64 = AtomicU64::new(u64::MAX);
    let generation = GENERATION.load(Ordering::Relaxed);
    if SEEN.swap(generation, Ordering::Relaxed) == generation {
        return;
    }
    for (table, name) in [(&RATE_TABLE, c"rate"), (&CREDIT_TYPE_TABLE, c"credit_type")] {
        // SAFETY: looks names up in the system catalogue; 0 where they are missing.
        let oid = unsafe {
            let schema = pg_sys::get_namespace_oid(c"credit_pools".as_ptr(), true);
            pg_sys::get_relname_relid(name.as_ptr(), schema)
        };
        table.store(oid.to_u32(), Ordering::Relaxed);
    }
}

pub fn credit_type(credit_type_id: &str) -> Option<CreditType> {
    if let Some(known) = CACHE.with_borrow(|cache| cache.credit_types.get(credit_type_id).cloned()) {
        return Some(known);
    }
    let found = catalogue::credit_type(credit_type_id)?;
    if spi::sees_the_past() {
        return Some(found);
    }
    CACHE.with_borrow_mut(|cache| cache.credit_types.insert(credit_type_id.to_owned(), found.clone()));
    Some(found)
}

/// The version of a rate in force at an instant: the plan's, else the one for every plan.
pub fn rate_at(feature_id: &str, plan_id: &str, at: Instant) -> Option<RateVersion> {
    let in_force =
        |plan_id: &str| rates(feature_id, plan_id).iter().rev().find(|version| version.effective_at <= at).cloned();
    in_force(plan_id).or_else(|| in_force(""))
}

fn rates(feature_id: &str, plan_id: &str) -> Rc<[RateVersion]> {
    let key = (feature_id.to_owned(), plan_id.to_owned());
    if let Some(known) = CACHE.with_borrow(|cache| cache.rates.get(&key).cloned()) {
        return known;
    }
    let found: Rc<[RateVersion]> = catalogue::rate_versions(feature_id, plan_id).into();
    // An old snapshot may have shown what has been announced as changed already: not to be remembered.
    if spi::sees_the_past() {
        return found;
    }
    CACHE.with_borrow_mut(|cache| {
        if cache.rates.len() >= MOST_RATES {
            cache.rates.clear();
        }
        cache.rates.insert(key, Rc::clone(&found));
    });
    found
}

/// The subscription of a scope as this session knows it, or reads it now.
pub fn scope(customer_id: &str, resource_id: &str) -> Option<Rc<Terms>> {
    let key = (customer_id.to_owned(), resource_id.to_owned());
    match CACHE.with_borrow(|cache| cache.scopes.get(&key).cloned()) {
        Some(known) => Some(known),
        None => read_scope(customer_id, resource_id),
    }
}

/// Reads the subscriptions of scopes (customer, resource) that this session does not know yet, all at once.
pub fn read_scopes<'a>(scopes: impl Iterator<Item = (&'a str, &'a str)>) {
    let unknown: HashSet<(&str, &str)> = CACHE.with_borrow(|cache| {
        let known = |(customer, resource): &(&str, &str)| {
            cache.scopes.contains_key(&((*customer).to_owned(), (*resource).to_owned()))
        };
        scopes.filter(|scope| !known(scope)).collect()
    });
    let unknown: Vec<(&str, &str)> = unknown.into_iter().collect();
    let found = subscriptions::of_scopes(&unknown);
    CACHE.with_borrow_mut(|cache| {
        if cache.scopes.len() + found.len() > MOST_SCOPES {
            cache.scopes.clear();
        }
        for (customer_id, subscription) in found {
            let key = (customer_id, subscription.resource_id.clone());
            cache.scopes.insert(key, Rc::new(subscription.into()));
        }
    });
}

/// The subscription that a scope had at an instant, for usage that is reported late.
pub fn scope_at(customer_id: &str, resource_id: &str, at: Instant) -> Option<Rc<Terms>> {
    subscriptions::covering(customer_id, resource_id, at).map(|found| Rc::new(found.into()))
}

/// The subscription of a scope as it is now.
pub fn read_scope(customer_id: &str, resource_id: &str) -> Option<Rc<Terms>> {
    let key = (customer_id.to_owned(), resource_id.to_owned());
    let found = subscriptions::terms_of_scope(customer_id, resource_id).map(Rc::new);
    CACHE.with_borrow_mut(|cache| {
        if cache.scopes.len() >= MOST_SCOPES {
            cache.scopes.clear();
        }
        match &found {
            Some(scope) => cache.scopes.insert(key, Rc::clone(scope)),
            None => cache.scopes.remove(&key),
        };
    });
    found
}
