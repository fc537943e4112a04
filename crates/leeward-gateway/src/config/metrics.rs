//! How far metrics may grow.

use leeward_runtime::config::Node;

use super::parse::set;
use super::print::Yaml;

/// The budget of series.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metrics {
    /// Routes that are counted each for itself, the first ones of the file; those after them are counted together as `other`.
    /// Default 200: about 3,000 series at a kilobyte each.
    pub routes: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { routes: 200 }
    }
}

pub(super) fn read(node: &Node<'_>) -> Metrics {
    let mut metrics = Metrics::default();
    set(&mut metrics.routes, node.get("routes").int(1..=10_000));
    metrics
}

pub(super) fn print(out: &mut Yaml, metrics: &Metrics) {
    out.open(0, "metrics");
    out.line(1, "routes", metrics.routes);
}
