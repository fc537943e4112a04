//! A policy for each key.

use std::num::NonZeroU32;

use leeward_resilience::{Instant, KeyedRateLimiter, RateLimit};

const NOW: Instant = Instant::from_nanos(10_000_000_000);

/// Rate limits only: what else has keys belongs here too.
#[test]
fn defect_11_keys_share_nothing_by_accident_and_memory_is_bounded() {
    let rule = RateLimit::per_second(NonZeroU32::new(2).unwrap());
    let limiter = KeyedRateLimiter::<String>::new(&rule, 1_600).unwrap();
    let passes = |key: &str| (0..5).filter(|_| limiter.check(key, NOW).allowed).count();
    // Hosts of one service are different keys, and so are services with the same host name in front.
    for key in ["orders/10.0.0.1", "orders/10.0.0.2", "orders", "payments/10.0.0.1", ""] {
        assert_eq!(passes(key), 2, "{key}");
        assert_eq!(passes(key), 0, "{key}");
    }
    for number in 0..100_000 {
        let _ = limiter.check(&number.to_string(), NOW);
        assert!(limiter.keys() <= 1_600);
    }
    assert_eq!(limiter.keys(), 1_600);
}
