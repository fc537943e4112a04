//! One state for all the clones of a service.

use std::num::NonZeroU32;
use std::time::Duration;

use leeward_resilience::breaker::BreakerLayer;
use leeward_resilience::concurrency::ConcurrencyLayer;
use leeward_resilience::rate::RateLimitLayer;
use leeward_resilience::timeout::TimeoutLayer;
use leeward_resilience::{
    Breaker, CircuitBreaker, Class, Clock, Concurrency, ConcurrencyLimit, Error, RateLimit, RateLimiter,
    TokioClock,
};
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt};

use crate::strict::{Failed, Strict, classify};

#[tokio::test(start_paused = true)]
async fn defect_09_1500_concurrent_calls_through_clones_against_five_a_second() {
    let rate = RateLimiter::new(&RateLimit::per_second(NonZeroU32::new(5).unwrap())).unwrap();
    let concurrency = Concurrency { limit: NonZeroU32::new(2_000).unwrap(), ..Concurrency::default() };
    let breaker = CircuitBreaker::new("upstream", Breaker::default()).unwrap();
    let strict = Strict::new(|call, ()| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok::<_, Failed>(call)
    });
    let service = TimeoutLayer::new(Duration::from_secs(1)).layer(strict.clone());
    let service = RateLimitLayer::new(rate).layer(service);
    let service = ConcurrencyLayer::new(ConcurrencyLimit::new(concurrency).unwrap()).layer(service);
    let mut service = BreakerLayer::new(breaker, |_: &_| Class::Ignored).layer(service);
    for second in 1..=3 {
        let mut calls = JoinSet::new();
        for number in 0..1_500 {
            // Clones of a service, clones of clones, and the one service itself, made ready once for each call.
            match number % 3 {
                0 => calls.spawn(service.clone().oneshot(())),
                1 => calls.spawn(service.clone().clone().oneshot(())),
                _ => calls.spawn(service.ready().await.unwrap().call(())),
            };
        }
        let answers = calls.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 5);
        let rejected = |error: &_| matches!(error, Error::Inner(Error::Inner(Error::Rejected(it))) if it.retry_after.is_some());
        assert_eq!(answers.iter().filter(|answer| answer.as_ref().is_err_and(rejected)).count(), 1_495);
        assert_eq!(strict.calls(), 5 * second);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn defect_09_readiness_uses_nothing_up() {
    let rate = RateLimiter::new(&RateLimit::per_second(NonZeroU32::new(5).unwrap())).unwrap();
    let one = Concurrency { limit: NonZeroU32::MIN, queue: 0, ..Concurrency::default() };
    let limit = ConcurrencyLimit::new(one).unwrap();
    let breaker = CircuitBreaker::new("upstream", Breaker::default()).unwrap();
    for _ in 0..5 {
        breaker.acquire(TokioClock.now()).unwrap().failure(TokioClock.now());
    }
    tokio::time::sleep(Duration::from_secs(7)).await;
    let service =
        RateLimitLayer::new(rate).layer(Strict::new(|_, ()| std::future::ready(Ok::<_, Failed>(()))));
    let service = ConcurrencyLayer::new(limit.clone()).layer(service);
    let mut service = BreakerLayer::new(breaker, classify).layer(service);
    // A hundred are made ready and never called; the half-open breaker has one probe, the limit one permit.
    let mut idle: Vec<_> = (0..100).map(|_| service.clone()).collect();
    for service in &mut idle {
        service.ready().await.unwrap();
    }
    assert_eq!(limit.in_flight(), 0);
    service.ready().await.unwrap().call(()).await.unwrap();
}
