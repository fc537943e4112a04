//! What the engine counts. The names are part of the interface: dashboards and alerts use them.

use leeward_telemetry::Registry;
use leeward_telemetry::metrics::{Counter, Counters, Gauge, Gauges, Histograms, LATENCY_BUCKETS};

/// Sagas started, by `saga`.
pub const STARTED: &str = "leeward_saga_started_total";
/// Sagas ended, by `saga` and `end`: `completed` or `compensated`.
pub const ENDED: &str = "leeward_saga_ended_total";
/// Attempts of actions (`step`) and undos (`undo STEP`), by `saga`, `step` and `outcome`.
pub const STEPS: &str = "leeward_saga_steps_total";
/// How long outside calls take, by `saga` and `step`.
pub const STEP_SECONDS: &str = "leeward_saga_step_duration_seconds";
/// Sagas that became stuck, by `saga`.
pub const STUCK: &str = "leeward_saga_stuck_total";
/// Sagas that this binary refused, by `saga`.
pub const REFUSED: &str = "leeward_saga_refused_total";
/// Sagas found under way at start, by `saga`.
pub const RECOVERED: &str = "leeward_saga_recovered_total";
/// Sagas that the engine works on now.
pub const ACTIVE: &str = "leeward_saga_active";
/// Sagas that wait in memory for a reply, a signal or a timer.
pub const WAITING: &str = "leeward_saga_waiting";
/// Sagas whose current step has failed at least [`STRUGGLING_ATTEMPTS`] times, as the safety poll last saw them, by `saga`.
pub const STRUGGLING: &str = "leeward_saga_struggling";
/// Commits of the journal that failed and were tried again.
pub const WRITE_RETRIES: &str = "leeward_saga_write_retries_total";

/// Failed attempts after which a saga counts as struggling: with the default backoff about a minute.
pub const STRUGGLING_ATTEMPTS: u32 = 10;

/// The span of an attempt of an action; the step's name follows.
pub const SPAN_STEP: &str = "saga.step";
/// The span of an attempt of an undo; the step's name follows.
pub const SPAN_UNDO: &str = "saga.undo";
/// Span attribute: the definition's name.
pub const ATTR_SAGA: &str = "leeward.saga.name";
/// Span attribute: the saga's id.
pub const ATTR_SAGA_ID: &str = "leeward.saga.id";
/// Span attribute: the step's name.
pub const ATTR_STEP: &str = "leeward.saga.step";
/// Span attribute: the attempt.
pub const ATTR_ATTEMPT: &str = "leeward.saga.attempt";
/// Span attribute: the outcome.
pub const ATTR_OUTCOME: &str = "leeward.saga.outcome";

/// The engine's metrics, resolved once.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) started: Counters<1>,
    pub(crate) ended: Counters<2>,
    pub(crate) steps: Counters<3>,
    pub(crate) step_seconds: Histograms<2>,
    pub(crate) stuck: Counters<1>,
    pub(crate) refused: Counters<1>,
    pub(crate) recovered: Counters<1>,
    pub(crate) active: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) struggling: Gauges<1>,
    pub(crate) write_retries: Counter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            started: registry.counters(STARTED, "Sagas started.", ["saga"]),
            ended: registry.counters(ENDED, "Sagas ended.", ["saga", "end"]),
            steps: registry.counters(STEPS, "Attempts of actions and undos.", ["saga", "step", "outcome"]),
            step_seconds: registry.histograms(
                STEP_SECONDS,
                "Duration of the outside calls of actions and undos.",
                ["saga", "step"],
                LATENCY_BUCKETS,
            ),
            stuck: registry.counters(STUCK, "Sagas that became stuck.", ["saga"]),
            refused: registry.counters(REFUSED, "Sagas refused by this binary.", ["saga"]),
            recovered: registry.counters(RECOVERED, "Sagas found under way at start.", ["saga"]),
            active: registry.gauge(ACTIVE, "Sagas being worked on."),
            waiting: registry.gauge(WAITING, "Sagas waiting in memory for a reply, a signal or a timer."),
            struggling: registry.gauges(STRUGGLING, "Sagas whose current step keeps failing.", ["saga"]),
            write_retries: registry
                .counter(WRITE_RETRIES, "Journal commits that failed and were tried again."),
        }
    }
}
