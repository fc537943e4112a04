//! The path of a call does not allocate.
#![allow(
    unsafe_code,
    reason = "a global allocator cannot be written without; this one only counts and passes on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use leeward_resilience::{
    Breaker, Call, Class, Clock, Concurrency, KeyedRateLimiter, Pipeline, RateLimit, RateLimiter, Retry,
    TokioClock,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

pub(crate) fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert!(allocations(|| drop(std::hint::black_box(Box::new(1)))) >= 1);
}

#[tokio::test]
async fn a_call_through_every_policy_allocates_nothing() {
    let pipeline = Pipeline::builder("upstream")
        .retry(Retry::default())
        .breaker(Breaker::default())
        .concurrency(Concurrency::default())
        .attempt_timeout(std::time::Duration::from_secs(1))
        .build()
        .unwrap();
    let call_once = || {
        let call = pipeline.call(Call::REPLAYABLE, async |_| Ok::<_, Infallible>(7), |_| Class::Success);
        let Poll::Ready(answer) = pin!(call).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("nothing to wait for")
        };
        assert_eq!(answer, Ok(7));
    };
    call_once();
    assert_eq!(allocations(|| (0..100).for_each(|_| call_once())), 0);
}

#[test]
fn rate_limits_allocate_nothing_for_a_known_key() {
    let limit = RateLimit::per_second(NonZeroU32::new(1000).unwrap());
    let one = RateLimiter::new(&limit).unwrap();
    let keyed = KeyedRateLimiter::<String>::new(&limit, 100).unwrap();
    let check = || {
        assert!(one.check(TokioClock.now()).allowed);
        assert!(keyed.check("203.0.113.7", TokioClock.now()).allowed);
    };
    check();
    assert_eq!(allocations(|| (0..100).for_each(|_| check())), 0);
}
