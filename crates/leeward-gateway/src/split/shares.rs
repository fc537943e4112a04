//! Weights, and the place that a draw, a turn or a key falls on: the pure part.
//!
//! Keys go by weighted rendezvous hashing (Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005): each place draws a number by
//! hashing the key with its name, and the best one, by weight, has it. When a share grows, keys come to that place alone; when it
//! shrinks, they leave that place alone; no key moves between two others.

use leeward_discovery::ring;

/// Some weights, one of them at least above 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shares {
    weights: Box<[u32]>,
    /// The hash of each name.
    names: Box<[u64]>,
    total: u64,
    /// How far apart two turns are. It has no divisor in common with the total, so that as many turns fall on every place once.
    stride: u64,
}

impl Shares {
    /// Weights of 10 and 90 are those of 1 and 9: a round of turns is as short as it can be.
    pub(crate) fn new<'a>(named: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let (names, mut weights): (Vec<u64>, Vec<u32>) =
            named.map(|(name, weight)| (ring::hash(name.as_bytes()), weight)).unzip();
        let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, u64::from(*weight)));
        for weight in &mut weights {
            *weight = u32::try_from(u64::from(*weight) / divisor.max(1)).unwrap_or(*weight);
        }
        let total = weights.iter().map(|weight| u64::from(*weight)).sum();
        Self { weights: weights.into(), names: names.into(), total, stride: stride(total) }
    }

    /// The place that a random number falls on.
    pub(crate) fn draw(&self, random: u64) -> usize {
        // The upper half of the product: the number as a fraction of the total.
        let point = (u128::from(random) * u128::from(self.total)) >> 64;
        self.at(u64::try_from(point).unwrap_or_default())
    }

    /// The place whose turn it is.
    pub(crate) fn turn(&self, number: u64) -> usize {
        let total = self.total.max(1);
        self.at(number % total * self.stride % total)
    }

    /// The place that a key belongs to.
    pub(crate) fn home(&self, key: u64) -> usize {
        let places = self.weights.iter().zip(&self.names).enumerate().filter(|(_, (weight, _))| **weight > 0);
        let waits = places.map(|(place, (weight, name))| (wait(key, *name) / f64::from(*weight), place));
        waits.min_by(|(one, _), (other, _)| one.total_cmp(other)).map_or(0, |(_, place)| place)
    }

    fn at(&self, mut point: u64) -> usize {
        for (place, weight) in self.weights.iter().enumerate() {
            match point.checked_sub(u64::from(*weight)) {
                Some(rest) => point = rest,
                None => return place,
            }
        }
        0
    }
}

/// How long a place waits for its turn at a key: exponential, so that twice the weight, which halves it, wins twice as often.
fn wait(key: u64, name: u64) -> f64 {
    let bits = ring::hash(&(key ^ name).to_le_bytes()) >> 11;
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit into an f64")]
    let share = (bits + 1) as f64 / 9_007_199_254_740_992.0;
    -share.ln()
}

/// Near the golden section of the total, which keeps the turns of each place apart.
fn stride(total: u64) -> u64 {
    let near = total * 618 / 1_000;
    (near.max(1)..=total).find(|stride| gcd(*stride, total) == 1).unwrap_or(1)
}

const fn gcd(mut one: u64, mut other: u64) -> u64 {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(weights: &[u32]) -> Shares {
        const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
        Shares::new(NAMES.into_iter().zip(weights.iter().copied()))
    }

    fn weights() -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(0_u32..200, 1..8)
            .prop_filter("one of them counts", |weights| weights.iter().any(|weight| *weight > 0))
    }

    proptest! {
        #[test]
        fn a_round_of_turns_gives_each_exactly_its_weight(weights in weights(), start in 0_u64..1 << 40) {
            let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            let shares = of(&weights);
            let mut given = vec![0_u32; weights.len()];
            for number in start..start + total {
                given[shares.turn(number)] += 1;
            }
            prop_assert_eq!(given, weights);
        }

        #[test]
        fn draws_spread_by_weight_and_never_fall_on_none(weights in weights()) {
            let shares = of(&weights);
            let total: u32 = weights.iter().sum();
            let mut given = vec![0_u32; weights.len()];
            // All of the range of a random number, in equal steps.
            for step in 0..10_000_u64 {
                given[shares.draw(step * (u64::MAX / 10_000) + 7)] += 1;
            }
            for (given, weight) in given.into_iter().zip(weights) {
                let wanted = f64::from(weight) / f64::from(total) * 10_000.0;
                prop_assert!((f64::from(given) - wanted).abs() <= 2.0, "{} of {}", given, wanted);
                prop_assert!(weight > 0 || given == 0);
            }
        }

        /// Of the keys, only those move that the place which grows gains.
        #[test]
        fn a_share_that_grows_takes_keys_and_moves_no_other(
            weights in weights(), growing in any::<prop::sample::Index>(), more in 1_u32..200,
        ) {
            let growing = growing.index(weights.len());
            let mut grown = weights.clone();
            grown[growing] += more;
            let (before, after) = (of(&weights), of(&grown));
            for key in (0..2_000_u64).map(|number| ring::hash(&number.to_le_bytes())) {
                let (old, new) = (before.home(key), after.home(key));
                prop_assert!(old == new || new == growing, "{} to {}", old, new);
            }
        }

        #[test]
        fn keys_spread_by_weight(weights in weights()) {
            let shares = of(&weights);
            let total: u32 = weights.iter().sum();
            let mut given = vec![0_u32; weights.len()];
            for key in (0..10_000_u64).map(|number| ring::hash(&number.to_le_bytes())) {
                given[shares.home(key)] += 1;
            }
            for (given, weight) in given.into_iter().zip(weights) {
                let share = f64::from(weight) / f64::from(total);
                // Five standard deviations.
                let off = 5.0 * (10_000.0 * share * (1.0 - share)).sqrt() + 1.0;
                prop_assert!((f64::from(given) - 10_000.0 * share).abs() <= off, "{} of {}", given, share);
            }
        }
    }

    #[test]
    fn a_small_share_is_spread_over_the_round() {
        let shares = of(&[95, 5]);
        let turns: Vec<u64> = (0..200).filter(|number| shares.turn(*number) == 1).collect();
        assert_eq!(turns.len(), 10);
        for pair in turns.windows(2) {
            assert!((12..=28).contains(&(pair[1] - pair[0])), "{turns:?}");
        }
    }

    #[test]
    fn the_ends_of_the_range_fall_on_the_ends_of_the_list() {
        let shares = of(&[0, 1, 3, 0]);
        assert_eq!((shares.draw(0), shares.draw(u64::MAX)), (1, 2));
    }
}
