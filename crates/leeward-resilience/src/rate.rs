//! The rate limit: so many calls a period, by one of two rules, in this process or shared with others.
//!
//! **Rules.** [`RateLimit`] is the generic cell rate algorithm (ITU-T I.371; as in `redis-cell`): a call costs
//! `period / limit`, the debt is paid off by time alone, and a call whose debt would exceed `burst` calls is rejected.
//! Over any time `t` at most `burst + t * limit / period` calls pass; there is no window whose edge lets twice as many
//! through. It is the default choice: a place comes free every `period / limit`, and a key is one number.
//!
//! [`SlidingWindow`] promises more and gives back later: in *no* stretch of time of the length of `period` more than
//! `limit` calls pass, as a provider's "100 a minute" is often counted (GCRA with a burst of 100 lets nearly 200 through
//! in its first minute). It counts calls in eleven slices of a tenth of the period each, and a place comes free when its
//! whole slice is older than the period: up to a tenth of the period late, so that a caller who always asks for more gets
//! between ten elevenths of the limit and all of it. Two buckets with the older one weighted by its overlap would be
//! smaller, but they guess that its calls were spread evenly: calls at its end let nearly twice the limit through. A log
//! of the exact times would be neither late nor wrong, but its memory is the limit for each key.
//!
//! **Shared.** A limiter of this module counts in this process. [`SharedRateLimiter`] asks a [`RateStore`], which many
//! processes can share; [`MemoryStore`] is the one without a network.
//!
//! **Reload.** Another rule, limit or period takes over what is used up, and makes no burst free. Each limiter's
//! `reconfigure` says how.
//!
//! **Shadow.** In [`Mode::Shadow`] a call beyond the limit passes and is told as a would-be rejection;
//! it costs nothing, just as a rejected one.
//!
//! **Cost.** GCRA: one atomic compare-and-swap where the call passes, no lock. The sliding window: a short lock, and at most eleven
//! slices to look at. A keyed one takes the short lock of one shard.
//!
//! Trade-off: neither rule remembers who used up the limit, only how much of it is used.
//!
//! There is no default: a rate that nobody granted and nobody measured is a guess that refuses calls. `burst` is usually the
//! limit; 1 spaces calls evenly, and rejects the second of two that come together.

mod gcra;
mod headers;
mod keyed;
mod layer;
mod memory;
mod options;
mod ruled;
mod shared;
mod sliding;
mod store;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::headers::whole_seconds;
pub use self::keyed::KeyedRateLimiter;
pub use self::layer::{RateLimitFuture, RateLimitLayer, RateLimitService};
pub use self::memory::MemoryStore;
pub use self::options::{RateLimit, Rule, SlidingWindow};
pub use self::shared::{SharedRateLayer, SharedRateLimiter, SharedRateService};
pub use self::store::{OnStoreFailure, RateStore, SharedRate, Verdict};

use self::ruled::Ruled;
use crate::config::ConfigErrors;
use crate::live::Live;
use crate::mode::Mode;
use crate::observe::{Event, Observer, Teller};
use crate::outcome::{Reason, Rejected};
use crate::time::{Clock, Instant, TokioClock};

/// The policy's name in rejections, metrics and `explain()`.
pub const NAME: &str = "rate-limit";

/// What a limiter says about one call, with all that the `RateLimit` headers need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the call passes.
    pub allowed: bool,
    /// Calls a period.
    pub limit: u32,
    /// The period.
    pub period: Duration,
    /// Calls that would pass right now, after this one.
    pub remaining: u32,
    /// When the whole burst is free again.
    pub reset_after: Duration,
    /// When a rejected call would pass.
    pub retry_after: Option<Duration>,
    /// The version of the options that decided: 1 for the first.
    pub version: u32,
}

impl Decision {
    /// The rejection, when it is one.
    #[must_use]
    pub fn rejected(&self) -> Option<Rejected> {
        let reason = Reason::RateExceeded { limit: self.limit, period: self.period };
        let rejected =
            Rejected::new(NAME, reason).with_retry_after(self.retry_after).with_version(self.version);
        (!self.allowed).then_some(rejected)
    }

    /// Tells of a rejection, and turns it into a pass in shadow mode.
    fn enforce(self, mode: Mode, teller: &Teller) -> Self {
        match self.rejected().map(|rejected| teller.reject(mode, rejected)) {
            Some(Ok(())) => Self { allowed: true, retry_after: None, ..self },
            Some(Err(_)) | None => self,
        }
    }
}

/// A part of a whole, so that it can become the same part of another whole.
#[derive(Clone, Copy, Debug)]
struct Used {
    part: u64,
    whole: u64,
}

impl Used {
    /// The same part of another whole, rounded up: nobody gets anything free by a change.
    fn of(self, whole: u64) -> u64 {
        let part = (u128::from(self.part) * u128::from(whole)).div_ceil(u128::from(self.whole.max(1)));
        u64::try_from(part).unwrap_or(u64::MAX).min(whole)
    }
}

/// A pure rule: (state, now) to a decision and the state after it.
trait Core {
    /// What is remembered of the calls. The default is a limit that nobody used.
    type State: Default;

    fn decide(&self, state: &mut Self::State, now: Instant) -> Decision;

    /// Takes back the last call that passed, if one still counts.
    fn undo(&self, state: &mut Self::State);

    /// From when on the state is worth nothing: the whole limit is free.
    fn clear_at(&self, state: &Self::State) -> Instant;

    /// How much of the limit is used at `now`.
    fn used(&self, state: &Self::State, now: Instant) -> Used;

    /// The state of a limit of which so much is used.
    fn with_used(&self, used: Used, now: Instant) -> Self::State;

    /// The state under this rule of what was counted by the same one with other options.
    fn carry(&self, old: &Self, state: &Self::State, now: Instant) -> Self::State;
}

/// A rate limit. Clones share its rule and its state.
#[derive(Clone)]
pub struct RateLimiter {
    shared: Arc<Shared>,
}

struct Shared {
    teller: Teller,
    live: Live<Ruled>,
    clock: Arc<dyn Clock>,
}

impl RateLimiter {
    /// A limiter whose whole limit is free, by the rule of a [`RateLimit`] or a [`SlidingWindow`], on tokio time.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new<R: Into<Rule> + Copy>(rule: &R) -> Result<Self, ConfigErrors> {
        Self::with(NAME, rule, Arc::new(TokioClock), None)
    }

    /// A limiter whose whole limit is free, with its own name, clock and observer.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with<R: Into<Rule> + Copy>(
        name: impl Into<Arc<str>>,
        rule: &R,
        clock: Arc<dyn Clock>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        let rule = (*rule).into();
        rule.validate()?;
        let (teller, live) = (Teller::new(name, observer), Live::new(Ruled::new(rule)));
        Ok(Self { shared: Arc::new(Shared { teller, live, clock }) })
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.teller.name()
    }

    /// The rule in force.
    #[must_use]
    pub fn config(&self) -> Rule {
        self.shared.live.load().options.rule
    }

    /// Puts another rule into force. Nobody gets a burst by that: by GCRA the same part of the burst stays used up, and a
    /// sliding window keeps the calls that passed. Between the two, the same part of the limit stays used up.
    ///
    /// # Errors
    /// Every option outside its range; the old rule then stays.
    pub fn reconfigure<R: Into<Rule> + Copy>(&self, rule: &R) -> Result<(), ConfigErrors> {
        let rule = (*rule).into();
        rule.validate()?;
        let Shared { live, clock, teller } = &*self.shared;
        let now = clock.now();
        let version = live.replace(Ruled::new(rule), |old, new| new.take_over(old, now));
        teller.tell(&Event::Reconfigured { policy: NAME, version });
        Ok(())
    }

    /// Asks to make a call at `now`. In shadow mode it always passes.
    #[must_use]
    pub fn check(&self, now: Instant) -> Decision {
        let Shared { live, teller, .. } = &*self.shared;
        // Once more only when another rule came into force meanwhile.
        loop {
            let ruled = live.load();
            if let Some(decision) = ruled.options.decide(now) {
                let decision = Decision { version: ruled.version, ..decision };
                return decision.enforce(ruled.options.rule.mode(), teller);
            }
            drop(ruled);
            live.settle();
        }
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("name", &self.shared.teller)
            .field("rule", &self.config())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;
    use crate::time::nanos;

    const START: Instant = Instant::from_nanos(10_000_000_000);

    fn limit(limit: u32, period: Duration, burst: u32) -> RateLimit {
        let count = |number| NonZeroU32::new(number).unwrap();
        RateLimit { period, burst: count(burst), ..RateLimit::per_second(count(limit)) }
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
        let told = rejected.rejected().unwrap();
        assert_eq!(told.reason, Reason::RateExceeded { limit: 3, period: Duration::from_secs(60) });
        assert_eq!(told.to_string(), "rejected by rate-limit: more than 3 calls in 60s; try again in 20s");
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
