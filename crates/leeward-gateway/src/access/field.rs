//! What a record can say, and how each of it is written.

use std::io::Write;
use std::time::Duration;

use http::Version;

use super::escape::Escape;
use super::facts::Facts;
use super::query;
use crate::h1;

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
    /// `complete`, `client_gone` or `upstream_broken`.
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

impl Field {
    /// All of them with their names, in the order of a record.
    pub const ALL: [(&'static str, Self); 27] = [
        ("time", Self::Time),
        ("request_id", Self::RequestId),
        ("correlation_id", Self::CorrelationId),
        ("trace_id", Self::TraceId),
        ("client", Self::Client),
        ("user", Self::User),
        ("method", Self::Method),
        ("host", Self::Host),
        ("path", Self::Path),
        ("query", Self::Query),
        ("protocol", Self::Protocol),
        ("route", Self::Route),
        ("service", Self::Service),
        ("endpoint", Self::Endpoint),
        ("attempts", Self::Attempts),
        ("status", Self::Status),
        ("code", Self::Code),
        ("stage", Self::Stage),
        ("rule", Self::Rule),
        ("outcome", Self::Outcome),
        ("bytes_in", Self::BytesIn),
        ("bytes_out", Self::BytesOut),
        ("duration_ms", Self::DurationMs),
        ("head_ms", Self::HeadMs),
        ("upstream_ms", Self::UpstreamMs),
        ("referer", Self::Referer),
        ("user_agent", Self::UserAgent),
    ];

    /// Its name in a configuration and in a record.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }

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
            Self::RequestId => text(out, escape, bytes(facts.request_id.as_ref())),
            Self::CorrelationId => text(out, escape, bytes(facts.correlation_id.as_ref())),
            Self::TraceId if facts.trace_id != 0 => show(out, format_args!("{:032x}", facts.trace_id)),
            Self::TraceId => {}
            Self::Client => facts.client.iter().for_each(|client| show(out, format_args!("{client}"))),
            Self::User => text(out, escape, facts.user.as_bytes()),
            Self::Method => {
                text(out, escape, facts.method.as_ref().map_or(b"", |method| method.as_str().as_bytes()))
            }
            Self::Host => text(out, escape, bytes(facts.host.as_ref())),
            Self::Path if facts.method.is_some() => text(out, escape, facts.uri.path().as_bytes()),
            Self::Path => {}
            Self::Query => self::query(out, escape, facts.uri.query().unwrap_or_default(), redact),
            Self::Protocol if facts.method.is_some() => {
                show(out, format_args!("{}", protocol(facts.version)))
            }
            Self::Protocol => {}
            Self::Route => text(out, escape, facts.route.as_bytes()),
            Self::Service => text(out, escape, facts.service.as_bytes()),
            Self::Endpoint => text(out, escape, facts.endpoint.as_bytes()),
            Self::Attempts => show(out, format_args!("{}", facts.attempts)),
            Self::Status => show(out, format_args!("{}", facts.status)),
            Self::Code => text(out, escape, facts.code.as_bytes()),
            Self::Stage => text(out, escape, facts.stage.as_bytes()),
            Self::Rule => text(out, escape, facts.rule.as_bytes()),
            Self::Outcome => text(out, escape, facts.outcome.as_str().as_bytes()),
            Self::BytesIn => show(out, format_args!("{}", facts.bytes_in)),
            Self::BytesOut => show(out, format_args!("{}", facts.bytes_out)),
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

/// Writing into a vector does not fail.
fn show(out: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    drop(out.write_fmt(what));
}

fn millis(out: &mut Vec<u8>, time: Duration) {
    show(out, format_args!("{}.{:03}", time.as_millis(), time.subsec_micros() % 1_000));
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
    let month = MONTHS.iter().position(|month| *month == &date[8..11]).map_or(0, |month| month + 1);
    out.extend_from_slice(&date[12..16]);
    show(out, format_args!("-{month:02}-"));
    out.extend_from_slice(&date[5..7]);
    out.push(b'T');
    out.extend_from_slice(&date[17..25]);
    show(out, format_args!(".{:03}Z", unix_ms.rem_euclid(1_000)));
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
    fn a_long_text_is_cut() {
        let mut out = Vec::new();
        text(&mut out, Escape::Json, "a".repeat(5_000).as_bytes());
        assert_eq!(out.len(), TEXT_BYTES_MAX + 3);
        out.clear();
        query(&mut out, Escape::Json, &"a=b&token=cc".repeat(1_000), &[]);
        assert!(out.len() <= TEXT_BYTES_MAX + 3 && out.ends_with(b"..."));
    }
}
