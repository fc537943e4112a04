//! The inbox keeps what it must and forgets what it may, in small steps.

use std::sync::Arc;
use std::time::Duration;

use leeward_events::{Dedupe, Envelope, Inbox};
use leeward_resilience::ManualClock;
use leeward_store::Tx;

use crate::world::{World, cause, changed};

const ROWS: &str = "SELECT COUNT(*) FROM inbox";

async fn first_time(world: &World, inbox: &Inbox, group: &'static str, source: &str, id: &str) -> bool {
    let event = Envelope::new(&changed("k", 1), id, source, 0, &cause()).unwrap();
    let inbox = inbox.clone();
    let noted: Result<bool, leeward_store::Error> =
        world.db.write(async move |tx: &mut Tx| inbox.first_time(tx, group, &event).await).await;
    noted.unwrap()
}

async fn clean(world: &World, inbox: &Inbox) {
    let inbox = inbox.clone();
    world.db.write(async move |tx: &mut Tx| inbox.clean(tx).await).await.unwrap();
}

#[tokio::test]
async fn an_event_is_new_once_for_each_group_and_source() {
    let world = World::new().await;
    let inbox = Inbox::new(Arc::new(ManualClock::new()));
    assert!(first_time(&world, &inbox, "g", "s", "1").await);
    assert!(!first_time(&world, &inbox, "g", "s", "1").await);
    assert!(first_time(&world, &inbox, "h", "s", "1").await);
    assert!(first_time(&world, &inbox, "g", "t", "1").await, "an id is its source's own");
}

#[tokio::test]
async fn what_is_past_its_age_is_forgotten_and_nothing_else() {
    let world = World::new().await;
    let clock = ManualClock::new();
    let inbox = Inbox::new(Arc::new(clock.clone())).retention(Duration::from_secs(60), 1000);
    for id in ["1", "2", "3"] {
        assert!(first_time(&world, &inbox, "g", "s", id).await);
    }
    clock.advance(Duration::from_secs(59));
    assert!(first_time(&world, &inbox, "g", "s", "4").await);
    clean(&world, &inbox).await;
    assert_eq!(world.count(ROWS).await, 4);
    clock.advance(Duration::from_secs(2));
    clean(&world, &inbox).await;
    assert_eq!(world.count(ROWS).await, 1);
    assert!(!first_time(&world, &inbox, "g", "s", "4").await);
    assert!(first_time(&world, &inbox, "g", "s", "1").await);
}

#[tokio::test]
async fn its_rows_are_bounded_whatever_the_rate() {
    let world = World::new().await;
    let inbox = Inbox::new(Arc::new(ManualClock::new())).retention(Duration::from_secs(60), 10);
    for id in 0..30 {
        assert!(first_time(&world, &inbox, "g", "s", &format!("{id}")).await);
    }
    clean(&world, &inbox).await;
    assert_eq!(world.count(ROWS).await, 10);
    assert!(!first_time(&world, &inbox, "g", "s", "29").await, "the newest are kept");
}
