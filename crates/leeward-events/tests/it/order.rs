//! Failing handlers: alone, in order of their key, tried again, given up, brought back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use leeward_events::dead::{By, Error};
use leeward_events::{Consumer, DeadLetters, HandlerError, Redelivery};
use leeward_resilience::{Clock, Instant, TokioClock};
use leeward_store::params;

use crate::world::{Changed, World, changed, effect};

const DEAD: &str = "SELECT COUNT(*) FROM parked WHERE state = 2";
const PARKED: &str = "SELECT COUNT(*) FROM parked";

fn by() -> By {
    By { actor: "a test".into(), note: "to see".into() }
}

fn numbers_of(effects: &[Changed], key: &str) -> Vec<i64> {
    effects.iter().filter(|effect| effect.key == key).map(|effect| effect.number).collect()
}

/// Three keys in turn, ten events each.
fn thirty() -> Vec<Changed> {
    (0..30).map(|number| changed(["a", "b", "c"][usize::try_from(number % 3).unwrap()], number)).collect()
}

#[tokio::test]
async fn a_failing_event_rolls_back_alone_and_its_key_waits_in_order() {
    let world = World::new().await;
    let open = Arc::new(AtomicBool::new(false));
    let handler_open = open.clone();
    let consumer = world
        .consumer()
        .redelivery(
            Redelivery::default()
                .attempts_max(1_000_000)
                .delays(Duration::from_millis(1), Duration::from_millis(2)),
        )
        .on::<Changed>(async move |tx, received| {
            // The effect first, so that a roll-back that does not work would show.
            effect(tx, &received).await?;
            let stuck = received.event == changed("b", 4) && !handler_open.load(Ordering::SeqCst);
            if stuck { Err(HandlerError::Retry("not yet".into())) } else { Ok(()) }
        })
        .build()
        .unwrap();
    let metrics = consumer.metrics().clone();
    world.publish(&thirty()).await;
    let consumer = world.start_consumer(consumer);
    let effects = world.wait_effects(21).await;
    assert_eq!(numbers_of(&effects, "a"), (0..30).step_by(3).collect::<Vec<i64>>());
    assert_eq!(numbers_of(&effects, "b"), [1], "nothing of the key overtakes the one that failed");
    assert_eq!(numbers_of(&effects, "c").len(), 10, "other keys go on");
    world.publish(&[changed("b", 31), changed("a", 30)]).await;
    world.wait_effects(22).await;
    world.wait_count(PARKED, 10).await;
    open.store(true, Ordering::SeqCst);
    let effects = world.wait_effects(32).await;
    assert_eq!(numbers_of(&effects, "b"), [1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31]);
    world.wait_count(PARKED, 0).await;
    world.publish(&[changed("b", 34)]).await;
    assert_eq!(world.wait_effects(33).await[32], changed("b", 34));
    consumer.stop().await;
    assert_eq!(metrics.applied.get(), 33);
}

#[tokio::test]
async fn after_its_last_attempt_an_event_is_a_dead_letter_and_its_key_stays_parked() {
    let world = World::new().await;
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = attempts.clone();
    let consumer = world
        .consumer()
        .on::<Changed>(async move |tx, received| {
            if received.event.number == 4 {
                counted.fetch_add(1, Ordering::SeqCst);
                return Err(HandlerError::Retry("never works".into()));
            }
            effect(tx, &received).await
        })
        .build()
        .unwrap();
    world.publish(&thirty()).await;
    let consumer = world.start_consumer(consumer);
    world.wait_count(DEAD, 1).await;
    let effects = world.wait_effects(21).await;
    assert_eq!(numbers_of(&effects, "b"), [1]);
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
    let dead = DeadLetters::new(world.db.clone(), Arc::new(TokioClock));
    let list = dead.list(Some("tests.effects"), 0, 10).await.unwrap();
    let [letter] = &list[..] else { panic!("{list:?}") };
    assert_eq!((&*letter.key, letter.attempts, &*letter.reason, letter.waiting), ("b", 3, "never works", 8));

    dead.drop(letter.seq, by()).await.unwrap();
    let effects = world.wait_effects(29).await;
    assert_eq!(numbers_of(&effects, "b"), [1, 7, 10, 13, 16, 19, 22, 25, 28], "what waited follows in order");
    assert!(matches!(dead.show(letter.seq).await, Err(Error::NotFound { .. })));
    assert_eq!(world.count("SELECT COUNT(*) FROM parked_audit WHERE action = 'drop'").await, 1);
    consumer.stop().await;
}

#[tokio::test]
async fn poison_is_dead_at_once_and_an_edited_one_can_be_replayed() {
    let world = World::new().await;
    let consumer = world
        .consumer()
        .on::<Changed>(async |tx, received| {
            if received.event.number < 0 {
                return Err(HandlerError::Poison("negative".into()));
            }
            effect(tx, &received).await
        })
        .build()
        .unwrap();
    let consumer = world.start_consumer(consumer);
    world.publish(&[changed("a", -1), changed("a", 2), changed("b", 1)]).await;
    world.wait_count(DEAD, 1).await;
    let dead = DeadLetters::new(world.db.clone(), Arc::new(TokioClock));
    let seq = dead.list(None, 0, 10).await.unwrap()[0].seq;
    assert_eq!(dead.show(seq).await.unwrap().letter.attempts, 1);

    dead.replay(seq, by()).await.unwrap();
    world.wait_count("SELECT COUNT(*) FROM parked WHERE state = 2 AND attempts = 1", 1).await;
    let data = serde_json::value::to_raw_value(&changed("a", 1)).unwrap();
    dead.edit(seq, data, by()).await.unwrap();
    let shown = dead.show(seq).await.unwrap();
    assert!(shown.body.contains("\"number\":1"), "{}", shown.body);
    assert_eq!(shown.audit.iter().map(|line| &*line.action).collect::<Vec<_>>(), ["replay", "edit"]);
    dead.replay(seq, by()).await.unwrap();
    let effects = world.wait_effects(3).await;
    assert_eq!(numbers_of(&effects, "a"), [1, 2]);
    world.wait_count(PARKED, 0).await;
    consumer.stop().await;
}

#[tokio::test]
async fn what_a_type_cannot_read_is_poison() {
    let world = World::new().await;
    let consumer =
        world.consumer().on::<Changed>(async |tx, received| effect(tx, &received).await).build().unwrap();
    let consumer = world.start_consumer(consumer);
    let json = |version: u32, data: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"x{version}","source":"s","type":"thing.changed","subject":"s{version}","dataversion":{version},"data":{data}}}"#
        )
    };
    for body in [json(3, r#"{"key":"k","number":1}"#), json(1, "17")] {
        let message = leeward_events::bus::Message::from_json(body.into()).unwrap();
        world.bus.publish_messages(vec![message]).await.unwrap();
    }
    world.publish(&[changed("k", 2)]).await;
    world.wait_effects(1).await;
    world.wait_count(DEAD, 2).await;
    let dead = DeadLetters::new(world.db.clone(), Arc::new(TokioClock));
    let reasons: Vec<_> =
        dead.list(None, 0, 10).await.unwrap().into_iter().map(|letter| letter.reason).collect();
    assert!(reasons[0].contains("version 3") && reasons[1].contains("cannot be read"), "{reasons:?}");
    consumer.stop().await;
}

#[tokio::test]
async fn a_handler_that_panics_or_spoils_its_transaction_fails_alone() {
    let world = World::new().await;
    let consumer = world
        .consumer()
        .on::<Changed>(async |tx, received| {
            match received.event.number {
                7 => panic!("a defect"),
                8 => {
                    // A failed statement whose error is dropped: the store refuses to commit anything of it.
                    let _ = tx
                        .execute(
                            "INSERT INTO effect (seq, event_key, number) VALUES (NULL, NULL, NULL)",
                            params![],
                        )
                        .await;
                }
                9 => tokio::task::yield_now().await,
                _ => {}
            }
            effect(tx, &received).await
        })
        .build()
        .unwrap();
    world.publish(&(0..20).map(|number| changed(&format!("k{number}"), number)).collect::<Vec<_>>()).await;
    let consumer = world.start_consumer(consumer);
    world.wait_count(DEAD, 3).await;
    let effects = world.wait_effects(17).await;
    let expected: Vec<i64> = (0..20).filter(|number| ![7, 8, 9].contains(number)).collect();
    assert_eq!(effects.iter().map(|effect| effect.number).collect::<Vec<_>>(), expected);
    consumer.stop().await;
}

#[tokio::test]
async fn when_nothing_can_be_handled_everything_waits_and_nothing_counts() {
    let world = World::new().await;
    let refusals = Arc::new(AtomicU32::new(5));
    let left = refusals.clone();
    let consumer = world
        .consumer()
        .on::<Changed>(async move |tx, received| {
            if received.event.number == 4 && left.load(Ordering::SeqCst) > 0 {
                left.fetch_sub(1, Ordering::SeqCst);
                return Err(HandlerError::Wait("the outbox is full".into()));
            }
            effect(tx, &received).await
        })
        .build()
        .unwrap();
    let metrics = consumer.metrics().clone();
    world.publish(&thirty()).await;
    let consumer = world.start_consumer(consumer);
    let effects = world.wait_effects(30).await;
    assert_eq!(effects, thirty());
    consumer.stop().await;
    assert_eq!((metrics.failures.get(), metrics.parked_total.get()), (0, 0));
    assert_eq!(refusals.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn parked_events_survive_a_restart() {
    let world = World::new().await;
    let build = |poison: bool| {
        world
            .consumer()
            .on::<Changed>(async move |tx, received| {
                if poison && received.event.number == 4 {
                    return Err(HandlerError::Poison("for now".into()));
                }
                effect(tx, &received).await
            })
            .build()
            .unwrap()
    };
    world.publish(&thirty()).await;
    let consumer = world.start_consumer(build(true));
    world.wait_count(PARKED, 9).await;
    consumer.stop().await;
    let dead = DeadLetters::new(world.db.clone(), Arc::new(TokioClock));
    let seq = dead.list(None, 0, 10).await.unwrap()[0].seq;
    dead.replay(seq, by()).await.unwrap();
    let consumer = world.start_consumer(build(false));
    world.publish(&[changed("b", 31)]).await;
    let effects = world.wait_effects(31).await;
    assert_eq!(numbers_of(&effects, "b"), [1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31]);
    consumer.stop().await;
}

/// Takes the only parked event away without telling the consumer: a drop that an arrival overtakes.
const FORGET: &str = "DELETE FROM parked WHERE state = 2";
/// Leaves the events of a key without a head.
const BEHEAD: &str = "UPDATE parked SET state = 0";

async fn execute(world: &World, sql: &'static str) {
    let write = async move |tx: &mut leeward_store::Tx| tx.execute(sql, params![]).await;
    world.db.write(write).await.unwrap();
}

#[tokio::test]
async fn a_key_whose_dead_letter_is_gone_before_the_consumer_knows_is_not_stuck() {
    let world = World::new().await;
    let consumer = world
        .consumer()
        .on::<Changed>(async |tx, received| {
            if received.event.number < 0 {
                return Err(HandlerError::Poison("negative".into()));
            }
            effect(tx, &received).await
        })
        .build()
        .unwrap();
    let running = world.start_consumer(consumer);
    world.publish(&[changed("a", -1)]).await;
    world.wait_count(DEAD, 1).await;
    world.publish(&[changed("a", 1)]).await;
    world.wait_count(PARKED, 2).await;
    execute(&world, "DELETE FROM parked").await;
    world.publish(&[changed("a", 2), changed("a", 3), changed("b", 4)]).await;
    let effects = world.wait_effects(3).await;
    assert_eq!(numbers_of(&effects, "a"), [2, 3]);
    world.wait_count(PARKED, 0).await;
    running.stop().await;
}

#[tokio::test]
async fn a_key_without_a_head_goes_on_after_a_restart() {
    let world = World::new().await;
    let build = || {
        let consumer = world.consumer().on::<Changed>(async |tx, received| {
            if received.event.number < 0 {
                return Err(HandlerError::Poison("negative".into()));
            }
            effect(tx, &received).await
        });
        consumer.build().unwrap()
    };
    let running = world.start_consumer(build());
    world.publish(&[changed("a", -1), changed("a", 1), changed("a", 2)]).await;
    world.wait_count(PARKED, 3).await;
    running.stop().await;
    execute(&world, FORGET).await;
    execute(&world, BEHEAD).await;
    let running = world.start_consumer(build());
    assert_eq!(numbers_of(&world.wait_effects(2).await, "a"), [1, 2]);
    world.wait_count(PARKED, 0).await;
    running.stop().await;
}

#[tokio::test]
async fn wildcards_take_what_has_no_handler_of_its_own() {
    let world = World::new().await;
    let wild = Arc::new(AtomicU32::new(0));
    let seen = wild.clone();
    let consumer = world
        .consumer()
        .on::<Changed>(async |tx, received| effect(tx, &received).await)
        .on_envelope("thing.*", async move |_, received| {
            assert_eq!(&*received.envelope.kind, "thing.removed");
            assert_eq!(received.correlation().causation_id.as_deref(), Some("r-1"));
            seen.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .build()
        .unwrap();
    let json = r#"{"specversion":"1.0","id":"r-1","source":"s","type":"thing.removed","subject":"k"}"#;
    let removed = leeward_events::bus::Message::from_json(json.into()).unwrap();
    world.bus.publish_messages(vec![removed]).await.unwrap();
    world.publish(&[changed("k", 1)]).await;
    let consumer = world.start_consumer(consumer);
    world.wait_effects(1).await;
    assert_eq!(wild.load(Ordering::SeqCst), 1);
    consumer.stop().await;
}

#[tokio::test]
async fn mistakes_in_a_definition_are_typed() {
    use leeward_events::consumer::BuildError;
    let world = World::new().await;
    let build = |group: &str| Consumer::builder(group, world.db.clone(), world.bus.clone());
    assert!(matches!(build("g").build(), Err(BuildError::Pattern(_))));
    assert!(matches!(
        build("a group").on_envelope("**", async |_, _| Ok(())).build(),
        Err(BuildError::Group(_))
    ));
    assert!(matches!(
        build("g").on_envelope("a..b", async |_, _| Ok(())).build(),
        Err(BuildError::Pattern(_))
    ));
    let twice =
        build("g").on::<Changed>(async |_, _| Ok(())).on_envelope("thing.changed", async |_, _| Ok(()));
    assert!(matches!(twice.build(), Err(BuildError::Twice(_))));
}

/// Random failures over many keys: per key the effects come in order, each once.
#[tokio::test]
async fn under_random_failures_every_key_stays_in_order() {
    let world = World::new().await;
    let rng = leeward_resilience::FastRng::seeded(42);
    let consumer = world
        .consumer()
        .redelivery(
            Redelivery::default()
                .attempts_max(1000)
                .delays(Duration::from_millis(1), Duration::from_millis(2)),
        )
        .on::<Changed>(async move |tx, received| {
            use leeward_resilience::Rng;
            effect(tx, &received).await?;
            if rng.below(5) == 0 { Err(HandlerError::Retry("chance".into())) } else { Ok(()) }
        })
        .build()
        .unwrap();
    let consumer = world.start_consumer(consumer);
    let relay = world.start_relay();
    for round in 0..20 {
        world.append((0..25).map(|n| changed(&format!("k{}", n % 7), round * 25 + n)).collect()).await;
    }
    let effects = world.wait_effects(500).await;
    let mut last: HashMap<&str, i64> = HashMap::new();
    for effect in &effects {
        let before = last.insert(&effect.key, effect.number);
        assert!(before.is_none_or(|before| before < effect.number), "{effect:?} after {before:?}");
    }
    assert_eq!(effects.len(), 500);
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn when_too_much_has_failed_the_consumer_takes_no_more_until_some_is_done() {
    let world = World::new().await;
    let broken = Arc::new(AtomicBool::new(true));
    let fails = broken.clone();
    let redelivery = Redelivery::default()
        .attempts_max(1_000_000)
        .delays(Duration::from_millis(1), Duration::from_millis(2))
        .parked_max(5);
    let consumer = world
        .consumer()
        .redelivery(redelivery)
        .on::<Changed>(async move |tx, received| {
            if fails.load(Ordering::SeqCst) {
                return Err(HandlerError::Retry("down".into()));
            }
            effect(tx, &received).await
        })
        .build()
        .unwrap();
    let metrics = consumer.metrics().clone();
    let events: Vec<_> = (0..500).map(|number| changed(&format!("k{}", number % 50), number)).collect();
    world.publish(&events).await;
    let consumer = world.start_consumer(consumer);
    while metrics.failures.get() < 500 {
        tokio::task::yield_now().await;
    }
    assert!(world.count(PARKED).await <= 5 + 64, "one transaction may go past the bound, not more");
    broken.store(false, Ordering::SeqCst);
    let effects = world.wait_effects(500).await;
    for key in 0..50 {
        let of_key = numbers_of(&effects, &format!("k{key}"));
        assert_eq!(of_key, (key..500).step_by(50).collect::<Vec<i64>>());
    }
    consumer.stop().await;
}

/// A clock whose wall time somebody sets back.
#[derive(Debug, Default)]
struct SetBack(std::sync::atomic::AtomicI64);

impl Clock for SetBack {
    fn now(&self) -> Instant {
        TokioClock.now()
    }

    fn unix_ms(&self) -> i64 {
        TokioClock.unix_ms() - self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_does_not_hold_up_what_is_parked() {
    let world = World::new().await;
    let clock = Arc::new(SetBack::default());
    let failed = AtomicBool::new(false);
    let consumer = world
        .consumer()
        .clock(clock.clone())
        .redelivery(Redelivery::default().delays(Duration::from_millis(200), Duration::from_millis(200)))
        .on::<Changed>(async move |tx, received| {
            if received.event.key == "a" && !failed.swap(true, Ordering::SeqCst) {
                return Err(HandlerError::Retry("once".into()));
            }
            effect(tx, &received).await
        })
        .build()
        .unwrap();
    let consumer = world.start_consumer(consumer);
    world.publish(&[changed("a", 1)]).await;
    world.wait_count(PARKED, 1).await;
    clock.0.store(3_600_000, Ordering::SeqCst);
    world.publish(&[changed("b", 1)]).await;
    assert_eq!(world.wait_effects(2).await, [changed("b", 1), changed("a", 1)]);
    consumer.stop().await;
}

#[tokio::test]
async fn events_that_queued_up_share_transactions() {
    let world = World::new().await;
    world.publish(&(0..640).map(|number| changed(&format!("k{number}"), number)).collect::<Vec<_>>()).await;
    let consumer =
        world.consumer().on::<Changed>(async |tx, received| effect(tx, &received).await).build().unwrap();
    let before = world.db.stats().transactions;
    let consumer = world.start_consumer(consumer);
    world.wait_effects(640).await;
    consumer.stop().await;
    let transactions = world.db.stats().transactions - before;
    assert!(transactions < 40, "640 events took {transactions} transactions");
}
