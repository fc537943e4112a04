//! An answer whose body comes in pieces.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::breaker::State;
use leeward_resilience::pipeline::Guard;
use leeward_resilience::{
    Attempt, Breaker, Call, Class, Clock, Concurrency, Deadline, Error, FastRng, Pipeline, TokioClock,
};

const MS: Duration = Duration::from_millis(1);

fn pipeline() -> Pipeline {
    Pipeline::builder("files")
        .breaker(Breaker::default())
        .concurrency(Concurrency { limit: NonZeroU32::MIN, queue: 0, max_wait: MS, ..Concurrency::default() })
        .attempt_timeout(100 * MS)
        .rng(Arc::new(FastRng::seeded(1)))
        .build()
        .unwrap()
}

/// Headers at once, and a body with the attempt's deadline.
async fn open(pipeline: &Pipeline) -> Result<(Deadline, Guard), Error<()>> {
    let send = async |attempt: Attempt| Ok::<_, ()>(attempt.deadline);
    let held = pipeline.call_held(Call::ONCE, send, |_| Class::Success).await?;
    let (deadline, guard) = held.into_parts();
    Ok((deadline, guard.unwrap()))
}

/// Reads so many chunks, 20 ms each, within the deadline of the attempt. Whether all came.
async fn read(deadline: Deadline, guard: Guard, chunks: u32) -> bool {
    let body = async {
        for _ in 0..chunks {
            tokio::time::sleep(20 * MS).await;
        }
    };
    let complete = tokio::time::timeout(deadline.remaining(TokioClock.now()), body).await.is_ok();
    if complete {
        guard.record(Class::Success);
    }
    // Else the guard is dropped: a call that was cancelled when it had had its time.
    complete
}

#[tokio::test(start_paused = true)]
async fn defect_12_the_permit_is_held_to_the_end_of_the_body() {
    let pipeline = pipeline();
    let in_flight = || pipeline.concurrency().unwrap().in_flight();
    let (deadline, guard) = open(&pipeline).await.unwrap();
    assert_eq!(in_flight(), 1, "the headers are there, the body is not");
    let rejected = open(&pipeline).await.map(drop).unwrap_err();
    assert!(matches!(rejected, Error::Rejected(_)));
    assert!(read(deadline, guard, 3).await);
    assert_eq!(in_flight(), 0);
    open(&pipeline).await.unwrap().1.record(Class::Success);
}

#[tokio::test(start_paused = true)]
async fn defect_12_the_timeout_is_that_of_the_whole_body() {
    let pipeline = pipeline();
    let start = tokio::time::Instant::now();
    for broken in 0..5 {
        assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::Closed, "{broken}");
        let (deadline, guard) = open(&pipeline).await.unwrap();
        assert!(!read(deadline, guard, 1_000).await, "every chunk is quick, the body is not");
        assert_eq!(pipeline.concurrency().unwrap().in_flight(), 0);
    }
    assert_eq!(start.elapsed(), 500 * MS);
    assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::Open, "five bodies in a row");
}

#[tokio::test(start_paused = true)]
async fn defect_12_the_outcome_is_that_of_the_end_of_the_body() {
    let pipeline = pipeline();
    // Were each success recorded with the headers, there would never be five failures in a row.
    for _ in 0..5 {
        let (_, guard) = open(&pipeline).await.unwrap();
        tokio::time::sleep(20 * MS).await;
        guard.record(Class::RETRYABLE);
    }
    assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::Open);
    // A probe is not over with its headers either.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let (deadline, guard) = open(&pipeline).await.unwrap();
    assert!(pipeline.breaker().unwrap().acquire(TokioClock.now()).is_err());
    assert!(read(deadline, guard, 2).await);
    assert!(pipeline.breaker().unwrap().acquire(TokioClock.now()).is_ok());
}

/// The client takes its time, or goes away in the middle: neither is the upstream's fault.
#[tokio::test(start_paused = true)]
async fn defect_12_the_time_of_whoever_reads_does_not_count() {
    let slow = Breaker { slow_after: Some(50 * MS), slow_rate: 1.0, ..Breaker::default() };
    let fresh =
        || Pipeline::builder("files").breaker(slow.clone()).attempt_timeout(100 * MS).build().unwrap();
    let closed = |pipeline: &Pipeline| pipeline.breaker().unwrap().state(TokioClock.now()) == State::Closed;
    let pipeline = fresh();
    for (left, back) in [(false, false), (false, true), (true, false), (true, true)].repeat(10) {
        let (_, mut guard) = open(&pipeline).await.unwrap();
        tokio::time::sleep(20 * MS).await;
        guard.pause();
        tokio::time::sleep(200 * MS).await;
        if back {
            guard.resume();
            tokio::time::sleep(20 * MS).await;
        }
        if left {
            drop(guard);
        } else {
            guard.record(Class::Success);
        }
        assert!(closed(&pipeline), "left: {left}, back: {back}");
    }
    // What the upstream itself takes counts on.
    let pipeline = fresh();
    for _ in 0..20 {
        let Ok((_, mut guard)) = open(&pipeline).await else { break };
        guard.pause();
        tokio::time::sleep(100 * MS).await;
        guard.resume();
        tokio::time::sleep(50 * MS).await;
        guard.record(Class::Success);
    }
    assert!(!closed(&pipeline));
}
