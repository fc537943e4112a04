//! Putting a pipeline together.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;

use super::counts::Counters;
use super::parts::{Parts, Surroundings};
use super::sharing::Part;
use super::{Pipeline, PipelineOptions, Shared};
use crate::adaptive::Adaptive;
use crate::breaker::Breaker;
use crate::cache::Cache;
use crate::concurrency::Concurrency;
use crate::config::ConfigErrors;
use crate::fallback::Fallback;
use crate::fault::FaultInjector;
use crate::hedge::Hedge;
use crate::observe::Observer;
use crate::random::{FastRng, Rng};
use crate::rate::Rule;
use crate::retry::{Retry, RetryBudget};
use crate::throttle::Throttle;
use crate::time::{Clock, TokioClock};
use crate::timeout::Timeout;

/// The policies of a [`Pipeline`], in any order of calls: the pipeline's order is always the same.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct PipelineBuilder {
    options: PipelineOptions,
    shared: Arc<[Part]>,
    around: Surroundings,
    faults: Option<FaultInjector>,
}

impl PipelineBuilder {
    pub(super) fn new(name: Arc<str>) -> Self {
        let (clock, rng) = (Arc::new(TokioClock), Arc::new(FastRng::from_entropy()));
        let around = Surroundings { name, clock, rng, observer: None, budget: None, with: None };
        Self { options: PipelineOptions::default(), shared: Arc::default(), around, faults: None }
    }

    /// All the policies at once, in place of those that were asked for so far.
    pub fn options(mut self, options: PipelineOptions) -> Self {
        self.options = options;
        self
    }

    /// Failed calls get a substitute, where the caller has one: [`Pipeline::call_or`].
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.options.fallback = Some(fallback);
        self
    }

    /// Answers are kept, and loaded once for all that ask: [`Pipeline::cache`].
    pub fn cache(mut self, cache: Cache) -> Self {
        self.options.cache = Some(cache);
        self
    }

    /// The longest that a call may take with all its attempts, up to 1 h. Default 10 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// Failed attempts are retried.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.options.retry = Some(retry);
        self
    }

    /// Retries and hedges draw on this budget, which other pipelines may share, in place of one of their own.
    pub fn retry_budget(mut self, budget: RetryBudget) -> Self {
        self.around.budget = Some(budget);
        self
    }

    /// These policies are those of another pipeline, with all that they have learnt, whatever the options here say of them: for calls to
    /// the same upstream of which only some policies differ. What [`Pipeline::reconfigure`] changes there is in force here after the
    /// next one here. A trial there sees nothing of the calls here.
    pub fn sharing(mut self, with: &Pipeline, parts: impl IntoIterator<Item = Part>) -> Self {
        self.around.with = Some(with.clone());
        self.shared = parts.into_iter().collect();
        self
    }

    /// Another attempt is sent beside one that takes long. It draws on the retry budget; without [`retry`](Self::retry) on
    /// its own.
    pub fn hedge(mut self, hedge: Hedge) -> Self {
        self.options.hedge = Some(hedge);
        self
    }

    /// Attempts are held back while the upstream refuses many. `abandoned_after` is set as the breaker's.
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.options.throttle = Some(throttle);
        self
    }

    /// A breaker watches the attempts. Its `abandoned_after` is set to the attempt timeout, or else the deadline.
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.options.breaker = Some(breaker);
        self
    }

    /// So many attempts a period: what the upstream grants us.
    pub fn rate_limit(mut self, rule: impl Into<Rule>) -> Self {
        self.options.rate_limit = Some(rule.into());
        self
    }

    /// So many attempts at a time, found by measuring. `abandoned_after` is set as the breaker's.
    pub fn adaptive(mut self, adaptive: Adaptive) -> Self {
        self.options.adaptive = Some(adaptive);
        self
    }

    /// So many attempts at a time.
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.options.concurrency = Some(concurrency);
        self
    }

    /// The longest that one attempt may take, at most the deadline.
    pub fn attempt_timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.options.attempt_timeout = Some(timeout.into());
        self
    }

    /// Experiments of this injector touch the attempts: a refused or failed one, or one whose reply is lost, ends as
    /// [`Error::Injected`](crate::Error::Injected), which is retried like any failure. For faults that look like those of a
    /// protocol, use the injector in the call itself.
    pub fn faults(mut self, faults: FaultInjector) -> Self {
        self.faults = Some(faults);
        self
    }

    /// The clock of the deadlines and the policies. Waiting is done in tokio time, so that it should follow it.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.around.clock = clock;
        self
    }

    /// The randomness of the policies.
    pub fn rng(mut self, rng: Arc<dyn Rng>) -> Self {
        self.around.rng = rng;
        self
    }

    /// Is told what the policies do.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.around.observer = Some(observer);
        self
    }

    /// The pipeline.
    ///
    /// # Errors
    /// Every option of every policy that is outside its range.
    pub fn build(self) -> Result<Pipeline, ConfigErrors> {
        let Self { options, shared, around, faults } = self;
        let parts = ArcSwap::from_pointee(Parts::new(options, &shared, &around)?);
        let (trial, counters) = (ArcSwapOption::empty(), Counters::new());
        let shared = Shared {
            around,
            parts,
            reloading: Mutex::new(()),
            trial,
            is_trying: AtomicBool::new(false),
            faults,
            counters,
        };
        Ok(Pipeline { shared: Arc::new(shared) })
    }
}
