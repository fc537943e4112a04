//! Where answers are kept.

use std::borrow::Borrow;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, ready};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::lru::{Item, Lru};
use crate::config::{self, ConfigErrors, Fields, Options};
use crate::time::Instant;

/// An answer to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<V> {
    /// The answer.
    pub value: V,
    /// So long it is fresh.
    pub fresh_for: Duration,
    /// So long it may be given out at all, at least `fresh_for`. Then it is forgotten.
    pub keep_for: Duration,
}

/// An answer that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<V> {
    /// The answer.
    pub value: V,
    /// Since when it is no longer fresh; `None` while it is.
    pub expired_for: Option<Duration>,
}

/// A place for answers: in memory ([`MemoryStore`]), or shared by processes.
///
/// `now` is this process's monotonic time. A shared store keeps wall-clock times of its own, and says by them for how
/// long an entry has expired. The cache bounds each call by `store_timeout`, and goes on without the store when it fails.
pub trait Store<K, V>: Send + Sync + fmt::Debug + 'static {
    /// Why the store could not answer.
    type Error: fmt::Debug + Send;

    /// The entry of a key, unless it is older than its `keep_for`.
    fn get(
        &self,
        key: &K,
        now: Instant,
    ) -> impl Future<Output = Result<Option<Found<V>>, Self::Error>> + Send;

    /// Keeps an entry in place of the one before.
    fn put(
        &self,
        key: &K,
        entry: Entry<V>,
        now: Instant,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Forgets an entry.
    fn remove(&self, key: &K) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Bytes that an entry takes beside its key and value: about what the map and the list need for it.
const OVERHEAD_BYTES: usize = 128;

/// Bounds of a [`MemoryStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Entries at most, 1 ..= 10,000,000. Default 10,000.
    pub entries_max: usize,
    /// Bytes at most, as the store weighs them and 128 for each entry, 1 KiB ..= 1 TiB. Default 64 MiB.
    pub bytes_max: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self { entries_max: 10_000, bytes_max: 64 << 20 }
    }
}

impl Memory {
    /// Checks every option.
    ///
    /// # Errors
    /// All the options outside their range.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        config::check(self)
    }
}

impl Options for Memory {
    const NAME: &'static str = "cache.memory";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let at = fields.at("entries_max", "Entries at most.", "The keys in use at a time are rarely more.");
        at.count(&mut self.entries_max, 1..=10_000_000);
        let what = "Bytes at most, as the store weighs them and 128 for each entry.";
        let at = fields.at("bytes_max", what, "Little beside what a service takes.");
        at.size(&mut self.bytes_max, 1 << 10..=1 << 40);
    }
}

/// A store in memory that forgets what was used longest ago (LRU). Clones share the entries.
///
/// One short lock for all keys. Trade-off of LRU: one pass over many keys that are used once drives out the others.
pub struct MemoryStore<K, V> {
    shared: Arc<Shared<K, V>>,
}

struct Shared<K, V> {
    lru: Mutex<Lru<K, V>>,
    weigh: fn(&K, &V) -> usize,
}

impl<K: Hash + Eq + Clone, V> MemoryStore<K, V> {
    /// An empty store. `weigh` says how many bytes a key and its value take.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(config: Memory, weigh: fn(&K, &V) -> usize) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let lru = Mutex::new(Lru::new(config.entries_max, config.bytes_max));
        Ok(Self { shared: Arc::new(Shared { lru, weigh }) })
    }

    /// The entry of a key, unless it is older than its `keep_for`.
    #[must_use]
    pub fn find<Q>(&self, key: &Q, now: Instant) -> Option<Found<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        V: Clone,
    {
        let mut lru = self.shared.lru.lock();
        let item = lru.get(key, now)?;
        let expired_for = now.saturating_duration_since(item.fresh_until);
        Some(Found {
            value: item.value.clone(),
            expired_for: (now >= item.fresh_until).then_some(expired_for),
        })
    }

    /// Keeps an entry in place of the one before; what was used longest ago makes room. One that is larger than all the room is
    /// not kept.
    pub fn keep(&self, key: K, entry: Entry<V>, now: Instant) {
        let bytes = (self.shared.weigh)(&key, &entry.value).saturating_add(OVERHEAD_BYTES);
        let (fresh_until, keep_until) = (now + entry.fresh_for, now + entry.keep_for);
        let item = Item { value: entry.value, bytes, fresh_until, keep_until };
        self.shared.lru.lock().put(key, item);
    }

    /// Forgets an entry.
    pub fn forget<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shared.lru.lock().remove(key);
    }

    /// Entries that are kept, and their bytes.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let lru = self.shared.lru.lock();
        (lru.len(), lru.bytes())
    }
}

impl<K, V> Clone for MemoryStore<K, V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K, V> fmt::Debug for MemoryStore<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl<K, V> Store<K, V> for MemoryStore<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    type Error = Infallible;

    fn get(
        &self,
        key: &K,
        now: Instant,
    ) -> impl Future<Output = Result<Option<Found<V>>, Infallible>> + Send {
        ready(Ok(self.find(key, now)))
    }

    fn put(
        &self,
        key: &K,
        entry: Entry<V>,
        now: Instant,
    ) -> impl Future<Output = Result<(), Infallible>> + Send {
        self.keep(key.clone(), entry, now);
        ready(Ok(()))
    }

    fn remove(&self, key: &K) -> impl Future<Output = Result<(), Infallible>> + Send {
        self.forget(key);
        ready(Ok(()))
    }
}
