//! The service under test, as its clients see it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use leeward_resilience::Clock;
use leeward_service::audit::Audit;
use leeward_service::identity::ASSERTION_HEADER;
use leeward_service::{Minter, Principal, RouteInfo};
use serde::Serialize;
use serde_json::Value;

use crate::clock::Shifted;
use crate::contract::User;
use crate::document::Document;
use crate::peer::Peer;

/// The service under test. Clones share connections.
#[derive(Clone, Debug)]
pub struct Site {
    name: String,
    address: SocketAddr,
    routes: Vec<RouteInfo>,
    clock: Shifted,
    gateway: Minter,
    outsider: Minter,
    client: Client<HttpConnector, Full<Bytes>>,
    document: Arc<Document>,
}

/// A request on its way.
#[derive(Debug)]
#[must_use = "a call does nothing until it is sent"]
pub struct Call<'a> {
    site: &'a Site,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
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

impl Site {
    pub(crate) async fn new(
        name: String,
        address: SocketAddr,
        routes: Vec<RouteInfo>,
        clock: Shifted,
        gateway: Minter,
        outsider: Minter,
    ) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        let document = Arc::new(Document::default());
        let mut site = Self { name, address, routes, clock, gateway, outsider, client, document };
        let document = site.get("/openapi.json").send().await.expect(200).json();
        site.document = Arc::new(Document::new(document));
        site
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> Call<'_> {
        self.request(Method::GET, path)
    }

    /// `POST path`.
    pub fn post(&self, path: &str) -> Call<'_> {
        self.request(Method::POST, path)
    }

    /// `PUT path`.
    pub fn put(&self, path: &str) -> Call<'_> {
        self.request(Method::PUT, path)
    }

    /// `PATCH path`.
    pub fn patch(&self, path: &str) -> Call<'_> {
        self.request(Method::PATCH, path)
    }

    /// `DELETE path`.
    pub fn delete(&self, path: &str) -> Call<'_> {
        self.request(Method::DELETE, path)
    }

    /// Any request.
    pub fn request(&self, method: Method, path: &str) -> Call<'_> {
        Call { site: self, method, path: path.to_owned(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// What it answers to.
    #[must_use]
    pub fn routes(&self) -> &[RouteInfo] {
        &self.routes
    }

    /// Its OpenAPI document.
    pub(crate) fn document(&self) -> &Document {
        &self.document
    }

    /// What walks its routes with every wrong identity.
    pub(crate) fn audit(&self) -> Audit {
        Audit {
            service: self.name.clone(),
            address: self.address,
            gateway: self.gateway.clone(),
            outsider: self.outsider.clone(),
            now_unix_ms: self.clock.unix_ms(),
        }
    }
}

impl Call<'_> {
    /// Called by this user, through the gateway.
    pub fn by(self, user: &User) -> Self {
        self.asserting(&Principal::User(user.clone()))
    }

    /// Called by an operator, through the gateway.
    pub fn by_operator(self) -> Self {
        self.asserting(&Principal::Operator)
    }

    /// Called by another service on its own behalf.
    pub fn by_peer(self, peer: &Peer) -> Self {
        self.signed(peer.minter(), &Principal::Service)
    }

    fn asserting(self, principal: &Principal) -> Self {
        let gateway = self.site.gateway.clone();
        self.signed(&gateway, principal)
    }

    fn signed(mut self, minter: &Minter, principal: &Principal) -> Self {
        let assertion = minter.mint(principal, &self.site.name, self.site.clock.unix_ms()).unwrap();
        self.headers.insert(ASSERTION_HEADER, assertion);
        self
    }

    /// With this JSON body.
    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        self.raw("application/json", serde_json::to_vec(body).unwrap())
    }

    /// With this body, whatever it is.
    pub fn raw(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
        self.body = body.into();
        self
    }

    /// Sends it, and holds the answer against the OpenAPI document.
    pub async fn send(self) -> Answer {
        let Self { site, method, path, headers, body } = self;
        let uri = format!("http://{}{path}", site.address);
        let mut request = Request::builder().method(&method).uri(uri).body(Full::new(body)).unwrap();
        *request.headers_mut() = headers;
        let (parts, body) = site.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        site.document.check(&method, &path, &answer);
        answer
    }
}

impl Answer {
    /// The body as JSON; `null` where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The `code` of a problem.
    #[must_use]
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The ids or numbers that the entries of a page have under `field`.
    #[must_use]
    pub fn column(&self, field: &str) -> Vec<String> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let page = self.json();
        page["items"].as_array().into_iter().flatten().map(|item| text(&item[field])).collect()
    }

    /// This answer, which must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// This answer, which must be a problem of this status and code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.code(), code, "{}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        answer
    }
}
