//! The envelope around every event: CloudEvents 1.0, structured mode, JSON.
//!
//! An event is serialised once, when it is appended to the outbox. From there to the handler it travels as those bytes; what
//! passes it on reads no more of it than its kind.

mod time;
mod wire;

use std::sync::Arc;

use leeward_resilience::Rng;
use leeward_telemetry::{Correlation, TraceContext};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::event::{DecodeError, Event};
use crate::pattern;

pub(crate) use self::wire::{Head, check_room, with_log_seq};

/// Largest event in bytes, envelope included. A bus keeps events in memory and in one-megabyte batches; larger things belong
/// into a store, with their address in the event.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

/// Longest id, source, key or correlation id in bytes: they stand in index rows and headers.
pub const NAME_BYTES_MAX: usize = 256;

/// One event with what is known about it. Cheap to read, a few allocations to clone; share it in an `Arc`.
///
/// In JSON it is a CloudEvent with the extension attributes `dataversion`, `traceparent`, `correlationid`, `causationid` and, once it has
/// left the outbox, `logseq`.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Unique with its source; a UUID v7 for events of an [`Outbox`](crate::Outbox).
    pub id: Arc<str>,
    /// Who published it: a service's name, or any URI reference.
    pub source: Arc<str>,
    /// The kind, which is the CloudEvents `type`: `order.placed`.
    pub kind: Arc<str>,
    /// The key, which is the CloudEvents `subject`. Events with one key are handled in order. An event that comes without one
    /// gets its id, so that it has no order with others.
    pub subject: Arc<str>,
    /// When it happened, in milliseconds since 1970.
    pub time_ms: i64,
    /// The version of the data's form.
    pub version: u32,
    /// W3C trace context of whoever caused it.
    pub traceparent: Option<Arc<str>>,
    /// Shared by everything that follows from one request; an event that comes without one gets its own id.
    pub correlation_id: Arc<str>,
    /// The event or request that directly caused it.
    pub causation_id: Option<Arc<str>>,
    /// Its place in the log (the outbox) of its source; none while it is not yet in one.
    pub log_seq: Option<i64>,
    /// The data as the publisher wrote it, unparsed.
    pub data: Box<RawValue>,
}

/// Why something is no envelope that this crate takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not JSON, or misses an attribute.
    #[error("not a CloudEvent: {detail}")]
    Syntax {
        /// What the parser says.
        detail: String,
    },
    /// An attribute has a value that is not taken.
    #[error("event attribute `{attribute}` is refused: {reason}")]
    Attribute {
        /// The CloudEvents name of the attribute.
        attribute: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It is larger than [`EVENT_BYTES_MAX`].
    #[error(
        "event of {bytes} bytes, at most {EVENT_BYTES_MAX} are taken: store the content and publish its address"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The event could not be written as JSON.
    #[error("event cannot be written as JSON: {detail}")]
    Encode {
        /// What the serialiser says.
        detail: String,
    },
}

impl Envelope {
    /// Puts an event into an envelope: for tests and for publishing without an outbox.
    ///
    /// # Errors
    /// [`Error::Encode`], and [`Error::Attribute`] where the event's kind or key is not taken.
    pub fn new<E: Event>(
        event: &E,
        id: impl Into<Arc<str>>,
        source: impl Into<Arc<str>>,
        time_ms: i64,
        cause: &Correlation,
    ) -> Result<Self, Error> {
        let data = serde_json::value::to_raw_value(event).map_err(encode)?;
        let envelope = Self {
            id: id.into(),
            source: source.into(),
            kind: E::TYPE.into(),
            subject: event.key().into(),
            time_ms,
            version: E::VERSION,
            traceparent: Some(cause.trace.header_value().into()),
            correlation_id: cause.correlation_id.clone(),
            causation_id: cause.causation_id.clone(),
            log_seq: None,
            data,
        };
        envelope.check()?;
        Ok(envelope)
    }

    /// Reads an envelope from its JSON.
    ///
    /// # Errors
    /// [`Error::Syntax`], [`Error::Attribute`] or [`Error::TooLarge`].
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        wire::parse(json)
    }

    /// The envelope as JSON.
    ///
    /// # Errors
    /// [`Error::TooLarge`], or [`Error::Attribute`] where a field has a value that no reader would take.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        self.check()?;
        wire::write(self.attributes(), &self.data)
    }

    /// Reads the data as the type `E`.
    ///
    /// # Errors
    /// [`DecodeError`]: this program cannot read it.
    pub fn decode<E: Event>(&self) -> Result<E, DecodeError> {
        E::decode(self.version, self.data.get())
    }

    /// What to hand on to everything that follows from this event: the same correlation, caused by this event.
    ///
    /// Without a readable trace context in the envelope a new trace begins.
    #[must_use]
    pub fn correlation(&self, rng: &dyn Rng) -> Correlation {
        let trace = self.traceparent.as_deref().and_then(|header| TraceContext::parse(header).ok());
        Correlation {
            correlation_id: self.correlation_id.clone(),
            causation_id: Some(self.id.clone()),
            trace: trace.unwrap_or_else(|| TraceContext::new_root(rng)),
        }
    }

    pub(crate) fn attributes(&self) -> Attributes<'_> {
        Attributes {
            id: &self.id,
            source: &self.source,
            kind: &self.kind,
            subject: &self.subject,
            time_ms: self.time_ms,
            version: self.version,
            traceparent: self.traceparent.as_deref(),
            correlation_id: &self.correlation_id,
            causation_id: self.causation_id.as_deref(),
            log_seq: self.log_seq,
        }
    }

    fn check(&self) -> Result<(), Error> {
        self.attributes().check()
    }
}

/// The attributes of an event on its way into JSON, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a> {
    pub(crate) id: &'a str,
    pub(crate) source: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) time_ms: i64,
    pub(crate) version: u32,
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) correlation_id: &'a str,
    pub(crate) causation_id: Option<&'a str>,
    pub(crate) log_seq: Option<i64>,
}

impl Attributes<'_> {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_name("id", self.id)?;
        check_name("source", self.source)?;
        check_name("subject", self.subject)?;
        check_name("correlationid", self.correlation_id)?;
        check_kind(self.kind)
    }

    /// Writes the whole envelope around `event`, which is serialised straight into it.
    ///
    /// # Errors
    /// As [`Envelope::to_json`], and [`Error::Encode`].
    pub(crate) fn seal<T: Serialize>(self, event: &T) -> Result<Vec<u8>, Error> {
        self.check()?;
        wire::write(self, event)
    }
}

fn check_name(attribute: &'static str, value: &str) -> Result<(), Error> {
    match value.len() {
        0 => Err(Error::Attribute { attribute, reason: "it is empty" }),
        bytes if bytes > NAME_BYTES_MAX => {
            Err(Error::Attribute { attribute, reason: "it is longer than 256 bytes" })
        }
        _ => Ok(()),
    }
}

fn check_kind(kind: &str) -> Result<(), Error> {
    if pattern::is_kind(kind) {
        return Ok(());
    }
    let reason = "it is not dot-separated segments of letters, digits, `_` and `-`";
    Err(Error::Attribute { attribute: "type", reason })
}

#[allow(clippy::needless_pass_by_value, reason = "taken by `map_err`")]
fn encode(cause: serde_json::Error) -> Error {
    Error::Encode { detail: cause.to_string() }
}
