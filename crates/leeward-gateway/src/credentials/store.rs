//! A file of callers, and what of it is in force.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use leeward_runtime::Stop;
use parking_lot::Mutex;

use super::line::Mistakes;
use crate::reload::{Stamp, Watch};

/// Largest file, in bytes: all lines that it may have, at 320 bytes each.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Why a file is not taken. It says nothing of what stands in it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum FileProblem {
    #[error("cannot be read: {0}")]
    Unreadable(Arc<str>),
    #[error("is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("{0}")]
    Mistakes(Mistakes),
}

/// How the text of a file is read.
pub(crate) type Reader<T> = fn(&str) -> Result<T, Mistakes>;

/// A file as it was read.
pub(crate) struct Loaded<T> {
    path: PathBuf,
    stamp: Stamp,
    hash: [u8; 32],
    read: Reader<T>,
    holders: Arc<T>,
}

impl<T> Loaded<T> {
    pub(crate) fn load(path: &Path, read: Reader<T>) -> Result<Self, FileProblem> {
        let stamp = Stamp::at(path);
        let text = text(path)?;
        let holders = Arc::new(read(&text).map_err(FileProblem::Mistakes)?);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Ok(Self { path: path.to_owned(), stamp, hash, read, holders })
    }

    pub(crate) fn holders(&self) -> &T {
        &self.holders
    }

    /// Another one where another text was read.
    pub(crate) fn generation(&self) -> u64 {
        self.hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    #[cfg(test)]
    pub(super) fn of(holders: T) -> Self {
        let path = PathBuf::new();
        let read = |_: &str| panic!("nobody reads it");
        Self { stamp: Stamp::at(&path), path, hash: [0; 32], read, holders: Arc::new(holders) }
    }
}

impl<T> Clone for Loaded<T> {
    fn clone(&self) -> Self {
        let Self { path, stamp, hash, read, holders } = self;
        Self { path: path.clone(), stamp: *stamp, hash: *hash, read: *read, holders: Arc::clone(holders) }
    }
}

impl<T> PartialEq for Loaded<T> {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.hash == other.hash
    }
}

impl<T> Eq for Loaded<T> {}

impl<T: fmt::Debug> fmt::Debug for Loaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("path", &self.path)
            .field("holders", &self.holders)
            .finish_non_exhaustive()
    }
}

/// What is in force of a file while the gateway runs.
pub(crate) struct Store<T> {
    first: Loaded<T>,
    now: ArcSwap<Loaded<T>>,
    problem: Mutex<Option<FileProblem>>,
}

impl<T: fmt::Debug> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.first.path)
            .field("now", &*self.now.load())
            .finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Store<T> {
    pub(crate) fn new(first: Loaded<T>) -> Self {
        let now = ArcSwap::from_pointee(first.clone());
        Self { first, now, problem: Mutex::new(None) }
    }

    pub(crate) fn now(&self) -> arc_swap::Guard<Arc<Loaded<T>>> {
        self.now.load()
    }

    /// Why the file on disk is not the one in force, if it is not.
    pub(crate) fn problem(&self) -> Option<FileProblem> {
        self.problem.lock().clone()
    }

    /// Takes the file again whenever it is another one, until `stop`. `note` hears what became of it.
    pub(crate) async fn follow(self: Arc<Self>, stop: Stop, note: impl Fn(&Path, Result<(), FileProblem>)) {
        let mut watch = Watch::since(&self.first.path, self.first.stamp);
        while stop.or(watch.changed()).await.is_some() {
            let store = Arc::clone(&self);
            let Ok(taken) = tokio::task::spawn_blocking(move || store.take()).await else { return };
            note(&self.first.path, taken);
        }
    }

    fn take(&self) -> Result<(), FileProblem> {
        let loaded = Loaded::load(&self.first.path, self.first.read);
        *self.problem.lock() = loaded.as_ref().err().cloned();
        self.now.store(Arc::new(loaded?));
        Ok(())
    }
}

fn text(path: &Path) -> Result<String, FileProblem> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| FileProblem::Unreadable(error.to_string().into()))?;
    if text.len() as u64 > FILE_BYTES_MAX { Err(FileProblem::TooLarge) } else { Ok(text) }
}
