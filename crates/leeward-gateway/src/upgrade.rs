//! The handshake of WebSocket (RFC 6455, 4): what a client asks for, and what a service answers.
//!
//! Where a route says `upgrade: [websocket]`, a request that asks for it is looked at strictly and goes to the service as a handshake;
//! anywhere else it is a plain GET, without what is about the connection. A service switches only when it was asked to and
//! says the right words: any other 101 is no answer. A client whose handshake comes to nothing has its connection closed behind the answer, so
//! that what it may have sent already is never read as a request.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Version};

/// What RFC 6455 has a service put behind a key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// How long a key is, in bytes.
const KEY_BYTES: usize = 16;

/// Whether a request asks for WebSocket: over HTTP/1.1, in `Upgrade` and in `Connection`.
pub(crate) fn is_asked(head: &Parts) -> bool {
    head.version == Version::HTTP_11 && says_websocket(&head.headers)
}

/// Whether a head switches to WebSocket and to nothing else.
fn says_websocket(headers: &HeaderMap) -> bool {
    let Some(upgrade) = one(headers, &header::UPGRADE) else { return false };
    let options = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut options = options.flat_map(|value| value.split(','));
    upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")
        && options.any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
}

/// The value of a header that stands there once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())
}

/// What is wrong with a handshake, if something is. It is known to ask for WebSocket.
pub(crate) fn wrong(head: &Parts, has_body: bool) -> Option<&'static str> {
    let key = one(&head.headers, &header::SEC_WEBSOCKET_KEY).map(|key| STANDARD.decode(key.as_bytes()));
    let is_key = matches!(&key, Some(Ok(key)) if key.len() == KEY_BYTES);
    let version = one(&head.headers, &header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    if head.method != Method::GET || has_body {
        Some("a WebSocket is opened by a GET without a body")
    } else if version != Some(b"13") {
        Some("Sec-WebSocket-Version is not 13, once")
    } else if !is_key {
        Some("Sec-WebSocket-Key is not 16 bytes in base64, once")
    } else {
        None
    }
}

/// Whether a service that answers 101 to a handshake means this one, and nothing that was not asked for.
pub(crate) fn is_accepted(asked: &HeaderMap, answer: &HeaderMap) -> bool {
    let Some(key) = one(asked, &header::SEC_WEBSOCKET_KEY) else { return false };
    let wanted = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat()));
    let accepts = one(answer, &header::SEC_WEBSOCKET_ACCEPT).is_some_and(|accept| *accept == wanted.as_str());
    let offered = |name: &HeaderName| {
        let values = asked.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(str::trim).collect::<Vec<_>>()
    };
    let protocol = match answer.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().count() {
        0 => true,
        1 => one(answer, &header::SEC_WEBSOCKET_PROTOCOL)
            .and_then(|chosen| chosen.to_str().ok())
            .is_some_and(|chosen| offered(&header::SEC_WEBSOCKET_PROTOCOL).contains(&chosen)),
        _ => false,
    };
    let extensions = asked.contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
        || !answer.contains_key(header::SEC_WEBSOCKET_EXTENSIONS);
    says_websocket(answer) && accepts && protocol && extensions
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use http::Request;

    use super::*;

    type Lines<'a> = &'a [(&'a str, &'a str)];

    fn map(lines: Lines<'_>) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn head(method: &str, lines: Lines<'_>) -> Parts {
        let mut head = Request::builder().method(method).body(()).unwrap().into_parts().0;
        head.headers = map(lines);
        head
    }

    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const VERSION: (&str, &str) = ("sec-websocket-version", "13");
    const UPGRADE: (&str, &str) = ("upgrade", "WebSocket");
    const CONNECTION: (&str, &str) = ("connection", "keep-alive, Upgrade");
    const ACCEPT: (&str, &str) = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

    #[test]
    fn a_request_asks_in_two_places() {
        assert!(is_asked(&head("GET", &[UPGRADE, CONNECTION])));
        for other in [
            &[UPGRADE][..],
            &[CONNECTION],
            &[("upgrade", "h2c"), CONNECTION],
            &[("upgrade", "websocket, h2c"), CONNECTION],
            &[UPGRADE, UPGRADE, CONNECTION],
            &[UPGRADE, ("connection", "x-upgrade")],
        ] {
            assert!(!is_asked(&head("GET", other)), "{other:?}");
        }
        let mut old = head("GET", &[UPGRADE, CONNECTION]);
        old.version = Version::HTTP_10;
        assert!(!is_asked(&old));
    }

    #[test]
    fn a_handshake_is_whole_or_none() {
        assert_eq!(wrong(&head("GET", &[KEY, VERSION]), false), None);
        for (method, lines, has_body) in [
            ("POST", &[KEY, VERSION][..], false),
            ("GET", &[KEY, VERSION], true),
            ("GET", &[KEY], false),
            ("GET", &[KEY, ("sec-websocket-version", "8")], false),
            ("GET", &[KEY, VERSION, VERSION], false),
            ("GET", &[VERSION], false),
            ("GET", &[KEY, KEY, VERSION], false),
            ("GET", &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25j"), VERSION], false),
            ("GET", &[("sec-websocket-key", "not base64 at all !!!"), VERSION], false),
        ] {
            assert!(wrong(&head(method, lines), has_body).is_some(), "{method} {lines:?} {has_body}");
        }
    }

    #[test]
    fn a_service_switches_to_what_was_asked_for() {
        let chat = ("sec-websocket-protocol", "chat");
        let deflate = ("sec-websocket-extensions", "permessage-deflate");
        let is = |asked: Lines<'_>, answer: Lines<'_>| is_accepted(&map(asked), &map(answer));
        assert!(is(&[KEY], &[UPGRADE, CONNECTION, ACCEPT]));
        let both = ("sec-websocket-protocol", "chat, superchat");
        assert!(is(&[KEY, both, deflate], &[UPGRADE, CONNECTION, ACCEPT, chat, deflate]));
        for answer in [
            &[CONNECTION, ACCEPT][..],
            &[UPGRADE, ACCEPT],
            &[UPGRADE, CONNECTION],
            &[("upgrade", "h2c"), CONNECTION, ACCEPT],
            &[UPGRADE, CONNECTION, ("sec-websocket-accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")],
            &[UPGRADE, CONNECTION, ACCEPT, ACCEPT],
            &[UPGRADE, CONNECTION, ACCEPT, chat],
            &[UPGRADE, CONNECTION, ACCEPT, deflate],
        ] {
            assert!(!is(&[KEY], answer), "{answer:?}");
        }
        assert!(!is(&[KEY, both], &[UPGRADE, CONNECTION, ACCEPT, ("sec-websocket-protocol", "other")]));
        assert!(!is(&[KEY, both], &[UPGRADE, CONNECTION, ACCEPT, chat, chat]));
        assert!(!is(&[], &[UPGRADE, CONNECTION, ACCEPT]));
    }
}
