//! Crashes between two steps, and what absorbs them. Each has its control: without the protection the damage shows.

use std::sync::Arc;
use std::time::Duration;

use leeward_events::inbox::DedupeFuture;
use leeward_events::{Dedupe, Envelope};
use leeward_runtime::Stop;
use leeward_store::Tx;

use crate::world::{Changed, World, changed, effect};

/// Says of every event that it is new: what a consumer without an inbox would do.
#[derive(Debug)]
struct Forgetful;

impl Dedupe for Forgetful {
    fn first_time<'a>(&'a self, _: &'a mut Tx, _: &'a str, _: &'a Envelope) -> DedupeFuture<'a, bool> {
        Box::pin(async { Ok(true) })
    }
}

/// Publishes everything and dies before the mark is written.
async fn relay_that_dies(world: &World, published: usize) {
    let relay = world.relay().mark_every(Duration::from_secs(3600));
    tokio::select! {
        () = relay.run(Stop::never()) => unreachable!("nobody stops it"),
        _ = world.wait_effects(published) => {}
    }
    assert_eq!(world.count("SELECT COUNT(*) FROM outbox_mark").await, 0, "it died before the mark");
}

fn two_of_each() -> Vec<Changed> {
    (0..20).map(|number| changed(&format!("k{}", number % 4), number)).collect()
}

#[tokio::test]
async fn what_is_sent_twice_is_applied_once() {
    let world = World::new().await;
    let consumer =
        world.consumer().on::<Changed>(async |tx, received| effect(tx, &received).await).build().unwrap();
    let metrics = consumer.metrics().clone();
    let consumer = world.start_consumer(consumer);
    world.append(two_of_each()).await;
    relay_that_dies(&world, 20).await;
    let relay = world.start_relay();
    world.append(vec![changed("last", 99)]).await;
    assert_eq!(world.wait_effects(21).await.len(), 21);
    relay.stop().await;
    consumer.stop().await;
    assert_eq!(metrics.duplicates.get(), 20, "they did come twice");
    assert_eq!(metrics.applied.get(), 21);
}

#[tokio::test]
async fn without_an_inbox_the_second_delivery_is_seen() {
    let world = World::new().await;
    let consumer = world
        .consumer()
        .dedupe(Arc::new(Forgetful))
        .on::<Changed>(async |tx, received| effect(tx, &received).await)
        .build()
        .unwrap();
    let consumer = world.start_consumer(consumer);
    world.append(two_of_each()).await;
    relay_that_dies(&world, 20).await;
    let relay = world.start_relay();
    let effects = world.wait_effects(40).await;
    assert_eq!(effects.len(), 40, "this is what the inbox prevents");
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_consumer_that_dies_goes_on_where_its_database_is() {
    let world = World::new().await;
    world.publish(&two_of_each()).await;
    let build =
        || world.consumer().on::<Changed>(async |tx, received| effect(tx, &received).await).build().unwrap();
    tokio::select! {
        ended = build().run(Stop::never()) => panic!("{ended:?}"),
        _ = world.wait_effects(20) => {}
    }
    assert_eq!(world.bus.lag().await.unwrap()[0].behind, 20, "it died before the bus heard of it");
    let consumer = build();
    let metrics = consumer.metrics().clone();
    let consumer = world.start_consumer(consumer);
    world.publish(&[changed("last", 99)]).await;
    assert_eq!(world.wait_effects(21).await.len(), 21);
    consumer.stop().await;
    assert_eq!(metrics.duplicates.get(), 0, "its position was committed with the effects");
    assert_eq!(
        world.bus.lag().await.unwrap()[0].behind,
        0,
        "a consumer that is stopped says how far it came"
    );
}

#[tokio::test]
async fn a_new_bus_is_read_from_its_beginning() {
    let mut world = World::new().await;
    let build = |world: &World| {
        world.consumer().on::<Changed>(async |tx, received| effect(tx, &received).await).build().unwrap()
    };
    world.publish(&two_of_each()).await;
    let consumer = world.start_consumer(build(&world));
    world.wait_effects(20).await;
    consumer.stop().await;
    world.bus = leeward_events::Bus::open("memory:", leeward_events::bus::Options::default(), &world.tasks)
        .await
        .unwrap();
    world.publish(&[changed("new", 1)]).await;
    let consumer = world.start_consumer(build(&world));
    assert_eq!(world.wait_effects(21).await[20], changed("new", 1));
    consumer.stop().await;
}

#[tokio::test]
async fn an_acknowledgement_past_the_head_is_one_of_the_head_also_after_a_restart() {
    use leeward_events::Patterns;
    use leeward_events::bus::{self, Bus, Position, Start};
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("bus.db").display());
    let tasks = leeward_runtime::Tasks::new();
    let world = World::new().await;
    let event = |number| {
        vec![
            Envelope::new(&changed("k", number), world.outbox.new_id(), "tests", 0, &crate::world::cause())
                .unwrap(),
        ]
    };
    let bus = Bus::open(&url, bus::Options::default(), &tasks).await.unwrap();
    let mut group = bus.subscribe("g", Patterns::all(), Start::Beginning).await.unwrap();
    bus.publish(event(1)).await.unwrap();
    group.next_batch(1).await.unwrap();
    group.acknowledge(Position::new(1_000)).await.unwrap();
    bus.close().await;
    drop(group);

    let bus = Bus::open(&url, bus::Options::default(), &tasks).await.unwrap();
    let mut group = bus.subscribe("g", Patterns::all(), Start::Acknowledged).await.unwrap();
    bus.publish(event(2)).await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(30), group.next_batch(1)).await;
    assert_eq!(next.expect("an event").unwrap().deliveries.len(), 1);
    bus.close().await;
}
