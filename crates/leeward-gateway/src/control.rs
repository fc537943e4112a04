//! The gateway's own calls to services, beside the data plane: keys of tokens, and what operators ask for.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use leeward_discovery::{Endpoint, PickHint, Upstream};
use leeward_resilience::{Class, Clock};

use crate::config::Protocol;
use crate::tls::Outward;
use crate::upstream::{Way, connect};

/// How long one such call may take in all.
const TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Idle connections a service: these calls are rare.
const IDLE_MAX: usize = 1;
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer: a page of sagas with their histories.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest key set.
const KEYS_BYTES_MAX: usize = 256 * 1024;

/// A client for few and small calls.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    client: Client<HttpConnector, Full<Bytes>>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What to ask for.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    /// With its query.
    pub(crate) path: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Control {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Self { client }
    }

    /// The text at a path of a service. `tls` is for endpoints that are `https://`.
    pub(crate) async fn fetch(
        &self,
        upstream: &Upstream,
        path: &str,
        clock: &dyn Clock,
        way: Option<&Way>,
    ) -> Result<Vec<u8>, String> {
        let question = Question { method: Method::GET, path, headers: HeaderMap::new(), body: Bytes::new() };
        text(self.ask(upstream, question, clock, way).await?, path)
    }

    /// The text at a URL. It is asked for there alone: a redirect is an answer without it.
    pub(crate) async fn fetch_url(&self, url: &Uri, tls: Option<&Outward>) -> Result<Vec<u8>, String> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = url.clone();
        let answer = match url.scheme_str() {
            Some("https") => tokio::time::timeout(TIMEOUT, fetch_alone(url, tls)).await,
            _ => tokio::time::timeout(TIMEOUT, self.exchange(request)).await,
        };
        text(answer.unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}")))?, url)
    }

    /// Asks one endpoint of a service.
    pub(crate) async fn ask(
        &self,
        upstream: &Upstream,
        question: Question<'_>,
        clock: &dyn Clock,
        way: Option<&Way>,
    ) -> Result<Answer, String> {
        let picked = upstream.pick(clock.now(), &PickHint::default()).map_err(|error| error.to_string())?;
        let is_plain =
            way.is_none_or(|way| way.protocol != Protocol::Http2) && !picked.endpoint().is_encrypted();
        let answer = if !is_plain {
            let (tls, protocol) =
                way.map_or((None, Protocol::Http1), |way| (way.tls.as_deref(), way.protocol));
            tokio::time::timeout(TIMEOUT, ask_alone(picked.endpoint(), (tls, protocol), question)).await
        } else {
            let request = question.to(picked.endpoint())?;
            tokio::time::timeout(TIMEOUT, self.exchange(request)).await
        };
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}")));
        // An operator's question is no measure of how the service serves its callers.
        picked.report(Class::Ignored, clock.now());
        answer
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let response = self.client.request(request).await.map_err(|error| describe(&error))?;
        whole(response).await
    }
}

impl Question<'_> {
    fn to(self, endpoint: &Endpoint) -> Result<Request<Full<Bytes>>, String> {
        let url = endpoint.join(self.path).map_err(|error| error.to_string())?;
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = url;
        *request.headers_mut() = self.headers;
        request.headers_mut().remove(header::HOST);
        Ok(request)
    }
}

/// Asks over a connection of its own, which is opened as those for requests are: what it finds they would find.
pub(crate) async fn ask_alone(
    endpoint: &Endpoint,
    (tls, protocol): (Option<&Outward>, Protocol),
    question: Question<'_>,
) -> Result<Answer, String> {
    let request = question.to(endpoint)?;
    let opened =
        connect(endpoint, tls, protocol, CONNECT_TIMEOUT).await.map_err(|error| error.to_string())?;
    let is_http2 = opened.is_http2;
    let io = TokioIo::new(opened.stream);
    if is_http2 {
        let begun = http2::handshake(TokioExecutor::new(), io).await;
        let (mut sender, connection) = begun.map_err(|error| describe(&error))?;
        let asked = async move {
            let response = sender.send_request(request).await.map_err(|error| describe(&error))?;
            whole(response).await
        };
        let (answer, _ended) = futures_util::future::join(asked, connection).await;
        return answer;
    }
    let mut request = request;
    let host = HeaderValue::try_from(endpoint.authority()).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    *request.uri_mut() = target.parse().map_err(|_| "the path is none".to_owned())?;
    let (mut sender, connection) = http1::handshake(io).await.map_err(|error| describe(&error))?;
    let asked = async move {
        let response = sender.send_request(request).await.map_err(|error| describe(&error))?;
        whole(response).await
    };
    // The connection is over when nobody asks any more.
    let (answer, _ended) = futures_util::future::join(asked, connection).await;
    answer
}

async fn fetch_alone(url: &Uri, tls: Option<&Outward>) -> Result<Answer, String> {
    let base = format!("https://{}", url.authority().map_or("", Authority::as_str));
    let endpoint = Endpoint::parse(&base).map_err(|error| error.to_string())?;
    let path = url.path_and_query().map_or("/", PathAndQuery::as_str);
    let question = Question { method: Method::GET, path, headers: HeaderMap::new(), body: Bytes::new() };
    ask_alone(&endpoint, (tls, Protocol::Http1), question).await
}

async fn whole(response: Response<hyper::body::Incoming>) -> Result<Answer, String> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
    Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
}

/// The body of a good answer, if it is no larger than a key set may be.
fn text(answer: Answer, place: impl std::fmt::Display) -> Result<Vec<u8>, String> {
    match answer.status {
        status if !status.is_success() => Err(format!("{place} answered {status}")),
        _ if answer.body.len() > KEYS_BYTES_MAX => {
            Err(format!("{place} is larger than {KEYS_BYTES_MAX} bytes"))
        }
        _ => Ok(answer.body.into()),
    }
}

/// The error with its causes: the library's own text names the stage only.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
