//! Fault injection: latency, errors, refusals and lost replies on purpose, so that the other policies are seen to work.
//!
//! **Rule.** Of the calls, a share waits for a random latency, and a share has one of three faults, at most one each:
//! *refused* (not sent, as when nothing listens), *error* (not sent, and answered as if the upstream had failed), *lost
//! reply* (sent and executed, and its answer thrown away: what tests whether a call may be repeated). What the caller
//! sees of a fault is made by the caller's own function.
//!
//! **Bounds.** Nothing is injected unless the process allowed it when the injector was made; setting faults is a typed
//! error otherwise. An experiment ends by itself after `lasts`, and after `faults_max` calls were touched, so that one
//! that was forgotten does no harm.
//!
//! **Shadow.** An experiment in [`Mode::Shadow`] draws its faults and uses itself up as any other, but touches
//! no call: the observer hears of each that it would have touched.
//!
//! **Cost.** Without an experiment: one atomic load. Faults stand innermost, just before the call, so that every policy
//! sees them as the upstream's.
//!
//! Trade-off: an injected error was never sent, so that it says nothing about the upstream's own error paths.
//!
//! Source: Netflix' chaos engineering (Basiri et al., "Chaos Engineering", IEEE Software 2016) and Envoy's fault filter. The lost
//! reply is there for what those leave out: a call that was executed and whose caller does not know.
//!
//! ```
//! use std::sync::Arc;
//! use leeward_resilience::fault::{FaultInjector, Faults, SetError};
//! use leeward_resilience::{Call, Class, Error, FastRng, Pipeline, TokioClock};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let faults = FaultInjector::allowed(Arc::new(TokioClock), Arc::new(FastRng::seeded(1)));
//! let pipeline = Pipeline::builder("stock").faults(faults.clone()).build()?;
//! let call = async || pipeline.call(Call::ONCE, async |_| Ok::<_, &str>(7), |_| Class::Success).await;
//! assert_eq!(call().await, Ok(7));
//!
//! faults.set(Faults { refused_share: 1.0, faults_max: 1, ..Faults::default() })?;
//! assert!(matches!(call().await, Err(Error::Injected(_))));
//! // The experiment ended by itself.
//! assert_eq!(call().await, Ok(7));
//! assert_eq!(FaultInjector::off().set(Faults::default()), Err(SetError::NotAllowed));
//! # Ok(())
//! # }
//! ```

mod layer;
mod options;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

pub use self::layer::{FaultLayer, FaultService};

use crate::config::{self, ConfigErrors};
use crate::mode::Mode;
use crate::observe::{Event, Observer, Teller};
use crate::random::{FastRng, Rng};
use crate::time::{Clock, Instant, TokioClock};

/// The policy's name in metrics and `explain()`.
pub const NAME: &str = "fault";

/// Names of the metrics that show [`Counts`].
pub mod metrics {
    /// Counter `{policy, fault}`: calls that were touched: `latency`, `refused`, `error`, `lost-reply`.
    pub const FAULTS: &str = "leeward_faults_injected_total";
}

/// An experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// Share of calls that wait first, 0 ..= 1. Default 0.
    pub latency_share: f64,
    /// The shortest such wait, at most 60 s. Default 100 ms: enough to be seen, too little for a timeout.
    pub latency_min: Duration,
    /// The longest such wait, `latency_min` ..= 60 s. Default 100 ms.
    pub latency_max: Duration,
    /// Share of calls that are refused, 0 ..= 1. Default 0. The three shares of faults together are at most 1.
    pub refused_share: f64,
    /// Share of calls that are answered by an error, 0 ..= 1. Default 0.
    pub error_share: f64,
    /// Share of calls whose reply is lost, 0 ..= 1. Default 0.
    pub lost_reply_share: f64,
    /// The experiment ends after so many calls were touched, at least 1. Default 10,000: enough to see a share of one
    /// in a hundred.
    pub faults_max: u64,
    /// The experiment ends after so long, more than 0, at most 24 h. Default 10 min: long enough to look, short enough to
    /// be forgotten.
    pub lasts: Duration,
    /// Whether calls are touched, or it is only said which would be. Default [`Mode::Enforced`].
    pub mode: Mode,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            latency_share: 0.0,
            latency_min: Duration::from_millis(100),
            latency_max: Duration::from_millis(100),
            refused_share: 0.0,
            error_share: 0.0,
            lost_reply_share: 0.0,
            faults_max: 10_000,
            lasts: Duration::from_secs(600),
            mode: Mode::Enforced,
        }
    }
}

impl Faults {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        config::check(self)
    }

    /// The faults of one call, by three random numbers in `0.0 .. 1.0`.
    fn draw(&self, [delayed, length, which]: [f64; 3]) -> Injected {
        let latency = (delayed < self.latency_share)
            .then(|| self.latency_min + (self.latency_max - self.latency_min).mul_f64(length));
        let error = self.refused_share + self.error_share;
        let fault = match which {
            which if which < self.refused_share => Some(Fault::Refused),
            which if which < error => Some(Fault::Error),
            which if which < error + self.lost_reply_share => Some(Fault::LostReply),
            _ => None,
        };
        Injected { latency, fault }
    }
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It is not sent, as when nothing listens.
    Refused,
    /// It is not sent, and answered as if the upstream had failed.
    Error,
    /// It is sent and executed, and the answer is lost.
    LostReply,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Error => "answered by an error",
            Self::LostReply => "its reply was lost",
        })
    }
}

impl Fault {
    /// The name in metrics and span events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Error => "error",
            Self::LostReply => "lost-reply",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Injected {
    latency: Option<Duration>,
    fault: Option<Fault>,
}

/// Why no experiment was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// This process allows none.
    #[error("fault injection is not allowed in this process")]
    NotAllowed,
    /// Options are outside their range.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
}

/// What an injector did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that waited first.
    pub delayed: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// Calls that were answered by an error.
    pub errors: u64,
    /// Calls whose reply was lost.
    pub lost_replies: u64,
}

/// Injects faults. Clones share the experiment.
#[derive(Clone)]
pub struct FaultInjector {
    shared: Arc<Shared>,
}

struct Shared {
    teller: Teller,
    allowed: bool,
    /// Whether there is an experiment: all that a call looks at when there is none.
    running: AtomicBool,
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

#[derive(Debug, Default)]
struct State {
    experiment: Option<Experiment>,
    counts: Counts,
    /// Grows with every experiment that is set, and every change of one.
    version: u32,
}

#[derive(Debug)]
struct Experiment {
    faults: Faults,
    began: Instant,
    touched: u64,
}

impl Experiment {
    fn is_over(&self, now: Instant) -> bool {
        now >= self.began + self.faults.lasts || self.touched >= self.faults.faults_max
    }
}

impl FaultInjector {
    /// An injector that never injects anything.
    #[must_use]
    pub fn off() -> Self {
        Self::make(false, NAME, Arc::new(TokioClock), Arc::new(FastRng::from_entropy()), None)
    }

    /// An injector that may be set, without an experiment so far.
    #[must_use]
    pub fn allowed(clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        Self::with(NAME, clock, rng, None)
    }

    /// An injector that may be set, without an experiment so far, with its own name and observer.
    #[must_use]
    pub fn with(
        name: impl Into<Arc<str>>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        Self::make(true, name, clock, rng, observer)
    }

    fn make(
        allowed: bool,
        name: impl Into<Arc<str>>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        let (running, state) = (AtomicBool::new(false), Mutex::new(State::default()));
        let teller = Teller::new(name, observer);
        Self { shared: Arc::new(Shared { teller, allowed, running, state, clock, rng }) }
    }

    /// Starts an experiment in place of the one before.
    ///
    /// # Errors
    /// [`SetError::NotAllowed`], or every option outside its range.
    pub fn set(&self, faults: Faults) -> Result<(), SetError> {
        if !self.shared.allowed {
            return Err(SetError::NotAllowed);
        }
        faults.validate()?;
        self.shared.start(|_| None, faults);
        Ok(())
    }

    /// Puts other options into force for the experiment that runs: it began when it began, and touched what it touched. If
    /// none runs, this starts one.
    ///
    /// # Errors
    /// [`SetError::NotAllowed`], or every option outside its range; the old options then stay.
    pub fn reconfigure(&self, faults: Faults) -> Result<(), SetError> {
        if !self.shared.allowed {
            return Err(SetError::NotAllowed);
        }
        faults.validate()?;
        self.shared.start(|state| state.experiment.take(), faults);
        Ok(())
    }

    /// Ends the experiment.
    pub fn clear(&self) {
        self.shared.end(&mut self.shared.state.lock());
    }

    /// The experiment that runs at the moment.
    #[must_use]
    pub fn running(&self) -> Option<Faults> {
        let now = self.shared.clock.now();
        let state = self.shared.state.lock();
        state.experiment.as_ref().filter(|it| !it.is_over(now)).map(|it| it.faults.clone())
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state.lock().counts
    }

    /// Makes a call, or what the experiment makes of it. `seen_as` says what the caller sees of a fault.
    ///
    /// # Errors
    /// The call's own, or what `seen_as` says.
    ///
    /// # Cancel safety
    /// As that of the call: dropping the future drops it.
    pub async fn call<T, E, Fut>(
        &self,
        call: impl FnOnce() -> Fut,
        seen_as: impl FnOnce(Fault) -> Result<T, E>,
    ) -> Result<T, E>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let Injected { latency, fault } = self.shared.draw();
        if let Some(latency) = latency {
            tokio::time::sleep(latency).await;
        }
        match fault {
            None => call().await,
            Some(fault @ (Fault::Refused | Fault::Error)) => seen_as(fault),
            Some(Fault::LostReply) => {
                drop(call().await);
                seen_as(Fault::LostReply)
            }
        }
    }
}

impl Shared {
    /// Starts an experiment, or goes on with the one that `before` finds.
    fn start(&self, before: impl FnOnce(&mut State) -> Option<Experiment>, faults: Faults) {
        let now = self.clock.now();
        let version = {
            let mut state = self.state.lock();
            let before = before(&mut state).filter(|it| !it.is_over(now));
            let (began, touched) = before.map_or((now, 0), |it| (it.began, it.touched));
            state.experiment = Some(Experiment { faults, began, touched });
            state.version = state.version.saturating_add(1);
            self.running.store(true, Ordering::Release);
            state.version
        };
        self.teller.tell(&Event::Reconfigured { policy: NAME, version });
    }

    fn draw(&self) -> Injected {
        if !self.running.load(Ordering::Acquire) {
            return Injected::default();
        }
        let (injected, mode) = self.draw_running();
        let Injected { latency, fault } = injected;
        if injected == Injected::default() {
            return injected;
        }
        if mode.is_shadow() {
            self.teller.tell(&Event::WouldFault { latency, fault });
            return Injected::default();
        }
        self.teller.tell(&Event::FaultInjected { latency, fault });
        injected
    }

    fn draw_running(&self) -> (Injected, Mode) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let Some(experiment) = &mut state.experiment else { return Default::default() };
        if experiment.is_over(now) {
            self.end(&mut state);
            return Default::default();
        }
        let mode = experiment.faults.mode;
        let injected = experiment.faults.draw([(); 3].map(|()| self.rng.unit_f64()));
        experiment.touched += u64::from(injected != Injected::default());
        if mode.is_shadow() {
            return (injected, mode);
        }
        let counts = &mut state.counts;
        counts.delayed += u64::from(injected.latency.is_some());
        match injected.fault {
            Some(Fault::Refused) => counts.refused += 1,
            Some(Fault::Error) => counts.errors += 1,
            Some(Fault::LostReply) => counts.lost_replies += 1,
            None => {}
        }
        (injected, mode)
    }

    fn end(&self, state: &mut State) {
        state.experiment = None;
        self.running.store(false, Ordering::Release);
    }
}

impl fmt::Debug for FaultInjector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultInjector")
            .field("allowed", &self.shared.allowed)
            .field("state", &self.shared.state.lock())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The naive model cuts the unit interval into four pieces.
        #[test]
        fn one_draw_decides_between_the_faults(
            shares in prop::array::uniform3(0.0_f64..0.33), draws in prop::array::uniform3(0.0_f64..1.0),
        ) {
            let [refused_share, error_share, lost_reply_share] = shares;
            let latency_max = Duration::from_millis(300);
            let faults = Faults {
                latency_share: 0.5, latency_max, refused_share, error_share, lost_reply_share, ..Faults::default()
            };
            let injected = faults.draw(draws);
            let mut at = 0.0;
            let mut expected = None;
            for (share, fault) in shares.into_iter().zip([Fault::Refused, Fault::Error, Fault::LostReply]) {
                if draws[2] >= at && draws[2] < at + share {
                    expected = Some(fault);
                }
                at += share;
            }
            prop_assert_eq!(injected.fault, expected);
            prop_assert_eq!(injected.latency.is_some(), draws[0] < 0.5);
            if let Some(latency) = injected.latency {
                prop_assert!((latency.as_secs_f64() - (0.1 + 0.2 * draws[1])).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let wrong = Faults {
            latency_share: 2.0,
            latency_min: Duration::from_secs(1),
            refused_share: 0.6,
            error_share: 0.6,
            faults_max: 0,
            lasts: Duration::ZERO,
            ..Faults::default()
        };
        let errors = wrong.validate().unwrap_err();
        let expected =
            ["faults.latency_share", "faults.latency_max", "faults", "faults.faults_max", "faults.lasts"];
        assert_eq!(errors.paths(), expected);
    }
}
