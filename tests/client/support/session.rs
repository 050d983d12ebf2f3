use crate::Fault;
use postgres::{Client, SimpleQueryMessage};

/// One connection. Statements go through the simple protocol, so that every value reads as psql would show it.
pub struct Session {
    pub client: Client,
}

/// One row of text values, by column name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pairs: Vec<(String, Option<String>)>,
}

impl Session {
    pub fn new(client: Client) -> Self {
        Session { client }
    }

    pub fn try_rows(&mut self, sql: &str) -> Result<Vec<Row>, Fault> {
        let messages = self.client.simple_query(sql).map_err(|error| Fault::new(sql, &error))?;
        let mut rows = Vec::new();
        for message in messages {
            if let SimpleQueryMessage::Row(row) = message {
                let pairs = row
                    .columns()
                    .iter()
                    .enumerate()
                    .map(|(at, column)| (column.name().to_owned(), row.get(at).map(str::to_owned)))
                    .collect();
                rows.push(Row { pairs });
            }
        }
        Ok(rows)
    }

    /// Exactly one row: the contract's promise for every function with one result.
    pub fn try_row(&mut self, sql: &str) -> Result<Row, Fault> {
        let mut rows = self.try_rows(sql)?;
        assert_eq!(rows.len(), 1, "one row from: {sql}");
        Ok(rows.remove(0))
    }

    pub fn rows(&mut self, sql: &str) -> Vec<Row> {
        self.try_rows(sql).unwrap_or_else(|fault| panic!("{fault}"))
    }

    pub fn row(&mut self, sql: &str) -> Row {
        self.try_row(sql).unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// `SELECT * FROM credit_pools.<call>`, one row.
    pub fn call(&mut self, call: &str) -> Row {
        self.row(&format!("SELECT * FROM credit_pools.{call}"))
    }

    pub fn try_call(&mut self, call: &str) -> Result<Row, Fault> {
        self.try_row(&format!("SELECT * FROM credit_pools.{call}"))
    }

    /// The first column of the only row.
    pub fn value(&mut self, sql: &str) -> String {
        let row = self.row(sql);
        row.pairs[0].1.clone().unwrap_or_else(|| panic!("not NULL from: {sql}"))
    }

    pub fn try_exec(&mut self, sql: &str) -> Result<(), Fault> {
        self.client.batch_execute(sql).map_err(|error| Fault::new(sql, &error))
    }

    pub fn exec(&mut self, sql: &str) {
        self.try_exec(sql).unwrap_or_else(|fault| panic!("{fault}"));
    }

    /// The fault of a statement that has to fail.
    pub fn fault(&mut self, sql: &str) -> Fault {
        match self.try_rows(sql) {
            Err(fault) => fault,
            Ok(rows) => panic!("should have failed: {sql}\nreturned {rows:?}"),
        }
    }

    pub fn call_fault(&mut self, call: &str) -> Fault {
        self.fault(&format!("SELECT * FROM credit_pools.{call}"))
    }

    /// The pool's figure in the view `pools`; `resource_id` NULL is the global pool.
    pub fn balance(&mut self, customer: &str, resource: Option<&str>, credit_type: &str) -> String {
        let resource = resource.map_or("NULL".to_owned(), crate::text);
        self.value(&format!(
            "SELECT balance FROM credit_pools.pools WHERE customer_id = {} AND resource_id IS NOT DISTINCT FROM {resource} AND credit_type_id = {}",
            crate::text(customer),
            crate::text(credit_type)
        ))
    }
}

impl Row {
    pub fn opt(&self, column: &str) -> Option<&str> {
        match self.pairs.iter().find(|(name, _)| name == column) {
            Some((_, value)) => value.as_deref(),
            None => panic!("no column {column} in {self:?}"),
        }
    }

    pub fn get(&self, column: &str) -> &str {
        self.opt(column).unwrap_or_else(|| panic!("{column} is NULL in {self:?}"))
    }

    pub fn int(&self, column: &str) -> i64 {
        self.get(column).parse().unwrap_or_else(|_| panic!("{column} is no integer in {self:?}"))
    }

    pub fn flag(&self, column: &str) -> bool {
        self.get(column) == "t"
    }

    pub fn has(&self, column: &str) -> bool {
        self.pairs.iter().any(|(name, _)| name == column)
    }

    /// These columns alone, in this order.
    pub fn only(&self, columns: &[&str]) -> Row {
        let pairs = columns.iter().map(|column| ((*column).to_owned(), self.opt(column).map(str::to_owned))).collect();
        Row { pairs }
    }

    /// The row without one column: a duplicate's result is the first result but for `is_duplicate`.
    pub fn without(&self, column: &str) -> Row {
        let pairs = self.pairs.iter().filter(|(name, _)| name != column).cloned().collect();
        Row { pairs }
    }
}
