//! One attempt of a step: what it is told, and what is seen of it.

use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::Deadline;
use leeward_telemetry::{Span, SpanKind, span};

use super::turn::{Job, Turn};
use crate::definition::{Definition, State};
use crate::metrics;
use crate::outcome::Outcome;
use crate::step::{StepCx, key, split_key};

impl<S: State> Job<S> {
    /// What a step is told, and the span of its attempt.
    pub(super) fn step_cx(&self, turn: &Turn<S>, at: usize, undo: bool, time: Duration) -> (StepCx, Span) {
        let (plan, shared) = (&self.definition.plan, self.shared());
        let step = plan.steps[at].name;
        let name = if undo { metrics::SPAN_UNDO } else { metrics::SPAN_STEP };
        let mut span = span(name, SpanKind::Internal, &shared.options.service, &turn.correlation.trace);
        let tries = turn.progress.tries();
        let attempt = tries.map_or(1, |tries| tries.attempt);
        if span.is_recording() {
            span.rename(format!("{name} {step}"))
                .attr(metrics::ATTR_SAGA, plan.name)
                .attr(metrics::ATTR_SAGA_ID, turn.id.clone())
                .attr(metrics::ATTR_STEP, step)
                .attr(metrics::ATTR_ATTEMPT, attempt);
        }
        let own_key = key(&turn.id, step, tries.map_or(1, |tries| tries.business), undo);
        let cx = StepCx {
            saga_id: turn.id.clone(),
            saga: plan.name,
            step,
            action_key: if undo { key(&turn.id, step, 1, false) } else { own_key.clone() },
            key: own_key,
            attempt,
            reconcile: tries.is_some_and(|tries| tries.in_doubt),
            since_ms: tries.map_or(0, |tries| tries.since_ms),
            epoch: self.engine.epoch.as_i64(),
            deadline: Deadline::after(shared.clock.now(), time),
            correlation: turn.correlation.at(span.context()),
        };
        (cx, span)
    }

    /// Counts an attempt's outcome and puts it on its span.
    pub(super) fn observe(
        &self,
        turn: &Turn<S>,
        at: usize,
        undo: bool,
        outcome: &Outcome<S>,
        span: &mut Span,
    ) {
        self.count(at, undo, outcome.name());
        span.attr(metrics::ATTR_OUTCOME, outcome.name());
        let detail = match outcome {
            Outcome::Done(_) => "",
            Outcome::Rejected(rejection) => &*rejection.code,
            Outcome::Transient(detail) | Outcome::Unknown(detail) => detail,
        };
        if !detail.is_empty() {
            span.error(detail);
        }
        let step = self.definition.plan.steps[at].name;
        tracing::debug!(saga_id = %turn.id, step, undo, outcome = outcome.name(), detail, "a step was tried");
    }

    pub(super) fn count(&self, at: usize, undo: bool, outcome: &str) {
        let (plan, metrics) = (&self.definition.plan, &self.shared().metrics);
        let step = plan.steps[at].name;
        if undo {
            metrics.steps.with([plan.name, &format!("undo {step}"), outcome]).inc();
        } else {
            metrics.steps.with([plan.name, step, outcome]).inc();
        }
    }
}

/// The name of the signal that is the reply to the current command: its key without the saga's id.
pub(super) fn reply_name<S>(turn: &Turn<S>, definition: &Definition<S>, at: usize, undo: bool) -> Arc<str> {
    let business = turn.progress.tries().map_or(1, |tries| tries.business);
    let key = key(&turn.id, definition.plan.steps[at].name, business, undo);
    split_key(&key).map_or_else(|| key.clone(), |(_, name)| name.into())
}
