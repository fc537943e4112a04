//! A gateway with an upstream that echoes what it gets, and clients for both polite and rude requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use leeward_gateway::reload::Changes;
use leeward_gateway::{Builder, Config, Error, Gateway};
use leeward_runtime::{Env, Tasks};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// PKCS#8 of the key in RFC 8410, 10.3, and its public half (10.1).
pub(crate) const PRIVATE: [u8; 48] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20, 0xd4,
    0xee, 0x72, 0xdb, 0xf9, 0x13, 0x58, 0x4a, 0xd5, 0xb6, 0xd8, 0xf1, 0xf7, 0x69, 0xf8, 0xad, 0x3a, 0xfe,
    0x7c, 0x28, 0xcb, 0xf1, 0xd4, 0xfb, 0xe0, 0x97, 0xa8, 0x8f, 0x44, 0x75, 0x58, 0x42,
];
pub(crate) const PUBLIC: &str = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE";

/// What a test may do to the upstream.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    pub(crate) hits: AtomicUsize,
    pub(crate) failing: AtomicBool,
    pub(crate) kid: parking_lot::Mutex<String>,
    pub(crate) key_fetches: AtomicUsize,
}

/// A service that says what it got.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    pub(crate) controls: Arc<Controls>,
    task: tokio::task::JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let addr = listener.local_addr().unwrap();
        Self::over(listener, addr)
    }

    /// The same behind connections of another kind.
    pub(crate) fn over<L: axum::serve::Listener<Addr: std::fmt::Debug>>(
        listener: L,
        addr: SocketAddr,
    ) -> Self {
        let controls = Arc::new(Controls::default());
        *controls.kid.lock() = "k1".to_owned();
        let router = Router::new().fallback(echo).with_state(Arc::clone(&controls));
        let serving = async move { axum::serve(listener, router).await.unwrap() };
        #[allow(clippy::disallowed_methods, reason = "a test's own upstream")]
        let task = tokio::spawn(serving);
        Self { addr, controls, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn hits(&self) -> usize {
        self.controls.hits.load(Ordering::SeqCst)
    }

    pub(crate) fn fail(&self, failing: bool) {
        self.controls.failing.store(failing, Ordering::SeqCst);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(State(controls): State<Arc<Controls>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/.well-known/jwks.json" {
        controls.key_fetches.fetch_add(1, Ordering::SeqCst);
        let kid = controls.kid.lock().clone();
        let key =
            json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": PUBLIC});
        return axum::Json(json!({ "keys": [key] })).into_response();
    }
    controls.hits.fetch_add(1, Ordering::SeqCst);
    let query = head.uri.query().unwrap_or_default();
    let number =
        |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')?.parse().ok());
    if let Some(ms) = number("sleep") {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if controls.failing.load(Ordering::SeqCst) {
        return (StatusCode::SERVICE_UNAVAILABLE, "down").into_response();
    }
    if let Some(bytes) = number("bytes") {
        let bytes = usize::try_from(bytes).unwrap();
        return Body::from(vec![b'x'; bytes]).into_response();
    }
    let headers: serde_json::Map<String, Value> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), Value::from(String::from_utf8_lossy(value.as_bytes()))))
        .collect();
    let seen = json!({
        "method": head.method.as_str(),
        "target": head.uri.path_and_query().map(ToString::to_string),
        "headers": headers,
        "body_bytes": body.len(),
    });
    let status = number("status").and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
    let mut answer = (status.unwrap_or(StatusCode::OK), axum::Json(seen)).into_response();
    answer.headers_mut().insert("x-leeward-inner", "secret".parse().unwrap());
    answer.headers_mut().insert("access-control-allow-origin", "https://wrong.example".parse().unwrap());
    answer
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A header as the upstream saw it.
    pub(crate) fn seen(&self, name: &str) -> String {
        self.json()["headers"][name].as_str().unwrap_or_default().to_owned()
    }
}

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    pub(crate) tasks: Tasks,
    client: Client<HttpConnector, Full<Bytes>>,
}

pub(crate) fn parse(yaml: &str) -> Config {
    let mut config =
        Config::parse("leeward.yaml", yaml, &Env::default()).unwrap_or_else(|error| panic!("{error}"));
    for listener in &mut config.listen {
        listener.address = "127.0.0.1:0".parse().unwrap();
    }
    config.admin.listen = "127.0.0.1:0".parse().unwrap();
    config.cores = config.cores.or(std::num::NonZeroUsize::new(2));
    config
}

impl Rig {
    pub(crate) async fn start(yaml: &str) -> Self {
        Self::with(yaml, |builder| builder).await
    }

    pub(crate) async fn with(yaml: &str, change: impl FnOnce(Builder) -> Builder) -> Self {
        Self::started(parse(yaml), change).await
    }

    pub(crate) async fn started(config: Config, change: impl FnOnce(Builder) -> Builder) -> Self {
        let tasks = Tasks::new();
        let gateway = change(Gateway::builder(config)).start(&tasks).await.unwrap();
        let rig = Self { gateway, tasks, client: Client::builder(TokioExecutor::new()).build_http() };
        rig.until("the gateway is ready", async || rig.gateway.is_ready()).await;
        rig
    }

    /// Puts another configuration into force.
    pub(crate) fn reload(&self, yaml: &str) -> Result<Changes, Error> {
        self.gateway.reload(&parse(yaml))
    }

    /// Waits for something that happens in the background.
    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        for _ in 0..1_000 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not within 5 s: {what}");
    }

    pub(crate) async fn send(&self, request: http::request::Builder, body: impl Into<Bytes>) -> Answer {
        let answer = self.client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        http::Request::builder().method(method).uri(format!("http://{}{path}", self.gateway.addr()))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path), "").await
    }

    pub(crate) async fn get_as(&self, token: &str, path: &str) -> Answer {
        self.send(self.request("GET", path).header("authorization", format!("Bearer {token}")), "").await
    }

    pub(crate) fn admin(&self, method: &str, path: &str) -> http::request::Builder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        http::Request::builder().method(method).uri(format!("http://{}{path}", self.gateway.admin_addr()))
    }

    /// What the gateway counts, as operators see it.
    pub(crate) async fn metrics(&self) -> String {
        String::from_utf8(self.send(self.admin("GET", "/metrics"), "").await.body.to_vec()).unwrap()
    }

    /// Sends bytes as they are and reads until the gateway closes, or for a moment.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.gateway.addr()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut read = Vec::new();
        let mut chunk = [0_u8; 4_096];
        while let Ok(Ok(count)) =
            tokio::time::timeout(Duration::from_millis(500), stream.read(&mut chunk)).await
        {
            if count == 0 {
                break;
            }
            read.extend_from_slice(&chunk[..count]);
        }
        String::from_utf8_lossy(&read).into_owned()
    }
}

pub(crate) fn now_s() -> i64 {
    use leeward_resilience::Clock as _;
    leeward_resilience::TokioClock.unix_ms() / 1_000
}

/// A token of the upstream's key.
pub(crate) fn token(user: &str, role: &str) -> String {
    token_with("k1", &claims(user, role))
}

pub(crate) fn claims(user: &str, role: &str) -> Value {
    json!({"sub": user, "role": role, "jti": format!("jti-{user}"), "sid": "s1", "iss": "users", "aud": "shop",
        "iat": now_s(), "exp": now_s() + 600, "permissions": ["cart:write"]})
}

pub(crate) fn token_with(kid: &str, claims: &Value) -> String {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(&PRIVATE)).unwrap()
}

/// Serves each connection to a port of its own, until the set is dropped.
pub(crate) async fn serve_each<F>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, JoinSet<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        let mut all = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            all.spawn(serve(stream));
        }
    });
    (addr, accepting)
}
