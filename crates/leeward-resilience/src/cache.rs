//! Cache and coalescing: an answer is loaded once for all that ask for it, and stands in when the next load fails.
//!
//! **Rule.** A fresh answer is given out. Otherwise one caller, the leader, loads it, and all others who want the same key
//! wait for that load: of a thousand callers one goes upstream. A leader who is dropped hands over to a waiter, who loads
//! with its own call; so does one whose result is its own affair, a passed deadline or what was classified as
//! [`Class::Ignored`]. Any other error is shared by all that waited, so that a failing upstream is not asked by each of
//! them in turn.
//!
//! **Stale if error.** When a load fails for one of the causes of `stale_on`, or a call is rejected here, an answer whose
//! TTL passed at most `stale_max` ago stands in. It is marked as [`Source::Stale`] and the observer is told, as for
//! any [`fallback`](crate::fallback).
//!
//! **What is kept.** Successes, for `ttl` less a random share of it. Errors are not, unless `negative_ttl` is set: then an
//! error that does not pass by itself, a permanent failure or one that was classified as a success (not found), is
//! remembered for its key in this process. A retryable failure, a timeout and a rejection never are.
//!
//! **Store.** Answers live in a [`Store`]: [`MemoryStore`], bounded by entries and by bytes, or a shared one. A store that
//! fails or takes longer than `store_timeout` is gone around; the call goes on without it.
//!
//! Trade-off: a leader looks into the store once more before it loads, so that a load that ended in between is not
//! repeated; a miss asks the store twice. A load that is on its way while its key is invalidated may still be kept.
//!
//! Source: stale-if-error is RFC 5861; coalescing as in Go's `singleflight` (2013), here with handing over.
//!
//! **Cost.** A hit: one short lock of the memory store and a clone of the answer. A miss: two lookups, a place among those who
//! load, one allocation for each that waits.
//!
//! ```
//! use leeward_resilience::cache::{AnswerCache, Cache, Memory, MemoryStore, Source};
//! use leeward_resilience::Class;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new(Memory::default(), |_: &u32, text: &String| text.len())?;
//! let cache = AnswerCache::<u32, String, &str>::new("articles", Cache::default(), store)?;
//! let load = async || Ok("text".to_owned());
//! assert_eq!(cache.get(&1, load, |_| Class::Success).await.unwrap().source, Source::Loaded);
//! assert_eq!(cache.get(&1, load, |_| Class::Success).await.unwrap().source, Source::Hit);
//! assert_eq!((cache.counts().loads, cache.counts().hits), (1, 1));
//! # Ok(())
//! # }
//! ```

mod config;
mod flight;
mod layer;
mod lru;
mod store;

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

pub use self::config::Cache;
pub use self::layer::{CacheLayer, CacheService};
pub use self::store::{Entry, Found, Memory, MemoryStore, Store};

use self::flight::{Flights, Leader, Seat, Waited};
use self::lru::{Item, Lru};
use crate::config::ConfigErrors;
use crate::fallback::Cause;
use crate::observe::{Event, Observer};
use crate::outcome::{Class, Error, Reason, Rejected};
use crate::random::{FastRng, Rng};
use crate::time::{Clock, Instant, TokioClock};

/// The policy's name in rejections, metrics and `explain()`.
pub const NAME: &str = "cache";

/// Names of the metrics that show [`Counts`].
pub mod metrics {
    /// Counter `{policy, source}`: answers by where they came from.
    pub const ANSWERS: &str = "leeward_cache_answers_total";
    /// Counter `{policy}`: calls to the store that failed or took too long.
    pub const STORE_FAILURES: &str = "leeward_cache_store_failures_total";
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The store had it.
    Hit,
    /// This call loaded it.
    Loaded,
    /// Another call loaded it meanwhile.
    Coalesced,
    /// The load failed, and an older answer stands in.
    Stale {
        /// Since when it is no longer fresh.
        expired_for: Duration,
        /// Why there is no newer one.
        cause: Cause,
    },
}

/// An answer that knows where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cached<V> {
    /// The answer.
    pub value: V,
    /// Where it came from.
    pub source: Source,
}

/// What a cache did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Fresh answers from the store.
    pub hits: u64,
    /// Loads that were started.
    pub loads: u64,
    /// Results of another call's load.
    pub coalesced: u64,
    /// Answers that stood in for an error.
    pub stale: u64,
    /// Remembered errors that were given out.
    pub negative: u64,
    /// Calls to the store that failed or took too long.
    pub store_failures: u64,
}

/// Caches and coalesces. Clones share everything. `E` is the error of the calls that load.
pub struct AnswerCache<K, V, E, S = MemoryStore<K, V>> {
    shared: Arc<Shared<K, V, E, S>>,
}

type Loaded<V, E> = Result<V, Error<E>>;

struct Shared<K, V, E, S> {
    name: Arc<str>,
    config: Cache,
    store: S,
    flights: Flights<K, Loaded<V, E>>,
    /// Errors that are remembered, of one byte each.
    negative: Option<Mutex<Lru<K, E>>>,
    counters: Counters,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    observer: Option<Arc<dyn Observer>>,
}

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    loads: AtomicU64,
    coalesced: AtomicU64,
    stale: AtomicU64,
    negative: AtomicU64,
    store_failures: AtomicU64,
}

impl<K, V, E, S> AnswerCache<K, V, E, S>
where
    K: Hash + Eq + Clone,
    V: Clone,
    E: Clone,
    S: Store<K, V>,
{
    /// A cache over `store`, on tokio time.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(name: impl Into<Arc<str>>, config: Cache, store: S) -> Result<Self, ConfigErrors> {
        Self::with(name, config, store, Arc::new(TokioClock), Arc::new(FastRng::from_entropy()), None)
    }

    /// A cache with its own clock, randomness and observer.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with(
        name: impl Into<Arc<str>>,
        config: Cache,
        store: S,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        config.validate()?;
        let flights = Flights::new(config.waiters_max);
        let entries_max = config.negative_entries_max;
        let negative = config.negative_ttl.map(|_| Mutex::new(Lru::new(entries_max, entries_max)));
        let (name, counters) = (name.into(), Counters::default());
        let shared = Shared { name, config, store, flights, negative, counters, clock, rng, observer };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The answer for `key`: from the store, or else by `load`, which is called at most once. Each caller classifies its
    /// own load.
    ///
    /// # Errors
    /// That of the load, also when another caller made it, or [`Error::Rejected`] when too many wait for it or it takes
    /// too long; unless a stale answer stands in.
    ///
    /// # Cancel safety
    /// Dropping the future of the one who loads hands over to one who waits. Dropping one who waits leaves no trace.
    pub async fn get<F, Fut, C>(&self, key: &K, load: F, classify: C) -> Result<Cached<V>, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Loaded<V, E>>,
        C: Fn(&Result<V, E>) -> Class,
    {
        let shared = &*self.shared;
        let old = match shared.read(key).await {
            Read::Settled(settled) => return settled,
            Read::Old(old) => old,
        };
        let (result, cause) = match shared.flights.join(key) {
            Seat::Leader(leader) => return shared.lead(leader, key, load, classify).await,
            Seat::Full => {
                let queue = shared.config.waiters_max;
                shared.reject(Reason::QueueFull { limit: 1, queue })
            }
            Seat::Waiter(waiter) => {
                let waited = shared.config.wait_max;
                match tokio::time::timeout(waited, waiter.wait()).await {
                    Ok(Waited::Leader(leader)) => return shared.lead(leader, key, load, classify).await,
                    Ok(Waited::Result(result)) => {
                        count(&shared.counters.coalesced);
                        Cause::of(result, classify)
                    }
                    Err(_) => shared.reject(Reason::WaitedTooLong { waited }),
                }
            }
        };
        shared.settle(result, cause, old, Source::Coalesced)
    }

    /// Forgets what is known of a key; `false` when the store failed or took too long, so that it may still have it.
    ///
    /// # Cancel safety
    /// Dropped, it may or may not have forgotten.
    pub async fn invalidate(&self, key: &K) -> bool {
        if let Some(negative) = &self.shared.negative {
            negative.lock().remove(key);
        }
        self.shared.ask(self.shared.store.remove(key)).await.is_some()
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> &Cache {
        &self.shared.config
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let Counters { hits, loads, coalesced, stale, negative, store_failures } = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            hits: read(hits),
            loads: read(loads),
            coalesced: read(coalesced),
            stale: read(stale),
            negative: read(negative),
            store_failures: read(store_failures),
        }
    }
}

/// An answer that is no longer fresh, and since when.
struct Old<V> {
    value: V,
    expired_at: Instant,
}

enum Read<V, E> {
    /// A fresh answer, or a remembered error.
    Settled(Result<Cached<V>, Error<E>>),
    /// It must be loaded; there may be an old answer.
    Old(Option<Old<V>>),
}

impl<K, V, E, S> Shared<K, V, E, S>
where
    K: Hash + Eq + Clone,
    V: Clone,
    E: Clone,
    S: Store<K, V>,
{
    async fn read(&self, key: &K) -> Read<V, E> {
        let now = self.clock.now();
        if let Some(negative) = &self.negative
            && let Some(item) = negative.lock().get(key, now)
        {
            count(&self.counters.negative);
            return Read::Settled(Err(Error::Inner(item.value.clone())));
        }
        match self.ask(self.store.get(key, now)).await.flatten() {
            None => Read::Old(None),
            Some(Found { value, expired_for: None }) => {
                count(&self.counters.hits);
                Read::Settled(Ok(Cached { value, source: Source::Hit }))
            }
            Some(Found { value, expired_for: Some(since) }) => {
                Read::Old(Some(Old { value, expired_at: now.saturating_sub(since) }))
            }
        }
    }

    async fn lead<F, Fut, C>(
        &self,
        leader: Leader<'_, K, Loaded<V, E>>,
        key: &K,
        load: F,
        classify: C,
    ) -> Result<Cached<V>, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Loaded<V, E>>,
        C: Fn(&Result<V, E>) -> Class,
    {
        // A load may have ended between the first look and the leader's seat.
        let old = match self.read(key).await {
            Read::Settled(settled) => {
                leader.complete(settled.clone().map(|cached| cached.value));
                return settled;
            }
            Read::Old(old) => old,
        };
        count(&self.counters.loads);
        let seen = Cell::new(None);
        let (result, cause) = Cause::of(load().await, |inner| {
            let class = classify(inner);
            seen.set(Some(class));
            class
        });
        let class = seen.into_inner();
        self.keep(key, &result, class).await;
        // What is the leader's own affair is nobody else's: the next one loads.
        if class != Some(Class::Ignored) && cause != Some(Cause::DeadlineExceeded) {
            leader.complete(result.clone());
        }
        self.settle(result, cause, old, Source::Loaded)
    }

    /// Remembers what may be remembered.
    async fn keep(&self, key: &K, result: &Loaded<V, E>, class: Option<Class>) {
        let now = self.clock.now();
        match (result, class) {
            (Ok(value), Some(Class::Success)) => {
                let less = self.config.ttl_jitter * self.rng.unit_f64();
                let fresh_for = self.config.ttl.mul_f64(1.0 - less);
                let keep_for = fresh_for + self.config.stale_max;
                let entry = Entry { value: value.clone(), fresh_for, keep_for };
                self.ask(self.store.put(key, entry, now)).await;
            }
            (Err(Error::Inner(error)), Some(Class::Success | Class::Failure { retryable: false, .. })) => {
                if let (Some(negative), Some(ttl)) = (&self.negative, self.config.negative_ttl) {
                    let until = now + ttl;
                    let item = Item { value: error.clone(), bytes: 1, fresh_until: until, keep_until: until };
                    negative.lock().put(key.clone(), item);
                }
            }
            _ => {}
        }
    }

    /// The result, or the old answer if it may stand in.
    fn settle(
        &self,
        result: Loaded<V, E>,
        cause: Option<Cause>,
        old: Option<Old<V>>,
        source: Source,
    ) -> Result<Cached<V>, Error<E>> {
        let Some(cause) = cause.filter(|&cause| self.config.stale_on.covers(cause)) else {
            return result.map(|value| Cached { value, source });
        };
        let expired_for = |old: &Old<V>| self.clock.now().saturating_duration_since(old.expired_at);
        match old.map(|old| (expired_for(&old), old.value)) {
            Some((expired_for, value)) if expired_for <= self.config.stale_max => {
                count(&self.counters.stale);
                if let Some(observer) = &self.observer {
                    observer.observe(&self.name, &Event::FellBack { cause, answered: true });
                }
                Ok(Cached { value, source: Source::Stale { expired_for, cause } })
            }
            _ => result.map(|value| Cached { value, source }),
        }
    }

    fn reject(&self, reason: Reason) -> (Loaded<V, E>, Option<Cause>) {
        let rejected = Rejected { policy: NAME, reason, retry_after: Some(Duration::from_secs(1)) };
        if let Some(observer) = &self.observer {
            observer.observe(&self.name, &Event::Rejected(rejected));
        }
        (Err(Error::Rejected(rejected)), Some(Cause::Rejected(rejected)))
    }

    /// What the store says, or `None` when it fails or takes too long.
    async fn ask<T>(&self, question: impl Future<Output = Result<T, S::Error>>) -> Option<T> {
        let answer = tokio::time::timeout(self.config.store_timeout, question).await;
        let answer = answer.ok().and_then(Result::ok);
        if answer.is_none() {
            count(&self.counters.store_failures);
        }
        answer
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl<K, V, E, S> Clone for AnswerCache<K, V, E, S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K, V, E, S: fmt::Debug> fmt::Debug for AnswerCache<K, V, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { name, config, store, .. } = &*self.shared;
        let mut all = f.debug_struct("AnswerCache");
        all.field("name", name).field("config", config).field("store", store).finish_non_exhaustive()
    }
}
