//! How an engine runs.

use std::sync::Arc;
use std::time::Duration;

use leeward_telemetry::Registry;

/// How an engine runs. The defaults suit a service with its own SQLite database.
#[derive(Clone, Debug)]
pub struct Options {
    /// The service's name in spans. Default `saga`.
    pub service: Arc<str>,
    /// Where the metrics go. Default a registry of its own, which nobody reads.
    pub registry: Registry,
    /// Sagas worked on at once, 1 or more, default 256: each has at most one call under way, so this is also the most calls at once.
    pub concurrency: usize,
    /// Sagas kept in memory while they wait, default 10,000, some 20 MB with states of 1 KB. Those beyond it wait on disk alone; their
    /// timers then fire with the safety poll.
    pub waiting_max: usize,
    /// Rows read at once, 1 or more, default 256: recovery and catching up go page by page.
    pub page: u16,
    /// How often to look for what no wake-up announced, and to fire the timers of sagas that wait on disk. 100 ms or more, default 1 s.
    pub poll: Duration,
    /// For how long the lease on the sagas is taken; renewed at a third of it. Default 10 s.
    pub lease_ttl: Duration,
    /// Who takes the lease: unique per process start. None, the default, is for a database that one process at a time has open, as
    /// SQLite's are: the engine then takes over at once, since whoever held the lease is gone.
    pub owner: Option<Arc<str>>,
    /// How long a stopping engine lets calls finish. What is cut off is reconciled after the next start. Default 3 s.
    pub stop_grace: Duration,
    /// How long a signal that no saga takes is kept and listed. Default 7 days, more than any broker redelivers.
    pub signal_ttl: Duration,
    /// How long an ended saga and its history are kept. Default 30 days.
    pub ended_ttl: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            service: "saga".into(),
            registry: Registry::new(),
            concurrency: 256,
            waiting_max: 10_000,
            page: 256,
            poll: Duration::from_secs(1),
            lease_ttl: Duration::from_secs(10),
            owner: None,
            stop_grace: Duration::from_secs(3),
            signal_ttl: Duration::from_secs(7 * 24 * 3600),
            ended_ttl: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

impl Options {
    /// The same with values outside their range moved to its nearest end.
    pub(crate) fn clamped(mut self) -> Self {
        self.concurrency = self.concurrency.max(1);
        self.page = self.page.max(1);
        self.poll = self.poll.max(Duration::from_millis(100));
        self.lease_ttl = self.lease_ttl.max(Duration::from_secs(1));
        self
    }
}
