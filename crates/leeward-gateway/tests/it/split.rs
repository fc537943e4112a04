//! Several services behind one route.

use std::sync::Arc;

use leeward_resilience::FastRng;
use leeward_service::identity::Identity;

use crate::rig::{Rig, Upstream, token};

/// A gateway in front of two services, and a route `/a` with these options. The same numbers come up each time.
async fn rig(route: &str, more: &str) -> (Rig, Upstream, Upstream) {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let text = yaml(&one, &two, route, more);
    let rig = Rig::with(&text, |builder| {
        builder.rng(Arc::new(FastRng::seeded(7))).identity(Identity::ephemeral("gateway").unwrap())
    });
    (rig.await, one, two)
}

fn yaml(one: &Upstream, two: &Upstream, route: &str, more: &str) -> String {
    format!(
        "rate_limits: {{address: \"off\", principal: \"off\"}}\nservices:\n  one: {{urls: [\"{}\"]{more}}}\n  two: {{urls: [\"{}\"]}}\n\
         routes:\n  - {{path: /a, {route}}}\n  - {{path: /one, service: one}}\n",
        one.url(),
        two.url()
    )
}

#[tokio::test]
async fn turns_give_each_service_exactly_its_share() {
    let (rig, one, two) = rig("id: a, split: {one: 90%, two: 10%}, deal: turns", "").await;
    for _ in 0..100 {
        assert_eq!(rig.get("/a").await.status, 200);
    }
    assert_eq!((one.hits(), two.hits()), (90, 10));
    let metrics = rig.metrics().await;
    for line in [
        "leeward_gateway_split_requests_total{route=\"a\",service=\"one\"} 90",
        "leeward_gateway_split_requests_total{route=\"a\",service=\"two\"} 10",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn chance_comes_near_the_shares_and_never_to_one_without() {
    let (rig, one, two) = rig("split: {one: 3, two: 1}", "").await;
    for _ in 0..400 {
        assert_eq!(rig.get("/a").await.status, 200);
    }
    // Four standard deviations of 400 draws.
    assert!((66..=134).contains(&two.hits()), "{} of 400, with a share of 25 %", two.hits());
    assert_eq!(one.hits() + two.hits(), 400);

    rig.reload(&yaml(&one, &two, "split: {one: 0, two: 1}", "")).unwrap();
    let before = one.hits();
    for _ in 0..40 {
        assert_eq!(rig.get("/a").await.header("x-service-name"), "two");
    }
    assert_eq!(one.hits(), before);
}

#[tokio::test]
async fn whatever_belongs_to_a_service_follows_the_choice() {
    let route = "split: {one: 1, two: 1}, deal: turns, access: user";
    let yaml = |one: &Upstream, two: &Upstream| {
        let text = yaml(one, two, route, ", attempt_timeout: 50ms, retry: \"off\"");
        format!("jwt: {{service: two}}\n{text}")
    };
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let rig =
        Rig::with(&yaml(&one, &two), |builder| builder.identity(Identity::ephemeral("gateway").unwrap()))
            .await;
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..4 {
        let answer = rig.get_as(&token("anna", "customer"), "/a?sleep=300").await;
        seen.insert(answer.header("x-service-name").to_owned(), answer);
    }
    let (of_one, of_two) = (&seen["one"], &seen["two"]);
    assert_eq!((of_one.status, of_one.code().as_str()), (504, "upstream_timeout"), "its own timeout");
    assert_eq!(of_two.status, 200);
    let assertion = of_two.seen("x-leeward-assertion");
    let claims = assertion.split('.').nth(1).unwrap();
    let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], "two");
    // Nobody is chosen for a request that goes no further.
    let refused = rig.get("/a").await;
    assert_eq!((refused.status, refused.header("x-service-name")), (401, "gateway"));
}

#[tokio::test]
async fn a_copy_of_one_service_never_stands_in_for_another() {
    let (rig, one, two) = rig("split: {one: 1, two: 0}, stale_if_error: 1m", ", retry: \"off\"").await;
    assert_eq!(rig.get("/a").await.status, 200);
    one.fail(true);
    let stale = rig.get("/a").await;
    assert_eq!((stale.status, stale.header("x-leeward-stale")), (200, "true"));
    two.fail(true);
    rig.reload(&yaml(&one, &two, "split: {one: 0, two: 1}, stale_if_error: 1m", "")).unwrap();
    assert_eq!(rig.get("/a").await.status, 503);
}

#[tokio::test]
async fn operators_see_the_shares_and_what_a_reload_changed() {
    let (rig, one, two) = rig("split: {one: 2, two: 1}", "").await;
    let routes = rig.send(rig.admin("GET", "/v1/routes"), "").await.json();
    assert_eq!(routes[0]["service"], "one 66.67%, two 33.33%");
    // A service may be named by its URL, as everywhere.
    let split = format!("split: {{\"{}\": 100%, two: 0%}}", one.url());
    let changes = rig.reload(&yaml(&one, &two, &split, "")).unwrap();
    assert_eq!(changes.routes.changed, ["/a"]);
    assert_eq!(rig.get("/a").await.header("x-service-name"), one.addr.to_string());
}
