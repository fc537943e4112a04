//! The options of shedding, described.

use super::Shed;
use crate::config::{Datum, Fields, MILLI, Options, SECOND};

impl Options for Shed {
    const NAME: &'static str = "shed";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let what = "A smallest delay beyond it is a standing queue.";
        let at = fields.at("target", what, "CoDel's, and what Facebook's servers use.");
        at.duration(&mut self.target, MILLI..=SECOND);
        let what = "Over what time the smallest delay is taken.";
        let at = fields.at("interval", what, "Longer than a burst, shorter than a caller's patience.");
        let at = at.at_least("target", Datum::Time(self.target));
        at.duration(&mut self.interval, 10 * MILLI..=10 * SECOND);
        fields
            .at("concurrency", "The calls at a time, and the queue before them.", "")
            .group(&mut self.concurrency);
        fields.mode(&mut self.mode);
    }
}
