//! What gives permits: limits, breaker, and their layers.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::adaptive::AdaptiveLayer;
use leeward_resilience::breaker::{BreakerLayer, State};
use leeward_resilience::concurrency::{ConcurrencyLayer, Order};
use leeward_resilience::rate::{OnStoreFailure, RateStore, SharedRateLayer, Verdict};
use leeward_resilience::shed::ShedLayer;
use leeward_resilience::throttle::ThrottleLayer;
use leeward_resilience::{
    Adaptive, AdaptiveLimit, Breaker, CircuitBreaker, Clock, Concurrency, ConcurrencyLimit, Decision,
    FastRng, Instant, Priority, SharedRate, SharedRateLimiter, Shed, Shedder, Throttle, Throttler,
    TokioClock,
};
use tower::{Layer, ServiceExt};

use super::{Live, MS, at_every_await_point, at_once};
use crate::strict::{Failed, Strict, classify};

fn one_at_a_time() -> Concurrency {
    Concurrency {
        limit: NonZeroU32::MIN,
        queue: 1,
        max_wait: Duration::from_secs(1),
        ..Concurrency::default()
    }
}

/// Takes the one permit, and gives it back after a while.
fn hold(limit: &ConcurrencyLimit) {
    let permit = limit.try_acquire().unwrap();
    tokio::spawn(async move {
        tokio::time::sleep(2 * MS).await;
        drop(permit);
    });
}

/// Nobody holds a permit or a place, and the next one gets both.
async fn assert_clear(limit: &ConcurrencyLimit, at: &str) {
    // Until the one who was there first is gone.
    tokio::time::sleep(5 * MS).await;
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0), "{at}");
    hold(limit);
    let permit = at_once(limit.acquire(), at).await;
    assert!(permit.is_ok(), "{at}");
}

#[tokio::test(start_paused = true)]
async fn a_place_in_the_queue_and_a_permit_that_came_too_late() {
    for order in [Order::Fifo, Order::LifoUnderOverload { after: MS }] {
        let scene = || {
            let limit = ConcurrencyLimit::new(Concurrency { order, ..one_at_a_time() }).unwrap();
            hold(&limit);
            limit
        };
        let call = async |limit: &ConcurrencyLimit| drop(limit.acquire().await.unwrap());
        assert_eq!(at_every_await_point(scene, call, assert_clear).await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_layer() {
    let scene = || {
        let limit = ConcurrencyLimit::new(one_at_a_time()).unwrap();
        hold(&limit);
        (limit, Live::default())
    };
    let call = async |(limit, live): &(ConcurrencyLimit, Live)| {
        let live = live.clone();
        let inner = Strict::new(move |_, ()| {
            let live = live.clone();
            async move { live.call(true).await }
        });
        ConcurrencyLayer::new(limit.clone()).layer(inner).oneshot(()).await.unwrap();
    };
    let check = async |(limit, live): &(ConcurrencyLimit, Live), at: &str| {
        assert_eq!(live.count(), 0, "{at}");
        assert_clear(limit, at).await;
    };
    assert_eq!(at_every_await_point(scene, call, check).await, 3);
}

#[tokio::test(start_paused = true)]
async fn shedding_and_its_layer() {
    let scene = || {
        let shedder = Shedder::new("shed", Shed { concurrency: one_at_a_time(), ..Shed::default() }).unwrap();
        hold(shedder.limit());
        shedder
    };
    let check = async |shedder: &Shedder, at: &str| {
        assert_clear(shedder.limit(), at).await;
        assert!(at_once(shedder.acquire(Priority::Low), at).await.is_ok(), "nothing is shed: {at}");
    };
    let call = async |shedder: &Shedder| drop(shedder.acquire(Priority::Low).await.unwrap());
    assert_eq!(at_every_await_point(scene, call, check).await, 1);
    let call = async |shedder: &Shedder| {
        let inner = Strict::new(|_, ()| async { Live::default().call(true).await });
        ShedLayer::new(shedder.clone(), |(): &()| Priority::Low).layer(inner).oneshot(()).await.unwrap();
    };
    assert_eq!(at_every_await_point(scene, call, check).await, 3);
}

/// Half-open, with one probe at first.
fn half_open() -> CircuitBreaker {
    let (clock, rng) = (Arc::new(TokioClock), Arc::new(FastRng::seeded(1)));
    let config = Breaker { break_initial: MS, break_max: MS, ..Breaker::default() };
    let breaker = CircuitBreaker::with("upstream", config, clock, rng, None).unwrap();
    let before = TokioClock.now();
    for _ in 0..5 {
        breaker.acquire(before).unwrap().failure(before.saturating_sub(2 * MS));
    }
    assert_eq!(breaker.state(TokioClock.now()), State::HalfOpen);
    breaker
}

#[tokio::test(start_paused = true)]
async fn a_probe_through_the_breaker_s_layer() {
    let call = async |breaker: &CircuitBreaker| {
        let inner = Strict::new(|_, ()| async { Live::default().call(true).await });
        BreakerLayer::new(breaker.clone(), classify).layer(inner).oneshot(()).await.unwrap();
    };
    let check = async |breaker: &CircuitBreaker, at: &str| {
        assert_eq!(breaker.state(TokioClock.now()), State::HalfOpen, "{at}");
        let probe = breaker.acquire(TokioClock.now());
        assert!(probe.is_ok(), "a probe was lost: {at}");
    };
    assert_eq!(at_every_await_point(half_open, call, check).await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_limit_and_a_throttler() {
    let scene = || {
        let limit = AdaptiveLimit::new("adaptive", Adaptive::default()).unwrap();
        let throttler = Throttler::new(Throttle { requests_min: 0, ..Throttle::default() }).unwrap();
        (limit, throttler)
    };
    let call = async |(limit, throttler): &(AdaptiveLimit, Throttler)| {
        let inner = Strict::new(|_, ()| async { Live::default().call(true).await });
        let service = AdaptiveLayer::new(limit.clone(), classify).layer(inner);
        let service = ThrottleLayer::new(throttler.clone(), classify, |(): &()| Priority::Low).layer(service);
        service.oneshot(()).await.unwrap();
    };
    let check = async |(limit, throttler): &(AdaptiveLimit, Throttler), at: &str| {
        assert_eq!(limit.in_flight(), 0, "{at}");
        assert!(limit.limit() >= 20, "a call given up early says nothing: {at}");
        let probability = throttler.probability(Priority::Low, TokioClock.now());
        assert!(probability < 1e-9, "nor here: {at}");
    };
    assert_eq!(at_every_await_point(scene, call, check).await, 2);
}

/// Takes its time, and lets everybody through.
#[derive(Debug)]
struct Slow;

impl RateStore for Slow {
    type Error = Failed;

    async fn take(&self, _: &str, _: Instant) -> Result<Decision, Failed> {
        tokio::time::sleep(MS).await;
        tokio::time::sleep(MS).await;
        Ok(Decision {
            allowed: true,
            limit: 1,
            period: MS,
            remaining: 1,
            reset_after: Duration::ZERO,
            retry_after: None,
            version: 1,
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_not_waited_for_has_not_failed() {
    let scene = || {
        let config =
            SharedRate { failures_max: 1, on_failure: OnStoreFailure::Closed, ..SharedRate::default() };
        SharedRateLimiter::new("shared", Slow, config).unwrap()
    };
    let check = async |limiter: &SharedRateLimiter<Slow>, at: &str| {
        assert!(matches!(limiter.check("next").await, Verdict::Decided(_)), "{at}");
    };
    let call = async |limiter: &SharedRateLimiter<Slow>| assert!(limiter.check("this").await.allowed());
    assert_eq!(at_every_await_point(scene, call, check).await, 2);
    let call = async |limiter: &SharedRateLimiter<Slow>| {
        let inner = Strict::new(|_, ()| async { Live::default().call(true).await });
        let layer = SharedRateLayer::new(limiter.clone(), |(): &()| "this".to_owned());
        layer.layer(inner).oneshot(()).await.unwrap();
    };
    assert_eq!(at_every_await_point(scene, call, check).await, 4);
}
