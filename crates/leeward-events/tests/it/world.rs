//! A small world for the tests: a database with outbox and consumer tables, a bus, and what was seen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leeward_events::bus::{self, Bus};
use leeward_events::consumer::Builder;
use leeward_events::{Consumer, Event, HandlerError, Outbox, Received, Redelivery, Relay};
use leeward_resilience::{FastRng, TokioClock};
use leeward_runtime::{Stage, Stop, Tasks};
use leeward_store::{Db, Migration, Options, Tx, params};
use leeward_telemetry::Correlation;
use serde::{Deserialize, Serialize};

/// What the tests' services publish: `key` got its `number`-th change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changed {
    pub(crate) key: String,
    pub(crate) number: i64,
}

impl Event for Changed {
    const TYPE: &'static str = "thing.changed";
    const VERSION: u32 = 2;
    fn key(&self) -> String {
        self.key.clone()
    }
}

pub(crate) fn changed(key: &str, number: i64) -> Changed {
    Changed { key: key.to_owned(), number }
}

const EFFECTS: &[Migration] = &[Migration {
    version: 1,
    name: "effects",
    sqlite: "CREATE TABLE effect (seq INTEGER PRIMARY KEY, event_key TEXT NOT NULL, number INTEGER NOT NULL) STRICT;",
    postgres: "CREATE TABLE effect (seq BIGSERIAL PRIMARY KEY, event_key TEXT NOT NULL, number BIGINT NOT NULL);",
}];

/// Wakes the tests that wait for effects.
const TOPIC: &str = "effects";

pub(crate) struct World {
    pub(crate) tasks: Tasks,
    pub(crate) db: Db,
    pub(crate) bus: Bus,
    pub(crate) outbox: Outbox,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_bus("memory:", bus::Options::default()).await
    }

    pub(crate) async fn with_bus(url: &str, options: bus::Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let db =
            Db::open(&format!("sqlite:{}", folder.path().join("service.db").display()), Options::default())
                .await
                .unwrap();
        Outbox::migrate(&db).await.unwrap();
        Consumer::migrate(&db).await.unwrap();
        db.migrate("test.effects", EFFECTS).await.unwrap();
        let bus = Bus::open(url, options, &tasks).await.unwrap();
        let outbox = Outbox::new("tests", Arc::new(TokioClock));
        Self { tasks, db, bus, outbox, _folder: folder }
    }

    /// Appends events in one transaction.
    pub(crate) async fn append(&self, events: Vec<Changed>) {
        self.try_append(events).await.unwrap();
    }

    pub(crate) async fn try_append(&self, events: Vec<Changed>) -> Result<(), leeward_events::outbox::Error> {
        let outbox = self.outbox.clone();
        self.db
            .write(async move |tx: &mut Tx| {
                for event in &events {
                    outbox.append(tx, event, &cause()).await?;
                }
                Ok(())
            })
            .await
    }

    /// Publishes past the outbox.
    pub(crate) async fn publish(&self, events: &[Changed]) {
        let envelopes = events.iter().map(|event| {
            leeward_events::Envelope::new(event, self.outbox.new_id(), "tests", 1_767_225_600_000, &cause())
                .unwrap()
        });
        self.bus.publish(envelopes.collect()).await.unwrap();
    }

    pub(crate) fn relay(&self) -> Relay {
        Relay::new(self.db.clone(), self.outbox.clone(), self.bus.clone())
    }

    /// Starts a relay that the returned stopper stops.
    pub(crate) fn start_relay(&self) -> Running {
        let relay = self.relay();
        self.start(|stop| relay.run(stop))
    }

    /// A consumer of the group `tests.effects` with short delays; handlers are still to be added.
    pub(crate) fn consumer(&self) -> Builder {
        Consumer::builder("tests.effects", self.db.clone(), self.bus.clone()).redelivery(
            Redelivery::default().attempts_max(3).delays(Duration::from_millis(1), Duration::from_millis(4)),
        )
    }

    pub(crate) fn start_consumer(&self, consumer: Consumer) -> Running {
        self.start(|stop| async move { consumer.run(stop).await.unwrap() })
    }

    pub(crate) fn start<F>(&self, body: impl FnOnce(Stop) -> F) -> Running
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let part = self.tasks.child("part");
        part.spawn(Stage::Work, "body", body);
        Running { part }
    }

    /// The effects so far, in the order of their commits.
    pub(crate) async fn effects(&self) -> Vec<Changed> {
        effects(&self.db).await
    }

    /// Waits until there are at least this many effects.
    pub(crate) async fn wait_effects(&self, count: usize) -> Vec<Changed> {
        let mut watch = self.db.watch(TOPIC);
        let wait = async {
            loop {
                let effects = self.effects().await;
                if effects.len() >= count {
                    return effects;
                }
                watch.changed().await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), wait).await {
            Ok(effects) => effects,
            Err(_) => panic!("{count} effects expected, there are {:?}", self.effects().await),
        }
    }

    /// Waits until a condition on the database holds; wakes of the topic tell when to look.
    pub(crate) async fn wait_count(&self, sql: &'static str, count: i64) {
        let wait = async {
            loop {
                if self.count(sql).await == count {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), wait).await.is_err() {
            panic!("{sql}: {count} expected, it is {}", self.count(sql).await);
        }
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        self.db.read(async move |tx| tx.query_one(sql, params![]).await?.get(0)).await.unwrap()
    }
}

pub(crate) async fn effects(db: &Db) -> Vec<Changed> {
    db.read(async move |tx| {
        let rows = tx.query("SELECT event_key, number FROM effect ORDER BY seq", params![]).await?;
        rows.iter().map(|row| Ok(Changed { key: row.get(0)?, number: row.get(1)? })).collect()
    })
    .await
    .map_err(|cause: leeward_store::Error| cause)
    .unwrap()
}

/// A part that runs until it is stopped.
pub(crate) struct Running {
    part: Tasks,
}

impl Running {
    /// Stops it in good order.
    pub(crate) async fn stop(self) {
        let report = self.part.shutdown(Duration::from_secs(10)).await;
        assert!(report.abandoned.is_empty(), "{report:?}");
    }
}

/// The effect of an event: a row.
pub(crate) async fn effect(tx: &mut Tx, received: &Received<Changed>) -> Result<(), HandlerError> {
    let event = &received.event;
    tx.execute("INSERT INTO effect (event_key, number) VALUES ($1, $2)", params![event.key, event.number])
        .await?;
    tx.wake(TOPIC);
    Ok(())
}

pub(crate) fn cause() -> Correlation {
    Correlation::new_root(&FastRng::from_entropy())
}

/// Serves routes on a port of its own.
pub(crate) async fn serve(tasks: &Tasks, router: axum::Router) -> SocketAddr {
    use axum::serve::ListenerExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
    tasks.spawn(Stage::Edge, "test.server", |_| async move { axum::serve(listener, router).await });
    address
}
