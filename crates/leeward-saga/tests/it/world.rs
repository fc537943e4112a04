//! An engine over a database, with a clock that stands still until a test moves it.

use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::{FastRng, ManualClock};
use leeward_runtime::{Stop, Stopper};
use leeward_saga::operator::Detail;
use leeward_saga::{Action, Definition, Error, Options, Outcome, Sagas, State, Status, StepCx};
use leeward_store::{Db, Tx};
use leeward_telemetry::Correlation;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

/// A state that remembers which steps it came through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trip {
    pub(crate) seen: Vec<String>,
}

/// A step that notes itself in the state.
pub(crate) fn note(cx: &StepCx, mut trip: Trip) -> Outcome<Trip> {
    trip.seen.push(cx.key().split_once('/').unwrap().1.to_owned());
    Outcome::Done(trip)
}

pub(crate) fn noted() -> Action<Trip> {
    Action::call(async |cx: StepCx, trip| note(&cx, trip))
}

/// One life of a process.
pub(crate) struct Life {
    pub(crate) sagas: Sagas,
    pub(crate) db: Db,
    pub(crate) clock: ManualClock,
    engine: Option<(Stopper, JoinHandle<Result<(), Error>>)>,
}

impl Life {
    pub(crate) async fn begin(url: &str, clock: &ManualClock) -> Self {
        Self::with(url, clock, Options::default()).await
    }

    pub(crate) async fn with(url: &str, clock: &ManualClock, options: Options) -> Self {
        let db = Db::open(url, leeward_store::Options::default()).await.unwrap();
        Self::over(db, clock, options).await
    }

    /// Another handle over an open database.
    pub(crate) async fn over(db: Db, clock: &ManualClock, options: Options) -> Self {
        let sagas = Sagas::new(db.clone(), Arc::new(clock.clone()), Arc::new(FastRng::seeded(7)), options);
        sagas.migrate().await.unwrap();
        Self { sagas, db, clock: clock.clone(), engine: None }
    }

    pub(crate) fn knows<S: State>(self, definition: Definition<S>) -> Self {
        self.sagas.register(definition).unwrap();
        self
    }

    /// Starts the engine and waits until it has the lease.
    pub(crate) async fn run(self) -> Self {
        let life = self.spawn();
        leeward_saga::testing::settle(&life.sagas).await;
        life
    }

    /// Starts the engine.
    pub(crate) fn spawn(mut self) -> Self {
        let (stopper, stop) = Stop::manual();
        let sagas = self.sagas.clone();
        #[expect(clippy::disallowed_methods, reason = "a test owns its task and ends it")]
        let engine = tokio::spawn(async move { sagas.run(stop).await });
        self.engine = Some((stopper, engine));
        self
    }

    pub(crate) async fn start<S: State>(&self, saga: &'static str, id: &'static str, state: S) {
        let sagas = self.sagas.clone();
        let start = async move |tx: &mut Tx| sagas.start(tx, saga, id, &state, &work()).await.map(drop);
        self.db.write(start).await.unwrap();
    }

    pub(crate) async fn signal(
        &self,
        id: &'static str,
        signal_id: &'static str,
        name: &'static str,
        payload: &'static str,
    ) {
        let sagas = self.sagas.clone();
        let signal = async move |tx: &mut Tx| {
            sagas.signal(tx, id, signal_id, name, payload.as_bytes()).await.map(drop)
        };
        self.db.write(signal).await.unwrap();
    }

    /// Waits until the engine has nothing to do, then looks.
    pub(crate) async fn look(&self, id: &str) -> Detail {
        leeward_saga::testing::settle(&self.sagas).await;
        self.sagas.show(id).await.unwrap()
    }

    /// Moves the time on, and lets the engine do what is due.
    pub(crate) async fn pass(&self, time: Duration) {
        leeward_saga::testing::settle(&self.sagas).await;
        self.clock.advance(time);
        leeward_saga::testing::settle(&self.sagas).await;
    }

    /// Lets timers fire, one after the other, until the saga is in this state.
    pub(crate) async fn until(&self, id: &str, status: Status) -> Detail {
        for _ in 0..200 {
            let due_in = leeward_saga::testing::settle(&self.sagas).await;
            let detail = self.sagas.show(id).await.unwrap();
            if detail.summary.status == status {
                return detail;
            }
            match due_in {
                Some(due_in) => self.clock.advance(due_in),
                None => panic!("it stays {}: {detail:#?}", detail.summary.status),
            }
        }
        panic!("it never becomes {status}");
    }

    /// The engine's end, without a stop.
    pub(crate) async fn ended(&mut self) -> Result<(), Error> {
        let engine = self.engine.take().unwrap().1;
        tokio::time::timeout(Duration::from_secs(10), engine).await.expect("the engine goes on").unwrap()
    }

    /// An orderly stop of the engine.
    pub(crate) async fn halt(&mut self) {
        let (stopper, engine) = self.engine.take().unwrap();
        stopper.request();
        engine.await.unwrap().unwrap();
    }

    /// An orderly stop of the process.
    pub(crate) async fn stop(mut self) {
        self.halt().await;
        self.db.close().await;
    }

    /// The process dies.
    pub(crate) async fn crash(mut self) {
        let (_stopper, engine) = self.engine.take().unwrap();
        engine.abort();
        assert!(engine.await.unwrap_err().is_cancelled());
        self.db.close().await;
    }
}

pub(crate) fn work() -> Correlation {
    Correlation::new_root(&FastRng::seeded(1))
}

/// A database file in a folder that goes with it.
pub(crate) struct File(tempfile::TempDir);

impl File {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.0.path().join("sagas.db").display())
    }
}

pub(crate) fn events(detail: &Detail) -> Vec<String> {
    let text = |entry: &leeward_saga::Entry| {
        let undo = if entry.undo { "undo " } else { "" };
        format!("{undo}{} {}", entry.step.as_deref().unwrap_or("-"), entry.event)
    };
    detail.history.iter().map(text).collect()
}

pub(crate) fn state(detail: &Detail) -> Trip {
    serde_json::from_str(detail.state.get()).unwrap()
}
