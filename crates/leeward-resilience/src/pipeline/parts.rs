//! The policies of a pipeline, made from its options.

use std::sync::Arc;

use super::sharing::Part;
use super::{Pipeline, PipelineOptions};
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
    /// Whose policies it has where it shares some.
    pub(super) with: Option<Pipeline>,
}

/// One version of the policies.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) options: PipelineOptions,
    /// 1 for those that it was made with.
    pub(super) version: u32,
    /// What is another pipeline's.
    pub(super) shared: Arc<[Part]>,
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
    pub(super) fn new(
        options: PipelineOptions,
        shared: &Arc<[Part]>,
        around: &Surroundings,
    ) -> Result<Self, ConfigErrors> {
        Self::after(None, options, shared, around)
    }

    /// The policies for `options`. What `old` has too goes on with what it has learnt, what is shared is that of the other pipeline, and
    /// all others are new.
    pub(super) fn after(
        old: Option<&Self>,
        options: PipelineOptions,
        shared: &Arc<[Part]>,
        around: &Surroundings,
    ) -> Result<Self, ConfigErrors> {
        let theirs = around.with.as_ref().map(Pipeline::parts);
        let known = Known { old, shared, theirs: theirs.as_deref() };
        let options = known.common(options.settled());
        // All of it, before any policy takes up anything.
        options.validate()?;
        let Surroundings { name, clock, rng, observer, .. } = around;
        let (name, observer) = (|| Arc::clone(name), || observer.clone());
        let (clock, rng) = (|| Arc::clone(clock), || Arc::clone(rng));
        let budget = known.budget(&options, around)?;
        let retry = known.part(
            (Part::Retries, |it| it.retry.as_ref()),
            options.retry.as_ref(),
            RetryPolicy::reconfigure,
            |config| RetryPolicy::with(name(), config, budget.clone(), clock(), rng(), observer()),
        )?;
        let hedger = known.part(
            (Part::Retries, |it| it.hedger.as_ref()),
            options.hedge.as_ref(),
            Hedger::reconfigure,
            |config| Hedger::with(name(), config, budget.clone(), clock(), observer()),
        )?;
        let throttler = known.part(
            (Part::Throttle, |it| it.throttler.as_ref()),
            options.throttle.as_ref(),
            Throttler::reconfigure,
            |config| Throttler::with(name(), config, clock(), rng(), observer()),
        )?;
        let breaker = known.part(
            (Part::Breaker, |it| it.breaker.as_ref()),
            options.breaker.as_ref(),
            CircuitBreaker::reconfigure,
            |config| CircuitBreaker::with(name(), config, clock(), rng(), observer()),
        )?;
        let rate = known.part(
            (Part::RateLimit, |it| it.rate.as_ref()),
            options.rate_limit.as_ref(),
            |limiter, rule| limiter.reconfigure(&rule),
            |rule| RateLimiter::with(name(), &rule, clock(), observer()),
        )?;
        let adaptive = known.part(
            (Part::Adaptive, |it| it.adaptive.as_ref()),
            options.adaptive.as_ref(),
            AdaptiveLimit::reconfigure,
            |config| AdaptiveLimit::with(name(), config, clock(), observer()),
        )?;
        let concurrency = known.part(
            (Part::Concurrency, |it| it.concurrency.as_ref()),
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
        Ok(Self {
            options,
            version: old.map_or(1, |old| old.version.saturating_add(1)),
            shared: Arc::clone(shared),
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
}

/// Where policies are taken from that are there already.
struct Known<'a> {
    old: Option<&'a Parts>,
    shared: &'a [Part],
    /// Those of whom the rest is shared with.
    theirs: Option<&'a Parts>,
}

impl<'a> Known<'a> {
    fn theirs(&self, part: Part) -> Option<&'a Parts> {
        self.theirs.filter(|_| self.shared.contains(&part))
    }

    /// The options with those of others for what is shared with them.
    fn common(&self, options: PipelineOptions) -> PipelineOptions {
        let Some(theirs) = self.theirs else { return options };
        self.shared.iter().fold(options, |options, part| part.taken(&theirs.options, options))
    }

    /// What was this pipeline's own before: what was shared is not its to change.
    fn own(&self, part: Part) -> Option<&'a Parts> {
        self.old.filter(|old| self.theirs.is_none() || !old.shared.contains(&part))
    }

    fn part<H: Clone, O: Clone>(
        &self,
        (part, of): (Part, impl Fn(&Parts) -> Option<&H>),
        options: Option<&O>,
        reconfigure: impl FnOnce(&H, O) -> Result<(), ConfigErrors>,
        make: impl FnOnce(O) -> Result<H, ConfigErrors>,
    ) -> Result<Option<H>, ConfigErrors> {
        match self.theirs(part) {
            Some(theirs) => Ok(of(theirs).cloned()),
            None => carried(self.own(part).and_then(of), options, reconfigure, make),
        }
    }

    /// What retries and hedges draw on: the one that was given, or one by the options of retry, or else of hedging.
    fn budget(
        &self,
        options: &PipelineOptions,
        around: &Surroundings,
    ) -> Result<Option<RetryBudget>, ConfigErrors> {
        if let Some(theirs) = self.theirs(Part::Retries) {
            return Ok(theirs.budget.clone());
        }
        let own = options.retry.as_ref().map(|retry| &retry.budget);
        let Some(config) = own.or(options.hedge.as_ref().map(|hedge| &hedge.budget)) else { return Ok(None) };
        if around.budget.is_some() {
            return Ok(around.budget.clone());
        }
        let now = around.clock.now();
        match self.own(Part::Retries).and_then(|old| old.budget.clone()) {
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
