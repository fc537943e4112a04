//! The pooled HTTP client under all outbound calls of a process.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// How long a connection may take to come about: within a data centre it is a millisecond.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// An idle connection is closed after this. Shorter than the 75 s for which a server of the kit keeps one, so that a
/// request seldom meets a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections kept for each endpoint: as many as a busy service has calls in flight to one other.
const IDLE_PER_ENDPOINT_MAX: usize = 128;

/// Connections to everything this process calls. Clones share the pool.
#[derive(Debug, Clone)]
pub struct Transport {
    client: Client<HttpConnector, Full<Bytes>>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether an attempt of the same call may have been executed besides the one that this answers.
    pub(crate) in_doubt: bool,
}

/// An exchange that did not come to an answer.
#[derive(Debug, Clone)]
pub(crate) enum Broken {
    /// Before the request was sent.
    NotSent(String),
    /// Afterwards, or nobody knows.
    Unknown(String),
}

impl Transport {
    /// An empty pool.
    #[must_use]
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_ENDPOINT_MAX)
            .build(connector);
        Self { client }
    }

    /// Sends `request` and reads the whole answer, of at most `bytes_max`.
    pub(crate) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        bytes_max: usize,
    ) -> Result<Answer, Broken> {
        let response = self.client.request(request).await.map_err(|error| {
            // Only a connection that never came about is proof that nothing was sent.
            let text = chain(&error);
            if error.is_connect() { Broken::NotSent(text) } else { Broken::Unknown(text) }
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, bytes_max).collect().await.map_err(|error| {
            let too_long = error.is::<LengthLimitError>();
            Broken::Unknown(if too_long {
                format!("the answer exceeds {bytes_max} bytes")
            } else {
                error.to_string()
            })
        })?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes(), in_doubt: false })
    }
}

impl Default for Transport {
    fn default() -> Self {
        Self::new()
    }
}

/// The error with its causes: hyper's own text names the stage only.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
