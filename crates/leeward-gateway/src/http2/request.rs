//! A request over HTTP/2 as the model that one over HTTP/1.1 becomes too, under the same rules.

use h2::RecvStream;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request};

use super::body::Incoming;
use crate::h1::{Length, Rule, said};
use crate::incoming;

/// A request, and whether its client waits for `100 Continue`.
pub(super) struct Read {
    pub(super) request: Request<incoming::Incoming>,
    pub(super) expects_continue: bool,
}

/// Reads what the protocol let through: pseudo-headers, names and values are in order, nothing is about the connection.
///
/// # Errors
/// The rule that the request breaks.
pub(super) fn read(request: Request<RecvStream>, headers_max: usize) -> Result<Read, Rule> {
    let (mut head, stream) = request.into_parts();
    if head.method == Method::CONNECT {
        return Err(Rule::Connect);
    }
    let is_all = head.uri.path() == "*" && head.method == Method::OPTIONS;
    let is_path = head.uri.path().starts_with('/');
    let scheme = head.uri.scheme_str();
    if !(is_path || is_all) || scheme.is_none_or(|scheme| scheme != "http" && scheme != "https") {
        return Err(Rule::Target);
    }
    let is_visible = |target: &str| target.bytes().all(|byte| byte.is_ascii_graphic());
    if !head.uri.path_and_query().is_none_or(|target| is_visible(target.as_str())) {
        return Err(Rule::Target);
    }
    if head.headers.len() > headers_max {
        return Err(Rule::HeaderCount);
    }
    let length = match said(&head.headers)? {
        Some(Length::Known(length)) => Some(length),
        Some(Length::Chunked) => return Err(Rule::TransferEncoding),
        None => None,
    };
    let is_bodiless = head.method == Method::GET || head.method == Method::HEAD;
    if is_bodiless && length.is_none() && !stream.is_end_stream() {
        return Err(Rule::ChunkedWithoutUse);
    }
    let expects_continue = expects_continue(&head.headers)? && !stream.is_end_stream();
    name_host(&mut head)?;
    join_cookies(&mut head.headers);
    let body = incoming::Incoming::H2(Incoming::new(stream, length, headers_max));
    Ok(Read { request: Request::from_parts(head, body), expects_continue })
}

/// The authority is the host, unless a host is said beside it: then they must agree, which is looked at for every request.
fn name_host(head: &mut http::request::Parts) -> Result<(), Rule> {
    let Some(authority) = head.uri.authority() else { return Ok(()) };
    if !head.headers.contains_key(header::HOST) {
        let host = HeaderValue::try_from(authority.as_str()).map_err(|_| Rule::Target)?;
        head.headers.insert(header::HOST, host);
    }
    Ok(())
}

/// A client may send each cookie in a line of its own; over HTTP/1.1 there is one (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(_)) = (cookies.next(), cookies.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for cookie in headers.get_all(header::COOKIE).iter().skip(1) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    // What was in values is fine in one.
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

fn expects_continue(headers: &HeaderMap) -> Result<bool, Rule> {
    let mut expectations = headers.get_all(header::EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(false),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        (Some(_), _) => Err(Rule::Expectation),
    }
}
