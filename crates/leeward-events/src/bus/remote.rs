//! `leeward://host:port`: the bus of another process, over HTTP.

mod feed;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Options;
use super::error::Error;
use super::http::{Ack, ProblemBody, Published, code};
use super::message::{GroupLag, Message, Position, Start};
use crate::pattern::{self, Patterns};

pub(super) use self::feed::RemoteFeed;

/// How long opening a connection may take: the owner is on this machine or near it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a request may take, up to the head of its answer and, but for a stream, to its end: a publish is one commit of the owner.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer read, but for a stream.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Idle connections kept: one for publishing and one for what comes now and then.
const IDLE_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct Remote {
    /// Host and port.
    owner: String,
    options: Options,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Remote {
    /// None when `owner` is not a host and port.
    pub(super) fn new(owner: &str, options: Options) -> Option<Self> {
        let uri: Uri = format!("http://{owner}/").parse().ok()?;
        uri.port_u16()?;
        if uri.path() != "/" || uri.query().is_some() || owner.ends_with('/') || owner.contains('@') {
            return None;
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(IDLE_MAX).build(connector);
        Some(Self { owner: owner.to_owned(), options, client })
    }

    pub(super) async fn publish(&self, messages: &[Message]) -> Result<Position, Error> {
        let bytes: usize = messages.iter().map(|message| message.body().len() + 1).sum();
        let mut body = BytesMut::with_capacity(bytes + 2);
        for (index, message) in messages.iter().enumerate() {
            body.extend_from_slice(if index == 0 { b"[" } else { b"," });
            body.extend_from_slice(message.body());
        }
        body.extend_from_slice(b"]");
        let answer = self.call(Method::POST, "/bus/v1/events", body.freeze()).await?;
        Ok(self.json::<Published>(&answer)?.position)
    }

    pub(super) async fn acknowledge(
        &self,
        group: &str,
        session: u64,
        position: Position,
    ) -> Result<(), Error> {
        let path = format!("/bus/v1/groups/{group}/ack");
        self.call(Method::POST, &path, to_json(&Ack { session, position })).await.map(drop)
    }

    pub(super) async fn lag(&self) -> Result<Vec<GroupLag>, Error> {
        let answer = self.call(Method::GET, "/bus/v1/groups", Bytes::new()).await?;
        self.json(&answer)
    }

    pub(super) async fn remove(&self, group: &str) -> Result<bool, Error> {
        check_group(group)?;
        match self.call(Method::DELETE, &format!("/bus/v1/groups/{group}"), Bytes::new()).await {
            Ok(_) => Ok(true),
            Err(Error::Refused { status: 404, .. }) => Ok(false),
            Err(cause) => Err(cause),
        }
    }

    pub(super) fn subscribe(
        self: &Arc<Self>,
        group: &str,
        patterns: Patterns,
        start: Start,
    ) -> Result<RemoteFeed, Error> {
        check_group(group)?;
        Ok(RemoteFeed::new(self.clone(), group.into(), patterns, start))
    }

    /// One request with its whole answer.
    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, Error> {
        let exchange = async {
            let response = self.send(method, path, body).await?;
            let collected = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok(collected.map_err(|cause| self.unavailable(chain(&*cause)))?.to_bytes())
        };
        let answered = tokio::time::timeout(REQUEST_TIMEOUT, exchange).await;
        answered.unwrap_or_else(|_| Err(self.unavailable("no answer within ten seconds")))
    }

    /// One request; gives the answer's head if it is a good one.
    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.owner))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.options.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.text()));
        }
        let request = request.body(Full::new(body)).map_err(|cause| self.unavailable(chain(&cause)))?;
        let response = self.client.request(request).await.map_err(|cause| self.unavailable(chain(&cause)))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    /// What a bad answer means.
    async fn refusal(&self, response: Response<Incoming>) -> Error {
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let problem: ProblemBody = serde_json::from_slice(&bytes).unwrap_or_default();
        match (status, problem.code.as_str()) {
            (StatusCode::UNAUTHORIZED, _) => Error::Unauthorised { owner: self.owner.clone() },
            (_, code::FULL) => Error::Full {
                held_bytes: problem.held_bytes.unwrap_or(0),
                limit_bytes: problem.limit_bytes.unwrap_or(0),
            },
            _ => Error::Refused {
                owner: self.owner.clone(),
                status: status.as_u16(),
                detail: problem.detail.chars().take(500).collect(),
            },
        }
    }

    fn json<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(answer).map_err(|cause| self.misunderstood(&cause))
    }

    fn misunderstood(&self, cause: &serde_json::Error) -> Error {
        Error::Refused { owner: self.owner.clone(), status: 200, detail: cause.to_string() }
    }

    fn unavailable(&self, detail: impl Into<String>) -> Error {
        Error::Unavailable { owner: self.owner.clone(), detail: detail.into() }
    }
}

/// A cause with the causes behind it: hyper's own text alone says little.
fn chain(cause: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(cause), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn check_group(group: &str) -> Result<(), Error> {
    if pattern::is_kind(group) {
        return Ok(());
    }
    Err(Error::Group { group: group.chars().take(pattern::KIND_BYTES_MAX).collect() })
}

fn to_json<T: Serialize>(value: &T) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_a_host_and_port() {
        for good in ["127.0.0.1:4100", "bus.internal:80", "[::1]:9"] {
            assert!(Remote::new(good, Options::default()).is_some(), "{good}");
        }
        for bad in ["", "host", "host:port", "host:80/", "host:80/path", "host:80?x", "u:p@host:80", "a b:1"]
        {
            assert!(Remote::new(bad, Options::default()).is_none(), "{bad}");
        }
    }
}
