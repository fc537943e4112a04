//! Some of the keys, in the order of their last use. Pure but for the question whether a policy is busy.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Policies that an eviction asks: it takes constant time also when somebody sends a new key with each call.
pub(super) const EVICTION_LOOKS_AT: usize = 32;

/// No slot.
const NONE: usize = usize::MAX;

/// A list through a vector. Everything takes constant time, and a hit allocates nothing.
#[derive(Debug)]
pub(super) struct Shard<K, P> {
    places: HashMap<K, usize>,
    slots: Vec<Slot<K, P>>,
    newest: usize,
    oldest: usize,
}

#[derive(Debug)]
struct Slot<K, P> {
    key: K,
    policy: P,
    newer: usize,
    older: usize,
}

/// A key that had to go.
#[derive(Debug)]
pub(super) struct Evicted<P> {
    pub(super) policy: P,
    /// Whether it was busy, as all the others were that were asked.
    pub(super) busy: bool,
}

impl<K: Hash + Eq + Clone, P> Shard<K, P> {
    pub(super) fn new() -> Self {
        Self { places: HashMap::new(), slots: Vec::new(), newest: NONE, oldest: NONE }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &P)> {
        self.slots.iter().map(|slot| (&slot.key, &slot.policy))
    }

    /// The policy of a key, which is then the one used last.
    pub(super) fn get<Q: ?Sized + Hash + Eq>(&mut self, key: &Q) -> Option<&P>
    where
        K: Borrow<Q>,
    {
        let place = *self.places.get(key)?;
        if place != self.newest {
            self.unlink(place);
            self.link(place);
        }
        Some(&self.slots[place].policy)
    }

    /// Takes in a key that is not there.
    pub(super) fn insert(&mut self, key: K, policy: P) {
        let place = self.slots.len();
        self.places.insert(key.clone(), place);
        self.slots.push(Slot { key, policy, newer: NONE, older: NONE });
        self.link(place);
    }

    /// Forgets the key used longest ago whose policy is not busy, if it is among those that are asked, or else the one used
    /// longest ago.
    pub(super) fn evict(&mut self, is_busy: impl Fn(&P) -> bool) -> Option<Evicted<P>> {
        let oldest = self.slots.get(self.oldest)?;
        let from_oldest = std::iter::successors(Some((self.oldest, oldest)), |(_, slot)| {
            self.slots.get(slot.newer).map(|newer| (slot.newer, newer))
        });
        let idle = from_oldest.take(EVICTION_LOOKS_AT).find(|(_, slot)| !is_busy(&slot.policy));
        let (place, busy) = idle.map_or((self.oldest, true), |(place, _)| (place, false));
        Some(Evicted { policy: self.remove_at(place), busy })
    }

    fn remove_at(&mut self, place: usize) -> P {
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
        removed.policy
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
        /// The naive model is a list, the one used last at its end, searched from its start for one that is not busy.
        #[test]
        fn it_forgets_whom_the_naive_model_forgets(
            steps in prop::collection::vec((0_u8..60, any::<bool>(), 0_u8..8), 1..400),
            most in 1_usize..45,
        ) {
            let (mut shard, mut model) = (Shard::<u8, (u8, bool)>::new(), Vec::<(u8, bool)>::new());
            for (key, busy, action) in steps {
                if action == 0 {
                    let idle = model.iter().take(EVICTION_LOOKS_AT).position(|(_, busy)| !busy);
                    let expected = (!model.is_empty()).then(|| model.remove(idle.unwrap_or(0)));
                    let evicted = shard.evict(|(_, busy)| *busy);
                    prop_assert_eq!(evicted.as_ref().map(|it| it.policy), expected);
                    prop_assert_eq!(evicted.map(|it| it.busy), expected.map(|_| idle.is_none()));
                } else {
                    let known = model.iter().position(|(other, _)| *other == key);
                    let found = known.map(|place| model.remove(place));
                    prop_assert_eq!(shard.get(&key).copied(), found);
                    if let Some(found) = found {
                        model.push(found);
                    } else {
                        if model.len() == most {
                            let idle = model.iter().take(EVICTION_LOOKS_AT).position(|(_, busy)| !busy);
                            let expected = model.remove(idle.unwrap_or(0));
                            prop_assert_eq!(shard.evict(|(_, busy)| *busy).map(|it| it.policy), Some(expected));
                        }
                        shard.insert(key, (key, busy));
                        model.push((key, busy));
                    }
                }
                prop_assert_eq!((shard.len(), shard.places.len()), (model.len(), model.len()));
                let mut kept: Vec<_> = shard.iter().map(|(_, policy)| *policy).collect();
                let mut expected = model.clone();
                kept.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(kept, expected);
            }
        }
    }
}
