//! The JSON form of an envelope.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Attributes, EVENT_BYTES_MAX, Envelope, Error, check_kind, check_name, encode, time};

const SPEC_VERSION: &str = "1.0";

/// What data is taken for where an event comes without any.
const NULL: &str = "null";

/// The order of the fields is the order in the JSON, which a golden file pins.
#[derive(Serialize)]
struct Outgoing<'a, T> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    dataversion: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    correlationid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<&'a str>,
    data: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    logseq: Option<i64>,
}

/// What a bus must know of an event to pass it on.
#[derive(Deserialize)]
pub(crate) struct Head<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    subject: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    time: Option<Cow<'a, str>>,
    #[serde(default)]
    dataversion: Option<u32>,
    #[serde(borrow, default)]
    traceparent: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    correlationid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    causationid: Option<Cow<'a, str>>,
    #[serde(default)]
    logseq: Option<i64>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

fn outgoing<'a, T>(from: Attributes<'a>, data: &'a T) -> Outgoing<'a, T> {
    Outgoing {
        specversion: SPEC_VERSION,
        id: from.id,
        source: from.source,
        kind: from.kind,
        subject: from.subject,
        time: time::format(from.time_ms),
        datacontenttype: "application/json",
        dataversion: from.version,
        traceparent: from.traceparent,
        correlationid: from.correlation_id,
        causationid: from.causation_id,
        data,
        logseq: from.log_seq,
    }
}

pub(super) fn write<T: Serialize>(from: Attributes<'_>, data: &T) -> Result<Vec<u8>, Error> {
    // Most events fit, so that the buffer does not grow in steps.
    let mut json = Vec::with_capacity(1024);
    serde_json::to_writer(&mut json, &outgoing(from, data)).map_err(encode)?;
    check_size(json.len())?;
    Ok(json)
}

pub(super) fn parse(json: &[u8]) -> Result<Envelope, Error> {
    check_size(json.len())?;
    let wire: Incoming<'_> = serde_json::from_slice(json).map_err(|cause| syntax(&cause))?;
    check_spec(&wire.specversion)?;
    let subject = wire.subject.as_deref().unwrap_or(&wire.id);
    let correlation_id = wire.correlationid.as_deref().unwrap_or(&wire.id);
    let time_ms = match wire.time.as_deref() {
        None => 0,
        Some(text) => time::parse(text)
            .ok_or(Error::Attribute { attribute: "time", reason: "it is not an RFC 3339 time" })?,
    };
    let data = wire.data.map_or(NULL, RawValue::get);
    let from = Attributes {
        id: &wire.id,
        source: &wire.source,
        kind: &wire.kind,
        subject,
        time_ms,
        version: wire.dataversion.unwrap_or(1),
        traceparent: wire.traceparent.as_deref(),
        correlation_id,
        causation_id: wire.causationid.as_deref(),
        log_seq: wire.logseq,
    };
    from.check()?;
    Ok(Envelope {
        id: from.id.into(),
        source: from.source.into(),
        kind: from.kind.into(),
        subject: from.subject.into(),
        time_ms,
        version: from.version,
        traceparent: from.traceparent.map(Arc::from),
        correlation_id: from.correlation_id.into(),
        causation_id: from.causation_id.map(Arc::from),
        log_seq: from.log_seq,
        data: RawValue::from_string(data.to_owned()).map_err(|cause| syntax(&cause))?,
    })
}

/// As CloudEvents JSON.
impl Serialize for Envelope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        outgoing(self.attributes(), &self.data).serialize(serializer)
    }
}

/// From CloudEvents JSON, with the checks of [`Envelope::parse`].
impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        parse(raw.get().as_bytes()).map_err(serde::de::Error::custom)
    }
}

impl<'a> Head<'a> {
    /// Reads and checks as much of an event as a bus needs.
    ///
    /// # Errors
    /// As [`Envelope::parse`].
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, Error> {
        check_size(json.len())?;
        let head: Self = serde_json::from_slice(json).map_err(|cause| syntax(&cause))?;
        check_spec(&head.specversion)?;
        check_name("id", &head.id)?;
        check_name("source", &head.source)?;
        check_kind(&head.kind)?;
        Ok(head)
    }
}

/// What [`with_log_seq`] adds, at most: the name and twenty digits.
const LOG_SEQ_BYTES_MAX: usize = 32;

/// The envelope `json`, which [`write`] made without one, with its place in the log of its source added at the end.
pub(crate) fn with_log_seq(json: &[u8], seq: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() + LOG_SEQ_BYTES_MAX);
    out.extend_from_slice(json.strip_suffix(b"}").unwrap_or(json));
    out.extend_from_slice(b",\"logseq\":");
    out.extend_from_slice(seq.to_string().as_bytes());
    out.push(b'}');
    out
}

/// Refuses an event that would be too large once it has its place in a log.
pub(crate) fn check_room(json: &[u8]) -> Result<(), Error> {
    check_size(json.len() + LOG_SEQ_BYTES_MAX)
}

fn check_spec(version: &str) -> Result<(), Error> {
    if version == SPEC_VERSION {
        return Ok(());
    }
    Err(Error::Attribute { attribute: "specversion", reason: "only CloudEvents 1.0 is taken" })
}

fn check_size(bytes: usize) -> Result<(), Error> {
    if bytes > EVENT_BYTES_MAX { Err(Error::TooLarge { bytes }) } else { Ok(()) }
}

fn syntax(cause: &serde_json::Error) -> Error {
    Error::Syntax { detail: cause.to_string() }
}
