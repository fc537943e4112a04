//! The last good copy of an answer, for when its service cannot give one.
//!
//! Only routes that ask for it, only `GET`, only answers that hold nothing of one user: where the gateway checks tokens it
//! passes no identity upstream on such a route, and a request that goes upstream with a token or a cookie of its own gets
//! no copy and leaves none. Bounded in bytes; what was used least recently goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{HeaderName, StatusCode};
use leeward_resilience::Instant;
use parking_lot::Mutex;

/// A copy younger than this is not written again: under load one write a second is enough.
const REWRITE_AFTER: Duration = Duration::from_secs(1);
/// What an entry costs beside its body: headers, key, maps.
const ENTRY_OVERHEAD_BYTES: usize = 1_024;

/// Headers of an answer that a copy keeps.
const KEPT: [HeaderName; 7] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LINK,
    header::VARY,
];

/// One answer as it was.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) stored_at: Instant,
}

#[derive(Debug)]
struct Entry {
    copy: Copy,
    bytes: usize,
    tick: u64,
}

#[derive(Default, Debug)]
struct State {
    entries: HashMap<Arc<str>, Entry>,
    /// Least recently used first.
    order: BTreeMap<u64, Arc<str>>,
    bytes: usize,
    tick: u64,
}

/// The store, shared by all cores. Its lock is taken when an answer is stored, about once a second and path, and when
/// a service fails.
#[derive(Debug)]
pub(crate) struct StaleStore {
    state: Mutex<State>,
    bytes_max: usize,
    entry_bytes_max: usize,
}

impl StaleStore {
    pub(crate) fn new(bytes_max: usize, entry_bytes_max: usize) -> Self {
        Self { state: Mutex::new(State::default()), bytes_max, entry_bytes_max }
    }

    pub(crate) const fn entry_bytes_max(&self) -> usize {
        self.entry_bytes_max
    }

    /// Whether an answer for this key is worth copying at `now`.
    pub(crate) fn wants(&self, key: &str, now: Instant) -> bool {
        let state = self.state.lock();
        state
            .entries
            .get(key)
            .is_none_or(|entry| now.saturating_duration_since(entry.copy.stored_at) >= REWRITE_AFTER)
    }

    pub(crate) fn put(&self, key: &str, headers: &HeaderMap, body: Bytes, now: Instant) {
        let bytes = body.len() + key.len() + ENTRY_OVERHEAD_BYTES;
        if body.len() > self.entry_bytes_max || bytes > self.bytes_max {
            return;
        }
        let mut kept = HeaderMap::with_capacity(KEPT.len());
        for name in &KEPT {
            if let Some(value) = headers.get(name) {
                kept.insert(name, value.clone());
            }
        }
        let copy = Copy { headers: kept, body, stored_at: now };
        let mut state = self.state.lock();
        state.remove(key);
        while state.bytes + bytes > self.bytes_max {
            let Some(oldest) = state.order.first_key_value().map(|(_, key)| Arc::clone(key)) else { break };
            state.remove(&oldest);
        }
        state.insert(key.into(), copy, bytes);
    }

    /// The copy, if it is not older than `age_max`.
    pub(crate) fn get(&self, key: &str, age_max: Duration, now: Instant) -> Option<Copy> {
        let mut state = self.state.lock();
        let copy = state.entries.get(key)?.copy.clone();
        if now.saturating_duration_since(copy.stored_at) > age_max {
            return None;
        }
        state.touch(key);
        Some(copy)
    }

    /// Entries and bytes held.
    pub(crate) fn size(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.entries.len(), state.bytes)
    }
}

impl State {
    fn insert(&mut self, key: Arc<str>, copy: Copy, bytes: usize) {
        self.tick += 1;
        self.order.insert(self.tick, Arc::clone(&key));
        self.entries.insert(key, Entry { copy, bytes, tick: self.tick });
        self.bytes += bytes;
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.tick);
            self.bytes -= entry.bytes;
        }
    }

    fn touch(&mut self, key: &str) {
        self.tick += 1;
        let tick = self.tick;
        if let Some(entry) = self.entries.get_mut(key)
            && let Some(key) = self.order.remove(&entry.tick)
        {
            entry.tick = tick;
            self.order.insert(tick, key);
        }
    }
}

/// Whether an answer may be kept: a plain 200 that no header ties to one user or one request.
pub(crate) fn may_keep(status: StatusCode, headers: &HeaderMap) -> bool {
    let private = |value: &str| {
        value.split(',').map(str::trim).any(|word| {
            ["private", "no-store"]
                .iter()
                .any(|bad| word.get(..bad.len()).is_some_and(|w| w.eq_ignore_ascii_case(bad)))
        })
    };
    let cache_control = headers.get_all(header::CACHE_CONTROL).iter();
    let varies = headers.get_all(header::VARY).iter().any(|value| {
        value.to_str().map_or(true, |text| {
            text.split(',').map(str::trim).any(|name| {
                !name.eq_ignore_ascii_case("origin") && !name.eq_ignore_ascii_case("accept-encoding")
            })
        })
    });
    status == StatusCode::OK
        && !headers.contains_key(header::SET_COOKIE)
        && !cache_control.into_iter().any(|value| value.to_str().map_or(true, private))
        && !varies
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const NOW: Instant = Instant::from_nanos(1_000_000_000_000);

    fn body(bytes: usize) -> Bytes {
        Bytes::from(vec![b'x'; bytes])
    }

    #[test]
    fn it_never_holds_more_bytes_than_it_may_and_drops_the_least_used() {
        let store = StaleStore::new(10_000, 4_000);
        for key in ["a", "b", "c"] {
            store.put(key, &HeaderMap::new(), body(2_000), NOW);
        }
        assert!(store.get("a", Duration::from_secs(9), NOW).is_some());
        store.put("d", &HeaderMap::new(), body(2_000), NOW);
        assert!(store.size().1 <= 10_000);
        assert!(store.get("b", Duration::from_secs(9), NOW).is_none(), "least recently used");
        assert!(store.get("a", Duration::from_secs(9), NOW).is_some());
        store.put("big", &HeaderMap::new(), body(4_001), NOW);
        assert!(store.get("big", Duration::from_secs(9), NOW).is_none());
    }

    #[test]
    fn a_copy_ends_and_is_not_rewritten_all_the_time() {
        let store = StaleStore::new(10_000, 4_000);
        assert!(store.wants("a", NOW));
        store.put("a", &HeaderMap::new(), body(1), NOW);
        assert!(!store.wants("a", NOW + Duration::from_millis(999)));
        assert!(store.wants("a", NOW + Duration::from_secs(1)));
        assert!(store.get("a", Duration::from_secs(5), NOW + Duration::from_secs(6)).is_none());
    }

    #[test]
    fn what_belongs_to_one_user_is_not_kept() {
        for (name, value, keep) in [
            ("cache-control", "public, max-age=5", true),
            ("cache-control", "max-age=5, Private", false),
            ("cache-control", "no-store", false),
            ("set-cookie", "a=b", false),
            ("vary", "Accept-Encoding, Origin", true),
            ("vary", "cookie", false),
            ("vary", "*", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            assert_eq!(may_keep(StatusCode::OK, &headers), keep, "{name}: {value}");
        }
        assert!(!may_keep(StatusCode::PARTIAL_CONTENT, &HeaderMap::new()));
    }
}
