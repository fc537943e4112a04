//! The verbs: retry, skip, mark done.

use std::sync::Arc;

use leeward_store::Tx;

use crate::decide::{Effect, Event, decide};
use crate::error::Error;
use crate::executor::load;
use crate::journal::saga::Change;
use crate::journal::{self, Entry, stored};
use crate::sagas::{DECIDED_TOPIC, Sagas, Shared};
use crate::status::Status;

impl Sagas {
    /// Tries the current step again now: one that is stuck, that backs off, or whose reply does not come.
    ///
    /// After a refusal the attempt gets a new key, since the other side would repeat its "no" for the old one; otherwise the key stays.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Illegal`] when the saga waits for nothing that a retry could hasten, [`Error::Undefined`] and
    /// [`Error::Refused`] when this binary does not understand the saga; what the database reports.
    pub async fn retry(&self, saga_id: &str) -> Result<Status, Error> {
        self.decide(saga_id, Event::Retry, None).await
    }

    /// Goes on as if the current step had nothing to do: it counts as not done, and an undo as not needed. The reason is recorded.
    ///
    /// # Errors
    /// Those of [`retry`](Self::retry).
    pub async fn skip(&self, saga_id: &str, reason: &str) -> Result<Status, Error> {
        self.decide(saga_id, Event::Skip, Some(reason)).await
    }

    /// Goes on as if the current step had just succeeded: somebody did it by hand. The saga's state stays as it is. The reason is
    /// recorded.
    ///
    /// # Errors
    /// Those of [`retry`](Self::retry).
    pub async fn mark_done(&self, saga_id: &str, reason: &str) -> Result<Status, Error> {
        self.decide(saga_id, Event::MarkDone, Some(reason)).await
    }

    async fn decide(&self, saga_id: &str, event: Event, reason: Option<&str>) -> Result<Status, Error> {
        let (shared, id, reason) = (self.shared.clone(), saga_id.to_owned(), reason.map(str::to_owned));
        let db = self.shared.db.clone();
        db.write(async move |tx: &mut Tx| write(tx, &shared, &id, &event, reason).await).await
    }
}

async fn write(
    tx: &mut Tx,
    shared: &Arc<Shared>,
    id: &str,
    event: &Event,
    reason: Option<String>,
) -> Result<Status, Error> {
    let raw = journal::saga::by_id(tx, id).await?.ok_or_else(|| Error::NotFound(id.to_owned()))?;
    let definition = shared.definition(&raw.saga)?;
    let plan = definition.plan();
    let before = load(&raw, plan, definition.fingerprint())
        .map_err(|refusal| Error::Refused { id: id.to_owned(), why: refusal.to_string() })?
        .progress;
    let at = shared.moment();
    let after = decide(plan, &before, event, at)?;
    let effect = after.effect();
    let status = Status::of(&after);
    let due_ms = match effect {
        Effect::Backoff { due_ms } | Effect::Reply { due_ms } => Some(due_ms),
        // Due now: this is how the engine finds it.
        Effect::Act(_) | Effect::Undo(_) | Effect::Finish => Some(at.now_ms),
        Effect::Halt | Effect::Over => None,
    };
    let mut entry = Entry::new(event.name());
    entry.step = before.step().map(|step| plan.steps[step].name.into());
    entry.undo = before.is_undo();
    entry.attempt = before.tries().map_or(1, |tries| tries.attempt);
    entry.detail = reason.map(journal::history::cut);
    let encode = |error: serde_json::Error| Error::Encode(error.to_string());
    let change = Change {
        seq: raw.seq,
        version: raw.version,
        epoch: None,
        fingerprint: definition.fingerprint(),
        status: status.name(),
        live: !matches!(effect, Effect::Halt | Effect::Over),
        step: after.step().map(|step| plan.steps[step].name),
        attempt: after.tries().map_or(0, |tries| tries.attempt),
        due_ms,
        progress: &stored::encode(plan, &after).map_err(encode)?,
        state: &raw.state,
        note: after.fault().map(|fault| &**fault),
        history: &journal::history::encode(at.now_ms, &[entry]).map_err(encode)?,
        now_ms: at.now_ms,
    };
    if !journal::saga::update(tx, &change).await? {
        return Err(Error::MovedOn(id.to_owned()));
    }
    // An engine of this process drops what it has in memory. One elsewhere finds out when it writes.
    if shared.engine.read().strong_count() > 0 {
        let (shared, id, version) = (shared.clone(), raw.id.clone(), raw.version + 1);
        tx.on_commit(move || {
            shared.mail.lock().decided.push((id, version));
            shared.pulse.touch();
        });
    }
    tx.wake(DECIDED_TOPIC);
    Ok(status)
}
