//! What the gateway counts. Label values are routes, methods, statuses, services and codes: all from the
//! configuration or from this crate, none from a request.

use leeward_telemetry::PolicyMetrics;
use leeward_telemetry::metrics::{
    Bound, Counter, Counters, Gauge, Gauges, Histogram, Histograms, LATENCY_BUCKETS, OTHER, Registry,
    http as names,
};

use crate::shared::Gone;
use crate::split::ARMS_MAX;
use crate::tls::Ends;

/// Refusals by the gateway itself. Labels: `stage`, `code`.
pub const REFUSALS: &str = "leeward_gateway_refusals_total";
/// Requests answered with a last good copy. Label: `service`.
pub const STALE_ANSWERS: &str = "leeward_gateway_stale_answers_total";
/// Requests of a route with several services, by the one that got them. Labels: `route`, `service`.
pub const SPLIT_REQUESTS: &str = "leeward_gateway_split_requests_total";
/// The share of a delivery's candidate, in hundredths of a percent. Label: `route`; those beyond the budget of routes have none.
pub const DELIVERY_SHARE: &str = "leeward_gateway_delivery_share_basis_points";
/// Requests that came to a layer. Label: `layer`.
pub const LAYER_REQUESTS: &str = "leeward_gateway_layer_requests_total";
/// Panics of a layer. Label: `layer`.
pub const LAYER_PANICS: &str = "leeward_gateway_layer_panics_total";
/// Connections of clients that are open.
pub const CONNECTIONS: &str = "leeward_gateway_connections";
/// Connections that were closed at once, since there were too many.
pub const CONNECTIONS_REFUSED: &str = "leeward_gateway_connections_refused_total";
/// Connections that the kernel would not hand over, most often since the process has as many files open as it may.
pub const ACCEPTS_FAILED: &str = "leeward_gateway_accepts_failed_total";
/// Connections over TLS that did not come about. Label: `reason`.
pub const HANDSHAKES_FAILED: &str = "leeward_gateway_tls_handshakes_failed_total";
/// Connections over TLS to services that did not come about. Labels: `service`, `reason`.
pub const UPSTREAM_HANDSHAKES_FAILED: &str = "leeward_gateway_upstream_handshakes_failed_total";
/// Seconds since 1970 at which a certificate ends. Label: `file`.
pub const CERTIFICATE_ENDS: &str = "leeward_gateway_certificate_not_after_seconds";
/// Changes of certificates on disk, by what became of them. Label: `outcome`.
pub const CERTIFICATE_RELOADS: &str = "leeward_gateway_certificate_reloads_total";
/// Changes of files of callers, by what became of them. Labels: `kind`, `outcome`.
pub const CALLER_RELOADS: &str = "leeward_gateway_caller_file_reloads_total";
/// Connections over HTTP/2 that were ended since they cost more than they asked for. Label: `kind`.
pub const HTTP2_FLOODS: &str = "leeward_gateway_http2_floods_total";
/// Records of the access log. Label: `result` (written, dropped, failed).
pub const ACCESS_RECORDS: &str = "leeward_gateway_access_records_total";
/// Connections that are switched to WebSocket.
pub const TUNNELS: &str = "leeward_gateway_tunnels";
/// Connections that were switched to WebSocket and are over. Label: `end` (closed, client, service, idle, duration, drain).
pub const TUNNELS_ENDED: &str = "leeward_gateway_tunnels_ended_total";
/// Requests refused, or with `mode="shadow"` only counted, since their core did not keep up. Labels: `priority`, `mode`.
pub const SHED_REQUESTS: &str = "leeward_gateway_shed_requests_total";
/// The same of connections over TLS, before their handshake. Label: `mode`.
pub const SHED_CONNECTIONS: &str = "leeward_gateway_shed_connections_total";
/// What work that is ready waits for its turn on a core.
pub const CORE_DELAY: &str = "leeward_gateway_core_delay_seconds";
/// Cores that do not keep up.
pub const CORES_BEHIND: &str = "leeward_gateway_cores_behind";
/// Requests on their way.
pub const REQUESTS_IN_FLIGHT: &str = "leeward_gateway_requests_in_flight";
/// Headers that clients sent and may not.
pub const HEADERS_DROPPED: &str = "leeward_gateway_headers_dropped_total";
/// Revocations taken in.
pub const REVOCATIONS: &str = "leeward_gateway_revocations_total";
/// Revocation events that could not be read.
pub const REVOCATIONS_UNREADABLE: &str = "leeward_gateway_revocations_unreadable_total";
/// Seconds from a logout to the moment from which the gateway refuses the token.
pub const REVOCATION_DELAY: &str = "leeward_gateway_revocation_delay_seconds";
/// Seconds since all that was revoked was known here for certain: how long a revocation may have gone unheard. Infinity before the
/// first time.
pub const REVOCATION_STALENESS: &str = "leeward_gateway_revocation_staleness_seconds";

/// Options that take a protection away and are on.
pub const UNSAFE_OPTIONS: &str = "leeward_gateway_unsafe_options";
/// Configurations read again. Labels: `cause` (file, hangup, operator), `result` (taken, refused).
pub const RELOADS: &str = "leeward_gateway_reloads_total";
/// 1 while the file on disk is not in force, since it was refused.
pub const CONFIG_REFUSED: &str = "leeward_gateway_config_refused";
/// The first 12 hexadecimal digits of the hash of the configuration in force, as a number: equal where configurations are. A label
/// in its place would leave a series behind with each change.
pub const CONFIG_HASH: &str = "leeward_gateway_config_hash";
/// How many configurations have been in force since the start.
pub const CONFIG_EPOCH: &str = "leeward_gateway_config_epoch";
/// When the configuration came into force, in seconds of Unix time.
pub const CONFIG_SINCE: &str = "leeward_gateway_config_since_seconds";

/// Routes that have no series of their own: they are counted as `other`.
pub const ROUTES_FOLDED: &str = "leeward_gateway_routes_folded";

/// The route label of requests that have no route.
pub(crate) const NO_ROUTE: &str = "none";
/// The route label of routes beyond the budget.
pub(crate) const OTHER_ROUTES: &str = OTHER;
/// Series a route on average: methods times statuses that it is asked with and answers.
const SERIES_A_ROUTE: usize = 16;

/// Handles to all of them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    pub(crate) requests: Counters<3>,
    pub(crate) durations: Histograms<2>,
    pub(crate) refusals: Counters<2>,
    pub(crate) stale: Counters<1>,
    pub(crate) split_requests: Counters<2>,
    pub(crate) delivery_share: Gauges<1>,
    pub(crate) layers: LayerMetrics,
    pub(crate) connections: Gauge,
    pub(crate) connections_refused: Counter,
    pub(crate) accepts_failed: Counter,
    pub(crate) handshakes_failed: Counters<1>,
    pub(crate) upstream_handshakes_failed: Counters<2>,
    pub(crate) certificate_ends: Ends,
    pub(crate) certificate_reloads: Counters<1>,
    pub(crate) caller_reloads: Counters<2>,
    pub(crate) http2_floods: Counters<1>,
    pub(crate) access_records: Counters<1>,
    pub(crate) tunnels: TunnelMetrics,
    pub(crate) overload: OverloadMetrics,
    pub(crate) in_flight: Gauge,
    pub(crate) headers_dropped: Counter,
    pub(crate) revocations: Counter,
    pub(crate) revocations_unreadable: Counter,
    pub(crate) revocation_delay: Histogram,
    pub(crate) reloads: Counters<2>,
    pub(crate) config_refused: Gauge,
    pub(crate) config_hash: Gauge,
    pub(crate) config_epoch: Gauge,
    pub(crate) config_since: Gauge,
    pub(crate) routes_folded: Gauge,
    pub(crate) unsafe_options: Gauge,
    pub(crate) policies: PolicyMetrics,
}

/// Handles to those of the program's layers.
#[derive(Clone, Debug)]
pub(crate) struct LayerMetrics {
    pub(crate) requests: Counters<1>,
    pub(crate) panics: Counters<1>,
}

impl LayerMetrics {
    fn new(registry: &Registry) -> Self {
        Self {
            requests: registry.counters(LAYER_REQUESTS, "Requests that came to a layer", ["layer"]),
            panics: registry.counters(LAYER_PANICS, "Panics of a layer", ["layer"]),
        }
    }
}

/// Series of a family that has one or more for each route: beside the routes none, and all others.
fn bound(routes: usize, each: usize) -> Bound {
    Bound { values_per_label: routes + 2, series: (routes + 2) * each }
}

fn of_requests(registry: &Registry, routes: usize) -> (Counters<3>, Histograms<2>) {
    let bound = bound(routes, SERIES_A_ROUTE);
    let (help, labels) = ("Requests answered", names::REQUEST_LABELS);
    let requests = registry.counters_bounded(names::REQUESTS_TOTAL, help, labels, bound);
    let (help, labels) = ("Time from the request's head to the response's head", names::DURATION_LABELS);
    let name = names::REQUEST_DURATION_SECONDS;
    (requests, registry.histograms_bounded(name, help, labels, LATENCY_BUCKETS, bound))
}

fn of_versions(registry: &Registry, routes: usize) -> (Counters<2>, Gauges<1>) {
    // At a reload those of both configurations, since what goes is forgotten when what comes is there already.
    let routes = 2 * routes;
    // All services of all routes; the routes beyond the budget share one label.
    let arms = (routes + 2) * ARMS_MAX;
    let (help, labels) = ("Requests of a route with several services", ["route", "service"]);
    let of_arms = Bound { values_per_label: arms, series: arms };
    let requests = registry.counters_bounded(SPLIT_REQUESTS, help, labels, of_arms);
    let (help, labels) = ("Share of a delivery's candidate", ["route"]);
    (requests, registry.gauges_bounded(DELIVERY_SHARE, help, labels, bound(routes, 1)))
}

/// Handles to those of connections that are switched.
#[derive(Clone, Debug)]
pub(crate) struct TunnelMetrics {
    pub(crate) open: Gauge,
    pub(crate) ended: Counters<1>,
}

impl TunnelMetrics {
    fn new(registry: &Registry) -> Self {
        Self {
            open: registry.gauge(TUNNELS, "Connections that are switched to WebSocket"),
            ended: registry.counters(TUNNELS_ENDED, "Switched connections that are over", ["end"]),
        }
    }
}

/// Handles to those of cores that do not keep up.
#[derive(Clone, Debug)]
pub(crate) struct OverloadMetrics {
    pub(crate) requests: Counters<2>,
    pub(crate) connections: Counters<1>,
    pub(crate) delay: Histogram,
    pub(crate) behind: Gauge,
}

impl OverloadMetrics {
    fn new(registry: &Registry) -> Self {
        let labels = ["priority", "mode"];
        let connections = "Connections that a core did not begin since it did not keep up";
        Self {
            requests: registry.counters(SHED_REQUESTS, "Requests that a core did not work on", labels),
            connections: registry.counters(SHED_CONNECTIONS, connections, ["mode"]),
            delay: registry.histogram(CORE_DELAY, "What work waits for its turn on a core", LATENCY_BUCKETS),
            behind: registry.gauge(CORES_BEHIND, "Cores that do not keep up"),
        }
    }
}

impl Metrics {
    /// With series of their own for so many routes.
    pub(crate) fn new(registry: Registry, routes: usize) -> Self {
        registry.process_metrics();
        let (requests, durations) = of_requests(&registry, routes);
        let (split_requests, delivery_share) = of_versions(&registry, routes);
        Self {
            requests,
            durations,
            refusals: registry.counters(REFUSALS, "Answers by the gateway itself", ["stage", "code"]),
            stale: registry.counters(STALE_ANSWERS, "Answers from a last good copy", ["service"]),
            split_requests,
            delivery_share,
            layers: LayerMetrics::new(&registry),
            connections: registry.gauge(CONNECTIONS, "Connections of clients"),
            connections_refused: registry.counter(CONNECTIONS_REFUSED, "Connections over the limit"),
            accepts_failed: registry.counter(ACCEPTS_FAILED, "Connections that could not be taken in"),
            handshakes_failed: registry.counters(
                HANDSHAKES_FAILED,
                "Connections over TLS that did not come about",
                ["reason"],
            ),
            upstream_handshakes_failed: registry.counters(
                UPSTREAM_HANDSHAKES_FAILED,
                "Connections over TLS to services that did not come about",
                ["service", "reason"],
            ),
            certificate_ends: Ends::new(registry.gauges(
                CERTIFICATE_ENDS,
                "When a certificate ends",
                ["file"],
            )),
            certificate_reloads: registry.counters(
                CERTIFICATE_RELOADS,
                "Changes of certificates on disk",
                ["outcome"],
            ),
            caller_reloads: registry.counters(
                CALLER_RELOADS,
                "Changes of files of callers",
                ["kind", "outcome"],
            ),
            http2_floods: registry.counters(HTTP2_FLOODS, "Connections that cost too much", ["kind"]),
            access_records: registry.counters(ACCESS_RECORDS, "Records of the access log", ["result"]),
            tunnels: TunnelMetrics::new(&registry),
            overload: OverloadMetrics::new(&registry),
            in_flight: registry.gauge(REQUESTS_IN_FLIGHT, "Requests on their way"),
            headers_dropped: registry.counter(HEADERS_DROPPED, "Header names that clients may not send"),
            revocations: registry.counter(REVOCATIONS, "Revocations taken in"),
            revocations_unreadable: registry.counter(REVOCATIONS_UNREADABLE, "Events that are none"),
            revocation_delay: registry.histogram(
                REVOCATION_DELAY,
                "Time from a logout to the gateway refusing the token",
                LATENCY_BUCKETS,
            ),
            reloads: registry.counters(RELOADS, "Configurations read again", ["cause", "result"]),
            config_refused: registry.gauge(CONFIG_REFUSED, "1 while the file on disk is not in force"),
            config_hash: registry.gauge(CONFIG_HASH, "First 48 bits of the hash of the configuration"),
            config_epoch: registry.gauge(CONFIG_EPOCH, "Configurations that have been in force"),
            config_since: registry.gauge(CONFIG_SINCE, "Unix time since which the configuration is in force"),
            routes_folded: registry.gauge(ROUTES_FOLDED, "Routes that are counted as `other`"),
            unsafe_options: registry.gauge(UNSAFE_OPTIONS, "Options that take a protection away and are on"),
            policies: PolicyMetrics::new(&registry),
            registry,
        }
    }

    /// Takes away what would go on to say how a route or a service was that is gone.
    pub(crate) fn forget(&self, gone: &Gone) {
        for route in &gone.routes {
            self.requests.forget(1, route);
            self.durations.forget(1, route);
            self.policies.forget(&format!("route {route}"));
            self.split_requests.forget(0, route);
            self.delivery_share.forget(0, route);
        }
        for policy in gone.services.iter().chain(&gone.policies) {
            self.policies.forget(policy);
        }
        for (policy, part) in &gone.parts {
            self.policies.forget_part(policy, *part);
        }
        for service in &gone.services {
            self.split_requests.forget(1, service);
        }
    }
}
