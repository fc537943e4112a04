//! Each check of the gateway, turned red.

use leeward_events::{Bus, bus};
use leeward_gateway::Gateway;
use leeward_gateway::health::State;
use leeward_runtime::Tasks;
use serde_json::json;

use crate::rig::{Rig, Upstream, parse};

#[tokio::test]
async fn without_keys_nobody_can_be_told_apart() {
    let config = parse(
        "services:\n  users:\n    urls: [\"http://127.0.0.1:1\"]\njwt: {service: users}\nroutes:\n  - {path: /, service: users, access: user}\n",
    );
    let tasks = Tasks::new();
    let gateway = Gateway::builder(config).start(&tasks).await.unwrap();
    assert!(!gateway.is_ready());
    let report = gateway.health();
    assert_eq!((report.status, report.checks["token_keys"].status), (State::Down, State::Down));
}

#[tokio::test]
async fn a_service_without_sound_endpoints_is_down_and_the_gateway_degraded() {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "health: {{interval: 100ms, timeout: 100ms}}\nservices:\n  one:\n    urls: [\"{}\"]\n  two:\n    urls: [\"{}\"]\nroutes:\n  \
         - {{path: /one, service: one}}\n  - {{path: /two, service: two}}\n",
        upstream.url(),
        Upstream::start().await.url()
    );
    let rig = Rig::start(&yaml).await;
    rig.until("the second is noticed to be gone", async || {
        rig.get("/health").await.json()["services"]["two"] == "down"
    })
    .await;
    let health = rig.get("/health").await;
    assert_eq!((health.status, health.json()["status"].as_str()), (200, Some("degraded")));
    assert_eq!(health.json()["services"]["one"], "up");
    assert_eq!(rig.get("/health/ready").await.status, 200, "the others still answer");
    let shown = String::from_utf8(health.body.to_vec()).unwrap();
    assert!(!shown.contains("threshold") && !shown.contains("127.0.0.1"), "states only: {shown}");
}

#[tokio::test]
async fn slow_revocations_show() {
    let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let yaml = format!(
        "services:\n  users:\n    urls: [\"{}\"]\njwt: {{service: users}}\nrevocation: {{database: \"sqlite:{}/g.db\"}}\n\
         routes:\n  - {{path: /, service: users}}\n",
        upstream.url(),
        folder.path().display()
    );
    let bus = Bus::open("memory:", bus::Options::default(), &Tasks::new()).await.unwrap();
    let rig = Rig::with(&yaml, |builder| builder.bus(bus.clone())).await;
    assert_eq!(rig.gateway.health().checks["revocations"].status, State::Up);
    let now_ms = crate::rig::now_s() * 1_000;
    let event = json!({
        "specversion": "1.0", "id": "e1", "source": "users", "type": "token.revoked", "subject": "u1", "dataversion": 1,
        "time": "2026-01-01T00:00:00Z", "datacontenttype": "application/json",
        "data": {"user_id": "u1", "token_id": "t", "revoked_at_ms": now_ms, "expires_at_ms": now_ms + 600_000},
    });
    let envelope = leeward_events::Envelope::parse(event.to_string().as_bytes()).unwrap();
    bus.publish(vec![envelope]).await.unwrap();
    rig.until("it shows", async || rig.gateway.health().checks["revocations"].status == State::Degraded)
        .await;
}

#[tokio::test]
async fn full_of_connections_shows() {
    let upstream = Upstream::start().await;
    let yaml =
        format!("limits: {{connections: 1}}\nroutes:\n  - {{path: /, service: \"{}\"}}\n", upstream.url());
    let rig = Rig::start(&yaml).await;
    let _open = tokio::net::TcpStream::connect(rig.gateway.addr()).await.unwrap();
    rig.until("it shows", async || rig.gateway.health().checks["connections"].status == State::Degraded)
        .await;
}
