//! Adaptive concurrency: a limit of calls at a time that finds its own value.
//!
//! **Rule.** Each call takes a permit, and its end is a sample: how long it took, how many were on their way when it
//! started, and whether it was *overload*: a failure that a retry can help against (a timeout, 429, 502 to 504), or a
//! permit dropped after `abandoned_after`. Other failures say nothing, and early cancellations only to [`Knee`]. Beyond the limit a call is
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
//! - [`Knee`]: looks for the most calls at a time that do not queue. It grows the limit while the latency is below `tolerance`
//!   times the latency without a queue, and shrinks it beyond. What an upstream that got slower has in common with a queue is
//!   the latency; what tells them apart is that a queue gets shorter with the limit: a latency that does not fall when the
//!   limit does is the upstream's own, and taken for the new normal. It needs no threshold, no failures, and follows an
//!   upstream that gets slower, quicker, larger or smaller within seconds. Quick failures shrink the limit only where most calls
//!   fail: one bad endpoint of several is none of its business. A call that is cut short, by its caller or a timeout, took at
//!   least that long: were such calls left out, an upstream whose queue is longer than its callers' patience would look as
//!   quick as those few that it still answers, or not be seen at all. Where most are cut short, the limit is halved. While it is full,
//!   the calls that end in a second tell how long the others take, by Little's law, before these end: where that is far too long
//!   the limit goes at once to where it would not be, and where hardly any ends it is halved; it grows back as fast when that is
//!   over. The latency of a step is the mean of its middle half, of the calls that found the limit full where there are some.
//!
//! The first two keep to rules that those sources do not:
//! - Overload always shrinks the limit and never enters the average: timeouts that all take the same time would look
//!   perfectly stable, and let the limit grow to its maximum.
//! - The limit grows only while at least half of it is in use. A limit that nobody reached was not tested.
//! - The average rises only when the slowness cannot be of the limit's own making: while less than half of it is in use,
//!   or it is at its minimum. Else a full limit would take its own queue at the upstream for normal, and grow for ever.
//! - One overload shrinks it once: calls that were on their way when it last shrank do not shrink it again.
//!
//! **Reload.** Other options keep the limit that was found, within the new bounds, the long average of the gradient, and
//! the permits. A lower limit is reached as permits are given back.
//!
//! **Shadow.** In [`Mode::Shadow`](crate::Mode::Shadow) a call beyond the limit passes, is told as a would-be rejection, and is
//! neither counted nor learnt from. The others then share the upstream with it, so that the limit may come out lower
//! than it would if it were enforced.
//!
//! **Cost.** A permit is one compare-and-swap and a reference counted; its end is the same once more, and a short lock where the
//! outcome says something: a success, or an overload. Another lock is taken when the limit changes.
//!
//! Trade-off: a limit that adapts must go too far now and then to find out. Where the right number is known,
//! a [`ConcurrencyLimit`](crate::ConcurrencyLimit) is better.

mod aimd;
mod config;
mod gradient;
mod knee;
mod layer;
mod permit;

use std::fmt;
use std::sync::Arc;

pub use self::config::{Adaptive, Aimd, Algorithm, Gradient2, Knee};
pub use self::layer::{AdaptiveFuture, AdaptiveLayer, AdaptiveService};
pub use self::permit::Permit;

use crate::concurrency::{Gate, Order};
use crate::config::ConfigErrors;
use crate::live::Live;
use crate::observe::{Event, Observer, Teller};
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
    /// Calls on their way when it started, itself included, and
    in_flight: u32,
    /// when it ended.
    left: u32,
    end: End,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Success,
    Overload,
    /// Whoever made it left before its end.
    Cut,
    /// In a way that says nothing about its latency.
    Other,
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
        let mut limit =
            Self { min: 0.0, max: 0.0, value: f64::from(config.limit_initial.get()), cut_at: None };
        limit.bound(config);
        limit
    }

    /// Puts other bounds into force.
    fn bound(&mut self, config: &Adaptive) {
        (self.min, self.max) = (f64::from(config.limit_min.get()), f64::from(config.limit_max.get()));
        self.set(self.value);
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
    Knee(knee::Core),
}

impl Core {
    fn new(config: &Adaptive, limit: Limit, now: Instant) -> Self {
        match config.algorithm {
            Algorithm::Aimd(aimd) => Self::Aimd(aimd::Core::new(aimd, limit)),
            Algorithm::Gradient2(gradient) => Self::Gradient2(gradient::Core::new(gradient, limit, now)),
            Algorithm::Knee(knee) => Self::Knee(knee::Core::new(knee, limit, now)),
        }
    }

    /// Puts other options into force: the limit stays as it was found, and so does what its algorithm remembers unless that
    /// is another one.
    fn reconfigure(&mut self, config: &Adaptive, now: Instant) -> u32 {
        match (&mut *self, config.algorithm) {
            (Self::Aimd(core), Algorithm::Aimd(aimd)) => core.config = aimd,
            (Self::Gradient2(core), Algorithm::Gradient2(gradient)) => core.config = gradient,
            (Self::Knee(core), Algorithm::Knee(knee)) => core.config = knee,
            _ => *self = Self::new(config, *self.limit(), now),
        }
        let limit = self.limit();
        limit.bound(config);
        limit.whole()
    }

    fn limit(&mut self) -> &mut Limit {
        match self {
            Self::Aimd(core) => &mut core.limit,
            Self::Gradient2(core) => &mut core.limit,
            Self::Knee(core) => &mut core.limit,
        }
    }

    /// A call was rejected at `now`.
    fn rejected(&mut self, now: Instant) -> u32 {
        match self {
            Self::Aimd(_) | Self::Gradient2(_) => self.limit().whole(),
            Self::Knee(core) => core.rejected(now),
        }
    }

    fn sample(&mut self, sample: Sample, now: Instant) -> u32 {
        match self {
            // Nothing else says something to them.
            Self::Aimd(_) | Self::Gradient2(_) if matches!(sample.end, End::Cut | End::Other) => {
                self.limit().whole()
            }
            Self::Aimd(core) => core.sample(sample, now),
            Self::Gradient2(core) => core.sample(sample, now),
            Self::Knee(core) => core.sample(sample, now),
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
    teller: Teller,
    live: Live<Adaptive>,
    gate: Gate,
    core: Mutex<Core>,
    clock: Arc<dyn Clock>,
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
        let core = Mutex::new(Core::new(&config, Limit::new(&config), clock.now()));
        let gate = Gate::new(config.limit_initial.get(), 0, Order::Fifo);
        let teller = Teller::new(name, observer);
        let shared = Shared { teller, live: Live::new(config), gate, core, clock };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> Adaptive {
        self.shared.live.load().options.clone()
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.teller.name()
    }

    /// Puts other options into force. The limit that was found is kept, within its new bounds; `limit_initial` plays no part.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(&self, config: Adaptive) -> Result<(), ConfigErrors> {
        config.validate()?;
        let shared = &*self.shared;
        let now = shared.clock.now();
        let version = shared.live.replace(config, |_, new| {
            shared.change(now, |core| core.reconfigure(new, now));
        });
        shared.teller.tell(&Event::Reconfigured { policy: NAME, version });
        Ok(())
    }

    /// Whether there is a clone of this handle, or a permit.
    pub(crate) fn is_held(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    /// Asks to make a call at `now`.
    ///
    /// # Errors
    /// [`Rejected`] when as many calls are on their way as the limit allows.
    pub fn acquire(&self, now: Instant) -> Result<Permit, Rejected> {
        if self.shared.gate.try_acquire() {
            return Ok(Permit::new(Arc::clone(&self.shared), now, self.in_flight()));
        }
        self.shared.change(now, |core| core.rejected(now));
        let live = self.shared.live.load();
        let reason = Reason::AdaptiveLimit { limit: self.limit(), in_flight: self.in_flight() };
        let rejected =
            Rejected::new(NAME, reason).with_retry_after(Some(RETRY_AFTER)).with_version(live.version);
        self.shared.teller.reject(live.options.mode, rejected)?;
        Ok(Permit::unrecorded(now))
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
    /// Learns from a sample.
    fn learn(&self, sample: Sample, now: Instant) {
        self.change(now, |core| core.sample(sample, now));
    }

    /// Runs a step on the core, and tells the observer of another limit after the lock is free.
    fn change(&self, now: Instant, step: impl FnOnce(&mut Core) -> u32) {
        let changed = {
            let mut core = self.core.lock();
            let (from, to) = (self.gate.limit(), step(&mut core));
            if from != to {
                self.gate.set_limit(to, now);
            }
            (from != to).then_some((from, to))
        };
        if let Some((from, to)) = changed {
            self.teller.tell(&Event::AdaptiveLimitChanged { from, to });
        }
    }
}

impl fmt::Debug for AdaptiveLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptiveLimit")
            .field("name", &self.shared.teller)
            .field("limit", &self.limit())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(test)]
mod tests;
