//! The threads of a model: as many slots as loom runs threads.

use std::cell::Cell;

use loom::sync::atomic::{AtomicUsize, Ordering};

loom::lazy_static! {
    static ref NEXT: AtomicUsize = AtomicUsize::new(0);
}

loom::thread_local! {
    static SLOT: Cell<Option<usize>> = Cell::new(None);
}

pub(crate) fn slots() -> usize {
    4
}

pub(crate) fn slot() -> Option<usize> {
    SLOT.with(|slot| {
        if slot.get().is_none() {
            slot.set(Some(NEXT.fetch_add(1, Ordering::Relaxed)).filter(|slot| *slot < slots()));
        }
        slot.get()
    })
}
