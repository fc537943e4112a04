//! What a trace shows of the attempts towards a service.

use std::sync::Arc;

use bytes::Bytes;
use leeward_resilience::TokioClock;
use leeward_telemetry::{Registry, otlp};
use parking_lot::Mutex;

use crate::rig::{Rig, Upstream};
use crate::towards::two::{First, Two};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The bytes that hexadecimal digits stand for.
fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn has(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn each_attempt_is_a_span_and_the_service_hangs_below_its_own() {
    let sent: Arc<Mutex<Vec<u8>>> = Arc::default();
    let taken = Arc::clone(&sent);
    let collector =
        axum::Router::new().fallback(async move |body: Bytes| taken.lock().extend_from_slice(&body));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let serving = async move { axum::serve(listener, collector).await.unwrap() };
    #[allow(clippy::disallowed_methods, reason = "a test's own collector")]
    drop(tokio::spawn(serving));

    let upstream = Upstream::start().await;
    let yaml = format!(
        "services: {{twins: {{urls: [\"http://127.0.0.1:1\", \"{}\"], balance: round_robin, outlier_ejection: off}}}}\n\
         routes: [{{path: /, service: twins}}]\n",
        upstream.url()
    );
    let rig = Rig::start(&yaml).await;
    let ask = async || {
        let request =
            rig.request("GET", "/").header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"));
        let answer = rig.send(request, "").await;
        assert_eq!(answer.status, 200);
        let seen = answer.seen("traceparent");
        let parts: Vec<String> = seen.split('-').map(str::to_owned).collect();
        assert_eq!((parts.len(), parts[1].as_str()), (4, TRACE), "{seen}");
        parts[2].clone()
    };
    // Without a recorder the service hears of the gateway, and of no attempt.
    assert_ne!(ask().await, "b7ad6b7169203331");

    let options = otlp::Options::new(url.parse().unwrap());
    let (recorder, export) = otlp::start(options, Arc::new(TokioClock), &Registry::new());
    leeward_telemetry::span::install(recorder).unwrap();
    let mut seen = vec![ask().await, ask().await, ask().await];
    assert!(seen[0] != seen[1] && seen[1] != seen[2], "{seen:?}");
    let two = Two::start(None, 100, First::Fine).await;
    let yaml = format!(
        "services: {{two: {{urls: [\"http://{}\"], protocol: http2}}}}\nroutes: [{{path: /, service: two}}]\n",
        two.addr
    );
    let rig = Rig::start(&yaml).await;
    let request = rig.request("GET", "/").header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"));
    let answer = rig.send(request, "").await;
    let parts: Vec<&str> = answer.header("x-seen-traceparent").split('-').collect();
    assert_eq!((parts.len(), parts[1]), (4, TRACE));
    seen.push(parts[2].to_owned());
    export.run(std::future::ready(())).await;

    let body = sent.lock().clone();
    assert!(has(&body, &bytes(TRACE)));
    for id in &seen {
        assert!(has(&body, &bytes(id)), "what the service was told is no span that was recorded: {id}");
    }
    let dead = b"127.0.0.1:1".as_slice();
    for part in [&b"twins"[..], b"leeward.attempt", b"leeward.outcome", b"not_connected", b"answered", dead] {
        assert!(has(&body, part), "{}", String::from_utf8_lossy(part));
    }
}
