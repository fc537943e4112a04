//! What a pipeline is made from.

use std::time::Duration;

use crate::adaptive::Adaptive;
use crate::breaker::Breaker;
use crate::cache::Cache;
use crate::concurrency::Concurrency;
use crate::config::ConfigErrors;
use crate::fallback::Fallback;
use crate::hedge::Hedge;
use crate::mode::Mode;
use crate::rate::Rule;
use crate::retry::Retry;
use crate::throttle::Throttle;
use crate::timeout::Timeout;

/// The options of every policy of a [`Pipeline`](super::Pipeline), in its order; `None` is off.
///
/// Faults are not among them: an experiment is started by somebody and ends by itself, see
/// [`FaultInjector`](crate::FaultInjector).
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineOptions {
    /// What stands in for a failed call.
    pub fallback: Option<Fallback>,
    /// Answers that are kept, and loaded once for all that ask.
    pub cache: Option<Cache>,
    /// The longest that a call may take with all its attempts, more than 0, at most 1 h. Default 10 s: about what a person
    /// waits before reloading. There always is one.
    pub deadline: Duration,
    /// Failed attempts are repeated.
    pub retry: Option<Retry>,
    /// Another attempt beside one that takes long.
    pub hedge: Option<Hedge>,
    /// Attempts are held back while the upstream refuses many.
    pub throttle: Option<Throttle>,
    /// No attempts for a while after too many failures.
    pub breaker: Option<Breaker>,
    /// So many attempts a period, at most.
    pub rate_limit: Option<Rule>,
    /// So many attempts at a time, found by measuring.
    pub adaptive: Option<Adaptive>,
    /// So many attempts at a time.
    pub concurrency: Option<Concurrency>,
    /// The longest that one attempt may take.
    pub attempt_timeout: Option<Timeout>,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            fallback: None,
            cache: None,
            deadline: Duration::from_secs(10),
            retry: None,
            hedge: None,
            throttle: None,
            breaker: None,
            rate_limit: None,
            adaptive: None,
            concurrency: None,
            attempt_timeout: None,
        }
    }
}

const DEADLINE_MAX: Duration = Duration::from_secs(3600);

impl PipelineOptions {
    /// Checks every option of every policy.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let deadline_ok = !self.deadline.is_zero() && self.deadline <= DEADLINE_MAX;
        errors.check(deadline_ok, "deadline", self.deadline, "more than 0, at most 1h");
        if let Some(Timeout { after, .. }) = self.attempt_timeout {
            let timeout_ok = !after.is_zero() && after <= self.deadline;
            errors.check(timeout_ok, "attempt_timeout", after, "more than 0, at most the deadline");
        }
        let parts = [
            self.fallback.as_ref().map(Fallback::validate),
            self.cache.as_ref().map(Cache::validate),
            self.retry.as_ref().map(Retry::validate),
            self.hedge.as_ref().map(Hedge::validate),
            self.throttle.as_ref().map(Throttle::validate),
            self.breaker.as_ref().map(Breaker::validate),
            self.rate_limit.as_ref().map(Rule::validate),
            self.adaptive.as_ref().map(Adaptive::validate),
            self.concurrency.as_ref().map(Concurrency::validate),
        ];
        for part in parts.into_iter().flatten() {
            errors.merge(part);
        }
        errors.finish()
    }

    /// The same, with what follows from other options: a permit that is dropped counts as a failure from the attempt timeout
    /// on, or else from the deadline on.
    pub(super) fn settled(mut self) -> Self {
        let after = self.attempt_longest();
        for abandoned_after in [
            self.breaker.as_mut().map(|it| &mut it.abandoned_after),
            self.throttle.as_mut().map(|it| &mut it.abandoned_after),
            self.adaptive.as_mut().map(|it| &mut it.abandoned_after),
        ]
        .into_iter()
        .flatten()
        {
            *abandoned_after = after;
        }
        self
    }

    /// The longest that an attempt may take.
    pub(super) fn attempt_longest(&self) -> Duration {
        match self.attempt_timeout {
            Some(Timeout { after, mode: Mode::Enforced }) => after.min(self.deadline),
            _ => self.deadline,
        }
    }
}
