//! Which entries are kept: those used last, within bounds of number and bytes.

use std::borrow::Borrow;
use std::hash::Hash;

use crate::recent::Recent;
use crate::time::Instant;

/// Everything takes constant time, and a hit allocates nothing.
#[derive(Debug)]
pub(super) struct Lru<K, V> {
    entries_max: usize,
    bytes_max: usize,
    entries: Recent<K, Item<V>>,
    bytes: usize,
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
        Self { entries_max, bytes_max, entries: Recent::new(), bytes: 0 }
    }

    /// Puts other bounds into force, and forgets those used longest ago until all fit.
    pub(super) fn resize(&mut self, entries_max: usize, bytes_max: usize) {
        (self.entries_max, self.bytes_max) = (entries_max, bytes_max);
        self.make_room(0, 0);
    }

    /// The entry, unless it is older than it may be; that one is forgotten.
    pub(super) fn get<Q>(&mut self, key: &Q, now: Instant) -> Option<&Item<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let place = self.entries.find(key)?;
        if now >= self.entries.look(place).keep_until {
            self.bytes -= self.entries.remove(place).bytes;
            return None;
        }
        Some(self.entries.touch(place))
    }

    /// Takes an entry in, in place of one of the same key, and forgets those used longest ago until all fit. One that
    /// would not fit alone is not taken in.
    pub(super) fn put(&mut self, key: K, item: Item<V>) {
        self.remove(&key);
        if item.bytes > self.bytes_max {
            return;
        }
        self.make_room(1, item.bytes);
        self.bytes += item.bytes;
        self.entries.insert(key, item);
    }

    pub(super) fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(place) = self.entries.find(key) {
            self.bytes -= self.entries.remove(place).bytes;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// For so many entries more, of so many bytes together, which fit alone.
    fn make_room(&mut self, entries: usize, bytes: usize) {
        while self.entries.len() + entries > self.entries_max || self.bytes > self.bytes_max - bytes {
            let Some(removed) = self.entries.remove_oldest() else { return };
            self.bytes -= removed.bytes;
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
            }
        }
    }
}
