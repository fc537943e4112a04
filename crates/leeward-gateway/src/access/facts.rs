//! What is known of one request when it is over, and who may still add to it.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri, Version};
use leeward_resilience::Instant;

use super::recorder::Recorder;
use crate::headers::Id;

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Outcome {
    /// The whole answer was handed to the system.
    Complete,
    /// The client left before it had all of it.
    #[default]
    ClientGone,
    /// The service broke off, or fell silent, after its head had been passed on.
    UpstreamBroken,
    /// A call of gRPC went on for longer than its client gave it.
    DeadlineExceeded,
}

impl Outcome {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::UpstreamBroken => "upstream_broken",
            Self::DeadlineExceeded => "deadline_exceeded",
        }
    }
}

/// One request. Texts keep their memory from one request to the next.
#[derive(Default, Debug)]
pub(crate) struct Facts {
    pub(super) started: Option<Instant>,
    pub(super) unix_ms: i64,
    /// `None` for what is no request.
    pub(super) method: Option<Method>,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) host: Option<HeaderValue>,
    pub(super) referer: Option<HeaderValue>,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) client: Option<IpAddr>,
    pub(super) request_id: Id,
    pub(super) correlation_id: Id,
    pub(super) trace_id: u128,
    pub(super) user: String,
    pub(super) route: String,
    pub(super) service: String,
    pub(super) endpoint: String,
    pub(super) attempts: u32,
    pub(super) upstream: Duration,
    pub(super) code: &'static str,
    pub(super) stage: &'static str,
    pub(super) rule: &'static str,
    /// Why another answer stood in for the service's; empty where none did.
    pub(super) fallback: &'static str,
    /// 0 where the client left before there was an answer.
    pub(super) status: u16,
    pub(super) head: Duration,
    pub(super) total: Duration,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) outcome: Outcome,
}

/// What is known when a request begins.
#[derive(Debug)]
pub(crate) struct Begin<'a> {
    pub(crate) started: Instant,
    pub(crate) unix_ms: i64,
    pub(crate) method: Option<&'a Method>,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) client: IpAddr,
    pub(crate) request_id: Id,
    pub(crate) correlation_id: Id,
    pub(crate) trace_id: u128,
}

impl Facts {
    fn begin(&mut self, begin: &Begin<'_>) {
        let header = |name| begin.headers.get(name).cloned();
        let mut texts =
            [&mut self.user, &mut self.route, &mut self.service, &mut self.endpoint].map(std::mem::take);
        texts.iter_mut().for_each(String::clear);
        let [user, route, service, endpoint] = texts;
        *self = Self {
            started: Some(begin.started),
            unix_ms: begin.unix_ms,
            method: begin.method.cloned(),
            uri: begin.uri.clone(),
            version: begin.version,
            host: header(header::HOST),
            referer: header(header::REFERER),
            user_agent: header(header::USER_AGENT),
            client: Some(begin.client),
            request_id: begin.request_id,
            correlation_id: begin.correlation_id,
            trace_id: begin.trace_id,
            user,
            route,
            service,
            endpoint,
            ..Self::default()
        };
    }

    /// Whether it went wrong on this side: what an operator wants to see of every such request.
    pub(super) fn is_error(&self) -> bool {
        self.status >= 500 || self.outcome == Outcome::UpstreamBroken
    }

    /// Whether an answer has no body, so that there is nothing to be cut off.
    pub(super) fn is_bare(&self) -> bool {
        self.method == Some(Method::HEAD) || matches!(self.status, 100 | 102..200 | 204 | 304)
    }
}

pub(super) type Shared = Rc<RefCell<Facts>>;

/// Adds to the facts of a request; does nothing where there is no access log.
#[derive(Clone, Default, Debug)]
pub(crate) struct Notes(Option<Shared>);

impl Notes {
    /// Whether anybody reads them.
    pub(crate) fn are_kept(&self) -> bool {
        self.0.is_some()
    }

    fn add(&self, note: impl FnOnce(&mut Facts)) {
        if let Some(facts) = &self.0 {
            note(&mut facts.borrow_mut());
        }
    }

    /// So many bytes of the body came in.
    pub(crate) fn received(&self, bytes: usize) {
        self.add(|facts| facts.bytes_in += bytes as u64);
    }

    pub(crate) fn client(&self, client: IpAddr) {
        self.add(|facts| facts.client = Some(client));
    }

    pub(crate) fn route(&self, id: &str) {
        self.add(|facts| facts.route.push_str(id));
    }

    pub(crate) fn service(&self, name: &str) {
        self.add(|facts| facts.service.push_str(name));
    }

    pub(crate) fn refused(&self, code: &'static str, stage: &'static str, rule: &'static str) {
        self.add(|facts| (facts.code, facts.stage, facts.rule) = (code, stage, rule));
    }

    pub(crate) fn answered(&self, status: StatusCode, head: Duration) {
        self.add(|facts| (facts.status, facts.head) = (status.as_u16(), head));
    }

    pub(crate) fn user(&self, id: &str) {
        self.add(|facts| facts.user.push_str(id));
    }

    /// An attempt goes to this endpoint. What is recorded is the last one that was asked.
    pub(crate) fn attempt(&self, endpoint: &str) {
        self.add(|facts| {
            facts.attempts += 1;
            facts.endpoint.clear();
            facts.endpoint.push_str(endpoint);
        });
    }

    /// Another answer stood in for the service's.
    pub(crate) fn fallback(&self, cause: &'static str) {
        self.add(|facts| facts.fallback = cause);
    }

    pub(crate) fn upstream(&self, took: Duration) {
        self.add(|facts| facts.upstream += took);
    }
}

/// The request's place in the log: dropped when all is over, it writes the line.
#[derive(Debug)]
pub(crate) struct Ticket {
    recorder: Rc<Recorder>,
    /// `Some` until it is dropped.
    facts: Option<Shared>,
}

impl Ticket {
    pub(crate) fn begin(recorder: &Rc<Recorder>, begin: &Begin<'_>) -> Self {
        let facts = recorder.facts();
        facts.borrow_mut().begin(begin);
        Self { recorder: Rc::clone(recorder), facts: Some(facts) }
    }

    pub(crate) fn notes(&self) -> Notes {
        Notes(self.facts.clone())
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.add(|facts| facts.bytes_out += bytes as u64);
    }

    pub(super) fn ended(&self, outcome: Outcome) {
        self.add(|facts| facts.outcome = if facts.is_bare() { Outcome::Complete } else { outcome });
    }

    fn add(&self, note: impl FnOnce(&mut Facts)) {
        if let Some(facts) = &self.facts {
            note(&mut facts.borrow_mut());
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(facts) = self.facts.take() else { return };
        {
            let mut facts = facts.borrow_mut();
            let started = facts.started.take();
            facts.total = started
                .map(|started| self.recorder.clock.now().saturating_duration_since(started))
                .unwrap_or_default();
            self.recorder.record(&facts);
        }
        self.recorder.give_back(facts);
    }
}
