//! Windows, states and permits of the breaker.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::breaker::{BreakerLayer, Permit, State};
use leeward_resilience::timeout::TimeoutLayer;
use leeward_resilience::{Breaker, CircuitBreaker, Class, Clock, Error, FastRng, ManualClock, TokioClock};
use tower::{Layer, ServiceExt};

use crate::strict::{Failed, Strict, classify};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn breaker(config: Breaker) -> (CircuitBreaker, ManualClock) {
    let clock = ManualClock::new();
    let (its_clock, rng) = (Arc::new(clock.clone()), Arc::new(FastRng::seeded(1)));
    (CircuitBreaker::with("upstream", config, its_clock, rng, None).unwrap(), clock)
}

/// Open after five failures, and the time is that of the first probe.
fn half_open() -> (CircuitBreaker, ManualClock) {
    let (breaker, clock) = breaker(Breaker::default());
    for _ in 0..5 {
        breaker.acquire(clock.now()).unwrap().failure(clock.now());
    }
    clock.advance(breaker.acquire(clock.now()).unwrap_err().retry_after.unwrap());
    (breaker, clock)
}

#[test]
fn defect_01_a_count_window_slides() {
    let calls = NonZeroU32::new(20).unwrap();
    for successes in (0..100).chain([1_000, 9_999, 10_000, 10_007]) {
        let config = Breaker {
            window_calls: Some(calls),
            minimum_calls: calls,
            consecutive_failures: None,
            ..Breaker::default()
        };
        let (breaker, clock) = breaker(config);
        for _ in 0..successes {
            breaker.acquire(clock.now()).unwrap().success(clock.now());
        }
        let mut failures = 0;
        while let Ok(permit) = breaker.acquire(clock.now()) {
            permit.failure(clock.now());
            failures += 1;
        }
        // Half of the last twenty, once there are twenty.
        assert_eq!(failures, 10.max(20_u32.saturating_sub(successes)), "after {successes} successes");
    }
}

#[tokio::test(start_paused = true)]
async fn defect_02_a_timeout_outside_does_not_blind_it() {
    let config = Breaker { abandoned_after: MS, ..Breaker::default() };
    let breaker = CircuitBreaker::new("hung", config).unwrap();
    let hung = Strict::new(|_, ()| std::future::pending::<Result<(), Failed>>());
    let service = BreakerLayer::new(breaker.clone(), classify).layer(hung.clone());
    let service = TimeoutLayer::new(MS).layer(service);
    let mut timeouts = 0;
    for _ in 0..100 {
        timeouts += u32::from(matches!(service.clone().oneshot(()).await, Err(Error::Timeout { .. })));
    }
    assert_eq!((timeouts, hung.calls()), (5, 5), "the other calls are rejected by the open breaker");
    assert_eq!(breaker.state(TokioClock.now()), State::Open);
}

#[tokio::test(start_paused = true)]
async fn defect_02_a_caller_who_gives_up_early_is_no_failure_of_the_upstream() {
    let config = Breaker { abandoned_after: 10 * MS, ..Breaker::default() };
    let breaker = CircuitBreaker::new("slow", config).unwrap();
    let hung = Strict::new(|_, ()| std::future::pending::<Result<(), Failed>>());
    let service = BreakerLayer::new(breaker.clone(), classify).layer(hung);
    let service = TimeoutLayer::new(9 * MS).layer(service);
    for _ in 0..100 {
        assert!(matches!(service.clone().oneshot(()).await, Err(Error::Timeout { .. })));
    }
    assert_eq!(breaker.state(TokioClock.now()), State::Closed);
}

#[test]
fn defect_03_a_cancelled_probe_gives_its_place_back() {
    let (breaker, clock) = half_open();
    for _ in 0..1_000 {
        let probe = breaker.acquire(clock.now()).unwrap();
        assert!(breaker.acquire(clock.now()).is_err(), "one at a time");
        drop(probe);
    }
    for _ in 0..5 {
        breaker.acquire(clock.now()).unwrap().success(clock.now());
    }
    assert_eq!(breaker.state(clock.now()), State::Closed);
}

#[test]
fn defect_03_a_probe_that_is_lost_for_good_ends_with_the_probation() {
    let (breaker, clock) = half_open();
    std::mem::forget(breaker.acquire(clock.now()).unwrap());
    clock.advance(29 * SECOND);
    breaker.acquire(clock.now()).unwrap_err();
    assert_eq!(breaker.state(clock.now()), State::HalfOpen);
    clock.advance(SECOND);
    // It counts as failed: another break, and then another probe.
    let wait = breaker.acquire(clock.now()).unwrap_err().retry_after.unwrap();
    assert_eq!(breaker.state(clock.now()), State::Open);
    clock.advance(wait);
    breaker.acquire(clock.now()).unwrap().success(clock.now());
}

#[test]
fn defect_04_recovery_is_a_ramp_and_no_stampede() {
    let (breaker, clock) = half_open();
    for succeeded in 0..5 {
        // A thousand come at once; one more passes than have succeeded.
        let mut passed: Vec<_> = (0..1_000).filter_map(|_| breaker.acquire(clock.now()).ok()).collect();
        assert_eq!(passed.len(), succeeded + 1);
        passed.pop().unwrap().success(clock.now());
        drop(passed);
    }
    assert_eq!(breaker.state(clock.now()), State::Closed);
}

#[test]
fn defect_05_a_stale_result_does_not_cross_states() {
    let (breaker, clock) = breaker(Breaker::default());
    let open = || {
        for _ in 0..5 {
            breaker.acquire(clock.now()).unwrap().failure(clock.now());
        }
        clock.advance(breaker.acquire(clock.now()).unwrap_err().retry_after.unwrap());
    };
    let from_closed: Vec<_> = (0..100).map(|_| breaker.acquire(clock.now()).unwrap()).collect();
    open();
    let from_half_open = breaker.acquire(clock.now()).unwrap();
    // Neither do the successes of the closed state close it, nor do its failures open it again.
    for (number, permit) in from_closed.into_iter().enumerate() {
        if number % 2 == 0 {
            permit.success(clock.now())
        } else {
            permit.failure(clock.now())
        }
        assert_eq!(breaker.state(clock.now()), State::HalfOpen);
        breaker.acquire(clock.now()).unwrap_err();
    }
    // Nor does a probe of one half-open state count in the next one.
    breaker.reset();
    open();
    let probe = breaker.acquire(clock.now()).unwrap();
    from_half_open.failure(clock.now());
    assert_eq!(breaker.state(clock.now()), State::HalfOpen);
    breaker.acquire(clock.now()).unwrap_err();
    probe.success(clock.now());
    assert!(breaker.acquire(clock.now()).is_ok());
}

#[test]
fn defect_05_a_stale_success_does_not_water_down_the_next_window() {
    type Succeed = fn(Permit, &ManualClock);
    let ends: [Succeed; 2] =
        [|permit, clock| permit.success(clock.now()), |permit, _| permit.finish(Class::Success)];
    for end in ends {
        let (breaker, clock) = breaker(Breaker { consecutive_failures: None, ..Breaker::default() });
        let stale: Vec<_> = (0..1_000).map(|_| breaker.acquire(clock.now()).unwrap()).collect();
        breaker.reset();
        stale.into_iter().for_each(|permit| end(permit, &clock));
        for failures in 1..=20 {
            assert_eq!(breaker.state(clock.now()), State::Closed, "{failures}");
            breaker.acquire(clock.now()).unwrap().failure(clock.now());
        }
        assert_eq!(breaker.state(clock.now()), State::Open);
    }
}

#[test]
fn defect_06_idleness_leaves_no_stale_window() {
    let config = Breaker { consecutive_failures: None, ..Breaker::default() };
    let befores: [fn(Permit, &ManualClock); 2] =
        [|permit, clock| permit.failure(clock.now()), |permit, clock| permit.success(clock.now())];
    let idle = [10, 11, 15, 20, 99, 3_600];
    for (idle_s, before) in idle.into_iter().flat_map(|idle_s| befores.map(|before| (idle_s, before))) {
        let (breaker, clock) = breaker(config.clone());
        for _ in 0..19 {
            before(breaker.acquire(clock.now()).unwrap(), &clock);
        }
        clock.advance(idle_s * SECOND);
        // Nothing of before counts: neither the failures nor the calls that make a rate.
        for _ in 0..19 {
            breaker.acquire(clock.now()).unwrap().failure(clock.now());
        }
        assert_eq!(breaker.state(clock.now()), State::Closed, "after {idle_s} s");
        breaker.acquire(clock.now()).unwrap().failure(clock.now());
        assert_eq!(breaker.state(clock.now()), State::Open, "after {idle_s} s");
    }
}
