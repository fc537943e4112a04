//! A rate limit whose count is kept by a store.

mod layer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub use self::layer::{SharedRateLayer, SharedRateService};

use super::{NAME, OnStoreFailure, RateStore, SharedRate, Verdict};
use crate::config::ConfigErrors;
use crate::live::{Live, Versioned};
use crate::observe::{Event, Observer, Teller};
use crate::time::{Clock, Instant, TokioClock};

/// Asks a [`RateStore`] about each call, for a bounded time. Clones share the store and what is known of its health.
///
/// ```
/// use std::num::NonZeroU32;
/// use leeward_resilience::{RateLimit, rate::{MemoryStore, SharedRate, SharedRateLimiter}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), leeward_resilience::ConfigErrors> {
/// let store = MemoryStore::new(&RateLimit::per_second(NonZeroU32::MIN), 10_000)?;
/// let limiter = SharedRateLimiter::new("logins", store, SharedRate::default())?;
/// assert!(limiter.check("203.0.113.7").await.allowed());
/// assert!(!limiter.check("203.0.113.7").await.allowed());
/// # Ok(())
/// # }
/// ```
pub struct SharedRateLimiter<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    teller: Teller,
    store: S,
    live: Live<SharedRate>,
    health: Mutex<Health>,
    clock: Arc<dyn Clock>,
}

/// When to leave the store alone.
#[derive(Clone, Copy, Debug)]
struct Health {
    failures: u32,
    /// Until then nobody asks, and who asks first after it is alone for another pause.
    paused_until: Instant,
}

impl Health {
    const GOOD: Self = Self { failures: 0, paused_until: Instant::ZERO };

    /// The rest of the pause, or `None` when the caller may ask.
    fn ask(&mut self, config: &SharedRate, now: Instant) -> Option<Duration> {
        if self.failures < config.failures_max {
            return None;
        }
        if now < self.paused_until {
            return Some(self.paused_until.saturating_duration_since(now));
        }
        self.paused_until = now + config.pause;
        None
    }

    fn failed(&mut self, config: &SharedRate, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.paused_until = now + config.pause;
    }
}

impl<S: RateStore> SharedRateLimiter<S> {
    /// A limiter over `store`, on tokio time.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(name: impl Into<Arc<str>>, store: S, config: SharedRate) -> Result<Self, ConfigErrors> {
        Self::with(name, store, config, Arc::new(TokioClock), None)
    }

    /// A limiter over `store` with its own clock and observer.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with(
        name: impl Into<Arc<str>>,
        store: S,
        config: SharedRate,
        clock: Arc<dyn Clock>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let health = Mutex::new(Health::GOOD);
        let teller = Teller::new(name, observer);
        let shared = Shared { teller, store, live: Live::new(config), health, clock };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> SharedRate {
        self.shared.live.load().options
    }

    /// Puts other options into force. What is known of the store's health is kept. The rule is the store's.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(&self, config: SharedRate) -> Result<(), ConfigErrors> {
        config.validate()?;
        let version = self.shared.live.replace(config, |_, _| {});
        self.shared.teller.tell(&Event::Reconfigured { policy: NAME, version });
        Ok(())
    }

    /// Its store.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.shared.store
    }

    /// Asks to make a call for `key`.
    ///
    /// # Cancel safety
    /// Dropping the future drops the store's; the call may have been counted then.
    pub async fn check(&self, key: &str) -> Verdict {
        self.check_within(key, Duration::MAX).await
    }

    /// Like [`check`](Self::check), waiting no longer than `longest`, for a caller whose deadline is nearer.
    ///
    /// # Cancel safety
    /// As [`check`](Self::check).
    pub async fn check_within(&self, key: &str, longest: Duration) -> Verdict {
        let Shared { store, live, health, clock, teller } = &*self.shared;
        let live = live.keep();
        let (config, now) = (&live.options, clock.now());
        let paused = health.lock().ask(config, now);
        if let Some(rest) = paused {
            return self.unavailable(&live, rest);
        }
        let wait = config.wait_max.min(longest);
        match tokio::time::timeout(wait, store.take(key, now)).await {
            Ok(Ok(decision)) => {
                *health.lock() = Health::GOOD;
                Verdict::Decided(decision.enforce(config.mode, teller))
            }
            // A caller without time says nothing about the store.
            Err(_) if wait < config.wait_max => self.unavailable(&live, config.pause),
            Ok(Err(_)) | Err(_) => {
                health.lock().failed(config, clock.now());
                self.unavailable(&live, config.pause)
            }
        }
    }

    fn unavailable(&self, live: &Versioned<SharedRate>, retry_after: Duration) -> Verdict {
        let (config, version) = (&live.options, live.version);
        let open = config.on_failure == OnStoreFailure::Open;
        let teller = &self.shared.teller;
        teller.tell(&Event::RateStoreUnavailable { allowed: open || config.mode.is_shadow() });
        let verdict = Verdict::Unavailable { allowed: open, retry_after, version };
        match verdict.rejected().map(|rejected| teller.reject(config.mode, rejected)) {
            Some(Ok(())) => Verdict::Unavailable { allowed: true, retry_after, version },
            Some(Err(_)) | None => verdict,
        }
    }
}

impl<S> Clone for SharedRateLimiter<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S: fmt::Debug> fmt::Debug for SharedRateLimiter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRateLimiter")
            .field("name", &self.shared.teller)
            .field("store", &self.shared.store)
            .field("config", &self.shared.live.load().options)
            .finish_non_exhaustive()
    }
}
