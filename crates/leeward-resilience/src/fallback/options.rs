//! The options of a fallback, described.

use std::time::Duration;

use super::Fallback;
use crate::config::{Fields, MINUTE, Options, above};

impl Options for Fallback {
    const NAME: &'static str = "fallback";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let why = "Nothing was sent, and the policy is working as it was told to.";
        fields.at("on_rejected", "It stands in when a policy refused.", why).flag(&mut self.on_rejected);
        let at = fields.at("on_timeout", "It stands in when no answer came in time.", "That passes.");
        at.flag(&mut self.on_timeout);
        let why = "A value at hand is better than none.";
        fields.at("on_deadline", "It stands in when the deadline passed.", why).flag(&mut self.on_deadline);
        let at = fields.at(
            "on_retryable",
            "It stands in for a failure that passes.",
            "Soon the real answer is back.",
        );
        at.flag(&mut self.on_retryable);
        let why = "That is a bug, and a fallback would hide it.";
        fields
            .at("on_permanent", "It stands in for a failure that does not pass.", why)
            .flag(&mut self.on_permanent);
        let chosen =
            [self.on_rejected, self.on_timeout, self.on_deadline, self.on_retryable, self.on_permanent];
        fields.rule("", chosen.contains(&true), "for no cause", "at least one cause");
        let at = fields.at("within", "The longest that a substitute may take.", "The caller waited already.");
        at.duration(&mut self.within, above(Duration::ZERO, MINUTE));
        fields.mode(&mut self.mode);
    }
}
