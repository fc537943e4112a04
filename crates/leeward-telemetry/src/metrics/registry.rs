use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{EncodeMetric, text};
use prometheus_client::metrics::MetricType;

use super::bound::Bound;
use super::family::{Counters, Family, Gauges, Histograms};
use super::kinds::{Counter, Gauge, Histogram};
use super::process::{Asked, Process};

/// The content type of [`Registry::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one service. A clone is the same registry.
///
/// Registering a name twice with the same kind and labels yields the same metric, so that parts of a service
/// may share one without knowing of each other.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    exposed: prometheus_client::registry::Registry,
    known: BTreeMap<&'static str, Box<dyn Any + Send + Sync>>,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::with_labels([])
    }

    /// An empty registry that puts these labels on every series.
    #[must_use]
    pub fn with_labels<const N: usize>(labels: [(&'static str, &str); N]) -> Self {
        let labels = labels.into_iter().map(|(name, value)| (name.into(), value.to_owned().into()));
        let exposed = prometheus_client::registry::Registry::with_labels(labels);
        Self { inner: Arc::new(Mutex::new(Inner { exposed, known: BTreeMap::new() })) }
    }

    /// A counter without labels. Its name ends in `_total`.
    ///
    /// # Panics
    /// As all registering methods: when the name is not a metric name, or is registered with another kind or
    /// other labels. Names are constants, so this shows at the first start.
    #[must_use]
    pub fn counter(&self, name: &'static str, help: &str) -> Counter {
        self.register(name, help, Counter::default, |_| true)
    }

    /// A gauge without labels.
    #[must_use]
    pub fn gauge(&self, name: &'static str, help: &str) -> Gauge {
        self.register(name, help, Gauge::default, |_| true)
    }

    /// A gauge whose value is asked for at each scrape; `value` must be quick and must not use this registry.
    /// The first registration of a name stands.
    pub fn gauge_fn(&self, name: &'static str, help: &str, value: impl Fn() -> f64 + Send + Sync + 'static) {
        let _same = self.register(name, help, || Asked(Arc::new(value)), |_| true);
    }

    /// A histogram without labels over the given upper bounds; infinity is added.
    #[must_use]
    pub fn histogram(&self, name: &'static str, help: &str, bounds: &[f64]) -> Histogram {
        self.register(name, help, || Histogram::new(bounds), |_| true)
    }

    /// Counters by label set, under the default [`Bound`].
    #[must_use]
    pub fn counters<const L: usize>(
        &self,
        name: &'static str,
        help: &str,
        labels: [&'static str; L],
    ) -> Counters<L> {
        self.counters_bounded(name, help, labels, Bound::default())
    }

    /// Counters by label set, under a bound of their own.
    #[must_use]
    pub fn counters_bounded<const L: usize>(
        &self,
        name: &'static str,
        help: &str,
        labels: [&'static str; L],
        bound: Bound,
    ) -> Counters<L> {
        let family = || Family::new(labels, bound, MetricType::Counter, Counter::default);
        self.register(name, help, family, |known| known.names() == labels)
    }

    /// Gauges by label set, under the default [`Bound`].
    #[must_use]
    pub fn gauges<const L: usize>(
        &self,
        name: &'static str,
        help: &str,
        labels: [&'static str; L],
    ) -> Gauges<L> {
        self.gauges_bounded(name, help, labels, Bound::default())
    }

    /// Gauges by label set, under a bound of their own.
    #[must_use]
    pub fn gauges_bounded<const L: usize>(
        &self,
        name: &'static str,
        help: &str,
        labels: [&'static str; L],
        bound: Bound,
    ) -> Gauges<L> {
        let family = || Family::new(labels, bound, MetricType::Gauge, Gauge::default);
        self.register(name, help, family, |known| known.names() == labels)
    }

    /// Histograms by label set over the given upper bounds, under the default [`Bound`].
    #[must_use]
    pub fn histograms<const L: usize>(
        &self,
        name: &'static str,
        help: &str,
        labels: [&'static str; L],
        bounds: &'static [f64],
    ) -> Histograms<L> {
        self.histograms_bounded(name, help, labels, bounds, Bound::default())
    }

    /// Histograms by label set over the given upper bounds, under a bound of their own.
    #[must_use]
    pub fn histograms_bounded<const L: usize>(
        &self,
        name: &'static str,
        help: &str,
        labels: [&'static str; L],
        bounds: &'static [f64],
        bound: Bound,
    ) -> Histograms<L> {
        let family = || Family::new(labels, bound, MetricType::Histogram, || Histogram::new(bounds));
        self.register(name, help, family, |known| known.names() == labels)
    }

    /// Adds resident memory, CPU time and open file descriptors of the process. Once a process is enough.
    pub fn process_metrics(&self) {
        let mut inner = self.lock();
        if inner.known.insert(super::process::PROCESS_OPEN_FDS, Box::new(())).is_none() {
            inner.exposed.register_collector(Box::new(Process));
        }
    }

    /// All metrics in the OpenMetrics text format, of type [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _always_ok = text::encode(&mut text, &self.lock().exposed);
        text
    }

    /// The names registered so far, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.lock().known.keys().copied().collect()
    }

    fn register<M>(
        &self,
        name: &'static str,
        help: &str,
        make: impl FnOnce() -> M,
        same: impl Fn(&M) -> bool,
    ) -> M
    where
        M: Clone + fmt::Debug + Send + Sync + 'static + EncodeMetric,
    {
        let mut inner = self.lock();
        if let Some(known) = inner.known.get(name) {
            let known = known.downcast_ref::<M>().filter(|known| same(known)).cloned();
            drop(inner);
            return known.unwrap_or_else(|| {
                panic!("metric {name} is registered twice, with different kinds or labels")
            });
        }
        let metric = make();
        let is_counter = matches!(metric.metric_type(), MetricType::Counter);
        // The encoder writes a counter's suffix itself.
        let stem = name.strip_suffix("_total");
        let well_formed = is_name(name) && stem.is_some() == is_counter;
        if well_formed {
            inner.known.insert(name, Box::new(metric.clone()));
            // The encoder writes the full stop as well.
            inner.exposed.register(stem.unwrap_or(name), help.trim_end_matches('.'), metric.clone());
        }
        drop(inner);
        assert!(
            well_formed,
            "metric name {name}: lowercase words joined by _, with _total on counters and only there"
        );
        metric
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(is_plain)
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("names", &self.names()).finish()
    }
}
