//! Routes, paths, rewriting, and what every answer carries.

use crate::rig::{Rig, Upstream};

async fn rig() -> (Rig, Upstream, Upstream) {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let yaml = format!(
        "services:\n  one:\n    urls: [\"{}\"]\n  two:\n    urls: [\"{}\"]\nroutes:\n  \
         - {{path: /api/v1/products, service: one, strip_prefix: /api/v1, methods: [GET]}}\n  \
         - {{path: /api/v1/orders, service: two, strip_prefix: /api/v1}}\n  \
         - {{path: /files, service: one}}\n",
        one.url(),
        two.url()
    );
    (Rig::start(&yaml).await, one, two)
}

#[tokio::test]
async fn requests_go_to_their_service_without_the_prefix() {
    let (rig, one, two) = rig().await;
    let answer = rig.get("/api/v1/products/7?page=2&q=a%20b").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["target"], "/products/7?page=2&q=a%20b");
    assert_eq!(answer.header("x-service-name"), "one");
    assert!(answer.header("x-response-time").ends_with("ms"));
    assert_eq!(answer.header("x-request-id").len(), 32);
    assert_eq!((one.hits(), two.hits()), (1, 0));
    let answer = rig.send(rig.request("POST", "/api/v1/orders"), "{\"a\":1}").await;
    assert_eq!((answer.status, answer.json()["body_bytes"].as_u64()), (200, Some(7)));
    assert_eq!(answer.json()["target"], "/orders");
    assert_eq!((one.hits(), two.hits()), (1, 1));
}

#[tokio::test]
async fn what_has_no_route_is_answered_by_the_gateway() {
    let (rig, one, two) = rig().await;
    let answer = rig.get("/api/v1/nothing").await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json()["stage"], "route");
    assert_eq!(answer.json()["request_id"], answer.header("x-request-id"));
    let answer = rig.send(rig.request("DELETE", "/api/v1/products/1"), "").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
    let answer = rig.get("/api/v1/orders-old").await;
    assert_eq!(answer.status, 404);
    assert_eq!((one.hits(), two.hits()), (0, 0));
}

#[tokio::test]
async fn one_canonical_path_is_routed_and_forwarded() {
    let (rig, one, two) = rig().await;
    for (path, target) in [
        ("/api/v1/products/./a/../b", "/products/b"),
        ("/api/v1//products///7", "/products/7"),
        ("/api/v1/%70roducts/%7e", "/products/~"),
        ("/api/v1/orders/../products", "/products"),
        ("/api/v1/orders/%2e%2e/products", "/products"),
        ("/files/%c3%a9", "/files/%C3%A9"),
    ] {
        let raw =
            rig.raw(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await;
        assert!(raw.starts_with("HTTP/1.1 200"), "{path}: {raw}");
        assert!(raw.contains(&format!("\"target\":\"{target}\"")), "{path}: {raw}");
    }
    assert_eq!(two.hits(), 0);
    let before = one.hits();
    for path in [
        "/api/v1/products/%2fadmin",
        "/api/v1/products/..%2f..%2fadmin",
        "/api/v1/products%5c..%5cadmin",
        "/api/v1/products/%252e%252e/orders",
        "/api/v1/products/%00",
        "/api/v1/products;a=b/orders",
        "/../../etc/passwd",
        "/api/v1/products/%zz",
    ] {
        let raw = rig.raw(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        assert!(raw.starts_with("HTTP/1.1 400"), "{path}: {raw}");
        assert!(raw.contains("\"bad_path\""), "{path}: {raw}");
    }
    assert_eq!(one.hits(), before);
}

#[tokio::test]
async fn the_absolute_form_is_the_same_request() {
    let (rig, one, _two) = rig().await;
    let raw =
        rig.raw(b"GET http://shop/api/v1/products HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").await;
    assert!(raw.contains("\"target\":\"/products\""), "{raw}");
    assert_eq!(one.hits(), 1);
    for (target, code) in [("*", "bad_target"), ("shop:443", "bad_target")] {
        let method = if target == "*" { "OPTIONS" } else { "CONNECT" };
        let raw = rig.raw(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        assert!(raw.starts_with("HTTP/1.1 400") && raw.contains(code), "{raw}");
    }
}

#[tokio::test]
async fn ids_and_trace_go_through() {
    let (rig, _one, _two) = rig().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = rig
        .request("GET", "/api/v1/products")
        .header("x-request-id", "mine-1")
        .header("x-correlation-id", "order-17")
        .header("traceparent", trace);
    let answer = rig.send(request, "").await;
    assert_eq!((answer.header("x-request-id"), answer.seen("x-request-id").as_str()), ("mine-1", "mine-1"));
    assert_eq!(
        (answer.header("x-correlation-id"), answer.seen("x-correlation-id").as_str()),
        ("order-17", "order-17")
    );
    assert!(answer.seen("traceparent").contains("0af7651916cd43dd8448eb211c80319c"));
    assert_ne!(answer.seen("traceparent"), trace, "a span of its own");
    let request =
        rig.request("GET", "/api/v1/products").header("x-request-id", "not an id").header("traceparent", "x");
    let answer = rig.send(request, "").await;
    assert_eq!(answer.header("x-request-id").len(), 32);
    assert_eq!(answer.seen("traceparent").len(), trace.len());
    assert!(!answer.seen("x-gateway-timestamp").is_empty());
    assert_eq!(answer.seen("x-client-ip"), "127.0.0.1");
    assert_eq!(answer.seen("x-service-name"), "gateway");
}

#[tokio::test]
async fn head_and_large_bodies_pass() {
    let (rig, _one, _two) = rig().await;
    let answer = rig.send(rig.request("HEAD", "/files/a?bytes=1000"), "").await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, "1000", 0));
    let answer = rig.get("/files/a?bytes=3000000").await;
    assert_eq!(answer.body.len(), 3_000_000);
    let answer = rig.send(rig.request("PUT", "/files/a"), vec![b'y'; 3_000_000]).await;
    assert_eq!(answer.json()["body_bytes"], 3_000_000);
}

#[tokio::test]
async fn health_and_metrics_are_the_gateways_own() {
    let (rig, one, _two) = rig().await;
    for path in ["/health/live", "/health/ready", "/ready", "/health"] {
        assert_eq!(rig.get(path).await.status, 200, "{path}");
    }
    let health = rig.get("/health").await.json();
    assert_eq!((health["status"].as_str(), health["services"]["one"].as_str()), (Some("up"), Some("up")));
    rig.get("/api/v1/products").await;
    let metrics = rig.metrics().await;
    let line =
        "http_requests_total{method=\"GET\",route=\"GET, HEAD /api/v1/products\",status_code=\"200\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    assert_eq!(one.hits(), 1);
}

/// Which service answers a request of these lines.
async fn answered_by(rig: &Rig, lines: &str) -> String {
    let raw = rig.raw(format!("{lines}\r\nConnection: close\r\n\r\n").as_bytes()).await;
    let status = raw.split(' ').nth(1).unwrap_or_default().to_owned();
    let name = raw.lines().find_map(|line| line.strip_prefix("x-service-name: ")).unwrap_or_default();
    format!("{status} {name}")
}

#[tokio::test]
async fn hosts_and_conditions_decide_over_the_wire() {
    let upstream = Upstream::start().await;
    let service = |name: &str| format!("  {name}: {{urls: [\"{}\"]}}\n", upstream.url());
    let services: String = ["any", "shop", "wild", "beta", "green", "second"].map(service).concat();
    let rig = Rig::start(&format!(
        "services:\n{services}routes:\n  \
         - {{path: /, service: any}}\n  \
         - {{path: /only, service: shop, hosts: [Shop.Example, \"[::1]\"]}}\n  \
         - {{path: /, service: wild, hosts: [\"*.example\"]}}\n  \
         - {{path: /a, service: any}}\n  \
         - {{path: /a, service: beta, match: {{headers: {{X-Beta: \"1\"}}}}}}\n  \
         - {{path: /a, service: green, match: {{cookies: {{side: {{prefix: gr}}}}}}}}\n  \
         - {{path: /a, service: second, match: {{query: {{v: \"2\"}}}}}}\n  \
         - {{path: /secret, service: beta, match: {{headers: {{x-key: {{present: true}}}}}}}}\n",
    ))
    .await;
    for (lines, expected) in [
        ("GET /only HTTP/1.1\r\nHost: SHOP.example:8080", "200 shop"),
        ("GET http://shop.example/only HTTP/1.1\r\nHost: shop.example", "200 shop"),
        ("GET http://shop.example/only HTTP/1.0\r\nAccept: */*", "200 shop"),
        ("GET /only HTTP/1.1\r\nHost: [0:0::1]:1", "200 shop"),
        ("GET /other HTTP/1.1\r\nHost: shop.example", "404 gateway"),
        ("GET /only HTTP/1.1\r\nHost: www.shop.example", "200 wild"),
        ("GET /only HTTP/1.1\r\nHost: example", "200 any"),
        ("GET /only HTTP/1.0\r\nAccept: */*", "200 any"),
        ("GET /a/1 HTTP/1.1\r\nHost: a\r\nx-beta: 1", "200 beta"),
        ("GET /a/1 HTTP/1.1\r\nHost: a\r\nx-beta: 1\r\nx-beta: 1", "200 any"),
        ("GET /a/1 HTTP/1.1\r\nHost: a\r\nCookie: x=1; side=green", "200 green"),
        ("GET /a/1?%76=%32 HTTP/1.1\r\nHost: a", "200 second"),
        ("GET /a/1?v=1&v=2 HTTP/1.1\r\nHost: a", "200 any"),
        ("GET /secret HTTP/1.1\r\nHost: a\r\nx-key: 1", "200 beta"),
        ("GET /secret/1 HTTP/1.1\r\nHost: a", "404 gateway"),
        ("GET /secret/1 HTTP/1.1\r\nHost: a\r\nConnection: x-key\r\nx-key: 1", "404 gateway"),
    ] {
        assert_eq!(answered_by(&rig, lines).await, expected, "{lines}");
    }
}
