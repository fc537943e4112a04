//! How far deliveries are, in a file: what operators moved is where they left it after a restart.
//!
//! The rule: an order is in the file before it is in force, but for one that stops a delivery, which nothing holds up. The file is written beside
//! the one before and put in its place, so that there is always a whole one.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::state::State;
use super::{Kind, Moving};

/// The largest file: 10,000 routes with names of a kilobyte.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The form of the file. One of another form is not read.
const FORMAT: u32 = 1;

/// Why the file is of no use. Each text is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read or written.
    #[error("{file}: {cause} (what operators moved of deliveries is kept there); make it readable and writable, or name another place", file = .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is none that this version wrote.
    #[error("{file} is no list of deliveries: {cause}; put back what was there, or remove it and every delivery begins where the configuration says", file = .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    deliveries: Vec<Progress>,
}

/// One delivery: what the configuration said of it, and how far it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    pub(crate) route: String,
    kind: Kind,
    stable: String,
    candidate: String,
    /// In hundredths of a percent, as the share.
    begins: u32,
    share: u32,
    version: u64,
    since_ms: i64,
}

impl Progress {
    pub(crate) fn new(route: &str, moving: &Moving, state: State) -> Self {
        let [stable, candidate] = &moving.services;
        let State { share, version, since_ms } = state;
        Self {
            route: route.to_owned(),
            kind: moving.kind,
            stable: stable.to_string(),
            candidate: candidate.to_string(),
            begins: moving.begins,
            share,
            version,
            since_ms,
        }
    }

    fn is_of(&self, moving: &Moving) -> bool {
        let [stable, candidate] = &moving.services;
        (self.kind, self.begins) == (moving.kind, moving.begins)
            && (&*self.stable, &*self.candidate) == (&**stable, &**candidate)
            && self.kind.allows(self.share)
    }
}

/// The file.
#[derive(Debug)]
pub(crate) struct Kept {
    file: PathBuf,
    /// What was in it at the start, by route.
    found: HashMap<String, Progress>,
    /// What is in it now.
    written: Mutex<Vec<u8>>,
}

impl Kept {
    /// Reads what is there; nothing is, the first time.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub(crate) fn open(file: PathBuf) -> Result<Self, Problem> {
        let bytes = match read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(cause) => return Err(Problem::Io { file, cause }),
        };
        let found = match parse(&bytes) {
            Ok(found) => found.into_iter().map(|entry| (entry.route.clone(), entry)).collect(),
            Err(cause) => return Err(Problem::Unreadable { file, cause }),
        };
        Ok(Self { file, found, written: Mutex::new(bytes) })
    }

    /// Where a delivery was left before the restart; of one that began otherwise, the version alone goes on.
    pub(super) fn left(&self, route: &str, moving: &Moving) -> Option<State> {
        let entry = self.found.get(route)?;
        let now = moving.state();
        Some(if entry.is_of(moving) {
            State { share: entry.share, version: entry.version, since_ms: entry.since_ms }
        } else {
            State { version: entry.version.saturating_add(1), ..now }
        })
    }

    /// Puts these into the file, in the place of all that was there.
    ///
    /// # Errors
    /// What was there is there still.
    pub(crate) fn write(&self, deliveries: Vec<Progress>) -> Result<(), Problem> {
        let mut bytes = Vec::new();
        let document = Document { format: FORMAT, deliveries };
        let failed = |cause: io::Error| Problem::Io { file: self.file.clone(), cause };
        serde_json::to_writer_pretty(&mut bytes, &document).map_err(|error| failed(error.into()))?;
        let mut written = self.written.lock();
        if *written != bytes {
            replace(&self.file, &bytes).map_err(failed)?;
            *written = bytes;
        }
        Ok(())
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<Vec<Progress>, String> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if document.format != FORMAT {
        return Err(format!("it has format {}, and this version reads {FORMAT}", document.format));
    }
    Ok(document.deliveries)
}

fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut new = File::create(&beside)?;
    new.write_all(bytes)?;
    new.sync_all()?;
    drop(new);
    fs::rename(&beside, file)?;
    // The name is on disk when its folder is.
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
