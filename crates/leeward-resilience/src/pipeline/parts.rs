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
use crate::retry::RetryBudget;
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
    pub(super) fallback: Option<FallbackPolicy>,
    /// What retries and hedges draw on.
    pub(super) budget: Option<RetryBudget>,
    pub(super) hedger: Option<Hedger>,
    pub(super) throttler: Option<Throttler>,
    pub(super) breaker: Option<CircuitBreaker>,
    pub(super) rate: Option<RateLimiter>,
    pub(super) adaptive: Option<AdaptiveLimit>,
    pub(super) concurrency: Option<ConcurrencyLimit>,
}

impl Parts {
    pub(super) fn new(options: PipelineOptions, around: &Surroundings) -> Result<Self, ConfigErrors> {
        let options = options.settled();
        options.validate()?;
        let Surroundings { name, clock, rng, observer, budget } = around;
        let now = clock.now();
        let budget = match (budget, &options.retry, &options.hedge) {
            (Some(shared), Some(_), _) | (Some(shared), _, Some(_)) => Some(shared.clone()),
            (None, Some(retry), _) => Some(RetryBudget::new(&retry.budget, now)?),
            (None, None, Some(hedge)) => Some(RetryBudget::new(&hedge.budget, now)?),
            (_, None, None) => None,
        };
        let hedger = match (&options.hedge, &budget) {
            (Some(hedge), Some(budget)) => {
                Some(Hedger::sharing(hedge.clone(), budget.clone(), Arc::clone(clock))?)
            }
            _ => None,
        };
        let fallback = options
            .fallback
            .as_ref()
            .map(|config| FallbackPolicy::new(Arc::clone(name), config.clone(), observer.clone()));
        let throttler = options
            .throttle
            .as_ref()
            .map(|config| Throttler::with(config.clone(), Arc::clone(clock), Arc::clone(rng)));
        let breaker = options.breaker.as_ref().map(|config| {
            let (name, clock, rng) = (Arc::clone(name), Arc::clone(clock), Arc::clone(rng));
            CircuitBreaker::with(name, config.clone(), clock, rng, observer.clone())
        });
        let rate = options.rate_limit.as_ref().map(RateLimiter::new);
        let adaptive = options.adaptive.as_ref().map(|config| {
            AdaptiveLimit::with(Arc::clone(name), config.clone(), Arc::clone(clock), observer.clone())
        });
        let concurrency = options.concurrency.as_ref().map(|config| ConcurrencyLimit::new(config.clone()));
        Ok(Self {
            fallback: fallback.transpose()?,
            budget,
            hedger,
            throttler: throttler.transpose()?,
            breaker: breaker.transpose()?,
            rate: rate.transpose()?,
            adaptive: adaptive.transpose()?,
            concurrency: concurrency.transpose()?,
            options,
        })
    }
}
