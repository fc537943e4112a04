//! What travels with a piece of work through HTTP, outbox, bus and saga.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use leeward_resilience::Rng;

use crate::trace::{TRACEPARENT, TraceContext};

tokio::task_local! {
    static CURRENT: Correlation;
}

/// The header that carries a [`Correlation`]'s id.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// The header that carries the id of one request, new for each.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest correlation or request id taken from outside. Ids of the field's systems (uuid, ulid, trace
/// ids) have at most 36 characters; the bound keeps a caller from filling our logs and outboxes.
pub const ID_CHARS_MAX: usize = 128;

/// One piece of work, however many requests, events and saga steps it takes: its id, what caused the present
/// part, and the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correlation {
    /// The same from the first request to the last effect.
    pub correlation_id: Arc<str>,
    /// The id of the event that directly led here, if one did.
    pub causation_id: Option<Arc<str>>,
    /// The current place in the trace.
    pub trace: TraceContext,
}

impl Correlation {
    /// Begins a piece of work: a new trace, whose id is the correlation id too.
    pub fn new_root(rng: &dyn Rng) -> Self {
        Self::of_trace(TraceContext::new_root(rng))
    }

    /// The correlation of a trace that came without a correlation id.
    #[must_use]
    pub fn of_trace(trace: TraceContext) -> Self {
        Self { correlation_id: format!("{:032x}", trace.trace_id()).into(), causation_id: None, trace }
    }

    /// Takes up what the headers carry; what is missing or not valid begins anew.
    pub fn from_headers(headers: &HeaderMap, rng: &dyn Rng) -> Self {
        let trace = headers
            .get(&TRACEPARENT)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| TraceContext::parse(value).ok())
            .unwrap_or_else(|| TraceContext::new_root(rng));
        match headers.get(&CORRELATION_ID).and_then(valid_id) {
            Some(id) => Self { correlation_id: id.into(), causation_id: None, trace },
            None => Self::of_trace(trace),
        }
    }

    /// Sets the headers by which [`Correlation::from_headers`] continues on the other side.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, self.trace.to_header());
        if let Ok(id) = HeaderValue::from_str(&self.correlation_id) {
            headers.insert(CORRELATION_ID, id);
        }
    }

    /// The same work, caused by the event with this id.
    #[must_use]
    pub fn caused_by(&self, event_id: impl Into<Arc<str>>) -> Self {
        Self { causation_id: Some(event_id.into()), ..self.clone() }
    }

    /// The same work in another place of the trace, such as under a new [`Span`](crate::Span).
    #[must_use]
    pub fn at(&self, trace: TraceContext) -> Self {
        Self { trace, ..self.clone() }
    }

    /// Runs `work` with these ids on every log line written inside it; see [`logs`](crate::logs).
    ///
    /// It costs a clone and a thread-local swap a poll, where a `tracing` span would format and store the ids
    /// for lines that are hardly ever written.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, work)
    }

    /// As [`Correlation::scope`] for work that is not a future.
    pub fn sync_scope<T>(self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
    }

    /// Shows the ids of the scope around to the log formatters. Not public: what is handed on is handed on by
    /// argument.
    pub(crate) fn with_current(show: impl FnOnce(&Self) -> std::fmt::Result) -> std::fmt::Result {
        CURRENT.try_with(show).unwrap_or(Ok(()))
    }
}

/// An id from outside, if it may stand in logs, headers and databases as it is.
#[must_use]
pub fn valid_id(value: &HeaderValue) -> Option<&str> {
    let id = value.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte);
    (!id.is_empty() && id.len() <= ID_CHARS_MAX && id.bytes().all(is_plain)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeward_resilience::FastRng;

    #[test]
    fn headers_carry_it_over() {
        let rng = FastRng::seeded(1);
        let sent = Correlation { correlation_id: "order-17".into(), ..Correlation::new_root(&rng) };
        let mut headers = HeaderMap::new();
        sent.write_headers(&mut headers);
        assert_eq!(Correlation::from_headers(&headers, &rng), sent);
    }

    #[test]
    fn without_an_id_the_trace_names_the_work() {
        let rng = FastRng::seeded(1);
        let root = Correlation::new_root(&rng);
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, root.trace.to_header());
        assert_eq!(Correlation::from_headers(&headers, &rng), root);
    }

    #[test]
    fn an_id_that_could_forge_a_log_line_is_not_taken_over() {
        let rng = FastRng::seeded(1);
        for bad in ["", "a b", "a\"b", "x\tlevel=error", "é", &"x".repeat(ID_CHARS_MAX + 1)] {
            let mut headers = HeaderMap::new();
            headers.insert(CORRELATION_ID, HeaderValue::from_bytes(bad.as_bytes()).unwrap());
            assert_ne!(&*Correlation::from_headers(&headers, &rng).correlation_id, bad);
        }
        let longest = HeaderValue::from_str(&"x".repeat(ID_CHARS_MAX)).unwrap();
        assert!(valid_id(&longest).is_some());
    }
}
