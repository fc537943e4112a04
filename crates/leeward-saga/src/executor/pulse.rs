//! How operators and tests reach the running engine: it is told to look, says when it has nothing to do, and dies where a test wants.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

/// The engine's pulse.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    asked: AtomicU64,
    seen: AtomicU64,
    kick: Notify,
    touched: Notify,
    beat: watch::Sender<Beat>,
    #[cfg(any(test, feature = "testing"))]
    probe: std::sync::OnceLock<std::sync::Arc<dyn Probe>>,
}

/// What the engine last said of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Beat {
    /// Kicks taken in.
    seen: u64,
    /// Nothing is under way or due.
    idle: bool,
    /// When the next timer is due.
    next_due_ms: Option<i64>,
}

/// A moment of a step's life at which a process may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Moment {
    /// The step is due; its effect is not there.
    BeforeEffect,
    /// The effect is there, if it is an outside one; nothing is recorded.
    AfterEffect,
    /// The step's result is on disk; nobody has acted on it.
    AfterCommit,
}

/// A place at which a process may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Point {
    /// None is the hook at the end.
    pub(crate) step: Option<usize>,
    pub(crate) undo: bool,
    pub(crate) moment: Moment,
}

impl Pulse {
    /// Resolves when somebody asks the engine for a look.
    pub(super) async fn kicked(&self) {
        self.kick.notified().await;
        self.seen.store(self.asked.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Tells the engine that there is mail.
    pub(crate) fn touch(&self) {
        self.touched.notify_one();
    }

    /// Resolves when there is mail.
    pub(super) async fn touched(&self) {
        self.touched.notified().await;
    }

    pub(super) fn beat(&self, idle: bool, next_due_ms: Option<i64>) {
        let now = Beat { seen: self.seen.load(Ordering::SeqCst), idle, next_due_ms };
        self.beat.send_if_modified(|beat| std::mem::replace(beat, now) != now);
    }

    /// Whether a test lets the process die here.
    #[cfg(not(any(test, feature = "testing")))]
    #[allow(clippy::unused_self, reason = "the shape that tests need")]
    pub(super) const fn dies_at(&self, point: Point) -> bool {
        let Point { step: _, undo: _, moment: _ } = point;
        false
    }

    /// Whether a test watches every step of the engine.
    #[cfg(not(any(test, feature = "testing")))]
    #[allow(clippy::unused_self, reason = "the shape that tests need")]
    pub(super) const fn is_probed(&self) -> bool {
        false
    }
}

/// Decides where the engine dies.
#[cfg(any(test, feature = "testing"))]
pub(crate) trait Probe: std::fmt::Debug + Send + Sync {
    /// Whether it dies here.
    fn dies_at(&self, point: Point) -> bool;
}

#[cfg(any(test, feature = "testing"))]
impl Pulse {
    pub(crate) fn set_probe(&self, probe: std::sync::Arc<dyn Probe>) {
        // A second probe is a mistake of the test: the first stands.
        let _ = self.probe.set(probe);
    }

    /// Whether a test lets the process die here.
    pub(super) fn dies_at(&self, point: Point) -> bool {
        self.probe.get().is_some_and(|probe| probe.dies_at(point))
    }

    /// Whether a test watches every step of the engine: then none is taken in somebody else's transaction.
    pub(super) fn is_probed(&self) -> bool {
        self.probe.get().is_some()
    }

    /// Lets the engine look at everything, waits until it has nothing to do, and gives the time of its next timer.
    pub(crate) async fn settled(&self) -> Option<i64> {
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.kick.notify_one();
        let mut beats = self.beat.subscribe();
        let beat = beats.wait_for(|beat| beat.idle && beat.seen >= ticket).await;
        beat.ok().and_then(|beat| beat.next_due_ms)
    }
}
