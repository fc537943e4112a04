//! What a core refuses that does not keep up.

use std::time::Duration;

use leeward_resilience::config::{Datum, Fields, Options};
use leeward_resilience::{Mode, Priority};
use leeward_runtime::config::Node;

use super::parse::MOMENT;
use super::print::Yaml;

/// When a core is behind, and which requests it then refuses before it works on them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shed {
    /// A core whose work waits for longer than this falls behind. Requests of the lowest priority are then refused that have waited longer,
    /// those of each higher one after twice as long. From 2 ms to 1 s. Default 20 ms: beyond what a burst of ordinary requests comes to,
    /// and below what anybody notices.
    pub target: Duration,
    /// For how long it must have been so without a pause, and for how long not, before that changes anything. From 10 ms to 10 s, and at least
    /// `target`. Default 100 ms: longer than a burst, shorter than a caller's patience.
    pub interval: Duration,
    /// Whether it refuses, or only counts what it would. Default [`Mode::Enforced`].
    pub mode: Mode,
}

impl Default for Shed {
    fn default() -> Self {
        Self { target: Duration::from_millis(20), interval: Duration::from_millis(100), mode: Mode::Enforced }
    }
}

impl Options for Shed {
    const NAME: &'static str = "shed";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let what = "A core whose work waits for longer falls behind.";
        let why = "Beyond what a burst of ordinary requests comes to, below what anybody notices.";
        fields.at("target", what, why).duration(&mut self.target, 2 * MOMENT..=Duration::from_secs(1));
        let what = "For how long without a pause before anything is refused, or no more.";
        let at = fields.at("interval", what, "Longer than a burst, shorter than a caller's patience.");
        let at = at.at_least("target", Datum::Time(self.target));
        at.duration(&mut self.interval, 10 * MOMENT..=Duration::from_secs(10));
        fields.mode(&mut self.mode);
    }
}

/// The words of `priority`, lowest first.
const PRIORITIES: [(&str, Priority); 4] = [
    (Priority::Low.as_str(), Priority::Low),
    (Priority::Normal.as_str(), Priority::Normal),
    (Priority::High.as_str(), Priority::High),
    (Priority::Critical.as_str(), Priority::Critical),
];

/// The priority of a route.
pub(super) fn priority(node: &Node<'_>) -> Priority {
    node.get("priority").one_of(&PRIORITIES).unwrap_or_default()
}

pub(super) fn print(out: &mut Yaml, shed: Option<&Shed>) {
    match shed {
        Some(shed) => out.policy(0, "shed", shed),
        None => out.line(0, "shed", "off"),
    }
}
