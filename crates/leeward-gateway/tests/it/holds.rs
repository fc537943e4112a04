//! What operators hold for a time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{Answer, Rig, Upstream};

async fn rig(top: &str) -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "{top}\nservices: {{orders: {{urls: [\"{}\"], retry: off}}}}\nroutes: [{{path: /, service: orders}}]\n",
        upstream.url()
    );
    (Rig::start(&yaml).await, upstream)
}

async fn act(rig: &Rig, method: &str, path: &str, body: Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    rig.send(rig.admin(method, path).header("content-type", "application/json"), body).await
}

async fn holds(rig: &Rig) -> Value {
    act(rig, "GET", "/v1/holds", Value::Null).await.json()
}

const BREAKER: &str = "/v1/services/orders/breaker";

#[tokio::test]
async fn a_breaker_is_held_for_a_time_and_everybody_can_see_it() {
    let (rig, upstream) = rig("").await;
    let open = json!({"state": "open", "lasts": "2s", "reason": "the disk is full"});
    assert_eq!(act(&rig, "PUT", BREAKER, open).await.status, 204);
    assert_eq!(rig.get("/").await.code(), "breaker_open");
    let held = holds(&rig).await["held"][0].clone();
    assert_eq!(
        (&held["state"], &held["service"], &held["reason"]),
        (&json!("open"), &json!("orders"), &json!("the disk is full"))
    );
    let services = act(&rig, "GET", "/v1/services", Value::Null).await.json();
    let orders = services.as_array().unwrap().iter().find(|one| one["name"] == "orders").unwrap();
    assert_eq!(orders["held"]["state"], "open");
    let health = act(&rig, "GET", "/v1/health", Value::Null).await.json();
    assert!(
        health["checks"]["held"]["value"].as_str().unwrap().starts_with("breaker of orders held open for"),
        "{health}"
    );
    assert!(
        rig.gateway.explain().contains("an operator has breaker of orders held open"),
        "{}",
        rig.gateway.explain()
    );

    // It ends by itself.
    rig.until("the breaker is let go", async || rig.get("/").await.status == 200).await;
    assert_eq!(holds(&rig).await["held"], json!([]));
    // Closed on purpose it lets everything pass, also what fails.
    assert_eq!(act(&rig, "PUT", BREAKER, json!({"state": "closed"})).await.status, 204);
    upstream.fail(true);
    for _ in 0..40 {
        assert_eq!(rig.get("/").await.status, 503);
    }
    assert_eq!(upstream.hits(), 41);
    assert_eq!(act(&rig, "PUT", BREAKER, json!({"state": "auto"})).await.status, 204);
    let acts = holds(&rig).await["acts"].clone();
    let to: Vec<&str> = acts.as_array().unwrap().iter().map(|act| act["to"].as_str().unwrap()).collect();
    assert_eq!(to, ["auto", "closed", "ended", "open"]);
}

#[tokio::test]
async fn a_hold_goes_with_its_breaker_and_stays_with_one_that_goes_on() {
    let upstream = Upstream::start().await;
    let with = |service: &str, more: &str| {
        format!(
            "services: {{{service}: {{urls: [\"{}\"], retry: off{more}}}}}\nroutes: [{{path: /, service: {service}}}]\n",
            upstream.url()
        )
    };
    let rig = Rig::start(&with("orders", "")).await;
    assert_eq!(act(&rig, "PUT", BREAKER, json!({"state": "open", "lasts": "1h"})).await.status, 204);
    rig.reload(&with("orders", ", read_timeout: 9s")).unwrap();
    assert_eq!(rig.get("/").await.code(), "breaker_open", "it is the same one");
    for without in [with("orders", ", circuit_breaker: off"), with("others", "")] {
        assert_eq!(act(&rig, "PUT", BREAKER, json!({"state": "open", "lasts": "1h"})).await.status, 204);
        rig.reload(&without).unwrap();
        assert_eq!(holds(&rig).await["held"], json!([]), "what is not there is not held");
        assert_eq!(holds(&rig).await["acts"][0]["to"], "gone");
        rig.reload(&with("orders", "")).unwrap();
        assert_eq!((rig.get("/").await.status, holds(&rig).await["held"].clone()), (200, json!([])));
    }
}

#[tokio::test]
async fn nothing_is_held_for_ever_and_a_slip_is_a_mistake() {
    let (rig, _upstream) = rig("").await;
    for (method, path, body) in [
        ("PUT", BREAKER, json!({"state": "open", "lasts": "25h"})),
        ("PUT", BREAKER, json!({"state": "open", "lasts": "0s"})),
        ("PUT", BREAKER, json!({"state": "open", "lasts": 5})),
        ("PUT", BREAKER, json!({"state": "ajar"})),
        ("PUT", BREAKER, json!({"state": "open", "for": "5m"})),
        ("PUT", BREAKER, json!({"state": "open", "reason": "two\nlines"})),
        ("PUT", BREAKER, json!({"state": "open", "reason": "x".repeat(201)})),
        ("POST", "/v1/drain", json!({"lasts": "2 weeks"})),
    ] {
        let answer = act(&rig, method, path, body.clone()).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    let answer = act(&rig, "PUT", "/v1/services/nobody/breaker", json!({"state": "open"})).await;
    assert_eq!(answer.status, 404);
    let seen = holds(&rig).await;
    assert_eq!((&seen["held"], &seen["acts"]), (&json!([]), &json!([])), "none of it did anything");
    assert_eq!(rig.get("/").await.status, 200);
    for _ in 0..300 {
        act(&rig, "PUT", BREAKER, json!({"state": "auto"})).await;
    }
    assert_eq!(holds(&rig).await["acts"].as_array().unwrap().len(), 256);
}

#[tokio::test]
async fn a_drained_gateway_answers_and_says_that_others_should_be_asked() {
    let (rig, _upstream) = rig("").await;
    let mut idle = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut chunk = [0; 4_096];
    assert!(idle.read(&mut chunk).await.unwrap() > 0);
    assert_eq!(act(&rig, "DELETE", "/v1/drain", Value::Null).await.code(), "not_drained");

    assert_eq!(act(&rig, "POST", "/v1/drain", Value::Null).await.status, 204);
    assert_eq!((rig.get("/health/ready").await.status, rig.get("/health/live").await.status), (503, 200));
    let answer = rig.get("/").await;
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert!(!rig.gateway.is_ready());
    // The connection without a request comes to its end.
    let ended = async { while idle.read(&mut chunk).await.unwrap_or(0) > 0 {} };
    tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();

    assert_eq!(act(&rig, "DELETE", "/v1/drain", Value::Null).await.status, 204);
    assert_eq!(rig.get("/health/ready").await.status, 200);
    let answer = rig.get("/").await;
    assert_eq!((answer.status, answer.header("connection")), (200, ""));
    // A drain that nobody takes back ends too.
    assert_eq!(act(&rig, "POST", "/v1/drain", json!({"lasts": "1s"})).await.status, 204);
    assert!(!rig.gateway.is_ready());
    rig.until("it is ready again", async || rig.gateway.is_ready()).await;
    let answer = rig.get("/").await;
    assert_eq!((answer.status, answer.header("connection")), (200, ""));
}

const FAULTS: &str = "/v1/services/orders/faults";

#[tokio::test]
async fn calls_are_broken_on_purpose_where_that_is_allowed() {
    let (rig, upstream) = rig("admin: {faults: true}").await;
    assert_eq!(act(&rig, "PUT", FAULTS, json!({"error_percent": 100, "lasts": "5m"})).await.status, 204);
    let answer = rig.get("/").await;
    assert_eq!((answer.status, answer.code().as_str(), upstream.hits()), (503, "upstream_unavailable", 0));
    assert_eq!(holds(&rig).await["faults"][0]["error_percent"], 100.0);
    assert!(
        act(&rig, "GET", "/v1/health", Value::Null).await.json()["checks"]["held"]["value"]
            == "faults at orders"
    );
    assert_eq!(act(&rig, "DELETE", FAULTS, Value::Null).await.status, 204);
    assert_eq!(rig.get("/").await.status, 200);
    assert_eq!(act(&rig, "PUT", FAULTS, json!({"latency_ms": 300})).await.status, 204);
    let begun = tokio::time::Instant::now();
    assert_eq!(rig.get("/").await.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(
        act(&rig, "PUT", FAULTS, json!({"error_percent": 60, "refuse_percent": 60})).await.status,
        422
    );
    assert_eq!(act(&rig, "PUT", FAULTS, json!({"error": 60})).await.status, 400);
    // They end by themselves.
    assert_eq!(act(&rig, "PUT", FAULTS, json!({"error_percent": 100, "lasts": "1s"})).await.status, 204);
    rig.until("the experiment is over", async || rig.get("/").await.status == 200).await;
    assert_eq!(holds(&rig).await["faults"], json!([]));
}

#[tokio::test]
async fn faults_are_off_unless_the_gateway_was_started_with_them() {
    let (rig, upstream) = rig("").await;
    let answer = act(&rig, "PUT", FAULTS, json!({"error_percent": 100})).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "faults_off"));
    assert_eq!(rig.get("/").await.status, 200);
    let yaml = format!("admin: {{faults: true}}\nroutes: [{{path: /, service: \"{}\"}}]", upstream.url());
    let error = rig.reload(&yaml).unwrap_err().to_string();
    assert!(error.contains("`admin.faults`"), "{error}");
}

/// Two endpoints that are asked in turns.
async fn pair(top: &str) -> (Rig, Upstream, Upstream) {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let yaml = format!(
        "{top}\nservices: {{orders: {{urls: [\"{}\", \"{}\"], retry: off, balance: round_robin, slow_start: off, panic_threshold: 0%, \
         outlier_ejection: {{consecutive_failures: 3, ejection_base: 10m, ejection_max: 10m}}}}}}\n\
         routes: [{{path: /, id: all, service: orders}}]\n",
        one.url(),
        two.url()
    );
    (Rig::start(&yaml).await, one, two)
}

async fn hold(rig: &Rig, upstream: &Upstream, body: Value) -> Answer {
    act(rig, "PUT", &format!("/v1/services/orders/endpoints/{}", upstream.addr), body).await
}

/// How many of 10 requests each of two got.
async fn shares(rig: &Rig, one: &Upstream, two: &Upstream) -> (usize, usize) {
    let before = (one.hits(), two.hits());
    for _ in 0..10 {
        rig.get("/").await;
    }
    (one.hits() - before.0, two.hits() - before.1)
}

async fn endpoint(rig: &Rig, upstream: &Upstream) -> Value {
    let services = act(rig, "GET", "/v1/services", Value::Null).await.json();
    let orders = services.as_array().unwrap().iter().find(|one| one["name"] == "orders").unwrap().clone();
    let endpoints = orders["endpoints"].as_array().unwrap().clone();
    endpoints.into_iter().find(|one| one["id"] == upstream.addr.to_string()).unwrap()
}

#[tokio::test]
async fn one_endpoint_is_drained_and_taken_back() {
    let (rig, one, two) = pair("").await;
    assert_eq!(shares(&rig, &one, &two).await, (5, 5));
    // A request that is on its way ends.
    let slow = rig.get("/?sleep=300");
    let drain = async {
        rig.until("somebody has it", async || one.hits() + two.hits() > 10).await;
        let busy = if one.hits() > 5 { &one } else { &two };
        let body = json!({"state": "drained", "lasts": "1h", "reason": "a new disk"});
        assert_eq!(hold(&rig, busy, body).await.status, 204);
        busy
    };
    let (answer, drained) = tokio::join!(slow, drain);
    assert_eq!(answer.status, 200);
    let others = if std::ptr::eq(drained, &one) { (0, 10) } else { (10, 0) };
    assert_eq!(shares(&rig, &one, &two).await, others);
    let seen = endpoint(&rig, drained).await;
    assert_eq!((&seen["held"]["state"], &seen["held"]["reason"]), (&json!("drained"), &json!("a new disk")));
    let held = holds(&rig).await["held"][0].clone();
    assert_eq!((&held["of"], &held["endpoint"]), (&json!("endpoint"), &json!(drained.addr.to_string())));
    assert!(rig.gateway.explain().contains("of orders held drained"), "{}", rig.gateway.explain());
    // The service's own hold is another thing.
    let services = act(&rig, "GET", "/v1/services", Value::Null).await.json();
    assert!(services.as_array().unwrap().iter().all(|service| service["held"].is_null()), "{services}");

    // The last one cannot be: nobody would be left.
    let other = if std::ptr::eq(drained, &one) { &two } else { &one };
    let refused = hold(&rig, other, json!({"state": "drained"})).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "not_held"));
    assert_eq!(shares(&rig, &one, &two).await, others, "not even when the others fail");
    assert_eq!(hold(&rig, drained, json!({"state": "auto"})).await.status, 204);
    assert_eq!(shares(&rig, &one, &two).await, (5, 5));
    let to: Vec<Value> =
        holds(&rig).await["acts"].as_array().unwrap().iter().map(|act| act["to"].clone()).collect();
    assert_eq!(to, ["auto", "drained"]);
    assert_eq!(
        act(&rig, "PUT", "/v1/services/orders/endpoints/nobody", json!({"state": "auto"})).await.status,
        404
    );
    assert_eq!(hold(&rig, &one, json!({"state": "out"})).await.status, 400);
}

#[tokio::test]
async fn an_endpoint_is_ejected_or_kept_in_by_hand_and_shows_why_it_was_by_itself() {
    let (rig, one, two) = pair("").await;
    // By itself: it fails, and the other does not.
    one.fail(true);
    rig.until("it is ejected", async || {
        rig.get("/").await;
        endpoint(&rig, &one).await["ejected_because"] == "consecutive_failures"
    })
    .await;
    assert!(endpoint(&rig, &one).await["ejected_for_ms"].as_u64().unwrap() > 500_000);
    assert_eq!(shares(&rig, &one, &two).await, (0, 10));
    // Kept in, whatever becomes of its calls.
    assert_eq!(hold(&rig, &one, json!({"state": "in"})).await.status, 204);
    for _ in 0..3 {
        assert_eq!(shares(&rig, &one, &two).await, (5, 5));
    }
    let seen = endpoint(&rig, &one).await;
    assert_eq!((&seen["held"]["state"], &seen["ejected_for_ms"]), (&json!("in"), &Value::Null));
    // Out by hand, though it does well, and back by itself when the time is over.
    one.fail(false);
    assert_eq!(hold(&rig, &one, json!({"state": "ejected", "lasts": "1s"})).await.status, 204);
    assert_eq!(shares(&rig, &one, &two).await, (0, 10));
    rig.until("it is let go", async || shares(&rig, &one, &two).await.0 > 0).await;
    assert_eq!(holds(&rig).await["held"], json!([]));
    assert_eq!(holds(&rig).await["acts"][0]["to"], "ended");
}

#[tokio::test]
async fn a_hold_of_an_endpoint_goes_with_it_and_stays_over_a_reload_that_leaves_it() {
    let (rig, one, two) = pair("").await;
    assert_eq!(hold(&rig, &one, json!({"state": "drained", "lasts": "1h"})).await.status, 204);
    let yaml = |urls: &[&Upstream]| {
        let urls: Vec<String> = urls.iter().map(|one| one.url()).collect();
        format!(
            "services: {{orders: {{urls: {urls:?}, retry: off, balance: round_robin, slow_start: off}}}}\nroutes: [{{path: /, id: all, service: orders}}]\n"
        )
    };
    rig.reload(&yaml(&[&one, &two])).unwrap();
    assert_eq!(shares(&rig, &one, &two).await, (0, 10));
    // It is all that is left: rather one that is to go than nobody.
    rig.reload(&yaml(&[&one])).unwrap();
    assert_eq!(shares(&rig, &one, &two).await, (10, 0));
    rig.reload(&yaml(&[&two])).unwrap();
    assert_eq!(holds(&rig).await["held"], json!([]));
    assert_eq!(holds(&rig).await["acts"][0]["to"], "gone");
    rig.reload(&yaml(&[&one, &two])).unwrap();
    assert_eq!(shares(&rig, &one, &two).await, (5, 5), "who comes back is held by nobody");
}

#[tokio::test]
async fn one_route_is_broken_on_purpose_and_no_other() {
    let upstream = Upstream::start().await;
    let yaml = |faults: &str, more: &str| {
        format!(
            "{faults}\nservices: {{orders: {{urls: [\"{}\"], circuit_breaker: {{consecutive_failures: 2}}}}}}\nroutes:\n  \
             - {{path: /a, id: a, service: orders, deadline: 1s{more}}}\n  - {{path: /b/c, service: orders}}\n",
            upstream.url()
        )
    };
    let rig = Rig::start(&yaml("admin: {faults: true}", "")).await;
    let faults = "/v1/routes/a/faults";
    let refuse = json!({"refuse_percent": 100, "lasts": "5m", "reason": "game day"});
    assert_eq!(act(&rig, "PUT", faults, refuse).await.status, 204);
    for _ in 0..5 {
        let answer = rig.get("/a").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "upstream_unavailable"));
    }
    // Neither the service nor its breaker heard of it.
    assert_eq!((upstream.hits(), rig.get("/b/c").await.status), (0, 200));
    let seen = holds(&rig).await;
    assert_eq!(
        (&seen["faults"][0]["route"], &seen["faults"][0]["refuse_percent"]),
        (&json!("a"), &json!(100.0))
    );
    assert!(seen["faults"][0].get("service").is_none(), "{seen}");
    assert_eq!((&seen["acts"][0]["route"], &seen["acts"][0]["lasts_s"]), (&json!("a"), &json!(300)));
    // It goes on over a reload, and a reply that is lost is lost after the service had the request.
    rig.reload(&yaml("admin: {faults: true}", ", body: 1KiB")).unwrap();
    assert_eq!(rig.get("/a").await.status, 503);
    assert_eq!(act(&rig, "PUT", faults, json!({"lost_reply_percent": 100})).await.status, 204);
    let before = upstream.hits();
    assert_eq!((rig.get("/a").await.status, upstream.hits()), (503, before + 1));
    // A wait ends with the request's own time.
    assert_eq!(act(&rig, "PUT", faults, json!({"latency_ms": 60_000})).await.status, 204);
    assert_eq!(rig.get("/a").await.code(), "deadline_exceeded");
    assert_eq!(act(&rig, "DELETE", faults, Value::Null).await.status, 204);
    assert_eq!(rig.get("/a").await.status, 200);

    // A route without an id of its own is named as it is, escaped.
    let derived = "/v1/routes/%2Fb%2Fc/faults";
    assert_eq!(act(&rig, "PUT", derived, json!({"error_percent": 100})).await.status, 204);
    assert_eq!((rig.get("/b/c").await.status, rig.get("/a").await.status), (503, 200));
    assert_eq!(act(&rig, "PUT", "/v1/routes/nobody/faults", json!({"error_percent": 1})).await.status, 404);
    assert_eq!(act(&rig, "PUT", faults, json!({"error_percent": 101})).await.code(), "faults_invalid");
    let off = Rig::start(&yaml("", "")).await;
    assert_eq!(act(&off, "PUT", faults, json!({"error_percent": 1})).await.code(), "faults_off");
}
