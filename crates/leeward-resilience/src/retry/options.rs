//! The options of retry, described.

use std::time::Duration;

use super::{Budget, Jitter, Retry};
use crate::config::{Datum, Fields, HOUR, MILLI, MINUTE, Options, SECOND, above};

impl Options for Retry {
    const NAME: &'static str = "retry";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let what = "Attempts after the first.";
        let at = fields.at("max_retries", what, "The third hardly ever helps where two did not.");
        at.count(&mut self.max_retries, 0..=10);
        let at = fields.at(
            "jitter",
            "How the waits are spread.",
            "Full jitter is the least work for the upstream.",
        );
        at.choice(&mut self.jitter, &[("full", Jitter::Full), ("decorrelated", Jitter::Decorrelated)]);
        let what = "Ceiling of the first wait, doubled for each one more; with decorrelated jitter the shortest wait.";
        let at = fields.at("backoff_base", what, "Some round trips in one data centre.");
        let at = at.at_most("backoff_max", Datum::Time(self.backoff_max));
        at.duration(&mut self.backoff_base, above(Duration::ZERO, MINUTE));
        let why = "Longer waits belong to the caller, who knows whether it still wants the answer.";
        let at = fields.at("backoff_max", "Ceiling of any wait.", why);
        at.duration(&mut self.backoff_max, MILLI..=MINUTE);
        let what = "An upstream that asks for more patience than that is not retried.";
        let at = fields.at("retry_after_max", what, "Few callers wait for longer.");
        at.duration(&mut self.retry_after_max, Duration::ZERO..=HOUR);
        let what = "An attempt that would have less than that until the deadline is not started.";
        let at = fields.at("attempt_min", what, "Nothing answers sooner over a network.");
        at.duration(&mut self.attempt_min, Duration::ZERO..=MINUTE);
        fields.at("budget", "What all the calls together may spend on retries.", "").group(&mut self.budget);
        fields.mode(&mut self.mode);
    }
}

impl Options for Budget {
    const NAME: &'static str = "budget";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let what = "Retries for each call in the window.";
        let at = fields.at("ratio", what, "An outage adds a fifth to the load, not a multiple.");
        at.share(&mut self.ratio, 0.0..=1.0);
        let what = "So many retries in the window are always allowed.";
        let at = fields.at("floor", what, "A call in an idle hour can be retried.");
        at.count(&mut self.floor, 0..=10_000);
        let at = fields.at("window", "What both look back.", "As long as that of a breaker.");
        at.duration(&mut self.window, SECOND..=10 * MINUTE);
    }
}
