//! What operators see.

use std::collections::BTreeMap;

use leeward_store::ReadTx;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::decide::Progress;
use crate::error::Error;
use crate::executor::load;
use crate::journal::listing::Seen;
use crate::journal::saga::Raw;
use crate::journal::{self, Entry, stored};
use crate::outcome::Reason;
use crate::plan;
use crate::sagas::Sagas;
use crate::status::Status;

/// Which sagas to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this definition.
    pub saga: Option<String>,
    /// In this state.
    pub status: Option<Status>,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// What comes after this place: a list's `next`. None is the beginning.
    pub after: Option<i64>,
    /// How many, at most; 1 to 500.
    pub limit: u16,
}

impl Default for Page {
    fn default() -> Self {
        Self { after: None, limit: 50 }
    }
}

/// A saga in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Its place in the order of starts.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// Its definition.
    pub saga: String,
    /// Its state.
    pub status: Status,
    /// The current step.
    pub step: Option<String>,
    /// The attempt of the current step, from 1; 0 when it has ended.
    pub attempt: u32,
    /// When something happens by itself, in milliseconds since 1970.
    pub due_ms: Option<i64>,
    /// What went wrong last.
    pub note: Option<String>,
    /// When it was started, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last written, in milliseconds since 1970.
    pub updated_ms: i64,
}

/// A page of sagas, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The sagas.
    pub sagas: Vec<Summary>,
    /// Where the next page begins; none at the end.
    pub next: Option<i64>,
}

/// All about a saga.
#[derive(Clone, Debug, Serialize)]
pub struct Detail {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: Summary,
    /// The definition it is pinned to.
    pub fingerprint: String,
    /// The piece of work that started it.
    pub correlation_id: String,
    /// The trace it belongs to.
    pub trace_id: String,
    /// Whether the current step is an undo.
    pub undo: bool,
    /// Steps whose effect stands.
    pub done: Vec<String>,
    /// Why it compensates.
    pub reason: Option<Reason>,
    /// Its state.
    pub state: Box<RawValue>,
    /// What happened to it, oldest first.
    pub history: Vec<Entry>,
    /// What it was told.
    pub signals: Vec<HeldSignal>,
}

/// A signal that is stored for a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldSignal {
    /// Its id.
    pub id: String,
    /// What it is a signal of.
    pub name: String,
    /// When it came, in milliseconds since 1970.
    pub received_ms: i64,
    /// Whether a step took it.
    pub consumed: bool,
}

/// A signal that no saga took: there is none of the id, or it has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unclaimed {
    /// Its place in the list.
    pub seq: i64,
    /// The saga it is for.
    pub saga_id: String,
    /// Its id.
    pub id: String,
    /// What it is a signal of.
    pub name: String,
    /// When it came, in milliseconds since 1970.
    pub received_ms: i64,
}

/// How many sagas that have not ended there are, by definition and state.
pub type Counts = BTreeMap<(String, Status), u64>;

/// Whether the registered definitions understand the sagas under way: for looking before a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Sagas that have not ended.
    pub unended: u64,
    /// Those of them that can go on.
    pub compatible: u64,
    /// Those that would be refused; the first 100.
    pub refused: Vec<RefusedSaga>,
}

/// A saga that would be refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedSaga {
    /// Its id.
    pub id: String,
    /// Its definition.
    pub saga: String,
    /// Why.
    pub why: String,
}

/// Refused sagas shown by a check.
const REFUSED_SHOWN_MAX: usize = 100;
/// Sagas read at a time by a check.
const CHECK_PAGE: i64 = 256;
/// Longest page of a list.
const LIMIT_MAX: u16 = 500;
/// Signals of one saga shown at most.
const SIGNALS_SHOWN_MAX: i64 = 200;

impl Sagas {
    /// The sagas that pass the filter, the newest first, page by page.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn list(&self, filter: Filter, page: Page) -> Result<Listing, Error> {
        let limit = page.limit.clamp(1, LIMIT_MAX);
        let seen = self
            .shared
            .db
            .read(async move |tx: &mut ReadTx| {
                let before = page.after.unwrap_or(i64::MAX);
                journal::listing::list(tx, filter.saga.as_deref(), filter.status, before, limit.into()).await
            })
            .await?;
        let next = if seen.len() == usize::from(limit) { seen.last().map(|seen| seen.raw.seq) } else { None };
        Ok(Listing { sagas: seen.into_iter().map(summary).collect(), next })
    }

    /// All about one saga.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Decode`]; what the database reports.
    pub async fn show(&self, saga_id: &str) -> Result<Detail, Error> {
        let id = saga_id.to_owned();
        let read = async move |tx: &mut ReadTx| -> Result<_, Error> {
            let seen = journal::listing::seen(tx, &id).await?.ok_or_else(|| Error::NotFound(id.clone()))?;
            let history = journal::listing::history(tx, &id).await?;
            Ok((seen, history, journal::signals::of(tx, &id, SIGNALS_SHOWN_MAX).await?))
        };
        let (seen, history, signals) = self.shared.db.read(read).await?;
        let unreadable = |error: &dyn std::fmt::Display| Error::Decode(error.to_string());
        let progress = pinned(&seen.raw)?;
        let correlation =
            stored::decode_correlation(&seen.raw.correlation).map_err(|error| unreadable(&error))?;
        let name =
            |at: usize| plan::pinned_steps(&seen.raw.fingerprint).nth(at).unwrap_or_default().to_owned();
        let mut done: Vec<_> = progress.done.iter_back().map(name).collect();
        done.reverse();
        Ok(Detail {
            fingerprint: seen.raw.fingerprint.clone(),
            correlation_id: correlation.correlation_id.to_string(),
            trace_id: format!("{:032x}", correlation.trace.trace_id()),
            undo: progress.is_undo(),
            done,
            reason: progress.reason().cloned(),
            state: RawValue::from_string(seen.raw.state.clone()).map_err(|error| unreadable(&error))?,
            history,
            signals: signals
                .into_iter()
                .map(|(signal, consumed)| HeldSignal {
                    id: signal.id.to_string(),
                    name: signal.name.to_string(),
                    received_ms: signal.received_ms,
                    consumed,
                })
                .collect(),
            summary: summary(seen),
        })
    }

    /// Signals that no saga took, the oldest first, page by page.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn unclaimed(&self, page: Page) -> Result<Vec<Unclaimed>, Error> {
        let (after, limit) = (page.after.unwrap_or(0), i64::from(page.limit.clamp(1, LIMIT_MAX)));
        let read = async move |tx: &mut ReadTx| journal::signals::unclaimed(tx, after, limit).await;
        let signals = self.shared.db.read(read).await?;
        let unclaimed = |held: journal::signals::Addressed| Unclaimed {
            seq: held.seq,
            saga_id: held.saga_id.to_string(),
            id: held.signal.id.to_string(),
            name: held.signal.name.to_string(),
            received_ms: held.signal.received_ms,
        };
        Ok(signals.into_iter().map(unclaimed).collect())
    }

    /// How many sagas have not ended, by definition and state.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn counts(&self) -> Result<Counts, Error> {
        self.shared.db.read(async move |tx: &mut ReadTx| journal::listing::counts(tx).await).await
    }

    /// Whether the registered definitions understand all sagas that have not ended. It reads them all, page by page, and changes nothing.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn check(&self) -> Result<Check, Error> {
        let (mut check, mut after) = (Check::default(), 0);
        loop {
            let read =
                async move |tx: &mut ReadTx| journal::listing::unended_after(tx, after, CHECK_PAGE).await;
            let rows = self.shared.db.read(read).await?;
            for raw in &rows {
                after = raw.seq;
                self.check_one(raw, &mut check);
            }
            if rows.is_empty() {
                return Ok(check);
            }
        }
    }

    fn check_one(&self, raw: &Raw, check: &mut Check) {
        check.unended += 1;
        let why = match self.shared.definition(&raw.saga) {
            Ok(definition) => load(raw, definition.plan(), definition.fingerprint())
                .err()
                .map(|refusal| refusal.to_string()),
            Err(error) => Some(error.to_string()),
        };
        match why {
            None => check.compatible += 1,
            Some(why) if check.refused.len() < REFUSED_SHOWN_MAX => {
                check.refused.push(RefusedSaga { id: raw.id.to_string(), saga: raw.saga.clone(), why });
            }
            Some(_) => {}
        }
    }
}

/// The progress by the definition that the saga is pinned to, whatever is registered now.
fn pinned(raw: &Raw) -> Result<Progress, Error> {
    let position = |name: &str| plan::pinned_steps(&raw.fingerprint).position(|step| step == name);
    stored::decode(&raw.progress, position).map_err(|error| Error::Decode(error.to_string()))
}

fn summary(seen: Seen) -> Summary {
    let Seen { raw, status, step, attempt, due_ms, note, updated_ms } = seen;
    Summary {
        seq: raw.seq,
        id: raw.id.to_string(),
        saga: raw.saga,
        status,
        step,
        attempt,
        due_ms,
        note,
        created_ms: raw.created_ms,
        updated_ms,
    }
}
