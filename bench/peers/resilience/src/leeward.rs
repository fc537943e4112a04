//! Leeward's own policies.

use std::convert::Infallible;
use std::future::Ready;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use leeward_resilience::breaker::State;
use leeward_resilience::concurrency::ConcurrencyLayer;
use leeward_resilience::retry::RetryLayer;
use leeward_resilience::{
    Breaker, Call, CircuitBreaker, Class, Clock, Concurrency, ConcurrencyLimit, Error, Instant, Pipeline,
    RateLimit, RateLimiter, Retry, TokioClock,
};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::harness::{Run, Sample, Subject, Suspend, at_once, expect, measure, proven, resumed};

const LIB: &str = "leeward";
const KEPT: &str = "leeward, kept permit";
const KEPT_NOTE: &str = "a permit that keeps its breaker alive and may go anywhere";

pub fn subjects() -> Vec<Subject> {
    vec![
        Subject::new("breaker_closed_core", LIB, "none, time given", |run| core(run, Breaker::default())),
        Subject::new("breaker_closed_core", KEPT, "none, time given", core_kept).note(KEPT_NOTE),
        Subject::new("breaker_closed", LIB, "std once", |run| closed(run, Breaker::default())),
        Subject::new("breaker_closed", KEPT, "std once", closed_kept).note(KEPT_NOTE),
        Subject::new("breaker_closed_count_window", LIB, "none, time given", |run| core(run, last_calls())),
        Subject::new("breaker_closed_count_window", "leeward, clock read", "std once", |run| {
            closed(run, last_calls())
        }),
        Subject::new("breaker_open", LIB, "none, time given", open),
        Subject::new("retry_ok", LIB, "std, several", retry_ok).note("with its budget and a deadline"),
        Subject::new("retry_ok", "leeward, tower layer", "std once", retry_layer)
            .note("with its budget; boxes its future"),
        Subject::new("bulkhead", LIB, "none", bulkhead),
        Subject::new("rate_limit", LIB, "std once", rate_limit),
        Subject::new("pipeline", LIB, "std, several", |run| pipeline(run, false)),
        Subject::new("pipeline_pending", LIB, "std, several", |run| pipeline(run, true)),
    ]
}

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("not zero")
}

fn breaker(config: Breaker) -> Result<CircuitBreaker, String> {
    CircuitBreaker::new("bench", config).map_err(|errors| errors.to_string())
}

/// Successes and failures are counted, and the failures open it.
fn opens(config: Breaker) -> Result<(), String> {
    let breaker = breaker(Breaker { consecutive_failures: None, ..config })?;
    let now = TokioClock.now();
    let call = |class| breaker.acquire(now).map(|permit| permit.record(class, now));
    for _ in 0..30 {
        call(Class::Success).map_err(|rejected| rejected.to_string())?;
    }
    for failures in 0..30 {
        expect(
            call(Class::RETRYABLE).is_ok(),
            &format!("{failures} failures of {} opened it", 30 + failures),
        )?;
    }
    expect(breaker.state(now) == State::Open, "30 failures of 60 calls did not open it")?;
    expect(call(Class::Success).is_err(), "an open breaker let a call pass")
}

/// The window of `recloser`.
fn last_calls() -> Breaker {
    Breaker { window_calls: Some(count(100)), ..Breaker::default() }
}

/// The successes of a run are in the window: 49 failures on top of them are not half of the calls.
fn counted(breaker: &CircuitBreaker, now: Instant) -> Result<(), String> {
    (0..49).for_each(|_| {
        if let Ok(permit) = breaker.acquire(now) {
            permit.failure(now);
        }
    });
    expect(breaker.state(now) == State::Closed, "successes were not counted")
}

fn core(run: &Run, config: Breaker) -> Result<Sample, String> {
    opens(config.clone())?;
    let (breaker, now) = (breaker(Breaker { consecutive_failures: None, ..config })?, TokioClock.now());
    let sample = measure(run, || || breaker.acquire_ref(now).expect("it is closed").success(now))?;
    counted(&breaker, now)?;
    Ok(sample)
}

fn core_kept(run: &Run) -> Result<Sample, String> {
    opens(Breaker::default())?;
    let (breaker, now) = (breaker(Breaker::default())?, TokioClock.now());
    measure(run, || || breaker.acquire(now).expect("it is closed").success(now))
}

fn closed(run: &Run, config: Breaker) -> Result<Sample, String> {
    opens(config.clone())?;
    let breaker = breaker(Breaker { consecutive_failures: None, ..config })?;
    let sample = measure(run, || {
        || breaker.acquire_ref(TokioClock.now()).expect("it is closed").finish(Class::Success)
    })?;
    counted(&breaker, TokioClock.now())?;
    Ok(sample)
}

fn closed_kept(run: &Run) -> Result<Sample, String> {
    opens(Breaker::default())?;
    let breaker = breaker(Breaker::default())?;
    measure(run, || || breaker.acquire_now().expect("it is closed").finish(Class::Success))
}

fn open(run: &Run) -> Result<Sample, String> {
    let breaker = breaker(Breaker { break_initial: Duration::from_secs(60), ..Breaker::default() })?;
    let now = TokioClock.now();
    for _ in 0..5 {
        breaker.acquire(now).map_err(|rejected| rejected.to_string())?.failure(now);
    }
    expect(breaker.acquire(now).is_err(), "an open breaker let a call pass")?;
    measure(run, || || assert!(black_box(breaker.acquire(now)).is_err()))
}

#[derive(Clone)]
struct Answer;

impl Service<u32> for Answer {
    type Response = u32;
    type Error = Infallible;
    type Future = Ready<Result<u32, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        std::future::ready(Ok(request))
    }
}

fn retry_ok(run: &Run) -> Result<Sample, String> {
    let build =
        || Pipeline::builder("bench").retry(Retry::default()).build().map_err(|errors| errors.to_string());
    let failing = build()?;
    proven(|runtime| {
        let calls = AtomicU32::new(0);
        let send = async |_| {
            calls.fetch_add(1, Ordering::Relaxed);
            Err::<u32, &str>("no")
        };
        let failed = runtime.block_on(failing.call(Call::REPLAYABLE, send, |_| Class::RETRYABLE)).is_err();
        expect(failed && calls.load(Ordering::Relaxed) == 3, "a failure was not retried twice")
    })?;
    let pipeline = build()?;
    measure(run, || {
        || {
            let send = async |_| Ok::<u32, Infallible>(7);
            assert!(at_once(pipeline.call(Call::REPLAYABLE, send, |_| Class::Success)).is_ok());
        }
    })
}

fn retry_layer(run: &Run) -> Result<Sample, String> {
    fn class<E>(answer: &Result<u32, E>) -> Class {
        if answer.is_ok() { Class::Success } else { Class::RETRYABLE }
    }
    let layer = RetryLayer::new(Retry::default(), class, |request: &u32| Some(*request))
        .map_err(|errors| errors.to_string())?;
    proven(|runtime| {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let failing = layer.layer(service_fn(move |_: u32| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Err::<u32, _>(std::fmt::Error))
        }));
        let failed = runtime.block_on(failing.oneshot(7)).is_err();
        expect(failed && calls.load(Ordering::Relaxed) == 3, "a failure was not retried twice")
    })?;
    let layer = RetryLayer::new(Retry::default(), class, |request: &u32| Some(*request))
        .map_err(|errors| errors.to_string())?;
    measure(run, || {
        let mut service = layer.layer(Answer);
        move || assert!(at_once(service.call(7)).is_ok())
    })
}

fn bulkhead(run: &Run) -> Result<Sample, String> {
    let limit = |limit| {
        let config = Concurrency { limit: count(limit), queue: 0, ..Concurrency::default() };
        ConcurrencyLimit::new(config).map_err(|errors| errors.to_string())
    };
    let one = limit(1)?;
    let held = one.try_acquire();
    expect(held.is_some() && at_once(one.acquire()).is_err(), "a second call passed a limit of one")?;
    let layer = ConcurrencyLayer::new(limit(100)?);
    measure(run, || {
        let mut service = layer.layer(Answer);
        move || assert!(at_once(service.call(7)).is_ok())
    })
}

/// A call every ten nanoseconds, more than are made here; the burst is 10 ms, since a thread that is held up after it read
/// the clock comes with an old time.
fn plenty() -> RateLimit {
    RateLimit { period: Duration::from_millis(10), ..RateLimit::per_second(count(1_000_000)) }
}

fn limiter(rule: RateLimit) -> Result<RateLimiter, String> {
    RateLimiter::new(&rule).map_err(|errors| errors.to_string())
}

fn rate_limit(run: &Run) -> Result<Sample, String> {
    let (ten, now) = (limiter(RateLimit::per_second(count(10)))?, TokioClock.now());
    let passed = (0..100).filter(|_| ten.check(now).allowed).count();
    expect(passed == 10, &format!("{passed} of 100 calls passed a limit of 10"))?;
    let limiter = limiter(plenty())?;
    measure(run, || {
        || {
            black_box(limiter.check(TokioClock.now()));
        }
    })
}

fn whole(retry: Retry) -> Result<Pipeline, String> {
    Pipeline::builder("bench")
        .breaker(Breaker::default())
        .retry(retry)
        .concurrency(Concurrency::default())
        .rate_limit(plenty())
        .attempt_timeout(Duration::from_secs(1))
        .build()
        .map_err(|errors| errors.to_string())
}

fn pipeline(run: &Run, suspended: bool) -> Result<Sample, String> {
    proven(|_| {
        let pipeline = whole(Retry { max_retries: 0, ..Retry::default() })?;
        let class =
            |answer: &Result<u32, &str>| if answer.is_ok() { Class::Success } else { Class::RETRYABLE };
        for _ in 0..5 {
            let answer = at_once(pipeline.call(Call::REPLAYABLE, async |_| Err("no"), class));
            expect(answer == Err(Error::Inner("no")), "an error was swallowed")?;
        }
        let answer = at_once(pipeline.call(Call::REPLAYABLE, async |_| Ok(7), class));
        expect(matches!(answer, Err(Error::Rejected(_))), "five failures did not open its breaker")
    })?;
    let pipeline = whole(Retry::default())?;
    measure(run, || {
        let pipeline = pipeline.clone();
        move || {
            let call = pipeline.call(
                Call::REPLAYABLE,
                async |attempt| {
                    if suspended {
                        Suspend::default().await;
                    }
                    Ok::<u32, Infallible>(attempt.number)
                },
                |_| Class::Success,
            );
            let answer = if suspended { resumed(call) } else { at_once(call) };
            assert!(answer.is_ok());
        }
    })
}
