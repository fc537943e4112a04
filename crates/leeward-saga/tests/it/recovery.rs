//! Crashes, two engines at once, and changed definitions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use leeward_resilience::ManualClock;
use leeward_saga::testing::World as _;
use leeward_saga::{Action, Definition, Error, Options, Outcome, Status, StepCx, Undo};
use leeward_store::Tx;
use tokio::sync::Notify;

use crate::shop::Shop;
use crate::world::{File, Life, Trip, events, note, noted, state};

/// Dies once the database has this many more commits; lives on if it never has.
async fn live_until(life: &Life, shop: &Arc<Shop>, commits: u64) -> Option<()> {
    let end = life.db.stats().transactions + commits;
    let dies = async {
        while life.db.stats().transactions < end {
            tokio::task::yield_now().await;
        }
    };
    let lives = async {
        loop {
            let due_in = leeward_saga::testing::settle(&life.sagas).await;
            shop.deliver(&life.sagas, &life.db).await;
            if life.sagas.show("o-1").await.is_ok_and(|detail| detail.summary.status.is_ended()) {
                return;
            }
            life.clock.advance(due_in.unwrap_or_default());
        }
    };
    tokio::select! {
        biased;
        () = dies => None,
        () = lives => Some(()),
    }
}

#[tokio::test]
async fn a_process_that_dies_after_every_few_commits_gets_there() {
    for commits in 1..=6 {
        let (file, clock, shop) = (File::new(), ManualClock::new(), Arc::new(Shop::default()));
        let first = Life::begin(&file.url(), &clock).await.knows(shop.definition());
        shop.migrate(&first.db).await.unwrap();
        first.start("checkout", "o-1", shop.state()).await;
        first.db.close().await;
        let mut lives = 0;
        loop {
            lives += 1;
            assert!(lives < 60, "no progress with {commits} commits a life");
            let life = Life::begin(&file.url(), &clock).await.knows(shop.definition()).spawn();
            // Taking the lease is a commit, too, and none of the saga's.
            let over = live_until(&life, &shop, commits + 1).await;
            let detail = over.is_some().then_some(life.sagas.show("o-1").await.unwrap());
            if let Some(detail) = detail {
                assert_eq!(detail.summary.status, Status::Completed);
                let finished = leeward_saga::testing::Finished {
                    scenario: format!("{commits} commits a life"),
                    status: Status::Completed,
                    reason: None,
                    state: serde_json::from_str(detail.state.get()).unwrap(),
                };
                shop.check(&finished, &life.db).await.unwrap();
                break;
            }
            life.crash().await;
        }
        assert!(lives > 1, "it never died");
    }
}

#[tokio::test]
async fn after_a_crash_a_call_is_reconciled_and_a_finished_step_is_not_called_again() {
    let (file, clock) = (File::new(), ManualClock::new());
    let (calls, reached) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let definition = |hangs: bool| {
        let (calls, reached) = (calls.clone(), reached.clone());
        let pay = async |(reached, hangs): (Arc<Notify>, bool), cx: StepCx, mut trip: Trip| {
            reached.notify_one();
            if hangs {
                std::future::pending::<()>().await;
            }
            trip.seen.push(format!("reconcile {} attempt {}", cx.reconcile(), cx.attempt()));
            note(&cx, trip)
        };
        let car = async |calls: Arc<AtomicUsize>, cx: StepCx, trip: Trip| {
            calls.fetch_add(1, Ordering::SeqCst);
            note(&cx, trip)
        };
        Definition::builder("trip")
            .step("car", Action::call_with(calls, car), Undo::none())
            .pivot("pay", Action::call_with((reached, hangs), pay))
            .build()
            .unwrap()
    };
    let life = Life::begin(&file.url(), &clock).await.knows(definition(true)).run().await;
    life.start("trip", "t-1", Trip::default()).await;
    reached.notified().await;
    life.crash().await;
    let life = Life::begin(&file.url(), &clock).await.knows(definition(false)).run().await;
    let detail = life.look("t-1").await;
    assert_eq!(state(&detail).seen, ["car/1", "reconcile true attempt 1", "pay/1"]);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(events(&detail), ["- started", "car done", "pay recovered", "pay done", "- end_done"]);
}

#[tokio::test]
async fn a_superseded_engine_writes_nothing() {
    let clock = ManualClock::new();
    let (reached, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = |name: &'static str| {
        let gates = (name, reached.clone(), go.clone());
        let pay =
            async |(name, reached, go): (&str, Arc<Notify>, Arc<Notify>), _cx: StepCx, mut trip: Trip| {
                reached.notify_one();
                go.notified().await;
                trip.seen.push(name.to_owned());
                Outcome::Done(trip)
            };
        Definition::builder("trip").pivot("pay", Action::call_with(gates, pay)).build().unwrap()
    };
    let mut zombie = Life::begin("sqlite::memory:", &clock).await.knows(slow("zombie")).run().await;
    zombie.start("trip", "t-1", Trip::default()).await;
    reached.notified().await;
    let heir = Life::over(zombie.db.clone(), &clock, Options::default()).await.knows(slow("heir")).spawn();
    reached.notified().await;
    // Both are in the call. The zombie's returns first, and its result is refused.
    go.notify_one();
    assert_eq!(zombie.ended().await, Err(Error::TakenOver));
    assert_eq!(heir.sagas.show("t-1").await.unwrap().summary.status, Status::Running);
    go.notify_one();
    assert_eq!(state(&heir.look("t-1").await).seen, ["heir"]);
}

#[tokio::test(start_paused = true)]
async fn engines_with_names_of_their_own_wait_for_the_lease() {
    let clock = ManualClock::new();
    let named = |name: &str| Options { owner: Some(name.into()), ..Options::default() };
    let trip = || Definition::builder("trip").pivot("pay", noted()).build().unwrap();
    let mut first = Life::with("sqlite::memory:", &clock, named("one")).await.knows(trip()).run().await;
    let second = Life::over(first.db.clone(), &clock, named("two")).await.knows(trip()).spawn();
    first.start("trip", "t-1", Trip::default()).await;
    assert_eq!(first.look("t-1").await.summary.status, Status::Completed);
    // The other gets it once the first gives it up, at its next try.
    first.halt().await;
    second.start("trip", "t-2", Trip::default()).await;
    assert_eq!(second.look("t-2").await.summary.status, Status::Completed);
}

#[tokio::test]
async fn a_changed_definition_is_refused_visibly_and_goes_on_under_the_old_one() {
    let (file, clock) = (File::new(), ManualClock::new());
    let wait = || {
        Action::signal(
            "go",
            std::time::Duration::from_secs(60),
            |trip, _| Outcome::Done(trip),
            |_| Outcome::rejected("late", ""),
        )
    };
    let old = || {
        Definition::<Trip>::builder("trip")
            .step("car", noted(), Undo::none())
            .pivot("pay", wait())
            .retriable("tell", noted())
    };
    let life = Life::begin(&file.url(), &clock).await.knows(old().build().unwrap()).run().await;
    life.start("trip", "t-1", Trip::default()).await;
    assert_eq!(life.look("t-1").await.summary.status, Status::Waiting);
    life.stop().await;

    // A step before the pivot is gone: what `t-1` has done has no place any more.
    let changed =
        Definition::<Trip>::builder("trip").pivot("pay", wait()).retriable("tell", noted()).build().unwrap();
    let life = Life::begin(&file.url(), &clock).await.knows(changed);
    let check = life.sagas.check().await.unwrap();
    assert_eq!((check.unended, check.compatible, &*check.refused[0].id), (1, 0, "t-1"));
    let life = life.run().await;
    let refused = life.look("t-1").await;
    assert_eq!(refused.summary.status, Status::Refused);
    assert!(refused.summary.note.unwrap().contains("changed incompatibly"));
    life.signal("t-1", "s-1", "go", "1").await;
    assert_eq!(life.look("t-1").await.summary.status, Status::Refused);
    assert!(matches!(life.sagas.retry("t-1").await, Err(Error::Refused { .. })));
    life.stop().await;

    // No definition at all, and a raised revision, are refused the same way.
    let nothing = Life::begin(&file.url(), &clock).await.run().await;
    assert!(nothing.look("t-1").await.summary.note.unwrap().contains("no saga `trip` is defined"));
    nothing.stop().await;
    let revised =
        Life::begin(&file.url(), &clock).await.knows(old().revision(2).build().unwrap()).run().await;
    assert_eq!(revised.look("t-1").await.summary.status, Status::Refused);
    revised.stop().await;

    // A step more at the end is no change of what was done: it goes on, and the signal is still there.
    let longer = old().retriable("file", noted()).build().unwrap();
    let life = Life::begin(&file.url(), &clock).await.knows(longer).run().await;
    let detail = life.look("t-1").await;
    assert_eq!(detail.summary.status, Status::Completed);
    assert_eq!(state(&detail).seen, ["car/1", "tell/1", "file/1"]);
}

#[tokio::test]
async fn a_stop_lets_the_step_finish_and_starts_no_other() {
    let (file, clock) = (File::new(), ManualClock::new());
    let (reached, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let gates = (reached.clone(), go.clone());
    let slow = async |(reached, go): (Arc<Notify>, Arc<Notify>), cx: StepCx, trip: Trip| {
        reached.notify_one();
        go.notified().await;
        note(&cx, trip)
    };
    let definition = Definition::builder("trip")
        .step("car", Action::call_with(gates, slow), Undo::none())
        .pivot("pay", noted());
    let life = Life::begin(&file.url(), &clock).await.knows(definition.build().unwrap()).run().await;
    life.start("trip", "t-1", Trip::default()).await;
    reached.notified().await;
    let stopping = life.stop();
    let release = async { go.notify_one() };
    futures_util::future::join(stopping, release).await;
    let after = Life::begin(&file.url(), &clock).await;
    let detail = after.sagas.show("t-1").await.unwrap();
    assert_eq!((detail.summary.status, detail.summary.step.as_deref()), (Status::Running, Some("pay")));
    assert_eq!(state(&detail).seen, ["car/1"]);
}

#[allow(
    clippy::field_reassign_with_default,
    reason = "the options may gain fields, so that they cannot be written out here"
)]
fn small_queue() -> leeward_store::Options {
    let mut options = leeward_store::Options::default();
    options.queue_max = 4;
    options
}

#[tokio::test]
async fn a_full_queue_delays_sagas_and_loses_nothing() {
    let clock = ManualClock::new();
    let db = leeward_store::Db::open("sqlite::memory:", small_queue()).await.unwrap();
    let life = Life::over(db, &clock, Options::default()).await;
    let tx = || Action::tx(async |_tx: &mut Tx, cx: StepCx, trip: Trip| Ok(note(&cx, trip)));
    let definition =
        Definition::builder("trip").pivot("pay", noted()).retriable("tell", tx()).build().unwrap();
    let life = life.knows(definition);
    let sagas = life.sagas.clone();
    let start = async move |tx: &mut Tx| -> Result<(), Error> {
        for number in 0..24 {
            let _ = sagas
                .start(tx, "trip", &format!("t-{number}"), &Trip::default(), &crate::world::work())
                .await?;
        }
        Ok(())
    };
    life.db.write(start).await.unwrap();
    let life = life.run().await;
    leeward_saga::testing::settle(&life.sagas).await;
    for number in 0..24 {
        let detail = life.look(&format!("t-{number}")).await;
        assert_eq!(state(&detail).seen, ["pay/1", "tell/1"]);
    }
}
