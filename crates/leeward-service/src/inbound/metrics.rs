//! The two metrics of every server.

use std::time::Duration;

use http::{Method, StatusCode};
use leeward_telemetry::Registry;
use leeward_telemetry::metrics::{Counters, Histograms, LATENCY_BUCKETS};

/// Requests by method, route template and status.
pub const HTTP_REQUESTS_TOTAL: &str = "http_requests_total";
/// How long they took, by method and route template.
pub const HTTP_REQUEST_DURATION_SECONDS: &str = "http_request_duration_seconds";

#[derive(Debug, Clone)]
pub(super) struct Metrics {
    requests: Counters<3>,
    durations: Histograms<2>,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let labels = ["method", "route", "status_code"];
        Self {
            requests: registry.counters(HTTP_REQUESTS_TOTAL, "Requests served.", labels),
            durations: registry.histograms(
                HTTP_REQUEST_DURATION_SECONDS,
                "Time from a request's head to its answer's head.",
                ["method", "route"],
                LATENCY_BUCKETS,
            ),
        }
    }

    pub(super) fn record(
        &self,
        method: &'static str,
        route: &'static str,
        status: StatusCode,
        took: Duration,
    ) {
        self.requests.with([method, route, status.as_str()]).inc();
        self.durations.with([method, route]).observe_duration(took);
    }
}

/// The method as a label. A caller can make methods up, and a label's values are bounded.
pub(super) fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
