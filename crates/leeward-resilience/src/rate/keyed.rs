//! One rate limit for each key, in bounded memory.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;

use super::gcra::Gcra;
use super::sliding::Sliding;
use super::{Core, Decision, NAME, Rule};
use crate::config::ConfigErrors;
use crate::observe::{Event, Observer, Teller};
use crate::time::{Clock, Instant, TokioClock};

/// Shards, so that cores seldom meet at one lock.
const SHARDS: usize = 16;

/// Entries that an eviction looks at: it takes constant time also when somebody sends a new key with each call.
const EVICTION_LOOKS_AT: usize = 8;

/// A rate limit for each of at most `keys_max` keys (addresses, principals).
///
/// A key whose whole limit is free is worth nothing and goes first. When none is, the one of a few that would be free
/// soonest is forgotten, so that it may start afresh: rather that than memory without bound. A key takes its own size
/// twice, and 8 bytes by GCRA or 56 by a sliding window.
pub struct KeyedRateLimiter<K> {
    teller: Teller,
    shards: Vec<Mutex<Shard<K>>>,
    hasher: RandomState,
    keys_max: usize,
    clock: Arc<dyn Clock>,
    /// Held while the shards get another rule, one after the other.
    replacing: Mutex<()>,
}

struct Shard<K> {
    rule: Rule,
    version: u32,
    keys: Keys<K>,
}

enum Keys<K> {
    Gcra(Gcra, Entries<K, Gcra>),
    Sliding(Sliding, Entries<K, Sliding>),
}

struct Entries<K, C: Core> {
    places: HashMap<K, usize>,
    list: Vec<(K, C::State)>,
    hand: usize,
}

impl<K: Hash + Eq + Clone> KeyedRateLimiter<K> {
    /// A limiter that remembers up to `keys_max` keys, rounded up to a multiple of 16, on tokio time.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new<R: Into<Rule> + Copy>(rule: &R, keys_max: usize) -> Result<Self, ConfigErrors> {
        Self::with(NAME, rule, keys_max, Arc::new(TokioClock), None)
    }

    /// A limiter that remembers up to `keys_max` keys, with its own name, clock and observer.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with<R: Into<Rule> + Copy>(
        name: impl Into<Arc<str>>,
        rule: &R,
        keys_max: usize,
        clock: Arc<dyn Clock>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        let rule = (*rule).into();
        let mut errors = ConfigErrors::default();
        errors.merge(rule.validate());
        errors.check((1..=10_000_000).contains(&keys_max), "rate_limit.keys_max", keys_max, "1 to 10000000");
        errors.finish()?;
        let shard = || Mutex::new(Shard { rule, version: 1, keys: Keys::new(&rule) });
        Ok(Self {
            teller: Teller::new(name, observer),
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher: RandomState::new(),
            keys_max,
            clock,
            replacing: Mutex::new(()),
        })
    }

    /// The rule in force.
    #[must_use]
    pub fn config(&self) -> Rule {
        self.shards[0].lock().rule
    }

    /// Puts another rule into force for every key. What each has used up stays used up, as
    /// [`RateLimiter::reconfigure`](super::RateLimiter::reconfigure) has it. It takes time in proportion to the keys, a
    /// sixteenth of them at a time.
    ///
    /// # Errors
    /// Every option outside its range; the old rule then stays.
    pub fn reconfigure<R: Into<Rule> + Copy>(&self, rule: &R) -> Result<(), ConfigErrors> {
        let rule = (*rule).into();
        rule.validate()?;
        let now = self.clock.now();
        let mut version = 0;
        {
            let _one_at_a_time = self.replacing.lock();
            for shard in &self.shards {
                version = shard.lock().reconfigure(rule, now);
            }
        }
        self.teller.tell(&Event::Reconfigured { policy: NAME, version });
        Ok(())
    }

    /// Asks to make a call for `key` at `now`. Only a key that is not remembered is copied. In shadow mode it always passes.
    #[must_use]
    pub fn check<Q>(&self, key: &Q, now: Instant) -> Decision
    where
        K: Borrow<Q>,
        Q: ?Sized + Hash + Eq + ToOwned,
        Q::Owned: Into<K>,
    {
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        let entries_max = self.keys_max.div_ceil(SHARDS);
        let (decision, mode) = {
            let Shard { keys, version, rule } = &mut *self.shards[shard].lock();
            let decision = match keys {
                Keys::Gcra(core, entries) => entries.check(core, key, now, entries_max),
                Keys::Sliding(core, entries) => entries.check(core, key, now, entries_max),
            };
            (Decision { version: *version, ..decision }, rule.mode())
        };
        decision.enforce(mode, &self.teller)
    }

    /// Takes back a call for `key` that passed, as if it had not been made: what it was for cost nothing after all. A key that is not
    /// remembered any more has nothing to take back.
    ///
    /// Whoever calls it does so once for each call that passed; a key never gets more than its whole limit by it.
    pub fn give_back<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: ?Sized + Hash + Eq,
    {
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        match &mut self.shards[shard].lock().keys {
            Keys::Gcra(core, entries) => entries.undo(core, key),
            Keys::Sliding(core, entries) => entries.undo(core, key),
        }
    }

    /// Keys that are remembered.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().keys.len()).sum()
    }
}

impl<K> Shard<K> {
    fn reconfigure(&mut self, rule: Rule, now: Instant) -> u32 {
        let old = std::mem::replace(&mut self.keys, Keys::new(&rule));
        self.keys = match (old, Keys::<K>::new(&rule)) {
            (Keys::Gcra(old, its), Keys::Gcra(new, _)) => {
                Keys::Gcra(new, its.map(|state| new.carry(&old, &state, now)))
            }
            (Keys::Sliding(old, its), Keys::Sliding(new, _)) => {
                Keys::Sliding(new, its.map(|state| new.carry(&old, &state, now)))
            }
            (Keys::Gcra(old, its), Keys::Sliding(new, _)) => {
                Keys::Sliding(new, its.map(|state| new.with_used(old.used(&state, now), now)))
            }
            (Keys::Sliding(old, its), Keys::Gcra(new, _)) => {
                Keys::Gcra(new, its.map(|state| new.with_used(old.used(&state, now), now)))
            }
        };
        self.rule = rule;
        self.version = self.version.saturating_add(1);
        self.version
    }
}

impl<K> Keys<K> {
    fn new(rule: &Rule) -> Self {
        match rule {
            Rule::Gcra(config) => Self::Gcra(Gcra::new(config), Entries::new()),
            Rule::SlidingWindow(config) => Self::Sliding(Sliding::new(config), Entries::new()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Gcra(_, entries) => entries.list.len(),
            Self::Sliding(_, entries) => entries.list.len(),
        }
    }
}

impl<K, C: Core> Entries<K, C> {
    fn new() -> Self {
        Self { places: HashMap::new(), list: Vec::new(), hand: 0 }
    }

    /// The same keys with other states.
    fn map<D: Core>(self, carry: impl Fn(C::State) -> D::State) -> Entries<K, D> {
        let list = self.list.into_iter().map(|(key, state)| (key, carry(state))).collect();
        Entries { places: self.places, list, hand: self.hand }
    }
}

impl<K: Hash + Eq + Clone, C: Core> Entries<K, C> {
    fn check<Q>(&mut self, core: &C, key: &Q, now: Instant, entries_max: usize) -> Decision
    where
        K: Borrow<Q>,
        Q: ?Sized + Hash + Eq + ToOwned,
        Q::Owned: Into<K>,
    {
        if let Some(&place) = self.places.get(key) {
            return core.decide(&mut self.list[place].1, now);
        }
        let mut state = C::State::default();
        let decision = core.decide(&mut state, now);
        self.remember(core, key.to_owned().into(), state, now, entries_max);
        decision
    }

    fn undo<Q>(&mut self, core: &C, key: &Q)
    where
        K: Borrow<Q>,
        Q: ?Sized + Hash + Eq,
    {
        if let Some(&place) = self.places.get(key) {
            core.undo(&mut self.list[place].1);
        }
    }

    fn remember(&mut self, core: &C, key: K, state: C::State, now: Instant, entries_max: usize) {
        let place = if self.list.len() < entries_max {
            self.list.push((key.clone(), state));
            self.list.len() - 1
        } else {
            let place = self.victim(core, now);
            self.places.remove(&self.list[place].0);
            self.list[place] = (key.clone(), state);
            place
        };
        self.places.insert(key, place);
    }

    /// The first entry from the hand on whose whole limit is free, or the one of a few that will be soonest.
    fn victim(&mut self, core: &C, now: Instant) -> usize {
        let len = self.list.len();
        let clear_at = |place: usize| core.clear_at(&self.list[place].1);
        let mut best = self.hand % len;
        for step in 0..EVICTION_LOOKS_AT.min(len) {
            let place = (self.hand + step) % len;
            if clear_at(place) < clear_at(best) {
                best = place;
            }
            if clear_at(best) <= now {
                break;
            }
        }
        self.hand = (best + 1) % len;
        best
    }
}

impl<K> fmt::Debug for KeyedRateLimiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimiter")
            .field("name", &self.teller)
            .field("rule", &self.shards[0].lock().rule)
            .field("keys_max", &self.keys_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::rate::{RateLimit, SlidingWindow};

    const START: Instant = Instant::from_nanos(10_000_000_000);

    fn two_a_second(keys_max: usize) -> KeyedRateLimiter<Arc<str>> {
        KeyedRateLimiter::new(&RateLimit::per_second(NonZeroU32::new(2).unwrap()), keys_max).unwrap()
    }

    #[test]
    fn each_key_has_its_own_limit() {
        let limiter = two_a_second(1000);
        for key in ["ann", "bob"] {
            let allowed: Vec<_> = (0..3).map(|_| limiter.check(key, START).allowed).collect();
            assert_eq!(allowed, [true, true, false]);
        }
        assert!(limiter.check("ann", START + Duration::from_millis(500)).allowed);
    }

    #[test]
    fn what_is_given_back_can_be_used_again_and_no_more_than_that() {
        let sliding = SlidingWindow::per_second(NonZeroU32::new(2).unwrap());
        for limiter in [two_a_second(1000), KeyedRateLimiter::new(&sliding, 1000).unwrap()] {
            let passes = |key: &str| limiter.check(key, START).allowed;
            limiter.give_back("ann");
            assert!(passes("ann") && passes("ann") && !passes("ann"));
            limiter.give_back("ann");
            assert!(passes("ann") && !passes("ann"), "one call");
            // More than was taken changes nothing beyond a limit that is free.
            for _ in 0..10 {
                limiter.give_back("ann");
            }
            assert!(passes("ann") && passes("ann") && !passes("ann"));
            assert!(passes("bob") && passes("bob") && !passes("bob"), "each key for itself");
        }
    }

    #[test]
    fn a_flood_of_keys_takes_no_more_memory_and_frees_nobody_in_debt_for_a_key_without() {
        let limiter = two_a_second(160);
        let heavy = |now| {
            while limiter.check("heavy", now).allowed {}
        };
        heavy(START);
        for number in 0..100_000_u32 {
            // Other keys pay their debt off within half a second, and then are the first to go.
            let now = START + Duration::from_millis(u64::from(number));
            let _ = limiter.check(number.to_string().as_str(), now);
            assert!(limiter.keys() <= 160);
            heavy(now);
        }
        assert_eq!(limiter.keys(), 160);
        assert!(!limiter.check("heavy", START + Duration::from_millis(99_999)).allowed);
    }

    #[test]
    fn of_those_in_debt_the_one_with_the_least_is_forgotten() {
        // Eight places in each shard, which an eviction sees all.
        let limiter = two_a_second(128);
        while limiter.check("heavy", START).allowed {}
        for number in 0..10_000_u32 {
            assert!(limiter.check(number.to_string().as_str(), START).allowed);
        }
        assert!(!limiter.check("heavy", START).allowed);
    }

    #[test]
    fn the_places_and_the_entries_stay_in_step() {
        let limiter = two_a_second(16);
        for number in 0..1000_u32 {
            let _ = limiter.check(format!("{}", number % 37).as_str(), START);
        }
        for shard in &limiter.shards {
            let shard = shard.lock();
            let Keys::Gcra(_, entries) = &shard.keys else { panic!("the rule is GCRA") };
            assert_eq!(entries.places.len(), entries.list.len());
            assert!(entries.places.iter().all(|(key, &place)| entries.list[place].0 == *key));
        }
    }

    #[test]
    fn a_sliding_window_has_its_own_keys_in_the_same_bounds() {
        let rule = SlidingWindow::per_second(NonZeroU32::new(2).unwrap());
        let limiter = KeyedRateLimiter::<Arc<str>>::new(&rule, 128).unwrap();
        while limiter.check("heavy", START).allowed {}
        for number in 0..10_000_u32 {
            assert!(limiter.check(number.to_string().as_str(), START).allowed);
            assert!(limiter.keys() <= 128);
        }
        // All of them are used in the same slice, so that age decides; a key that comes back starts afresh.
        let later = START + Duration::from_millis(1100);
        assert!(limiter.check("heavy", later).allowed && limiter.check("heavy", later).allowed);
        assert!(!limiter.check("heavy", later).allowed);
        for number in 0..10_000_u32 {
            let _ = limiter.check(number.to_string().as_str(), later.saturating_sub(Duration::from_secs(1)));
        }
        assert!(!limiter.check("heavy", later).allowed, "it is used later than the others");
    }
}
