//! Which of several endpoints gets a call: the pure part. Candidates and random numbers in, a place out.
//!
//! Nothing here allocates, and nothing here waits. Where endpoints have weights, each is drawn as often as its weight says;
//! costs and calls on their way are compared for the weight, so that shares follow the weights when calls overlap.

use std::cmp::Ordering;

use crate::ring::{Ring, bound};

/// Endpoints to choose from, by their places.
pub(crate) trait Candidates {
    /// How many places there are.
    fn len(&self) -> usize;
    /// Whether the one at this place may be chosen.
    fn is_eligible(&self, place: usize) -> bool;
    /// Its weight, at least 1.
    fn weight(&self, place: usize) -> u32;
    /// The largest of the weights.
    fn weight_max(&self) -> u32;
    /// Calls on their way to it.
    fn outstanding(&self, place: usize) -> u32;
    /// What a call to it is expected to cost with so many others on their way, for its weight.
    fn cost(&self, place: usize) -> f64;

    /// Calls on their way for its weight.
    fn load(&self, place: usize) -> f64 {
        f64::from(self.outstanding(place)) / f64::from(self.weight(place))
    }
}

/// Random numbers for one choice, all made of one, so that the shared source is asked once.
#[derive(Debug)]
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let scaled = (u128::from(self.next()) * bound as u128) >> 64;
        usize::try_from(scaled).unwrap_or(0)
    }

    /// In 0 .. 1.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit into an f64")]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / 9_007_199_254_740_992.0
    }
}

/// Places tried at random before all are gone through. In a large set most are eligible, so that few tries are enough.
const TRIES: u32 = 8;

/// One that is eligible, each as likely as its weight says.
fn draw(among: &impl Candidates, draws: &mut Draws, except: Option<usize>) -> Option<usize> {
    let may = |place: usize| Some(place) != except && among.is_eligible(place);
    let heaviest = among.weight_max();
    // One or two are gone through in less time than it takes to try.
    let tries = if among.len() < 3 { 0 } else { TRIES };
    for _ in 0..tries {
        let place = draws.below(among.len());
        let is_drawn = heaviest == 1 || draws.unit() * f64::from(heaviest) < f64::from(among.weight(place));
        if place < among.len() && is_drawn && may(place) {
            return Some(place);
        }
    }
    // A sample of one out of a stream (Efraimidis and Spirakis): each takes the place with its share of what came so far.
    let (mut sum, mut drawn) = (0.0, None);
    for place in (0..among.len()).filter(|place| may(*place)) {
        let weight = f64::from(among.weight(place));
        sum += weight;
        if draws.unit() * sum < weight {
            drawn = Some(place);
        }
    }
    drawn
}

/// The better of two that are drawn at random (Mitzenmacher, "The power of two choices"): the lower `by`.
fn better_of_two<C: Candidates>(among: &C, draws: &mut Draws, by: fn(&C, usize) -> f64) -> Option<usize> {
    let one = draw(among, draws, None)?;
    let Some(other) = draw(among, draws, Some(one)) else { return Some(one) };
    Some(lower(among, draws, by, one, other))
}

/// The lower of two; of equals one as its weight says.
fn lower<C: Candidates>(
    among: &C,
    draws: &mut Draws,
    by: fn(&C, usize) -> f64,
    one: usize,
    other: usize,
) -> usize {
    match by(among, one).total_cmp(&by(among, other)) {
        Ordering::Less => one,
        Ordering::Greater => other,
        Ordering::Equal => {
            let (own, others) = (f64::from(among.weight(one)), f64::from(among.weight(other)));
            if draws.unit() * (own + others) < own { one } else { other }
        }
    }
}

pub(crate) fn peak_ewma(among: &impl Candidates, draws: &mut Draws) -> Option<usize> {
    better_of_two(among, draws, Candidates::cost)
}

pub(crate) fn random_of_two(among: &impl Candidates, draws: &mut Draws) -> Option<usize> {
    better_of_two(among, draws, Candidates::load)
}

/// The one with the lowest load of all; of several, one as its weight says.
pub(crate) fn least_request(among: &impl Candidates, draws: &mut Draws) -> Option<usize> {
    let (mut least, mut sum, mut chosen) = (f64::INFINITY, 0.0, None);
    for place in (0..among.len()).filter(|place| among.is_eligible(*place)) {
        let (load, weight) = (among.load(place), f64::from(among.weight(place)));
        if load < least {
            (least, sum) = (load, 0.0);
        } else if load > least {
            continue;
        }
        sum += weight;
        if draws.unit() * sum < weight {
            chosen = Some(place);
        }
    }
    chosen
}

/// The one whose turn it is. A round has as many turns as all eligible ones weigh; each has as many of them as it weighs
/// itself, and those of a heavy one lie apart.
pub(crate) fn round_robin(among: &impl Candidates, turn: u64) -> Option<usize> {
    let eligible = || (0..among.len()).filter(|place| among.is_eligible(*place));
    let weights = || eligible().map(|place| u64::from(among.weight(place)));
    if weights().is_sorted_by(|one, next| one == next) {
        let place = turn.checked_rem(eligible().count() as u64)?;
        return eligible().nth(usize::try_from(place).unwrap_or(0));
    }
    let round = weights().sum();
    let mut left = apart(turn.checked_rem(round)?, round);
    eligible().find(|place| {
        let weight = u64::from(among.weight(*place));
        let is_its_turn = left < weight;
        left = left.wrapping_sub(weight);
        is_its_turn
    })
}

/// The turns of a round in an order in which neighbours are far apart: steps of about the golden section, which meet every
/// turn once since their length has no divisor in common with the round's.
fn apart(slot: u64, round: u64) -> u64 {
    let golden = u64::try_from(u128::from(round) * 618 / 1_000).unwrap_or(1).max(1);
    let step = (golden..=round).find(|step| divisor(*step, round) == 1).unwrap_or(1);
    u64::try_from(u128::from(slot) * u128::from(step) % u128::from(round)).unwrap_or(0)
}

/// The greatest common divisor.
const fn divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The first on the way round from `key` that is eligible and below its bound.
pub(crate) fn ring_hash(
    among: &impl Candidates,
    ring: &Ring,
    key: u64,
    bounded_load: Option<f64>,
) -> Option<usize> {
    let eligible = || (0..among.len()).filter(|place| among.is_eligible(*place));
    let sums = eligible().fold((0_u64, 0_u64), |(calls, weights), place| {
        (calls + u64::from(among.outstanding(place)), weights + u64::from(among.weight(place)))
    });
    let fits = |place: usize| {
        bounded_load.is_none_or(|bounded| {
            let room = bound(bounded, sums.0, among.weight(place), sums.1);
            f64::from(among.outstanding(place)) < room
        })
    };
    let mut way = ring.from(key).filter(|place| among.is_eligible(*place));
    let first = way.next()?;
    if fits(first) {
        return Some(first);
    }
    Some(way.find(|place| fits(*place)).unwrap_or(first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    struct One {
        eligible: bool,
        weight: u32,
        outstanding: u32,
        latency: f64,
    }

    type Choose = fn(&Vec<One>, &mut Draws) -> Option<usize>;

    const IDLE: One = One { eligible: true, weight: 1, outstanding: 0, latency: 1.0 };

    impl Candidates for Vec<One> {
        fn len(&self) -> usize {
            self.as_slice().len()
        }
        fn is_eligible(&self, place: usize) -> bool {
            self[place].eligible
        }
        fn weight(&self, place: usize) -> u32 {
            self[place].weight
        }
        fn weight_max(&self) -> u32 {
            self.iter().map(|one| one.weight).max().unwrap_or(1)
        }
        fn outstanding(&self, place: usize) -> u32 {
            self[place].outstanding
        }
        fn cost(&self, place: usize) -> f64 {
            (self.load(place) + 1.0) * self[place].latency
        }
    }

    fn weighing(weights: &[u32]) -> Vec<One> {
        weights.iter().map(|&weight| One { weight, ..IDLE }).collect()
    }

    fn shares(
        ones: &Vec<One>,
        calls: u64,
        mut choose: impl FnMut(&Vec<One>, u64) -> Option<usize>,
    ) -> Vec<f64> {
        let mut counts = vec![0.0; ones.len()];
        for call in 0..calls {
            counts[choose(ones, call).unwrap()] += 1.0;
        }
        #[allow(clippy::cast_precision_loss, reason = "a test's own count")]
        counts.into_iter().map(|count| count / calls as f64).collect()
    }

    fn near(shares: &[f64], expected: &[f64], by: f64) {
        assert!(shares.iter().zip(expected).all(|(a, b)| (a - b).abs() <= by), "{shares:?} {expected:?}");
    }

    #[test]
    fn a_draw_follows_the_weights_and_leaves_out_whoever_may_not() {
        let mut ones = weighing(&[1, 2, 5, 2]);
        ones[3].eligible = false;
        let mut draws = Draws::new(7);
        let shares = shares(&ones, 40_000, |ones, _| draw(ones, &mut draws, None));
        near(&shares, &[0.125, 0.25, 0.625, 0.0], 0.01);
        assert_eq!(draw(&ones, &mut draws, Some(2)).filter(|place| *place == 2), None);
    }

    #[test]
    fn one_of_a_thousand_is_found() {
        let mut ones = vec![One { eligible: false, ..IDLE }; 1_000];
        ones[613].eligible = true;
        let mut draws = Draws::new(3);
        for choose in [peak_ewma, random_of_two, least_request] {
            assert_eq!(choose(&ones, &mut draws), Some(613));
        }
        assert_eq!(round_robin(&ones, 99), Some(613));
    }

    #[test]
    fn turns_come_as_often_as_the_weights_say_and_apart() {
        let ones = weighing(&[5, 2, 1]);
        let round: Vec<usize> = (0..8).filter_map(|turn| round_robin(&ones, turn)).collect();
        assert_eq!([0, 1, 2].map(|place| round.iter().filter(|it| **it == place).count()), [5, 2, 1]);
        let in_a_row = round.chunk_by(|a, b| a == b).map(<[usize]>::len).max();
        assert!(in_a_row <= Some(2), "{round:?}");
        let equal: Vec<_> = (0..6).map(|turn| round_robin(&weighing(&[3, 3, 3]), turn)).collect();
        assert_eq!(equal.iter().filter(|it| **it == Some(1)).count(), 2, "{equal:?}");
    }

    #[test]
    fn the_turns_of_one_that_is_out_are_shared() {
        let mut ones = weighing(&[1; 4]);
        ones[1].eligible = false;
        near(&shares(&ones, 3_000, round_robin), &[1.0 / 3.0, 0.0, 1.0 / 3.0, 1.0 / 3.0], 0.001);
    }

    /// Calls that last: each choice adds one, and the oldest ends.
    fn overlapping(weights: &[u32], choose: Choose) -> Vec<f64> {
        let (mut ones, mut draws) = (weighing(weights), Draws::new(5));
        let mut on_their_way = std::collections::VecDeque::new();
        let mut counts = vec![0.0; weights.len()];
        for _ in 0..20_000 {
            let place = choose(&ones, &mut draws).unwrap();
            counts[place] += 1.0 / 20_000.0;
            ones[place].outstanding += 1;
            on_their_way.push_back(place);
            if on_their_way.len() > 60 {
                ones[on_their_way.pop_front().unwrap()].outstanding -= 1;
            }
        }
        counts
    }

    #[test]
    fn shares_of_overlapping_calls_follow_the_weights() {
        let each: [Choose; 3] = [peak_ewma, random_of_two, least_request];
        for choose in each {
            near(&overlapping(&[1, 2, 3], choose), &[1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0], 0.03);
            near(&overlapping(&[1, 1], choose), &[0.5, 0.5], 0.02);
        }
    }

    #[test]
    fn the_slow_one_of_two_is_left_alone_by_cost() {
        let mut ones = weighing(&[1, 1]);
        ones[0].latency = 10.0;
        let mut draws = Draws::new(1);
        near(&shares(&ones, 500, |ones, _| peak_ewma(ones, &mut draws)), &[0.0, 1.0], 0.0);
    }

    #[test]
    fn a_key_stays_until_its_endpoint_is_full_or_out() {
        let ids = ["a", "b", "c", "d"];
        let ring = Ring::new(ids.iter().map(|id| (*id, 1)));
        let mut ones = weighing(&[1; 4]);
        let home = ring_hash(&ones, &ring, 42, Some(1.25)).unwrap();
        assert_eq!(ring_hash(&ones, &ring, 42, Some(1.25)), Some(home));
        ones[home].outstanding = 10;
        let second = ring_hash(&ones, &ring, 42, Some(1.25)).unwrap();
        assert_ne!(second, home);
        assert_eq!(ring_hash(&ones, &ring, 42, None), Some(home), "without a bound it stays");
        ones[home] = One { eligible: false, ..IDLE };
        assert_eq!(ring_hash(&ones, &ring, 42, Some(1.25)), Some(second));
    }

    proptest! {
        /// However keys fall, nobody carries more than its bound.
        #[test]
        fn the_bound_is_kept(keys in prop::collection::vec(0_u64..3, 1..200), weights in prop::collection::vec(1_u32..4, 1..8)) {
            let ids: Vec<String> = (0..weights.len()).map(|number| format!("e{number}")).collect();
            let ring = Ring::new(ids.iter().map(String::as_str).zip(weights.iter().copied()));
            let mut ones = weighing(&weights);
            let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            for (calls, key) in (0_u64..).zip(keys) {
                let place = ring_hash(&ones, &ring, crate::ring::hash(&key.to_le_bytes()), Some(1.25)).unwrap();
                ones[place].outstanding += 1;
                prop_assert!(f64::from(ones[place].outstanding) <= bound(1.25, calls, weights[place], sum));
            }
        }

        /// Whoever is chosen may be, and somebody is while anybody may be.
        #[test]
        fn the_chosen_is_eligible(
            ones in prop::collection::vec((any::<bool>(), 1_u32..70_000, 0_u32..50), 0..40),
            seed in any::<u64>(),
        ) {
            let ones: Vec<One> = ones.into_iter()
                .map(|(eligible, weight, outstanding)| One { eligible, weight, outstanding, latency: 1.0 }).collect();
            let ids: Vec<String> = (0..ones.len()).map(|number| number.to_string()).collect();
            let ring = Ring::new(ids.iter().map(String::as_str).zip(ones.iter().map(|one| one.weight)));
            let mut draws = Draws::new(seed);
            let anybody = ones.iter().any(|one| one.eligible);
            for chosen in [
                peak_ewma(&ones, &mut draws), random_of_two(&ones, &mut draws), least_request(&ones, &mut draws),
                round_robin(&ones, seed), ring_hash(&ones, &ring, seed, Some(1.25)),
            ] {
                prop_assert_eq!(chosen.is_some(), anybody);
                prop_assert!(chosen.is_none_or(|place| ones[place].eligible));
            }
        }
    }
}
