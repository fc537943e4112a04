//! How a saga comes to be driven, from its row or from memory, and how that ends.

use std::any::{Any, TypeId};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use leeward_store::{Kind, ReadTx, Tx};

use super::Boxed;
use super::advance::{Drive, Ended};
use super::ahead::{self, Ahead};
use super::book::Work;
use super::engine::{Engine, LEASE};
use super::load::{Loaded, Refusal, load};
use super::turn::{Job, Rollback, Turn};
use crate::definition::{Definition, State};
use crate::journal;
use crate::journal::saga::Raw;
use crate::plan::Plan;
use crate::step::Signal;

/// A definition with the type of its state erased.
pub(crate) trait Runnable: Send + Sync + fmt::Debug {
    fn plan(&self) -> &Plan;
    fn fingerprint(&self) -> &str;
    fn state_type(&self) -> TypeId;
    /// Drives a saga from its row. `in_doubt`: an attempt may have been under way.
    fn open(&self, engine: &Arc<Engine>, raw: Raw, in_doubt: bool) -> Boxed<Driven>;
    /// Takes a saga, in somebody's transaction, as far as its steps belong into one; see [`ahead`](super::ahead).
    fn ahead<'a>(
        &self,
        engine: &Arc<Engine>,
        tx: &'a mut Tx,
        raw: Raw,
        signal: Option<&'a Signal>,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Ahead>, Rollback>> + 'a>>;
    /// Drives a parked saga.
    fn resume(&self, engine: &Arc<Engine>, turn: Box<dyn Any + Send>, input: Input) -> Boxed<Driven>;
}

/// Why a parked saga goes on.
#[derive(Debug)]
pub(crate) enum Input {
    /// Its timer.
    Timer,
    /// The signal that it waits for.
    Signal(Signal),
    /// Something came for it while it was busy: look whether it is what it waits for now.
    Look,
}

/// A saga that waits in memory. All of it is on disk.
pub(crate) struct Parked {
    pub(super) due_ms: i64,
    /// The name of the signal that it waits for.
    pub(super) awaits: Option<Arc<str>>,
    /// Of its row, as it is on disk.
    pub(super) version: i64,
    pub(super) saga: &'static str,
    pub(super) turn: Box<dyn Any + Send>,
}

/// How a drive ended.
#[derive(Debug)]
pub(crate) enum Driven {
    /// It waits.
    Parked(Parked),
    /// It ended, is stuck, is refused, or stands still because the engine stops.
    Gone,
    /// Somebody else changed its row: read it again.
    Moved,
    /// The lease is lost.
    Fenced,
    /// The database is closed.
    Closed,
}

/// Begins to drive a saga.
pub(super) fn begin(engine: &Arc<Engine>, id: Arc<str>, work: Work) -> Boxed<Driven> {
    let engine = engine.clone();
    match work {
        Work::Row(raw) => open(&engine, *raw, false),
        Work::Id { in_doubt } => Box::pin(async move {
            let raw =
                engine.shared.db.read(async move |tx: &mut ReadTx| journal::saga::live(tx, &id).await).await;
            match raw {
                Ok(Some(raw)) => open(&engine, raw, in_doubt).await,
                Ok(None) => Driven::Gone,
                Err(error) => {
                    // The safety poll finds it again.
                    tracing::warn!(%error, "a saga cannot be read now");
                    Driven::Gone
                }
            }
        }),
        Work::Parked(parked, input) => match engine.shared.definition(parked.saga) {
            Ok(definition) => definition.resume(&engine, parked.turn, input),
            Err(_) => Box::pin(std::future::ready(Driven::Gone)),
        },
    }
}

fn open(engine: &Arc<Engine>, raw: Raw, in_doubt: bool) -> Boxed<Driven> {
    match engine.shared.definition(&raw.saga) {
        Ok(definition) => definition.open(engine, raw, in_doubt),
        Err(_) => {
            let (engine, refusal) = (engine.clone(), Refusal::Undefined(raw.saga.clone()));
            Box::pin(async move { refuse(&engine, raw.seq, &raw.id, &raw.saga, &refusal).await })
        }
    }
}

impl<S: State> Runnable for Definition<S> {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn state_type(&self) -> TypeId {
        TypeId::of::<S>()
    }

    fn open(&self, engine: &Arc<Engine>, raw: Raw, in_doubt: bool) -> Boxed<Driven> {
        let job = Job { engine: engine.clone(), definition: self.clone() };
        let in_doubt = in_doubt || engine.is_in_doubt(&raw);
        match understood(&job, &raw, in_doubt) {
            Ok(turn) => Box::pin(drive(job, turn, Input::Look)),
            Err(refusal) => {
                Box::pin(async move { refuse(&job.engine, raw.seq, &raw.id, &raw.saga, &refusal).await })
            }
        }
    }

    fn ahead<'a>(
        &self,
        engine: &Arc<Engine>,
        tx: &'a mut Tx,
        raw: Raw,
        signal: Option<&'a Signal>,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Ahead>, Rollback>> + 'a>> {
        let job = Job { engine: engine.clone(), definition: self.clone() };
        Box::pin(async move { ahead::of(&job, tx, &raw, signal).await })
    }

    fn resume(&self, engine: &Arc<Engine>, turn: Box<dyn Any + Send>, input: Input) -> Boxed<Driven> {
        let job = Job { engine: engine.clone(), definition: self.clone() };
        match turn.downcast::<Turn<S>>() {
            Ok(turn) => Box::pin(drive(job, turn, input)),
            // Definitions are never replaced, so that the type is the one that was parked.
            Err(_) => Box::pin(std::future::ready(Driven::Gone)),
        }
    }
}

pub(super) fn understood<S: State>(job: &Job<S>, raw: &Raw, in_doubt: bool) -> Result<Box<Turn<S>>, Refusal> {
    let definition = &job.definition;
    let Loaded { progress, correlation } = load(raw, &definition.plan, &definition.fingerprint)?;
    let state = serde_json::from_str(&raw.state).map_err(|error| Refusal::State(error.to_string()))?;
    let mut turn = Box::new(Turn {
        seq: raw.seq,
        id: raw.id.clone(),
        version: raw.version,
        correlation,
        progress,
        state,
        note: None,
        entries: Vec::new(),
        consumed: Vec::new(),
        dirty: false,
        acted: Vec::new(),
    });
    if in_doubt {
        job.shared().metrics.recovered.with([definition.plan.name]).inc();
        job.recover(&mut turn).map_err(|illegal| Refusal::Defect(illegal.to_string()))?;
    }
    Ok(turn)
}

async fn drive<S: State>(job: Job<S>, turn: Box<Turn<S>>, input: Input) -> Driven {
    let (seq, id) = (turn.seq, turn.id.clone());
    match Drive::new(&job, turn).go(input).await {
        Ok(parked) => Driven::Parked(parked),
        Err(Ended::Gone) => Driven::Gone,
        Err(Ended::Moved) => Driven::Moved,
        Err(Ended::Fenced) => Driven::Fenced,
        Err(Ended::Closed) => Driven::Closed,
        Err(Ended::Refused(refusal)) => {
            refuse(&job.engine, seq, &id, job.definition.plan.name, &refusal).await
        }
    }
}

/// Marks a saga as refused. It stays as it is for a binary that understands it.
async fn refuse(engine: &Arc<Engine>, seq: i64, id: &Arc<str>, saga: &str, refusal: &Refusal) -> Driven {
    tracing::error!(saga, saga_id = %id, %refusal, "a saga is refused");
    engine.shared.metrics.refused.with([saga]).inc();
    let (now_ms, note, epoch) = (engine.shared.clock.unix_ms(), refusal.to_string(), engine.epoch);
    let written = engine
        .shared
        .db
        .write(async move |tx: &mut Tx| -> Result<(), crate::Error> {
            leeward_store::lease::check(tx, LEASE, epoch).await?;
            journal::saga::refuse(tx, seq, &note, now_ms).await
        })
        .await;
    match written {
        Ok(()) => Driven::Gone,
        Err(crate::Error::Store(error)) if error.kind() == Kind::Fenced => Driven::Fenced,
        Err(crate::Error::Store(error)) if error.kind() == Kind::Closed => Driven::Closed,
        Err(error) => {
            tracing::warn!(%error, "a refusal was not written; the next poll finds it again");
            Driven::Gone
        }
    }
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parked")
            .field("saga", &self.saga)
            .field("due_ms", &self.due_ms)
            .finish_non_exhaustive()
    }
}
