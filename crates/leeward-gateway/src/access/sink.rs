//! What the lines are written to.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::config::AccessLogTo;

/// A stream, or a file that is opened anew when another one (or none) is found under its name.
#[derive(Debug)]
pub(super) struct Sink {
    file: File,
    path: Option<PathBuf>,
    /// The last line was cut: the next one begins on a line of its own.
    is_torn: bool,
}

impl Sink {
    pub(super) fn open(to: &AccessLogTo) -> io::Result<Self> {
        let (file, path) = match to {
            AccessLogTo::Stdout => (own(io::stdout())?, None),
            AccessLogTo::Stderr => (own(io::stderr())?, None),
            AccessLogTo::File(path) => (append(path)?, Some(path.clone())),
        };
        Ok(Self { file, path, is_torn: false })
    }

    /// How many bytes were written, and what kept it from writing the others.
    pub(super) fn write(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        if let Err(error) = self.follow().and_then(|()| self.mend()) {
            return (0, Err(error));
        }
        let mut written = 0;
        while written < lines.len() {
            match self.file.write(&lines[written..]) {
                Ok(0) => return self.torn(lines, written, ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.torn(lines, written, error),
            }
        }
        (written, Ok(()))
    }

    fn torn(&mut self, lines: &[u8], written: usize, error: io::Error) -> (usize, io::Result<()>) {
        self.is_torn |= written > 0 && lines[written - 1] != b'\n';
        (written, Err(error))
    }

    fn mend(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
        }
        Ok(())
    }

    /// Opens the file anew when it was moved away or removed, as those who rotate logs do.
    fn follow(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let open = self.file.metadata()?;
        let is_same =
            std::fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (open.dev(), open.ino()));
        if !is_same {
            self.file = append(path)?;
            self.is_torn = false;
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    // A pipe that is opened for writing alone waits for its reader, and with it the gateway would.
    let is_pipe = std::fs::metadata(path).is_ok_and(|there| there.file_type().is_fifo());
    OpenOptions::new().create(true).read(is_pipe).append(true).open(path)
}

/// The stream without the buffer that the standard library puts before it.
fn own(stream: impl AsFd) -> io::Result<File> {
    Ok(stream.as_fd().try_clone_to_owned()?.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let mut sink = Sink::open(&AccessLogTo::File(path.clone())).unwrap();
        sink.write(b"one\n").1.unwrap();
        std::fs::rename(&path, &moved).unwrap();
        sink.write(b"two\n").1.unwrap();
        std::fs::remove_file(&path).unwrap();
        sink.write(b"three\n").1.unwrap();
        assert_eq!(std::fs::read(&moved).unwrap(), b"one\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"three\n");
    }

    #[test]
    fn one_that_was_copied_and_emptied_goes_on_at_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut sink = Sink::open(&AccessLogTo::File(path.clone())).unwrap();
        sink.write(b"one\n").1.unwrap();
        File::options().write(true).truncate(true).open(&path).unwrap();
        sink.write(b"two\n").1.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two\n");
    }

    #[test]
    fn after_a_cut_line_the_next_one_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let mut sink = Sink::open(&AccessLogTo::File(path.clone())).unwrap();
        sink.write(b"one\ntw").1.unwrap();
        assert!(sink.torn(b"one\ntwo\n", 6, ErrorKind::StorageFull.into()).1.is_err());
        sink.write(b"three\n").1.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntw\nthree\n");
    }
}
