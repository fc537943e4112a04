//! The head of a request: what it says, and how long its body is.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Uri, Version};

use super::rule::Rule;
use super::scan::Scan;
use crate::headers::Names;

/// Header lines that are parsed without a place on the heap.
const HEADERS_ON_STACK: usize = 128;

/// How the end of a body is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    /// So many bytes.
    Known(u64),
    /// In chunks.
    Chunked,
}

/// A request without its body.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) parts: Parts,
    pub(crate) length: Length,
    /// Whether the client wants to go on with this connection.
    pub(crate) keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends its body.
    pub(crate) expects_continue: bool,
}

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) headers: usize,
}

/// Reads heads off a buffer that grows.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    scan: Scan,
    /// Whether an empty line before the request was skipped.
    skipped: bool,
}

impl Reader {
    /// Takes the next head off the buffer, once it is there.
    ///
    /// # Errors
    /// The rule that it breaks. The connection is of no use then: where the next message begins nobody knows.
    pub(crate) fn read(&mut self, buffer: &mut BytesMut, bounds: Bounds) -> Result<Option<Head>, Rule> {
        let end = loop {
            match self.scan.end_of_head(buffer)? {
                // Some clients send an empty line after a body (RFC 9112, 2.2).
                Some(2) => {
                    if std::mem::replace(&mut self.skipped, true) {
                        return Err(Rule::LeadingLines);
                    }
                    let _line = buffer.split_to(2);
                    self.scan = Scan::default();
                }
                Some(end) if end > bounds.bytes => return Err(too_long(buffer, bounds)),
                Some(end) => break end,
                None if buffer.len() >= bounds.bytes => return Err(too_long(buffer, bounds)),
                None => return Ok(None),
            }
        };
        *self = Self::default();
        parse(buffer.split_to(end).freeze(), bounds.headers).map(Some)
    }
}

/// What of the head is too long: the same one whether it comes in one piece or in many.
fn too_long(head: &[u8], bounds: Bounds) -> Rule {
    let within = &head[..head.len().min(bounds.bytes)];
    if memchr::memchr(b'\n', within).is_some() { Rule::HeadLength } else { Rule::TargetLength }
}

fn parse(head: Bytes, headers_max: usize) -> Result<Head, Rule> {
    let mut lines = Lines::new(headers_max);
    let mut request = httparse::Request::new(&mut []);
    match httparse::ParserConfig::default().parse_request_with_uninit_headers(
        &mut request,
        &head,
        lines.room(headers_max),
    ) {
        Ok(httparse::Status::Complete(_)) => {}
        // The head is whole: what the parser waits for does not come.
        Ok(httparse::Status::Partial) => return Err(Rule::RequestLine),
        Err(error) => return Err(broken(error)),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Rule::RequestLine);
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Rule::RequestLine)?;
    let version = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let uri = uri(&head, target, &method)?;
    let mut headers = fields(&head, request.headers)?;
    let names = Names::of(&headers);
    let length = if may_frame(names) { length(&headers, &method, version)? } else { Length::Known(0) };
    if let Length::Known(number) = length
        && names.may_have(&header::CONTENT_LENGTH)
        && let Some(text) = headers.get_mut(header::CONTENT_LENGTH)
    {
        // The number goes on, not its text: behind here somebody may take a zero in front for octal.
        if text.as_bytes().len() > 1 && text.as_bytes()[0] == b'0' {
            *text = HeaderValue::from(number);
        }
    }
    let keep_alive = keep_alive(&headers, names, version);
    let expects_continue = names.may_have(&header::EXPECT) && expects_continue(&headers, version)?;
    let mut parts = Request::new(()).into_parts().0;
    parts.method = method;
    parts.uri = uri;
    parts.version = version;
    parts.headers = headers;
    Ok(Head { parts, length, keep_alive, expects_continue })
}

/// Room for the lines of a head while it is parsed: on the stack as long as they are few.
pub(super) struct Lines<'h> {
    on_stack: [MaybeUninit<httparse::Header<'h>>; HEADERS_ON_STACK],
    on_heap: Vec<MaybeUninit<httparse::Header<'h>>>,
}

impl<'h> Lines<'h> {
    pub(super) fn new(count_max: usize) -> Self {
        let on_heap =
            if count_max > HEADERS_ON_STACK { vec![MaybeUninit::uninit(); count_max] } else { Vec::new() };
        Self { on_stack: [const { MaybeUninit::uninit() }; HEADERS_ON_STACK], on_heap }
    }

    pub(super) fn room(&mut self, count_max: usize) -> &mut [MaybeUninit<httparse::Header<'h>>] {
        if self.on_heap.is_empty() { &mut self.on_stack[..count_max] } else { &mut self.on_heap }
    }
}

/// Whether something may be said about the length of the body.
fn may_frame(names: Names) -> bool {
    names.may_have(&header::CONTENT_LENGTH) || names.may_have(&header::TRANSFER_ENCODING)
}

/// The header lines of a parsed head. Values share the head's memory.
pub(super) fn fields(head: &Bytes, lines: &[httparse::Header<'_>]) -> Result<HeaderMap, Rule> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Rule::HeaderName)?;
        let value =
            HeaderValue::from_maybe_shared(head.slice_ref(line.value)).map_err(|_| Rule::HeaderValue)?;
        headers.append(name, value);
    }
    Ok(headers)
}

pub(super) fn broken(error: httparse::Error) -> Rule {
    match error {
        httparse::Error::HeaderName => Rule::HeaderName,
        httparse::Error::HeaderValue => Rule::HeaderValue,
        httparse::Error::TooManyHeaders => Rule::HeaderCount,
        httparse::Error::Version => Rule::Version,
        // Lines are known to end as they should.
        httparse::Error::NewLine | httparse::Error::Token | httparse::Error::Status => Rule::RequestLine,
    }
}

fn uri(head: &Bytes, target: &str, method: &Method) -> Result<Uri, Rule> {
    if *method == Method::CONNECT {
        return Err(Rule::Connect);
    }
    // A fragment would be lost, and what is no visible ASCII is read in several ways.
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(Rule::Target);
    }
    let uri = Uri::from_maybe_shared(head.slice_ref(target.as_bytes())).map_err(|_| Rule::Target)?;
    let is_path = target.starts_with('/');
    let is_url = uri.scheme_str().is_some_and(|scheme| scheme == "http" || scheme == "https")
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let is_all = target == "*" && *method == Method::OPTIONS;
    if is_path || is_url || is_all { Ok(uri) } else { Err(Rule::Target) }
}

/// One way to find the end of the body, or none at all.
fn length(headers: &HeaderMap, method: &Method, version: Version) -> Result<Length, Rule> {
    match said(headers)? {
        None => Ok(Length::Known(0)),
        Some(Length::Chunked) if version == Version::HTTP_10 => Err(Rule::CodingInHttp10),
        Some(Length::Chunked) if *method == Method::GET || *method == Method::HEAD => {
            Err(Rule::ChunkedWithoutUse)
        }
        Some(length) => Ok(length),
    }
}

/// What the headers of a message, a request or an answer, say about its length. They say it in one way.
pub(crate) fn said(headers: &HeaderMap) -> Result<Option<Length>, Rule> {
    let values = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    said_by(values(header::CONTENT_LENGTH), values(header::TRANSFER_ENCODING))
}

/// As [`said`], by the values of `Content-Length` and `Transfer-Encoding`.
pub(super) fn said_by<'h>(
    mut lengths: impl Iterator<Item = &'h [u8]>,
    mut codings: impl Iterator<Item = &'h [u8]>,
) -> Result<Option<Length>, Rule> {
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Rule::LengthAndCoding),
        (Some(length), None) => {
            if lengths.next().is_some() {
                return Err(Rule::ContentLengthRepeated);
            }
            number(length).map(|number| Some(Length::Known(number))).ok_or(Rule::ContentLength)
        }
        (None, Some(coding)) => {
            if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
                return Err(Rule::TransferEncoding);
            }
            Ok(Some(Length::Chunked))
        }
    }
}

/// Digits and nothing else: no sign, no list, no space within.
fn number(text: &[u8]) -> Option<u64> {
    let is_short = (1..=19).contains(&text.len());
    let digits = text.iter().map(|byte| byte.is_ascii_digit().then_some(u64::from(byte.wrapping_sub(b'0'))));
    let number = digits
        .take(if is_short { 19 } else { 0 })
        .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(digit?))?;
    (is_short && i64::try_from(number).is_ok()).then_some(number)
}

fn keep_alive(headers: &HeaderMap, names: Names, version: Version) -> bool {
    if !names.may_have(&header::CONNECTION) {
        return version == Version::HTTP_11;
    }
    keeps_alive(headers.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes), version)
}

/// Whether the other side wants to go on, by its values of `Connection`.
pub(super) fn keeps_alive<'h>(connection: impl Iterator<Item = &'h [u8]>, version: Version) -> bool {
    let (mut closes, mut keeps) = (false, version == Version::HTTP_11);
    for value in connection {
        closes |= names_option(value, b"close");
        keeps |= names_option(value, b"keep-alive");
    }
    keeps && !closes
}

/// Whether `Connection` names this option.
pub(super) fn has_option(headers: &HeaderMap, option: &str) -> bool {
    let values = headers.get_all(header::CONNECTION);
    values.iter().any(|value| names_option(value.as_bytes(), option.as_bytes()))
}

/// Whether a list names an option. What is not visible ASCII names none.
fn names_option(value: &[u8], option: &[u8]) -> bool {
    value.is_ascii()
        && value.split(|byte| *byte == b',').any(|named| named.trim_ascii().eq_ignore_ascii_case(option))
}

fn expects_continue(headers: &HeaderMap, version: Version) -> Result<bool, Rule> {
    let mut expectations = headers.get_all(header::EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        // HTTP/1.0 knows none, and a client of it waits for nothing.
        (Some(_), _) if version == Version::HTTP_10 => Ok(false),
        (None, _) => Ok(false),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        (Some(_), _) => Err(Rule::Expectation),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 1_024, headers: 8 };

    fn read(text: &str) -> Result<Option<Head>, Rule> {
        Reader::default().read(&mut BytesMut::from(text), BOUNDS)
    }

    fn rule(text: &str) -> Option<Rule> {
        read(text).err()
    }

    /// A request with these lines.
    fn with(lines: &str) -> String {
        format!("POST /a HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    }

    #[test]
    fn a_head_is_what_it_says() {
        let head = read(
            "POST /a?b=c HTTP/1.1\r\nHost: a\r\nX-One:  1 \r\nx-one: 2\r\nContent-Length: 7\r\n\r\nbody",
        )
        .unwrap()
        .unwrap();
        assert_eq!(
            (head.parts.method.as_str(), head.parts.uri.path(), head.parts.uri.query()),
            ("POST", "/a", Some("b=c"))
        );
        let ones: Vec<_> =
            head.parts.headers.get_all("x-one").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(ones, ["1", "2"]);
        assert_eq!((head.length, head.keep_alive, head.expects_continue), (Length::Known(7), true, false));
    }

    #[test]
    fn it_comes_in_any_pieces_and_leaves_what_follows() {
        let text = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 1..text.len() {
            let (mut reader, mut buffer, mut paths) = (Reader::default(), BytesMut::new(), Vec::new());
            for piece in [&text[..cut], &text[cut..]] {
                buffer.extend_from_slice(piece.as_bytes());
                while let Some(head) = reader.read(&mut buffer, BOUNDS).unwrap() {
                    paths.push(head.parts.uri.path().to_owned());
                }
            }
            assert_eq!((paths, buffer.len()), (vec!["/1".to_owned(), "/2".to_owned()], 0), "{cut}");
        }
    }

    #[test]
    fn lines_end_in_one_way() {
        assert_eq!(rule("GET / HTTP/1.1\nHost: a\n\n"), Some(Rule::BareLineFeed));
        assert_eq!(rule(&with("X: a\rb\r\n")), Some(Rule::BareCarriageReturn));
        assert_eq!(rule(&with("X: a\nContent-Length: 3\r\n")), Some(Rule::BareLineFeed));
        assert!(read("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().is_some());
        assert_eq!(rule("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Some(Rule::LeadingLines));
    }

    #[test]
    fn the_request_line_has_three_parts() {
        for line in [
            "GET",
            "GET /",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            " GET / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "G(T / HTTP/1.1",
            "GET\t/ HTTP/1.1",
        ] {
            let found = rule(&format!("{line}\r\nHost: a\r\n\r\n"));
            assert!(matches!(found, Some(Rule::RequestLine | Rule::Version)), "{line:?}: {found:?}");
        }
        for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "http/1.1", "HTTP/1.10", "HTTP/1"] {
            let found = rule(&format!("GET / {version}\r\nHost: a\r\n\r\n"));
            assert!(matches!(found, Some(Rule::Version | Rule::RequestLine)), "{version}: {found:?}");
        }
    }

    #[test]
    fn a_target_has_one_meaning() {
        for target in ["/", "/a?b", "http://a/b", "https://a:1/b?c", "http://a"] {
            assert!(
                read(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap().is_some(),
                "{target}"
            );
        }
        for target in ["a", "*", "/a#b", "/\u{e4}", "ftp://a/b", "http://u@a/b", "http:///b", "a:80", "?a"] {
            let found = rule(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(found, Some(Rule::Target), "{target}");
        }
        assert!(read("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().is_some());
        assert_eq!(rule("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), Some(Rule::Connect));
    }

    #[test]
    fn header_lines_have_a_name_and_a_value() {
        for line in ["X : a", " X: a", ": a", "X", "X Y: a", "X\u{0}: a", "X(: a", "\tX: a"] {
            assert_eq!(rule(&with(&format!("A: b\r\n{line}\r\n"))), Some(Rule::HeaderName), "{line:?}");
        }
        for line in ["X: a\u{0}b", "X: \u{b}a", "X: \u{7f}", "X: a\u{1}"] {
            assert_eq!(rule(&with(&format!("{line}\r\n"))), Some(Rule::HeaderValue), "{line:?}");
        }
        assert!(read(&with("X:\r\nY: \ta\t \r\nZ: \u{e4}\r\n")).unwrap().is_some());
    }

    #[test]
    fn a_length_is_said_once_and_in_digits() {
        let length = |lines: &str| read(&with(lines)).map(|head| head.unwrap().length);
        assert_eq!(length(""), Ok(Length::Known(0)));
        assert_eq!(length("Content-Length: 0\r\n"), Ok(Length::Known(0)));
        assert_eq!(length("Content-Length: 9223372036854775807\r\n"), Ok(Length::Known(u64::MAX / 2)));
        assert_eq!(length("Transfer-Encoding: Chunked\r\n"), Ok(Length::Chunked));
        for value in [
            "",
            "-1",
            "+1",
            "1 ",
            "0x1",
            "1,1",
            "1, 1",
            "1 1",
            "a",
            "9223372036854775808",
            "00000000000000000001",
            "1.0",
            "\u{b2}",
        ] {
            let expected = if value == "1 " { Ok(Length::Known(1)) } else { Err(Rule::ContentLength) };
            assert_eq!(length(&format!("Content-Length: {value}\r\n")), expected, "{value:?}");
        }
        assert_eq!(length("Content-Length: 1\r\nContent-Length: 1\r\n"), Err(Rule::ContentLengthRepeated));
        assert_eq!(length("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), Err(Rule::LengthAndCoding));
        assert_eq!(length("transfer-encoding: chunked\r\nCONTENT-LENGTH: 1\r\n"), Err(Rule::LengthAndCoding));
        for value in [
            "",
            "identity",
            "gzip, chunked",
            "chunked, chunked",
            "chunked;a",
            "chunked,",
            "xchunked",
            "\"chunked\"",
        ] {
            assert_eq!(
                length(&format!("Transfer-Encoding: {value}\r\n")),
                Err(Rule::TransferEncoding),
                "{value:?}"
            );
        }
        assert_eq!(
            length("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            Err(Rule::TransferEncoding)
        );
        assert_eq!(rule("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Some(Rule::CodingInHttp10));
        assert_eq!(
            rule("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Some(Rule::ChunkedWithoutUse)
        );
    }

    #[test]
    fn heads_have_bounds() {
        let many: String = (0..8).map(|n| format!("X-{n}: a\r\n")).collect();
        assert_eq!(rule(&with(&many)), Some(Rule::HeaderCount));
        let long = "a".repeat(1_024);
        assert_eq!(rule(&format!("GET /{long}")), Some(Rule::TargetLength));
        assert_eq!(rule(&with(&format!("X: {long}\r\n"))), Some(Rule::HeadLength));
        assert_eq!(rule(&format!("GET / HTTP/1.1\r\nX: {long}")), Some(Rule::HeadLength));
        // To the byte.
        let rest = "GET / HTTP/1.1\r\nX: \r\n\r\n".len();
        let fits = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(BOUNDS.bytes - rest));
        assert!(read(&fits).unwrap().is_some());
        let over = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(BOUNDS.bytes - rest + 1));
        assert_eq!(rule(&over), Some(Rule::HeadLength));
        assert_eq!(rule(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")), Some(Rule::TargetLength));
    }

    #[test]
    fn a_connection_goes_on_unless_somebody_says_otherwise() {
        let keeps = |head: &str| read(head).unwrap().unwrap().keep_alive;
        assert!(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"));
    }

    #[test]
    fn only_one_expectation_is_known() {
        let expects = |head: &str| read(head).map(|head| head.unwrap().expects_continue);
        assert_eq!(expects(&with("Expect: 100-Continue\r\n")), Ok(true));
        assert_eq!(expects("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"), Ok(false));
        assert_eq!(expects(&with("Expect: 200-ok\r\n")), Err(Rule::Expectation));
        assert_eq!(
            expects(&with("Expect: 100-continue\r\nExpect: 100-continue\r\n")),
            Err(Rule::Expectation)
        );
    }
}
