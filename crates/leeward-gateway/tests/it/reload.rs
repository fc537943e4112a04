//! Another configuration for a running gateway: what it changes, what it must not, and what it refuses.

mod file;
mod load;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use leeward_discovery::{Directory, Endpoint};
use leeward_gateway::Error;
use leeward_gateway::config::{AccessLog, AccessLogTo};
use leeward_gateway::health::State;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{Rig, Upstream, claims, token, token_with};
use crate::wire::{answer, rest};

fn yaml(upstream: &Upstream, more: &str, routes: &[&str]) -> String {
    let routes: String = routes.iter().map(|route| format!("  - {{{route}, service: one}}\n")).collect();
    format!("services:\n  one:\n    urls: [\"{}\"]\n{more}routes:\n{routes}", upstream.url())
}

async fn get(stream: &mut TcpStream, path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    answer(stream).await
}

#[tokio::test]
async fn routes_come_and_go_under_a_connection_that_stays() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&yaml(&upstream, "", &["path: /kept", "path: /old", "path: /moved"])).await;
    let mut stream = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    assert!(get(&mut stream, "/old").await.starts_with("HTTP/1.1 200"));
    assert!(get(&mut stream, "/new").await.starts_with("HTTP/1.1 404"));

    let routes = ["path: /kept", "path: /new", "path: /moved, strip_prefix: /moved"];
    let changes = rig.reload(&yaml(&upstream, "limits: {deadline: 9s}\n", &routes)).unwrap();
    let said = serde_json::to_value(&changes).unwrap();
    assert_eq!(
        said,
        json!({
            "epoch": 2,
            "routes": {"added": ["/new"], "removed": ["/old"], "changed": ["/moved"]},
            "services": {"added": [], "removed": [], "changed": []},
            "options": ["limits"],
        })
    );
    assert!(get(&mut stream, "/old").await.starts_with("HTTP/1.1 404"));
    assert!(get(&mut stream, "/new").await.starts_with("HTTP/1.1 200"));
    assert!(get(&mut stream, "/kept").await.contains("\"target\":\"/kept\""));
    assert!(get(&mut stream, "/moved/a").await.contains("\"target\":\"/a\""));
    assert_eq!(rig.gateway.config().limits.deadline, Duration::from_secs(9));
    let shown = rig.send(rig.admin("GET", "/v1/routes"), "").await.json();
    assert_eq!(shown[1]["path"], "/new", "operators see what is in force");
}

#[tokio::test]
async fn what_cannot_change_is_refused_by_name_and_nothing_changes() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&yaml(&upstream, "", &["path: /old"])).await;
    let mut config =
        crate::rig::parse(&yaml(&upstream, "rate_limits: {keys: 20, address: 1/h}\n", &["path: /new"]));
    config.cores = std::num::NonZeroUsize::new(3);
    config.listen[0].address.set_port(1);
    config.access_log = Some(AccessLog::to(AccessLogTo::Stderr));
    let error = rig.gateway.reload(&config).unwrap_err();
    assert!(
        matches!(&error, Error::NeedsRestart { options } if *options == ["listen", "cores", "access_log", "rate_limits.keys"])
    );
    assert!(error.to_string().contains("`listen`, `cores`, `access_log`, `rate_limits.keys`"), "{error}");
    for _ in 0..3 {
        assert_eq!(rig.get("/old").await.status, 200, "not even the limit");
    }
    assert_eq!(rig.get("/new").await.status, 404);
}

#[tokio::test]
async fn services_nowhere_are_refused_and_leave_no_trace() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&yaml(&upstream, "", &["path: /"])).await;
    let nowhere = yaml(&upstream, "  two: {}\n", &["path: /"]);
    assert!(
        matches!(rig.reload(&nowhere).unwrap_err(), Error::Nowhere { services } if *services[0] == *"two")
    );
    let shown = rig.send(rig.admin("GET", "/v1/services"), "").await.json();
    let names: Vec<_> = shown.as_array().unwrap().iter().map(|service| service["name"].clone()).collect();
    assert_eq!(names, ["gateway", "one"]);
}

#[tokio::test]
async fn an_open_breaker_stays_open_and_takes_its_new_options() {
    let upstream = Upstream::start().await;
    let breaker = |break_for: &str| {
        format!(
            "    retry: {{max_retries: 0}}\n    circuit_breaker: {{consecutive_failures: 3, break_initial: {break_for}, break_max: {break_for}}}\n"
        )
    };
    let rig = Rig::start(&yaml(&upstream, &breaker("30m"), &["path: /"])).await;
    upstream.fail(true);
    for _ in 0..3 {
        rig.get("/").await;
    }
    assert_eq!(rig.get("/").await.code(), "breaker_open");
    upstream.fail(false);
    let changes = rig.reload(&yaml(&upstream, &breaker("1h"), &["path: /", "path: /more"])).unwrap();
    assert_eq!(changes.services.changed, ["one"]);
    assert_eq!((rig.get("/").await.code().as_str(), upstream.hits()), ("breaker_open", 3));
    assert!(rig.gateway.explain().contains("1h"), "{}", rig.gateway.explain());
}

#[tokio::test]
async fn what_is_spent_stays_spent_whatever_the_limit_is_now() {
    let upstream = Upstream::start().await;
    let limits = |address: &str, route: &str, other: &str| {
        let more = format!("rate_limits: {{address: {address}}}\n");
        let route = format!("path: /limited, id: limited, rate_limit: {route}");
        yaml(&upstream, &more, &[other, &route, "path: /free"])
    };
    let rig = Rig::start(&limits("8/h", "2/h", "path: /first")).await;
    for status in [200, 200, 429] {
        assert_eq!(rig.get("/limited").await.status, status);
    }
    // Another place in the file, another limit.
    rig.reload(&limits("9/h", "3/h burst 3", "path: /another, exact: true")).unwrap();
    assert_eq!(rig.get("/limited").await.status, 429, "the hour is not over");
    let free = rig.get("/free").await;
    assert_eq!(free.header("ratelimit-policy"), "\"address\";q=9;w=3600");
    assert!(free.header("ratelimit").starts_with("\"address\";r=3;"), "{free:?}");
    // One that is taken away and comes back begins anew.
    rig.reload(&yaml(&upstream, "", &["path: /limited, id: limited"])).unwrap();
    assert_eq!(rig.get("/limited").await.status, 200);
}

#[tokio::test]
async fn tokens_are_checked_by_the_rules_of_now_with_the_keys_that_there_are() {
    let upstream = Upstream::start().await;
    let with = |jwt: &str| {
        yaml(
            &upstream,
            &format!("jwt: {{service: one{jwt}}}\n"),
            &["path: /mine, access: user", "path: /open"],
        )
    };
    let rig = Rig::start(&with("")).await;
    let good = token("u1", "customer");
    assert_eq!(rig.get_as(&good, "/mine").await.status, 200);
    let fetches = || upstream.controls.key_fetches.load(Ordering::SeqCst);
    let before = fetches();
    rig.reload(&with(", issuer: users")).unwrap();
    assert_eq!(rig.get_as(&good, "/mine").await.status, 200);
    rig.reload(&with(", issuer: somebody")).unwrap();
    assert_eq!(rig.get_as(&good, "/mine").await.code(), "token_invalid", "remembered under another rule");
    let mut others = claims("u2", "customer");
    others["iss"] = json!("somebody");
    assert_eq!(rig.get_as(&token_with("k1", &others), "/mine").await.status, 200);
    assert_eq!(fetches(), before, "the keys are the same ones");
    // Keys from another place are fetched there, and nobody is let in by the old ones.
    *upstream.controls.kid.lock() = "k2".to_owned();
    rig.reload(&with(", path: \"/.well-known/jwks.json?2\"")).unwrap();
    assert_eq!(rig.get_as(&good, "/mine").await.code(), "token_invalid");
    assert_eq!(rig.get_as(&token_with("k2", &claims("u1", "customer")), "/mine").await.status, 200);
    rig.reload(&yaml(&upstream, "", &["path: /open"])).unwrap();
    assert_eq!(rig.get_as("not even a token", "/open").await.status, 200);
}

#[tokio::test]
async fn a_claim_that_a_new_route_asks_for_is_looked_for_in_tokens_seen_before() {
    let upstream = Upstream::start().await;
    let jwt = "jwt: {service: one}\n";
    let rig = Rig::start(&yaml(&upstream, jwt, &["path: /, access: user"])).await;
    let mut claims = claims("u1", "customer");
    claims["tenant"] = json!("7");
    let token = token_with("k1", &claims);
    assert_eq!(rig.get_as(&token, "/").await.status, 200);
    rig.reload(&yaml(&upstream, jwt, &["path: /, access: \"claim:tenant=7\""])).unwrap();
    // On each core.
    for _ in 0..8 {
        assert_eq!(rig.get_as(&token, "/").await.status, 200);
    }
}

#[tokio::test]
async fn issuers_come_and_go_and_those_that_stay_keep_their_keys() {
    let upstream = Upstream::start().await;
    let fetches = || upstream.controls.key_fetches.load(Ordering::SeqCst);
    let route = ["path: /, access: user"];
    let users = "  - {service: one, issuer: users}\n";
    let other = "  - {service: one, issuer: other, prefix: \"o:\"}\n";
    let rig = Rig::start(&yaml(&upstream, &format!("jwt:\n{users}"), &route)).await;
    let of = |issuer: &str| {
        let mut claims = claims("u1", "customer");
        claims["iss"] = json!(issuer);
        token_with("k1", &claims)
    };
    assert_eq!(rig.get_as(&of("users"), "/").await.status, 200);
    assert_eq!(rig.get_as(&of("other"), "/").await.status, 401);
    let before = fetches();
    rig.reload(&yaml(&upstream, &format!("jwt:\n{users}{other}"), &route)).unwrap();
    assert_eq!(rig.get_as(&of("users"), "/").await.status, 200);
    assert_eq!(rig.get_as(&of("other"), "/").await.seen("x-user-id"), "o:u1");
    assert!(fetches() > before);
    let nowhere = "  - {url: \"http://127.0.0.1:9/keys\", issuer: nowhere, prefix: \"n:\"}\n";
    rig.reload(&yaml(&upstream, &format!("jwt:\n{users}{nowhere}"), &route)).unwrap();
    assert!(rig.gateway.is_ready(), "one whose keys cannot be had takes nothing from the others");
    let check = rig.gateway.health().checks["token_keys"].clone();
    assert!(check.status == State::Degraded && check.value.contains("127.0.0.1:9"), "{check:?}");
    rig.reload(&yaml(&upstream, &format!("jwt:\n{users}{other}"), &route)).unwrap();
    rig.reload(&yaml(&upstream, &format!("jwt:\n{other}"), &route)).unwrap();
    assert_eq!(rig.get_as(&of("users"), "/").await.status, 401, "who went is nobody here");
    assert_eq!(rig.get_as(&of("other"), "/").await.status, 200);
}

#[tokio::test]
async fn keys_are_at_hand_when_only_their_times_change() {
    let upstream = Upstream::start().await;
    let with = |refresh: &str| {
        yaml(
            &upstream,
            &format!("jwt: {{service: one, refresh: {refresh}}}\n"),
            &["path: /mine, access: user"],
        )
    };
    let rig = Rig::start(&with("5m")).await;
    rig.reload(&with("6m")).unwrap();
    // Nothing else has run on this thread since.
    assert!(rig.gateway.is_ready());
    let fetches = || upstream.controls.key_fetches.load(Ordering::SeqCst);
    let before = fetches();
    rig.until("they are fetched under the new times", async || fetches() > before).await;
    assert_eq!(rig.get_as(&token("u1", "customer"), "/mine").await.status, 200);
}

#[tokio::test]
async fn health_checks_begin_and_end_with_their_section() {
    let upstream = Upstream::start().await;
    let with = |health: &str| yaml(&upstream, health, &["path: /"]);
    let rig = Rig::start(&with("")).await;
    assert_eq!(upstream.hits(), 0);
    rig.reload(&with("health: {interval: 100ms, timeout: 50ms}\n")).unwrap();
    rig.until("it is asked again and again", async || upstream.hits() > 3).await;
    upstream.fail(true);
    let sound = || rig.gateway.health().services["one"].sound;
    rig.until("it is found to be unhealthy", async || sound() == 0).await;
    rig.reload(&with("")).unwrap();
    rig.until("what nobody checks is believed to be well", async || sound() == 1).await;
    rig.until("nobody asks any more", async || {
        let before = upstream.hits();
        tokio::time::sleep(Duration::from_millis(400)).await;
        upstream.hits() == before
    })
    .await;
}

#[tokio::test]
async fn endpoints_follow_the_configuration() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let rig = Rig::start(&yaml(&one, "  gone: {urls: [\"http://127.0.0.1:9\"]}\n", &["path: /"])).await;
    rig.get("/").await;
    let changes = rig.reload(&yaml(&two, "", &["path: /"])).unwrap();
    assert_eq!(
        (&changes.services.changed[..], &changes.services.removed[..]),
        (&["one".to_owned()][..], &["gone".to_owned()][..])
    );
    rig.get("/").await;
    assert_eq!((one.hits(), two.hits()), (1, 1));
    let shown = rig.send(rig.admin("GET", "/v1/services"), "").await.json();
    assert!(shown.as_array().unwrap().iter().all(|service| service["name"] != "gone"), "{shown}");
}

#[tokio::test]
async fn the_directory_of_somebody_else_keeps_what_they_put_there() {
    let (theirs, ours) = (Upstream::start().await, Upstream::start().await);
    let directory = Directory::new();
    directory.set("theirs", [Endpoint::parse(&theirs.url()).unwrap()]);
    let yaml = |service: &str, routes: &str| format!("services:\n  theirs: {{}}\n{service}routes:\n{routes}");
    let ours_is = format!("  ours: {{urls: [\"{}\"]}}\n", ours.url());
    let both = "  - {path: /a, service: theirs}\n  - {path: /b, service: ours}\n";
    let rig = Rig::with(&yaml(&ours_is, both), |builder| builder.directory(directory.clone())).await;
    assert_eq!((rig.get("/a").await.status, rig.get("/b").await.status), (200, 200));
    rig.reload("services:\n  ours: {}\nroutes:\n  - {path: /b, service: ours}\n").unwrap();
    assert_eq!(rig.get("/b").await.status, 503, "its `urls` are gone, and nobody else says where it is");
    assert!(directory.service("theirs").is_some_and(|service| service.is_available()));
    rig.reload(&yaml("", "  - {path: /a, service: theirs}\n")).unwrap();
    assert_eq!(rig.get("/a").await.status, 200);
}

/// A service that sends half of an answer, and the rest when it is told to.
async fn half() -> (String, tokio::sync::oneshot::Sender<()>, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (go, gone) = tokio::sync::oneshot::channel();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _head = stream.read(&mut [0_u8; 4_096]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await.unwrap();
        gone.await.unwrap();
        stream.write_all(b"rest").await.unwrap();
    });
    (url, go, serving)
}

#[tokio::test]
async fn an_answer_that_began_before_ends_as_it_should_and_holds_no_old_tables() {
    let upstream = Upstream::start().await;
    let (url, go, _serving) = half().await;
    let with_half = yaml(&upstream, &format!("  half: {{urls: [\"{url}\"]}}\n"), &["path: /"]);
    let rig = Rig::start(&format!("{with_half}  - {{path: /half, service: half}}\n")).await;
    let mut idle = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    assert!(get(&mut idle, "/").await.starts_with("HTTP/1.1 200"));
    let mut streaming = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    streaming.write_all(b"GET /half HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut begun = Vec::new();
    while !begun.ends_with(b"half") {
        streaming.read_buf(&mut begun).await.unwrap();
    }

    // The configuration is a part of the snapshot, and lives as long as it does.
    let old = Arc::downgrade(&rig.gateway.config());
    rig.reload(&yaml(&upstream, "", &["path: /"])).unwrap();
    rig.until("the old tables are gone", async || old.upgrade().is_none()).await;
    assert_eq!(rig.get("/half/2").await.seen("x-user-id"), "", "it is the other route's now");
    go.send(()).unwrap();
    let (said, clean) = rest(&mut streaming).await;
    assert_eq!((said.as_str(), clean), ("rest", true));
    assert!(get(&mut idle, "/").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_request_on_its_way_keeps_the_tables_that_it_began_with() {
    let upstream = Upstream::start().await;
    let more = "limits: {deadline: 5s}\n";
    let rig = Rig::start(&yaml(&upstream, more, &["path: /a"])).await;
    let old = Arc::downgrade(&rig.gateway.config());
    let slow = rig.get("/a?sleep=300");
    let reload = async {
        rig.until("it is on its way", async || upstream.hits() == 1).await;
        rig.reload(&yaml(&upstream, "limits: {deadline: 10ms}\n", &["path: /b"])).unwrap();
        old.upgrade().is_some()
    };
    let (answer, is_held) = tokio::join!(slow, reload);
    assert_eq!((answer.status, is_held), (200, true), "{answer:?}");
    assert_eq!(rig.get("/b?sleep=300").await.code(), "deadline_exceeded");
    rig.until("the old tables are gone", async || old.upgrade().is_none()).await;
}

#[tokio::test]
async fn a_request_whose_service_is_taken_away_still_reaches_it() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let yaml_two =
        format!("services:\n  two: {{urls: [\"{}\"]}}\nroutes: [{{path: /, service: two}}]\n", two.url());
    let rig = Rig::start(&yaml(&one, "", &["path: /"])).await;
    // The body comes after the reload: only then is an endpoint looked for.
    let mut stream = TcpStream::connect(rig.gateway.addr()).await.unwrap();
    let requests = || rig.gateway.cores().iter().map(|(_, requests)| requests).sum::<u64>();
    let before = requests();
    stream.write_all(b"POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n").await.unwrap();
    rig.until("it is served", async || requests() > before).await;
    rig.reload(&yaml_two).unwrap();
    stream.write_all(b"abc").await.unwrap();
    let said = answer(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("\"body_bytes\":3"), "{said}");
    assert_eq!((one.hits(), two.hits()), (1, 0));
    assert!(get(&mut stream, "/next").await.starts_with("HTTP/1.1 200"));
    assert_eq!((one.hits(), two.hits()), (1, 1));
}
