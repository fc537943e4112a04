//! Policies that a route has for itself, beside those that it shares with all that ask its service.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::rig::{Rig, Upstream};

/// Two routes to one service, of which the first has something for itself.
fn yaml(upstream: &Upstream, service: &str, own: &str) -> String {
    format!(
        "services:\n  one: {{urls: [\"{}\"]{service}}}\nroutes:\n  - {{path: /own, id: own, service: one{own}}}\n  - {{path: /, service: one}}\n",
        upstream.url()
    )
}

const BREAKER: &str = ", circuit_breaker: {consecutive_failures: 2, break_initial: 1m, break_max: 1m}";

/// A gateway whose first route has a breaker for itself, which has opened. The service is well again.
async fn broken(upstream: &Upstream) -> Rig {
    let rig = Rig::start(&yaml(upstream, ", retry: off", BREAKER)).await;
    upstream.fail(true);
    for _ in 0..2 {
        assert_eq!(rig.get("/own").await.status, 503);
    }
    upstream.fail(false);
    rig
}

#[tokio::test]
async fn retries_of_a_route_are_its_own() {
    let upstream = Upstream::start().await;
    let service = ", retry: {max_retries: 1, backoff_base: 1ms, budget: {floor: 100}}";
    let rig = Rig::start(&yaml(&upstream, service, ", retry: off")).await;
    upstream.fail(true);
    assert_eq!(rig.get("/own").await.status, 503);
    assert_eq!(upstream.hits(), 1);
    assert_eq!(rig.get("/other").await.status, 503);
    assert_eq!(upstream.hits(), 3);
}

#[tokio::test]
async fn a_breaker_of_a_route_breaks_for_it_alone() {
    let upstream = Upstream::start().await;
    let rig = broken(&upstream).await;
    let refused = rig.get("/own").await;
    assert_eq!((refused.status, refused.code()), (503, "breaker_open".to_owned()));
    assert_eq!(rig.get("/other").await.status, 200);
    let hits = upstream.hits();
    assert_eq!(rig.get("/own").await.status, 503);
    assert_eq!(upstream.hits(), hits, "it is not asked");
}

#[tokio::test]
async fn a_breaker_of_the_service_breaks_for_routes_that_have_only_something_else_for_themselves() {
    let upstream = Upstream::start().await;
    let service =
        ", retry: off, circuit_breaker: {consecutive_failures: 2, break_initial: 1m, break_max: 1m}";
    let rig = Rig::start(&yaml(&upstream, service, ", concurrency_limit: {limit: 5}")).await;
    upstream.fail(true);
    assert_eq!(rig.get("/own").await.status, 503);
    assert_eq!(rig.get("/other").await.status, 503);
    upstream.fail(false);
    assert_eq!(rig.get("/own").await.code(), "breaker_open");
    assert_eq!(rig.get("/other").await.code(), "breaker_open");
}

#[tokio::test]
async fn a_limit_of_a_route_leaves_room_for_others() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&yaml(&upstream, "", ", concurrency_limit: {limit: 1}")).await;
    let slow = rig.get("/own?sleep=1500");
    let others = async {
        rig.until("it is on its way", async || upstream.hits() == 1).await;
        let refused = rig.get("/own").await;
        assert_eq!((refused.status, refused.code()), (503, "overloaded".to_owned()));
        assert_eq!(rig.get("/other").await.status, 200);
    };
    let (slow, ()) = tokio::join!(slow, others);
    assert_eq!(slow.status, 200);
}

#[tokio::test]
async fn an_attempt_of_a_route_has_its_own_time() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&yaml(&upstream, ", retry: off", ", attempt_timeout: 100ms")).await;
    let began = Instant::now();
    let late = rig.get("/own?sleep=3000").await;
    assert_eq!((late.status, late.code()), (504, "upstream_timeout".to_owned()));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(rig.get("/other?sleep=300").await.status, 200);
}

#[tokio::test]
async fn an_endpoint_that_hangs_longer_than_the_routes_attempts_is_a_bad_one() {
    let good = Upstream::start().await;
    // Connections come about, and nobody ever reads from them.
    let bad = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let yaml = format!(
        "services:\n  one: {{urls: [\"{}\", \"http://{}\"], retry: off, balance: round_robin, outlier_ejection: {{consecutive_failures: 3}}}}\n\
         routes:\n  - {{path: /, service: one, attempt_timeout: 100ms}}\n",
        good.url(),
        bad.local_addr().unwrap()
    );
    let rig = Rig::start(&yaml).await;
    rig.until("it is left alone", async || {
        let _answer = rig.get("/").await;
        let views = rig.send(rig.admin("GET", "/v1/services"), "").await.json();
        views.to_string().contains("\"ejected_because\":\"consecutive")
    })
    .await;
}

#[tokio::test]
async fn a_shadow_only_says_what_it_would_do() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&yaml(&upstream, "", ", concurrency_limit: {limit: 1, mode: shadow}")).await;
    let slow = rig.get("/own?sleep=700");
    let others = async {
        rig.until("it is on its way", async || upstream.hits() == 1).await;
        assert_eq!(rig.get("/own").await.status, 200);
    };
    let (slow, ()) = tokio::join!(slow, others);
    assert_eq!(slow.status, 200);
    let told = rig.metrics().await;
    assert!(told.contains("leeward_policy_shadowed_total{policy=\"route own to one\""), "{told}");
}

#[tokio::test]
async fn a_reload_keeps_what_they_have_learnt() {
    let upstream = Upstream::start().await;
    let rig = broken(&upstream).await;
    // Another part becomes the route's own, and one of the service's changes.
    let more = BREAKER.to_owned() + ", concurrency_limit: {limit: 7}";
    rig.reload(&yaml(&upstream, ", retry: off, concurrency_limit: {limit: 9}", &more)).unwrap();
    assert_eq!(rig.get("/own").await.code(), "breaker_open");
    let explained = rig.gateway.explain();
    assert!(explained.contains("limit 7, queue"), "{explained}");
    // Without one of its own it is as good as the service's.
    rig.reload(&yaml(
        &upstream,
        ", retry: off, concurrency_limit: {limit: 9}",
        ", concurrency_limit: {limit: 7}",
    ))
    .unwrap();
    assert_eq!(rig.get("/own").await.status, 200);
    // What only the service has changed is in force for the route as well.
    let service =
        ", retry: off, circuit_breaker: {consecutive_failures: 1, break_initial: 1m, break_max: 1m}";
    rig.reload(&yaml(&upstream, service, ", concurrency_limit: {limit: 7}")).unwrap();
    upstream.fail(true);
    assert_eq!(rig.get("/own").await.status, 503);
    assert_eq!(rig.get("/own").await.code(), "breaker_open");
}

#[tokio::test]
async fn what_its_service_gets_or_gives_up_the_route_does_too() {
    let upstream = Upstream::start().await;
    let own = ", concurrency_limit: {limit: 7}";
    let with = |own: &str| yaml(&upstream, ", retry: off, circuit_breaker: off", own);
    // What the route has for itself comes together with the service's breaker.
    let rig = Rig::start(&with("")).await;
    rig.reload(&yaml(&upstream, &format!(", retry: off{BREAKER}"), own)).unwrap();
    upstream.fail(true);
    for _ in 0..2 {
        assert_eq!(rig.get("/own").await.status, 503);
    }
    upstream.fail(false);
    assert_eq!(rig.get("/own").await.code(), "breaker_open");
    rig.reload(&with(own)).unwrap();
    assert_eq!(rig.get("/own").await.status, 200);
}

#[tokio::test]
async fn series_of_a_route_that_is_gone_are_gone() {
    let upstream = Upstream::start().await;
    let own = ", circuit_breaker: {consecutive_failures: 1}";
    let rig = Rig::start(&yaml(&upstream, ", retry: off", own)).await;
    upstream.fail(true);
    assert_eq!(rig.get("/own").await.status, 503);
    let is_told = async || rig.metrics().await.contains("leeward_breaker_state{policy=\"route own to one\"");
    assert!(is_told().await);
    rig.reload(&yaml(&upstream, ", retry: off", "")).unwrap();
    assert!(!is_told().await);
}

#[tokio::test]
async fn a_part_that_is_given_up_has_no_series_and_what_stays_is_not_another_version() {
    let upstream = Upstream::start().await;
    let own = ", concurrency_limit: {limit: 7}";
    let more = format!("{own}, circuit_breaker: {{consecutive_failures: 1}}");
    let rig = Rig::start(&yaml(&upstream, ", retry: off", &more)).await;
    upstream.fail(true);
    assert_eq!(rig.get("/own").await.status, 503);
    let told =
        async |series: &str| rig.metrics().await.contains(&format!("{series}{{policy=\"route own to one\""));
    assert!(told("leeward_breaker_state").await);
    rig.reload(&yaml(&upstream, ", retry: off", &(more.clone() + ", body: 1KiB"))).unwrap();
    assert!(told("leeward_breaker_state").await);
    assert!(!told("leeward_policy_options_version").await, "{}", rig.metrics().await);
    rig.reload(&yaml(&upstream, ", retry: off", own)).unwrap();
    assert!(!told("leeward_breaker_state").await);
    // Another version of what it still has.
    rig.reload(&yaml(&upstream, ", retry: off", ", concurrency_limit: {limit: 8}")).unwrap();
    assert!(told("leeward_policy_options_version").await, "{}", rig.metrics().await);
}

#[tokio::test]
async fn each_service_of_a_split_has_them_apart() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let yaml = format!(
        "services:\n  one: {{urls: [\"{}\"], retry: off}}\n  two: {{urls: [\"{}\"], retry: off}}\n\
         routes:\n  - {{path: /, id: both, split: {{one: 50%, two: 50%}}, deal: turns, circuit_breaker: {{consecutive_failures: 2, break_initial: 1m, break_max: 1m}}}}\n",
        one.url(),
        two.url()
    );
    let rig = Rig::start(&yaml).await;
    one.fail(true);
    let mut codes = Vec::new();
    for _ in 0..12 {
        codes.push(rig.get("/").await.status);
    }
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), 6, "{codes:?}");
    assert_eq!(one.hits(), 2);
    let told = rig.metrics().await;
    assert!(told.contains("leeward_breaker_state{policy=\"route both to one\"} 2"), "{told}");
}

#[tokio::test]
async fn operators_see_whose_policy_it_was() {
    let upstream = Upstream::start().await;
    let own = ", circuit_breaker: {consecutive_failures: 1, break_initial: 1m, break_max: 1m}";
    let rig = Rig::start(&yaml(&upstream, ", retry: off", own)).await;
    upstream.fail(true);
    let _first = rig.get("/own").await;
    let refused = rig.get("/own").await;
    assert_eq!(refused.code(), "breaker_open");
    let routes = rig.send(rig.admin("GET", "/v1/routes"), "").await.json();
    let policies = &routes[0]["policies"][0];
    assert_eq!(policies["own"], serde_json::json!(["circuit_breaker"]));
    assert_eq!(policies["breaker"], "open");
    assert!(policies["policies"].as_str().unwrap().contains("breaker"), "{policies}");
    assert!(routes[1].get("policies").is_none());
    let why = rig.send(rig.admin("GET", "/v1/decisions"), "").await.json().to_string();
    assert!(why.contains("routes[0].circuit_breaker"), "{why}");
}
