//! What the gateway is to reach, held against what was measured. A goal that is missed is told, and fails nothing: a run fails when
//! its figures mean nothing.

use serde_json::{Value, json};

use super::case::Case;
use super::engine::Engine;
use super::measure::Samples;
use super::report::{Beside, Figure, each, ratio};
use crate::figures::{median, round};

/// One goal.
#[derive(Debug)]
pub(super) struct Goal {
    what: String,
    /// The figure must not be above it.
    most: f64,
    /// None where it was not measured.
    got: Option<f64>,
}

impl Goal {
    fn is_met(&self) -> Option<bool> {
        self.got.map(|got| got <= self.most)
    }
}

/// Most CPU time a request of the second engine's, in the first.
const CPU: [(&str, Engine, Engine, f64); 9] = [
    ("h1-1k-64c", Engine::LeewardBare, Engine::Nginx, 0.95),
    ("h1-1k-64c", Engine::LeewardBare, Engine::Envoy, 0.27),
    ("h1-1k-64c", Engine::LeewardAll, Engine::Nginx, 1.25),
    ("h1-1k-64c", Engine::LeewardAll, Engine::EnvoyPolicies, 0.35),
    ("h1-64k-64c", Engine::LeewardBare, Engine::Nginx, 1.1),
    ("h1-post-4k", Engine::LeewardBare, Engine::Nginx, 1.1),
    ("h1-1k-1000idle", Engine::LeewardBare, Engine::Nginx, 1.1),
    ("route-5000", Engine::LeewardBare, Engine::Nginx, 1.1),
    ("h2-1k-64c", Engine::LeewardBare, Engine::Envoy, 0.4),
];
/// Most resident memory with a thousand idle connections, in MiB.
const RSS_MIB: f64 = 40.0;
/// Most nanoseconds of a lookup, also of the worst.
const LOOKUP_NS: f64 = 1_000.0;
/// Most milliseconds until 5,000 routes are live.
const LIVE_MS: f64 = 100.0;

/// All of them.
pub(super) fn goals(cases: &[(Case, Vec<Samples>)], beside: &Beside) -> Vec<Goal> {
    let rounds = |name: &str| {
        cases.iter().find(|(case, _)| case.name == name).map_or(&[][..], |(_, rounds)| &rounds[..])
    };
    let cpu: Figure = |sample| sample.cpu_us;
    let p99: Figure = |sample| sample.p99_ms;
    let mut goals: Vec<Goal> = CPU
        .iter()
        .map(|&(case, engine, to, most)| Goal {
            what: format!("{case}: CPU a request, {} to {}", engine.name(), to.name()),
            most,
            got: ratio(rounds(case), engine, to, cpu),
        })
        .collect();
    let half = ratio(rounds("h1-1k-half"), Engine::LeewardBare, Engine::Nginx, p99);
    goals.push(Goal { what: "h1-1k-half: p99, leeward-bare to nginx".to_owned(), most: 1.0, got: half });
    for engine in [Engine::LeewardBare, Engine::LeewardDefault, Engine::LeewardAll] {
        let got = median(each(engine, rounds("h1-1k-1000idle")).map(|sample| sample.rss_mib));
        goals.push(Goal { what: format!("h1-1k-1000idle: MiB, {}", engine.name()), most: RSS_MIB, got });
    }
    let worst = beside.lookups.iter().map(|cost| cost.nanos).reduce(f64::max);
    goals.push(Goal { what: "route_lookup_ns, the slowest kind".to_owned(), most: LOOKUP_NS, got: worst });
    let live = beside.reloads.as_ref().map(super::reload::Reloads::median_ms);
    goals.push(Goal { what: "reload_under_load: ms until live".to_owned(), most: LIVE_MS, got: live });
    goals
}

pub(super) fn print(goals: &[Goal]) {
    println!();
    for goal in goals {
        let got = goal.got.map_or("-".to_owned(), |got| format!("{got:.2}"));
        let verdict = match goal.is_met() {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "not measured",
        };
        println!("goal {:<64} at most {:>7}  {got:>8}  {verdict}", goal.what, goal.most);
    }
}

pub(super) fn json(goals: &[Goal]) -> Value {
    let one = |goal: &Goal| json!({ "what": goal.what, "most": goal.most, "got": goal.got.map(round), "is_met": goal.is_met() });
    goals.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_neither_reached_nor_missed() {
        let goal = |got| Goal { what: String::new(), most: 1.0, got };
        assert_eq!(goal(None).is_met(), None);
        assert_eq!(goal(Some(1.0)).is_met(), Some(true));
        assert_eq!(goal(Some(1.01)).is_met(), Some(false));
        // A ratio of nothing is none.
        assert!(goals(&[], &Beside::default()).iter().all(|goal| goal.got.is_none()));
    }
}
