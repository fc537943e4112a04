//! The circuit breaker: stops calling an upstream that fails, and lets it recover gently.
//!
//! **Rule.** Closed: calls pass and are counted, over a time (`window`) or over the last so many (`window_calls`). It
//! opens when at least `minimum_calls` are counted and the share of failures reaches `failure_rate`, or that of the calls
//! that took `slow_after` or longer reaches `slow_rate`, or when `consecutive_failures` failed in a row. Open: calls are rejected for
//! the break, which grows with every break in a row and honours the upstream's `Retry-After`. Then half-open: one probe
//! passes; each success admits one more at a time, and after `probes` successes it closes. One failed probe opens it
//! again, for longer.
//!
//! **Permits.** A call that passes holds a [`Permit`], which ends in exactly one outcome. Dropping it means that the call
//! was cancelled: it counts as a failure when it had lasted `abandoned_after` or longer, so that a timeout outside of the
//! breaker does not blind it, and is neutral otherwise. A permit carries the generation of the state that gave it;
//! what comes in late from an earlier state changes nothing.
//!
//! **Cost.** A closed breaker admits and counts a success without a lock: each thread counts in a cache line of its own.
//! A short lock is taken by failures and slow calls, by the first success after one, by the first of each tenth of a time
//! window, and while a success more would make enough calls for a rate that is reached. The lock's owner brings the counts
//! together, so that in any one order of calls it opens exactly when the rule says. Of calls that end at the very same time
//! on several threads, a success that is just being counted is seen by the next decision. An open breaker rejects without
//! a lock.
//!
//! **Time.** Who has the time hands it in ([`acquire`](CircuitBreaker::acquire), [`Permit::success`]). Else the breaker's own
//! clock is read, and only where something depends on it: [`acquire_now`](CircuitBreaker::acquire_now) reads it once, and
//! [`Permit::finish`] not at all for a success while slow calls are not watched. Such a success is counted at the latest time
//! that the breaker knows between the call's start and its end: in the tenth of the window that was running when it was last
//! looked at, if the call started in it or before, else at the call's end.
//!
//! **Shadow.** In [`Mode::Shadow`](crate::Mode::Shadow) it opens, half-opens and closes as ever, by the calls that would have
//! passed. The others pass too, are told as would-be rejections and record nothing. That holds for a breaker that
//! an operator forced open as well: in shadow mode none refuses.
//!
//! A rejection names the rule that opened the breaker, what was counted, and the version of the options
//! ([`Opened`](crate::outcome::Opened)).
//!
//! Trade-off: a time window is ten buckets, so it forgets in tenths of its length; a window of calls forgets one call at a
//! time, but never by itself.
//!
//! Source: Nygard, "Release It!" (2007), chapter "Stability Patterns"; failures in a row beside the rate as in Envoy's outlier
//! detection. The ramp of probes, the generation in the permit and the end of the probation are there against half-open
//! stampedes, late outcomes and lost probes, which are known from other breakers.
//!
//! ```
//! use std::time::Duration;
//! use leeward_resilience::breaker::State;
//! use leeward_resilience::{Breaker, CircuitBreaker, Clock, FastRng, ManualClock, Reason};
//! use std::sync::Arc;
//!
//! let clock = ManualClock::new();
//! let rng = Arc::new(FastRng::seeded(1));
//! let breaker = CircuitBreaker::with("stock", Breaker::default(), Arc::new(clock.clone()), rng, None)?;
//! for _ in 0..5 {
//!     breaker.acquire(clock.now()).expect("it is closed").failure(clock.now());
//! }
//! let rejected = breaker.acquire(clock.now()).expect_err("five failures in a row");
//! assert!(matches!(rejected.reason, Reason::Open(opened) if opened.consecutive == 5));
//!
//! // The break is over after 5 s and up to a quarter of it. One probe passes, a second has to wait for its success.
//! clock.advance(Duration::from_millis(6250));
//! let probe = breaker.acquire(clock.now()).expect("a probe");
//! assert!(breaker.acquire(clock.now()).is_err());
//! probe.success(clock.now());
//! assert_eq!(breaker.state(clock.now()), State::HalfOpen);
//! # Ok::<(), leeward_resilience::ConfigErrors>(())
//! ```

mod config;
mod core;
mod layer;
mod notice;
mod permit;
mod sample;
mod shared;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::config::Breaker;
pub use self::layer::{BreakerFuture, BreakerLayer, BreakerService};
pub use self::permit::{Borrowed, Kept, Permit};

use self::shared::{Handles, Shared};
use crate::config::ConfigErrors;
use crate::observe::{Event, Observer};
use crate::outcome::Rejected;
use crate::random::{FastRng, Rng};
use crate::time::{Clock, Instant, TokioClock};

/// The policy's name in rejections, metrics and `explain()`.
pub const NAME: &str = "breaker";

/// The state of a breaker as it is seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Calls pass.
    Closed,
    /// Calls are rejected until the break ends.
    Open,
    /// A few probes pass.
    HalfOpen,
    /// Held open by an operator.
    ForcedOpen,
    /// Held closed by an operator: calls pass whatever happens.
    ForcedClosed,
}

impl State {
    /// The name in metrics and pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::ForcedOpen => "forced-open",
            Self::ForcedClosed => "forced-closed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A circuit breaker. Clones share its state.
#[derive(Clone)]
pub struct CircuitBreaker {
    shared: Arc<Shared>,
    handles: Handles,
}

impl CircuitBreaker {
    /// A closed breaker on tokio time.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(name: impl Into<Arc<str>>, config: Breaker) -> Result<Self, ConfigErrors> {
        Self::with(name, config, Arc::new(TokioClock), Arc::new(FastRng::from_entropy()), None)
    }

    /// A closed breaker with its own clock, randomness and observer.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with(
        name: impl Into<Arc<str>>,
        config: Breaker,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let shared = Arc::new(Shared::new(name.into(), config, clock, rng, observer));
        Ok(Self { handles: Handles::new(&shared), shared })
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.teller.name()
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> Breaker {
        self.shared.core.lock().config().clone()
    }

    /// Whether there is a clone of this handle, or a permit.
    pub(crate) fn is_held(&self) -> bool {
        self.handles.are_held()
    }

    /// Asks to make a call at `now`.
    ///
    /// # Errors
    /// [`Rejected`] when the breaker is open, or half-open with all its probes on their way. It says when to come back.
    #[inline]
    pub fn acquire(&self, now: Instant) -> Result<Permit, Rejected> {
        self.shared.acquire(now, |ticket| Permit::kept(self.handles.one(), ticket))
    }

    /// Like [`acquire`](Self::acquire), for a permit that ends before the borrow does: it costs less than half.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    #[inline]
    pub fn acquire_ref(&self, now: Instant) -> Result<Permit<Borrowed<'_>>, Rejected> {
        self.shared.acquire(now, |ticket| Permit::borrowed(&self.shared, ticket))
    }

    /// Like [`acquire`](Self::acquire), by the breaker's own clock.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub fn acquire_now(&self) -> Result<Permit, Rejected> {
        self.acquire(self.shared.clock.now())
    }

    /// Like [`acquire`](Self::acquire), but what would be refused passes, with a permit of the state that would have refused
    /// it, and `passes` is called. What an operator forced open refuses all the same.
    pub(crate) fn acquire_or_pass(&self, now: Instant, passes: impl FnOnce()) -> Result<Permit, Rejected> {
        let ticket = self.shared.acquire_or_pass(now, passes)?;
        Ok(Permit::kept(self.handles.one(), ticket))
    }

    /// The state at `now`. An open breaker whose break is over is half-open.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        self.shared.core.lock().state(now)
    }

    /// How long calls are still rejected at `now`; `None` when one would pass (or be a probe), and always in shadow mode.
    #[must_use]
    pub fn retry_after(&self, now: Instant) -> Option<Duration> {
        if self.shared.passes_freely() {
            return None;
        }
        let core = self.shared.core.lock();
        if core.config().mode.is_shadow() { None } else { core.retry_after(now) }
    }

    /// Rejects every call until [`reset`](Self::reset) or [`force_closed`](Self::force_closed).
    pub fn force_open(&self) {
        self.shared.change(|core| core.force(true));
    }

    /// Lets every call pass until [`reset`](Self::reset) or [`force_open`](Self::force_open).
    pub fn force_closed(&self) {
        self.shared.change(|core| core.force(false));
    }

    /// Back to closed, with an empty window, and no memory of earlier breaks.
    pub fn reset(&self) {
        let now = self.shared.clock.now();
        self.shared.change(|core| core.reset(now));
    }

    /// Puts other options into force. State and permits are kept; so is a
    /// window of time, as far as the new one reaches back. A window of another number of calls begins anew.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(&self, config: Breaker) -> Result<(), ConfigErrors> {
        config.validate()?;
        let now = self.shared.clock.now();
        let version = self.shared.change(|core| {
            core.reconfigure(config, now);
            core.version()
        });
        self.shared.teller.tell(&Event::Reconfigured { policy: NAME, version });
        Ok(())
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

#[cfg(all(test, loom))]
mod models;
#[cfg(test)]
mod tests;
