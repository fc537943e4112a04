//! The pipeline with every policy: what each does among the others, and what they leave behind.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use leeward_resilience::breaker::State;
use leeward_resilience::cache::{Memory, MemoryStore, Source};
use leeward_resilience::fallback::{Answer, Cause};
use leeward_resilience::fault::Fault;
use leeward_resilience::hedge::Delay;
use leeward_resilience::pipeline::PipelineBuilder;
use leeward_resilience::{
    Adaptive, Attempt, Breaker, Budget, Cache, Call, Class, Clock, Concurrency, Effort, Error, Event,
    Fallback, FastRng, FaultInjector, Faults, Hedge, Mode, Observer, Pipeline, PipelineOptions, Priority,
    RateLimit, Reason, Retry, Throttle, Timeout, TokioClock,
};
use tokio::time::{Instant, sleep};

const MS: Duration = Duration::from_millis(1);

type Result<T> = std::result::Result<T, &'static str>;

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn classify<T>(result: &Result<T>) -> Class {
    match result {
        Ok(_) => Class::Success,
        Err("mine") => Class::Ignored,
        Err("broken") => Class::PERMANENT,
        Err(_) => Class::RETRYABLE,
    }
}

fn builder() -> PipelineBuilder {
    Pipeline::builder("upstream").deadline(Duration::from_secs(2)).rng(Arc::new(FastRng::seeded(5)))
}

async fn good(pipeline: &Pipeline) -> std::result::Result<u32, Error<&'static str>> {
    pipeline.call(Call::REPLAYABLE, async |attempt: Attempt| Ok(attempt.number), classify).await
}

async fn bad(pipeline: &Pipeline, call: Call) -> std::result::Result<u32, Error<&'static str>> {
    pipeline.call(call, async |_| Err("reset"), classify).await
}

#[derive(Debug, Default)]
struct Seen(std::sync::Mutex<Vec<Event>>);

impl Observer for Seen {
    fn observe(&self, _: &str, event: &Event) {
        self.0.lock().unwrap().push(*event);
    }
}

#[test]
fn the_order_does_not_depend_on_who_was_named_first() {
    let all = builder()
        .attempt_timeout(300 * MS)
        .concurrency(Concurrency::default())
        .adaptive(Adaptive::default())
        .rate_limit(RateLimit::per_second(count(5)))
        .breaker(Breaker::default())
        .throttle(Throttle::default())
        .hedge(Hedge::default())
        .retry(Retry::default())
        .cache(Cache::default())
        .fallback(Fallback::default())
        .build()
        .unwrap();
    let explained = all.explain();
    let order: Vec<_> = explained.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let expected = [
        "fallback",
        "cache",
        "deadline",
        "retry",
        "hedge",
        "throttle",
        "breaker",
        "rate-limit",
        "adaptive-concurrency",
        "concurrency",
        "timeout",
        "call",
    ];
    assert_eq!(order, expected, "{explained}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_further_in_leaves_nothing_behind_further_out() {
    let breaker = Breaker { consecutive_failures: Some(count(1)), probes: count(1), ..Breaker::default() };
    let pipeline = builder()
        .throttle(Throttle::default())
        .breaker(breaker)
        .adaptive(Adaptive::default())
        .rate_limit(RateLimit { burst: count(2), ..RateLimit::per_minute(count(1)) })
        .build()
        .unwrap();
    bad(&pipeline, Call::ONCE).await.unwrap_err();
    sleep(Duration::from_secs(8)).await;
    // The one probe gets the second place, and its caller goes away before the answer.
    let hung = pipeline.call(Call::ONCE, async |_| std::future::pending().await, classify::<u32>);
    assert!(tokio::time::timeout(MS, hung).await.is_err());
    // Refused by the rate limit, behind the breaker: the probe is free again each time.
    for _ in 0..3 {
        let error = good(&pipeline).await.unwrap_err();
        let Error::Rejected(rejected) = error else { panic!("{error}") };
        let period = Duration::from_secs(60);
        assert_eq!(rejected.reason, Reason::RateExceeded { limit: 1, period });
    }
    assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::HalfOpen);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(good(&pipeline).await, Ok(0));
    assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_counts_attempts_and_is_never_retried() {
    let pipeline =
        builder().retry(Retry::default()).rate_limit(RateLimit::per_second(count(5))).build().unwrap();
    let mut passed = 0;
    for _ in 0..1500 {
        passed += u32::from(good(&pipeline).await.is_ok());
    }
    assert_eq!((passed, pipeline.counts().attempts, pipeline.counts().rejected), (5, 5, 1495));
}

#[tokio::test(start_paused = true)]
async fn the_throttle_holds_back_by_priority_and_what_it_holds_back_is_no_outcome() {
    let pipeline = builder().throttle(Throttle::default()).breaker(Breaker::default()).build().unwrap();
    for _ in 0..200 {
        let _ = bad(&pipeline, Call::ONCE.priority(Priority::Low)).await;
        pipeline.breaker().unwrap().reset();
    }
    let mut throttled = 0;
    for _ in 0..100 {
        let error = bad(&pipeline, Call::ONCE.priority(Priority::Low)).await.unwrap_err();
        pipeline.breaker().unwrap().reset();
        throttled += u32::from(
            matches!(error, Error::Rejected(rejected) if matches!(rejected.reason, Reason::Throttled { .. })),
        );
    }
    assert!(throttled > 50, "{throttled}");
}

fn hedged(after: Duration) -> Hedge {
    Hedge { delay: Delay::Fixed(after), ..Hedge::default() }
}

#[tokio::test(start_paused = true)]
async fn a_hedge_is_an_attempt_with_a_number_and_permits_of_its_own() {
    let pipeline = builder().hedge(hedged(50 * MS)).concurrency(Concurrency::default()).build().unwrap();
    let send = |attempt: Attempt| async move {
        sleep(if attempt.number == 0 { 500 * MS } else { 10 * MS }).await;
        Ok(attempt)
    };
    let start = Instant::now();
    let answer = pipeline.call(Call::REPLAYABLE, send, classify).await.unwrap();
    assert_eq!((answer.number, start.elapsed()), (1, 60 * MS));
    assert_eq!(answer.effort, Effort { attempt: 1, spent_percent: 0 });
    assert_eq!(pipeline.concurrency().unwrap().in_flight(), 0);
    assert!((pipeline.counts().amplification() - 2.0).abs() < 1e-9);
    // What may be sent once only is not hedged.
    let start = Instant::now();
    assert_eq!(pipeline.call(Call::ONCE, send, classify).await.unwrap().number, 0);
    assert_eq!(start.elapsed(), 500 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_refused_hedge_does_not_end_the_attempt_beside_it() {
    let one = Concurrency { limit: count(1), queue: 0, ..Concurrency::default() };
    let pipeline = builder().hedge(hedged(50 * MS)).concurrency(one).build().unwrap();
    let send = |attempt: Attempt| async move {
        sleep(200 * MS).await;
        Ok(attempt.number)
    };
    assert_eq!(pipeline.call(Call::REPLAYABLE, send, classify).await, Ok(0));
    assert_eq!((pipeline.counts().attempts, pipeline.counts().rejected), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn retries_and_hedges_draw_on_one_budget() {
    let budget = Budget { ratio: 0.0, floor: 3, ..Budget::default() };
    let retry = Retry { budget, max_retries: 1, ..Retry::default() };
    let pipeline = builder().hedge(hedged(10 * MS)).retry(retry).build().unwrap();
    let slow_and_bad = async |_| {
        sleep(20 * MS).await;
        Err::<u32, _>("reset")
    };
    for _ in 0..20 {
        pipeline.call(Call::REPLAYABLE, slow_and_bad, classify).await.unwrap_err();
    }
    // 20 calls, and three more attempts in all.
    assert_eq!(pipeline.counts().attempts, 23);
}

#[tokio::test(start_paused = true)]
async fn an_injected_fault_is_seen_by_every_policy_and_retried() {
    let faults = FaultInjector::allowed(Arc::new(TokioClock), Arc::new(FastRng::seeded(1)));
    let pipeline =
        builder().retry(Retry::default()).breaker(Breaker::default()).faults(faults.clone()).build().unwrap();
    assert_eq!(good(&pipeline).await, Ok(0));
    faults.set(Faults { refused_share: 1.0, faults_max: 1, ..Faults::default() }).unwrap();
    assert_eq!(good(&pipeline).await, Ok(1));
    faults.set(Faults { lost_reply_share: 1.0, ..Faults::default() }).unwrap();
    assert_eq!(good(&pipeline).await, Err(Error::Injected(Fault::LostReply)));
    assert_eq!(good(&pipeline).await, Err(Error::Injected(Fault::LostReply)));
    assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_substitute_stands_in_where_the_fallback_covers_the_cause() {
    let with = builder().fallback(Fallback::default()).build().unwrap();
    let without = builder().build().unwrap();
    let substitute = async |_: Cause| Ok::<_, Infallible>(7);
    let or = async |pipeline: &Pipeline, error| {
        pipeline.call_or(Call::ONCE, async |_| Err::<u32, _>(error), classify, substitute).await
    };
    let cause = Cause::Retryable;
    assert_eq!(or(&with, "reset").await, Ok(Answer::Substitute { value: 7, cause }));
    assert_eq!(or(&with, "broken").await, Err(Error::Inner("broken")));
    assert_eq!(or(&with, "mine").await, Err(Error::Inner("mine")));
    assert_eq!(or(&without, "reset").await, Err(Error::Inner("reset")));
}

#[tokio::test(start_paused = true)]
async fn a_cache_saves_all_the_policies_below_it() {
    let options = Cache { ttl: Duration::from_secs(1), ttl_jitter: 0.0, ..Cache::default() };
    let pipeline = builder().cache(options).retry(Retry::default()).build().unwrap();
    let store = || MemoryStore::new(Memory::default(), |_: &u8, _: &u32| 4).unwrap();
    assert!(builder().build().unwrap().cache::<u8, u32, &str, _>(store()).unwrap().is_none());
    let cache = pipeline.cache(store()).unwrap().unwrap();
    let loads = AtomicU32::new(0);
    let ask = || {
        pipeline.call_cached(
            &cache,
            &1_u8,
            Call::REPLAYABLE,
            async |_| {
                sleep(10 * MS).await;
                match loads.fetch_add(1, Ordering::SeqCst) {
                    0 => Ok(7_u32),
                    _ => Err("reset"),
                }
            },
            classify,
        )
    };
    let (first, second) = tokio::join!(ask(), ask());
    assert_eq!((first.unwrap().source, second.unwrap().source), (Source::Loaded, Source::Coalesced));
    assert_eq!(ask().await.unwrap().source, Source::Hit);
    assert_eq!(pipeline.counts().calls, 1);
    sleep(Duration::from_secs(2)).await;
    let stale = ask().await.unwrap();
    assert!(matches!(stale.source, Source::Stale { cause: Cause::Retryable, .. }), "{stale:?}");
    assert_eq!((stale.value, pipeline.counts().attempts), (7, 4));
}

#[tokio::test(start_paused = true)]
async fn hops_are_told_and_what_a_hop_repeats_is_not_repeated_here() {
    let budget = Budget { ratio: 0.0, floor: 4, ..Budget::default() };
    let pipeline = builder().retry(Retry { budget, ..Retry::default() }).build().unwrap();
    let hops = std::sync::Mutex::new(Vec::new());
    let send = async |attempt: Attempt| {
        hops.lock().unwrap().push(attempt.effort);
        Err::<u32, _>("reset")
    };
    let outer = Effort { attempt: 0, spent_percent: 10 };
    for _ in 0..2 {
        pipeline.call(Call::REPLAYABLE.effort(outer), send, classify).await.unwrap_err();
    }
    let told: Vec<_> = hops.lock().unwrap().iter().map(|hop| (hop.attempt, hop.spent_percent)).collect();
    assert_eq!(told, [(0, 10), (1, 10), (2, 10), (0, 50), (1, 50), (2, 50)]);
    // A caller in an outage, and one who repeats: one attempt each.
    for hop in [Effort { attempt: 0, spent_percent: 50 }, Effort { attempt: 1, spent_percent: 0 }] {
        assert!(bad(&pipeline, Call::REPLAYABLE.effort(hop)).await.is_err());
    }
    let counts = pipeline.counts();
    assert_eq!((counts.calls, counts.calls_repeated, counts.attempts), (4, 1, 8));
    assert!((counts.amplification_over_hops() - 8.0 / 3.0).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn a_trial_decides_about_the_same_calls_and_changes_nothing() {
    let live = PipelineOptions { retry: Some(Retry::default()), ..PipelineOptions::default() };
    let pipeline = builder().options(live.clone()).build().unwrap();
    let strict = PipelineOptions {
        retry: None,
        breaker: Some(Breaker { consecutive_failures: Some(count(3)), ..Breaker::default() }),
        attempt_timeout: Some((100 * MS).into()),
        hedge: Some(hedged(150 * MS)),
        ..live.clone()
    };
    pipeline.try_out(strict.clone()).unwrap();
    let slow = async |_| {
        sleep(200 * MS).await;
        Ok(1)
    };
    assert_eq!(pipeline.call(Call::REPLAYABLE, slow, classify).await, Ok(1));
    assert_eq!(good(&pipeline).await, Ok(0));
    // Three attempts of one call open the trial's breaker; the next call is sent all the same.
    bad(&pipeline, Call::REPLAYABLE).await.unwrap_err();
    assert_eq!(good(&pipeline).await, Ok(0));
    let (options, report) = pipeline.trial().unwrap();
    assert_eq!((options.retry, options.attempt_timeout), (None, strict.attempt_timeout));
    let seen = (report.attempts, report.rejected_only_trial, report.timed_out_only_trial, report.hedged);
    assert_eq!(seen, (6, 1, 1, 1), "{report:?}");
    assert_eq!((report.retried_only_live, report.retried_only_trial), (2, 0), "{report:?}");
    assert_eq!(report.differences(), 4);
    assert_eq!(pipeline.end_trial().unwrap().1, report);
    assert_eq!((pipeline.trial(), pipeline.options()), (None, live));
    assert!(pipeline.try_out(PipelineOptions { deadline: Duration::ZERO, ..strict }).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_trial_of_a_larger_budget_says_what_it_would_retry() {
    let retry = |floor| {
        let budget = Budget { ratio: 0.0, floor, ..Budget::default() };
        Some(Retry { max_retries: 1, budget, ..Retry::default() })
    };
    let with = |floor| PipelineOptions { retry: retry(floor), ..PipelineOptions::default() };
    let pipeline = builder().options(with(2)).build().unwrap();
    pipeline.try_out(with(5)).unwrap();
    for _ in 0..8 {
        bad(&pipeline, Call::REPLAYABLE).await.unwrap_err();
    }
    let (_, report) = pipeline.trial().unwrap();
    assert_eq!((report.retried_only_live, report.retried_only_trial), (0, 3), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_the_policies_know() {
    let options = PipelineOptions {
        retry: Some(Retry {
            budget: Budget { ratio: 0.0, floor: 3, ..Budget::default() },
            ..Retry::default()
        }),
        breaker: Some(Breaker { consecutive_failures: Some(count(5)), ..Breaker::default() }),
        concurrency: Some(Concurrency { limit: count(1), queue: 1, ..Concurrency::default() }),
        ..PipelineOptions::default()
    };
    let pipeline = builder().options(options.clone()).build().unwrap();
    // Three attempts: two retries are gone, and three failures in a row are known.
    bad(&pipeline, Call::REPLAYABLE).await.unwrap_err();
    let slow = tokio::spawn({
        let pipeline = pipeline.clone();
        let send = async |_| {
            sleep(100 * MS).await;
            Ok(())
        };
        async move { pipeline.call(Call::ONCE, send, classify).await }
    });
    tokio::task::yield_now().await;
    let wrong = PipelineOptions { deadline: Duration::ZERO, breaker: None, ..options.clone() };
    assert_eq!(pipeline.reconfigure(wrong).unwrap_err().paths(), ["deadline"]);
    assert_eq!((pipeline.version(), pipeline.options().breaker.is_some()), (1, true));
    let mut other = options;
    other.concurrency = Some(Concurrency { limit: count(2), queue: 1, ..Concurrency::default() });
    other.breaker = Some(Breaker { consecutive_failures: Some(count(4)), ..Breaker::default() });
    other.throttle = Some(Throttle::default());
    assert_eq!(pipeline.reconfigure(other), Ok(2));
    assert_eq!(pipeline.concurrency().unwrap().in_flight(), 1);
    // One more failure opens it, by the new number; the budget has one retry left, which an open breaker spares.
    let error = bad(&pipeline, Call::REPLAYABLE).await.unwrap_err();
    assert_eq!(error, Error::Inner("reset"));
    assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::Open);
    let Err(Error::Rejected(rejected)) = good(&pipeline).await else { panic!("it is open") };
    assert_eq!((rejected.policy, rejected.version), ("breaker", 2));
    assert_eq!(slow.await.unwrap(), Ok(()));
    assert_eq!(pipeline.concurrency().unwrap().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_wait_in_our_own_queue_is_not_the_upstream_s() {
    let breaker = Breaker { slow_after: Some(100 * MS), minimum_calls: count(5), ..Breaker::default() };
    let queue = Concurrency {
        limit: count(1),
        queue: 50,
        max_wait: Duration::from_secs(1),
        ..Concurrency::default()
    };
    let pipeline = builder()
        .attempt_timeout(300 * MS)
        .throttle(Throttle::default())
        .breaker(breaker)
        .concurrency(queue)
        .build()
        .unwrap();
    let call = |patience: Duration| {
        let pipeline = pipeline.clone();
        async move {
            let quick = async |_| {
                sleep(50 * MS).await;
                Ok(1)
            };
            tokio::time::timeout(patience, pipeline.call(Call::ONCE, quick, classify)).await.is_ok()
        }
    };
    // Ten calls one after the other: the last waits for 450 ms, and each takes 50.
    let calls: Vec<_> = (0..10).map(|_| tokio::spawn(call(Duration::from_secs(5)))).collect();
    for one in calls {
        assert!(one.await.unwrap());
    }
    // Ten who leave the queue after longer than an attempt may take, behind one that hangs on to the permit.
    let held = pipeline.concurrency().unwrap().try_acquire().unwrap();
    let gone: Vec<_> = (0..10).map(|_| tokio::spawn(call(400 * MS))).collect();
    for one in gone {
        assert!(!one.await.unwrap());
    }
    drop(held);
    assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::Closed);
    assert_eq!(good(&pipeline).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_in_shadow_mode_tells_of_attempts_that_hang_too() {
    let seen = Arc::new(Seen::default());
    let watched = Timeout { after: 100 * MS, mode: Mode::Shadow };
    let pipeline = builder().attempt_timeout(watched).observer(seen.clone()).build().unwrap();
    let hung = async |_| std::future::pending::<Result<u32>>().await;
    let ended = pipeline.call(Call::REPLAYABLE, hung, classify).await;
    assert_eq!(ended, Err(Error::DeadlineExceeded { attempts: 1, last: None }));
    let told: Vec<_> = seen.0.lock().unwrap().clone();
    assert_eq!(told, [Event::WouldTimeOut { after: 100 * MS }]);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_the_breaker_would_refuse_costs_nothing() {
    let breaker = Breaker { consecutive_failures: Some(count(1)), probes: count(1), ..Breaker::default() };
    let budget = Budget { ratio: 0.0, floor: 1, ..Budget::default() };
    let retry = Retry { budget, max_retries: 0, ..Retry::default() };
    let pipeline = builder().hedge(hedged(10 * MS)).retry(retry).breaker(breaker).build().unwrap();
    bad(&pipeline, Call::ONCE).await.unwrap_err();
    sleep(Duration::from_secs(8)).await;
    let slow = async |attempt: Attempt| {
        sleep(50 * MS).await;
        Ok(attempt.number)
    };
    // Half-open, and the one probe is on its way.
    assert_eq!(pipeline.call(Call::REPLAYABLE, slow, classify).await, Ok(0));
    assert_eq!((pipeline.counts().attempts, pipeline.counts().rejected), (2, 0));
    // The budget's only token is still there.
    pipeline.call(Call::REPLAYABLE, slow, classify).await.unwrap();
    assert_eq!(pipeline.counts().attempts, 4);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_queued_is_slow_by_the_time_from_when_it_was_sent() {
    let breaker = Breaker { slow_after: Some(100 * MS), minimum_calls: count(5), ..Breaker::default() };
    let queue = Concurrency {
        limit: count(1),
        queue: 50,
        max_wait: Duration::from_secs(5),
        ..Concurrency::default()
    };
    let pipeline =
        builder().deadline(Duration::from_secs(9)).breaker(breaker).concurrency(queue).build().unwrap();
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let pipeline = pipeline.clone();
            let slow = async |_| {
                sleep(150 * MS).await;
                Ok(1)
            };
            tokio::spawn(async move { pipeline.call(Call::ONCE, slow, classify).await })
        })
        .collect();
    for one in calls {
        assert_eq!(one.await.unwrap(), Ok(1));
    }
    assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::Open);
}
