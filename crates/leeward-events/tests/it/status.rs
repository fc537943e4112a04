//! What operators are shown.

use std::sync::Arc;
use std::time::Duration;

use leeward_events::bus::GroupLag;
use leeward_events::metrics::{self, ConsumerMetrics, RelayMetrics};
use leeward_events::{HandlerError, status};
use leeward_store::Tx;
use leeward_telemetry::Registry;

use crate::world::{Changed, World, cause, changed, effect};

#[tokio::test]
async fn groups_show_lag_and_what_is_set_aside_and_why_follows_an_event() {
    let world = World::new().await;
    let registry = Registry::new();
    let consumer = world
        .consumer()
        .metrics(ConsumerMetrics::new(&registry, "tests.effects"))
        .on::<Changed>(async |tx, received| {
            if received.event.number == 2 {
                return Err(HandlerError::Poison("two".into()));
            }
            effect(tx, &received).await
        })
        .build()
        .unwrap();
    let outbox = world.outbox.clone();
    let ids: Vec<Arc<str>> = world
        .db
        .write(async move |tx: &mut Tx| {
            let mut ids = Vec::new();
            for number in 1..=3 {
                ids.push(outbox.append(tx, &changed("k", number), &cause()).await?);
            }
            Ok::<_, leeward_events::outbox::Error>(ids)
        })
        .await
        .unwrap();
    let consumer = world.start_consumer(consumer);
    let relay = world.start_relay();
    world.wait_count("SELECT COUNT(*) FROM parked", 2).await;
    relay.stop().await;
    consumer.stop().await;

    let groups = status::groups(&world.db, &world.bus).await.unwrap();
    let [group] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((&*group.group, group.parked, group.dead), ("tests.effects", 2, 1));
    assert!(matches!(group.lag, Some(GroupLag { behind: 0, active: false, .. })), "{group:?}");

    let why = async |id: &Arc<str>| {
        let id = id.clone();
        world.db.read(async move |tx| status::why(tx, &id).await).await.unwrap()
    };
    let first = why(&ids[0]).await;
    let appended = first.appended.unwrap();
    assert_eq!((appended.seq, &*appended.kind, appended.relayed), (1, "thing.changed", true));
    assert_eq!((&*first.handled[0].group, first.parked.len()), ("tests.effects", 0));
    let second = why(&ids[1]).await;
    assert!(second.handled.is_empty() && second.parked[0].dead && second.parked[0].reason == "two");
    let third = why(&ids[2]).await;
    assert_eq!((third.parked[0].dead, third.parked[0].attempts), (false, 0));
    assert_eq!(why(&"nobody".into()).await, status::Trail::default());

    let text = registry.encode();
    assert!(text.contains("leeward_events_dead_letters{group=\"tests.effects\"} 1"), "{text}");
    assert!(text.contains("leeward_events_parked_events{group=\"tests.effects\"} 2"), "{text}");
}

#[tokio::test]
async fn every_name_is_registered_and_listed() {
    let registry = Registry::new();
    let outbox = leeward_events::Outbox::new("s", Arc::new(leeward_resilience::TokioClock));
    let _relay = RelayMetrics::new(&registry, &outbox);
    let _consumer = ConsumerMetrics::new(&registry, "g");
    let world = World::with_bus("sqlite::memory:", leeward_events::bus::Options::default()).await;
    world.bus.measure(&registry);
    let mut listed = metrics::NAMES.to_vec();
    listed.sort_unstable();
    assert_eq!(registry.names(), listed);
}

/// A kind that nobody publishes here.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Elsewhere {}

impl leeward_events::Event for Elsewhere {
    const TYPE: &'static str = "elsewhere.happened";
    const VERSION: u32 = 1;
    fn key(&self) -> String {
        String::new()
    }
}

#[tokio::test]
async fn a_group_that_nothing_is_for_still_acknowledges_what_has_passed() {
    let world = World::new().await;
    let consumer = world.consumer().on::<Elsewhere>(async |_, _| Ok(())).build().unwrap();
    let consumer = world.start_consumer(consumer);
    world.publish(&[changed("k", 1), changed("k", 2), changed("k", 3)]).await;
    let caught_up = async {
        // Until it does, the bus keeps everything for it.
        while !matches!(world.bus.lag().await.unwrap()[..], [GroupLag { behind: 0, .. }]) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let caught_up = tokio::time::timeout(Duration::from_secs(30), caught_up).await;
    assert!(caught_up.is_ok(), "{:?}", world.bus.lag().await);
    consumer.stop().await;
}
