//! The time of a world: the real one, moved on by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use leeward_resilience::{Clock, Instant, TokioClock};

/// Wall-clock time that a test moves on. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct Shifted {
    ahead_ms: Arc<AtomicI64>,
}

impl Shifted {
    /// Moves the wall clock on.
    pub fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Shifted {
    fn now(&self) -> Instant {
        TokioClock.now()
    }

    fn unix_ms(&self) -> i64 {
        TokioClock.unix_ms() + self.ahead_ms.load(Ordering::SeqCst)
    }
}
