//! Which product is bought: a few sell often, most seldom.

use leeward_resilience::Rng;

/// Products by popularity, with the sums of their shares.
#[derive(Debug)]
pub(super) struct Zipf {
    /// The path of each product's cart line.
    paths: Vec<String>,
    sums: Vec<f64>,
}

impl Zipf {
    /// Shuffles `products` by `seed`, so that popularity does not follow the alphabet, and gives the one at place k
    /// the weight 1 / k^`exponent`.
    pub(super) fn new(mut products: Vec<String>, exponent: f64, seed: u64) -> Self {
        fastrand::Rng::with_seed(seed).shuffle(&mut products);
        let mut sum = 0.0;
        #[allow(clippy::cast_precision_loss, reason = "some hundred products")]
        let sums = (1..=products.len()).map(|place| {
            sum += (place as f64).powf(exponent).recip();
            sum
        });
        let sums = sums.collect();
        let path = |id: &String| format!("{}/cart/items/{id}", super::shop::API);
        Self { paths: products.iter().map(path).collect(), sums }
    }

    /// Two different products, as the paths of their cart lines.
    pub(super) fn two(&self, rng: &impl Rng) -> (&str, &str) {
        let first = self.one(rng);
        let second = loop {
            let second = self.one(rng);
            if second != first {
                break second;
            }
        };
        (&self.paths[first], &self.paths[second])
    }

    fn one(&self, rng: &impl Rng) -> usize {
        let at = rng.unit_f64() * self.sums.last().copied().unwrap_or_default();
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use leeward_resilience::FastRng;

    use super::*;

    #[test]
    fn the_first_sells_as_often_as_its_share_says() {
        let ids = || (0..200).map(|id| id.to_string()).collect::<Vec<_>>();
        let (zipf, rng) = (Zipf::new(ids(), 1.0, 7), FastRng::seeded(7));
        let draws = 100_000;
        let first = (0..draws).filter(|_| zipf.one(&rng) == 0).count();
        // The sum of 1/k up to 200 is 5.878.
        assert!((16_600..17_400).contains(&first), "{first} of {draws}");
        assert!((0..1_000).all(|_| {
            let (a, b) = zipf.two(&rng);
            a != b
        }));
        assert_ne!(zipf.paths[0], Zipf::new(ids(), 1.0, 8).paths[0]);
    }
}
