//! The last good copy of an answer, for when its service cannot give one.
//!
//! Only routes that ask for it, only `GET`, only answers that hold nothing of one user: where the gateway checks tokens it
//! passes no identity upstream on such a route, and a request that goes upstream with a token or a cookie of its own gets
//! no copy and leaves none. Bounded in bytes; what was used least recently goes first.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{HeaderName, HeaderValue, StatusCode};
use leeward_resilience::cache::{Entry, Memory, MemoryStore};
use leeward_resilience::{ConfigErrors, Instant};

/// A copy younger than this is not written again: under load one write a second is enough.
const REWRITE_AFTER: Duration = Duration::from_secs(1);
/// What an entry costs beside its body: headers, key, maps.
const ENTRY_OVERHEAD_BYTES: usize = 1_024;

/// The most entries and the least bytes of a store.
const ENTRIES_MAX: usize = 10_000_000;
const BYTES_MIN: usize = 1_024;

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

/// The store, shared by all cores. Its short lock is taken for every answer that may be kept, and when a service fails.
#[derive(Debug)]
pub(crate) struct StaleStore {
    copies: MemoryStore<Arc<str>, Arc<Copy>>,
    entry_bytes_max: usize,
}

impl StaleStore {
    /// # Errors
    /// A bound outside its range.
    pub(crate) fn new(bytes_max: usize, entry_bytes_max: usize) -> Result<Self, ConfigErrors> {
        // The bytes are the bound: an entry without a body is one of its overhead.
        // Less than a store's least room is room for nothing.
        let (bytes_max, entry_bytes_max) =
            if bytes_max < BYTES_MIN { (BYTES_MIN, 0) } else { (bytes_max, entry_bytes_max) };
        let bounds =
            Memory { bytes_max, entries_max: (bytes_max / ENTRY_OVERHEAD_BYTES).clamp(1, ENTRIES_MAX) };
        let weigh = |key: &Arc<str>, copy: &Arc<Copy>| key.len() + copy.body.len() + ENTRY_OVERHEAD_BYTES;
        Ok(Self { copies: MemoryStore::new(bounds, weigh)?, entry_bytes_max })
    }

    pub(crate) const fn entry_bytes_max(&self) -> usize {
        self.entry_bytes_max
    }

    /// Whether an answer for this key is worth copying at `now`.
    pub(crate) fn wants(&self, key: &str, now: Instant) -> bool {
        self.copies.find(key, now).is_none_or(|found| found.expired_for.is_some())
    }

    /// Keeps a copy for `age_max`.
    pub(crate) fn put(&self, key: &str, headers: &HeaderMap, body: Bytes, age_max: Duration, now: Instant) {
        if body.len() > self.entry_bytes_max {
            return;
        }
        let mut kept = HeaderMap::with_capacity(KEPT.len());
        for name in &KEPT {
            if let Some(value) = headers.get(name) {
                // Its own bytes: the value came as a part of all that was read at once.
                let value = HeaderValue::from_bytes(value.as_bytes()).unwrap_or(HeaderValue::from_static(""));
                kept.insert(name, value);
            }
        }
        let value = Arc::new(Copy { headers: kept, body, stored_at: now });
        let entry = Entry { value, fresh_for: REWRITE_AFTER, keep_for: age_max };
        self.copies.keep(key.into(), entry, now);
    }

    /// The copy, if there is one that is not too old, neither for who kept it nor for who asks.
    pub(crate) fn get(&self, key: &str, age_max: Duration, now: Instant) -> Option<Arc<Copy>> {
        let copy = self.copies.find(key, now)?.value;
        (now.saturating_duration_since(copy.stored_at) < age_max).then_some(copy)
    }

    /// Entries and bytes held.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.copies.size()
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
    const LONG: Duration = Duration::from_secs(9);

    fn body(bytes: usize) -> Bytes {
        Bytes::from(vec![b'x'; bytes])
    }

    #[test]
    fn it_never_holds_more_bytes_than_it_may_and_drops_the_least_used() {
        let store = StaleStore::new(10_000, 4_000).unwrap();
        let put = |key, bytes| store.put(key, &HeaderMap::new(), body(bytes), Duration::from_secs(9), NOW);
        for key in ["a", "b", "c"] {
            put(key, 2_000);
        }
        assert!(store.get("a", LONG, NOW).is_some());
        put("d", 2_000);
        assert!(store.size().1 <= 10_000);
        assert!(store.get("b", LONG, NOW).is_none(), "least recently used");
        assert!(store.get("a", LONG, NOW).is_some());
        put("big", 4_001);
        assert!(store.get("big", LONG, NOW).is_none());
    }

    /// What one copy takes: its key and its body, what this store and what the memory store adds for each.
    fn room_for(key: &str, body_bytes: usize) -> usize {
        key.len() + body_bytes + 1_024 + 128
    }

    fn kept(store: &StaleStore, key: &str, body_bytes: usize) -> bool {
        store.put(key, &HeaderMap::new(), body(body_bytes), Duration::from_secs(9), NOW);
        store.get(key, LONG, NOW).is_some_and(|copy| copy.body.len() == body_bytes)
    }

    #[test]
    fn the_largest_copy_is_as_large_as_an_entry_may_be_and_not_a_byte_larger() {
        for entry_bytes_max in [0, 1, 4_000] {
            let store = StaleStore::new(10_000, entry_bytes_max).unwrap();
            assert!(kept(&store, "fits", entry_bytes_max));
            assert!(!kept(&store, "too large", entry_bytes_max + 1), "{entry_bytes_max}");
            assert_eq!(store.size(), (1, room_for("fits", entry_bytes_max)));
        }
    }

    #[test]
    fn a_copy_that_fills_all_the_room_is_kept_and_one_byte_more_is_not() {
        let room = room_for("key", 4_000);
        let store = StaleStore::new(room, usize::MAX).unwrap();
        assert!(kept(&store, "key", 4_000));
        assert_eq!(store.size(), (1, room));
        assert!(!kept(&store, "key", 4_001));
        assert!(!kept(&store, "key+", 4_000), "the key counts too");
        assert!(kept(&store, "ke", 4_001));
    }

    #[test]
    fn two_copies_that_fill_all_the_room_stay_and_one_byte_more_drives_one_out() {
        let room = room_for("a", 2_000) + room_for("b", 1_000);
        let store = StaleStore::new(room, 4_000).unwrap();
        assert!(kept(&store, "a", 2_000) && kept(&store, "b", 1_000));
        assert_eq!(store.size(), (2, room));
        assert!(kept(&store, "b", 1_001));
        assert!(store.get("a", LONG, NOW).is_none());
        assert_eq!(store.size(), (1, room_for("b", 1_001)));
    }

    #[test]
    fn a_room_of_less_than_a_kibibyte_is_room_for_nothing() {
        for bytes_max in [0, 1, 1_023, 1_024, room_for("a", 0) - 1] {
            let store = StaleStore::new(bytes_max, 4_000).unwrap();
            assert!(!kept(&store, "a", 0), "{bytes_max}");
            assert_eq!(store.size(), (0, 0), "{bytes_max}");
        }
        assert!(kept(&StaleStore::new(room_for("a", 0), 4_000).unwrap(), "a", 0));
    }

    #[test]
    fn a_copy_of_the_same_key_takes_the_room_of_the_one_before() {
        let store = StaleStore::new(room_for("a", 4_000), 4_000).unwrap();
        for body_bytes in [4_000, 1, 3_999, 4_000] {
            assert!(kept(&store, "a", body_bytes));
            assert_eq!(store.size(), (1, room_for("a", body_bytes)));
        }
    }

    #[test]
    fn a_copy_ends_and_is_not_rewritten_all_the_time() {
        let store = StaleStore::new(10_000, 4_000).unwrap();
        assert!(store.wants("a", NOW));
        store.put("a", &HeaderMap::new(), body(1), Duration::from_secs(5), NOW);
        assert!(!store.wants("a", NOW + Duration::from_millis(999)));
        assert!(store.wants("a", NOW + Duration::from_secs(1)));
        let younger =
            |secs| store.get("a", Duration::from_secs(secs), NOW + Duration::from_secs(2)).is_some();
        assert!(younger(3) && !younger(2), "who asks now may want it younger than who kept it");
        assert!(store.get("a", LONG, NOW + Duration::from_millis(4_999)).is_some());
        assert!(store.get("a", LONG, NOW + Duration::from_secs(5)).is_none());
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
