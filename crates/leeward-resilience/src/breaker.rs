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
//! **Cost.** A closed breaker admits with one atomic load; recording takes a short lock and touches one bucket.
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

mod config;
mod core;
mod layer;
mod permit;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

pub use self::config::Breaker;
pub use self::layer::{BreakerFuture, BreakerLayer, BreakerService};
pub use self::permit::Permit;

use self::core::{Core, Ticket};
use crate::config::ConfigErrors;
use crate::mode::Mode;
use crate::observe::{Event, Observer};
use crate::outcome::{Reason, Rejected};
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
}

struct Shared {
    name: Arc<str>,
    /// `generation << 1 | 1` while calls pass freely, else `generation << 1`. Written under the lock of `core`.
    gate: AtomicU64,
    core: Mutex<Core>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    observer: Option<Arc<dyn Observer>>,
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
        let core = Core::new(config, clock.now());
        let gate = AtomicU64::new(core.gate());
        let shared = Shared { name: name.into(), gate, core: Mutex::new(core), clock, rng, observer };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> Breaker {
        self.shared.core.lock().config().clone()
    }

    /// Whether there is a clone of this handle, or a permit.
    pub(crate) fn is_held(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    /// Asks to make a call at `now`.
    ///
    /// # Errors
    /// [`Rejected`] when the breaker is open, or half-open with all its probes on their way. It says when to come back.
    pub fn acquire(&self, now: Instant) -> Result<Permit, Rejected> {
        self.acquire_unless(now, || false)
    }

    /// Like [`acquire`](Self::acquire), but what would be refused passes, with a permit of the state that would have refused
    /// it, and `passes` is called. What an operator forced open refuses all the same.
    pub(crate) fn acquire_or_pass(&self, now: Instant, passes: impl FnOnce()) -> Result<Permit, Rejected> {
        self.acquire_unless(now, || {
            passes();
            true
        })
    }

    /// `is_let_pass` is asked about a call that would be refused.
    fn acquire_unless(&self, now: Instant, is_let_pass: impl FnOnce() -> bool) -> Result<Permit, Rejected> {
        let gate = self.shared.gate.load(Ordering::Acquire);
        let ticket = if gate & 1 == 1 {
            Ticket { generation: gate >> 1, started: now }
        } else {
            let step = |core: &mut Core| (core.acquire(now, &*self.shared.rng), core.config().mode);
            match self.shared.change(step) {
                (Ok(ticket), _) => ticket,
                (Err(Rejected { reason, .. }), _) if reason != Reason::ForcedOpen && is_let_pass() => {
                    let gate = self.shared.gate.load(Ordering::Acquire);
                    Ticket { generation: gate >> 1, started: now }
                }
                (Err(rejected), mode) => {
                    self.shared.reject(mode, rejected)?;
                    return Ok(Permit::unrecorded());
                }
            }
        };
        Ok(Permit::new(Arc::clone(&self.shared), ticket))
    }

    /// The state at `now`. An open breaker whose break is over is half-open.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        self.shared.core.lock().state(now)
    }

    /// How long calls are still rejected at `now`; `None` when one would pass (or be a probe), and always in shadow mode.
    #[must_use]
    pub fn retry_after(&self, now: Instant) -> Option<Duration> {
        if self.shared.gate.load(Ordering::Acquire) & 1 == 1 {
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

    /// Puts other options into force. State, permits and, unless its length changes, the window are kept.
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
        if let Some(observer) = &self.shared.observer {
            observer.observe(&self.shared.name, &Event::Reconfigured { policy: NAME, version });
        }
        Ok(())
    }
}

impl Shared {
    /// Tells of a rejection, and says whether it is one: in shadow mode the call passes.
    fn reject(&self, mode: Mode, rejected: Rejected) -> Result<(), Rejected> {
        let (event, answer) = if mode.is_shadow() {
            (Event::WouldReject(rejected), Ok(()))
        } else {
            (Event::Rejected(rejected), Err(rejected))
        };
        if let Some(observer) = &self.observer {
            observer.observe(&self.name, &event);
        }
        answer
    }

    /// Runs `step` on the core, publishes the gate, and tells the observer what changed after the lock is free.
    fn change<T>(&self, step: impl FnOnce(&mut Core) -> T) -> T {
        let (result, changed) = {
            let mut core = self.core.lock();
            let before = core.phase_state();
            let result = step(&mut core);
            let after = core.phase_state();
            let gate = core.gate();
            if self.gate.load(Ordering::Relaxed) != gate {
                self.gate.store(gate, Ordering::Release);
            }
            (result, (before != after).then_some((before, after)))
        };
        if let (Some((from, to)), Some(observer)) = (changed, &self.observer) {
            observer.observe(&self.name, &Event::BreakerChanged { from, to });
        }
        result
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.core.lock().phase_state();
        f.debug_struct("CircuitBreaker")
            .field("name", &self.name)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
