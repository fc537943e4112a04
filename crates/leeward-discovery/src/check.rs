//! Active health checks: the task that asks every endpoint at regular times.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use leeward_resilience::{ConfigErrors, Rng};
use leeward_runtime::Stop;

use crate::directory::Directory;
use crate::endpoint::Endpoint;
use crate::health::Health;
use crate::upstream::Upstream;

/// Questions on their way at a time, over all services.
const CHECKS_AT_A_TIME: usize = 32;

/// An answer is read to its end, so that its connection can be used again; one longer than that is not an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Up to this share of the interval is added to it, so that many processes do not ask in step.
const JITTER: f64 = 0.1;

/// Another way to ask, for endpoints that plain HTTP/1.1 does not reach.
pub trait Probe: Send + Sync {
    /// Whether the endpoint of a service answers a GET of `path` well; `None` where the checker is to ask itself, over plain HTTP/1.1.
    fn ask<'a>(
        &'a self,
        service: &'a str,
        endpoint: &'a Endpoint,
        path: &'a str,
    ) -> Option<Pin<Box<dyn Future<Output = bool> + Send + 'a>>>;
}

/// Asks every endpoint of every service of a [`Directory`] whether it is ready. One task does it for all.
pub struct Checker {
    directory: Directory,
    options: Health,
    rng: Arc<dyn Rng>,
    client: Client<HttpConnector, Empty<Bytes>>,
    probe: Option<Arc<dyn Probe>>,
}

impl Checker {
    /// A checker of all that `directory` has now and will have.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(directory: Directory, options: Health, rng: Arc<dyn Rng>) -> Result<Self, ConfigErrors> {
        options.validate()?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(options.timeout));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(options.interval.saturating_mul(2))
            .build(connector);
        Ok(Self { directory, options, rng, client, probe: None })
    }

    /// The same with another way to ask, wherever that has one.
    #[must_use]
    pub fn with_probe(mut self, probe: Arc<dyn Probe>) -> Self {
        self.probe = Some(probe);
        self
    }

    /// Asks until it is told to stop: all at once at the start and whenever endpoints change, then at each interval.
    pub async fn run(self, stop: Stop) {
        let mut changes = self.directory.watch();
        loop {
            changes.mark_unchanged();
            tokio::select! {
                () = self.round() => {}
                () = stop.requested() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(self.pause()) => {}
                Ok(()) = changes.changed() => {}
                () = stop.requested() => return,
            }
        }
    }

    /// Asks every endpoint once.
    pub async fn round(&self) {
        let questions = self.directory.services().into_iter().flat_map(|upstream| {
            let endpoints = upstream.endpoints();
            endpoints.into_iter().map(move |status| (upstream.clone(), status.endpoint))
        });
        stream::iter(questions)
            .for_each_concurrent(CHECKS_AT_A_TIME, |(upstream, endpoint)| self.check(upstream, endpoint))
            .await;
    }

    async fn check(&self, upstream: Upstream, endpoint: Endpoint) {
        let asked = tokio::time::timeout(self.options.timeout, self.ask(&upstream, &endpoint));
        let good = asked.await.unwrap_or(false);
        upstream.checked(&endpoint, good, &self.options);
    }

    async fn ask(&self, upstream: &Upstream, endpoint: &Endpoint) -> bool {
        let path = &*self.options.path;
        let probe = self.probe.as_ref().and_then(|probe| probe.ask(upstream.name(), endpoint, path));
        if let Some(asked) = probe {
            return asked.await;
        }
        let Ok(url) = endpoint.join(path) else { return false };
        let Ok(answer) = self.client.get(url).await else { return false };
        let good = answer.status().is_success();
        good && Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.is_ok()
    }

    fn pause(&self) -> Duration {
        self.options.interval.mul_f64(1.0 + JITTER * self.rng.unit_f64())
    }
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("options", &self.options).finish_non_exhaustive()
    }
}
