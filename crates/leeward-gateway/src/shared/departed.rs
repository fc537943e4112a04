//! What a configuration took away, as long as somebody may still count it.
//!
//! A request that began under the configuration before ends under it, and is counted as that one has it: the series of a route that
//! is gone would come back. So they are forgotten twice: when the configuration changes, and after the last request under the one before.

use std::sync::{Arc, OnceLock};

use leeward_resilience::pipeline::Part;
use parking_lot::Mutex;

/// Routes by their labels, services and the policies of routes by their names.
#[derive(Clone, Default, Debug)]
pub(crate) struct Gone {
    pub(crate) routes: Vec<String>,
    pub(crate) services: Vec<String>,
    pub(crate) policies: Vec<String>,
    /// Those of which only a part is gone.
    pub(crate) parts: Vec<(String, Part)>,
}

/// What nobody can count any more, until somebody forgets it. Never more than there were configurations since the last look.
#[derive(Default, Debug)]
pub(crate) struct Departed(Mutex<Vec<Gone>>);

impl Departed {
    pub(crate) fn take(&self) -> Vec<Gone> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// A snapshot's part: says what went with it when the last one who held the snapshot is gone.
#[derive(Debug)]
pub(crate) struct Leaving {
    gone: OnceLock<Gone>,
    departed: Arc<Departed>,
}

impl Leaving {
    pub(super) fn new(departed: &Arc<Departed>) -> Self {
        Self { gone: OnceLock::new(), departed: Arc::clone(departed) }
    }

    /// What the configuration after this one does not have. Said once, when that one is in force.
    pub(crate) fn without(&self, gone: Gone) {
        // A snapshot has one that comes after it.
        let _said = self.gone.set(gone);
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(gone) = self.gone.take() {
            self.departed.0.lock().push(gone);
        }
    }
}
