//! What two tables are compared by.

use leeward_store::{Db, Error, params};
use serde::Serialize;

use super::{Definition, Table};

/// Rows read at a time.
const PAGE_ROWS: u32 = 1000;

/// The number of rows, and a sum over the hashes of all of them, in whatever order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checksum {
    /// Rows.
    pub rows: u64,
    /// The sum.
    pub sum: u64,
}

impl Checksum {
    fn add(&mut self, key: &str, content: &str) {
        let bytes = key.bytes().chain([0xff]).chain(content.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash);
    }

    /// Reads a table page by page. Whoever writes it must hold still meanwhile.
    pub(super) async fn of(db: &Db, definition: &Definition, table: &Table) -> Result<Self, Error> {
        let sql = table.sql(definition.digest);
        let mut checksum = Self::default();
        let mut after = String::new();
        loop {
            let (page_sql, from) = (sql.clone(), after.clone());
            let rows = db.read(async move |tx| tx.query(&page_sql, params![from, PAGE_ROWS]).await).await?;
            let Some(last) = rows.last() else { return Ok(checksum) };
            let next: String = last.get(0)?;
            for row in &rows {
                checksum.add(row.get(0)?, row.get(1)?);
            }
            if next <= after {
                // The query's rows do not ascend: it would go round for ever.
                return Err(Error::ManyRows);
            }
            after = next;
        }
    }
}
