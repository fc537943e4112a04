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
//! **Reload.** Limit, queue, order and waits can be replaced while calls are on their way ([`reconfigure`], [`resize`]). A
//! larger limit wakes those who wait. A smaller one revokes no permit: nothing new passes until fewer than the new limit
//! are on their way; nor does a shorter queue put anybody out. Who waits already does so for as long as he was told.
//!
//! **Shadow.** In [`Mode::Shadow`] nobody waits and nobody is rejected. Calls on their way are counted,
//! and one is told as a would-be rejection when it is more than limit and queue together.
//!
//! [`reconfigure`]: ConcurrencyLimit::reconfigure
//! [`resize`]: ConcurrencyLimit::resize
//!
//! **Cost.** Taking a free permit is one compare-and-swap and a reference counted, and so is giving it back while nobody waits;
//! nothing is allocated. Who waits takes a short lock on entering, whenever he is polled, and on leaving, and so does who gives a
//! permit back to one who waits; the queue's memory is kept for the next.
//!
//! Trade-off: the number must be known, and it is right for one latency: an upstream that gets twice as slow gets half of the
//! calls a second through the same limit (Little's law). Where it changes, an [`AdaptiveLimit`](crate::AdaptiveLimit) finds
//! it. A queue adds its wait to every latency, and hides for as long that the limit is too small.
//!
//! Source: the bulkhead of Nygard, "Release It!" (2007).

mod config;
mod gate;
mod layer;
mod options;
mod queue;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

pub use self::config::Concurrency;
pub use self::layer::{ConcurrencyFuture, ConcurrencyLayer, ConcurrencyService};
pub use self::queue::Order;

pub(crate) use self::gate::{Entered, Gate};
pub(crate) use self::queue::Queue;

use crate::config::ConfigErrors;
use crate::live::Live;
use crate::mode::Mode;
use crate::observe::{Event, Observer, Teller};
use crate::outcome::{Reason, Rejected};
use crate::time::{Clock, Instant, TokioClock};

/// The policy's name in rejections, metrics and `explain()`.
pub const NAME: &str = "concurrency";

/// A concurrency limit. Clones share its permits and its queue.
///
/// ```
/// use std::time::Duration;
/// use leeward_resilience::{Concurrency, ConcurrencyLimit, Order};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let order = Order::LifoUnderOverload { after: Duration::from_millis(100) };
/// let limit = ConcurrencyLimit::new(Concurrency { order, ..Concurrency::default() })?;
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
    teller: Teller,
    live: Live<Concurrency>,
    gate: Gate,
}

/// The gate's limit in shadow mode: everybody passes, and a call sees by a load that it has to look closer.
const UNLIMITED: u32 = u32::MAX;

/// Waiting is done in tokio time, so that the order of the queue goes by it too.
fn now() -> Instant {
    TokioClock.now()
}

const fn gate_limit(config: &Concurrency) -> u32 {
    match config.mode {
        Mode::Enforced => config.limit.get(),
        Mode::Shadow => UNLIMITED,
    }
}

impl ConcurrencyLimit {
    /// A limit with all its permits free, that nobody is told of.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(config: Concurrency) -> Result<Self, ConfigErrors> {
        Self::with(NAME, config, None)
    }

    /// A limit with all its permits free, and its own name and observer. Waiting is done in tokio time.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with(
        name: impl Into<Arc<str>>,
        config: Concurrency,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let gate = Gate::new(gate_limit(&config), config.queue, config.order);
        let shared = Shared { teller: Teller::new(name, observer), live: Live::new(config), gate };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.teller.name()
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> Concurrency {
        self.shared.live.load().options.clone()
    }

    /// Puts other options into force. Permits and places in the queue are kept.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(&self, config: Concurrency) -> Result<(), ConfigErrors> {
        config.validate()?;
        let version = self.shared.live.replace(config, |_, new| {
            self.shared.gate.resize(gate_limit(new), new.queue, new.order, now());
        });
        self.shared.teller.tell(&Event::Reconfigured { policy: NAME, version });
        Ok(())
    }

    /// [`reconfigure`](Self::reconfigure)s limit and queue alone.
    ///
    /// # Errors
    /// When one is outside its range; the old ones then stay.
    pub fn resize(&self, limit: NonZeroU32, queue: u32) -> Result<(), ConfigErrors> {
        self.reconfigure(Concurrency { limit, queue, ..self.config() })
    }

    /// Whether there is a clone of this handle, or a permit.
    pub(crate) fn is_held(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    /// Takes a permit if one is free and nobody waits.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit> {
        let gate = &self.shared.gate;
        if !gate.try_acquire() {
            return None;
        }
        if gate.limit() == UNLIMITED {
            self.watch();
        }
        Some(self.permit())
    }

    fn permit(&self) -> Permit {
        Permit { shared: Arc::clone(&self.shared) }
    }

    /// Tells of a call that passed in shadow mode only.
    #[cold]
    fn watch(&self) {
        let live = self.shared.live.load();
        let Concurrency { limit, queue, .. } = live.options;
        if self.in_flight() > limit.get().saturating_add(queue) {
            let reason = Reason::QueueFull { limit: limit.get(), queue };
            let rejected = Rejected::new(NAME, reason).with_version(live.version);
            let wait = live.options.retry_after();
            self.shared.teller.tell(&Event::WouldReject(rejected.with_retry_after(Some(wait))));
        }
    }

    /// Takes a permit, after a wait if need be.
    ///
    /// # Errors
    /// [`Rejected`] when the queue is full or the wait too long.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the queue and loses no permit.
    pub async fn acquire(&self) -> Result<Permit, Rejected> {
        self.acquire_within(Duration::MAX).await
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
        let max_wait = self.shared.live.load().options.max_wait.min(longest);
        match tokio::time::timeout(max_wait, waiter).await {
            Ok(true) => Ok(self.permit()),
            Ok(false) => Err(self.full()),
            Err(_) => Err(self.reject(|_| Reason::WaitedTooLong { waited: max_wait })),
        }
    }

    fn full(&self) -> Rejected {
        self.reject(|config| Reason::QueueFull { limit: config.limit.get(), queue: config.queue })
    }

    fn reject(&self, reason: impl FnOnce(&Concurrency) -> Reason) -> Rejected {
        let live = self.shared.live.load();
        let rejected = Rejected::new(NAME, reason(&live.options))
            .with_retry_after(Some(live.options.retry_after()))
            .with_version(live.version);
        self.shared.teller.tell(&Event::Rejected(rejected));
        rejected
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
            .field("limit", &self.shared.live.load().options.limit)
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
