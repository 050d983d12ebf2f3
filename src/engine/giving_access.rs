//! Access of roles by level. The privileges themselves are PostgreSQL's; the table says what was given, so that it can be
//! seen, taken back and, after a restore, given again.

use crate::clock;
use crate::error::{Error, Result};
use crate::store::access;

const LEVELS: [&str; 5] = ["admin", "app", "meter", "reader", "tenant"];

/// A role and what it may do; with a customer, what it may see.
pub struct Access<'a> {
    pub role_name: &'a str,
    /// `None`: whichever, where it is taken back.
    pub level: Option<&'a str>,
    pub customer_id: Option<&'a str>,
    pub resource_id: Option<&'a str>,
}

impl Access<'_> {
    fn check(&self) -> Result<()> {
        if !access::role_exists(self.role_name) {
            return Err(Error::unknown("role", self.role_name).hint("Make it with CREATE ROLE."));
        }
        if let Some(level) = self.level.filter(|level| !LEVELS.contains(level)) {
            let message = format!("level must be one of {}", LEVELS.join(", "));
            return Err(Error::argument("level", message).with("level", level));
        }
        if self.resource_id.is_some() && self.customer_id.is_none() {
            return Err(Error::argument("customer_id", "a resource is one of a customer: customer_id is required"));
        }
        if self.customer_id.is_some() && self.level != Some("tenant") {
            return Err(Error::argument("customer_id", "customer_id is for the level tenant only"));
        }
        Ok(())
    }
}

/// `false`: the role had it. Its privileges are given again all the same.
pub fn grant(given: &Access) -> Result<bool> {
    given.check()?;
    let level = given.level.unwrap_or_default();
    if level == "tenant" && given.customer_id.is_none() {
        return Err(Error::argument("customer_id", "a tenant is one of a customer: customer_id is required"));
    }
    access::lock();
    access::forget_others(given.role_name);
    // A tenant that may do more would see more than its own.
    let mut others = access::levels_of(given.role_name).into_iter();
    let other = others.find(|other| (other == "tenant") != (level == "tenant"));
    if let Some(other) = other {
        return Err(Error::state(format!("role \"{}\" has the level {other}", given.role_name))
            .with("level", other)
            .hint("A tenant has no other level. Revoke that with revoke_access first, or take another role."));
    }
    let (customer_id, resource_id) = (given.customer_id.unwrap_or_default(), given.resource_id.unwrap_or_default());
    let changed = access::insert(given.role_name, level, customer_id, resource_id, clock::now());
    access::apply(given.role_name, false);
    Ok(changed)
}

/// How many rows of access the role had.
pub fn revoke(taken: &Access) -> Result<i64> {
    taken.check()?;
    access::lock();
    access::forget_others(taken.role_name);
    let revoked = access::delete(taken.role_name, taken.level, taken.customer_id, taken.resource_id);
    access::apply(taken.role_name, true);
    Ok(revoked)
}
