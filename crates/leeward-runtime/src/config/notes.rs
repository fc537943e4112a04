use std::collections::BTreeMap;
use std::sync::Arc;

use super::origins::Given;
use super::problem::Problem;
use super::shape::{Guises, Shapes};
use super::trails::Trails;
use super::tree::Tree;

/// What reading a document has brought up so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) problems: Vec<Problem>,
    /// What was asked for and given, in the order of asking.
    pub(super) given: Vec<Given>,
    /// What may stand where, when nothing is read but asked.
    pub(super) shapes: Shapes,
    pub(super) guises: Guises,
    pub(super) trails: Trails,
    pub(super) names: Names,
    /// The keys asked for, by the number of the map that was asked.
    asked: Vec<Option<Asked>>,
}

/// What one map was asked for.
#[derive(Debug, Default)]
struct Asked {
    /// A bit for the number of each name.
    keys: Vec<u64>,
    /// Set when any key is welcome.
    any: bool,
}

impl Asked {
    fn add(&mut self, number: usize) {
        let word = number / BITS;
        if self.keys.len() <= word {
            self.keys.resize(word + 1, 0);
        }
        self.keys[word] |= 1 << (number % BITS);
    }

    fn has(&self, number: usize) -> bool {
        self.keys.get(number / BITS).is_some_and(|word| word >> (number % BITS) & 1 == 1)
    }
}

const BITS: usize = u64::BITS as usize;

/// Every name that was asked for or given, once, with a number.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    list: Vec<Arc<str>>,
    numbers: BTreeMap<Arc<str>, usize>,
    /// For each [place](guess) the number of the name that was asked for last: a thousand routes are asked for the same ones.
    guesses: Vec<usize>,
}

/// Places for guesses: several times as many as there are names of options.
const GUESSES: usize = 2_048;

/// The place of a name, the same for few others: its length, both ends and the middle tell most of them apart.
fn guess(name: &str) -> usize {
    let bytes = name.as_bytes();
    let byte = |at: usize| bytes.get(at).map_or(0, |byte| usize::from(*byte));
    let ends = byte(0) * 37 + byte(bytes.len().wrapping_sub(1)) * 211;
    (ends + byte(bytes.len() / 2) * 1_021 + bytes.len() * 67) % GUESSES
}

impl Names {
    /// The number of a name that is asked for.
    pub(super) fn number(&mut self, name: &str) -> usize {
        let at = guess(name);
        if let Some(number) = self.guesses.get(at)
            && let Some(known) = self.list.get(*number)
            && **known == *name
        {
            return *number;
        }
        let number = self.find(name);
        if self.guesses.is_empty() {
            self.guesses = vec![0; GUESSES];
        }
        self.guesses[at] = number;
        number
    }

    /// The number of any name.
    pub(super) fn find(&mut self, key: &str) -> usize {
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        let number = self.list.len();
        let name: Arc<str> = key.into();
        self.list.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    /// The name of a number that was given out.
    pub(super) fn name(&self, number: usize) -> &str {
        &self.list[number]
    }
}

/// The keys that a map may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'n> {
    asked: &'n Asked,
    names: &'n Names,
}

impl<'n> Known<'n> {
    /// Whether this is one.
    pub(super) fn takes(self, key: &str) -> bool {
        self.asked.any || self.names.numbers.get(key).is_some_and(|number| self.asked.has(*number))
    }

    /// Those that were asked for, in the order of their letters.
    pub(super) fn keys(self) -> Vec<&'n str> {
        let numbers = (0..self.names.list.len()).filter(|number| self.asked.has(*number));
        let mut keys: Vec<&str> = numbers.map(|number| self.names.name(number)).collect();
        keys.sort_unstable();
        keys
    }
}

impl Notes {
    /// Notes that a map was asked for the key of this number.
    pub(super) fn ask(&mut self, map: &Tree, number: usize) {
        self.asked(map).add(number);
    }

    /// Notes that a map may have any key.
    pub(super) fn welcome(&mut self, map: &Tree) {
        self.asked(map).any = true;
    }

    fn asked(&mut self, map: &Tree) -> &mut Asked {
        if self.asked.len() <= map.id {
            self.asked.resize_with(map.id + 1, || None);
        }
        self.asked[map.id].get_or_insert_default()
    }

    /// What a map may have, if anybody asked it for something.
    pub(super) fn known_keys(&self, map: &Tree) -> Option<Known<'_>> {
        let asked = self.asked.get(map.id)?.as_ref()?;
        Some(Known { asked, names: &self.names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_whatever_comes_before_it() {
        let mut names = Names::default();
        let keys = ["a", "b", "c", "a", "b", "c", "c", "a", "a", "c", "b", "d", "b"];
        let numbers: Vec<usize> = keys.iter().map(|key| names.number(key)).collect();
        assert_eq!(numbers, [0, 1, 2, 0, 1, 2, 2, 0, 0, 2, 1, 3, 1]);
        assert_eq!(names.list.len(), 4);
    }
}
