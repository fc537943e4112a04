//! What is kept of decisions.

use leeward_runtime::config::Node;
use leeward_runtime::units::show_percentage;

use super::parse::set;
use super::print::Yaml;

/// What each core keeps of the requests that it decided about, for `leeward why` and `GET /v1/decisions`.
#[derive(Clone, PartialEq, Debug)]
pub struct Decisions {
    /// Requests that were refused, or that an attempt failed for, a core. Default 2,048, at about a kilobyte each; 0 keeps
    /// nothing.
    pub keep: usize,
    /// The share of the others that is kept beside them, in an eighth of the room. Default 1%.
    pub sample: f64,
}

impl Default for Decisions {
    fn default() -> Self {
        Self { keep: 2_048, sample: 0.01 }
    }
}

pub(super) fn read(node: &Node<'_>) -> Decisions {
    let mut decisions = Decisions::default();
    set(&mut decisions.keep, node.get("keep").int(0..=100_000));
    set(&mut decisions.sample, node.get("sample").percentage(0.0..=1.0));
    decisions
}

pub(super) fn print(out: &mut Yaml, decisions: &Decisions) {
    out.open(0, "decisions");
    out.line(1, "keep", decisions.keep);
    out.line(1, "sample", show_percentage(decisions.sample));
}
