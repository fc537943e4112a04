//! What is counted about calls, and what the policies in front of them report.

use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::breaker::State;
use leeward_resilience::observe::metrics::{
    ATTEMPT_TIMEOUTS, BREAKER_STATE, BREAKER_TRANSITIONS, REJECTIONS, RETRIES, RETRY_BUDGET_EXHAUSTED,
};
use leeward_resilience::{Event, Observer};
use leeward_telemetry::Registry;
use leeward_telemetry::metrics::{Counters, Gauges, Histograms, LATENCY_BUCKETS};

use super::error::CallError;
use super::transport::Answer;

/// Calls made by target and outcome: a status class, or how a call ended without an answer.
pub const CLIENT_CALLS_TOTAL: &str = "leeward_client_calls_total";
/// How long they took with all their attempts, by target.
pub const CLIENT_CALL_DURATION_SECONDS: &str = "leeward_client_call_duration_seconds";

/// Shared by all clients of a service.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    calls: Counters<2>,
    durations: Histograms<1>,
    policies: Arc<Policies>,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let durations = registry.histograms(
            CLIENT_CALL_DURATION_SECONDS,
            "Time of a call with all its attempts.",
            ["target"],
            LATENCY_BUCKETS,
        );
        Self {
            calls: registry.counters(CLIENT_CALLS_TOTAL, "Calls to other services.", ["target", "outcome"]),
            durations,
            policies: Arc::new(Policies::new(registry)),
        }
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.policies) as Arc<dyn Observer>
    }

    pub(super) fn record(&self, target: &str, result: &Result<Answer, CallError>, took: Duration) {
        let outcome = match result {
            Ok(answer) => match answer.status.as_u16() {
                0..400 => "ok",
                400..500 => "refused",
                _ => "error",
            },
            Err(CallError::Rejected { .. }) => "rejected",
            Err(CallError::NotSent { .. } | CallError::Build { .. }) => "not_sent",
            Err(_) => "unknown",
        };
        self.calls.with([target, outcome]).inc();
        self.durations.with([target]).observe_duration(took);
    }
}

/// Turns what the policies do into metrics.
#[derive(Debug)]
struct Policies {
    state: Gauges<1>,
    transitions: Counters<2>,
    rejections: Counters<2>,
    retries: Counters<1>,
    exhausted: Counters<1>,
    timeouts: Counters<1>,
}

impl Policies {
    fn new(registry: &Registry) -> Self {
        let counters = |name, help| registry.counters(name, help, ["policy"]);
        Self {
            state: registry.gauges(
                BREAKER_STATE,
                "0 closed, 1 half-open, 2 open, 3 forced open, 4 forced closed.",
                ["policy"],
            ),
            transitions: registry.counters(
                BREAKER_TRANSITIONS,
                "Changes of a breaker's state.",
                ["policy", "to"],
            ),
            rejections: registry.counters(REJECTIONS, "Calls that a policy refused.", ["policy", "kind"]),
            retries: counters(RETRIES, "Attempts after the first."),
            exhausted: counters(RETRY_BUDGET_EXHAUSTED, "Failures not retried since the budget was spent."),
            timeouts: counters(ATTEMPT_TIMEOUTS, "Attempts that the attempt timeout cut short."),
        }
    }
}

impl Observer for Policies {
    fn observe(&self, name: &str, event: &Event) {
        match event {
            Event::BreakerChanged { from, to } => {
                let (value, to_name) = state(*to);
                tracing::warn!(policy = name, from = state(*from).1, to = to_name, "breaker changed");
                self.state.with([name]).set(value);
                self.transitions.with([name, to_name]).inc();
            }
            Event::Rejected(rejected) => self.rejections.with([name, rejected.policy]).inc(),
            Event::Retrying { .. } => self.retries.with([name]).inc(),
            Event::RetryBudgetExhausted => self.exhausted.with([name]).inc(),
            Event::AttemptTimeout { .. } => self.timeouts.with([name]).inc(),
            _ => {}
        }
    }
}

fn state(state: State) -> (i64, &'static str) {
    match state {
        State::Closed => (0, "closed"),
        State::HalfOpen => (1, "half-open"),
        State::Open => (2, "open"),
        State::ForcedOpen => (3, "forced-open"),
        State::ForcedClosed => (4, "forced-closed"),
    }
}
