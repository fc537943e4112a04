//! What one rate came to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::window::Window;
use super::{OrderId, Plan, Tally};
use crate::orders::metrics::Counts;
use crate::orders::syncs::SyncsFound;
use crate::orders::watch::Seen;
use crate::process::Cpu;

/// Orders may pile up by as many as arrive in this time, between the second and the last quarter of a measurement: the
/// count of what is under way is itself noisy. Over a minute it is a server that is slower than its load by a few in
/// a thousand.
const GROWTH_MAX: Duration = Duration::from_millis(50);

/// For low rates.
const GROWTH_MAX_ORDERS: f64 = 10.0;

/// Orders under way at any moment, at most: as many as arrive in this time. A burst between two quarters that is gone in their means
/// shows here.
const PEAK_MAX: Duration = Duration::from_secs(1);

/// Completed of those offered, at least.
const COMPLETED_MIN: f64 = 0.99;

/// One rate's measurement.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) rate: u32,
    pub(crate) seconds: u32,
    /// Every order that got its 202, those of the warm-up among them.
    pub(crate) accepted: Vec<OrderId>,
    pub(crate) refusals: BTreeMap<String, u64>,
    pub(crate) unanswered: u64,
    pub(crate) no_customer: u64,
    pub(crate) unwatched: u64,
    /// Orders confirmed with a shipment within the seconds that count.
    pub(crate) completed: u64,
    pub(crate) checkout_ns: Histogram<u64>,
    pub(crate) order_ns: Histogram<u64>,
    pub(crate) late_ns: Histogram<u64>,
    pub(crate) completion_ns: Histogram<u64>,
    /// From placed to confirmed by the shop's own clock: the median and the 99th percentile of all orders.
    pub(crate) own_completion_ms: (u64, u64),
    /// The mean number of sagas under way in each quarter.
    pub(crate) in_flight: [f64; 4],
    /// The highest count of sagas under way.
    pub(crate) in_flight_peak: u64,
    pub(crate) cpu: Cpu,
    pub(crate) counts: Counts,
    pub(crate) syncs: SyncsFound,
    pub(crate) load_average: String,
}

impl Step {
    pub(super) fn new(
        rate: u32,
        plan: &Plan<'_>,
        tally: Tally,
        window: &Window,
        seen: Seen,
    ) -> Result<Self, String> {
        let completions = plan.facts.completions_ms(window.from_ms, window.until_ms)?;
        Ok(Self {
            rate,
            seconds: plan.seconds,
            accepted: tally.accepted,
            refusals: tally.refusals,
            unanswered: tally.unanswered,
            no_customer: tally.no_customer,
            unwatched: tally.unwatched,
            completed: plan.facts.confirmed_between(window.from_ms, window.until_ms)?,
            checkout_ns: tally.checkout_ns,
            order_ns: tally.order_ns,
            late_ns: tally.late_ns,
            completion_ns: seen.completion_ns,
            own_completion_ms: (percentile(&completions, 50), percentile(&completions, 99)),
            in_flight: quarters(&seen.in_flight, window.from, window.until),
            in_flight_peak: peak(&seen.in_flight, window.from, window.until),
            cpu: window.cpu,
            counts: window.counts.clone(),
            syncs: window.syncs,
            load_average: window.load_average.clone(),
        })
    }

    /// Whether the shop kept up: nothing was refused, nothing piled up.
    pub(crate) fn is_steady(&self) -> bool {
        self.unsteady_since().is_none()
    }

    /// Why the rate is not steady.
    pub(crate) fn unsteady_since(&self) -> Option<String> {
        if let Some((refusal, count)) = self.refusals.first_key_value() {
            return Some(format!("{count} orders failed with {refusal}"));
        }
        if self.no_customer > 0 {
            return Some(format!("{} orders had no customer, all being under way", self.no_customer));
        }
        let [_, second, _, last] = self.in_flight;
        let allowed = (f64::from(self.rate) * GROWTH_MAX.as_secs_f64()).max(GROWTH_MAX_ORDERS);
        if last - second > allowed {
            return Some(format!("sagas in flight grew from {second:.0} to {last:.0}"));
        }
        let (peak, arrive) = (self.in_flight_peak, u64::from(self.rate) * PEAK_MAX.as_secs());
        if peak > arrive {
            return Some(format!("{peak} sagas were in flight at once"));
        }
        let share = self.completed_per_s() / f64::from(self.rate);
        (share < COMPLETED_MIN).then(|| format!("only {:.1} % were completed in time", share * 100.0))
    }

    pub(crate) fn completed_per_s(&self) -> f64 {
        self.per_second(self.completed)
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of a run of minutes are far below 2^52")]
    fn per_second(&self, count: u64) -> f64 {
        count as f64 / f64::from(self.seconds)
    }

    /// `total` by completed order.
    #[allow(clippy::cast_precision_loss, reason = "counts of a run of minutes are far below 2^52")]
    pub(crate) fn per_order(&self, total: f64) -> f64 {
        total / (self.completed.max(1)) as f64
    }

    /// `time` as a share of one core.
    pub(crate) fn cores(&self, time: Duration) -> f64 {
        time.as_secs_f64() / f64::from(self.seconds)
    }
}

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

/// The mean count in each quarter of the time between `from` and `until`.
fn quarters(counts: &[(Instant, u64)], from: Instant, until: Instant) -> [f64; 4] {
    let quarter = until.saturating_duration_since(from) / 4;
    [0, 1, 2, 3].map(|number| {
        let (begin, end) = (from + quarter * number, from + quarter * (number + 1));
        let within = counts.iter().filter(|(at, _)| *at >= begin && *at < end);
        let (sum, number) = within.fold((0, 0), |(sum, number), (_, count)| (sum + count, number + 1));
        #[allow(clippy::cast_precision_loss, reason = "counts of sagas under way")]
        let mean = sum as f64 / f64::from(number.max(1));
        mean
    })
}

/// The highest count between `from` and `until`.
fn peak(counts: &[(Instant, u64)], from: Instant, until: Instant) -> u64 {
    let within = counts.iter().filter(|(at, _)| *at >= from && *at < until);
    within.map(|(_, count)| *count).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_are_means_of_their_own_time() {
        let from = Instant::now();
        let at = |second: u64, count: u64| (from + Duration::from_secs(second), count);
        let counts = [at(0, 1), at(1, 3), at(3, 10), at(7, 5), at(8, 99)];
        let until = from + Duration::from_secs(8);
        assert_eq!(quarters(&counts, from, until), [2.0, 10.0, 0.0, 5.0]);
        assert_eq!(peak(&counts, from, until), 10, "what comes after does not count");
    }

    #[test]
    fn percentiles_of_few() {
        assert_eq!(percentile(&[], 50), 0);
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&(0..100).collect::<Vec<_>>(), 99), 99);
    }
}
