use std::cell::RefCell;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::node::Node;
use super::notes::Notes;
use super::origins::Origins;
use super::problem::{Origin, Problem, Problems};
use super::shape::{Guises, Shapes};
use super::suggest::nearest;
use super::tree::{self, Kind, Place, Tree};
use crate::env::Env;

/// The largest file read as configuration. A thousand routes are about 200 KiB.
pub const DOCUMENT_BYTES_MAX: u64 = 1024 * 1024;

/// YAML's merge key, which later versions of YAML dropped.
const MERGE: &str = "<<";
const NO_MERGE: &str = "is a merge key, which is not supported: an anchor and its alias repeat a whole value";

/// A configuration being read. See the [module](super).
#[derive(Debug)]
pub struct Document {
    name: Arc<str>,
    folder: PathBuf,
    env: Env,
    root: Tree,
    notes: RefCell<Notes>,
}

impl Document {
    /// Reads a file. Relative paths of `file:` secrets are taken from its folder.
    ///
    /// # Errors
    /// When it cannot be read or is not YAML.
    pub fn load(path: &Path, env: &Env) -> Result<Self, Problems> {
        let name = path.display().to_string();
        let mut text = String::new();
        let read = File::open(path)
            .and_then(|file| file.take(DOCUMENT_BYTES_MAX + 1).read_to_string(&mut text))
            .map_err(|error| format!("cannot be read: {error}"))
            .and_then(|bytes| match u64::try_from(bytes) {
                Ok(bytes) if bytes <= DOCUMENT_BYTES_MAX => Ok(()),
                _ => Err(format!("is larger than {DOCUMENT_BYTES_MAX} bytes")),
            });
        read.map_err(|message| refused(&name, Place { line: 1, column: 1 }, message))?;
        let mut document = Self::parse(&name, &text, env)?;
        document.folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(document)
    }

    /// Reads `text`, calling it `name` in reports.
    ///
    /// # Errors
    /// When it is not YAML (a key that stands twice in a map is not), lies deeper than [`DEPTH_MAX`](super::DEPTH_MAX), or
    /// has more than [`VALUES_MAX`](super::VALUES_MAX) values or [`TEXT_BYTES_MAX`](super::TEXT_BYTES_MAX) of text.
    pub fn parse(name: &str, text: &str, env: &Env) -> Result<Self, Problems> {
        let root = tree::read(text).map_err(|(place, message)| refused(name, place, message))?;
        Ok(Self {
            name: name.into(),
            folder: PathBuf::new(),
            env: env.clone(),
            root,
            notes: RefCell::default(),
        })
    }

    /// A document without content, for running on defaults and environment alone.
    #[must_use]
    pub fn empty(env: &Env) -> Self {
        Self {
            name: "defaults".into(),
            folder: PathBuf::new(),
            env: env.clone(),
            root: Tree::EMPTY,
            notes: RefCell::default(),
        }
    }

    /// The top of the document.
    pub fn root(&self) -> Node<'_> {
        Node::root(self, &self.root)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// All mistakes that the getters met, and all keys that none asked for.
    pub fn finish(self) -> Result<(), Problems> {
        let mut problems = std::mem::take(&mut self.notes.borrow_mut().problems);
        self.unknown_keys(&self.root, &mut String::new(), &mut problems);
        Problems::of(problems).map_or(Ok(()), Err)
    }

    /// Where each value that was read so far stands.
    #[must_use]
    pub fn origins(&self) -> Origins {
        let notes = self.notes.borrow();
        let (names, trails, given) = (notes.names.clone(), notes.trails.clone(), notes.given.clone());
        Origins::new(Arc::clone(&self.name), names, trails, given)
    }

    /// Lets `read` ask, adds what it asks for to the shapes, and says which places it was told about, and what.
    pub(super) fn listen(self, shapes: Shapes, guises: Guises, read: impl Fn(&Node<'_>)) -> (Shapes, Guises) {
        {
            let mut notes = self.notes.borrow_mut();
            (notes.shapes, notes.guises) = (shapes, guises);
        }
        read(&Node::described(&self));
        let notes = self.notes.into_inner();
        (notes.shapes, notes.guises)
    }

    fn unknown_keys(&self, tree: &Tree, path: &mut String, problems: &mut Vec<Problem>) {
        let length = path.len();
        match &tree.kind {
            Kind::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    // Writing into a string does not fail.
                    let _ok = write!(path, "[{index}]");
                    self.unknown_keys(item, path, problems);
                    path.truncate(length);
                }
            }
            Kind::Map(entries) => {
                let notes = self.notes.borrow();
                // Nobody read this map: whoever holds it is unknown or of the wrong type, and is reported
                // already.
                let Some(asked) = notes.known_keys(tree) else { return };
                for (key, value) in entries {
                    join(path, &key.text);
                    if asked.takes(&key.text) {
                        self.unknown_keys(value, path, problems);
                    } else {
                        problems.push(Problem {
                            origin: self.origin(key.place),
                            path: path.clone(),
                            given: None,
                            message: if key.text == MERGE { NO_MERGE } else { "unknown key" }.to_owned(),
                            allowed: Some(asked.keys().join(", ")),
                            suggestion: nearest(&key.text, asked.keys()).map(str::to_owned),
                        });
                    }
                    path.truncate(length);
                }
            }
            Kind::Null | Kind::Scalar(_) | Kind::Unusable(_) => {}
        }
    }

    pub(super) fn origin(&self, place: Place) -> Origin {
        Origin::File { file: Arc::clone(&self.name), line: place.line, column: place.column }
    }

    pub(super) fn environment(&self) -> &Env {
        &self.env
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn notes(&self) -> &RefCell<Notes> {
        &self.notes
    }
}

/// Appends a key to a path; one that is not a plain name is quoted.
pub fn join(path: &mut String, key: &str) {
    let is_plain = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if !is_plain {
        path.push_str(&format!("[\"{key}\"]"));
        return;
    }
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

fn refused(name: &str, place: Place, message: String) -> Problems {
    let origin = Origin::File { file: name.into(), line: place.line, column: place.column };
    Problems::one(Problem {
        origin,
        path: String::new(),
        given: None,
        message,
        allowed: None,
        suggestion: None,
    })
}
