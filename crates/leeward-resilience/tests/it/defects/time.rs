//! Whose time it is.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use leeward_resilience::breaker::State;
use leeward_resilience::{
    Breaker, CircuitBreaker, Clock, FastRng, Instant, ManualClock, RateLimit, RateLimiter, TokioClock,
};

#[tokio::test(start_paused = true)]
async fn defect_13_paused_time_is_the_time_of_every_policy() {
    let breaker = CircuitBreaker::new("upstream", Breaker::default()).unwrap();
    let rate = RateLimiter::new(&RateLimit::per_minute(NonZeroU32::MIN)).unwrap();
    for _ in 0..5 {
        breaker.acquire(TokioClock.now()).unwrap().failure(TokioClock.now());
    }
    assert!(rate.check(TokioClock.now()).allowed && !rate.check(TokioClock.now()).allowed);
    let wait = breaker.retry_after(TokioClock.now()).unwrap();
    tokio::time::advance(wait.saturating_sub(Duration::from_nanos(1))).await;
    assert_eq!(breaker.state(TokioClock.now()), State::Open);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(breaker.state(TokioClock.now()), State::HalfOpen);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(rate.check(TokioClock.now()).allowed);
}

/// Monotonic time that stands still, and wall-clock time that is set by somebody.
#[derive(Debug, Default)]
struct Jumping {
    monotonic: ManualClock,
    wall_ms: AtomicI64,
}

impl Clock for Jumping {
    fn now(&self) -> Instant {
        self.monotonic.now()
    }

    fn unix_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::SeqCst)
    }
}

#[test]
fn defect_13_the_wall_clock_decides_nothing() {
    let clock = Arc::new(Jumping::default());
    let rng = Arc::new(FastRng::seeded(1));
    let breaker = CircuitBreaker::with("upstream", Breaker::default(), clock.clone(), rng, None).unwrap();
    for _ in 0..5 {
        breaker.acquire(clock.now()).unwrap().failure(clock.now());
    }
    let wait = breaker.retry_after(clock.now());
    for wall_ms in [i64::MAX, 0, i64::MIN, 4_000_000_000_000] {
        clock.wall_ms.store(wall_ms, Ordering::SeqCst);
        assert_eq!((breaker.state(clock.now()), breaker.retry_after(clock.now())), (State::Open, wait));
    }
    clock.monotonic.advance(wait.unwrap());
    assert_eq!(breaker.state(clock.now()), State::HalfOpen);
}
