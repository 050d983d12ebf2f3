//! Who calls, what that role may see, and the change to the owner's rights for reading it.
//!
//! Functions that only read run with the caller's rights: inside a SECURITY DEFINER function nobody could tell who calls.
//! They ask here whose rows the caller may see and then read as the owner. The privileges themselves say who is who
//! (sql/schema/68_access.sql): EXECUTE on reads_all_customers() is the right to see every row, EXECUTE on
//! reads_own_customers() that to see what role_access has for the role.
//!
//! Invariant: the user is changed back before anything else runs, also where the work unwinds; where PostgreSQL jumps, the
//! end of the transaction or subtransaction does it.

use std::ffi::CStr;

use credit_pools_domain::Instant;
use pgrx::pg_sys;

use super::spi::{self, Arg, Row, Statement};

const ALL: &CStr = c"reads_all_customers";
const OWN: &CStr = c"reads_own_customers";

/// What a role may see.
pub enum Reach {
    All,
    Own(Vec<Scope>),
}

/// A customer, or (`resource_id`) one of its resources.
pub struct Scope {
    pub customer_id: String,
    pub resource_id: Option<String>,
}

impl Reach {
    /// Whether the role sees this scope; "" is the global one.
    pub fn covers(&self, customer_id: &str, resource_id: &str) -> bool {
        self.any(|scope| {
            scope.customer_id == customer_id && scope.resource_id.as_deref().is_none_or(|own| own == resource_id)
        })
    }

    /// Whether it sees all of the customer.
    pub fn covers_customer(&self, customer_id: &str) -> bool {
        self.any(|scope| scope.customer_id == customer_id && scope.resource_id.is_none())
    }

    /// Whether it sees anything of the customer.
    pub fn touches(&self, customer_id: &str) -> bool {
        self.any(|scope| scope.customer_id == customer_id)
    }

    /// The resources of the customer that the role sees; `None` where it sees all of the customer.
    pub fn resources(&self, customer_id: &str) -> Option<Vec<String>> {
        let Reach::Own(scopes) = self else { return None };
        if self.covers_customer(customer_id) {
            return None;
        }
        let own = scopes.iter().filter(|scope| scope.customer_id == customer_id);
        Some(own.filter_map(|scope| scope.resource_id.clone()).collect())
    }

    fn any(&self, condition: impl Fn(&Scope) -> bool) -> bool {
        match self {
            Reach::All => true,
            Reach::Own(scopes) => scopes.iter().any(condition),
        }
    }
}

/// What the role that calls may see.
pub fn reach() -> Reach {
    // SAFETY: takes note of what other sessions have revoked; reads a variable of the backend.
    let user = unsafe {
        pg_sys::AcceptInvalidationMessages();
        pg_sys::GetUserId()
    };
    if sees_all(user) { Reach::All } else { Reach::Own(own_scopes(user)) }
}

fn own_scopes(user: pg_sys::Oid) -> Vec<Scope> {
    // A role that has a tenant's role sees what that sees.
    static FIND: Statement = Statement::read(
        "SELECT DISTINCT a.customer_id, a.resource_id FROM credit_pools.role_access a
         JOIN pg_catalog.pg_roles r ON r.oid = a.role_id AND r.rolname = a.role_name
         WHERE a.level = 'tenant' AND pg_catalog.pg_has_role($1::oid, r.oid, 'USAGE')",
    );
    let read = |row: &Row| Scope {
        customer_id: row.text(1).unwrap_or_default(),
        resource_id: row.text(2).filter(|id| !id.is_empty()),
    };
    let mut scopes = as_owner(|| FIND.rows(&[Arg::Int(i64::from(user.to_u32()))], read));
    let whole: Vec<String> =
        scopes.iter().filter(|scope| scope.resource_id.is_none()).map(|scope| scope.customer_id.clone()).collect();
    // Nothing twice.
    scopes.retain(|scope| scope.resource_id.is_none() || !whole.contains(&scope.customer_id));
    scopes
}

/// Runs `body` with the rights of the extension's owner.
pub fn as_owner<T>(body: impl FnOnce() -> T) -> T {
    struct Back {
        user: pg_sys::Oid,
        context: i32,
    }
    impl Drop for Back {
        fn drop(&mut self) {
            // SAFETY: what was there before.
            unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
        }
    }
    let mut back = Back { user: pg_sys::InvalidOid, context: 0 };
    let owner = owner();
    // SAFETY: as for a SECURITY DEFINER function; within, no SET ROLE is allowed.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut back.user, &mut back.context);
        pg_sys::SetUserIdAndSecContext(owner, back.context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32);
    }
    let _back = back;
    body()
}

/// Whoever owns the table of pools.
fn owner() -> pg_sys::Oid {
    // SAFETY: looks into the catalogue's caches; the tuple is released after its owner has been copied.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"credit_pools".as_ptr(), false);
        let table = pg_sys::get_relname_relid(c"pool".as_ptr(), schema);
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, table.into());
        if tuple.is_null() {
            pgrx::error!("credit_pools has no table of pools");
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>()).relowner;
        pg_sys::ReleaseSysCache(tuple);
        owner
    }
}

/// Whether row-level security leaves the role all rows.
fn sees_all(user: pg_sys::Oid) -> bool {
    // SAFETY: looks into the catalogue's caches.
    may_execute(user, ALL) || unsafe { pg_sys::has_bypassrls_privilege(user) }
}

fn may_execute(user: pg_sys::Oid, function: &CStr) -> bool {
    // SAFETY: looks into the catalogue's caches; the name is a C string, which is what the cache compares.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"credit_pools".as_ptr(), true);
        let no_arguments = pg_sys::buildoidvector(std::ptr::null(), 0);
        let function = pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as i32,
            pg_sys::Anum_pg_proc_oid as pg_sys::AttrNumber,
            function.as_ptr().into(),
            no_arguments.into(),
            schema.into(),
            pg_sys::Datum::from(0),
        );
        pg_sys::pfree(no_arguments.cast());
        function != pg_sys::InvalidOid && allowed(function, user)
    }
}

#[cfg(feature = "pg15")]
unsafe fn allowed(function: pg_sys::Oid, user: pg_sys::Oid) -> bool {
    unsafe { pg_sys::pg_proc_aclcheck(function, user, pg_sys::ACL_EXECUTE) == pg_sys::AclResult::ACLCHECK_OK }
}

#[cfg(not(feature = "pg15"))]
unsafe fn allowed(function: pg_sys::Oid, user: pg_sys::Oid) -> bool {
    let class = pg_sys::ProcedureRelationId;
    unsafe {
        pg_sys::object_aclcheck(class, function, user, pg_sys::ACL_EXECUTE as pg_sys::AclMode)
            == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// What the planner may take a call of reads_all_customers() or reads_own_customers() for: false, where a tenant plans the
/// one, or anybody else the other. What a view keeps from a role then costs it nothing, and EXPLAIN tells nothing of it.
/// PostgreSQL plans anew for another role where row-level security is concerned. A call that stays is an error for a role
/// that may not execute it.
///
/// # Safety
/// `request` is the argument of a planner support function.
pub unsafe fn simplified(request: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: the node says itself what it is.
    unsafe {
        if request.is_null() || (*request).type_ != pg_sys::NodeTag::T_SupportRequestSimplify {
            return std::ptr::null_mut();
        }
        let call = (*request.cast::<pg_sys::SupportRequestSimplify>()).fcall;
        let user = pg_sys::GetUserId();
        let name = pg_sys::get_func_name((*call).funcid);
        if name.is_null() {
            return std::ptr::null_mut();
        }
        let is_tenant = may_execute(user, OWN) && !sees_all(user);
        let holds = if CStr::from_ptr(name) == ALL { !is_tenant } else { is_tenant };
        if holds { std::ptr::null_mut() } else { pg_sys::makeBoolConst(false, false) }
    }
}

/// The views whose rows a tenant gets.
const VIEWS: [&str; 15] = [
    "pools",
    "grants",
    "ledger",
    "usage_events",
    "reservations",
    "subscriptions",
    "recharges",
    "auto_recharge_policies",
    "limits",
    "events",
    "balance_alerts",
    "auto_recharge_states",
    "subscription_pools",
    "expiring_credits",
    "customer_overview",
];

/// A view's rows of what the caller may see, given to `take` in pieces. Nothing for a role that sees all: it reads the
/// tables. `false`: there is no such view.
pub fn own_rows(view: &str, mut take: impl FnMut(*mut pg_sys::SPITupleTable, u64)) -> bool {
    const PIECE: std::ffi::c_long = 1_000;
    if !VIEWS.contains(&view) {
        return false;
    }
    let Reach::Own(scopes) = reach() else { return true };
    for scope in scopes {
        let mut sql = format!("SELECT v.* FROM credit_pools.{view} v WHERE v.customer_id = $1");
        if scope.resource_id.is_some() {
            sql.push_str(" AND v.resource_id = $2");
        }
        let args = [Arg::Text(&scope.customer_id), Arg::MaybeText(scope.resource_id.as_deref())];
        as_owner(|| spi::in_pieces(&sql, &args, PIECE, &mut take));
    }
    true
}

pub fn role_exists(role_name: &str) -> bool {
    static FIND: Statement = Statement::new("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1");
    FIND.run(&[Arg::Text(role_name)]) > 0
}

/// One change of privileges at a time: PostgreSQL would fail two that meet at one function.
pub fn lock() {
    static LOCK: Statement = Statement::new("LOCK TABLE credit_pools.role_access IN SHARE ROW EXCLUSIVE MODE");
    LOCK.run(&[]);
}

pub fn levels_of(role_name: &str) -> Vec<String> {
    static FIND: Statement = Statement::new("SELECT DISTINCT level FROM credit_pools.access WHERE role_name = $1");
    FIND.rows(&[Arg::Text(role_name)], |row| row.text(1).unwrap_or_default())
}

/// Removes what another role of the name has left.
pub fn forget_others(role_name: &str) {
    static FORGET: Statement = Statement::new(
        "DELETE FROM credit_pools.role_access a
         WHERE a.role_name = $1
           AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE r.oid = a.role_id AND r.rolname = a.role_name)",
    );
    FORGET.run(&[Arg::Text(role_name)]);
}

/// `false`: it is there.
pub fn insert(role_name: &str, level: &str, customer_id: &str, resource_id: &str, now: Instant) -> bool {
    static INSERT: Statement = Statement::new(
        "INSERT INTO credit_pools.role_access (role_name, role_id, level, customer_id, resource_id, granted_at)
         VALUES ($1, 0, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    );
    let texts = [role_name, level, customer_id, resource_id].map(Arg::Text);
    INSERT.run(&[&texts[..], &[Arg::Time(now)]].concat()) > 0
}

/// `None`: any.
pub fn delete(role_name: &str, level: Option<&str>, customer_id: Option<&str>, resource_id: Option<&str>) -> i64 {
    static DELETE: Statement = Statement::new(
        "DELETE FROM credit_pools.role_access a
         WHERE a.role_name = $1 AND ($2 IS NULL OR a.level = $2) AND ($3 IS NULL OR a.customer_id = $3)
           AND ($4 IS NULL OR a.resource_id = $4)",
    );
    let args = [Arg::Text(role_name), Arg::MaybeText(level), Arg::MaybeText(customer_id), Arg::MaybeText(resource_id)];
    i64::try_from(DELETE.run(&args)).unwrap_or(i64::MAX)
}

/// Gives the role the privileges of its levels; `anew`: and takes away all others that it has here.
pub fn apply(role_name: &str, anew: bool) {
    static APPLY: Statement = Statement::new("SELECT credit_pools.apply_access($1, $2)");
    APPLY.run(&[Arg::Text(role_name), Arg::Bool(anew)]);
}

/// Whether the caller may make triggers on a table.
pub fn may_make_triggers(table: pg_sys::Oid) -> bool {
    // SAFETY: looks into the catalogue's caches.
    unsafe {
        let right = pg_sys::ACL_TRIGGER as pg_sys::AclMode;
        pg_sys::pg_class_aclcheck(table, pg_sys::GetUserId(), right) == pg_sys::AclResult::ACLCHECK_OK
    }
}
