//! Priority shedding: when calls wait too long for their turn, the least important ones are refused at the door.
//!
//! **Rule.** A call waits in the queue of a concurrency limit. The time that each one waited is its delay. When the
//! *smallest* delay of an `interval` is beyond `target`, there is a standing queue: a burst is served at once or drains,
//! so that somebody waits for no time at all (CoDel: Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012; in
//! front of servers: Maurer, "Fail at Scale", ACM Queue 2015). Then the level of shedding rises by a quarter of a
//! priority class; an interval without such a delay lowers it by an eighth, more slowly, so that it does not swing. At a
//! level between two classes, those below are shed and the class in between by chance (admission by priority from
//! the queueing time: Zhou et al., "Overload Control for Scaling WeChat Microservices", SoCC 2018).
//!
//! - An interval in which nobody left the queue, though somebody was in it all the time, counts as beyond the target.
//! - An eighth of [`Priority::Critical`] always passes the door: else nobody's delay would show that it is over. The
//!   queue's own bounds hold for everybody.
//! - The level follows the time and not the calls: after idleness it is down.
//! - The queue is first come first served for all classes: were it sorted, the smallest delay would be that of the
//!   highest class alone.
//!
//! **Reload.** Other options keep the level, the permits and the queue.
//!
//! **Shadow.** In [`Mode::Shadow`] a call whose priority would be shed is told as a would-be rejection and
//! goes on to the concurrency limit. That has a mode of its own: what would be shed shows only where there is a real queue.
//!
//! **Cost.** Two short locks on entering, that of the queue for its length and that of the level, and both again when the turn has
//! come, beside what the concurrency limit costs.
//!
//! Trade-off: it needs a queue that may stand for an interval before anything happens, so that the bound of the queue
//! must allow for more than `target`.

mod core;
mod layer;
mod options;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub use self::layer::{ShedLayer, ShedService};

use self::core::Core;
use crate::concurrency::{Concurrency, ConcurrencyLimit, Permit};
use crate::config::{self, ConfigErrors};
use crate::live::Live;
use crate::mode::Mode;
use crate::observe::{Event, Observer, Teller};
use crate::outcome::{Reason, Rejected};
use crate::priority::Priority;
use crate::random::{FastRng, Rng};
use crate::time::{Clock, Instant, TokioClock};

/// The policy's name in rejections, metrics and `explain()`.
pub const NAME: &str = "shed";

/// Options of a [`Shedder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shed {
    /// A smallest delay beyond it is a standing queue, 1 ms ..= 1 s. Default 5 ms: CoDel's, and what Facebook's servers
    /// use.
    pub target: Duration,
    /// Over what time the smallest delay is taken, 10 ms ..= 10 s and at least `target`. Default 100 ms: longer than a
    /// burst, shorter than a caller's patience.
    pub interval: Duration,
    /// The calls at a time, and the queue before them. It has a mode of its own.
    pub concurrency: Concurrency,
    /// Whether it sheds, or only says so. Default [`Mode::Enforced`].
    pub mode: Mode,
}

impl Default for Shed {
    fn default() -> Self {
        Self {
            target: Duration::from_millis(5),
            interval: Duration::from_millis(100),
            concurrency: Concurrency::default(),
            mode: Mode::Enforced,
        }
    }
}

impl Shed {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        config::check(self)
    }
}

/// A concurrency limit that refuses the lowest priorities when its queue stands. Clones share all of it.
///
/// ```
/// use leeward_resilience::{Priority, Shed, Shedder};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shedder = Shedder::new("checkout", Shed::default())?;
/// let permit = shedder.acquire(Priority::High).await?;
/// assert_eq!(shedder.limit().in_flight(), 1);
/// drop(permit);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Shedder {
    shared: Arc<Shared>,
}

struct Shared {
    teller: Teller,
    live: Live<Shed>,
    limit: ConcurrencyLimit,
    core: Mutex<Core>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl Shedder {
    /// A shedder that sheds nothing yet, on tokio time.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(name: impl Into<Arc<str>>, config: Shed) -> Result<Self, ConfigErrors> {
        Self::with(name, config, Arc::new(TokioClock), Arc::new(FastRng::from_entropy()), None)
    }

    /// A shedder that sheds nothing yet, with its own clock, randomness and observer. Waiting is done in tokio time, so
    /// that the clock should follow it.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with(
        name: impl Into<Arc<str>>,
        config: Shed,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let name = name.into();
        let limit = ConcurrencyLimit::with(Arc::clone(&name), config.concurrency.clone(), observer.clone())?;
        let core = Mutex::new(Core::new(&config, clock.now()));
        let teller = Teller::new(name, observer);
        let shared = Shared { teller, live: Live::new(config), limit, core, clock, rng };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> Shed {
        self.shared.live.load().options.clone()
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.teller.name()
    }

    /// Puts other options into force, those of its concurrency limit among them. Level, permits and queue are kept.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(&self, config: Shed) -> Result<(), ConfigErrors> {
        config.validate()?;
        self.shared.limit.reconfigure(config.concurrency.clone())?;
        let now = self.shared.clock.now();
        let version = self.shared.live.replace(config, |_, new| {
            self.step(|core, waiting| core.reconfigure(new, now, waiting));
        });
        self.shared.teller.tell(&Event::Reconfigured { policy: NAME, version });
        Ok(())
    }

    /// Its concurrency limit. Permits that are taken from it directly are not asked for their priority.
    #[must_use]
    pub fn limit(&self) -> &ConcurrencyLimit {
        &self.shared.limit
    }

    /// The share of the calls of a priority that is shed at `now`.
    #[must_use]
    pub fn shedding(&self, priority: Priority, now: Instant) -> f64 {
        self.step(|core, waiting| {
            core.turn(now, waiting);
            core.shedding(priority)
        })
    }

    /// Takes a permit, after a wait if need be.
    ///
    /// # Errors
    /// [`Rejected`] by this policy when the priority is shed, by that of the concurrency limit when the queue is full or
    /// the wait too long.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the queue and loses no permit.
    pub async fn acquire(&self, priority: Priority) -> Result<Permit, Rejected> {
        self.acquire_within(priority, Duration::MAX).await
    }

    /// Like [`acquire`](Self::acquire), waiting no longer than `longest`, for a caller whose deadline is nearer.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_within(&self, priority: Priority, longest: Duration) -> Result<Permit, Rejected> {
        match self.try_acquire(priority)? {
            Some(permit) => Ok(permit),
            None => self.wait(longest).await,
        }
    }

    /// Takes a permit if the priority is not shed and one is free; `None` when it has to wait.
    fn try_acquire(&self, priority: Priority) -> Result<Option<Permit>, Rejected> {
        let now = self.shared.clock.now();
        let draw = self.shared.rng.unit_f64();
        if let Err(rejected) = self.step(|core, waiting| core.admit(priority, draw, now, waiting)) {
            let live = self.shared.live.load();
            self.shared.teller.reject(live.options.mode, rejected.with_version(live.version))?;
        }
        let permit = self.shared.limit.try_acquire();
        if permit.is_some() {
            self.step(|core, waiting| core.waited(Duration::ZERO, now, waiting));
        }
        Ok(permit)
    }

    async fn wait(&self, longest: Duration) -> Result<Permit, Rejected> {
        let entered = self.shared.clock.now();
        let result = self.shared.limit.acquire_within(longest).await;
        let full = matches!(&result, Err(rejected) if matches!(rejected.reason, Reason::QueueFull { .. }));
        if !full {
            let now = self.shared.clock.now();
            let waited = now.saturating_duration_since(entered);
            self.step(|core, waiting| core.waited(waited, now, waiting));
        }
        result
    }

    /// Runs `step` on the core, and tells the observer what changed after the lock is free.
    fn step<T>(&self, step: impl FnOnce(&mut Core, u32) -> T) -> T {
        let waiting = self.shared.limit.waiting();
        let (result, changed) = {
            let mut core = self.shared.core.lock();
            let from = core.level();
            let result = step(&mut core, waiting);
            let to = core.level();
            (result, (from != to).then_some((from, to)))
        };
        if let Some((from, to)) = changed {
            self.shared.teller.tell(&Event::ShedLevelChanged { from, to });
        }
        result
    }
}

impl fmt::Debug for Shedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shedder")
            .field("name", &self.shared.teller)
            .field("limit", &self.shared.limit)
            .field("level", &self.shared.core.lock().level())
            .finish_non_exhaustive()
    }
}
