//! What is in force, as one core has it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;

use super::Load;
use crate::life::Core;
use crate::published::Published;
use crate::shared::Shared;

/// The core under the newest snapshot.
#[derive(Debug)]
pub(crate) struct Current {
    core: RefCell<Rc<Core>>,
    snapshots: RefCell<watch::Receiver<Arc<Shared>>>,
}

impl Current {
    pub(super) fn new(published: &Published, load: Arc<Load>) -> Self {
        let mut snapshots = published.follow();
        let first = Arc::clone(&snapshots.borrow_and_update());
        Self { core: RefCell::new(Rc::new(Core::new(first, load))), snapshots: RefCell::new(snapshots) }
    }

    /// For one request. Whether there is a newer snapshot is one look at an atomic, which is written only when there is.
    pub(crate) fn core(&self) -> Rc<Core> {
        if self.snapshots.borrow().has_changed().unwrap_or(false) {
            self.follow();
        }
        Rc::clone(&self.core.borrow())
    }

    #[cold]
    fn follow(&self) {
        let newest = Arc::clone(&self.snapshots.borrow_mut().borrow_and_update());
        let next = Rc::new(self.core.borrow().after(newest));
        self.core.replace(next);
    }
}
