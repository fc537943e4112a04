//! The write-ahead log: counting its frames, and copying them back into the database file when it suits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;
use rusqlite::hooks::Wal as Log;

use crate::error::Error;
use crate::stats::Counters;

/// Frames (pages of 4 KiB) from which an idle writer copies the log back: 4 MiB, SQLite's own default.
const FRAMES_IDLE: u32 = 1_000;

/// Frames from which a busy writer does it too: 16 MiB. In between a load spike is not slowed down.
const FRAMES_BUSY: u32 = 4_000;

/// Decides when to checkpoint. SQLite's automatic checkpoint would run inside a commit, before its callers
/// hear of it; this one runs between commits, after they have heard, and rather when nobody waits.
#[derive(Debug)]
pub(crate) struct Wal {
    /// Frames in the log, as of the last commit; written by SQLite's hook.
    frames: Arc<AtomicU32>,
    /// Frames that must be exceeded before the next try, when a long reader kept the last one from finishing.
    retry_above: u32,
}

impl Wal {
    /// Takes the place of SQLite's automatic checkpoint on this connection.
    pub(crate) fn install(conn: &mut Connection, counters: &Arc<Counters>) -> Result<Self, Error> {
        let frames = Arc::new(AtomicU32::new(0));
        let (seen, counters) = (Arc::clone(&frames), Arc::clone(counters));
        // The hook runs once for each commit that wrote to the log, which is when SQLite synced it.
        conn.wal_hook(Some(move |_: &mut Log, pages: std::ffi::c_int| {
            seen.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            counters.synced(1);
            Ok(())
        }))
        .map_err(|error| Error::from_sqlite(&error, "wal_hook"))?;
        Ok(Self { frames, retry_above: 0 })
    }

    /// Whether the log is long enough to be copied back.
    pub(crate) fn is_due(&self, idle: bool) -> bool {
        let frames = self.frames.load(Ordering::Relaxed);
        frames > self.retry_above && frames >= if idle { FRAMES_IDLE } else { FRAMES_BUSY }
    }

    /// Notes what a checkpoint did: `log` frames were in the log, of which `copied` are in the database file
    /// now.
    pub(crate) fn checkpointed(&mut self, log: u32, copied: u32) {
        if copied >= log {
            // The next commit starts at the log's beginning; its hook will say so.
            self.frames.store(0, Ordering::Relaxed);
            self.retry_above = 0;
        } else {
            self.retry_above = log.saturating_add(FRAMES_IDLE);
        }
    }

    /// After a failure: not before the log has grown by another step.
    pub(crate) fn postpone(&mut self) {
        self.retry_above = self.frames.load(Ordering::Relaxed).saturating_add(FRAMES_IDLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wal(frames: u32) -> Wal {
        Wal { frames: Arc::new(AtomicU32::new(frames)), retry_above: 0 }
    }

    #[test]
    fn an_idle_writer_checkpoints_before_a_busy_one() {
        assert!(!wal(FRAMES_IDLE - 1).is_due(true));
        assert!(wal(FRAMES_IDLE).is_due(true));
        assert!(!wal(FRAMES_IDLE).is_due(false));
        assert!(wal(FRAMES_BUSY).is_due(false));
    }

    #[test]
    fn an_unfinished_checkpoint_is_not_tried_again_at_once() {
        let mut wal = wal(FRAMES_BUSY);
        wal.checkpointed(FRAMES_BUSY, 10);
        assert!(!wal.is_due(true));
        wal.frames.store(FRAMES_BUSY + FRAMES_IDLE + 1, Ordering::Relaxed);
        assert!(wal.is_due(true));
        wal.checkpointed(5_001, 5_001);
        assert!(!wal.is_due(true));
    }
}
