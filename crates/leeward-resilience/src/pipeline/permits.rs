//! What one attempt holds while it is on its way.

use super::parts::Parts;
use crate::deadline::Deadline;
use crate::outcome::{Class, Rejected};
use crate::priority::Priority;
use crate::time::{Clock, Instant};
use crate::{adaptive, breaker, concurrency, throttle};

/// The permits of all the policies that give some. Dropping them means that the attempt was cancelled.
#[derive(Debug, Default)]
#[must_use = "dropping permits records the attempt as cancelled"]
pub(super) struct Permits {
    throttle: Option<throttle::Permit>,
    breaker: Option<breaker::Permit>,
    adaptive: Option<adaptive::Permit>,
    concurrency: Option<concurrency::Permit>,
}

impl Permits {
    /// Asks every policy, outermost first. What a refusal leaves behind ends as ignored: nothing was sent.
    pub(super) async fn acquire(
        parts: &Parts,
        priority: Priority,
        deadline: Deadline,
        now: Instant,
        clock: &dyn Clock,
    ) -> Result<Self, Rejected> {
        let mut permits = Self::default();
        if let Err(rejected) = permits.ask(parts, priority, now) {
            permits.record(Class::Ignored, now);
            return Err(rejected);
        }
        let Some(limit) = &parts.concurrency else { return Ok(permits) };
        if let Some(permit) = limit.try_acquire() {
            permits.concurrency = Some(permit);
            return Ok(permits);
        }
        match limit.acquire_within(deadline.remaining(now)).await {
            Ok(permit) => {
                permits.concurrency = Some(permit);
                Ok(permits)
            }
            Err(rejected) => {
                permits.record(Class::Ignored, clock.now());
                Err(rejected)
            }
        }
    }

    /// The policies that never wait. The rate limit comes before whoever waits: a call that exceeds it should hear so at once.
    fn ask(&mut self, parts: &Parts, priority: Priority, now: Instant) -> Result<(), Rejected> {
        if let Some(throttler) = &parts.throttler {
            self.throttle = Some(throttler.acquire(priority, now)?);
        }
        if let Some(breaker) = &parts.breaker {
            self.breaker = Some(breaker.acquire(now)?);
        }
        if let Some(rate) = &parts.rate
            && let Some(rejected) = rate.check(now).rejected()
        {
            return Err(rejected);
        }
        if let Some(adaptive) = &parts.adaptive {
            self.adaptive = Some(adaptive.acquire(now)?);
        }
        Ok(())
    }

    /// As [`acquire`](Self::acquire) for whoever only watches: without waiting, so that a queue refuses nothing.
    pub(super) fn acquire_at_once(parts: &Parts, priority: Priority, now: Instant) -> Result<Self, Rejected> {
        let mut permits = Self::default();
        if let Err(rejected) = permits.ask(parts, priority, now) {
            permits.record(Class::Ignored, now);
            return Err(rejected);
        }
        permits.concurrency = parts.concurrency.as_ref().and_then(concurrency::ConcurrencyLimit::try_acquire);
        Ok(permits)
    }

    /// The attempt ended.
    pub(super) fn record(self, class: Class, now: Instant) {
        let Self { throttle, breaker, adaptive, concurrency } = self;
        drop(concurrency);
        if let Some(permit) = adaptive {
            permit.record(class, now);
        }
        if let Some(permit) = breaker {
            permit.record(class, now);
        }
        if let Some(permit) = throttle {
            permit.record(class, now);
        }
    }
}
