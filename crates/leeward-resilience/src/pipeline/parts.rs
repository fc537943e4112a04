//! The policies of a pipeline, made from its options.

use std::sync::Arc;

use super::PipelineOptions;
use crate::adaptive::AdaptiveLimit;
use crate::breaker::CircuitBreaker;
use crate::concurrency::ConcurrencyLimit;
use crate::config::ConfigErrors;
use crate::fallback::FallbackPolicy;
use crate::hedge::Hedger;
use crate::observe::Observer;
use crate::random::Rng;
use crate::rate::RateLimiter;
use crate::retry::{RetryBudget, RetryPolicy};
use crate::throttle::Throttler;
use crate::time::Clock;

/// What all the policies of a pipeline are given.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) name: Arc<str>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rng: Arc<dyn Rng>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    /// A budget that other pipelines may share, in place of one of its own.
    pub(super) budget: Option<RetryBudget>,
}

/// One version of the policies.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) options: PipelineOptions,
    /// 1 for those that it was made with.
    pub(super) version: u32,
    pub(super) fallback: Option<FallbackPolicy>,
    /// What retries and hedges draw on.
    pub(super) budget: Option<RetryBudget>,
    pub(super) retry: Option<RetryPolicy>,
    pub(super) hedger: Option<Hedger>,
    pub(super) throttler: Option<Throttler>,
    pub(super) breaker: Option<CircuitBreaker>,
    pub(super) rate: Option<RateLimiter>,
    pub(super) adaptive: Option<AdaptiveLimit>,
    pub(super) concurrency: Option<ConcurrencyLimit>,
}

impl Parts {
    pub(super) fn new(options: PipelineOptions, around: &Surroundings) -> Result<Self, ConfigErrors> {
        Self::after(None, options, around)
    }

    /// The policies for `options`. What `old` has too goes on with what it has learnt; all others are new.
    pub(super) fn after(
        old: Option<&Self>,
        options: PipelineOptions,
        around: &Surroundings,
    ) -> Result<Self, ConfigErrors> {
        let options = options.settled();
        // All of it, before any policy takes up anything.
        options.validate()?;
        let Surroundings { name, clock, rng, observer, .. } = around;
        let (name, clock, rng) = (|| Arc::clone(name), || Arc::clone(clock), || Arc::clone(rng));
        let observer = || observer.clone();
        let budget = Self::budget(old, &options, around)?;
        let retry = carried(
            old.and_then(|it| it.retry.as_ref()),
            options.retry.as_ref(),
            RetryPolicy::reconfigure,
            |config| RetryPolicy::with(name(), config, budget.clone(), clock(), rng(), observer()),
        )?;
        let hedger = carried(
            old.and_then(|it| it.hedger.as_ref()),
            options.hedge.as_ref(),
            Hedger::reconfigure,
            |config| Hedger::with(name(), config, budget.clone(), clock(), observer()),
        )?;
        let throttler = carried(
            old.and_then(|it| it.throttler.as_ref()),
            options.throttle.as_ref(),
            Throttler::reconfigure,
            |config| Throttler::with(name(), config, clock(), rng(), observer()),
        )?;
        let breaker = carried(
            old.and_then(|it| it.breaker.as_ref()),
            options.breaker.as_ref(),
            CircuitBreaker::reconfigure,
            |config| CircuitBreaker::with(name(), config, clock(), rng(), observer()),
        )?;
        let rate = carried(
            old.and_then(|it| it.rate.as_ref()),
            options.rate_limit.as_ref(),
            |limiter, rule| limiter.reconfigure(&rule),
            |rule| RateLimiter::with(name(), &rule, clock(), observer()),
        )?;
        let adaptive = carried(
            old.and_then(|it| it.adaptive.as_ref()),
            options.adaptive.as_ref(),
            AdaptiveLimit::reconfigure,
            |config| AdaptiveLimit::with(name(), config, clock(), observer()),
        )?;
        let concurrency = carried(
            old.and_then(|it| it.concurrency.as_ref()),
            options.concurrency.as_ref(),
            ConcurrencyLimit::reconfigure,
            |config| ConcurrencyLimit::with(name(), config, observer()),
        )?;
        let fallback = carried(
            old.and_then(|it| it.fallback.as_ref()),
            options.fallback.as_ref(),
            FallbackPolicy::reconfigure,
            |config| FallbackPolicy::new(name(), config, observer()),
        )?;
        let version = old.map_or(1, |old| old.version.saturating_add(1));
        Ok(Self {
            options,
            version,
            fallback,
            budget,
            retry,
            hedger,
            throttler,
            breaker,
            rate,
            adaptive,
            concurrency,
        })
    }

    /// What retries and hedges draw on: the one that was given, or one by the options of retry, or else of hedging.
    fn budget(
        old: Option<&Self>,
        options: &PipelineOptions,
        around: &Surroundings,
    ) -> Result<Option<RetryBudget>, ConfigErrors> {
        let own = options.retry.as_ref().map(|retry| &retry.budget);
        let Some(config) = own.or(options.hedge.as_ref().map(|hedge| &hedge.budget)) else { return Ok(None) };
        if around.budget.is_some() {
            return Ok(around.budget.clone());
        }
        let now = around.clock.now();
        match old.and_then(|old| old.budget.clone()) {
            Some(budget) => budget.reconfigure(config, now).map(|()| Some(budget)),
            None => RetryBudget::new(config, now).map(Some),
        }
    }
}

/// The handle that there was, under other options, or a new one; none without options.
fn carried<H: Clone, O: Clone>(
    old: Option<&H>,
    options: Option<&O>,
    reconfigure: impl FnOnce(&H, O) -> Result<(), ConfigErrors>,
    make: impl FnOnce(O) -> Result<H, ConfigErrors>,
) -> Result<Option<H>, ConfigErrors> {
    match (old, options) {
        (_, None) => Ok(None),
        (Some(old), Some(options)) => reconfigure(old, options.clone()).map(|()| Some(old.clone())),
        (None, Some(options)) => make(options.clone()).map(Some),
    }
}
