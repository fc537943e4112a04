//! The way to the services: retries, breaker, deadlines, broken upstreams.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::rig::{Rig, Upstream};

/// An address at which nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn yaml(urls: &[String], service: &str, route: &str) -> String {
    format!(
        "services:\n  one:\n    urls: {urls:?}\n{service}\nroutes:\n  - {{path: /, service: one{route}}}\n"
    )
}

#[tokio::test]
async fn a_refused_connection_goes_to_the_next_endpoint_whatever_the_method() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&yaml(&[nobody().await, upstream.url()], "", "")).await;
    for _ in 0..20 {
        assert_eq!(rig.get("/a").await.status, 200);
        assert_eq!(rig.send(rig.request("POST", "/a"), "order").await.status, 200);
    }
    assert_eq!(upstream.hits(), 40);
}

#[tokio::test]
async fn an_endpoint_that_refused_is_not_asked_again_for_the_same_request() {
    let upstream = Upstream::start().await;
    let urls = [nobody().await, nobody().await, upstream.url()];
    // A gateway without a history each time, so that nothing is ejected yet.
    for _ in 0..12 {
        let rig = Rig::start(&yaml(&urls, "    retry: {max_retries: 0}", "")).await;
        assert_eq!(rig.send(rig.request("POST", "/a"), "order").await.status, 200);
    }
    assert_eq!(upstream.hits(), 12);
}

#[tokio::test]
async fn a_retry_avoids_the_endpoint_that_failed() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let rig =
        Rig::start(&yaml(&[one.url(), two.url()], "    retry: {max_retries: 1, backoff_base: 1ms}", ""))
            .await;
    // One of them is found slow, the other quick: balancing alone would ask the quick one again even when it fails.
    let slow = rig.get("/a?sleep=300").await.seen("host");
    let (quick, slow) = if slow == one.addr.to_string() { (two, one) } else { (one, two) };
    rig.until("the other is known", async || rig.get("/a").await.seen("host") == quick.addr.to_string())
        .await;
    quick.fail(true);
    let (failed, served) = (quick.hits(), slow.hits());
    assert_eq!(rig.get("/a").await.status, 200);
    assert_eq!((quick.hits() - failed, slow.hits() - served), (1, 1));
}

#[tokio::test]
async fn a_service_that_is_down_is_said_to_be() {
    let rig = Rig::start(&yaml(&[nobody().await], "    retry: {max_retries: 0}", "")).await;
    let answer = rig.send(rig.request("POST", "/a"), "order").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "upstream_unavailable"));
    assert!(!answer.header("retry-after").is_empty());
    assert!(answer.json().get("hint").is_none(), "callers are not told how the gateway is made");
}

#[tokio::test]
async fn the_breaker_opens_says_when_to_come_back_and_closes_again() {
    let upstream = Upstream::start().await;
    let breaker = "    retry: {max_retries: 0}\n    circuit_breaker: {consecutive_failures: 3, break_initial: 1s, break_max: 1s, probes: 1}";
    let rig = Rig::start(&yaml(&[upstream.url()], breaker, "")).await;
    upstream.fail(true);
    for _ in 0..3 {
        assert_eq!(rig.get("/a").await.body, "down", "the service's own answer");
    }
    let answer = rig.get("/a").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "breaker_open"));
    assert_eq!(answer.json()["stage"], "breaker");
    assert!((1..=2).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
    assert_eq!(upstream.hits(), 3, "it is left in peace");
    assert_eq!(rig.get("/health").await.json()["services"]["one"], "down");
    assert_eq!(rig.get("/health/ready").await.status, 200, "the gateway itself is well");
    upstream.fail(false);
    rig.until("the breaker closes", async || rig.get("/a").await.status == 200).await;
    assert_eq!(rig.get("/health").await.json()["services"]["one"], "up");
}

#[tokio::test]
async fn business_refusals_do_not_open_it() {
    let upstream = Upstream::start().await;
    let rig =
        Rig::start(&yaml(&[upstream.url()], "    circuit_breaker: {consecutive_failures: 2}", "")).await;
    for status in [400, 401, 404, 409, 422, 429, 429, 429] {
        assert_eq!(rig.get(&format!("/a?status={status}")).await.status, status);
    }
    assert_eq!(rig.get("/a").await.status, 200);
}

#[tokio::test]
async fn only_what_may_be_repeated_is() {
    let upstream = Upstream::start().await;
    let policies =
        "    retry: {max_retries: 2, backoff_base: 1ms}\n    circuit_breaker: {consecutive_failures: 100}";
    let rig = Rig::start(&yaml(&[upstream.url()], policies, "")).await;
    upstream.fail(true);
    rig.get("/a").await;
    assert_eq!(upstream.hits(), 3);
    rig.send(rig.request("PUT", "/a"), "small").await;
    assert_eq!(upstream.hits(), 6);
}

#[tokio::test]
async fn a_post_is_sent_once() {
    let upstream = Upstream::start().await;
    let rig =
        Rig::start(&yaml(&[upstream.url()], "    retry: {max_retries: 2, backoff_base: 1ms}", "")).await;
    upstream.fail(true);
    assert_eq!(rig.send(rig.request("POST", "/a"), "small").await.status, 503);
    assert_eq!(upstream.hits(), 1);
    assert_eq!(rig.send(rig.request("PUT", "/a"), vec![b'x'; 70_000]).await.status, 503);
    assert_eq!(upstream.hits(), 2, "too long to be kept for a repetition");
}

#[tokio::test]
async fn time_is_limited() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&yaml(&[upstream.url()], "    attempt_timeout: 5s", ", deadline: 150ms")).await;
    let answer = rig.get("/a?sleep=5000").await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "deadline_exceeded"));
    let left: u64 = rig.get("/a").await.seen("x-deadline-ms").parse().unwrap();
    assert!((1..=150).contains(&left), "{left}");

    let rig =
        Rig::start(&yaml(&[upstream.url()], "    attempt_timeout: 100ms\n    retry: {max_retries: 0}", ""))
            .await;
    let answer = rig.send(rig.request("POST", "/a?sleep=5000"), "x").await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
}

/// A service that answers each connection with these bytes and closes.
async fn rude(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0_u8; 4_096];
            let _read = stream.read(&mut request).await;
            let _sent = stream.write_all(answer).await;
        }
    };
    #[allow(clippy::disallowed_methods, reason = "a test's own upstream")]
    drop(tokio::spawn(serving));
    url
}

#[tokio::test]
async fn what_is_no_answer_is_not_passed_on() {
    for bytes in [
        &b""[..],
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 700 What\r\nContent-Length: 0\r\n\r\n",
    ] {
        let rig = Rig::start(&yaml(&[rude(bytes).await], "    retry: {max_retries: 0}", "")).await;
        let answer = rig.get("/a").await;
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_invalid"), "{shown:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("SSH"), "{shown:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_looks_cut() {
    let url = rude(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc").await;
    let rig = Rig::start(&yaml(&[url], "", "")).await;
    let raw = rig.raw(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(raw.contains("Content-Length: 100") || raw.contains("content-length: 100"), "{raw}");
    assert!(raw.ends_with("abc"), "{raw}");
}

#[tokio::test]
async fn a_connection_that_closed_while_idle_is_not_the_clients_problem() {
    // Answers one request a connection, and closes it without saying so.
    let url = rude(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let rig = Rig::start(&yaml(&[url], "    retry: {max_retries: 0}", "")).await;
    for _ in 0..50 {
        assert_eq!(rig.get("/a").await.status, 200);
    }
}

/// Answers the first request of each connection, and closes at the second one without a word.
async fn fickle() -> (String, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&requests);
    let serving = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = std::sync::Arc::clone(&count);
            let answering = async move {
                let mut request = [0_u8; 4_096];
                for number in 0..2 {
                    if !stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        return;
                    }
                    count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    if number == 0 {
                        let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                    }
                }
            };
            #[allow(clippy::disallowed_methods, reason = "a test's own upstream")]
            drop(tokio::spawn(answering));
        }
    };
    #[allow(clippy::disallowed_methods, reason = "a test's own upstream")]
    drop(tokio::spawn(serving));
    (url, requests)
}

#[tokio::test]
async fn a_connection_that_closes_under_a_request_costs_a_safe_one_nothing() {
    let (url, requests) = fickle().await;
    let rig = Rig::start(&format!("cores: 1\n{}", yaml(&[url], "    retry: {max_retries: 0}", ""))).await;
    let seen = || requests.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(rig.get("/a").await.status, 200);
    assert_eq!(rig.get("/a").await.status, 200, "repeated once, on a new connection");
    assert_eq!(seen(), 3);
    let answer = rig.send(rig.request("POST", "/a"), "order").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (502, "upstream_invalid"),
        "it may have been executed"
    );
    assert_eq!(seen(), 4, "and is not repeated");
}

#[tokio::test]
async fn connections_are_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let accepted = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&accepted);
    let serving = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let answering = async move {
                let mut request = [0_u8; 4_096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                }
            };
            #[allow(clippy::disallowed_methods, reason = "a test's own upstream")]
            drop(tokio::spawn(answering));
        }
    };
    #[allow(clippy::disallowed_methods, reason = "a test's own upstream")]
    drop(tokio::spawn(serving));
    let rig = Rig::start(&format!("cores: 1\n{}", yaml(&[url], "", ""))).await;
    for _ in 0..100 {
        assert_eq!(rig.get("/a").await.status, 200);
    }
    assert_eq!(accepted.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_trusted_caller_is_told_why() {
    let yaml =
        format!("explain_to: [127.0.0.1]\n{}", yaml(&[nobody().await], "    retry: {max_retries: 0}", ""));
    let answer = Rig::start(&yaml).await.get("/a").await.json();
    assert_eq!(answer["config"], "leeward.yaml:7");
    assert!(answer["hint"].as_str().unwrap().contains("URL"));
}

/// Each policy in front of a service can be switched, and what it refuses says which one it was.
#[tokio::test]
async fn a_service_has_the_policies_that_its_configuration_says() {
    let cases = [
        ("rate_limit: 1/m", "limit", "the service's rate_limit"),
        ("concurrency_limit: {limit: 1, queue: 0}", "limit", "concurrency_limit of the route or the service"),
        (
            "adaptive: {limit_initial: 1, limit_min: 1, limit_max: 1}",
            "limit",
            "the adaptive limit: the service is slower than it was",
        ),
    ];
    for (policy, stage, hint) in cases {
        for (mode, refuses) in [("enforced", true), ("shadow", false)] {
            let upstream = Upstream::start().await;
            let policy = match policy.split_once('{') {
                Some((name, options)) => format!("{name}{{mode: {mode}, {options}"),
                None => format!("rate_limit: {{gcra: {{limit: 1, period: 1m, mode: {mode}}}}}"),
            };
            let others = ["retry", "circuit_breaker", "concurrency_limit"];
            let others = others.into_iter().filter(|other| !policy.starts_with(other));
            let others: String = others.map(|other| format!("    {other}: off\n")).collect();
            let service = format!("    {policy}\n{others}");
            let rig =
                Rig::start(&format!("explain_to: [127.0.0.1]\n{}", yaml(&[upstream.url()], &service, "")))
                    .await;
            let (first, second) = tokio::join!(rig.get("/a?sleep=300"), async {
                rig.until("the first is on its way", async || upstream.hits() == 1).await;
                rig.get("/b").await
            });
            assert_eq!(first.status, 200, "{policy}");
            if refuses {
                let problem = second.json();
                assert_eq!((second.status, second.code().as_str()), (503, "overloaded"), "{policy}");
                assert_eq!(
                    (problem["stage"].as_str(), problem["hint"].as_str()),
                    (Some(stage), Some(hint)),
                    "{policy}"
                );
            } else {
                assert_eq!(second.status, 200, "{policy}");
                let metrics = rig.metrics().await;
                assert!(
                    metrics.contains("leeward_policy_shadowed_total{policy=\"one\""),
                    "{policy}: {metrics}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_read_that_takes_long_is_hedged_and_a_write_is_not() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let rig = Rig::start(&yaml(&[one.url(), two.url()], "    hedge: {delay: 20ms}", "")).await;
    let hits = || one.hits() + two.hits();
    assert_eq!(rig.get("/a?sleep=200").await.status, 200);
    assert_eq!(hits(), 2);
    assert_eq!(rig.send(rig.request("POST", "/a?sleep=200"), "order").await.status, 200);
    assert_eq!(hits(), 3);
}
