//! The file read again: what comes of it is logged, counted, and shown in the health.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use leeward_runtime::Stop;
use leeward_runtime::config::Problems;
use parking_lot::Mutex;

use super::source::{BoxError, Stamp};
use super::{Changes, Reloader};
use crate::gateway::Error;

/// How often it is looked whether tables can be dropped.
const RETIRE_EVERY: Duration = Duration::from_millis(500);

/// Who asks for the file to be read again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The file is another one.
    File,
    /// SIGHUP.
    Hangup,
    /// An operator, over the admin API.
    Operator,
}

impl Cause {
    /// As metrics and logs have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Hangup => "hangup",
            Self::Operator => "operator",
        }
    }
}

/// Why the configuration before stays in force.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no file.
    #[error("this gateway was not started from a file: there is nothing to read again")]
    NoSource,
    /// The file cannot be read, or has mistakes.
    #[error("{0}")]
    Unreadable(BoxError),
    /// The configuration is good, and this gateway cannot have it.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The reading was given up: the process ends.
    #[error("the gateway is stopping")]
    Stopping,
}

impl Failure {
    /// The mistakes of the file, where these are why.
    #[must_use]
    pub fn mistakes(&self) -> Option<&Problems> {
        match self {
            Self::Unreadable(error) => error.downcast_ref(),
            _ => None,
        }
    }
}

/// Why the file on disk is not in force, while it is not.
#[derive(Default, Debug)]
pub(crate) struct Refused(Mutex<Option<Arc<str>>>);

impl Refused {
    pub(crate) fn why(&self) -> Option<Arc<str>> {
        self.0.lock().clone()
    }

    fn set(&self, why: Option<Arc<str>>) {
        *self.0.lock() = why;
    }
}

impl Reloader {
    /// Reads the file again and puts it into force. Blocks the thread for as long as that takes.
    fn again(&self, cause: Cause) -> Result<Changes, Failure> {
        let source = self.source.as_ref().ok_or(Failure::NoSource)?;
        // What was read later is put into force later.
        let _one_at_a_time = self.reading.lock();
        // Noted first: a change while it is read is another one.
        *self.read.lock() = Some(Stamp::at(source.path()));
        let read = source.read().map_err(Failure::Unreadable);
        let done = read.and_then(|config| Ok(self.reload(config)?));
        self.note(cause, source.path().display(), &done);
        done
    }

    fn note(&self, cause: Cause, file: impl fmt::Display, done: &Result<Changes, Failure>) {
        let metrics = &self.lasting.metrics;
        let cause = cause.as_str();
        metrics.reloads.with([cause, if done.is_ok() { "taken" } else { "refused" }]).inc();
        metrics.config_refused.set(i64::from(done.is_err()));
        self.lasting.refused.set(done.as_ref().err().map(|failure| failure.to_string().into()));
        match done {
            Ok(changes) => tracing::info!(
                cause, %file, epoch = changes.epoch,
                routes_added = changes.routes.added.len(), routes_removed = changes.routes.removed.len(),
                routes_changed = changes.routes.changed.len(), "another configuration is in force"
            ),
            Err(failure) => {
                tracing::error!(cause, %file, "the configuration before stays in force: {failure}");
            }
        }
    }
}

/// Reads the file again, beside whatever else its caller's runtime does.
///
/// # Cancel safety
/// What was begun is done to its end.
pub(crate) async fn again(reloader: &Arc<Reloader>, cause: Cause) -> Result<Changes, Failure> {
    let reloader = Arc::clone(reloader);
    tokio::task::spawn_blocking(move || reloader.again(cause)).await.unwrap_or(Err(Failure::Stopping))
}

/// Reads the file whenever it is another one, until `stop`. What was read at somebody's word is not read again.
pub(crate) async fn follow_file(reloader: Arc<Reloader>, stop: Stop) {
    let Some(mut watch) = reloader.source.as_ref().map(super::Source::watch) else { return };
    while stop.or(watch.changed_unseen(|| reloader.seen())).await.is_some() {
        // What comes of it is noted there.
        let _noted = again(&reloader, Cause::File).await;
    }
}

/// Drops the tables of configurations that are not in force any more, once no core has them: otherwise the last of the cores would.
pub(crate) async fn retire(reloader: Arc<Reloader>, stop: Stop) {
    let mut snapshots = reloader.published.follow();
    while let Some(Ok(())) = stop.or(snapshots.changed()).await {
        // A core that has nothing to do keeps its tables until it has.
        while stop.or(tokio::time::sleep(RETIRE_EVERY)).await.is_some() && reloader.has_retired() {
            let reloader = Arc::clone(&reloader);
            let _done = tokio::task::spawn_blocking(move || reloader.sweep()).await;
        }
    }
}
