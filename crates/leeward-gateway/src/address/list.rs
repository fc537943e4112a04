//! Who may come at all, by address: networks that are let in, and networks that are not.
//!
//! The networks of a list are kept as ranges that do not overlap, in order, so that a question costs one binary search: some twenty
//! comparisons in a list of a million. Which of two networks is the longer one decides nothing, since being denied wins.

use std::net::IpAddr;
use std::sync::Arc;

use super::Network;

/// First and last address of each range.
type Ranges<T> = Arc<[(T, T)]>;

/// The networks of a list, as one set of addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Networks {
    /// As they stand in the configuration: networks, and `file:PATH` for the networks of a file.
    written: Vec<String>,
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl Default for Networks {
    fn default() -> Self {
        Self::new(Vec::new(), &[])
    }
}

impl Networks {
    /// All addresses of `networks`, which the configuration gives as `written`.
    #[must_use]
    pub fn new(written: Vec<String>, networks: &[Network]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match (network.first(), network.last()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (first, last) => v6.push((bits(first), bits(last))),
            }
        }
        Self { written, v4: merged(v4), v6: merged(v6) }
    }

    /// Whether the address is one of them. An IPv4 address inside IPv6 is asked for as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => holds(&self.v4, address.to_bits()),
            IpAddr::V6(address) => holds(&self.v6, address.to_bits()),
        }
    }

    /// Whether there is no address among them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// How many ranges of addresses they are.
    #[must_use]
    pub fn ranges(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// The entries of the configuration.
    #[must_use]
    pub fn written(&self) -> &[String] {
        &self.written
    }
}

/// Who may come.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Addresses {
    /// Only these. Default: `None`, everybody.
    pub allow: Option<Networks>,
    /// Not these, whatever `allow` says. Default: none.
    pub deny: Networks,
}

impl Addresses {
    /// Whether a client with this address may come.
    #[must_use]
    pub fn admit(&self, address: IpAddr) -> bool {
        let is_allowed = self.allow.as_ref().is_none_or(|allow| allow.contains(address));
        is_allowed && !self.deny.contains(address)
    }

    /// Whether everybody may.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// In order, with those that overlap made one.
fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Ranges<T> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let overlaps = next.0 <= kept.1;
        if overlaps {
            kept.1 = kept.1.max(next.1);
        }
        overlaps
    });
    ranges.into()
}

fn holds<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let begun = ranges.partition_point(|(first, _)| *first <= address);
    begun.checked_sub(1).is_some_and(|at| address <= ranges[at].1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        let parsed: Vec<Network> = texts.iter().map(|text| text.parse().unwrap()).collect();
        Networks::new(Vec::new(), &parsed)
    }

    fn admits(allow: Option<&[&str]>, deny: &[&str], address: &str) -> bool {
        Addresses { allow: allow.map(networks), deny: networks(deny) }.admit(address.parse().unwrap())
    }

    #[test]
    fn denied_wins_over_allowed_however_long_the_networks_are() {
        assert!(admits(None, &[], "1.2.3.4"));
        assert!(admits(None, &["1.2.3.5"], "1.2.3.4") && !admits(None, &["1.2.3.4"], "1.2.3.4"));
        let inside: Option<&[&str]> = Some(&["10.0.0.0/8", "2001:db8::/32"]);
        assert!(admits(inside, &[], "10.255.255.255") && admits(inside, &[], "2001:db8::1"));
        assert!(!admits(inside, &[], "11.0.0.0") && !admits(inside, &[], "9.255.255.255"));
        assert!(
            !admits(inside, &["10.9.0.0/16"], "10.9.0.1") && admits(inside, &["10.9.0.0/16"], "10.8.0.1")
        );
        assert!(!admits(Some(&["10.9.0.1"]), &["10.0.0.0/8"], "10.9.0.1"), "the shorter one denies too");
    }

    #[test]
    fn ipv4_inside_ipv6_is_ipv4_on_both_sides() {
        for (network, address) in [
            ("1.2.3.0/24", "::ffff:1.2.3.4"),
            ("::ffff:1.2.3.0/120", "1.2.3.4"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
        ] {
            assert!(!admits(None, &[network], address), "{network} {address}");
        }
        assert!(admits(None, &["::/0"], "1.2.3.4") && !admits(None, &["::/0"], "::2"));
        assert!(!admits(None, &["0.0.0.0/0"], "255.255.255.255") && admits(None, &["0.0.0.0/0"], "::2"));
    }

    #[test]
    fn networks_that_overlap_are_one_range() {
        assert_eq!(networks(&["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "11.0.0.0/8"]).ranges(), 2);
    }

    proptest! {
        /// Whatever the networks, and wherever the address lies: the ranges say what the networks say one by one.
        #[test]
        fn ranges_say_what_the_networks_say(
            v4 in prop::collection::vec((0_u32..64, 26_u8..=32), 0..12),
            v6 in prop::collection::vec((0_u128..64, 122_u8..=128), 0..12),
            asked in 0_u32..80,
        ) {
            let all: Vec<Network> = v4
                .iter()
                .map(|(bits, prefix)| format!("{}/{prefix}", Ipv4Addr::from_bits(*bits)))
                .chain(v6.iter().map(|(bits, prefix)| format!("{}/{prefix}", Ipv6Addr::from_bits(*bits))))
                .map(|text| text.parse().unwrap())
                .collect();
            let set = Networks::new(Vec::new(), &all);
            for address in [IpAddr::V4(Ipv4Addr::from_bits(asked)), IpAddr::V6(Ipv6Addr::from_bits(asked.into()))] {
                let one_by_one = all.iter().any(|network| network.contains(address));
                prop_assert_eq!(set.contains(address), one_by_one, "{}", address);
            }
        }
    }
}
