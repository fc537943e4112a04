//! The attempt timeout as a handle: what a pipeline and a tower layer bound attempts with.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::{Expired, NAME, Timeout, bounded};
use crate::config::ConfigErrors;
use crate::deadline::Deadline;
use crate::live::Live;
use crate::mode::Mode;
use crate::observe::{Event, Observer, Teller};
use crate::time::{Instant, TokioClock};

/// Bounds attempts by the same time. Clones share the options.
///
/// ```
/// use std::time::Duration;
/// use leeward_resilience::{Clock, Deadline, TimeoutPolicy, TokioClock, timeout::Expired};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), leeward_resilience::ConfigErrors> {
/// let timeout = TimeoutPolicy::new(Duration::from_millis(1).into())?;
/// let now = TokioClock.now();
/// let hangs = std::future::pending::<()>();
/// let answer = timeout.bound(hangs, now, Deadline::after(now, Duration::from_secs(2))).await;
/// assert_eq!(answer, Err(Expired::Attempt));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TimeoutPolicy {
    shared: Arc<Shared>,
}

struct Shared {
    teller: Teller,
    live: Live<Timeout>,
}

impl TimeoutPolicy {
    /// A policy that nobody is told of.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(config: Timeout) -> Result<Self, ConfigErrors> {
        Self::with(NAME, config, None)
    }

    /// A policy with its own name and observer.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with(
        name: impl Into<Arc<str>>,
        config: Timeout,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        config.validate()?;
        Ok(Self::unchecked(Teller::new(name, observer), config))
    }

    pub(super) fn unchecked(teller: Teller, config: Timeout) -> Self {
        Self { shared: Arc::new(Shared { teller, live: Live::new(config) }) }
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.teller.name()
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> Timeout {
        self.shared.live.load().options
    }

    /// Puts other options into force, for every attempt that starts from now on.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(&self, config: Timeout) -> Result<(), ConfigErrors> {
        config.validate()?;
        let version = self.shared.live.replace(config, |_, _| {});
        self.shared.teller.tell(&Event::Reconfigured { policy: NAME, version });
        Ok(())
    }

    /// Runs one attempt, which starts at `now`, under the timeout and the caller's deadline.
    ///
    /// # Errors
    /// Which of the two cut it short. In shadow mode only the deadline does.
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt.
    pub async fn bound<F: Future>(
        &self,
        attempt: F,
        now: Instant,
        deadline: Deadline,
    ) -> Result<F::Output, Expired> {
        let Timeout { after, mode } = self.config();
        let mut attempt = pin!(attempt);
        let until = Deadline::after(now, after);
        let answer = bounded(attempt.as_mut(), until, deadline, &TokioClock).await;
        if !matches!(answer, Err(Expired::Attempt)) {
            return answer;
        }
        self.tell(after, mode);
        match mode {
            Mode::Enforced => answer,
            Mode::Shadow => bounded(attempt, Deadline::NEVER, deadline, &TokioClock).await,
        }
    }

    /// Tells of an attempt that took so long.
    pub(super) fn tell(&self, after: Duration, mode: Mode) {
        let event = match mode {
            Mode::Enforced => Event::AttemptTimeout { after },
            Mode::Shadow => Event::WouldTimeOut { after },
        };
        self.shared.teller.tell(&event);
    }
}

impl fmt::Debug for TimeoutPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { teller, live } = &*self.shared;
        f.debug_struct("TimeoutPolicy").field("name", teller).field("config", &live.load().options).finish()
    }
}
