//! The rate limits: one count for all clones, and a store that may fail.

use std::convert::Infallible;
use std::future::Future;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leeward_resilience::rate::{
    MemoryStore, OnStoreFailure, RateLimitLayer, RateStore, Rule, SharedRateLayer, Verdict,
};
use leeward_resilience::{
    Clock, Decision, Error, Event, Instant, ManualClock, Observer, RateLimit, RateLimiter, Reason,
    SharedRate, SharedRateLimiter, SlidingWindow,
};
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const FIVE: NonZeroU32 = NonZeroU32::new(5).unwrap();

fn five_a_second() -> [Rule; 2] {
    [RateLimit::per_second(FIVE).into(), SlidingWindow::per_second(FIVE).into()]
}

#[tokio::test]
async fn a_store_in_memory_takes_another_rule() {
    let store = MemoryStore::new(&RateLimit::per_second(NonZeroU32::MIN), 100).unwrap();
    store.reconfigure(&RateLimit::per_second(FIVE)).unwrap();
    let mut passed = 0;
    for _ in 0..10 {
        passed += u32::from(store.take("somebody", Instant::from_nanos(1)).await.unwrap().allowed);
    }
    assert_eq!((passed, store.keys()), (5, 1));
    assert!(store.reconfigure(&RateLimit { period: Duration::ZERO, ..RateLimit::per_second(FIVE) }).is_err());
}

#[tokio::test(start_paused = true)]
async fn defect_9_fifteen_hundred_calls_over_clones_against_five_a_second() {
    for rule in five_a_second() {
        let layer = RateLimitLayer::new(RateLimiter::new(&rule).unwrap());
        let mut calls = JoinSet::new();
        for _ in 0..1500 {
            let service = layer.clone().layer(service_fn(async |()| Ok::<_, Infallible>(())));
            calls.spawn(service.clone().oneshot(()));
        }
        let answers = calls.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 5, "{rule:?}");
        let reason = Reason::RateExceeded { limit: 5, period: Duration::from_secs(1) };
        let rejected = |answer: &Result<_, _>| matches!(answer, Err(Error::Rejected(rejected)) if rejected.reason == reason);
        assert_eq!(answers.iter().filter(|answer| rejected(answer)).count(), 1495, "{rule:?}");
    }
}

#[test]
fn defect_9_fifteen_hundred_calls_of_four_threads_against_five_a_second() {
    let now = ManualClock::new().now();
    for rule in five_a_second() {
        let limiter = RateLimiter::new(&rule).unwrap();
        let passed: usize = std::thread::scope(|scope| {
            let count = || {
                let limiter = limiter.clone();
                scope.spawn(move || (0..375).filter(|_| limiter.check(now).allowed).count())
            };
            let threads: Vec<_> = (0..4).map(|_| count()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 5, "{rule:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn defect_9_fifteen_hundred_calls_over_clones_of_a_shared_limiter() {
    for rule in five_a_second() {
        let store = MemoryStore::new(&rule, 100).unwrap();
        let limiter = SharedRateLimiter::new("shared", store, SharedRate::default()).unwrap();
        let layer = SharedRateLayer::new(limiter.clone(), |key: &&'static str| (*key).to_owned());
        let mut calls = JoinSet::new();
        for number in 0..3000 {
            let key = if number % 2 == 0 { "ann" } else { "bob" };
            let service = layer.clone().layer(service_fn(async |key: &'static str| Ok::<_, Infallible>(key)));
            calls.spawn(service.clone().oneshot(key));
        }
        let mut passed: Vec<_> = calls.join_all().await.into_iter().filter_map(Result::ok).collect();
        passed.sort_unstable();
        assert_eq!(passed, [["ann"; 5], ["bob"; 5]].concat(), "{rule:?}");
        assert_eq!(limiter.store().keys(), 2);
    }
}

/// A store that does what a test says.
#[derive(Clone, Debug, Default)]
struct Scripted {
    mode: Arc<Mutex<Mode>>,
    asked: Arc<AtomicU32>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Mode {
    #[default]
    Hung,
    Broken,
    Answers,
}

impl RateStore for Scripted {
    type Error = std::io::Error;

    fn take(&self, _: &str, _: Instant) -> impl Future<Output = Result<Decision, std::io::Error>> + Send {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mode = *self.mode.lock().unwrap();
        async move {
            match mode {
                Mode::Hung => std::future::pending().await,
                Mode::Broken => Err(std::io::ErrorKind::ConnectionRefused.into()),
                Mode::Answers => Ok(Decision {
                    allowed: true,
                    limit: 5,
                    period: MS,
                    remaining: 4,
                    reset_after: MS,
                    retry_after: None,
                    version: 1,
                }),
            }
        }
    }
}

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<Event>>);

impl Observer for Seen {
    fn observe(&self, name: &str, event: &Event) {
        assert_eq!(name, "logins");
        self.0.lock().unwrap().push(*event);
    }
}

struct Bench {
    store: Scripted,
    seen: Arc<Seen>,
    clock: ManualClock,
    limiter: SharedRateLimiter<Scripted>,
}

fn bench(mode: Mode, on_failure: OnStoreFailure) -> Bench {
    let (store, seen, clock) = (Scripted::default(), Arc::<Seen>::default(), ManualClock::new());
    *store.mode.lock().unwrap() = mode;
    let config = SharedRate { on_failure, ..SharedRate::default() };
    let parts = (store.clone(), Arc::new(clock.clone()), Some(seen.clone() as Arc<dyn Observer>));
    let limiter = SharedRateLimiter::with("logins", parts.0, config, parts.1, parts.2).unwrap();
    Bench { store, seen, clock, limiter }
}

#[tokio::test(start_paused = true)]
async fn a_late_store_costs_a_call_no_more_than_the_bound() {
    for (on_failure, allowed) in [(OnStoreFailure::Open, true), (OnStoreFailure::Closed, false)] {
        let bench = bench(Mode::Hung, on_failure);
        let start = tokio::time::Instant::now();
        let verdict = bench.limiter.check("ann").await;
        assert_eq!(start.elapsed(), 50 * MS);
        assert_eq!(verdict, Verdict::Unavailable { allowed, retry_after: 1000 * MS, version: 1 });
        let reason = verdict.rejected().map(|rejected| rejected.reason);
        assert_eq!(reason, (!allowed).then_some(Reason::StoreUnavailable));
        bench.limiter.check_within("ann", 3 * MS).await;
        assert_eq!(start.elapsed(), 53 * MS);
        let each = std::iter::once(Event::RateStoreUnavailable { allowed });
        let each: Vec<_> = each.chain(verdict.rejected().map(Event::Rejected)).collect();
        assert_eq!(*bench.seen.0.lock().unwrap(), [each.clone(), each].concat());
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_store_is_left_alone_and_asked_by_one_after_the_pause() {
    for mode in [Mode::Hung, Mode::Broken] {
        let bench = bench(mode, OnStoreFailure::Open);
        for _ in 0..100 {
            assert!(bench.limiter.check("ann").await.allowed());
        }
        assert_eq!(bench.store.asked.load(Ordering::SeqCst), 5);
        bench.clock.advance(1000 * MS);
        for _ in 0..100 {
            assert!(bench.limiter.check("ann").await.allowed());
        }
        assert_eq!(bench.store.asked.load(Ordering::SeqCst), 6);
        bench.clock.advance(1000 * MS);
        *bench.store.mode.lock().unwrap() = Mode::Answers;
        for _ in 0..100 {
            assert!(matches!(bench.limiter.check("ann").await, Verdict::Decided(_)));
        }
        assert_eq!(bench.store.asked.load(Ordering::SeqCst), 106);
    }
}

#[tokio::test(start_paused = true)]
async fn of_those_who_come_together_after_the_pause_one_asks() {
    let bench = bench(Mode::Hung, OnStoreFailure::Open);
    for _ in 0..5 {
        bench.limiter.check("ann").await;
    }
    bench.clock.advance(1000 * MS);
    let mut checks = JoinSet::new();
    for _ in 0..100 {
        let limiter = bench.limiter.clone();
        checks.spawn(async move { limiter.check("ann").await.allowed() });
    }
    assert!(checks.join_all().await.into_iter().all(|allowed| allowed));
    assert_eq!(bench.store.asked.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn callers_without_time_do_not_condemn_the_store() {
    let bench = bench(Mode::Hung, OnStoreFailure::Open);
    for _ in 0..100 {
        bench.limiter.check_within("ann", MS).await;
    }
    // Given up at its only await point, a check leaves nothing behind either.
    for _ in 0..100 {
        assert!(tokio::time::timeout(MS, bench.limiter.check("ann")).await.is_err());
    }
    assert_eq!(bench.store.asked.load(Ordering::SeqCst), 200);
    *bench.store.mode.lock().unwrap() = Mode::Answers;
    assert!(matches!(bench.limiter.check("ann").await, Verdict::Decided(_)));
}

#[test]
fn all_mistakes_of_a_shared_limit_come_together() {
    let config =
        SharedRate { wait_max: Duration::ZERO, failures_max: 0, pause: 61_000 * MS, ..SharedRate::default() };
    let errors = config.validate().unwrap_err();
    let paths = errors.paths();
    assert_eq!(paths, ["rate_limit.wait_max", "rate_limit.failures_max", "rate_limit.pause"]);
    let window = SlidingWindow { period: Duration::ZERO, ..SlidingWindow::per_second(FIVE) };
    assert_eq!(MemoryStore::new(&window, 0).unwrap_err().mistakes.len(), 2);
}
