//! `governor`: the generic cell rate algorithm on one atomic.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::harness::{Run, Sample, Subject, expect, measure};

pub fn subjects() -> Vec<Subject> {
    vec![
        Subject::new("rate_limit", "governor", "quanta (TSC) once", rate_limit)
            .note("says yes or no, not what is left"),
    ]
}

fn limiter(calls: u32) -> DefaultDirectRateLimiter {
    RateLimiter::direct(Quota::per_second(NonZeroU32::new(calls).expect("not zero")))
}

fn rate_limit(run: &Run) -> Result<Sample, String> {
    let ten = limiter(10);
    let passed = (0..100).filter(|_| ten.check().is_ok()).count();
    expect(passed == 10, &format!("{passed} of 100 calls passed a limit of 10"))?;
    let limiter = limiter(1_000_000_000);
    measure(run, || || assert!(limiter.check().is_ok()))
}
