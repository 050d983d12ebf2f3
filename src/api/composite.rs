//! One row as a composite value: a set of one row, which is what pgrx makes of a table iterator, costs a call several
//! times what its row does (docs/performance.md).

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pgrx_sql_entity_graph::metadata::{ArgumentError, Returns, ReturnsError, SqlMapping, SqlTranslatable};

use crate::store::spi::{self, Arg};

/// What a function returns as its row.
pub trait Row {
    /// The composite type, with the schema.
    const TYPE: &'static str;

    /// Gives the values of the type's columns, in their order.
    fn columns<T>(&self, take: impl FnOnce(&[Arg]) -> T) -> T;
}

pub struct Composite<R: Row>(pub R);

// SAFETY: names the SQL type that the datum has.
unsafe impl<R: Row> SqlTranslatable for Composite<R> {
    fn argument_sql() -> Result<SqlMapping, ArgumentError> {
        Ok(SqlMapping::literal(R::TYPE))
    }

    fn return_sql() -> Result<Returns, ReturnsError> {
        Ok(Returns::One(SqlMapping::literal(R::TYPE)))
    }
}

// SAFETY: the datum is of the type that the function is declared to return; its columns are checked by number.
unsafe impl<R: Row> BoxRet for Composite<R> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: PostgreSQL calls with the function's description.
        unsafe {
            let function = (*(*fcinfo.as_mut_ptr()).flinfo).fn_oid;
            let datum = self.0.columns(|columns| spi::result_of(function, columns));
            fcinfo.return_raw_datum(datum)
        }
    }
}
