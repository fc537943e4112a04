//! Cross-origin requests, also where the gateway answers itself.

use crate::rig::{Rig, Upstream};

async fn rig() -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "services:\n  users:\n    urls: [\"{}\"]\njwt: {{service: users}}\n\
         cors: {{origins: [\"https://shop.example\"], credentials: true}}\nroutes:\n  \
         - {{path: /open, service: users, methods: [GET, PUT]}}\n  - {{path: /mine, service: users, access: user}}\n",
        upstream.url()
    );
    (Rig::start(&yaml).await, upstream)
}

#[tokio::test]
async fn a_preflight_is_answered_here() {
    let (rig, upstream) = rig().await;
    let preflight = |origin: &'static str, method: &'static str| {
        rig.request("OPTIONS", "/open")
            .header("origin", origin)
            .header("access-control-request-method", method)
    };
    let answer = rig.send(preflight("https://shop.example", "PUT"), "").await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert!(answer.header("access-control-allow-headers").contains("idempotency-key"));
    assert_eq!(answer.header("access-control-max-age"), "600");
    let answer = rig.send(preflight("https://evil.example", "PUT"), "").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, ""));
    assert_eq!(rig.send(preflight("https://shop.example", "DELETE"), "").await.status, 405);
    assert_eq!(upstream.hits(), 0);
}

#[tokio::test]
async fn every_answer_has_the_headers() {
    let (rig, _upstream) = rig().await;
    let from = |path: &str| rig.request("GET", path).header("origin", "https://shop.example");
    for (path, status) in [("/open", 200), ("/mine", 401), ("/nothing", 404), ("/open%2fa", 400)] {
        let answer = rig.send(from(path), "").await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example", "{path}");
        assert!(answer.header("access-control-expose-headers").contains("ratelimit"), "{path}");
        let varies = answer.headers.get_all("vary").iter().any(|value| value == "origin");
        assert!(varies, "{path}");
    }
    let answer = rig.send(rig.request("GET", "/open").header("origin", "null"), "").await;
    assert_eq!(answer.header("access-control-allow-origin"), "", "not the service's own either");
}
