//! The database's threads: started, told to stop by their queue's end, joined.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use crate::db::Shared;
use crate::error::Error;
use crate::lock::Lock;
use crate::reader::Reader;
use crate::sqlite::{Role, Session, Target, Wal, open};
use crate::tx::{ReadTx, Tx};
use crate::writer::Writer;

/// The running threads.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    handles: Vec<JoinHandle<()>>,
    /// Its senders live in the threads: it fails once the last of them has ended.
    alive: Option<watch::Receiver<()>>,
}

/// What every thread of a database holds until its connection is closed.
#[derive(Debug)]
struct Held {
    _lock: Option<Lock>,
    _alive: watch::Sender<()>,
}

impl Threads {
    /// Takes the lock, then opens the writer, which makes the file, then the readers; each on its own thread.
    pub(crate) async fn start(shared: &Shared) -> Result<Self, Error> {
        let (alive, ended) = watch::channel(());
        let mut threads = Self { handles: Vec::new(), alive: Some(ended) };
        let started = threads.start_all(shared, alive).await;
        if started.is_err() {
            shared.writes.close();
            shared.reads.close();
            // The lock is free again when the caller hears of the failure.
            threads.ended().await;
        }
        started.map(|()| threads)
    }

    async fn start_all(&mut self, shared: &Shared, alive: watch::Sender<()>) -> Result<(), Error> {
        let (target, options) = (shared.target.clone(), shared.options.clone());
        let (queue, hub, counters) =
            (Arc::clone(&shared.writes), Arc::clone(&shared.hub), Arc::clone(&shared.counters));
        let held = self
            .spawn(format!("{}-writer", shared.name), move || {
                let lock = match &target {
                    Target::File(path) => Some(Lock::take(path)?),
                    Target::Memory => None,
                };
                let mut conn = open(&target, Role::Writer, &options)?;
                let wal = match &target {
                    Target::File(_) => Some(Wal::install(&mut conn, &counters)?),
                    Target::Memory => None,
                };
                let held = Arc::new(Held { _lock: lock, _alive: alive });
                let tx = Tx::new(Session::new(conn, true, options.busy_timeout));
                let writer = Writer { tx, wal, queue, hub, counters, batch_max: options.batch_max };
                Ok((Arc::clone(&held), move || {
                    writer.run();
                    drop(held);
                }))
            })
            .await?;
        if matches!(shared.target, Target::Memory) {
            return Ok(());
        }
        for number in 1..=shared.options.readers {
            let (target, options) = (shared.target.clone(), shared.options.clone());
            let (queue, counters) = (Arc::clone(&shared.reads), Arc::clone(&shared.counters));
            let held = Arc::clone(&held);
            self.spawn(format!("{}-reader-{number}", shared.name), move || {
                let conn = open(&target, Role::Reader, &options)?;
                let reader = Reader {
                    tx: ReadTx::new(Session::new(conn, false, options.busy_timeout)),
                    queue,
                    counters,
                };
                Ok(((), move || {
                    reader.run();
                    drop(held);
                }))
            })
            .await?;
        }
        Ok(())
    }

    /// Starts a thread that first opens (and reports how that went) and then serves.
    async fn spawn<O, S, T>(&mut self, name: String, opening: O) -> Result<T, Error>
    where
        O: FnOnce() -> Result<(T, S), Error> + Send + 'static,
        S: FnOnce(),
        T: Send + 'static,
    {
        let (report, opened) = oneshot::channel();
        let handle = std::thread::Builder::new()
            .name(name)
            .spawn(move || match opening() {
                Ok((value, serve)) => {
                    drop(report.send(Ok(value)));
                    serve();
                }
                Err(error) => drop(report.send(Err(error))),
            })
            .map_err(|error| Error::io(&error))?;
        self.handles.push(handle);
        opened.await.unwrap_or(Err(Error::Closed))
    }

    /// Waits until all have ended.
    pub(crate) async fn ended(&self) {
        if let Some(mut alive) = self.alive.clone() {
            // Nothing is ever sent: it ends with the last sender.
            while alive.changed().await.is_ok() {}
        }
    }

    /// Blocks until all have ended, except the one that calls it: a closure may own the last handle.
    pub(crate) fn join(&mut self) {
        let own = std::thread::current().id();
        for handle in self.handles.drain(..).filter(|handle| handle.thread().id() != own) {
            if handle.join().is_err() {
                tracing::error!("a database thread panicked");
            }
        }
    }
}
