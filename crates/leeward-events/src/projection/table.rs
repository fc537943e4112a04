//! A table whose name is known only at run time: live or shadow.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// What stands for the table's name in a statement.
const PLACE: &str = "{table}";

/// The table that a projection's handler writes. It puts the name into statements, once for each statement.
#[derive(Debug)]
pub struct Table {
    name: Arc<str>,
    /// By the address of the text, which a `'static` one keeps: no hashing of statements on the way of each event. Bounded by
    /// the statements in the program.
    statements: Mutex<HashMap<usize, Arc<str>>>,
}

impl Table {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), statements: Mutex::default() }
    }

    /// The table's name at the moment.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The statement with the table's name in place of `{table}`.
    ///
    /// ```
    /// # fn example(table: &leeward_events::projection::Table) {
    /// let sql = table.sql("DELETE FROM {table} WHERE id = $1");
    /// # }
    /// ```
    #[must_use]
    pub fn sql(&self, statement: &'static str) -> Arc<str> {
        let mut statements = self.statements.lock();
        // Two texts at one address are the same up to their lengths, so that the length belongs to the key.
        let key = (statement.as_ptr().addr() << 16) ^ statement.len();
        let filled = statements.entry(key).or_insert_with(|| statement.replace(PLACE, &self.name).into());
        filled.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_filled_in_everywhere() {
        let (live, shadow) = (Table::new("stock"), Table::new("stock__2"));
        const SQL: &str = "INSERT INTO {table} SELECT * FROM {table} WHERE a = '{}'";
        for _ in 0..2 {
            assert_eq!(&*live.sql(SQL), "INSERT INTO stock SELECT * FROM stock WHERE a = '{}'");
            assert_eq!(&*shadow.sql(SQL), "INSERT INTO stock__2 SELECT * FROM stock__2 WHERE a = '{}'");
        }
        assert_ne!(live.sql("SELECT 1 FROM {table}"), live.sql("SELECT 2 FROM {table}"));
    }
}
