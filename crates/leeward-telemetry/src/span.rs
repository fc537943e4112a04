//! Spans: what took how long, as part of which trace.
//!
//! [`span`] always yields a child context to hand on. Only when a [`Recorder`] is installed and the trace is
//! sampled does it also record; otherwise it costs one random number and one atomic load.

mod recorder;

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use leeward_resilience::FastRng;

use crate::trace::TraceContext;

pub use self::recorder::Recorder;
pub(crate) use self::recorder::{Counts, Finished, Receiver, Sampling};

/// Most attributes of a span: more are dropped. The OpenTelemetry default is 128; none of ours has more than
/// ten.
pub const ATTRIBUTES_MAX: usize = 32;
/// Longest text of an attribute or an error in bytes; longer text is cut.
pub const TEXT_BYTES_MAX: usize = 1024;

static INSTALLED: OnceLock<Recorder> = OnceLock::new();

thread_local! {
    // Ids need to be unique, not reproducible: nothing is ever decided by one, so they do not come from the
    // seeded `Rng`.
    static IDS: FastRng = FastRng::from_entropy();
}

/// Which side of which exchange a span describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// Serves a request.
    Server,
    /// Sends a request.
    Client,
    /// Appends or publishes an event.
    Producer,
    /// Handles an event.
    Consumer,
    /// Neither: a step inside.
    Internal,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text; at most [`TEXT_BYTES_MAX`] bytes are kept.
    Text(Cow<'static, str>),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

/// A span that runs until it is dropped.
#[derive(Debug)]
pub struct Span {
    context: TraceContext,
    recording: Option<Box<Recording>>,
}

#[derive(Debug)]
struct Recording {
    recorder: Recorder,
    span: Finished,
}

/// Begins a span of `service` under `parent`.
///
/// `name` has few distinct values (a route template, not a path). The span is recorded by the installed
/// [`Recorder`], if any.
pub fn span(
    name: impl Into<Cow<'static, str>>,
    kind: SpanKind,
    service: &str,
    parent: &TraceContext,
) -> Span {
    match INSTALLED.get() {
        Some(recorder) => recorder.span(name, kind, service, parent),
        None => Span { context: next(parent), recording: None },
    }
}

/// Makes `recorder` the one that [`span`] records to, for the life of the process.
///
/// # Errors
/// Gives the recorder back if one is installed already.
pub fn install(recorder: Recorder) -> Result<(), Recorder> {
    INSTALLED.set(recorder)
}

fn next(parent: &TraceContext) -> TraceContext {
    IDS.with(|ids| parent.child(ids))
}

impl Recorder {
    /// Begins a span that this recorder records: [`span`] without the process-wide installation.
    pub fn span(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        service: &str,
        parent: &TraceContext,
    ) -> Span {
        let context = next(parent);
        if !self.samples(&context) {
            return Span { context, recording: None };
        }
        let now = self.now();
        let span = Finished {
            context,
            parent_span_id: parent.parent_span_id(),
            name: name.into(),
            kind,
            service: Arc::from(service),
            start: now,
            end: now,
            attributes: Vec::new(),
            attributes_dropped: 0,
            error: None,
        };
        Span { context, recording: Some(Box::new(Recording { recorder: self.clone(), span })) }
    }
}

impl Span {
    /// The context to hand on: what happens under it names this span as its parent.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Whether attributes go anywhere: for skipping the work of making them.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// Gives the span another name: for names whose making is to be skipped when nothing records.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) -> &mut Self {
        if let Some(recording) = &mut self.recording {
            recording.span.name = name.into();
        }
        self
    }

    /// Says something about the span. Keys are constants, by the OpenTelemetry semantic conventions where
    /// those have one.
    pub fn attr(&mut self, key: &'static str, value: impl Into<Value>) -> &mut Self {
        if let Some(recording) = &mut self.recording {
            recording.span.attribute(key, value.into());
        }
        self
    }

    /// Marks the span as failed. The last message stands.
    pub fn error(&mut self, message: impl Display) -> &mut Self {
        if let Some(recording) = &mut self.recording {
            recording.span.error = Some(cut(message.to_string()));
        }
        self
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(recording) = self.recording.take() {
            let Recording { recorder, mut span } = *recording;
            span.end = recorder.now();
            recorder.record(span);
        }
    }
}

impl Finished {
    fn attribute(&mut self, key: &'static str, value: Value) {
        let value = match value {
            Value::Text(Cow::Owned(text)) => Value::Text(cut(text).into()),
            other => other,
        };
        if let Some(same) = self.attributes.iter_mut().find(|(known, _)| *known == key) {
            same.1 = value;
        } else if self.attributes.len() < ATTRIBUTES_MAX {
            self.attributes.push((key, value));
        } else {
            self.attributes_dropped += 1;
        }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    }
    text
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Text(text.to_string().into())
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Int(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}
