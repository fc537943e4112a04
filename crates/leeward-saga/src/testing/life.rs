//! One scenario: a world, a database file, and one or two lives of the process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::{Clock, FastRng, ManualClock};
use leeward_runtime::Stop;
use leeward_store::{Db, Tx};
use leeward_telemetry::Correlation;

use super::faults::{Watcher, watched};
use super::scenario::Scenario;
use super::{Finished, World};
use crate::error::Error;
use crate::operator::Detail;
use crate::options::Options;
use crate::plan::{Kind, Plan};
use crate::sagas::Sagas;
use crate::status::Status;

/// The id of the saga under test.
const ID: &str = "testing-1";

/// Rounds of settling, delivering and waiting after which a saga is taken to go in circles.
const ROUNDS_MAX: usize = 500;

/// Lives of the process in one scenario: one crash, so that there are two, and one more to see that there are not.
const LIVES_MAX: usize = 3;

/// How long one life may take in real time: the net under an engine that hangs.
const LIFE_MAX: Duration = Duration::from_secs(30);

/// Runs a scenario to its end, and says what was wrong.
pub(super) async fn run<W: World>(world: Arc<W>, plan: &Plan, scenario: &Scenario) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let stage = Stage {
        world,
        watcher: Watcher::new(plan, scenario),
        clock: ManualClock::new(),
        plan: plan.clone(),
        scenario: scenario.clone(),
    };
    for _ in 0..LIVES_MAX {
        let life = tokio::time::timeout(LIFE_MAX, stage.live(folder.path())).await;
        match life.map_err(|_| "the engine hangs".to_owned())?? {
            Life::Died => {}
            Life::Over => return Ok(()),
        }
    }
    Err("the process died more than once".to_owned())
}

enum Life {
    Died,
    Over,
}

struct Stage<W> {
    world: Arc<W>,
    watcher: Arc<Watcher>,
    clock: ManualClock,
    plan: Plan,
    scenario: Scenario,
}

impl<W: World> Stage<W> {
    /// One life of the process, from opening the database to the end of the saga or the crash.
    async fn live(&self, folder: &Path) -> Result<Life, String> {
        let url = format!("sqlite:{}", folder.join("testing.db").display());
        let db = Db::open(&url, leeward_store::Options::default()).await.map_err(text)?;
        let (clock, rng) = (Arc::new(self.clock.clone()), Arc::new(FastRng::seeded(1)));
        let sagas = Sagas::new(db.clone(), clock, rng, Options::default());
        sagas.migrate().await.map_err(text)?;
        self.world.migrate(&db).await.map_err(text)?;
        sagas.register(watched(&self.world.definition(), &self.watcher)).map_err(text)?;
        sagas.shared.pulse.set_probe(self.watcher.clone());
        self.start(&sagas, &db).await?;
        let life = tokio::select! {
            ended = sagas.run(Stop::never()) => Err(format!("the engine ended: {ended:?}")),
            () = self.watcher.died.notified() => Ok(Life::Died),
            over = self.to_the_end(&sagas, &db) => over.map(|()| Life::Over),
        };
        // The engine is dropped with whatever was under way. What it had queued for the database may still be written, as in a crash.
        db.close().await;
        life
    }

    async fn start(&self, sagas: &Sagas, db: &Db) -> Result<(), String> {
        let (sagas, state, name) = (sagas.clone(), self.world.state(), self.plan.name);
        let started = db.write(async move |tx: &mut Tx| {
            let work = Correlation::new_root(&FastRng::seeded(1));
            sagas.start(tx, name, ID, &state, &work).await.map(drop)
        });
        started.await.map_err(|error: Error| text(error))
    }

    /// Lets the saga go on until it has ended, then checks everything.
    async fn to_the_end(&self, sagas: &Sagas, db: &Db) -> Result<(), String> {
        let mut retried = false;
        for _ in 0..ROUNDS_MAX {
            let due_ms = sagas.shared.pulse.settled().await;
            let before = db.stats().transactions;
            self.answer(sagas, db).await?;
            self.world.deliver(sagas, db).await;
            if db.stats().transactions != before {
                continue;
            }
            let detail = sagas.show(ID).await.map_err(text)?;
            match detail.summary.status {
                Status::Completed | Status::Compensated => return self.check(&detail, db).await,
                Status::Stuck if !retried => {
                    retried = true;
                    sagas.retry(ID).await.map_err(text)?;
                }
                Status::Stuck | Status::Refused => return Err(wrong("it is held up", &detail)),
                Status::Running | Status::Waiting | Status::Compensating => match due_ms {
                    Some(due_ms) => self.wait_until(due_ms),
                    None => return Err(wrong("it stands still", &detail)),
                },
            }
        }
        let detail = sagas.show(ID).await.map_err(text)?;
        Err(wrong("it goes in circles", &detail))
    }

    fn wait_until(&self, due_ms: i64) {
        let ms = due_ms.saturating_sub(self.clock.unix_ms()).max(1);
        self.clock.advance(Duration::from_millis(u64::try_from(ms).unwrap_or(1)));
    }

    /// Answers the commands that the test has kept from going out.
    async fn answer(&self, sagas: &Sagas, db: &Db) -> Result<(), String> {
        let unanswered = std::mem::take(&mut self.watcher.seen.lock().unanswered);
        for key in unanswered {
            let (sagas, id) = (sagas.clone(), self.watcher.reply_id(&key));
            let reply =
                db.write(async move |tx: &mut Tx| sagas.reply(tx, &key, &id, b"null").await.map(drop));
            reply.await.map_err(|error: Error| text(error))?;
        }
        Ok(())
    }

    async fn check(&self, detail: &Detail, db: &Db) -> Result<(), String> {
        let status = detail.summary.status;
        if !self.watcher.has_struck() {
            return Err(wrong("the trouble never came", detail));
        }
        if status != self.scenario.expected {
            return Err(wrong(&format!("it is {status} and must be {}", self.scenario.expected), detail));
        }
        self.check_keys().and_then(|()| self.check_order()).map_err(|problem| wrong(&problem, detail))?;
        let state = serde_json::from_str(detail.state.get()).map_err(text)?;
        let reason = detail.reason.clone();
        let finished = Finished { scenario: self.scenario.to_string(), status, reason, state };
        self.world.check(&finished, db).await.map_err(|problem| wrong(&problem, detail))
    }

    /// One key for all attempts of a step, but for the attempt after a refusal that an operator wanted tried again.
    fn check_keys(&self) -> Result<(), String> {
        let seen = self.watcher.seen.lock();
        for (&(step, undo), keys) in &seen.keys {
            let refused = self.scenario.is_refusal_of(step, undo);
            if keys.len()
                != 1 + usize::from(refused && (undo || self.plan.steps[step].kind == Kind::Retriable))
            {
                return Err(format!("`{}` was called with the keys {keys:?}", self.plan.steps[step].name));
            }
        }
        Ok(())
    }

    /// Actions in order, undos in the reverse order and never of a step that was not begun, none once the saga completed.
    fn check_order(&self) -> Result<(), String> {
        let seen = self.watcher.seen.lock();
        let actions: Vec<_> = seen.order.iter().filter(|(_, undo)| !undo).map(|(step, _)| *step).collect();
        let undos: Vec<_> = seen.order.iter().filter(|(_, undo)| *undo).map(|(step, _)| *step).collect();
        if !actions.is_sorted() {
            return Err(format!("the actions ran in the order {actions:?}"));
        }
        if !undos.iter().rev().is_sorted() || undos.iter().any(|step| !actions.contains(step)) {
            return Err(format!("after the actions {actions:?} the undos ran in the order {undos:?}"));
        }
        if self.scenario.expected == Status::Completed && !undos.is_empty() {
            return Err(format!("it completed, and yet undid {undos:?}"));
        }
        Ok(())
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn wrong(problem: &str, detail: &Detail) -> String {
    use std::fmt::Write as _;
    let mut text = format!("{problem}; its note is {:?}, its history:", detail.summary.note);
    for entry in &detail.history {
        let undo = if entry.undo { " undo" } else { "" };
        let step = entry.step.as_deref().unwrap_or("-");
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n    {step}{undo} #{} {} {}",
            entry.attempt,
            entry.event,
            entry.detail.as_deref().unwrap_or("")
        );
    }
    text
}
