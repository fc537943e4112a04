//! The bucket of a key: how events are shared out without losing the order of a key.

/// Buckets in which keys are sorted. A power of two, large enough for more relays than anybody runs, small enough to lease one by one.
pub const BUCKETS: u8 = 64;

/// The bucket of a key, below [`BUCKETS`]: FNV-1a over its bytes, folded. It is stored, and so never changes.
#[must_use]
pub fn bucket(key: &str) -> u8 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = (hash >> 32) ^ hash;
    u8::try_from(folded % u64::from(BUCKETS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_pinned_and_spread() {
        assert_eq!([bucket(""), bucket("o-1"), bucket("o-2")], [1, 49, 24]);
        let mut counts = [0_u32; 64];
        for number in 0..6400 {
            counts[usize::from(bucket(&format!("order-{number}")))] += 1;
        }
        assert!(counts.iter().all(|&count| (50..=150).contains(&count)), "{counts:?}");
    }
}
