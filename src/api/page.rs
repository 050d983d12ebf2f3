//! credits_page.

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pgrx_sql_entity_graph::metadata::{ArgumentError, Returns, ReturnsError, SqlMapping, SqlTranslatable};
use pgrx::prelude::*;

use super::chart::of_others;
use super::{args, hidden, read, visible};
use crate::engine::showing;
use crate::store::spi;

/// A document of the domain credit_pools."text/html".
struct Html(String);

// SAFETY: names the SQL type that the datum has, a domain over text without a condition.
unsafe impl SqlTranslatable for Html {
    fn argument_sql() -> Result<SqlMapping, ArgumentError> {
        Ok(SqlMapping::literal("credit_pools.\"text/html\""))
    }

    fn return_sql() -> Result<Returns, ReturnsError> {
        Ok(Returns::One(SqlMapping::literal("credit_pools.\"text/html\"")))
    }
}

// SAFETY: as text is returned.
unsafe impl BoxRet for Html {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above.
        unsafe { self.0.box_into(fcinfo) }
    }
}

#[pg_extern(stable, requires = ["page"])]
#[search_path(pg_catalog, pg_temp)]
fn credits_page(
    customer_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
) -> Html {
    Html(read(|reach| {
        let asked = showing::Asked {
            customer_id: args::id("customer_id", customer_id)?,
            resource_id: args::optional_id("resource_id", resource_id)?,
            credit_type_id: args::optional_id("credit_type_id", credit_type_id)?,
        };
        match asked.resource_id {
            Some(resource_id) => visible(reach, asked.customer_id, resource_id)?,
            // A tenant of some resources gets these.
            None if reach.touches(asked.customer_id) => (),
            None => return Err(hidden(asked.customer_id, "")),
        }
        let own = reach.resources(asked.customer_id);
        let page = spi::reading(|| showing::page(&asked, own.as_deref()));
        // What is not there would tell of others.
        let whole = own.is_none() || resource_id.is_some();
        if whole { page } else { page.map_err(|error| of_others(error, asked.customer_id)) }
    }))
}
