//! Options that can be replaced while calls read them.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

/// Options, and how often they were replaced.
#[derive(Debug)]
pub(crate) struct Versioned<T> {
    pub(crate) options: T,
    /// 1 for the first.
    pub(crate) version: u32,
}

/// Read without a lock and without allocating; replaced by one at a time.
#[derive(Debug)]
pub(crate) struct Live<T> {
    current: ArcSwap<Versioned<T>>,
    replacing: Mutex<()>,
}

impl<T> Live<T> {
    pub(crate) fn new(options: T) -> Self {
        let current = ArcSwap::from_pointee(Versioned { options, version: 1 });
        Self { current, replacing: Mutex::new(()) }
    }

    /// The options, for a look that is over soon.
    pub(crate) fn load(&self) -> Guard<Arc<Versioned<T>>> {
        self.current.load()
    }

    /// The options, for as long as a call may take: they stay the same for it.
    pub(crate) fn keep(&self) -> Arc<Versioned<T>> {
        self.current.load_full()
    }

    /// Puts other options into force, and says their version. `apply` carries them over into the state, from the old to
    /// the new ones, before anybody reads them.
    pub(crate) fn replace(&self, options: T, apply: impl FnOnce(&T, &T)) -> u32 {
        let _one_at_a_time = self.replacing.lock();
        let old = self.current.load_full();
        let version = old.version.saturating_add(1);
        apply(&old.options, &options);
        self.current.store(Arc::new(Versioned { options, version }));
        version
    }
}

impl<T> Live<T> {
    /// Waits until nobody replaces them: for who finds that the state in them was already taken over by others.
    pub(crate) fn settle(&self) {
        drop(self.replacing.lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_options_keeps_them_and_each_replacement_counts() {
        let live = Live::new("old");
        let kept = live.keep();
        let mut seen = Vec::new();
        assert_eq!(live.replace("new", |from, to| seen.push((*from, *to))), 2);
        assert_eq!(live.replace("newer", |from, to| seen.push((*from, *to))), 3);
        assert_eq!((kept.options, kept.version), ("old", 1));
        assert_eq!((live.load().options, live.load().version), ("newer", 3));
        assert_eq!(seen, [("old", "new"), ("new", "newer")]);
    }
}
