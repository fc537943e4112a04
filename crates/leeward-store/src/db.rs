//! The handle that a service holds.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::Error;
use crate::job::{Closure, OnWriter};
use crate::migrate::{self, Migration};
use crate::options::Options;
use crate::queue::{Queue, Refused};
use crate::reader::ReadJob;
use crate::sqlite::{self, Target};
use crate::stats::{Counters, Stats};
use crate::threads::Threads;
use crate::tx::{ReadTx, Tx};
use crate::url;
use crate::wake::{Hub, Watch};
use crate::writer::WriteJob;

/// An open database. Cloning it is cheap; the last handle that goes drains the queue and closes the file.
///
/// # Dropping
/// Dropping the last handle waits for the database's threads, which is milliseconds; call
/// [`close`](Self::close) first to wait without blocking the runtime's thread.
#[derive(Clone, Debug)]
pub struct Db {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) options: Options,
    pub(crate) writes: Arc<Queue<WriteJob>>,
    pub(crate) reads: Arc<Queue<ReadJob>>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) counters: Arc<Counters>,
    threads: Threads,
}

/// What durability rests on, as the database reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The linked SQLite's version.
    pub sqlite_version: &'static str,
    /// `wal` for a file.
    pub journal_mode: String,
    /// `2`, which is FULL: the log is synced before a commit returns.
    pub synchronous: String,
}

impl Db {
    /// Opens the database at `url`: `sqlite:PATH`, or `sqlite::memory:` for tests. A missing file and its
    /// folder are made.
    ///
    /// # Errors
    /// [`Error::Backend`] and [`Error::Url`] for a URL that this build cannot serve; [`Error::Locked`] when
    /// it is in use; [`Error::Open`], [`Error::Version`], [`Error::Setting`], [`Error::Corrupt`] and
    /// [`Error::NewerSchema`] when it cannot be used.
    pub async fn open(url: &str, options: Options) -> Result<Self, Error> {
        let target = url::parse(url)?;
        let options = options.clamped();
        let mut shared = Shared {
            name: url::name(&target),
            writes: Arc::new(Queue::new(options.queue_max)),
            reads: Arc::new(Queue::new(options.queue_max)),
            hub: Arc::default(),
            counters: Arc::default(),
            threads: Threads::default(),
            target,
            options,
        };
        shared.threads = Threads::start(&shared).await?;
        let db = Self { shared: Arc::new(shared) };
        db.migrate(migrate::STORE, migrate::STORE_MIGRATIONS).await?;
        Ok(db)
    }

    /// Applies what is missing of a component's migrations, all in one transaction. Each component numbers
    /// its own, from 1.
    ///
    /// # Errors
    /// [`Error::NewerSchema`] when the database has migrations that this binary does not know;
    /// [`Error::MigrationList`] when an applied one was changed or the numbers have a gap;
    /// [`Error::Migration`] when one fails: then none of the call is applied.
    pub async fn migrate(&self, component: &'static str, migrations: &[Migration]) -> Result<(), Error> {
        let migrations = migrations.to_vec();
        self.write(async move |tx: &mut Tx| migrate::apply(tx, component, &migrations).await).await
    }

    /// Runs `closure` as one transaction. `Ok` means committed and on disk. An `Err` of the closure rolls it
    /// back, alone.
    ///
    /// The closure runs on the database's writer thread and shares a commit with whatever else is queued. It
    /// owns its data (`async move`) and awaits nothing but the methods of its transaction.
    ///
    /// # Errors
    /// What the closure returns; [`Error::QueueFull`], [`Error::Closed`]; what a failed commit reports
    /// ([`Error::DiskFull`] and others); [`Error::ForeignWait`], [`Error::Panicked`] and [`Error::Aborted`]
    /// for a closure that broke the rules.
    ///
    /// # Cancel safety
    /// Dropping the future after its first poll leaves the outcome open: the closure may still run and
    /// commit.
    pub async fn write<F, T, E>(&self, closure: F) -> Result<T, E>
    where
        F: AsyncFnOnce(&mut Tx) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.queue(&self.shared.writes, Box::new(Closure::new(closure, reply)))?;
        answer.await.unwrap_or_else(|_| Err(Error::Closed.into()))
    }

    /// Runs `closure` on a snapshot of the database: all its statements see the same commits, at least all
    /// whose `write` had returned before. It waits for no writer.
    ///
    /// # Errors
    /// What the closure returns; [`Error::QueueFull`], [`Error::Closed`]; [`Error::Forbidden`] for a
    /// statement that writes; [`Error::ForeignWait`], [`Error::Panicked`] and [`Error::Aborted`] for a
    /// closure that broke the rules.
    ///
    /// # Cancel safety
    /// Dropping the future is safe; the closure may still run.
    pub async fn read<F, T, E>(&self, closure: F) -> Result<T, E>
    where
        F: AsyncFnOnce(&mut ReadTx) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: ReadJob = Box::new(Closure::new(closure, reply));
        match self.shared.target {
            Target::File(_) => self.queue(&self.shared.reads, job)?,
            Target::Memory => self.queue(&self.shared.writes, Box::new(OnWriter(job)))?,
        }
        answer.await.unwrap_or_else(|_| Err(Error::Closed.into()))
    }

    /// Watches `topic`: see [`Tx::wake`].
    #[must_use]
    pub fn watch(&self, topic: &str) -> Watch {
        self.shared.hub.watch(topic)
    }

    /// The database's short name: its file's name without the extension.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What it has done since it was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.counters.snapshot(self.shared.writes.len())
    }

    /// What the writer's connection is set to, read back from it now.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub async fn settings(&self) -> Result<Settings, Error> {
        self.write(async |tx: &mut Tx| {
            let session = ReadTx::session(tx);
            Ok(Settings {
                sqlite_version: sqlite::version(),
                journal_mode: session.pragma("journal_mode")?,
                synchronous: session.pragma("synchronous")?,
            })
        })
        .await
    }

    /// Refuses new closures, waits for those queued, and closes the file. Other handles answer
    /// [`Error::Closed`] from then on.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the closing.
    pub async fn close(&self) {
        self.shared.close_queues();
        self.shared.threads.ended().await;
    }

    fn queue<J>(&self, queue: &Queue<J>, job: J) -> Result<(), Error> {
        queue.push(job).map_err(|refused| match refused {
            Refused::Closed => Error::Closed,
            Refused::Full => {
                self.shared.counters.refused();
                Error::QueueFull { name: self.shared.name.clone(), limit: self.shared.options.queue_max }
            }
        })
    }
}

impl Shared {
    fn close_queues(&self) {
        self.reads.close();
        self.writes.close();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close_queues();
        self.threads.join();
    }
}
