//! Keyed policies: one policy for each upstream host, tenant or shard, made when it is first asked for, in bounded memory.
//!
//! **Rule.** [`Keyed`] makes a policy for a key from options that all of them share, and hands it out by a lookup from then
//! on. It remembers at most `keys_max` keys. When there is one more, the key used longest ago goes whose policy is not
//! *busy*: nobody holds it or a permit of it, and it refuses nobody (a breaker is closed, a throttler lets all pass). Of
//! those used longest ago 32 are asked; when all of them are busy, the one used longest ago goes all the same, since
//! memory without bound would be worse. Whoever still holds it can end his call, but the key's next call meets a new
//! policy: its window is empty, and it knows of no permits. The observer hears of every eviction, and whether it was busy.
//!
//! Which one is meant by a key is explicit: two hosts of one service share a breaker only if they have the same key.
//!
//! **Panic.** When most of the keys fail together, their breakers open together, and what is refused then is nearly
//! everything, by a fault that is not theirs (our own network, a dependency that they share). [`KeyedBreakers`] then lets
//! calls pass: as long as more than `open_share` of at least `keys_min` keys are open or half-open. These calls are recorded, as
//! probes where the breaker is half-open. What an operator forced open stays open and does not count. After Envoy's panic
//! threshold for load balancing.
//!
//! **Names.** The policies of all keys are told of under the one name: a name for each would be a set of labels without bound.
//!
//! **Cost.** A lookup of a key that is remembered is one short lock, of one shard among up to 16, and a clone of the policy's handle;
//! it allocates nothing. A new key makes a policy under that lock.
//!
//! Trade-off: with more than one shard, a shard may be full a little before all of them are.

mod breakers;
mod policy;
mod shard;

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;

pub use self::breakers::{KeyedBreakers, Panic};
pub use self::policy::{KeyedPolicy, Parts};

use self::shard::{Evicted, Shard};
use crate::config::ConfigErrors;
use crate::live::Live;
use crate::observe::{Event, Observer};
use crate::random::{FastRng, Rng};
use crate::time::{Clock, TokioClock};

/// Shards, so that cores seldom meet at one lock.
const SHARDS_MAX: usize = 16;

/// Fewer keys are not worth a shard of their own, and would fill it unevenly.
const SHARD_KEYS_MIN: usize = 256;

/// Options of [`Keyed`] policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedOptions<O> {
    /// The options of the policy of every key.
    pub policy: O,
    /// Keys that are remembered at most, 1 ..= 100,000, rounded up to a multiple of the shards (one for each 256 keys, at
    /// most 16). Default 1,000: more hosts or tenants than most have. A breaker takes 1.5 kB
    /// on two processors and 12 kB on sixteen and more.
    pub keys_max: usize,
}

impl<O: Default> Default for KeyedOptions<O> {
    fn default() -> Self {
        Self { policy: O::default(), keys_max: 1000 }
    }
}

/// A policy for each key. Clones share all of them.
///
/// ```
/// use leeward_resilience::{Concurrency, ConcurrencyLimit, Keyed, KeyedOptions};
///
/// let tenants = Keyed::<String, ConcurrencyLimit>::new("tenants", KeyedOptions::<Concurrency>::default())?;
/// let permit = tenants.get("acme").try_acquire();
/// assert_eq!((tenants.get("acme").in_flight(), tenants.get("globex").in_flight()), (1, 0));
/// # drop(permit);
/// # Ok::<(), leeward_resilience::ConfigErrors>(())
/// ```
pub struct Keyed<K, P: KeyedPolicy> {
    shared: Arc<Shared<K, P>>,
}

struct Shared<K, P: KeyedPolicy> {
    parts: Parts,
    live: Live<KeyedOptions<P::Options>>,
    shards: Vec<Mutex<Shard<K, P>>>,
    hasher: RandomState,
    /// Held while the policies get other options, one after the other.
    replacing: Mutex<()>,
}

impl<K: Hash + Eq + Clone, P: KeyedPolicy> Keyed<K, P> {
    /// Policies on tokio time, none so far.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn new(name: impl Into<Arc<str>>, options: KeyedOptions<P::Options>) -> Result<Self, ConfigErrors> {
        Self::with(name, options, Arc::new(TokioClock), Arc::new(FastRng::from_entropy()), None)
    }

    /// Policies with their own clock, randomness and observer, none so far.
    ///
    /// # Errors
    /// Every option outside its range.
    pub fn with(
        name: impl Into<Arc<str>>,
        options: KeyedOptions<P::Options>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ConfigErrors> {
        Self::check(&options)?;
        let parts = Parts { name: name.into(), clock, rng, observer };
        let shards = (options.keys_max / SHARD_KEYS_MIN).clamp(1, SHARDS_MAX);
        let shared = Shared {
            parts,
            live: Live::new(options),
            shards: (0..shards).map(|_| Mutex::new(Shard::new())).collect(),
            hasher: RandomState::new(),
            replacing: Mutex::new(()),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    fn check(options: &KeyedOptions<P::Options>) -> Result<(), ConfigErrors> {
        let mut errors = ConfigErrors::default();
        errors.merge(P::validate(&options.policy));
        let keys_ok = (1..=100_000).contains(&options.keys_max);
        errors.check(keys_ok, "keyed.keys_max", options.keys_max, "1 to 100000");
        errors.finish()
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.parts.name
    }

    /// The options in force.
    #[must_use]
    pub fn config(&self) -> KeyedOptions<P::Options> {
        self.shared.live.load().options.clone()
    }

    /// The policy of `key`, which is made if there is none. Only a key that is not remembered is copied.
    ///
    /// Hold it for as long as a call takes: who holds it longer keeps it from being forgotten, or, when it is forgotten all
    /// the same, has another one than the key.
    #[must_use]
    pub fn get<Q>(&self, key: &Q) -> P
    where
        K: Borrow<Q>,
        Q: ?Sized + Hash + Eq + ToOwned,
        Q::Owned: Into<K>,
    {
        self.seek(key).0
    }

    /// The policy of `key`, and whether it was made just now.
    pub(crate) fn seek<Q>(&self, key: &Q) -> (P, bool)
    where
        K: Borrow<Q>,
        Q: ?Sized + Hash + Eq + ToOwned,
        Q::Owned: Into<K>,
    {
        let shared = &*self.shared;
        let (policy, evicted) = {
            let mut shard = shared.shard(key).lock();
            if let Some(policy) = shard.get(key) {
                return (policy.clone(), false);
            }
            let live = shared.live.load();
            let evicted = shared.evict_to(&mut shard, live.options.keys_max, 1);
            let Ok(policy) = P::make(live.options.policy.clone(), &shared.parts) else {
                unreachable!("the options were checked before they came into force")
            };
            shard.insert(key.to_owned().into(), policy.clone());
            (policy, evicted)
        };
        shared.tell(evicted);
        (policy, true)
    }

    /// Puts other options into force, for the policies that there are and for those to come. State is kept; with a smaller
    /// `keys_max` the keys go that would go next. A rejection's version counts from when its key's policy was made.
    ///
    /// # Errors
    /// Every option outside its range; the old options then stay.
    pub fn reconfigure(&self, options: KeyedOptions<P::Options>) -> Result<(), ConfigErrors> {
        Self::check(&options)?;
        let shared = &*self.shared;
        let _one_at_a_time = shared.replacing.lock();
        shared.live.replace(options.clone(), |_, _| {});
        for shard in &shared.shards {
            let (evicted, policies) = {
                let mut shard = shard.lock();
                let evicted = shared.evict_to(&mut shard, options.keys_max, 0);
                (evicted, shard.iter().map(|(_, policy)| policy.clone()).collect::<Vec<_>>())
            };
            shared.tell(evicted);
            for policy in policies {
                // One that was made meanwhile has them already.
                if policy.options() != options.policy {
                    policy.replace(options.policy.clone())?;
                }
            }
        }
        Ok(())
    }

    /// Keys that are remembered.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shared.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Looks at every policy, under the lock of its shard.
    fn for_each(&self, mut look: impl FnMut(&P)) {
        for shard in &self.shared.shards {
            shard.lock().iter().for_each(|(_, policy)| look(policy));
        }
    }

    /// All keys with their policies, in no order: for pages and metrics.
    #[must_use]
    pub fn entries(&self) -> Vec<(K, P)> {
        let mut entries = Vec::with_capacity(self.keys());
        for shard in &self.shared.shards {
            entries.extend(shard.lock().iter().map(|(key, policy)| (key.clone(), policy.clone())));
        }
        entries
    }
}

impl<K: Hash + Eq + Clone, P: KeyedPolicy> Shared<K, P> {
    fn shard<Q: ?Sized + Hash>(&self, key: &Q) -> &Mutex<Shard<K, P>> {
        if self.shards.len() == 1 {
            return &self.shards[0];
        }
        let shard = usize::try_from(self.hasher.hash_one(key) % self.shards.len() as u64);
        &self.shards[shard.unwrap_or(0)]
    }

    /// Forgets keys until there is `room` in the shard.
    fn evict_to(&self, shard: &mut Shard<K, P>, keys_max: usize, room: usize) -> Vec<Evicted<P>> {
        let most = keys_max.div_ceil(self.shards.len());
        let mut evicted = Vec::new();
        while shard.len() + room > most {
            let now = self.parts.clock.now();
            evicted.extend(shard.evict(|policy| policy.is_busy(now)));
        }
        evicted
    }

    /// Tells of evictions once no lock is held.
    fn tell(&self, evicted: Vec<Evicted<P>>) {
        for Evicted { policy, busy } in evicted {
            if let Some(observer) = &self.parts.observer {
                observer.observe(&self.parts.name, &Event::KeyEvicted { busy });
            }
            drop(policy);
        }
    }
}

impl<K, P: KeyedPolicy> Clone for Keyed<K, P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K, P: KeyedPolicy> fmt::Debug for Keyed<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("name", &self.shared.parts.name)
            .field("options", &self.shared.live.load().options)
            .finish_non_exhaustive()
    }
}
