//! What arrives, where, in which order.

use super::{Subject, apple, brick, heavy, ids, numbered, publish, subscribe, take};
use crate::bus::{Error, Message, Options, PUBLISH_EVENTS_MAX, Position, Start};

pub(super) async fn what_was_published_arrives_in_order_and_unchanged(subject: &impl Subject) {
    let bus = subject.open(Options::default()).await;
    let events: Vec<_> = (0..30).map(apple).collect();
    let bodies: Vec<_> =
        events.iter().map(|event| Message::new(event).expect("an event").body().clone()).collect();
    let mut last = Position::START;
    for batch in events.chunks(7) {
        let position = publish(&bus, batch.to_vec()).await;
        assert!(position > last, "positions ascend: {position} after {last}");
        last = position;
    }
    let taken = take(&mut subscribe(&bus, "g", &["**"], Start::Beginning).await, 30).await;
    assert_eq!(taken.iter().map(|one| one.body.clone()).collect::<Vec<_>>(), bodies);
    assert!(taken.windows(2).all(|pair| pair[0].position < pair[1].position));
    assert_eq!(taken[29].position, last);
}

pub(super) async fn groups_do_not_see_each_other(subject: &impl Subject) {
    let bus = subject.open(Options::default()).await;
    let mut one = subscribe(&bus, "one", &["**"], Start::Beginning).await;
    publish(&bus, (0..4).map(apple)).await;
    let taken = take(&mut one, 4).await;
    one.acknowledge(taken[3].position).await.expect("an acknowledgement");
    let mut two = subscribe(&bus, "two", &["**"], Start::Acknowledged).await;
    assert_eq!(ids(&take(&mut two, 4).await), numbered("a", 0..4));
}

pub(super) async fn patterns_choose_and_the_scan_goes_on(subject: &impl Subject) {
    let bus = subject.open(Options::default()).await;
    let mut bricks = subscribe(&bus, "bricks", &["stone.*"], Start::Beginning).await;
    publish(&bus, [apple(0), brick(0), apple(1), brick(1)]).await;
    assert_eq!(ids(&take(&mut bricks, 2).await), numbered("b", 0..2));
    let last = publish(&bus, [apple(2), apple(3), brick(2)]).await;
    let batch = bricks.next_batch(10).await.expect("events");
    assert_eq!((ids(&batch.deliveries), batch.through), (numbered("b", 2..3), last));
    let mut all = subscribe(&bus, "all", &["fruit.apple", "stone.brick"], Start::Beginning).await;
    assert_eq!(take(&mut all, 7).await.len(), 7);
}

pub(super) async fn a_waiting_subscriber_is_woken(subject: &impl Subject) {
    let bus = subject.open(Options::default()).await;
    let mut waiting = subscribe(&bus, "g", &["**"], Start::Beginning).await;
    for number in 0..5 {
        let (taken, _) = tokio::join!(take(&mut waiting, 1), publish(&bus, [apple(number)]));
        assert_eq!(ids(&taken), numbered("a", [number]));
    }
}

pub(super) async fn a_batch_is_not_larger_than_asked_for(subject: &impl Subject) {
    let bus = subject.open(Options::default()).await;
    publish(&bus, (0..10).map(apple)).await;
    let mut some = subscribe(&bus, "g", &["**"], Start::Beginning).await;
    let mut seen = 0;
    while seen < 10 {
        let batch = some.next_batch(3).await.expect("events");
        assert!((1..=3).contains(&batch.deliveries.len()), "{}", batch.deliveries.len());
        assert_eq!(batch.through, some.scanned());
        seen += batch.deliveries.len();
    }
}

pub(super) async fn publishers_keep_their_own_order(subject: &impl Subject) {
    let bus = subject.open(Options::default()).await;
    let mut all = subscribe(&bus, "g", &["**"], Start::Beginning).await;
    let publisher = |from: u32| {
        let bus = &bus;
        async move {
            for number in from..from + 50 {
                publish(bus, [apple(number)]).await;
            }
        }
    };
    let (taken, ..) = tokio::join!(take(&mut all, 150), publisher(0), publisher(1000), publisher(2000));
    for from in [0, 1000, 2000] {
        let of_one: Vec<_> = ids(&taken)
            .into_iter()
            .filter(|id| id[2..].parse::<u32>().is_ok_and(|number| (from..from + 50).contains(&number)))
            .collect();
        assert_eq!(of_one, numbered("a", from..from + 50));
    }
}

pub(super) async fn a_slow_subscriber_misses_nothing(subject: &impl Subject) {
    let bus = subject.open(Options::default().tail_bytes(4_000)).await;
    let mut slow = subscribe(&bus, "slow", &["fruit.*"], Start::Beginning).await;
    let mut expected = Vec::new();
    for round in 0..10_u32 {
        let numbers = round * 20..(round + 1) * 20;
        publish(&bus, numbers.clone().map(heavy).chain([brick(round)])).await;
        expected.extend(numbered("h", numbers));
    }
    // Reading and publishing at once: the tail moves on under the reader.
    let (taken, _) = tokio::join!(take(&mut slow, 220), publish(&bus, (200..220).map(heavy)));
    expected.extend(numbered("h", 200..220));
    assert_eq!(ids(&taken), expected);
}

pub(super) async fn a_batch_that_is_too_large_is_refused(subject: &impl Subject) {
    let bus = subject.open(Options::default()).await;
    let most = u32::try_from(PUBLISH_EVENTS_MAX).expect("a small constant");
    let refused = bus.publish((0..=most).map(apple).collect()).await;
    assert!(matches!(refused, Err(Error::Batch { .. })), "{refused:?}");
    publish(&bus, (0..most).map(apple)).await;
    let mut all = subscribe(&bus, "g", &["**"], Start::Beginning).await;
    let count = usize::try_from(most).expect("a small constant");
    assert_eq!(ids(&take(&mut all, count).await), numbered("a", 0..most));
}

pub(super) async fn starts_are_where_they_say(subject: &impl Subject) {
    let bus = subject.open(Options::default()).await;
    publish(&bus, (0..6).map(apple)).await;
    let first = subscribe(&bus, "g", &["**"], Start::Beginning).await.next_batch(2).await.expect("events");
    let (id, position) = (first.bus.clone(), first.deliveries[1].position);

    let resume = Start::Resume { bus: id.clone(), position };
    let mut resumed = subscribe(&bus, "resumed", &["**"], resume).await;
    assert_eq!(ids(&take(&mut resumed, 4).await), numbered("a", 2..6));

    let other = Start::Resume { bus: "another-bus".into(), position };
    let mut anew = subscribe(&bus, "other", &["**"], other).await;
    assert_eq!(ids(&take(&mut anew, 6).await), numbered("a", 0..6));

    let ahead = Start::Resume { bus: id, position: Position::new(1_000_000) };
    let mut ahead = subscribe(&bus, "ahead", &["**"], ahead).await;
    assert_eq!(ids(&take(&mut ahead, 6).await), numbered("a", 0..6));

    let mut now = subscribe(&bus, "now", &["**"], Start::Now).await;
    // A remote bus is reached by the first wait; only then is it now.
    let wait = tokio::time::timeout(std::time::Duration::from_millis(300), now.next_batch(9));
    assert!(wait.await.is_err(), "nothing has happened since now");
    publish(&bus, [apple(6)]).await;
    assert_eq!(ids(&take(&mut now, 1).await), numbered("a", [6]));
}
