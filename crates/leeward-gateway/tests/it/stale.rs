//! Last good copies, for when a service is down.

use crate::rig::{Rig, Upstream, token};

async fn rig() -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "services:\n  catalog:\n    urls: [\"{}\"]\n    retry: {{max_retries: 0}}\n    circuit_breaker: {{consecutive_failures: 2}}\n\
         jwt: {{service: catalog}}\nroutes:\n  - {{path: /products, service: catalog, stale_if_error: 10m}}\n  \
         - {{path: /mine, service: catalog, access: user}}\n",
        upstream.url()
    );
    (Rig::start(&yaml).await, upstream)
}

#[tokio::test]
async fn a_product_page_survives_its_service() {
    let (rig, upstream) = rig().await;
    let fresh = rig.get("/products?page=1").await;
    assert_eq!((fresh.status, fresh.header("x-leeward-stale")), (200, ""));
    upstream.fail(true);
    for _ in 0..5 {
        let stale = rig.get("/products?page=1").await;
        assert_eq!((stale.status, stale.header("x-leeward-stale")), (200, "true"));
        assert_eq!(stale.body, fresh.body);
        assert_eq!(stale.header("content-type"), "application/json");
        assert!(stale.header("warning").starts_with("110") && !stale.header("age").is_empty());
        assert_ne!(stale.header("x-request-id"), fresh.header("x-request-id"));
    }
    assert_eq!(rig.get("/products?page=2").await.status, 503, "nobody saw that page");
    assert_eq!(rig.send(rig.request("POST", "/products?page=1"), "x").await.status, 503);
    upstream.fail(false);
    drop(upstream);
    assert_eq!(rig.get("/products?page=1").await.header("x-leeward-stale"), "true", "down altogether");
}

#[tokio::test]
async fn nothing_of_one_user_is_kept() {
    let (rig, upstream) = rig().await;
    let personal = rig.get_as(&token("u1", "customer"), "/products").await;
    assert_eq!(personal.seen("x-user-id"), "", "such a route learns nobody's name");
    assert_eq!(personal.seen("authorization"), "");
    let cookie = rig.request("GET", "/products/7").header("cookie", "session=1");
    assert_eq!(rig.send(cookie, "").await.status, 200);
    assert_eq!(rig.get_as(&token("u1", "customer"), "/mine").await.status, 200);
    upstream.fail(true);
    assert_eq!(rig.get("/products").await.header("x-leeward-stale"), "true");
    assert_eq!(rig.get("/products/7").await.status, 503, "the answer to a cookie is not kept");
    assert_eq!(rig.get_as(&token("u1", "customer"), "/mine").await.status, 503);
}

#[tokio::test]
async fn a_token_that_the_service_checks_itself_gets_no_copy_and_leaves_none() {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "services:\n  catalog:\n    urls: [\"{}\"]\n    retry: {{max_retries: 0}}\n\
         routes:\n  - {{path: /products, service: catalog, stale_if_error: 10m}}\n",
        upstream.url()
    );
    let rig = Rig::start(&yaml).await;
    let mine = rig.get_as("of-u1", "/products").await;
    assert_eq!(mine.seen("authorization"), "Bearer of-u1", "without `jwt` the service checks tokens");
    assert_eq!(rig.get("/products/7").await.status, 200);
    upstream.fail(true);
    assert_eq!(rig.get_as("of-u2", "/products").await.status, 503, "not what the service told u1");
    assert_eq!(rig.get("/products").await.status, 503);
    assert_eq!(rig.get("/products/7").await.header("x-leeward-stale"), "true");
    assert_eq!(
        rig.get_as("of-u2", "/products/7").await.status,
        503,
        "nor a copy in place of u2's own answer"
    );
}

#[tokio::test]
async fn each_page_has_its_own_copy() {
    let (rig, upstream) = rig().await;
    let from = |origin: &str| rig.request("GET", "/products").header("origin", origin);
    assert_eq!(rig.send(from("https://one.example"), "").await.status, 200);
    upstream.fail(true);
    assert_eq!(rig.send(from("https://one.example"), "").await.header("x-leeward-stale"), "true");
    assert_eq!(rig.send(from("https://two.example"), "").await.status, 503);
}
