//! The options of the throttle, described.

use std::time::Duration;

use super::Throttle;
use crate::config::{COUNT_MAX, Fields, HOUR, Options, SECOND, above};

impl Options for Throttle {
    const NAME: &'static str = "throttle";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let what = "How many requests the upstream may see for each that it accepts.";
        let why = "As in the book; nearer to 1 it throttles also where some failures are normal.";
        fields.at("k", what, why).number(&mut self.k, 1.1..=10.0);
        let what = "The time that the counts look back.";
        let at = fields.at("window", what, "Two minutes remember an outage for longer than most last.");
        at.duration(&mut self.window, SECOND..=HOUR);
        let what = "Fewer requests in the window reject nothing.";
        let at = fields.at("requests_min", what, "The first failures are chance.");
        at.count(&mut self.requests_min, 0..=COUNT_MAX);
        let what = "The most that is rejected.";
        let at = fields.at(
            "rejection_max",
            what,
            "A tenth always goes through to see whether the upstream is back.",
        );
        at.share(&mut self.rejection_max, above(0.0, 1.0));
        let what = "A permit dropped after so long was not accepted, one dropped earlier does not count.";
        let at = fields.at("abandoned_after", what, "Best set to the attempt timeout.");
        at.duration(&mut self.abandoned_after, above(Duration::ZERO, HOUR));
        fields.mode(&mut self.mode);
    }
}
