//! HTTP as the driver speaks it: kept-alive connections, one request at a time on each, nothing in between.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A server and the idle connections to it.
#[derive(Debug)]
pub(crate) struct Http {
    address: SocketAddr,
    host: HeaderValue,
    /// The last one used is on top, so that a quiet time needs few.
    idle: RefCell<Vec<SendRequest<Full<Bytes>>>>,
}

/// An answer, wholly read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// How long to wait before the next attempt, if the server says so.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON, if the status is the one expected.
    pub(crate) fn json(&self, expected: u16) -> Result<Value, String> {
        if self.status != expected {
            return Err(format!("status {} in place of {expected}: {}", self.status, self.text()));
        }
        serde_json::from_slice(&self.body).map_err(|error| format!("{error} in {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Http {
    pub(crate) fn new(address: SocketAddr) -> Result<Self, String> {
        let host = HeaderValue::try_from(address.to_string()).map_err(|error| error.to_string())?;
        Ok(Self { address, host, idle: RefCell::default() })
    }

    /// A request with a JSON body.
    pub(crate) fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        // Every path here is written by this program.
        *request.uri_mut() = path.parse().unwrap_or_default();
        request.headers_mut().insert(header::HOST, self.host.clone());
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, String> {
        self.send(self.request(Method::GET, path, Bytes::new())).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer, String> {
        self.send(self.request(Method::POST, path, body.to_string())).await
    }

    /// Sends one request over an idle connection, or over a new one when all are at work.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let mut connection = self.connection().await?;
        let response = connection.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get(header::RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        if connection.ready().await.is_ok() {
            self.idle.borrow_mut().push(connection);
        }
        Ok(Answer { status, retry_after: retry_after.map(Duration::from_secs), body })
    }

    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        // The server may have closed one that stood idle.
        let open = || self.idle.borrow_mut().pop();
        while let Some(connection) = open() {
            if connection.is_ready() {
                return Ok(connection);
            }
        }
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::task::spawn_local(connection);
        Ok(sender)
    }
}
