//! Consistent hashing with bounded loads: the pure part.
//!
//! **Rule.** Each endpoint stands at points of a ring, as many as its weight says, each found by hashing its id. A key
//! goes to the first endpoint at or after its own hash, so that a key stays where it is while other endpoints come and
//! go: of `n` equal endpoints that lose one, one key in `n` moves (Karger et al., "Consistent hashing and random trees",
//! 1997). An endpoint that already carries `bound` times its fair share of the calls on their way is passed over for the
//! next one on the ring (Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with bounded loads", 2018), so that one
//! busy key does not drown the endpoint it falls on.
//!
//! Hashes are the same in every process and version, so that several gateways, and one after a restart, agree.

/// Points of an endpoint of mean weight. The shares of equal endpoints then differ by about 1 / sqrt(128), 9 %.
const POINTS: f64 = 128.0;
/// The most points of one endpoint, and with them the ratio of weights that is told apart.
const POINTS_MAX: f64 = 4_096.0;

/// Where keys go, for one set of endpoints.
#[derive(Debug, Default)]
pub struct Ring {
    /// Hash and place of the endpoint in its set, in the order of the hashes.
    points: Box<[(u64, u32)]>,
}

impl Ring {
    /// The ring of endpoints with these ids and weights, in this order. A weight of 0 counts as 1.
    pub fn new<'a>(endpoints: impl Iterator<Item = (&'a str, u32)> + Clone) -> Self {
        let weight = |weight: u32| f64::from(weight.max(1));
        let (count, sum) = endpoints.clone().fold((0.0, 0.0), |(n, sum), (_, w)| (n + 1.0, sum + weight(w)));
        let mut points = Vec::new();
        for (place, (id, own)) in (0_u32..).zip(endpoints) {
            let wanted = (POINTS * weight(own) * count / sum).round().clamp(1.0, POINTS_MAX);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 4096")]
            let wanted = wanted as u64;
            let base = hash(id.as_bytes());
            points.extend((0..wanted).map(|number| (mix(base ^ mix(number.wrapping_add(1))), place)));
        }
        points.sort_unstable();
        Self { points: points.into() }
    }

    /// The places of the endpoints on the way round from `key`; an endpoint comes as often as it has points.
    pub fn from(&self, key: u64) -> impl Iterator<Item = usize> {
        let start = self.points.partition_point(|(point, _)| *point < key);
        let (before, after) = self.points.split_at(start);
        after.iter().chain(before).map(|(_, place)| *place as usize)
    }
}

/// The hash of a key or an id: FNV-1a, and the finalizer of MurmurHash3 for the upper bits.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}

const fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Calls on their way that one endpoint may have, the new one included, when all have `outstanding` together.
pub(crate) fn bound(bounded_load: f64, outstanding: u64, weight: u32, weights: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "counts of calls and sums of weights are far below 2^52")]
    let (all, weights) = ((outstanding + 1) as f64, weights.max(1) as f64);
    (bounded_load * all * f64::from(weight.max(1)) / weights).ceil()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(count: u32) -> Vec<String> {
        (0..count).map(|number| format!("10.0.0.{number}:8080")).collect()
    }

    fn ring(ids: &[String]) -> Ring {
        Ring::new(ids.iter().map(|id| (id.as_str(), 1)))
    }

    fn owner<'i>(ids: &'i [String], ring: &Ring, key: u64) -> &'i str {
        &ids[ring.from(key).next().unwrap()]
    }

    #[test]
    fn hashes_never_change() {
        assert_eq!((hash(b""), hash(b"user-7")), (0xefd0_1f60_ba99_2926, 0x05f4_5893_168b_eb5f));
    }

    #[test]
    fn an_empty_ring_has_nobody() {
        assert_eq!(Ring::default().from(7).next(), None);
        assert_eq!(Ring::new(std::iter::empty()).from(7).next(), None);
    }

    #[test]
    fn shares_follow_the_weights() {
        let ring = Ring::new([("a", 1), ("b", 2), ("c", 5)].into_iter());
        let mut shares = [0_u32; 3];
        for key in 0..80_000_u64 {
            shares[ring.from(mix(key)).next().unwrap()] += 1;
        }
        for (share, expected) in shares.into_iter().zip([10_000.0, 20_000.0, 50_000.0]) {
            assert!((f64::from(share) / expected - 1.0).abs() < 0.3, "{shares:?}");
        }
    }

    #[test]
    fn a_bound_is_the_fair_share_and_a_bit() {
        assert_eq!(bound(1.25, 0, 1, 4), 1.0, "the first call always has a place");
        assert_eq!(bound(1.25, 39, 1, 4), 13.0);
        assert_eq!(bound(1.25, 39, 3, 4), 38.0);
    }

    proptest! {
        /// When one leaves, its own keys move and no other does.
        #[test]
        fn only_the_keys_of_the_one_that_leaves_move(count in 2_u32..30, leaving in any::<prop::sample::Index>(), seed in any::<u64>()) {
            let all = ids(count);
            let mut rest = all.clone();
            let gone = rest.remove(leaving.index(all.len()));
            let (before, after) = (ring(&all), ring(&rest));
            let mut moved = 0;
            for key in (0..2_000).map(|number: u64| mix(number ^ seed)) {
                let (old, new) = (owner(&all, &before, key), owner(&rest, &after, key));
                if old == gone {
                    moved += 1;
                } else {
                    prop_assert_eq!(old, new);
                }
            }
            prop_assert!(f64::from(moved) < 2.0 * 2_000.0 / f64::from(count), "{} of 2000 from {}", moved, count);
        }

        /// Going round meets everybody.
        #[test]
        fn the_way_round_meets_everybody(count in 1_u32..40, key in any::<u64>()) {
            let all = ids(count);
            let mut met: Vec<usize> = ring(&all).from(key).collect();
            met.sort_unstable();
            met.dedup();
            prop_assert_eq!(met.len(), all.len());
        }
    }
}
