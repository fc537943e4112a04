//! What a commit records of a saga: its row, its history, and which signals it took.

use leeward_store::Tx;

use super::load::Refusal;
use super::turn::{Job, Rollback, Turn};
use crate::decide::{self, Effect, Event};
use crate::definition::State;
use crate::journal::saga::Change;
use crate::journal::{self, Entry, stored};
use crate::sagas::PAYLOAD_BYTES_MAX;
use crate::status::Status;

impl<S: State> Job<S> {
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
    pub(super) async fn write(&self, tx: &mut Tx, turn: &mut Turn<S>) -> Result<(), Rollback> {
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

    pub(super) async fn mark_consumed(&self, tx: &mut Tx, turn: &mut Turn<S>) -> Result<(), Rollback> {
        let now_ms = self.shared().clock.unix_ms();
        for id in turn.consumed.drain(..) {
            if !journal::signals::consume(tx, &turn.id, &id, now_ms).await? {
                return Err(Rollback::Moved);
            }
        }
        Ok(())
    }
}
