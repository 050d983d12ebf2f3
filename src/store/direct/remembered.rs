//! Where this session has found pools, and the first grant of each: hints that spare the way down an index. A place says
//! nothing by itself; whoever reads there checks what it finds (`access::Search::at`).
//!
//! That a grant is still the first of its pool is told by the pool's `grants_revision`, which everything but plain usage
//! changes to a number that was never used before. Usage itself can only close the grant, which its row shows.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Where the versions of a row start: the line pointer that the indexes have.
#[derive(Clone, Copy)]
pub struct Root {
    pub block: u32,
    pub offset: u16,
    /// The shared buffer that had the block.
    pub buffer: i32,
}

/// A pool's name, shortened: two names may be the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name(u64);

impl Name {
    pub fn of(customer_id: &str, scope_id: &str, credit_type_id: &str) -> Name {
        let mut hasher = DefaultHasher::new();
        (customer_id, scope_id, credit_type_id).hash(&mut hasher);
        Name(hasher.finish())
    }
}

#[derive(Clone, Copy)]
pub struct FirstGrant {
    pub revision: i64,
    pub grant_id: i64,
    pub root: Root,
    /// There is no other one to draw from.
    pub only: bool,
}

struct Found {
    pool: Root,
    grant: Option<FirstGrant>,
}

/// Some 3 MB of a session's memory. Whoever uses more pools than that starts anew now and then.
const MOST: usize = 32_768;

thread_local! {
    static KNOWN: RefCell<HashMap<Name, Found>> = RefCell::new(HashMap::new());
}

pub fn pool(name: Name) -> Option<Root> {
    KNOWN.with_borrow(|known| known.get(&name).map(|found| found.pool))
}

/// The first grant of a pool, if it was found when the pool's grants were as they are now.
pub fn first_grant(name: Name, revision: i64) -> Option<FirstGrant> {
    KNOWN.with_borrow(|known| known.get(&name)?.grant.filter(|grant| grant.revision == revision))
}

pub fn remember_pool(name: Name, pool: Root) {
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(name, Found { pool, grant: None });
    });
}

/// Of a pool that is remembered.
pub fn remember_grant(name: Name, grant: FirstGrant) {
    KNOWN.with_borrow_mut(|known| {
        if let Some(found) = known.get_mut(&name) {
            found.grant = Some(grant);
        }
    });
}

/// To be called where the tables may have been written anew.
pub fn clear() {
    KNOWN.with_borrow_mut(HashMap::clear);
}
