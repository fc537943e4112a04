//! Which entries are kept: those used last, within bounds of number and bytes.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use crate::time::Instant;

/// No slot.
const NONE: usize = usize::MAX;

/// Entries in the order of their last use, in a list through a vector. Everything takes constant time, and a hit
/// allocates nothing.
#[derive(Debug)]
pub(super) struct Lru<K, V> {
    entries_max: usize,
    bytes_max: usize,
    places: HashMap<K, usize>,
    slots: Vec<Slot<K, V>>,
    newest: usize,
    oldest: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Slot<K, V> {
    key: K,
    item: Item<V>,
    newer: usize,
    older: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item<V> {
    pub(super) value: V,
    pub(super) bytes: usize,
    pub(super) fresh_until: Instant,
    pub(super) keep_until: Instant,
}

impl<K: Hash + Eq + Clone, V> Lru<K, V> {
    pub(super) fn new(entries_max: usize, bytes_max: usize) -> Self {
        let (places, slots) = (HashMap::new(), Vec::new());
        Self { entries_max, bytes_max, places, slots, newest: NONE, oldest: NONE, bytes: 0 }
    }

    /// Puts other bounds into force, and forgets those used longest ago until all fit.
    pub(super) fn resize(&mut self, entries_max: usize, bytes_max: usize) {
        (self.entries_max, self.bytes_max) = (entries_max, bytes_max);
        while self.slots.len() > self.entries_max || self.bytes > self.bytes_max {
            self.remove_at(self.oldest);
        }
    }

    /// The entry, unless it is older than it may be; that one is forgotten.
    pub(super) fn get<Q>(&mut self, key: &Q, now: Instant) -> Option<&Item<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let place = *self.places.get(key)?;
        if now >= self.slots[place].item.keep_until {
            self.remove(key);
            return None;
        }
        self.unlink(place);
        self.link(place);
        Some(&self.slots[place].item)
    }

    /// Takes an entry in, in place of one of the same key, and forgets those used longest ago until all fit. One that
    /// would not fit alone is not taken in.
    pub(super) fn put(&mut self, key: K, item: Item<V>) {
        self.remove(&key);
        if item.bytes > self.bytes_max {
            return;
        }
        while self.slots.len() >= self.entries_max || self.bytes > self.bytes_max - item.bytes {
            self.remove_at(self.oldest);
        }
        self.bytes += item.bytes;
        self.places.insert(key.clone(), self.slots.len());
        self.slots.push(Slot { key, item, newer: NONE, older: NONE });
        self.link(self.slots.len() - 1);
    }

    pub(super) fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(&place) = self.places.get(key) {
            self.remove_at(place);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove_at(&mut self, place: usize) {
        self.unlink(place);
        let removed = self.slots.swap_remove(place);
        self.places.remove(&removed.key);
        self.bytes -= removed.item.bytes;
        // The last slot moved into the gap: all that points to it must follow.
        let Some(moved) = self.slots.get(place) else { return };
        let (newer, older) = (moved.newer, moved.older);
        if let Some(its_place) = self.places.get_mut(&moved.key) {
            *its_place = place;
        }
        self.point(newer, older, place, place);
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

    fn link(&mut self, place: usize) {
        let second = self.newest;
        let slot = &mut self.slots[place];
        (slot.newer, slot.older) = (NONE, second);
        self.point(NONE, NONE, place, if second == NONE { place } else { self.oldest });
        if let Some(slot) = self.slots.get_mut(second) {
            slot.newer = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const START: Instant = Instant::from_nanos(1_000_000_000);

    /// The naive model: a list, the one used last at its end.
    #[derive(Default)]
    struct Model(Vec<(u8, Item<u32>)>);

    impl Model {
        fn get(&mut self, key: u8, now: Instant) -> Option<Item<u32>> {
            let place = self.0.iter().position(|(other, _)| *other == key)?;
            let (key, item) = self.0.remove(place);
            if now >= item.keep_until {
                return None;
            }
            self.0.push((key, item.clone()));
            Some(item)
        }

        fn put(&mut self, key: u8, item: Item<u32>, entries_max: usize, bytes_max: usize) {
            self.0.retain(|(other, _)| *other != key);
            if item.bytes <= bytes_max {
                self.0.push((key, item));
            }
            while self.0.len() > entries_max || self.bytes() > bytes_max {
                self.0.remove(0);
            }
        }

        fn bytes(&self) -> usize {
            self.0.iter().map(|(_, item)| item.bytes).sum()
        }
    }

    proptest! {
        #[test]
        fn it_keeps_what_the_naive_model_keeps(
            steps in prop::collection::vec((0_u8..12, 0_u8..10, 0_usize..60, 0_u64..40), 1..300),
            entries_max in 1_usize..8,
            bytes_max in 1_usize..150,
        ) {
            let (mut lru, mut model) = (Lru::new(entries_max, bytes_max), Model::default());
            let mut now = START;
            for (number, (key, action, bytes, ms)) in (0_u32..).zip(steps) {
                now = now + Duration::from_millis(ms / 8);
                let keep_until = now + Duration::from_millis(ms);
                let item = Item { value: number, bytes, fresh_until: now, keep_until };
                match action {
                    0 => {
                        lru.remove(&key);
                        model.0.retain(|(other, _)| *other != key);
                    }
                    1..=4 => {
                        lru.put(key, item.clone());
                        model.put(key, item, entries_max, bytes_max);
                    }
                    _ => prop_assert_eq!(lru.get(&key, now).cloned(), model.get(key, now)),
                }
                prop_assert_eq!((lru.len(), lru.bytes()), (model.0.len(), model.bytes()));
                prop_assert_eq!(lru.places.len(), lru.slots.len());
            }
        }
    }
}
