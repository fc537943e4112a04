//! Calls of gRPC: requests over HTTP/2 whose answer says how it went behind its body, with HTTP's 200 in front of it.
//!
//! A call is a request like any other, but for four things: its own timeout bounds the route's deadline, is passed on as what is
//! left of it, and ends its answer also behind the head; what the gateway refuses is told in gRPC's words; how a call went is read where gRPC says it, also behind the body; and a
//! body of unknown length is remembered while it is short, so that the call can be sent again.

mod late;
mod status;
mod timeout;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};

pub(crate) use self::late::{Messages, OwnTime};
pub(crate) use self::status::{class, code_of};
pub(crate) use self::timeout::{BadTimeout, read as read_timeout, write as write_timeout};
use crate::refusal::Refusal;

/// How long a call may take.
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// How it went.
pub(crate) const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// When to try again.
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Whether a request is a call.
pub(crate) fn is_call<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2 && request.method() == Method::POST && says_grpc(request.headers())
}

/// Whether a message says that it is of gRPC, in whatever coding. `application/grpc-web` is another protocol.
pub(crate) fn says_grpc(headers: &HeaderMap) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    let Some(said) = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes) else { return false };
    said.len() >= TYPE.len()
        && said[..TYPE.len()].eq_ignore_ascii_case(TYPE)
        && matches!(said.get(TYPE.len()), None | Some(b'+' | b';' | b' '))
}

/// The answer to a call that the gateway does not pass on: nothing but a head, which says it all.
pub(crate) fn respond<B: Default>(refusal: &Refusal, request_id: &str) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(STATUS, HeaderValue::from(u16::from(code_of(refusal.code))));
    let message = format!("{}: {} ({request_id})", refusal.code, refusal.detail);
    if let Ok(message) = HeaderValue::try_from(encoded(&message)) {
        headers.insert(MESSAGE, message);
    }
    if let Some(after) = refusal.retry_after {
        let ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
        headers.insert(PUSHBACK, HeaderValue::from(ms));
    }
    response
}

/// A text as a message's header holds it: what is not printable ASCII, and the sign itself, by its bytes.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(percent_encoding::percent_encode_byte(byte));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::refusal::{Stage, code};

    #[test]
    fn a_call_says_what_it_is() {
        let is = |text: &'static str, version, method: Method| {
            let request = Request::builder().version(version).method(method).header("content-type", text);
            is_call(&request.body(()).unwrap())
        };
        for fine in
            ["application/grpc", "Application/gRPC+proto", "application/grpc;a=b", "application/grpc ; a"]
        {
            assert!(is(fine, Version::HTTP_2, Method::POST), "{fine}");
        }
        for other in
            ["application/grpc-web", "application/grpcx", "application/json", "text/application/grpc", ""]
        {
            assert!(!is(other, Version::HTTP_2, Method::POST), "{other}");
        }
        assert!(!is("application/grpc", Version::HTTP_11, Method::POST));
        assert!(!is("application/grpc", Version::HTTP_2, Method::GET));
    }

    #[test]
    fn a_refusal_is_told_in_one_head() {
        let refusal = Refusal::unavailable(code::OVERLOADED, Stage::Shed, "100 % für alle\n");
        let answer: Response<Vec<u8>> = respond(&refusal, "r1");
        let headers = answer.headers();
        assert_eq!(
            (answer.status().as_u16(), &headers["content-type"]),
            (200, &HeaderValue::from_static("application/grpc"))
        );
        assert_eq!(headers["grpc-status"], "14");
        assert_eq!(headers["grpc-message"], "overloaded: 100 %25 f%C3%BCr alle%0A (r1)");
        assert_eq!(headers["grpc-retry-pushback-ms"], "1000");
    }
}
