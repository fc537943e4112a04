//! Two pipelines in front of the same upstream, of which some policies are the same ones.

use std::num::NonZeroU32;
use std::time::Duration;

use leeward_resilience::pipeline::Part;
use leeward_resilience::{
    Breaker, Budget, Call, Class, Concurrency, Error, Pipeline, PipelineOptions, Retry, Timeout,
};

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// A breaker that two failures open, no more than three at a time, and one retry.
fn options() -> PipelineOptions {
    PipelineOptions {
        retry: Some(Retry { max_retries: 1, ..Retry::default() }),
        breaker: Some(Breaker { consecutive_failures: Some(count(2)), ..Breaker::default() }),
        concurrency: Some(Concurrency { limit: count(3), queue: 0, ..Concurrency::default() }),
        ..PipelineOptions::default()
    }
}

fn service() -> Pipeline {
    Pipeline::builder("orders").options(options()).build().unwrap()
}

/// One that has its own retries and breaker, without any, and the service's limit.
fn route(service: &Pipeline) -> Pipeline {
    let own = PipelineOptions { retry: None, breaker: None, concurrency: None, ..options() };
    Pipeline::builder("route").options(own).sharing(service, [Part::Concurrency]).build().unwrap()
}

async fn fails(pipeline: &Pipeline) -> Result<(), Error<&'static str>> {
    pipeline.call(Call::REPLAYABLE, async |_| Err::<(), _>("down"), |_| Class::RETRYABLE).await
}

async fn attempts(pipeline: &Pipeline) -> u32 {
    let mut sent = 0;
    let send = |_| {
        sent += 1;
        std::future::ready(Err::<(), _>("down"))
    };
    let _failed = pipeline.call(Call::REPLAYABLE, send, |_| Class::RETRYABLE).await;
    sent
}

fn policies(pipeline: &Pipeline) -> Vec<String> {
    let explained = pipeline.explain();
    explained.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_shared_is_one_and_the_rest_is_not() {
    let service = service();
    let route = route(&service);
    assert_eq!(policies(&route), ["deadline", "concurrency", "call"], "{}", route.explain());
    assert_eq!(attempts(&route).await, 1, "it has no retries");
    for _ in 0..5 {
        assert!(matches!(fails(&route).await, Err(Error::Inner("down"))), "no breaker watches it");
    }
    // Permits that one holds are missing to the other.
    let mut held = Vec::new();
    for pipeline in [&service, &route, &service] {
        let call = pipeline.call_held(Call::ONCE, async |_| Ok::<_, &str>(()), |_| Class::Success);
        held.push(call.await.unwrap());
    }
    assert!(matches!(fails(&route).await, Err(Error::Rejected(_))));
    assert!(matches!(fails(&service).await, Err(Error::Rejected(_))));
    drop(held);
    assert!(matches!(fails(&route).await, Err(Error::Inner("down"))));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_of_its_own_opens_for_itself_alone() {
    let service = service();
    let shares = Part::ALL.into_iter().filter(|part| *part != Part::Breaker);
    let route = Pipeline::builder("route").options(options()).sharing(&service, shares).build().unwrap();
    let _failed = fails(&route).await;
    assert!(matches!(fails(&route).await, Err(Error::Rejected(_))));
    assert!(matches!(fails(&service).await, Err(Error::Inner("down"))));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_is_shared_opens_for_both() {
    let service = service();
    let shares = [Part::Breaker];
    let route = Pipeline::builder("route").options(options()).sharing(&service, shares).build().unwrap();
    let _failed = fails(&service).await;
    assert!(matches!(fails(&route).await, Err(Error::Rejected(_))));
}

#[tokio::test(start_paused = true)]
async fn retries_that_are_shared_draw_on_one_budget() {
    let budget = Budget { ratio: 0.0, floor: 1, ..Budget::default() };
    let retry = Retry { max_retries: 1, budget, ..Retry::default() };
    let own = PipelineOptions { retry: Some(retry), ..PipelineOptions::default() };
    let service = Pipeline::builder("orders").options(own.clone()).build().unwrap();
    let shared = Pipeline::builder("shared").sharing(&service, [Part::Retries]).build().unwrap();
    let alone = Pipeline::builder("alone").options(own).sharing(&service, []).build().unwrap();
    while attempts(&service).await == 2 {}
    assert_eq!(attempts(&shared).await, 1);
    assert_eq!(attempts(&alone).await, 2);
}

#[tokio::test(start_paused = true)]
async fn another_configuration_of_the_one_is_that_of_the_other_after_its_own() {
    let service = service();
    let shares = [Part::Concurrency, Part::Breaker];
    let own = PipelineOptions { attempt_timeout: Some(Timeout::from(Duration::from_secs(1))), ..options() };
    let route = Pipeline::builder("route").options(own.clone()).sharing(&service, shares).build().unwrap();
    service.reconfigure(PipelineOptions { concurrency: None, ..options() }).unwrap();
    assert!(policies(&route).contains(&"concurrency".to_owned()));
    route.reconfigure(own).unwrap();
    assert_eq!(policies(&route), ["deadline", "retry", "breaker", "timeout", "call"]);
    assert_eq!(policies(&service), ["deadline", "retry", "breaker", "call"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_shared_no_more_begins_anew_and_changes_nothing_of_the_other() {
    let service = service();
    let shares = [Part::Breaker];
    let route = Pipeline::builder("route").options(options()).sharing(&service, shares).build().unwrap();
    let _failed = fails(&service).await;
    assert!(matches!(fails(&route).await, Err(Error::Rejected(_))));
    let lenient = Breaker { consecutive_failures: Some(count(50)), ..Breaker::default() };
    let own = PipelineOptions { breaker: Some(lenient), ..options() };
    route.reconfigure_sharing(own.clone(), []).unwrap();
    assert!(matches!(fails(&route).await, Err(Error::Inner("down"))));
    assert!(matches!(fails(&service).await, Err(Error::Rejected(_))));
    assert_eq!(service.options().breaker.unwrap().consecutive_failures, Some(count(2)));
    // And what is its own goes on under other options.
    let strict = Breaker { consecutive_failures: Some(count(3)), ..Breaker::default() };
    route.reconfigure_sharing(PipelineOptions { breaker: Some(strict), ..own }, []).unwrap();
    let _failed = fails(&route).await;
    assert!(matches!(fails(&route).await, Err(Error::Rejected(_))), "the failures before count");
}

/// Leaves a call that never ends after so long.
async fn leaves(pipeline: &Pipeline, call: Call, after: Duration) {
    let pending = pipeline.call(call, |_| std::future::pending::<Result<(), &str>>(), |_| Class::Success);
    assert!(tokio::time::timeout(after, pending).await.is_err(), "it has ended");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_take_longer_than_others_hangs_later() {
    let seconds = |seconds| Some(Timeout::from(Duration::from_secs(seconds)));
    let with = |attempt_timeout, deadline| PipelineOptions {
        attempt_timeout,
        deadline: Duration::from_secs(deadline),
        ..options()
    };
    let service = Pipeline::builder("orders").options(with(seconds(5), 10)).build().unwrap();
    let shares = [Part::Breaker, Part::Concurrency];
    let slow =
        Pipeline::builder("slow").options(with(seconds(50), 60)).sharing(&service, shares).build().unwrap();
    for _ in 0..4 {
        leaves(&slow, Call::ONCE, Duration::from_secs(6)).await;
    }
    let one = service.call(Call::ONCE, async |_| Err::<(), _>("down"), |_| Class::RETRYABLE).await;
    assert!(matches!(one, Err(Error::Inner("down"))), "nobody hung");
    // The control: for the service's own calls that is long.
    let call = Call { abandoned_after: Some(Duration::from_secs(5)), ..Call::ONCE };
    leaves(&slow, call, Duration::from_secs(6)).await;
    assert!(matches!(fails(&service).await, Err(Error::Rejected(_))));
}

#[tokio::test(start_paused = true)]
async fn a_caller_may_say_what_is_long() {
    let service = service();
    let call = Call { abandoned_after: Some(Duration::from_millis(500)), ..Call::ONCE };
    leaves(&service, call, Duration::from_millis(400)).await;
    leaves(&service, call, Duration::from_millis(400)).await;
    leaves(&service, call, Duration::from_millis(600)).await;
    assert!(matches!(fails(&service).await, Err(Error::Inner("down"))), "one has hung, and then one failed");
    assert!(matches!(fails(&service).await, Err(Error::Rejected(_))));
}
