//! Whether the background work that should run does.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Check, Reading};

/// The workers of a service that ended before they were asked to and are not back yet, with the reason. Clones are the same
/// list; it is bounded by the number of workers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Workers(Arc<Mutex<BTreeMap<String, String>>>);

impl Workers {
    pub(crate) fn ended(&self, name: &str, reason: String) {
        self.0.lock().insert(name.to_owned(), reason);
    }

    /// It has been back for long enough to be believed.
    pub(crate) fn runs(&self, name: &str) {
        self.0.lock().remove(name);
    }

    /// It gates nothing: requests can be served while events wait, but somebody has to look.
    pub(crate) fn check(&self) -> Check {
        let ended = self.clone();
        Check::new("workers", move || {
            let reading = ended.reading();
            async move { reading }
        })
        .informative()
    }

    fn reading(&self) -> Reading {
        let ended = self.0.lock();
        let all: Vec<_> = ended.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        if all.is_empty() { Reading::up("all run") } else { Reading::down(all.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[tokio::test]
    async fn a_worker_that_ended_turns_the_check_red() {
        let workers = Workers::default();
        let check = workers.check();
        assert_eq!(check.run().await.state, State::Up);
        workers.ended("events.stock", "the bus was closed".to_owned());
        let reading = check.run().await;
        assert_eq!((reading.state, &*reading.value), (State::Down, "events.stock: the bus was closed"));
    }
}
