//! Command and reply, dead letters and the log, over real services and one bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use leeward_events::{Envelope, Event, HandlerError, Outbox, Redelivery};
use leeward_saga::{Action, Definition, End, Outcome, Undo};
use leeward_service::{Command, Commanded, Kit, Principal, Service, command};
use leeward_store::{Db, Migration, Tx, params};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::world::{World, asserts, get, post};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Reserve {
    order_id: String,
    quantity: u32,
}

impl Event for Reserve {
    const TYPE: &'static str = "command.stock.reserve";
    const VERSION: u32 = 1;
    fn key(&self) -> String {
        self.order_id.clone()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Reserved {
    Yes,
    Short { left: u32 },
}

impl Command for Reserve {
    type Reply = Reserved;
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Broken {
    id: String,
}

impl Event for Broken {
    const TYPE: &'static str = "thing.broken";
    const VERSION: u32 = 1;
    fn key(&self) -> String {
        self.id.clone()
    }
}

const STOCK: &[Migration] = &[Migration {
    version: 1,
    name: "reserved",
    sqlite: "CREATE TABLE reserved (order_id TEXT PRIMARY KEY, quantity INTEGER NOT NULL, key TEXT NOT NULL) STRICT;",
    postgres: "CREATE TABLE reserved (order_id TEXT PRIMARY KEY, quantity BIGINT NOT NULL, key TEXT NOT NULL);",
}];

/// A participant with ten of the thing.
async fn stock(kit: Kit) -> (Service, Db) {
    let db = kit.db(STOCK).await.unwrap();
    let consumer = kit
        .consumer("stock.commands")
        .on_command::<Reserve>(async |tx: &mut Tx, command: Commanded<Reserve>| {
            let Reserve { order_id, quantity } = &command.event;
            if *quantity > 10 {
                return Ok(Reserved::Short { left: 10 });
            }
            let sql =
                "INSERT INTO reserved (order_id, quantity, key) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
            tx.execute(sql, params![order_id, quantity, command.key]).await?;
            Ok(Reserved::Yes)
        })
        .build()
        .unwrap();
    (Service::builder(kit).consumer(consumer).build().unwrap(), db)
}

/// Reserves by command, pays, and tells how it ended.
fn order(outbox: Outbox, ended: mpsc::Sender<(String, End)>) -> Definition<u32> {
    let send = async move |tx: &mut Tx, cx: leeward_saga::StepCx, quantity: u32| {
        let reserve = Reserve { order_id: cx.saga_id().to_string(), quantity };
        command::send(tx, &outbox, &reserve, cx.key(), cx.correlation()).await?;
        Ok(())
    };
    let judge = |quantity: u32, reply: &leeward_saga::Signal| match reply.json::<Reserved>() {
        Ok(Reserved::Yes) => Outcome::Done(quantity),
        Ok(Reserved::Short { left }) => Outcome::rejected("short", format!("{left} left")),
        Err(error) => Outcome::Unknown(error.to_string()),
    };
    Definition::builder("order")
        .step("reserve", Action::command(send, judge), Undo::none())
        .pivot("pay", Action::call(async |_cx, quantity: u32| Outcome::Done(quantity)))
        .on_end(async move |_tx: &mut Tx, cx: leeward_saga::EndCx, end: End, _quantity: u32| {
            let _full_or_gone = ended.try_send((cx.saga_id().to_string(), end));
            Ok(())
        })
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_saga_commands_and_is_answered() {
    let world = World::new().await;
    let (stock, stock_db) = stock(world.kit("stock").await).await;
    world.serve(stock).await;

    let kit = world.kit("orders").await;
    let db = kit.db(&[]).await.unwrap();
    let sagas = kit.sagas(&db).await.unwrap();
    let (ended, mut ends) = mpsc::channel(8);
    let definition = order(kit.outbox.clone(), ended);
    sagas.register(definition).unwrap();
    let replies = kit.consumer("orders.replies").replies_to(&sagas).build().unwrap();
    let cause = kit.correlation();
    let service = Service::builder(kit).consumer(replies).sagas(sagas.clone()).build().unwrap();
    let address = world.serve(service).await;
    let gateway = world.issuer("gateway").await;

    for (id, quantity) in [("o-1", 3_u32), ("o-2", 11)] {
        let (sagas, cause) = (sagas.clone(), cause.clone());
        let start =
            async move |tx: &mut Tx| sagas.start(tx, "order", id, &quantity, &cause).await.map(|_| ());
        db.write(start).await.unwrap();
    }
    let mut seen = vec![ends.recv().await.unwrap(), ends.recv().await.unwrap()];
    seen.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(seen[0], ("o-1".to_owned(), End::Completed));
    let operator = asserts(&gateway, &Principal::Operator, "orders");
    // The hook runs inside the last transaction: what it tells is committed a moment later.
    let ended = async |id: &str| {
        let path = format!("/_leeward/sagas/{id}");
        until(async || {
            let shown = get(address, &path, &operator).await.json();
            matches!(shown["status"].as_str(), Some("completed" | "compensated")).then_some(shown)
        })
        .await
    };
    assert_eq!(ended("o-1").await["status"], "completed");
    let undone = ended("o-2").await;
    assert_eq!((&undone["status"], &undone["reason"]["code"]), (&"compensated".into(), &"short".into()));
    let listed = get(address, "/_leeward/sagas?status=completed", &operator).await.json();
    assert_eq!((&listed["items"][0]["id"], listed["items"].as_array().unwrap().len()), (&"o-1".into(), 1));
    assert_eq!(get(address, "/_leeward/sagas/o-3", &operator).await.status, 404);
    let retried = post(address, "/_leeward/sagas/o-1/retry", &operator, "{}").await.unwrap();
    assert_eq!(retried.status, 409, "an ended saga has nothing to retry: {retried:?}");
    let skipped = post(address, "/_leeward/sagas/o-1/skip", &operator, "{}").await.unwrap();
    assert_eq!(skipped.status, 422, "a skip needs a reason");
    let End::Compensated { reason } = &seen[1].1 else { panic!("{seen:?}") };
    assert_eq!((&*reason.step, &*reason.code), ("reserve", "short"));
    let rows = stock_db
        .read(async |tx: &mut leeward_store::ReadTx| {
            tx.query("SELECT order_id, key FROM reserved", params![]).await
        })
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<String>(1).unwrap(), "o-1/reserve/1");
    world.stop().await;
}

#[tokio::test]
async fn a_reply_is_read_however_its_writer_escapes() {
    let world = World::new().await;
    let kit = world.kit("orders").await;
    let db = kit.db(&[]).await.unwrap();
    let sagas = kit.sagas(&db).await.unwrap();
    let (ended, mut ends) = mpsc::channel(8);
    sagas.register(order(kit.outbox.clone(), ended)).unwrap();
    let replies = kit.consumer("orders.replies").replies_to(&sagas);
    let cause = kit.correlation();
    let service = Service::builder(kit.clone()).consumer(replies).sagas(sagas.clone()).build().unwrap();
    world.serve(service).await;
    db.write(async move |tx: &mut Tx| sagas.start(tx, "order", "o-1", &3_u32, &cause).await.map(|_| ()))
        .await
        .unwrap();

    // A participant of another make, whose JSON writer escapes the slash: to JSON that is the same text.
    let reply = r#"{"key":"o-1\/reserve\/1","command":"command.stock.reserve","reply":{"outcome":"yes"}}"#;
    let envelope = Envelope {
        id: "reply-1".into(),
        source: "stock".into(),
        kind: "reply.orders".into(),
        subject: "o-1".into(),
        time_ms: kit.clock.unix_ms(),
        version: 1,
        traceparent: None,
        correlation_id: "c-1".into(),
        causation_id: None,
        log_seq: None,
        data: RawValue::from_string(reply.to_owned()).unwrap(),
    };
    world.bus.publish(vec![envelope]).await.unwrap();
    let end =
        tokio::time::timeout(Duration::from_secs(10), ends.recv()).await.expect("the reply was not read");
    assert_eq!(end, Some(("o-1".to_owned(), End::Completed)));
    world.stop().await;
}

/// A service whose handler fails until it is told to work.
async fn fragile(world: &World) -> (std::net::SocketAddr, Db, Kit, Arc<AtomicU32>, mpsc::Receiver<String>) {
    let kit = world.kit("fragile").await;
    let db = kit.db(&[]).await.unwrap();
    let works = Arc::<AtomicU32>::default();
    let (handled, receiver) = mpsc::channel(8);
    let switch = Arc::clone(&works);
    let consumer = kit
        .consumer("fragile.things")
        .redelivery(Redelivery::default())
        .on::<Broken>(async move |_tx: &mut Tx, received: leeward_events::Received<Broken>| {
            if switch.load(Ordering::SeqCst) == 0 {
                return Err(HandlerError::Poison("it is broken".to_owned()));
            }
            let _full_or_gone = handled.try_send(received.event.id);
            Ok(())
        })
        .build()
        .unwrap();
    let service = Service::builder(kit.clone()).consumer(consumer).build().unwrap();
    (world.serve(service).await, db, kit, works, receiver)
}

pub(crate) async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), looking).await.expect("it did not come about")
}

#[tokio::test]
async fn operators_look_at_dead_letters_and_replay_them() {
    let world = World::new().await;
    let gateway = world.issuer("gateway").await;
    let operator = asserts(&gateway, &Principal::Operator, "fragile");
    let (address, db, kit, works, mut handled) = fragile(&world).await;
    let (outbox, cause) = (kit.outbox.clone(), kit.correlation());
    db.write(async move |tx: &mut Tx| {
        for id in ["a", "b"] {
            outbox.append(tx, &Broken { id: id.to_owned() }, &cause).await?;
        }
        Ok::<_, leeward_events::outbox::Error>(())
    })
    .await
    .unwrap();
    let letters = until(async || {
        let letters = get(address, "/_leeward/events/dead?group=fragile.things", &operator).await.json();
        (letters.as_array().unwrap().len() == 2).then_some(letters)
    })
    .await;
    assert_eq!((&letters[0]["key"], &letters[0]["reason"]), (&"a".into(), &"it is broken".into()));
    let path = |index: usize, verb: &str| format!("/_leeward/events/dead/{}{verb}", letters[index]["seq"]);
    let shown = get(address, &path(0, ""), &operator).await.json();
    assert!(shown["body"].as_str().unwrap().contains("thing.broken"));

    let consumers = async || {
        kit.health.run_all().await;
        let report = get(address, "/_leeward/health", &operator).await.json();
        report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["name"] == "consumers")
            .unwrap()
            .clone()
    };
    let check = consumers().await;
    assert_eq!(
        (&check["state"], &check["value"]),
        (&"degraded".into(), &"fragile.things: 2 dead letters".into())
    );
    assert_eq!(get(address, "/health/ready", "").await.status, 200, "requests can still be served");

    works.store(1, Ordering::SeqCst);
    let change = r#"{"actor":"ops","reason":"mended"}"#;
    assert_eq!(post(address, &path(0, "/replay"), "", change).await.unwrap().status, 401);
    assert_eq!(post(address, &path(0, "/replay"), &operator, change).await.unwrap().status, 200);
    assert_eq!(handled.recv().await.as_deref(), Some("a"));
    assert_eq!(post(address, &path(1, "/drop"), &operator, change).await.unwrap().status, 200);
    assert_eq!(post(address, &path(1, "/drop"), &operator, change).await.unwrap().status, 404);
    let left = get(address, "/_leeward/events/dead", &operator).await.json();
    assert_eq!(left, serde_json::json!([]));
    assert_eq!(consumers().await["state"], "up");

    let lag = get(address, "/_leeward/events/lag", &operator).await.json();
    assert_eq!(lag["groups"][0]["group"], "fragile.things");
    let reader = world.issuer("reader").await;
    let log = get(address, "/internal/events?limit=1", &asserts(&reader, &Principal::Service, "fragile"))
        .await
        .json();
    assert_eq!((&log["source"], log["entries"].as_array().unwrap().len()), (&"fragile".into(), 1));
    let next = format!("/internal/events?after={}", log["entries"][0]["seq"]);
    let next = get(address, &next, &asserts(&reader, &Principal::Service, "fragile")).await.json();
    assert_eq!(next["entries"][0]["event"]["subject"], "b");
    world.stop().await;
}

#[tokio::test]
async fn a_worker_that_ends_is_seen_in_the_health() {
    let world = World::new().await;
    let gateway = world.issuer("gateway").await;
    let (address, _db, kit, ..) = fragile(&world).await;
    let operator = asserts(&gateway, &Principal::Operator, "fragile");
    world.bus.close().await;
    until(async || {
        kit.health.run_all().await;
        let report = get(address, "/_leeward/health", &operator).await.json();
        let workers =
            report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "workers").unwrap();
        (workers["state"] == "down").then_some(())
    })
    .await;
    assert_eq!(get(address, "/health/ready", "").await.status, 200, "requests can still be served");
    world.stop().await;
}
