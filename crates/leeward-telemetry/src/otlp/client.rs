use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};

/// Attempts to send one batch, the first included. What a collector's restart takes; beyond it newer spans
/// are worth more.
const ATTEMPTS: u32 = 3;
/// The pause after the first failed attempt, doubled each time.
const BACKOFF: Duration = Duration::from_millis(250);
/// The longest pause that a collector may ask for by Retry-After.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// The longest response read. It says at most which spans were refused.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// The HTTP client under the exporter. It repeats an attempt itself, since the exporter would sleep on the
/// thread.
#[derive(Debug)]
pub(super) struct Sender {
    client: Client<HttpConnector, Full<Bytes>>,
    timeout: Duration,
}

impl Sender {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), timeout }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let mut backoff = BACKOFF;
        for attempt in 1.. {
            let outcome = tokio::time::timeout(self.timeout, self.attempt(head.clone(), body.clone())).await;
            let pause = match &outcome {
                Ok(Ok(response)) if !is_transient(response.status()) => None,
                Ok(Ok(response)) => Some(retry_after(response).unwrap_or(backoff).min(BACKOFF_MAX)),
                Ok(Err(_)) | Err(_) => Some(backoff),
            };
            match pause.filter(|_| attempt < ATTEMPTS) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return outcome?,
            }
            backoff *= 2;
        }
        Err("no attempt was made".into())
    }

    async fn attempt(&self, head: http::request::Parts, body: Bytes) -> Result<Response<Bytes>, HttpError> {
        let response = self.client.request(Request::from_parts(head, Full::new(body))).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, RESPONSE_BYTES_MAX).collect().await?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

/// The responses that the OTLP specification allows to repeat.
fn is_transient(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

fn retry_after(response: &Response<Bytes>) -> Option<Duration> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

// What `#[async_trait]` makes of the trait, written out.
impl HttpClient for Sender {
    fn send_bytes<'this, 'future>(
        &'this self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'this: 'future,
        Self: 'future,
    {
        Box::pin(self.send(request))
    }
}
