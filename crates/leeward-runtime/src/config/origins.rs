use std::collections::BTreeMap;
use std::sync::Arc;

use super::problem::Origin;
use super::tree::{self, Kind, Tree};

/// Where each value that was read stands. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    places: Arc<BTreeMap<String, Given>>,
}

/// Something that a document gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) origin: Origin,
    /// Whether it is one value, and no map and no list.
    pub(super) is_value: bool,
}

impl Origins {
    pub(super) fn new(places: BTreeMap<String, Given>) -> Self {
        Self { places: Arc::new(places) }
    }

    /// Where what has this very path was given.
    #[must_use]
    pub fn of(&self, path: &str) -> Option<&Origin> {
        self.places.get(path).map(at)
    }

    /// Where the value at a path was given, by itself or by a text that stands for all of a group; `None` for a default.
    #[must_use]
    pub fn of_value(&self, path: &str) -> Option<&Origin> {
        around(path).find_map(|path| self.places.get(path)).filter(|given| given.is_value).map(at)
    }

    /// The place to point at for a path: its own, or that of the nearest map around it; `None` when even the document is a
    /// default.
    #[must_use]
    pub fn near(&self, path: &str) -> Option<&Origin> {
        around(path).find_map(|path| self.places.get(path)).or_else(|| self.places.get("")).map(at)
    }
}

fn at(given: &Given) -> &Origin {
    &given.origin
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
