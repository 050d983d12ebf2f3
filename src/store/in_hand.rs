//! What the calls under way have in hand. A trigger of somebody's own on a table of the extension may call back; what the
//! outer call has read and will write must not be changed behind its back, so the inner call is refused.

use std::cell::{Cell, RefCell};

use crate::error::Error;

/// What a call locks, reads once and writes at its end.
#[derive(Clone, PartialEq, Eq)]
pub enum Thing {
    Pool(i64),
    /// The subscription and the policy of a customer's scope.
    Scope(String, String),
    /// The spending limits of a customer and credit type that many pools share.
    SharedLimits(String, String),
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Each with the depth of the call that has it.
    static IN_HAND: RefCell<Vec<(u32, Thing)>> = const { RefCell::new(Vec::new()) };
}

/// A call under way. Its end, also by an error, gives back what it has in hand.
pub struct Call {
    had: usize,
    outer: u32,
}

impl Call {
    pub fn begin() -> Call {
        let outer = DEPTH.get();
        DEPTH.set(outer + 1);
        Call { had: IN_HAND.with_borrow(Vec::len), outer }
    }

    /// For the extension's own triggers, which are a part of the call that wrote the row.
    pub fn go_on() -> Option<Call> {
        (DEPTH.get() == 0).then(Call::begin)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        DEPTH.set(self.outer);
        IN_HAND.with_borrow_mut(|things| things.truncate(self.had));
    }
}

/// A piece of a long call, which is done with what it had in hand when it ends.
pub struct Piece {
    had: usize,
}

impl Piece {
    pub fn begin() -> Piece {
        Piece { had: IN_HAND.with_borrow(Vec::len) }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        IN_HAND.with_borrow_mut(|things| things.truncate(self.had));
    }
}

/// To be called of what was just locked, before it is read any further. Raises where an outer call has it.
pub fn take(thing: Thing) {
    let depth = DEPTH.get();
    let taken = IN_HAND.with_borrow_mut(|things| {
        let taken = depth > 1 && things.iter().any(|(by, other)| *by < depth && *other == thing);
        if !taken && depth > 0 {
            things.push((depth, thing.clone()));
        }
        taken
    });
    if taken {
        refuse(&thing);
    }
}

fn refuse(thing: &Thing) -> ! {
    let error = match thing {
        Thing::Pool(pool_id) => {
            Error::state("a call on this pool is under way, and what it triggers cannot change the pool")
                .with("pool_id", *pool_id)
        }
        Thing::Scope(customer_id, resource_id) => {
            Error::state("a call on this scope is under way, and what it triggers cannot change the scope")
                .with("customer_id", customer_id.as_str())
                .with("resource_id", Some(resource_id.as_str()).filter(|id| !id.is_empty()))
        }
        Thing::SharedLimits(customer_id, credit_type_id) => Error::state(
            "a call under the customer's spending limit is under way, and what it triggers cannot use credits under the same limit",
        )
        .with("customer_id", customer_id.as_str())
        .with("credit_type_id", credit_type_id.as_str()),
    };
    error
        .hint("Call from a constraint trigger that is DEFERRABLE INITIALLY DEFERRED: it runs when the call is over.")
        .raise()
}
