//! Rewritten paths and hosts, redirects, fixed answers, changed headers.

use crate::rig::{Rig, Upstream};

async fn rig(routes: &str) -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "unsafe_keep_encoded_slash: true\nservices:\n  one: {{urls: [\"{}\"]}}\nroutes:\n{routes}",
        upstream.url()
    );
    (Rig::start(&yaml).await, upstream)
}

#[tokio::test]
async fn the_service_gets_the_path_and_the_host_that_the_route_says() {
    let (rig, upstream) = rig("  \
        - {path: \"/a/{x}/{y}\", service: one, rewrite: {path: \"/{y}/v-{x}.json\", host: \"api.internal:81\"}}\n  \
        - {path: /b, service: one, rewrite: {path: /, host: \"{host}\"}}\n  \
        - {path: \"/c/{x}\", service: one, rewrite: {path: \"/d/{x}2F\"}}\n")
    .await;
    for (path, target, host) in [
        ("/a/1/2?q=%20", "/2/v-1.json?q=%20", "api.internal:81"),
        ("/a/%c3%a9/2/3/", "/2/v-%C3%A9.json/3/", "api.internal:81"),
        ("/b", "/", "Client.example:8080"),
        ("/b/c//d", "/c/d", "Client.example:8080"),
    ] {
        let answer = rig.send(rig.request("GET", path).header("host", "Client.example:8080"), "").await;
        assert_eq!(answer.json()["target"], target, "{path}");
        assert_eq!(
            (answer.seen("host").as_str(), answer.seen("x-forwarded-host").as_str()),
            (host, "Client.example:8080")
        );
    }
    let hits = upstream.hits();
    let answer = rig.get("/c/%25").await;
    assert_eq!(
        (answer.status, answer.code().as_str(), upstream.hits()),
        (400, "bad_path", hits),
        "never sent"
    );
    assert_eq!(rig.get("/c/a").await.json()["target"], "/d/a2F");
}

#[tokio::test]
async fn a_redirect_says_where_to_go_and_reaches_nobody() {
    let (rig, upstream) = rig("  \
        - {path: \"/old/{id}\", redirect: \"/new/{id}\"}\n  \
        - {path: /drop, redirect: {to: /kept, status: 301, query: drop}}\n  \
        - {path: /, hosts: [shop.example], redirect: {to: \"https://{host}\", status: 308}}\n  \
        - {path: /, hosts: [\"*.shop.example\"], redirect: {to: \"https://www.example:8443/in\"}}\n")
    .await;
    for (host, path, status, location) in [
        ("a", "/old/7/x?a=b", 307, "/new/7/x?a=b"),
        ("a", "/old/%2e%2e%2f", 400, ""),
        ("a", "/drop/x?a=b", 301, "/kept/x"),
        ("shop.example:8080", "/x//y?a", 308, "https://shop.example/x/y?a"),
        ("a.shop.example", "/", 307, "https://www.example:8443/in/"),
        ("a.shop.example", "//evil.example/x", 307, "https://www.example:8443/in/evil.example/x"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let raw = rig.raw(request.as_bytes()).await;
        assert!(raw.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {raw}");
        let found = raw.lines().find_map(|line| line.strip_prefix("location: ")).unwrap_or_default();
        assert_eq!(found, location, "{path}");
    }
    assert_eq!(rig.get("/drop").await.header("x-service-name"), "gateway");
    assert_eq!(upstream.hits(), 0);
}

#[tokio::test]
async fn a_fixed_answer_is_the_gateways_own() {
    let (rig, upstream) = rig("  \
        - path: /robots.txt\n    exact: true\n    respond: {status: 203, body: \"Disallow: /\", content_type: text/x-robots}\n    \
          headers: {response: {set: {cache-control: max-age=60}}}\n  \
        - {path: /gone, respond: {status: 410}}\n")
    .await;
    let answer = rig.get("/robots.txt").await;
    assert_eq!(
        (answer.status, answer.header("content-type"), &answer.body[..]),
        (203, "text/x-robots", &b"Disallow: /"[..])
    );
    assert_eq!(answer.header("cache-control"), "max-age=60");
    let head = rig.send(rig.request("HEAD", "/robots.txt"), "").await;
    assert_eq!((head.status, head.header("content-type"), head.body.len()), (203, "text/x-robots", 0));
    let gone = rig.send(rig.request("POST", "/gone/x"), "text").await;
    assert_eq!((gone.status, gone.header("content-type"), gone.body.len()), (410, "", 0));
    assert_eq!(upstream.hits(), 0);
}

#[tokio::test]
async fn headers_change_in_both_directions_but_for_the_gateways_own() {
    let (rig, _upstream) = rig("  \
        - path: /\n    service: one\n    headers:\n      \
            request: {remove: [x-debug], set: {x-from: edge}, add: {x-tag: two}}\n      \
            response: {remove: [content-type], set: {x-frame-options: SAMEORIGIN}}\n  \
        - {path: /none, redirect: /x, access: anyone}\n")
    .await;
    let request =
        rig.request("GET", "/").header("x-debug", "1").header("x-from", "client").header("x-tag", "one");
    let answer = rig.send(request, "").await;
    assert_eq!((answer.seen("x-debug").as_str(), answer.seen("x-from").as_str()), ("", "edge"));
    assert_eq!(answer.seen("x-tag"), "two", "the echo keeps the last of the two lines");
    assert_eq!((answer.header("content-type"), answer.header("x-frame-options")), ("", "SAMEORIGIN"));
    assert_eq!(answer.header("x-service-name"), "one");
    // Refusals are the gateway's own.
    let refused = rig.send(rig.request("TRACE", "/"), "").await;
    assert_eq!((refused.status, refused.header("content-type")), (405, "application/problem+json"));
    assert_eq!(refused.header("x-frame-options"), "DENY");
}
