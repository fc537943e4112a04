//! A saga taken on in the transaction of whoever starts it or tells it something, so that what belongs together shares one commit.
//!
//! ```text
//! start:  the saga's row + the steps before its first outside call
//! reply:  the inbox row + what the reply comes to + the steps before the next outside call
//! ```
//!
//! Only the process whose engine holds the lease does so, under the same checks as the engine itself: the lease's epoch and the
//! row's version. Whatever is in the way (another engine, a step that fails, a saga that waits for something else) undoes this part
//! alone; then the start or the signal is stored, and the engine takes it up as it does after a crash.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use leeward_store::{ReadTx, Tx};

use super::drive::{Parked, understood};
use super::turn::{self, CHAIN_MAX, Job, Rollback};
use crate::decide::Effect;
use crate::definition::{Handler, State};
use crate::journal;
use crate::journal::saga::Raw;
use crate::sagas::Shared;
use crate::step::Signal;

/// How far a saga came in somebody's transaction.
pub(crate) struct Ahead {
    /// What is to be told once it has committed, if anything.
    report: Option<Box<dyn FnOnce() + Send>>,
    /// How it goes on; none when it is over or stuck.
    pub(super) next: Option<Next>,
    /// The version that this builds on.
    pub(super) before: i64,
}

/// How a saga that was taken ahead goes on.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) parked: Parked,
    /// It waits for nothing: an outside call is due.
    pub(super) is_ready: bool,
}

/// Takes the saga on, if it waits for `signal`, or without one stands at its beginning. False: it is the engine's to do.
pub(crate) async fn take(shared: &Arc<Shared>, tx: &mut Tx, id: &str, signal: Option<&Signal>) -> bool {
    let Some(engine) = shared.engine.read().upgrade() else { return false };
    if engine.is_stopping() || shared.pulse.is_probed() {
        return false;
    }
    let ahead = tx
        .savepoint(async |tx: &mut Tx| -> Result<_, Rollback> {
            let reads: &mut ReadTx = tx;
            let Some(raw) = journal::saga::live(reads, id).await? else { return Ok(None) };
            let Ok(definition) = shared.definition(&raw.saga) else { return Ok(None) };
            let ahead = AssertUnwindSafe(definition.ahead(&engine, tx, raw, signal)).catch_unwind().await;
            // Unwind safety: what the step did to the transaction is undone, and what it owned is gone.
            ahead.unwrap_or_else(|_| Err(Rollback::Panicked))
        })
        .await;
    let ahead = match ahead {
        Ok(Some(ahead)) => ahead,
        Ok(None) => return false,
        Err(rollback) => {
            tracing::debug!(saga_id = id, ?rollback, "a saga is left to the engine");
            return false;
        }
    };
    let (shared, id) = (shared.clone(), Arc::from(id));
    tx.on_commit(move || {
        if let Some(report) = ahead.report {
            report();
        }
        shared.mail.lock().ahead.push((id, ahead.before, ahead.next));
        shared.pulse.touch();
    });
    true
}

/// [`take`], once the definition is known.
pub(super) async fn of<S: State>(
    job: &Job<S>,
    tx: &mut Tx,
    raw: &Raw,
    signal: Option<&Signal>,
) -> Result<Option<Ahead>, Rollback> {
    if job.engine.is_in_doubt(raw) {
        return Ok(None);
    }
    let mut turn = understood(job, raw, false).map_err(Rollback::Refused)?;
    match (signal, turn.progress.effect()) {
        (Some(signal), Effect::Reply { .. }) if job.awaits(&turn).is_some_and(|name| name == signal.name) => {
            job.take_awaited(&mut turn, signal)?;
        }
        (None, Effect::Act(_)) if !matches!(job.handler(&turn), Some(Handler::Call { .. }) | None) => {}
        _ => return Ok(None),
    }
    let before = turn.version;
    let mut turn = turn::commit(tx, job, turn, CHAIN_MAX).await?;
    turn.acted.clear();
    let next = |turn, due_ms, is_ready| Some(Next { parked: job.park(turn, due_ms), is_ready });
    Ok(Some(match turn.progress.effect() {
        Effect::Backoff { due_ms } | Effect::Reply { due_ms } => {
            Ahead { report: None, next: next(turn, due_ms, false), before }
        }
        Effect::Act(_) | Effect::Undo(_) | Effect::Finish => {
            Ahead { report: None, next: next(turn, 0, true), before }
        }
        Effect::Halt | Effect::Over => {
            let job = job.clone();
            Ahead { report: Some(Box::new(move || job.report(&turn))), next: None, before }
        }
    }))
}
