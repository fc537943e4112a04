//! The limits that adapt, and those that a store keeps, do not allocate on the path of a call either.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use leeward_resilience::rate::MemoryStore;
use leeward_resilience::{
    Adaptive, AdaptiveLimit, Class, Clock, Concurrency, ConcurrencyLimit, Priority, RateLimiter, SharedRate,
    SharedRateLimiter, Shed, Shedder, SlidingWindow, Throttle, Throttler, TokioClock,
};

use crate::allocations::allocations;

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
