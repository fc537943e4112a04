//! Tokens that were revoked before their end: an exact set with expiry, shared by all cores.
//!
//! A token counts as revoked when its own id is in the set, or when it was issued before its user's tokens were all
//! revoked. Entries leave when the last token they mean has ended by itself, so the set holds about one token life of
//! logouts.
//!
//! The set is a view of what was said on the bus, as of the last moment at which everything that was on it then was known to be
//! here and on disk. How long ago that is says how long a revocation may go unheard; beyond a bound tokens are refused.

pub(crate) mod feed;
mod store;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use leeward_resilience::Instant;
use parking_lot::{Mutex, RwLock};

/// Shards, so that a logout stops few readers.
const SHARDS: usize = 16;
/// Most revocations held: at about 150 bytes each. Beyond it, those that end soonest go first, which is counted.
const ENTRIES_MAX: usize = 1_000_000;

/// A logout takes this long to count here; above it something between the users' service and the gateway is slow.
pub(crate) const DELAY_MAX_MS: i64 = 5_000;
/// How long a slow revocation shows: whoever looks once a minute sees it, and a quiet night without a logout after it does
/// not keep it for ever.
const SLOW_SHOWS_FOR: Duration = Duration::from_secs(120);

/// What is revoked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Target {
    /// The token with this id.
    Token(Arc<str>),
    /// All tokens of this user that were issued before the revocation.
    User(Arc<str>),
}

/// One revocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Revoked {
    pub(crate) target: Target,
    pub(crate) revoked_at_ms: i64,
    pub(crate) expires_at_ms: i64,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    revoked_at_ms: i64,
    expires_at_ms: i64,
}

/// The set.
#[derive(Debug)]
pub(crate) struct Revocations {
    hasher: RandomState,
    tokens: Vec<RwLock<HashMap<Arc<str>, Times>>>,
    users: Vec<RwLock<HashMap<Arc<str>, Times>>>,
    count: AtomicUsize,
    dropped: AtomicUsize,
    delay: Mutex<Option<Delay>>,
    /// As of when the set is whole, in nanoseconds of the clock; 0: it never was.
    whole_at: AtomicU64,
}

/// How long the last revocation took from the logout to here, and when it came.
#[derive(Clone, Copy, Debug)]
struct Delay {
    ms: i64,
    noted_at: Instant,
}

impl Revocations {
    pub(crate) fn new() -> Self {
        let shards = || (0..SHARDS).map(|_| RwLock::default()).collect();
        Self {
            hasher: RandomState::new(),
            tokens: shards(),
            users: shards(),
            count: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            delay: Mutex::new(None),
            whole_at: AtomicU64::new(0),
        }
    }

    fn shard<'a, T>(&self, shards: &'a [T], key: &str) -> &'a T {
        &shards[usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0)]
    }

    pub(crate) fn add(&self, revoked: &Revoked, now_ms: i64) {
        if revoked.expires_at_ms <= now_ms {
            return;
        }
        let (shards, key) = match &revoked.target {
            Target::Token(id) => (&self.tokens, id),
            Target::User(id) => (&self.users, id),
        };
        let mut shard = self.shard(shards, key).write();
        let times = Times { revoked_at_ms: revoked.revoked_at_ms, expires_at_ms: revoked.expires_at_ms };
        let known = shard.entry(Arc::clone(key)).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            times
        });
        // Events come at least once and in any order: the later revocation stands.
        known.revoked_at_ms = known.revoked_at_ms.max(times.revoked_at_ms);
        known.expires_at_ms = known.expires_at_ms.max(times.expires_at_ms);
        if self.count.load(Ordering::Relaxed) > ENTRIES_MAX
            && let Some(soonest) =
                shard.iter().min_by_key(|(_, times)| times.expires_at_ms).map(|(id, _)| Arc::clone(id))
        {
            shard.remove(&soonest);
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a token is revoked.
    pub(crate) fn contains(&self, token_id: Option<&str>, user: &str, issued_at_ms: i64) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let by_id = token_id.is_some_and(|id| self.shard(&self.tokens, id).read().contains_key(id));
        by_id
            || self
                .shard(&self.users, user)
                .read()
                .get(user)
                .is_some_and(|times| issued_at_ms < times.revoked_at_ms)
    }

    /// Drops what no token needs any more.
    pub(crate) fn purge(&self, now_ms: i64) {
        for shard in self.tokens.iter().chain(&self.users) {
            let mut shard = shard.write();
            let before = shard.len();
            shard.retain(|_, times| now_ms < times.expires_at_ms);
            self.count.fetch_sub(before - shard.len(), Ordering::Relaxed);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Notes that all that was revoked at `at` is here, and on disk.
    pub(crate) fn is_whole_as_of(&self, at: Instant) {
        self.whole_at.fetch_max(at.as_nanos(), Ordering::Relaxed);
    }

    /// How long ago the set was whole; `None`: it never was.
    pub(crate) fn age(&self, now: Instant) -> Option<Duration> {
        let whole_at = self.whole_at.load(Ordering::Relaxed);
        (whole_at > 0).then(|| now.saturating_duration_since(Instant::from_nanos(whole_at)))
    }

    /// Whether a revocation may have gone unheard for longer than `most`.
    pub(crate) fn is_stale(&self, now: Instant, most: Duration) -> bool {
        self.age(now).is_none_or(|age| age > most)
    }

    /// All that is revoked.
    pub(crate) fn all(&self) -> Vec<Revoked> {
        let revoked = |target: Target, times: &Times| Revoked {
            target,
            revoked_at_ms: times.revoked_at_ms,
            expires_at_ms: times.expires_at_ms,
        };
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.tokens {
            all.extend(shard.read().iter().map(|(id, times)| revoked(Target::Token(Arc::clone(id)), times)));
        }
        for shard in &self.users {
            all.extend(shard.read().iter().map(|(id, times)| revoked(Target::User(Arc::clone(id)), times)));
        }
        all
    }

    pub(crate) fn note_delay(&self, delay_ms: i64, now: Instant) {
        *self.delay.lock() = Some(Delay { ms: delay_ms.max(0), noted_at: now });
    }

    /// How long the last revocation took to get here; `None` before the first one.
    pub(crate) fn delay_ms(&self) -> Option<i64> {
        self.delay.lock().map(|delay| delay.ms)
    }

    /// Whether a revocation was slow lately.
    pub(crate) fn is_slow(&self, now: Instant) -> bool {
        self.delay.lock().is_some_and(|delay| {
            delay.ms > DELAY_MAX_MS && now.saturating_duration_since(delay.noted_at) < SLOW_SHOWS_FOR
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str, expires_at_ms: i64) -> Revoked {
        Revoked { target: Target::Token(id.into()), revoked_at_ms: 100, expires_at_ms }
    }

    #[test]
    fn exactly_the_revoked_token_is_revoked() {
        let set = Revocations::new();
        assert!(!set.contains(Some("a"), "u", 0));
        set.add(&token("a", 1_000), 100);
        assert!(set.contains(Some("a"), "u", 0));
        for n in 0..10_000 {
            assert!(!set.contains(Some(&format!("t{n}")), "u", 0));
        }
        assert!(!set.contains(None, "a", 0), "a user is not a token");
    }

    #[test]
    fn all_tokens_of_a_user_means_those_issued_before() {
        let set = Revocations::new();
        let all = Revoked { target: Target::User("u".into()), revoked_at_ms: 500, expires_at_ms: 1_000 };
        set.add(&all, 100);
        assert!(set.contains(Some("t"), "u", 499));
        assert!(set.contains(None, "u", 0));
        assert!(!set.contains(Some("t"), "u", 500));
        assert!(!set.contains(Some("t"), "other", 0));
        // An older one that arrives late changes nothing.
        set.add(&Revoked { revoked_at_ms: 200, expires_at_ms: 900, ..all }, 100);
        assert!(set.contains(None, "u", 499));
    }

    #[test]
    fn it_is_as_old_as_the_last_moment_at_which_it_was_whole() {
        let (set, second) = (Revocations::new(), Duration::from_secs(1));
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        assert!(set.age(at(5)).is_none() && set.is_stale(at(5), 1_000 * second), "it never was");
        set.is_whole_as_of(at(10));
        assert!(!set.is_stale(at(12), 2 * second) && set.is_stale(at(13), 2 * second));
        set.is_whole_as_of(at(8));
        assert_eq!(set.age(at(12)), Some(2 * second), "an older word changes nothing");
    }

    #[test]
    fn all_is_what_was_added() {
        let set = Revocations::new();
        let user = Revoked { target: Target::User("u".into()), revoked_at_ms: 5, expires_at_ms: 900 };
        let (one, two) = (token("a", 1_000), token("b", 2_000));
        for revoked in [&one, &two, &user] {
            set.add(revoked, 0);
        }
        let all = set.all();
        assert!(all.len() == 3 && [one, two, user].iter().all(|revoked| all.contains(revoked)), "{all:?}");
    }

    #[test]
    fn entries_leave_when_the_token_has_ended_by_itself() {
        let set = Revocations::new();
        set.add(&token("a", 1_000), 100);
        set.add(&token("b", 2_000), 100);
        set.add(&token("late", 50), 100);
        assert_eq!(set.len(), 2);
        set.purge(1_000);
        assert_eq!(set.len(), 1);
        assert!(set.contains(Some("b"), "u", 0) && !set.contains(Some("a"), "u", 0));
    }
}
