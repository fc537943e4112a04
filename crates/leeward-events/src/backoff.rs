//! How long to wait before trying again.

use std::time::Duration;

use leeward_resilience::Rng;

/// Doublings after which the delay no longer grows, whatever its bounds: past a factor of a million.
const DOUBLINGS_MAX: u32 = 20;

/// Exponential delays with jitter: the n-th failure waits a random time between half and the whole of `first * 2^(n-1)`, at most `longest`.
///
/// The jitter keeps those that failed together from coming back together; the half keeps a delay from being none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The upper end of the first delay.
    pub first: Duration,
    /// The upper end of every delay.
    pub longest: Duration,
}

impl Backoff {
    /// The delay after the n-th failure in a row, counted from 1.
    #[must_use]
    pub fn delay(&self, failures: u32, rng: &dyn Rng) -> Duration {
        let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        whole.mul_f64(0.5 + rng.unit_f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeward_resilience::FastRng;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn delays_double_with_jitter_up_to_the_longest(failures in 1_u32..100, seed: u64) {
            let backoff = Backoff { first: Duration::from_millis(10), longest: Duration::from_secs(5) };
            let delay = backoff.delay(failures, &FastRng::seeded(seed));
            let whole = Duration::from_millis(10).saturating_mul(1 << (failures - 1).min(20)).min(backoff.longest);
            prop_assert!(delay >= whole / 2 && delay <= whole, "{failures}: {delay:?}");
        }
    }
}
