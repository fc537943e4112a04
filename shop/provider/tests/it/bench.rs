//! A provider in a temporary folder, and calls to it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use leeward_resilience::{FastRng, ManualClock};
use leeward_runtime::{Stop, Stopper};
use serde_json::{Value, json};
use shop_provider::{Options, Provider};
use tower::ServiceExt;

pub(crate) struct Bench {
    pub(crate) router: Router,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) stopper: Stopper,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let (stopper, stop) = Stop::manual();
        let clock = Arc::new(ManualClock::new());
        let mut options = Options::new("sqlite::memory:");
        options.allow_faults = true;
        options.clock = clock.clone();
        options.rng = Arc::new(FastRng::seeded(7));
        change(&mut options);
        let provider = Provider::open(options, stop).await.unwrap();
        Self { router: provider.router(), clock, stopper }
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// A call that must be answered 200.
    pub(crate) async fn post(&self, path: &str, key: &str, body: Value) -> Value {
        let (status, answer) = self.call("POST", path, Some(key), Some(body)).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    pub(crate) async fn authorise(&self, key: &str, token: &str) -> Value {
        self.post("/v1/authorisations", key, authorisation(token)).await
    }

    /// An authorisation that is captured; its id.
    pub(crate) async fn captured(&self, name: &str, token: &str) -> String {
        let id =
            self.authorise(&format!("{name}-a"), token).await["authorisation"].as_str().unwrap().to_owned();
        let taken = self
            .post("/v1/captures", &format!("{name}-c"), json!({"authorisation": id, "amount": eur(100)}))
            .await;
        assert_eq!(taken["verdict"], "approved");
        id
    }

    pub(crate) async fn ledger(&self) -> Vec<Value> {
        let (_, page) = self.call("GET", "/ledger", None, None).await;
        page["entries"].as_array().unwrap().clone()
    }

    /// Waits until the ledger has `count` lines.
    pub(crate) async fn lines(&self, count: usize) {
        while self.ledger().await.len() < count {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn set_faults(&self, faults: Value) {
        assert_eq!(self.call("PUT", "/faults", None, Some(faults)).await.0, 200);
    }
}

pub(crate) fn eur(amount_minor: i64) -> Value {
    json!({"amount_minor": amount_minor, "currency": "EUR"})
}

pub(crate) fn authorisation(token: &str) -> Value {
    json!({"amount": eur(100), "token": token, "reference": "o-1"})
}
