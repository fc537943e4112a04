//! Signals, replies and timers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use leeward_resilience::ManualClock;
use leeward_saga::operator::Page;
use leeward_saga::{Action, Definition, Outcome, Signal, Status, StepCx};
use leeward_store::Tx;

use crate::world::{File, Life, Trip, events, noted, state};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Approved within a day, or not at all.
fn approval() -> Definition<Trip> {
    let approved = |mut trip: Trip, signal: &Signal| {
        trip.seen.push(format!("{} {}", signal.name(), signal.json::<u32>().unwrap()));
        Outcome::Done(trip)
    };
    Definition::builder("approval")
        .pivot(
            "approve",
            Action::signal("approved", DAY, approved, |_trip| Outcome::rejected("too_late", "nobody came")),
        )
        .retriable("tell", noted())
        .build()
        .unwrap()
}

/// A command, counted as it goes out.
fn commanding(sent: &Arc<AtomicUsize>) -> Definition<Trip> {
    let sent = sent.clone();
    let replied = |mut trip: Trip, reply: &Signal| match reply.payload() {
        b"later" => Outcome::Transient("busy".to_owned()),
        b"no" => Outcome::rejected("no", "never"),
        _ => {
            trip.seen.push(reply.id().to_string());
            Outcome::Done(trip)
        }
    };
    let send = async move |_tx: &mut Tx, _cx: StepCx, _trip: Trip| {
        sent.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    Definition::builder("command")
        .pivot("ask", Action::command(send, replied).reply_within(Duration::from_secs(5)))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_signal_ends_the_wait() {
    let life = Life::begin("sqlite::memory:", &ManualClock::new()).await.knows(approval()).run().await;
    life.start("approval", "a-1", Trip::default()).await;
    let waiting = life.look("a-1").await;
    assert_eq!((waiting.summary.status, waiting.summary.step.as_deref()), (Status::Waiting, Some("approve")));
    life.signal("a-1", "s-0", "something-else", "1").await;
    assert_eq!(life.look("a-1").await.summary.status, Status::Waiting);
    life.signal("a-1", "s-1", "approved", "7").await;
    let detail = life.look("a-1").await;
    assert_eq!(state(&detail).seen, ["approved 7", "tell/1"]);
    // What was taken is gone with the saga; what was not is listed.
    let unclaimed = life.sagas.unclaimed(Page::default()).await.unwrap();
    assert_eq!(unclaimed.iter().map(|held| &*held.id).collect::<Vec<_>>(), ["s-0"]);
}

#[tokio::test]
async fn a_signal_that_comes_before_its_saga_counts() {
    let (file, clock) = (File::new(), ManualClock::new());
    let life = Life::begin(&file.url(), &clock).await.knows(approval()).run().await;
    life.signal("a-1", "s-1", "approved", "1").await;
    life.signal("a-1", "s-2", "approved", "2").await;
    leeward_saga::testing::settle(&life.sagas).await;
    assert_eq!(life.sagas.unclaimed(Page::default()).await.unwrap().len(), 2);
    life.crash().await;

    let life = Life::begin(&file.url(), &clock).await.knows(approval()).run().await;
    life.start("approval", "a-1", Trip::default()).await;
    let detail = life.look("a-1").await;
    assert_eq!(detail.summary.status, Status::Completed);
    assert_eq!(state(&detail).seen, ["approved 1", "tell/1"], "the oldest, and each once");
    assert_eq!(life.sagas.unclaimed(Page::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_in_time_is_what_the_definition_says() {
    let life = Life::begin("sqlite::memory:", &ManualClock::new()).await.knows(approval()).run().await;
    life.start("approval", "a-1", Trip::default()).await;
    life.pass(DAY - Duration::from_secs(1)).await;
    assert_eq!(life.look("a-1").await.summary.status, Status::Waiting);
    life.pass(Duration::from_secs(2)).await;
    let detail = life.look("a-1").await;
    assert_eq!(detail.summary.status, Status::Compensated);
    assert_eq!(&*detail.reason.unwrap().code, "too_late");
}

#[tokio::test]
async fn a_timer_runs_while_the_process_is_down() {
    let (file, clock) = (File::new(), ManualClock::new());
    let life = Life::begin(&file.url(), &clock).await.knows(approval()).run().await;
    life.start("approval", "a-1", Trip::default()).await;
    assert_eq!(life.look("a-1").await.summary.status, Status::Waiting);
    life.crash().await;
    clock.advance(DAY);
    let life = Life::begin(&file.url(), &clock).await.knows(approval()).run().await;
    assert_eq!(life.look("a-1").await.summary.status, Status::Compensated);
}

#[tokio::test]
async fn no_reply_in_time_sends_the_command_again() {
    let sent = Arc::new(AtomicUsize::new(0));
    let life = Life::begin("sqlite::memory:", &ManualClock::new()).await.knows(commanding(&sent)).run().await;
    life.start("command", "c-1", Trip::default()).await;
    life.pass(Duration::from_millis(4_900)).await;
    assert_eq!(sent.load(Ordering::SeqCst), 1);
    life.pass(Duration::from_millis(200)).await;
    assert_eq!(sent.load(Ordering::SeqCst), 2);
    let detail = life.look("c-1").await;
    assert_eq!(detail.summary.status, Status::Waiting);
    assert_eq!(detail.summary.note.as_deref(), Some("no reply in time"));
    // The first reply was only late, and now there are two.
    life.signal("c-1", "r-1", "ask/1", "yes").await;
    life.signal("c-1", "r-2", "ask/1", "yes").await;
    let detail = life.look("c-1").await;
    assert_eq!(state(&detail).seen, ["r-1"]);
    assert_eq!(events(&detail), ["- started", "ask sent", "ask timed_out", "ask done", "- end_done"]);
}

#[tokio::test]
async fn a_reply_that_came_while_the_process_was_down_is_found() {
    let (file, clock, sent) = (File::new(), ManualClock::new(), Arc::new(AtomicUsize::new(0)));
    let life = Life::begin(&file.url(), &clock).await.knows(commanding(&sent)).run().await;
    life.start("command", "c-1", Trip::default()).await;
    assert_eq!(life.look("c-1").await.summary.status, Status::Waiting);
    life.crash().await;
    let down = Life::begin(&file.url(), &clock).await;
    down.signal("c-1", "r-1", "ask/1", "yes").await;
    down.db.close().await;
    let life = Life::begin(&file.url(), &clock).await.knows(commanding(&sent)).run().await;
    assert_eq!(life.look("c-1").await.summary.status, Status::Completed);
    assert_eq!(sent.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_reply_can_say_later_or_no() {
    let sent = Arc::new(AtomicUsize::new(0));
    let life = Life::begin("sqlite::memory:", &ManualClock::new()).await.knows(commanding(&sent)).run().await;
    life.start("command", "c-1", Trip::default()).await;
    assert_eq!(life.look("c-1").await.summary.status, Status::Waiting);
    life.signal("c-1", "r-1", "ask/1", "later").await;
    assert_eq!(life.look("c-1").await.summary.status, Status::Running);
    assert_eq!(life.until("c-1", Status::Waiting).await.summary.attempt, 2);
    assert_eq!(sent.load(Ordering::SeqCst), 2);
    life.signal("c-1", "r-2", "ask/1", "no").await;
    let detail = life.look("c-1").await;
    assert_eq!((detail.summary.status, &*detail.reason.unwrap().code), (Status::Compensated, "no"));
}

#[tokio::test]
async fn sagas_beyond_the_bound_wait_on_disk() {
    let options =
        leeward_saga::Options { waiting_max: 2, page: 3, concurrency: 2, ..leeward_saga::Options::default() };
    let sent = Arc::new(AtomicUsize::new(0));
    let life = Life::with("sqlite::memory:", &ManualClock::new(), options)
        .await
        .knows(commanding(&sent))
        .run()
        .await;
    let ids: Vec<&'static str> = vec!["c-0", "c-1", "c-2", "c-3", "c-4", "c-5", "c-6", "c-7", "c-8", "c-9"];
    for id in &ids {
        life.start("command", id, Trip::default()).await;
    }
    for id in &ids {
        assert_eq!(life.look(id).await.summary.status, Status::Waiting, "{id}");
    }
    // Timers of those on disk fire, too, and replies find them.
    life.pass(Duration::from_secs(6)).await;
    assert_eq!(sent.load(Ordering::SeqCst), 20);
    for id in &ids {
        life.signal(id, "r-1", "ask/1", "yes").await;
    }
    for id in &ids {
        assert_eq!(life.look(id).await.summary.status, Status::Completed, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_is_dropped_after_its_time() {
    let options =
        leeward_saga::Options { poll: Duration::from_millis(100), ..leeward_saga::Options::default() };
    let life = Life::with("sqlite::memory:", &ManualClock::new(), options).await.knows(approval());
    life.signal("a-1", "s-old", "approved", "1").await;
    life.clock.advance(DAY * 8);
    life.signal("a-1", "s-new", "approved", "1").await;
    // The first poll looks for old rows.
    let life = life.run().await;
    let mut ids = Vec::new();
    while ids != ["s-new"] {
        tokio::task::yield_now().await;
        ids = life.sagas.unclaimed(Page::default()).await.unwrap().into_iter().map(|held| held.id).collect();
        assert!(ids.contains(&"s-new".to_owned()));
    }
}
