//! The one outbound client: how a service calls another.
//!
//! ```text
//! old copy (stale if error) > deadline (inherited) > retry (budget) > hedge > throttle > circuit breaker (service) >
//! rate limit > adaptive limit > concurrency limit (service) > attempt timeout >
//! balance over the endpoints that are sound and have room > fault injection > call
//! ```
//!
//! A call carries what is left of the caller's deadline, the trace, the correlation, the attempt's number, the caller's
//! name and an assertion of who it acts for. A failed call says what may have happened on the other side: see
//! [`CallError::effect`].

mod attempt;
mod error;
mod keys;
mod log;
mod metrics;
mod options;
mod request;
mod stale;
mod transport;

use std::sync::Arc;

use http::{HeaderValue, Method};
use leeward_discovery::Upstream;
use leeward_resilience::{Clock, ConfigErrors, Pipeline, Rng, config};

pub use error::{CallError, Effect};
pub(crate) use keys::DirectoryKeys;
pub(crate) use metrics::Metrics;
pub use metrics::{CLIENT_CALL_DURATION_SECONDS, CLIENT_CALLS_TOTAL};
pub use options::ClientOptions;
pub use request::{Fetched, Outgoing, Raw};
pub use transport::Transport;

use crate::faults::Faults;
use crate::identity::Minter;
use crate::inbound::name_value;
use stale::Stale;

/// Calls one target. Cheap to clone; clones share the breaker, the budget, the permits and the cache.
#[derive(Debug, Clone)]
pub struct Client(Arc<Target>);

#[derive(Debug)]
pub(crate) struct Target {
    name: Arc<str>,
    span_name: &'static str,
    /// Who calls, as a header.
    own_name: HeaderValue,
    service: Arc<str>,
    upstream: Upstream,
    pipeline: Pipeline,
    /// None towards programs that are no services of ours.
    minter: Option<Minter>,
    transport: Transport,
    faults: Faults,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    metrics: Metrics,
    answer_bytes_max: usize,
    stale: Stale,
}

/// What all clients of one service share.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) service: Arc<str>,
    pub(crate) minter: Minter,
    pub(crate) transport: Transport,
    pub(crate) faults: Faults,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) metrics: Metrics,
}

impl Client {
    /// A client of `upstream` for `caller`.
    pub(crate) fn new(
        caller: &Caller,
        upstream: Upstream,
        options: ClientOptions,
    ) -> Result<Self, ConfigErrors> {
        config::check(&options)?;
        let pipeline = Pipeline::builder(Arc::clone(upstream.name()))
            .options(options.policies)
            .clock(Arc::clone(&caller.clock))
            .rng(Arc::clone(&caller.rng))
            .observer(caller.metrics.observer())
            .build()?;
        let target = Target {
            span_name: Self::span_name(upstream.name()),
            name: Arc::clone(upstream.name()),
            own_name: name_value(&caller.service),
            service: Arc::clone(&caller.service),
            upstream,
            pipeline,
            minter: options.asserts.then(|| caller.minter.clone()),
            transport: caller.transport.clone(),
            faults: caller.faults.clone(),
            clock: Arc::clone(&caller.clock),
            rng: Arc::clone(&caller.rng),
            metrics: caller.metrics.clone(),
            answer_bytes_max: options.answer_bytes_max,
            stale: Stale::new()?,
        };
        Ok(Self(Arc::new(target)))
    }

    /// `GET path`, which may be repeated.
    pub fn get(&self, path: &str) -> Outgoing<'_> {
        self.request(Method::GET, path).replayable()
    }

    /// `POST path`.
    pub fn post(&self, path: &str) -> Outgoing<'_> {
        self.request(Method::POST, path)
    }

    /// `PUT path`, which may be repeated.
    pub fn put(&self, path: &str) -> Outgoing<'_> {
        self.request(Method::PUT, path).replayable()
    }

    /// `DELETE path`, which may be repeated.
    pub fn delete(&self, path: &str) -> Outgoing<'_> {
        self.request(Method::DELETE, path).replayable()
    }

    /// Any method, sent at most once unless it says [`Outgoing::replayable`] or has a key.
    pub fn request(&self, method: Method, path: &str) -> Outgoing<'_> {
        Outgoing::new(&self.0, method, path)
    }

    /// Whom it calls.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.0.name
    }

    /// The order of the policies with the values in force.
    #[must_use]
    pub fn explain(&self) -> String {
        self.0.pipeline.explain()
    }

    /// Its policies: for operators, who may hold the breaker open, and for tests.
    #[must_use]
    pub fn pipeline(&self) -> &Pipeline {
        &self.0.pipeline
    }
}
