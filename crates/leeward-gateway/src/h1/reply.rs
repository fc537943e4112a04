//! The head of a service's answer, by the same rules as a request's: what two readers could understand in two ways is no answer.

use bytes::{Bytes, BytesMut};
use http::{StatusCode, Version};

use super::came::Came;
use super::head::{Bounds, Length, Lines, broken, keeps_alive, said_by};
use super::reading::Reading;
use super::rule::Rule;
use super::scan::Scan;

/// Most header lines of an answer.
const HEADERS_MAX: usize = 128;
/// Largest answer head, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// What every answer begins with.
const BANNER: &[u8] = b"HTTP/1.";

/// Why what a service sent is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoAnswer(pub(super) &'static str);

impl From<Rule> for NoAnswer {
    fn from(rule: Rule) -> Self {
        Self(rule.text())
    }
}

/// An answer without its body.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    /// Its header lines.
    pub(super) came: Came,
    length: Option<Length>,
    /// Whether the service wants to go on with this connection.
    pub(super) keep_alive: bool,
}

impl Reply {
    /// Takes the next head off the buffer, once it is there.
    ///
    /// # Errors
    /// What is wrong with it. The connection is of no use then.
    pub(super) fn read(buffer: &mut BytesMut, scan: &mut Scan) -> Result<Option<Self>, NoAnswer> {
        if !BANNER.starts_with(&buffer[..buffer.len().min(BANNER.len())]) {
            return Err(NoAnswer("it does not begin with HTTP/1."));
        }
        let too_long = NoAnswer("its head is longer than 64 KiB");
        match scan.end_of_head(buffer)? {
            Some(end) if end > HEAD_BYTES_MAX => Err(too_long),
            Some(end) => {
                *scan = Scan::default();
                parse(buffer.split_to(end).freeze()).map(Some)
            }
            None if buffer.len() >= HEAD_BYTES_MAX => Err(too_long),
            None => Ok(None),
        }
    }

    /// Whether another head follows. A switch of protocols is the last one.
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// Where its body ends.
    pub(super) fn reading(&self, is_head: bool) -> Reading {
        match self.length {
            _ if is_head || is_bare(self.status) => Reading::Over,
            Some(length) => Reading::of(length, Bounds { bytes: HEAD_BYTES_MAX, headers: HEADERS_MAX }),
            None => Reading::Close,
        }
    }
}

/// Statuses that have no body, whatever their headers say.
fn is_bare(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// Whether a head announces a body that its status cannot have: what comes next on the connection may be that body. With 304 a
/// length is that of the answer to another question.
fn contradicts_itself(status: StatusCode, length: Option<&Length>) -> bool {
    match length {
        Some(Length::Chunked) => is_bare(status),
        Some(Length::Known(1..)) => is_bare(status) && status != StatusCode::NOT_MODIFIED,
        _ => false,
    }
}

fn parse(head: Bytes) -> Result<Reply, NoAnswer> {
    const NOT_ONE: NoAnswer = NoAnswer("its first line is no version and status of three digits");
    let mut lines = Lines::new(HEADERS_MAX);
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        &head,
        lines.room(HEADERS_MAX),
    );
    match parsed {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(NOT_ONE),
        Err(httparse::Error::Status | httparse::Error::Token | httparse::Error::Version) => {
            return Err(NOT_ONE);
        }
        Err(error) => return Err(broken(error).into()),
    }
    let (Some(status), Some(version)) = (response.code, response.version) else { return Err(NOT_ONE) };
    let version = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let lines = &*response.headers;
    let length = said_by(values(lines, "content-length"), values(lines, "transfer-encoding"))?;
    if version == Version::HTTP_10 && length == Some(Length::Chunked) {
        return Err(Rule::CodingInHttp10.into());
    }
    let status = StatusCode::from_u16(status).map_err(|_| NOT_ONE)?;
    let keep_alive =
        keeps_alive(values(lines, "connection"), version) && !contradicts_itself(status, length.as_ref());
    let came = Came::new(head.clone(), lines);
    Ok(Reply { status, version, came, length, keep_alive })
}

/// What stands under a name.
fn values<'l>(lines: &'l [httparse::Header<'l>], name: &'static str) -> impl Iterator<Item = &'l [u8]> {
    lines.iter().filter(move |line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value)
}
