//! What is made of files: in force until they say something else that can be used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use super::certificate::{self, Problem};

/// A value that was made of files, and what they said when they were looked at last.
pub(super) struct Kept<T> {
    files: Vec<PathBuf>,
    in_force: ArcSwap<T>,
    seen: Mutex<Seen>,
}

struct Seen {
    /// The bytes of each file. One that cannot be read says nothing.
    bytes: Vec<Vec<u8>>,
    /// Why these are not in force, if they are not.
    problem: Option<String>,
}

impl<T> Kept<T> {
    /// The first value.
    ///
    /// # Errors
    /// The first file that cannot be used, as `make` says.
    pub(super) fn new<'f>(
        files: impl Iterator<Item = &'f PathBuf>,
        make: impl FnOnce() -> Result<T, Problem>,
    ) -> Result<Self, Problem> {
        let files: Vec<PathBuf> = files.cloned().collect();
        // Read before: a file that changes in between is seen to have changed.
        let bytes = read(&files);
        let in_force = ArcSwap::from_pointee(make()?);
        Ok(Self { files, in_force, seen: Mutex::new(Seen { bytes, problem: None }) })
    }

    pub(super) fn load(&self) -> Guard<Arc<T>> {
        self.in_force.load()
    }

    /// Why the files on disk are not in force, if they are not.
    pub(super) fn problem(&self) -> Option<String> {
        self.seen.lock().problem.clone()
    }

    /// Looks at the files, and makes the value anew if they changed. Whether they did.
    ///
    /// # Errors
    /// What is wrong with files that changed; what was in force still is. Told once for each change.
    pub(super) fn look(&self, make: impl FnOnce() -> Result<T, Problem>) -> Result<bool, Problem> {
        let bytes = read(&self.files);
        if self.seen.lock().bytes == bytes {
            return Ok(false);
        }
        let made = make();
        *self.seen.lock() = Seen { bytes, problem: made.as_ref().err().map(ToString::to_string) };
        self.in_force.store(Arc::new(made?));
        Ok(true)
    }
}

fn read(files: &[PathBuf]) -> Vec<Vec<u8>> {
    let bytes = |file: &PathBuf| certificate::bytes(Path::new(file)).unwrap_or_default();
    files.iter().map(bytes).collect()
}
