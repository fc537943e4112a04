//! One commit of a saga: what is pending, the steps that share its transaction, and the row.

use std::sync::Arc;

use leeward_resilience::Deadline;
use leeward_store::{Tx, lease};
use leeward_telemetry::{Correlation, Span, SpanKind, span};

use super::engine::{Engine, LEASE};
use super::load::Refusal;
use super::pulse::{Moment, Point};
use crate::decide::{self, Effect, Event, Phase, Progress};
use crate::definition::{Definition, Handler, State};
use crate::error::Error;
use crate::journal::saga::Change;
use crate::journal::{self, Entry, stored};
use crate::metrics;
use crate::outcome::Outcome;
use crate::plan::Way;
use crate::sagas::{PAYLOAD_BYTES_MAX, Shared};
use crate::status::Status;
use crate::step::{EndCx, Signal, StepCx, key};

/// A saga's definition and the engine that drives it.
pub(super) struct Job<S> {
    pub(super) engine: Arc<Engine>,
    pub(super) definition: Definition<S>,
}

impl<S> Clone for Job<S> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), definition: self.definition.clone() }
    }
}

/// A saga in memory: its row, and what is not written yet.
#[derive(Clone, Debug)]
pub(super) struct Turn<S> {
    pub(super) seq: i64,
    pub(super) id: Arc<str>,
    pub(super) version: i64,
    pub(super) correlation: Correlation,
    pub(super) progress: Progress,
    pub(super) state: S,
    /// What went wrong last, for operators.
    pub(super) note: Option<String>,
    pub(super) entries: Vec<Entry>,
    /// Signals taken by what is not written yet.
    pub(super) consumed: Vec<Arc<str>>,
    /// Whether anything is not written yet.
    pub(super) dirty: bool,
    /// The steps that the next commit records: a test may let the process die after it.
    pub(super) acted: Vec<(Option<usize>, bool)>,
}

/// Why a transaction was rolled back.
#[derive(Debug)]
pub(super) enum Rollback {
    /// The database, or a closure that broke its rules.
    Store(leeward_store::Error),
    /// Somebody else changed the row.
    Moved,
    /// A step in the transaction came to something else than `Done`.
    Setback(Setback),
    /// The saga cannot go on under this binary.
    Refused(Refusal),
    /// A test lets the process die here.
    Died,
}

/// What a step came to whose transaction was rolled back.
#[derive(Debug)]
pub(super) struct Setback {
    /// Steps before it in the same transaction, which went well and were rolled back with it.
    pub(super) executed: usize,
    /// Which step; none is the hook at the end.
    pub(super) place: (Option<usize>, bool),
    pub(super) event: Event,
    pub(super) detail: Option<String>,
}

impl From<leeward_store::Error> for Rollback {
    fn from(error: leeward_store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<Error> for Rollback {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => Self::Store(error),
            other => Self::Refused(Refusal::Encode(other.to_string())),
        }
    }
}

/// Runs up to `limit` steps that belong into a transaction, then writes the row.
pub(super) async fn commit<S: State>(
    tx: &mut Tx,
    job: &Job<S>,
    mut turn: Box<Turn<S>>,
    limit: usize,
) -> Result<Box<Turn<S>>, Rollback> {
    lease::check(tx, LEASE, job.engine.epoch).await?;
    for executed in 0..limit {
        match job.execute(tx, &mut turn).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(Rollback::Setback(setback)) => {
                return Err(Rollback::Setback(Setback { executed, ..setback }));
            }
            Err(other) => return Err(other),
        }
    }
    job.write(tx, &mut turn).await?;
    Ok(turn)
}

impl<S: State> Job<S> {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.engine.shared
    }

    /// Carries out what is due, if it belongs into a transaction. False: it does not.
    async fn execute(&self, tx: &mut Tx, turn: &mut Turn<S>) -> Result<bool, Rollback> {
        let (at, undo) = match turn.progress.effect() {
            Effect::Act(at) => (at, false),
            Effect::Undo(at) => (at, true),
            Effect::Finish => return self.finish(tx, turn).await.map(|()| true),
            Effect::Backoff { .. } | Effect::Reply { .. } | Effect::Halt | Effect::Over => return Ok(false),
        };
        let Some(handler) = self.definition.code.handler(at, undo) else { return Err(no_handler(at)) };
        if matches!(handler, Handler::Call { .. }) {
            return Ok(false);
        }
        self.dies(Some(at), undo, Moment::BeforeEffect)?;
        match handler {
            Handler::Call { .. } => {}
            Handler::Tx { run } => {
                let (cx, mut span) = self.step_cx(turn, at, undo, std::time::Duration::ZERO);
                let outcome = run(tx, cx, turn.state.clone()).await;
                let outcome = outcome.unwrap_or_else(|fault| Outcome::Transient(fault.into_detail()));
                self.observe(turn, at, undo, &outcome, &mut span);
                self.dies(Some(at), undo, Moment::AfterEffect)?;
                match turn.outcome(outcome) {
                    (Event::Done, detail) => self.apply(turn, &Event::Done, detail)?,
                    (event, detail) => return Err(turn.setback(event, detail)),
                }
            }
            Handler::Command { send, on_reply, within } => {
                let name = reply_name(turn, &self.definition, at, undo);
                if may_have_come(turn)
                    && let Some(signal) = journal::signals::oldest(tx, &turn.id, &name).await?
                {
                    self.take(turn, at, undo, on_reply(turn.state.clone(), &signal), &signal)?;
                    return Ok(true);
                }
                let (cx, mut span) = self.step_cx(turn, at, undo, *within);
                if let Err(fault) = send(tx, cx, turn.state.clone()).await {
                    let outcome = Outcome::<S>::Transient(fault.into_detail());
                    self.observe(turn, at, undo, &outcome, &mut span);
                    let (event, detail) = turn.outcome(outcome);
                    return Err(turn.setback(event, detail));
                }
                self.dies(Some(at), undo, Moment::AfterEffect)?;
                self.apply(turn, &Event::Sent { within_ms: ms(*within) }, None)?;
            }
            Handler::Signal { name, on_signal, within, .. } => {
                if let Some(signal) = journal::signals::oldest(tx, &turn.id, name).await? {
                    self.take(turn, at, undo, on_signal(turn.state.clone(), &signal), &signal)?;
                } else {
                    self.apply(turn, &Event::Sent { within_ms: ms(*within) }, None)?;
                }
            }
            Handler::Sleep { time } => self.apply(turn, &Event::Sent { within_ms: ms(*time) }, None)?,
        }
        Ok(true)
    }

    /// The hook at the end and the close, in one transaction.
    async fn finish(&self, tx: &mut Tx, turn: &mut Turn<S>) -> Result<(), Rollback> {
        let Phase::Ending { end, .. } = &turn.progress.phase else { return Ok(()) };
        self.dies(None, false, Moment::BeforeEffect)?;
        if let Some(hook) = &self.definition.code.on_end {
            let cx = EndCx {
                saga_id: turn.id.clone(),
                saga: self.definition.plan.name,
                correlation: turn.correlation.clone(),
            };
            if let Err(fault) = hook(tx, cx, end.clone(), turn.state.clone()).await {
                return Err(turn.setback(Event::EndFailed, Some(fault.into_detail())));
            }
        }
        self.dies(None, false, Moment::AfterEffect)?;
        let takes_signals = |way: Option<Way>| matches!(way, Some(Way::Command | Way::Signal));
        let steps = &self.definition.plan.steps;
        if steps.iter().any(|step| takes_signals(Some(step.way())) || takes_signals(step.undo_way())) {
            // What was consumed in this transaction is marked first.
            self.mark_consumed(tx, turn).await?;
            journal::signals::forget_consumed(tx, &turn.id).await?;
        }
        self.apply(turn, &Event::EndDone, None)
    }

    /// What a signal comes to. It is consumed in the same transaction.
    pub(super) fn take(
        &self,
        turn: &mut Turn<S>,
        at: usize,
        undo: bool,
        outcome: Outcome<S>,
        signal: &Signal,
    ) -> Result<(), Rollback> {
        turn.consumed.push(signal.id.clone());
        self.count(at, undo, outcome.name());
        let (event, detail) = turn.outcome(outcome);
        self.apply(turn, &event, detail)
    }

    /// Lets the decider move the saga.
    pub(super) fn apply(
        &self,
        turn: &mut Turn<S>,
        event: &Event,
        detail: Option<String>,
    ) -> Result<(), Rollback> {
        let plan = &*self.definition.plan;
        let next = decide::decide(plan, &turn.progress, event, self.shared().moment())
            .map_err(|illegal| Rollback::Refused(Refusal::Defect(illegal.to_string())))?;
        let attempt = turn.progress.tries().map_or(1, |tries| tries.attempt);
        let is_failure =
            matches!(event, Event::Transient | Event::Unknown | Event::TimedOut | Event::EndFailed);
        let is_plain = matches!(event, Event::Due) || (matches!(event, Event::Sent { .. }) && attempt > 1);
        if !is_plain && (!is_failure || Entry::is_recorded(attempt)) {
            turn.entries.push(self.entry(turn, event, detail.as_ref()));
        }
        turn.note = match (event, next.fault(), detail) {
            (_, Some(fault), _) => Some(fault.to_string()),
            (_, None, Some(detail)) => Some(journal::history::cut(detail)),
            // A timer changes nothing about what went wrong last.
            (Event::Due | Event::Sent { .. } | Event::Recovered, None, None) => turn.note.take(),
            (Event::TimedOut, None, None) => Some("no reply in time".to_owned()),
            (_, None, None) => None,
        };
        turn.acted.push(turn.place());
        turn.progress = next;
        turn.dirty = true;
        Ok(())
    }

    /// Takes a saga over. Nothing is written: it would be found out again after another crash.
    pub(super) fn recover(&self, turn: &mut Turn<S>) -> Result<(), decide::Illegal> {
        let next =
            decide::decide(&self.definition.plan, &turn.progress, &Event::Recovered, self.shared().moment())?;
        if next != turn.progress {
            turn.entries.push(self.entry(turn, &Event::Recovered, None));
            turn.progress = next;
        }
        Ok(())
    }

    fn entry(&self, turn: &Turn<S>, event: &Event, detail: Option<&String>) -> Entry {
        let mut entry = Entry::new(event.name());
        entry.step = turn.progress.step().map(|at| self.definition.plan.steps[at].name.into());
        entry.undo = turn.progress.is_undo();
        entry.attempt = turn.progress.tries().map_or(1, |tries| tries.attempt);
        entry.detail = detail.cloned().map(journal::history::cut);
        entry
    }

    /// Writes the row, its history, and which signals it took.
    async fn write(&self, tx: &mut Tx, turn: &mut Turn<S>) -> Result<(), Rollback> {
        let encode = |error: serde_json::Error| Rollback::Refused(Refusal::Encode(error.to_string()));
        self.mark_consumed(tx, turn).await?;
        let plan = &*self.definition.plan;
        let state = serde_json::to_string(&turn.state).map_err(encode)?;
        if state.len() > PAYLOAD_BYTES_MAX {
            let detail = format!("{} bytes are more than {PAYLOAD_BYTES_MAX}", state.len());
            return Err(Rollback::Refused(Refusal::Encode(detail)));
        }
        let effect = turn.progress.effect();
        let now_ms = self.shared().clock.unix_ms();
        let change = Change {
            seq: turn.seq,
            version: turn.version,
            epoch: Some(self.engine.epoch.as_i64()),
            fingerprint: &self.definition.fingerprint,
            status: Status::of(&turn.progress).name(),
            live: !matches!(effect, Effect::Halt | Effect::Over),
            step: turn.progress.step().map(|at| plan.steps[at].name),
            attempt: turn.progress.tries().map_or(0, |tries| tries.attempt),
            due_ms: match effect {
                Effect::Backoff { due_ms } | Effect::Reply { due_ms } => Some(due_ms),
                _ => None,
            },
            progress: &stored::encode(plan, &turn.progress).map_err(encode)?,
            state: &state,
            note: turn.note.as_deref(),
            history: &journal::history::encode(now_ms, &turn.entries).map_err(encode)?,
            now_ms,
        };
        if !journal::saga::update(tx, &change).await? {
            return Err(Rollback::Moved);
        }
        turn.version += 1;
        turn.entries.clear();
        turn.dirty = false;
        Ok(())
    }

    async fn mark_consumed(&self, tx: &mut Tx, turn: &mut Turn<S>) -> Result<(), Rollback> {
        let now_ms = self.shared().clock.unix_ms();
        for id in turn.consumed.drain(..) {
            if !journal::signals::consume(tx, &turn.id, &id, now_ms).await? {
                return Err(Rollback::Moved);
            }
        }
        Ok(())
    }

    /// What a step is told, and the span of its attempt.
    pub(super) fn step_cx(
        &self,
        turn: &Turn<S>,
        at: usize,
        undo: bool,
        time: std::time::Duration,
    ) -> (StepCx, Span) {
        let (plan, shared) = (&self.definition.plan, self.shared());
        let step = plan.steps[at].name;
        let name = if undo { metrics::SPAN_UNDO } else { metrics::SPAN_STEP };
        let mut span = span(name, SpanKind::Internal, &shared.options.service, &turn.correlation.trace);
        let tries = turn.progress.tries();
        let attempt = tries.map_or(1, |tries| tries.attempt);
        if span.is_recording() {
            span.attr(metrics::ATTR_SAGA, plan.name)
                .attr(metrics::ATTR_SAGA_ID, turn.id.clone())
                .attr(metrics::ATTR_STEP, step)
                .attr(metrics::ATTR_ATTEMPT, attempt);
        }
        let key = key(&turn.id, step, tries.map_or(1, |tries| tries.business), undo);
        let cx = StepCx {
            saga_id: turn.id.clone(),
            saga: plan.name,
            step,
            action_key: if undo { crate::step::key(&turn.id, step, 1, false) } else { key.clone() },
            key,
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
        match outcome {
            Outcome::Done(_) => {}
            Outcome::Rejected(rejection) => drop(span.error(&rejection.code)),
            Outcome::Transient(detail) | Outcome::Unknown(detail) => {
                span.error(detail);
                let step = self.definition.plan.steps[at].name;
                tracing::debug!(saga_id = %turn.id, step, undo, outcome = outcome.name(), detail, "a step did not succeed");
            }
        }
    }

    fn count(&self, at: usize, undo: bool, outcome: &str) {
        let (plan, metrics) = (&self.definition.plan, &self.shared().metrics);
        let step = plan.steps[at].name;
        if undo {
            metrics.steps.with([plan.name, &format!("undo {step}"), outcome]).inc();
        } else {
            metrics.steps.with([plan.name, step, outcome]).inc();
        }
    }

    /// Whether a test lets the process die here.
    fn dies(&self, step: Option<usize>, undo: bool, moment: Moment) -> Result<(), Rollback> {
        if self.shared().pulse.dies_at(Point { step, undo, moment }) { Err(Rollback::Died) } else { Ok(()) }
    }
}

impl<S> Turn<S> {
    /// The step that is due; none is the hook at the end.
    pub(super) fn place(&self) -> (Option<usize>, bool) {
        (self.progress.step(), self.progress.is_undo())
    }

    fn setback(&self, event: Event, detail: Option<String>) -> Rollback {
        Rollback::Setback(Setback { executed: 0, place: self.place(), event, detail })
    }

    /// The event that an outcome is; `Done` takes over the new state.
    pub(super) fn outcome(&mut self, outcome: Outcome<S>) -> (Event, Option<String>) {
        match outcome {
            Outcome::Done(state) => {
                self.state = state;
                (Event::Done, None)
            }
            Outcome::Rejected(rejection) => {
                let detail = format!("{}: {}", rejection.code, rejection.detail);
                (
                    Event::Rejected { code: rejection.code.into(), detail: rejection.detail.into() },
                    Some(detail),
                )
            }
            Outcome::Transient(detail) => (Event::Transient, Some(detail)),
            Outcome::Unknown(detail) => (Event::Unknown, Some(detail)),
        }
    }
}

/// The name of the signal that is the reply to the current command: its key without the saga's id.
pub(super) fn reply_name<S>(turn: &Turn<S>, definition: &Definition<S>, at: usize, undo: bool) -> Arc<str> {
    let business = turn.progress.tries().map_or(1, |tries| tries.business);
    let key = key(&turn.id, definition.plan.steps[at].name, business, undo);
    crate::step::split_key(&key).map_or_else(|| key.clone(), |(_, name)| name.into())
}

/// Whether a reply can be there before the command goes out: only if it went out before.
fn may_have_come<S>(turn: &Turn<S>) -> bool {
    turn.progress.tries().is_some_and(|tries| tries.attempt > 1 || tries.in_doubt)
}

fn no_handler(at: usize) -> Rollback {
    Rollback::Refused(Refusal::Defect(format!("step {at} has no code")))
}

fn ms(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
