//! Outbox and relay: in the transaction or not at all, refused when full, patient when the bus is away.

use std::sync::Arc;
use std::time::Duration;

use leeward_events::bus::{self, Start};
use leeward_events::metrics::{self, RelayMetrics};
use leeward_events::outbox::{Error, Retention};
use leeward_events::{Outbox, Patterns};
use leeward_resilience::{Clock, ManualClock};
use leeward_store::Tx;
use leeward_telemetry::Registry;

use crate::world::{World, cause, changed};

#[tokio::test]
async fn an_event_is_there_if_and_only_if_the_transaction_committed() {
    let world = World::new().await;
    let outbox = world.outbox.clone();
    let given_up: Result<(), Error> = world
        .db
        .write(async move |tx: &mut Tx| {
            outbox.append(tx, &changed("a", 1), &cause()).await?;
            Err(leeward_store::Error::NotFound.into())
        })
        .await;
    assert!(given_up.is_err());
    world.append(vec![changed("a", 2)]).await;
    let relay = world.start_relay();
    let mut all = world.bus.subscribe("g", Patterns::all(), Start::Beginning).await.unwrap();
    let batch = all.next_batch(9).await.unwrap();
    let events: Vec<_> = batch.deliveries.iter().map(|one| one.envelope().unwrap()).collect();
    let [event] = &events[..] else { panic!("{events:?}") };
    assert!(event.data.get().contains("2"));
    assert_eq!(event.log_seq, Some(1), "the place in the log travels with it");
    relay.stop().await;
}

#[tokio::test]
async fn a_full_outbox_refuses_before_anything_changed_and_recovers() {
    let mut world = World::new().await;
    world.outbox = Outbox::new("tests", Arc::new(leeward_resilience::TokioClock)).limit_bytes(2_000);
    let mut appended = 0;
    let refused = loop {
        match world.try_append(vec![changed("a", appended)]).await {
            Ok(()) => appended += 1,
            Err(refused) => break refused,
        }
        assert!(appended < 100);
    };
    assert!(
        matches!(refused, Error::Full { limit_bytes: 2_000, .. }) && refused.is_temporary(),
        "{refused:?}"
    );
    assert_eq!(world.count("SELECT COUNT(*) FROM outbox").await, appended, "the refused one left nothing");
    let relay = world.start_relay();
    let mut all = world.bus.subscribe("g", Patterns::all(), Start::Beginning).await.unwrap();
    let mut relayed = 0;
    while relayed < appended {
        relayed += i64::try_from(all.next_batch(9).await.unwrap().deliveries.len()).unwrap();
    }
    while world.outbox.status().pending_bytes() > 0 {
        tokio::task::yield_now().await;
    }
    world.append(vec![changed("a", appended)]).await;
    relay.stop().await;
}

#[tokio::test]
async fn the_limit_holds_after_a_restart_too() {
    let mut world = World::new().await;
    world.append((0..20).map(|number| changed("a", number)).collect()).await;
    world.outbox = Outbox::new("tests", Arc::new(leeward_resilience::TokioClock)).limit_bytes(2_000);
    // The bus is away, so that nothing leaves; the relay still finds what waits.
    world.bus.close().await;
    let relay = world.start_relay();
    while world.outbox.status().pending_bytes() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(world.try_append(vec![changed("a", 20)]).await, Err(Error::Full { .. })));
    relay.stop().await;
}

#[tokio::test]
async fn events_wait_while_the_bus_refuses_and_keep_their_order() {
    let options = bus::Options::default().limit_bytes(3_000).keep_bytes(0);
    let world = World::with_bus("memory:", options).await;
    let mut group = world.bus.subscribe("g", Patterns::all(), Start::Beginning).await.unwrap();
    let registry = Registry::new();
    let counted = RelayMetrics::new(&registry, &world.outbox);
    let relay = world.relay().batch_events_max(2).metrics(counted);
    let relay = world.start(|stop| relay.run(stop));
    world.append((0..40).map(|number| changed(&format!("k{}", number % 3), number)).collect()).await;
    let mut seen = Vec::new();
    while seen.len() < 40 {
        let batch = group.next_batch(2).await.unwrap();
        for one in &batch.deliveries {
            seen.push(one.envelope().unwrap().decode::<crate::world::Changed>().unwrap().number);
        }
        // Without this the bus stays full and nothing more comes.
        group.acknowledge(batch.through).await.unwrap();
    }
    assert_eq!(seen, (0..40).collect::<Vec<i64>>());
    let text = registry.encode();
    assert!(text.contains(metrics::RELAYED_TOTAL) && text.contains(metrics::OUTBOX_OLDEST_UNRELAYED_SECONDS));
    relay.stop().await;
}

#[tokio::test]
async fn a_stopped_relay_has_marked_and_sends_nothing_twice() {
    let world = World::new().await;
    world.append((0..10).map(|number| changed("a", number)).collect()).await;
    let mut all = world.bus.subscribe("g", Patterns::all(), Start::Beginning).await.unwrap();
    let relay = world.start_relay();
    let mut seen = 0;
    while seen < 10 {
        seen += all.next_batch(100).await.unwrap().deliveries.len();
    }
    relay.stop().await;
    let relay = world.start_relay();
    world.append(vec![changed("a", 10)]).await;
    let next = all.next_batch(100).await.unwrap();
    assert_eq!(next.deliveries.len(), 1);
    assert_eq!(next.deliveries[0].envelope().unwrap().log_seq, Some(11));
    relay.stop().await;
}

#[tokio::test]
async fn the_log_is_read_in_pages_and_cleaned_by_age_but_never_to_its_end() {
    let mut world = World::new().await;
    let clock = ManualClock::new();
    let retention = Retention { age: Duration::from_secs(60), bytes: 1 << 30 };
    world.outbox = Outbox::new("tests", Arc::new(clock.clone())).retention(retention);
    world.append((0..5).map(|number| changed("a", number)).collect()).await;
    let read = async |after| {
        let outbox = world.outbox.clone();
        world.db.read(async move |tx| outbox.read_log(tx, after, 2).await).await.unwrap()
    };
    let first = read(0).await;
    assert_eq!((first.oldest_seq, first.newest_seq, first.entries.len()), (1, 5, 2));
    assert_eq!(read(first.entries[1].seq).await.entries[0].event.log_seq, Some(3));
    assert!(read(5).await.entries.is_empty());

    let written_ms = clock.unix_ms();
    clock.advance(Duration::from_secs(61));
    let relay = world.start_relay();
    // One pass publishes, a later one cleans: each append wakes the relay.
    let mut appended = 5;
    while read(0).await.oldest_seq < 6 {
        clock.advance(Duration::from_secs(31));
        world.append(vec![changed("a", appended)]).await;
        appended += 1;
        assert!(appended < 10_000, "it is never cleaned");
    }
    assert!(read(0).await.entries.iter().all(|entry| entry.event.time_ms > written_ms));
    relay.stop().await;
}

#[tokio::test]
async fn an_event_that_would_be_too_large_with_its_place_in_the_log_is_refused_at_once() {
    let world = World::new().await;
    // The largest that fits by itself: what the relay adds has no room any more.
    let data = |bytes: usize| {
        let mut envelope =
            leeward_events::Envelope::new(&changed("k", 1), world.outbox.new_id(), "tests", 0, &cause())
                .unwrap();
        envelope.data = serde_json::value::to_raw_value(&"x".repeat(bytes)).unwrap();
        envelope
    };
    let own = data(0).to_json().unwrap().len();
    let most = leeward_events::envelope::EVENT_BYTES_MAX - own;
    assert!(data(most).to_json().is_ok() && data(most + 1).to_json().is_err());
    let append = async |envelope: leeward_events::Envelope| {
        let outbox = world.outbox.clone();
        world.db.write(async move |tx: &mut Tx| outbox.append_envelope(tx, envelope).await).await
    };
    assert!(matches!(append(data(most)).await, Err(Error::Event(_))));
    append(data(most - 32)).await.unwrap();
    let relay = world.start_relay();
    let mut all = world.bus.subscribe("g", Patterns::all(), Start::Beginning).await.unwrap();
    let mut largest = 0;
    while largest < most {
        let batch = all.next_batch(9).await.unwrap();
        largest =
            batch.deliveries.iter().map(|one| one.envelope().unwrap().data.get().len()).max().unwrap_or(0)
                + 32;
    }
    relay.stop().await;
}

#[tokio::test]
async fn what_waits_shows_although_no_relay_looks() {
    let clock = Arc::new(ManualClock::new());
    let mut world = World::new().await;
    world.outbox = Outbox::new("tests", clock.clone());
    let age = |world: &World| world.outbox.status().oldest_age(clock.unix_ms());
    assert_eq!(age(&world), Duration::ZERO);
    world.append(vec![changed("a", 1)]).await;
    clock.advance(Duration::from_secs(90));
    world.append(vec![changed("a", 2)]).await;
    assert_eq!(age(&world), Duration::from_secs(90), "the oldest counts");
    let relay = world.start_relay();
    let mut all = world.bus.subscribe("g", Patterns::all(), Start::Beginning).await.unwrap();
    let mut relayed = 0;
    while relayed < 2 {
        relayed += all.next_batch(9).await.unwrap().deliveries.len();
    }
    relay.stop().await;
    assert_eq!(age(&world), Duration::ZERO);
}
