//! One rate limit for each key, in bounded memory.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};

use parking_lot::Mutex;

use super::{Decision, Gcra, RateLimit};
use crate::config::ConfigErrors;
use crate::time::Instant;

/// Shards, so that cores seldom meet at one lock.
const SHARDS: usize = 16;

/// Entries that an eviction looks at: it takes constant time also when somebody sends a new key with each call.
const EVICTION_LOOKS_AT: usize = 8;

/// A rate limit for each of at most `keys_max` keys (addresses, principals).
///
/// A key whose debt is paid off is worth nothing and goes first. When every key still has debts, the one with the least
/// debt of a few is forgotten, so that it may start afresh: rather that than memory without bound.
pub struct KeyedRateLimiter<K> {
    gcra: Gcra,
    hasher: RandomState,
    shards: Vec<Mutex<Shard<K>>>,
    keys_max: usize,
}

#[derive(Debug)]
struct Shard<K> {
    places: HashMap<K, usize>,
    /// Key, and the instant at which its debt is paid off.
    entries: Vec<(K, u64)>,
    hand: usize,
}

impl<K: Hash + Eq + Clone> KeyedRateLimiter<K> {
    /// A limiter that remembers up to `keys_max` keys, rounded up to a multiple of 16.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(config: &RateLimit, keys_max: usize) -> Result<Self, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        errors.merge(config.validate());
        errors.check((1..=10_000_000).contains(&keys_max), "rate-limit.keys_max", keys_max, "1 to 10000000");
        errors.finish()?;
        let shard = || Mutex::new(Shard { places: HashMap::new(), entries: Vec::new(), hand: 0 });
        let shards = (0..SHARDS).map(|_| shard()).collect();
        Ok(Self { gcra: Gcra::new(config), hasher: RandomState::new(), shards, keys_max })
    }

    /// Asks to make a call for `key` at `now`. Only a key that is not remembered is copied.
    #[must_use]
    pub fn check<Q>(&self, key: &Q, now: Instant) -> Decision
    where
        K: std::borrow::Borrow<Q>,
        Q: ?Sized + Hash + Eq + ToOwned,
        Q::Owned: Into<K>,
    {
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        let mut shard = self.shards[shard].lock();
        let now = now.as_nanos();
        if let Some(&place) = shard.places.get(key) {
            let entry = &mut shard.entries[place];
            let (decision, paid_at) = self.gcra.decide(entry.1, now);
            entry.1 = paid_at;
            return decision;
        }
        let (decision, paid_at) = self.gcra.decide(0, now);
        shard.remember(key.to_owned().into(), paid_at, now, self.keys_max.div_ceil(SHARDS));
        decision
    }

    /// Keys that are remembered.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().entries.len()).sum()
    }
}

impl<K: Hash + Eq + Clone> Shard<K> {
    fn remember(&mut self, key: K, paid_at: u64, now: u64, entries_max: usize) {
        let place = if self.entries.len() < entries_max {
            self.entries.push((key.clone(), paid_at));
            self.entries.len() - 1
        } else {
            let place = self.victim(now);
            self.places.remove(&self.entries[place].0);
            self.entries[place] = (key.clone(), paid_at);
            place
        };
        self.places.insert(key, place);
    }

    /// The first entry from the hand on without debts, or the one of a few with the least.
    fn victim(&mut self, now: u64) -> usize {
        let len = self.entries.len();
        let mut best = self.hand % len;
        for step in 0..EVICTION_LOOKS_AT.min(len) {
            let place = (self.hand + step) % len;
            if self.entries[place].1 < self.entries[best].1 {
                best = place;
            }
            if self.entries[best].1 <= now {
                break;
            }
        }
        self.hand = (best + 1) % len;
        best
    }
}

impl<K> fmt::Debug for KeyedRateLimiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gcra, keys_max, .. } = self;
        f.debug_struct("KeyedRateLimiter")
            .field("gcra", gcra)
            .field("keys_max", keys_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

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
        for shard in &limiter.shards {
            let shard = shard.lock();
            assert_eq!(shard.places.len(), shard.entries.len());
            assert!(shard.places.iter().all(|(key, &place)| shard.entries[place].0 == *key));
        }
    }
}
