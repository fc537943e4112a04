//! The policies that can be held by key.

use std::fmt::Debug;
use std::sync::Arc;

use crate::adaptive::{Adaptive, AdaptiveLimit};
use crate::breaker::{Breaker, CircuitBreaker, State};
use crate::concurrency::{Concurrency, ConcurrencyLimit};
use crate::config::ConfigErrors;
use crate::observe::Observer;
use crate::priority::Priority;
use crate::random::Rng;
use crate::throttle::{Throttle, Throttler};
use crate::time::{Clock, Instant};

/// What every handle is made with beside its options.
#[derive(Clone, Debug)]
pub struct Parts {
    pub(super) name: Arc<str>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rng: Arc<dyn Rng>,
    pub(super) observer: Option<Arc<dyn Observer>>,
}

/// A policy that [`Keyed`](super::Keyed) can hold. Implemented by the handles of this crate alone.
pub trait KeyedPolicy: Clone + Debug + Send + Sync + sealed::Sealed + 'static {
    /// Its options.
    type Options: Clone + Debug + PartialEq + Send + Sync + 'static;

    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    fn validate(options: &Self::Options) -> Result<(), ConfigErrors>;

    /// A new policy.
    ///
    /// # Errors
    /// All the options outside their range.
    fn make(options: Self::Options, parts: &Parts) -> Result<Self, ConfigErrors>;

    /// The options in force.
    fn options(&self) -> Self::Options;

    /// Puts other options into force, and keeps the state.
    ///
    /// # Errors
    /// All the options outside their range; the old options then stay.
    fn replace(&self, options: Self::Options) -> Result<(), ConfigErrors>;

    /// Whether forgetting it would matter: somebody holds it or one of its permits, or it is refusing calls.
    fn is_busy(&self, now: Instant) -> bool;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::CircuitBreaker {}
    impl Sealed for super::Throttler {}
    impl Sealed for super::AdaptiveLimit {}
    impl Sealed for super::ConcurrencyLimit {}
}

impl KeyedPolicy for CircuitBreaker {
    type Options = Breaker;

    fn validate(options: &Breaker) -> Result<(), ConfigErrors> {
        options.validate()
    }

    fn make(options: Breaker, parts: &Parts) -> Result<Self, ConfigErrors> {
        let Parts { name, clock, rng, observer } = parts.clone();
        Self::with(name, options, clock, rng, observer)
    }

    fn options(&self) -> Breaker {
        self.config()
    }

    fn replace(&self, options: Breaker) -> Result<(), ConfigErrors> {
        self.reconfigure(options)
    }

    fn is_busy(&self, now: Instant) -> bool {
        self.is_held() || self.state(now) != State::Closed
    }
}

impl KeyedPolicy for Throttler {
    type Options = Throttle;

    fn validate(options: &Throttle) -> Result<(), ConfigErrors> {
        options.validate()
    }

    fn make(options: Throttle, parts: &Parts) -> Result<Self, ConfigErrors> {
        let Parts { name, clock, rng, observer } = parts.clone();
        Self::with(name, options, clock, rng, observer)
    }

    fn options(&self) -> Throttle {
        self.config()
    }

    fn replace(&self, options: Throttle) -> Result<(), ConfigErrors> {
        self.reconfigure(options)
    }

    fn is_busy(&self, now: Instant) -> bool {
        let throttling = |&priority: &Priority| self.probability(priority, now) > 0.0;
        self.is_held() || Priority::ALL.iter().any(throttling)
    }
}

impl KeyedPolicy for AdaptiveLimit {
    type Options = Adaptive;

    fn validate(options: &Adaptive) -> Result<(), ConfigErrors> {
        options.validate()
    }

    fn make(options: Adaptive, parts: &Parts) -> Result<Self, ConfigErrors> {
        let Parts { name, clock, observer, .. } = parts.clone();
        Self::with(name, options, clock, observer)
    }

    fn options(&self) -> Adaptive {
        self.config()
    }

    fn replace(&self, options: Adaptive) -> Result<(), ConfigErrors> {
        self.reconfigure(options)
    }

    fn is_busy(&self, _: Instant) -> bool {
        self.is_held() || self.in_flight() > 0
    }
}

impl KeyedPolicy for ConcurrencyLimit {
    type Options = Concurrency;

    fn validate(options: &Concurrency) -> Result<(), ConfigErrors> {
        options.validate()
    }

    fn make(options: Concurrency, parts: &Parts) -> Result<Self, ConfigErrors> {
        let Parts { name, observer, .. } = parts.clone();
        Self::with(name, options, observer)
    }

    fn options(&self) -> Concurrency {
        self.config()
    }

    fn replace(&self, options: Concurrency) -> Result<(), ConfigErrors> {
        self.reconfigure(options)
    }

    fn is_busy(&self, _: Instant) -> bool {
        self.is_held() || self.in_flight() > 0
    }
}
