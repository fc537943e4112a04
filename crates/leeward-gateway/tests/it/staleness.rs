//! Revocations that are not heard: what fails, who is refused then and who is not, and that it heals by itself.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leeward_events::{Bus, bus};
use leeward_gateway::Gateway;
use leeward_runtime::Tasks;
use serde_json::Value;

use crate::revocation::revoke;
use crate::rig::{Answer, Rig, Upstream, parse, token};

fn yaml(upstream: &Upstream, folder: &Path, name: &str, more: &str) -> String {
    format!(
        "services: {{users: {{urls: [\"{}\"]}}}}\njwt: {{service: users}}\napi_keys: {{file: tests/it/config/callers.keys}}\n\
         revocation: {{database: \"sqlite:{}/{name}/gateway.db\", group: {name}, stale_after: 1s{more}}}\n\
         routes:\n  - {{path: /, service: users, access: user}}\n  - {{path: /open, service: users}}\n",
        upstream.url(),
        folder.display()
    )
}

async fn memory() -> Bus {
    Bus::open("memory:", bus::Options::default(), &Tasks::new()).await.unwrap()
}

/// What becomes of it within 30 s.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), waiting).await.is_ok(), "not within 30 s: {what}");
}

async fn is_refused(rig: &Rig) -> bool {
    let answer = rig.get_as(&token("u1", "customer"), "/a").await;
    assert!(matches!(answer.status, 200 | 503), "{answer:?}");
    answer.status == 503
}

/// The value of the gauge.
async fn staleness(rig: &Rig) -> f64 {
    let metrics = rig.metrics().await;
    let line = metrics.lines().find(|line| line.starts_with("leeward_gateway_revocation_staleness_seconds "));
    line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
}

async fn why(rig: &Rig, answer: &Answer) -> Value {
    let query = format!("/v1/decisions?request_id={}", answer.header("x-request-id"));
    rig.send(rig.admin("GET", &query), "").await.json()["decisions"][0].clone()
}

/// Two gateways on one bus: beside that which fails closed stands one without the protection.
#[tokio::test]
async fn without_the_bus_tokens_are_refused_and_only_because_that_is_so_by_default() {
    let (upstream, folder, bus) = (Upstream::start().await, tempfile::tempdir().unwrap(), memory().await);
    let closed = yaml(&upstream, folder.path(), "closed", "");
    let open = yaml(&upstream, folder.path(), "open", ", unsafe_fail_open: true");
    let closed = Rig::with(&closed, |builder| builder.bus(bus.clone())).await;
    let open = Rig::with(&open, |builder| builder.bus(bus.clone())).await;
    revoke(&bus, "e1", "u2", Some("jti-u2")).await;
    let gone = token("u2", "customer");
    until("the revocation is heard", async || closed.get_as(&gone, "/a").await.status == 401).await;
    until("there too", async || open.get_as(&gone, "/a").await.status == 401).await;
    // While it is heard, the view is renewed again and again.
    let last = Cell::new(0.0);
    let is_renewed = async || {
        let now = staleness(&closed).await;
        last.replace(now) > now
    };
    until("the view is renewed", is_renewed).await;
    let health = closed.get("/health").await.json();
    assert!(health["revocation_staleness_ms"].is_u64(), "{health}");
    let is_up = async || closed.get("/health").await.json()["checks"]["revocation_view"] == "up";
    until("the check is up", is_up).await;

    bus.close().await;
    until("tokens are refused", async || is_refused(&closed).await).await;
    let refused = closed.get_as(&token("u1", "customer"), "/a").await;
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("revocations_stale", "1"));
    assert_eq!(refused.json()["stage"], "revoked");
    assert!(staleness(&closed).await > 1.0);
    let decision = why(&closed, &refused).await;
    assert_eq!(decision["option"], "revocation.stale_after", "{decision}");
    assert_eq!(decision["values"]["stale_after_ms"], 1_000, "{decision}");
    assert!(decision["values"]["age_ms"].as_u64().unwrap() >= 1_000, "{decision}");
    let health = closed.gateway.health().checks["revocation_view"].clone();
    assert_eq!(format!("{:?}", health.status), "Degraded");
    assert!(health.value.ends_with("s old") && health.threshold.starts_with("1s, "), "{health:?}");
    let limits = closed.send(closed.admin("GET", "/v1/limits"), "").await.json();
    assert!(limits["revocation_staleness_ms"].as_u64().unwrap() >= 1_000, "{limits}");

    // What needs nobody's word stays, and what is known is known.
    assert_eq!(closed.get_as(&gone, "/a").await.code(), "token_revoked");
    assert_eq!(closed.get("/open").await.status, 200);
    let with_key = closed.request("GET", "/a").header("x-api-key", crate::callers::CI);
    assert_eq!(closed.send(with_key, "").await.status, 200);
    // The one without the protection is as old, and lets in whoever may have been logged out.
    until("it is as old", async || staleness(&open).await > 1.0).await;
    assert!(!is_refused(&open).await, "the refusal is this protection's doing");
    assert_eq!(open.get_as(&gone, "/a").await.code(), "token_revoked");
}

#[tokio::test]
async fn who_has_never_heard_anything_is_not_ready_and_believes_no_token() {
    let (upstream, folder, bus) = (Upstream::start().await, tempfile::tempdir().unwrap(), memory().await);
    bus.close().await;
    let config = parse(&yaml(&upstream, folder.path(), "never", ""));
    let gateway = Gateway::builder(config).bus(bus.clone()).start(&Tasks::new()).await.unwrap();
    until("keys are there", async || gateway.health().checks["token_keys"].value.contains("1 keys")).await;
    assert!(!gateway.is_ready());
    assert_eq!(gateway.health().checks["revocation_view"].value, "never whole so far");
    let config = parse(&yaml(&upstream, folder.path(), "open", ", unsafe_fail_open: true"));
    let open = Gateway::builder(config).bus(bus).start(&Tasks::new()).await.unwrap();
    until("the other one is ready", async || open.is_ready()).await;
    assert!(!gateway.is_ready());
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(name).join("gateway.db")
}

#[tokio::test]
async fn a_locked_file_makes_the_view_older_until_it_is_free() {
    let (upstream, folder, bus) = (Upstream::start().await, tempfile::tempdir().unwrap(), memory().await);
    let rig = Rig::with(&yaml(&upstream, folder.path(), "locked", ""), |builder| builder.bus(bus)).await;
    assert!(!is_refused(&rig).await);
    let other = rusqlite::Connection::open(file(folder.path(), "locked")).unwrap();
    other.busy_timeout(Duration::from_secs(10)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    until("tokens are refused", async || is_refused(&rig).await).await;
    other.execute_batch("ROLLBACK").unwrap();
    until("tokens are taken again", async || !is_refused(&rig).await).await;
}

/// As on a disk that is full, or broken: what is written fails at once.
#[tokio::test]
async fn a_file_that_takes_nothing_makes_the_view_older_until_it_does() {
    let (upstream, folder, bus) = (Upstream::start().await, tempfile::tempdir().unwrap(), memory().await);
    let rig = Rig::with(&yaml(&upstream, folder.path(), "broken", ""), |builder| builder.bus(bus)).await;
    let other = rusqlite::Connection::open(file(folder.path(), "broken")).unwrap();
    other.busy_timeout(Duration::from_secs(10)).unwrap();
    other.execute_batch("ALTER TABLE gateway_position RENAME TO elsewhere").unwrap();
    until("tokens are refused", async || is_refused(&rig).await).await;
    other.execute_batch("ALTER TABLE elsewhere RENAME TO gateway_position").unwrap();
    until("tokens are taken again", async || !is_refused(&rig).await).await;
}

#[tokio::test]
async fn a_file_that_is_gone_is_made_anew_with_what_was_revoked() {
    let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().unwrap());
    // It forgets at once what everybody has acknowledged.
    let bus = Bus::open("memory:", bus::Options::default().keep_bytes(0), &Tasks::new()).await.unwrap();
    let yaml = yaml(&upstream, folder.path(), "gone", "");
    let rig = Rig::with(&yaml, |builder| builder.bus(bus.clone())).await;
    let gone = token("u2", "customer");
    revoke(&bus, "e1", "u2", Some("jti-u2")).await;
    until("the revocation is heard", async || rig.get_as(&gone, "/a").await.status == 401).await;
    let is_acknowledged = async || bus.lag().await.unwrap().iter().all(|lag| lag.behind == 0);
    until("the revocation is acknowledged", is_acknowledged).await;
    revoke(&bus, "e2", "u3", Some("jti-u3")).await;
    let file = file(folder.path(), "gone");
    let inode = |path: &Path| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(path).ok().map(|file| file.ino())
    };
    // Kept open, so that its number is nobody else's.
    let (_kept, old) = (std::fs::File::open(&file).unwrap(), inode(&file).unwrap());
    std::fs::remove_file(&file).unwrap();
    until("there is another one", async || inode(&file).is_some_and(|new| new != old)).await;
    until("tokens are taken", async || !is_refused(&rig).await).await;
    assert_eq!(rig.get_as(&gone, "/a").await.code(), "token_revoked");
    rig.tasks.shutdown(Duration::from_secs(5)).await;
    // Over a bus that has never heard of it: what is known comes from the file.
    let other = memory().await;
    let rig = Rig::with(&yaml, |builder| builder.bus(other)).await;
    assert_eq!(rig.get_as(&gone, "/a").await.code(), "token_revoked");
    assert!(!is_refused(&rig).await);
}

#[tokio::test]
async fn a_folder_that_is_out_of_reach_makes_the_view_older_until_it_is_back() {
    let (upstream, folder, bus) = (Upstream::start().await, tempfile::tempdir().unwrap(), memory().await);
    let yaml = yaml(&upstream, folder.path(), "away", "");
    let rig = Rig::with(&yaml, |builder| builder.bus(bus.clone())).await;
    let (place, elsewhere) = (folder.path().join("away"), folder.path().join("elsewhere"));
    std::fs::rename(&place, &elsewhere).unwrap();
    std::fs::write(&place, "no folder").unwrap();
    until("tokens are refused", async || is_refused(&rig).await).await;
    // What is revoked meanwhile counts as soon as anything does.
    revoke(&bus, "e1", "u2", Some("jti-u2")).await;
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(&elsewhere, &place).unwrap();
    until("tokens are taken again", async || !is_refused(&rig).await).await;
    let gone = token("u2", "customer");
    until("and those that are revoked are not", async || rig.get_as(&gone, "/a").await.status == 401).await;
}
