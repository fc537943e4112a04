//! What answers in the place of a call: cache, fallback, fault injection.

use std::sync::Arc;

use leeward_resilience::cache::{Entry, Found, Memory, Source, Store};
use leeward_resilience::fault::Fault;
use leeward_resilience::{
    AnswerCache, Cache, Clock, Error, Fallback, FallbackPolicy, FastRng, FaultInjector, Faults, Instant,
    MemoryStore, TokioClock,
};
use tokio::task::JoinHandle;

use super::{Live, MS, at_every_await_point, at_once};
use crate::strict::{Failed, classify};

/// A store that takes its time for everything.
#[derive(Debug)]
struct Slow(MemoryStore<u8, u32>);

impl Store<u8, u32> for Slow {
    type Error = std::convert::Infallible;

    async fn get(&self, key: &u8, now: Instant) -> Result<Option<Found<u32>>, Self::Error> {
        tokio::time::sleep(MS).await;
        self.0.get(key, now).await
    }

    async fn put(&self, key: &u8, entry: Entry<u32>, now: Instant) -> Result<(), Self::Error> {
        tokio::time::sleep(MS).await;
        self.0.put(key, entry, now).await
    }

    async fn remove(&self, key: &u8) -> Result<(), Self::Error> {
        self.0.remove(key).await
    }
}

type Answers = AnswerCache<u8, u32, Failed, Slow>;

fn cache() -> Answers {
    let store = Slow(MemoryStore::new(Memory::default(), |_, _| 8).unwrap());
    AnswerCache::new("slow", Cache { waiters_max: 1, ..Cache::default() }, store).unwrap()
}

async fn get(cache: &Answers, live: &Live, good: bool) -> Result<Source, Error<Failed>> {
    let load = || async { live.call(good).await.map_err(Error::Inner) };
    cache.get(&1, load, classify).await.map(|cached| cached.source)
}

/// The next one leads, one more may wait for it, and both get an answer.
async fn assert_clear(cache: &Answers, live: &Live, at: &str) {
    assert_eq!(live.count(), 0, "{at}");
    assert!(cache.invalidate(&1).await);
    let both = async { tokio::join!(get(cache, live, true), get(cache, live, true)) };
    let Ok((one, other)) = tokio::time::timeout(10 * MS, both).await else { panic!("held up: {at}") };
    let shared = [Ok(Source::Loaded), Ok(Source::Coalesced)];
    assert!(one != other && shared.contains(&one) && shared.contains(&other), "{one:?} {other:?}: {at}");
}

#[tokio::test(start_paused = true)]
async fn the_one_who_loads() {
    let call = async |(cache, live): &(Answers, Live)| {
        assert_eq!(get(cache, live, true).await, Ok(Source::Loaded));
    };
    let check = async |(cache, live): &(Answers, Live), at: &str| assert_clear(cache, live, at).await;
    // Two looks into the store, two waits of the load, and one for keeping it.
    assert_eq!(at_every_await_point(|| (cache(), Live::default()), call, check).await, 5);
}

#[tokio::test(start_paused = true)]
async fn the_one_who_loads_hands_over_to_the_one_who_waits() {
    struct Scene {
        cache: Answers,
        live: Live,
    }
    let call = async |scene: &Scene| drop(get(&scene.cache, &scene.live, true).await);
    let scene = || Scene { cache: cache(), live: Live::default() };
    let points = at_every_await_point(scene, call, async |_, _| ()).await;
    for polls in 1..=points {
        for when in [super::When::Waiting, super::When::Woken] {
            let scene = scene();
            let leads = super::dropped_after(polls, when, call(&scene));
            let waits = get(&scene.cache, &scene.live, true);
            let at = format!("{polls} polls, {when:?}");
            let both = async { tokio::join!(leads, waits) };
            let Ok((_, waited)) = tokio::time::timeout(20 * MS, both).await else { panic!("held up: {at}") };
            waited.unwrap();
            assert_clear(&scene.cache, &scene.live, &at).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_one_who_waits() {
    struct Scene {
        cache: Answers,
        live: Live,
        leader: JoinHandle<()>,
    }
    // The leader loads, or is dropped on the way, so that the one who waits takes over.
    for leader_gives_up in [false, true] {
        let scene = || {
            let (cache, live) = (cache(), Live::default());
            let leader = tokio::spawn({
                let (cache, live) = (cache.clone(), live.clone());
                async move {
                    let load = get(&cache, &live, true);
                    if leader_gives_up {
                        let _ = tokio::time::timeout(3 * MS, load).await;
                    } else {
                        load.await.unwrap();
                    }
                }
            });
            Scene { cache, live, leader }
        };
        let call = async |scene: &Scene| {
            // The leader has its seat by then.
            tokio::time::sleep(MS).await;
            let source = get(&scene.cache, &scene.live, true).await.unwrap();
            assert_eq!(source, if leader_gives_up { Source::Loaded } else { Source::Coalesced });
        };
        let check = async |scene: &Scene, at: &str| {
            while !scene.leader.is_finished() {
                tokio::time::sleep(MS).await;
            }
            assert_clear(&scene.cache, &scene.live, at).await;
        };
        let points = at_every_await_point(scene, call, check).await;
        assert_eq!(points, if leader_gives_up { 7 } else { 3 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_and_its_substitute() {
    let scene = || (FallbackPolicy::new("fallback", Fallback::default(), None).unwrap(), Live::default());
    let call = async |(policy, live): &(FallbackPolicy, Live)| {
        let failed = async { live.call(false).await.map_err(Error::Inner) };
        policy.or_call(failed, classify, |_| live.call(true)).await.unwrap();
    };
    let check = async |(_, live): &(FallbackPolicy, Live), at: &str| assert_eq!(live.count(), 0, "{at}");
    assert_eq!(at_every_await_point(scene, call, check).await, 4);
}

#[tokio::test(start_paused = true)]
async fn an_injected_latency_and_a_lost_reply() {
    let scene = || {
        let injector = FaultInjector::allowed(Arc::new(TokioClock), Arc::new(FastRng::seeded(1)));
        let faults = Faults { latency_share: 1.0, lost_reply_share: 1.0, faults_max: 2, ..Faults::default() };
        injector.set(faults).unwrap();
        (injector, Live::default())
    };
    let call = async |(injector, live): &(FaultInjector, Live)| {
        let started = TokioClock.now();
        let seen_as = |fault| Err(Failed(u32::from(fault == Fault::LostReply)));
        assert_eq!(injector.call(|| live.call(true), seen_as).await, Err(Failed(1)));
        assert!(TokioClock.now() > started);
    };
    let check = async |(injector, live): &(FaultInjector, Live), at: &str| {
        assert_eq!(live.count(), 0, "{at}");
        // Two calls are touched at most, given up or not.
        for _ in 0..3 {
            let _ = injector.call(|| async { Ok::<_, Failed>(7) }, |_| Err(Failed(0))).await;
        }
        assert_eq!((injector.counts().lost_replies, injector.running()), (2, None), "{at}");
        let next = injector.call(|| async { Ok::<_, Failed>(7) }, |_| Err(Failed(0)));
        assert_eq!(at_once(next, at).await, Ok(7));
    };
    assert_eq!(at_every_await_point(scene, call, check).await, 3);
}
