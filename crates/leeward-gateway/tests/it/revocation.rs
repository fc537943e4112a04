//! Logged-out tokens: refused within a measured delay, also after a restart.

use leeward_events::{Bus, Envelope, Event, bus};
use leeward_gateway::Gateway;
use leeward_resilience::{Clock, FastRng, TokioClock};
use leeward_runtime::Tasks;
use leeward_telemetry::Correlation;
use serde::{Deserialize, Serialize};

use crate::rig::{Rig, Upstream, token};

#[derive(Serialize, Deserialize)]
struct TokenRevoked {
    user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    revoked_at_ms: i64,
    expires_at_ms: i64,
}

impl Event for TokenRevoked {
    const TYPE: &'static str = "token.revoked";
    const VERSION: u32 = 1;
    fn key(&self) -> String {
        self.user_id.clone()
    }
}

pub(crate) async fn revoke(bus: &Bus, id: &str, user: &str, token: Option<&str>) {
    let now = TokioClock.unix_ms();
    let event = TokenRevoked {
        user_id: user.to_owned(),
        token_id: token.map(str::to_owned),
        revoked_at_ms: now + 1_000,
        expires_at_ms: now + 600_000,
    };
    let cause = Correlation::new_root(&FastRng::seeded(1));
    bus.publish(vec![Envelope::new(&event, id, "users", now, &cause).unwrap()]).await.unwrap();
}

fn yaml(upstream: &Upstream, folder: &std::path::Path) -> String {
    format!(
        "services:\n  users:\n    urls: [\"{}\"]\njwt: {{service: users}}\n\
         revocation: {{database: \"sqlite:{}/deeper/gateway.db\"}}\nroutes:\n  - {{path: /, service: users, access: user}}\n",
        upstream.url(),
        folder.display()
    )
}

#[tokio::test]
async fn a_logged_out_token_is_refused_and_stays_so() {
    let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let yaml = yaml(&upstream, folder.path());
    let bus = Bus::open("memory:", bus::Options::default(), &Tasks::new()).await.unwrap();
    let rig = Rig::with(&yaml, |builder| builder.bus(bus.clone())).await;
    let (one, two) = (token("u1", "customer"), token("u2", "customer"));
    assert_eq!(rig.get_as(&one, "/a").await.status, 200);
    assert_eq!(rig.get_as(&two, "/a").await.status, 200);

    revoke(&bus, "e1", "u1", Some("jti-u1")).await;
    rig.until("the token is refused", async || rig.get_as(&one, "/a").await.status == 401).await;
    let refused = rig.get_as(&one, "/a").await;
    assert_eq!(
        (refused.code().as_str(), refused.json()["stage"].as_str()),
        ("token_revoked", Some("revoked"))
    );
    assert_eq!(rig.get_as(&two, "/a").await.status, 200, "exactly that one");
    let health = rig.get("/health").await.json();
    assert!(health["revocation_delay_ms"].as_i64().unwrap() < 5_000, "{health}");
    let metrics = rig.metrics().await;
    assert!(metrics.contains("leeward_gateway_revocation_delay_seconds_count 1"), "{metrics}");

    rig.tasks.shutdown(std::time::Duration::from_secs(5)).await;
    // Said while the gateway is down.
    revoke(&bus, "e2", "u2", None).await;
    let tasks = Tasks::new();
    let gateway = Gateway::builder(crate::rig::parse(&yaml)).bus(bus.clone()).start(&tasks).await.unwrap();
    let check = gateway.health().checks["revocations"].value.clone();
    assert_eq!(check, "2 held", "one more was taken in before anything is served");
    tasks.shutdown(std::time::Duration::from_secs(5)).await;
    let rig = Rig::with(&yaml, |builder| builder.bus(bus.clone())).await;
    assert_eq!(rig.get_as(&one, "/a").await.status, 401, "remembered");
    assert_eq!(rig.get_as(&two, "/a").await.status, 401, "and this one");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_does_not_stop_the_others() {
    #[derive(Serialize, Deserialize)]
    struct Odd {
        user: u32,
    }
    impl Event for Odd {
        const TYPE: &'static str = "token.revoked";
        const VERSION: u32 = 1;
        fn key(&self) -> String {
            "odd".to_owned()
        }
    }
    let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let bus = Bus::open("memory:", bus::Options::default(), &Tasks::new()).await.unwrap();
    let rig = Rig::with(&yaml(&upstream, folder.path()), |builder| builder.bus(bus.clone())).await;
    let cause = Correlation::new_root(&FastRng::seeded(1));
    bus.publish(vec![Envelope::new(&Odd { user: 1 }, "e0", "users", 1, &cause).unwrap()]).await.unwrap();
    revoke(&bus, "e1", "u1", Some("jti-u1")).await;
    let one = token("u1", "customer");
    rig.until("the token is refused", async || rig.get_as(&one, "/a").await.status == 401).await;
    let metrics = rig.metrics().await;
    assert!(metrics.contains("leeward_gateway_revocations_unreadable_total 1"), "{metrics}");
}

#[derive(Serialize, Deserialize)]
struct Unrelated {}

impl Event for Unrelated {
    const TYPE: &'static str = "order.placed";
    const VERSION: u32 = 1;
    fn key(&self) -> String {
        "o".to_owned()
    }
}

#[tokio::test]
async fn what_is_not_for_the_feed_does_not_pile_up_on_the_bus() {
    let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let bus = Bus::open("memory:", bus::Options::default(), &Tasks::new()).await.unwrap();
    let rig = Rig::with(&yaml(&upstream, folder.path()), |builder| builder.bus(bus.clone())).await;
    let cause = Correlation::new_root(&FastRng::seeded(1));
    let event =
        |number: u32| Envelope::new(&Unrelated {}, format!("o{number}"), "orders", 1, &cause).unwrap();
    for round in 0..2 {
        bus.publish((0..50).map(|number| event(round * 50 + number)).collect()).await.unwrap();
        let is_acknowledged = async || bus.lag().await.unwrap().iter().all(|lag| lag.behind == 0);
        rig.until("the feed has acknowledged it", is_acknowledged).await;
    }
    // Operators see it, and a group that nobody acknowledges for.
    bus.subscribe("left.behind", leeward_events::Patterns::all(), bus::Start::Beginning).await.unwrap();
    let groups = rig.send(rig.admin("GET", "/v1/bus/groups"), "").await;
    let groups: serde_json::Value = serde_json::from_slice(&groups.body).unwrap();
    let shown = groups.as_array().unwrap().iter().map(|group| (&group["behind"], &group["active"]));
    assert_eq!(shown.collect::<Vec<_>>(), [(&0.into(), &true.into()), (&100.into(), &false.into())]);
}

#[tokio::test]
async fn without_a_bus_it_does_not_start() {
    let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let config = crate::rig::parse(&yaml(&upstream, folder.path()));
    let error = leeward_gateway::Gateway::builder(config).start(&Tasks::new()).await.unwrap_err();
    assert!(error.to_string().contains("needs a bus"), "{error}");
}
