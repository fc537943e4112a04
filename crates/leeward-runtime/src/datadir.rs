//! The folder that holds a process's data.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A data folder that exists and can be written to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: Arc<Path>,
}

/// Why a data folder is of no use. Each text says on one line what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not exist and cannot be made.
    #[error("cannot create the data folder {}: {source}; name a folder that you may write to with --data", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Something else stands at its path.
    #[error("{} is not a folder; move it away or name another folder with --data", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// It exists and a file in it cannot be written.
    #[error("cannot write to the data folder {}: {source}; change its owner or name another folder with --data", path.display())]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("{} is in use by another process; stop that one first or name another folder with --data", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
}

impl DataDir {
    /// Makes the folder if need be, with its parents, and checks that a file in it can be written and synced.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        if path.exists() && !path.is_dir() {
            return Err(Error::NotAFolder { path });
        }
        fs::create_dir_all(&path).map_err(|source| Error::Create { path: path.clone(), source })?;
        probe(&path).map_err(|source| Error::Unwritable { path: path.clone(), source })?;
        Ok(Self { path: path.into() })
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A folder in the folder, made if need be.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn folder(&self, name: &str) -> Result<Self, Error> {
        Self::open(self.path.join(name))
    }

    /// Takes the lock `NAME.lock` until the result is dropped or the process ends, however it ends.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process, or another part of this one, holds it.
    pub fn lock(&self, name: &str) -> Result<DirLock, Error> {
        let path = self.file(&format!("{name}.lock"));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|source| Error::Unwritable { path: self.path.to_path_buf(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(DirLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { path }),
            Err(TryLockError::Error(source)) => {
                Err(Error::Unwritable { path: self.path.to_path_buf(), source })
            }
        }
    }
}

/// A lock held on a name in a [`DataDir`].
#[derive(Debug)]
pub struct DirLock {
    /// The operating system gives the lock back when the file is closed. The file stays: deleting it would
    /// let two processes lock two files of one name.
    _file: File,
}

/// Permissions alone do not tell: the disk may be full or the file system read-only.
fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".write-check-{}", std::process::id()));
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(b"ok")?;
        file.sync_all()
    });
    // Also after a failed write: an empty file may be there.
    let _was_there = fs::remove_file(&path);
    written
}
