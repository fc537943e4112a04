use std::fmt::{self, Display};
use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

use super::group::Seat;
use super::stop::Stop;
use crate::panics::unpanicked;

/// What a task may return: nothing, or a result whose error is worth a line in the log.
pub trait TaskEnd: Send {
    /// The reason to log, if the task failed.
    fn failure(self) -> Option<String>;
}

impl TaskEnd for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Display + Send> TaskEnd for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// Why a critical task ended before it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The task's full name.
    pub task: String,
    /// Its panic message, its error, or that it simply returned.
    pub reason: String,
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}: {}", self.task, self.reason)
    }
}

impl std::error::Error for Failure {}

/// The task as tokio sees it: the body, and what its end means.
pub(super) async fn supervised<Fut>(
    seat: Arc<Seat>,
    stop: Stop,
    failure: Option<watch::Sender<Option<Failure>>>,
    body: Fut,
) where
    Fut: Future,
    Fut::Output: TaskEnd,
{
    let end = unpanicked(body).await;
    let name = seat.name();
    let reason = match end {
        Err(panic) => {
            tracing::error!(task = name, panic = %panic, "task panicked");
            Some(format!("panicked: {panic}"))
        }
        Ok(end) => {
            end.failure().inspect(|reason| tracing::error!(task = name, error = %reason, "task failed"))
        }
    };
    let Some(failure) = failure else { return };
    // Asked to stop and returned in peace is the one good end of a critical task.
    if reason.is_none() && stop.is_requested() {
        return;
    }
    let reason = reason.unwrap_or_else(|| "returned before it was asked to stop".to_owned());
    failure.send_if_modified(|first| {
        let is_first = first.is_none();
        first.get_or_insert_with(|| Failure { task: name.to_owned(), reason });
        is_first
    });
}
