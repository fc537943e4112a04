//! The admin API: what it shows, whom it refuses, and the way to the services' operator routes.

use leeward_resilience::{Clock, TokioClock};
use leeward_service::identity::{ASSERTION_HEADER, Identity, KEYS_PATH, Minter, Principal, User};

use crate::rig::{Rig, Upstream};

async fn rig() -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "services:\n  orders:\n    urls: [\"{}\"]\nroutes:\n  - {{path: /orders, service: orders, methods: [GET]}}\n",
        upstream.url()
    );
    let identity = Identity::ephemeral("gateway").unwrap();
    let beside = axum::Router::new().route("/bus/v1/hello", axum::routing::get(async || "bus"));
    (Rig::with(&yaml, |builder| builder.identity(identity).admin_routes(beside)).await, upstream)
}

#[tokio::test]
async fn it_shows_what_is_in_force() {
    let (rig, upstream) = rig().await;
    let get = async |path: &str| rig.send(rig.admin("GET", path), "").await;
    let routes = get("/v1/routes").await.json();
    assert_eq!(
        (routes[0]["path"].as_str(), routes[0]["config"].as_str()),
        (Some("/orders"), Some("leeward.yaml:5"))
    );
    assert_eq!(routes[0]["id"], "GET, HEAD /orders");
    let services = get("/v1/services").await.json();
    let orders = services.as_array().unwrap().iter().find(|one| one["name"] == "orders").unwrap();
    assert_eq!(orders["breaker"], "closed");
    assert_eq!(orders["endpoints"][0]["id"], upstream.addr.to_string());
    assert_eq!(get("/v1/limits").await.json()["requests_max"], 2_048);
    assert_eq!(get("/v1/health").await.json()["services"]["orders"]["sound"], 1);
    let config = get("/v1/config").await;
    let text = String::from_utf8(config.body.to_vec()).unwrap();
    assert!(text.contains("attempt_timeout:\n      after: 5s"), "{text}");
    assert_eq!(get("/bus/v1/hello").await.body, "bus");
    for path in ["/health", "/health/live", "/health/ready", "/ready", "/metrics"] {
        assert_eq!(get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn an_operator_may_hold_a_breaker() {
    let (rig, _upstream) = rig().await;
    let hold = async |state: &str| {
        let request =
            rig.admin("PUT", "/v1/services/orders/breaker").header("content-type", "application/json");
        rig.send(request, format!("{{\"state\":\"{state}\"}}")).await.status
    };
    assert_eq!(hold("open").await, 204);
    assert_eq!(rig.get("/orders").await.code(), "breaker_open");
    assert_eq!(hold("auto").await, 204);
    assert_eq!(rig.get("/orders").await.status, 200);
    let request = rig.admin("PUT", "/v1/services/nobody/breaker").header("content-type", "application/json");
    assert_eq!(rig.send(request, "{\"state\":\"open\"}").await.status, 404);
}

#[tokio::test]
async fn operators_reach_the_services_own_routes() {
    let (rig, upstream) = rig().await;
    let one = rig.send(rig.admin("POST", "/v1/services/orders/_leeward/sagas/s%201/retry?x=1"), "{}").await;
    assert_eq!(one.status, 200);
    assert_eq!(
        (one.json()["method"].as_str(), one.json()["target"].as_str()),
        (Some("POST"), Some("/_leeward/sagas/s%201/retry?x=1"))
    );
    assert_eq!(one.seen("x-leeward-assertion").split('.').count(), 3);
    let all = rig.send(rig.admin("GET", "/v1/all/_leeward/events/lag"), "").await.json();
    assert_eq!(all["orders"]["body"]["target"], "/_leeward/events/lag");
    assert!(all.get("gateway").is_none());
    assert_eq!(upstream.hits(), 2);
    for (path, status) in [
        ("/v1/services/nobody/_leeward/sagas", 404),
        ("/v1/services/gateway/_leeward/sagas", 404),
        ("/v1/services/orders/_leeward/../products", 400),
        ("/v1/services/orders/_leeward/%2e%2e/products", 400),
        ("/v1/services/orders/_leeward/..%2fproducts", 400),
    ] {
        let answer = rig.send(rig.admin("GET", path), "").await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
    assert_eq!(upstream.hits(), 2);
    assert_eq!(rig.get("/_leeward/sagas").await.status, 404, "never at the edge");
}

#[tokio::test]
async fn web_pages_cannot_use_it_through_a_visitor() {
    let (rig, _upstream) = rig().await;
    let with = async |name: &str, value: &str| {
        rig.send(rig.admin("GET", "/v1/routes").header(name, value), "").await.status
    };
    assert_eq!(with("host", "evil.example:9900").await, 403);
    assert_eq!(with("host", "localhost:9900").await, 200);
    assert_eq!(with("origin", "https://evil.example").await, 403);
    let own = format!("http://{}", rig.gateway.admin_addr());
    assert_eq!(with("origin", &own).await, 200);
}

#[tokio::test]
async fn a_token_is_asked_for_where_one_is_set() {
    let upstream = Upstream::start().await;
    let rig = locked(&upstream.url()).await;
    assert_eq!(rig.send(rig.admin("GET", "/v1/routes"), "").await.status, 401);
    let wrong = rig.admin("GET", "/v1/routes").header("authorization", "Bearer open-sesam");
    assert_eq!(rig.send(wrong, "").await.status, 401);
    let right = rig.admin("GET", "/v1/config").header("authorization", "Bearer open-sesame");
    let answer = rig.send(right, "").await;
    assert_eq!(answer.status, 200);
    assert!(!String::from_utf8_lossy(&answer.body).contains("open-sesame"), "a secret is never printed");
    assert_eq!(rig.send(rig.admin("GET", "/health/live"), "").await.status, 200);
    assert_eq!(rig.send(rig.admin("GET", "/metrics"), "").await.status, 401);
    let right = rig.admin("GET", "/metrics").header("authorization", "Bearer open-sesame");
    assert_eq!(rig.send(right, "").await.status, 200);
}

#[tokio::test]
async fn metrics_are_for_operators_alone() {
    let (rig, _upstream) = rig().await;
    assert_eq!(rig.get("/orders").await.status, 200);
    let metrics = rig.metrics().await;
    assert!(metrics.contains("http_requests_total"), "{metrics}");
    let refused = rig.get("/metrics").await;
    assert_eq!((refused.status, refused.code().as_str()), (404, "not_found"));
}

/// A gateway that asks operators for the token `open-sesame`, in front of `orders` at `url`.
async fn locked(url: &str) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "open-sesame\n").unwrap();
    let yaml = format!(
        "admin: {{token: \"file:{}\"}}\nservices:\n  orders:\n    urls: [\"{url}\"]\nroutes:\n  - {{path: /, service: orders}}\n",
        file.display()
    );
    Rig::start(&yaml).await
}

/// A server that publishes the keys of `identity`.
async fn publisher(identity: &Identity) -> String {
    let keys = identity.public_keys().clone();
    let router = axum::Router::new().route(KEYS_PATH, axum::routing::get(async move || axum::Json(keys)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = async move { axum::serve(listener, router).await.unwrap() };
    #[allow(clippy::disallowed_methods, reason = "a test's own upstream")]
    drop(tokio::spawn(serving));
    url
}

#[tokio::test]
async fn a_service_may_ask_who_is_where_and_nothing_else() {
    let orders = Identity::ephemeral("orders").unwrap();
    let rig = locked(&publisher(&orders).await).await;
    let minter = Minter::new(orders);
    let mint = |minter: &Minter, principal, audience| {
        minter.mint(&principal, audience, TokioClock.unix_ms()).unwrap()
    };
    let own = mint(&minter, Principal::Service, "gateway");
    let ask = async |method: &str, path: &str, assertion: &http::HeaderValue| {
        rig.send(rig.admin(method, path).header(ASSERTION_HEADER, assertion), "").await
    };
    let answer = ask("GET", "/v1/services", &own).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.json().as_array().unwrap().iter().any(|one| one["name"] == "orders"));
    for (method, path) in [
        ("GET", "/v1/config"),
        ("GET", "/v1/all/_leeward/sagas"),
        ("PUT", "/v1/services/orders/breaker"),
        ("POST", "/v1/services/orders/_leeward/faults"),
        ("GET", "/metrics"),
    ] {
        assert_eq!(ask(method, path, &own).await.status, 401, "{method} {path}");
    }
    let stranger = Minter::new(Identity::ephemeral("orders").unwrap());
    let unknown = Minter::new(Identity::ephemeral("nobody").unwrap());
    for (who, assertion) in [
        ("a user", mint(&minter, Principal::User(User::new("u1")), "gateway")),
        ("one that speaks for an operator", mint(&minter, Principal::Operator, "gateway")),
        ("one that asks somebody else", mint(&minter, Principal::Service, "payments")),
        ("another key", mint(&stranger, Principal::Service, "gateway")),
        ("a service that is nowhere", mint(&unknown, Principal::Service, "gateway")),
    ] {
        assert_eq!(ask("GET", "/v1/services", &assertion).await.status, 401, "{who}");
    }
}
