//! Some of the keys, in the order of their last use. Pure but for the question whether a policy is busy.

use std::borrow::Borrow;
use std::hash::Hash;

use crate::recent::Recent;

/// Policies that an eviction asks: it takes constant time also when somebody sends a new key with each call.
pub(super) const EVICTION_LOOKS_AT: usize = 32;

#[derive(Debug)]
pub(super) struct Shard<K, P> {
    policies: Recent<K, P>,
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
        Self { policies: Recent::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.policies.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &P)> {
        self.policies.iter()
    }

    /// The policy of a key, which is then the one used last.
    pub(super) fn get<Q: ?Sized + Hash + Eq>(&mut self, key: &Q) -> Option<&P>
    where
        K: Borrow<Q>,
    {
        let place = self.policies.find(key)?;
        Some(self.policies.touch(place))
    }

    /// Takes in a key that is not there.
    pub(super) fn insert(&mut self, key: K, policy: P) {
        self.policies.insert(key, policy);
    }

    /// Forgets the key used longest ago whose policy is not busy, if it is among those that are asked, or else the one used
    /// longest ago.
    pub(super) fn evict(&mut self, is_busy: impl Fn(&P) -> bool) -> Option<Evicted<P>> {
        let mut asked = self.policies.oldest_first().take(EVICTION_LOOKS_AT);
        let idle = asked.find_map(|(place, policy)| (!is_busy(policy)).then_some(place));
        drop(asked);
        match idle {
            Some(place) => Some(Evicted { policy: self.policies.remove(place), busy: false }),
            None => self.policies.remove_oldest().map(|policy| Evicted { policy, busy: true }),
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
                prop_assert_eq!(shard.len(), model.len());
                let mut kept: Vec<_> = shard.iter().map(|(_, policy)| *policy).collect();
                let mut expected = model.clone();
                kept.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(kept, expected);
            }
        }
    }
}
