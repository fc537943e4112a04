//! Who may come, by address.

use leeward_runtime::config::Node;

use crate::address::{Addresses, Network, Networks};

/// Most networks of a list: at 8 bytes for IPv4 and 32 for IPv6, a list stays below 32 MiB.
const NETWORKS_MAX: usize = 1_000_000;
/// Largest file of networks, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub(super) const WHAT: (&str, &str) =
    ("an address or a network", "an address or a network, as 10.0.0.0/8 or ::1");
const ALLOWED: &str =
    "addresses and networks, as 10.0.0.0/8 or ::1, and file:PATH for a file with one a line";

/// `allow` and `deny` of a map.
pub(super) fn addresses(node: &Node<'_>) -> Addresses {
    let allow = node.get("allow");
    let addresses =
        Addresses { allow: allow.is_given().then(|| networks(&allow)), deny: networks(&node.get("deny")) };
    if addresses.allow.as_ref().is_some_and(Networks::is_empty) {
        allow.reject("lets nobody in", ALLOWED);
    }
    addresses
}

fn networks(node: &Node<'_>) -> Networks {
    let (mut written, mut networks) = (Vec::new(), Vec::new());
    let is_list = node.is_list() || !node.is_given();
    let items = if is_list { node.items() } else { vec![node.clone()] };
    for item in items {
        let item = if is_list { item.required() } else { item };
        let Some(text) = item.text() else { continue };
        if text.starts_with("file:") {
            from_file(&item, &mut networks);
            written.push(text);
        } else if let Some(network) = item.parse::<Network>(WHAT.0, ALLOWED) {
            networks.push(network);
            written.push(network.to_string());
        }
    }
    if networks.len() > NETWORKS_MAX {
        node.reject("has too many networks", format_args!("at most {NETWORKS_MAX}"));
    }
    Networks::new(written, &networks)
}

/// One network a line; empty lines, and what stands behind a `#`, say nothing.
fn from_file(node: &Node<'_>, networks: &mut Vec<Network>) {
    let Some(text) = node.text_of_file(FILE_BYTES_MAX) else { return };
    let mut wrong = Vec::new();
    for (number, line) in (1_usize..).zip(text.lines()) {
        let entry = line.split('#').next().unwrap_or_default().trim();
        match entry.parse() {
            _ if entry.is_empty() => {}
            Ok(network) => networks.push(network),
            Err(_) => wrong.push((number, entry)),
        }
    }
    if let Some((number, entry)) = wrong.first() {
        let count = wrong.len();
        node.reject(
            format_args!(
                "has {count} lines that are not {}, the first of them line {number}, `{entry}`",
                WHAT.0
            ),
            WHAT.1,
        );
    }
}
