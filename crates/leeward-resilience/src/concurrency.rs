//! The concurrency limit (bulkhead): so many calls at a time, and a short, fair, bounded queue before them.
//!
//! **Rule.** A call takes one of `limit` permits. When there is none it waits, first come first served, in a queue of at
//! most `queue` places for at most `max_wait`; beyond either it is rejected at once. A queue longer than the deadline of
//! those in it only makes answers that nobody waits for, hence the small defaults. Who gives up gives his place back, and
//! a permit that reached him too late goes to the next.
//!
//! **Order.** [`Order::Fifo`] is fair. Under an overload that lasts, fairness means that everybody waits nearly
//! `max_wait` and the callers give up together; [`Order::LifoUnderOverload`] then serves those who came last, in time, at
//! the price of those who came first (adaptive LIFO: Maurer, "Fail at Scale", ACM Queue 2015). Off by default: it needs
//! callers that give up, and the unlucky ones wait in vain.
//!
//! **Cost.** Taking a free permit is one compare-and-swap and allocates nothing. Waiting takes a short lock on entering
//! and on leaving; the queue's memory is kept for the next.
//!
//! Trade-off: the number must be known, and it is right for one latency: an upstream that gets twice as slow gets half of the
//! calls a second through the same limit (Little's law). Where it changes, an [`AdaptiveLimit`](crate::AdaptiveLimit) finds
//! it. A queue adds its wait to every latency, and hides for as long that the limit is too small.
//!
//! Source: the bulkhead of Nygard, "Release It!" (2007).

mod gate;
mod layer;
mod options;
mod queue;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

pub use self::layer::{ConcurrencyFuture, ConcurrencyLayer, ConcurrencyService};
pub use self::queue::Order;

pub(crate) use self::gate::{Entered, Gate};

use crate::config::{self, ConfigErrors};
use crate::outcome::{Reason, Rejected};
use crate::time::{Clock, Instant, TokioClock};

/// The policy's name in rejections, metrics and `explain()`.
pub const NAME: &str = "concurrency";

/// Options of a [`ConcurrencyLimit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Calls at a time, 1 ..= 1,000,000. Default 256: what a pool of connections usually has.
    pub limit: NonZeroU32,
    /// Places in the queue, at most 1,000,000; 0 rejects at once. Default 256: about one more service time of waiting at full load.
    pub queue: u32,
    /// The longest wait, at most 60 s. Default 500 ms: an answer after a longer one mostly comes too late.
    pub max_wait: Duration,
    /// Who gets the next permit. Default [`Order::Fifo`].
    pub order: Order,
}

impl Default for Concurrency {
    fn default() -> Self {
        let limit = const { NonZeroU32::new(256).expect("the default is not zero") };
        Self { limit, queue: 256, max_wait: Duration::from_millis(500), order: Order::default() }
    }
}

impl Concurrency {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        config::check(self)
    }
}

/// A concurrency limit. Clones share its permits and its queue.
///
/// ```
/// use std::time::Duration;
/// use leeward_resilience::{Concurrency, ConcurrencyLimit, Order};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let order = Order::LifoUnderOverload { after: Duration::from_millis(100) };
/// let limit = ConcurrencyLimit::with(Concurrency::default(), order)?;
/// let permit = limit.acquire().await?;
/// assert_eq!((limit.in_flight(), limit.waiting()), (1, 0));
/// drop(permit);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ConcurrencyLimit {
    shared: Arc<Shared>,
}

struct Shared {
    config: Concurrency,
    gate: Gate,
}

/// Waiting is done in tokio time, so that the order of the queue goes by it too.
fn now() -> Instant {
    TokioClock.now()
}

impl ConcurrencyLimit {
    /// A limit with all its permits free.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(config: Concurrency) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let gate = Gate::new(config.limit.get(), config.queue, config.order);
        Ok(Self { shared: Arc::new(Shared { config, gate }) })
    }

    /// A limit with all its permits free, and another order of the queue.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with(config: Concurrency, order: Order) -> Result<Self, ConfigErrors> {
        Self::new(Concurrency { order, ..config })
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> &Concurrency {
        &self.shared.config
    }

    /// The order of its queue.
    #[must_use]
    pub fn order(&self) -> Order {
        self.shared.config.order
    }

    /// Takes a permit if one is free and nobody waits.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit> {
        self.shared.gate.try_acquire().then(|| self.permit())
    }

    fn permit(&self) -> Permit {
        Permit { shared: Arc::clone(&self.shared) }
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
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_within(&self, longest: Duration) -> Result<Permit, Rejected> {
        if let Some(permit) = self.try_acquire() {
            return Ok(permit);
        }
        let waiter = match self.shared.gate.enter(now()) {
            Entered::Granted => return Ok(self.permit()),
            Entered::Full => return Err(self.full()),
            Entered::Waiting(waiter) => waiter,
        };
        let max_wait = self.shared.config.max_wait.min(longest);
        match tokio::time::timeout(max_wait, waiter).await {
            Ok(true) => Ok(self.permit()),
            Ok(false) => Err(self.full()),
            Err(_) => Err(self.reject(Reason::WaitedTooLong { waited: max_wait })),
        }
    }

    fn full(&self) -> Rejected {
        let Concurrency { limit, queue, .. } = self.shared.config;
        self.reject(Reason::QueueFull { limit: limit.get(), queue })
    }

    fn reject(&self, reason: Reason) -> Rejected {
        let retry_after = Some(self.shared.config.max_wait.max(Duration::from_secs(1)));
        Rejected { policy: NAME, reason, retry_after }
    }

    /// Permits that are taken.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.shared.gate.in_flight()
    }

    /// Calls in the queue.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.shared.gate.waiting()
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

/// The right to one call at a time. Dropping it gives it back.
#[must_use = "dropping a permit gives it back"]
pub struct Permit {
    shared: Arc<Shared>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.gate.release(now);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}
