//! report: a scope's pools as lines of text, for psql.

use credit_pools_domain::Charset;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{args, read, visible};
use crate::engine::reporting::{self, Form};
use crate::error::{Error, Result};

const DAYS: std::ops::RangeInclusive<i32> = 1..=3660;
const WIDTH: std::ops::RangeInclusive<i32> = 40..=1000;
const ROWS: std::ops::RangeInclusive<i32> = 0..=1000;

fn within(argument: &str, value: Option<i32>, default: i32, range: &std::ops::RangeInclusive<i32>) -> Result<i32> {
    let value = value.unwrap_or(default);
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = (range.start(), range.end());
    Err(Error::argument(argument, format!("{argument} must lie between {least} and {most}")).with(argument, value))
}

/// What the client can show.
fn charset() -> Charset {
    // SAFETY: reads a variable of the backend.
    let encoding = unsafe { pg_sys::pg_get_client_encoding() };
    if encoding == pg_sys::pg_enc::PG_UTF8 as i32 { Charset::Unicode } else { Charset::Ascii }
}

#[pg_extern(stable)]
#[search_path(pg_catalog, pg_temp)]
fn report(
    customer_id: default!(Option<&str>, "NULL"),
    resource_id: default!(Option<&str>, "NULL"),
    credit_type_id: default!(Option<&str>, "NULL"),
    days: default!(Option<i32>, "30"),
    width: default!(Option<i32>, "80"),
    rows: default!(Option<i32>, "10"),
) -> SetOfIterator<'static, String> {
    let lines = read(|reach| {
        let customer_id = args::id("customer_id", customer_id)?;
        let scope = args::resource(resource_id)?;
        let credit_type_id = args::optional_id("credit_type_id", credit_type_id)?;
        let form = Form {
            days: within("days", days, 30, &DAYS)?,
            width: usize::try_from(within("width", width, 80, &WIDTH)?).unwrap_or_default(),
            rows: usize::try_from(within("rows", rows, 10, &ROWS)?).unwrap_or_default(),
            charset: charset(),
        };
        visible(reach, customer_id, scope)?;
        crate::store::spi::reading(|| reporting::report(customer_id, scope, credit_type_id, &form))
    });
    SetOfIterator::new(lines)
}
