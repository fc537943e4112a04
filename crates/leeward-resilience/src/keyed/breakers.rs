//! Breakers by key that do not all refuse at once.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{Keyed, KeyedOptions};
use crate::breaker::{Breaker, CircuitBreaker, Permit, State};
use crate::config::ConfigErrors;
use crate::live::Live;
use crate::observe::{Event, Observer};
use crate::outcome::Rejected;
use crate::random::{FastRng, Rng};
use crate::time::{Clock, Instant, TokioClock};

/// When [`KeyedBreakers`] let everything pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Panic {
    /// When more than this share of the keys are open or half-open, 0.1 ..= 1; with 1 never. Default 0.5, as in Envoy: with
    /// half of everything refused it is likelier that we cannot see than that half of the world is down.
    pub open_share: f64,
    /// And there are so many keys at least, 2 ..= 100,000. Default 5: of fewer, more than half may fail by chance.
    pub keys_min: u32,
}

impl Default for Panic {
    fn default() -> Self {
        Self { open_share: 0.5, keys_min: 5 }
    }
}

impl Panic {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let share_ok = (0.1..=1.0).contains(&self.open_share);
        errors.check(share_ok, "keyed.panic.open_share", self.open_share, "10% to 100%");
        let keys_ok = (2..=100_000).contains(&self.keys_min);
        errors.check(keys_ok, "keyed.panic.keys_min", self.keys_min, "2 to 100000");
        errors.finish()
    }

    fn is_on(&self, open: u32, keys: u32) -> bool {
        keys >= self.keys_min && f64::from(open) > self.open_share * f64::from(keys)
    }
}

/// A breaker for each key, with a panic threshold over all of them. Clones share everything.
///
/// ```
/// use leeward_resilience::{Breaker, Clock, KeyedBreakers, KeyedOptions, Panic, TokioClock};
///
/// let options = KeyedOptions::<Breaker>::default();
/// let hosts = KeyedBreakers::<String>::new("payments", options, Some(Panic::default()))?;
/// let permit = hosts.acquire("10.0.0.7:8080", TokioClock.now()).expect("nothing failed yet");
/// permit.success(TokioClock.now());
/// assert!(!hosts.is_panicking());
/// # Ok::<(), leeward_resilience::ConfigErrors>(())
/// ```
pub struct KeyedBreakers<K> {
    breakers: Keyed<K, CircuitBreaker>,
    shared: Arc<Shared>,
}

struct Shared {
    panic: Live<Option<Panic>>,
    panicking: AtomicBool,
    /// Calls that passed a breaker which would have refused them.
    passed: AtomicU64,
    /// Held by the one who counts, so that an older count never replaces a newer one.
    counting: Mutex<()>,
    watch: Arc<Watch>,
}

/// Sees every change of a breaker, and passes it on.
#[derive(Debug)]
struct Watch {
    /// Since the last count a breaker opened or closed, or a key came or went: all that the share of the open ones depends on.
    changed: AtomicBool,
    observer: Option<Arc<dyn Observer>>,
}

impl Observer for Watch {
    fn observe(&self, name: &str, event: &Event) {
        if matches!(event, Event::BreakerChanged { .. } | Event::KeyEvicted { .. }) {
            self.changed.store(true, Ordering::Release);
        }
        if let Some(observer) = &self.observer {
            observer.observe(name, event);
        }
    }
}

impl<K: Hash + Eq + Clone> KeyedBreakers<K> {
    /// Breakers on tokio time, none so far. Without a [`Panic`] each refuses for itself.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(
        name: impl Into<Arc<str>>,
        options: KeyedOptions<Breaker>,
        panic: Option<Panic>,
    ) -> Result<Self, ConfigErrors> {
        let rng = Arc::new(FastRng::from_entropy());
        Self::with(name, options, panic, Arc::new(TokioClock), rng, None)
    }

    /// Breakers with their own clock, randomness and observer, none so far.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with(
        name: impl Into<Arc<str>>,
        options: KeyedOptions<Breaker>,
        panic: Option<Panic>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        Self::check(&options, panic)?;
        let watch = Arc::new(Watch { changed: AtomicBool::new(false), observer });
        let observer: Arc<dyn Observer> = Arc::<Watch>::clone(&watch);
        let breakers = Keyed::with(name, options, clock, rng, Some(observer))?;
        let (panicking, passed, counting) = Default::default();
        let shared = Shared { panic: Live::new(panic), panicking, passed, counting, watch };
        Ok(Self { breakers, shared: Arc::new(shared) })
    }

    fn check(options: &KeyedOptions<Breaker>, panic: Option<Panic>) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        errors.merge(Keyed::<K, CircuitBreaker>::check(options));
        errors.merge(panic.map_or(Ok(()), |panic| panic.validate()));
        errors.finish()
    }

    /// Asks to make a call for `key` at `now`. Only a key that is not remembered is copied.
    ///
    /// # Errors
    /// [`Rejected`] by the key's breaker, unless too many others reject too.
    pub fn acquire<Q>(&self, key: &Q, now: Instant) -> Result<Permit, Rejected>
    where
        K: Borrow<Q>,
        Q: ?Sized + Hash + Eq + ToOwned,
        Q::Owned: Into<K>,
    {
        let (breaker, is_new) = self.breakers.seek(key);
        if is_new || self.shared.watch.changed.load(Ordering::Acquire) {
            self.count(now);
        }
        if !self.is_panicking() {
            return breaker.acquire(now);
        }
        breaker.acquire_or_pass(now, || {
            self.shared.passed.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Counts the open ones, and tells when that begins or ends a panic.
    fn count(&self, now: Instant) {
        let shared = &*self.shared;
        // Somebody else does: what he misses he leaves for the next.
        let Some(_counting) = shared.counting.try_lock() else { return };
        shared.watch.changed.store(false, Ordering::Release);
        let is_open = |breaker: &CircuitBreaker| matches!(breaker.state(now), State::Open | State::HalfOpen);
        let (mut keys, mut open) = (0_u32, 0_u32);
        self.breakers.for_each(|breaker| {
            keys += 1;
            open += u32::from(is_open(breaker));
        });
        let panicking = shared.panic.load().options.is_some_and(|panic| panic.is_on(open, keys));
        if shared.panicking.swap(panicking, Ordering::Relaxed) != panicking {
            shared.watch.observe(self.breakers.name(), &Event::PanicChanged { panicking, open, keys });
        }
    }

    /// Puts other options into force, for the breakers that there are and for those to come. State is kept.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(
        &self,
        options: KeyedOptions<Breaker>,
        panic: Option<Panic>,
    ) -> Result<(), ConfigErrors> {
        Self::check(&options, panic)?;
        self.breakers.reconfigure(options)?;
        self.shared.panic.replace(panic, |_, _| {});
        self.shared.watch.changed.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether everything passes.
    #[must_use]
    pub fn is_panicking(&self) -> bool {
        self.shared.panicking.load(Ordering::Relaxed)
    }

    /// Calls that passed a breaker which would have refused them, since these were made.
    #[must_use]
    pub fn passed_in_panic(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }

    /// When everything passes, if ever.
    #[must_use]
    pub fn panic(&self) -> Option<Panic> {
        self.shared.panic.load().options
    }

    /// The breakers by key. Permits that are taken from one directly know of no panic.
    #[must_use]
    pub const fn breakers(&self) -> &Keyed<K, CircuitBreaker> {
        &self.breakers
    }
}

impl<K> Clone for KeyedBreakers<K> {
    fn clone(&self) -> Self {
        Self { breakers: self.breakers.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for KeyedBreakers<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBreakers")
            .field("breakers", &self.breakers)
            .field("panic", &self.shared.panic.load().options)
            .field("panicking", &self.shared.panicking)
            .finish_non_exhaustive()
    }
}
