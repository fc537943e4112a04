//! What operators read of the sagas' rows.

use leeward_store::{ReadTx, Row, params};

use super::history::{self, Entry};
use super::saga::{COLUMNS, Raw, read};
use crate::error::Error;
use crate::operator::Counts;
use crate::status::Status;

/// A saga's row as an operator sees it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) raw: Raw,
    pub(crate) status: Status,
    pub(crate) step: Option<String>,
    pub(crate) attempt: u32,
    pub(crate) due_ms: Option<i64>,
    pub(crate) note: Option<String>,
    pub(crate) updated_ms: i64,
}

/// What [`Seen`] reads after [`COLUMNS`], in its order.
const MORE: &str = "status, refused, step, attempt, due_ms, note, updated_ms";

/// Sagas before `before`, the newest first.
pub(crate) async fn list(
    tx: &mut ReadTx,
    saga: Option<&str>,
    status: Option<Status>,
    before: i64,
    limit: i64,
) -> Result<Vec<Seen>, Error> {
    // Literals, so that the partial indexes serve.
    let of_status = match status {
        None => String::new(),
        Some(Status::Refused) => " AND refused = 1".to_owned(),
        Some(status) => format!(" AND refused = 0 AND status = '{}'", status.name()),
    };
    let of_saga = if saga.is_some() { " AND saga = $3" } else { "" };
    let sql = format!(
        "SELECT {COLUMNS}, {MORE} FROM leeward_sagas WHERE seq < $1{of_status}{of_saga} ORDER BY seq DESC LIMIT $2"
    );
    let rows = match saga {
        Some(saga) => tx.query(&sql, params![before, limit, saga]).await?,
        None => tx.query(&sql, params![before, limit]).await?,
    };
    rows.iter().map(seen_row).collect()
}

/// A saga by its id.
pub(crate) async fn seen(tx: &mut ReadTx, id: &str) -> Result<Option<Seen>, Error> {
    let sql = format!("SELECT {COLUMNS}, {MORE} FROM leeward_sagas WHERE id = $1");
    tx.query_opt(&sql, params![id]).await?.as_ref().map(seen_row).transpose()
}

/// A saga's history.
pub(crate) async fn history(tx: &mut ReadTx, id: &str) -> Result<Vec<Entry>, Error> {
    let row = tx.query_one("SELECT history FROM leeward_sagas WHERE id = $1", params![id]).await?;
    history::decode(row.get(0)?).map_err(|error| Error::Decode(error.to_string()))
}

/// The next sagas after `seq` that have not ended.
pub(crate) async fn unended_after(tx: &mut ReadTx, seq: i64, limit: i64) -> Result<Vec<Raw>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM leeward_sagas WHERE seq > $1 AND (live = 1 OR status = 'stuck' OR refused = 1) ORDER BY seq LIMIT $2"
    );
    tx.query(&sql, params![seq, limit]).await?.iter().map(read).collect()
}

/// The sagas that have not ended, counted.
pub(crate) async fn counts(tx: &mut ReadTx) -> Result<Counts, Error> {
    let live = "SELECT saga, status, refused, COUNT(*) FROM leeward_sagas WHERE live = 1 GROUP BY saga, status, refused";
    let held =
        "SELECT saga, status, refused, COUNT(*) FROM leeward_sagas WHERE status = 'stuck' OR refused = 1
                GROUP BY saga, status, refused";
    let mut counts = Counts::new();
    for sql in [live, held] {
        for row in tx.query(sql, params![]).await? {
            *counts.entry((row.get(0)?, status(row.get(1)?, row.get(2)?)?)).or_default() +=
                row.get::<u64>(3)?;
        }
    }
    Ok(counts)
}

fn seen_row(row: &Row) -> Result<Seen, Error> {
    Ok(Seen {
        raw: read(row)?,
        status: status(row.get(10)?, row.get(11)?)?,
        step: row.get(12)?,
        attempt: row.get(13)?,
        due_ms: row.get(14)?,
        note: row.get(15)?,
        updated_ms: row.get(16)?,
    })
}

fn status(name: &str, refused: bool) -> Result<Status, Error> {
    if refused {
        return Ok(Status::Refused);
    }
    Status::parse(name).ok_or_else(|| Error::Decode(format!("`{name}` is no status")))
}
