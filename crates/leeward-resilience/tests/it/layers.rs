//! The policies as tower layers: state shared by all clones, and `poll_ready` as tower wants it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use leeward_resilience::breaker::{BreakerLayer, State};
use leeward_resilience::concurrency::ConcurrencyLayer;
use leeward_resilience::rate::RateLimitLayer;
use leeward_resilience::retry::RetryLayer;
use leeward_resilience::timeout::{DeadlineLayer, TimeoutLayer};
use leeward_resilience::{
    Breaker, CircuitBreaker, Class, Clock, Concurrency, ConcurrencyLimit, Deadline, Error, RateLimit,
    RateLimiter, Retry, TokioClock,
};
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt, service_fn};

/// A service that insists on the contract: each call needs a `poll_ready` of the same clone before it.
#[derive(Debug, Default)]
struct Strict {
    ready: bool,
    calls: Arc<AtomicU32>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { ready: false, calls: Arc::clone(&self.calls) }
    }
}

impl Service<u32> for Strict {
    type Response = u32;
    type Error = u32;
    type Future = Ready<Result<u32, u32>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), u32>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, failures: u32) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        ready(if call < failures { Err(call) } else { Ok(call) })
    }
}

fn classify<T, E>(result: &Result<T, E>) -> Class {
    if result.is_ok() { Class::Success } else { Class::RETRYABLE }
}

#[tokio::test(start_paused = true)]
async fn every_layer_keeps_the_contract_of_poll_ready() {
    let limit =
        ConcurrencyLimit::new(Concurrency { limit: NonZeroU32::MIN, ..Concurrency::default() }).unwrap();
    let breaker = CircuitBreaker::new("strict", Breaker::default()).unwrap();
    let rate = RateLimiter::new(&RateLimit::per_second(NonZeroU32::new(1000).unwrap())).unwrap();
    let strict = Strict::default();
    let service = TimeoutLayer::new(Duration::from_secs(1)).layer(strict.clone());
    let service = ConcurrencyLayer::new(limit).layer(service);
    let service = BreakerLayer::new(breaker, classify).layer(service);
    let service = RateLimitLayer::new(rate).layer(service);
    let service =
        RetryLayer::new(Retry::default(), classify, |request: &u32| Some(*request)).unwrap().layer(service);
    let service = DeadlineLayer::new(|_: &u32| None, Duration::from_secs(9)).layer(service);
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        calls.spawn(service.clone().oneshot(2));
    }
    let answers = calls.join_all().await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(strict.calls.load(Ordering::SeqCst), 12);
}

#[tokio::test(start_paused = true)]
async fn fifteen_hundred_calls_against_five_a_second() {
    let limiter = RateLimiter::new(&RateLimit::per_second(NonZeroU32::new(5).unwrap())).unwrap();
    let layer = RateLimitLayer::new(limiter);
    let mut calls = JoinSet::new();
    for number in 0..1500_u32 {
        // Each has a service of its own, as each connection of a server has.
        let service = layer.layer(service_fn(move |()| async move { Ok::<_, Infallible>(number) }));
        calls.spawn(service.clone().oneshot(()));
    }
    let answers = calls.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 5);
    let told = answers.iter().filter_map(|answer| answer.as_ref().err()?.retry_after()).collect::<Vec<_>>();
    assert_eq!(told.len(), 1495);
    assert!(told.iter().all(|&wait| wait > Duration::ZERO && wait <= Duration::from_millis(200)));
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_is_one_for_all_services_of_its_layer() {
    let config = Concurrency {
        limit: NonZeroU32::new(3).unwrap(),
        queue: 4,
        max_wait: Duration::from_secs(1),
        ..Concurrency::default()
    };
    let layer = ConcurrencyLayer::new(ConcurrencyLimit::new(config).unwrap());
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        let slow = service_fn(move |()| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(10)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Infallible>(())
            }
        });
        calls.spawn(layer.layer(slow).oneshot(()));
    }
    let answers = calls.join_all().await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 7);
    assert!(answers.iter().all(|answer| matches!(answer, Ok(()) | Err(Error::Rejected(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_its_permit_uses_the_service_that_was_ready() {
    let config = Concurrency { limit: NonZeroU32::MIN, ..Concurrency::default() };
    let limit = ConcurrencyLimit::new(config).unwrap();
    let held = limit.try_acquire().unwrap();
    let mut service = ConcurrencyLayer::new(limit).layer(Strict::default());
    let waiting = tokio::spawn(service.ready().await.unwrap().call(0));
    let second = tokio::spawn(service.ready().await.unwrap().call(0));
    tokio::task::yield_now().await;
    drop(held);
    assert_eq!((waiting.await.unwrap(), second.await.unwrap()), (Ok(0), Ok(1)));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_the_breaker_does_not_blind_it() {
    let config = Breaker { abandoned_after: Duration::from_millis(1), ..Breaker::default() };
    let breaker = CircuitBreaker::new("hung", config).unwrap();
    let hung = service_fn(async |()| std::future::pending::<Result<(), Infallible>>().await);
    let service = BreakerLayer::new(breaker.clone(), classify).layer(hung);
    let service = TimeoutLayer::new(Duration::from_millis(1)).layer(service);
    let mut timeouts = 0;
    for _ in 0..100 {
        timeouts += u32::from(matches!(service.clone().oneshot(()).await, Err(Error::Timeout { .. })));
    }
    assert_eq!(timeouts, 5, "the other calls are rejected by the open breaker");
    assert_eq!(breaker.state(TokioClock.now()), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_layer_bounds_each_request_by_its_own() {
    let slow = service_fn(async |_: u64| {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok::<_, Infallible>(())
    });
    let deadline_of = |ms: &u64| Some(Deadline::after(TokioClock.now(), Duration::from_millis(*ms)));
    let service = DeadlineLayer::new(deadline_of, Duration::from_secs(2)).layer(slow);
    for (asked_ms, took_ms, sent) in [(100, 100, 1), (0, 0, 0), (9_000, 2_000, 1)] {
        let start = tokio::time::Instant::now();
        let error = service.clone().oneshot(asked_ms).await.unwrap_err();
        assert_eq!(error, Error::DeadlineExceeded { attempts: sent, last: None });
        assert_eq!(start.elapsed(), Duration::from_millis(took_ms));
    }
}

#[tokio::test(start_paused = true)]
async fn the_retry_layer_stops_at_its_bounds() {
    let layer = |retry| RetryLayer::new(retry, classify, |request: &u32| Some(*request)).unwrap();
    let strict = Strict::default();
    let error = layer(Retry::default()).layer(strict.clone()).oneshot(9).await.unwrap_err();
    assert_eq!((error, strict.calls.load(Ordering::SeqCst)), (Error::Inner(2), 3));
    let no_time = layer(Retry::default()).within(Duration::from_millis(5)).layer(Strict::default());
    assert_eq!(no_time.oneshot(9).await, Err(Error::Inner(0)));
    let once = RetryLayer::new(Retry::default(), classify, |_: &u32| None).unwrap().layer(Strict::default());
    assert_eq!(once.oneshot(1).await, Err(Error::Inner(0)));
}

#[test]
fn errors_of_a_stack_are_flattened() {
    let nested: Error<Error<u8>> = Error::Inner(Error::Timeout { after: Duration::from_secs(1) });
    assert_eq!(nested.flatten(), Error::Timeout { after: Duration::from_secs(1) });
}
