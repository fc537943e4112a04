use std::collections::{BTreeMap, BTreeSet};

use super::problem::Problem;
use super::tree::{Place, Tree};

/// What reading a document has brought up so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) problems: Vec<Problem>,
    /// The keys asked for, by the place of the map that was asked.
    asked: BTreeMap<Place, Asked>,
}

#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) keys: BTreeSet<String>,
    /// Set when any key is welcome.
    pub(super) any: bool,
}

impl Notes {
    pub(super) fn asked(&mut self, map: &Tree) -> &mut Asked {
        self.asked.entry(map.place).or_default()
    }

    pub(super) fn known_keys(&self, map: &Tree) -> Option<&Asked> {
        self.asked.get(&map.place)
    }
}
