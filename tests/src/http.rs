//! HTTP as a client of the shop speaks it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Longer than any deadline of the platform: a request that takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(40);

/// A server that is busy, or about to start, is asked again for so long.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);
/// Before it is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// A client of one base URL. Clones share connections.
#[derive(Clone, Debug)]
pub struct Http {
    base: Arc<str>,
    token: Option<Arc<str>>,
    client: Client<HttpConnector, Full<Bytes>>,
    witness: Option<Witness>,
}

/// Keeps every answer that it sees. Clones keep together.
#[derive(Clone, Debug, Default)]
pub struct Witness(Arc<Mutex<Vec<Seen>>>);

/// A request, and what it was answered.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: Method,
    /// The path, without what the base has before it, and without a query.
    pub path: String,
    /// The answer.
    pub answer: Answer,
}

impl Witness {
    /// All answers so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, method: Method, path: &str, answer: &Answer) {
        let path = path.split('?').next().unwrap_or_default().to_owned();
        self.0.lock().unwrap().push(Seen { method, path, answer: answer.clone() });
    }
}

/// An answer, wholly read.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; `null` when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The `code` of a problem document.
    #[must_use]
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// This answer, which must have the status `status`.
    #[must_use]
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        self
    }

    /// This answer, which must be a problem of this status and code.
    #[must_use]
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.code(), code, "{}", answer.json());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        answer
    }
}

impl Http {
    /// A client of `base`, for example `http://127.0.0.1:8080/api/v1`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { base: base.trim_end_matches('/').into(), token: None, client, witness: None }
    }

    /// The same client, with somebody who keeps all answers.
    #[must_use]
    pub fn seen_by(mut self, witness: &Witness) -> Self {
        self.witness = Some(witness.clone());
        self
    }

    /// The same client with a bearer token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// Sends a request; an error is the word of what broke the connection.
    ///
    /// # Errors
    /// When no whole answer came.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        self.send_bytes(method, path, headers, body.is_some(), bytes).await
    }

    /// The same with a body of any bytes.
    ///
    /// # Errors
    /// When no whole answer came.
    pub async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        is_json: bool,
        body: Bytes,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method.clone()).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if is_json {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let answer = async {
            let response = self.client.request(request).await.map_err(|error| format!("{error:?}"))?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
            Ok(Answer { status: parts.status, headers: parts.headers, body })
        };
        let answered = tokio::time::timeout(PATIENCE, answer).await;
        let answer = answered.unwrap_or_else(|_| Err(format!("no answer in {PATIENCE:?}")))?;
        if let Some(witness) = &self.witness {
            witness.note(method, path, &answer);
        }
        Ok(answer)
    }

    /// Sends until somebody answers who is neither busy nor down, whatever became of the attempts before.
    pub async fn insist(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let from = Instant::now();
        loop {
            let last = match self.send(method.clone(), path, headers, body).await {
                Ok(answer) if answer.status != 429 && !answer.status.is_server_error() => return answer,
                Ok(answer) => format!("{} {}", answer.status, answer.json()),
                Err(error) => error,
            };
            assert!(from.elapsed() < ANSWERED_WITHIN, "{method} {path}: nobody answers: {last}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// GET; panics when no answer comes.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await.unwrap()
    }

    /// POST of JSON; panics when no answer comes.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], Some(body)).await.unwrap()
    }

    /// PUT of JSON; panics when no answer comes.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, &[], Some(body)).await.unwrap()
    }

    /// DELETE; panics when no answer comes.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], None).await.unwrap()
    }
}
