//! Each check of the gateway, turned red.

use std::sync::Arc;
use std::time::Duration;

use leeward_events::{Bus, Envelope, bus};
use leeward_gateway::Gateway;
use leeward_gateway::health::State;
use leeward_resilience::{Clock, ManualClock};
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
async fn slow_revocations_show_for_a_while_and_replayed_ones_never() {
    let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let yaml = format!(
        "services:\n  users:\n    urls: [\"{}\"]\njwt: {{service: users}}\nrevocation: {{database: \"sqlite:{}/g.db\"}}\n\
         routes:\n  - {{path: /, service: users}}\n",
        upstream.url(),
        folder.path().display()
    );
    let (bus, clock) =
        (Bus::open("memory:", bus::Options::default(), &Tasks::new()).await.unwrap(), ManualClock::new());
    // A logout of the day before.
    bus.publish(vec![logout("e1", "2025-12-31T00:00:00Z", clock.unix_ms())]).await.unwrap();
    let rig = Rig::with(&yaml, |builder| builder.bus(bus.clone()).clock(Arc::new(clock.clone()))).await;
    let check = || rig.gateway.health().checks["revocations"].clone();
    assert_eq!((check().status, check().value.as_str()), (State::Up, "1 held"), "it was replayed");

    clock.advance(Duration::from_secs(10));
    bus.publish(vec![logout("e2", "2026-01-01T00:00:02Z", clock.unix_ms())]).await.unwrap();
    rig.until("a slow one shows", async || check().status == State::Degraded).await;
    assert_eq!(check().value, "9000ms");
    clock.advance(Duration::from_secs(300));
    assert_eq!(check().status, State::Up, "and no longer than it means something");
}

/// The revocation of all tokens of a user of its own, said at `time`.
fn logout(id: &str, time: &str, now_ms: i64) -> Envelope {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "users", "type": "token.revoked", "subject": id, "dataversion": 1,
        "time": time, "datacontenttype": "application/json",
        "data": {"user_id": id, "revoked_at_ms": now_ms, "expires_at_ms": now_ms + 600_000},
    });
    Envelope::parse(event.to_string().as_bytes()).unwrap()
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
