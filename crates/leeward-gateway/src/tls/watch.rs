//! Following the files of certificates, and what they say about their end.

use std::sync::Arc;
use std::time::Duration;

use leeward_runtime::Stop;

use super::certificate::Problem;
use super::server::Status;
use crate::metrics::Metrics;

/// What is made of files that may change.
pub(crate) trait Watched: Send + Sync {
    /// How often the files are looked at.
    fn every(&self) -> Duration;

    /// The certificates in force.
    fn certificates(&self) -> Vec<Status>;

    /// Why the files on disk are not in force, if they are not.
    fn problem(&self) -> Option<String>;

    /// Looks at the files, and takes what they say if it can be used. Whether they changed, or why they cannot be used.
    ///
    /// # Errors
    /// What is wrong with files that changed; what was in force still is. Told once for each change.
    fn reload(&self) -> Result<bool, Problem>;
}

/// Follows the files until `stop`.
pub(crate) async fn follow<W: Watched + 'static>(watched: Arc<W>, metrics: Metrics, stop: Stop) {
    let mut _shown;
    loop {
        // Those before are let go after these are shown.
        _shown = metrics.certificate_ends.show(&watched.certificates());
        if stop.or(tokio::time::sleep(watched.every())).await.is_none() {
            return;
        }
        let looking = Arc::clone(&watched);
        let Ok(looked) = tokio::task::spawn_blocking(move || looking.reload()).await else { return };
        match looked {
            Ok(false) => {}
            Ok(true) => {
                metrics.certificate_reloads.with(["taken"]).inc();
                tracing::info!("the certificates on disk changed and are in force");
            }
            Err(error) => {
                metrics.certificate_reloads.with(["refused"]).inc();
                tracing::error!(%error, "the certificates on disk changed; those before stay in force");
            }
        }
    }
}
