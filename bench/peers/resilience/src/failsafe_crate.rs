//! `failsafe`: a moving average over a window of time, behind a lock.

use std::time::Duration;

use failsafe::{CircuitBreaker, Config, Error, StateMachine, backoff, failure_policy};

use crate::harness::{Run, Sample, Subject, expect, measure};

const LIB: &str = "failsafe";

pub fn subjects() -> Vec<Subject> {
    vec![
        Subject::new("breaker_closed", LIB, "std, several", closed),
        Subject::new("breaker_open", LIB, "std once", open),
    ]
}

fn breaker() -> impl CircuitBreaker + Sync {
    let wait = || backoff::constant(Duration::from_secs(60));
    let rate = failure_policy::success_rate_over_time_window(0.5, 20, Duration::from_secs(10), wait());
    let policy = failsafe::FailurePolicy::or_else(rate, failure_policy::consecutive_failures(5, wait()));
    let machine: StateMachine<_, ()> = Config::new().failure_policy(policy).build();
    machine
}

fn opens(breaker: &impl CircuitBreaker) -> Result<(), String> {
    let fail = || matches!(breaker.call(|| Err::<(), u32>(1)), Err(Error::Inner(1)));
    let failures = (0..100).take_while(|_| fail()).count();
    expect(failures == 5, &format!("{failures} failures in a row passed"))
}

fn closed(run: &Run) -> Result<Sample, String> {
    opens(&breaker())?;
    let breaker = breaker();
    let sample = measure(run, || || assert!(breaker.call(|| Ok::<u32, u32>(7)).is_ok()))?;
    opens(&breaker)?;
    Ok(sample)
}

fn open(run: &Run) -> Result<Sample, String> {
    let breaker = breaker();
    opens(&breaker)?;
    measure(run, || || assert!(breaker.call(|| Ok::<u32, u32>(7)).is_err()))
}
