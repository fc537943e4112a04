//! The pure rule: (counts, priority, draw, now) to a decision.

use super::{NAME, Throttle};
use crate::outcome::{Reason, Rejected, per_mille};
use crate::priority::Priority;
use crate::time::Instant;
use crate::window::{Counts, Window};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Accepted,
    Refused,
}

/// The probability of a rejection, and where it came from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Odds {
    pub(super) probability: f64,
    pub(super) requests: u32,
    pub(super) accepts: u32,
}

#[derive(Debug)]
pub(super) struct Core {
    config: Throttle,
    /// Grows with every change of the options, from 1.
    version: u32,
    /// For each class, lowest first: hits are requests, misses are those of them that the upstream accepted.
    windows: [Window; Priority::ALL.len()],
}

impl Core {
    pub(super) fn new(config: Throttle, now: Instant) -> Self {
        let windows = std::array::from_fn(|_| Window::new(config.window, now));
        Self { config, version: 1, windows }
    }

    pub(super) const fn config(&self) -> &Throttle {
        &self.config
    }

    /// Puts other options into force, and says their version.
    pub(super) fn reconfigure(&mut self, config: Throttle, now: Instant) -> u32 {
        if config.window != self.config.window {
            self.windows = self.windows.each_ref().map(|window| window.resized(config.window, now));
        }
        self.version = self.version.saturating_add(1);
        self.config = config;
        self.version
    }

    pub(super) fn admit(&mut self, priority: Priority, draw: f64, now: Instant) -> Result<(), Rejected> {
        let Odds { probability, requests, accepts } = self.odds(priority, now);
        if draw >= probability {
            return Ok(());
        }
        self.windows[priority.rank()].hit(now);
        let (per_mille, k_per_mille) = (per_mille(probability), per_mille(self.config.k));
        let reason = Reason::Throttled { per_mille, requests, accepts, k_per_mille };
        // The counts are others when a slice of the window has gone.
        let retry_after = Some(self.config.window / 10);
        Err(Rejected::new(NAME, reason).with_retry_after(retry_after).with_version(self.version))
    }

    pub(super) fn record(&mut self, priority: Priority, ended: Ended, now: Instant) {
        let window = &mut self.windows[priority.rank()];
        window.hit(now);
        if ended == Ended::Accepted {
            window.miss(now);
        }
    }

    pub(super) fn odds(&mut self, priority: Priority, now: Instant) -> Odds {
        let counts = self.windows.each_mut().map(|window| window.counts(now));
        let requests = counts.iter().fold(0_u32, |sum, class| sum.saturating_add(class.hits));
        let accepts = counts.iter().fold(0_u32, |sum, class| sum.saturating_add(class.misses));
        let Throttle { k, requests_min, rejection_max, .. } = self.config;
        let overall = if requests < requests_min {
            0.0
        } else {
            let excess = f64::from(requests) - k * f64::from(accepts);
            (excess / (f64::from(requests) + 1.0)).clamp(0.0, rejection_max)
        };
        let probability = share(overall, &counts, priority.rank());
        Odds { probability, requests, accepts }
    }
}

/// The part of the `overall` share of all requests that a class bears, after the classes below it bore theirs.
fn share(overall: f64, counts: &[Counts], rank: usize) -> f64 {
    let requests = |classes: &[Counts]| classes.iter().map(|class| f64::from(class.hits)).sum::<f64>();
    let to_reject = overall * requests(counts) - requests(&counts[..rank]);
    // A class that nobody used yet bears what is left as if one had.
    (to_reject / f64::from(counts[rank].hits.max(1))).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const START: Instant = Instant::from_nanos(300_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn core(config: &Throttle) -> Core {
        Core::new(config.clone(), START)
    }

    fn record(core: &mut Core, priority: Priority, accepted: u32, refused: u32) {
        for number in 0..accepted + refused {
            let ended = if number < accepted { Ended::Accepted } else { Ended::Refused };
            core.record(priority, ended, START);
        }
    }

    proptest! {
        /// The naive model keeps every request with its slice of time, and counts anew each time.
        #[test]
        fn it_does_what_the_formula_says_over_a_list_of_all_requests(
            steps in prop::collection::vec((0_u32..3000, 0_usize..4, 0_u32..10, 0.0_f64..1.0), 1..200),
            k in 1.1_f64..4.0,
            accepted_of_ten in 0_u32..10,
        ) {
            let config = Throttle { k, ..Throttle::default() };
            let (mut core, mut now, mut list) = (core(&config), START, Vec::<(u64, usize, bool)>::new());
            for (ms, class, answer, draw) in steps {
                now = now + Duration::from_millis(ms.into());
                let slice = now.as_nanos() / 3_000_000_000;
                let counted: Vec<_> = list.iter().filter(|it| it.0 + 10 > slice).collect();
                let requests = counted.len() as f64;
                let accepts = counted.iter().filter(|it| it.2).count() as f64;
                let formula = ((requests - k * accepts) / (requests + 1.0)).clamp(0.0, 0.9);
                // One request after the other is given up, lowest class first, until the share is reached.
                let mut left = if requests < 10.0 { 0.0 } else { formula * requests };
                let mut expected = 0.0;
                for rank in 0..=class {
                    let its = counted.iter().filter(|it| it.1 == rank).count() as f64;
                    expected = (left / its.max(1.0)).clamp(0.0, 1.0);
                    left = (left - its).max(0.0);
                }
                let odds = core.odds(Priority::ALL[class], now);
                prop_assert!((odds.probability - expected).abs() < 1e-9, "{odds:?} {expected}");
                let admitted = core.admit(Priority::ALL[class], draw, now).is_ok();
                prop_assert!(admitted == (draw >= expected) || (draw - expected).abs() < 1e-9);
                let accepted = admitted && answer < accepted_of_ten;
                if admitted {
                    let ended = if accepted { Ended::Accepted } else { Ended::Refused };
                    core.record(Priority::ALL[class], ended, now);
                }
                list.push((slice, class, accepted));
            }
        }
    }

    #[test]
    fn the_probability_is_that_of_the_book() {
        for (accepted, refused, expected) in
            [(100, 0, 0.0), (50, 50, 0.0), (40, 60, 20.0 / 101.0), (10, 90, 80.0 / 101.0), (0, 100, 0.9)]
        {
            let mut core = core(&Throttle::default());
            record(&mut core, Priority::Normal, accepted, refused);
            let odds = core.odds(Priority::Normal, START);
            assert!((odds.probability - expected).abs() < 1e-12, "{accepted} {refused} {odds:?}");
        }
        let mut core = core(&Throttle { rejection_max: 1.0, ..Throttle::default() });
        record(&mut core, Priority::Normal, 0, 100);
        assert!((core.odds(Priority::Normal, START).probability - 100.0 / 101.0).abs() < 1e-12);
    }

    #[test]
    fn a_rejection_names_its_probability_and_counts_as_a_request() {
        let mut core = core(&Throttle { k: 1.25, ..Throttle::default() });
        record(&mut core, Priority::Normal, 20, 80);
        assert!(core.admit(Priority::Normal, 0.75, START).is_ok());
        let rejected = core.admit(Priority::Normal, 0.74, START).unwrap_err();
        let reason = Reason::Throttled { per_mille: 743, requests: 100, accepts: 20, k_per_mille: 1250 };
        assert_eq!(rejected.reason, reason);
        let text = "rejected by throttle: throttled with a probability of 74.3 %: 20 of 100 requests were accepted, \
                    k = 1.25; try again in 3s";
        assert_eq!(rejected.to_string(), text);
        assert_eq!(core.odds(Priority::Normal, START).requests, 101);
    }

    #[test]
    fn the_lowest_class_is_rejected_first() {
        let mut core = core(&Throttle { rejection_max: 1.0, ..Throttle::default() });
        record(&mut core, Priority::Low, 10, 40);
        record(&mut core, Priority::Critical, 20, 30);
        // 40 of 100 too many; 50 are low.
        let mut share = |priority| core.odds(priority, START).probability;
        assert!((share(Priority::Low) - 0.8).abs() < 0.01);
        assert!(share(Priority::Normal).abs() < 1e-12 && share(Priority::Critical).abs() < 1e-12);
    }

    #[test]
    fn the_window_turns_with_time_alone() {
        let mut core = core(&Throttle::default());
        record(&mut core, Priority::Normal, 0, 1000);
        assert!(core.odds(Priority::Normal, START + 26 * SECOND).probability > 0.89);
        assert_eq!(core.odds(Priority::Normal, START + 30 * SECOND).requests, 0);
        assert!(core.admit(Priority::Low, 0.0, START + 30 * SECOND).is_ok());
    }

    #[test]
    fn a_few_failures_are_chance() {
        let mut core = core(&Throttle::default());
        record(&mut core, Priority::Normal, 0, 9);
        assert!(core.admit(Priority::Low, 0.0, START).is_ok());
        record(&mut core, Priority::Normal, 0, 1);
        assert!(core.admit(Priority::Normal, 0.0, START).is_err());
    }
}
