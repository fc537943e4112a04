//! One process a database: a lock file beside it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::Error;

/// Longest owner text read from a lock file: a process id.
const OWNER_BYTES_MAX: u64 = 20;

/// The held lock. The system frees it when the file is closed, so also when the process is killed; the file
/// itself stays, since removing it would let two processes lock two files of one name.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Locks `DATABASE.lock`, without waiting.
    pub(crate) fn take(database: &Path) -> Result<Self, Error> {
        let at_open =
            |error: std::io::Error| Error::Open { path: database.to_owned(), detail: error.to_string() };
        if let Some(folder) = database.parent() {
            std::fs::create_dir_all(folder).map_err(at_open)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(lock_path(database))
            .map_err(at_open)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Error::Locked { path: database.to_owned(), owner: owner(&mut file) });
            }
            Err(errno) => return Err(at_open(errno.into())),
        }
        // The owner's name is a courtesy to whoever is refused; without it the lock holds just as well.
        let named = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        if let Err(error) = named {
            tracing::debug!(%error, "the lock file does not name its owner");
        }
        Ok(Self { _file: file })
    }
}

fn owner(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(OWNER_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}
