//! One saga, driven from commit to commit until it has to wait.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use leeward_store::{Kind, ReadTx, Tx};

use super::drive::{Input, Parked};
use super::load::Refusal;
use super::pulse::{Moment, Point};
use super::turn::{self, CHAIN_MAX, Job, Rollback, Setback, Turn};
use crate::decide::{Effect, Event};
use crate::definition::{CallFn, Handler, State};
use crate::error::Error;
use crate::journal;
use crate::outcome::Outcome;
use crate::sagas::Shared;
use crate::step::Signal;

/// The first and the longest wait before a commit that failed is tried again: a full queue is drained within milliseconds, a full
/// disk is not.
const WRITE_WAIT: Duration = Duration::from_millis(5);
const WRITE_WAIT_MAX: Duration = Duration::from_secs(2);

/// Why a drive ends without parking.
pub(super) enum Ended {
    Gone,
    Moved,
    Fenced,
    Closed,
    Refused(Refusal),
}

/// A saga while it is driven. The turn is boxed: it goes to the database's thread and back with each commit.
pub(super) struct Drive<'a, S> {
    job: &'a Job<S>,
    turn: Box<Turn<S>>,
}

impl<'a, S: State> Drive<'a, S> {
    pub(super) fn new(job: &'a Job<S>, turn: Box<Turn<S>>) -> Self {
        Self { job, turn }
    }

    /// Goes on until the saga waits or is over.
    pub(super) async fn go(mut self, input: Input) -> Result<Parked, Ended> {
        self.receive(input).await?;
        loop {
            // A step's result is on disk before the next step starts.
            match self.turn.progress.effect() {
                Effect::Act(at) => self.step(at, false).await?,
                Effect::Undo(at) => self.step(at, true).await?,
                Effect::Finish => {
                    self.dies(None, false, Moment::BeforeEffect).await;
                    self.commit(CHAIN_MAX).await?;
                }
                Effect::Backoff { due_ms } | Effect::Reply { due_ms } => {
                    self.save().await?;
                    if due_ms > self.shared().clock.unix_ms() {
                        return Ok(self.parked(due_ms));
                    }
                    // It came from disk with its timer due.
                    self.receive(Input::Timer).await?;
                }
                Effect::Halt | Effect::Over => {
                    self.save().await?;
                    return Err(Ended::Gone);
                }
            }
            if self.job.engine.is_stopping() && !self.turn.dirty {
                return Err(Ended::Gone);
            }
        }
    }

    /// Carries out one action or undo, or what of it belongs into a transaction.
    async fn step(&mut self, at: usize, undo: bool) -> Result<(), Ended> {
        let job = self.job;
        let Some(Handler::Call { run, timeout }) = job.definition.code.handler(at, undo) else {
            self.dies(Some(at), undo, Moment::BeforeEffect).await;
            return self.commit(CHAIN_MAX).await;
        };
        self.save().await?;
        if job.engine.is_stopping() {
            return Err(Ended::Gone);
        }
        self.hold_on().await?;
        self.dies(Some(at), undo, Moment::BeforeEffect).await;
        let outcome = self.call(at, undo, run, *timeout).await;
        self.dies(Some(at), undo, Moment::AfterEffect).await;
        let (event, detail) = self.turn.outcome(outcome);
        self.apply(&event, detail)
    }

    async fn call(&self, at: usize, undo: bool, run: &CallFn<S>, timeout: Duration) -> Outcome<S> {
        let (cx, mut span) = self.job.step_cx(&self.turn, at, undo, timeout);
        let shared = self.shared();
        let began = shared.clock.now();
        let correlation = cx.correlation.clone();
        let state = self.turn.state.clone();
        // Unwind safety: the future is dropped, and what it had is gone with it.
        let attempt = AssertUnwindSafe(async { run(cx, state).await }).catch_unwind();
        let outcome = match tokio::time::timeout(timeout, correlation.scope(attempt)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Outcome::Unknown("the step panicked".to_owned()),
            Err(_) => Outcome::Unknown(format!("no answer within {} ms", timeout.as_millis())),
        };
        let took = shared.clock.now().saturating_duration_since(began);
        let plan = &self.job.definition.plan;
        shared.metrics.step_seconds.with([plan.name, plan.steps[at].name]).observe(took.as_secs_f64());
        self.job.observe(&self.turn, at, undo, &outcome, &mut span);
        outcome
    }

    /// What woke a saga that waits. What it does not wait for is ignored: it stays stored.
    async fn receive(&mut self, input: Input) -> Result<(), Ended> {
        match (self.turn.progress.effect(), input) {
            (Effect::Backoff { .. }, Input::Timer) => self.apply(&Event::Due, None),
            (Effect::Reply { .. }, Input::Signal(signal)) => self.take(&signal),
            (Effect::Reply { .. }, Input::Timer) => match self.stored_signal().await? {
                Some(signal) => self.take(&signal),
                None => self.timed_out(),
            },
            (Effect::Reply { .. }, Input::Look) => match self.stored_signal().await? {
                Some(signal) => self.take(&signal),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn timed_out(&mut self) -> Result<(), Ended> {
        match self.handler() {
            Some(Handler::Signal { on_timeout, .. }) => {
                let outcome = turn::heard(|| on_timeout(self.turn.state.clone()));
                let (event, detail) = self.turn.outcome(outcome);
                self.apply(&event, detail)
            }
            Some(Handler::Sleep { .. }) => self.apply(&Event::Done, None),
            _ => self.apply(&Event::TimedOut, None),
        }
    }

    fn take(&mut self, signal: &Signal) -> Result<(), Ended> {
        self.job.take_awaited(&mut self.turn, signal).map_err(ended)
    }

    /// The signal that the saga waits for, if it is stored. One that cannot be read now is not one that did not come.
    async fn stored_signal(&self) -> Result<Option<Signal>, Ended> {
        let Some(name) = self.job.awaits(&self.turn) else { return Ok(None) };
        let mut wait = WRITE_WAIT;
        loop {
            let (id, name) = (self.turn.id.clone(), name.clone());
            let read = async move |tx: &mut ReadTx| journal::signals::oldest(tx, &id, &name).await;
            match self.shared().db.read(read).await {
                Ok(signal) => return Ok(signal),
                Err(Error::Store(error)) if error.kind() == Kind::Closed => return Err(Ended::Closed),
                Err(error) => self.patience(&error, &mut wait).await?,
            }
        }
    }

    /// Goes on only under the lease. Whether it still holds may be unknown for a while: then nobody took over, as far as anybody knows.
    async fn hold_on(&self) -> Result<(), Ended> {
        let mut wait = WRITE_WAIT;
        loop {
            match self.job.engine.holds().await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(Ended::Fenced),
                Err(Error::Store(error)) if error.kind() == Kind::Closed => return Err(Ended::Closed),
                Err(error) => self.patience(&error, &mut wait).await?,
            }
        }
    }

    fn handler(&self) -> Option<&'a Handler<S>> {
        self.job.handler(&self.turn)
    }

    fn parked(self, due_ms: i64) -> Parked {
        self.job.park(self.turn, due_ms)
    }

    fn apply(&mut self, event: &Event, detail: Option<String>) -> Result<(), Ended> {
        self.job.apply(&mut self.turn, event, detail).map_err(ended)
    }

    fn shared(&self) -> &'a Arc<Shared> {
        self.job.shared()
    }

    /// Leaves nothing to write.
    async fn save(&mut self) -> Result<(), Ended> {
        if self.turn.dirty { self.commit(0).await } else { Ok(()) }
    }

    /// Commits what is pending and up to `limit` steps that belong into a transaction, as many as go well. What the one that does not
    /// came to is left pending.
    async fn commit(&mut self, mut limit: usize) -> Result<(), Ended> {
        let mut wait = WRITE_WAIT;
        let mut setback: Option<Setback> = None;
        loop {
            let (job, attempt) = (self.job.clone(), self.turn.clone());
            let write = async move |tx: &mut Tx| turn::commit(tx, &job, attempt, limit).await;
            match self.shared().db.write(write).await {
                Ok(written) => {
                    self.turn = written;
                    self.committed().await;
                    return self.set_back(setback);
                }
                // Nothing else was in the transaction: nothing is to be written before it.
                Err(Rollback::Setback(alone)) if alone.executed == 0 && !self.turn.dirty => {
                    return self.set_back(Some(alone));
                }
                Err(Rollback::Setback(later)) => {
                    limit = later.executed;
                    setback = Some(later);
                }
                Err(Rollback::Store(error)) if is_handlers(error.kind()) && limit > 0 => {
                    // Which of them it was is not known: alone it is.
                    if self.turn.dirty {
                        limit = 0;
                    } else if limit > 1 {
                        limit = 1;
                    } else {
                        let is_end = self.turn.progress.effect() == Effect::Finish;
                        let event = if is_end { Event::EndFailed } else { Event::Transient };
                        return self.apply(&event, Some(error.to_string()));
                    }
                }
                Err(Rollback::Store(error)) if !matches!(error.kind(), Kind::Fenced | Kind::Closed) => {
                    self.patience(&error, &mut wait).await?;
                }
                Err(Rollback::Died) => std::future::pending().await,
                Err(other) => return Err(ended(other)),
            }
        }
    }

    /// Applies what a step came to whose transaction was rolled back, now that what came before it is on disk. If it is not its turn any
    /// more, since a step before it came to something else the second time, nothing happened.
    fn set_back(&mut self, setback: Option<Setback>) -> Result<(), Ended> {
        match setback {
            Some(Setback { place, event, detail, .. }) if place == self.turn.place() => {
                self.apply(&event, detail)
            }
            _ => Ok(()),
        }
    }

    /// Waits before the database is tried again: what is pending is kept in memory, and nothing is done twice.
    async fn patience(&self, error: &impl Display, wait: &mut Duration) -> Result<(), Ended> {
        if self.job.engine.is_stopping() {
            return Err(Ended::Gone);
        }
        self.shared().metrics.write_retries.inc();
        tracing::warn!(%error, "a saga cannot be written or read now; trying again");
        // Those that were refused together do not come back together.
        tokio::time::sleep(wait.mul_f64(0.5 + self.shared().rng.unit_f64())).await;
        *wait = (*wait * 2).min(WRITE_WAIT_MAX);
        Ok(())
    }

    /// What a commit made known.
    async fn committed(&mut self) {
        self.job.report(&self.turn);
        for (step, undo) in std::mem::take(&mut self.turn.acted) {
            self.dies(step, undo, Moment::AfterCommit).await;
        }
    }

    /// Where a test lets the process die, nothing goes on.
    async fn dies(&self, step: Option<usize>, undo: bool, moment: Moment) {
        if self.shared().pulse.dies_at(Point { step, undo, moment }) {
            std::future::pending::<()>().await;
        }
    }
}

fn ended(rollback: Rollback) -> Ended {
    match rollback {
        Rollback::Moved => Ended::Moved,
        Rollback::Refused(refusal) => Ended::Refused(refusal),
        Rollback::Store(error) if error.kind() == Kind::Fenced => Ended::Fenced,
        Rollback::Store(_) => Ended::Closed,
        Rollback::Setback(setback) => {
            Ended::Refused(Refusal::Defect(format!("a stray `{}`", setback.event.name())))
        }
        Rollback::Died | Rollback::Panicked => Ended::Gone,
    }
}

/// Whether an error comes from what a step's closure did, rather than from the state of the database.
const fn is_handlers(kind: Kind) -> bool {
    matches!(kind, Kind::Defect | Kind::Constraint { .. } | Kind::NotFound)
}
