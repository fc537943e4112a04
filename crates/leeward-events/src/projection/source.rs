//! Where a rebuild reads the log from.

use std::pin::Pin;

use leeward_store::Db;

use crate::outbox::{self, LogPage, Outbox};

/// What [`LogSource::page`] returns.
pub type LogFuture<'a> = Pin<Box<dyn Future<Output = Result<LogPage, LogError>> + Send + 'a>>;

/// The event log of the service that owns what a projection shows: in this process or over HTTP.
pub trait LogSource: Send + Sync {
    /// The log after the event with the number `after_seq`, at most `events_max` events. A page without events is its end.
    fn page(&self, after_seq: i64, events_max: u32) -> LogFuture<'_>;
}

/// Why a log could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the log cannot be read: {0}")]
pub struct LogError(pub String);

/// A log in a database of this process.
#[derive(Clone, Debug)]
pub struct LocalLog {
    db: Db,
    outbox: Outbox,
}

impl LocalLog {
    /// The log of `outbox` in `db`.
    #[must_use]
    pub fn new(db: Db, outbox: Outbox) -> Self {
        Self { db, outbox }
    }
}

impl LogSource for LocalLog {
    fn page(&self, after_seq: i64, events_max: u32) -> LogFuture<'_> {
        Box::pin(async move {
            let outbox = self.outbox.clone();
            let read = self.db.read(async move |tx| outbox.read_log(tx, after_seq, events_max).await);
            read.await.map_err(|cause: outbox::Error| LogError(cause.to_string()))
        })
    }
}
