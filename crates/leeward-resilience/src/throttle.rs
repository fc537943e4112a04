//! Adaptive throttling: a client that stops asking an upstream which refuses anyway, in proportion.
//!
//! **Rule.** Of the calls of the last `window`, `requests` were made and `accepts` were taken by the upstream. A call is
//! rejected here with the probability
//!
//! ```text
//! max(0, (requests - k * accepts) / (requests + 1)), at most rejection_max
//! ```
//!
//! so that the upstream sees at most about `k` times what it accepts (Beyer et al., "Site Reliability Engineering", 2016,
//! chapter 21, "Client-Side Throttling"). What is rejected here counts as a request: the probability follows the demand.
//!
//! - A success is an accept, and so is a failure that a retry cannot help against: the upstream took the call. A failure
//!   that a retry can help against (a timeout, 429, 502 to 504) is a request that was not accepted. A call counts when it
//!   ends, or slow answers would look like refused ones; a permit dropped after `abandoned_after` was not accepted, one
//!   dropped earlier does not count.
//! - **Priorities**: the share to be rejected is taken from the lowest class first, and from the next one only when that
//!   is not enough. A caller without priorities has one class, and the formula as it stands.
//! - The window is ten slices, turned by the time alone, in constant time.
//! - A rejection names the probability, the counts and `k`. It is never retried: [`Error::Rejected`](crate::Error::Rejected).
//!
//! - **Reload**: other options keep the counts; a window of another length takes over those that it reaches back to.
//! - **Shadow**: in [`Mode::Shadow`] a call that would be rejected counts as a request that was, is
//!   told as a would-be rejection, and passes without being counted again when it ends.
//!
//! Beside a breaker, which is all or nothing, a throttler is right for an upstream that is overloaded and not dead: it
//! lets through what the upstream can take. There is nothing to synchronise between clients.
//!
//! **Cost.** A random number and a short lock when a call starts, another lock when it ends.
//!
//! Trade-off: with `k` = 2 the upstream still refuses as many calls as it accepts, which costs it something, and buys
//! that its recovery is seen within the window.

mod core;
mod layer;
mod options;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub use self::layer::{ThrottleFuture, ThrottleLayer, ThrottleService};

use self::core::{Core, Ended};
use crate::config::{self, ConfigErrors};
use crate::mode::Mode;
use crate::observe::{Event, Observer, Teller};
use crate::outcome::{Class, Rejected};
use crate::priority::Priority;
use crate::random::{FastRng, Rng};
use crate::time::{Clock, Instant, TokioClock};

/// The policy's name in rejections, metrics and `explain()`.
pub const NAME: &str = "throttle";

/// Options of a [`Throttler`].
#[derive(Clone, Debug, PartialEq)]
pub struct Throttle {
    /// How many requests the upstream may see for each that it accepts, 1.1 ..= 10. Default 2, as in the book. Nearer to 1
    /// it throttles earlier, and also where some failures are normal.
    pub k: f64,
    /// The time that the counts look back, 1 s ..= 1 h. Default 30 s. The book's two minutes remember an outage for
    /// longer than most last.
    pub window: Duration,
    /// Fewer requests in the window reject nothing, 0 ..= 1,000,000. Default 10: the first failures are chance.
    pub requests_min: u32,
    /// The most that is rejected, 0 (exclusive) ..= 1. Default 0.9: a tenth always goes through to see whether the upstream
    /// is back. With 1, an upstream that accepted nothing for a window sees about one call a window.
    pub rejection_max: f64,
    /// A permit dropped after so long was not accepted, one dropped earlier does not count; more than 0, at most 1 h. Default 10 s;
    /// best set to the attempt timeout.
    pub abandoned_after: Duration,
    /// Whether it rejects, or only says so. Default [`Mode::Enforced`].
    pub mode: Mode,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            k: 2.0,
            window: Duration::from_secs(30),
            requests_min: 10,
            rejection_max: 0.9,
            abandoned_after: Duration::from_secs(10),
            mode: Mode::Enforced,
        }
    }
}

impl Throttle {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        config::check(self)
    }
}

/// Adaptive throttling in front of one upstream. Clones share its window.
///
/// ```
/// use leeward_resilience::{Clock, Priority, Throttle, Throttler, TokioClock};
///
/// let throttler = Throttler::new(Throttle::default())?;
/// let permit = throttler.acquire(Priority::Normal, TokioClock.now()).expect("nothing was refused yet");
/// permit.success(TokioClock.now());
/// # Ok::<(), leeward_resilience::ConfigErrors>(())
/// ```
#[derive(Clone)]
pub struct Throttler {
    shared: Arc<Shared>,
}

struct Shared {
    teller: Teller,
    core: Mutex<Core>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl Throttler {
    /// A throttler with an empty window, on tokio time.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(config: Throttle) -> Result<Self, ConfigErrors> {
        Self::with(NAME, config, Arc::new(TokioClock), Arc::new(FastRng::from_entropy()), None)
    }

    /// A throttler with an empty window, and its own name, clock, randomness and observer.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with(
        name: impl Into<Arc<str>>,
        config: Throttle,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let core = Mutex::new(Core::new(config, clock.now()));
        let teller = Teller::new(name, observer);
        Ok(Self { shared: Arc::new(Shared { teller, core, clock, rng }) })
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> Throttle {
        self.shared.core.lock().config().clone()
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.teller.name()
    }

    /// Puts other options into force. The counts are kept.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(&self, config: Throttle) -> Result<(), ConfigErrors> {
        config.validate()?;
        let now = self.shared.clock.now();
        let version = self.shared.core.lock().reconfigure(config, now);
        self.shared.teller.tell(&Event::Reconfigured { policy: NAME, version });
        Ok(())
    }

    /// Whether there is a clone of this handle, or a permit.
    pub(crate) fn is_held(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    /// Asks to make a call at `now`.
    ///
    /// # Errors
    /// [`Rejected`] with the probability that it was rejected with, and the counts that this came from.
    pub fn acquire(&self, priority: Priority, now: Instant) -> Result<Permit, Rejected> {
        let draw = self.shared.rng.unit_f64();
        let (admitted, mode) = {
            let mut core = self.shared.core.lock();
            (core.admit(priority, draw, now), core.config().mode)
        };
        let shared = match admitted {
            Ok(()) => Some(Arc::clone(&self.shared)),
            Err(rejected) => {
                self.shared.teller.reject(mode, rejected)?;
                None
            }
        };
        Ok(Permit { shared, priority, started: now, abandoned_after: None })
    }

    /// The probability that a call at `now` is rejected with.
    #[must_use]
    pub fn probability(&self, priority: Priority, now: Instant) -> f64 {
        self.shared.core.lock().odds(priority, now).probability
    }
}

impl fmt::Debug for Throttler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttler").field("config", &self.config()).finish_non_exhaustive()
    }
}

/// The right to make one call. It ends in exactly one of success, failure, ignored; dropped, it was cancelled.
#[must_use = "dropping a permit records the call as cancelled"]
pub struct Permit {
    /// `None` once the outcome is known, and for a call that would have been rejected.
    shared: Option<Arc<Shared>>,
    priority: Priority,
    started: Instant,
    /// The longest that this call may take, where that is not what all calls may.
    abandoned_after: Option<Duration>,
}

impl Permit {
    /// Dropped after so long it is one that hung, whatever the options say.
    pub(crate) const fn abandoned_after(&mut self, longest: Duration) {
        self.abandoned_after = Some(longest);
    }

    /// The call begins at this time, and not when the permit was taken.
    pub(crate) const fn start_at(&mut self, at: Instant) {
        self.started = at;
    }

    /// So much of the time until now was not the call's.
    pub(crate) fn put_off(&mut self, by: Duration) {
        self.started = self.started + by;
    }

    /// The upstream did its work.
    pub fn success(self, now: Instant) {
        self.record(Class::Success, now);
    }

    /// The outcome by class.
    pub fn record(mut self, class: Class, now: Instant) {
        match class {
            Class::Success | Class::Failure { retryable: false, .. } => self.end(Ended::Accepted, now),
            Class::Failure { retryable: true, .. } => self.end(Ended::Refused, now),
            Class::Ignored => self.shared = None,
        }
    }

    /// The outcome by class, by the throttler's own clock.
    pub fn finish(self, class: Class) {
        if let Some(shared) = &self.shared {
            let now = shared.clock.now();
            self.record(class, now);
        }
    }

    fn end(&mut self, ended: Ended, now: Instant) {
        if let Some(shared) = self.shared.take() {
            shared.core.lock().record(self.priority, ended, now);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(shared) = &self.shared else { return };
        let now = shared.clock.now();
        let longest = self.abandoned_after.unwrap_or_else(|| shared.core.lock().config().abandoned_after);
        if now.saturating_duration_since(self.started) >= longest {
            self.end(Ended::Refused, now);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("open", &self.shared.is_some()).finish()
    }
}
