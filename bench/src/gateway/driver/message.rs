//! Heads of requests and responses as far as the driver reads them.

/// Most header lines of a message. Envoy and we add about ten.
const HEADERS_MAX: usize = 64;

/// What a head says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// Bytes up to and with the empty line.
    pub(super) len: usize,
    /// Of a response; 0 in a request.
    pub(super) status: u16,
    /// Bytes of the body, by `Content-Length`.
    pub(super) body_bytes: usize,
    /// Whether the sender closes after this message.
    pub(super) closes: bool,
    /// Whether it shows the work that is to be proven: a verified identity in a request, a rate limit in a response.
    pub(super) proves: bool,
    /// Whether a request carries a trace.
    pub(super) is_traced: bool,
}

/// The headers by which a gateway tells the service who it is.
const IDENTITY: [&str; 2] = ["x-leeward-assertion", "x-jwt-payload"];
/// The headers by which a gateway tells the client what is left of its limit.
pub(super) const LIMIT: [&str; 2] = ["ratelimit", "x-ratelimit-limit"];

/// The head of a request and its target, once it is complete.
pub(super) fn request(bytes: &[u8]) -> Result<Option<(Head, Target)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(len) = request.parse(bytes).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let target = Target::of(request.path.unwrap_or_default());
    Ok(Some((head(len, 0, request.headers, IDENTITY, 0)?, target)))
}

/// The head of a response, once it is complete.
pub(super) fn response(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(len) = response.parse(bytes).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let status = response.code.unwrap_or(0);
    // Every answer of the upstream has a length; one without was framed anew, and is not what was sent.
    head(len, status, response.headers, LIMIT, usize::MAX).map(Some)
}

fn head(
    len: usize,
    status: u16,
    headers: &[httparse::Header<'_>],
    proofs: [&str; 2],
    without_length: usize,
) -> Result<Head, String> {
    let mut head =
        Head { len, status, body_bytes: without_length, closes: false, proves: false, is_traced: false };
    for header in headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).unwrap_or_default();
            head.body_bytes = text.parse().map_err(|_| format!("Content-Length {text:?}"))?;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("a chunked message".to_owned());
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.closes = header.value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case("traceparent") {
            head.is_traced = true;
        } else if proofs.iter().any(|proof| header.name.eq_ignore_ascii_case(proof)) {
            head.proves = true;
        }
    }
    if head.body_bytes == usize::MAX {
        return Err(format!("an answer {status} without Content-Length"));
    }
    Ok(head)
}

/// What is asked of the upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Small,
    Large,
    /// The keys that tokens are checked with.
    Keys,
    /// A health check.
    Health,
    Unknown,
}

impl Target {
    /// Any route may lead to a file.
    fn of(path: &str) -> Self {
        match path {
            "/.well-known/jwks.json" => Self::Keys,
            "/health" => Self::Health,
            _ if path.ends_with("/1k") => Self::Small,
            _ if path.ends_with("/64k") => Self::Large,
            _ => Self::Unknown,
        }
    }

    /// Whether it stands for a request of the load, and not for one of the gateway's own.
    pub(super) fn is_load(self) -> bool {
        matches!(self, Self::Small | Self::Large)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nConnection: Close\r\nRateLimit: x\r\n\r\nhello";
        for cut in 0..text.len() - 5 {
            assert_eq!(response(&text[..cut]), Ok(None), "{cut}");
        }
        let head = response(text).unwrap().unwrap();
        assert_eq!(
            head,
            Head {
                len: text.len() - 5,
                status: 200,
                body_bytes: 5,
                closes: true,
                proves: true,
                is_traced: false
            }
        );
    }

    #[test]
    fn what_cannot_be_measured_is_no_answer() {
        for text in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"] {
            assert!(response(text.as_bytes()).is_err(), "{text}");
        }
        assert!(response(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_without_length_has_no_body() {
        let (head, target) = request(b"GET /64k HTTP/1.1\r\nhost: a\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.body_bytes, head.proves, target), (0, false, Target::Large));
        let (head, target) =
            request(b"POST /x HTTP/1.1\r\nX-Jwt-Payload: e\r\ncontent-length: 9\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.body_bytes, head.proves, target), (9, true, Target::Unknown));
    }
}
