//! The message itself: framing, host, path, size.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{StatusCode, Uri, Version};
use http_body::Body;

use crate::decisions::{Ruling, Setting};
use crate::h1::Rule;
use crate::incoming::Incoming;
use crate::path::{self, EncodedSlash};
use crate::refusal::{Refusal, Stage, code};
use crate::router::without_port;

/// A message that broke a rule of the codec.
pub(crate) fn rule_broken(rule: Rule) -> Refusal {
    let code = match rule {
        Rule::HeadTimeout => code::HEAD_TIMEOUT,
        Rule::HeadLength | Rule::HeaderCount | Rule::TargetLength => code::HEAD_TOO_LARGE,
        Rule::Target | Rule::Connect => code::BAD_TARGET,
        _ if rule.is_framing() => code::AMBIGUOUS_FRAMING,
        _ => code::MALFORMED,
    };
    let refusal = Refusal::new(rule.status(), code, Stage::Parse, rule.text());
    Refusal { close: true, rule: Some(rule.name()), ..refusal }
}

/// Exactly one host, and one that is none of a header injection's making.
pub(crate) fn host(head: &Parts) -> Result<(), Refusal> {
    let refused = |detail: &'static str| Err(Refusal::bad_request(code::BAD_HOST, Stage::Parse, detail));
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else {
        return if head.version >= Version::HTTP_11 { refused("the Host header is missing") } else { Ok(()) };
    };
    if hosts.next().is_some() {
        return refused("several Host headers");
    }
    // Some servers believe the target, some the header.
    if head
        .uri
        .authority()
        .is_some_and(|authority| !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()))
    {
        return refused("the Host header and the target name two hosts");
    }
    if host.to_str().is_ok_and(is_host) { Ok(()) } else { refused("the Host header is not a host") }
}

/// The host that [`host`] found right, without its port; `None` where HTTP/1.0 names none.
pub(crate) fn host_name(head: &Parts) -> Option<&str> {
    host_name_of(head.headers.get(header::HOST), &head.uri)
}

pub(super) fn host_name_of<'h>(host: Option<&'h HeaderValue>, uri: &'h Uri) -> Option<&'h str> {
    match host {
        Some(host) => host.to_str().ok().map(without_port),
        None => uri.host(),
    }
}

/// A name or an address, and a port if need be.
fn is_host(text: &str) -> bool {
    let (is_name, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, rest))) => {
            let port = rest.strip_prefix(':');
            (address.parse::<Ipv6Addr>().is_ok() && (port.is_some() || rest.is_empty()), port)
        }
        Some(None) => return false,
        None => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            let length = text.bytes().position(|byte| !plain(byte)).unwrap_or(text.len());
            let (name, rest) = text.split_at(length);
            (!name.is_empty() && (rest.is_empty() || rest.starts_with(':')), rest.strip_prefix(':'))
        }
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && (port.len() < 5 || port.parse::<u16>().is_ok())
    };
    is_name && port.is_none_or(is_port)
}

/// The canonical path.
pub(crate) fn path(uri: &Uri, slash: EncodedSlash) -> Result<Cow<'_, str>, Refusal> {
    let raw = if uri.scheme().is_some() && uri.path().is_empty() { "/" } else { uri.path() };
    path::canonical(raw, slash).map_err(bad_path)
}

/// What has no canonical form, as it came or as it was to be sent.
pub(super) fn bad_path(error: path::Error) -> Refusal {
    let (code, stage) = match error {
        path::Error::NotAbsolute => (code::BAD_TARGET, Stage::Parse),
        _ => (code::BAD_PATH, Stage::Path),
    };
    Refusal::bad_request(code, stage, error.to_string())
}

/// Refuses a body that is announced longer than the route takes. What is not announced is counted as it comes.
pub(crate) fn size(body: &Incoming, bytes_max: u64) -> Result<(), Refusal> {
    if body.size_hint().lower() > bytes_max { Err(too_large(bytes_max)) } else { Ok(()) }
}

pub(crate) fn too_large(bytes_max: u64) -> Refusal {
    let detail = format!("the body is larger than {}", leeward_runtime::units::show_size(bytes_max));
    let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, code::TOO_LARGE, Stage::Size, detail);
    let ruling = Ruling::by(Setting::RouteOrTop("body", "limits.body")).number("bytes_max", bytes_max);
    Refusal { close: true, ..refusal }.hint("limits.body, or the route's body").ruled(ruling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port_if_need_be() {
        for fine in
            ["a", "a.b-c_d", "a.", "127.0.0.1", "a:80", "a:", "[::1]", "[::1]:80", "[::ffff:1.2.3.4]:65535"]
        {
            assert!(is_host(fine), "{fine}");
        }
        for bad in [
            "", ":80", "a:b", "a:80:81", "a:65536", "a:+1", "[::1", "::1]", "[a]", "[::1]a", "[::1]80",
            "a@b", "a/b", "[]",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
