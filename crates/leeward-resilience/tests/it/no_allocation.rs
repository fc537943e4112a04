//! The limits that adapt, and those that a store keeps, do not allocate on the path of a call either.

use std::future::{Future, Ready, ready};
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use leeward_resilience::adaptive::AdaptiveLayer;
use leeward_resilience::breaker::BreakerLayer;
use leeward_resilience::cache::{self, Memory};
use leeward_resilience::concurrency::ConcurrencyLayer;
use leeward_resilience::fallback::Answer;
use leeward_resilience::rate::{MemoryStore, RateLimitLayer};
use leeward_resilience::shed::ShedLayer;
use leeward_resilience::throttle::ThrottleLayer;
use leeward_resilience::timeout::{DeadlineLayer, TimeoutLayer};
use leeward_resilience::{
    Adaptive, AdaptiveLimit, AnswerCache, Breaker, Cache, Call, CircuitBreaker, Class, Clock, Concurrency,
    ConcurrencyLimit, Error, Fallback, FallbackPolicy, FaultInjector, Hedge, Hedger, Priority, RateLimit,
    RateLimiter, SharedRate, SharedRateLimiter, Shed, Shedder, SlidingWindow, Throttle, Throttler,
    TokioClock,
};
use tower::{Layer, Service};

use crate::allocations::allocations;
use crate::strict::{Failed, Strict, classify};

fn at_once<F: Future>(future: F) -> F::Output {
    let Poll::Ready(output) = pin!(future).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("nothing to wait for")
    };
    output
}

#[tokio::test]
async fn a_call_through_each_limit_allocates_nothing() {
    let window = SlidingWindow::per_second(NonZeroU32::new(100_000).unwrap());
    let sliding = RateLimiter::new(&window).unwrap();
    let store = MemoryStore::new(&window, 100).unwrap();
    let shared = SharedRateLimiter::new("shared", store, SharedRate::default()).unwrap();
    let adaptive = AdaptiveLimit::new("adaptive", Adaptive::default()).unwrap();
    let throttler = Throttler::new(Throttle::default()).unwrap();
    let shedder = Shedder::new("shed", Shed::default()).unwrap();
    let call = || {
        let now = TokioClock.now();
        assert!(sliding.check(now).allowed);
        assert!(at_once(shared.check("203.0.113.7")).allowed());
        adaptive.acquire(now).unwrap().record(Class::Success, TokioClock.now());
        throttler.acquire(Priority::Low, now).unwrap().record(Class::Success, TokioClock.now());
        drop(at_once(shedder.acquire(Priority::Low)).unwrap());
    };
    call();
    assert_eq!(allocations(|| (0..100).for_each(|_| call())), 0);
}

#[tokio::test]
async fn what_stands_around_a_call_and_is_not_needed_allocates_nothing() {
    let hedger = Hedger::new(Hedge::default()).unwrap();
    let fallback = FallbackPolicy::new("fallback", Fallback::default(), None).unwrap();
    let store = cache::MemoryStore::new(Memory::default(), |_, _| 8).unwrap();
    let cache = AnswerCache::<u8, u32, Failed>::new("cache", Cache::default(), store).unwrap();
    let injector = FaultInjector::off();
    let answer = || ready(Ok::<u32, Failed>(7));
    let unused = |_| -> Ready<Result<u32, Failed>> { panic!("it was not needed") };
    let call = || {
        assert_eq!(at_once(hedger.call(Call::REPLAYABLE, |_| answer(), classify)), Ok(7));
        let real = fallback.or_call(async { answer().await.map_err(Error::Inner) }, classify, unused);
        assert_eq!(at_once(real), Ok(Answer::Real(7)));
        let real = fallback.or_value(async { answer().await.map_err(Error::Inner) }, classify, |_| 0);
        assert_eq!(at_once(real), Ok(Answer::Real(7)));
        assert_eq!(at_once(injector.call(answer, |_| Ok(0))), Ok(7));
        let load = || async { answer().await.map_err(Error::Inner) };
        assert_eq!(at_once(cache.get(&1, load, classify)).map(|cached| cached.value), Ok(7));
    };
    call();
    assert_eq!(allocations(|| (0..100).for_each(|_| call())), 0);
    assert_eq!((cache.counts().loads, cache.counts().hits), (1, 100));
    assert_eq!(hedger.counts().sent, 0);
}

#[tokio::test]
async fn a_call_through_the_layers_that_box_nothing_allocates_nothing() {
    let limit = RateLimit::per_second(NonZeroU32::new(100_000).unwrap());
    let adaptive = AdaptiveLimit::new("adaptive", Adaptive::default()).unwrap();
    let breaker = CircuitBreaker::new("breaker", Breaker::default()).unwrap();
    let shedder = Shedder::new("shed", Shed::default()).unwrap();
    let service = Strict::new(|_, ()| ready(Ok::<_, Failed>(7)));
    let service = TimeoutLayer::new(Duration::from_secs(1)).layer(service);
    let service =
        ConcurrencyLayer::new(ConcurrencyLimit::new(Concurrency::default()).unwrap()).layer(service);
    let service = ShedLayer::new(shedder, |(): &()| Priority::Low).layer(service);
    let service = AdaptiveLayer::new(adaptive, classify).layer(service);
    let service = RateLimitLayer::new(RateLimiter::new(&limit).unwrap()).layer(service);
    let service = BreakerLayer::new(breaker, classify).layer(service);
    let throttler = Throttler::new(Throttle::default()).unwrap();
    let service = ThrottleLayer::new(throttler, classify, |(): &()| Priority::Low).layer(service);
    let mut service = DeadlineLayer::new(|(): &()| None, Duration::from_secs(2)).layer(service);
    let mut call = || {
        assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
        assert!(matches!(at_once(service.call(())), Ok(7)));
    };
    call();
    assert_eq!(allocations(|| (0..100).for_each(|_| call())), 0);
}

#[tokio::test]
async fn waiting_takes_memory_only_when_the_queue_is_longer_than_ever() {
    let config = Concurrency { limit: NonZeroU32::MIN, ..Concurrency::default() };
    let limit = ConcurrencyLimit::new(config).unwrap();
    let wait = || {
        let held = limit.try_acquire().unwrap();
        let mut waiting = pin!(limit.acquire());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(held);
        drop(at_once(waiting).unwrap());
    };
    wait();
    assert_eq!(allocations(|| (0..100).for_each(|_| wait())), 0);
}
