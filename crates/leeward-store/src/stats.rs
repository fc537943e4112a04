//! What a database has done since it was opened.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the database was opened, and the queue as it is now. They are read one by one: close to each
/// other, not exact together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Commits of the writer, each of one or more transactions.
    pub commits: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Transactions rolled back: their closure failed, panicked or waited, or the commit failed.
    pub rolled_back: u64,
    /// Closures refused since a queue was full.
    pub refused: u64,
    /// Reading closures run.
    pub reads: u64,
    /// The largest number of transactions that shared a commit.
    pub batch_max: u64,
    /// Syncs that SQLite's log protocol made: one a writing commit, and three a finished checkpoint (log,
    /// file, the log's new header).
    pub syncs: u64,
    /// Checkpoints run.
    pub checkpoints: u64,
    /// Closures that wait for the writer now.
    pub queued: u64,
}

/// The live counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    transactions: AtomicU64,
    rolled_back: AtomicU64,
    refused: AtomicU64,
    reads: AtomicU64,
    batch_max: AtomicU64,
    syncs: AtomicU64,
    checkpoints: AtomicU64,
}

impl Counters {
    pub(crate) fn committed(&self, transactions: usize) {
        let transactions = u64::try_from(transactions).unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.transactions.fetch_add(transactions, Ordering::Relaxed);
        self.batch_max.fetch_max(transactions, Ordering::Relaxed);
    }

    pub(crate) fn rolled_back(&self, transactions: usize) {
        self.rolled_back.fetch_add(u64::try_from(transactions).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn synced(&self, syncs: u64) {
        self.syncs.fetch_add(syncs, Ordering::Relaxed);
    }

    pub(crate) fn checkpointed(&self) {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self, queued: usize) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            commits: get(&self.commits),
            transactions: get(&self.transactions),
            rolled_back: get(&self.rolled_back),
            refused: get(&self.refused),
            reads: get(&self.reads),
            batch_max: get(&self.batch_max),
            syncs: get(&self.syncs),
            checkpoints: get(&self.checkpoints),
            queued: u64::try_from(queued).unwrap_or(u64::MAX),
        }
    }
}
