//! Named tasks with an owner and a stop order.
//!
//! Every task belongs to a [`Stage`]. [`Tasks::shutdown`] asks the stages to stop one after the other,
//! outermost first, so that no part is stopped while another still needs it: first nothing new comes in, then
//! what is in flight is served, then background work comes to rest, and the stores close last. The whole
//! takes no longer than the budget it is given; a task that does not come to rest in its share is aborted and
//! named in the [`StopReport`].
//!
//! A task that panics or ends with an error is logged with its name and nothing else happens, unless it was
//! spawned as critical: then [`Tasks::failure`] resolves, and whoever owns the process stops it.

mod end;
mod group;
mod report;
mod stage;
mod stop;

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::group::{Group, Seat};

pub use self::end::{Failure, TaskEnd};
pub use self::report::StopReport;
pub use self::stage::Stage;
pub use self::stop::{Stop, Stopper};

/// The owner of a process's (or a part's) tasks. A clone is another handle to the same tasks.
#[derive(Clone, Debug)]
pub struct Tasks {
    group: Arc<Group>,
    /// The first failure of a critical task, of this group or of any child.
    failure: watch::Sender<Option<Failure>>,
}

impl Tasks {
    /// An owner with no tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self { group: Group::root(), failure: watch::Sender::new(None) }
    }

    /// An owner inside this one, for a part that can be stopped alone, such as one service among several in a
    /// process.
    ///
    /// Its tasks' names start with `prefix.`, stopping the parent stops them too, each in its stage, and a
    /// failure of a critical task is the parent's as well.
    #[must_use]
    pub fn child(&self, prefix: &str) -> Self {
        Self { group: Group::child(&self.group, prefix), failure: self.failure.clone() }
    }

    /// Starts a task on the current tokio runtime.
    ///
    /// `body` receives the [`Stop`] of the task's stage and should return soon after it is requested. The
    /// task may return `()` or a `Result` whose error is displayed in the log. A task for a stage that has
    /// already stopped is not started.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn<F, Fut>(&self, stage: Stage, name: impl Into<Cow<'static, str>>, body: F)
    where
        F: FnOnce(Stop) -> Fut,
        Fut: Future + Send + 'static,
        Fut::Output: TaskEnd,
    {
        self.start(stage, name.into(), body, None);
    }

    /// Starts a task without which the process is of no use: if it ends before it was asked to, for whatever
    /// reason, [`Tasks::failure`] resolves.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn_critical<F, Fut>(&self, stage: Stage, name: impl Into<Cow<'static, str>>, body: F)
    where
        F: FnOnce(Stop) -> Fut,
        Fut: Future + Send + 'static,
        Fut::Output: TaskEnd,
    {
        self.start(stage, name.into(), body, Some(self.failure.clone()));
    }

    /// Takes part in the stop order from outside tokio tasks: a thread, or a runtime of its own.
    ///
    /// The stage counts as stopped only once the [`Hold`] is dropped. It cannot be aborted, so a holder that
    /// ignores its stop is abandoned when the stage's share of the budget is over.
    #[must_use]
    pub fn hold(&self, stage: Stage, name: impl Into<Cow<'static, str>>) -> Hold {
        let stop = self.group.stop(stage);
        Hold { seat: Group::take_seat(&self.group, stage, &name.into()), stop }
    }

    /// The stop of a stage, for code that runs inside another task.
    #[must_use]
    pub fn stop(&self, stage: Stage) -> Stop {
        self.group.stop(stage)
    }

    /// Resolves once a critical task has ended before it was asked to.
    ///
    /// # Cancel safety
    /// Safe: a failure is kept, and every later call returns it at once.
    pub async fn failure(&self) -> Failure {
        let mut failures = self.failure.subscribe();
        loop {
            if let Some(failure) = failures.borrow_and_update().clone() {
                return failure;
            }
            if failures.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The names of the tasks that run now, in their stop order.
    #[must_use]
    pub fn running(&self) -> Vec<String> {
        Stage::ALL.into_iter().flat_map(|stage| self.group.names(stage)).collect()
    }

    /// Stops everything, stage by stage, within `budget`.
    ///
    /// A stage may use what is left of the budget except for an eighth of the whole for each later stage that
    /// has tasks, so that one stuck task cannot take the stores' time to close. What is still running then is
    /// aborted. Calling it again is harmless.
    ///
    /// # Cancel safety
    /// Not safe: a cancelled shutdown leaves later stages running.
    pub async fn shutdown(&self, budget: Duration) -> StopReport {
        let end = tokio::time::Instant::now() + budget;
        let mut report = StopReport::default();
        for stage in Stage::ALL {
            let later = stage.later().filter(|stage| self.group.is_busy(*stage)).count();
            let reserve = budget / 8 * u32::try_from(later).unwrap_or(u32::MAX);
            self.group.stop_stage(stage, end.checked_sub(reserve).unwrap_or(end), &mut report).await;
        }
        report
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that gives tasks their name, owner and stop order"
    )]
    fn start<F, Fut>(
        &self,
        stage: Stage,
        name: Cow<'static, str>,
        body: F,
        failure: Option<watch::Sender<Option<Failure>>>,
    ) where
        F: FnOnce(Stop) -> Fut,
        Fut: Future + Send + 'static,
        Fut::Output: TaskEnd,
    {
        let Some(seat) = Group::take_open_seat(&self.group, stage, &name) else {
            tracing::debug!(task = %name, stage = stage.as_str(), "not started: its stage has stopped");
            return;
        };
        let stop = self.group.stop(stage);
        let task = end::supervised(seat.clone(), stop.clone(), failure, body(stop));
        let handle = tokio::spawn(task);
        seat.abort_with(handle.abort_handle());
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

/// A place in the stop order held by something that is not a tokio task. See [`Tasks::hold`].
#[derive(Debug)]
pub struct Hold {
    #[expect(dead_code, reason = "dropping it gives the place back")]
    seat: Arc<Seat>,
    stop: Stop,
}

impl Hold {
    /// The stop of the held stage.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }
}
