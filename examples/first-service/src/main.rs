//! A ticket office as a service of its own: a saga that books a seat and charges for it, a policy pipeline around the
//! bank that fails now and then, and an event that a second part of the program hears of.
//!
//! Run it with `cargo run`. It needs nothing but Rust and a C compiler; its data lives in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leeward_events::runtime::{Stage, Tasks};
use leeward_events::store::{Db, Migration, Options, Tx, params};
use leeward_events::telemetry::Correlation;
use leeward_events::{Bus, Consumer, Event, Outbox, Relay, bus};
use leeward_resilience::retry::Retry;
use leeward_resilience::{Call, Class, FastRng, Pipeline, TokioClock};
use leeward_saga::{Action, Definition, Outcome, Sagas, StepCx, Undo};
use serde::{Deserialize, Serialize};

type Failure = Box<dyn std::error::Error>;

const TABLES: &[Migration] = &[Migration {
    version: 1,
    name: "seats",
    sqlite: "CREATE TABLE seats (seat TEXT PRIMARY KEY, booking TEXT NOT NULL)",
    postgres: "CREATE TABLE seats (seat TEXT PRIMARY KEY, booking TEXT NOT NULL)",
}];

/// What the steps of a booking hand on to each other.
#[derive(Clone, Serialize, Deserialize)]
struct Booking {
    seat: String,
    price_minor: i64,
    receipt: Option<String>,
}

/// What others hear of a booking.
#[derive(Serialize, Deserialize)]
struct SeatSold {
    seat: String,
}

impl Event for SeatSold {
    const TYPE: &'static str = "seat.sold";
    const VERSION: u32 = 1;

    fn key(&self) -> String {
        self.seat.clone()
    }
}

/// A bank on a bad day: twice there is no line, then it charges and its answer gets lost. It knows a charge by its key, so
/// that asking again under the same key finds the receipt and charges nothing.
#[derive(Clone)]
struct Bank {
    calls: Arc<AtomicU32>,
    receipts: Arc<Mutex<BTreeMap<String, String>>>,
    pipeline: Pipeline,
}

impl Bank {
    fn new() -> Result<Self, Failure> {
        let pipeline = Pipeline::builder("bank")
            .deadline(Duration::from_secs(2))
            .attempt_timeout(Duration::from_millis(500))
            .retry(Retry::default())
            .build()?;
        Ok(Self { calls: Arc::default(), receipts: Arc::default(), pipeline })
    }

    async fn charge(&self, key: &str, amount_minor: i64) -> Result<String, String> {
        let judge =
            |result: &Result<String, String>| if result.is_ok() { Class::Success } else { Class::RETRYABLE };
        let charged = self.pipeline.call(Call::REPLAYABLE, |_attempt| self.answer(key, amount_minor), judge);
        charged.await.map_err(|error| error.to_string())
    }

    /// The bank's side of the line.
    async fn answer(&self, key: &str, amount_minor: i64) -> Result<String, String> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if call < 2 {
            return Err("no line".to_owned());
        }
        let receipt = {
            let mut receipts = self.receipts.lock().map_err(|_| "the bank is broken")?;
            receipts.entry(key.to_owned()).or_insert_with(|| format!("{amount_minor} for {key}")).clone()
        };
        if call == 2 {
            std::future::pending::<()>().await;
        }
        Ok(receipt)
    }

    fn receipts(&self) -> Vec<String> {
        self.receipts.lock().map(|receipts| receipts.values().cloned().collect()).unwrap_or_default()
    }
}

/// The booking as one saga: each step beside what undoes it.
fn booking(bank: Bank, outbox: Outbox) -> Result<Definition<Booking>, Failure> {
    let take_seat = async |tx: &mut Tx, cx: StepCx, booking: Booking| {
        let sql = "INSERT INTO seats (seat, booking) VALUES ($1, $2) ON CONFLICT (seat) DO NOTHING";
        let taken = tx.execute(sql, params![booking.seat, cx.saga_id()]).await? == 1;
        Ok(if taken { Outcome::Done(booking) } else { Outcome::rejected("seat_taken", "somebody was faster") })
    };
    let free_seat = async |tx: &mut Tx, cx: StepCx, booking: Booking| {
        tx.execute("DELETE FROM seats WHERE booking = $1", params![cx.saga_id()]).await?;
        Ok(Outcome::Done(booking))
    };
    let charge = async |bank: Bank, cx: StepCx, booking: Booking| {
        // The step's own key: the same at every attempt of this step, another for every other booking.
        match bank.charge(cx.key(), booking.price_minor).await {
            Ok(receipt) => Outcome::Done(Booking { receipt: Some(receipt), ..booking }),
            // Some attempt may have charged before its answer got lost. `Transient` would say that none did, and the saga
            // might then give up and free the seat; `Unknown` has it ask again under the same key until it is known.
            Err(why) => Outcome::Unknown(format!("{}: {why}", cx.step())),
        }
    };
    let tell = async move |tx: &mut Tx, cx: StepCx, booking: Booking| {
        outbox.append(tx, &SeatSold { seat: booking.seat.clone() }, cx.correlation()).await?;
        Ok(Outcome::Done(booking))
    };
    Ok(Definition::builder("booking")
        .step("take-seat", Action::tx(take_seat), Undo::tx(free_seat))
        .pivot("charge", Action::call_with(bank, charge))
        .retriable("tell", Action::tx(tell))
        .build()?)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (tasks, clock, rng) = (Tasks::new(), Arc::new(TokioClock), Arc::new(FastRng::from_entropy()));
    let db = Db::open("sqlite::memory:", Options::default()).await?;
    db.migrate("tickets", TABLES).await?;
    Outbox::migrate(&db).await?;
    Consumer::migrate(&db).await?;

    let bus = Bus::open("memory:", bus::Options::default(), &tasks).await?;
    let outbox = Outbox::new("tickets", clock.clone());
    let relay = Relay::new(db.clone(), outbox.clone(), bus.clone());
    let (sold, mut heard) = tokio::sync::mpsc::channel(8);
    let doorman = Consumer::builder("door.seats", db.clone(), bus)
        .on::<SeatSold>(async move |_tx, received| {
            let _full = sold.try_send(received.event.seat);
            Ok(())
        })
        .build()?;

    let bank = Bank::new()?;
    let sagas = Sagas::new(db.clone(), clock, rng.clone(), leeward_saga::Options::default());
    sagas.migrate().await?;
    sagas.register(booking(bank.clone(), outbox)?)?;

    let engine = sagas.clone();
    tasks.spawn(Stage::Work, "sagas", |stop| async move { engine.run(stop).await });
    tasks.spawn(Stage::Work, "relay", |stop| relay.run(stop));
    tasks.spawn(Stage::Work, "doorman", |stop| doorman.run(stop));

    let cause = Correlation::new_root(&*rng);
    let _started = db.write(async move |tx: &mut Tx| {
        let wanted = Booking { seat: "A1".into(), price_minor: 2_500, receipt: None };
        sagas.start(tx, "booking", "b-1", &wanted, &cause).await
    })
    .await?;

    let seat = heard.recv().await.ok_or("the doorman heard nothing")?;
    println!("seat {seat} is sold");
    println!("the bank was asked {} times", bank.calls.load(Ordering::Relaxed));
    println!("and charged: {}", bank.receipts().join(", "));
    tasks.shutdown(Duration::from_secs(2)).await;
    Ok(())
}
