//! TLS towards services: whom the gateway believes, what it presents, and what a change of either does.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::secure::Secure;
use crate::pki::{Pair, Pki};
use crate::rig::{Rig, Upstream, parse, token};

const HERE: &[&str] = &["127.0.0.1"];

/// A gateway of one core whose one service has these URLs, and these lines under `tls`.
fn yaml(urls: &[String], tls: &str, more: &str) -> String {
    format!(
        "cores: 1\nservices:\n  orders:\n    urls: {urls:?}\n    outlier_ejection: off\n    circuit_breaker: off\n    retry: off\n    tls: {tls}\nroutes: [{{path: /, service: orders}}]\n{more}"
    )
}

/// Believes the authority alone, and looks at the files often.
fn ca(pki: &Pki) -> String {
    format!("{{ca: \"{}\", reload: 100ms}}", pki.path("ca.pem").display())
}

fn presents(pki: &Pki, name: &str, pair: &Pair) -> String {
    let cert = pki.write(&format!("{name}.pem"), &pair.cert);
    let key = pki.write(&format!("{name}.key"), &pair.key);
    let ca = pki.path("ca.pem");
    format!(
        "{{ca: \"{}\", certificate: \"{}\", key: \"{}\", reload: 100ms}}",
        ca.display(),
        cert.display(),
        key.display()
    )
}

/// How often connections did not come about for a reason.
async fn failed(rig: &Rig, reason: &str) -> u64 {
    let label = format!(
        "leeward_gateway_upstream_handshakes_failed_total{{service=\"orders\",reason=\"{reason}\"}} "
    );
    let metrics = rig.metrics().await;
    metrics.lines().find_map(|line| line.strip_prefix(&label)?.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn requests_and_answers_of_any_size_pass_over_connections_that_are_kept() {
    let pki = Pki::new();
    let service = Secure::start(pki.serving(&pki.server(HERE), false, &[])).await;
    let rig = Rig::start(&yaml(&[service.url()], &ca(&pki), "")).await;
    for _ in 0..5 {
        let answer = rig.get("/a").await;
        assert_eq!((answer.status, answer.seen("host")), (200, service.upstream.addr.to_string()));
    }
    assert_eq!(rig.get("/?bytes=3000000").await.body.len(), 3_000_000);
    let sent = rig.send(rig.request("POST", "/"), vec![b'x'; 2_000_000]).await;
    assert_eq!(sent.json()["body_bytes"], 2_000_000);
    // One after the other, by one core.
    assert_eq!(service.shaken(), (1, 0));
}

#[tokio::test]
async fn a_further_connection_resumes_the_session() {
    let pki = Pki::new();
    let service = Secure::start(pki.serving(&pki.server(HERE), false, &[])).await;
    let yaml =
        yaml(&[service.url()], &ca(&pki), "").replace("    retry", "    idle_connections: 0\n    retry");
    let rig = Rig::start(&yaml).await;
    for _ in 0..3 {
        assert_eq!(rig.get("/").await.status, 200);
    }
    assert_eq!(service.shaken(), (1, 2));
}

#[tokio::test]
async fn only_the_service_itself_is_believed_and_operators_alone_learn_why() {
    let (pki, other) = (Pki::new(), Pki::new());
    let mine = ca(&pki);
    let named = mine.replace("reload", "server_name: orders.internal, reload");
    let any = "{unsafe_skip_verification: true}".to_owned();
    let orders = || pki.server(&["orders.internal"]);
    for (presented, tls, reason, hint) in [
        (pki.server(HERE), &mine, "", ""),
        (other.server(HERE), &mine, "unknown_issuer", "tls.ca"),
        (pki.expired(HERE), &mine, "expired", "expired"),
        (orders(), &mine, "wrong_name", "tls.server_name"),
        (orders(), &named, "", ""),
        (pki.server(HERE), &named, "wrong_name", "tls.server_name"),
        (other.expired(&["elsewhere"]), &any, "", ""),
    ] {
        let service = Secure::start(pki.serving(&presented, false, &[])).await;
        let urls = [service.url()];
        for (more, is_told) in [("", false), ("explain_to: [127.0.0.1]\n", true)] {
            let rig = Rig::start(&yaml(&urls, tls, more)).await;
            let answer = rig.get("/").await;
            if reason.is_empty() {
                assert_eq!(answer.status, 200, "{tls}");
                continue;
            }
            assert_eq!((answer.status, answer.code().as_str()), (503, "upstream_unavailable"), "{reason}");
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            assert_eq!(text.contains(hint), is_told, "{reason}: {text}");
            assert!(!text.contains("ca.pem"), "{text}");
            assert!(failed(&rig, reason).await > 0, "{reason}");
        }
        let served = service.upstream.hits();
        assert_eq!(served > 0, reason.is_empty(), "{reason}: {served} requests were sent");
    }
}

#[tokio::test]
async fn a_service_that_asks_for_a_certificate_gets_the_one_that_is_configured() {
    let (pki, other) = (Pki::new(), Pki::new());
    let own = presents(&pki, "gateway", &pki.client("gateway", &[]));
    let foreign = presents(&pki, "foreign", &other.client("gateway", &[]));
    // In the one version it is said in the handshake, in the other behind it.
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = || pki.serving_with(&pki.server(HERE), true, &[], &[version]);
        for (tls, fine) in [(&own, true), (&foreign, false), (&ca(&pki), false)] {
            let service = Secure::start(config()).await;
            let rig = Rig::start(&yaml(&[service.url()], tls, "explain_to: [127.0.0.1]\n")).await;
            let answer = rig.get("/").await;
            assert_eq!((answer.status == 200, service.upstream.hits() > 0), (fine, fine), "{tls} {answer:?}");
            if !fine {
                assert_eq!(answer.code(), "upstream_unavailable", "{tls}");
                assert!(answer.json()["hint"].as_str().unwrap().contains("tls.certificate"), "{answer:?}");
                assert!(failed(&rig, "refused").await > 0);
            }
        }
    }
}

#[tokio::test]
async fn another_endpoint_is_asked_and_the_one_that_is_not_believed_is_left_alone() {
    let (pki, other) = (Pki::new(), Pki::new());
    let good = Secure::start(pki.serving(&pki.server(HERE), false, &[])).await;
    let bad = Secure::start(pki.serving(&other.server(HERE), false, &[])).await;
    let yaml = yaml(&[good.url(), bad.url()], &ca(&pki), "").replace(
        "outlier_ejection: off",
        "balance: round_robin\n    outlier_ejection: {consecutive_failures: 3, ejected_share_max: 50%}",
    );
    let rig = Rig::start(&yaml).await;
    for _ in 0..20 {
        // Nothing was sent, so that even what must not be repeated goes to the other one.
        assert_eq!(rig.send(rig.request("POST", "/"), "a").await.status, 200);
    }
    assert_eq!((good.upstream.hits(), bad.upstream.hits()), (20, 0));
    let health = rig.gateway.health();
    assert_eq!((health.services["orders"].endpoints, health.services["orders"].sound), (2, 1));
    assert!(failed(&rig, "unknown_issuer").await < 10, "it is asked again and again");
}

#[tokio::test]
async fn changed_files_are_in_force_for_every_request_from_then_on() {
    let (pki, other) = (Pki::new(), Pki::new());
    let service = Secure::start(pki.serving(&pki.server(HERE), false, &[])).await;
    let rig = Rig::start(&yaml(&[service.url()], &ca(&pki), "")).await;
    assert_eq!(rig.get("/").await.status, 200);
    // Whom it believed is not believed any more, connections that are open included.
    pki.write("ca.pem", &other.ca());
    rig.until("it is refused", async || rig.get("/").await.status == 503).await;
    assert!(failed(&rig, "unknown_issuer").await > 0);
    service.change(other.serving(&other.server(HERE), false, &[]));
    assert_eq!(rig.get("/").await.status, 200);
    // What cannot be used leaves the last good one in force, and says so.
    pki.write("ca.pem", "nothing");
    let says = |report: &leeward_gateway::health::Report| {
        report.checks.get("certificates").is_some_and(|check| check.value.contains("ca.pem"))
    };
    rig.until("the health says so", async || says(&rig.gateway.health())).await;
    assert_eq!(rig.get("/").await.status, 200);
    assert!(rig.metrics().await.contains("leeward_gateway_certificate_reloads_total{outcome=\"refused\"} 1"));
}

#[tokio::test]
async fn a_certificate_of_the_gateway_is_renewed_by_its_files() {
    let (pki, other) = (Pki::new(), Pki::new());
    let service = Secure::start(pki.serving(&pki.server(HERE), true, &[])).await;
    let tls = presents(&pki, "gateway", &other.client("gateway", &[]));
    let rig = Rig::start(&yaml(&[service.url()], &tls, "")).await;
    assert_eq!(rig.get("/").await.status, 503);
    presents(&pki, "gateway", &pki.client("gateway", &[]));
    rig.until("the new one is presented", async || rig.get("/").await.status == 200).await;
    let listed = rig.send(rig.admin("GET", "/v1/certificates"), "").await.json();
    assert_eq!(listed[0]["service"], "orders");
    assert!(listed[0]["certificates"][0]["file"].as_str().unwrap().ends_with("gateway.pem"), "{listed}");
    assert!(!listed.to_string().contains("PRIVATE"));
}

#[tokio::test]
async fn a_connection_is_never_used_under_other_options() {
    let (pki, other) = (Pki::new(), Pki::new());
    other.write("ca.pem", &other.ca());
    let service = Secure::start(pki.serving(&pki.server(HERE), false, &[])).await;
    let (mine, theirs) = (yaml(&[service.url()], &ca(&pki), ""), yaml(&[service.url()], &ca(&other), ""));
    let rig = Rig::start(&mine).await;
    assert_eq!(rig.get("/").await.status, 200);
    // What has nothing to do with it keeps connections.
    rig.reload(&format!("{mine}stale: {{entry: 1KiB}}\n")).unwrap();
    assert_eq!((rig.get("/").await.status, service.shaken()), (200, (1, 0)));
    assert_eq!(rig.reload(&theirs).unwrap().services.changed, ["orders"]);
    assert_eq!(rig.get("/").await.status, 503);
    // Two services at one address, and each believes somebody else.
    let both = mine.replace("routes:", "  same:\n    urls: [\"URL\"]\n    retry: off\n    tls: TLS\nroutes:");
    let both = both.replace("URL", &service.url()).replace("TLS", &ca(&other));
    let both = both.replace("service: orders}", "service: orders}, {path: /same, service: same}");
    rig.reload(&both).unwrap();
    for _ in 0..3 {
        assert_eq!((rig.get("/").await.status, rig.get("/same").await.status), (200, 503));
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_keep_the_gateway_as_it_is() {
    let pki = Pki::new();
    let service = Secure::start(pki.serving(&pki.server(HERE), false, &[])).await;
    let good = yaml(&[service.url()], &ca(&pki), "");
    let bad = yaml(&[service.url()], "{ca: /nowhere/ca.pem}", "");
    let tasks = leeward_runtime::Tasks::new();
    let error = leeward_gateway::Gateway::builder(parse(&bad)).start(&tasks).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/ca.pem"), "{error}");
    let rig = Rig::start(&good).await;
    assert!(rig.reload(&bad).unwrap_err().to_string().contains("/nowhere/ca.pem"));
    assert_eq!(rig.get("/").await.status, 200);
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_a_connection_that_does_not_open() {
    let pki = Pki::new();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let yaml = yaml(&[url], &ca(&pki), "").replace("    retry", "    connect_timeout: 200ms\n    retry");
    let rig = Rig::start(&yaml).await;
    let answer =
        tokio::time::timeout(Duration::from_secs(4), rig.get("/")).await.expect("within the time to connect");
    assert_eq!((answer.status, answer.code().as_str()), (503, "upstream_unavailable"));
    assert!(failed(&rig, "timeout").await > 0);
}

#[tokio::test]
async fn a_service_that_reads_late_gets_a_body_to_its_last_byte() {
    const BYTES: usize = 40_000_000;
    let pki = Pki::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let acceptor = TlsAcceptor::from(Arc::new(pki.serving(&pki.server(HERE), false, &[])));
    let rig = Rig::start(&yaml(&[url], &ca(&pki), "limits: {body: 64MiB}\n")).await;
    let service = async {
        let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        // By now everything between the two sides is full.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut read = 0;
        let mut chunk = vec![0; 65_536];
        while read < BYTES {
            read += stream.read(&mut chunk).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        stream.flush().await.unwrap();
        stream
    };
    let sent = rig.send(rig.request("POST", "/"), vec![b'x'; BYTES]);
    let (_stream, answer) = tokio::join!(service, sent);
    assert_eq!(answer.status, 204);
}

#[tokio::test]
async fn what_is_no_tls_is_told_from_what_is() {
    let pki = Pki::new();
    let plain = Upstream::start().await;
    let url = format!("https://{}", plain.addr);
    let rig = Rig::start(&yaml(&[url], &ca(&pki), "")).await;
    assert_eq!((rig.get("/").await.status, plain.hits()), (503, 0));
    assert!(failed(&rig, "not_tls").await > 0);
}

#[tokio::test]
async fn health_checks_believe_whom_requests_believe() {
    let (pki, other) = (Pki::new(), Pki::new());
    let good = Secure::start(pki.serving(&pki.server(HERE), false, &[])).await;
    let bad = Secure::start(pki.serving(&other.server(HERE), false, &[])).await;
    let health = "health: {path: /health, interval: 100ms, timeout: 100ms}\n";
    let rig = Rig::start(&yaml(&[good.url(), bad.url()], &ca(&pki), health)).await;
    let sound = async || rig.gateway.health().services["orders"].sound;
    rig.until("the one is found out", async || sound().await == 1).await;
    bad.change(pki.serving(&pki.server(HERE), false, &[]));
    rig.until("both are sound", async || sound().await == 2).await;
    assert!(bad.upstream.hits() > 0);
}

#[tokio::test]
async fn keys_of_tokens_are_fetched_over_tls() {
    let (pki, other) = (Pki::new(), Pki::new());
    other.write("ca.pem", &other.ca());
    let keys = Secure::start(pki.serving(&pki.server(HERE), false, &[])).await;
    let service = Upstream::start().await;
    let yaml = |ca: &str| {
        format!(
            "jwt: {{url: \"{}/.well-known/jwks.json\", tls: {ca}, issuer: users, audience: shop}}\nroutes: [{{path: /, service: \"{}\", access: user}}]\n",
            keys.url(),
            service.url()
        )
    };
    let rig = Rig::start(&yaml(&ca(&pki))).await;
    assert_eq!(rig.get_as(&token("u1", "customer"), "/").await.status, 200);
    assert!(keys.upstream.controls.key_fetches.load(std::sync::atomic::Ordering::SeqCst) > 0);
    let tasks = leeward_runtime::Tasks::new();
    let gateway = leeward_gateway::Gateway::builder(parse(&yaml(&ca(&other)))).start(&tasks).await.unwrap();
    let before = keys.shaken().0;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!gateway.is_ready());
    }
    assert_eq!(keys.shaken().0, before);
}

#[tokio::test]
async fn a_certificate_that_nobody_presents_any_more_is_shown_no_more() {
    let pki = Pki::new();
    let own = pki.client("gateway", &[]);
    let plain = Upstream::start().await;
    let (one, two) = (presents(&pki, "one", &own), presents(&pki, "two", &own));
    let services = |names: &[(&str, &str)]| {
        let all: Vec<_> = names
            .iter()
            .map(|(name, tls)| format!("  {name}: {{urls: [\"https://127.0.0.1:9\"], tls: {tls}}}\n"))
            .collect();
        format!(
            "services:\n  plain: {{urls: [\"{}\"]}}\n{}routes: [{{path: /, service: plain}}]\n",
            plain.url(),
            all.concat()
        )
    };
    let rig = Rig::start(&services(&[("a", &one), ("b", &one), ("c", &two)])).await;
    let shown = async |name: &str| {
        let line =
            format!("leeward_gateway_certificate_not_after_seconds{{file=\"{}\"}}", pki.path(name).display());
        rig.metrics().await.contains(&line)
    };
    rig.until("both are shown", async || shown("one.pem").await && shown("two.pem").await).await;
    rig.reload(&services(&[("b", &one)])).unwrap();
    rig.until("nobody uses the second", async || !shown("two.pem").await).await;
    rig.until("another service uses the first", async || shown("one.pem").await).await;
    rig.reload(&services(&[])).unwrap();
    rig.until("nobody uses the first", async || !shown("one.pem").await).await;
}
