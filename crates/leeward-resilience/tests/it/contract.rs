//! The layers of the limits keep the contract of `poll_ready`: they call what was ready, and readiness uses nothing up.

use std::future::{Ready, ready};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use leeward_resilience::adaptive::AdaptiveLayer;
use leeward_resilience::rate::{MemoryStore, SharedRateLayer};
use leeward_resilience::shed::ShedLayer;
use leeward_resilience::throttle::ThrottleLayer;
use leeward_resilience::{
    Adaptive, AdaptiveLimit, Class, Concurrency, Error, Priority, RateLimit, SharedRate, SharedRateLimiter,
    Shed, Shedder, Throttle, Throttler,
};
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt};

/// Each call needs a `poll_ready` of the same clone before it.
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

impl Service<()> for Strict {
    type Response = ();
    type Error = u8;
    type Future = Ready<Result<(), u8>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), u8>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        self.calls.fetch_add(1, Ordering::SeqCst);
        ready(Ok(()))
    }
}

fn classify<T, E>(result: &Result<T, E>) -> Class {
    if result.is_ok() { Class::Success } else { Class::RETRYABLE }
}

#[tokio::test(start_paused = true)]
async fn every_layer_calls_what_was_ready_and_readiness_uses_nothing_up() {
    let strict = Strict::default();
    let one = Concurrency { limit: NonZeroU32::MIN, ..Concurrency::default() };
    let shedder = Shedder::new("strict", Shed { concurrency: one, ..Shed::default() }).unwrap();
    let held = shedder.limit().try_acquire().unwrap();
    let adaptive = AdaptiveLimit::new("strict", Adaptive::default()).unwrap();
    let store = MemoryStore::new(&RateLimit::per_minute(NonZeroU32::new(15).unwrap()), 100).unwrap();
    let rate = SharedRateLimiter::new("strict", store, SharedRate::default()).unwrap();

    let service = ShedLayer::new(shedder.clone(), |(): &()| Priority::High).layer(strict.clone());
    let service = AdaptiveLayer::new(adaptive.clone(), classify).layer(service);
    let throttler = Throttler::new(Throttle::default()).unwrap();
    let service = ThrottleLayer::new(throttler, classify, |(): &()| Priority::High).layer(service);
    let mut service = SharedRateLayer::new(rate, |(): &()| "all".to_owned()).layer(service);
    for _ in 0..100 {
        let mut clone = service.clone();
        assert!(matches!(clone.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
    }
    assert_eq!((adaptive.in_flight(), shedder.limit().in_flight()), (0, 1));
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        // The one service for all, and each call from the same handle: it is polled anew each time.
        calls.spawn(service.ready().await.unwrap().call(()));
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!((adaptive.in_flight(), shedder.limit().waiting()), (15, 15), "five were beyond the rate");
    drop(held);
    let answers = calls.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 15);
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Err(Error::Rejected(_)))).count(), 5);
    assert_eq!(strict.calls.load(Ordering::SeqCst), 15);
    assert_eq!((adaptive.in_flight(), shedder.limit().in_flight()), (0, 0));
}
