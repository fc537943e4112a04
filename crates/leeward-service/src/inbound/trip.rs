//! One request from its arrival to its answer: the ids it carries, its span, its line in the log.

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use leeward_resilience::rate::Decision;
use leeward_resilience::{Instant, Rng};
use leeward_telemetry::{Correlation, REQUEST_ID, Span, SpanKind, correlation, span};

use super::metrics::label;
use super::stack::Stack;
use super::{RATED, SERVICE_NAME, name_value};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

pub(super) struct Trip {
    pub(super) started: Instant,
    method: &'static str,
    request_id: HeaderValue,
    correlation: Correlation,
    span: Span,
}

impl Trip {
    /// Takes up the ids that came with the request, or makes them.
    pub(super) fn begin(stack: &Stack, route: &'static str, request: &mut Request) -> Self {
        let started = stack.clock.now();
        let headers = request.headers();
        let request_id = match headers.get(&REQUEST_ID).filter(|id| correlation::valid_id(id).is_some()) {
            Some(id) => id.clone(),
            None => new_id(&*stack.rng),
        };
        let outer = Correlation::from_headers(headers, &*stack.rng);
        let method = label(request.method());
        let mut span = span(route, SpanKind::Server, &stack.service, &outer.trace);
        if span.is_recording() {
            span.attr("http.request.method", method).attr("http.route", route);
        }
        let correlation = outer.at(span.context());
        Self { started, method, request_id, correlation, span }
    }

    /// What the work of this request carries on.
    pub(super) fn correlation(&self) -> Correlation {
        self.correlation.clone()
    }

    /// Counts, logs, and puts the ids on the answer.
    pub(super) fn end(
        mut self,
        stack: &Stack,
        route: &'static str,
        mut response: Response,
        rate: Option<Decision>,
    ) -> Response {
        let status = response.status();
        let took = stack.clock.now().saturating_duration_since(self.started);
        stack.metrics.record(self.method, route, status, took);
        if self.span.is_recording() {
            self.span.attr("http.response.status_code", status.as_u16());
            if status.is_server_error() {
                self.span.error(status.as_str());
            }
        }
        tracing::debug!(
            service = %stack.service, method = self.method, route, status = status.as_u16(),
            took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            correlation_id = %self.correlation.correlation_id, "served",
        );
        let headers = response.headers_mut();
        headers.insert(SERVICE_NAME, stack.service_value.clone());
        headers.insert(REQUEST_ID, self.request_id);
        if let (Some(decision), Some(policy)) = (rate, &stack.rate_policy) {
            headers.insert(RATE_LIMIT, name_value(&decision.state_item(RATED)));
            headers.insert(RATE_LIMIT_POLICY, policy.clone());
        }
        response
    }
}

/// 128 random bits: a request's id has to be unique, not secret and not sortable.
fn new_id(rng: &dyn Rng) -> HeaderValue {
    name_value(&format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64()))
}
