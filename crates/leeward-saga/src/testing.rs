//! Exhaustive crash tests of a user's saga, in one call.
//!
//! ```
//! # use std::sync::Arc;
//! # use leeward_saga::{Action, Definition, Outcome, Undo};
//! # use leeward_saga::testing::{self, Finished, World};
//! # struct Shop;
//! # impl World for Shop {
//! #     type State = u32;
//! #     fn definition(self: &Arc<Self>) -> Definition<u32> {
//! #         let nothing = || Action::call(async |_cx, state: u32| Outcome::Done(state));
//! #         let undo = Undo::call(async |_cx, state| Outcome::Done(state));
//! #         Definition::builder("shop").step("reserve", nothing(), undo).pivot("pay", nothing()).build().unwrap()
//! #     }
//! #     fn state(&self) -> u32 { 0 }
//! #     async fn check(&self, _end: &Finished<u32>, _db: &leeward_store::Db) -> Result<(), String> { Ok(()) }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let report = testing::exhaust(|| Shop).await.unwrap();
//! assert!(report.crashes > 5);
//! # }
//! ```
//!
//! A [`World`] is what the saga acts on: fakes of its participants, which live on when the process dies. [`exhaust`] runs the saga
//! in a fresh world for each of these scenarios, over a real database file that is closed and opened again after a crash:
//!
//! - for every step, every undo, and the hook at the end: the process dies before the effect, after the effect, after the commit;
//! - for every step and undo: it is rejected, fails in passing, its outcome is unknown without the effect, its outcome is unknown with
//!   the effect. A saga that gets stuck by it is retried once by the operator.
//!
//! After each it asserts that the saga ended the way it must, that all attempts of a step had one key, that undos ran in the reverse
//! order and none after the pivot was done, and asks the world for its own books ([`World::check`]). Time is virtual: timers fire as
//! soon as nothing else can happen.

mod faults;
mod life;
mod scenario;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use leeward_store::Db;

use crate::definition::{Definition, State};
use crate::outcome::Reason;
use crate::sagas::Sagas;
use crate::status::Status;

/// What a saga is tested in: the participants, faked, and what must hold in the end.
pub trait World: Send + Sync + Sized + 'static {
    /// The saga's state.
    type State: State;

    /// The definition under test, with actions that act on this world. It is made anew for each life of the process.
    fn definition(self: &Arc<Self>) -> Definition<Self::State>;

    /// The state that a saga starts with.
    fn state(&self) -> Self::State;

    /// Makes the tables that the saga's own steps need.
    fn migrate(&self, db: &Db) -> impl Future<Output = Result<(), leeward_store::Error>> + Send {
        let _ = db;
        async { Ok(()) }
    }

    /// Delivers what the saga has sent, such as commands in its outbox, and the replies and signals to it. It is called
    /// whenever the engine has nothing to do.
    fn deliver(&self, sagas: &Sagas, db: &Db) -> impl Future<Output = ()> + Send {
        let _ = (sagas, db);
        async {}
    }

    /// Compares the world's books with how the saga ended: completed is every effect once, compensated is none left.
    fn check(&self, end: &Finished<Self::State>, db: &Db) -> impl Future<Output = Result<(), String>> + Send;
}

/// How the saga ended in a scenario.
#[derive(Clone, Debug)]
pub struct Finished<S> {
    /// The scenario, in words.
    pub scenario: String,
    /// Completed or compensated.
    pub status: Status,
    /// Why it compensated.
    pub reason: Option<Reason>,
    /// Its last state.
    pub state: S,
}

/// What was run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Scenarios in which the process died.
    pub crashes: usize,
    /// Scenarios in which a step came to something else than done.
    pub outcomes: usize,
}

/// Everything that went wrong.
#[derive(Clone, Debug)]
pub struct Failures {
    /// One for each scenario that failed.
    pub failures: Vec<Failure>,
    /// What was run.
    pub report: Report,
}

/// A scenario that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The scenario, in words.
    pub scenario: String,
    /// What was wrong, and the saga's history.
    pub problem: String,
}

/// Runs the saga of `world` through every scenario, each in a world of its own.
///
/// # Errors
/// [`Failures`] with all scenarios that did not end as they must.
pub async fn exhaust<W: World>(world: impl Fn() -> W) -> Result<Report, Failures> {
    let mut report = Report::default();
    let mut failures = Vec::new();
    let plan = Arc::new(world()).definition().plan().clone();
    for scenario in scenario::all(&plan) {
        report.crashes += usize::from(scenario.is_crash());
        report.outcomes += usize::from(scenario.is_outcome());
        if let Err(problem) = Box::pin(life::run(Arc::new(world()), &plan, &scenario)).await {
            failures.push(Failure { scenario: scenario.to_string(), problem });
        }
    }
    if failures.is_empty() { Ok(report) } else { Err(Failures { failures, report }) }
}

/// Lets the engine of `sagas` look at everything, waits until it has nothing to do, and gives the time until its next timer, for tests on
/// a [`ManualClock`](leeward_resilience::ManualClock) of their own. The engine must be [running](Sagas::run).
pub async fn settle(sagas: &Sagas) -> Option<Duration> {
    let due_ms = sagas.shared.pulse.settled().await?;
    let ms = due_ms.saturating_sub(sagas.shared.clock.unix_ms()).max(0);
    Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} scenarios failed",
            self.failures.len(),
            self.report.crashes + self.report.outcomes + 2
        )?;
        for Failure { scenario, problem } in &self.failures {
            write!(f, "\n- {scenario}: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failures {}
