//! Where a core that does not keep up refuses a request, before it works on it.

use std::cell::Cell;

use leeward_resilience::Priority;

use super::trip::Trip;
use super::{Core, Peer};
use crate::decisions::{Ruling, Setting};
use crate::overload::Late;
use crate::refusal::{Refusal, Stage, code};
use crate::shared::RouteState;

/// Whether the request is worked on.
pub(super) fn judge(core: &Core, trip: &Trip, route: &RouteState, peer: &Peer) -> Result<(), Refusal> {
    match core.overload.judge(priority(&peer.has_paid, route.config.priority), trip.started) {
        Ok(()) => Ok(()),
        Err(late) => refuse(core, trip, late),
    }
}

/// What a request counts as.
fn priority(has_paid: &Cell<bool>, of_the_route: Priority) -> Priority {
    // The handshake is the larger part of what the first request of an encrypted connection costs: it would be for nothing.
    if has_paid.take() { Priority::Critical } else { of_the_route }
}

#[cold]
fn refuse(core: &Core, trip: &Trip, late: Late) -> Result<(), Refusal> {
    core.series.shed(&core.shared.metrics, late.priority, late.mode);
    if late.mode.is_shadow() {
        return Ok(());
    }
    let detail = "the gateway has more to do than it can, and refuses what matters least";
    let refusal = Refusal::unavailable(code::SHED, Stage::Overload, detail)
        .hint("`priority` of the route, and `shed` in the configuration");
    // One like the other, and many: of most nothing more is kept.
    Err(if core.overload.is_worth_keeping(trip.started) { refusal.ruled(ruling(late)) } else { refusal })
}

/// What was held against what.
fn ruling(late: Late) -> Ruling {
    let Late { delay, allowed, target, priority, .. } = late;
    Ruling::by(Setting::Top("shed.target"))
        .word("priority", priority.as_str())
        .number("delay_ms", delay.as_millis())
        .number("allowed_ms", allowed.as_millis())
        .number("target_ms", target.as_millis())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use leeward_resilience::Mode;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_request_after_a_handshake_counts_as_critical_and_the_others_as_their_route_says() {
        for of_the_route in Priority::ALL {
            let has_paid = Cell::new(true);
            assert_eq!(priority(&has_paid, of_the_route), Priority::Critical);
            assert_eq!(priority(&has_paid, of_the_route), of_the_route);
            assert_eq!(priority(&Cell::new(false), of_the_route), of_the_route);
        }
    }

    #[test]
    fn a_refusal_says_what_was_held_against_what() {
        let ms = Duration::from_millis;
        let (delay, allowed, target) = (ms(95), ms(80), ms(20));
        let late = Late { delay, allowed, target, priority: Priority::High, mode: Mode::Enforced };
        let ruling = ruling(late);
        assert_eq!(ruling.setting, Setting::Top("shed.target"));
        let values = serde_json::to_value(ruling.values()).unwrap();
        let expected = [
            json!(["priority", "high"]),
            json!(["delay_ms", 95]),
            json!(["allowed_ms", 80]),
            json!(["target_ms", 20]),
        ];
        assert_eq!(values, json!(expected));
    }
}
