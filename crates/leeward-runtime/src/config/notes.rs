use std::collections::{BTreeMap, BTreeSet};

use super::origins::Given;
use super::problem::Problem;
use super::shape::{Guises, Shapes};
use super::tree::Tree;

/// What reading a document has brought up so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) problems: Vec<Problem>,
    /// What was asked for and given, by its path.
    pub(super) given: BTreeMap<String, Given>,
    /// What may stand where, when nothing is read but asked.
    pub(super) shapes: Shapes,
    pub(super) guises: Guises,
    /// The keys asked for, by the number of the map that was asked.
    asked: BTreeMap<usize, Asked>,
}

#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) keys: BTreeSet<String>,
    /// Set when any key is welcome.
    pub(super) any: bool,
}

impl Notes {
    pub(super) fn asked(&mut self, map: &Tree) -> &mut Asked {
        self.asked.entry(map.id).or_default()
    }

    pub(super) fn known_keys(&self, map: &Tree) -> Option<&Asked> {
        self.asked.get(&map.id)
    }
}
