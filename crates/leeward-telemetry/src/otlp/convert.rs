use std::time::{Duration, SystemTime};

use leeward_resilience::{Clock, Instant};
use opentelemetry::trace::{SpanContext, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, trace};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::span::{Finished, SpanKind, Value};

/// How far the wall clock may stray from our idea of it before that is set anew. Above the clock's
/// millisecond resolution, so that spans of one trace do not jump against each other; below what anyone reads
/// off a trace.
const STRAY_MAX: Duration = Duration::from_millis(50);

/// What the wall clock showed at the monotonic clock's origin.
#[derive(Debug)]
pub(super) struct WallClock {
    origin: Duration,
}

impl WallClock {
    pub(super) fn new(clock: &dyn Clock) -> Self {
        Self { origin: Self::origin_now(clock) }
    }

    /// Follows a wall clock that was set.
    pub(super) fn adjust(&mut self, clock: &dyn Clock) {
        let now = Self::origin_now(clock);
        if now.abs_diff(self.origin) > STRAY_MAX {
            self.origin = now;
        }
    }

    fn origin_now(clock: &dyn Clock) -> Duration {
        let wall = Duration::from_millis(u64::try_from(clock.unix_ms()).unwrap_or(0));
        wall.saturating_sub(clock.now().saturating_duration_since(Instant::ZERO))
    }

    fn at(&self, instant: Instant) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.origin + instant.saturating_duration_since(Instant::ZERO)
    }
}

/// The span as the exporter takes it.
pub(super) fn span_data(span: Finished, wall: &WallClock, scope: &InstrumentationScope) -> SpanData {
    let trace_id = trace::TraceId::from_bytes(span.context.trace_id().to_be_bytes());
    let span_id = trace::SpanId::from_bytes(span.context.span_id().to_be_bytes());
    SpanData {
        span_context: SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: span
            .parent_span_id
            .map_or(trace::SpanId::INVALID, |id| trace::SpanId::from_bytes(id.to_be_bytes())),
        parent_span_is_remote: false,
        span_kind: match span.kind {
            SpanKind::Server => trace::SpanKind::Server,
            SpanKind::Client => trace::SpanKind::Client,
            SpanKind::Producer => trace::SpanKind::Producer,
            SpanKind::Consumer => trace::SpanKind::Consumer,
            SpanKind::Internal => trace::SpanKind::Internal,
        },
        name: span.name,
        start_time: wall.at(span.start),
        end_time: wall.at(span.end),
        attributes: span
            .attributes
            .into_iter()
            .map(|(key, value)| KeyValue::new(key, plain(value)))
            .collect(),
        dropped_attributes_count: span.attributes_dropped,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: scope.clone(),
    }
}

fn plain(value: Value) -> opentelemetry::Value {
    match value {
        Value::Text(text) => opentelemetry::Value::String(text.into()),
        Value::Int(number) => number.into(),
        Value::Float(number) => number.into(),
        Value::Bool(yes) => yes.into(),
    }
}
