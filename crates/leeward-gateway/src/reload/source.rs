//! The file that the configuration stands in: read again when somebody asks, or when it is another one.
//!
//! The rule: every half a second the file's identity is looked at (device, inode, size, times), through any symbolic links; when it
//! is another one and stays the same for a fifth of a second, the file is read. Looking, rather than being told by the kernel, is
//! what works for all ways in which files are replaced: editors write in place, or rename another file over it; Kubernetes turns a link
//! to a folder two levels up; network and overlay file systems tell nobody.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// For so long it must stay the same: who writes it may not be done.
const SETTLES_IN: Duration = Duration::from_millis(200);
/// A file that changes at each of so many looks is read as it is, after 5 s.
const LOOKS_MAX: u32 = 25;

/// Why a configuration cannot be read. Where it is [`Problems`](leeward_runtime::config::Problems), each mistake is told with its place.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where a gateway's configuration comes from.
#[derive(Clone)]
pub struct Source {
    path: PathBuf,
    /// What the file was when this was made.
    seen: Stamp,
    read: Arc<dyn Fn() -> Result<Config, BoxError> + Send + Sync>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Source {
    /// The file at `path`, which `read` reads, with whatever stands in the place of what it says. A change of the file from here on
    /// counts: make it before the first reading.
    pub fn new(
        path: impl Into<PathBuf>,
        read: impl Fn() -> Result<Config, BoxError> + Send + Sync + 'static,
    ) -> Self {
        let path = path.into();
        Self { seen: Stamp::at(&path), path, read: Arc::new(read) }
    }

    /// Reads the file, and all secrets that it refers to.
    ///
    /// # Errors
    /// Whatever `read` says.
    pub fn read(&self) -> Result<Config, BoxError> {
        (self.read)()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Resolves whenever the file is another one.
    pub(super) fn watch(&self) -> Watch {
        Watch::since(&self.path, self.seen)
    }
}

/// What tells one content of a file from another, without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stamp {
    Absent,
    File { device: u64, inode: u64, bytes: u64, modified: (i64, i64), changed: (i64, i64) },
}

impl Stamp {
    /// What is there now.
    pub(crate) fn at(path: &Path) -> Self {
        Self::of(std::fs::metadata(path))
    }

    fn of(metadata: std::io::Result<std::fs::Metadata>) -> Self {
        metadata.map_or(Self::Absent, |file| Self::File {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

/// The one who looks.
#[derive(Debug)]
pub(crate) struct Watch {
    path: PathBuf,
    looks: Looks,
}

impl Watch {
    /// A watch over a file that was `seen` when it was read.
    pub(crate) fn since(path: &Path, seen: Stamp) -> Self {
        Self { path: path.to_owned(), looks: Looks::new(seen) }
    }

    /// Resolves when the file is another one than at the last time.
    pub(crate) async fn changed(&mut self) {
        self.changed_unseen(|| None).await;
    }

    /// The same, where others read the file too: what they have `seen` of it last is no change.
    pub(super) async fn changed_unseen(&mut self, seen: impl Fn() -> Option<Stamp>) {
        loop {
            tokio::time::sleep(self.looks.pause()).await;
            let now = Stamp::of(tokio::fs::metadata(&self.path).await);
            if seen() == Some(now) {
                self.looks.skip(now);
            } else if self.looks.look(now) {
                return;
            }
        }
    }
}

/// What was seen so far. Pure.
#[derive(Debug)]
struct Looks {
    read: Stamp,
    changing: Option<(Stamp, u32)>,
}

impl Looks {
    fn new(read: Stamp) -> Self {
        Self { read, changing: None }
    }

    fn pause(&self) -> Duration {
        if self.changing.is_some() { SETTLES_IN } else { LOOK_EVERY }
    }

    /// The file is as somebody else has read it.
    fn skip(&mut self, now: Stamp) {
        (self.read, self.changing) = (now, None);
    }

    /// Whether the file is to be read now.
    fn look(&mut self, now: Stamp) -> bool {
        let (before, looks) = self.changing.take().unwrap_or((self.read, 0));
        if now == self.read {
            return false;
        }
        if looks > 0 && (now == before || looks >= LOOKS_MAX) {
            self.read = now;
            return true;
        }
        self.changing = Some((now, looks + 1));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: [usize; 0] = [];

    fn file(bytes: u64) -> Stamp {
        Stamp::File { device: 1, inode: 1, bytes, modified: (0, 0), changed: (0, 0) }
    }

    fn reads_at(looks: &mut Looks, stamps: impl IntoIterator<Item = Stamp>) -> Vec<usize> {
        stamps.into_iter().enumerate().filter_map(|(at, stamp)| looks.look(stamp).then_some(at)).collect()
    }

    #[test]
    fn a_file_is_read_once_it_stays_the_same() {
        let mut looks = Looks::new(file(1));
        assert_eq!(looks.pause(), LOOK_EVERY);
        assert_eq!(reads_at(&mut looks, [file(1), file(1), file(2)]), NEVER);
        assert_eq!(looks.pause(), SETTLES_IN);
        assert_eq!(reads_at(&mut looks, [file(3), Stamp::Absent, file(4), file(4), file(4), file(4)]), [3]);
        assert_eq!(looks.pause(), LOOK_EVERY);
    }

    #[test]
    fn what_somebody_else_has_read_is_not_read_again() {
        let mut looks = Looks::new(file(1));
        assert!(!looks.look(file(2)));
        looks.skip(file(2));
        assert_eq!(looks.pause(), LOOK_EVERY);
        assert_eq!(reads_at(&mut looks, [file(2), file(2), file(2)]), NEVER);
        assert_eq!(reads_at(&mut looks, [file(3), file(3), file(3)]), [1], "another change is one");
        looks.skip(file(4));
        assert_eq!(reads_at(&mut looks, [file(3), file(3)]), [1], "and so is what was there before");
    }

    #[test]
    fn one_that_is_put_back_in_time_or_never_rests() {
        let mut looks = Looks::new(file(1));
        assert_eq!(
            reads_at(&mut looks, [Stamp::Absent, file(1), file(1)]),
            NEVER,
            "it was moved and moved back"
        );
        assert_eq!(reads_at(&mut looks, [Stamp::Absent, Stamp::Absent]), [1], "it is gone");
        assert_eq!(reads_at(&mut looks, (10..50).map(file)), [25], "after 5 s, whatever it is then");
    }
}
