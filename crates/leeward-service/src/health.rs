//! Health: checks that run in the background, and probes that only read what the checks last found.
//!
//! - `/health/live`: the process makes progress, nothing else. A database that is down does not make it red, since a
//!   restart would not bring the database back.
//! - `/health/ready` (alias `/ready`): may take traffic. Red as soon as a check that gates readiness is down, has not run
//!   yet, or has not come back for long.
//! - `/health`: every check with state, value, threshold and age for an operator; states only for anyone else.
//!
//! A probe never waits for a dependency.

mod builtin;
mod consumers;
mod monitor;
mod report;
mod workers;

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use builtin::{
    DISK_DEGRADED_BYTES, DISK_DOWN_BYTES, MEMORY_DEGRADED_BYTES, bus, database, disk, disk_with, memory,
};
pub use consumers::consumers;
pub use monitor::Health;
pub use report::{CheckReport, Report};
pub(crate) use workers::Workers;

/// How often a check runs unless it says otherwise: a few seconds are early enough for a load balancer, and cost nothing.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// How long one run of a check may take before it counts as down.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Up,
    /// Usable, but somebody should look.
    Degraded,
    /// Not usable.
    Down,
}

/// What one run of a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// How it is.
    pub state: State,
    /// What was measured, with its unit.
    pub value: Cow<'static, str>,
    /// Where the state changes, with its unit.
    pub threshold: Cow<'static, str>,
}

impl Reading {
    /// Fine.
    #[must_use]
    pub fn up(value: impl Into<Cow<'static, str>>) -> Self {
        Self { state: State::Up, value: value.into(), threshold: Cow::Borrowed("") }
    }

    /// Not usable, with the reason as the value.
    #[must_use]
    pub fn down(value: impl Into<Cow<'static, str>>) -> Self {
        Self { state: State::Down, value: value.into(), threshold: Cow::Borrowed("") }
    }

    /// Usable, but somebody should look.
    #[must_use]
    pub fn degraded(value: impl Into<Cow<'static, str>>) -> Self {
        Self { state: State::Degraded, value: value.into(), threshold: Cow::Borrowed("") }
    }

    /// Says where the state changes.
    #[must_use]
    pub fn threshold(mut self, threshold: impl Into<Cow<'static, str>>) -> Self {
        self.threshold = threshold.into();
        self
    }
}

type Run = dyn Fn() -> Pin<Box<dyn Future<Output = Reading> + Send>> + Send + Sync;

/// Something that is looked at again and again.
#[derive(Clone)]
pub struct Check {
    pub(crate) name: Cow<'static, str>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) gates_readiness: bool,
    run: Arc<Run>,
}

impl Check {
    /// A check that gates readiness: while it is down, the service takes no traffic.
    pub fn new<F, Fut>(name: impl Into<Cow<'static, str>>, run: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Reading> + Send + 'static,
    {
        Self {
            name: name.into(),
            interval: INTERVAL,
            timeout: TIMEOUT,
            gates_readiness: true,
            run: Arc::new(move || Box::pin(run())),
        }
    }

    /// Shown in `/health` only: an outside API that the service can do without for a while.
    #[must_use]
    pub fn informative(mut self) -> Self {
        self.gates_readiness = false;
        self
    }

    /// Runs every `interval` instead of [`INTERVAL`].
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs it once, within its timeout.
    pub async fn run(&self) -> Reading {
        match tokio::time::timeout(self.timeout, (self.run)()).await {
            Ok(reading) => reading,
            Err(_) => Reading::down("no answer").threshold(format!("{} ms", self.timeout.as_millis())),
        }
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
