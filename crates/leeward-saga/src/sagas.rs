//! The handle: define, start, signal, run.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use leeward_resilience::{Clock, Rng};
use leeward_runtime::Stop;
use leeward_store::{Db, Tx};
use leeward_telemetry::Correlation;
use parking_lot::{Mutex, RwLock};

use crate::decide::{Moment, Progress};
use crate::definition::{Definition, State};
use crate::error::Error;
use crate::executor::{self, Engine, Mail, Pulse, Runnable};
use crate::journal::saga::New;
use crate::journal::{self, COMPONENT, Entry, MIGRATIONS, stored};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::step::{Signal, is_id, split_key};

/// The sagas of one service. A clone is another handle to the same engine.
#[derive(Clone, Debug)]
pub struct Sagas {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) options: Options,
    pub(crate) metrics: Metrics,
    pub(crate) definitions: RwLock<BTreeMap<&'static str, Arc<dyn Runnable>>>,
    pub(crate) pulse: Pulse,
    /// The engine of this process while it holds the lease.
    pub(crate) engine: RwLock<Weak<Engine>>,
    /// What the engine is to know.
    pub(crate) mail: Mutex<Mail>,
}

/// Largest state and largest signal payload, in bytes: rows are read and written whole.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// The topics of the database's wake-ups: a saga was started, a signal stored, an operator decided.
pub(crate) const STARTED_TOPIC: &str = "leeward.sagas.started";
pub(crate) const SIGNALLED_TOPIC: &str = "leeward.sagas.signalled";
pub(crate) const DECIDED_TOPIC: &str = "leeward.sagas.decided";

/// Whether a saga was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Started {
    /// It is now.
    New,
    /// There is a saga of this id already, whatever its definition and state; nothing was changed.
    Existing,
}

/// Whether a signal was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signalled {
    /// It is now.
    Stored,
    /// There is a signal of this id for this saga already; nothing was changed.
    Duplicate,
}

impl Sagas {
    /// A handle over the service's database. Nothing runs yet.
    #[must_use]
    pub fn new(db: Db, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>, options: Options) -> Self {
        let options = options.clamped();
        let metrics = Metrics::new(&options.registry);
        let (definitions, pulse) = (RwLock::default(), Pulse::default());
        let (engine, mail) = (RwLock::default(), Mutex::default());
        Self {
            shared: Arc::new(Shared { db, clock, rng, options, metrics, definitions, pulse, engine, mail }),
        }
    }

    /// Makes or updates the engine's tables.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn migrate(&self) -> Result<(), Error> {
        Ok(self.shared.db.migrate(COMPONENT, MIGRATIONS).await?)
    }

    /// Makes a definition known. Register all before [`run`](Self::run): a saga whose definition is not known is refused.
    ///
    /// # Errors
    /// [`Error::Redefined`].
    pub fn register<S: State>(&self, definition: Definition<S>) -> Result<(), Error> {
        let name = definition.plan.name;
        let mut definitions = self.shared.definitions.write();
        if definitions.contains_key(name) {
            return Err(Error::Redefined(name));
        }
        definitions.insert(name, Arc::new(definition));
        Ok(())
    }

    /// Starts the saga `saga` under the id `saga_id`, in the caller's transaction: both commit or neither. The engine begins as soon
    /// as it has committed; where it runs in this process, the steps before the first outside call are part of the transaction.
    ///
    /// # Errors
    /// [`Error::Undefined`], [`Error::StateType`], [`Error::Id`], [`Error::TooLarge`], [`Error::Encode`] before anything was written;
    /// what the database reports.
    pub async fn start<S: State>(
        &self,
        tx: &mut Tx,
        saga: &str,
        saga_id: &str,
        state: &S,
        correlation: &Correlation,
    ) -> Result<Started, Error> {
        let definition = self.shared.definition(saga)?;
        if definition.state_type() != TypeId::of::<S>() {
            return Err(Error::StateType(saga.to_owned()));
        }
        if !is_id(saga_id) {
            return Err(Error::Id(saga_id.to_owned()));
        }
        let encode = |error: serde_json::Error| Error::Encode(error.to_string());
        let state = serde_json::to_string(state).map_err(encode)?;
        fits("a state", state.len())?;
        let (plan, at) = (definition.plan(), self.shared.moment());
        let new = New {
            id: saga_id,
            saga: plan.name,
            fingerprint: definition.fingerprint(),
            step: plan.steps.first().map(|step| step.name),
            progress: &stored::encode(plan, &Progress::start(at)).map_err(encode)?,
            state: &state,
            correlation: &stored::encode_correlation(correlation).map_err(encode)?,
            history: &journal::history::encode(at.now_ms, &[Entry::new("started")]).map_err(encode)?,
            now_ms: at.now_ms,
        };
        if !journal::saga::insert(tx, &new).await? {
            return Ok(Started::Existing);
        }
        if !executor::take_ahead(&self.shared, tx, saga_id, None).await {
            tx.wake(STARTED_TOPIC);
        }
        let (shared, name) = (self.shared.clone(), plan.name);
        tx.on_commit(move || shared.metrics.started.with([name]).inc());
        Ok(Started::New)
    }

    /// Tells the saga `saga_id` something, in the caller's transaction. It is stored until a step takes it, also when the saga does not
    /// wait for it yet or does not exist yet. The same `signal_id` twice is one signal. Where the engine runs in this process and the saga
    /// waits for it, what it comes to and the steps before the next outside call are part of the transaction; if one of them fails, only
    /// the signal is stored, and the engine goes on from there.
    ///
    /// # Errors
    /// [`Error::Id`], [`Error::TooLarge`]; what the database reports.
    pub async fn signal(
        &self,
        tx: &mut Tx,
        saga_id: &str,
        signal_id: &str,
        name: &str,
        payload: &[u8],
    ) -> Result<Signalled, Error> {
        for id in [saga_id, signal_id] {
            if !is_id(id) {
                return Err(Error::Id(id.to_owned()));
            }
        }
        fits("a payload", payload.len())?;
        let received_ms = self.shared.clock.unix_ms();
        let signal = Signal { id: signal_id.into(), name: name.into(), payload: payload.into(), received_ms };
        if !journal::signals::insert(tx, saga_id, &signal).await? {
            return Ok(Signalled::Duplicate);
        }
        if !executor::take_ahead(&self.shared, tx, saga_id, Some(&signal)).await {
            tx.wake(SIGNALLED_TOPIC);
        }
        Ok(Signalled::Stored)
    }

    /// Hands over the reply to the command that went out under `key` ([`StepCx::key`](crate::StepCx::key)), in the caller's
    /// transaction: a [`signal`](Self::signal) to the saga and step that the key names.
    ///
    /// # Errors
    /// [`Error::Key`] when it is no such key; those of [`signal`](Self::signal).
    pub async fn reply(
        &self,
        tx: &mut Tx,
        key: &str,
        reply_id: &str,
        payload: &[u8],
    ) -> Result<Signalled, Error> {
        let (saga_id, name) = split_key(key).ok_or_else(|| Error::Key(key.to_owned()))?;
        self.signal(tx, saga_id, reply_id, name, payload).await
    }

    /// Runs the engine until `stop`: takes the lease, recovers what was under way page by page, and goes on with whatever becomes due.
    ///
    /// One engine at a time has the sagas; a second one of another [owner](Options::owner) waits for its lease.
    ///
    /// # Errors
    /// [`Error::TakenOver`] when another engine of the same owner took the lease; what the database reports when it cannot be
    /// used at all. A saga that fails, whatever way, is its own affair and ends nothing.
    ///
    /// # Cancel safety
    /// Dropping the future is a crash: what was under way is reconciled by the next run.
    pub async fn run(&self, stop: Stop) -> Result<(), Error> {
        executor::run(&self.shared, &stop).await
    }
}

impl Shared {
    pub(crate) fn definition(&self, saga: &str) -> Result<Arc<dyn Runnable>, Error> {
        self.definitions.read().get(saga).cloned().ok_or_else(|| Error::Undefined(saga.to_owned()))
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { now_ms: self.clock.unix_ms(), jitter: self.rng.unit_f64() }
    }
}

fn fits(what: &'static str, bytes: usize) -> Result<(), Error> {
    if bytes > PAYLOAD_BYTES_MAX {
        return Err(Error::TooLarge { what, bytes, max: PAYLOAD_BYTES_MAX });
    }
    Ok(())
}
