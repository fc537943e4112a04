//! One call that wants an answer.

use std::cell::Cell;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::flight::{Leader, Seat, Waited};
use super::lru::Item;
use super::{Answered, Cache, Cached, Entry, Found, Loaded, NAME, Shared, Source, Store};
use crate::fallback::Cause;
use crate::live::Versioned;
use crate::observe::Event;
use crate::outcome::{Class, Error, Reason, Rejected};
use crate::time::Instant;

/// The cache and the options that were in force when the call began, which stay the same for it.
pub(super) struct Ask<'a, K, V, E, S> {
    shared: &'a Shared<K, V, E, S>,
    live: Arc<Versioned<Cache>>,
}

/// An answer that is no longer fresh, and since when.
struct Old<V> {
    value: V,
    expired_at: Instant,
}

/// What a caller gets.
type Settled<V, E> = Result<Cached<V>, Error<E>>;

enum Read<V, E> {
    /// A fresh answer.
    Hit(V),
    /// A remembered error.
    Negative(E),
    /// It must be loaded; there may be an old answer.
    Old(Option<Old<V>>),
}

impl<'a, K, V, E, S> Ask<'a, K, V, E, S>
where
    K: Hash + Eq + Clone,
    V: Clone,
    E: Clone,
    S: Store<K, V>,
{
    pub(super) fn new(shared: &'a Shared<K, V, E, S>) -> Self {
        Self { shared, live: shared.live.keep() }
    }

    fn config(&self) -> &Cache {
        &self.live.options
    }

    pub(super) fn is_shadow(&self) -> bool {
        self.config().mode.is_shadow()
    }

    pub(super) async fn get<F, Fut, C>(&self, key: &K, load: F, classify: C) -> Result<Cached<V>, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Loaded<V, E>>,
        C: Fn(&Result<V, E>) -> Class,
    {
        let old = match self.settled(self.read(key).await) {
            Ok(settled) => return settled,
            Err(old) => old,
        };
        let Cache { waiters_max, wait_max, .. } = *self.config();
        let (result, cause) = match self.shared.flights.join(key, waiters_max) {
            Seat::Leader(leader) => return self.lead(leader, key, load, classify).await,
            Seat::Full => self.reject(Reason::QueueFull { limit: 1, queue: waiters_max }),
            Seat::Waiter(waiter) => match tokio::time::timeout(wait_max, waiter.wait()).await {
                Ok(Waited::Leader(leader)) => return self.lead(leader, key, load, classify).await,
                Ok(Waited::Result(result)) => {
                    count(&self.shared.counters.coalesced);
                    Cause::of(result, classify)
                }
                Err(_) => self.reject(Reason::WaitedTooLong { waited: wait_max }),
            },
        };
        self.settle(result, cause, old, Source::Coalesced)
    }

    /// Loads in any case, and tells what [`get`](Self::get) would have done instead.
    pub(super) async fn shadow<F, Fut, C>(&self, key: &K, load: F, classify: C) -> Result<Cached<V>, Error<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Loaded<V, E>>,
        C: Fn(&Result<V, E>) -> Class,
    {
        let tell = |from| self.shared.teller.tell(&Event::WouldAnswer { from });
        let queue = self.config().waiters_max;
        let result = match self.read(key).await {
            Read::Hit(_) => {
                tell(Answered::Hit);
                load().await
            }
            Read::Negative(_) => {
                tell(Answered::Negative);
                load().await
            }
            Read::Old(old) => match self.shared.flights.join(key, queue) {
                Seat::Leader(leader) => {
                    let (result, cause) = self.load(leader, key, load, classify).await;
                    if self.stands_in(cause, old.as_ref()).is_some() {
                        tell(Answered::Stale);
                    }
                    result
                }
                Seat::Waiter(waiter) => {
                    drop(waiter);
                    tell(Answered::Coalesced);
                    load().await
                }
                Seat::Full => {
                    let rejected = self.rejected(Reason::QueueFull { limit: 1, queue });
                    self.shared.teller.tell(&Event::WouldReject(rejected));
                    load().await
                }
            },
        };
        result.map(|value| Cached { value, source: Source::Loaded })
    }

    async fn read(&self, key: &K) -> Read<V, E> {
        let now = self.shared.clock.now();
        if self.config().negative_ttl.is_some()
            && let Some(item) = self.shared.negative.lock().get(key, now)
        {
            return Read::Negative(item.value.clone());
        }
        match self.store(self.shared.store.get(key, now)).await.flatten() {
            None => Read::Old(None),
            Some(Found { value, expired_for: None }) => Read::Hit(value),
            Some(Found { value, expired_for: Some(since) }) => {
                Read::Old(Some(Old { value, expired_at: now.saturating_sub(since) }))
            }
        }
    }

    /// What was read, if it settles the call.
    fn settled(&self, read: Read<V, E>) -> Result<Settled<V, E>, Option<Old<V>>> {
        let counters = &self.shared.counters;
        match read {
            Read::Hit(value) => {
                self.tell(&counters.hits, Answered::Hit);
                Ok(Ok(Cached { value, source: Source::Hit }))
            }
            Read::Negative(error) => {
                self.tell(&counters.negative, Answered::Negative);
                Ok(Err(Error::Inner(error)))
            }
            Read::Old(old) => Err(old),
        }
    }

    fn tell(&self, counter: &AtomicU64, from: Answered) {
        count(counter);
        self.shared.teller.tell(&Event::CacheAnswered { from });
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
        let old = match self.settled(self.read(key).await) {
            Ok(settled) => {
                leader.complete(settled.clone().map(|cached| cached.value));
                return settled;
            }
            Err(old) => old,
        };
        count(&self.shared.counters.loads);
        let (result, cause) = self.load(leader, key, load, classify).await;
        self.settle(result, cause, old, Source::Loaded)
    }

    /// Makes the leader's call, and gives what may be shared to all that wait.
    async fn load<F, Fut, C>(
        &self,
        leader: Leader<'_, K, Loaded<V, E>>,
        key: &K,
        load: F,
        classify: C,
    ) -> (Loaded<V, E>, Option<Cause>)
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Loaded<V, E>>,
        C: Fn(&Result<V, E>) -> Class,
    {
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
        (result, cause)
    }

    /// Remembers what may be remembered.
    async fn keep(&self, key: &K, result: &Loaded<V, E>, class: Option<Class>) {
        let now = self.shared.clock.now();
        let config = self.config();
        match (result, class) {
            (Ok(value), Some(Class::Success)) => {
                let less = config.ttl_jitter * self.shared.rng.unit_f64();
                let fresh_for = config.ttl.mul_f64(1.0 - less);
                let keep_for = fresh_for + config.stale_max;
                let entry = Entry { value: value.clone(), fresh_for, keep_for };
                self.store(self.shared.store.put(key, entry, now)).await;
            }
            (Err(Error::Inner(error)), Some(Class::Success | Class::Failure { retryable: false, .. })) => {
                if let Some(ttl) = config.negative_ttl {
                    let until = now + ttl;
                    let item = Item { value: error.clone(), bytes: 1, fresh_until: until, keep_until: until };
                    self.shared.negative.lock().put(key.clone(), item);
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
        let teller = &self.shared.teller;
        if let (Some((expired_for, cause)), Some(old)) = (self.stands_in(cause, old.as_ref()), old) {
            self.tell(&self.shared.counters.stale, Answered::Stale);
            teller.tell(&Event::FellBack { cause, answered: true });
            return Ok(Cached { value: old.value, source: Source::Stale { expired_for, cause } });
        }
        let loaded = matches!(source, Source::Loaded);
        // Whose call was rejected here got no answer at all.
        if loaded || !matches!(&result, Err(Error::Rejected(rejected)) if rejected.policy == NAME) {
            let from = if loaded { Answered::Loaded } else { Answered::Coalesced };
            teller.tell(&Event::CacheAnswered { from });
        }
        result.map(|value| Cached { value, source })
    }

    /// For how long the old answer has expired, and why it stands in, if it does.
    fn stands_in(&self, cause: Option<Cause>, old: Option<&Old<V>>) -> Option<(Duration, Cause)> {
        let config = self.config();
        let cause = cause.filter(|&cause| config.stale_on.covers(cause))?;
        let expired_for = self.shared.clock.now().saturating_duration_since(old?.expired_at);
        (expired_for <= config.stale_max).then_some((expired_for, cause))
    }

    fn rejected(&self, reason: Reason) -> Rejected {
        let after = Some(Duration::from_secs(1));
        Rejected::new(NAME, reason).with_retry_after(after).with_version(self.live.version)
    }

    fn reject(&self, reason: Reason) -> (Loaded<V, E>, Option<Cause>) {
        let rejected = self.rejected(reason);
        self.shared.teller.tell(&Event::Rejected(rejected));
        (Err(Error::Rejected(rejected)), Some(Cause::Rejected(rejected)))
    }

    /// What the store says, or `None` when it fails or takes too long.
    pub(super) async fn store<T>(&self, question: impl Future<Output = Result<T, S::Error>>) -> Option<T> {
        let answer = tokio::time::timeout(self.config().store_timeout, question).await;
        let answer = answer.ok().and_then(Result::ok);
        if answer.is_none() {
            count(&self.shared.counters.store_failures);
        }
        answer
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
