//! One commit of a saga: what is pending, the steps that share its transaction, and the row.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use leeward_store::{Tx, lease};
use leeward_telemetry::Correlation;

use super::attempt::reply_name;
use super::drive::Parked;
use super::engine::{Engine, LEASE};
use super::load::Refusal;
use super::pulse::{Moment, Point};
use crate::decide::{Effect, Event, Phase, Progress};
use crate::definition::{Definition, Handler, State};
use crate::error::Error;
use crate::journal::{self, Entry};
use crate::outcome::Outcome;
use crate::plan::Way;
use crate::sagas::Shared;
use crate::step::{EndCx, Signal};

/// Steps in one transaction, at most: those of its own database follow each other in one commit, but must not keep others from theirs.
pub(super) const CHAIN_MAX: usize = 8;

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
pub(crate) enum Rollback {
    /// The database, or a closure that broke its rules.
    Store(leeward_store::Error),
    /// Somebody else changed the row.
    Moved,
    /// A step in the transaction came to something else than `Done`.
    Setback(Setback),
    /// The saga cannot go on under this binary.
    Refused(Refusal),
    /// A step panicked in somebody else's transaction; in the engine's own, the store reports it.
    Panicked,
    /// A test lets the process die here.
    Died,
}

/// What a step came to whose transaction was rolled back.
#[derive(Debug)]
pub(crate) struct Setback {
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
                let (cx, mut span) = self.step_cx(turn, at, undo, Duration::ZERO);
                let correlation = cx.correlation.clone();
                let outcome = correlation.scope(run(tx, cx, turn.state.clone())).await;
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
                    self.take(turn, at, undo, heard(|| on_reply(turn.state.clone(), &signal)), &signal)?;
                    return Ok(true);
                }
                let (cx, mut span) = self.step_cx(turn, at, undo, *within);
                let correlation = cx.correlation.clone();
                if let Err(fault) = correlation.scope(send(tx, cx, turn.state.clone())).await {
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
                    self.take(turn, at, undo, heard(|| on_signal(turn.state.clone(), &signal)), &signal)?;
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
            let correlation = turn.correlation.clone();
            if let Err(fault) = correlation.scope(hook(tx, cx, end.clone(), turn.state.clone())).await {
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

    /// What the saga waits for has come. Anything else is ignored: it stays stored.
    pub(super) fn take_awaited(&self, turn: &mut Turn<S>, signal: &Signal) -> Result<(), Rollback> {
        let (Some(at), undo) = turn.place() else { return Ok(()) };
        let hear = match self.handler(turn) {
            Some(Handler::Command { on_reply, .. }) => on_reply,
            Some(Handler::Signal { on_signal, .. }) => on_signal,
            _ => return Ok(()),
        };
        let outcome = heard(|| hear(turn.state.clone(), signal));
        self.take(turn, at, undo, outcome, signal)
    }

    /// What a signal comes to. It is consumed in the same transaction.
    fn take(
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

    pub(super) fn handler(&self, turn: &Turn<S>) -> Option<&Handler<S>> {
        let (step, undo) = turn.place();
        self.definition.code.handler(step?, undo)
    }

    /// The name of the signal that the current step waits for.
    pub(super) fn awaits(&self, turn: &Turn<S>) -> Option<Arc<str>> {
        match self.handler(turn)? {
            Handler::Command { .. } => {
                let (step, undo) = turn.place();
                Some(reply_name(turn, &self.definition, step?, undo))
            }
            Handler::Signal { name, .. } => Some((*name).into()),
            Handler::Call { .. } | Handler::Tx { .. } | Handler::Sleep { .. } => None,
        }
    }

    /// A saga that goes on at `due_ms`, or when what it waits for comes.
    pub(super) fn park(&self, turn: Box<Turn<S>>, due_ms: i64) -> Parked {
        let awaits = match turn.progress.effect() {
            Effect::Reply { .. } => self.awaits(&turn),
            _ => None,
        };
        Parked { due_ms, awaits, version: turn.version, saga: self.definition.plan.name, turn }
    }

    /// Counts and tells what a commit made known.
    pub(super) fn report(&self, turn: &Turn<S>) {
        let (plan, metrics) = (&self.definition.plan, &self.shared().metrics);
        match &turn.progress.phase {
            Phase::Ended(end) => metrics.ended.with([plan.name, end.name()]).inc(),
            Phase::Stuck(_) => {
                metrics.stuck.with([plan.name]).inc();
                let step = turn.progress.step().map_or("", |at| plan.steps[at].name);
                let fault = turn.progress.fault().map_or("", |fault| fault);
                tracing::warn!(saga = plan.name, saga_id = %turn.id, step, fault, "a saga is stuck: an operator has to decide");
            }
            Phase::Forward { .. } | Phase::Backward { .. } | Phase::Ending { .. } => {}
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

/// What a definition makes of what it hears: a reply, a signal, or that none came. When that panics, nobody knows.
pub(super) fn heard<S>(hear: impl FnOnce() -> Outcome<S>) -> Outcome<S> {
    // Unwind safety: what the closure had is gone with it.
    std::panic::catch_unwind(AssertUnwindSafe(hear))
        .unwrap_or_else(|_| Outcome::Unknown("the step panicked over what it heard".to_owned()))
}

/// Whether a reply can be there before the command goes out: only if it went out before.
fn may_have_come<S>(turn: &Turn<S>) -> bool {
    turn.progress.tries().is_some_and(|tries| tries.attempt > 1 || tries.in_doubt)
}

fn no_handler(at: usize) -> Rollback {
    Rollback::Refused(Refusal::Defect(format!("step {at} has no code")))
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
