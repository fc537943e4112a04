//! Stuck sagas, and what an operator can do.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leeward_resilience::ManualClock;
use leeward_saga::operator::{Filter, Page};
use leeward_saga::{Action, Definition, Error, Outcome, Retry, Status, StepCx, Undo};

use crate::world::{File, Life, Trip, events, noted, state};

/// A world whose undo and last step can be broken.
#[derive(Debug, Default)]
struct Broken {
    undo: AtomicBool,
    last: AtomicBool,
    refuses: AtomicBool,
    keys: Mutex<Vec<String>>,
}

fn definition(broken: &Arc<Broken>) -> Definition<Trip> {
    let undo = async |broken: Arc<Broken>, cx: StepCx, mut trip: Trip| {
        broken.keys.lock().unwrap().push(cx.key().to_string());
        if broken.undo.load(Ordering::SeqCst) {
            return match broken.refuses.load(Ordering::SeqCst) {
                true => Outcome::rejected("gone", "cannot be cancelled any more"),
                false => Outcome::Transient("down".to_owned()),
            };
        }
        trip.seen.push(format!("undo {}", cx.step()));
        Outcome::Done(trip)
    };
    let last = async |broken: Arc<Broken>, cx: StepCx, trip: Trip| match broken.last.load(Ordering::SeqCst) {
        true => Outcome::Transient("down".to_owned()),
        false => crate::world::note(&cx, trip),
    };
    let pay = async |cx: StepCx, trip: Trip| match trip.seen.contains(&"poor".to_owned()) {
        true => Outcome::rejected("declined", "no money"),
        false => crate::world::note(&cx, trip),
    };
    Definition::builder("trip")
        .step("car", noted(), Undo::call_with(broken.clone(), undo))
        .step(
            "hotel",
            noted(),
            Undo::call_with(broken.clone(), undo).retry(Retry::attempts(NonZeroU32::new(2).unwrap())),
        )
        .pivot("pay", Action::call(pay))
        .retriable("tell", Action::call_with(broken.clone(), last))
        .build()
        .unwrap()
}

fn poor() -> Trip {
    Trip { seen: vec!["poor".to_owned()] }
}

async fn stuck(broken: &Arc<Broken>) -> Life {
    broken.undo.store(true, Ordering::SeqCst);
    let life =
        Life::begin("sqlite::memory:", &ManualClock::new()).await.knows(definition(broken)).run().await;
    life.start("trip", "t-1", poor()).await;
    let detail = life.until("t-1", Status::Stuck).await;
    assert_eq!((detail.summary.step.as_deref(), detail.undo), (Some("hotel"), true));
    assert_eq!(detail.done, ["car", "hotel"]);
    assert_eq!(&*detail.reason.unwrap().code, "declined");
    life
}

#[tokio::test]
async fn a_stuck_saga_is_listed_counted_and_retried() {
    let broken = Arc::new(Broken::default());
    let life = stuck(&broken).await;
    life.start("trip", "t-2", Trip::default()).await;
    assert_eq!(life.look("t-2").await.summary.status, Status::Completed);
    let filter = Filter { status: Some(Status::Stuck), saga: Some("trip".to_owned()) };
    let listed = life.sagas.list(filter, Page::default()).await.unwrap();
    assert_eq!(listed.sagas.iter().map(|saga| &*saga.id).collect::<Vec<_>>(), ["t-1"]);
    assert_eq!(listed.sagas[0].note.as_deref(), Some("undo gave up after 2 attempts"));
    assert_eq!(life.sagas.counts().await.unwrap(), [(("trip".to_owned(), Status::Stuck), 1)].into());
    // Retried while it is still broken, it is stuck again.
    life.sagas.retry("t-1").await.unwrap();
    life.until("t-1", Status::Stuck).await;
    broken.undo.store(false, Ordering::SeqCst);
    life.sagas.retry("t-1").await.unwrap();
    let detail = life.look("t-1").await;
    assert_eq!(detail.summary.status, Status::Compensated);
    assert_eq!(state(&detail).seen, ["poor", "car/1", "hotel/1", "undo hotel", "undo car"]);
    // What was tried in vain had no effect, so that the key stays.
    let keys = broken.keys.lock().unwrap().clone();
    assert_eq!(keys.iter().filter(|key| *key == "t-1/hotel/1/undo/1").count(), keys.len() - 1);
}

#[tokio::test]
async fn skip_and_mark_done_go_on_and_stand_in_the_history() {
    let broken = Arc::new(Broken::default());
    let life = stuck(&broken).await;
    broken.undo.store(false, Ordering::SeqCst);
    assert_eq!(life.sagas.skip("t-1", "the hotel is closed anyway").await.unwrap(), Status::Compensating);
    let detail = life.look("t-1").await;
    assert_eq!(detail.summary.status, Status::Compensated);
    assert_eq!(state(&detail).seen, ["poor", "car/1", "hotel/1", "undo car"]);
    let skipped = detail.history.iter().find(|entry| entry.event == "skip").unwrap();
    assert_eq!(skipped.detail.as_deref(), Some("the hotel is closed anyway"));
    for verb in [
        life.sagas.retry("t-1").await,
        life.sagas.skip("t-1", "x").await,
        life.sagas.mark_done("t-1", "x").await,
    ] {
        assert!(matches!(verb, Err(Error::Illegal(_))), "{verb:?}");
    }
    assert_eq!(life.sagas.retry("t-9").await.unwrap_err(), Error::NotFound("t-9".to_owned()));
}

#[tokio::test]
async fn a_refused_undo_is_stuck_at_once_and_retried_under_a_new_key() {
    let broken = Arc::new(Broken::default());
    broken.refuses.store(true, Ordering::SeqCst);
    let life = stuck(&broken).await;
    assert_eq!(*broken.keys.lock().unwrap(), ["t-1/hotel/1/undo/1"]);
    broken.undo.store(false, Ordering::SeqCst);
    life.sagas.retry("t-1").await.unwrap();
    assert_eq!(life.look("t-1").await.summary.status, Status::Compensated);
    assert_eq!(
        *broken.keys.lock().unwrap(),
        ["t-1/hotel/1/undo/1", "t-1/hotel/1/undo/2", "t-1/car/1/undo/1"]
    );
}

#[tokio::test]
async fn after_the_pivot_it_tries_for_ever_and_an_operator_can_hasten_or_end_it() {
    let broken = Arc::new(Broken::default());
    broken.last.store(true, Ordering::SeqCst);
    let life =
        Life::begin("sqlite::memory:", &ManualClock::new()).await.knows(definition(&broken)).run().await;
    life.start("trip", "t-1", Trip::default()).await;
    life.start("trip", "t-2", Trip::default()).await;
    for _ in 0..40 {
        life.pass(Duration::from_secs(31)).await;
    }
    let trying = life.look("t-1").await;
    assert_eq!((trying.summary.status, trying.summary.step.as_deref()), (Status::Running, Some("tell")));
    assert!(trying.summary.attempt > 30, "{}", trying.summary.attempt);
    assert!(trying.history.len() < 20, "the history of a saga that tries for ever stays short");
    assert_eq!(trying.summary.note.as_deref(), Some("down"));
    broken.last.store(false, Ordering::SeqCst);
    // No time passes: the operator's word does it.
    life.sagas.retry("t-1").await.unwrap();
    assert_eq!(life.look("t-1").await.summary.status, Status::Completed);
    life.sagas.mark_done("t-2", "told by telephone").await.unwrap();
    let told = life.look("t-2").await;
    assert_eq!((told.summary.status, told.done.len()), (Status::Completed, 4));
    assert_eq!(state(&told).seen.len(), 3, "it was not called again");
}

#[tokio::test]
async fn stuck_outlives_the_process_and_is_not_touched() {
    let (file, clock, broken) = (File::new(), ManualClock::new(), Arc::new(Broken::default()));
    broken.undo.store(true, Ordering::SeqCst);
    let life = Life::begin(&file.url(), &clock).await.knows(definition(&broken)).run().await;
    life.start("trip", "t-1", poor()).await;
    life.until("t-1", Status::Stuck).await;
    life.stop().await;
    let calls = broken.keys.lock().unwrap().len();
    let life = Life::begin(&file.url(), &clock).await.knows(definition(&broken)).run().await;
    life.pass(Duration::from_secs(3600)).await;
    assert_eq!(life.look("t-1").await.summary.status, Status::Stuck);
    assert_eq!(broken.keys.lock().unwrap().len(), calls);
    assert!(events(&life.look("t-1").await).iter().all(|event| !event.contains("recovered")));
}

#[tokio::test]
async fn lists_come_in_pages_newest_first() {
    let life = Life::begin("sqlite::memory:", &ManualClock::new()).await.knows(definition(&Arc::default()));
    for id in ["t-1", "t-2", "t-3"] {
        life.start("trip", id, Trip::default()).await;
    }
    let first = life.sagas.list(Filter::default(), Page { after: None, limit: 2 }).await.unwrap();
    let rest = life.sagas.list(Filter::default(), Page { after: first.next, limit: 2 }).await.unwrap();
    let ids = |listing: &leeward_saga::operator::Listing| -> Vec<String> {
        listing.sagas.iter().map(|saga| saga.id.clone()).collect()
    };
    assert_eq!(
        (ids(&first), ids(&rest), rest.next),
        (vec!["t-3".into(), "t-2".into()], vec!["t-1".into()], None)
    );
}
