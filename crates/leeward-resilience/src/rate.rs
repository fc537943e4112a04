//! The rate limit: so many calls a period, with a burst.
//!
//! **Rule.** The generic cell rate algorithm (ITU-T I.371; as in `redis-cell`): a call costs `period / limit`, the debt is
//! paid off by time alone, and a call whose debt would exceed `burst` calls is rejected. Over any time `t` at most
//! `burst + t * limit / period` calls pass; there is no window whose edge lets twice as many through.
//!
//! **Cost.** One atomic compare-and-swap, no lock; a keyed one takes the short lock of one shard.
//!
//! Trade-off: one instant a limiter is all the state there is, so that it cannot say who used up the limit.

mod keyed;
mod layer;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use self::keyed::KeyedRateLimiter;
pub use self::layer::{RateLimitFuture, RateLimitLayer, RateLimitService};

use crate::config::ConfigErrors;
use crate::outcome::{Reason, Rejected};
use crate::time::{Instant, nanos};

/// The policy's name in rejections, metrics and `explain()`.
pub const NAME: &str = "rate-limit";

/// Options of a [`RateLimiter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls a period.
    pub limit: NonZeroU32,
    /// The period, 1 ms ..= 24 h.
    pub period: Duration,
    /// Calls that may come at once after a pause, at least 1. Usually the limit.
    pub burst: NonZeroU32,
}

impl RateLimit {
    /// `limit` calls a second, as many at once.
    #[must_use]
    pub const fn per_second(limit: NonZeroU32) -> Self {
        Self { limit, period: Duration::from_secs(1), burst: limit }
    }

    /// `limit` calls a minute, as many at once.
    #[must_use]
    pub const fn per_minute(limit: NonZeroU32) -> Self {
        Self { limit, period: Duration::from_secs(60), burst: limit }
    }

    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let period_ok = (Duration::from_millis(1)..=Duration::from_secs(86_400)).contains(&self.period);
        errors.check(period_ok, "rate-limit.period", self.period, "1ms to 24h");
        errors.check(self.limit.get() <= 1_000_000, "rate-limit.limit", self.limit, "1 to 1000000");
        errors.check(self.burst.get() <= 1_000_000, "rate-limit.burst", self.burst, "1 to 1000000");
        errors.finish()
    }
}

/// What a limiter says about one call, with all that the `RateLimit` headers need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the call passes.
    pub allowed: bool,
    /// Calls a period.
    pub limit: u32,
    /// Calls that would pass right now, after this one.
    pub remaining: u32,
    /// When the whole burst is free again.
    pub reset_after: Duration,
    /// When a rejected call would pass.
    pub retry_after: Option<Duration>,
}

impl Decision {
    /// The rejection, when it is one.
    #[must_use]
    pub fn rejected(&self) -> Option<Rejected> {
        let reason = Reason::RateExceeded { limit: self.limit };
        (!self.allowed).then_some(Rejected { policy: NAME, reason, retry_after: self.retry_after })
    }
}

/// The pure rule, with its options turned into nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Gcra {
    limit: u32,
    /// What a call costs. Rounded up, so that never more than the limit passes.
    cost_nanos: u64,
    /// The debt that may be had.
    debt_nanos: u64,
}

impl Gcra {
    fn new(config: &RateLimit) -> Self {
        let cost_nanos = nanos(config.period).div_ceil(u64::from(config.limit.get()));
        let debt_nanos = cost_nanos.saturating_mul(u64::from(config.burst.get()));
        Self { limit: config.limit.get(), cost_nanos, debt_nanos }
    }

    /// Decides from `paid_at`, the instant at which the debt is paid off, and says what it is after the call.
    fn decide(self, paid_at: u64, now: u64) -> (Decision, u64) {
        let before = paid_at.max(now);
        let after = before.saturating_add(self.cost_nanos);
        let allowed = after - now <= self.debt_nanos;
        let paid_at = if allowed { after } else { before };
        let debt = paid_at - now;
        let decision = Decision {
            allowed,
            limit: self.limit,
            remaining: u32::try_from((self.debt_nanos - debt.min(self.debt_nanos)) / self.cost_nanos)
                .unwrap_or(u32::MAX),
            reset_after: Duration::from_nanos(debt),
            retry_after: (!allowed).then(|| Duration::from_nanos(after - now - self.debt_nanos)),
        };
        (decision, paid_at)
    }
}

/// A rate limit. Clones share its state.
#[derive(Clone, Debug)]
pub struct RateLimiter {
    gcra: Gcra,
    paid_at: Arc<AtomicU64>,
}

impl RateLimiter {
    /// A limiter with its whole burst free.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(config: &RateLimit) -> Result<Self, ConfigErrors> {
        config.validate()?;
        Ok(Self { gcra: Gcra::new(config), paid_at: Arc::new(AtomicU64::new(0)) })
    }

    /// Asks to make a call at `now`.
    #[must_use]
    pub fn check(&self, now: Instant) -> Decision {
        let mut seen = self.paid_at.load(Ordering::Relaxed);
        loop {
            let (decision, paid_at) = self.gcra.decide(seen, now.as_nanos());
            if !decision.allowed {
                return decision;
            }
            match self.paid_at.compare_exchange_weak(seen, paid_at, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return decision,
                Err(other) => seen = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Instant = Instant::from_nanos(10_000_000_000);

    fn limit(limit: u32, period: Duration, burst: u32) -> RateLimit {
        let count = |number| NonZeroU32::new(number).unwrap();
        RateLimit { limit: count(limit), period, burst: count(burst) }
    }

    proptest! {
        /// The naive model is a bucket of tokens that is refilled little by little.
        #[test]
        fn it_does_what_a_token_bucket_does(
            steps in prop::collection::vec(0_u64..400, 1..300),
            calls in 1_u32..50,
            burst in 1_u32..20,
        ) {
            let config = limit(calls, Duration::from_secs(1), burst);
            let limiter = RateLimiter::new(&config).unwrap();
            let cost = 1_000_000_000_u64.div_ceil(u64::from(calls));
            let full = cost * u64::from(burst);
            let (mut tokens, mut now) = (full, START);
            for ms in steps {
                // Every fourth step or so is a burst without any time between.
                let pause = Duration::from_millis(ms.saturating_sub(100));
                now = now + pause;
                tokens = (tokens + nanos(pause)).min(full);
                let allowed = tokens >= cost;
                let decision = limiter.check(now);
                prop_assert_eq!(decision.allowed, allowed);
                if allowed {
                    tokens -= cost;
                } else {
                    prop_assert_eq!(decision.retry_after, Some(Duration::from_nanos(cost - tokens)));
                }
                prop_assert_eq!(u64::from(decision.remaining), tokens / cost);
                prop_assert_eq!(decision.reset_after, Duration::from_nanos(full - tokens));
            }
        }

        #[test]
        fn never_more_than_the_burst_and_the_rate_passes(
            pauses in prop::collection::vec(0_u64..50_000_000, 1..400),
            calls in 1_u32..1000,
        ) {
            let limiter = RateLimiter::new(&limit(calls, Duration::from_secs(1), 7)).unwrap();
            let mut now = START;
            let mut passed: Vec<u64> = Vec::new();
            for pause in pauses {
                now = now + Duration::from_nanos(pause);
                if limiter.check(now).allowed {
                    passed.push(now.as_nanos());
                }
            }
            for (index, from) in passed.iter().enumerate() {
                for (more, to) in passed[index..].iter().enumerate() {
                    let most = 7.0 + (to - from) as f64 * f64::from(calls) / 1e9;
                    prop_assert!((more + 1) as f64 <= most + 1e-6);
                }
            }
        }
    }

    #[test]
    fn a_rejected_caller_who_waits_as_told_passes() {
        let limiter = RateLimiter::new(&limit(3, Duration::from_secs(60), 2)).unwrap();
        assert!(limiter.check(START).allowed && limiter.check(START).allowed);
        let rejected = limiter.check(START);
        let after = rejected.retry_after.unwrap();
        assert_eq!((rejected.remaining, after), (0, Duration::from_secs(20)));
        assert!(!limiter.check((START + after).saturating_sub(Duration::from_nanos(1))).allowed);
        assert!(limiter.check(START + after).allowed);
        assert_eq!(rejected.rejected().unwrap().reason, Reason::RateExceeded { limit: 3 });
    }

    #[test]
    fn many_threads_share_one_limit() {
        let limiter = RateLimiter::new(&RateLimit::per_minute(NonZeroU32::new(100).unwrap())).unwrap();
        let passed: usize = std::thread::scope(|scope| {
            let count = || {
                let limiter = limiter.clone();
                scope.spawn(move || (0..500).filter(|_| limiter.check(START).allowed).count())
            };
            let threads: Vec<_> = (0..4).map(|_| count()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 100);
    }
}
