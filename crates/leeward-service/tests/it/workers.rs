//! Background work that panics: seen in the health, and back at work where it can be made again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use leeward_events::{Event, HandlerError, Outbox, Received};
use leeward_resilience::{Clock, Instant, TokioClock};
use leeward_saga::{Action, Definition, End, Outcome, Sagas};
use leeward_service::health::State;
use leeward_service::{Kit, Service};
use leeward_store::Tx;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::events::until;
use crate::world::{World, get};

/// A clock that panics when it is looked at, as often as it was told to.
#[derive(Debug)]
struct Trap(AtomicU32);

impl Trap {
    fn once() -> Arc<Self> {
        Arc::new(Self(AtomicU32::new(1)))
    }

    fn spring(&self) {
        let armed = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(armed.is_err(), "the clock stands still");
    }
}

impl Clock for Trap {
    fn now(&self) -> Instant {
        self.spring();
        TokioClock.now()
    }

    fn unix_ms(&self) -> i64 {
        self.spring();
        TokioClock.unix_ms()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Happened {
    id: String,
}

impl Event for Happened {
    const TYPE: &'static str = "thing.happened";
    const VERSION: u32 = 1;
    fn key(&self) -> String {
        self.id.clone()
    }
}

/// What the check of the workers says once it is down.
async fn reason(kit: &Kit, of: &str) -> String {
    until(async || {
        kit.health.run_all().await;
        let report = kit.health.report();
        let workers = report.checks.into_iter().find(|check| check.name == "workers").unwrap();
        let value = workers.value.unwrap_or_default();
        (workers.state == State::Down && value.contains(of)).then(|| value.into_owned())
    })
    .await
}

#[tokio::test]
async fn relay_consumer_and_sagas_come_back_after_a_panic() {
    let world = World::new().await;
    let mut kit = world.kit("orders").await;
    let db = kit.db(&[]).await.unwrap();

    let sagas = Sagas::new(db.clone(), Trap::once(), kit.rng.clone(), leeward_saga::Options::default());
    sagas.migrate().await.unwrap();
    let (ended, mut ends) = mpsc::channel(8);
    let definition = Definition::builder("order")
        .pivot("pay", Action::call(async |_cx, amount: u32| Outcome::Done(amount)))
        .on_end(async move |_tx: &mut Tx, _cx: leeward_saga::EndCx, end: End, _amount: u32| {
            let _full_or_gone = ended.try_send(end);
            Ok(())
        })
        .build()
        .unwrap();
    sagas.register(definition).unwrap();

    let (handled, mut seen) = mpsc::channel(8);
    let mut trapped = kit.clone();
    trapped.clock = Trap::once();
    let consumer = trapped.consumer("orders.things").on(async move |_tx: &mut Tx, it: Received<Happened>| {
        let _full_or_gone = handled.try_send(it.event.id);
        Ok::<_, HandlerError>(())
    });
    kit.outbox = Outbox::new("orders", Trap::once());
    let service = Service::builder(kit.clone()).consumer(consumer).sagas(sagas.clone()).build().unwrap();
    let address = world.serve(service).await;
    for worker in ["events.relay", "events.orders.things", "sagas"] {
        let red = format!("{worker}: panicked: the clock stands still");
        reason(&kit, &red).await;
    }
    assert_eq!(get(address, "/health/ready", "").await.status, 200, "requests can still be served");

    let (outbox, cause) = (kit.outbox.clone(), kit.correlation());
    db.write(async move |tx: &mut Tx| {
        outbox.append(tx, &Happened { id: "t-1".to_owned() }, &cause).await?;
        let _started = sagas.start(tx, "order", "o-1", &5_u32, &cause).await.unwrap();
        Ok::<_, leeward_events::outbox::Error>(())
    })
    .await
    .unwrap();
    let back = async { (seen.recv().await, ends.recv().await) };
    let back = tokio::time::timeout(Duration::from_secs(10), back).await.expect("not all are back at work");
    assert_eq!(back, (Some("t-1".to_owned()), Some(End::Completed)));
    world.stop().await;
}

#[tokio::test]
async fn a_consumer_that_cannot_be_made_again_takes_readiness_along() {
    let (paper, _logs) = crate::world::logs();
    let world = World::new().await;
    let kit = world.kit("orders").await;
    kit.db(&[]).await.unwrap();
    let mut trapped = kit.clone();
    trapped.clock = Trap::once();
    let only = trapped.consumer("orders.things").on(async |_tx: &mut Tx, _it: Received<Happened>| Ok(()));
    let service = Service::builder(kit.clone()).consumer(only.build().unwrap()).build().unwrap();
    let address = world.serve(service).await;
    reason(&kit, "events.orders.things: panicked").await;
    until(async || (get(address, "/health/ready", "").await.status == 503).then_some(())).await;
    assert_eq!(get(address, "/health/live", "").await.status, 200);
    let line = paper.line_with("cannot be made again");
    assert_eq!((&line["level"], &line["worker"]), (&"ERROR".into(), &"events.orders.things".into()));
    world.stop().await;
}

#[tokio::test]
async fn a_task_that_ends_is_seen_and_requests_are_still_served() {
    let world = World::new().await;
    let kit = world.kit("orders").await;
    let service = Service::builder(kit.clone())
        .task("orders.sweep", async |_stop| panic!("no broom"))
        .task("orders.count", async |_stop| {})
        .build()
        .unwrap();
    let address = world.serve(service).await;
    reason(&kit, "orders.sweep: panicked: no broom").await;
    reason(&kit, "orders.count: it returned").await;
    assert_eq!(get(address, "/health/ready", "").await.status, 200);
    world.stop().await;
}
