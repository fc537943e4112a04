//! Every interleaving of two threads at one limit.

use std::num::NonZeroU32;

use loom::thread;

use super::*;

const NOW: Instant = Instant::from_nanos(10_000_000_000);

fn passed(limiter: &RateLimiter, calls: u32) -> u32 {
    (0..calls).map(|_| u32::from(limiter.check(NOW).allowed)).sum()
}

fn exactly_the_limit_passes(rule: impl Into<Rule> + Copy + Send + Sync + 'static) {
    loom::model(move || {
        let limiter = RateLimiter::new(&rule).unwrap();
        let thread = thread::spawn({
            let limiter = limiter.clone();
            move || passed(&limiter, 2)
        });
        let here = passed(&limiter, 2);
        assert_eq!(here + thread.join().unwrap(), 3);
        assert!(!limiter.check(NOW).allowed);
    });
}

#[test]
fn loom_gcra_lets_exactly_the_burst_through() {
    exactly_the_limit_passes(RateLimit::per_second(NonZeroU32::new(3).unwrap()));
}

#[test]
fn loom_a_sliding_window_lets_exactly_the_limit_through() {
    exactly_the_limit_passes(SlidingWindow {
        limit: NonZeroU32::new(3).unwrap(),
        period: Duration::from_secs(1),
        mode: crate::mode::Mode::Enforced,
    });
}
