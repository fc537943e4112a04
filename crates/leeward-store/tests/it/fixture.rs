//! A database in a folder of its own, and a gate that holds one of its threads.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use leeward_store::{Db, Error, Migration, Options, ReadTx, Tx, params};
use tempfile::TempDir;

pub(crate) const TABLES: &[Migration] = &[Migration {
    version: 1,
    name: "entries",
    sqlite: "CREATE TABLE entries (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;",
    postgres: "CREATE TABLE entries (key TEXT PRIMARY KEY, value BIGINT NOT NULL);",
}];

pub(crate) struct Fixture {
    pub(crate) db: Db,
    pub(crate) url: String,
    pub(crate) folder: TempDir,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
        let db = open(&url, options).await;
        Self { db, url, folder }
    }

    /// Closes the database and opens it again, as a restart does.
    pub(crate) async fn reopen(self) -> Self {
        self.db.close().await;
        drop(self.db);
        let db = open(&self.url, Options::default()).await;
        Self { db, ..self }
    }
}

pub(crate) async fn open(url: &str, options: Options) -> Db {
    let db = Db::open(url, options).await.unwrap();
    db.migrate("entries", TABLES).await.unwrap();
    db
}

pub(crate) async fn insert(tx: &mut Tx, key: &str, value: i64) -> Result<(), Error> {
    tx.execute("INSERT INTO entries (key, value) VALUES ($1, $2)", params![key, value]).await?;
    Ok(())
}

pub(crate) async fn put(db: &Db, key: impl Into<String>, value: i64) -> Result<(), Error> {
    let key = key.into();
    db.write(async move |tx: &mut Tx| insert(tx, &key, value).await).await
}

pub(crate) async fn keys(tx: &mut ReadTx) -> Result<Vec<String>, Error> {
    let rows = tx.query("SELECT key FROM entries ORDER BY key", params![]).await?;
    rows.iter().map(|row| row.get(0)).collect()
}

pub(crate) async fn stored(db: &Db) -> Vec<String> {
    db.read(keys).await.unwrap()
}

/// Holds the thread that runs a closure, so that a test decides what is queued behind it.
pub(crate) struct Gate {
    entered: Receiver<()>,
    open: SyncSender<()>,
}

/// The closure's side of a [`Gate`].
pub(crate) struct Hold {
    enter: SyncSender<()>,
    opened: Receiver<()>,
}

pub(crate) fn gate() -> (Gate, Hold) {
    let ((enter, entered), (open, opened)) = (sync_channel(1), sync_channel(1));
    (Gate { entered, open }, Hold { enter, opened })
}

impl Gate {
    /// Waits until the closure stands at its gate.
    pub(crate) fn wait(&self) {
        self.entered.recv().unwrap();
    }

    pub(crate) fn open(&self) {
        self.open.send(()).unwrap();
    }
}

impl Hold {
    /// Stands at the gate until it is opened.
    pub(crate) fn stand(&self) {
        self.enter.send(()).unwrap();
        self.opened.recv().unwrap();
    }
}

/// Holds the writer in a transaction that writes nothing; the handle ends when the gate is opened.
pub(crate) async fn hold_writer(db: &Db) -> (Gate, tokio::task::JoinHandle<Result<(), Error>>) {
    let ((gate, hold), db) = (gate(), db.clone());
    #[allow(clippy::disallowed_methods, reason = "a test's own task")]
    let held = tokio::spawn(async move {
        db.write(async move |_: &mut Tx| {
            hold.stand();
            Ok(())
        })
        .await
    });
    // Let the task queue its closure, then wait for the writer to take it.
    tokio::task::yield_now().await;
    gate.wait();
    (gate, held)
}

/// Polls once: queues a write without waiting for it.
pub(crate) fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
