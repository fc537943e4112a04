//! Networks, and whose request it is: the client's address behind trusted proxies.
//!
//! The rule: the peer of the connection is the client, unless it is a trusted proxy; then `X-Forwarded-For` is
//! walked from the right over trusted addresses, and the first one that is not trusted is the client. The leftmost
//! entry is never taken by itself: the client wrote it.

mod list;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use http::HeaderMap;

use crate::decisions::Text;

pub use self::list::{Addresses, Networks};

/// Entries of `X-Forwarded-For` looked at; a longer chain ends at the last address that was read.
const HOPS_MAX: usize = 32;

/// An address as services read it. Said on every request, so that the usual kind is put together by hand.
pub(crate) fn text(address: IpAddr) -> Text<ADDRESS_BYTES_MAX> {
    let IpAddr::V4(address) = address else { return Text::from(&*address.to_string()) };
    let mut text = [b'.'; ADDRESS_BYTES_MAX];
    let mut end = 0;
    for octet in address.octets() {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(octet).as_bytes();
        text[end..end + digits.len()].copy_from_slice(digits);
        end += digits.len() + 1;
    }
    Text::from_ascii(&text[..end - 1])
}

/// The longest text of an address, which is one of IPv6 with an IPv4 address inside.
const ADDRESS_BYTES_MAX: usize = 45;

/// An address range such as `10.0.0.0/8` or `::1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is not an address range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("its address or its prefix length is wrong")]
pub struct NotANetwork;

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| NotANetwork)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(bits);
        if prefix > bits {
            return Err(NotANetwork);
        }
        // An IPv4 network inside IPv6 is that IPv4 network, as its addresses are.
        match address.to_canonical() {
            v4 @ IpAddr::V4(_) if address.is_ipv6() && prefix >= 96 => {
                Ok(Self { address: v4, prefix: prefix - 96 })
            }
            _ => Ok(Self { address, prefix }),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Network {
    /// Whether every address of its kind lies in the range.
    #[must_use]
    pub fn is_everyone(&self) -> bool {
        self.prefix == 0
    }

    /// Its lowest address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(net) => IpAddr::V4(Ipv4Addr::from_bits(net.to_bits() & !self.hosts_v4())),
            IpAddr::V6(net) => IpAddr::V6(Ipv6Addr::from_bits(net.to_bits() & !self.hosts_v6())),
        }
    }

    /// Its highest address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(net) => IpAddr::V4(Ipv4Addr::from_bits(net.to_bits() | self.hosts_v4())),
            IpAddr::V6(net) => IpAddr::V6(Ipv6Addr::from_bits(net.to_bits() | self.hosts_v6())),
        }
    }

    /// The bits behind the prefix.
    fn hosts_v4(&self) -> u32 {
        u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0)
    }

    fn hosts_v6(&self) -> u128 {
        u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0)
    }

    /// Whether the address lies in the range. An IPv4 address inside IPv6 is compared as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.prefix);
                shift == 32 || net.to_bits() >> shift == ip.to_bits() >> shift
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.prefix);
                shift == 128 || net.to_bits() >> shift == ip.to_bits() >> shift
            }
            _ => false,
        }
    }
}

/// The client's address.
#[must_use]
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if trusted.is_empty() || !is_trusted(peer) {
        return peer;
    }
    let mut client = peer;
    let lines: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    for hop in hops.take(HOPS_MAX) {
        // What cannot be read ends the walk: everything left of it could be anything.
        let Some(address) = parse_hop(hop.trim()) else { break };
        client = address;
        if !is_trusted(address) {
            break;
        }
    }
    client
}

/// `1.2.3.4`, `1.2.3.4:5678`, `2001:db8::1` or `[2001:db8::1]:5678`.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let bare = match hop.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if hop.matches(':').count() == 1 => hop.split_once(':')?.0,
        None => hop,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// What a limit by address counts by: the address, and for IPv6 its /64, since one host owns all of that.
#[must_use]
pub(crate) fn limit_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits())),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

/// Whether the host of a URL is this machine.
pub(crate) fn is_here(url: &http::Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn check(peer: &str, forwarded: &[&str], trusted: &[&str], want: &str) {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let trusted: Vec<Network> = trusted.iter().map(|t| t.parse().unwrap()).collect();
        assert_eq!(client(peer.parse().unwrap(), &headers, &trusted), want.parse::<IpAddr>().unwrap());
    }

    #[test]
    fn the_walk_goes_from_the_right_over_trusted_networks() {
        check("9.9.9.9", &["1.1.1.1"], &[], "9.9.9.9");
        check("9.9.9.9", &["1.1.1.1"], &["10.0.0.0/8"], "9.9.9.9");
        check("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.7"], &["10.0.0.0/8"], "1.1.1.1");
        check("10.0.0.1", &["6.6.6.6", "1.1.1.1"], &["10.0.0.0/8"], "1.1.1.1");
        check("10.0.0.1", &["6.6.6.6, nonsense, 10.0.0.7"], &["10.0.0.0/8"], "10.0.0.7");
        check("10.0.0.1", &["[2001:db8::1]:99"], &["10.0.0.0/8"], "2001:db8::1");
        check("::ffff:10.0.0.1", &["1.1.1.1:80"], &["10.0.0.0/8"], "1.1.1.1");
        check("10.0.0.1", &[], &["10.0.0.0/8"], "10.0.0.1");
    }

    #[test]
    fn networks_hold_what_they_say() {
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("1.2.3.4".parse().unwrap()));
        assert!(!all.contains("::1".parse().unwrap()));
        let six: Network = "2001:db8::/32".parse().unwrap();
        assert!(
            six.contains("2001:db8:1::".parse().unwrap()) && !six.contains("2001:db9::".parse().unwrap())
        );
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "host", "::/129"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn one_ipv6_host_is_one_key() {
        let key = |text: &str| limit_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:1.2.3.4"), key("1.2.3.4"));
    }
}
