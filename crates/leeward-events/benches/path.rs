//! The whole path: append in a transaction > relay > bus > consumer's transaction, with fsync at each step.
//!
//! `cargo bench -p leeward-events`. Prints events a second and the CPU of the whole process for an event, per kind of bus.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark reports and may end at once")]
#![allow(missing_docs, reason = "not a library")]

use std::sync::Arc;
use std::time::Duration;

use leeward_events::bus::{self, Bus, Token};
use leeward_events::{Consumer, Event, Outbox, Relay};
use leeward_resilience::{Clock, FastRng, TokioClock};
use leeward_runtime::{Stage, Tasks};
use leeward_store::{Db, Migration, Options, Tx, params};
use leeward_telemetry::Correlation;
use serde::{Deserialize, Serialize};

const EVENTS: i64 = 60_000;
const WRITERS: i64 = 32;

#[derive(Serialize, Deserialize)]
struct Placed {
    order: String,
    number: i64,
    lines: Vec<String>,
}

impl Event for Placed {
    const TYPE: &'static str = "order.placed";
    const VERSION: u32 = 1;
    fn key(&self) -> String {
        self.order.clone()
    }
}

const TABLES: &[Migration] = &[Migration {
    version: 1,
    name: "rows",
    sqlite: "CREATE TABLE row_of (id TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
             CREATE TABLE done (only_row INTEGER PRIMARY KEY, events INTEGER NOT NULL) STRICT;
             INSERT INTO done VALUES (1, 0);",
    postgres: "",
}];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    for kind in ["memory", "sqlite", "leeward"] {
        let folder =
            tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        run(kind, folder.path()).await;
    }
}

async fn run(kind: &str, folder: &std::path::Path) {
    let tasks = Tasks::new();
    let file = |name: &str| format!("sqlite:{}", folder.join(name).display());
    let orders = Db::open(&file("orders.db"), Options::default()).await.unwrap();
    let mail = Db::open(&file("mail.db"), Options::default()).await.unwrap();
    Outbox::migrate(&orders).await.unwrap();
    Consumer::migrate(&mail).await.unwrap();
    mail.migrate("bench", TABLES).await.unwrap();
    let bus = open_bus(kind, &file("bus.db"), &tasks).await;
    let outbox = Outbox::new("orders", Arc::new(TokioClock));
    let relay = Relay::new(orders.clone(), outbox.clone(), bus.clone());
    let consumer = Consumer::builder("mail.orders", mail.clone(), bus)
        .on::<Placed>(async |tx, received| {
            let event = received.event;
            tx.execute("INSERT INTO row_of (id, number) VALUES ($1, $2)", params![event.order, event.number])
                .await?;
            tx.execute("UPDATE done SET events = events + 1", params![]).await?;
            tx.wake("done");
            Ok(())
        })
        .build()
        .unwrap();
    tasks.spawn(Stage::Work, "relay", |stop| relay.run(stop));
    tasks.spawn(Stage::Work, "consumer", |stop| consumer.run(stop));

    let (before, cpu_before) = (TokioClock.now(), cpu_ms());
    for writer in 0..WRITERS {
        let (db, outbox) = (orders.clone(), outbox.clone());
        tasks.spawn(Stage::Work, "writer", move |_| write(db, outbox, writer));
    }
    let mut watch = mail.watch("done");
    while done(&mail).await < EVENTS {
        watch.changed().await;
    }
    let seconds = TokioClock.now().saturating_duration_since(before).as_secs_f64();
    let cpu = cpu_ms() - cpu_before;
    let (appends, handled) = (orders.stats(), mail.stats());
    println!(
        "{kind:8} {:8.0} events/s, {:5.1} us CPU an event, commits: orders {}, mail {}",
        f64::from(i32::try_from(EVENTS).unwrap()) / seconds,
        cpu * 1000.0 / f64::from(i32::try_from(EVENTS).unwrap()),
        appends.commits,
        handled.commits,
    );
    tasks.shutdown(Duration::from_secs(5)).await;
}

async fn open_bus(kind: &str, file: &str, tasks: &Tasks) -> Bus {
    use axum::serve::ListenerExt;
    let options = bus::Options::default();
    match kind {
        "memory" => Bus::open("memory:", options, tasks).await.unwrap(),
        "sqlite" => Bus::open(file, options, tasks).await.unwrap(),
        _ => {
            let owner = Bus::open(file, options.clone(), tasks).await.unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
            let router = owner.router(Token::new("secret"));
            tasks.spawn(Stage::Edge, "server", |_| async move { axum::serve(listener, router).await });
            let options = options.token(Token::new("secret"));
            Bus::open(&format!("leeward://{address}"), options, tasks).await.unwrap()
        }
    }
}

async fn write(db: Db, outbox: Outbox, writer: i64) {
    let cause = Correlation::new_root(&FastRng::from_entropy());
    for number in (writer..EVENTS).step_by(usize::try_from(WRITERS).unwrap()) {
        let (outbox, cause) = (outbox.clone(), cause.clone());
        db.write(async move |tx: &mut Tx| {
            let line = "a line with some forty characters in it.".to_owned();
            let event = Placed { order: format!("order-{number:09}"), number, lines: vec![line; 6] };
            outbox.append(tx, &event, &cause).await.map(drop)
        })
        .await
        .unwrap();
    }
}

async fn done(db: &Db) -> i64 {
    let count: Result<i64, leeward_store::Error> =
        db.read(async |tx| tx.query_one("SELECT events FROM done", params![]).await?.get(0)).await;
    count.unwrap()
}

/// CPU of the process so far, in milliseconds: user and system ticks of 10 ms.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<i32>().map(f64::from).unwrap();
    (ticks(11) + ticks(12)) * 10.0
}
