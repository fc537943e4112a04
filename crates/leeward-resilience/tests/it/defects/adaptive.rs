//! Limits that adapt do not drift.

use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::adaptive::Permit;
use leeward_resilience::{Adaptive, AdaptiveLimit, Aimd, Algorithm, Class, Clock, Gradient2, ManualClock};

const TIMEOUT: Duration = Duration::from_secs(1);

/// Rounds in which as many calls as may be are on their way, and all take the same time and end the same way.
fn rounds(algorithm: Algorithm, end: fn(Permit, &ManualClock)) -> Vec<u32> {
    let clock = ManualClock::new();
    let config = Adaptive { algorithm, abandoned_after: TIMEOUT, ..Adaptive::default() };
    let limit = AdaptiveLimit::with("slow", config, Arc::new(clock.clone()), None).unwrap();
    let mut limits = vec![limit.limit()];
    for _ in 0..200 {
        let permits: Vec<_> = std::iter::from_fn(|| limit.acquire(clock.now()).ok()).collect();
        clock.advance(TIMEOUT);
        permits.into_iter().for_each(|permit| end(permit, &clock));
        limits.push(limit.limit());
    }
    limits
}

#[test]
fn defect_15_timeouts_that_all_take_the_same_time_do_not_grow_the_limit() {
    let ends: [fn(Permit, &ManualClock); 2] =
        [|permit, clock| permit.record(Class::RETRYABLE, clock.now()), |permit, _| drop(permit)];
    for algorithm in [Algorithm::Aimd(Aimd::default()), Algorithm::Gradient2(Gradient2::default())] {
        for end in ends {
            let limits = rounds(algorithm, end);
            assert!(limits.is_sorted_by(|before, after| before >= after), "{algorithm:?} {limits:?}");
            assert_eq!(limits.last(), Some(&5), "down to the minimum: {algorithm:?}");
        }
    }
}

#[test]
fn defect_15_an_upstream_that_answers_in_time_does_grow_it() {
    for algorithm in [Algorithm::Aimd(Aimd::default()), Algorithm::Gradient2(Gradient2::default())] {
        let limits = rounds(algorithm, |permit, clock| permit.success(clock.now()));
        assert!(limits.last() > Some(&40), "{algorithm:?} {limits:?}");
    }
}
