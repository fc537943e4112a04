//! One rate limit for each key, in bounded memory.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};

use parking_lot::Mutex;

use super::gcra::Gcra;
use super::sliding::Sliding;
use super::{Core, Decision, Rule};
use crate::config::ConfigErrors;
use crate::time::Instant;

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
    keys: Keys<K>,
    hasher: RandomState,
    keys_max: usize,
}

enum Keys<K> {
    Gcra(Gcra, Vec<Mutex<Shard<K, Gcra>>>),
    Sliding(Sliding, Vec<Mutex<Shard<K, Sliding>>>),
}

struct Shard<K, C: Core> {
    places: HashMap<K, usize>,
    entries: Vec<(K, C::State)>,
    hand: usize,
}

impl<K: Hash + Eq + Clone> KeyedRateLimiter<K> {
    /// A limiter that remembers up to `keys_max` keys, rounded up to a multiple of 16.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new<R: Into<Rule> + Copy>(rule: &R, keys_max: usize) -> Result<Self, ConfigErrors> {
        let rule = (*rule).into();
        let mut errors = ConfigErrors::default();
        errors.merge(rule.validate());
        errors.check((1..=10_000_000).contains(&keys_max), "rate_limit.keys_max", keys_max, "1 to 10000000");
        errors.finish()?;
        let keys = match rule {
            Rule::Gcra(config) => Keys::Gcra(Gcra::new(&config), shards()),
            Rule::SlidingWindow(config) => Keys::Sliding(Sliding::new(&config), shards()),
        };
        Ok(Self { keys, hasher: RandomState::new(), keys_max })
    }

    /// Asks to make a call for `key` at `now`. Only a key that is not remembered is copied.
    #[must_use]
    pub fn check<Q>(&self, key: &Q, now: Instant) -> Decision
    where
        K: Borrow<Q>,
        Q: ?Sized + Hash + Eq + ToOwned,
        Q::Owned: Into<K>,
    {
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        let entries_max = self.keys_max.div_ceil(SHARDS);
        match &self.keys {
            Keys::Gcra(core, shards) => shards[shard].lock().check(core, key, now, entries_max),
            Keys::Sliding(core, shards) => shards[shard].lock().check(core, key, now, entries_max),
        }
    }

    /// Keys that are remembered.
    #[must_use]
    pub fn keys(&self) -> usize {
        match &self.keys {
            Keys::Gcra(_, shards) => shards.iter().map(|shard| shard.lock().entries.len()).sum(),
            Keys::Sliding(_, shards) => shards.iter().map(|shard| shard.lock().entries.len()).sum(),
        }
    }
}

fn shards<K, C: Core>() -> Vec<Mutex<Shard<K, C>>> {
    let shard = || Mutex::new(Shard { places: HashMap::new(), entries: Vec::new(), hand: 0 });
    (0..SHARDS).map(|_| shard()).collect()
}

impl<K: Hash + Eq + Clone, C: Core> Shard<K, C> {
    fn check<Q>(&mut self, core: &C, key: &Q, now: Instant, entries_max: usize) -> Decision
    where
        K: Borrow<Q>,
        Q: ?Sized + Hash + Eq + ToOwned,
        Q::Owned: Into<K>,
    {
        if let Some(&place) = self.places.get(key) {
            return core.decide(&mut self.entries[place].1, now);
        }
        let mut state = C::State::default();
        let decision = core.decide(&mut state, now);
        self.remember(core, key.to_owned().into(), state, now, entries_max);
        decision
    }

    fn remember(&mut self, core: &C, key: K, state: C::State, now: Instant, entries_max: usize) {
        let place = if self.entries.len() < entries_max {
            self.entries.push((key.clone(), state));
            self.entries.len() - 1
        } else {
            let place = self.victim(core, now);
            self.places.remove(&self.entries[place].0);
            self.entries[place] = (key.clone(), state);
            place
        };
        self.places.insert(key, place);
    }

    /// The first entry from the hand on whose whole limit is free, or the one of a few that will be soonest.
    fn victim(&mut self, core: &C, now: Instant) -> usize {
        let len = self.entries.len();
        let clear_at = |place: usize| core.clear_at(&self.entries[place].1);
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
        let rule: &dyn fmt::Debug = match &self.keys {
            Keys::Gcra(core, _) => core,
            Keys::Sliding(core, _) => core,
        };
        f.debug_struct("KeyedRateLimiter")
            .field("rule", rule)
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
        let Keys::Gcra(_, shards) = &limiter.keys else { panic!("the rule is GCRA") };
        for shard in shards {
            let shard = shard.lock();
            assert_eq!(shard.places.len(), shard.entries.len());
            assert!(shard.places.iter().all(|(key, &place)| shard.entries[place].0 == *key));
        }
    }

    #[test]
    fn a_sliding_window_has_its_own_keys_in_the_same_bounds() {
        let rule = SlidingWindow { limit: NonZeroU32::new(2).unwrap(), period: Duration::from_secs(1) };
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
