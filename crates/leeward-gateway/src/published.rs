//! The snapshot in force, for everybody who goes by it.

use std::sync::Arc;

use leeward_runtime::Stop;
use tokio::sync::watch;

use crate::shared::Shared;

/// Where snapshots are published. Clones are the same place.
///
/// Whoever serves requests follows it: whether there is a newer snapshot is one look at an atomic, and only then is a lock taken.
#[derive(Clone, Debug)]
pub(crate) struct Published(watch::Sender<Arc<Shared>>);

impl Published {
    pub(crate) fn new(first: Shared) -> Self {
        Self(watch::Sender::new(Arc::new(first)))
    }

    /// The snapshot in force.
    pub(crate) fn current(&self) -> Arc<Shared> {
        Arc::clone(&self.0.borrow())
    }

    pub(crate) fn follow(&self) -> watch::Receiver<Arc<Shared>> {
        self.0.subscribe()
    }

    /// Puts a snapshot into force: who looks from now on sees it.
    pub(crate) fn publish(&self, next: Arc<Shared>) {
        // The one before is dropped outside of the lock that readers take.
        let _before = self.0.send_replace(next);
    }

    /// Runs a task for one part of what is in force, and in its place another whenever that part is another; while the part is not
    /// there, none.
    pub(crate) async fn run_for<T, Fut: Future<Output = ()>>(
        &self,
        stop: Stop,
        part: impl Fn(&Shared) -> Option<T>,
        is_same: impl Fn(&T, &T) -> bool,
        run: impl Fn(T, Stop) -> Fut,
    ) where
        T: Clone,
    {
        let mut snapshots = self.follow();
        while !stop.is_requested() {
            let wanted = part(&snapshots.borrow_and_update());
            let changed = async {
                loop {
                    let Ok(()) = snapshots.changed().await else { return std::future::pending().await };
                    match (&wanted, part(&snapshots.borrow())) {
                        (None, None) => {}
                        (Some(was), Some(is)) if is_same(was, &is) => {}
                        _ => return,
                    }
                }
            };
            let running = async {
                match wanted.clone() {
                    Some(wanted) => run(wanted, stop.clone()).await,
                    None => stop.requested().await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = running => return,
            }
        }
    }
}
