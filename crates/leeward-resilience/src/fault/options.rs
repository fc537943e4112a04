//! The options of an experiment, described.

use std::time::Duration;

use super::Faults;
use crate::config::{DAY, Datum, Fields, MINUTE, Options, above};

impl Options for Faults {
    const NAME: &'static str = "faults";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let asked = "Only what is asked for happens.";
        let at = fields.at("latency_share", "Share of calls that wait first.", asked);
        at.share(&mut self.latency_share, 0.0..=1.0);
        let why = "Enough to be seen, too little for a timeout.";
        let at = fields.at("latency_min", "The shortest such wait.", why);
        at.duration(&mut self.latency_min, Duration::ZERO..=MINUTE);
        let at = fields
            .at("latency_max", "The longest such wait.", why)
            .at_least("latency_min", Datum::Time(self.latency_min));
        at.duration(&mut self.latency_max, Duration::ZERO..=MINUTE);
        let at = fields.at("refused_share", "Share of calls that are refused.", asked);
        at.share(&mut self.refused_share, 0.0..=1.0);
        let at = fields.at("error_share", "Share of calls that are answered by an error.", asked);
        at.share(&mut self.error_share, 0.0..=1.0);
        let at = fields.at("lost_reply_share", "Share of calls whose reply is lost.", asked);
        at.share(&mut self.lost_reply_share, 0.0..=1.0);
        let shares = [self.refused_share, self.error_share, self.lost_reply_share];
        let sum = shares.iter().sum();
        // A share that is wrong itself is said already. Three tenths and seven tenths need not make one in binary.
        let ok = shares.iter().any(|share| !(0.0..=1.0).contains(share)) || sum <= 1.0 + 1e-9;
        fields.rule("", ok, Datum::Share(sum), "refused, error and lost reply at most 100% together");
        let what = "The experiment ends after so many calls were touched.";
        let at = fields.at("faults_max", what, "One that was forgotten does no more harm than that.");
        at.count(&mut self.faults_max, 1..);
        let what = "The experiment ends after so long.";
        let at = fields.at("lasts", what, "Long enough to look at, and over before anybody wonders.");
        at.duration(&mut self.lasts, above(Duration::ZERO, DAY));
        fields.mode(&mut self.mode);
    }
}
