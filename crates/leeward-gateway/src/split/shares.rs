//! Weights, and the place that a draw or a turn falls on: the pure part.

/// Some weights, one of them at least above 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shares {
    weights: Box<[u32]>,
    total: u64,
    /// How far apart two turns are. It has no divisor in common with the total, so that as many turns fall on every place once.
    stride: u64,
}

impl Shares {
    /// Weights of 10 and 90 are those of 1 and 9: a round of turns is as short as it can be.
    pub(crate) fn new(weights: impl Iterator<Item = u32>) -> Self {
        let mut weights: Box<[u32]> = weights.collect();
        let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, u64::from(*weight)));
        for weight in &mut weights {
            *weight = u32::try_from(u64::from(*weight) / divisor.max(1)).unwrap_or(*weight);
        }
        let total = weights.iter().map(|weight| u64::from(*weight)).sum();
        Self { weights, total, stride: stride(total) }
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

    fn weights() -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(0_u32..200, 1..8)
            .prop_filter("one of them counts", |weights| weights.iter().any(|weight| *weight > 0))
    }

    proptest! {
        #[test]
        fn a_round_of_turns_gives_each_exactly_its_weight(weights in weights(), start in 0_u64..1 << 40) {
            let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            let shares = Shares::new(weights.iter().copied());
            let mut given = vec![0_u32; weights.len()];
            for number in start..start + total {
                given[shares.turn(number)] += 1;
            }
            prop_assert_eq!(given, weights);
        }

        #[test]
        fn draws_spread_by_weight_and_never_fall_on_none(weights in weights()) {
            let shares = Shares::new(weights.iter().copied());
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
    }

    #[test]
    fn a_small_share_is_spread_over_the_round() {
        let shares = Shares::new([95, 5].into_iter());
        let turns: Vec<u64> = (0..200).filter(|number| shares.turn(*number) == 1).collect();
        assert_eq!(turns.len(), 10);
        for pair in turns.windows(2) {
            assert!((12..=28).contains(&(pair[1] - pair[0])), "{turns:?}");
        }
    }

    #[test]
    fn the_ends_of_the_range_fall_on_the_ends_of_the_list() {
        let shares = Shares::new([0, 1, 3, 0].into_iter());
        assert_eq!((shares.draw(0), shares.draw(u64::MAX)), (1, 2));
    }
}
