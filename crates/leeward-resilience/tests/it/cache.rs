//! Cache, coalescing and stale-if-error: handle and layer.

use std::future::{Future, pending, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use leeward_resilience::cache::{CacheLayer, Cached, Entry, Found, Memory, Source, Store};
use leeward_resilience::fallback::Cause;
use leeward_resilience::{
    AnswerCache, Cache, Class, Error, FastRng, Instant, MemoryStore, Reason, TokioClock,
};
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt, service_fn};

type Answers = AnswerCache<u8, u32, u16>;
type Result<T> = std::result::Result<T, Error<u16>>;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn memory() -> MemoryStore<u8, u32> {
    MemoryStore::new(Memory::default(), |_, _| 5).unwrap()
}

fn cache(config: Cache) -> Answers {
    AnswerCache::new("upstream", Cache { ttl_jitter: 0.0, ..config }, memory()).unwrap()
}

/// By HTTP status of the error; 400 is the caller's mistake.
fn classify(result: &std::result::Result<u32, u16>) -> Class {
    match result {
        Ok(_) => Class::Success,
        Err(400) => Class::Ignored,
        Err(status) => Class::of_http_status(*status, None),
    }
}

async fn get(cache: &Answers, result: Result<u32>) -> Result<Cached<u32>> {
    cache.get(&1, || ready(result), classify).await
}

fn fresh(value: u32, source: Source) -> Result<Cached<u32>> {
    Ok(Cached { value, source })
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_its_ttl_and_an_error_is_not_kept() {
    let cache = cache(Cache { stale_max: Duration::ZERO, ..Cache::default() });
    for status in [400, 404, 500, 503] {
        assert_eq!(get(&cache, Err(Error::Inner(status))).await, Err(Error::Inner(status)));
    }
    assert_eq!(get(&cache, Ok(7)).await, fresh(7, Source::Loaded));
    tokio::time::advance(10 * SECOND - MS).await;
    assert_eq!(get(&cache, Ok(8)).await, fresh(7, Source::Hit));
    tokio::time::advance(MS).await;
    assert_eq!(get(&cache, Ok(8)).await, fresh(8, Source::Loaded));
    assert!(cache.invalidate(&1).await);
    assert_eq!(get(&cache, Ok(9)).await, fresh(9, Source::Loaded));
}

#[tokio::test(start_paused = true)]
async fn a_ttl_is_shortened_by_its_jitter_and_never_lengthened() {
    let config = Cache { ttl_jitter: 0.5, stale_max: Duration::ZERO, ..Cache::default() };
    let (clock, rng) = (Arc::new(TokioClock), Arc::new(FastRng::seeded(3)));
    let cache = Answers::with("x", config, memory(), clock, rng, None).unwrap();
    for key in 0..200_u8 {
        cache.get(&key, || ready(Ok(0)), classify).await.unwrap();
    }
    let mut left = Vec::new();
    for pause in [5 * SECOND - MS, 2501 * MS, 2501 * MS] {
        tokio::time::advance(pause).await;
        let mut hits = 0;
        for key in 0..200_u8 {
            let again = cache.get(&key, || ready(Err(Error::Inner(503))), classify).await;
            hits += u32::from(again.is_ok());
        }
        left.push(hits);
    }
    assert_eq!((left[0], left[2]), (200, 0));
    assert!(left[1] > 60 && left[1] < 140, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_stands_in_for_what_passes_and_no_longer_than_it_may() {
    let cache = cache(Cache { stale_max: 60 * SECOND, ..Cache::default() });
    get(&cache, Ok(7)).await.unwrap();
    tokio::time::advance(12 * SECOND).await;
    let stale = |seconds, cause| fresh(7, Source::Stale { expired_for: Duration::from_secs(seconds), cause });
    assert_eq!(get(&cache, Err(Error::Inner(503))).await, stale(2, Cause::Retryable));
    assert_eq!(get(&cache, Err(Error::Timeout { after: SECOND })).await, stale(2, Cause::Timeout));
    assert_eq!(get(&cache, Err(Error::Inner(500))).await, Err(Error::Inner(500)), "a bug is not hidden");
    assert_eq!(get(&cache, Err(Error::Inner(400))).await, Err(Error::Inner(400)));
    tokio::time::advance(57 * SECOND).await;
    assert_eq!(get(&cache, Err(Error::Inner(503))).await, stale(59, Cause::Retryable));
    // The load itself takes so long that the answer is too old when it fails.
    let slow = async {
        tokio::time::sleep(2 * SECOND).await;
        Err(Error::Inner(503))
    };
    assert_eq!(cache.get(&1, || slow, classify).await, Err(Error::Inner(503)));
    assert_eq!(cache.counts().stale, 3);
}

#[tokio::test(start_paused = true)]
async fn negative_caching_remembers_what_does_not_pass() {
    let cache = cache(Cache { negative_ttl: Some(SECOND), ..Cache::default() });
    assert_eq!(get(&cache, Err(Error::Inner(503))).await, Err(Error::Inner(503)));
    assert_eq!(get(&cache, Err(Error::Inner(404))).await, Err(Error::Inner(404)));
    assert_eq!(get(&cache, Ok(7)).await, Err(Error::Inner(404)));
    tokio::time::advance(SECOND).await;
    assert_eq!(get(&cache, Ok(7)).await, fresh(7, Source::Loaded));
    assert_eq!((cache.counts().negative, cache.counts().loads), (1, 3));
}

fn slow(loads: &Arc<AtomicU32>, ms: u64, result: Result<u32>) -> impl Future<Output = Result<u32>> + use<> {
    loads.fetch_add(1, Ordering::SeqCst);
    async move {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        result
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_callers_one_loads_and_all_get_what_it_gets() {
    for result in [Ok(7), Err(Error::Inner(503)), Err(Error::Timeout { after: SECOND })] {
        let (cache, loads) = (cache(Cache::default()), Arc::new(AtomicU32::new(0)));
        let mut calls = JoinSet::new();
        for _ in 0..1000 {
            let (cache, loads, result) = (cache.clone(), Arc::clone(&loads), result.clone());
            calls.spawn(async move { cache.get(&1, || slow(&loads, 50, result), classify).await });
        }
        let answers = calls.join_all().await;
        assert_eq!(loads.load(Ordering::SeqCst), 1);
        assert!(answers.iter().all(|answer| answer.clone().map(|cached| cached.value) == result));
        assert_eq!(cache.counts().coalesced, 999);
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_are_bounded_in_number_and_in_time() {
    let cache = cache(Cache { waiters_max: 3, wait_max: SECOND, ..Cache::default() });
    let mut calls = JoinSet::new();
    for _ in 0..5 {
        let cache = cache.clone();
        calls.spawn(async move { cache.get(&1, pending::<Result<u32>>, classify).await });
        tokio::task::yield_now().await;
    }
    let reason = |answer: Result<Cached<u32>>| match answer {
        Err(Error::Rejected(rejected)) => rejected.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(calls.join_next().await.unwrap().unwrap()), Reason::QueueFull { limit: 1, queue: 3 });
    for _ in 0..3 {
        let answer = calls.join_next().await.unwrap().unwrap();
        assert_eq!(reason(answer), Reason::WaitedTooLong { waited: SECOND });
    }
}

/// Leaders are dropped one after the other, at every point at which they wait; the last one loads for all.
#[tokio::test(start_paused = true)]
async fn a_dropped_leader_hands_over_and_no_waiter_hangs_or_fails() {
    for dropped in 0..8_usize {
        for polls in 1..5_u32 {
            let (cache, loads) = (cache(Cache::default()), Arc::new(AtomicU32::new(0)));
            let mut calls = Vec::new();
            for _ in 0..10 {
                let (cache, loads) = (cache.clone(), Arc::clone(&loads));
                calls.push(tokio::spawn(async move {
                    let load = || async move {
                        loads.fetch_add(1, Ordering::SeqCst);
                        for _ in 0..4 {
                            tokio::task::yield_now().await;
                        }
                        Ok(7)
                    };
                    cache.get(&1, load, classify).await
                }));
            }
            for call in &calls[..dropped] {
                for _ in 0..polls {
                    tokio::task::yield_now().await;
                }
                call.abort();
            }
            for call in calls.drain(..).skip(dropped) {
                let answer = tokio::time::timeout(SECOND, call).await.expect("no waiter hangs").unwrap();
                assert_eq!(answer.unwrap().value, 7);
            }
            assert!(loads.load(Ordering::SeqCst) <= u32::try_from(dropped).unwrap() + 1);
            assert_eq!(get(&cache, Ok(8)).await, fresh(7, Source::Hit));
        }
    }
}

fn is_ready<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_was_woken_to_lead_and_is_dropped_passes_it_on() {
    let cache = cache(Cache::default());
    let mut leader = Box::pin(cache.get(&1, pending::<Result<u32>>, classify));
    assert!(!is_ready(leader.as_mut()));
    let mut first = Box::pin(cache.get(&1, pending::<Result<u32>>, classify));
    let mut second = pin!(cache.get(&1, || ready(Ok(7)), classify));
    assert!(!is_ready(first.as_mut()) && !is_ready(second.as_mut()));
    drop(leader);
    drop(first);
    let answer = tokio::time::timeout(SECOND, second).await.expect("the seat is passed on");
    assert_eq!(answer, fresh(7, Source::Loaded));
}

#[tokio::test(start_paused = true)]
async fn what_is_the_leader_s_own_affair_is_nobody_else_s() {
    let own = [Error::Inner(400), Error::DeadlineExceeded { attempts: 1, last: None }];
    for error in own {
        let (cache, loads) = (cache(Cache::default()), Arc::new(AtomicU32::new(0)));
        let mut calls = Vec::new();
        for result in [Err(error.clone()), Ok(7), Ok(8)] {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            let call = async move { cache.get(&1, || slow(&loads, 50, result), classify).await };
            calls.push(tokio::spawn(call));
            tokio::task::yield_now().await;
        }
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.unwrap());
        }
        assert_eq!(answers, [Err(error), fresh(7, Source::Loaded), fresh(7, Source::Coalesced)]);
        assert_eq!(loads.load(Ordering::SeqCst), 2);
    }
}

/// A store that fails or hangs.
#[derive(Debug)]
struct Broken {
    hangs: bool,
}

impl Broken {
    async fn answer<T>(&self) -> std::result::Result<T, &'static str> {
        if self.hangs {
            pending::<()>().await;
        }
        Err("broken")
    }
}

impl Store<u8, u32> for Broken {
    type Error = &'static str;

    async fn get(&self, _: &u8, _: Instant) -> std::result::Result<Option<Found<u32>>, &'static str> {
        self.answer().await
    }

    async fn put(&self, _: &u8, _: Entry<u32>, _: Instant) -> std::result::Result<(), &'static str> {
        self.answer().await
    }

    async fn remove(&self, _: &u8) -> std::result::Result<(), &'static str> {
        self.answer().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_store_costs_little_time_and_no_answer() {
    for (hangs, took_ms) in [(false, 0), (true, 150)] {
        let cache = AnswerCache::new("x", Cache::default(), Broken { hangs }).unwrap();
        let start = tokio::time::Instant::now();
        let answer = cache.get(&1, || ready(Ok::<_, Error<u16>>(7)), classify).await;
        assert_eq!(answer, fresh(7, Source::Loaded));
        assert_eq!(start.elapsed(), Duration::from_millis(took_ms));
        assert!(!cache.invalidate(&1).await);
        assert_eq!(cache.counts().store_failures, 4);
    }
}

/// A store whose first answer is on its way for a while.
#[derive(Debug)]
struct Far {
    memory: MemoryStore<u8, u32>,
    asked: AtomicU32,
}

impl Store<u8, u32> for Far {
    type Error = std::convert::Infallible;

    async fn get(&self, key: &u8, now: Instant) -> std::result::Result<Option<Found<u32>>, Self::Error> {
        let found = self.memory.get(key, now).await;
        if self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
            tokio::time::sleep(10 * MS).await;
        }
        found
    }

    async fn put(&self, key: &u8, entry: Entry<u32>, now: Instant) -> std::result::Result<(), Self::Error> {
        self.memory.put(key, entry, now).await
    }

    async fn remove(&self, key: &u8) -> std::result::Result<(), Self::Error> {
        self.memory.remove(key).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_ended_meanwhile_is_not_repeated() {
    let store = Far { memory: memory(), asked: AtomicU32::new(0) };
    let cache = AnswerCache::new("x", Cache::default(), store).unwrap();
    let first = cache.get(&1, || ready(Ok::<_, Error<u16>>(7)), classify);
    let second = cache.get(&1, || ready(Ok::<_, Error<u16>>(8)), classify);
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first, second), (fresh(8, Source::Hit), fresh(8, Source::Loaded)));
    assert_eq!(cache.counts().loads, 1);
}

/// Beside what it weighs, an entry takes 128 bytes.
#[test]
fn the_memory_store_is_bounded_to_the_byte() {
    let bounds = Memory { bytes_max: 2048, ..Memory::default() };
    let store = MemoryStore::<u8, usize>::new(bounds, |_, bytes| *bytes).unwrap();
    let found = |key| store.find(&key, Instant::ZERO).is_some();
    let kept = |key, bytes| {
        store.keep(key, Entry { value: bytes, fresh_for: SECOND, keep_for: SECOND }, Instant::ZERO);
        found(key)
    };
    assert!(kept(1, 1920));
    assert_eq!(store.size(), (1, 2048), "all the room");
    assert!(!kept(2, 1921), "one byte more than all the room");
    assert_eq!(store.size(), (1, 2048), "and nobody had to go for it");
    assert!(!kept(1, usize::MAX), "nor does the sum run over");
    assert_eq!(store.size(), (0, 0), "but what it was to replace is gone");
    assert!(kept(1, 896) && kept(2, 896));
    assert_eq!(store.size(), (2, 2048));
    assert!(found(1));
    assert!(kept(3, 0));
    assert!(found(1) && !found(2), "the one used longest ago");
    assert!(kept(1, 1792));
    assert_eq!(store.size(), (2, 2048), "one that grows to all that is left");
    assert!(kept(1, 1793));
    assert_eq!(store.size(), (1, 1921), "and by a byte more");
}

#[tokio::test(start_paused = true)]
async fn the_layer_shares_one_cache_and_passes_by_without_a_key() {
    let (cache, calls) = (cache(Cache::default()), Arc::new(AtomicU32::new(0)));
    let layer = CacheLayer::new(cache, classify, |request: &Option<u8>| *request);
    let service = || {
        let calls = Arc::clone(&calls);
        layer.layer(service_fn(move |_: Option<u8>| ready(Ok(calls.fetch_add(1, Ordering::SeqCst)))))
    };
    assert_eq!(service().oneshot(Some(1)).await, fresh(0, Source::Loaded));
    assert_eq!(service().oneshot(Some(1)).await, fresh(0, Source::Hit));
    assert_eq!(service().oneshot(None).await, fresh(1, Source::Loaded));
    assert_eq!(service().oneshot(None).await, fresh(2, Source::Loaded));
}

#[test]
fn every_mistake_is_reported_at_once() {
    let wrong = Cache { ttl: Duration::ZERO, ttl_jitter: 0.9, wait_max: Duration::ZERO, ..Cache::default() };
    let errors = Answers::new("x", wrong, memory()).unwrap_err();
    let paths = errors.paths();
    assert_eq!(paths, ["cache.ttl", "cache.ttl_jitter", "cache.wait_max"]);
    let wrong = Memory { entries_max: 0, bytes_max: 0 };
    assert_eq!(MemoryStore::<u8, u8>::new(wrong, |_, _| 1).unwrap_err().mistakes.len(), 2);
}
