//! Putting a pipeline together.

use std::sync::Arc;
use std::time::Duration;

use super::{Parts, Pipeline};
use crate::breaker::{Breaker, CircuitBreaker};
use crate::concurrency::{Concurrency, ConcurrencyLimit};
use crate::config::ConfigErrors;
use crate::observe::Observer;
use crate::random::{FastRng, Rng};
use crate::retry::{Retry, RetryBudget};
use crate::time::{Clock, TokioClock};

/// The policies of a [`Pipeline`], in any order of calls: the pipeline's order is always the same.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct PipelineBuilder {
    name: Arc<str>,
    deadline: Duration,
    retry: Option<Retry>,
    budget: Option<RetryBudget>,
    breaker: Option<Breaker>,
    concurrency: Option<Concurrency>,
    attempt_timeout: Option<Duration>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    observer: Option<Arc<dyn Observer>>,
}

/// Nothing waits longer unless it says so: about what a person waits before reloading.
const DEADLINE: Duration = Duration::from_secs(10);
const DEADLINE_MAX: Duration = Duration::from_secs(3600);

impl PipelineBuilder {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            deadline: DEADLINE,
            retry: None,
            budget: None,
            breaker: None,
            concurrency: None,
            attempt_timeout: None,
            clock: Arc::new(TokioClock),
            rng: Arc::new(FastRng::from_entropy()),
            observer: None,
        }
    }

    /// The longest that a call may take with all its attempts, up to 1 h. Default 10 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Failed attempts are retried.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Retries draw on this budget, which other pipelines may share, in place of one of their own.
    pub fn retry_budget(mut self, budget: RetryBudget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// A breaker watches the attempts. Its `abandoned_after` is set to the attempt timeout, or else the deadline.
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// So many attempts at a time.
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = Some(concurrency);
        self
    }

    /// The longest that one attempt may take, at most the deadline.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// The clock of the deadlines and the breaker. Waiting is done in tokio time, so that it should follow it.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The randomness of the jitter.
    pub fn rng(mut self, rng: Arc<dyn Rng>) -> Self {
        self.rng = rng;
        self
    }

    /// Is told what the policies do.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The pipeline.
    ///
    /// # Errors
    /// Every option of every policy that is outside its range.
    pub fn build(mut self) -> Result<Pipeline, ConfigErrors> {
        if let Some(breaker) = &mut self.breaker {
            breaker.abandoned_after = self.attempt_timeout.unwrap_or(self.deadline);
        }
        self.validate()?;
        let now = self.clock.now();
        let retry = match self.retry {
            Some(retry) => {
                let budget = self.budget.map_or_else(|| RetryBudget::new(&retry.budget, now), Ok)?;
                Some((retry, budget))
            }
            None => None,
        };
        let breaker = match self.breaker {
            Some(config) => {
                let (clock, rng) = (Arc::clone(&self.clock), Arc::clone(&self.rng));
                let name = Arc::clone(&self.name);
                Some(CircuitBreaker::with(name, config, clock, rng, self.observer.clone())?)
            }
            None => None,
        };
        let concurrency = match self.concurrency {
            Some(config) => {
                Some(ConcurrencyLimit::with(Arc::clone(&self.name), config, self.observer.clone())?)
            }
            None => None,
        };
        let parts = Parts {
            name: self.name,
            deadline: self.deadline,
            retry,
            breaker,
            concurrency,
            attempt_timeout: self.attempt_timeout,
            clock: self.clock,
            rng: self.rng,
            observer: self.observer,
        };
        Ok(Pipeline { parts: Arc::new(parts) })
    }

    fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let deadline_ok = !self.deadline.is_zero() && self.deadline <= DEADLINE_MAX;
        errors.check(deadline_ok, "deadline", self.deadline, "more than 0, at most 1h");
        if let Some(timeout) = self.attempt_timeout {
            let timeout_ok = !timeout.is_zero() && timeout <= self.deadline;
            errors.check(timeout_ok, "attempt_timeout", timeout, "more than 0, at most the deadline");
        }
        if let Some(retry) = &self.retry {
            errors.merge(retry.validate());
        }
        if let Some(breaker) = &self.breaker {
            errors.merge(breaker.validate());
        }
        if let Some(concurrency) = &self.concurrency {
            errors.merge(concurrency.validate());
        }
        errors.finish()
    }
}
