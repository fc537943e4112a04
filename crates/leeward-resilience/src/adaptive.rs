//! Adaptive concurrency: a limit of calls at a time that finds its own value.
//!
//! **Rule.** Each call takes a permit, and its end is a sample: how long it took, how many were on their way when it
//! started, and whether it was *overload*: a failure that a retry can help against (a timeout, 429, 502 to 504), or a
//! permit dropped after `abandoned_after`. Other failures and early cancellations say nothing. Beyond the limit a call is
//! rejected at once: a queue would only add its own delay to what is measured.
//!
//! - [`Aimd`]: each success adds `1 / limit`, so that a whole round of calls adds one; overload, or a call slower than
//!   `latency_max`, multiplies by `backoff` (additive increase, multiplicative decrease: Chiu and Jain, "Analysis of the
//!   increase and decrease algorithms", 1989; as in TCP). The default: it has no memory that could drift. Without
//!   `latency_max` it learns only from failures, so that the upstream, or a timeout, must say no.
//! - [`Gradient2`]: compares the latency of a short window with a long average, and shrinks the limit by their ratio when
//!   the short one is slower by more than `tolerance` (after `Gradient2Limit` of Netflix' concurrency-limits, 2018). It
//!   notices an overload before anything fails, and needs no threshold, but an upstream that gets slower for good holds
//!   the limit at its minimum until the average has followed.
//!
//! Both keep to rules that those sources do not:
//! - Overload always shrinks the limit and never enters the average: timeouts that all take the same time would look
//!   perfectly stable, and let the limit grow to its maximum.
//! - The limit grows only while at least half of it is in use. A limit that nobody reached was not tested.
//! - The average rises only when the slowness cannot be of the limit's own making: while less than half of it is in use,
//!   or it is at its minimum. Else a full limit would take its own queue at the upstream for normal, and grow for ever.
//! - One overload shrinks it once: calls that were on their way when it last shrank do not shrink it again.
//!
//! **Cost.** A permit is one compare-and-swap; its end takes a short lock.
//!
//! Trade-off: a limit that adapts must go too far now and then to find out. Where the right number is known,
//! a [`ConcurrencyLimit`](crate::ConcurrencyLimit) is better.

mod aimd;
mod config;
mod gradient;
mod layer;
mod permit;

use std::fmt;
use std::sync::Arc;

pub use self::config::{Adaptive, Aimd, Algorithm, Gradient2};
pub use self::layer::{AdaptiveFuture, AdaptiveLayer, AdaptiveService};
pub use self::permit::Permit;

use crate::concurrency::{Gate, Order};
use crate::config::ConfigErrors;
use crate::observe::{Event, Observer};
use crate::outcome::{Reason, Rejected};
use crate::sync::Mutex;
use crate::time::{Clock, Instant, TokioClock};

/// The policy's name in rejections, metrics and `explain()`.
pub const NAME: &str = "adaptive-concurrency";

/// Whoever is rejected is best told to wait for about as long as the limit takes to change.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// What the end of a call says.
#[derive(Clone, Copy, Debug)]
struct Sample {
    started: Instant,
    /// Calls on their way when it started, itself included.
    in_flight: u32,
    overload: bool,
}

/// Between which values, and where in them.
#[derive(Clone, Copy, Debug)]
struct Limit {
    min: f64,
    max: f64,
    value: f64,
    /// When it last shrank by overload.
    cut_at: Option<Instant>,
}

impl Limit {
    fn new(config: &Adaptive) -> Self {
        let value = f64::from(config.limit_initial.get());
        let (min, max) = (f64::from(config.limit_min.get()), f64::from(config.limit_max.get()));
        Self { min, max, value, cut_at: None }
    }

    fn set(&mut self, value: f64) {
        self.value = value.clamp(self.min, self.max);
    }

    /// Shrinks by overload, once for all the calls that were on their way then.
    fn cut(&mut self, backoff: f64, sample: Sample, now: Instant) {
        if self.cut_at.is_none_or(|cut_at| sample.started > cut_at) {
            self.set(self.value * backoff);
            self.cut_at = Some(now);
        }
    }

    /// Whether at least half of it is in use.
    fn in_use(&self, in_flight: u32) -> bool {
        f64::from(in_flight) * 2.0 >= self.value
    }

    fn whole(&self) -> u32 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between two positive u32"
        )]
        let whole = self.value as u32;
        whole
    }
}

/// The pure rule: (state, sample, now) to the limit.
#[derive(Debug)]
enum Core {
    Aimd(aimd::Core),
    Gradient2(gradient::Core),
}

impl Core {
    fn sample(&mut self, sample: Sample, now: Instant) -> u32 {
        match self {
            Self::Aimd(core) => core.sample(sample, now),
            Self::Gradient2(core) => core.sample(sample, now),
        }
    }
}

/// A concurrency limit that finds its own value. Clones share it.
///
/// ```
/// use leeward_resilience::{Adaptive, AdaptiveLimit, Clock, TokioClock};
///
/// let limit = AdaptiveLimit::new("search", Adaptive::default())?;
/// let permit = limit.acquire(TokioClock.now()).expect("nothing is on its way");
/// assert_eq!((limit.limit(), limit.in_flight()), (20, 1));
/// permit.success(TokioClock.now());
/// # Ok::<(), leeward_resilience::ConfigErrors>(())
/// ```
#[derive(Clone)]
pub struct AdaptiveLimit {
    shared: Arc<Shared>,
}

struct Shared {
    name: Arc<str>,
    config: Adaptive,
    gate: Gate,
    core: Mutex<Core>,
    clock: Arc<dyn Clock>,
    observer: Option<Arc<dyn Observer>>,
}

impl AdaptiveLimit {
    /// A limit at its initial value, on tokio time.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(name: impl Into<Arc<str>>, config: Adaptive) -> Result<Self, ConfigErrors> {
        Self::with(name, config, Arc::new(TokioClock), None)
    }

    /// A limit at its initial value, with its own clock and observer.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with(
        name: impl Into<Arc<str>>,
        config: Adaptive,
        clock: Arc<dyn Clock>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let core = match &config.algorithm {
            Algorithm::Aimd(aimd) => Core::Aimd(aimd::Core::new(*aimd, Limit::new(&config))),
            Algorithm::Gradient2(gradient) => {
                Core::Gradient2(gradient::Core::new(*gradient, Limit::new(&config), clock.now()))
            }
        };
        let gate = Gate::new(config.limit_initial.get(), 0, Order::Fifo);
        let shared = Shared { name: name.into(), config, gate, core: Mutex::new(core), clock, observer };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> &Adaptive {
        &self.shared.config
    }

    /// Asks to make a call at `now`.
    ///
    /// # Errors
    /// [`Rejected`] when as many calls are on their way as the limit allows.
    pub fn acquire(&self, now: Instant) -> Result<Permit, Rejected> {
        if self.shared.gate.try_acquire() {
            return Ok(Permit::new(Arc::clone(&self.shared), now, self.in_flight()));
        }
        let reason = Reason::AdaptiveLimit { limit: self.limit() };
        Err(Rejected { policy: NAME, reason, retry_after: Some(RETRY_AFTER) })
    }

    /// The limit that was found so far.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.shared.gate.limit()
    }

    /// Calls on their way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.shared.gate.in_flight()
    }
}

impl Shared {
    /// Learns from a sample, and tells the observer after the lock is free.
    fn learn(&self, sample: Sample, now: Instant) {
        let changed = {
            let mut core = self.core.lock();
            let (from, to) = (self.gate.limit(), core.sample(sample, now));
            if from != to {
                self.gate.set_limit(to, now);
            }
            (from != to).then_some((from, to))
        };
        if let (Some((from, to)), Some(observer)) = (changed, &self.observer) {
            observer.observe(&self.name, &Event::AdaptiveLimitChanged { from, to });
        }
    }
}

impl fmt::Debug for AdaptiveLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptiveLimit")
            .field("name", &self.shared.name)
            .field("limit", &self.limit())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(test)]
mod tests;
