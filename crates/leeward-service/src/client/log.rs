//! A service's event log as another reads it, to rebuild a projection from.

use leeward_events::projection::{LogError, LogFuture, LogSource};

use super::Client;

impl LogSource for Client {
    fn page(&self, after_seq: i64, events_max: u32) -> LogFuture<'_> {
        Box::pin(async move {
            let path = format!("/internal/events?after={after_seq}&limit={events_max}");
            self.get(&path).send().await.map_err(|error| LogError(error.to_string()))
        })
    }
}
