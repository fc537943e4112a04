//! A saga that goes well, and what its steps are told.

use std::time::Duration;

use leeward_resilience::ManualClock;
use leeward_saga::{
    Action, Definition, EndCx, Error, Fault, Outcome, Signal, Signalled, Started, Status, StepCx, Undo,
};
use leeward_store::{ReadTx, Tx, params};

use crate::world::{Life, Trip, events, note, noted, state, work};

fn trip() -> Definition<Trip> {
    Definition::builder("trip")
        .step("car", noted(), Undo::call(async |_cx, trip| Outcome::Done(trip)))
        .pivot("pay", Action::tx(async |_tx: &mut Tx, cx: StepCx, trip| Ok(note(&cx, trip))))
        .retriable("tell", noted())
        .build()
        .unwrap()
}

#[tokio::test]
async fn it_runs_to_its_end_step_by_step() {
    let life = Life::begin("sqlite::memory:", &ManualClock::new()).await.knows(trip()).run().await;
    life.start("trip", "t-1", Trip::default()).await;
    let detail = life.look("t-1").await;
    assert_eq!(detail.summary.status, Status::Completed);
    assert_eq!(state(&detail).seen, ["car/1", "pay/1", "tell/1"]);
    assert_eq!(events(&detail), ["- started", "car done", "pay done", "tell done", "- end_done"]);
    assert_eq!(detail.done, ["car", "pay", "tell"]);
    assert_eq!(detail.correlation_id, &*work().correlation_id);
}

#[tokio::test]
async fn a_start_is_part_of_the_callers_transaction() {
    let life = Life::begin("sqlite::memory:", &ManualClock::new()).await.knows(trip()).run().await;
    let sagas = life.sagas.clone();
    let undone: Result<(), Error> = life
        .db
        .write(async move |tx: &mut Tx| {
            assert_eq!(sagas.start(tx, "trip", "t-1", &Trip::default(), &work()).await?, Started::New);
            assert_eq!(sagas.start(tx, "trip", "t-1", &Trip::default(), &work()).await?, Started::Existing);
            Err(Error::NotFound("the caller's own row".to_owned()))
        })
        .await;
    assert!(undone.is_err());
    leeward_saga::testing::settle(&life.sagas).await;
    assert_eq!(life.sagas.show("t-1").await.unwrap_err(), Error::NotFound("t-1".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_written() {
    let life = Life::begin("sqlite::memory:", &ManualClock::new()).await.knows(trip());
    assert_eq!(life.sagas.register(trip()).unwrap_err(), Error::Redefined("trip"));
    let sagas = life.sagas.clone();
    let checked: Result<(), Error> = life
        .db
        .write(async move |tx: &mut Tx| {
            let trip = Trip::default();
            let huge = Trip { seen: vec!["x".repeat(300_000)] };
            assert_eq!(
                sagas.start(tx, "tour", "t", &trip, &work()).await,
                Err(Error::Undefined("tour".to_owned()))
            );
            assert_eq!(
                sagas.start(tx, "trip", "t", &5_u32, &work()).await,
                Err(Error::StateType("trip".to_owned()))
            );
            assert_eq!(
                sagas.start(tx, "trip", "t/1", &trip, &work()).await,
                Err(Error::Id("t/1".to_owned()))
            );
            assert!(matches!(
                sagas.start(tx, "trip", "t", &huge, &work()).await,
                Err(Error::TooLarge { .. })
            ));
            assert_eq!(sagas.reply(tx, "t-1", "r", b"").await, Err(Error::Key("t-1".to_owned())));
            assert_eq!(sagas.signal(tx, "t", "s-1", "go", b"").await, Ok(Signalled::Stored));
            assert_eq!(sagas.signal(tx, "t", "s-1", "go", b"").await, Ok(Signalled::Duplicate));
            Ok(())
        })
        .await;
    checked.unwrap();
}

#[tokio::test]
async fn the_hook_at_the_end_shares_the_last_transaction() {
    let hooked = Definition::<Trip>::builder("trip")
        .pivot("pay", noted())
        .on_end(async |tx: &mut Tx, cx: EndCx, end: leeward_saga::End, trip: Trip| {
            // The first time it fails after it has written.
            let written = tx.query("SELECT id FROM ends", params![]).await?.len();
            tx.execute("INSERT INTO ends (id, what) VALUES ($1, $2)", params![cx.saga_id(), end.name()])
                .await?;
            match trip.seen.len() + written {
                1 => Ok(()),
                _ => Err(Fault::new("not so")),
            }
        })
        .build()
        .unwrap();
    let life = Life::begin("sqlite::memory:", &ManualClock::new()).await.knows(hooked);
    let table: &[leeward_store::Migration] = &[leeward_store::Migration {
        version: 1,
        name: "ends",
        sqlite: "CREATE TABLE ends (id TEXT NOT NULL, what TEXT NOT NULL) STRICT;",
        postgres: "",
    }];
    life.db.migrate("test", table).await.unwrap();
    let life = life.run().await;
    life.start("trip", "t-1", Trip::default()).await;
    life.start("trip", "t-2", Trip { seen: vec!["before".to_owned()] }).await;
    assert_eq!(life.look("t-1").await.summary.status, Status::Completed);
    let held = life.look("t-2").await;
    assert_eq!(held.summary.status, Status::Running);
    assert_eq!(held.summary.note.as_deref(), Some("not so"));
    assert_eq!(state(&held).seen.len(), 2, "the last step's result is on disk all the same");
    let sql = "SELECT id, what FROM ends";
    let ends = life.db.read(async move |tx: &mut ReadTx| tx.query(sql, params![]).await).await.unwrap();
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0].get::<String>(1).unwrap(), "completed");
}

#[tokio::test]
async fn a_bad_saga_stops_nobody_else() {
    let bad = Definition::<Trip>::builder("bad")
        .pivot("panic", Action::call(async |_cx, _trip: Trip| -> Outcome<Trip> { panic!("on purpose") }))
        .build()
        .unwrap();
    let worse = Definition::<Trip>::builder("worse")
        .pivot(
            "panic",
            Action::tx(async |_tx: &mut Tx, _cx, _trip: Trip| -> Result<Outcome<Trip>, Fault> {
                panic!("too")
            }),
        )
        .build()
        .unwrap();
    let deaf = Definition::<Trip>::builder("deaf")
        .pivot(
            "hear",
            Action::command(
                async |_tx: &mut Tx, _cx, _trip: Trip| -> Result<(), Fault> { Ok(()) },
                |_trip: Trip, _reply: &Signal| -> Outcome<Trip> { panic!("three") },
            ),
        )
        .build()
        .unwrap();
    let hasty = Definition::<Trip>::builder("hasty")
        .pivot(
            "wait",
            Action::signal(
                "go",
                Duration::from_secs(1),
                |_trip: Trip, _signal: &Signal| -> Outcome<Trip> { panic!("four") },
                |_trip: Trip| -> Outcome<Trip> { panic!("five") },
            ),
        )
        .build()
        .unwrap();
    let life = Life::begin("sqlite::memory:", &ManualClock::new())
        .await
        .knows(bad)
        .knows(worse)
        .knows(deaf)
        .knows(hasty)
        .knows(trip())
        .run()
        .await;
    life.start("bad", "b-1", Trip::default()).await;
    life.start("worse", "w-1", Trip::default()).await;
    life.start("deaf", "d-1", Trip::default()).await;
    life.start("hasty", "h-1", Trip::default()).await;
    life.signal("d-1", "r-1", "hear/1", "null").await;
    life.pass(Duration::from_secs(2)).await;
    life.start("trip", "t-1", Trip::default()).await;
    assert_eq!(life.look("t-1").await.summary.status, Status::Completed);
    let bad = life.look("b-1").await;
    assert_eq!(
        (bad.summary.status, bad.summary.note.as_deref()),
        (Status::Running, Some("the step panicked"))
    );
    assert!(life.look("w-1").await.summary.note.unwrap().contains("too"));
    for id in ["d-1", "h-1"] {
        let unknown = life.look(id).await;
        assert!(unknown.summary.note.is_some_and(|note| note.contains("panicked")), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_unknown_and_reconciled() {
    let hanging = Definition::<Trip>::builder("trip")
        .pivot(
            "pay",
            Action::call(async |cx: StepCx, trip| {
                if !cx.reconcile() {
                    std::future::pending::<()>().await;
                }
                note(&cx, trip)
            })
            .timeout(std::time::Duration::from_secs(2)),
        )
        .build()
        .unwrap();
    let life = Life::begin("sqlite::memory:", &ManualClock::new()).await.knows(hanging).run().await;
    life.start("trip", "t-1", Trip::default()).await;
    let detail = life.until("t-1", Status::Completed).await;
    assert_eq!(events(&detail), ["- started", "pay unknown", "pay done", "- end_done"]);
    assert_eq!(state(&detail).seen, ["pay/1"], "the key stays");
}
