//! Statements with kept plans, and the way of values into and out of them.
//!
//! Below pgrx's own SPI because of what it costs there: a prepared plan is kept per backend, always
//! generic, and rows are read by position. Everything unsafe about SPI is in this file.
//!
//! Invariants
//! - A plan is made once per backend, kept for ever (`SPI_keepplan`) and revalidated by PostgreSQL when
//!   the catalogue changes, also across DROP and CREATE EXTENSION. Backends have one thread.
//! - No Rust borrow is held while a statement runs: triggers may call back into this extension.
//! - Nothing from a result is kept as a pointer: rows are turned into owned values before the result is
//!   freed.

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use credit_pools_domain::{Amount, AmountError, Instant, Limit, Span};
use pgrx::prelude::*;
use pgrx::{IntoDatum, direct_function_call_as_datum, pg_sys};

/// A value on its way into a statement. `None` is NULL.
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    Text(&'a str),
    MaybeText(Option<&'a str>),
    TextArray(Option<&'a [String]>),
    /// An array of values of one kind; not empty.
    Column(&'a [Arg<'a>]),
    /// Arrays of integers and of numbers; an empty one is NULL.
    Ints(&'a [Arg<'a>]),
    Numbers(&'a [Arg<'a>]),
    Int(i64),
    MaybeInt(Option<i64>),
    SmallInt(i16),
    MaybeSmallInt(Option<i16>),
    Bool(bool),
    Number(Amount),
    MaybeNumber(Option<Amount>),
    Limit(Limit),
    Time(Instant),
    MaybeTime(Option<Instant>),
    Interval(Option<Span>),
    Json(Option<&'a str>),
    Bytes(Option<&'a [u8]>),
}

impl Arg<'_> {
    fn type_oid(&self) -> pg_sys::Oid {
        match self {
            Arg::Text(_) | Arg::MaybeText(_) => pg_sys::TEXTOID,
            Arg::TextArray(_) => pg_sys::TEXTARRAYOID,
            Arg::Column(values) => values.first().map_or(pg_sys::TEXTARRAYOID, Arg::array_oid),
            Arg::Ints(_) => pg_sys::INT8ARRAYOID,
            Arg::Numbers(_) => pg_sys::NUMERICARRAYOID,
            Arg::Int(_) | Arg::MaybeInt(_) => pg_sys::INT8OID,
            Arg::SmallInt(_) | Arg::MaybeSmallInt(_) => pg_sys::INT2OID,
            Arg::Bool(_) => pg_sys::BOOLOID,
            Arg::Number(_) | Arg::MaybeNumber(_) | Arg::Limit(_) => pg_sys::NUMERICOID,
            Arg::Time(_) | Arg::MaybeTime(_) => pg_sys::TIMESTAMPTZOID,
            Arg::Interval(_) => pg_sys::INTERVALOID,
            Arg::Json(_) => pg_sys::JSONBOID,
            Arg::Bytes(_) => pg_sys::BYTEAOID,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(
            self,
            Arg::MaybeText(None)
                | Arg::TextArray(None)
                | Arg::MaybeInt(None)
                | Arg::MaybeSmallInt(None)
                | Arg::MaybeNumber(None)
                | Arg::MaybeTime(None)
                | Arg::Interval(None)
                | Arg::Json(None)
                | Arg::Bytes(None)
        )
    }

    /// The type of an array of such values.
    fn array_oid(&self) -> pg_sys::Oid {
        match self {
            Arg::Text(_) | Arg::MaybeText(_) | Arg::TextArray(_) => pg_sys::TEXTARRAYOID,
            Arg::Column(_) | Arg::Ints(_) | Arg::Numbers(_) => pg_sys::InvalidOid,
            Arg::Int(_) | Arg::MaybeInt(_) => pg_sys::INT8ARRAYOID,
            Arg::SmallInt(_) | Arg::MaybeSmallInt(_) => pg_sys::INT2ARRAYOID,
            Arg::Bool(_) => pg_sys::BOOLARRAYOID,
            Arg::Number(_) | Arg::MaybeNumber(_) | Arg::Limit(_) => pg_sys::NUMERICARRAYOID,
            Arg::Time(_) | Arg::MaybeTime(_) => pg_sys::TIMESTAMPTZARRAYOID,
            Arg::Interval(_) => pg_sys::INTERVALARRAYOID,
            Arg::Json(_) => pg_sys::JSONBARRAYOID,
            Arg::Bytes(_) => pg_sys::BYTEAARRAYOID,
        }
    }

    pub(super) fn datum(&self) -> Option<pg_sys::Datum> {
        match *self {
            Arg::Column(values) | Arg::Ints(values) | Arg::Numbers(values) => array_datum(values),
            Arg::Text(text) => text.into_datum(),
            Arg::MaybeText(text) => text.into_datum(),
            Arg::TextArray(texts) => texts.and_then(|t| t.to_vec().into_datum()),
            Arg::Int(number) => number.into_datum(),
            Arg::MaybeInt(number) => number.into_datum(),
            Arg::SmallInt(number) => number.into_datum(),
            Arg::MaybeSmallInt(number) => number.into_datum(),
            Arg::Bool(value) => value.into_datum(),
            Arg::Number(amount) => numeric_datum(amount),
            Arg::MaybeNumber(amount) => amount.and_then(numeric_datum),
            Arg::Limit(Limit::Finite(amount)) => numeric_datum(amount),
            Arg::Limit(Limit::Unlimited) => from_text(pg_sys::numeric_in, "Infinity"),
            Arg::Time(at) => at.micros().into_datum(),
            Arg::MaybeTime(at) => at.and_then(|at| at.micros().into_datum()),
            Arg::Interval(span) => span.and_then(interval_datum),
            Arg::Json(text) => text.and_then(|t| from_text(pg_sys::jsonb_in, t)),
            Arg::Bytes(bytes) => bytes.and_then(IntoDatum::into_datum),
        }
    }
}

/// One statement of the store.
pub struct Statement {
    sql: &'static str,
    read_only: bool,
    plan: AtomicPtr<pg_sys::_SPI_plan>,
}

impl Statement {
    /// Sees all that is committed when it starts, and what this transaction has written.
    pub const fn new(sql: &'static str) -> Statement {
        Statement { sql, read_only: false, plan: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// For functions that read: keeps the caller's snapshot and assigns no transaction id.
    pub const fn read(sql: &'static str) -> Statement {
        Statement { sql, read_only: true, plan: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Runs it and returns how many rows it touched or gave.
    pub fn run(&self, args: &[Arg]) -> u64 {
        let processed = self.execute(args);
        // SAFETY: the result belongs to the execution just made, and nothing points into it.
        unsafe { pg_sys::SPI_freetuptable(pg_sys::SPI_tuptable) };
        processed
    }

    /// Runs what writes so many rows. A trigger or a rule that keeps one of them back must not go unnoticed.
    pub fn write(&self, args: &[Arg], rows: u64) {
        let written = self.run(args);
        if written != rows {
            kept_back(table_of(self.sql));
        }
    }

    /// Runs it and turns every row into a value.
    pub fn rows<T>(&self, args: &[Arg], read: impl FnMut(&Row) -> T) -> Vec<T> {
        take_rows(self.execute(args), read)
    }

    pub fn first<T>(&self, args: &[Arg], read: impl FnMut(&Row) -> T) -> Option<T> {
        self.rows(args, read).into_iter().next()
    }

    /// As `first`, but seeing all that is committed by now, whatever the transaction's isolation level.
    pub fn first_of_latest<T>(&self, args: &[Arg], read: impl FnMut(&Row) -> T) -> Option<T> {
        // SAFETY: the snapshot is active for just this statement, which runs as read-only: it keeps it.
        unsafe {
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            let count = self.execute_as(args, true);
            let value = take_rows(count, read).into_iter().next();
            pg_sys::PopActiveSnapshot();
            value
        }
    }

    fn execute(&self, args: &[Arg]) -> u64 {
        self.execute_as(args, self.read_only || READS_ONLY.load(Ordering::Relaxed))
    }

    fn execute_as(&self, args: &[Arg], read_only: bool) -> u64 {
        let plan = self.plan(args);
        let mut values: Vec<pg_sys::Datum> = Vec::with_capacity(args.len());
        let mut nulls: Vec<std::ffi::c_char> = Vec::with_capacity(args.len());
        for arg in args {
            let datum = arg.datum();
            nulls.push(if datum.is_some() { b' ' } else { b'n' } as std::ffi::c_char);
            values.push(datum.unwrap_or(pg_sys::Datum::from(0)));
        }
        // SAFETY: values and nulls have one element per parameter of the plan, of the types it was made with.
        unsafe {
            // SPI leaves in its own context, which lives as long as the connection; back to the caller's.
            let context = pg_sys::CurrentMemoryContext;
            let result = pg_sys::SPI_execute_plan(plan, values.as_mut_ptr(), nulls.as_ptr(), read_only, 0);
            pg_sys::MemoryContextSwitchTo(context);
            if result < 0 {
                pgrx::error!("SPI refused a statement of credit_pools: {result}");
            }
            pg_sys::SPI_processed
        }
    }

    fn plan(&self, args: &[Arg]) -> pg_sys::SPIPlanPtr {
        let kept = self.plan.load(Ordering::Relaxed);
        if !kept.is_null() {
            return kept;
        }
        let Ok(sql) = CString::new(self.sql) else { pgrx::error!("a statement of credit_pools has a zero byte") };
        let mut types: Vec<pg_sys::Oid> = args.iter().map(Arg::type_oid).collect();
        // SAFETY: plain SPI calls in a connected state. Planning happens inside the GUC nest; the kept plan is
        // shared by all later calls.
        unsafe {
            // A generic plan made while the tables are small must not be a sequential scan, nor read a whole index
            // for a join: it would stay one while they grow, until they are analysed.
            let nest = pg_sys::NewGUCNestLevel();
            for setting in [c"enable_seqscan", c"enable_bitmapscan", c"enable_hashjoin", c"enable_mergejoin"] {
                pg_sys::set_config_option(
                    setting.as_ptr(),
                    c"off".as_ptr(),
                    pg_sys::GucContext::PGC_USERSET,
                    pg_sys::GucSource::PGC_S_SESSION,
                    pg_sys::GucAction::GUC_ACTION_SAVE,
                    true,
                    0,
                    false,
                );
            }
            let options = pg_sys::CURSOR_OPT_GENERIC_PLAN as i32;
            let plan = pg_sys::SPI_prepare_cursor(sql.as_ptr(), types.len() as i32, types.as_mut_ptr(), options);
            if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
                pgrx::error!("SPI refused to prepare a statement of credit_pools");
            }
            let cached = pg_sys::SPI_plan_get_cached_plan(plan);
            if !cached.is_null() {
                pg_sys::ReleaseCachedPlan(cached, pg_sys::CurrentResourceOwner);
            }
            pg_sys::AtEOXact_GUC(true, nest);
            self.plan.store(plan, Ordering::Relaxed);
            plan
        }
    }
}

/// Statements keep the caller's snapshot, whatever they are made for.
static READS_ONLY: AtomicBool = AtomicBool::new(false);

/// Runs what reads only with statements that are made to write after it.
pub fn reading<T>(body: impl FnOnce() -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            READS_ONLY.store(false, Ordering::Relaxed);
        }
    }
    let _reset = Reset;
    READS_ONLY.store(true, Ordering::Relaxed);
    body()
}

/// The first table that a statement names.
fn table_of(sql: &str) -> &str {
    sql.split("credit_pools.").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default()
}

/// Not all that a statement writes was written.
pub fn kept_back(table: &str) -> ! {
    crate::error::Error::state(format!("a trigger or a rule keeps back a row of credit_pools.{table}"))
        .with("table", table)
        .hint("What credit_pools writes must be written as it is: drop that trigger or rule.")
        .raise()
}

/// As `Statement::write`, of a statement whose parameters are arrays, one element per row.
pub fn write_columns<const N: usize>(statement: &Statement, rows: &[[Arg; N]]) {
    if run_columns(statement, rows) != rows.len() as u64 {
        kept_back(table_of(statement.sql));
    }
}

/// Runs a statement whose parameters are arrays, one element per row; how many rows it touched.
pub fn run_columns<const N: usize>(statement: &Statement, rows: &[[Arg; N]]) -> u64 {
    if rows.is_empty() {
        return 0;
    }
    let columns: Vec<Vec<Arg>> =
        (0..N).map(|column| rows.iter().filter_map(|row| row.get(column).copied()).collect()).collect();
    let args: Vec<Arg> = columns.iter().map(|column| Arg::Column(column)).collect();
    statement.run(&args)
}

/// The rows of the execution just made, as values.
fn take_rows<T>(count: u64, mut read: impl FnMut(&Row) -> T) -> Vec<T> {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: SPI_tuptable is the last execution's result, with `count` rows; it is freed once.
    unsafe {
        let table = pg_sys::SPI_tuptable;
        if table.is_null() {
            return Vec::new();
        }
        let shape = (*table).tupdesc;
        let width = usize::try_from((*shape).natts).unwrap_or(0);
        let mut row = Row { values: vec![pg_sys::Datum::from(0); width], nulls: vec![true; width] };
        let mut values = Vec::with_capacity(count);
        for index in 0..count {
            // All columns at once: one by one, each would be looked for from the row's start.
            pg_sys::heap_deform_tuple(
                *(*table).vals.add(index),
                shape,
                row.values.as_mut_ptr(),
                row.nulls.as_mut_ptr(),
            );
            values.push(read(&row));
        }
        pg_sys::SPI_freetuptable(table);
        values
    }
}

/// Whether the transaction keeps one snapshot (REPEATABLE READ and above).
pub fn keeps_snapshot() -> bool {
    // SAFETY: reads a variable of the backend.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Makes sure that the transaction has an id.
pub fn take_transaction_id() {
    // SAFETY: assigns an id to the current transaction; an error where that may not write.
    unsafe { pg_sys::GetTopTransactionId() };
}

/// The transaction id that will be given next.
pub fn next_transaction_id() -> i64 {
    // SAFETY: reads shared memory.
    let next = unsafe { pg_sys::ReadNextFullTransactionId() };
    i64::try_from(next.value).unwrap_or(i64::MAX)
}

/// Whether the transaction may write.
pub fn may_write() -> bool {
    // SAFETY: reads variables of the backend and of the server.
    unsafe { !pg_sys::XactReadOnly && !pg_sys::RecoveryInProgress() }
}

/// Whether a statement may not see what has been committed since.
pub fn sees_the_past() -> bool {
    keeps_snapshot() || READS_ONLY.load(Ordering::Relaxed)
}

/// One row of a result; columns are counted from 1.
pub struct Row {
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Row {
    /// Of a row that no statement gave.
    pub(super) fn of(values: Vec<pg_sys::Datum>, nulls: Vec<bool>) -> Row {
        Row { values, nulls }
    }

    fn get<T: FromDatum>(&self, column: usize) -> Option<T> {
        let index = column.checked_sub(1)?;
        let (value, is_null) = (self.values.get(index)?, self.nulls.get(index)?);
        // SAFETY: the value is of a live result, of the type that the statement gives; it is copied before that is freed.
        unsafe { T::from_datum(*value, *is_null) }
    }

    /// A value as it is, unless it is NULL.
    fn datum(&self, column: usize) -> Option<pg_sys::Datum> {
        let index = column.checked_sub(1)?;
        if *self.nulls.get(index)? { None } else { self.values.get(index).copied() }
    }

    pub fn is_null(&self, column: usize) -> bool {
        column.checked_sub(1).and_then(|index| self.nulls.get(index)).is_none_or(|is_null| *is_null)
    }

    pub fn text(&self, column: usize) -> Option<String> {
        self.get::<String>(column)
    }

    pub fn texts(&self, column: usize) -> Option<Vec<String>> {
        self.get::<Vec<Option<String>>>(column).map(|texts| texts.into_iter().flatten().collect())
    }

    pub fn ints(&self, column: usize) -> Vec<Option<i64>> {
        self.get::<Vec<Option<i64>>>(column).unwrap_or_default()
    }

    /// The numbers of an array, NULLs left out.
    pub fn amounts(&self, column: usize) -> Vec<Amount> {
        self.datum(column).map(array_amounts).unwrap_or_default()
    }

    pub fn int(&self, column: usize) -> Option<i64> {
        self.get::<i64>(column)
    }

    pub fn small_int(&self, column: usize) -> Option<i16> {
        self.get::<i16>(column)
    }

    pub fn boolean(&self, column: usize) -> bool {
        self.get::<bool>(column).unwrap_or(false)
    }

    pub fn time(&self, column: usize) -> Option<Instant> {
        self.get::<TimestampWithTimeZone>(column).map(|at| Instant::from_micros(at.into_inner()))
    }

    pub fn span(&self, column: usize) -> Option<Span> {
        self.get::<Interval>(column).map(span)
    }

    pub fn bytes(&self, column: usize) -> Option<Vec<u8>> {
        self.get::<Vec<u8>>(column)
    }

    /// A figure that the extension itself wrote. One that is no amount must never become another: the call
    /// fails.
    pub fn amount(&self, column: usize) -> Option<Amount> {
        self.datum(column).map(amount_of)
    }

    pub fn limit(&self, column: usize) -> Option<Limit> {
        self.numeric(column).map(|text| Limit::parse(&text).unwrap_or_else(|_| unreadable(&text)))
    }

    pub fn json(&self, column: usize) -> Option<serde_json::Value> {
        self.get::<pgrx::JsonB>(column).map(|json| json.0)
    }

    fn numeric(&self, column: usize) -> Option<String> {
        self.get::<AnyNumeric>(column).map(|number| number.to_string())
    }
}

/// A numeric that the extension itself wrote, as an amount.
pub fn amount_of(datum: pg_sys::Datum) -> Amount {
    // SAFETY: the datum is a numeric.
    if let Some(amount) = unsafe { super::numeric::decode(datum) } {
        return amount;
    }
    // SAFETY: as above.
    let text = unsafe { AnyNumeric::from_datum(datum, false) }.map_or_else(String::new, |number| number.to_string());
    Amount::parse(&text).unwrap_or_else(|_| unreadable(&text))
}

/// A numeric column of the new row that a trigger FOR EACH ROW UPDATE looks at.
pub fn new_figure(data: &pg_sys::TriggerData, column: &CStr) -> Option<Amount> {
    // SAFETY: PostgreSQL made the trigger's data; the two functions need no connection. The column, if there is one of
    // that name, is a numeric of ours.
    unsafe {
        let shape = (*data.tg_relation).rd_att;
        let number = pg_sys::SPI_fnumber(shape, column.as_ptr());
        // Another table than ours may have another type there.
        if number <= 0 || data.tg_newtuple.is_null() || pg_sys::SPI_gettypeid(shape, number) != pg_sys::NUMERICOID {
            return None;
        }
        let mut is_null = false;
        let value = pg_sys::SPI_getbinval(data.tg_newtuple, shape, number, &mut is_null);
        (!is_null).then(|| amount_of(value))
    }
}

/// The numbers of an array of numerics, NULLs left out.
fn array_amounts(datum: pg_sys::Datum) -> Vec<Amount> {
    let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
    // SAFETY: the datum is an array of numerics, which are of variable length and aligned as integers; the two results
    // have `count` elements.
    unsafe {
        let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        pg_sys::deconstruct_array(
            array,
            pg_sys::NUMERICOID,
            -1,
            false,
            pg_sys::TYPALIGN_INT as std::ffi::c_char,
            &mut values,
            &mut nulls,
            &mut count,
        );
        let elements = 0..usize::try_from(count).unwrap_or(0);
        elements.filter(|index| !*nulls.add(*index)).map(|index| amount_of(*values.add(index))).collect()
    }
}

fn unreadable(figure: &str) -> ! {
    crate::error::Error::state(format!("credit_pools cannot read the figure {figure} in its tables"))
        .hint("It was changed outside the functions of credit_pools.")
        .raise()
}

/// Runs `body` connected to SPI.
pub fn connected<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: connect and finish are paired; where `body` unwinds, the transaction's or subtransaction's
    // end cleans up.
    unsafe {
        if pg_sys::SPI_connect() != pg_sys::SPI_OK_CONNECT as i32 {
            pgrx::error!("SPI_connect failed");
        }
        let value = body();
        if pg_sys::SPI_finish() != pg_sys::SPI_OK_FINISH as i32 {
            pgrx::error!("SPI_finish failed");
        }
        value
    }
}

/// The next value of one of the extension's sequences, with the shard's number on top.
pub fn next_id(sequence: Sequence) -> i64 {
    // SAFETY: looks the sequence up by name in the extension's schema; nextval raises where it is missing.
    let value = unsafe {
        let schema = pg_sys::get_namespace_oid(c"credit_pools".as_ptr(), false);
        let oid = pg_sys::get_relname_relid(sequence.name().as_ptr(), schema);
        direct_function_call_as_datum(pg_sys::nextval_oid, &[Some(oid.into())])
    };
    crate::settings::id_of_shard(value.map_or(0, |datum| datum.value() as i64))
}

#[derive(Clone, Copy)]
pub enum Sequence {
    Pool,
    Grant,
    Usage,
    Recharge,
    Revision,
    Schedule,
    Reservation,
    Event,
}

impl Sequence {
    fn name(self) -> &'static CStr {
        match self {
            Sequence::Pool => c"pool_id_seq",
            Sequence::Grant => c"grant_id_seq",
            Sequence::Usage => c"usage_id_seq",
            Sequence::Recharge => c"recharge_id_seq",
            Sequence::Revision => c"revision_seq",
            Sequence::Schedule => c"schedule_id_seq",
            Sequence::Reservation => c"reservation_id_seq",
            Sequence::Event => c"event_id_seq",
        }
    }
}

/// Who acts: the application's setting, or the session's user.
pub fn actor() -> String {
    crate::settings::actor().unwrap_or_else(|| {
        // SAFETY: returns a palloc'd C string of the session's user.
        unsafe {
            let name = pg_sys::GetUserNameFromId(pg_sys::GetSessionUserId(), true);
            if name.is_null() {
                return String::new();
            }
            CStr::from_ptr(name).to_string_lossy().into_owned()
        }
    })
}

/// An argument of type numeric as an amount.
pub fn amount(number: &AnyNumeric) -> Result<Amount, AmountError> {
    let datum = number.clone().into_datum();
    // SAFETY: the datum is a numeric.
    let amount = datum.and_then(|datum| unsafe { super::numeric::decode(datum) });
    amount.map_or_else(|| Amount::parse(&number.to_string()), Ok)
}

pub fn numeric(amount: Amount) -> AnyNumeric {
    // SAFETY: the datum is a numeric.
    let number = numeric_datum(amount).and_then(|datum| unsafe { AnyNumeric::from_datum(datum, false) });
    number.unwrap_or_default()
}

pub fn limit_numeric(limit: Limit) -> AnyNumeric {
    // Every amount prints as a numeric literal.
    AnyNumeric::try_from(limit.to_string().as_str()).unwrap_or_default()
}

pub fn timestamp(at: Instant) -> TimestampWithTimeZone {
    // Only values beyond PostgreSQL's range fail, and instants come from it or are checked against it.
    TimestampWithTimeZone::try_from(at.micros()).unwrap_or_else(|_| TimestampWithTimeZone::positive_infinity())
}

pub fn span(interval: Interval) -> Span {
    Span { months: interval.months(), days: interval.days(), micros: interval.micros() }
}

/// JSON as PostgreSQL prints a jsonb.
pub fn printed_json(text: &str) -> Option<String> {
    let datum = from_text(pg_sys::jsonb_in, text)?;
    // SAFETY: the datum is a jsonb; jsonb_out returns a C string.
    let text = unsafe { pgrx::direct_function_call::<&CStr>(pg_sys::jsonb_out, &[Some(datum)]) }?;
    Some(text.to_string_lossy().into_owned())
}

/// The row that a function returns, as a value of the composite type that it is declared with.
pub fn result_of(function: pg_sys::Oid, columns: &[Arg]) -> pg_sys::Datum {
    let datums: Vec<Option<pg_sys::Datum>> = columns.iter().map(Arg::datum).collect();
    let mut nulls: Vec<bool> = datums.iter().map(Option::is_none).collect();
    let mut values: Vec<pg_sys::Datum> = datums.iter().map(|datum| datum.unwrap_or(pg_sys::Datum::from(0))).collect();
    // SAFETY: the type is composite, made by the extension with these columns in this order; should it have another number
    // of them, nothing is read beyond the values.
    unsafe {
        let shape = pg_sys::lookup_rowtype_tupdesc(pg_sys::get_func_rettype(function), -1);
        if usize::try_from((*shape).natts).ok() != Some(values.len()) {
            crate::error::Error::state("the type of the result has other columns than the function").raise();
        }
        let tuple = pg_sys::heap_form_tuple(shape, values.as_mut_ptr(), nulls.as_mut_ptr());
        if (*shape).tdrefcount >= 0 {
            pg_sys::DecrTupleDescRefCount(shape);
        }
        pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)
    }
}

/// A text through one of PostgreSQL's input functions.
fn from_text(input: unsafe fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum, text: &str) -> Option<pg_sys::Datum> {
    let text = CString::new(text).ok()?;
    let args = [Some(text.as_ptr().into()), Some(pg_sys::InvalidOid.into()), Some((-1_i32).into())];
    // SAFETY: every input function takes a C string, a type oid and a typmod, or fewer of these.
    unsafe { direct_function_call_as_datum(input, &args) }
}

fn numeric_datum(amount: Amount) -> Option<pg_sys::Datum> {
    super::numeric::encode(amount).or_else(|| from_text(pg_sys::numeric_in, &amount.to_string()))
}

/// A one-dimensional array of the values' own type.
fn array_datum(values: &[Arg]) -> Option<pg_sys::Datum> {
    let element = values.first()?.type_oid();
    let mut nulls: Vec<bool> = Vec::with_capacity(values.len());
    let mut datums: Vec<pg_sys::Datum> = Vec::with_capacity(values.len());
    for value in values {
        let datum = value.datum();
        nulls.push(datum.is_none());
        datums.push(datum.unwrap_or(pg_sys::Datum::from(0)));
    }
    let (mut length, mut by_value, mut align) = (0_i16, false, 0 as std::ffi::c_char);
    let (mut size, mut lower) = (i32::try_from(values.len()).ok()?, 1_i32);
    // SAFETY: datums and nulls have `size` elements of the type `element`, whose shape PostgreSQL is asked for; the
    // array is a copy, allocated in the current context.
    unsafe {
        pg_sys::get_typlenbyvalalign(element, &mut length, &mut by_value, &mut align);
        let (data, missing) = (datums.as_mut_ptr(), nulls.as_mut_ptr());
        let (length, dimensions) = (i32::from(length), 1);
        let array = pg_sys::construct_md_array(
            data, missing, dimensions, &mut size, &mut lower, element, length, by_value, align,
        );
        Some(pg_sys::Datum::from(array))
    }
}

fn interval_datum(span: Span) -> Option<pg_sys::Datum> {
    // SAFETY: a palloc'd interval in PostgreSQL's own layout.
    unsafe {
        let interval = pg_sys::palloc0(size_of::<pg_sys::Interval>()).cast::<pg_sys::Interval>();
        (*interval).month = span.months;
        (*interval).day = span.days;
        (*interval).time = span.micros;
        Some(pg_sys::Datum::from(interval))
    }
}

/// Runs a query that is made for the occasion and hands its rows over in pieces, in the caller's snapshot.
pub fn in_pieces(
    sql: &str,
    args: &[Arg],
    piece: std::ffi::c_long,
    take: &mut impl FnMut(*mut pg_sys::SPITupleTable, u64),
) {
    let Ok(sql) = CString::new(sql) else { return };
    let mut types: Vec<pg_sys::Oid> = args.iter().map(Arg::type_oid).collect();
    let datums: Vec<Option<pg_sys::Datum>> = args.iter().map(Arg::datum).collect();
    let nulls: Vec<std::ffi::c_char> =
        datums.iter().map(|datum| if datum.is_some() { b' ' } else { b'n' } as std::ffi::c_char).collect();
    let mut values: Vec<pg_sys::Datum> = datums.iter().map(|d| d.unwrap_or(pg_sys::Datum::from(0))).collect();
    // SAFETY: one type, value and mark per parameter. The cursor is closed here or, on an error, by the end of the
    // transaction; each piece is freed before the next is fetched.
    unsafe {
        let portal = pg_sys::SPI_cursor_open_with_args(
            std::ptr::null(),
            sql.as_ptr(),
            types.len() as i32,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            nulls.as_ptr(),
            true,
            0,
        );
        loop {
            pgrx::check_for_interrupts!();
            pg_sys::SPI_cursor_fetch(portal, true, piece);
            let (table, count) = (pg_sys::SPI_tuptable, pg_sys::SPI_processed);
            if count > 0 {
                take(table, count);
            }
            pg_sys::SPI_freetuptable(table);
            if count == 0 {
                break;
            }
        }
        pg_sys::SPI_cursor_close(portal);
    }
}
