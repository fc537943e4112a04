//! A map whose entries are in the order of their last use: what a cache and keyed policies forget by.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// No slot.
const NONE: usize = usize::MAX;

/// A list through a vector. Everything takes constant time, and a hit allocates nothing. A place is good until something is
/// removed.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    places: HashMap<K, usize>,
    slots: Vec<Slot<K, V>>,
    newest: usize,
    oldest: usize,
}

#[derive(Debug)]
struct Slot<K, V> {
    key: K,
    value: V,
    newer: usize,
    older: usize,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    pub(crate) fn new() -> Self {
        Self { places: HashMap::new(), slots: Vec::new(), newest: NONE, oldest: NONE }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// In no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().map(|slot| (&slot.key, &slot.value))
    }

    /// The places and their values, the one used longest ago first.
    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = (usize, &V)> {
        let at = |place: usize| self.slots.get(place).map(|slot| (place, slot));
        std::iter::successors(at(self.oldest), move |(_, slot)| at(slot.newer))
            .map(|(place, slot)| (place, &slot.value))
    }

    /// Where a key is, which does not count as a use.
    pub(crate) fn find<Q: ?Sized + Hash + Eq>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        self.places.get(key).copied()
    }

    /// The value at a place, which is then the one used last.
    pub(crate) fn touch(&mut self, place: usize) -> &V {
        if place != self.newest {
            self.unlink(place);
            self.link(place);
        }
        &self.slots[place].value
    }

    /// The value at a place, which does not count as a use.
    pub(crate) fn look(&self, place: usize) -> &V {
        &self.slots[place].value
    }

    /// Takes in a key that is not there, as the one used last.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let place = self.slots.len();
        self.places.insert(key.clone(), place);
        self.slots.push(Slot { key, value, newer: NONE, older: NONE });
        self.link(place);
    }

    /// Forgets the key used longest ago.
    pub(crate) fn remove_oldest(&mut self) -> Option<V> {
        (self.oldest != NONE).then(|| self.remove(self.oldest))
    }

    /// Forgets the key at a place.
    pub(crate) fn remove(&mut self, place: usize) -> V {
        self.unlink(place);
        let removed = self.slots.swap_remove(place);
        self.places.remove(&removed.key);
        // The last slot moved into the gap: all that points to it must follow.
        if let Some(moved) = self.slots.get(place) {
            let (newer, older) = (moved.newer, moved.older);
            if let Some(its_place) = self.places.get_mut(&moved.key) {
                *its_place = place;
            }
            self.point(newer, older, place, place);
        }
        removed.value
    }

    fn unlink(&mut self, place: usize) {
        let Slot { newer, older, .. } = self.slots[place];
        self.point(newer, older, older, newer);
    }

    /// Makes the neighbours `newer` and `older` point to other slots.
    fn point(&mut self, newer: usize, older: usize, newer_to: usize, older_to: usize) {
        match self.slots.get_mut(newer) {
            Some(slot) => slot.older = newer_to,
            None => self.newest = newer_to,
        }
        match self.slots.get_mut(older) {
            Some(slot) => slot.newer = older_to,
            None => self.oldest = older_to,
        }
    }

    /// As the one used last.
    fn link(&mut self, place: usize) {
        let second = self.newest;
        let slot = &mut self.slots[place];
        (slot.newer, slot.older) = (NONE, second);
        self.newest = place;
        match self.slots.get_mut(second) {
            Some(slot) => slot.newer = place,
            None => self.oldest = place,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The naive model is a list, the one used last at its end.
        #[test]
        fn it_is_in_the_order_of_the_naive_model(steps in prop::collection::vec((0_u8..20, 0_u8..8), 1..400)) {
            let (mut recent, mut model) = (Recent::<u8, usize>::new(), Vec::<(u8, usize)>::new());
            for (number, (key, action)) in steps.into_iter().enumerate() {
                let known = model.iter().position(|(other, _)| *other == key);
                let place = recent.find(&key);
                prop_assert_eq!(place.map(|place| *recent.look(place)), known.map(|index| model[index].1));
                match (action, place, known) {
                    (0, ..) => {
                        let expected = (!model.is_empty()).then(|| model.remove(0).1);
                        prop_assert_eq!(recent.remove_oldest(), expected);
                    }
                    (1 | 2, Some(place), Some(index)) => {
                        prop_assert_eq!(recent.remove(place), model.remove(index).1);
                    }
                    (_, Some(place), Some(index)) => {
                        let used = model.remove(index);
                        prop_assert_eq!(*recent.touch(place), used.1);
                        model.push(used);
                    }
                    _ => {
                        recent.insert(key, number);
                        model.push((key, number));
                    }
                }
                prop_assert_eq!((recent.len(), recent.places.len()), (model.len(), model.len()));
                let order: Vec<_> = recent.oldest_first().map(|(_, value)| *value).collect();
                prop_assert_eq!(order, model.iter().map(|(_, value)| *value).collect::<Vec<_>>());
            }
        }
    }
}
