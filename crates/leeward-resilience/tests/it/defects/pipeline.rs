//! One order, one error.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use leeward_resilience::breaker::State;
use leeward_resilience::pipeline::PipelineBuilder;
use leeward_resilience::{
    Attempt, Breaker, Call, Class, Clock, Concurrency, Deadline, Error, FastRng, Pipeline, Reason, Retry,
    TokioClock,
};

const MS: Duration = Duration::from_millis(1);

type Step = fn(PipelineBuilder) -> PipelineBuilder;

const STEPS: [Step; 5] = [
    |builder| builder.deadline(Duration::from_secs(2)),
    |builder| builder.retry(Retry::default()),
    |builder| builder.breaker(two_in_a_row()),
    |builder| {
        let limit = NonZeroU32::MIN;
        builder.concurrency(Concurrency { limit, ..Concurrency::default() })
    },
    |builder| builder.attempt_timeout(100 * MS),
];

fn two_in_a_row() -> Breaker {
    Breaker { consecutive_failures: NonZeroU32::new(2), ..Breaker::default() }
}

/// Every order in which the five may be said.
fn permutations() -> Vec<Vec<Step>> {
    let mut all = vec![Vec::new()];
    for step in STEPS {
        let longer = |before: &Vec<Step>| {
            let before = before.clone();
            (0..=before.len()).map(move |place| {
                let mut order = before.clone();
                order.insert(place, step);
                order
            })
        };
        all = all.iter().flat_map(|before| longer(before).collect::<Vec<_>>()).collect();
    }
    all
}

fn build(order: &[Step]) -> Pipeline {
    let builder = Pipeline::builder("upstream").rng(Arc::new(FastRng::seeded(1)));
    order.iter().fold(builder, |builder, step| step(builder)).build().unwrap()
}

#[test]
fn defect_08_the_order_is_the_same_whatever_the_order_of_calls_and_can_be_printed() {
    let orders = permutations();
    assert_eq!(orders.len(), 120);
    let explained = build(&orders[0]).explain();
    let place = |name: &str| explained.lines().position(|line| line.starts_with(name));
    let places = ["deadline", "retry", "breaker", "concurrency", "timeout", "call"].map(place);
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{explained}");
    assert!(orders.iter().all(|order| build(order).explain() == explained));
}

#[tokio::test(start_paused = true)]
async fn defect_08_what_is_printed_is_what_happens() {
    // The last order of all, so that none of it comes from the order of calls.
    let pipeline = build(permutations().last().unwrap());
    // Retry is outside the breaker, which sees both attempts of the one call, and outside the timeout, which the breaker
    // takes for a failure.
    let hung = async |_| std::future::pending::<Result<(), ()>>().await;
    let sent = AtomicU32::new(0);
    let counted = |attempt| {
        sent.fetch_add(1, Ordering::SeqCst);
        hung(attempt)
    };
    let error = pipeline.call(Call::REPLAYABLE, counted, |_| Class::Success).await.unwrap_err();
    assert_eq!(error, Error::Timeout { after: 100 * MS });
    assert_eq!(sent.into_inner(), 2, "each of them counted: the third was not sent");
    assert_eq!(pipeline.breaker().unwrap().state(TokioClock.now()), State::Open);
    // The breaker is outside the limit: it rejects though no permit is free.
    let limit = pipeline.concurrency().unwrap();
    let held = limit.try_acquire().unwrap();
    let error = pipeline.call(Call::ONCE, hung, |_| Class::Success).await.unwrap_err();
    let Error::Rejected(rejected) = error else { panic!("{error:?}") };
    assert!(matches!(rejected.reason, Reason::Open(_)) && limit.waiting() == 0);
    // The limit is outside the timeout: what is spent in the queue is not the upstream's.
    pipeline.breaker().unwrap().reset();
    let waiting = tokio::spawn({
        let pipeline = pipeline.clone();
        let send = async |_| {
            tokio::time::sleep(90 * MS).await;
            Ok::<_, ()>(7)
        };
        async move { pipeline.call(Call::ONCE, send, |_| Class::Success).await }
    });
    tokio::time::sleep(90 * MS).await;
    drop(held);
    assert_eq!(waiting.await.unwrap(), Ok(7));
}

/// An error without any trait: it can neither be boxed as an error nor printed nor cloned.
struct Bare(u8);

/// Without a wildcard: another variant, or one that hides behind a box, does not compile.
fn whose_fault(error: Error<Bare>) -> (&'static str, u8) {
    match error {
        Error::Rejected(rejected) => (rejected.policy, 0),
        Error::Timeout { after: _ } => ("upstream, late", 0),
        Error::DeadlineExceeded { attempts: _, last: None } => ("caller's patience", 0),
        Error::DeadlineExceeded { attempts: _, last: Some(Bare(code)) } => ("caller's patience", code),
        Error::Injected(_) => ("an experiment", 0),
        Error::Inner(Bare(code)) => ("upstream", code),
    }
}

#[tokio::test(start_paused = true)]
async fn defect_10_one_typed_error_for_every_end_and_no_box() {
    let pipeline = build(&STEPS);
    let classify = |result: &Result<(), Bare>| match result {
        Ok(()) => Class::Success,
        Err(Bare(1)) => Class::RETRYABLE,
        Err(_) => Class::Ignored,
    };
    let mut ends = Vec::new();
    let own = pipeline.call(Call::ONCE, async |_| Err(Bare(42)), classify).await;
    ends.push(whose_fault(own.err().unwrap()));
    let hung = async |_| std::future::pending().await;
    let late = pipeline.call(Call::ONCE, hung, classify).await;
    ends.push(whose_fault(late.err().unwrap()));
    pipeline.breaker().unwrap().reset();
    let soon = Deadline::after(TokioClock.now(), 90 * MS);
    let first_fails = async |attempt: Attempt| {
        if attempt.number == 0 { Err(Bare(1)) } else { std::future::pending().await }
    };
    let cut = pipeline.call(Call::REPLAYABLE.deadline(soon), first_fails, classify).await;
    ends.push(whose_fault(cut.err().unwrap()));
    pipeline.breaker().unwrap().force_open();
    let rejected = pipeline.call(Call::ONCE, hung, classify).await;
    ends.push(whose_fault(rejected.err().unwrap()));
    let expected = [("upstream", 42), ("upstream, late", 0), ("caller's patience", 1), ("breaker", 0)];
    assert_eq!(ends, expected);
}
