//! Sagas taken on in the transaction of whoever starts them or replies to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leeward_resilience::ManualClock;
use leeward_saga::{Action, Definition, Error, Fault, Options, Outcome, Signal, Status, StepCx, Undo};
use leeward_store::{Db, ReadTx, Tx, params};
use tokio::sync::Notify;

use crate::world::{File, Life, Trip, events, note, noted, state};

/// A row of the service's own, written by a step.
async fn book(tx: &mut Tx, what: &str) -> Result<(), Fault> {
    tx.execute("INSERT INTO booked (what) VALUES ($1)", params![what]).await?;
    Ok(())
}

async fn booked(db: &Db) -> Vec<String> {
    let read = async |tx: &mut ReadTx| -> Result<Vec<String>, leeward_store::Error> {
        let rows = tx.query("SELECT what FROM booked ORDER BY rowid", params![]).await?;
        rows.iter().map(|row| row.get(0)).collect()
    };
    db.read(read).await.unwrap()
}

const BOOKED: &[leeward_store::Migration] = &[leeward_store::Migration {
    version: 1,
    name: "booked",
    sqlite: "CREATE TABLE booked (what TEXT NOT NULL) STRICT;",
    postgres: "CREATE TABLE booked (what TEXT NOT NULL);",
}];

fn ask(what: &'static str) -> Action<Trip> {
    let replied = |mut trip: Trip, reply: &Signal| {
        trip.seen.push(reply.id().to_string());
        if reply.payload() == b"no" { Outcome::rejected("no", "never") } else { Outcome::Done(trip) }
    };
    let send = async move |tx: &mut Tx, _cx: StepCx, _trip: Trip| book(tx, what).await;
    Action::command(send, replied).reply_within(Duration::from_secs(5))
}

/// A command, an outside call, a command, and a step of the own database, which fails while `broken`.
fn order(broken: &Arc<AtomicBool>) -> Definition<Trip> {
    let broken = broken.clone();
    let confirm = async move |tx: &mut Tx, cx: StepCx, trip: Trip| {
        book(tx, "confirmed").await?;
        if broken.load(Ordering::SeqCst) {
            // A statement that fails spoils the transaction it is in.
            book(tx, "confirmed, of all that there is").await?;
            tx.execute("INSERT INTO booked (what) VALUES (NULL)", params![]).await?;
        }
        Ok(note(&cx, trip))
    };
    Definition::builder("order")
        .step("reserve", ask("reserve"), Undo::none())
        .pivot("pay", noted())
        .retriable("ship", ask("ship"))
        .retriable("confirm", Action::tx(confirm))
        .build()
        .unwrap()
}

async fn begin(file: &File, clock: &ManualClock, broken: &Arc<AtomicBool>) -> Life {
    let life = Life::begin(&file.url(), clock).await.knows(order(broken)).run().await;
    life.db.migrate("booked", BOOKED).await.unwrap();
    life
}

fn whole() -> Arc<AtomicBool> {
    Arc::default()
}

#[tokio::test]
async fn a_start_and_a_reply_take_what_follows_into_their_own_commit() {
    let (file, clock) = (File::new(), ManualClock::new());
    let life = begin(&file, &clock, &whole()).await;
    let before = life.db.stats().transactions;
    life.start("order", "o-1", Trip::default()).await;
    assert_eq!(booked(&life.db).await, ["reserve"], "the command is part of what started the saga");
    assert_eq!(life.look("o-1").await.summary.status, Status::Waiting);
    assert_eq!(life.db.stats().transactions - before, 1);

    life.signal("o-1", "r-1", "reserve/1", "yes").await;
    let waiting = life.look("o-1").await;
    assert_eq!((waiting.summary.status, waiting.summary.step.as_deref()), (Status::Waiting, Some("ship")));
    assert_eq!(state(&waiting).seen, ["r-1", "pay/1"]);
    assert_eq!(life.db.stats().transactions - before, 3, "one for the reply, one for the call's result");

    life.signal("o-1", "r-2", "ship/1", "yes").await;
    let detail = life.sagas.show("o-1").await.unwrap();
    assert_eq!(detail.summary.status, Status::Completed, "at once, without the engine");
    assert_eq!(life.db.stats().transactions - before, 4);
    assert_eq!(booked(&life.db).await, ["reserve", "ship", "confirmed"]);
    assert_eq!(
        events(&detail),
        [
            "- started",
            "reserve sent",
            "reserve done",
            "pay done",
            "ship sent",
            "ship done",
            "confirm done",
            "- end_done"
        ]
    );
    leeward_saga::testing::settle(&life.sagas).await;
    assert_eq!(life.db.stats().transactions - before, 4, "nothing was left to do");
}

#[tokio::test]
async fn a_step_that_fails_is_left_to_the_engine_and_the_reply_is_kept() {
    let (file, clock, broken) = (File::new(), ManualClock::new(), whole());
    let life = begin(&file, &clock, &broken).await;
    life.start("order", "o-1", Trip::default()).await;
    life.signal("o-1", "r-1", "reserve/1", "yes").await;
    assert_eq!(life.look("o-1").await.summary.step.as_deref(), Some("ship"));
    broken.store(true, Ordering::SeqCst);
    let (sagas, beside) = (life.sagas.clone(), "beside");
    let reply = async move |tx: &mut Tx| -> Result<(), Error> {
        sagas.signal(tx, "o-1", "r-2", "ship/1", b"yes").await.map(drop)?;
        tx.execute("INSERT INTO booked (what) VALUES ($1)", params![beside]).await?;
        Ok(())
    };
    life.db.write(reply).await.unwrap();
    let held = life.look("o-1").await;
    assert_eq!((held.summary.status, held.summary.step.as_deref()), (Status::Running, Some("confirm")));
    assert_eq!(booked(&life.db).await, ["reserve", "ship", "beside"], "of the failed step nothing is left");
    broken.store(false, Ordering::SeqCst);
    let detail = life.until("o-1", Status::Completed).await;
    assert_eq!(state(&detail).seen, ["r-1", "pay/1", "r-2", "confirm/1"]);
    assert_eq!(booked(&life.db).await, ["reserve", "ship", "beside", "confirmed"]);
}

#[tokio::test]
async fn what_the_caller_rolls_back_did_not_happen() {
    let (file, clock) = (File::new(), ManualClock::new());
    let life = begin(&file, &clock, &whole()).await;
    life.start("order", "o-1", Trip::default()).await;
    let sagas = life.sagas.clone();
    let reply = async move |tx: &mut Tx| -> Result<(), Error> {
        sagas.signal(tx, "o-1", "r-1", "reserve/1", b"yes").await.map(drop)?;
        Err(Error::NotFound("something of the caller's".to_owned()))
    };
    assert!(life.db.write(reply).await.is_err());
    let waiting = life.look("o-1").await;
    assert_eq!((waiting.summary.step.as_deref(), state(&waiting).seen.len()), (Some("reserve"), 0));
    life.signal("o-1", "r-1", "reserve/1", "yes").await;
    assert_eq!(state(&life.look("o-1").await).seen, ["r-1", "pay/1"]);
}

#[tokio::test]
async fn what_is_in_memory_of_a_saga_that_was_taken_on_is_replaced() {
    let (file, clock) = (File::new(), ManualClock::new());
    let life = begin(&file, &clock, &whole()).await;
    life.start("order", "o-1", Trip::default()).await;
    life.signal("o-1", "r-1", "reserve/1", "yes").await;
    assert_eq!(life.look("o-1").await.summary.step.as_deref(), Some("ship"));
    // The timers of the waits before are gone: only that of `ship` makes the command go out again.
    clock.advance(Duration::from_secs(6));
    leeward_saga::testing::settle(&life.sagas).await;
    assert_eq!(booked(&life.db).await, ["reserve", "ship", "ship"]);
    life.signal("o-1", "r-2", "ship/1", "yes").await;
    let detail = life.look("o-1").await;
    assert_eq!(detail.summary.status, Status::Completed);
    assert!(events(&detail).contains(&"ship timed_out".to_owned()));
}

#[tokio::test]
async fn a_reply_of_no_turns_the_saga_round_in_the_same_commit() {
    let (file, clock) = (File::new(), ManualClock::new());
    let life = begin(&file, &clock, &whole()).await;
    life.start("order", "o-1", Trip::default()).await;
    life.signal("o-1", "r-1", "reserve/1", "no").await;
    let detail = life.sagas.show("o-1").await.unwrap();
    assert_eq!(detail.summary.status, Status::Compensated);
    assert_eq!(&*detail.reason.unwrap().code, "no");
}

#[tokio::test]
async fn an_engine_that_was_superseded_takes_nothing_on() {
    let (clock, reached) = (ManualClock::new(), Arc::new(Notify::new()));
    let hangs = |reached: &Arc<Notify>| {
        let pay = async |reached: Arc<Notify>, _cx: StepCx, _trip: Trip| {
            reached.notify_one();
            std::future::pending::<Outcome<Trip>>().await
        };
        Definition::builder("trip")
            .step("reserve", ask("reserve"), Undo::none())
            .pivot("pay", Action::call_with(reached.clone(), pay))
            .build()
            .unwrap()
    };
    let zombie = Life::begin("sqlite::memory:", &clock).await.knows(hangs(&reached)).run().await;
    zombie.db.migrate("booked", BOOKED).await.unwrap();
    zombie.start("trip", "t-1", Trip::default()).await;
    let heir =
        Life::over(zombie.db.clone(), &clock, Options::default()).await.knows(hangs(&reached)).run().await;
    zombie.signal("t-1", "r-1", "reserve/1", "yes").await;
    // Only the heir's engine may take the reply, and it does.
    let detail = heir.sagas.show("t-1").await.unwrap();
    assert_eq!((detail.summary.step.as_deref(), state(&detail).seen.len()), (Some("reserve"), 0));
    reached.notified().await;
    assert_eq!(heir.sagas.show("t-1").await.unwrap().summary.step.as_deref(), Some("pay"));
}
