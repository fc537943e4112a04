use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::RandomState;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

use super::bound::{Admitted, Bound, OTHER};
use super::kinds::{Counter, Gauge, Histogram};

/// Counters by label set.
pub type Counters<const L: usize> = Family<Counter, L>;
/// Gauges by label set.
pub type Gauges<const L: usize> = Family<Gauge, L>;
/// Histograms by label set.
pub type Histograms<const L: usize> = Family<Histogram, L>;

/// One metric in many series, told apart by `L` labels. A clone is the same family.
#[derive(Clone, Debug)]
pub struct Family<M, const L: usize> {
    shared: Arc<Shared<M, L>>,
}

#[derive(Debug)]
struct Shared<M, const L: usize> {
    names: [&'static str; L],
    /// What a new series starts as: cloned in value, not as a handle.
    template: Template<M>,
    kind: MetricType,
    hasher: RandomState,
    state: RwLock<State<M, L>>,
}

struct Template<M>(Box<dyn Fn() -> M + Send + Sync>);

impl<M> std::fmt::Debug for Template<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Template")
    }
}

/// The label values of one series, and its metric.
type Series<M, const L: usize> = ([Arc<str>; L], M);

#[derive(Debug)]
struct State<M, const L: usize> {
    /// By hash of the values, so that a look-up needs no owned key; sets that share a hash share an entry.
    series: HashMap<u64, Vec<Series<M, L>>, RandomState>,
    count: usize,
    admitted: Admitted<L>,
}

impl<M: Clone + EncodeMetric, const L: usize> Family<M, L> {
    pub(super) fn new(
        names: [&'static str; L],
        bound: Bound,
        kind: MetricType,
        template: impl Fn() -> M + Send + Sync + 'static,
    ) -> Self {
        let state = State { series: HashMap::default(), count: 0, admitted: Admitted::new(bound) };
        let template = Template(Box::new(template));
        let shared =
            Shared { names, template, kind, hasher: RandomState::default(), state: RwLock::new(state) };
        Self { shared: Arc::new(shared) }
    }

    /// The series with these label values, in the order in which the family names its labels.
    ///
    /// Beyond the family's [`Bound`] it is the series that counts for all others.
    #[must_use]
    pub fn with(&self, values: [&str; L]) -> M {
        let found = {
            let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner);
            state.find(self.shared.hasher.hash_one(values), values)
        };
        found.unwrap_or_else(|| self.add(values))
    }

    /// Takes away every series in which the label has this value: what it stood for is gone. Of handles to them that somebody
    /// keeps nothing is shown any more. The series that count for all others stay.
    pub fn forget(&self, label: usize, value: &str) {
        if label >= L || value == OTHER {
            return;
        }
        let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        state.series.retain(|_, same_hash| {
            same_hash.retain(|(values, _)| *values[label] != *value);
            !same_hash.is_empty()
        });
        state.count = state.series.values().map(Vec::len).sum();
        state.admitted.forget(label, value);
    }

    fn add(&self, values: [&str; L]) -> M {
        let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = state.find(self.shared.hasher.hash_one(values), values) {
            return metric;
        }
        let count = state.count;
        let values = state.admitted.admit(values, count);
        let hash = self.shared.hasher.hash_one(values);
        if let Some(metric) = state.find(hash, values) {
            return metric;
        }
        let metric = (self.shared.template.0)();
        state.series.entry(hash).or_default().push((values.map(Arc::from), metric.clone()));
        state.count += 1;
        metric
    }

    pub(super) fn names(&self) -> [&'static str; L] {
        self.shared.names
    }
}

impl<M: Clone, const L: usize> State<M, L> {
    fn find(&self, hash: u64, values: [&str; L]) -> Option<M> {
        let same_hash = self.series.get(&hash)?;
        let is_it = |known: &[Arc<str>; L]| known.iter().zip(values).all(|(known, value)| **known == *value);
        same_hash.iter().find(|(known, _)| is_it(known)).map(|(_, metric)| metric.clone())
    }
}

impl<M: Clone + EncodeMetric, const L: usize> EncodeMetric for Family<M, L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        // The metrics are handles: take them and let go of the lock before writing.
        let mut series: Vec<Series<M, L>> = {
            let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner);
            state.series.values().flatten().cloned().collect()
        };
        series.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (values, metric) in series {
            let labels: Vec<(&str, &str)> =
                self.shared.names.into_iter().zip(values.iter().map(|value| &**value)).collect();
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        self.shared.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(bound: Bound) -> Counters<2> {
        Family::new(["method", "route"], bound, MetricType::Counter, Counter::default)
    }

    #[test]
    fn the_same_labels_are_the_same_series() {
        let family = counters(Bound::default());
        family.with(["GET", "/a"]).inc();
        family.with(["GET", "/a"]).inc();
        family.with(["GET", "/b"]).inc();
        assert_eq!(family.with(["GET", "/a"]).get(), 2);
        assert_eq!(family.with(["GET", "/b"]).get(), 1);
    }

    #[test]
    fn what_exceeds_the_bound_is_summed_under_other() {
        let family = counters(Bound { values_per_label: 3, series: 100 });
        for route in 0..50 {
            family.with(["GET", &format!("/{route}")]).inc();
        }
        assert_eq!(family.with(["GET", "other"]).get(), 47);
        assert_eq!(family.with(["GET", "/2"]).get(), 1);
        assert_eq!(
            family.with(["GET", "/49"]).get(),
            47,
            "a value beyond the bound finds the same series again"
        );
    }

    #[test]
    fn what_is_gone_vanishes_and_makes_room() {
        let family = counters(Bound { values_per_label: 2, series: 100 });
        for route in ["/a", "/b", "/c"] {
            family.with(["GET", route]).inc();
        }
        family.forget(1, "/a");
        family.forget(1, "other");
        family.forget(7, "/b");
        assert_eq!(family.with(["GET", "other"]).get(), 1);
        family.with(["GET", "/d"]).inc();
        assert_eq!(family.with(["GET", "/d"]).get(), 1, "there is room for another one");
        assert_eq!(family.with(["GET", "/b"]).get(), 1);
        let state = family.shared.state.read().unwrap();
        assert_eq!((state.count, state.series.values().flatten().count()), (3, 3));
    }

    #[test]
    fn the_number_of_series_is_bounded_whatever_the_labels() {
        let family = counters(Bound { values_per_label: 1000, series: 10 });
        for number in 0..500 {
            family.with([&format!("m{number}"), &format!("/{number}")]).inc();
        }
        let state = family.shared.state.read().unwrap();
        assert_eq!(state.count, 10);
        let sum: u64 = state.series.values().flatten().map(|(_, counter)| counter.get()).sum();
        assert_eq!(sum, 500);
    }
}
