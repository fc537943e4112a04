//! The concurrency limit: so many calls at a time, and a short, fair, bounded queue before them.
//!
//! **Rule.** A call takes one of `limit` permits. When there is none it waits, first come first served, in a queue of at
//! most `queue` places for at most `max_wait`; beyond either it is rejected at once. A queue longer than the deadline of
//! those in it only makes answers that nobody waits for, hence the small defaults.
//!
//! **Cost.** Taking a free permit is one compare-and-swap and allocates nothing.

mod layer;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

pub use self::layer::{ConcurrencyFuture, ConcurrencyLayer, ConcurrencyService};

use crate::config::ConfigErrors;
use crate::outcome::{Reason, Rejected};

/// The policy's name in rejections, metrics and `explain()`.
pub const NAME: &str = "concurrency";

/// Options of a [`ConcurrencyLimit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Calls at a time, up to 1,000,000. Default 256.
    pub limit: NonZeroU32,
    /// Places in the queue; 0 rejects at once. Default 256: about one more service time of waiting at full load.
    pub queue: u32,
    /// The longest wait. Default 500 ms.
    pub max_wait: Duration,
}

impl Default for Concurrency {
    fn default() -> Self {
        let limit = const { NonZeroU32::new(256).expect("the default is not zero") };
        Self { limit, queue: 256, max_wait: Duration::from_millis(500) }
    }
}

impl Concurrency {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        errors.check(self.limit.get() <= 1_000_000, "concurrency.limit", self.limit, "1 to 1000000");
        errors.check(self.queue <= 1_000_000, "concurrency.queue", self.queue, "0 to 1000000");
        let wait_ok = self.max_wait <= Duration::from_secs(60);
        errors.check(wait_ok, "concurrency.max_wait", self.max_wait, "at most 60s");
        errors.finish()
    }
}

/// A concurrency limit. Clones share its permits and its queue.
#[derive(Clone)]
pub struct ConcurrencyLimit {
    shared: Arc<Shared>,
}

struct Shared {
    config: Concurrency,
    /// Fair: a permit given back goes to the one who waits longest, and nobody overtakes the queue.
    permits: Semaphore,
    waiting: AtomicU32,
}

impl ConcurrencyLimit {
    /// A limit with all its permits free.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(config: Concurrency) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let permits = Semaphore::new(usize::try_from(config.limit.get()).unwrap_or(usize::MAX));
        Ok(Self { shared: Arc::new(Shared { config, permits, waiting: AtomicU32::new(0) }) })
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> &Concurrency {
        &self.shared.config
    }

    /// Takes a permit if one is free and nobody waits.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit> {
        self.shared.permits.try_acquire().ok()?.forget();
        Some(Permit { shared: Arc::clone(&self.shared) })
    }

    /// Takes a permit, after a wait if need be.
    ///
    /// # Errors
    /// [`Rejected`] when the queue is full or the wait too long.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the queue and loses no permit.
    pub async fn acquire(&self) -> Result<Permit, Rejected> {
        self.acquire_within(self.shared.config.max_wait).await
    }

    /// Like [`acquire`](Self::acquire), waiting no longer than `longest`, for a caller whose deadline is nearer.
    ///
    /// # Errors
    /// [`Rejected`] when the queue is full or the wait too long.
    pub async fn acquire_within(&self, longest: Duration) -> Result<Permit, Rejected> {
        if let Some(permit) = self.try_acquire() {
            return Ok(permit);
        }
        let _place = self.take_place()?;
        let max_wait = self.shared.config.max_wait.min(longest);
        match tokio::time::timeout(max_wait, self.shared.permits.acquire()).await {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(Permit { shared: Arc::clone(&self.shared) })
            }
            // The semaphore is never closed, so that only the wait can have ended.
            Ok(Err(_)) | Err(_) => Err(self.reject(Reason::WaitedTooLong { waited: max_wait })),
        }
    }

    fn take_place(&self) -> Result<Place<'_>, Rejected> {
        let Concurrency { limit, queue, .. } = self.shared.config;
        // Counted first and given back when it was one too many, so that two cannot take the last place.
        let place = Place { waiting: &self.shared.waiting };
        if self.shared.waiting.fetch_add(1, Ordering::Relaxed) >= queue {
            return Err(self.reject(Reason::QueueFull { limit: limit.get(), queue }));
        }
        Ok(place)
    }

    fn reject(&self, reason: Reason) -> Rejected {
        let retry_after = Some(self.shared.config.max_wait.max(Duration::from_secs(1)));
        Rejected { policy: NAME, reason, retry_after }
    }

    /// Permits that are taken.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        let free = u32::try_from(self.shared.permits.available_permits()).unwrap_or(u32::MAX);
        self.shared.config.limit.get().saturating_sub(free)
    }

    /// Calls in the queue.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.shared.waiting.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for ConcurrencyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit")
            .field("limit", &self.shared.config.limit)
            .field("in_flight", &self.in_flight())
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// A place in the queue.
struct Place<'a> {
    waiting: &'a AtomicU32,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to one call at a time. Dropping it gives it back.
#[must_use = "dropping a permit gives it back"]
pub struct Permit {
    shared: Arc<Shared>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.permits.add_permits(1);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}
