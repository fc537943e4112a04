//! What observers are told: each decision once, with a name and attributes.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::breaker::State;
use leeward_resilience::cache::{Answered, Memory};
use leeward_resilience::fallback::Cause;
use leeward_resilience::fault::Fault;
use leeward_resilience::hedge::Delay;
use leeward_resilience::observe::{Value, span_events};
use leeward_resilience::{
    AnswerCache, Breaker, Cache, Call, Class, Concurrency, Error, Event, FastRng, FaultInjector, Faults,
    Hedge, Hedger, MemoryStore, Pipeline, Reason, Rejected, TokioClock,
};

use crate::allocations::allocations;
use crate::seen::Seen;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_rejection_is_told_once_whoever_asked() {
    let seen = Seen::new();
    let pipeline = Pipeline::builder("upstream")
        .breaker(Breaker::default())
        .concurrency(Concurrency { limit: NonZeroU32::MIN, queue: 0, ..Concurrency::default() })
        .observer(Arc::<Seen>::clone(&seen))
        .build()
        .unwrap();
    let call = async || pipeline.call(Call::ONCE, async |_| Ok::<_, ()>(()), |_| Class::Success).await;
    let held = pipeline.concurrency().unwrap().try_acquire();
    assert!(matches!(call().await, Err(Error::Rejected(_))));
    assert_eq!(seen.names(), ["rejected"]);
    drop(held);
    pipeline.breaker().unwrap().force_open();
    seen.take();
    let Err(Error::Rejected(rejected)) = call().await else { panic!("it is held open") };
    assert_eq!(seen.take(), [Event::Rejected(rejected)]);
}

#[tokio::test(start_paused = true)]
async fn hedges_cache_answers_and_faults_are_told() {
    let seen = Seen::new();
    let config = Hedge { delay: Delay::Fixed(50 * MS), ..Hedge::default() };
    let hedger = Hedger::with("upstream", config, None, Arc::new(TokioClock), seen.observer()).unwrap();
    for _ in 0..11 {
        let send = |attempt| async move {
            tokio::time::sleep(if attempt == 0 { 200 * MS } else { 10 * MS }).await;
            Ok::<_, ()>(())
        };
        hedger.call(Call::REPLAYABLE, send, |_| Class::Success).await.unwrap();
    }
    let mut told = seen.take();
    assert_eq!(told.pop(), Some(Event::HedgeRefused));
    assert_eq!(told[..2], [Event::Hedged { attempt: 1, delay: 50 * MS }, Event::HedgeWon]);
    assert_eq!(told.len(), 20, "the floor of the budget is ten");

    let store = MemoryStore::new(Memory::default(), |_: &u8, _: &u8| 1).unwrap();
    let (clock, rng) = (Arc::new(TokioClock), Arc::new(FastRng::seeded(1)));
    let config = Cache { ttl_jitter: 0.0, ..Cache::default() };
    let cache =
        AnswerCache::with("upstream", config, store, clock.clone(), rng.clone(), seen.observer()).unwrap();
    let get = async |answer: Result<u8, &'static str>| {
        let load = || async {
            tokio::time::sleep(MS).await;
            answer.map_err(Error::Inner)
        };
        let _ = cache.get(&1, load, |it| if it.is_ok() { Class::Success } else { Class::RETRYABLE }).await;
    };
    tokio::join!(get(Ok(1)), get(Ok(1)));
    get(Ok(1)).await;
    tokio::time::advance(Duration::from_secs(20)).await;
    get(Err("503")).await;
    let answered = |from| Event::CacheAnswered { from };
    let mut told = seen.take();
    assert_eq!(told.pop(), Some(Event::FellBack { cause: Cause::Retryable, answered: true }));
    let expected = [Answered::Loaded, Answered::Coalesced, Answered::Hit, Answered::Stale].map(answered);
    assert_eq!(told, expected);

    let injector = FaultInjector::with("upstream", clock, rng, seen.observer());
    injector.set(Faults { latency_share: 1.0, error_share: 1.0, ..Faults::default() }).unwrap();
    let _ = injector.call(async || Ok::<_, ()>(()), |_| Err(())).await;
    let fault = Event::FaultInjected { latency: Some(100 * MS), fault: Some(Fault::Error) };
    assert_eq!(seen.take()[1..], [fault]);
}

fn one_of_each() -> Vec<Event> {
    let rejected = Rejected::new("shed", Reason::NoEndpoint).with_retry_after(Some(MS)).with_version(2);
    let (attempt, delay, after, cause) = (1, 5 * MS, 7 * MS, Cause::Timeout);
    let (latency, fault, from) = (Some(MS), Some(Fault::LostReply), Answered::Negative);
    vec![
        Event::BreakerChanged { from: State::Closed, to: State::Open },
        Event::Rejected(rejected),
        Event::WouldReject(rejected),
        Event::Retrying { attempt, delay },
        Event::WouldRetry { attempt, delay },
        Event::RetryBudgetExhausted,
        Event::AttemptTimeout { after },
        Event::WouldTimeOut { after },
        Event::Hedged { attempt, delay },
        Event::WouldHedge { attempt, delay },
        Event::HedgeWon,
        Event::HedgeRefused,
        Event::CacheAnswered { from },
        Event::WouldAnswer { from },
        Event::RateStoreUnavailable { allowed: true },
        Event::AdaptiveLimitChanged { from: 1, to: 2 },
        Event::ShedLevelChanged { from: 1, to: 2 },
        Event::FellBack { cause, answered: true },
        Event::WouldFallBack { cause },
        Event::FaultInjected { latency, fault },
        Event::WouldFault { latency, fault },
        Event::Reconfigured { policy: "breaker", version: 2 },
        Event::KeyEvicted { busy: true },
        Event::PanicChanged { panicking: true, open: 6, keys: 10 },
    ]
}

#[test]
fn every_event_has_a_name_of_its_own_and_attributes_without_allocating() {
    let events = one_of_each();
    let names: HashSet<_> = events.iter().map(Event::name).collect();
    assert_eq!(names.len(), events.len());
    for event in &events {
        let span = event.span_event();
        assert_eq!(span.name, event.name());
        assert!(span.name.starts_with("leeward."));
        assert_eq!(event.is_shadow(), span.name.contains("would_"), "{}", span.name);
        let keys: HashSet<_> = span.attributes().iter().map(|(key, _)| key).collect();
        assert!(keys.len() == span.attributes().len() && keys.iter().all(|key| key.starts_with("leeward.")));
    }
    let all = || events.iter().map(|event| event.span_event().attributes().len()).sum::<usize>();
    assert_eq!(allocations(|| assert!(all() > 30)), 0);
    let span = events[2].span_event();
    assert_eq!(span.name, span_events::WOULD_REJECT);
    let expected = [
        (span_events::keys::POLICY, Value::Str("shed")),
        (span_events::keys::REASON, Value::Str("no-endpoint")),
        (span_events::keys::VERSION, Value::U64(2)),
        (span_events::keys::RETRY_AFTER_MS, Value::F64(1.0)),
    ];
    assert_eq!(span.attributes(), expected);
}
