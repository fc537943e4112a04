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
//! **Shadow.** In [`Mode::Shadow`](crate::Mode::Shadow) every call loads for itself, and what it would have got instead is told. The
//! store is read and filled as ever, so that a call waits for it.
//!
//! Trade-off: a leader looks into the store once more before it loads, so that a load that ended in between is not
//! repeated; a miss asks the store twice. A load that is on its way while its key is invalidated may still be kept.
//!
//! Source: stale-if-error is RFC 5861; coalescing as in Go's `singleflight` (2013), here with handing over.
//!
//! **Cost.** A hit: one short lock of the memory store and a clone of the answer; with a `negative_ttl` one more lock, of the
//! errors. A miss: two lookups, an allocated place for those who load the key together, under the lock of all such places, and a
//! clone of the answer for the store, for whoever waits, and for the caller.
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

mod ask;
mod config;
mod flight;
mod layer;
mod lru;
mod store;

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

use self::ask::Ask;
use self::flight::Flights;
use self::lru::Lru;
use crate::config::ConfigErrors;
use crate::fallback::Cause;
use crate::live::Live;
use crate::observe::{Event, Observer, Teller};
use crate::outcome::{Class, Error};
use crate::random::{FastRng, Rng};
use crate::time::{Clock, TokioClock};

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

/// Where an answer came from, as it is told and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answered {
    /// The store had it.
    Hit,
    /// This call loaded it, or failed to.
    Loaded,
    /// Another call loaded it meanwhile, or failed to.
    Coalesced,
    /// The load failed, and an older answer stands in.
    Stale,
    /// An error that was remembered.
    Negative,
}

impl Answered {
    /// The name in metrics and span events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Loaded => "loaded",
            Self::Coalesced => "coalesced",
            Self::Stale => "stale",
            Self::Negative => "negative",
        }
    }
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
    teller: Teller,
    live: Live<Cache>,
    store: S,
    flights: Flights<K, Loaded<V, E>>,
    /// Errors that are remembered, of one byte each. Not looked into without a `negative_ttl`.
    negative: Mutex<Lru<K, E>>,
    counters: Counters,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
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
        let entries_max = config.negative_entries_max;
        let negative = Mutex::new(Lru::new(entries_max, entries_max));
        let (teller, live) = (Teller::new(name, observer), Live::new(config));
        let (flights, counters) = (Flights::new(), Counters::default());
        let shared = Shared { teller, live, store, flights, negative, counters, clock, rng };
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
        let ask = Ask::new(&self.shared);
        if ask.is_shadow() {
            ask.shadow(key, load, classify).await
        } else {
            ask.get(key, load, classify).await
        }
    }

    /// Forgets what is known of a key; `false` when the store failed or took too long, so that it may still have it.
    ///
    /// # Cancel safety
    /// Dropped, it may or may not have forgotten.
    pub async fn invalidate(&self, key: &K) -> bool {
        self.shared.negative.lock().remove(key);
        Ask::new(&self.shared).store(self.shared.store.remove(key)).await.is_some()
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> Cache {
        self.shared.live.load().options.clone()
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.teller.name()
    }

    /// Puts other options into force, for every call that starts from now on. What is kept stays as fresh as it was to be;
    /// of the errors that are remembered those used longest ago go when there are to be fewer, and all without a
    /// `negative_ttl`. Who waits for a load goes on to do so.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(&self, config: Cache) -> Result<(), ConfigErrors> {
        config.validate()?;
        let version = self.shared.live.replace(config, |_, new| {
            let entries_max = if new.negative_ttl.is_some() { new.negative_entries_max } else { 0 };
            self.shared.negative.lock().resize(entries_max, entries_max);
        });
        self.shared.teller.tell(&Event::Reconfigured { policy: NAME, version });
        Ok(())
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

impl<K, V, E, S> Clone for AnswerCache<K, V, E, S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K, V, E, S: fmt::Debug> fmt::Debug for AnswerCache<K, V, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { teller, live, store, .. } = &*self.shared;
        let config = &live.load().options;
        let mut all = f.debug_struct("AnswerCache");
        all.field("name", teller).field("config", config).field("store", store).finish_non_exhaustive()
    }
}
