//! Outlier ejection: an endpoint that does worse than the others is left alone for a while. The pure part.
//!
//! **Rule.** An endpoint is ejected
//! - by `consecutive_failures` in a row, while its recent share of failures is above that of the others by more than
//!   `failure_margin`;
//! - at the end of each `interval`, when its share of failures in it was above that of the others by more than
//!   `failure_margin`, or its mean latency above `slow_factor` times, and `slow_min` above, the median of the others', with
//!   at least `minimum_calls` of its own and of theirs.
//!
//! It always is a comparison: where all fail or slow down alike, the fault is not an endpoint's, and nobody is ejected.
//! An ejection lasts `ejection_base` times the number of ejections in a row, at most `ejection_max`. Back from one an
//! endpoint is on probation: the first failure ejects it again, the first success ends that. Ejections are forgotten when
//! it has been back for `ejection_max`. At most `ejected_share_max` of the endpoints are ejected at a time.
//!
//! After Envoy's outlier detection, which compares success rates with their standard deviation, and for that needs five
//! hosts and a hundred requests of each before it says anything.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use leeward_resilience::config::{Datum, Fields, Options};
use leeward_resilience::{Instant, Mistake};

/// Options of outlier ejection.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlier {
    /// Failures in a row that eject an endpoint, 1 ..= 1,000; `None` is off. Default 5: fewer may be chance.
    pub consecutive_failures: Option<NonZeroU32>,
    /// Its share of failures may be above that of the others by so much, 0.01 ..= 1. Default 0.3: in a small sample less may
    /// be chance.
    pub failure_margin: f64,
    /// Slower than the others by so many times is too slow, 1.5 ..= 1,000; `None` is off. Default 5: less is a difference of
    /// machines, which balancing evens out.
    pub slow_factor: Option<f64>,
    /// And slower than the others by at least so much, up to 1 h. Default 10 ms: five times nothing is nothing.
    pub slow_min: Duration,
    /// How often endpoints are compared, 100 ms ..= 10 min. Default 2 s: calls enough, and soon enough.
    pub interval: Duration,
    /// Calls in an interval, of the endpoint and of the others together, below which nothing is compared, 1 ..= 1,000,000.
    /// Default 10: fewer may be chance.
    pub minimum_calls: u32,
    /// The first ejection, more than 0, at most `ejection_max`. Default 10 s: a restart, and a bit.
    pub ejection_base: Duration,
    /// The longest ejection, up to 24 h. Default 5 min: somebody who repairs it wants to see it back.
    pub ejection_max: Duration,
    /// Share of the endpoints that may be ejected at a time, 0 ..= 1; of two or more endpoints one always may be, all never.
    /// Default 0.5: when more fail, the fault is likely not theirs.
    pub ejected_share_max: f64,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive_failures: NonZeroU32::new(5),
            failure_margin: 0.3,
            slow_factor: Some(5.0),
            slow_min: Duration::from_millis(10),
            interval: Duration::from_secs(2),
            minimum_calls: 10,
            ejection_base: Duration::from_secs(10),
            ejection_max: Duration::from_secs(300),
            ejected_share_max: 0.5,
        }
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

impl Options for Outlier {
    const NAME: &'static str = "outlier_ejection";

    fn base() -> Self {
        Self::default()
    }

    fn visit(&mut self, fields: &mut Fields<'_>) {
        let at = fields.at(
            "consecutive_failures",
            "Failures in a row that eject an endpoint.",
            "Fewer may be chance.",
        );
        at.count(&mut self.consecutive_failures, 1..=1_000);
        let what = "Its share of failures may be above that of the others by so much.";
        let at = fields.at("failure_margin", what, "In a small sample less may be chance.");
        at.share(&mut self.failure_margin, 0.01..=1.0);
        let what = "Slower than the others by so many times is too slow.";
        let why = "Less is a difference of machines, which balancing evens out.";
        fields.at("slow_factor", what, why).number(&mut self.slow_factor, 1.5..=1_000.0);
        let what = "And slower than the others by at least so much.";
        let at = fields.at("slow_min", what, "Five times nothing is nothing.");
        at.duration(&mut self.slow_min, Duration::ZERO..=HOUR);
        let at = fields.at("interval", "How often endpoints are compared.", "Calls enough, and soon enough.");
        at.duration(&mut self.interval, Duration::from_millis(100)..=Duration::from_secs(600));
        let what =
            "Calls in an interval, of the endpoint and of the others, below which nothing is compared.";
        fields
            .at("minimum_calls", what, "Fewer may be chance.")
            .count(&mut self.minimum_calls, 1..=1_000_000);
        let max = Datum::Time(self.ejection_max);
        let at = fields.at("ejection_base", "The first ejection.", "A restart, and a bit.");
        at.at_most("ejection_max", max)
            .duration(&mut self.ejection_base, Duration::from_millis(1)..=24 * HOUR);
        let why = "Somebody who repairs it wants to see it back.";
        let at = fields.at("ejection_max", "The longest ejection.", why);
        at.duration(&mut self.ejection_max, Duration::from_millis(1)..=24 * HOUR);
        let what =
            "Share of the endpoints that may be ejected at a time; one of several always may be, all never.";
        let at = fields.at("ejected_share_max", what, "When more fail, the fault is likely not theirs.");
        at.share(&mut self.ejected_share_max, 0.0..=1.0);
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

    /// Whether one that fails so often is an outlier among others that fail so often.
    pub(crate) fn fails_more(&self, own: f64, others: f64) -> bool {
        own - others > self.failure_margin
    }

    /// What the calls of the interval that is over say about each endpoint.
    pub(crate) fn compare(&self, all: &[Counted]) -> Vec<Option<Reason>> {
        let sum = all.iter().fold(Counted::default(), |sum, one| sum.plus(one));
        let judge = |(place, own): (usize, &Counted)| {
            let others =
                Counted { calls: sum.calls - own.calls, failures: sum.failures - own.failures, ..*own };
            if own.calls < self.minimum_calls || others.calls < self.minimum_calls {
                return None;
            }
            if self.fails_more(own.failure_share(), others.failure_share()) {
                return Some(Reason::FailureRate);
            }
            let usual = self.usual_latency(all, place)?;
            let own = own.latency_s()?;
            let too_slow = own > self.slow_factor? * usual && own - usual >= self.slow_min.as_secs_f64();
            too_slow.then_some(Reason::Latency)
        };
        all.iter().enumerate().map(judge).collect()
    }

    /// The median of the others' latencies; of an even number the lower one in the middle.
    fn usual_latency(&self, all: &[Counted], except: usize) -> Option<f64> {
        let others = all.iter().enumerate().filter(|(place, _)| *place != except);
        let mut latencies: Vec<f64> = others.filter_map(|(_, other)| other.latency_s()).collect();
        latencies.sort_unstable_by(f64::total_cmp);
        latencies.get(latencies.len().saturating_sub(1) / 2).copied()
    }
}

pub(crate) fn mistake(path: &'static str, given: &dyn std::fmt::Debug, allowed: &'static str) -> Mistake {
    Mistake::new(path, format_args!("{given:?}"), allowed)
}

/// Why an endpoint is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    ConsecutiveFailures,
    FailureRate,
    Latency,
}

impl Reason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::FailureRate => "failure_rate",
            Self::Latency => "latency",
        }
    }
}

/// What one endpoint's calls of one interval came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) calls: u32,
    pub(crate) failures: u32,
    /// The time of the successes together.
    pub(crate) micros: u64,
}

impl Counted {
    fn plus(self, other: &Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            failures: self.failures.saturating_add(other.failures),
            micros: self.micros.saturating_add(other.micros),
        }
    }

    fn failure_share(&self) -> f64 {
        f64::from(self.failures) / f64::from(self.calls.max(1))
    }

    /// The mean of the successes: a failure that comes at once is not quick work.
    #[allow(clippy::cast_precision_loss, reason = "microseconds of an interval are far below 2^52")]
    fn latency_s(&self) -> Option<f64> {
        let successes = self.calls.saturating_sub(self.failures);
        (successes > 0).then(|| self.micros as f64 / 1e6 / f64::from(successes))
    }
}

/// One endpoint's calls, counted by many cores without a lock.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    in_a_row: AtomicU32,
    calls: AtomicU32,
    failures: AtomicU32,
    micros: AtomicU64,
}

impl Tally {
    pub(crate) fn success(&self, latency: Duration) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if self.in_a_row.load(Ordering::Relaxed) > 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a failure, and says whether there were `most` in a row or more.
    pub(crate) fn failure(&self, most: Option<NonZeroU32>) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        most.is_some_and(|most| in_a_row >= most.get())
    }

    /// One failure more is enough.
    pub(crate) fn put_on_probation(&self, most: Option<NonZeroU32>) {
        self.in_a_row.store(most.map_or(0, |most| most.get() - 1), Ordering::Relaxed);
    }

    /// What was counted since the last time. A call that ends meanwhile may be half in one interval and half in the next.
    pub(crate) fn take(&self) -> Counted {
        let failures = self.failures.swap(0, Ordering::Relaxed);
        let calls = self.calls.swap(0, Ordering::Relaxed).max(failures);
        Counted { calls, failures, micros: self.micros.swap(0, Ordering::Relaxed) }
    }
}

/// How often one endpoint was ejected lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    ejections: u32,
    until: Option<Instant>,
    reason: Option<Reason>,
}

impl Record {
    /// Ejects it, and says until when.
    pub(crate) fn eject(&mut self, now: Instant, options: &Outlier, reason: Reason) -> Instant {
        self.reason = Some(reason);
        if self.until.is_some_and(|until| now >= until + options.ejection_max) {
            self.ejections = 0;
        }
        self.ejections = self.ejections.saturating_add(1);
        let until = now + options.ejection_base.saturating_mul(self.ejections).min(options.ejection_max);
        self.until = Some(until);
        until
    }

    /// Why it was ejected last.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.reason
    }
}

#[cfg(test)]
mod tests {
    use leeward_resilience::config;

    use super::*;

    const NOW: Instant = Instant::from_nanos(60_000_000_000);
    const S: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_failures_in_a_row_are_one_too_many() {
        let (tally, most) = (Tally::default(), NonZeroU32::new(5));
        for _ in 0..10 {
            for _ in 0..4 {
                assert!(!tally.failure(most));
            }
            tally.success(S);
        }
        for _ in 0..4 {
            assert!(!tally.failure(most));
        }
        assert!(!tally.failure(None) && tally.failure(most));
        assert_eq!(tally.take(), Counted { calls: 56, failures: 46, micros: 10_000_000 });
        assert_eq!(tally.take(), Counted::default());
        tally.success(S);
        tally.put_on_probation(most);
        assert!(tally.failure(most), "the first failure is enough");
    }

    #[test]
    fn ejections_grow_and_a_long_good_time_is_rewarded() {
        let options = Outlier::default();
        let mut record = Record::default();
        let mut now = NOW;
        for seconds in [10, 20, 30] {
            let until = record.eject(now, &options, Reason::Latency);
            assert_eq!(until, now + seconds * S);
            now = until;
        }
        for _ in 0..100 {
            now = record.eject(now, &options, Reason::Latency);
        }
        assert_eq!(record.eject(now, &options, Reason::Latency), now + 300 * S);
        assert_eq!(
            record.eject(now + 599 * S, &options, Reason::Latency),
            now + 899 * S,
            "not back for long enough"
        );
        let later = now + 899 * S + 300 * S;
        assert_eq!(record.eject(later, &options, Reason::Latency), later + 10 * S);
    }

    #[test]
    fn never_all_and_never_none_may_be_ejected() {
        let max = |share, endpoints| {
            Outlier { ejected_share_max: share, ..Outlier::default() }.ejected_max(endpoints)
        };
        assert_eq!((max(0.5, 0), max(0.5, 1), max(0.5, 2), max(0.5, 3), max(0.5, 10)), (0, 0, 1, 1, 5));
        assert_eq!((max(0.0, 2), max(1.0, 4)), (1, 3));
    }

    fn counted(calls: u32, failures: u32, latency: Duration) -> Counted {
        let micros = u64::try_from(latency.as_micros()).unwrap() * u64::from(calls - failures);
        Counted { calls, failures, micros }
    }

    fn reasons(all: &[Counted]) -> Vec<Option<Reason>> {
        Outlier::default().compare(all)
    }

    #[test]
    fn who_fails_more_than_the_others_is_an_outlier() {
        let good = counted(100, 1, MS);
        assert_eq!(
            reasons(&[good, counted(30, 12, MS), good, good]),
            [None, Some(Reason::FailureRate), None, None]
        );
        assert_eq!(reasons(&[good, counted(30, 9, MS), good, good]), [None; 4], "within the margin");
        assert_eq!(reasons(&[good, counted(9, 9, MS), good, good]), [None; 4], "too few calls");
        assert_eq!(reasons(&[counted(9, 0, MS), counted(90, 90, MS)]), [None; 2], "too few of the others");
        assert_eq!(reasons(&[counted(50, 50, MS)]), [None], "there are no others");
    }

    #[test]
    fn where_all_fail_or_slow_down_alike_nobody_is_an_outlier() {
        assert_eq!(reasons(&[counted(100, 50, MS); 4]), [None; 4]);
        assert_eq!(reasons(&[counted(100, 100, MS); 4]), [None; 4]);
        assert_eq!(reasons(&[counted(100, 0, 900 * MS); 4]), [None; 4]);
    }

    #[test]
    fn who_is_much_slower_than_the_others_is_an_outlier() {
        let good = counted(100, 0, 10 * MS);
        assert_eq!(
            reasons(&[good, good, counted(20, 0, 100 * MS), good]),
            [None, None, Some(Reason::Latency), None]
        );
        assert_eq!(reasons(&[good, good, counted(20, 0, 49 * MS), good]), [None; 4], "less than five times");
        let quick = counted(100, 0, MS);
        assert_eq!(reasons(&[quick, counted(20, 0, 9 * MS), quick]), [None; 3], "nobody minds 8 ms");
        let off = Outlier { slow_factor: None, ..Outlier::default() };
        assert_eq!(off.compare(&[good, counted(20, 0, S), good]), [None; 3]);
    }

    #[test]
    fn mistakes_are_reported_together() {
        let wrong = Outlier {
            failure_margin: 2.0,
            ejection_base: 600 * S,
            ejected_share_max: -1.0,
            ..Outlier::default()
        };
        let errors = config::check(&wrong).unwrap_err();
        let paths = ["failure_margin", "ejection_base", "ejected_share_max"];
        assert_eq!(errors.paths(), paths.map(|path| format!("outlier_ejection.{path}")));
        assert_eq!(config::check(&Outlier::default()), Ok(()));
    }
}
