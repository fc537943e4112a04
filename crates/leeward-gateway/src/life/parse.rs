//! The message itself: framing, host, path, size.

use std::borrow::Cow;

use http::header;
use http::request::Parts;
use http::{Method, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;

use crate::framing::Framing;
use crate::path::{self, EncodedSlash};
use crate::refusal::{Refusal, Stage, code};

/// Refuses a message whose end two servers could see at two places. `framing` is what the connection saw before the
/// parser resolved it.
pub(super) fn framing(framing: Framing, head: &Parts) -> Result<(), Refusal> {
    let refused =
        |detail: &'static str| Err(Refusal::bad_request(code::AMBIGUOUS_FRAMING, Stage::Parse, detail));
    if head.method == Method::CONNECT {
        return Err(Refusal::bad_request(code::BAD_TARGET, Stage::Parse, "this is not a forward proxy"));
    }
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    let has_length = lengths.next().is_some();
    if lengths.next().is_some() {
        return refused("several Content-Length headers");
    }
    let mut encodings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(encoding) = encodings.next() else {
        return if framing == Framing::Ambiguous {
            refused("several Content-Length headers")
        } else {
            Ok(())
        };
    };
    if has_length || framing != Framing::Plain {
        return refused("Transfer-Encoding together with Content-Length, or in a pipeline");
    }
    // The client side of the library sends no body with these that has no length.
    if head.method == Method::GET || head.method == Method::HEAD {
        return refused("a chunked body where none is expected");
    }
    let chunked = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if encodings.next().is_some() || !chunked {
        refused("a Transfer-Encoding other than chunked")
    } else {
        Ok(())
    }
}

/// Exactly one host, and one that is none of a header injection's making.
pub(super) fn host(head: &Parts) -> Result<(), Refusal> {
    let refused = |detail: &'static str| Err(Refusal::bad_request(code::BAD_HOST, Stage::Parse, detail));
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else {
        let needed = head.version >= Version::HTTP_11 && head.uri.authority().is_none();
        return if needed { refused("the Host header is missing") } else { Ok(()) };
    };
    if hosts.next().is_some() {
        return refused("several Host headers");
    }
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(b);
    if host.as_bytes().iter().all(plain) { Ok(()) } else { refused("the Host header is not a host") }
}

/// The canonical path.
pub(super) fn path(uri: &Uri, slash: EncodedSlash) -> Result<Cow<'_, str>, Refusal> {
    let raw = if uri.scheme().is_some() && uri.path().is_empty() { "/" } else { uri.path() };
    path::canonical(raw, slash).map_err(|error| {
        let (code, stage) = match error {
            path::Error::NotAbsolute => (code::BAD_TARGET, Stage::Parse),
            _ => (code::BAD_PATH, Stage::Path),
        };
        Refusal::bad_request(code, stage, error.to_string())
    })
}

/// Refuses a body that is announced longer than the route takes. What is not announced is counted as it comes.
pub(super) fn size(body: &Incoming, bytes_max: u64) -> Result<(), Refusal> {
    if body.size_hint().lower() > bytes_max { Err(too_large(bytes_max)) } else { Ok(()) }
}

pub(super) fn too_large(bytes_max: u64) -> Refusal {
    let detail = format!("the body is larger than {}", leeward_runtime::units::show_size(bytes_max));
    let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, code::TOO_LARGE, Stage::Size, detail);
    Refusal { close: true, ..refusal }.hint("limits.body, or the route's body")
}
