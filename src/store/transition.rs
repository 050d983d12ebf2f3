//! The rows that a statement has inserted, as its AFTER trigger finds them.

use credit_pools_domain::{Amount, AmountError};
use pgrx::prelude::*;
use pgrx::{FromDatum, PgRelation, pg_sys};

/// A column of the table, as a trigger reads it.
#[derive(Clone, Copy)]
pub struct Column {
    number: i16,
    kind: pg_sys::Oid,
}

pub fn exists(table: pg_sys::Oid) -> bool {
    // SAFETY: looks into the catalogue's caches; 0 where there is none.
    unsafe { pg_sys::get_rel_relkind(table) != 0 }
}

/// Opens a table with a lock that keeps its columns as they are; nothing where there is none.
pub fn open(table: pg_sys::Oid) -> Option<PgRelation> {
    // SAFETY: looks before it opens; the relation's lock is kept to the transaction's end.
    unsafe {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let relation = pg_sys::try_relation_open(table, lock);
        if relation.is_null() {
            return None;
        }
        pg_sys::relation_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        Some(PgRelation::open(table))
    }
}

/// The columns of a table by name: their numbers and types, a domain's as what it is made of.
pub fn column(table: &PgRelation, name: &str) -> Option<Column> {
    let shape = table.tuple_desc();
    shape.iter().filter(|attribute| !attribute.is_dropped()).find(|attribute| attribute.name() == name).map(
        |attribute| {
            // SAFETY: looks a type up in the system catalogue.
            let kind = unsafe { pg_sys::getBaseType(attribute.type_oid().value()) };
            Column { number: attribute.num(), kind }
        },
    )
}

impl Column {
    pub fn is_text(self) -> bool {
        [pg_sys::TEXTOID, pg_sys::VARCHAROID, pg_sys::BPCHAROID, pg_sys::UUIDOID].contains(&self.kind)
            || self.is_integer()
            || self.kind == pg_sys::NUMERICOID
    }

    pub fn is_number(self) -> bool {
        self.is_integer() || self.kind == pg_sys::NUMERICOID
    }

    fn is_integer(self) -> bool {
        [pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID].contains(&self.kind)
    }

    /// The type's name, for people.
    pub fn type_name(self) -> String {
        // SAFETY: format_type_be returns a palloc'd C string for any oid.
        unsafe { std::ffi::CStr::from_ptr(pg_sys::format_type_be(self.kind)).to_string_lossy().into_owned() }
    }
}

/// One inserted row.
pub struct InsertedRow {
    slot: *mut pg_sys::TupleTableSlot,
}

impl InsertedRow {
    fn datum(&self, column: Column) -> Option<pg_sys::Datum> {
        let number = column.number;
        // SAFETY: the slot holds a row of the table that the column was found in; its attributes are deformed as far
        // as they are asked for.
        unsafe {
            if (*self.slot).tts_nvalid < number {
                pg_sys::slot_getsomeattrs_int(self.slot, i32::from(number));
            }
            let index = usize::try_from(number).ok()?.checked_sub(1)?;
            (!*(*self.slot).tts_isnull.add(index)).then(|| *(*self.slot).tts_values.add(index))
        }
    }

    /// The value as text; NULL is `None`. The column is of a type that `is_text`.
    pub fn text(&self, column: Column) -> Option<String> {
        let datum = self.datum(column)?;
        // SAFETY: the datum is of the type that is read; the text is a copy.
        unsafe {
            match column.kind {
                pg_sys::INT2OID => i16::from_datum(datum, false).map(|n| n.to_string()),
                pg_sys::INT4OID => i32::from_datum(datum, false).map(|n| n.to_string()),
                pg_sys::INT8OID => i64::from_datum(datum, false).map(|n| n.to_string()),
                pg_sys::NUMERICOID => AnyNumeric::from_datum(datum, false).map(|n| n.to_string()),
                pg_sys::UUIDOID => pgrx::Uuid::from_datum(datum, false).map(|id| id.to_string()),
                // Without the spaces that fill it up, as its cast to text.
                pg_sys::BPCHAROID => String::from_datum(datum, false).map(|text| text.trim_end_matches(' ').to_owned()),
                _ => String::from_datum(datum, false),
            }
        }
    }

    /// The value as a number; NULL is `None`. The column is of a type that `is_number`.
    pub fn number(&self, column: Column) -> Option<Result<Amount, AmountError>> {
        self.text(column).map(|text| Amount::parse(&text))
    }
}

/// Gives each row that the statement inserted to `read`. `false`: the trigger has no transition table.
pub fn each_inserted(trigger: &PgTrigger, mut read: impl FnMut(&InsertedRow)) -> bool {
    let data = trigger.trigger_data();
    let store = data.tg_newtable;
    if store.is_null() || data.tg_relation.is_null() {
        return false;
    }
    // SAFETY: the tuplestore belongs to the running trigger. A read pointer of its own, as the executor takes one for a
    // scan by name, leaves those of other triggers alone. The slot is dropped here, and nothing keeps what it held.
    unsafe {
        let pointer = pg_sys::tuplestore_alloc_read_pointer(store, pg_sys::EXEC_FLAG_REWIND as i32);
        pg_sys::tuplestore_select_read_pointer(store, pointer);
        pg_sys::tuplestore_rescan(store);
        let slot = pg_sys::MakeSingleTupleTableSlot((*data.tg_relation).rd_att, &raw const pg_sys::TTSOpsMinimalTuple);
        while pg_sys::tuplestore_gettupleslot(store, true, false, slot) {
            pgrx::check_for_interrupts!();
            read(&InsertedRow { slot });
        }
        pg_sys::ExecDropSingleTupleTableSlot(slot);
    }
    true
}
