//! What the policies of leeward-resilience do, counted and logged under the names which that crate gives.

use leeward_resilience::breaker::State;
use leeward_resilience::observe::metrics as names;
use leeward_resilience::pipeline::Part;
use leeward_resilience::{Event, Observer, cache, fallback, fault, hedge};

use crate::metrics::{Counters, Gauges, Registry};

/// Counts what policies do, for all the handles and pipelines that it is given to as an observer. Cheap to clone.
///
/// The label `policy` is the name of the handle or pipeline. Changes of breakers and of panics are logged as well: they are rare,
/// and what an operator looks for first.
///
/// ```
/// use std::sync::Arc;
/// use leeward_resilience::{Breaker, Pipeline};
/// use leeward_telemetry::{PolicyMetrics, Registry};
///
/// # fn main() -> Result<(), leeward_resilience::ConfigErrors> {
/// let registry = Registry::new();
/// let observer = Arc::new(PolicyMetrics::new(&registry));
/// let pipeline = Pipeline::builder("stock").breaker(Breaker::default()).observer(observer).build()?;
/// pipeline.breaker().expect("there is one").force_open();
/// assert!(registry.encode().contains("leeward_breaker_state{policy=\"stock\"} 3"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PolicyMetrics {
    breaker_state: Gauges<1>,
    breaker_transitions: Counters<2>,
    panicking: Gauges<1>,
    rejections: Counters<2>,
    shadowed: Counters<2>,
    retries: Counters<1>,
    budget_exhausted: Counters<1>,
    timeouts: Counters<1>,
    hedges: Counters<1>,
    hedges_won: Counters<1>,
    hedges_refused: Counters<1>,
    answers: Counters<2>,
    rate_store_unavailable: Counters<2>,
    adaptive_limit: Gauges<1>,
    shed_level: Gauges<1>,
    fallbacks: Counters<2>,
    fallbacks_failed: Counters<2>,
    faults: Counters<2>,
    versions: Gauges<2>,
    key_evictions: Counters<2>,
}

impl PolicyMetrics {
    /// Registers the metrics.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let by_policy = |name, help| registry.counters(name, help, ["policy"]);
        let by = |name, help, label| registry.counters(name, help, ["policy", label]);
        let gauges = |name, help| registry.gauges(name, help, ["policy"]);
        Self {
            breaker_state: gauges(
                names::BREAKER_STATE,
                "0 closed, 1 half-open, 2 open, 3 forced open, 4 forced closed",
            ),
            breaker_transitions: by(names::BREAKER_TRANSITIONS, "Changes of a breaker's state", "to"),
            panicking: gauges(names::PANICKING, "1 while keyed breakers let everything pass"),
            rejections: by(names::REJECTIONS, "Calls that a policy refused", "kind"),
            shadowed: by(names::SHADOWED, "What policies in shadow mode would have done", "event"),
            retries: by_policy(names::RETRIES, "Attempts after the first one"),
            budget_exhausted: by_policy(
                names::RETRY_BUDGET_EXHAUSTED,
                "Failures not retried since the budget was spent",
            ),
            timeouts: by_policy(names::ATTEMPT_TIMEOUTS, "Attempts that the attempt timeout cut short"),
            hedges: by_policy(hedge::metrics::HEDGES, "Attempts sent beside one that took long"),
            hedges_won: by_policy(hedge::metrics::HEDGES_WON, "Hedges that had the first good answer"),
            hedges_refused: by_policy(
                hedge::metrics::HEDGES_REFUSED,
                "Hedges not sent since the budget was spent",
            ),
            answers: by(cache::metrics::ANSWERS, "Answers by where they came from", "source"),
            rate_store_unavailable: by(
                names::RATE_STORE_UNAVAILABLE,
                "Calls about which the store of a shared rate limit gave no answer",
                "allowed",
            ),
            adaptive_limit: gauges(names::ADAPTIVE_LIMIT, "Calls at a time, as measured"),
            shed_level: gauges(names::SHED_LEVEL, "Level of shedding in eighths of a class; 0 sheds nothing"),
            fallbacks: by(fallback::metrics::FALLBACKS, "Answers that were a substitute", "cause"),
            fallbacks_failed: by(
                fallback::metrics::FALLBACKS_FAILED,
                "Substitutes that failed, so that the first result stood",
                "cause",
            ),
            faults: by(fault::metrics::FAULTS, "Calls that an experiment touched", "fault"),
            versions: registry.gauges(
                names::OPTIONS_VERSION,
                "Version of the options in force",
                ["policy", "kind"],
            ),
            key_evictions: by(names::KEY_EVICTIONS, "Keys that were forgotten to make room", "busy"),
        }
    }
}

impl PolicyMetrics {
    /// Takes the gauges of a handle or pipeline away that is gone: they would go on to say how it was. Counters stay.
    pub fn forget(&self, policy: &str) {
        for gauges in [&self.breaker_state, &self.panicking, &self.adaptive_limit, &self.shed_level] {
            gauges.forget(0, policy);
        }
        self.versions.forget(0, policy);
    }

    /// The same for a part of a pipeline, which has it no more or shares it with another one from now on.
    pub fn forget_part(&self, policy: &str, part: Part) {
        match part {
            Part::Breaker => self.breaker_state.forget(0, policy),
            Part::Adaptive => self.adaptive_limit.forget(0, policy),
            Part::Retries | Part::Throttle | Part::RateLimit | Part::Concurrency => {}
        }
    }
}

impl Observer for PolicyMetrics {
    fn observe(&self, name: &str, event: &Event) {
        match *event {
            Event::BreakerChanged { from, to } => {
                tracing::warn!(policy = name, %from, %to, "breaker changed");
                self.breaker_state.with([name]).set(code(to));
                self.breaker_transitions.with([name, to.as_str()]).inc();
            }
            Event::PanicChanged { panicking, open, keys } => {
                tracing::warn!(policy = name, panicking, open, keys, "breakers' panic changed");
                self.panicking.with([name]).set(i64::from(panicking));
            }
            Event::Rejected(rejected) => self.rejections.with([name, rejected.policy]).inc(),
            Event::Retrying { .. } => self.retries.with([name]).inc(),
            Event::RetryBudgetExhausted => self.budget_exhausted.with([name]).inc(),
            Event::AttemptTimeout { .. } => self.timeouts.with([name]).inc(),
            Event::Hedged { .. } => self.hedges.with([name]).inc(),
            Event::HedgeWon => self.hedges_won.with([name]).inc(),
            Event::HedgeRefused => self.hedges_refused.with([name]).inc(),
            Event::CacheAnswered { from } => self.answers.with([name, from.as_str()]).inc(),
            Event::RateStoreUnavailable { allowed } => {
                self.rate_store_unavailable.with([name, flag(allowed)]).inc();
            }
            Event::AdaptiveLimitChanged { to, .. } => self.adaptive_limit.with([name]).set(to.into()),
            Event::ShedLevelChanged { to, .. } => self.shed_level.with([name]).set(to.into()),
            Event::FellBack { cause, answered } => {
                let fallbacks = if answered { &self.fallbacks } else { &self.fallbacks_failed };
                fallbacks.with([name, cause.as_str()]).inc();
            }
            Event::FaultInjected { latency, fault } => {
                if latency.is_some() {
                    self.faults.with([name, "latency"]).inc();
                }
                if let Some(fault) = fault {
                    self.faults.with([name, fault.as_str()]).inc();
                }
            }
            Event::Reconfigured { policy, version } => {
                self.versions.with([name, policy]).set(version.into());
            }
            Event::KeyEvicted { busy } => self.key_evictions.with([name, flag(busy)]).inc(),
            _ if event.is_shadow() => self.shadowed.with([name, event.name()]).inc(),
            // An event of a later version of the crate.
            _ => {}
        }
    }
}

fn code(state: State) -> i64 {
    match state {
        State::Closed => 0,
        State::HalfOpen => 1,
        State::Open => 2,
        State::ForcedOpen => 3,
        State::ForcedClosed => 4,
    }
}

fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leeward_resilience::cache::Answered;
    use leeward_resilience::fallback::Cause;
    use leeward_resilience::fault::Fault;
    use leeward_resilience::{Reason, Rejected};

    use super::*;

    /// Every line of the scrape that has a value, after these events.
    fn seen(events: &[Event]) -> Vec<String> {
        let registry = Registry::new();
        let metrics = PolicyMetrics::new(&registry);
        events.iter().for_each(|event| metrics.observe("stock", event));
        let text = registry.encode();
        let mut lines: Vec<_> =
            text.lines().filter(|line| line.contains("stock")).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    const MS: Duration = Duration::from_millis(1);

    fn check(cases: &[(Event, &[&str])]) {
        for (event, lines) in cases {
            assert_eq!(seen(&[*event]), *lines, "{event:?}");
        }
    }

    #[test]
    fn each_event_has_its_metric() {
        let rejected = Rejected::new("breaker", Reason::NoEndpoint);
        check(&[
            (
                Event::BreakerChanged { from: State::Closed, to: State::Open },
                &[
                    r#"leeward_breaker_state{policy="stock"} 2"#,
                    r#"leeward_breaker_transitions_total{policy="stock",to="open"} 1"#,
                ],
            ),
            (
                Event::Rejected(rejected),
                &[r#"leeward_policy_rejections_total{policy="stock",kind="breaker"} 1"#],
            ),
            (
                Event::WouldReject(rejected),
                &[r#"leeward_policy_shadowed_total{policy="stock",event="leeward.would_reject"} 1"#],
            ),
            (Event::Retrying { attempt: 1, delay: MS }, &[r#"leeward_retries_total{policy="stock"} 1"#]),
            (Event::RetryBudgetExhausted, &[r#"leeward_retry_budget_exhausted_total{policy="stock"} 1"#]),
            (Event::AttemptTimeout { after: MS }, &[r#"leeward_attempt_timeouts_total{policy="stock"} 1"#]),
            (Event::Hedged { attempt: 1, delay: MS }, &[r#"leeward_hedges_total{policy="stock"} 1"#]),
            (Event::HedgeWon, &[r#"leeward_hedges_won_total{policy="stock"} 1"#]),
            (
                Event::AdaptiveLimitChanged { from: 9, to: 7 },
                &[r#"leeward_adaptive_limit{policy="stock"} 7"#],
            ),
            (Event::ShedLevelChanged { from: 0, to: 2 }, &[r#"leeward_shed_level{policy="stock"} 2"#]),
            (
                Event::FaultInjected { latency: Some(MS), fault: Some(Fault::LostReply) },
                &[
                    r#"leeward_faults_injected_total{policy="stock",fault="latency"} 1"#,
                    r#"leeward_faults_injected_total{policy="stock",fault="lost-reply"} 1"#,
                ],
            ),
            (
                Event::Reconfigured { policy: "retry", version: 3 },
                &[r#"leeward_policy_options_version{policy="stock",kind="retry"} 3"#],
            ),
            (
                Event::PanicChanged { panicking: true, open: 5, keys: 6 },
                &[r#"leeward_breaker_panicking{policy="stock"} 1"#],
            ),
        ]);
    }

    #[test]
    fn each_rarer_event_has_its_metric() {
        check(&[
            (Event::HedgeRefused, &[r#"leeward_hedges_refused_total{policy="stock"} 1"#]),
            (
                Event::CacheAnswered { from: Answered::Stale },
                &[r#"leeward_cache_answers_total{policy="stock",source="stale"} 1"#],
            ),
            (
                Event::RateStoreUnavailable { allowed: true },
                &[r#"leeward_rate_store_unavailable_total{policy="stock",allowed="true"} 1"#],
            ),
            (
                Event::FellBack { cause: Cause::Timeout, answered: true },
                &[r#"leeward_fallbacks_total{policy="stock",cause="timeout"} 1"#],
            ),
            (
                Event::FellBack { cause: Cause::Timeout, answered: false },
                &[r#"leeward_fallbacks_failed_total{policy="stock",cause="timeout"} 1"#],
            ),
            (
                Event::KeyEvicted { busy: true },
                &[r#"leeward_policy_key_evictions_total{policy="stock",busy="true"} 1"#],
            ),
            (
                Event::WouldRetry { attempt: 1, delay: MS },
                &[r#"leeward_policy_shadowed_total{policy="stock",event="leeward.would_retry"} 1"#],
            ),
        ]);
    }
}
