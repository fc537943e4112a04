//! Which headers may cross the gateway, in each direction.
//!
//! From clients: everything that only the gateway may say is dropped before anything reads it, also when it is
//! spelt with other separators (`x_user_id`, `x.user.id`: many servers fold them into one name), and so is every
//! header about the connection itself, those that `Connection` nominates included. The gateway's own headers are
//! added after this, so a nomination cannot remove them. What may stand behind a body is for `trailers` to say.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::decisions::Text;
pub(crate) use crate::security_headers::is_banner;

/// Names that only the gateway may set towards a service.
const GUARDED: [&str; 16] = [
    "x-deadline-ms",
    "x-retry-attempt",
    "x-priority",
    "x-client-ip",
    // A certificate that somebody in front has checked (RFC 9440): nobody in front has.
    "client-cert",
    "client-cert-chain",
    "x-service-name",
    "x-real-ip",
    "forwarded",
    // These would change what a service understands after the gateway has authorised something else.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    // A service that runs as CGI finds it in the environment as `HTTP_PROXY`, and calls out through it (CVE-2016-5385).
    "proxy",
];

/// Prefixes that only the gateway may use.
const GUARDED_PREFIXES: [&str; 4] = ["x-user-", "x-gateway-", "x-forwarded-", "x-leeward-"];

/// Headers about one connection, never about the message (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Names whose other spellings are refused as well, beside the guarded and hop-by-hop ones.
const NO_ALIAS: [&str; 9] = [
    "host",
    "content-length",
    "authorization",
    "cookie",
    "expect",
    "x-request-id",
    "x-correlation-id",
    "traceparent",
    "tracestate",
];

/// Names that nearly every request has, and to which no rule here applies: they need not be held against each of them.
const USUAL: [&str; 14] = [
    "host",
    "user-agent",
    "accept",
    "content-type",
    "content-length",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cookie",
    "origin",
    "referer",
    "cache-control",
    "if-none-match",
    "x-request-id",
];

/// What `Connection` cannot nominate: taking these away would change the message itself.
const NOT_NOMINATED: [&str; 6] =
    ["host", "content-length", "content-type", "content-encoding", "authorization", "cookie"];

/// Drops what clients may not send. Returns how many header names went.
pub(crate) fn strip_request(headers: &mut HeaderMap) -> usize {
    strip_nominated(headers);
    remove_where(headers, |name| !may_come_from_clients(name))
}

/// Whether a header of this name, in lower case, gets past [`strip_request`].
pub(crate) fn may_come_from_clients(name: &str) -> bool {
    USUAL.contains(&name) || breaks_no_rule(name)
}

fn breaks_no_rule(name: &str) -> bool {
    !(is_hop_by_hop(name.as_bytes()) || is_guarded(name) || is_alias(name) || name == "expect")
}

/// Drops what a service may not say to a client: headers about its connection, the gateway's own, CORS headers when the
/// gateway answers CORS itself, and what only tells which software it is, unless banners are to be kept.
pub(crate) fn strip_response(headers: &mut HeaderMap, own_cors: bool, keeps_banners: bool) {
    strip_nominated(headers);
    remove_where(headers, |name| {
        !may_come_from_services(name.as_bytes(), own_cors) || (!keeps_banners && is_banner(name.as_bytes()))
    });
}

/// Whether a header of this name, in lower case, gets past [`strip_response`].
pub(crate) fn may_come_from_services(name: &[u8], own_cors: bool) -> bool {
    !(is_hop_by_hop(name)
        || name.starts_with(b"x-leeward-")
        || (own_cors && name.starts_with(b"access-control-")))
}

/// Which names a table of headers may have, a bit for each kind of name: most of those that it has not need not be looked for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Names(u64);

impl Names {
    /// Those of a table. It stays true while headers are only taken away.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        headers.keys().fold(Self::none(), Self::with)
    }

    /// None.
    pub(crate) const fn none() -> Self {
        Self(0)
    }

    /// These and one more.
    pub(crate) fn with(self, name: &HeaderName) -> Self {
        Self(self.0 | Self::bit(name.as_str().as_bytes()))
    }

    /// These and another one's, in lower case.
    pub(crate) const fn with_bytes(self, name: &[u8]) -> Self {
        Self(self.0 | Self::bit(name))
    }

    /// Those on both sides.
    pub(crate) const fn union(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether some may stand on both sides.
    pub(crate) const fn meet(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Found by trial: of the names that are asked for here and those that messages often have, two share a bit.
    const fn bit(name: &[u8]) -> u64 {
        let first = if name.is_empty() { 0 } else { name[0] as usize };
        1 << ((name.len() + 46 * first) & 63)
    }

    /// Whether there may be one.
    pub(crate) fn may_have(self, name: &HeaderName) -> bool {
        self.0 & Self::bit(name.as_str().as_bytes()) != 0
    }

    /// The first value under a name of that table.
    pub(crate) fn get<'h>(self, headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
        if self.may_have(name) { headers.get(name) } else { None }
    }

    /// Takes a name out of that table, with all its values. The first of them.
    pub(crate) fn remove(self, headers: &mut HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
        if self.may_have(name) { headers.remove(name) } else { None }
    }
}

/// Whether it is one of the two words that nearly all messages have in `Connection`. They nominate nothing but what goes anyway.
pub(crate) fn is_usual_connection(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
}

fn strip_nominated(headers: &mut HeaderMap) {
    // To go through the names of a usual message takes less than to look for one.
    if !headers.keys().any(|name| *name == header::CONNECTION) {
        return;
    }
    if headers.get_all(header::CONNECTION).iter().all(|value| is_usual_connection(value.as_bytes())) {
        return;
    }
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|token| HeaderName::from_bytes(token.trim().as_bytes()).ok())
        .filter(|name| !NOT_NOMINATED.contains(&name.as_str()))
        .collect();
    for name in nominated {
        headers.remove(name);
    }
}

fn remove_where(headers: &mut HeaderMap, drop: impl Fn(&str) -> bool) -> usize {
    // The usual request has nothing to drop but `connection`; the list is then empty or one long.
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| drop(name.as_str())).cloned().collect();
    for name in &doomed {
        headers.remove(name);
    }
    doomed.len()
}

/// Drops a header, also where it is spelt with other separators.
pub(crate) fn remove_spelt_any_way(headers: &mut HeaderMap, name: &HeaderName) {
    remove_where(headers, |other| {
        other == name.as_str() || (!is_plain(other) && folded(other) == name.as_str())
    });
}

fn is_hop_by_hop(name: &[u8]) -> bool {
    matches!(name.first(), Some(b'c' | b'k' | b'p' | b't' | b'u' | b'h'))
        && HOP_BY_HOP.iter().any(|known| known.as_bytes() == name)
}

fn is_guarded(name: &str) -> bool {
    matches!(name.as_bytes()[0], b'x' | b'f' | b'p' | b'c')
        && (GUARDED.contains(&name) || GUARDED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// Whether the name, read by a server that folds separators, is one that matters. Several of them, or one at an end, fold too.
fn is_alias(name: &str) -> bool {
    if is_plain(name) {
        return false;
    }
    let folded = folded(name);
    if folded.is_empty() {
        return false;
    }
    is_guarded(&folded) || is_hop_by_hop(folded.as_bytes()) || NO_ALIAS.contains(&folded.as_str())
}

/// Whether every server reads the name as it stands.
fn is_plain(name: &str) -> bool {
    // As if a dash stood in front, and none at the end.
    let mut last = b'-';
    for byte in name.bytes() {
        if !(byte.is_ascii_alphanumeric() || (byte == b'-' && last != b'-')) {
            return false;
        }
        last = byte;
    }
    name.is_empty() || last != b'-'
}

/// A name in lower case, as the least careful server reads it.
pub(crate) fn as_read_by_all(name: &str) -> Cow<'_, str> {
    if is_plain(name) { name.into() } else { folded(name).into() }
}

/// The name as a server reads it that folds separators.
fn folded(name: &str) -> String {
    let words: Vec<&str> =
        name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("-").to_ascii_lowercase()
}

/// Longest id taken from a client, in bytes: longer ones would only bloat logs.
const ID_BYTES_MAX: usize = 64;

/// An id of a request, in place: each request has two, which are said in several places.
pub(crate) type Id = Text<ID_BYTES_MAX>;

/// A client's own request or correlation id, if it is one that can be logged and passed on as it is.
pub(crate) fn well_formed_id(headers: &HeaderMap, name: &HeaderName) -> Option<Id> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    let text = value.as_bytes();
    let fine = !text.is_empty()
        && text.len() <= ID_BYTES_MAX
        && text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'));
    (fine && values.next().is_none()).then(|| Id::from_ascii(text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use leeward_telemetry::REQUEST_ID;

    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        lines.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn clients_cannot_speak_for_the_gateway_in_any_spelling() {
        let mut headers = map(&[
            ("x-user-id", "1"),
            ("x_user_id", "1"),
            ("x.user.role", "admin"),
            ("X-User_Role", "admin"),
            ("x-gateway-timestamp", "1"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-leeward-assertion", "a.b.c"),
            ("x_leeward_assertion", "a.b.c"),
            ("x-deadline-ms", "1"),
            ("x-priority", "critical"),
            ("x-client-ip", "1"),
            ("x-service-name", "orders"),
            ("forwarded", "for=1"),
            ("x-http-method-override", "DELETE"),
            ("content_length", "7"),
            ("transfer_encoding", "chunked"),
            ("expect", "100-continue"),
            ("x-custom_header", "kept"),
            ("x-username", "kept"),
            ("accept", "*/*"),
        ]);
        strip_request(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "x-custom_header", "x-username"]);
    }

    #[test]
    fn no_rule_is_about_what_is_usual() {
        assert!(USUAL.into_iter().all(breaks_no_rule));
    }

    #[test]
    fn connection_removes_what_it_nominates_but_not_the_message() {
        let mut headers = map(&[
            ("connection", "close, X-Secret , content-length"),
            ("connection", "host"),
            ("x-secret", "1"),
            ("content-length", "3"),
            ("host", "a"),
            ("keep-alive", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
        ]);
        strip_request(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host"]);
    }

    #[test]
    fn services_do_not_speak_for_the_gateway_either() {
        let mut headers = map(&[
            ("x-leeward-stale", "true"),
            ("access-control-allow-origin", "*"),
            ("connection", "x-inner"),
            ("x-inner", "1"),
            ("content-type", "text/plain"),
        ]);
        strip_response(&mut headers, true, true);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["content-type"]);
    }

    #[test]
    fn only_ids_that_can_be_logged_are_taken() {
        let long = "a".repeat(ID_BYTES_MAX + 1);
        for (value, fine) in
            [("order-7_a.b:c", true), ("", false), ("a b", false), ("{}", false), (&long, false)]
        {
            assert_eq!(
                well_formed_id(&map(&[("x-request-id", value)]), &REQUEST_ID).is_some(),
                fine,
                "{value}"
            );
        }
        assert!(well_formed_id(&map(&[("x-request-id", "a"), ("x-request-id", "b")]), &REQUEST_ID).is_none());
    }
}
