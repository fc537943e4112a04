//! In shadow mode each policy decides as ever, says what it would do, and does nothing.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use leeward_resilience::breaker::State;
use leeward_resilience::cache::{Answered, Memory, Source};
use leeward_resilience::fallback::{Answer, Cause};
use leeward_resilience::hedge::Delay;
use leeward_resilience::rate::{MemoryStore as RateMemory, OnStoreFailure};
use leeward_resilience::retry::RetryLayer;
use leeward_resilience::timeout::{Expired, TimeoutLayer};
use leeward_resilience::{
    Adaptive, AdaptiveLimit, AnswerCache, Breaker, Budget, Cache, Call, CircuitBreaker, Class, Clock,
    Concurrency, ConcurrencyLimit, Deadline, Error, Event, Fallback, FallbackPolicy, FastRng, FaultInjector,
    Faults, Hedge, Hedger, KeyedRateLimiter, ManualClock, MemoryStore, Mode, Priority, RateLimit,
    RateLimiter, Reason, Rejected, Retry, RetryPolicy, SharedRate, SharedRateLimiter, Shed, Shedder,
    SlidingWindow, Throttle, Throttler, Timeout, TimeoutPolicy, TokioClock, rate,
};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::seen::{Polled, Seen};

const MS: Duration = Duration::from_millis(1);
const SHADOW: Mode = Mode::Shadow;

fn rng() -> Arc<FastRng> {
    Arc::new(FastRng::seeded(1))
}

fn would_reject(events: &[Event]) -> Vec<Rejected> {
    let rejected = |event: &Event| match event {
        Event::WouldReject(rejected) => Some(*rejected),
        _ => None,
    };
    events.iter().filter_map(rejected).collect()
}

#[test]
fn a_breaker_opens_and_recovers_by_the_calls_that_it_would_have_let_pass() {
    let (clock, seen) = (ManualClock::new(), Seen::new());
    let config = Breaker { mode: SHADOW, ..Breaker::default() };
    let breaker =
        CircuitBreaker::with("upstream", config.clone(), Arc::new(clock.clone()), rng(), seen.observer());
    let breaker = breaker.unwrap();
    let call = || breaker.acquire(clock.now()).unwrap();
    (0..5).for_each(|_| call().failure(clock.now()));
    assert_eq!(seen.names(), ["breaker.changed"]);
    // What passes an open breaker says nothing about the break.
    call().failure_until(clock.now(), Some(Duration::from_secs(50)));
    drop(call());
    let rejected = would_reject(&seen.take());
    assert!(rejected.len() == 2 && matches!(rejected[0].reason, Reason::Open(_)), "{rejected:?}");
    assert_eq!((breaker.state(clock.now()), breaker.retry_after(clock.now())), (State::Open, None));
    clock.advance(rejected[0].retry_after.unwrap());
    let probe = call();
    call().success(clock.now());
    assert!(matches!(would_reject(&seen.take())[..], [Rejected { reason: Reason::Probing { .. }, .. }]));
    probe.success(clock.now());
    (0..3).for_each(|_| call().success(clock.now()));
    assert_eq!(breaker.state(clock.now()), State::HalfOpen, "the one beyond the ramp was no probe");
    call().success(clock.now());
    assert_eq!((breaker.state(clock.now()), seen.names()), (State::Closed, vec!["breaker.changed"]));
    // Enforced again, it refuses by what it saw in shadow mode.
    (0..5).for_each(|_| call().failure(clock.now()));
    breaker.reconfigure(Breaker { mode: Mode::Enforced, ..config }).unwrap();
    let rejected = breaker.acquire(clock.now()).unwrap_err();
    assert_eq!(rejected.version, 2);
    let wait = rejected.retry_after.unwrap();
    assert!(wait < Duration::from_secs(20), "{wait:?}, not the 50 s that nobody should have been told");
    assert_eq!(
        seen.take()[1..],
        [Event::Reconfigured { policy: "breaker", version: 2 }, Event::Rejected(rejected)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_counts_and_lets_all_pass_at_once() {
    let seen = Seen::new();
    let limit = NonZeroU32::new(2).unwrap();
    let config = Concurrency { limit, queue: 1, mode: SHADOW, ..Concurrency::default() };
    let limit = ConcurrencyLimit::with("upstream", config.clone(), seen.observer()).unwrap();
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(limit.acquire().await.unwrap());
    }
    assert_eq!((limit.in_flight(), limit.waiting()), (5, 0));
    let reasons: Vec<_> = would_reject(&seen.take()).iter().map(|rejected| rejected.reason).collect();
    assert_eq!(reasons, [Reason::QueueFull { limit: 2, queue: 1 }; 2]);
    // Who passed in shadow mode counts when it is enforced.
    limit.reconfigure(Concurrency { mode: Mode::Enforced, ..config.clone() }).unwrap();
    held.truncate(2);
    assert!(limit.try_acquire().is_none());
    held.pop();
    assert!(limit.try_acquire().is_some());
    // Who waits when the mode changes passes.
    held.push(limit.try_acquire().unwrap());
    let mut waiting = Polled::new(limit.acquire());
    assert!(waiting.poll().is_none());
    limit.reconfigure(Concurrency { mode: SHADOW, ..config }).unwrap();
    assert!(waiting.poll().unwrap().is_ok());
}

#[test]
fn a_throttler_counts_what_it_would_have_rejected_as_it_would_have() {
    let (clock, seen) = (ManualClock::new(), Seen::new());
    let make = |mode, seen: &Arc<Seen>| {
        let config = Throttle { mode, rejection_max: 1.0, ..Throttle::default() };
        Throttler::with("upstream", config, Arc::new(clock.clone()), rng(), seen.observer()).unwrap()
    };
    let (shadow, enforced) = (make(SHADOW, &seen), make(Mode::Enforced, &Seen::new()));
    // The same draws and the same upstream, which refuses all.
    for _ in 0..500 {
        let passed = shadow.acquire(Priority::Normal, clock.now()).unwrap();
        passed.record(Class::RETRYABLE, clock.now());
        if let Ok(permit) = enforced.acquire(Priority::Normal, clock.now()) {
            permit.record(Class::RETRYABLE, clock.now());
        }
        let probability = |it: &Throttler| it.probability(Priority::Normal, clock.now());
        assert!((probability(&shadow) - probability(&enforced)).abs() < 1e-12);
    }
    assert!(would_reject(&seen.take()).len() > 300);
}

#[test]
fn an_adaptive_limit_neither_counts_nor_learns_from_what_it_would_have_rejected() {
    let (clock, seen) = (ManualClock::new(), Seen::new());
    let config = Adaptive { mode: SHADOW, ..Adaptive::default() };
    let limit = AdaptiveLimit::with("upstream", config, Arc::new(clock.clone()), seen.observer()).unwrap();
    let within: Vec<_> = (0..20).map(|_| limit.acquire(clock.now()).unwrap()).collect();
    let beyond = limit.acquire(clock.now()).unwrap();
    assert_eq!((limit.in_flight(), limit.limit()), (20, 20));
    let reason = would_reject(&seen.take())[0].reason;
    assert_eq!(reason, Reason::AdaptiveLimit { limit: 20, in_flight: 20 });
    beyond.overload(clock.now());
    assert_eq!((limit.in_flight(), limit.limit()), (20, 20));
    drop(within);
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn rate_limits_let_pass_what_they_would_reject() {
    let one = NonZeroU32::MIN;
    let rules: [rate::Rule; 2] = [RateLimit::per_second(one).into(), SlidingWindow::per_second(one).into()];
    for rule in rules {
        let (seen, clock) = (Seen::new(), Arc::new(TokioClock));
        let shadow = rule.with_mode(SHADOW);
        let limiter = RateLimiter::with("upstream", &shadow, clock.clone(), seen.observer()).unwrap();
        let keyed = KeyedRateLimiter::<String>::with("upstream", &shadow, 10, clock.clone(), seen.observer())
            .unwrap();
        let store = RateMemory::new(&rule, 10).unwrap();
        let config = SharedRate { mode: SHADOW, ..SharedRate::default() };
        let shared = SharedRateLimiter::with("upstream", store, config, clock, seen.observer()).unwrap();
        for count in 0..3 {
            let now = TokioClock.now();
            let decision = limiter.check(now);
            assert!(decision.allowed && decision.rejected().is_none() && decision.retry_after.is_none());
            assert!(keyed.check("key", now).allowed);
            assert!(shared.check("key").await.allowed());
            let told = would_reject(&seen.take());
            assert_eq!(told.len(), if count == 0 { 0 } else { 3 });
            // It names the wait that would have been due, so that what passed costs nothing more.
            assert!(told.iter().all(|rejected| rejected.retry_after.is_some_and(|after| after <= 1100 * MS)));
        }
        limiter.reconfigure(&rule).unwrap();
        assert!(!limiter.check(TokioClock.now()).allowed);
        assert_eq!(seen.names(), ["reconfigured", "rejected"]);
    }
}

/// A store without answers.
#[derive(Debug)]
struct Dead;

impl rate::RateStore for Dead {
    type Error = std::fmt::Error;

    async fn take(
        &self,
        _: &str,
        _: leeward_resilience::Instant,
    ) -> Result<leeward_resilience::Decision, Self::Error> {
        Err(std::fmt::Error)
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_rate_limit_that_fails_closed_is_open_in_shadow_mode() {
    let seen = Seen::new();
    let config = SharedRate { on_failure: OnStoreFailure::Closed, mode: SHADOW, ..SharedRate::default() };
    let limiter =
        SharedRateLimiter::with("upstream", Dead, config, Arc::new(TokioClock), seen.observer()).unwrap();
    assert!(limiter.check("key").await.allowed());
    assert_eq!(seen.names(), ["rate_store_unavailable", "would_reject"]);
    limiter.reconfigure(SharedRate { mode: Mode::Enforced, ..config }).unwrap();
    let verdict = limiter.check("key").await;
    assert_eq!((verdict.allowed(), verdict.rejected().unwrap().version), (false, 2));
}

#[tokio::test(start_paused = true)]
async fn a_shedder_sheds_nobody_and_its_queue_is_real() {
    let seen = Seen::new();
    let max_wait = Duration::from_secs(5);
    let concurrency = Concurrency { limit: NonZeroU32::MIN, max_wait, ..Concurrency::default() };
    let config = Shed { concurrency, mode: SHADOW, ..Shed::default() };
    let shedder =
        Shedder::with("upstream", config.clone(), Arc::new(TokioClock), rng(), seen.observer()).unwrap();
    let held = shedder.acquire(Priority::High).await.unwrap();
    let mut waiting = Polled::new(shedder.acquire(Priority::High));
    assert!(waiting.poll().is_none());
    // A queue that stands for six intervals raises the level to the end of the lowest class.
    tokio::time::advance(650 * MS).await;
    assert!(shedder.shedding(Priority::Low, TokioClock.now()) > 0.9);
    seen.take();
    let mut low = Polled::new(shedder.acquire(Priority::Low));
    assert!(low.poll().is_none(), "it waits as the other does");
    assert!(matches!(would_reject(&seen.take())[..], [Rejected { reason: Reason::Shed { .. }, .. }]));
    drop(held);
    assert!(waiting.poll().unwrap().is_ok() && low.poll().unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_would_follow_draws_on_the_budget_and_does_not() {
    let seen = Seen::new();
    let config = Retry { mode: SHADOW, ..Retry::default() };
    let policy =
        RetryPolicy::with("upstream", config.clone(), None, Arc::new(TokioClock), rng(), seen.observer());
    let policy = policy.unwrap();
    let sent = Arc::new(AtomicU32::new(0));
    let call = async || {
        let count = Arc::clone(&sent);
        let failing = service_fn(move |()| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Err::<(), _>(std::fmt::Error) }
        });
        let classify = |_: &Result<(), std::fmt::Error>| Class::RETRYABLE;
        let layer = RetryLayer::of(policy.clone(), classify, |_: &()| Some(()));
        assert_eq!(layer.layer(failing).oneshot(()).await, Err(Error::Inner(std::fmt::Error)));
        sent.swap(0, Ordering::Relaxed)
    };
    for _ in 0..12 {
        assert_eq!(call().await, 1);
    }
    let expected = [["would_retry"; 10].as_slice(), &["retry_budget_exhausted"; 2]].concat();
    assert_eq!(seen.names(), expected, "the floor of the budget");
    // The ten that were not sent are spent all the same.
    let budget = Budget { floor: 12, ..Budget::default() };
    policy.reconfigure(Retry { budget, mode: Mode::Enforced, ..config }).unwrap();
    assert_eq!(call().await, 3);
    assert_eq!(seen.names(), ["reconfigured", "retrying", "retrying"]);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_is_due_is_told_and_not_sent() {
    let seen = Seen::new();
    let config = Hedge { delay: Delay::Fixed(50 * MS), max_hedges: 2, mode: SHADOW, ..Hedge::default() };
    let hedger =
        Hedger::with("upstream", config.clone(), None, Arc::new(TokioClock), seen.observer()).unwrap();
    let sent = Cell::new(0);
    let call = async || {
        let send = |_| {
            sent.set(sent.get() + 1);
            async {
                tokio::time::sleep(120 * MS).await;
                Ok::<_, ()>(())
            }
        };
        hedger.call(Call::REPLAYABLE, send, |_| Class::Success).await.unwrap();
        sent.replace(0)
    };
    assert_eq!(call().await, 1);
    let would = |attempt| Event::WouldHedge { attempt, delay: 50 * MS };
    assert_eq!((seen.take(), hedger.counts().sent), (vec![would(1), would(2)], 0));
    hedger.reconfigure(Hedge { mode: Mode::Enforced, ..config }).unwrap();
    assert_eq!(call().await, 3);
    assert_eq!(seen.names(), ["reconfigured", "hedged", "hedged"]);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_is_not_asked() {
    let seen = Seen::new();
    let config = Fallback { mode: SHADOW, ..Fallback::default() };
    let fallback = FallbackPolicy::new("upstream", config.clone(), seen.observer()).unwrap();
    let call = async || {
        let call = async { Err::<u32, _>(Error::Inner("503")) };
        fallback.or_value(call, |_| Class::RETRYABLE, |_| 7).await
    };
    assert_eq!(call().await, Err(Error::Inner("503")));
    assert_eq!(seen.take(), [Event::WouldFallBack { cause: Cause::Retryable }]);
    fallback.reconfigure(Fallback { mode: Mode::Enforced, ..config }).unwrap();
    assert_eq!(call().await, Ok(Answer::Substitute { value: 7, cause: Cause::Retryable }));
}

#[tokio::test(start_paused = true)]
async fn a_cache_answers_nobody_and_says_what_it_would_have_answered() {
    let seen = Seen::new();
    let config = Cache { mode: SHADOW, ttl_jitter: 0.0, negative_ttl: Some(MS * 1000), ..Cache::default() };
    let store = MemoryStore::new(Memory::default(), |_: &u8, _: &u32| 1).unwrap();
    let cache =
        AnswerCache::with("upstream", config.clone(), store, Arc::new(TokioClock), rng(), seen.observer())
            .unwrap();
    let loads = Cell::new(0);
    let get = async |key, answer: Result<u32, Error<&'static str>>, class: Class| {
        let load = || {
            loads.set(loads.get() + 1);
            async {
                tokio::time::sleep(MS).await;
                answer
            }
        };
        cache.get(&key, load, |_| class).await
    };
    let would = |from| Event::WouldAnswer { from };
    assert_eq!(get(1, Ok(10), Class::Success).await.unwrap().source, Source::Loaded);
    assert_eq!(get(1, Ok(11), Class::Success).await.unwrap().value, 11, "not the 10 that is kept");
    assert_eq!(seen.take(), [would(Answered::Hit)]);
    let both = tokio::join!(get(2, Ok(20), Class::Success), get(2, Ok(21), Class::Success));
    assert_eq!((both.0.unwrap().value, both.1.unwrap().value), (20, 21));
    assert_eq!(seen.take(), [would(Answered::Coalesced)]);
    tokio::time::advance(Duration::from_secs(60)).await;
    let failed = get(1, Err(Error::Inner("503")), Class::RETRYABLE).await;
    assert_eq!((failed, seen.take()), (Err(Error::Inner("503")), vec![would(Answered::Stale)]));
    get(3, Err(Error::Inner("gone")), Class::PERMANENT).await.unwrap_err();
    assert_eq!(get(3, Ok(3), Class::Success).await.unwrap().value, 3);
    assert_eq!((seen.take(), loads.get()), (vec![would(Answered::Negative)], 7));
    // Enforced, it answers from what it kept meanwhile.
    get(1, Ok(12), Class::Success).await.unwrap();
    cache.reconfigure(Cache { mode: Mode::Enforced, ..config }).unwrap();
    assert_eq!(get(1, Ok(13), Class::Success).await.unwrap().value, 12);
    assert_eq!(seen.names(), ["reconfigured", "cache.answered"]);
    assert_eq!(cache.counts().hits, 1);
}

#[tokio::test(start_paused = true)]
async fn an_experiment_touches_no_call_and_uses_itself_up() {
    let seen = Seen::new();
    let injector = FaultInjector::with("upstream", Arc::new(TokioClock), rng(), seen.observer());
    let faults =
        Faults { latency_share: 1.0, refused_share: 1.0, faults_max: 3, mode: SHADOW, ..Faults::default() };
    injector.set(faults).unwrap();
    let start = TokioClock.now();
    for _ in 0..5 {
        assert_eq!(injector.call(async || Ok::<_, &str>(7), |_| Err("fault")).await, Ok(7));
    }
    assert_eq!((TokioClock.now(), injector.counts()), (start, Default::default()));
    assert_eq!(seen.names(), ["reconfigured", "would_fault", "would_fault", "would_fault"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_timeout_says_when_it_would_have_cut_and_the_deadline_still_does() {
    let seen = Seen::new();
    let config = Timeout { after: 100 * MS, mode: SHADOW };
    let timeout = TimeoutPolicy::with("upstream", config, seen.observer()).unwrap();
    let bound = async |takes: Duration| {
        let now = TokioClock.now();
        timeout.bound(tokio::time::sleep(takes), now, Deadline::after(now, 500 * MS)).await
    };
    assert_eq!((bound(99 * MS).await, seen.names()), (Ok(()), vec![]));
    assert_eq!((bound(300 * MS).await, seen.names()), (Ok(()), vec!["would_time_out"]));
    let start = TokioClock.now();
    assert_eq!(bound(9000 * MS).await, Err(Expired::Deadline));
    assert_eq!(TokioClock.now(), start + 500 * MS);
    seen.take();
    let mut service = TimeoutLayer::of(timeout.clone()).layer(service_fn(|takes| async move {
        tokio::time::sleep(takes).await;
        Ok::<_, ()>(7)
    }));
    assert_eq!(service.call(300 * MS).await, Ok(7));
    assert_eq!(seen.take(), [Event::WouldTimeOut { after: 100 * MS }]);
    timeout.reconfigure(Timeout { after: 50 * MS, mode: Mode::Enforced }).unwrap();
    assert_eq!(service.call(300 * MS).await, Err(Error::Timeout { after: 50 * MS }));
    assert_eq!(bound(300 * MS).await, Err(Expired::Attempt));
    assert_eq!(seen.names(), ["reconfigured", "attempt_timeout", "attempt_timeout"]);
}
