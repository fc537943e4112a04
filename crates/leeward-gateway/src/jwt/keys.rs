//! The keys that tokens are checked with: fetched ahead, refetched when a token names an unknown one.
//!
//! The rule: a known key is used at once. For an unknown one, the request waits for one fetch that begins after it
//! asked; all requests that ask meanwhile wait for the same. A key that is not there after that is remembered as
//! unknown for a while, so that made-up key ids cost at most one fetch a second in all. While keys cannot be fetched
//! the last good ones stay in force, up to `stale_if_error`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use leeward_resilience::{Clock, Instant};
use leeward_runtime::Stop;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::key::Algorithm;
use super::set::KeySet;

/// The least time between two fetches.
const SPACING: Duration = Duration::from_secs(1);
/// The time between two tries while there are no keys at all: requests are being refused meanwhile.
const FIRST_SPACING: Duration = Duration::from_millis(100);
/// How long a request waits for a fetch.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// How long an unknown key stays unknown without another fetch.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// Unknown keys remembered; when all are fresh, more are answered without being remembered.
const UNKNOWN_MAX: usize = 1_024;

/// What there is to say about a key id.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The set that holds it.
    Known(Arc<KeySet>),
    /// It is not published.
    Unknown,
    /// The keys cannot be had.
    Unavailable,
}

#[derive(Debug)]
struct Held {
    keys: Arc<KeySet>,
    fetched_at: Instant,
}

/// How many fetches began and how many ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Progress {
    begun: u64,
    ended: u64,
    /// Whether the last one that ended brought keys.
    good: bool,
}

/// What stays when the same keys are fetched at other times: whoever waits for them waits on.
#[derive(Default, Debug)]
struct Place {
    held: ArcSwapOption<Held>,
    unknown: Mutex<HashMap<Box<str>, Instant>>,
    wanted: Notify,
    progress: watch::Sender<Progress>,
}

/// The published keys, shared by all cores.
#[derive(Debug)]
pub(crate) struct KeyStore {
    place: Arc<Place>,
    stale_max: Duration,
    refresh: Duration,
    /// The algorithms whose keys are taken.
    algorithms: Vec<Algorithm>,
    clock: Arc<dyn Clock>,
}

impl KeyStore {
    pub(crate) fn new(refresh: Duration, stale_max: Duration, clock: Arc<dyn Clock>) -> Self {
        let (place, algorithms) = (Arc::default(), Algorithm::PUBLIC.to_vec());
        Self { place, stale_max, refresh, algorithms, clock }
    }

    /// The same keys from the same place, fetched at other times.
    pub(crate) fn after(&self, refresh: Duration, stale_max: Duration) -> Self {
        let (place, algorithms) = (Arc::clone(&self.place), self.algorithms.clone());
        Self { place, stale_max, refresh, algorithms, clock: Arc::clone(&self.clock) }
    }

    /// Whether the keys of one are those of the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.place, &other.place)
    }

    /// Takes keys of these algorithms only.
    pub(crate) fn only(mut self, algorithms: Vec<Algorithm>) -> Self {
        self.algorithms = algorithms;
        self
    }

    /// The generation of the keys in force; a verified token of another one is verified again.
    pub(crate) fn generation(&self) -> u64 {
        self.place.held.load().as_ref().map_or(0, |held| held.keys.generation)
    }

    /// The set that holds `kid`.
    ///
    /// # Cancel safety
    /// Safe: a fetch that was asked for goes on.
    pub(crate) async fn lookup(&self, kid: &str) -> Lookup {
        let now = self.clock.now();
        if let Some(found) = self.at_hand(kid, now) {
            return found;
        }
        let mut progress = self.place.progress.subscribe();
        let asked = progress.borrow_and_update().begun;
        self.place.wanted.notify_one();
        let fetched = tokio::time::timeout(WAIT_MAX, progress.wait_for(|progress| progress.ended > asked));
        let good = fetched.await.is_ok_and(|progress| progress.is_ok_and(|progress| progress.good));
        let now = self.clock.now();
        match self.fresh(now) {
            Some(keys) if keys.has(kid) => Lookup::Known(keys),
            Some(_) if good => {
                self.remember_unknown(kid, now);
                Lookup::Unknown
            }
            // Whether the key exists is not known: that is no reason to call the token bad.
            _ => Lookup::Unavailable,
        }
    }

    fn at_hand(&self, kid: &str, now: Instant) -> Option<Lookup> {
        let keys = self.fresh(now)?;
        if keys.has(kid) {
            return Some(Lookup::Known(keys));
        }
        let until = self.place.unknown.lock().get(kid).copied();
        until.is_some_and(|until| now < until).then_some(Lookup::Unknown)
    }

    fn fresh(&self, now: Instant) -> Option<Arc<KeySet>> {
        let held = self.place.held.load();
        let held = held.as_ref()?;
        let age = now.saturating_duration_since(held.fetched_at);
        (age <= self.refresh + self.stale_max).then(|| Arc::clone(&held.keys))
    }

    fn remember_unknown(&self, kid: &str, now: Instant) {
        let mut unknown = self.place.unknown.lock();
        if unknown.len() >= UNKNOWN_MAX {
            unknown.retain(|_, until| now < *until);
        }
        if unknown.len() < UNKNOWN_MAX {
            unknown.insert(kid.into(), now + UNKNOWN_FOR);
        }
    }

    /// Keeps the keys fresh until `stop`. `fetch` answers with the text of a JWK set.
    pub(crate) async fn run<F, Fut>(&self, stop: Stop, fetch: F)
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<Vec<u8>, String>>,
    {
        loop {
            self.take_in(fetch()).await;
            let (spacing, refresh) = match self.place.held.load().as_ref() {
                Some(_) => (SPACING, self.refresh),
                None => (FIRST_SPACING, FIRST_SPACING),
            };
            let next = async {
                tokio::time::sleep(spacing).await;
                let _either = tokio::time::timeout(refresh, self.place.wanted.notified()).await;
            };
            if stop.or(next).await.is_none() {
                return;
            }
        }
    }

    async fn take_in(&self, fetch: impl Future<Output = Result<Vec<u8>, String>>) {
        self.place.progress.send_modify(|progress| progress.begun += 1);
        let keys = fetch.await.and_then(|json| {
            let keys = KeySet::parse(&json, self.generation() + 1).map(|keys| keys.only(&self.algorithms));
            keys.filter(|keys| keys.len() > 0)
                .ok_or_else(|| "no key that can be used in the answer".to_owned())
        });
        let good = match keys {
            Ok(keys) => {
                self.publish(keys);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the keys of tokens could not be fetched");
                false
            }
        };
        self.place.progress.send_modify(|progress| {
            progress.ended = progress.begun;
            progress.good = good;
        });
    }

    fn publish(&self, mut keys: KeySet) {
        // The same keys again keep their generation, so that verified tokens stay verified.
        if let Some(held) = self.place.held.load().as_ref()
            && held.keys.is_same(&keys)
        {
            keys.generation = held.keys.generation;
        } else {
            keys.report_left_out();
        }
        // A key that was unknown may be among these.
        self.place.unknown.lock().retain(|kid, _| !keys.has(kid));
        self.place.held.store(Some(Arc::new(Held { keys: Arc::new(keys), fetched_at: self.clock.now() })));
    }

    /// How many keys there are and how old they are, for the health report.
    pub(crate) fn age(&self) -> Option<(usize, Duration)> {
        let held = self.place.held.load();
        let held = held.as_ref()?;
        Some((held.keys.len(), self.clock.now().saturating_duration_since(held.fetched_at)))
    }
}
