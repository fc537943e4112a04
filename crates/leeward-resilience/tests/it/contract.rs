//! The layers of the limits keep the contract of `poll_ready`: they call what was ready, and readiness uses nothing up.

use std::future::ready;
use std::num::NonZeroU32;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use leeward_resilience::adaptive::AdaptiveLayer;
use leeward_resilience::rate::{MemoryStore, SharedRateLayer};
use leeward_resilience::shed::ShedLayer;
use leeward_resilience::throttle::ThrottleLayer;
use leeward_resilience::{
    Adaptive, AdaptiveLimit, Concurrency, Error, Priority, RateLimit, SharedRate, SharedRateLimiter, Shed,
    Shedder, Throttle, Throttler,
};
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt};

use crate::strict::{Failed, Strict, classify};

#[tokio::test(start_paused = true)]
async fn every_layer_calls_what_was_ready_and_readiness_uses_nothing_up() {
    let strict = Strict::new(|_, ()| ready(Ok::<_, Failed>(())));
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
    assert_eq!(strict.calls(), 15);
    assert_eq!((adaptive.in_flight(), shedder.limit().in_flight()), (0, 0));
}
