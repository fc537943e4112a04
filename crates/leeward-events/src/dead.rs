//! Dead letters: events that were given up, for somebody to look at, edit, replay or drop.
//!
//! A dead letter holds up its key in its group: what came later waits behind it, so that whatever is decided the order stays.

use std::sync::Arc;

use leeward_resilience::Clock;
use leeward_store::{Db, Row, Tx, params};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::consumer::parking::{DEAD, RETRY, promote, topic};
use crate::envelope::{self, Envelope};
use crate::inbox;

/// Most dead letters of one page.
pub const PAGE_MAX: u32 = 500;

/// Most audit lines shown with one dead letter.
const AUDIT_MAX: u32 = 100;

/// The dead letters in one database.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    db: Db,
    clock: Arc<dyn Clock>,
}

/// A dead letter in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Its number in this database.
    pub seq: i64,
    /// The group that could not handle it.
    pub group: String,
    /// Its key.
    pub key: String,
    /// Its kind.
    pub kind: String,
    /// Who published it.
    pub source: String,
    /// Its id.
    pub event_id: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it failed first, in milliseconds since 1970.
    pub parked_ms: i64,
    /// Why it failed last.
    pub reason: String,
    /// Events of the same key that wait behind it.
    pub waiting: u64,
}

/// A dead letter with all that is known of it.
#[derive(Clone, Debug, Serialize)]
pub struct Details {
    /// The letter.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// The event as it will be handled, which need not be valid JSON if that is why it is dead.
    pub body: String,
    /// What was done to it.
    pub audit: Vec<AuditLine>,
}

/// What somebody did to a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditLine {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// `edit`, `replay` or `drop`.
    pub action: String,
    /// Why.
    pub note: String,
}

/// Who changes a dead letter, and why: it stands in the audit table.
#[derive(Clone, Debug)]
pub struct By {
    /// Who.
    pub actor: String,
    /// Why.
    pub note: String,
}

/// Why a dead letter was not changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no dead letter with this number: perhaps it was replayed or dropped meanwhile.
    #[error("there is no dead letter {seq}")]
    NotFound {
        /// The number.
        seq: i64,
    },
    /// The event cannot be edited, or its new form is not taken.
    #[error("dead letter {seq} cannot be edited: {cause}")]
    Event {
        /// The number.
        seq: i64,
        /// Why.
        cause: envelope::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] leeward_store::Error),
}

const COLUMNS: &str = "SELECT p.seq, p.consumer, p.event_key, p.kind, p.source, p.event_id, p.attempts, p.parked_ms, p.reason,
    (SELECT COUNT(*) FROM parked b WHERE b.consumer = p.consumer AND b.event_key = p.event_key AND b.seq > p.seq), p.body
    FROM parked p";

impl DeadLetters {
    /// The dead letters of the consumers over `db`.
    #[must_use]
    pub fn new(db: Db, clock: Arc<dyn Clock>) -> Self {
        Self { db, clock }
    }

    /// Dead letters after the number `after_seq`, from 0, oldest first: of one group or of all; at most `letters_max` and [`PAGE_MAX`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(
        &self,
        group: Option<&str>,
        after_seq: i64,
        letters_max: u32,
    ) -> Result<Vec<DeadLetter>, Error> {
        let group = group.map(str::to_owned);
        self.db
            .read(async move |tx| {
                let sql = format!(
                    "{COLUMNS} WHERE p.state = $1 AND p.seq > $2 AND ($3 IS NULL OR p.consumer = $3) ORDER BY p.seq LIMIT $4"
                );
                let rows = tx.query(&sql, params![DEAD, after_seq, group, letters_max.min(PAGE_MAX)]).await?;
                rows.iter().map(letter).collect::<Result<_, _>>().map_err(Error::Store)
            })
            .await
    }

    /// One dead letter.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn show(&self, seq: i64) -> Result<Details, Error> {
        self.db
            .read(async move |tx| {
                let sql = format!("{COLUMNS} WHERE p.seq = $1 AND p.state = $2");
                let row = tx.query_opt(&sql, params![seq, DEAD]).await?.ok_or(Error::NotFound { seq })?;
                let audit = "SELECT at_ms, actor, action, note FROM parked_audit WHERE parked_seq = $1 ORDER BY seq LIMIT $2";
                let audit = tx.query(audit, params![seq, AUDIT_MAX]).await?;
                Ok(Details {
                    letter: letter(&row)?,
                    body: String::from_utf8_lossy(row.get(10)?).into_owned(),
                    audit: audit.iter().map(audit_line).collect::<Result<_, _>>()?,
                })
            })
            .await
    }

    /// Replaces the data of a dead letter; its envelope, and so its id and key, stay. What it was stands in the audit table.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Event`], [`Error::Store`].
    pub async fn edit(&self, seq: i64, data: Box<RawValue>, by: By) -> Result<(), Error> {
        let refused = move |cause| Error::Event { seq, cause };
        let clock = self.clock.clone();
        self.db
            .write(async move |tx: &mut Tx| {
                let row = dead(tx, seq).await?;
                let before: Vec<u8> = row.get(10)?;
                let mut event = Envelope::parse(&before).map_err(refused)?;
                event.data = data;
                let body = event.to_json().map_err(refused)?;
                tx.execute("UPDATE parked SET body = $2 WHERE seq = $1", params![seq, body]).await?;
                audit(tx, &row, "edit", &by, Some(&before), clock.unix_ms()).await
            })
            .await
    }

    /// Hands a dead letter to its group again, at once and with all its attempts; what waits behind it follows if it succeeds.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn replay(&self, seq: i64, by: By) -> Result<(), Error> {
        let clock = self.clock.clone();
        self.db
            .write(async move |tx: &mut Tx| {
                let row = dead(tx, seq).await?;
                let sql = "UPDATE parked SET state = $2, attempts = 0, due_ms = 0 WHERE seq = $1";
                tx.execute(sql, params![seq, RETRY]).await?;
                tx.wake(topic(row.get(1)?));
                audit(tx, &row, "replay", &by, None, clock.unix_ms()).await
            })
            .await
    }

    /// Gives a dead letter up for good: its group has handled it, without effect, and what waits behind it follows.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Store`].
    pub async fn drop(&self, seq: i64, by: By) -> Result<(), Error> {
        let clock = self.clock.clone();
        self.db
            .write(async move |tx: &mut Tx| {
                let row = dead(tx, seq).await?;
                let (group, key): (&str, &str) = (row.get(1)?, row.get(2)?);
                let (source, id): (&str, &str) = (row.get(4)?, row.get(5)?);
                // A second copy of the event, parked or still to come, is dropped with it.
                inbox::note(tx, group, source, id, clock.unix_ms()).await?;
                tx.execute("DELETE FROM parked WHERE seq = $1", params![seq]).await?;
                promote(tx, group, key).await?;
                tx.wake(topic(group));
                audit(tx, &row, "drop", &by, Some(row.get(10)?), clock.unix_ms()).await
            })
            .await
    }
}

async fn dead(tx: &mut Tx, seq: i64) -> Result<Row, Error> {
    let sql = format!("{COLUMNS} WHERE p.seq = $1 AND p.state = $2");
    tx.query_opt(&sql, params![seq, DEAD]).await?.ok_or(Error::NotFound { seq })
}

async fn audit(
    tx: &mut Tx,
    row: &Row,
    action: &str,
    by: &By,
    body_before: Option<&[u8]>,
    at_ms: i64,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO parked_audit (at_ms, actor, action, parked_seq, consumer, event_id, note, body_before)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        params![
            at_ms,
            by.actor,
            action,
            row.get::<i64>(0)?,
            row.get::<&str>(1)?,
            row.get::<&str>(5)?,
            by.note,
            body_before
        ],
    )
    .await?;
    Ok(())
}

fn letter(row: &Row) -> Result<DeadLetter, leeward_store::Error> {
    Ok(DeadLetter {
        seq: row.get(0)?,
        group: row.get(1)?,
        key: row.get(2)?,
        kind: row.get(3)?,
        source: row.get(4)?,
        event_id: row.get(5)?,
        attempts: row.get(6)?,
        parked_ms: row.get(7)?,
        reason: row.get(8)?,
        waiting: row.get(9)?,
    })
}

fn audit_line(row: &Row) -> Result<AuditLine, leeward_store::Error> {
    Ok(AuditLine { at_ms: row.get(0)?, actor: row.get(1)?, action: row.get(2)?, note: row.get(3)? })
}
