use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::notes::Names;
use super::problem::Origin;
use super::trails::{Trail, Trails};
use super::tree::{self, Kind, Place, Tree};

/// Where each value that was read stands. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    heard: Arc<Heard>,
}

/// What reading has brought up, and the same by paths once somebody asks for one.
#[derive(Debug, Default)]
struct Heard {
    file: Arc<str>,
    names: Names,
    trails: Trails,
    given: Vec<Given>,
    places: OnceLock<HashMap<String, (Origin, bool)>>,
}

/// Something that a document gives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    pub(super) trail: Trail,
    pub(super) spot: Spot,
    /// Whether it is one value, and no map and no list.
    pub(super) is_value: bool,
}

/// Where something is given.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spot {
    /// In the document.
    File(Place),
    /// In the environment variable whose name has this number.
    Env(usize),
}

impl Origins {
    pub(super) fn new(file: Arc<str>, names: Names, trails: Trails, given: Vec<Given>) -> Self {
        Self { heard: Arc::new(Heard { file, names, trails, given, places: OnceLock::new() }) }
    }

    /// Makes the table in which places are looked up, which otherwise the first who asks for one has to wait for. It takes time in
    /// proportion to the document.
    pub fn prepare(&self) {
        let _table = self.places();
    }

    fn places(&self) -> &HashMap<String, (Origin, bool)> {
        self.heard.places.get_or_init(|| self.heard.places())
    }

    /// Where what has this very path was given.
    #[must_use]
    pub fn of(&self, path: &str) -> Option<&Origin> {
        self.places().get(path).map(at)
    }

    /// Where the value at a path was given, by itself or by a text that stands for all of a group; `None` for a default.
    #[must_use]
    pub fn of_value(&self, path: &str) -> Option<&Origin> {
        around(path).find_map(|path| self.places().get(path)).filter(|(_, is_value)| *is_value).map(at)
    }

    /// The place to point at for a path: its own, or that of the nearest map around it; `None` when even the document is a
    /// default.
    #[must_use]
    pub fn near(&self, path: &str) -> Option<&Origin> {
        around(path).find_map(|path| self.places().get(path)).or_else(|| self.places().get("")).map(at)
    }
}

impl Heard {
    /// Of what was read twice the last counts.
    fn places(&self) -> HashMap<String, (Origin, bool)> {
        let origin = |spot| match spot {
            Spot::File(Place { line, column }) => Origin::File { file: Arc::clone(&self.file), line, column },
            Spot::Env(name) => Origin::Env(self.names.name(name).to_owned()),
        };
        // What lies in one place stands together, as a rule.
        let mut around = (Trail::ROOT, String::new());
        let mut places = HashMap::with_capacity(self.given.len());
        for given in &self.given {
            let mut path = String::new();
            if let Some((above, step)) = self.trails.way(given.trail) {
                if above != around.0 {
                    around = (above, self.trails.path(&self.names, above));
                }
                path.push_str(&around.1);
                step.join(&self.names, &mut path);
            }
            places.insert(path, (origin(given.spot), given.is_value));
        }
        places
    }
}

fn at((origin, _): &(Origin, bool)) -> &Origin {
    origin
}

/// The path, and those of what is around it, innermost first.
fn around(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rfind(['.', '[']).map(|end| &path[..end]))
        .filter(|path| !path.is_empty())
}

/// One value of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its path, as `routes[2].deadline`.
    pub path: String,
    /// As it is written; empty for an empty map or list.
    pub text: String,
    /// Its line, from 1.
    pub line: usize,
}

/// All values of a text that is known to be a document, in its order.
///
/// # Errors
/// Why it is none.
pub fn leaves(text: &str) -> Result<Vec<Leaf>, String> {
    let root = tree::read(text).map_err(|(_, message)| message)?;
    let mut leaves = Vec::new();
    collect(&root, &mut String::new(), &mut leaves);
    Ok(leaves)
}

fn collect(tree: &Tree, path: &mut String, leaves: &mut Vec<Leaf>) {
    let length = path.len();
    match &tree.kind {
        Kind::List(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                collect(item, path, leaves);
                path.truncate(length);
            }
        }
        Kind::Map(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                super::document::join(path, &key.text);
                collect(value, path, leaves);
                path.truncate(length);
            }
        }
        Kind::Scalar(text) => {
            leaves.push(Leaf { path: path.clone(), text: text.clone(), line: tree.place.line });
        }
        Kind::Null | Kind::List(_) | Kind::Map(_) | Kind::Unusable(_) => {
            leaves.push(Leaf { path: path.clone(), text: String::new(), line: tree.place.line });
        }
    }
}
