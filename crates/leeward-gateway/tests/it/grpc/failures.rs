//! Calls that do not go well: refused by the gateway, sent again, counted against the service.

use std::sync::atomic::Ordering;

use super::server::Server;
use super::{Client, rig};
use crate::rig::{Rig, Upstream};

#[tokio::test]
async fn what_the_gateway_refuses_is_told_in_one_head() {
    let server = Server::start().await;
    let gone = Server::start().await;
    let closed = gone.addr;
    let keys = Upstream::start().await;
    drop(gone);
    let rig = Rig::start(&format!(
        "cores: 1\nrate_limits: {{address: \"off\", principal: \"off\"}}\nlisten: [{{address: \"127.0.0.1:0\", protocols: [http1, http2]}}]\n\
         jwt: {{service: keys, issuer: users, audience: shop}}\n\
         services:\n  keys: {{urls: [\"{}\"]}}\n  echo: {{urls: [\"http://{}\"], protocol: http2}}\n  gone: {{urls: [\"http://{closed}\"], protocol: http2, retry: off}}\n\
         routes:\n  - {{path: /shop.Echo, service: echo, access: user}}\n  - {{path: /shop.Echo/Gone, service: gone}}\n  \
         - {{path: /shop.Echo/Once, service: echo, rate_limit: 1/h}}\n  - {{path: /shop.Echo/Small, service: echo, body: 16B}}\n  \
         - {{path: /shop.Echo/Nobody, service: echo, deny: [127.0.0.0/8]}}\n  - {{path: /shop.Echo/Read, service: echo, methods: [GET]}}\n",
        keys.url(),
        server.addr
    ))
    .await;
    let client = Client::connect(&rig).await;
    assert_eq!(client.unary("Once", &[], b"a").await.status(), "0");
    let bearer = ("authorization", "Bearer a.b.c");
    for (method, headers, status, code) in [
        ("Unary", &[][..], "16", "unauthenticated"),
        ("Unary", &[bearer], "16", "token_invalid"),
        ("Nobody", &[], "7", "address_refused"),
        ("Read", &[], "12", "method_not_allowed"),
        ("Once", &[], "8", "rate_limited"),
        ("Gone", &[], "14", "upstream_unavailable"),
    ] {
        let ended = client.unary(method, headers, b"a").await;
        assert!(ended.is_one_head(), "{ended:?}");
        assert_eq!(
            (ended.status(), &ended.head["content-type"]),
            (status, &"application/grpc".parse().unwrap())
        );
        let (message, id) = (ended.said("grpc-message"), ended.head["x-request-id"].to_str().unwrap());
        assert!(
            message.starts_with(&format!("{code}: ")) && message.ends_with(&format!(" ({id})")),
            "{message}"
        );
        let waits = ended.head.contains_key("grpc-retry-pushback-ms");
        assert_eq!(waits, matches!(status, "8" | "14"), "{ended:?}");
    }
    // The service waits for all of it before it answers.
    server.fail(1);
    let large = client.unary("Small", &[("x-fails", "read 0")], &[b'x'; 100]).await;
    assert_eq!(
        (large.status(), large.said("grpc-message").split(':').next()),
        ("8", Some("payload_too_large"))
    );
    // Whoever speaks another protocol is told in another way.
    let plain = rig
        .send(rig.request("POST", "/shop.Echo/Unary").header("content-type", "application/grpc"), "a")
        .await;
    assert_eq!((plain.status, plain.code().as_str()), (401, "unauthenticated"));
    let metrics = rig.metrics().await;
    assert!(metrics.contains("status_code=\"401\""), "why it was refused is what is counted: {metrics}");
}

#[tokio::test]
async fn a_call_that_was_refused_unread_is_sent_again_and_no_other() {
    let server = Server::start().await;
    let rig = rig(
        &[&server],
        "    outlier_ejection: off\n    circuit_breaker: off\n    retry: {max_retries: 1, backoff_base: 1ms}",
        ", body: 1MiB",
    )
    .await;
    let client = Client::connect(&rig).await;
    let attempt = async |how: &str, message: &[u8]| {
        let before = server.hits();
        server.fail(1);
        let ended = client.unary("Unary", &[("x-fails", how)], message).await;
        server.fail(0);
        (ended.status().to_owned(), server.hits() - before)
    };
    let all = |status: &str, hits| (status.to_owned(), hits);
    assert_eq!(attempt("refused 0", b"hello").await, all("0", 2));
    assert_eq!(server.seen.received.lock().as_slice(), b"hello", "all of it went again");
    let kept = vec![b'k'; 60_000];
    assert_eq!(attempt("refused 0", &kept).await, all("0", 2));
    assert!(*server.seen.received.lock() == kept, "all of it went again");
    // A service that is not available may have acted all the same.
    for how in ["first 14", "read 14", "first 3", "first 8", "first 13", "read 4"] {
        assert_eq!(attempt(how, b"hello").await, all(how.split_once(' ').unwrap().1, 1), "{how}");
    }
    // It was begun: what came back is the client's.
    assert_eq!(attempt("late 14", b"hello").await, all("14", 1));
}

#[tokio::test]
async fn another_service_stands_in_for_a_call_and_a_fixed_answer_does_not() {
    let (gone, spare) = (Server::start().await, Server::start().await);
    let closed = gone.addr;
    drop(gone);
    let rig = Rig::start(&format!(
        "listen: [{{address: \"127.0.0.1:0\", protocols: [http1, http2]}}]\n\
         services:\n  gone: {{urls: [\"http://{closed}\"], protocol: http2, retry: off}}\n  \
         spare: {{urls: [\"http://{}\"], protocol: http2}}\n\
         routes:\n  - {{path: /shop.Echo/Unary, service: gone, fallback: {{service: spare}}}}\n  \
         - {{path: /shop.Echo, service: gone, fallback: {{respond: {{status: 200}}}}}}\n",
        spare.addr
    ))
    .await;
    let client = Client::connect(&rig).await;
    let instead = client.unary("Unary", &[], b"hello").await;
    assert_eq!((instead.status(), &instead.head["x-leeward-fallback"]), ("0", &"retryable".parse().unwrap()));
    assert_eq!(spare.seen.received.lock().as_slice(), b"hello");
    let fixed = client.unary("Fixed", &[], b"hello").await;
    assert_eq!((fixed.status(), fixed.head.get("x-leeward-fallback")), ("14", None));
    // Another answer fails in the way of calls: the first one stands.
    spare.fail(1);
    let failed = client.unary("Unary", &[("x-fails", "first 14")], b"hello").await;
    assert_eq!((failed.status(), failed.head.get("x-leeward-fallback")), ("14", None));
    assert!(failed.said("grpc-message").starts_with("upstream_unavailable"), "{failed:?}");
}

#[tokio::test]
async fn calls_are_sent_again_within_the_budget_or_not_at_all() {
    let server = Server::start().await;
    let service =
        "    outlier_ejection: off\n    circuit_breaker: off\n    throttle: off\n    adaptive: off\n";
    let budget = format!(
        "{service}    retry: {{max_retries: 3, backoff_base: 1ms, budget: {{ratio: 10%, floor: 5}}}}"
    );
    for (how, service, least, most) in [
        ("first 14", format!("{service}    retry: off"), 40, 40),
        ("refused 0", format!("{service}    retry: off"), 40, 40),
        ("first 14", budget.clone(), 40, 40),
        ("refused 0", budget, 41, 60),
    ] {
        let rig = rig(&[&server], &service, "").await;
        let client = Client::connect(&rig).await;
        let before = server.hits();
        server.fail(usize::MAX);
        for _ in 0..40 {
            let ended = client.unary("Unary", &[("x-fails", how)], b"hello").await;
            assert_eq!(ended.status(), "14", "{how}: {ended:?}");
        }
        let hits = server.hits() - before;
        assert!((least..=most).contains(&hits), "{hits} for 40 calls that are {how}");
    }
}

#[tokio::test]
async fn a_failure_behind_the_body_opens_the_breaker() {
    for (how, opens) in [
        ("late 14", true),
        ("late 13", true),
        ("late 2", true),
        ("first 4", true),
        ("late 3", false),
        ("late 8", false),
    ] {
        let server = Server::start().await;
        let breaker = "    outlier_ejection: off\n    retry: off\n    circuit_breaker: {consecutive_failures: 3, break_initial: 10s, break_max: 10s}";
        let rig = rig(&[&server], breaker, "").await;
        let client = Client::connect(&rig).await;
        server.fail(usize::MAX);
        for _ in 0..3 {
            let ended = client.unary("Unary", &[("x-fails", how)], b"a").await;
            assert_eq!(ended.status(), how.split_once(' ').unwrap().1, "{how}");
        }
        let next = client.unary("Unary", &[("x-fails", how)], b"a").await;
        let is_open = next.said("grpc-message").starts_with("breaker_open: ");
        assert_eq!((is_open, server.hits()), (opens, if opens { 3 } else { 4 }), "{how}: {next:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_fails_behind_the_body_is_left_alone() {
    let (good, bad) = (Server::start().await, Server::start().await);
    let service = "    balance: round_robin\n    circuit_breaker: off\n    retry: off\n    outlier_ejection: {consecutive_failures: 3, ejected_share_max: 50%, ejection_base: 1m}";
    let rig = rig(&[&good, &bad], service, "").await;
    let client = Client::connect(&rig).await;
    bad.fail(usize::MAX);
    for _ in 0..40 {
        client.unary("Unary", &[("x-fails", "late 13")], b"a").await;
    }
    assert_eq!(bad.hits(), 3, "and {} of the other", good.hits());
    assert_eq!(good.seen.taken_back.load(Ordering::SeqCst), 0);
}
