//! Outlier ejection: an endpoint that keeps failing is left alone for a while. The pure part, for one endpoint.
//!
//! **Rule.** `consecutive_failures` in a row eject it, for `ejection_base` times the number of its ejections in a row, at
//! most `ejection_max`. Back from an ejection it is on probation: the first failure ejects it again, the first success
//! ends that. Ejections are forgotten when it has been back for `ejection_max`. After Envoy's outlier detection. How many
//! may be ejected at a time is decided by the owner of all endpoints.

use std::num::NonZeroU32;
use std::time::Duration;

use leeward_resilience::{ConfigErrors, Instant, Mistake};

/// Options of outlier ejection.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlier {
    /// Failures in a row that eject an endpoint. Default 5.
    pub consecutive_failures: NonZeroU32,
    /// The first ejection. Default 10 s: a restart, and a bit.
    pub ejection_base: Duration,
    /// The longest ejection. Default 5 min.
    pub ejection_max: Duration,
    /// Share of the endpoints that may be ejected at a time, 0 ..= 1; of two or more endpoints one always may be, all never.
    /// Default 0.5: when more fail, the fault is likely not theirs.
    pub ejected_share_max: f64,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive_failures: const { NonZeroU32::new(5).expect("the default is not zero") },
            ejection_base: Duration::from_secs(10),
            ejection_max: Duration::from_secs(300),
            ejected_share_max: 0.5,
        }
    }
}

impl Outlier {
    /// How many of `endpoints` may be ejected at a time.
    #[must_use]
    pub fn ejected_max(&self, endpoints: usize) -> usize {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a count of endpoints is far below 2^52 and not negative"
        )]
        let share = (endpoints as f64 * self.ejected_share_max) as usize;
        share.max(1).min(endpoints.saturating_sub(1))
    }

    pub(crate) fn mistakes(&self, errors: &mut ConfigErrors) {
        let share = self.ejected_share_max;
        if !(0.0..=1.0).contains(&share) {
            errors.mistakes.push(mistake("outlier.ejected_share_max", &share, "0% to 100%"));
        }
        if self.ejection_base.is_zero() || self.ejection_base > self.ejection_max {
            let given = &self.ejection_base;
            errors.mistakes.push(mistake(
                "outlier.ejection_base",
                given,
                "more than 0, at most ejection_max",
            ));
        }
    }
}

pub(crate) fn mistake(path: &'static str, given: &dyn std::fmt::Debug, allowed: &'static str) -> Mistake {
    Mistake::new(path, format_args!("{given:?}"), allowed)
}

/// What one endpoint's calls did lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    in_a_row: u32,
    ejections: u32,
    until: Option<Instant>,
}

impl Record {
    pub(crate) fn success(&mut self, now: Instant, options: &Outlier) {
        self.in_a_row = 0;
        if self.until.is_some_and(|until| now >= until + options.ejection_max) {
            *self = Self::default();
        }
    }

    /// Whether this failure is one too many.
    pub(crate) fn failure(&mut self, now: Instant, options: &Outlier) -> bool {
        if self.is_ejected(now) {
            return false;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.in_a_row >= options.consecutive_failures.get()
    }

    /// Ejects it, and says until when.
    pub(crate) fn eject(&mut self, now: Instant, options: &Outlier) -> Instant {
        self.ejections = self.ejections.saturating_add(1);
        let until = now + options.ejection_base.saturating_mul(self.ejections).min(options.ejection_max);
        self.until = Some(until);
        // Probation: one failure more is enough.
        self.in_a_row = options.consecutive_failures.get() - 1;
        until
    }

    fn is_ejected(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_nanos(60_000_000_000);
    const S: Duration = Duration::from_secs(1);

    #[test]
    fn only_failures_in_a_row_are_one_too_many() {
        let options = Outlier::default();
        let mut record = Record::default();
        for _ in 0..10 {
            for _ in 0..4 {
                assert!(!record.failure(NOW, &options));
            }
            record.success(NOW, &options);
        }
        for _ in 0..4 {
            assert!(!record.failure(NOW, &options));
        }
        assert!(record.failure(NOW, &options));
    }

    #[test]
    fn ejections_grow_and_the_first_failure_after_one_is_enough() {
        let options = Outlier::default();
        let mut record = Record::default();
        let mut now = NOW;
        for seconds in [10, 20, 30] {
            let until = record.eject(now, &options);
            assert_eq!(until, now + seconds * S);
            assert!(!record.failure(now + S, &options), "calls that were on their way do not count");
            now = until;
            assert!(record.failure(now, &options));
        }
        for _ in 0..100 {
            now = record.eject(now, &options);
        }
        assert_eq!(record.eject(now, &options), now + 300 * S);
    }

    #[test]
    fn a_long_good_time_is_rewarded() {
        let options = Outlier::default();
        let mut record = Record::default();
        record.eject(NOW, &options);
        record.success(NOW + 20 * S, &options);
        assert_eq!(record.ejections, 1);
        record.success(NOW + 400 * S, &options);
        assert_eq!(record, Record::default());
    }

    #[test]
    fn never_all_and_never_none_may_be_ejected() {
        let max = |share, endpoints| {
            Outlier { ejected_share_max: share, ..Outlier::default() }.ejected_max(endpoints)
        };
        assert_eq!((max(0.5, 0), max(0.5, 1), max(0.5, 2), max(0.5, 3), max(0.5, 10)), (0, 0, 1, 1, 5));
        assert_eq!((max(0.0, 2), max(1.0, 4)), (1, 3));
    }
}
