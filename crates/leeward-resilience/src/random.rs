//! Randomness as an argument: jitter and random choices come from an [`Rng`] that a test can seed.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random numbers for jitter, sampling and choices. Never for keys or tokens.
pub trait Rng: Send + Sync + Debug + 'static {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;

    /// A number in `0.0 <= x < 1.0`.
    fn unit_f64(&self) -> f64 {
        // 53 bits is what an f64 holds exactly.
        #[allow(clippy::cast_precision_loss, reason = "53 bits fit into an f64")]
        let numerator = (self.next_u64() >> 11) as f64;
        numerator / 9_007_199_254_740_992.0
    }

    /// A number in `0 .. bound`, or 0 when `bound` is 0.
    fn below(&self, bound: u64) -> u64 {
        // Lemire's multiply-shift; the bias of at most bound / 2^64 does not matter for jitter.
        u64::try_from((u128::from(self.next_u64()) * u128::from(bound)) >> 64).unwrap_or(0)
    }
}

/// SplitMix64 over an atomic counter: lock-free, shared by reference, and the same seed gives the same numbers.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014).
#[derive(Debug)]
pub struct FastRng {
    counter: AtomicU64,
}

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl FastRng {
    /// Seeded by the standard library's per-process hash keys.
    #[must_use]
    pub fn from_entropy() -> Self {
        Self::seeded(RandomState::new().build_hasher().finish())
    }

    /// The same numbers for the same seed.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self { counter: AtomicU64::new(seed) }
    }
}

impl Default for FastRng {
    fn default() -> Self {
        Self::from_entropy()
    }
}

impl Rng for FastRng {
    fn next_u64(&self) -> u64 {
        let counter = self.counter.fetch_add(GOLDEN_GAMMA, Ordering::Relaxed).wrapping_add(GOLDEN_GAMMA);
        let mixed = (counter ^ (counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_splitmix64() {
        // Reference values of the algorithm for seed 0.
        let rng = FastRng::seeded(0);
        assert_eq!(rng.next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(rng.next_u64(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn numbers_stay_in_range_and_spread() {
        let rng = FastRng::seeded(7);
        let mut halves = [0_u32; 2];
        for _ in 0..1000 {
            let unit = rng.unit_f64();
            assert!((0.0..1.0).contains(&unit));
            assert!(rng.below(10) < 10);
            halves[usize::from(unit >= 0.5)] += 1;
        }
        assert!(halves.iter().all(|&count| count > 400), "{halves:?}");
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn two_sources_of_entropy_differ() {
        assert_ne!(FastRng::from_entropy().next_u64(), FastRng::from_entropy().next_u64());
    }
}
