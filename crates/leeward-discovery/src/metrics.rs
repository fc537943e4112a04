//! The metrics of discovery.

use leeward_telemetry::metrics::{Counters, Gauges, Registry};

/// Gauge `{service}`: endpoints in the set.
pub const ENDPOINTS: &str = "leeward_endpoints";
/// Gauge `{service}`: endpoints that the active health checks found unhealthy.
pub const ENDPOINTS_UNHEALTHY: &str = "leeward_endpoints_unhealthy";
/// Counter `{service, reason}`: ejections of endpoints that did worse than the others, for `consecutive_failures`,
/// `failure_rate` or `latency`.
pub const EJECTIONS: &str = "leeward_endpoint_ejections_total";
/// Counter `{service}`: picks that ignored health and ejections, since too few endpoints were left.
pub const PANIC_PICKS: &str = "leeward_endpoint_panic_picks_total";

/// The families, one series a service, or for each of the three reasons one.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) endpoints: Gauges<1>,
    pub(crate) unhealthy: Gauges<1>,
    pub(crate) ejections: Counters<2>,
    pub(crate) panic_picks: Counters<1>,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let service = ["service"];
        Self {
            endpoints: registry.gauges(ENDPOINTS, "Endpoints of a service", service),
            unhealthy: registry.gauges(
                ENDPOINTS_UNHEALTHY,
                "Endpoints that active checks found unhealthy",
                service,
            ),
            ejections: registry.counters(
                EJECTIONS,
                "Ejections of endpoints that did worse than the others",
                ["service", "reason"],
            ),
            panic_picks: registry.counters(PANIC_PICKS, "Picks that ignored health and ejections", service),
        }
    }
}
