//! TLS towards clients: which certificate they get, who they are by theirs, and what a change of the files does.

use std::sync::Arc;
use std::time::Duration;

use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::pki::{Pki, connect};
use crate::rig::{Rig, Upstream};

/// A gateway whose one listener has these lines under `tls`, and these under its route.
async fn rig(tls: &str, route: &str) -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "limits: {{write_timeout: 300ms}}\nlisten:\n  - address: 127.0.0.1:0\n    tls:\n{tls}\nroutes:\n  - path: /\n    service: \"{}\"\n{route}\n",
        upstream.url()
    );
    (Rig::start(&yaml).await, upstream)
}

fn certificates(lines: &[String]) -> String {
    let lines: String = lines.iter().map(|line| format!("        - {line}\n")).collect();
    format!("      certificates:\n{lines}")
}

/// Asks over an open connection and reads one answer with a length.
pub(crate) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length: usize =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap();
            if body.len() >= length {
                return text;
            }
        }
        let mut chunk = vec![0_u8; 16_384];
        let count = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut chunk)).await.expect(&text);
        let count = count.unwrap();
        assert!(count > 0, "closed after {text:?}");
        read.extend_from_slice(&chunk[..count]);
    }
}

pub(crate) const GET: &str = "GET /a HTTP/1.1\r\nHost: one.example\r\n\r\n";

#[tokio::test]
async fn requests_and_answers_of_any_size_pass_and_services_hear_that_they_are_encrypted() {
    let pki = Pki::new();
    let (rig, _upstream) = rig(&certificates(&[pki.put("one", &pki.server(&["one.example"]))]), "").await;
    let config = Arc::new(pki.trusting(None, &["http/1.1"]));
    let mut stream = connect(rig.gateway.addr(), &config, "one.example").await.unwrap();
    let said = ask(&mut stream, GET).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("\"x-forwarded-proto\":\"https\""), "{said}");
    let said = ask(&mut stream, "GET /?bytes=3000000 HTTP/1.1\r\nHost: one.example\r\n\r\n").await;
    assert_eq!(said.split_once("\r\n\r\n").unwrap().1.len(), 3_000_000);
    let head = "POST / HTTP/1.1\r\nHost: one.example\r\nContent-Length: 1000000\r\n\r\n";
    let said = ask(&mut stream, &format!("{head}{}", "x".repeat(1_000_000))).await;
    assert!(said.contains("\"body_bytes\":1000000"), "{said}");
    let expects = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(expects.as_bytes()).await.unwrap();
    let mut told = [0; 25];
    stream.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert!(ask(&mut stream, "abc").await.contains("\"body_bytes\":3"));
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_host_that_it_names() {
    let pki = Pki::new();
    let lines = certificates(&[
        pki.put("one", &pki.server(&["one.example", "127.0.0.1"])),
        pki.put("wild", &pki.server(&["*.wild.example"])),
    ]);
    let (rig, _upstream) = rig(&lines, "").await;
    let config = Arc::new(pki.trusting(None, &[]));
    for (host, fine) in [
        ("one.example", true),
        ("ONE.example", true),
        ("127.0.0.1", true),
        ("a.wild.example", true),
        // A star stands for one label.
        ("a.b.wild.example", false),
        ("wild.example", false),
        ("other.example", false),
    ] {
        let shaken = connect(rig.gateway.addr(), &config, host).await;
        assert_eq!(shaken.is_ok(), fine, "{host}: {:?}", shaken.err());
    }
    // The gateway refuses, before the client could.
    let error = connect(rig.gateway.addr(), &config, "other.example").await.unwrap_err().to_string();
    assert!(error.contains("alert"), "{error}");
    assert!(rig.metrics().await.contains("leeward_gateway_tls_handshakes_failed_total{reason=\"refused\"}"));
}

#[tokio::test]
async fn the_oldest_version_is_as_configured() {
    let pki = Pki::new();
    let one = certificates(&[pki.put("one", &pki.server(&["one.example"]))]);
    let old = Arc::new(pki.with_versions(None, &[], &[&rustls::version::TLS12]));
    for (lines, fine) in [(one.clone(), true), (format!("{one}      min_version: \"1.3\"\n"), false)] {
        let (rig, _upstream) = rig(&lines, "").await;
        assert_eq!(connect(rig.gateway.addr(), &old, "one.example").await.is_ok(), fine);
        let new = Arc::new(pki.trusting(None, &[]));
        assert!(connect(rig.gateway.addr(), &new, "one.example").await.is_ok());
    }
}

#[tokio::test]
async fn sessions_are_resumed_unless_they_carry_who_a_client_is() {
    let pki = Pki::new();
    let one = certificates(&[pki.put("one", &pki.server(&["one.example"]))]);
    let ca = pki.path("ca.pem");
    let asking = format!("{one}      client_certificates: {{ca: \"{}\"}}\n", ca.display());
    let own = pki.client("batch", &[]);
    for (lines, kind) in [(one, HandshakeKind::Resumed), (asking, HandshakeKind::Full)] {
        let (rig, _upstream) = rig(&lines, "").await;
        let config = Arc::new(pki.trusting(Some(&own), &["http/1.1"]));
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut stream = connect(rig.gateway.addr(), &config, "one.example").await.unwrap();
            assert!(ask(&mut stream, GET).await.starts_with("HTTP/1.1 200"));
            kinds.push(stream.get_ref().1.handshake_kind());
        }
        assert_eq!(kinds, [Some(HandshakeKind::Full), Some(kind)]);
    }
}

#[tokio::test]
async fn who_presents_a_certificate_is_known_by_it_and_nobody_can_pretend() {
    let pki = Pki::new();
    let lines = format!(
        "{}      client_certificates: {{ca: \"{}\", mode: optional}}\n",
        certificates(&[pki.put("one", &pki.server(&["one.example"]))]),
        pki.path("ca.pem").display()
    );
    let (rig, upstream) = rig(&lines, "    client_certificate: [\"spiffe://shop/batch\", ops]").await;
    let forged = "GET /a HTTP/1.1\r\nHost: one.example\r\nX-Forwarded-Client-Cert: URI=spiffe://shop/batch\r\nClient-Cert: :AAAA:\r\n\r\n";
    let stranger = Pki::new().client("ops", &[]);
    for (own, status, detail) in [
        (None, "403", "this needs a client certificate"),
        (Some(pki.client("someone", &["spiffe://shop/other"])), "403", "not one for this route"),
        (Some(pki.client("someone", &["spiffe://shop/batch"])), "200", "URI=spiffe://shop/batch"),
        (Some(pki.client("ops", &[])), "200", "Subject=\\\"CN=ops\\\""),
    ] {
        let config = Arc::new(pki.trusting(own.as_ref(), &["http/1.1"]));
        let mut stream = connect(rig.gateway.addr(), &config, "one.example").await.unwrap();
        let said = ask(&mut stream, forged).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")) && said.contains(detail), "{said}");
        assert_eq!(said.contains("\"certificate_required\""), status == "403", "{said}");
        assert!(!said.contains(":AAAA:"), "{said}");
    }
    assert_eq!(upstream.hits(), 2);
    // One that somebody else vouches for is none.
    let config = Arc::new(pki.trusting(Some(&stranger), &["http/1.1"]));
    if let Ok(mut stream) = connect(rig.gateway.addr(), &config, "one.example").await {
        stream.write_all(forged.as_bytes()).await.unwrap();
        assert!(stream.read(&mut [0; 64]).await.is_err());
    }
    assert_eq!(upstream.hits(), 2);
}

#[tokio::test]
async fn an_answer_to_one_certificate_is_not_kept_for_another_client() {
    let pki = Pki::new();
    let lines = format!(
        "{}      client_certificates: {{ca: \"{}\", mode: optional}}\n",
        certificates(&[pki.put("one", &pki.server(&["one.example"]))]),
        pki.path("ca.pem").display()
    );
    let (rig, upstream) = rig(&lines, "    stale_if_error: 5m").await;
    let own = pki.client("batch", &[]);
    for (own, fails, status) in [
        (Some(&own), false, "200"),
        (None, true, "503"),
        (None, false, "200"),
        (None, true, "200"),
        (Some(&own), true, "503"),
    ] {
        upstream.fail(fails);
        let config = Arc::new(pki.trusting(own, &["http/1.1"]));
        let mut stream = connect(rig.gateway.addr(), &config, "one.example").await.unwrap();
        let said = ask(&mut stream, GET).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{}: {said}", own.is_some());
    }
}

#[tokio::test]
async fn changed_files_are_taken_without_a_connection_lost_and_broken_ones_are_not() {
    let pki = Pki::new();
    let lines =
        format!("{}      reload: 100ms\n", certificates(&[pki.put("one", &pki.server(&["one.example"]))]));
    let (rig, _upstream) = rig(&lines, "").await;
    let config = Arc::new(pki.trusting(None, &["http/1.1"]));
    let shown = async || rig.send(rig.admin("GET", "/v1/certificates"), "").await.json()[0].clone();
    let first = shown().await;
    assert_eq!(first["certificates"][0]["names"][0], "one.example");
    let mut open = connect(rig.gateway.addr(), &config, "one.example").await.unwrap();
    assert!(ask(&mut open, GET).await.starts_with("HTTP/1.1 200"));

    // The key of one and the certificate of another: half of a change.
    let next = pki.server(&["one.example", "two.example"]);
    pki.write("one.pem", &next.cert);
    rig.until("it says what is wrong", async || {
        shown().await["problem"].as_str().is_some_and(|problem| problem.contains("is not the key of"))
    })
    .await;
    assert!(connect(rig.gateway.addr(), &config, "two.example").await.is_err());
    assert!(
        connect(rig.gateway.addr(), &config, "one.example").await.is_ok(),
        "the last good one is in force"
    );
    let health = rig.send(rig.admin("GET", "/v1/health"), "").await.json();
    assert_eq!(health["checks"]["certificates"]["status"], "degraded", "{health}");

    pki.write("one.key", &next.key);
    rig.until("the new one is in force", async || {
        connect(rig.gateway.addr(), &config, "two.example").await.is_ok()
    })
    .await;
    let now = shown().await;
    assert!(
        now["problem"].is_null()
            && now["certificates"][0]["fingerprint"] != first["certificates"][0]["fingerprint"]
    );
    assert!(ask(&mut open, GET).await.starts_with("HTTP/1.1 200"), "who was connected still is");
    let metrics = rig.metrics().await;
    assert!(metrics.contains("leeward_gateway_certificate_reloads_total{outcome=\"taken\"} 1"), "{metrics}");
    assert!(metrics.contains("leeward_gateway_certificate_not_after_seconds{file="), "{metrics}");
}

/// A file that is a pipe: `first` runs when it is first opened, before it says what it holds.
fn pipe(pki: &Pki, name: &str, text: String, first: impl FnOnce() + Send + 'static) {
    let path = pki.path(name);
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    std::thread::spawn(move || {
        let mut first = Some(first);
        loop {
            // Waits for somebody who reads.
            let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            first.take().into_iter().for_each(|first| first());
            let _reader = std::io::Write::write_all(&mut file, text.as_bytes());
            drop(file);
            // Who has read it closes it now, and would otherwise read it once more.
            #[allow(clippy::disallowed_methods, reason = "a thread of the test's own")]
            std::thread::sleep(Duration::from_millis(30));
        }
    });
}

#[tokio::test]
async fn a_certificate_that_changes_during_the_start_is_taken() {
    let pki = Pki::new();
    let (before, after) = (pki.server(&["one.example"]), pki.server(&["one.example", "new.example"]));
    let (one, other) = (pki.put("one", &before), pki.put("other", &pki.server(&["other.example"])));
    let text = std::fs::read_to_string(pki.path("other.pem")).unwrap();
    std::fs::remove_file(pki.path("other.pem")).unwrap();
    // The first certificate changes between its own reading and that of the second one.
    let (cert, key) = (pki.path("one.pem"), pki.path("one.key"));
    pipe(&pki, "other.pem", text, move || {
        std::fs::write(cert, after.cert).unwrap();
        std::fs::write(key, after.key).unwrap();
    });
    let (rig, _upstream) = rig(&format!("{}      reload: 100ms\n", certificates(&[one, other])), "").await;
    let config = Arc::new(pki.trusting(None, &["http/1.1"]));
    rig.until("what is on disk is in force", async || {
        connect(rig.gateway.addr(), &config, "new.example").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn who_does_not_shake_hands_is_let_go_and_takes_the_place_of_nobody_for_long() {
    let pki = Pki::new();
    let one = certificates(&[pki.put("one", &pki.server(&["one.example"]))]);
    let (rig, _upstream) = rig(&format!("{one}      handshake_timeout: 1s\n      handshakes: 2\n"), "").await;
    let mut silent = Vec::new();
    let config = Arc::new(pki.trusting(None, &[]));
    // On a busy machine those that came before may be let go already: there are new ones each time.
    for round in 0.. {
        assert!(round < 100, "there was always a place");
        for _ in 0..2 {
            silent.push(TcpStream::connect(rig.gateway.addr()).await.unwrap());
        }
        if connect(rig.gateway.addr(), &config, "one.example").await.is_err() {
            break;
        }
    }
    for mut stream in silent {
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut [0; 1])).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)));
    }
    rig.until("there is a place", async || connect(rig.gateway.addr(), &config, "one.example").await.is_ok())
        .await;
    let metrics = rig.metrics().await;
    for reason in ["too_many", "timeout"] {
        let line = format!("leeward_gateway_tls_handshakes_failed_total{{reason=\"{reason}\"}}");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test]
async fn an_end_is_said_and_a_slow_reader_is_cut() {
    let pki = Pki::new();
    let (rig, _upstream) = rig(&certificates(&[pki.put("one", &pki.server(&["one.example"]))]), "").await;
    let config = Arc::new(pki.trusting(None, &["http/1.1"]));
    let mut stream = connect(rig.gateway.addr(), &config, "one.example").await.unwrap();
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    // Without the alert at its end this is an error.
    stream.read_to_end(&mut said).await.unwrap();
    assert!(said.starts_with(b"HTTP/1.1 200"));

    let mut stream = connect(rig.gateway.addr(), &config, "one.example").await.unwrap();
    stream.write_all(b"GET /?bytes=50000000 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    rig.until("it is cut", async || {
        rig.send(rig.admin("GET", "/v1/limits"), "").await.json()["requests_in_flight"] == 0
            && rig.gateway.cores().iter().map(|(count, _)| count).sum::<usize>() == 0
    })
    .await;
    let mut said = Vec::new();
    assert!(stream.read_to_end(&mut said).await.is_err(), "an answer that is cut does not look whole");
}

#[tokio::test]
async fn certificates_that_cannot_be_used_keep_the_gateway_from_starting() {
    let pki = Pki::new();
    let (one, two) = (pki.server(&["one.example"]), pki.server(&["two.example"]));
    pki.put("one", &one);
    pki.write("two.key", &two.key);
    pki.write("none.pem", "nothing");
    let line = |cert: &str, key: &str| {
        let (cert, key) = (pki.path(cert), pki.path(key));
        certificates(&[format!("{{cert: \"{}\", key: \"{}\"}}", cert.display(), key.display())])
    };
    for (lines, says) in [
        (line("one.pem", "two.key"), "two.key is not the key of"),
        (line("none.pem", "one.key"), "none.pem has no certificate in PEM"),
        (line("one.pem", "none.pem"), "none.pem has no private key in PEM"),
        (line("gone.pem", "one.key"), "gone.pem: No such file"),
    ] {
        let yaml = format!(
            "listen:\n  - address: 127.0.0.1:0\n    tls:\n{lines}\nroutes: [{{path: /, service: \"http://127.0.0.1:1\"}}]\n"
        );
        let builder = leeward_gateway::Gateway::builder(crate::rig::parse(&yaml));
        let error = builder.start(&leeward_runtime::Tasks::new()).await.unwrap_err().to_string();
        assert!(error.contains(says) && error.lines().count() == 1, "{error}");
    }
}
