//! The writer thread: waiting closures share one commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::Error;
use crate::job::{Job, Verdict};
use crate::queue::Queue;
use crate::sqlite::{Session, Wal};
use crate::stats::Counters;
use crate::tx::{After, ReadTx, Tx};
use crate::wake::Hub;

pub(crate) type WriteJob = Box<dyn Job<Tx>>;

/// Everything the writer thread owns.
///
/// A group is what was queued when the last commit had ended, and what came while its closures ran: a lone
/// caller never waits for company, and the busier it gets, the more closures share a sync. The first closure
/// of a group needs no savepoint, since rolling the whole transaction back undoes it alone; each later one
/// has its own.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) tx: Tx,
    /// None for an in-memory database, which has no log.
    pub(crate) wal: Option<Wal>,
    pub(crate) queue: Arc<Queue<WriteJob>>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) batch_max: usize,
}

/// The closures of the open transaction.
#[derive(Default)]
struct Group {
    /// They ran. Some may have failed alone; their callers too hear only after the commit, since they may
    /// have seen what others wrote.
    members: Vec<WriteJob>,
    kept: usize,
    after: After,
}

impl Writer {
    /// Serves the queue until it is closed and empty.
    pub(crate) fn run(mut self) {
        let mut waiting = Vec::new();
        let mut group = Group::default();
        while self.queue.take(&mut waiting, self.batch_max) {
            self.run_group(&mut waiting, &mut group);
            self.commit(&mut group);
            self.checkpoint_if_due();
        }
    }

    fn run_group(&mut self, waiting: &mut Vec<WriteJob>, group: &mut Group) {
        let mut room = self.batch_max;
        while room > 0 {
            if waiting.is_empty() {
                self.queue.take_more(waiting, room);
            }
            if waiting.is_empty() {
                return;
            }
            room = room.saturating_sub(waiting.len());
            let mut jobs = waiting.drain(..);
            while let Some(job) = jobs.next() {
                if let Err(error) = self.enter(group) {
                    // The database is not to be had. The others have waited as long as this one: no second
                    // wait each.
                    self.lose(group, Some(job), &error);
                    jobs.by_ref().for_each(|job| self.refuse(job, &error));
                    break;
                }
                self.run_one(job, group);
            }
        }
    }

    fn run_one(&mut self, mut job: WriteJob, group: &mut Group) {
        let verdict = job.run(&mut self.tx);
        // SQLite rolls the whole transaction back by itself on some failures, and with it what the others
        // did.
        if !self.session().in_transaction() {
            let cause = self.session().spoiled().cloned().unwrap_or_else(Session::transaction_gone);
            return self.lose(group, Some(job), &cause);
        }
        match verdict {
            Verdict::Keep => self.keep(job, group),
            Verdict::Undo => self.undo(job, group),
        }
    }

    /// Opens the transaction for a group's first closure, a savepoint for a later one.
    fn enter(&mut self, group: &Group) -> Result<(), Error> {
        if group.kept > 0 {
            return self.session().control("SAVEPOINT closure");
        }
        if self.session().in_transaction() { Ok(()) } else { self.session().control("BEGIN IMMEDIATE") }
    }

    fn keep(&mut self, job: WriteJob, group: &mut Group) {
        if group.kept > 0
            && let Err(error) = self.session().control("RELEASE closure")
        {
            return self.lose(group, Some(job), &error);
        }
        self.tx.take_after(&mut group.after);
        group.kept += 1;
        group.members.push(job);
    }

    fn undo(&mut self, job: WriteJob, group: &mut Group) {
        self.tx.drop_after();
        if group.kept == 0 {
            self.counters.rolled_back(1);
            if let Err(error) = self.session().control("ROLLBACK") {
                tracing::error!(%error, "rollback failed");
            }
            return finish(job, None);
        }
        let undone = self
            .session()
            .control("ROLLBACK TO closure")
            .and_then(|()| self.session().control("RELEASE closure"));
        match undone {
            Ok(()) => {
                self.counters.rolled_back(1);
                group.members.push(job);
            }
            Err(error) => self.lose(group, Some(job), &error),
        }
    }

    /// Commits, then calls the hooks, wakes watchers and tells the callers: whose write has returned knows
    /// that its wake is out.
    fn commit(&mut self, group: &mut Group) {
        if group.kept == 0 {
            return;
        }
        if let Err(error) = self.session().control("COMMIT") {
            return self.lose(group, None, &error);
        }
        self.counters.committed(group.kept);
        group.kept = 0;
        for hook in group.after.hooks.drain(..) {
            if catch_unwind(AssertUnwindSafe(hook)).is_err() {
                tracing::error!("a hook after a commit panicked");
            }
        }
        self.hub.wake(&group.after.wakes);
        group.after.wakes.clear();
        for job in group.members.drain(..) {
            finish(job, None);
        }
    }

    /// The whole transaction is gone: tells every member of it, and `culprit`, whose failure it was.
    fn lose(&mut self, group: &mut Group, culprit: Option<WriteJob>, error: &Error) {
        self.tx.drop_after();
        if self.session().in_transaction()
            && let Err(error) = self.session().control("ROLLBACK")
        {
            tracing::error!(%error, "rollback failed");
        }
        tracing::debug!(%error, closures = group.kept, "a commit was lost as a whole");
        self.counters.rolled_back(group.kept);
        group.after.clear();
        group.kept = 0;
        // Whoever was alone in it has nobody else to blame.
        let alone = culprit.is_none() && group.members.len() == 1;
        let shared = if alone { error.clone() } else { error.for_neighbour() };
        for job in group.members.drain(..) {
            finish(job, Some(&shared));
        }
        if let Some(job) = culprit {
            self.refuse(job, error);
        }
    }

    fn refuse(&self, job: WriteJob, error: &Error) {
        self.counters.rolled_back(1);
        finish(job, Some(error));
    }

    fn checkpoint_if_due(&mut self) {
        let idle = self.queue.len() == 0;
        let Some(wal) = &mut self.wal else { return };
        let Some(due) = wal.due(idle) else { return };
        match self.tx.session().checkpoint(due) {
            Ok((log, copied)) => {
                wal.checkpointed(log);
                self.counters.checkpointed();
                self.counters.synced(if copied >= log { 3 } else { 1 });
            }
            // Nothing is lost: the log still holds it all, and the next try comes once it has grown.
            Err(error) => {
                tracing::warn!(%error, "checkpoint failed");
                wal.postpone();
            }
        }
    }

    fn session(&mut self) -> &mut Session {
        ReadTx::session(&mut self.tx)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Should this thread ever die of a panic of ours, callers hear `Closed` rather than wait for ever.
        self.queue.abandon();
    }
}

/// Replies. Dropping what the closure returned runs code of its owner, which must not take the writer down.
fn finish(job: WriteJob, failure: Option<&Error>) {
    if catch_unwind(AssertUnwindSafe(|| job.finish(failure))).is_err() {
        tracing::error!("a closure's result panicked when it was handed over");
    }
}

#[cfg(test)]
mod tests;
