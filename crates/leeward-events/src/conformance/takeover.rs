//! What a group's next subscriber gets.

use super::{Subject, apple, ids, numbered, publish, subscribe, take};
use crate::bus::{Error, Options, Start};

pub(super) async fn what_was_not_acknowledged_comes_again(subject: &impl Subject) {
    let bus = subject.open(Options::default()).await;
    publish(&bus, (0..6).map(apple)).await;
    let mut first = subscribe(&bus, "g", &["**"], Start::Beginning).await;
    let taken = take(&mut first, 6).await;
    first.acknowledge(taken[1].position).await.expect("an acknowledgement");
    drop(first);
    let mut second = subscribe(&bus, "g", &["**"], Start::Acknowledged).await;
    let again = take(&mut second, 4).await;
    assert_eq!(ids(&again), numbered("a", 2..6));
    second.acknowledge(again[3].position).await.expect("an acknowledgement");
    // An acknowledgement that comes late moves nothing back.
    second.acknowledge(taken[1].position).await.expect("an acknowledgement");
    drop(second);
    let mut third = subscribe(&bus, "g", &["**"], Start::Acknowledged).await;
    publish(&bus, [apple(6)]).await;
    assert_eq!(ids(&take(&mut third, 1).await), numbered("a", [6]));
}

pub(super) async fn the_newest_subscriber_takes_over(subject: &impl Subject) {
    let bus = subject.open(Options::default()).await;
    let mut older = subscribe(&bus, "g", &["**"], Start::Beginning).await;
    publish(&bus, [apple(0)]).await;
    take(&mut older, 1).await;
    let waiting = older.next_batch(1);
    let newer = async {
        let mut newer = subscribe(&bus, "g", &["**"], Start::Acknowledged).await;
        (ids(&take(&mut newer, 1).await), newer)
    };
    let (superseded, (taken, mut newer)) = tokio::join!(waiting, newer);
    assert!(matches!(superseded, Err(Error::Superseded { .. })), "{superseded:?}");
    assert_eq!(taken, numbered("a", [0]));
    // Leaving does not take the group from the one who has it.
    drop(older);
    publish(&bus, [apple(1)]).await;
    assert_eq!(ids(&take(&mut newer, 1).await), numbered("a", [1]));
}

pub(super) async fn a_removed_group_starts_anew(subject: &impl Subject) {
    let bus = subject.open(Options::default()).await;
    publish(&bus, [apple(0)]).await;
    let mut first = subscribe(&bus, "g", &["**"], Start::Beginning).await;
    let taken = take(&mut first, 1).await;
    first.acknowledge(taken[0].position).await.expect("an acknowledgement");
    drop(first);
    assert!(bus.remove_group("g").await.expect("an answer"));
    assert!(!bus.remove_group("g").await.expect("an answer"));
    assert!(bus.lag().await.expect("an answer").is_empty());
    let mut second = subscribe(&bus, "g", &["**"], Start::Acknowledged).await;
    assert_eq!(ids(&take(&mut second, 1).await), numbered("a", [0]));
}

pub(super) async fn log_and_positions_survive_a_restart(subject: &impl Subject) {
    let bus = subject.open(Options::default()).await;
    publish(&bus, (0..6).map(apple)).await;
    let mut first = subscribe(&bus, "g", &["**"], Start::Beginning).await;
    let taken = take(&mut first, 6).await;
    let id = first.bus().cloned();
    first.acknowledge(taken[3].position).await.expect("an acknowledgement");
    drop(first);
    let bus = subject.reopen(bus, Options::default()).await;
    let last = publish(&bus, [apple(6)]).await;
    assert!(last > taken[5].position, "no position is given twice");
    let mut again = subscribe(&bus, "g", &["**"], Start::Acknowledged).await;
    assert_eq!(ids(&take(&mut again, 3).await), numbered("a", 4..7));
    assert_eq!(again.bus().cloned(), id, "it is the same bus");
    let mut all = subscribe(&bus, "all", &["**"], Start::Beginning).await;
    assert_eq!(ids(&take(&mut all, 7).await), numbered("a", 0..7));
}
