//! The way of one call through the policies, and of one attempt to an endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;
use leeward_discovery::PickHint;
use leeward_resilience::fault::Fault;
use leeward_resilience::{
    ATTEMPT_HEADER, Attempt, Call, Class, DEADLINE_HEADER, Error, PRIORITY_HEADER, Rejected,
};
use leeward_telemetry::{Correlation, Span, SpanKind, span};
use parking_lot::Mutex;

use super::error::CallError;
use super::request::{IDEMPOTENCY_KEY, Prepared, retry_after};
use super::transport::{Answer, Broken};
use super::{Client, Target};
use crate::identity::ASSERTION_HEADER;
use crate::inbound::SERVICE_NAME;

const ASSERTION: HeaderName = HeaderName::from_static(ASSERTION_HEADER);
const DEADLINE: HeaderName = HeaderName::from_static(DEADLINE_HEADER);
const ATTEMPT: HeaderName = HeaderName::from_static(ATTEMPT_HEADER);
const PRIORITY: HeaderName = HeaderName::from_static(PRIORITY_HEADER);

/// Why one attempt has no answer.
#[derive(Debug, Clone)]
enum Failed {
    /// Nobody could be picked.
    NoEndpoint(Rejected),
    /// It was not sent.
    NotSent(String),
    /// It was sent, or may have been.
    Unknown(String),
}

/// What the attempts of one call share.
struct Shared<'a> {
    prepared: &'a Prepared,
    correlation: &'a Correlation,
    /// Attempts that may have been executed, as far as anybody knows: while there is one, the outcome is not known
    /// either, unless the last answer speaks for them all.
    in_doubt: AtomicU32,
    /// Endpoints that an attempt failed at.
    avoid: Mutex<Vec<Arc<str>>>,
}

impl Target {
    /// Sends a call. Outermost first; the pipeline holds the policies from deadline to attempt timeout in this order.
    pub(super) async fn outbound(
        &self,
        prepared: Prepared,
        call: Call,
        correlation: Option<Correlation>,
    ) -> Result<Answer, CallError> {
        let outer = correlation.unwrap_or_else(|| Correlation::new_root(&*self.rng));
        let mut span = span(self.span_name, SpanKind::Client, &self.service, &outer.trace);
        let correlation = outer.at(span.context());
        let shared = Shared {
            prepared: &prepared,
            correlation: &correlation,
            in_doubt: AtomicU32::new(0),
            avoid: Mutex::new(Vec::new()),
        };
        let started = self.clock.now();
        let result = self.pipeline.call(call, |attempt| self.attempt(&shared, attempt), classify).await;
        let in_doubt = shared.in_doubt.load(Ordering::Relaxed) > 0;
        let result = match result {
            Ok(answer) => {
                Ok(Answer { in_doubt: in_doubt && !speaks_for_all(&prepared, answer.status), ..answer })
            }
            Err(error) => Err(self.call_error(error, in_doubt)),
        };
        let took = self.clock.now().saturating_duration_since(started);
        self.metrics.record(&self.name, &result, took);
        describe(&mut span, &prepared, &result);
        result
    }

    async fn attempt(&self, shared: &Shared<'_>, attempt: Attempt) -> Result<Answer, Failed> {
        // Balance, and the endpoint's concurrency limit: both in the directory, which knows all the calls to an endpoint.
        let now = self.clock.now();
        let avoid = if attempt.number == 0 { Vec::new() } else { shared.avoid.lock().clone() };
        let picked = self
            .upstream
            .pick(now, &PickHint { avoid: &avoid, ..PickHint::default() })
            .map_err(|nobody| Failed::NoEndpoint(Rejected::from(&nobody)))?;
        let request = self.build(shared, attempt, picked.endpoint().url().authority())?;
        // Fault injection, innermost: every policy above sees what a real fault would show it.
        let doubt = Doubt::begin(&shared.in_doubt);
        let result = self.call_with_faults(request).await;
        if is_settled(&result) {
            doubt.settled();
        }
        let class = match &result {
            Ok(answer) => Class::of_http_status(answer.status.as_u16(), retry_after(&answer.headers)),
            Err(_) => Class::RETRYABLE,
        };
        if matches!(class, Class::Failure { .. }) {
            shared.avoid.lock().push(Arc::clone(picked.endpoint().id()));
        }
        picked.report(class, self.clock.now());
        result.map_err(|broken| match broken {
            Broken::NotSent(reason) => Failed::NotSent(reason),
            Broken::Unknown(reason) => Failed::Unknown(reason),
        })
    }

    fn build(
        &self,
        shared: &Shared<'_>,
        attempt: Attempt,
        authority: Option<&Authority>,
    ) -> Result<Request<Full<Bytes>>, Failed> {
        let not_sent = |error: &dyn std::fmt::Display| Failed::NotSent(error.to_string());
        let prepared = shared.prepared;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = authority.cloned();
        parts.path_and_query = Some(prepared.path.clone());
        let mut request = Request::new(Full::new(prepared.body.clone()));
        *request.method_mut() = prepared.method.clone();
        *request.uri_mut() = Uri::from_parts(parts).map_err(|error| not_sent(&error))?;
        let mut headers = prepared.headers.clone();
        self.stamp(&mut headers, shared, attempt).map_err(|error| not_sent(&error))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// What travels with every call of ours.
    fn stamp(
        &self,
        headers: &mut HeaderMap,
        shared: &Shared<'_>,
        attempt: Attempt,
    ) -> Result<(), crate::identity::KeyError> {
        headers.insert(DEADLINE, HeaderValue::from(attempt.deadline.header_ms(self.clock.now())));
        if !attempt.effort.is_first()
            && let Ok(effort) = HeaderValue::try_from(attempt.effort.to_string())
        {
            headers.insert(ATTEMPT, effort);
        }
        if let Some(priority) = shared.prepared.priority {
            headers.insert(PRIORITY, HeaderValue::from_static(priority.as_str()));
        }
        shared.correlation.write_headers(headers);
        headers.insert(SERVICE_NAME, self.own_name.clone());
        if let Some(minter) = &self.minter {
            let assertion = minter.mint(&shared.prepared.principal, &self.name, self.clock.unix_ms())?;
            headers.insert(ASSERTION, assertion);
        }
        Ok(())
    }

    async fn call_with_faults(&self, request: Request<Full<Bytes>>) -> Result<Answer, Broken> {
        let exchange = || self.transport.exchange(request, self.answer_bytes_max);
        let Some(place) = self.faults.outbound(&self.name) else { return exchange().await };
        place
            .disturb(exchange, |fault| match fault {
                Fault::Refused => Err(Broken::NotSent("refused by an injected fault".to_owned())),
                Fault::Error => Ok(Answer {
                    status: place.error_status(),
                    headers: HeaderMap::new(),
                    body: Bytes::new(),
                    in_doubt: false,
                }),
                Fault::LostReply => {
                    Err(Broken::Unknown("the reply was lost by an injected fault".to_owned()))
                }
            })
            .await
    }

    /// The pipeline's error for the caller. An attempt in doubt outweighs whatever came after it.
    fn call_error(&self, error: Error<Failed>, in_doubt: bool) -> CallError {
        let target = Arc::clone(&self.name);
        let reason: Arc<str> = match &error {
            Error::Rejected(rejected) => rejected.to_string().into(),
            Error::Timeout { after } => format!("no answer within {after:?}").into(),
            Error::DeadlineExceeded { attempts, .. } => {
                format!("deadline exceeded after {attempts} attempts").into()
            }
            Error::Injected(fault) => fault.to_string().into(),
            Error::Inner(Failed::NoEndpoint(rejected)) => rejected.to_string().into(),
            Error::Inner(Failed::NotSent(reason) | Failed::Unknown(reason)) => reason.as_str().into(),
        };
        match error {
            _ if in_doubt => CallError::Unknown { target, reason },
            Error::Rejected(rejected) | Error::Inner(Failed::NoEndpoint(rejected)) => {
                CallError::Rejected { target, rejected }
            }
            _ => CallError::NotSent { target, reason },
        }
    }
}

/// Counts an attempt as in doubt until it is settled; a dropped one stays in doubt.
struct Doubt<'a>(&'a AtomicU32);

impl<'a> Doubt<'a> {
    fn begin(in_doubt: &'a AtomicU32) -> Self {
        in_doubt.fetch_add(1, Ordering::Relaxed);
        Self(in_doubt)
    }

    fn settled(self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether it is known what became of an attempt: it was not sent, or it was done, or refused before anything changed.
fn is_settled(result: &Result<Answer, Broken>) -> bool {
    match result {
        Ok(answer) => !answer.status.is_server_error() || answer.status == StatusCode::SERVICE_UNAVAILABLE,
        Err(Broken::NotSent(_)) => true,
        Err(Broken::Unknown(_)) => false,
    }
}

/// Whether an answer holds for the earlier attempts as well. A success does, since only what may be repeated is; so does
/// a final refusal of an idempotency key, which the target gives alike each time. Without a key a refusal may be the trace
/// of an earlier attempt: the second `DELETE` finds nothing.
fn speaks_for_all(prepared: &Prepared, status: StatusCode) -> bool {
    match status.as_u16() {
        0..400 => true,
        408 | 409 | 425 | 429 | 500.. => false,
        _ => prepared.headers.contains_key(IDEMPOTENCY_KEY),
    }
}

fn classify(result: &Result<Answer, Failed>) -> Class {
    match result {
        Ok(answer) => Class::of_http_status(answer.status.as_u16(), retry_after(&answer.headers)),
        // The directory's rejection, like any of our own: not retried, and no fault of the target.
        Err(Failed::NoEndpoint(_)) => Class::Ignored,
        Err(Failed::NotSent(_) | Failed::Unknown(_)) => Class::RETRYABLE,
    }
}

fn describe(span: &mut Span, prepared: &Prepared, result: &Result<Answer, CallError>) {
    if !span.is_recording() {
        return;
    }
    span.attr("http.request.method", prepared.method.to_string())
        .attr("url.path", prepared.path.path().to_owned());
    match result {
        Ok(answer) => {
            span.attr("http.response.status_code", answer.status.as_u16());
            if answer.status.is_server_error() {
                span.error(answer.status.as_str());
            }
        }
        Err(error) => {
            span.error(error);
        }
    }
}

impl Client {
    /// The name of the span of a call to `target`.
    pub(crate) fn span_name(target: &str) -> &'static str {
        crate::api::interned(&format!("call {target}"))
    }
}
