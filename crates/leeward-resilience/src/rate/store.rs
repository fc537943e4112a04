//! What a shared limiter asks, and what becomes of a call when it gets no answer.

use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use super::{Decision, NAME};
use crate::config::{self, ConfigErrors, Fields, MILLI, MINUTE, Options, SECOND};
use crate::mode::Mode;
use crate::outcome::{Reason, Rejected};
use crate::time::Instant;

/// Counts the calls of many keys by one [`Rule`](super::Rule), which it was made with.
///
/// A store that several processes share must decide and count in one step (a script, not a read and a write), by its own
/// clock where it has one, and forget a key no earlier than its whole limit is free. It need not bound its own time:
/// [`SharedRateLimiter`](super::SharedRateLimiter) drops the future when it takes too long, so that this must be safe; the
/// call may have been counted then.
pub trait RateStore: Send + Sync + Debug + 'static {
    /// Why there is no answer.
    type Error: Error + Send + Sync + 'static;

    /// Asks to make a call for `key`. `now` is for a store without a clock of its own.
    fn take(&self, key: &str, now: Instant) -> impl Future<Output = Result<Decision, Self::Error>> + Send;
}

/// What happens to a call when the store cannot say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStoreFailure {
    /// It passes. The default: a rate limit shares out what is there, and the concurrency limits, which need no store,
    /// still protect it. An outage of the store must not become one of everything behind it.
    #[default]
    Open,
    /// It is rejected: for what is paid by the call, or must not be guessed (log-in, one-time codes).
    Closed,
}

/// Options of a [`SharedRateLimiter`](super::SharedRateLimiter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedRate {
    /// The longest that a call waits for the store, 1 ms ..= 5 s. Default 50 ms: some fifty times what a store nearby
    /// takes, and too short for a caller to notice.
    pub wait_max: Duration,
    /// What happens when the store fails or is late. Default [`OnStoreFailure::Open`].
    pub on_failure: OnStoreFailure,
    /// Failures in a row after which the store is left alone for `pause`, and `on_failure` decides at once, 1 ..= 1000.
    /// Default 5.
    pub failures_max: u32,
    /// How long it is left alone, 1 ms ..= 60 s. One call asks it after that, and the others again once it answered.
    /// Default 1 s: so long a dead store costs nobody `wait_max`.
    pub pause: Duration,
    /// Whether it rejects, or only says so. Default [`Mode::Enforced`]. In shadow mode the store is asked, and waited for, all
    /// the same.
    pub mode: Mode,
}

impl Default for SharedRate {
    fn default() -> Self {
        Self {
            wait_max: Duration::from_millis(50),
            on_failure: OnStoreFailure::default(),
            failures_max: 5,
            pause: Duration::from_secs(1),
            mode: Mode::Enforced,
        }
    }
}

impl SharedRate {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        config::check(self)
    }
}

impl Options for SharedRate {
    const NAME: &'static str = "rate_limit";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let what = "The longest that a call waits for the store.";
        let why = "Some fifty times what a store nearby takes, and too short for a caller to notice.";
        fields.at("wait_max", what, why).duration(&mut self.wait_max, MILLI..=5 * SECOND);
        let what = "What happens when the store fails or is late.";
        let at = fields.at(
            "on_failure",
            what,
            "An outage of the store must not become one of everything behind it.",
        );
        at.choice(
            &mut self.on_failure,
            &[("open", OnStoreFailure::Open), ("closed", OnStoreFailure::Closed)],
        );
        let what = "Failures in a row after which the store is left alone for `pause`.";
        let at = fields.at("failures_max", what, "Fewer are chance.");
        at.count(&mut self.failures_max, 1..=1000);
        let at =
            fields.at("pause", "How long it is left alone.", "So long a dead store costs nobody `wait_max`.");
        at.duration(&mut self.pause, MILLI..=MINUTE);
        fields.mode(&mut self.mode);
    }
}

/// What a shared limiter says about one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The store's answer.
    Decided(Decision),
    /// The store gave none, and the option decided.
    Unavailable {
        /// Whether the call passes.
        allowed: bool,
        /// When the store is worth asking again.
        retry_after: Duration,
        /// The version of the limiter's options.
        version: u32,
    },
}

impl Verdict {
    /// Whether the call passes.
    #[must_use]
    pub const fn allowed(&self) -> bool {
        match self {
            Self::Decided(decision) => decision.allowed,
            Self::Unavailable { allowed, .. } => *allowed,
        }
    }

    /// The rejection, when it is one.
    #[must_use]
    pub fn rejected(&self) -> Option<Rejected> {
        match self {
            Self::Decided(decision) => decision.rejected(),
            Self::Unavailable { allowed: true, .. } => None,
            Self::Unavailable { allowed: false, retry_after, version } => {
                let rejected = Rejected::new(NAME, Reason::StoreUnavailable);
                Some(rejected.with_retry_after(Some(*retry_after)).with_version(*version))
            }
        }
    }
}
