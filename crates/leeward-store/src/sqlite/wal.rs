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

/// Frames from which the writer waits for readers, so that the log begins anew: 128 MiB. Without it a database in which some reader is
/// always under way has a log that never ends, since SQLite begins it anew only at a moment without readers.
const FRAMES_RESTART: u32 = 32_000;

/// Decides when to checkpoint. SQLite's automatic checkpoint would run inside a commit, before its callers
/// hear of it; this one runs between commits, after they have heard, and rather when nobody waits.
#[derive(Debug)]
pub(crate) struct Wal {
    /// Frames in the log, as of the last commit; written by SQLite's hook.
    frames: Arc<AtomicU32>,
    /// Frames that were in the log at the last checkpoint: with fewer, it has begun anew since.
    last: u32,
    /// Frames that must be exceeded before the next try while it has not.
    retry_above: u32,
}

/// What kind of checkpoint is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// As far as no reader is in the way.
    Passive,
    /// Readers are waited for, a little.
    Restart,
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
        Ok(Self { frames, last: 0, retry_above: 0 })
    }

    /// Whether the log is long enough to be copied back.
    pub(crate) fn due(&mut self, idle: bool) -> Option<Due> {
        let frames = self.frames.load(Ordering::Relaxed);
        if frames < self.last {
            (self.last, self.retry_above) = (0, 0);
        }
        let is_due = frames > self.retry_above && frames >= if idle { FRAMES_IDLE } else { FRAMES_BUSY };
        let due = if frames >= FRAMES_RESTART { Due::Restart } else { Due::Passive };
        is_due.then_some(due)
    }

    /// Notes that `log` frames were in the log at a checkpoint. However much of them it copied, whether the next commit begins the log
    /// anew is up to the readers: until it has, the next try waits for another step.
    pub(crate) fn checkpointed(&mut self, log: u32) {
        self.last = log;
        self.retry_above = log.saturating_add(FRAMES_IDLE);
    }

    /// After a failure: not before the log has grown by another step.
    pub(crate) fn postpone(&mut self) {
        self.retry_above = self.frames.load(Ordering::Relaxed).saturating_add(FRAMES_IDLE);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sqlite::Session;

    fn wal(frames: u32) -> Wal {
        Wal { frames: Arc::new(AtomicU32::new(frames)), last: 0, retry_above: 0 }
    }

    fn grown(wal: &Wal, frames: u32) {
        wal.frames.store(frames, Ordering::Relaxed);
    }

    #[test]
    fn an_idle_writer_checkpoints_before_a_busy_one() {
        assert_eq!(wal(FRAMES_IDLE - 1).due(true), None);
        assert_eq!(wal(FRAMES_IDLE).due(true), Some(Due::Passive));
        assert_eq!(wal(FRAMES_IDLE).due(false), None);
        assert_eq!(wal(FRAMES_BUSY).due(false), Some(Due::Passive));
    }

    #[test]
    fn a_log_that_goes_on_is_not_copied_at_every_commit_and_one_that_began_anew_is_in_time() {
        let mut wal = wal(FRAMES_BUSY);
        wal.checkpointed(FRAMES_BUSY);
        assert_eq!(wal.due(true), None);
        grown(&wal, FRAMES_BUSY + 1);
        assert_eq!(wal.due(true), None, "a reader kept it going");
        grown(&wal, FRAMES_BUSY + FRAMES_IDLE + 1);
        assert_eq!(wal.due(true), Some(Due::Passive));
        wal.checkpointed(FRAMES_BUSY + FRAMES_IDLE + 1);
        grown(&wal, 3);
        assert_eq!(wal.due(true), None);
        grown(&wal, FRAMES_IDLE);
        assert_eq!(wal.due(true), Some(Due::Passive));
    }

    #[test]
    fn a_log_that_never_begins_anew_waits_for_its_readers_in_the_end() {
        let mut wal = wal(FRAMES_RESTART);
        assert_eq!(wal.due(false), Some(Due::Restart));
        wal.checkpointed(FRAMES_RESTART);
        grown(&wal, FRAMES_RESTART + FRAMES_IDLE + 1);
        assert_eq!(wal.due(false), Some(Due::Restart));
    }

    #[test]
    fn readers_that_end_are_waited_for() -> Result<(), Error> {
        let failed = |error: rusqlite::Error| Error::from_sqlite(&error, "test");
        let folder = tempfile::tempdir().map_err(|error| Error::Io { detail: error.to_string() })?;
        let path = folder.path().join("log.db");
        let mut conn = Connection::open(&path).map_err(failed)?;
        conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)")
            .map_err(failed)?;
        let wal = Wal::install(&mut conn, &Arc::default())?;
        let session = Session::new(conn, true, Duration::from_secs(5));
        let reader = Connection::open(&path).map_err(failed)?;
        reader.execute_batch("BEGIN; SELECT * FROM t").map_err(failed)?;
        session.control("INSERT INTO t VALUES (2)")?;
        session.checkpoint(Due::Passive)?;
        session.control("INSERT INTO t VALUES (3)")?;
        let before = wal.frames.load(Ordering::Relaxed);
        assert!(session.checkpoint(Due::Restart).is_err(), "it does not wait for ever");
        let (never, ends) = std::sync::mpsc::sync_channel::<()>(1);
        let reads = std::thread::spawn(move || {
            let _after = ends.recv_timeout(Duration::from_millis(5));
            drop(reader);
        });
        session.checkpoint(Due::Restart)?;
        drop(never);
        session.control("INSERT INTO t VALUES (4)")?;
        assert!(wal.frames.load(Ordering::Relaxed) < before, "the log began anew");
        assert!(reads.join().is_ok());
        Ok(())
    }
}
