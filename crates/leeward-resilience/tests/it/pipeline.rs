//! The pipeline: the order of its policies, and what it promises about deadlines and retries.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leeward_resilience::breaker::State;
use leeward_resilience::{
    Adaptive, Attempt, Breaker, Budget, Call, Class, Clock, Concurrency, Deadline, Effort, Error, Event,
    FastRng, ManualClock, Observer, Pipeline, Reason, Retry, Timer, TokioClock,
};
use tokio::time::{Instant, sleep};

use crate::breaker::five_in_a_row;

const MS: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<Event>>);

impl Observer for Seen {
    fn observe(&self, _: &str, event: &Event) {
        self.0.lock().unwrap().push(*event);
    }
}

fn classify(result: &Result<&'static str, &'static str>) -> Class {
    match result {
        Ok("503") => Class::RETRYABLE,
        Ok("busy") => {
            Class::Failure { retry_after: Some(Duration::from_secs(1)), retryable: true, untouched: false }
        }
        Ok(_) => Class::Success,
        Err("mine") => Class::Ignored,
        Err("broken") => Class::PERMANENT,
        Err("refused") => Class::UNTOUCHED,
        Err(_) => Class::RETRYABLE,
    }
}

fn retrying() -> leeward_resilience::pipeline::PipelineBuilder {
    Pipeline::builder("upstream")
        .deadline(Duration::from_secs(2))
        .retry(Retry::default())
        .rng(Arc::new(FastRng::seeded(5)))
}

/// Calls with one answer for each attempt, the last one for ever, and says how many were asked for.
async fn call(
    pipeline: &Pipeline,
    call: Call,
    answers: &[Result<&'static str, &'static str>],
) -> (Result<&'static str, Error<&'static str>>, u32) {
    let attempts = AtomicU32::new(0);
    let send = |attempt: Attempt| {
        assert_eq!(attempts.fetch_add(1, Ordering::SeqCst), attempt.number);
        let place = usize::try_from(attempt.number).unwrap().min(answers.len() - 1);
        std::future::ready(answers[place])
    };
    let result = pipeline.call(call, send, classify).await;
    (result, attempts.into_inner())
}

#[tokio::test(start_paused = true)]
async fn what_may_be_retried_is_and_the_rest_is_not() {
    let pipeline = retrying().build().unwrap();
    let again = Call::REPLAYABLE;
    assert_eq!(call(&pipeline, again, &[Err("reset"), Ok("503"), Ok("200")]).await, (Ok("200"), 3));
    assert_eq!(call(&pipeline, again, &[Err("reset")]).await, (Err(Error::Inner("reset")), 3));
    assert_eq!(call(&pipeline, again, &[Ok("503")]).await, (Ok("503"), 3));
    assert_eq!(call(&pipeline, again, &[Err("broken")]).await, (Err(Error::Inner("broken")), 1));
    assert_eq!(call(&pipeline, again, &[Err("mine")]).await, (Err(Error::Inner("mine")), 1));
    assert_eq!(call(&pipeline, Call::ONCE, &[Err("reset")]).await, (Err(Error::Inner("reset")), 1));
    // What was not begun may be sent again whatever it is, within all other bounds.
    assert_eq!(call(&pipeline, Call::ONCE, &[Err("refused"), Ok("200")]).await, (Ok("200"), 2));
    assert_eq!(call(&pipeline, Call::ONCE, &[Err("refused")]).await, (Err(Error::Inner("refused")), 3));
    let not_here = Call::ONCE.effort(Effort { attempt: 1, ..Effort::FIRST });
    assert_eq!(call(&pipeline, not_here, &[Err("refused")]).await, (Err(Error::Inner("refused")), 1));
    let inner_layer = again.effort(Effort { attempt: 1, ..Effort::FIRST });
    assert_eq!(call(&pipeline, inner_layer, &[Err("reset")]).await, (Err(Error::Inner("reset")), 1));
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_a_fifth_more_and_not_a_multiple() {
    let budget = Budget { floor: 0, ..Budget::default() };
    let seen = Arc::new(Seen::default());
    let retry = Retry { budget, ..Retry::default() };
    let pipeline = retrying().retry(retry).observer(seen.clone()).build().unwrap();
    let mut attempts = 0;
    for _ in 0..500 {
        attempts += call(&pipeline, Call::REPLAYABLE, &[Err("reset")]).await.1;
    }
    assert!((590..=600).contains(&attempts), "{attempts}");
    assert!(seen.0.lock().unwrap().contains(&Event::RetryBudgetExhausted));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_kept() {
    let pipeline = retrying().build().unwrap();
    let start = Instant::now();
    assert_eq!(call(&pipeline, Call::REPLAYABLE, &[Ok("busy"), Ok("200")]).await, (Ok("200"), 2));
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn neither_a_wait_nor_an_attempt_starts_that_cannot_end_in_time() {
    let pipeline = retrying().build().unwrap();
    let start = Instant::now();
    // The upstream asks for 1 s of patience, the caller has 900 ms.
    let deadline = Deadline::after(TokioClock.now(), 900 * MS);
    let answer = call(&pipeline, Call::REPLAYABLE.deadline(deadline), &[Ok("busy")]).await;
    assert_eq!((answer, start.elapsed()), ((Ok("busy"), 1), Duration::ZERO));
    let past = Deadline::after(TokioClock.now(), Duration::ZERO);
    let (answer, attempts) = call(&pipeline, Call::REPLAYABLE.deadline(past), &[Ok("200")]).await;
    let error = answer.unwrap_err();
    assert_eq!((&error, attempts), (&Error::DeadlineExceeded { attempts: 0, last: None }, 0));
    assert!(error.not_sent());
}

#[tokio::test(start_paused = true)]
async fn the_caller_s_deadline_cuts_an_attempt_short_and_the_last_real_error_is_kept() {
    let pipeline =
        retrying().breaker(Breaker::default()).attempt_timeout(Duration::from_secs(1)).build().unwrap();
    let start = Instant::now();
    for _ in 0..9 {
        let deadline = Deadline::after(TokioClock.now(), 300 * MS);
        let send = |attempt: Attempt| async move {
            assert!(attempt.deadline <= deadline);
            if attempt.number == 0 { Err("reset") } else { std::future::pending().await }
        };
        let answer = pipeline.call(Call::REPLAYABLE.deadline(deadline), send, classify).await;
        assert_eq!(answer, Err(Error::DeadlineExceeded { attempts: 2, last: Some("reset") }));
        // Of a reset, an impatience and two successes, a third has failed; were the impatience a failure, a half.
        for _ in 0..2 {
            pipeline.breaker().unwrap().acquire(TokioClock.now()).unwrap().success(TokioClock.now());
        }
    }
    assert!(start.elapsed() <= 9 * 302 * MS, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_timeout_is_an_outcome_for_the_breaker_and_is_retried() {
    let seen = Arc::new(Seen::default());
    let pipeline = retrying()
        .breaker(Breaker::default())
        .attempt_timeout(100 * MS)
        .observer(seen.clone())
        .build()
        .unwrap();
    let send =
        async |attempt: Attempt| if attempt.number < 2 { std::future::pending().await } else { Ok("200") };
    assert_eq!(pipeline.call(Call::REPLAYABLE, send, classify).await, Ok("200"));
    let hung = async |_| std::future::pending().await;
    let answer = pipeline.call(Call::REPLAYABLE, hung, classify).await;
    assert_eq!(answer, Err(Error::Timeout { after: 100 * MS }));
    let timeouts =
        seen.0.lock().unwrap().iter().filter(|it| matches!(it, Event::AttemptTimeout { .. })).count();
    assert_eq!(timeouts, 5);
}

#[tokio::test(start_paused = true)]
async fn without_an_attempt_timeout_the_own_deadline_is_the_upstream_s_fault() {
    let pipeline = Pipeline::builder("hung").deadline(100 * MS).breaker(Breaker::default()).build().unwrap();
    let hung = async |_| std::future::pending().await;
    for _ in 0..5 {
        let answer = pipeline.call(Call::ONCE, hung, classify).await;
        assert_eq!(answer, Err(Error::DeadlineExceeded { attempts: 1, last: None }));
    }
    assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::Open);
    pipeline.breaker().unwrap().reset();
    for _ in 0..20 {
        let impatient = Call::ONCE.deadline(Deadline::after(TokioClock.now(), 99 * MS));
        let answer = pipeline.call(impatient, hung, classify).await;
        assert_eq!(answer, Err(Error::DeadlineExceeded { attempts: 1, last: None }));
    }
    assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_not_retried_and_burns_no_budget() {
    let seen = Arc::new(Seen::default());
    let pipeline = retrying().breaker(Breaker::default()).observer(seen.clone()).build().unwrap();
    // Attempts 1..3, 4, 5: the fifth failure opens it, and its own answer is returned at once.
    assert_eq!(call(&pipeline, Call::REPLAYABLE, &[Err("reset")]).await.1, 3);
    let start = Instant::now();
    assert_eq!(call(&pipeline, Call::REPLAYABLE, &[Err("reset")]).await, (Err(Error::Inner("reset")), 2));
    assert!(start.elapsed() < 30 * MS, "{:?}", start.elapsed());
    let retries =
        |seen: &Seen| seen.0.lock().unwrap().iter().filter(|it| matches!(it, Event::Retrying { .. })).count();
    let before = retries(&seen);
    assert_eq!(before, 3, "none towards the open breaker");
    let (answer, attempts) = call(&pipeline, Call::REPLAYABLE, &[Ok("200")]).await;
    let Err(Error::Rejected(rejected)) = answer else { panic!("{answer:?}") };
    assert_eq!((rejected.reason, attempts), (Reason::Open(five_in_a_row()), 0));
    assert_eq!(retries(&seen), before);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_rejects_and_does_not_harm_the_breaker() {
    let concurrency =
        Concurrency { limit: NonZeroU32::MIN, queue: 0, max_wait: 10 * MS, ..Concurrency::default() };
    let pipeline = retrying().breaker(Breaker::default()).concurrency(concurrency).build().unwrap();
    let busy = pipeline.clone();
    let slow = tokio::spawn(async move {
        let send = async |_| {
            sleep(Duration::from_secs(1)).await;
            Ok("200")
        };
        busy.call(Call::ONCE, send, classify).await
    });
    tokio::task::yield_now().await;
    for _ in 0..50 {
        let (answer, attempts) = call(&pipeline, Call::REPLAYABLE, &[Ok("200")]).await;
        assert!(matches!(answer, Err(Error::Rejected(_))), "{answer:?}");
        assert_eq!(attempts, 0);
    }
    assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::Closed);
    assert_eq!(slow.await.unwrap(), Ok("200"));
    assert_eq!(pipeline.concurrency().unwrap().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_gives_everything_back() {
    let pipeline = retrying()
        .breaker(Breaker::default())
        .concurrency(Concurrency::default())
        .attempt_timeout(100 * MS)
        .build()
        .unwrap();
    let hung = async |_| std::future::pending().await;
    for wait_ms in [0_u32, 1, 50, 99] {
        for _ in 0..10 {
            let call = pipeline.call(Call::REPLAYABLE, hung, classify);
            assert!(tokio::time::timeout(wait_ms * MS, call).await.is_err());
        }
        assert_eq!(pipeline.concurrency().unwrap().in_flight(), 0);
    }
    assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_held_answer_keeps_its_permits_until_the_end_of_its_body() {
    let pipeline = retrying()
        .breaker(Breaker::default())
        .concurrency(Concurrency::default())
        .attempt_timeout(100 * MS)
        .build()
        .unwrap();
    let in_flight = || pipeline.concurrency().unwrap().in_flight();
    for _ in 0..5 {
        let held = pipeline.call_held(Call::ONCE, async |_| Ok("200"), classify).await.unwrap();
        let (answer, guard) = held.into_parts();
        assert_eq!((answer, in_flight()), ("200", 1));
        guard.unwrap().record(Class::RETRYABLE);
        assert_eq!(in_flight(), 0);
    }
    assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::Open);
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_limit_counts_an_answer_until_it_begins() {
    let one = NonZeroU32::MIN;
    let adaptive = Adaptive { limit_min: one, limit_initial: one, limit_max: one, ..Adaptive::default() };
    let pipeline = retrying().adaptive(adaptive).build().unwrap();
    let again = async || pipeline.call(Call::ONCE, async |_| Ok("200"), classify).await;
    let sent = async |_| {
        assert!(matches!(again().await, Err(Error::Rejected(_))), "the answer has not begun");
        Ok("200")
    };
    let held = pipeline.call_held(Call::ONCE, sent, classify).await.unwrap();
    assert_eq!(again().await, Ok("200"), "a stream may last for hours");
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_refuses_a_retry_leaves_the_last_real_answer() {
    let concurrency =
        Concurrency { limit: NonZeroU32::MIN, queue: 0, max_wait: 10 * MS, ..Concurrency::default() };
    let pipeline = retrying().concurrency(concurrency).build().unwrap();
    let limit = pipeline.concurrency().unwrap().clone();
    let first = tokio::spawn(async move { call(&pipeline, Call::REPLAYABLE, &[Ok("503")]).await });
    tokio::task::yield_now().await;
    // While the first waits for its second attempt, somebody else takes the only permit.
    let _taken = limit.try_acquire().unwrap();
    assert_eq!(first.await.unwrap(), (Ok("503"), 1));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_lasted_longer_than_it_should_starts_no_attempt_after_the_deadline() {
    let clock = ManualClock::new();
    let pipeline = retrying().clock(Arc::new(clock.clone())).build().unwrap();
    let slow = tokio::spawn(async move { call(&pipeline, Call::REPLAYABLE, &[Ok("503"), Ok("200")]).await });
    tokio::task::yield_now().await;
    clock.advance(Duration::from_secs(3));
    assert_eq!(slow.await.unwrap(), (Ok("503"), 1));
}

#[test]
fn explain_prints_the_one_order() {
    let pipeline = Pipeline::builder("payments")
        .concurrency(Concurrency::default())
        .attempt_timeout(Duration::from_millis(500))
        .breaker(Breaker::default())
        .retry(Retry { max_retries: 1, ..Retry::default() })
        .deadline(Duration::from_secs(2))
        .build()
        .unwrap();
    let explained = pipeline.explain();
    let lines: Vec<(&str, &str)> = explained
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, rest)| (name, rest.trim()))
        .collect();
    assert_eq!(lines[0], ("deadline", "2s for all attempts, or the caller's when earlier"));
    assert!(lines[1].1.starts_with("max_retries 1, jitter full (default), backoff_base 25ms (default), "));
    let breaker = "failure_rate 50% (default), window 10s (default), window_calls off (default), ";
    assert!(lines[2].1.starts_with(breaker) && lines[2].1.contains("abandoned_after 500ms"), "{explained}");
    assert!(lines[3].1.starts_with("limit 256 (default), queue 256 (default), max_wait 500ms (default)"));
    assert!(lines[4].1.starts_with("after 500ms"));
    assert_eq!(lines[5], ("call", "payments"));
    let order: Vec<_> = lines.iter().map(|(name, _)| *name).collect();
    assert_eq!(order, ["deadline", "retry", "breaker", "concurrency", "timeout", "call"]);
}

#[test]
fn all_mistakes_of_all_policies_come_together() {
    let errors = Pipeline::builder("wrong")
        .deadline(Duration::from_secs(1))
        .attempt_timeout(Duration::from_secs(2))
        .retry(Retry {
            max_retries: 11,
            budget: Budget { ratio: 2.0, ..Budget::default() },
            ..Retry::default()
        })
        .breaker(Breaker { failure_rate: 0.0, ..Breaker::default() })
        .build()
        .unwrap_err();
    let paths = errors.paths();
    assert_eq!(
        paths,
        ["retry.max_retries", "retry.budget.ratio", "breaker.failure_rate", "attempt_timeout.after"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_is_kept_rings_for_each_call_at_its_own_time() {
    let (pipeline, timer) = (retrying().attempt_timeout(300 * MS).build().unwrap(), Timer::new());
    let takes = async |time: Duration, deadline: Duration| {
        let sent = async |_| {
            sleep(time).await;
            Ok("200")
        };
        let call = Call::ONCE.deadline(Deadline::after(TokioClock.now(), deadline));
        let began = Instant::now();
        let answered = pipeline.call_held_by(&timer, call, sent, classify).await;
        (answered.map(|held| held.finish()), began.elapsed())
    };
    let (far, late) = (5_000 * MS, Err(Error::Timeout { after: 300 * MS }));
    // Set by the first call, it would ring in the middle of the next one.
    assert_eq!(takes(200 * MS, far).await, (Ok("200"), 200 * MS));
    assert_eq!(takes(900 * MS, far).await, (late.clone(), 300 * MS));
    assert_eq!(takes(10 * MS, far).await, (Ok("200"), 10 * MS));
    let gone = Err(Error::DeadlineExceeded { attempts: 1, last: None });
    assert_eq!(takes(900 * MS, 100 * MS).await, (gone.clone(), 100 * MS));
    // Two at a time do not share it.
    let both = tokio::join!(takes(900 * MS, 50 * MS), takes(900 * MS, far));
    assert_eq!(both, ((gone, 50 * MS), (late, 300 * MS)));
}
