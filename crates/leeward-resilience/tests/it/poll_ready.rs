//! Defect 9 for the layers that wrap a call as a whole: fallback, cache, fault injection.

use std::future::ready;

use leeward_resilience::cache::{CacheLayer, Memory};
use leeward_resilience::fallback::FallbackLayer;
use leeward_resilience::fault::FaultLayer;
use leeward_resilience::{AnswerCache, Cache, Error, Fallback, FallbackPolicy, FaultInjector, MemoryStore};
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt};

use crate::strict::{Failed, Strict, classify};

#[tokio::test(start_paused = true)]
async fn defect_9_the_other_layers_keep_the_contract_of_poll_ready_too() {
    let strict = Strict::new(|_, request: u32| {
        ready(if request == 503 { Err(Error::Inner(Failed(503))) } else { Ok(request) })
    });
    let service =
        FaultLayer::new(FaultInjector::off(), |_| Err(Error::Inner(Failed(500)))).layer(strict.clone());
    let store = MemoryStore::new(Memory::default(), |_, _| 8).unwrap();
    let cache = AnswerCache::new("strict", Cache::default(), store).unwrap();
    let service = CacheLayer::new(cache, classify, |request: &u32| Some(*request)).layer(service);
    let policy = FallbackPolicy::new("strict", Fallback::default(), None).unwrap();
    // There is no substitute.
    let none = |request: u32, _| ready(Err(request));
    let mut service = FallbackLayer::new(policy, classify, |request: &u32| *request, none).layer(service);
    let mut calls = JoinSet::new();
    for number in 0..100_u32 {
        let request = if number % 10 == 0 { 503 } else { number % 7 };
        // Made ready and called on one clone, or on a clone of one that was made ready.
        if number % 2 == 0 {
            calls.spawn(service.clone().oneshot(request));
        } else {
            calls.spawn(service.ready().await.unwrap().call(request));
        }
    }
    let answers = calls.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 10);
    // One load for each of seven keys; the failures are not kept, and at least one call made each load.
    let sent = strict.calls();
    assert!((8..=17).contains(&sent), "{sent}");
}
