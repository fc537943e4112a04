//! The book of who runs: one group of seats a [`Tasks`](super::Tasks), seats of a child group also in its
//! parents'.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::report::StopReport;
use super::stage::Stage;
use super::stop::Stop;

/// How long an aborted task may take to be dropped before the shutdown goes on without it. An abort takes
/// effect at the task's next await; a task that blocks its thread never gets there.
const ABORT_GRACE: std::time::Duration = std::time::Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Group {
    prefix: String,
    parent: Option<Arc<Group>>,
    rows: [Row; 4],
    next_seat: AtomicU64,
}

#[derive(Debug)]
struct Row {
    stop: CancellationToken,
    state: Mutex<RowState>,
    /// Told whenever the row becomes empty.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct RowState {
    seats: BTreeMap<u64, Weak<Seat>>,
    /// Set when the stage has stopped: nothing starts any more.
    closed: bool,
}

impl Row {
    fn new(stop: CancellationToken) -> Self {
        Self { stop, state: Mutex::default(), emptied: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, RowState> {
        // Nothing panics while it holds the lock, and the map is valid between any two statements anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One task's place in its group and in the groups above it, given back on drop.
#[derive(Debug)]
pub(super) struct Seat {
    name: String,
    stage: Stage,
    places: Vec<(Arc<Group>, u64)>,
    abort: Mutex<Option<AbortHandle>>,
}

impl Seat {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn abort_with(&self, handle: AbortHandle) {
        *self.abort.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }

    fn abort(&self) {
        if let Some(handle) = self.abort.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            handle.abort();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        for (group, id) in &self.places {
            let row = &group.rows[self.stage.index()];
            let mut state = row.state();
            state.seats.remove(id);
            if state.seats.is_empty() {
                row.emptied.notify_waiters();
            }
        }
    }
}

impl Group {
    pub(super) fn root() -> Arc<Self> {
        Arc::new(Self {
            prefix: String::new(),
            parent: None,
            rows: std::array::from_fn(|_| Row::new(CancellationToken::new())),
            next_seat: AtomicU64::new(0),
        })
    }

    pub(super) fn child(parent: &Arc<Self>, prefix: &str) -> Arc<Self> {
        Arc::new(Self {
            prefix: format!("{}{prefix}.", parent.prefix),
            parent: Some(Arc::clone(parent)),
            rows: std::array::from_fn(|index| Row::new(parent.rows[index].stop.child_token())),
            next_seat: AtomicU64::new(0),
        })
    }

    pub(super) fn stop(&self, stage: Stage) -> Stop {
        Stop::of(&self.rows[stage.index()].stop)
    }

    /// A seat, or none when the stage has stopped here or above.
    pub(super) fn take_open_seat(group: &Arc<Self>, stage: Stage, name: &str) -> Option<Arc<Seat>> {
        let closed = group.and_above().any(|group| group.rows[stage.index()].state().closed);
        (!closed).then(|| Self::take_seat(group, stage, name))
    }

    pub(super) fn take_seat(group: &Arc<Self>, stage: Stage, name: &str) -> Arc<Seat> {
        let places: Vec<_> = group
            .and_above()
            .map(|group| (Arc::clone(group), group.next_seat.fetch_add(1, Ordering::Relaxed)))
            .collect();
        let name = format!("{}{name}", group.prefix);
        let seat = Arc::new(Seat { name, stage, places, abort: Mutex::new(None) });
        for (group, id) in &seat.places {
            group.rows[stage.index()].state().seats.insert(*id, Arc::downgrade(&seat));
        }
        seat
    }

    /// This group and those it belongs to.
    fn and_above(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::successors(Some(self), |group| group.parent.as_ref())
    }

    pub(super) fn is_busy(&self, stage: Stage) -> bool {
        !self.rows[stage.index()].state().seats.is_empty()
    }

    pub(super) fn names(&self, stage: Stage) -> Vec<String> {
        self.seats(stage).iter().map(|seat| seat.name.clone()).collect()
    }

    fn seats(&self, stage: Stage) -> Vec<Arc<Seat>> {
        let state = self.rows[stage.index()].state();
        state.seats.values().filter_map(Weak::upgrade).collect()
    }

    /// Asks one stage to stop and waits for it until `end`, then aborts what is left.
    pub(super) async fn stop_stage(&self, stage: Stage, end: Instant, report: &mut StopReport) {
        let row = &self.rows[stage.index()];
        let asked = row.state().seats.len();
        row.stop.cancel();
        let in_time = tokio::time::timeout_at(end, self.emptied(stage)).await.is_ok();
        row.state().closed = true;
        let left = if in_time { Vec::new() } else { self.seats(stage) };
        report.stopped += asked.saturating_sub(left.len());
        if left.is_empty() {
            return;
        }
        for seat in &left {
            tracing::warn!(task = seat.name(), stage = stage.as_str(), "did not stop in time, aborting it");
            seat.abort();
        }
        report.abandoned.extend(left.iter().map(|seat| seat.name.clone()));
        drop(left);
        // The next stage is what these tasks use: give the aborts the moment they need to drop what they
        // hold.
        let _still_blocking = tokio::time::timeout(ABORT_GRACE, self.emptied(stage)).await;
    }

    async fn emptied(&self, stage: Stage) {
        let row = &self.rows[stage.index()];
        loop {
            let emptied = row.emptied.notified();
            if !self.is_busy(stage) {
                return;
            }
            emptied.await;
        }
    }
}
