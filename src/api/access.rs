//! grant_access, revoke_access, and what views and policies call (sql/schema/55_access.sql). own_rows and access_support are
//! declared by hand there: pgrx has no way to return rows whose columns the query names, nor nodes of the planner.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{args, call};
use crate::engine::giving_access::{self, Access};
use crate::error::{Error, Result};
use crate::store::{access, spi};

/// own_rows(view text) RETURNS SETOF record: what the caller may see of a view.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn credit_pools_own_rows(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: PostgreSQL's own way for functions that return rows at once; the result's rows are of the shape that the
    // query names, which same_types compares with that of each piece: the executor could not tell.
    unsafe {
        pg_sys::InitMaterializedSRF(fcinfo, pg_sys::MAT_SRF_USE_EXPECTED_DESC);
        let result = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
        let (store, shape) = ((*result).setResult, (*result).setDesc);
        let view: Option<&str> = pgrx::fcinfo::pg_getarg(fcinfo, 0);
        let known = spi::connected(|| {
            access::own_rows(view.unwrap_or_default(), |table, count| {
                if !same_types((*table).tupdesc, shape) {
                    Error::argument("view", "the columns are not those of the view").raise();
                }
                for index in 0..usize::try_from(count).unwrap_or(0) {
                    pg_sys::tuplestore_puttuple(store, *(*table).vals.add(index));
                }
            })
        });
        if !known {
            Error::argument("view", "there is no such view").raise();
        }
        pg_sys::Datum::from(0)
    }
}

/// Whether rows of one shape can be read by the other.
///
/// # Safety
/// Both are descriptors of rows.
unsafe fn same_types(one: pg_sys::TupleDesc, other: pg_sys::TupleDesc) -> bool {
    // SAFETY: a descriptor has `natts` attributes, counted from 1.
    unsafe {
        let same = |column| pg_sys::SPI_gettypeid(one, column) == pg_sys::SPI_gettypeid(other, column);
        (*one).natts == (*other).natts && (1..=(*one).natts).all(same)
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_credit_pools_own_rows() -> &'static pg_sys::Pg_finfo_record {
    &V1
}

/// access_support(internal) RETURNS internal: the planner's question about reads_all_customers() and reads_own_customers().
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn credit_pools_access_support(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the only argument is the request, of type internal: nobody but the planner can make one.
    unsafe {
        let request =
            pgrx::fcinfo::pg_getarg_datum(fcinfo, 0).map_or(std::ptr::null_mut(), |datum| datum.cast_mut_ptr());
        pg_sys::Datum::from(access::simplified(request))
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_credit_pools_access_support() -> &'static pg_sys::Pg_finfo_record {
    &V1
}

static V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };

/// A role that may call this sees the rows of all customers; row-level security asks no more than that.
#[pg_extern(stable, parallel_safe)]
fn reads_all_customers() -> bool {
    true
}

/// A role that may call this is a tenant: it sees what was given to it.
#[pg_extern(stable, parallel_safe)]
fn reads_own_customers() -> bool {
    true
}

fn access_of<'a>(
    role_name: Option<&'a str>,
    level: Option<&'a str>,
    customer_id: Option<&'a str>,
    resource_id: Option<&'a str>,
) -> Result<Access<'a>> {
    Ok(Access {
        role_name: args::required("role_name", role_name)?,
        level,
        customer_id: args::optional_id("customer_id", customer_id)?,
        resource_id: args::optional_id("resource_id", resource_id)?,
    })
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn grant_access(
    role_name: default!(Option<&str>, "NULL"),
    level: default!(Option<&str>, "NULL"),
    customer_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(role_name, String),
        name!(level, String),
        name!(customer_id, Option<String>),
        name!(resource_id, Option<String>),
        name!(changed, bool),
    ),
> {
    let changed = call(|| {
        args::required("level", level)?;
        giving_access::grant(&access_of(role_name, level, customer_id, resource_id)?)
    });
    TableIterator::once((
        role_name.unwrap_or_default().to_owned(),
        level.unwrap_or_default().to_owned(),
        customer_id.map(str::to_owned),
        resource_id.map(str::to_owned),
        changed,
    ))
}

#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn revoke_access(
    role_name: default!(Option<&str>, "NULL"),
    level: default!(Option<&str>, "NULL"),
    customer_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(role_name, String), name!(revoked, i64))> {
    let revoked = call(|| giving_access::revoke(&access_of(role_name, level, customer_id, resource_id)?));
    TableIterator::once((role_name.unwrap_or_default().to_owned(), revoked))
}
