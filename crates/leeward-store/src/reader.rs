//! A reader thread: one closure at a time, each on a snapshot of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::Error;
use crate::job::Job;
use crate::queue::Queue;
use crate::stats::Counters;
use crate::tx::ReadTx;

pub(crate) type ReadJob = Box<dyn Job<ReadTx>>;

/// Everything a reader thread owns.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) tx: ReadTx,
    pub(crate) queue: Arc<Queue<ReadJob>>,
    pub(crate) counters: Arc<Counters>,
}

impl Reader {
    /// Serves the queue until it is closed and empty.
    pub(crate) fn run(mut self) {
        let mut one = Vec::with_capacity(1);
        while self.queue.take(&mut one, 1) {
            for job in one.drain(..) {
                self.serve(job);
            }
        }
    }

    fn serve(&mut self, mut job: ReadJob) {
        self.counters.read();
        let failure = self.run_on_snapshot(&mut job).err();
        // As in the writer: what the closure returned may panic when it is dropped.
        if catch_unwind(AssertUnwindSafe(|| job.finish(failure.as_ref()))).is_err() {
            tracing::error!("a closure's result panicked when it was handed over");
        }
    }

    fn run_on_snapshot(&mut self, job: &mut ReadJob) -> Result<(), Error> {
        // The first statement takes the snapshot; it lasts until the transaction ends.
        self.tx.session().control("BEGIN")?;
        job.run(&mut self.tx);
        if self.tx.session().in_transaction() { self.tx.session().control("ROLLBACK") } else { Ok(()) }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Should this thread ever die of a panic of ours, callers hear `Closed` rather than wait for ever.
        if std::thread::panicking() {
            self.queue.abandon();
        }
    }
}
