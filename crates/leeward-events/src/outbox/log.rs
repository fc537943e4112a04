//! The outbox read as the service's event log.

use std::sync::Arc;

use leeward_store::{ReadTx, params};
use serde::{Deserialize, Serialize};

use super::{Error, Outbox};
use crate::envelope::Envelope;

/// Most events of one page.
pub const LOG_PAGE_MAX: u32 = 1000;

/// A page of a service's event log, in the order in which the service committed the events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogPage {
    /// The service whose log it is.
    pub source: Arc<str>,
    /// The number of the oldest event that the log still has. If it is past the number after the reader's own, what lies between is
    /// gone: the reader starts from a snapshot.
    pub oldest_seq: i64,
    /// The number of the newest event.
    pub newest_seq: i64,
    /// The events.
    pub entries: Vec<LogEntry>,
}

/// An event with its place in the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its number. Numbers ascend; some may be missing.
    pub seq: i64,
    /// The event.
    pub event: Envelope,
}

impl Outbox {
    /// Reads the log after the event with the number `after_seq`, from 0; at most `entries_max` events, and at most [`LOG_PAGE_MAX`].
    ///
    /// It is safe to go on from the last number read: an event that commits later has a higher one. Events that the relay has not
    /// published yet are among them, since they are committed.
    ///
    /// # Errors
    /// [`Error::Store`], and [`Error::Event`] for a row that is no event, which nothing but a damaged database explains.
    pub async fn read_log(
        &self,
        tx: &mut ReadTx,
        after_seq: i64,
        entries_max: u32,
    ) -> Result<LogPage, Error> {
        let ends = tx
            .query_one("SELECT COALESCE(MIN(seq), 0), COALESCE(MAX(seq), 0) FROM outbox", params![])
            .await?;
        let sql = "SELECT seq, body FROM outbox WHERE seq > $1 ORDER BY seq LIMIT $2";
        let rows = tx.query(sql, params![after_seq, entries_max.min(LOG_PAGE_MAX)]).await?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in &rows {
            let seq = row.get(0)?;
            let mut event = Envelope::parse(row.get(1)?)?;
            event.log_seq = Some(seq);
            entries.push(LogEntry { seq, event });
        }
        let (oldest_seq, newest_seq) = (ends.get(0)?, ends.get(1)?);
        Ok(LogPage { source: self.source().clone(), oldest_seq, newest_seq, entries })
    }
}
