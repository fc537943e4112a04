//! The options of the concurrency limit, described.

use std::time::Duration;

use super::{Concurrency, Order};
use crate::config::{COUNT_MAX, Fields, MILLI, MINUTE, OneOf, Options};

impl Options for Concurrency {
    const NAME: &'static str = "concurrency";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let at = fields.at("limit", "Calls at a time.", "What a pool of connections usually has.");
        at.count(&mut self.limit, 1..=COUNT_MAX);
        let what = "Places in the queue; 0 rejects at once.";
        let at = fields.at("queue", what, "About one more service time of waiting at full load.");
        at.count(&mut self.queue, 0..=COUNT_MAX);
        let at =
            fields.at("max_wait", "The longest wait.", "An answer after a longer one mostly comes too late.");
        at.duration(&mut self.max_wait, Duration::ZERO..=MINUTE);
        let at = fields.at(
            "order",
            "Who gets the next permit.",
            "Who waits longest: fair, and nobody is forgotten.",
        );
        at.one_of(&mut self.order);
        fields.mode(&mut self.mode);
    }
}

impl OneOf for Order {
    const NAMES: &'static [&'static str] = &["fifo", "lifo_under_overload"];

    fn form(&self) -> usize {
        match self {
            Self::Fifo => 0,
            Self::LifoUnderOverload { .. } => 1,
        }
    }

    fn base(form: usize) -> Self {
        if form == 1 { Self::LifoUnderOverload { after: 100 * MILLI } } else { Self::Fifo }
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        if let Self::LifoUnderOverload { after } = self {
            let what = "So long somebody has been waiting without a break.";
            let at = fields.at("after", what, "A burst is over by then, an overload is not.");
            at.duration(after, MILLI..=MINUTE);
        }
    }
}
