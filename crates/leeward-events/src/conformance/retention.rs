//! What is kept, what is refused.

use super::{Subject, apple, heavy, ids, numbered, publish, subscribe, take};
use crate::bus::{Error, Options, Start};

pub(super) async fn a_full_bus_refuses_whole_batches_and_recovers(subject: &impl Subject) {
    let bus = subject.open(Options::default().limit_bytes(20_000).keep_bytes(2_000)).await;
    let mut group = subscribe(&bus, "g", &["**"], Start::Beginning).await;
    let mut taken = 0;
    // A remote group is known from its first wait on.
    publish(&bus, [heavy(0)]).await;
    taken += take(&mut group, 1).await.len();
    let mut published = 1;
    let refused = loop {
        match bus.publish(vec![heavy(published), heavy(published + 1)]).await {
            Ok(_) => published += 2,
            Err(refused) => break refused,
        }
        assert!(published < 100, "20 kB hold fewer than a hundred kilobytes");
    };
    assert!(matches!(refused, Error::Full { .. }), "{refused:?}");
    assert!(refused.is_temporary());
    let events = take(&mut group, usize::try_from(published).expect("small") - taken).await;
    assert_eq!(
        ids(&events),
        numbered("h", 1..published),
        "nothing of the refused batch is there, nothing before it is lost"
    );
    group.acknowledge(events[events.len() - 1].position).await.expect("an acknowledgement");
    // With everything acknowledged the log makes room again, for ever.
    for number in 1000..1100 {
        publish(&bus, [heavy(number)]).await;
        let next = take(&mut group, 1).await;
        assert_eq!(ids(&next), numbered("h", [number]));
        group.acknowledge(next[0].position).await.expect("an acknowledgement");
    }
}

pub(super) async fn a_late_group_finds_what_is_kept(subject: &impl Subject) {
    let bus = subject.open(Options::default()).await;
    let mut early = subscribe(&bus, "early", &["**"], Start::Beginning).await;
    publish(&bus, (0..200).map(apple)).await;
    let last = take(&mut early, 200).await[199].position;
    early.acknowledge(last).await.expect("an acknowledgement");
    publish(&bus, [apple(200)]).await;
    let mut late = subscribe(&bus, "late", &["**"], Start::Acknowledged).await;
    assert_eq!(ids(&take(&mut late, 201).await), numbered("a", 0..201));
}

pub(super) async fn lag_counts_what_is_not_acknowledged(subject: &impl Subject) {
    let bus = subject.open(Options::default()).await;
    let mut group = subscribe(&bus, "g", &["**"], Start::Beginning).await;
    publish(&bus, (0..10).map(apple)).await;
    let taken = take(&mut group, 10).await;
    group.acknowledge(taken[3].position).await.expect("an acknowledgement");
    let lag = bus.lag().await.expect("an answer");
    let [lag] = &lag[..] else { panic!("{lag:?}") };
    assert_eq!((&*lag.group, lag.behind, lag.active), ("g", 6, true));
    assert_eq!((lag.acknowledged, lag.head), (taken[3].position, taken[9].position));
}
