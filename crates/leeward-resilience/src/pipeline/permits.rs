//! What one attempt holds while it is on its way.

use std::time::Duration;

use super::Call;
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
    /// Asks every policy, outermost first, and says when all had answered. What a refusal leaves behind ends as ignored: nothing was sent.
    pub(super) async fn acquire(
        parts: &Parts,
        call: &Call,
        deadline: Deadline,
        now: Instant,
        clock: &dyn Clock,
    ) -> Result<(Self, Instant), Rejected> {
        let mut permits = Self::default();
        if let Err(rejected) = permits.ask(parts, call.priority, now) {
            permits.finish(Class::Ignored, clock);
            return Err(rejected);
        }
        // What is another pipeline's goes by that one's times.
        if !parts.shared.is_empty() || call.abandoned_after.is_some() {
            permits.abandoned_after(call.abandoned_after.unwrap_or(parts.options.attempt_longest()));
        }
        let Some(limit) = &parts.concurrency else { return Ok((permits, now)) };
        if let Some(permit) = limit.try_acquire() {
            permits.concurrency = Some(permit);
            return Ok((permits, now));
        }
        // The wait is ours and not the upstream's: whoever leaves meanwhile says nothing about it, nor does the time count.
        permits.start_at(Instant::NEVER);
        match limit.acquire_within(deadline.remaining(now)).await {
            Ok(permit) => {
                let now = clock.now();
                permits.start_at(now);
                permits.concurrency = Some(permit);
                Ok((permits, now))
            }
            Err(rejected) => {
                permits.finish(Class::Ignored, clock);
                Err(rejected)
            }
        }
    }

    /// The attempt is sent at this time, and not when the permits were taken.
    fn start_at(&mut self, at: Instant) {
        if let Some(permit) = &mut self.throttle {
            permit.start_at(at);
        }
        if let Some(permit) = &mut self.breaker {
            permit.start_at(at);
        }
        if let Some(permit) = &mut self.adaptive {
            permit.start_at(at);
        }
    }

    /// An attempt that is dropped after so long is one that hung.
    fn abandoned_after(&mut self, longest: Duration) {
        if let Some(permit) = &mut self.throttle {
            permit.abandoned_after(longest);
        }
        if let Some(permit) = &mut self.breaker {
            permit.abandoned_after(longest);
        }
        if let Some(permit) = &mut self.adaptive {
            permit.abandoned_after(longest);
        }
    }

    /// So much of the time until now was not the attempt's.
    pub(super) fn put_off(&mut self, by: Duration) {
        if let Some(permit) = &mut self.throttle {
            permit.put_off(by);
        }
        if let Some(permit) = &mut self.breaker {
            permit.put_off(by);
        }
        if let Some(permit) = &mut self.adaptive {
            permit.put_off(by);
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
    pub(super) fn acquire_at_once(
        parts: &Parts,
        priority: Priority,
        now: Instant,
        clock: &dyn Clock,
    ) -> Result<Self, Rejected> {
        let mut permits = Self::default();
        if let Err(rejected) = permits.ask(parts, priority, now) {
            permits.finish(Class::Ignored, clock);
            return Err(rejected);
        }
        permits.concurrency = parts.concurrency.as_ref().and_then(concurrency::ConcurrencyLimit::try_acquire);
        Ok(permits)
    }

    /// The answer has begun. That is what the adaptive limit measures and bounds: how long the rest takes is up to what is in it, and
    /// a stream may last for hours.
    pub(super) fn answered(&mut self, clock: &dyn Clock) {
        if let Some(permit) = self.adaptive.take() {
            permit.record(Class::Success, clock.now());
        }
    }

    /// The attempt ended. The clock is read only where something depends on it.
    pub(super) fn finish(self, class: Class, clock: &dyn Clock) {
        let Self { throttle, breaker, adaptive, concurrency } = self;
        drop(concurrency);
        if throttle.is_some() || adaptive.is_some() {
            let now = clock.now();
            if let Some(permit) = adaptive {
                permit.record(class, now);
            }
            if let Some(permit) = throttle {
                permit.record(class, now);
            }
        }
        if let Some(permit) = breaker {
            permit.finish(class);
        }
    }
}
