//! Another answer when a service fails: which one, for what, and how it is told from the real one.

use std::net::SocketAddr;
use std::time::Duration;

use leeward_gateway::layer::{Answering, Ask, Layer, Next};
use leeward_resilience::{Clock, TokioClock};
use leeward_service::identity::Identity;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::rig::{Answer, Rig, Upstream, serve_each, token};

const LIST: &str = "fallback: {respond: {status: 200, body: \"[]\", content_type: application/json}";
const SPARE: &str = "fallback: {service: spare";

/// An address at which nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A service that takes whatever comes and never answers.
async fn hanging() -> (SocketAddr, JoinSet<()>) {
    serve_each(|mut stream| async move {
        let mut chunk = [0_u8; 4_096];
        while stream.read(&mut chunk).await.is_ok_and(|count| count > 0) {}
    })
    .await
}

/// A route `list` to the service `one` at `url`, beside a service `spare`.
fn yaml(url: &str, spare: &str, policies: &str, route: &str) -> String {
    format!(
        "services:\n  one: {{urls: [\"{url}\"], outlier_ejection: off, {policies}}}\n  spare: {{urls: [\"{spare}\"]}}\n\
         routes:\n  - {{path: /, id: list, service: one, {route}}}\n"
    )
}

fn cause(answer: &Answer) -> &str {
    answer.header("x-leeward-fallback")
}

/// What a counter of the route's fallback stands at.
async fn count(rig: &Rig, name: &str, cause: &str) -> u64 {
    let series = format!("{name}{{policy=\"route list\",cause=\"{cause}\"}} ");
    let metrics = rig.metrics().await;
    metrics.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |value| value.parse().unwrap())
}

async fn answered(rig: &Rig, cause: &str) -> u64 {
    count(rig, "leeward_fallbacks_total", cause).await
}

async fn about(rig: &Rig, answer: &Answer) -> Value {
    let query = format!("/v1/decisions?request_id={}", answer.header("x-request-id"));
    rig.send(rig.admin("GET", &query), "").await.json()["decisions"][0].clone()
}

#[tokio::test]
async fn a_fixed_answer_stands_in_for_what_passes_and_says_so() {
    let upstream = Upstream::start().await;
    let policies = "retry: {max_retries: 1, backoff_base: 1ms}, circuit_breaker: {consecutive_failures: 5, break_initial: 1s, break_max: 1s}";
    let rig = Rig::start(&yaml(&upstream.url(), &nobody().await, policies, &format!("{LIST}}}"))).await;
    let real = rig.get("/a").await;
    assert_eq!((real.status, cause(&real), real.header("x-service-name")), (200, "", "one"));
    upstream.fail(true);
    let instead = rig.get("/a").await;
    assert_eq!(upstream.hits(), 3, "once, and once more, before another answer is looked for");
    assert_eq!((instead.status, cause(&instead)), (200, "retryable"));
    assert_eq!((&instead.body[..], instead.header("content-type")), (&b"[]"[..], "application/json"));
    assert_eq!(instead.header("x-service-name"), "gateway");
    assert!(!instead.header("x-request-id").is_empty());
    assert_eq!(cause(&rig.send(rig.request("POST", "/a"), "order").await), "retryable");
    rig.get("/a").await;
    let hits = upstream.hits();
    let open = rig.get("/a").await;
    assert_eq!((open.status, cause(&open), upstream.hits()), (200, "rejected", hits), "the breaker is open");
    assert_eq!((answered(&rig, "retryable").await, answered(&rig, "rejected").await), (3, 1));
    let one = about(&rig, &open).await;
    assert_eq!((&one["kept"], &one["fallback"]), (&"fallback".into(), &"rejected".into()), "{one}");
    assert_eq!(
        (&one["code"], &one["option"]),
        (&"breaker_open".into(), &"services.one.circuit_breaker".into())
    );
    assert!(one["why"][0].as_str().unwrap().starts_with("the gateway answered 200 after"), "{one}");
}

#[tokio::test]
async fn what_cannot_be_reached_and_what_takes_too_long_is_covered() {
    let rig = Rig::start(&yaml(&nobody().await, &nobody().await, "retry: off", &format!("{LIST}}}"))).await;
    let refused = rig.get("/a").await;
    assert_eq!((refused.status, cause(&refused)), (200, "retryable"));

    let (addr, _serving) = hanging().await;
    let url = format!("http://{addr}");
    let brief = "retry: off, attempt_timeout: 100ms";
    let rig = Rig::start(&yaml(&url, &nobody().await, brief, &format!("{LIST}}}"))).await;
    assert_eq!(cause(&rig.get("/a").await), "timeout");
    assert_eq!(answered(&rig, "timeout").await, 1);
    let late = format!("deadline: 100ms, {LIST}}}");
    let rig = Rig::start(&yaml(&url, &nobody().await, "retry: off", &late)).await;
    let answer = rig.get("/a").await;
    assert_eq!((answer.status, cause(&answer)), (200, "deadline"));

    let off = format!("{LIST}, on_timeout: false}}");
    let rig = Rig::start(&yaml(&url, &nobody().await, brief, &off)).await;
    let answer = rig.get("/a").await;
    assert_eq!((answer.status, answer.code().as_str(), cause(&answer)), (504, "upstream_timeout", ""));
}

#[tokio::test]
async fn a_bug_is_hidden_only_where_that_is_wanted() {
    let upstream = Upstream::start().await;
    let url = upstream.url();
    let rig = Rig::start(&yaml(&url, &nobody().await, "retry: off", &format!("{LIST}}}"))).await;
    for status in [500, 501, 404, 429, 400] {
        let answer = rig.get(&format!("/a?status={status}")).await;
        assert_eq!((answer.status, cause(&answer)), (status, ""));
    }
    let hides = format!("{LIST}, on_permanent: true}}");
    let rig = Rig::start(&yaml(&url, &nobody().await, "retry: off", &hides)).await;
    let answer = rig.get("/a?status=500").await;
    assert_eq!((answer.status, cause(&answer)), (200, "permanent"));
    let answer = rig.get("/a?status=404").await;
    assert_eq!((answer.status, cause(&answer)), (404, ""), "the caller's own mistake");
}

#[tokio::test]
async fn another_service_gets_what_was_not_seen_whatever_the_method() {
    let spare = Upstream::start().await;
    let rig = Rig::start(&yaml(&nobody().await, &spare.url(), "retry: off", &format!("{SPARE}}}"))).await;
    for (method, bytes) in [("GET", 0), ("POST", 5), ("PUT", 5), ("POST", 200_000)] {
        let answer = rig.send(rig.request(method, "/a?b=c"), vec![b'x'; bytes]).await;
        assert_eq!((answer.status, cause(&answer)), (200, "retryable"), "{method}");
        assert_eq!(answer.header("x-service-name"), "spare");
        let seen = answer.json();
        assert_eq!((&seen["method"], &seen["target"]), (&method.into(), &"/a?b=c".into()));
        assert_eq!(seen["body_bytes"], bytes, "{method}");
        assert_eq!(answer.seen("host"), spare.addr.to_string());
        assert_eq!(answer.header("x-leeward-inner"), "", "no service speaks for the gateway");
    }
    assert_eq!(answered(&rig, "retryable").await, 4);
    let answer = rig.get("/a?status=404").await;
    assert_eq!((answer.status, cause(&answer)), (404, "retryable"), "that is an answer");
}

#[tokio::test]
async fn what_was_executed_goes_to_another_service_only_if_it_may_be_repeated() {
    let (upstream, spare) = (Upstream::start().await, Upstream::start().await);
    let policies = "retry: off, circuit_breaker: {consecutive_failures: 6, break_initial: 1s, break_max: 1s}";
    let rig = Rig::start(&yaml(&upstream.url(), &spare.url(), policies, &format!("{SPARE}}}"))).await;
    upstream.fail(true);
    let executed = rig.send(rig.request("POST", "/a"), "order").await;
    assert_eq!((executed.status, &executed.body[..], cause(&executed)), (503, &b"down"[..], ""));
    let streamed = rig.send(rig.request("PUT", "/a"), vec![b'x'; 200_000]).await;
    assert_eq!((streamed.status, cause(&streamed)), (503, ""), "its body is gone");
    assert_eq!(spare.hits(), 0);
    for method in ["GET", "PUT", "DELETE"] {
        let answer = rig.send(rig.request(method, "/a"), "small").await;
        assert_eq!((answer.status, cause(&answer)), (200, "retryable"), "{method}");
    }
    rig.get("/a").await;
    let hits = (upstream.hits(), spare.hits());
    let rejected = rig.send(rig.request("POST", "/a"), "order").await;
    assert_eq!((rejected.status, cause(&rejected)), (200, "rejected"), "the breaker let nothing through");
    assert_eq!((upstream.hits(), spare.hits()), (hits.0, hits.1 + 1));

    let (addr, _serving) = hanging().await;
    let brief = "retry: off, attempt_timeout: 100ms";
    let rig = Rig::start(&yaml(&format!("http://{addr}"), &spare.url(), brief, &format!("{SPARE}}}"))).await;
    let hung = rig.send(rig.request("POST", "/a"), "order").await;
    assert_eq!((hung.status, cause(&hung)), (504, ""), "it may have been executed");
    assert_eq!(cause(&rig.get("/a").await), "timeout");
}

#[tokio::test]
async fn a_substitute_has_a_time_of_its_own_whatever_is_left_of_the_requests() {
    let ((addr, _serving), spare) = (hanging().await, Upstream::start().await);
    let url = format!("http://{addr}");
    let left = async |policies: &str, route: &str| {
        let rig = Rig::start(&yaml(&url, &spare.url(), policies, route)).await;
        let answer = rig.get("/a").await;
        (cause(&answer).to_owned(), answer.seen("x-deadline-ms").parse::<u64>().unwrap())
    };
    let brief = "retry: off, attempt_timeout: 200ms";
    let (cause_, ms) = left(brief, &format!("deadline: 2s, {SPARE}, within: 30s}}")).await;
    assert!(cause_ == "timeout" && (4_000..=5_000).contains(&ms), "its attempt timeout: {cause_} {ms}");
    let (cause_, ms) = left(brief, &format!("deadline: 20s, {SPARE}, within: 300ms}}")).await;
    assert!(cause_ == "timeout" && (1..=300).contains(&ms), "{cause_} {ms}");
    let (cause_, ms) = left("retry: off", &format!("deadline: 100ms, {SPARE}, within: 15s}}")).await;
    assert_eq!(cause_, "deadline");
    assert!((4_000..=15_000).contains(&ms), "no less than its own attempt timeout: {ms}");
}

/// Does nothing.
struct Passes;

impl Layer for Passes {
    fn call<'a>(&'a self, ask: Ask, next: Next<'a>) -> Answering<'a> {
        Box::pin(next.run(ask))
    }
}

#[tokio::test]
async fn layers_wait_for_a_substitute_beyond_the_deadline() {
    let ((addr, _serving), spare) = (hanging().await, Upstream::start().await);
    let route = format!("deadline: 100ms, {SPARE}, within: 10s}}");
    let text = yaml(&format!("http://{addr}"), &spare.url(), "retry: off", &route);
    let rig = Rig::with(&text, |builder| builder.layer("passes", || Passes)).await;
    let answer = rig.get("/a?sleep=700").await;
    assert_eq!((answer.status, cause(&answer)), (200, "deadline"));
}

#[tokio::test]
async fn a_substitute_that_fails_or_is_late_leaves_the_first_answer_as_it_was() {
    let (upstream, spare) = (Upstream::start().await, Upstream::start().await);
    let rig = Rig::start(&yaml(&upstream.url(), &spare.url(), "retry: off", &format!("{SPARE}}}"))).await;
    upstream.fail(true);
    spare.fail(true);
    let both = rig.get("/a").await;
    assert_eq!((both.status, &both.body[..], cause(&both)), (503, &b"down"[..], ""));
    assert_eq!((both.header("x-service-name"), spare.hits()), ("one", 1), "asked once");
    assert_eq!(count(&rig, "leeward_fallbacks_failed_total", "retryable").await, 1);
    assert_eq!(answered(&rig, "retryable").await, 0);

    spare.fail(false);
    let hasty = format!("{SPARE}, within: 100ms}}");
    let rig = Rig::start(&yaml(&nobody().await, &spare.url(), "retry: off", &hasty)).await;
    let began = TokioClock.now();
    let late = rig.get("/a?sleep=5000").await;
    assert_eq!((late.status, late.code().as_str(), cause(&late)), (503, "upstream_unavailable", ""));
    assert!(TokioClock.now().saturating_duration_since(began) < Duration::from_secs(3));
    assert_eq!(count(&rig, "leeward_fallbacks_failed_total", "retryable").await, 1);
}

#[tokio::test]
async fn a_substitute_that_hangs_is_found_failing_and_asked_no_more() {
    let (addr, _serving) = hanging().await;
    let text =
        yaml(&nobody().await, &format!("http://{addr}"), "retry: off", &format!("{SPARE}, within: 50ms}}"));
    let text = text.replace(
        "  spare: {",
        "  spare: {circuit_breaker: {consecutive_failures: 2, break_initial: 1m, break_max: 1m}, ",
    );
    let rig = Rig::start(&text).await;
    for _ in 0..3 {
        assert_eq!(rig.get("/a").await.status, 503);
    }
    let told = rig.metrics().await;
    assert!(told.contains("leeward_breaker_state{policy=\"spare\"} 2"), "{told}");
}

#[tokio::test]
async fn in_shadow_it_is_only_counted() {
    let spare = Upstream::start().await;
    let shadow = format!("{SPARE}, mode: shadow}}");
    let rig = Rig::start(&yaml(&nobody().await, &spare.url(), "retry: off", &shadow)).await;
    let answer = rig.get("/a").await;
    assert_eq!((answer.status, answer.code().as_str(), cause(&answer)), (503, "upstream_unavailable", ""));
    assert_eq!((spare.hits(), answered(&rig, "retryable").await), (0, 0));
    let metrics = rig.metrics().await;
    let series = "leeward_policy_shadowed_total{policy=\"route list\",event=\"leeward.would_fall_back\"} 1";
    assert!(metrics.contains(series), "{metrics}");
}

#[tokio::test]
async fn the_last_good_copy_comes_first() {
    let (upstream, spare) = (Upstream::start().await, Upstream::start().await);
    let route = format!("stale_if_error: 1h, {SPARE}}}");
    let rig = Rig::start(&yaml(&upstream.url(), &spare.url(), "retry: off", &route)).await;
    assert_eq!(rig.get("/known").await.status, 200);
    upstream.fail(true);
    let known = rig.get("/known").await;
    assert_eq!((known.header("x-leeward-stale"), cause(&known), spare.hits()), ("true", "", 0));
    for _ in 0..2 {
        let new = rig.get("/new").await;
        assert_eq!(
            (new.header("x-leeward-stale"), cause(&new)),
            ("", "retryable"),
            "no copy of a substitute"
        );
    }
    assert_eq!(spare.hits(), 2);
}

#[tokio::test]
async fn another_service_is_told_who_asks_in_words_of_its_own() {
    let (users, spare) = (Upstream::start().await, Upstream::start().await);
    let text = format!(
        "jwt: {{service: users, issuer: users, audience: shop}}\nservices:\n  users: {{urls: [\"{}\"], retry: off}}\n  \
         spare: {{urls: [\"{}\"]}}\nroutes: [{{path: /, id: list, service: users, access: user, {SPARE}}}}}]\n",
        users.url(),
        spare.url()
    );
    let identity = Identity::ephemeral("gateway").unwrap();
    let rig = Rig::with(&text, |builder| builder.identity(identity)).await;
    let first = rig.get_as(&token("u1", "customer"), "/a").await;
    users.fail(true);
    let second = rig.get_as(&token("u1", "customer"), "/a").await;
    assert_eq!((cause(&second), second.seen("x-user-id").as_str()), ("retryable", "u1"));
    assert_eq!(second.seen("authorization"), "", "the user's token stays here");
    let (first, second) = (first.seen("x-leeward-assertion"), second.seen("x-leeward-assertion"));
    assert!(second.split('.').count() == 3 && !second.contains(','), "{second}");
    assert_ne!(first, second, "an assertion is for one service");
}

#[tokio::test]
async fn a_reload_changes_it_and_keeps_what_it_is_counted_by() {
    let (gone, spare) = (nobody().await, Upstream::start().await);
    let with = |route: &str| yaml(&gone, &spare.url(), "retry: off, circuit_breaker: off", route);
    let rig = Rig::start(&with(&format!("{LIST}}}"))).await;
    assert_eq!(&rig.get("/a").await.body[..], b"[]");
    let changes = rig.reload(&with(&format!("{SPARE}, within: 5s}}"))).unwrap();
    assert_eq!(serde_json::to_value(&changes).unwrap()["routes"]["changed"][0], "list");
    let answer = rig.get("/a").await;
    assert_eq!((answer.header("x-service-name"), cause(&answer)), ("spare", "retryable"));
    assert_eq!(answered(&rig, "retryable").await, 2);
    let version = "leeward_policy_options_version{policy=\"route list\",kind=\"fallback\"}";
    assert!(rig.metrics().await.contains(&format!("{version} 2")), "the same policy under other options");
    rig.reload(&with(&format!("{SPARE}, mode: shadow}}"))).unwrap();
    assert_eq!(rig.get("/a").await.status, 503);
    rig.reload(&with("priority: high")).unwrap();
    assert_eq!(rig.get("/a").await.status, 503);
    rig.reload(&with(&format!("{LIST}}}"))).unwrap();
    assert_eq!(cause(&rig.get("/a").await), "retryable");
    assert!(rig.metrics().await.contains(version));
    rig.reload(&with(&format!("{LIST}}}")).replace("id: list", "id: other")).unwrap();
    rig.until("what is gone is forgotten", async || !rig.metrics().await.contains(version)).await;
}

#[tokio::test]
async fn the_access_log_and_operators_see_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let text = yaml(&nobody().await, &nobody().await, "retry: off", &format!("{LIST}}}"));
    let rig = Rig::start(&format!("access_log: {{to: \"file:{}\"}}\n{text}", path.display())).await;
    rig.get("/a").await;
    let line = || std::fs::read_to_string(&path).unwrap_or_default();
    rig.until("the line is written", async || line().ends_with('\n')).await;
    let record: Value = serde_json::from_str(line().trim()).unwrap();
    assert_eq!((&record["fallback"], &record["status"]), (&"retryable".into(), &200.into()), "{record}");
    assert_eq!((&record["service"], record["code"].as_str()), (&"one".into(), None), "{record}");
    let routes = rig.send(rig.admin("GET", "/v1/routes"), "").await.json();
    assert_eq!(routes[0]["fallback"], "200 of the configuration");
}
