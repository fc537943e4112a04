//! What browsers are told about answers, and what they are not told of services.

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap as Map;
use axum::response::IntoResponse;
use tokio::net::TcpListener;

use crate::pki::{Pki, connect};
use crate::rig::{Answer, Rig};
use crate::tls::{GET, ask};

const ALWAYS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// A service that talks about itself; what it says of framing stands in the query.
async fn talkative() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(async |uri: axum::http::Uri| {
        let mut headers = Map::new();
        for (name, value) in [
            ("server", "secret-server/1.2.3"),
            ("x-powered-by", "secret-framework/4.5"),
            ("x-aspnet-version", "4.0"),
            ("server-timing", "db;dur=1"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        if let Some(frames) = uri.query() {
            headers.insert("x-frame-options", frames.parse().unwrap());
        }
        (headers, "text").into_response()
    });
    let serving = async move { axum::serve(listener, router).await.unwrap() };
    #[allow(clippy::disallowed_methods, reason = "a test's own upstream")]
    tokio::spawn(serving);
    url
}

fn values<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    answer.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn every_answer_has_them_once_and_says_nothing_of_the_software() {
    let url = talkative().await;
    let rig = Rig::start(&format!(
        "api_keys: {{file: tests/it/config/callers.keys}}\nservices: {{users: {{urls: [\"{url}\"]}}}}\ncors: {{origins: [\"https://a.example\"]}}\nroutes:\n  \
         - {{path: /, service: users}}\n  - {{path: /mine, service: users, access: user}}\n  \
         - {{path: /gone, redirect: /}}\n  - {{path: /fixed, respond: {{status: 200, body: x}}}}\n"
    ))
    .await;
    let cases =
        [("/", 200), ("/mine", 401), ("/gone", 307), ("/fixed", 200), ("/health", 200), ("/a%2fb", 400)];
    for (path, status) in cases {
        let answer = rig.get(path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        for (name, value) in ALWAYS {
            assert_eq!(values(&answer, name), [value], "{path}");
        }
        assert_eq!(values(&answer, "strict-transport-security"), Vec::<&str>::new(), "{path}: not over TLS");
        for name in ["server", "x-powered-by", "x-aspnet-version"] {
            assert_eq!(values(&answer, name), Vec::<&str>::new(), "{path}");
        }
    }
    assert_eq!(values(&rig.get("/").await, "server-timing"), ["db;dur=1"], "is no banner");
    let preflight = rig.request("OPTIONS", "/").header("origin", "https://a.example");
    let answer = rig.send(preflight.header("access-control-request-method", "GET"), "").await;
    assert_eq!((answer.status, values(&answer, "x-content-type-options")), (204, vec!["nosniff"]));
    let broken = rig.raw(b"GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n").await;
    assert!(broken.starts_with("HTTP/1.1 400") && broken.contains("x-frame-options: DENY"), "{broken}");
}

#[tokio::test]
async fn what_the_service_says_stands_and_a_route_may_say_otherwise() {
    let url = talkative().await;
    let yaml = |top: &str| {
        format!(
            "{top}\nservices: {{a: {{urls: [\"{url}\"]}}}}\nroutes:\n  - {{path: /, service: a}}\n  \
             - {{path: /strict, service: a, security_headers: {{overwrite: true, content_security_policy: \"default-src 'self'\"}}}}\n  \
             - {{path: /loose, service: a, security_headers: {{unsafe_omit: [X-Frame-Options], unsafe_keep_banners: true}}}}\n"
        )
    };
    let rig = Rig::start(&yaml("")).await;
    let frames = async |path: &str| {
        let answer = rig.get(path).await;
        (values(&answer, "x-frame-options").join(","), values(&answer, "content-security-policy").join(","))
    };
    assert_eq!(frames("/?SAMEORIGIN").await, ("SAMEORIGIN".to_owned(), String::new()));
    assert_eq!(frames("/strict?SAMEORIGIN").await, ("DENY".to_owned(), "default-src 'self'".to_owned()));
    assert_eq!(frames("/loose").await.0, "");
    let loose = rig.get("/loose").await;
    assert_eq!(
        (loose.header("server"), loose.header("referrer-policy")),
        ("secret-server/1.2.3", ALWAYS[2].1)
    );
    // A reload changes what is said from then on, key by key under what a route says.
    let changes =
        rig.reload(&yaml("security_headers: {frame_options: SAMEORIGIN, resource_policy: same-site}"));
    let changes = changes.unwrap();
    assert_eq!((changes.options, changes.routes.is_empty()), (vec!["security_headers"], false));
    assert_eq!(frames("/").await.0, "SAMEORIGIN");
    assert_eq!(frames("/strict?DENY").await.0, "SAMEORIGIN");
    assert_eq!(rig.get("/loose").await.header("cross-origin-resource-policy"), "same-site");
}

#[tokio::test]
async fn browsers_are_told_to_come_by_tls_alone_over_tls_alone() {
    let (pki, url) = (Pki::new(), talkative().await);
    let certificate = pki.put("one", &pki.server(&["one.example"]));
    let rig = Rig::start(&format!(
        "listen:\n  - address: 127.0.0.1:0\n    tls:\n      certificates:\n        - {certificate}\n  - 127.0.0.1:0\n\
         security_headers: {{hsts: {{max_age: 30d, include_subdomains: true}}}}\nroutes:\n  - {{path: /a, service: \"{url}\"}}\n"
    ))
    .await;
    let config = Arc::new(pki.trusting(None, &["http/1.1"]));
    let mut stream = connect(rig.gateway.addr(), &config, "one.example").await.unwrap();
    let broken = "GET /a HTTP/1.1\r\nHost: one.example\r\nX Y: z\r\n\r\n";
    for request in [GET, "GET /nothing HTTP/1.1\r\nHost: one.example\r\n\r\n", broken] {
        let said = ask(&mut stream, request).await;
        assert!(
            said.contains("\r\nstrict-transport-security: max-age=2592000; includeSubDomains\r\n"),
            "{said}"
        );
    }
    let plain = format!("http://{}/a", rig.gateway.addrs()[1]);
    let answer = rig.send(http::Request::builder().uri(plain), "").await;
    assert_eq!((answer.status, answer.header("strict-transport-security")), (200, ""));
}
