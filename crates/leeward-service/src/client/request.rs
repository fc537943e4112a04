//! One call as it is built, and the ways to send it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use leeward_resilience::{Call, Deadline, Effort, Priority};
use leeward_telemetry::Correlation;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::stale::Kept;
use super::transport::Answer;
use super::{CallError, Target};
use crate::extract::Hop;
use crate::identity::{Caller, Principal, User};
use crate::problem::ProblemBody;

/// The header that makes a `POST` repeatable.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The largest body that is sent more than once.
const REPLAYED_BYTES_MAX: usize = 64 * 1024;

/// A call on its way to be sent.
#[derive(Debug)]
#[must_use = "a call does nothing until it is sent"]
pub struct Outgoing<'a> {
    target: &'a Arc<Target>,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    principal: Principal,
    correlation: Option<Correlation>,
    deadline: Option<Deadline>,
    replayable: bool,
    effort: Effort,
    priority: Option<Priority>,
    keep: Option<Duration>,
    mistake: Option<String>,
}

/// What an attempt sends. Built once a call.
pub(super) struct Prepared {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) principal: Principal,
    pub(super) priority: Option<Priority>,
}

/// A whole answer that was not decoded.
#[derive(Debug, Clone)]
pub struct Raw {
    /// The status: below 400.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A value, and whether it is an old copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched<T> {
    /// The value.
    pub value: T,
    /// The age of the copy, when the target could not be asked.
    pub stale: Option<Duration>,
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(target: &'a Arc<Target>, method: Method, path: &str) -> Self {
        Self {
            target,
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            principal: Principal::Service,
            correlation: None,
            deadline: None,
            replayable: false,
            effort: Effort::FIRST,
            priority: None,
            keep: None,
            mistake: None,
        }
    }

    /// A JSON body.
    pub fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => {
                self.body = bytes.into();
                self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            Err(error) => self.mistake = Some(format!("the body is no JSON: {error}")),
        }
        self
    }

    /// Any header.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => {
                self.headers.insert(name, value);
            }
            Err(_) => self.mistake = Some(format!("the value of {name} is no header value")),
        }
        self
    }

    /// An `Idempotency-Key`: with it the call may be repeated.
    pub fn key(self, key: &str) -> Self {
        self.header(IDEMPOTENCY_KEY, key).replayable()
    }

    /// Acts for this user instead of for the service itself. The target believes who it is; roles and permissions count
    /// only when the gateway says so.
    pub fn act_for(mut self, user: &User) -> Self {
        self.principal = Principal::User(user.clone());
        self
    }

    /// Acts for whoever the present request is made for, with no more than [`Outgoing::act_for`] gives.
    pub fn on_behalf_of(mut self, caller: &Caller) -> Self {
        self.principal = caller.principal().clone();
        self
    }

    /// The work that this call is part of.
    pub fn correlation(mut self, correlation: &Correlation) -> Self {
        self.correlation = Some(correlation.clone());
        self
    }

    /// When the caller stops waiting.
    pub fn deadline(mut self, deadline: Deadline) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The call is caused by the present request: its work, its deadline, its effort, its priority.
    pub fn within(self, hop: &Hop) -> Self {
        self.correlation(&hop.correlation).deadline(hop.deadline).effort(hop.effort).priority(hop.priority)
    }

    /// The call may be repeated: doing it twice is doing it once.
    pub fn replayable(mut self) -> Self {
        self.replayable = true;
        self
    }

    /// What the caller further out said about its own attempts: what it repeats is not repeated here as well.
    pub fn effort(mut self, effort: Effort) -> Self {
        self.effort = effort;
        self
    }

    /// How much the call matters: to the throttle here, and to a target that has too many. Without it the target's route says.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Keeps a copy of the answer, and gives it out for `age_max` when the target cannot be asked. For [`Outgoing::fetch`].
    pub fn stale_if_error(mut self, age_max: Duration) -> Self {
        self.keep = Some(age_max);
        self
    }

    /// Sends it and reads a JSON answer.
    ///
    /// # Errors
    /// See [`CallError`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the attempt on its way; whether it was executed is then not known.
    pub async fn send<T: DeserializeOwned>(self) -> Result<T, CallError> {
        self.fetch().await.map(|fetched| fetched.value)
    }

    /// Sends it and reads a JSON answer, or an old copy of it where that is allowed.
    ///
    /// # Errors
    /// See [`CallError`]; with an old copy at hand, only those that no copy can stand in for: refusals.
    ///
    /// # Cancel safety
    /// As [`Outgoing::send`].
    pub async fn fetch<T: DeserializeOwned>(self) -> Result<Fetched<T>, CallError> {
        let target = self.target;
        let Some(age_max) = self.keep else {
            return decode(target, &self.raw().await?.body).map(Fetched::fresh);
        };
        let slot = target.stale.slot(&self.principal, &self.path);
        match self.raw().await {
            Ok(raw) => {
                let value = decode(target, &raw.body)?;
                target.stale.keep(slot, &raw.body, age_max, target.clock.now());
                Ok(Fetched::fresh(value))
            }
            Err(error) if error.is_transient() => match target.stale.find(&slot, target.clock.now()) {
                Some(Kept { body, age }) if age <= age_max => {
                    tracing::debug!(target = %target.name, %error, "answered from an old copy");
                    decode(target, &body).map(|value| Fetched { value, stale: Some(age) })
                }
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Sends it; the answer's body does not matter.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn done(self) -> Result<(), CallError> {
        self.raw().await.map(|_| ())
    }

    /// Sends it and gives the answer as it is, if its status is below 400.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn raw(mut self) -> Result<Raw, CallError> {
        let target = self.target;
        let build =
            |reason: String| CallError::Build { target: Arc::clone(&target.name), reason: reason.into() };
        if let Some(mistake) = self.mistake.take() {
            return Err(build(mistake));
        }
        let path = PathAndQuery::try_from(std::mem::take(&mut self.path))
            .map_err(|error| build(error.to_string()))?;
        let replayable = self.replayable && self.body.len() <= REPLAYED_BYTES_MAX;
        let correlation = self.correlation.take();
        let prepared = Prepared {
            method: self.method,
            path,
            headers: self.headers,
            body: self.body,
            principal: self.principal,
            priority: self.priority,
        };
        let priority = self.priority.unwrap_or_default();
        let call = Call { deadline: self.deadline, replayable, effort: self.effort, priority, ..Call::ONCE };
        let answer = target.outbound(prepared, call, correlation).await?;
        if answer.status.as_u16() < 400 {
            return Ok(Raw { status: answer.status, headers: answer.headers, body: answer.body });
        }
        Err(refusal(target, &answer))
    }
}

impl<T> Fetched<T> {
    fn fresh(value: T) -> Self {
        Self { value, stale: None }
    }
}

fn decode<T: DeserializeOwned>(target: &Target, body: &[u8]) -> Result<T, CallError> {
    // No body is JSON's null: it decodes as `()` and as `None`.
    let body = if body.is_empty() { b"null" } else { body };
    serde_json::from_slice(body).map_err(|error| CallError::Decode {
        target: Arc::clone(&target.name),
        reason: error.to_string().into(),
    })
}

fn refusal(target: &Target, answer: &Answer) -> CallError {
    let mut body: ProblemBody = serde_json::from_slice(&answer.body).unwrap_or_else(|_| ProblemBody {
        status: 0,
        code: String::new(),
        title: answer.status.canonical_reason().unwrap_or_default().to_owned(),
        detail: None,
        extra: serde_json::Map::new(),
    });
    // What the status line says counts.
    body.status = answer.status.as_u16();
    CallError::Problem {
        target: Arc::clone(&target.name),
        body: Box::new(body),
        retry_after: retry_after(&answer.headers),
        in_doubt: answer.in_doubt,
    }
}

/// `Retry-After` in seconds. The other form, a date, is what no service of ours sends.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
