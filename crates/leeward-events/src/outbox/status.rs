//! How much waits in the outbox, known without asking the database.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::Error;

/// Counted by appends, set right by the relay each time it looks.
///
/// Between two looks of the relay, which are at most half a minute apart, its bytes count appends whose transaction was rolled back
/// too: it errs towards [`Error::Full`].
#[derive(Debug)]
pub struct Status {
    pending_bytes: AtomicU64,
    /// When the oldest event that waits was appended; [`NONE_MS`] when none waits.
    oldest_ms: AtomicI64,
}

const NONE_MS: i64 = i64::MAX;

impl Default for Status {
    fn default() -> Self {
        Self { pending_bytes: AtomicU64::new(0), oldest_ms: AtomicI64::new(NONE_MS) }
    }
}

impl Status {
    /// Bytes of events not yet relayed.
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    /// How long the oldest event not yet relayed has waited; zero when none waits.
    #[must_use]
    pub fn oldest_age(&self, now_unix_ms: i64) -> Duration {
        let oldest = self.oldest_ms.load(Ordering::Relaxed);
        Duration::from_millis(u64::try_from(now_unix_ms.saturating_sub(oldest)).unwrap_or(0))
    }

    /// Counts an append, unless it would go past the limit.
    pub(super) fn admit(&self, bytes: u64, limit_bytes: u64) -> Result<(), Error> {
        let pending_bytes = self.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        if pending_bytes.saturating_add(bytes) > limit_bytes {
            self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::Full { pending_bytes, limit_bytes });
        }
        Ok(())
    }

    /// Notes an append that has committed. The relay may be dead: what waits for it shows all the same.
    pub(super) fn appended(&self, now_ms: i64) {
        self.oldest_ms.fetch_min(now_ms, Ordering::Relaxed);
    }

    /// What the relay found in the database.
    pub(crate) fn set(&self, pending_bytes: u64, oldest_ms: Option<i64>) {
        self.pending_bytes.store(pending_bytes, Ordering::Relaxed);
        self.oldest_ms.store(oldest_ms.unwrap_or(NONE_MS), Ordering::Relaxed);
    }
}
