//! Options are replaced while calls are on their way, and the state is kept.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::cache::Memory;
use leeward_resilience::hedge::Delay;
use leeward_resilience::rate::Rule;
use leeward_resilience::{
    Adaptive, AdaptiveLimit, AnswerCache, Budget, Cache, Class, Clock, Concurrency, ConcurrencyLimit, Error,
    FastRng, FaultInjector, Faults, Gradient2, Hedge, Hedger, KeyedRateLimiter, ManualClock, MemoryStore,
    Priority, RateLimit, RateLimiter, RetryBudget, Shed, Shedder, SlidingWindow, Throttle, Throttler,
    TokioClock,
};
use proptest::prelude::*;

use crate::seen::{Polled, Seen};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Acquire,
    Release(usize),
    GiveUp(usize),
    Resize(u32, u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => Just(Step::Acquire),
        3 => (0_usize..20).prop_map(Step::Release),
        1 => (0_usize..20).prop_map(Step::GiveUp),
        2 => (1_u32..6, 0_u32..5).prop_map(|(limit, queue)| Step::Resize(limit, queue)),
    ]
}

proptest! {
    /// The naive model is a number of calls on their way and a deque of those who wait.
    #[test]
    fn a_limit_that_is_resized_does_what_a_deque_does(steps in prop::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _entered = runtime.enter();
        let (mut limit, mut queue) = (3, 2);
        let max_wait = Duration::from_secs(60);
        let config = Concurrency { limit: count(limit), queue, max_wait, ..Concurrency::default() };
        let handle = ConcurrencyLimit::new(config).unwrap();
        let (mut permits, mut waiting) = (Vec::new(), VecDeque::new());
        for step in steps {
            // In the model the first of those who wait pass as soon as there is room.
            let mut expected = permits.len();
            let mut expected_waiting = waiting.len();
            match step {
                Step::Acquire => {
                    let mut acquire = Polled::new(handle.acquire());
                    let polled = acquire.poll();
                    let free = waiting.is_empty() && permits.len() < limit as usize;
                    let place = waiting.len() < queue as usize;
                    match polled {
                        Some(Ok(permit)) => {
                            prop_assert!(free);
                            permits.push(permit);
                        }
                        Some(Err(_)) => prop_assert!(!free && !place),
                        None => {
                            prop_assert!(!free && place);
                            waiting.push_back(acquire);
                        }
                    }
                    expected = permits.len();
                    expected_waiting = waiting.len();
                }
                Step::Release(index) if !permits.is_empty() => {
                    drop(permits.swap_remove(index % permits.len()));
                    expected -= 1;
                }
                Step::GiveUp(index) if !waiting.is_empty() => {
                    waiting.remove(index % waiting.len());
                    expected_waiting -= 1;
                }
                Step::Resize(new_limit, new_queue) => {
                    handle.resize(count(new_limit), new_queue).unwrap();
                    (limit, queue) = (new_limit, new_queue);
                }
                Step::Release(_) | Step::GiveUp(_) => {}
            }
            while expected_waiting > 0 && expected < limit as usize {
                expected += 1;
                expected_waiting -= 1;
            }
            prop_assert_eq!((handle.in_flight() as usize, handle.waiting() as usize), (expected, expected_waiting));
            while waiting.len() > expected_waiting {
                let mut first: Polled<_> = waiting.pop_front().unwrap();
                permits.push(first.poll().expect("the first who waits is woken").unwrap());
            }
            for waiting in &mut waiting {
                prop_assert!(waiting.poll().is_none());
            }
        }
    }

    /// The naive model keeps the time of each call: within no stretch shorter than every period that was in force do more
    /// pass than the limit was at its end.
    #[test]
    fn a_sliding_window_keeps_its_promise_across_reloads(
        steps in prop::collection::vec((0_u64..60, 0_u8..12, 1_u32..8, 2_u64..9), 1..300),
    ) {
        let (clock, mut limit) = (ManualClock::new(), 4);
        let rule = |limit, period: u64| SlidingWindow {
            period: Duration::from_millis(period * 100), ..SlidingWindow::per_second(count(limit))
        };
        let limiter = RateLimiter::with("upstream", &rule(limit, 5), Arc::new(clock.clone()), None).unwrap();
        let mut log: Vec<u64> = Vec::new();
        for (pause, action, new_limit, period) in steps {
            clock.advance(Duration::from_millis(pause));
            if action == 0 {
                limiter.reconfigure(&rule(new_limit, period)).unwrap();
                limit = new_limit;
            } else if limiter.check(clock.now()).allowed {
                log.push(clock.now().as_nanos());
                let recent = log.iter().filter(|&&at| at + 200_000_000 > clock.now().as_nanos()).count();
                prop_assert!(recent <= limit as usize, "{recent} of {limit}");
            }
        }
    }

    /// The part of the burst that is free never grows by a reload, whatever the rules are, and for a key neither.
    #[test]
    fn no_reload_makes_a_burst_free(
        rules in prop::collection::vec((1_u32..50, 1_u32..50, 1_u64..50, any::<bool>()), 2..12),
        used in 30_u32..60,
        pause in prop_oneof![Just(0), 1_u64..200],
    ) {
        let rule = |(limit, burst, period, gcra): (u32, u32, u64, bool)| -> Rule {
            let period = Duration::from_millis(period * 100);
            if gcra {
                RateLimit { period, burst: count(burst), ..RateLimit::per_second(count(limit)) }.into()
            } else {
                SlidingWindow { period, ..SlidingWindow::per_second(count(limit)) }.into()
            }
        };
        let clock = ManualClock::new();
        let limiter = RateLimiter::with("upstream", &rule(rules[0]), Arc::new(clock.clone()), None).unwrap();
        let keyed =
            KeyedRateLimiter::<String>::with("upstream", &rule(rules[0]), 10, Arc::new(clock.clone()), None).unwrap();
        for _ in 0..used {
            let _ = (limiter.check(clock.now()), keyed.check("key", clock.now()));
        }
        clock.advance(Duration::from_millis(pause));
        // Not a nanosecond of the debt is paid off.
        let refused = !limiter.check(clock.now()).allowed;
        let full = pause == 0 && refused;
        let _ = keyed.check("key", clock.now());
        for (number, next) in rules[1..].iter().enumerate() {
            limiter.reconfigure(&rule(*next)).unwrap();
            keyed.reconfigure(&rule(*next)).unwrap();
            // What a sliding window counts are calls, and more of them may pass when its limit grows. All else keeps its part.
            if full && rules[..=number].iter().all(|rule| rule.3) {
                prop_assert!(!limiter.check(clock.now()).allowed);
            }
            let (one, key) = (limiter.check(clock.now()), keyed.check("key", clock.now()));
            prop_assert_eq!((one.allowed, one.remaining, one.version), (key.allowed, key.remaining, key.version));
        }
    }
}

#[test]
fn no_call_is_lost_or_free_while_a_rule_is_replaced() {
    for rule in
        [Rule::from(RateLimit::per_second(count(2000))), Rule::from(SlidingWindow::per_second(count(2000)))]
    {
        let clock = ManualClock::new();
        let limiter = RateLimiter::with("upstream", &rule, Arc::new(clock.clone()), None).unwrap();
        let passed: usize = std::thread::scope(|scope| {
            let calls = || {
                let (limiter, now) = (limiter.clone(), clock.now());
                scope.spawn(move || (0..5000).filter(|_| limiter.check(now).allowed).count())
            };
            let threads: Vec<_> = (0..3).map(|_| calls()).collect();
            for _ in 0..300 {
                limiter.reconfigure(&rule).unwrap();
                std::thread::yield_now();
            }
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 2000);
        assert_eq!(limiter.check(clock.now()).version, 301);
    }
}

#[test]
fn tokens_are_kept_in_proportion() {
    let clock = ManualClock::new();
    let rule = |burst| RateLimit { burst: count(burst), ..RateLimit::per_second(count(10)) };
    let limiter = RateLimiter::with("upstream", &rule(10), Arc::new(clock.clone()), None).unwrap();
    assert_eq!((0..5).map(|_| limiter.check(clock.now()).remaining).min(), Some(5));
    limiter.reconfigure(&rule(100)).unwrap();
    assert_eq!(limiter.check(clock.now()).remaining, 49);
    limiter.reconfigure(&rule(2)).unwrap();
    assert_eq!((0..5).filter(|_| limiter.check(clock.now()).allowed).count(), 0, "less than one of two");
    limiter.reconfigure(&rule(0xF_FFFF)).unwrap_err();
    assert_eq!(limiter.config(), Rule::from(rule(2)));
    assert_eq!(limiter.check(clock.now()).version, 3);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_names_the_version_and_a_mistake_changes_nothing() {
    let seen = Seen::new();
    let config = Concurrency { limit: count(1), queue: 0, ..Concurrency::default() };
    let limit = ConcurrencyLimit::with("upstream", config, seen.observer()).unwrap();
    let _held = limit.acquire().await.unwrap();
    assert_eq!(limit.acquire().await.unwrap_err().version, 1);
    limit.resize(count(2_000_000), 0).unwrap_err();
    assert_eq!((limit.config().limit, limit.acquire().await.unwrap_err().version), (count(1), 1));
    limit.resize(count(1), 1).unwrap();
    let mut waiting = Polled::new(limit.acquire());
    assert!(waiting.poll().is_none());
    let text = limit.acquire().await.unwrap_err().to_string();
    let expected =
        "rejected by concurrency: 1 calls on their way and 1 waiting; try again in 1s; options of version 2";
    assert_eq!(text, expected);
    assert_eq!(seen.names(), ["rejected", "rejected", "reconfigured", "rejected"]);
}

#[test]
fn an_adaptive_limit_keeps_what_it_found() {
    let clock = ManualClock::new();
    let limit = AdaptiveLimit::with("upstream", Adaptive::default(), Arc::new(clock.clone()), None).unwrap();
    let overload = || {
        clock.advance(MS);
        let permit = limit.acquire(clock.now()).unwrap();
        clock.advance(MS);
        permit.overload(clock.now());
    };
    (0..4).for_each(|_| overload());
    let found = limit.limit();
    assert!(found < 20 && found > 5);
    let held: Vec<_> = (0..found).map(|_| limit.acquire(clock.now()).unwrap()).collect();
    let algorithm = leeward_resilience::Algorithm::Gradient2(Gradient2::default());
    limit.reconfigure(Adaptive { algorithm, ..Adaptive::default() }).unwrap();
    assert_eq!((limit.limit(), limit.in_flight()), (found, found));
    let few =
        Adaptive { limit_min: count(1), limit_max: count(3), limit_initial: count(2), ..Adaptive::default() };
    limit.reconfigure(few).unwrap();
    assert_eq!((limit.limit(), limit.in_flight()), (3, found));
    let rejected = limit.acquire(clock.now()).unwrap_err();
    assert_eq!(rejected.version, 3);
    drop(held);
    assert!(limit.acquire(clock.now()).is_ok());
}

#[test]
fn a_throttler_and_a_budget_keep_their_counts() {
    let clock = ManualClock::new();
    clock.advance(100 * SECOND);
    let rng = Arc::new(FastRng::seeded(1));
    let config = Throttle::default();
    let throttler = Throttler::with("upstream", config.clone(), Arc::new(clock.clone()), rng, None).unwrap();
    for _ in 0..9 {
        throttler.acquire(Priority::Normal, clock.now()).unwrap().record(Class::RETRYABLE, clock.now());
    }
    assert!(throttler.probability(Priority::Normal, clock.now()) < 1e-9, "fewer than requests_min");
    let window = Duration::from_secs(60);
    throttler.reconfigure(Throttle { window, requests_min: 9, ..config.clone() }).unwrap();
    assert!(throttler.probability(Priority::Normal, clock.now()) > 0.8);
    clock.advance(40 * SECOND);
    assert!(throttler.probability(Priority::Normal, clock.now()) > 0.8, "the longer window remembers");
    throttler.reconfigure(Throttle { window: 10 * SECOND, requests_min: 9, ..config }).unwrap();
    assert!(throttler.probability(Priority::Normal, clock.now()) < 1e-9, "the shorter one does not");

    let budget = RetryBudget::new(&Budget::default(), clock.now()).unwrap();
    (0..1000).for_each(|_| budget.deposit(clock.now()));
    let granted = || (0..1000).filter(|_| budget.withdraw(clock.now())).count();
    assert_eq!(granted(), 200);
    budget
        .reconfigure(&Budget { ratio: 0.3, window: 20 * SECOND, ..Budget::default() }, clock.now())
        .unwrap();
    assert_eq!((granted(), budget.version()), (100, 2));
    clock.advance(15 * SECOND);
    assert_eq!(granted(), 0, "the longer window remembers calls and retries");
    budget.reconfigure(&Budget { ratio: 2.0, ..Budget::default() }, clock.now()).unwrap_err();
    assert_eq!(budget.config().ratio.to_string(), "0.3");
}

#[tokio::test(start_paused = true)]
async fn a_shedder_passes_its_options_on_to_its_limit() {
    let shedder = Shedder::new("upstream", Shed::default()).unwrap();
    let _held = shedder.acquire(Priority::Low).await.unwrap();
    let concurrency = Concurrency { limit: count(1), queue: 0, ..Concurrency::default() };
    shedder.reconfigure(Shed { concurrency, target: 50 * MS, ..Shed::default() }).unwrap();
    let rejected = shedder.acquire(Priority::Critical).await.unwrap_err();
    assert_eq!((rejected.policy, rejected.version), ("concurrency", 2));
    assert_eq!(shedder.config().target, 50 * MS);
    shedder.reconfigure(Shed { target: Duration::ZERO, ..Shed::default() }).unwrap_err();
    assert_eq!(shedder.limit().config().limit, count(1), "nothing of wrong options comes into force");
}

#[tokio::test(start_paused = true)]
async fn a_hedger_keeps_its_latencies() {
    let quantile = |quantile| Delay::Quantile { quantile, initial: 250 * MS, min: 5 * MS, max: SECOND };
    let config = Hedge { delay: quantile(0.95), ..Hedge::default() };
    let hedger = Hedger::new(config.clone()).unwrap();
    for number in 0..100 {
        let send = |_| async move {
            tokio::time::sleep(if number % 10 == 0 { 80 * MS } else { 20 * MS }).await;
            Ok::<_, ()>(())
        };
        hedger.call(leeward_resilience::Call::ONCE, send, |_| Class::Success).await.unwrap();
    }
    assert!(hedger.delay(TokioClock.now()) > 79 * MS);
    hedger.reconfigure(Hedge { delay: quantile(0.5), ..config.clone() }).unwrap();
    let delay = hedger.delay(TokioClock.now());
    assert!(delay > 19 * MS && delay < 30 * MS, "{delay:?}");
    hedger.reconfigure(Hedge { delay: Delay::Fixed(7 * MS), ..config.clone() }).unwrap();
    assert_eq!(hedger.delay(TokioClock.now()), 7 * MS);
    let wrong = Hedge { budget: Budget { ratio: 9.0, ..Budget::default() }, max_hedges: 9, ..config };
    assert_eq!(hedger.reconfigure(wrong).unwrap_err().mistakes.len(), 2);
    assert_eq!(hedger.delay(TokioClock.now()), 7 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_cache_keeps_answers_and_forgets_errors_when_it_is_to_remember_none() {
    let store = MemoryStore::new(Memory::default(), |_: &u8, _: &u8| 1).unwrap();
    let config = Cache { negative_ttl: Some(60 * SECOND), ..Cache::default() };
    let cache: AnswerCache<u8, u8, &str> = AnswerCache::new("upstream", config.clone(), store).unwrap();
    let get = async |key, answer: Result<u8, &'static str>| {
        let class = if answer.is_ok() { Class::Success } else { Class::PERMANENT };
        cache.get(&key, || async move { answer.map_err(Error::Inner) }, |_| class).await.map(|it| it.value)
    };
    assert_eq!((get(1, Ok(1)).await, get(2, Err("gone")).await), (Ok(1), Err(Error::Inner("gone"))));
    assert_eq!((get(1, Ok(7)).await, get(2, Ok(7)).await), (Ok(1), Err(Error::Inner("gone"))));
    cache.reconfigure(Cache::default()).unwrap();
    assert_eq!((get(1, Ok(7)).await, get(2, Ok(7)).await), (Ok(1), Ok(7)));
    // What was forgotten does not come back with the option.
    cache.reconfigure(config).unwrap();
    assert_eq!(get(2, Ok(8)).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn an_experiment_ends_as_if_it_had_always_had_its_options() {
    let injector = FaultInjector::allowed(Arc::new(TokioClock), Arc::new(FastRng::seeded(1)));
    let faults = Faults { refused_share: 1.0, faults_max: 10, lasts: 10 * SECOND, ..Faults::default() };
    injector.set(faults.clone()).unwrap();
    let call = async || injector.call(async || Ok::<_, ()>(()), |_| Err(())).await.is_err();
    for _ in 0..4 {
        assert!(call().await);
    }
    tokio::time::advance(5 * SECOND).await;
    injector.reconfigure(Faults { faults_max: 5, lasts: 6 * SECOND, ..faults.clone() }).unwrap();
    assert_eq!((call().await, call().await), (true, false), "the fifth is the last");
    injector.set(faults.clone()).unwrap();
    tokio::time::advance(5 * SECOND).await;
    injector.reconfigure(Faults { lasts: 6 * SECOND, ..faults.clone() }).unwrap();
    tokio::time::advance(SECOND).await;
    assert!(!call().await && injector.running().is_none());
    assert!(FaultInjector::off().reconfigure(faults).is_err());
}
