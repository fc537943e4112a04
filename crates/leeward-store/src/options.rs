//! What a database is opened with.

use std::time::Duration;

/// How a database is opened. The defaults suit a service's own database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Most closures waiting for the writer, and as many again for the readers; the next one is refused with
    /// [`Error::QueueFull`](crate::Error::QueueFull). 1 or more, default 4096: at 20,000 transactions a
    /// second a wait of 0.2 s, past which a client is better told to come back.
    pub queue_max: usize,
    /// Most closures in one commit. 1 or more, default 128: the first of a batch waits for the last, which at
    /// 10 us a closure is about 1 ms, and past some dozens the sync is shared well enough.
    pub batch_max: usize,
    /// Reader threads, each with a connection of its own. 1 to 16, default 2: one long query does not hold up
    /// the others.
    pub readers: usize,
    /// Page cache of the writer in KiB. Default 1024: the upper pages of a service's trees. What misses it
    /// comes from the system's page cache for 2 us.
    pub writer_cache_kib: u32,
    /// Page cache of each reader in KiB, default 512.
    pub reader_cache_kib: u32,
    /// How long a statement waits for a lock that some other connection (a backup, the sqlite3 shell) holds.
    /// Default 5 s.
    pub busy_timeout: Duration,
    /// Most bytes that the database file may have; a write past it is
    /// [`Error::DiskFull`](crate::Error::DiskFull). None, the default, is the disk's own limit.
    pub size_max_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue_max: 4096,
            batch_max: 128,
            readers: 2,
            writer_cache_kib: 1024,
            reader_cache_kib: 512,
            busy_timeout: Duration::from_secs(5),
            size_max_bytes: None,
        }
    }
}

impl Options {
    /// The same with values outside their range moved to its nearest end.
    pub(crate) fn clamped(mut self) -> Self {
        self.queue_max = self.queue_max.max(1);
        self.batch_max = self.batch_max.max(1);
        self.readers = self.readers.clamp(1, 16);
        self
    }
}
