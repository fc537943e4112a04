//! What a record can say, and how each of it is written.

use std::time::Duration;

use http::Version;
use leeward_telemetry::hex_id;

use super::escape::Escape;
use super::facts::Facts;
use super::query;
use crate::{address, h1};

/// Bytes of one text of a client that are written; the rest is left out, and `...` says so.
const TEXT_BYTES_MAX: usize = 2_048;

/// One field of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// When the request began: RFC 3339, UTC, milliseconds.
    Time,
    /// `x-request-id`.
    RequestId,
    /// `x-correlation-id`.
    CorrelationId,
    /// The trace, 32 hexadecimal digits.
    TraceId,
    /// The client's address, found over `trusted_proxies`.
    Client,
    /// The user that the request was served for.
    User,
    /// The method.
    Method,
    /// `Host`, as it was sent.
    Host,
    /// The path, as it was sent.
    Path,
    /// The query, without the values of secrets.
    Query,
    /// `HTTP/1.1` and so on.
    Protocol,
    /// The route's id.
    Route,
    /// The route's service.
    Service,
    /// The endpoint that was asked last.
    Endpoint,
    /// How many attempts were sent to the service, hedges included.
    Attempts,
    /// The status that was answered.
    Status,
    /// The code of the gateway's own refusal.
    Code,
    /// The stage that refused.
    Stage,
    /// The rule of the codec that the message broke.
    Rule,
    /// The cause for which another answer stood in for the service's.
    Fallback,
    /// `complete`, `client_gone`, `upstream_broken` or `deadline_exceeded`.
    Outcome,
    /// Bytes of the request's body that came in.
    BytesIn,
    /// Bytes of the answer's body that went out.
    BytesOut,
    /// From the request's head to the last byte of the answer, in milliseconds.
    DurationMs,
    /// From the request's head to the head of the answer.
    HeadMs,
    /// What of that the service and its policies took, all attempts and waits included.
    UpstreamMs,
    /// `Referer`, without its query.
    Referer,
    /// `User-Agent`.
    UserAgent,
}

/// Fields by their names.
macro_rules! fields {
    ($($name:literal $field:ident,)+) => {
        impl Field {
            /// All of them with their names, in the order of a record.
            pub const ALL: [(&'static str, Self); 28] = [$(($name, Self::$field)),+];

            /// Its name in a configuration and in a record.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name,)+
                }
            }

            /// What stands in an object in front of its value, with what parts it from the member before.
            pub(super) const fn opening(self) -> &'static str {
                match self {
                    $(Self::$field => concat!(",\"", $name, "\":"),)+
                }
            }
        }
    };
}

fields! {
    "time" Time,
    "request_id" RequestId,
    "correlation_id" CorrelationId,
    "trace_id" TraceId,
    "client" Client,
    "user" User,
    "method" Method,
    "host" Host,
    "path" Path,
    "query" Query,
    "protocol" Protocol,
    "route" Route,
    "service" Service,
    "endpoint" Endpoint,
    "attempts" Attempts,
    "status" Status,
    "code" Code,
    "stage" Stage,
    "rule" Rule,
    "fallback" Fallback,
    "outcome" Outcome,
    "bytes_in" BytesIn,
    "bytes_out" BytesOut,
    "duration_ms" DurationMs,
    "head_ms" HeadMs,
    "upstream_ms" UpstreamMs,
    "referer" Referer,
    "user_agent" UserAgent,
}

impl Field {
    /// The field with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
    }

    /// Whether JSON writes it without quotes.
    pub(super) fn is_number(self) -> bool {
        matches!(
            self,
            Self::Attempts
                | Self::Status
                | Self::BytesIn
                | Self::BytesOut
                | Self::DurationMs
                | Self::HeadMs
                | Self::UpstreamMs
        )
    }

    /// Writes the value. Nothing is written where there is none.
    pub(super) fn write(self, out: &mut Vec<u8>, facts: &Facts, escape: Escape, redact: &[String]) {
        match self {
            Self::Time => time(out, facts.unix_ms),
            Self::RequestId => text(out, escape, facts.request_id.as_bytes()),
            Self::CorrelationId => text(out, escape, facts.correlation_id.as_bytes()),
            Self::TraceId if facts.trace_id != 0 => out.extend_from_slice(&hex_id(facts.trace_id)),
            Self::TraceId => {}
            Self::Client => {
                facts.client.iter().for_each(|client| {
                    out.extend_from_slice(address::text(*client).as_bytes());
                });
            }
            Self::User => text(out, escape, facts.user.as_bytes()),
            Self::Method => {
                text(out, escape, facts.method.as_ref().map_or(b"", |method| method.as_str().as_bytes()))
            }
            Self::Host => text(out, escape, bytes(facts.host.as_ref())),
            Self::Path if facts.method.is_some() => text(out, escape, facts.uri.path().as_bytes()),
            Self::Path => {}
            Self::Query => self::query(out, escape, facts.uri.query().unwrap_or_default(), redact),
            Self::Protocol if facts.method.is_some() => {
                out.extend_from_slice(protocol(facts.version).as_bytes());
            }
            Self::Protocol => {}
            Self::Route => text(out, escape, facts.route.as_bytes()),
            Self::Service => text(out, escape, facts.service.as_bytes()),
            Self::Endpoint => text(out, escape, facts.endpoint.as_bytes()),
            Self::Attempts => number(out, facts.attempts),
            Self::Status => number(out, facts.status),
            Self::Code => text(out, escape, facts.code.as_bytes()),
            Self::Stage => text(out, escape, facts.stage.as_bytes()),
            Self::Rule => text(out, escape, facts.rule.as_bytes()),
            Self::Fallback => text(out, escape, facts.fallback.as_bytes()),
            Self::Outcome => text(out, escape, facts.outcome.as_str().as_bytes()),
            Self::BytesIn => number(out, facts.bytes_in),
            Self::BytesOut => number(out, facts.bytes_out),
            Self::DurationMs => millis(out, facts.total),
            Self::HeadMs => millis(out, facts.head),
            Self::UpstreamMs => millis(out, facts.upstream),
            Self::Referer => {
                let referer = bytes(facts.referer.as_ref());
                let end = memchr::memchr2(b'?', b'#', referer).unwrap_or(referer.len());
                text(out, escape, &referer[..end]);
            }
            Self::UserAgent => text(out, escape, bytes(facts.user_agent.as_ref())),
        }
    }
}

fn bytes(value: Option<&http::HeaderValue>) -> &[u8] {
    value.map_or(b"", |value| value.as_bytes())
}

fn text(out: &mut Vec<u8>, escape: Escape, bytes: &[u8]) {
    escape.write(out, &bytes[..bytes.len().min(TEXT_BYTES_MAX)]);
    if bytes.len() > TEXT_BYTES_MAX {
        out.extend_from_slice(b"...");
    }
}

fn query(out: &mut Vec<u8>, escape: Escape, query: &str, redact: &[String]) {
    let mut left = TEXT_BYTES_MAX;
    query::pieces(query.as_bytes(), redact, |piece| {
        let written = piece.len().min(left);
        escape.write(out, &piece[..written]);
        left -= written;
    });
    if query.len() > TEXT_BYTES_MAX {
        out.extend_from_slice(b"...");
    }
}

fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The last digits of a number: so many that it has no more.
fn digits<const N: usize>(out: &mut Vec<u8>, mut number: u32) {
    let mut text = [b'0'; N];
    for place in text.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    out.extend_from_slice(&text);
}

fn millis(out: &mut Vec<u8>, time: Duration) {
    number(out, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    out.push(b'.');
    digits::<3>(out, time.subsec_micros() % 1_000);
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "",
    }
}

/// `1994-11-06T08:49:37.250Z`, from the date that answers carry, which is written once a second.
fn time(out: &mut Vec<u8>, unix_ms: i64) {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let date = h1::date_at(unix_ms);
    let month = (1..).zip(MONTHS).find(|(_, month)| *month == &date[8..11]).map_or(0, |(number, _)| number);
    out.extend_from_slice(&date[12..16]);
    out.push(b'-');
    digits::<2>(out, month);
    out.push(b'-');
    out.extend_from_slice(&date[5..7]);
    out.push(b'T');
    out.extend_from_slice(&date[17..25]);
    out.push(b'.');
    digits::<3>(out, u32::try_from(unix_ms.rem_euclid(1_000)).unwrap_or_default());
    out.push(b'Z');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_time_is_written_as_rfc_3339() {
        for (unix_ms, shown) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (784_111_777_250, "1994-11-06T08:49:37.250Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        ] {
            let mut out = Vec::new();
            time(&mut out, unix_ms);
            assert_eq!(String::from_utf8(out).unwrap(), shown);
        }
    }

    #[test]
    fn numbers_are_written_as_numbers_are() {
        let mut out = Vec::new();
        for time in [Duration::ZERO, Duration::from_micros(1_203_045), Duration::from_millis(7)] {
            millis(&mut out, time);
            out.push(b' ');
        }
        number(&mut out, u64::MAX);
        assert_eq!(String::from_utf8(out).unwrap(), "0.000 1203.045 7.000 18446744073709551615");
    }

    #[test]
    fn a_long_text_is_cut() {
        let mut out = Vec::new();
        text(&mut out, Escape::Json, "a".repeat(5_000).as_bytes());
        assert_eq!(out.len(), TEXT_BYTES_MAX + 3);
        out.clear();
        query(&mut out, Escape::Json, &"a=b&token=cc".repeat(1_000), &[]);
        assert!(out.len() <= TEXT_BYTES_MAX + 3 && out.ends_with(b"..."));
    }
}
