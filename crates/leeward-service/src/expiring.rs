//! A small cache for things that expire: sharded, bounded, compared in full.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

use parking_lot::Mutex;

/// Enough that threads rarely meet, few enough that an idle cache is small.
const SHARDS: usize = 16;

/// Values under keys until a wall-clock millisecond.
///
/// A slot is found by the key's 64-bit hash (seeded per process) and believed only when the whole key is equal, so
/// that a collision costs a miss, never a wrong answer. At the bound a shard drops what has expired, and all of itself
/// when nothing has: the entries are cheap to make again.
pub(crate) struct Expiring<K, V> {
    shards: [Mutex<HashMap<u64, Slot<K, V>>>; SHARDS],
    hasher: RandomState,
    per_shard: usize,
}

struct Slot<K, V> {
    key: K,
    value: V,
    expires_ms: i64,
}

impl<K, V: Clone> Expiring<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(HashMap::new())),
            hasher: RandomState::new(),
            per_shard: capacity.div_ceil(SHARDS),
        }
    }

    pub(crate) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The live value in the slot of `hash` whose key satisfies `same`.
    pub(crate) fn get(&self, hash: u64, now_ms: i64, same: impl FnOnce(&K) -> bool) -> Option<V> {
        let shard = self.shard(hash).lock();
        let slot = shard.get(&hash)?;
        (slot.expires_ms > now_ms && same(&slot.key)).then(|| slot.value.clone())
    }

    pub(crate) fn insert(&self, hash: u64, key: K, value: V, expires_ms: i64, now_ms: i64) {
        let mut shard = self.shard(hash).lock();
        if shard.len() >= self.per_shard && !shard.contains_key(&hash) {
            shard.retain(|_, slot| slot.expires_ms > now_ms);
            if shard.len() >= self.per_shard {
                shard.clear();
            }
        }
        shard.insert(hash, Slot { key, value, expires_ms });
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn shard(&self, hash: u64) -> &Mutex<HashMap<u64, Slot<K, V>>> {
        // The low bits choose the bucket inside the map, the high bits the shard.
        let index = usize::try_from(hash >> 60).unwrap_or(0);
        &self.shards[index % SHARDS]
    }
}

impl<K, V> std::fmt::Debug for Expiring<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expiring").field("per_shard", &self.per_shard).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collision_is_a_miss() {
        let cache: Expiring<&str, u8> = Expiring::new(64);
        cache.insert(7, "ours", 1, 100, 0);
        assert_eq!(cache.get(7, 0, |key| *key == "ours"), Some(1));
        assert_eq!(cache.get(7, 0, |key| *key == "theirs"), None);
    }

    #[test]
    fn nothing_is_served_past_its_end() {
        let cache: Expiring<u8, u8> = Expiring::new(64);
        cache.insert(1, 1, 1, 100, 0);
        assert_eq!(cache.get(1, 99, |_| true), Some(1));
        assert_eq!(cache.get(1, 100, |_| true), None);
    }

    #[test]
    fn the_bound_holds() {
        let cache: Expiring<u64, u64> = Expiring::new(64);
        for key in 0..10_000_u64 {
            let hash = cache.hash(&key);
            cache.insert(hash, key, key, 100, 0);
            assert_eq!(cache.get(hash, 0, |own| *own == key), Some(key));
        }
        assert!(cache.len() <= 64);
    }
}
