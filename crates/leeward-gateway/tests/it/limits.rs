//! Rate limits with their headers, and the gateway's own limit.

use crate::rig::{Rig, Upstream, token};

async fn rig(more: &str) -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "services:\n  users:\n    urls: [\"{}\"]\njwt: {{service: users}}\ncors: {{origins: [\"https://shop.example\"]}}\n{more}\n\
         routes:\n  - {{path: /, service: users}}\n  - {{path: /mine, service: users, access: user}}\n  \
         - {{path: /search, service: users, rate_limit: 1/h}}\n",
        upstream.url()
    );
    (Rig::start(&yaml).await, upstream)
}

#[tokio::test]
async fn an_address_has_a_limit_and_knows_it() {
    let (rig, upstream) = rig("rate_limits: {address: 3/h, principal: \"off\"}").await;
    let first = rig.get("/a").await;
    assert_eq!(first.header("ratelimit-policy"), "\"address\";q=3;w=3600");
    assert_eq!(first.header("ratelimit"), "\"address\";r=2;t=1200");
    rig.get("/a").await;
    rig.get("/a").await;
    let request = rig.request("GET", "/a").header("origin", "https://shop.example");
    let refused = rig.send(request, "").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert!((1_190..=1_200).contains(&refused.header("retry-after").parse::<u32>().unwrap()), "{refused:?}");
    assert!(refused.header("ratelimit").starts_with("\"address\";r=0;t="));
    assert_eq!(refused.header("access-control-allow-origin"), "https://shop.example");
    assert_eq!(upstream.hits(), 3);
    // A made-up forwarded address is no other address.
    let request = rig.request("GET", "/a").header("x-forwarded-for", "9.9.9.9");
    assert_eq!(rig.send(request, "").await.status, 429);
}

#[tokio::test]
async fn each_user_has_a_limit_of_their_own() {
    let (rig, _upstream) = rig("rate_limits: {address: \"off\", principal: 2/h}").await;
    let (one, two) = (token("u1", "customer"), token("u2", "customer"));
    for _ in 0..2 {
        assert_eq!(rig.get_as(&one, "/mine").await.status, 200);
    }
    let refused = rig.get_as(&one, "/mine").await;
    assert_eq!((refused.status, refused.json()["stage"].as_str()), (429, Some("rate_limit")));
    assert_eq!(rig.get_as(&two, "/mine").await.status, 200);
    assert_eq!(rig.get("/a").await.status, 200);
}

#[tokio::test]
async fn a_route_may_have_one_on_top() {
    let (rig, _upstream) = rig("").await;
    let answer = rig.get("/search").await;
    assert!(
        answer.header("ratelimit-policy").contains("\"address\"")
            && answer.header("ratelimit-policy").contains("\"route\"")
    );
    assert_eq!(rig.get("/search").await.status, 429);
    assert_eq!(rig.get_as(&token("u1", "customer"), "/search").await.status, 429, "nor by one more account");
    assert_eq!(rig.get("/a").await.status, 200);
}

#[tokio::test]
async fn more_than_can_be_served_is_shed() {
    let (rig, _upstream) = rig("concurrency_limit: {limit: 2, queue: 1, max_wait: 50ms}").await;
    let answers = futures_util::future::join_all((0..8).map(|_| rig.get("/a?sleep=300"))).await;
    let shed: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 2, "{answers:?}");
    assert_eq!(shed.len(), 6);
    assert!(
        shed.iter().all(|answer| answer.code() == "overloaded" && !answer.header("retry-after").is_empty())
    );
    assert_eq!(rig.get("/a").await.status, 200, "the permits came back");
}
