//! What others see of the engine: metrics, and the trace that goes through its steps.

use std::num::NonZeroU32;

use leeward_resilience::ManualClock;
use leeward_saga::{Action, Definition, Options, Outcome, Retry, Status, StepCx, Undo, metrics};
use leeward_telemetry::Registry;

use crate::world::{Life, Trip, noted, state, work};

fn trip() -> Definition<Trip> {
    let traced = async |cx: StepCx, mut trip: Trip| {
        let correlation = cx.correlation();
        trip.seen.push(format!("{:032x}", correlation.trace.trace_id()));
        trip.seen.push(correlation.trace.span_id().to_string());
        Outcome::Done(trip)
    };
    let pay = async |_cx, trip: Trip| match trip.seen.contains(&"poor".to_owned()) {
        true => Outcome::rejected("declined", "no money"),
        false => Outcome::Done(trip),
    };
    let undo = async |_cx, _trip: Trip| Outcome::Transient("down".to_owned());
    let once = Retry::attempts(NonZeroU32::MIN);
    Definition::builder("trip")
        .step("car", Action::call(traced), Undo::call(undo).retry(once))
        .pivot("pay", Action::call(pay))
        .retriable("tell", noted())
        .build()
        .unwrap()
}

#[tokio::test]
async fn starts_ends_and_trouble_are_counted() {
    let registry = Registry::new();
    let options = Options { registry: registry.clone(), ..Options::default() };
    let life = Life::with("sqlite::memory:", &ManualClock::new(), options).await.knows(trip()).run().await;
    life.start("trip", "t-1", Trip::default()).await;
    life.start("trip", "t-2", Trip { seen: vec!["poor".to_owned()] }).await;
    assert_eq!(life.look("t-1").await.summary.status, Status::Completed);
    assert_eq!(life.look("t-2").await.summary.status, Status::Stuck);
    let text = registry.encode();
    for line in [
        "leeward_saga_started_total{saga=\"trip\"} 2",
        "leeward_saga_ended_total{saga=\"trip\",end=\"completed\"} 1",
        "leeward_saga_stuck_total{saga=\"trip\"} 1",
        "leeward_saga_steps_total{saga=\"trip\",step=\"pay\",outcome=\"rejected\"} 1",
        "leeward_saga_steps_total{saga=\"trip\",step=\"undo car\",outcome=\"transient\"} 1",
        "leeward_saga_step_duration_seconds_count{saga=\"trip\",step=\"pay\"} 2",
        "leeward_saga_waiting 0",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    for name in
        [metrics::STARTED, metrics::ENDED, metrics::REFUSED, metrics::STRUGGLING, metrics::WRITE_RETRIES]
    {
        assert!(registry.names().contains(&name), "{name}");
    }
}

#[tokio::test]
async fn steps_belong_to_the_trace_of_the_start() {
    let life = Life::begin("sqlite::memory:", &ManualClock::new()).await.knows(trip()).run().await;
    life.start("trip", "t-1", Trip::default()).await;
    let detail = life.look("t-1").await;
    let (trace, started) = (format!("{:032x}", work().trace.trace_id()), work().trace.span_id().to_string());
    assert_eq!(detail.trace_id, trace);
    assert_eq!(state(&detail).seen[0], trace);
    assert_ne!(state(&detail).seen[1], started, "each attempt is a span of its own");
}
