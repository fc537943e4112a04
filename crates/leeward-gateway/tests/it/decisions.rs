//! What became of requests, asked of the admin API afterwards.

use std::time::Duration;

use serde_json::Value;

use crate::rig::{Answer, Rig, Upstream, token};

const YAML: &str = "
jwt: {service: orders}
limits: {deadline: 3s}
services:
  orders: {urls: [\"URL\"], attempt_timeout: 200ms, retry: off}
  twins: {urls: [\"http://127.0.0.1:1\", \"URL\"], balance: round_robin, outlier_ejection: off}
  nowhere: {urls: [\"http://127.0.0.1:1\"], retry: off}
routes:
  - {path: /open, service: orders, access: anyone, body: 10B}
  - {path: /mine, service: orders, access: user}
  - {path: /once, id: once, service: orders, access: anyone, rate_limit: 1/h}
  - {path: /twins, id: twins, service: twins, access: anyone}
  - {path: /nowhere, service: nowhere, access: anyone}
";

async fn rig(decisions: &str) -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&format!("decisions: {decisions}{}", YAML.replace("URL", &upstream.url()))).await;
    (rig, upstream)
}

/// The decisions that a query finds, newest first.
async fn found(rig: &Rig, query: &str) -> Vec<Value> {
    let answer = rig.send(rig.admin("GET", &format!("/v1/decisions?{query}")), "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["cores_silent"], 0);
    answer.json()["decisions"].as_array().unwrap().clone()
}

/// The one decision about an answer's request.
async fn about(rig: &Rig, answer: &Answer) -> Value {
    let all = found(rig, &format!("request_id={}", answer.header("x-request-id"))).await;
    assert_eq!(all.len(), 1, "{answer:?}: {all:?}");
    all[0].clone()
}

fn why(decision: &Value) -> String {
    decision["why"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned() + "\n").collect()
}

#[tokio::test]
async fn a_refused_request_says_which_value_of_which_line_decided() {
    let (rig, _upstream) = rig("{keep: 100, sample: 0%}").await;
    assert_eq!(rig.get("/once").await.status, 200);
    let refused = rig.get("/once").await;
    let one = about(&rig, &refused).await;
    for (member, expected) in [
        ("kept", "refused"),
        ("stage", "rate_limit"),
        ("code", "rate_limited"),
        ("route", "once"),
        ("service", "orders"),
        ("path", "/once"),
        ("option", "routes[2].rate_limit"),
    ] {
        assert_eq!(one[member], expected, "{member}: {one}");
    }
    assert!(one["config"].as_str().unwrap().starts_with("leeward.yaml:11:"), "{one}");
    assert_eq!((&one["values"]["limit"], &one["values"]["period_ms"]), (&1.into(), &3_600_000.into()));
    assert_eq!((&one["values"]["remaining"], &one["status"]), (&0.into(), &429.into()));
    let text = why(&one);
    for part in [
        "the gateway answered 429 rate_limited",
        "routes[2].rate_limit (leeward.yaml:11:",
        "limit 1",
        "under a higher limit",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    let refused = rig.send(rig.request("POST", "/open"), "x".repeat(11)).await;
    let one = about(&rig, &refused).await;
    assert_eq!((&one["option"], &one["values"]["bytes_max"]), (&"routes[0].body".into(), &10.into()));
    let refused = rig.get("/mine").await;
    let one = about(&rig, &refused).await;
    assert_eq!((&one["code"], &one["option"]), (&"unauthenticated".into(), &"routes[1].access".into()));
    let refused = rig.get("/nothing/here?a=b").await;
    let one = about(&rig, &refused).await;
    assert_eq!(
        (&one["code"], &one["path"], &one["route"]),
        (&"not_found".into(), &"/nothing/here".into(), &Value::Null)
    );
    assert!(why(&one).contains("it came to no route"));
    // The default of an option stands nowhere, and that is said.
    let refused = rig.get("/nowhere").await;
    let one = about(&rig, &refused).await;
    assert_eq!(
        (&one["code"], &one["attempts"][0]["outcome"]),
        (&"upstream_unavailable".into(), &"not_connected".into())
    );
    let hold = rig.admin("PUT", "/v1/services/orders/breaker").header("content-type", "application/json");
    assert_eq!(rig.send(hold, "{\"state\":\"open\"}").await.status, 204);
    let one = about(&rig, &rig.get("/open").await).await;
    assert_eq!(one["values"]["reason"], "forced-open", "{one}");
    assert_eq!((&one["option"], &one["config"]), (&"services.orders.circuit_breaker".into(), &Value::Null));
    assert!(why(&one).contains("services.orders.circuit_breaker, by its default"), "{}", why(&one));
}

#[tokio::test]
async fn what_took_more_than_one_attempt_is_kept_with_all_of_them() {
    let (rig, upstream) = rig("{keep: 100, sample: 0%}").await;
    let here = upstream.addr.to_string();
    let mut seen = false;
    for _ in 0..4 {
        let answer = rig.get("/twins").await;
        assert_eq!(answer.status, 200);
        let all = found(&rig, &format!("request_id={}", answer.header("x-request-id"))).await;
        let Some(one) = all.first() else { continue };
        seen = true;
        assert_eq!((&one["kept"], &one["code"]), (&"attempts".into(), &Value::Null));
        let attempts = one["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 2, "{one}");
        assert_eq!(
            (&attempts[0]["endpoint"], &attempts[0]["outcome"]),
            (&"127.0.0.1:1".into(), &"not_connected".into())
        );
        assert_eq!((attempts[1]["endpoint"].as_str(), &attempts[1]["status"]), (Some(&*here), &200.into()));
        assert!(why(one).contains("attempt 1 went to 127.0.0.1:1 and found no connection"), "{}", why(one));
    }
    assert!(seen, "round robin asks the dead one every second time");

    let late = rig.get("/open?sleep=5000").await;
    let one = about(&rig, &late).await;
    assert_eq!(
        (&one["code"], &one["attempts"][0]["outcome"]),
        (&"upstream_timeout".into(), &"given_up".into())
    );
    assert_eq!(
        (&one["option"], &one["values"]["attempt_timeout_ms"]),
        (&"services.orders.attempt_timeout".into(), &200.into())
    );
    assert!(
        one["took_ms"].as_f64().unwrap() >= 200.0 && one["attempts"][0]["took_ms"].as_f64().unwrap() >= 100.0
    );
    assert!(one["config"].as_str().unwrap().starts_with("leeward.yaml:5:"), "{one}");
    upstream.fail(true);
    let failed = rig.get("/open").await;
    assert_eq!(failed.status, 503);
    let one = about(&rig, &failed).await;
    assert_eq!(
        (&one["attempts"][0]["outcome"], &one["attempts"][0]["status"]),
        (&"failed".into(), &503.into())
    );
}

#[tokio::test]
async fn of_what_went_well_a_sample_is_kept_and_nothing_that_is_secret() {
    let (rig, _upstream) = rig("{keep: 100, sample: 100%}").await;
    let request = rig
        .request("GET", "/mine?token=of-the-query")
        .header("authorization", format!("Bearer {}", token("anna", "customer")))
        .header("cookie", "sid=of-the-cookie")
        .header("x-api-key", "of-the-header")
        .header("host", "shop.example");
    let answer = rig.send(request, "").await;
    assert_eq!(answer.status, 200);
    let one = about(&rig, &answer).await;
    assert_eq!(
        (&one["kept"], &one["host"], &one["path"]),
        (&"sample".into(), &"shop.example".into(), &"/mine".into())
    );
    let text = one.to_string();
    for secret in ["of-the", "Bearer", &token("anna", "customer")] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let yaml = format!("decisions: {{keep: 100, sample: 0%}}{}", YAML.replace("URL", &_upstream.url()));
    rig.reload(&yaml).unwrap();
    let answer = rig.get("/open").await;
    assert!(found(&rig, &format!("request_id={}", answer.header("x-request-id"))).await.is_empty());
}

#[tokio::test]
async fn they_are_bounded_and_found_by_what_they_say() {
    let (rig, upstream) = rig("{keep: 5, sample: 0%}").await;
    for _ in 0..40 {
        assert_eq!(rig.get("/nothing").await.status, 404);
    }
    assert_eq!(rig.get("/mine").await.status, 401);
    let all = found(&rig, "limit=1000").await;
    assert!(all.len() <= 10, "two cores keep five each: {}", all.len());
    assert_eq!(all[0]["code"], "unauthenticated", "the newest comes first");
    assert_eq!(found(&rig, "limit=3").await.len(), 3);
    assert_eq!(found(&rig, "code=unauthenticated").await.len(), 1);
    assert_eq!(found(&rig, "service=orders").await.len(), 1);
    assert_eq!(found(&rig, "route=nobody").await.len(), 0);
    for query in ["limit=0", "limit=1001", "limit=x", "rout=a"] {
        let answer = rig.send(rig.admin("GET", &format!("/v1/decisions?{query}")), "").await;
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
    }
    // Another size keeps the newest; none keeps nothing.
    let with = |keep: u32| format!("decisions: {{keep: {keep}}}{}", YAML.replace("URL", &upstream.url()));
    rig.reload(&with(1)).unwrap();
    rig.until("both cores have let go", async || found(&rig, "").await.len() <= 2).await;
    assert_eq!(found(&rig, "code=unauthenticated").await.len(), 1);
    rig.reload(&with(0)).unwrap();
    rig.until("nothing is kept", async || found(&rig, "").await.is_empty()).await;
    assert_eq!(rig.get("/nothing").await.status, 404);
    assert!(found(&rig, "").await.is_empty());
}

/// Who asks does not hold up a core, and many at once get their answers or an honest word.
#[tokio::test]
async fn many_may_ask_while_requests_are_served() {
    let (rig, _upstream) = rig("{keep: 1000, sample: 100%}").await;
    let asked = async {
        for _ in 0..50 {
            found(&rig, "").await;
        }
    };
    let served = async {
        for _ in 0..100 {
            assert_eq!(rig.get("/open").await.status, 200);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(asked, served) }).await.unwrap();
}
