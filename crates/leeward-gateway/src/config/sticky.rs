//! Reading what keeps a client at one service of a split.

use std::time::Duration;

use leeward_runtime::config::Node;

use super::HashOn;
use super::hash_on::HASH_ON;
use super::parse::HOUR;
use crate::headers::may_come_from_clients;
use crate::split::{OwnCookie, Sticky};

/// Most bytes of the name of a cookie.
const NAME_BYTES_MAX: usize = 64;
/// Browsers keep none longer (RFC 6265bis, 5.5).
const MAX_AGE: Duration = Duration::from_secs(400 * 24 * 3_600);

pub(super) fn sticky(node: &Node<'_>, knows_users: bool) -> Option<Sticky> {
    if !node.is_given() {
        return None;
    }
    if node.is_scalar() {
        let on = node.parse_with("what a client is known by", HASH_ON, HashOn::parse)?;
        refuse_what_is_never_there(node, &on, knows_users);
        return Some(Sticky::On(on));
    }
    let name = node.get("set_cookie").required().parse_with(
        "a name of a cookie",
        "1 to 64 letters, digits, `-`, `_` and `.`, as shop-side",
        |text| is_name(text).then(|| text.into()),
    );
    let max_age = node.get("max_age").duration(HOUR / 60..=MAX_AGE);
    name.map(|name| Sticky::Cookie(OwnCookie { name, max_age }))
}

fn refuse_what_is_never_there(node: &Node<'_>, on: &HashOn, knows_users: bool) {
    match on {
        HashOn::User if !knows_users => {
            node.reject(
                "needs `jwt`, `api_keys` or `basic`: without them nobody is known",
                "another, or such a section",
            );
        }
        HashOn::Header(name) if !may_come_from_clients(name.as_str()) => {
            node.reject("is a header that clients may not send", "a header that they may");
        }
        _ => {}
    }
}

fn is_name(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(fine)
}
