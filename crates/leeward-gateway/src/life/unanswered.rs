//! The refusal for a call that brought no answer, with what decided it.

use http::StatusCode;
use leeward_discovery::NoEndpoint;
use leeward_resilience::{Error, OpenedBy, Reason, Rejected, adaptive, breaker, rate, throttle};

use super::outbound::Failure;
use super::sending::{Sending, body_refusal};
use crate::decisions::{Ruling, Setting};
use crate::refusal::{Refusal, Stage, code};
use crate::shared::{RouteState, Service};
use crate::upstream;

/// The one place that turns a call that brought no answer into one.
pub(super) fn refusal(
    (route, service): (&RouteState, &Service),
    sending: &Sending,
    error: Error<Failure>,
) -> Refusal {
    if let Some(cut) = sending.cut.get() {
        return body_refusal(route, cut);
    }
    let name = &service.name;
    tracing::debug!(service = %name, ?error, "no answer");
    let late = |code, stage, detail: String| Refusal::new(StatusCode::GATEWAY_TIMEOUT, code, stage, detail);
    match error {
        Error::Rejected(rejected) => rejection((route, name), &rejected),
        Error::Timeout { after } => {
            late(code::UPSTREAM_TIMEOUT, Stage::Upstream, format!("{name} did not answer in time"))
                .hint("attempt_timeout of the route or the service")
                .ruled(
                    Ruling::by(setting(route, "attempt_timeout"))
                        .number("attempt_timeout_ms", after.as_millis()),
                )
        }
        Error::DeadlineExceeded { attempts, .. } => {
            let detail = format!("{name} did not answer before the deadline");
            let ruling = Ruling::by(Setting::RouteOrTop("deadline", "limits.deadline"))
                .number("deadline_ms", route.deadline.as_millis())
                .number("attempts", attempts);
            late(code::DEADLINE_EXCEEDED, Stage::Deadline, detail)
                .hint("limits.deadline, or the route's deadline")
                .ruled(ruling)
        }
        Error::Injected(fault) => {
            Refusal::unavailable(code::UNAVAILABLE, Stage::Upstream, format!("{name}: {fault}"))
                .hint("an experiment with faults runs")
        }
        Error::Inner(Failure::NoEndpoint(error)) => no_endpoint(&error),
        Error::Inner(Failure::Upstream(upstream::Error::Connect(_))) => {
            Refusal::unavailable(code::UNAVAILABLE, Stage::Upstream, format!("{name} cannot be reached"))
                .hint("the service is down, or its URL is wrong")
        }
        Error::Inner(Failure::Upstream(upstream::Error::Refused)) => Refusal::unavailable(
            code::UNAVAILABLE,
            Stage::Upstream,
            format!("{name} took no further request"),
        )
        .hint("the service refuses streams: it is at its limit, or about to stop"),
        // Why is the operators' to know: it says who vouches for whom behind the gateway.
        Error::Inner(Failure::Upstream(upstream::Error::Handshake(failure))) => {
            Refusal::unavailable(code::UNAVAILABLE, Stage::Upstream, format!("{name} cannot be reached"))
                .hint(failure.hint())
        }
        Error::Inner(Failure::Upstream(_)) => {
            let detail = format!("{name} broke off or answered something that is no HTTP");
            Refusal::new(StatusCode::BAD_GATEWAY, code::UPSTREAM_INVALID, Stage::Upstream, detail)
        }
    }
}

fn no_endpoint(error: &NoEndpoint) -> Refusal {
    let (code, ruling) = match error {
        NoEndpoint::Empty { .. } => {
            (code::UNAVAILABLE, Ruling::by(Setting::Service("urls")).number("endpoints", 0_u32))
        }
        NoEndpoint::Busy { limit, .. } => {
            let setting = Setting::Service("endpoint_concurrency_limit");
            (code::OVERLOADED, Ruling::by(setting).number("limit", *limit))
        }
    };
    let rejected = Rejected::from(error);
    Refusal::unavailable(code, Stage::Balance, error.to_string())
        .retry_after(rejected.retry_after)
        .ruled(ruling)
}

/// A policy's option, where it stands: a route may have the policy for itself.
fn setting(route: &RouteState, option: &'static str) -> Setting {
    if route.config.has_policy(option) { Setting::Route(option) } else { Setting::Service(option) }
}

fn rejection((route, name): (&RouteState, &str), rejected: &Rejected) -> Refusal {
    let (code, stage, option, hint) = match rejected.policy {
        breaker::NAME => (
            code::BREAKER_OPEN,
            Stage::Breaker,
            "circuit_breaker",
            "the service failed too often: see its health, and circuit_breaker in the configuration",
        ),
        throttle::NAME => (
            code::OVERLOADED,
            Stage::Throttle,
            "throttle",
            "the service refuses many: see its health, and throttle in the configuration",
        ),
        rate::NAME => (code::OVERLOADED, Stage::Limit, "rate_limit", "the service's rate_limit"),
        adaptive::NAME => (
            code::OVERLOADED,
            Stage::Limit,
            "adaptive",
            "the adaptive limit: the service is slower than it was",
        ),
        _ => (
            code::OVERLOADED,
            Stage::Limit,
            "concurrency_limit",
            "concurrency_limit of the route or the service",
        ),
    };
    Refusal::unavailable(code, stage, format!("{name}: {}", rejected.reason))
        .retry_after(rejected.retry_after)
        .hint(hint)
        .ruled(seen(Ruling::by(setting(route, option)), &rejected.reason))
}

/// The numbers that a policy rejected by.
fn seen(ruling: Ruling, reason: &Reason) -> Ruling {
    let ruling = ruling.word("reason", reason.as_str());
    match *reason {
        Reason::Open(opened) => {
            let ruling = match opened.cause {
                OpenedBy::FailureRate { per_mille } => ruling.number("failure_rate_per_mille", per_mille),
                OpenedBy::SlowRate { per_mille } => ruling.number("slow_rate_per_mille", per_mille),
                OpenedBy::Consecutive { threshold } => ruling.number("consecutive_failures_max", threshold),
                _ => ruling,
            };
            let ruling = ruling.number("failures", opened.failures).number("calls", opened.calls);
            ruling.number("slow", opened.slow).number("consecutive_failures", opened.consecutive)
        }
        Reason::Probing { in_flight, probes } => {
            ruling.number("probes_in_flight", in_flight).number("probes", probes)
        }
        Reason::QueueFull { limit, queue } => ruling.number("limit", limit).number("queue", queue),
        Reason::WaitedTooLong { waited } => ruling.number("waited_ms", waited.as_millis()),
        Reason::RateExceeded { limit, period } => {
            ruling.number("limit", limit).number("period_ms", period.as_millis())
        }
        Reason::AdaptiveLimit { limit, in_flight } => {
            ruling.number("limit", limit).number("in_flight", in_flight)
        }
        Reason::Throttled { per_mille, requests, accepts, k_per_mille } => ruling
            .number("probability_per_mille", per_mille)
            .number("requests", requests)
            .number("accepts", accepts)
            .number("k_per_mille", k_per_mille),
        _ => ruling,
    }
}
