//! What is counted about calls, beside what the policies in front of them do.

use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::Observer;
use leeward_telemetry::metrics::{Counters, Histograms, LATENCY_BUCKETS};
use leeward_telemetry::{PolicyMetrics, Registry};

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
    policies: Arc<PolicyMetrics>,
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
            policies: Arc::new(PolicyMetrics::new(registry)),
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
