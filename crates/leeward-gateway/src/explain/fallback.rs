//! What stands in for a route's service.

use leeward_resilience::config::units::show_duration;

use super::Explanation;
use crate::config::{Fallback, Route, Substitute};

/// What answers, for which causes, and within which time.
pub(super) fn fallback(told: &mut Explanation, route: &Route) {
    let Some(Fallback { substitute, options }) = &route.fallback else { return };
    let causes = [
        (options.on_rejected, "a rejection by a policy"),
        (options.on_timeout, "a timeout"),
        (options.on_deadline, "a deadline that has passed"),
        (options.on_retryable, "a failure that passes"),
        (options.on_permanent, "a failure that does not"),
    ];
    let causes: Vec<&str> = causes.iter().filter(|(is_on, _)| *is_on).map(|(_, name)| *name).collect();
    let would = if options.mode.is_shadow() { "would answer" } else { "answers" };
    let who = match substitute {
        Substitute::Respond(_) => format!("{substitute} {would} at once, but no call of gRPC"),
        Substitute::Service(name) => {
            let within = show_duration(options.within);
            format!(
                "{name}, asked once, {would} within {within} where the request may be repeated or was not seen"
            )
        }
    };
    let first = if route.stale_if_error.is_some() { ", when there is no copy" } else { "" };
    let says = format!("{who}{first}; after {}", causes.join(", "));
    told.step("fallback", &*route.origin, says);
}
