//! The options of resilience policies in a YAML document.

use std::num::NonZeroU32;
use std::time::Duration;

use leeward_resilience::config::{Options, write};
use leeward_resilience::hedge::Delay;
use leeward_resilience::{
    Adaptive, Algorithm, Breaker, Budget, Concurrency, Gradient2, Hedge, Jitter, Mode, Order,
    PipelineOptions, RateLimit, Retry, Timeout,
};
use leeward_runtime::Env;
use leeward_runtime::config::{Document, Problems};

const MS: Duration = Duration::from_millis(1);

fn read<T: Options>(text: &str, options: &mut T) -> Result<(), Problems> {
    let document = Document::parse("policies.yaml", text, &Env::default()).unwrap();
    document.root().get("policies").policy(options);
    document.finish()
}

const FULL: &str = "
policies:
  deadline: 2s
  attempt_timeout: {after: 500ms, mode: shadow}
  retry:
    max_retries: 1
    jitter: decorrelated
    budget: {ratio: 0.1, floor: 3}
  hedge:
    delay: 30ms
  breaker:
    consecutive_failures: off
    window_calls: 100
    failure_rate: 30%
  rate_limit: 10/s burst 20
  adaptive: {algorithm: {gradient2: {headroom: 8}}}
  concurrency:
    limit: 8
    order: lifo_under_overload
  throttle: on
  cache: off
";

#[test]
fn a_document_is_the_same_as_code() {
    let count = |number| NonZeroU32::new(number).unwrap();
    let budget = Budget { ratio: 0.1, floor: 3, ..Budget::default() };
    let retry = Retry { max_retries: 1, jitter: Jitter::Decorrelated, budget, ..Retry::default() };
    let breaker = Breaker {
        consecutive_failures: None,
        window_calls: Some(count(100)),
        failure_rate: 0.3,
        ..Breaker::default()
    };
    let gradient = Algorithm::Gradient2(Gradient2 { headroom: 8, ..Gradient2::default() });
    let order = Order::LifoUnderOverload { after: 100 * MS };
    let expected = PipelineOptions {
        deadline: 2000 * MS,
        attempt_timeout: Some(Timeout { after: 500 * MS, mode: Mode::Shadow }),
        retry: Some(retry),
        hedge: Some(Hedge { delay: Delay::Fixed(30 * MS), ..Hedge::default() }),
        breaker: Some(breaker),
        rate_limit: Some(RateLimit { burst: count(20), ..RateLimit::per_second(count(10)) }.into()),
        adaptive: Some(Adaptive { algorithm: gradient, ..Adaptive::default() }),
        concurrency: Some(Concurrency { limit: count(8), order, ..Concurrency::default() }),
        throttle: Some(leeward_resilience::Throttle::default()),
        ..PipelineOptions::default()
    };
    let mut options =
        PipelineOptions { cache: Some(leeward_resilience::Cache::default()), ..Default::default() };
    read(FULL, &mut options).unwrap();
    assert_eq!(options, expected);
    // Without the parser in between it is the same.
    assert_eq!(leeward_resilience::config::read(&write(&options)), Ok(options));
}

#[test]
fn all_mistakes_have_their_place() {
    let text = "policies:
  retry:
    max_retires: 1
    backoff_base: 5 parsecs
    jitter: ful
    budget: {ratio: 2}
    backoff_max: 1m1s
  hedge: {delay: {fixd: 1s}}
  cache: maybe
  breaker: {break_initial: 2m, probes: 0, failure_rate: [1]}
  rate_limit: gcra
  adaptive: {algorithm: {aimd: {}, gradient2: {}}}
  attempt_timeout: 11s
  braker: {}
  concurrency:
    - 1
";
    let mut options = PipelineOptions::default();
    let report = read(text, &mut options).unwrap_err().to_string();
    let expected = "policies.yaml:3:5: policies.retry.max_retires: unknown key
  allowed: attempt_min, backoff_base, backoff_max, budget, jitter, max_retries, mode, retry_after_max
  did you mean: max_retries
policies.yaml:4:19: policies.retry.backoff_base: `5 parsecs` is not a duration
  allowed: a duration as 250ms, 5s or 1m30s, more than 0s, at most backoff_max
policies.yaml:5:13: policies.retry.jitter: `ful` is not a choice
  allowed: full, decorrelated
  did you mean: full
policies.yaml:6:21: policies.retry.budget.ratio: `2` is out of range
  allowed: a share as 50% or 0.5, 0% to 100%
policies.yaml:7:18: policies.retry.backoff_max: `1m1s` is out of range
  allowed: a duration as 250ms, 5s or 1m30s, 1ms to 1m
policies.yaml:8:19: policies.hedge.delay.fixd: unknown key
  allowed: fixed, quantile
  did you mean: fixed
policies.yaml:9:10: policies.cache: `maybe` is not understood
  allowed: a map of its options, or on, or off
policies.yaml:10:28: policies.breaker.break_initial: `2m` is out of range
  allowed: 1ms to break_max
policies.yaml:10:40: policies.breaker.probes: `0` is out of range
  allowed: a whole number, 1 to 1000
policies.yaml:10:57: policies.breaker.failure_rate: `a list` is not a share
  allowed: a share as 50% or 0.5, more than 0%, at most 100%
policies.yaml:11:15: policies.rate_limit.gcra.limit: is required
  allowed: a whole number, 1 to 1000000
policies.yaml:12:25: policies.adaptive.algorithm: is not one form
  allowed: one of aimd, gradient2, knee
policies.yaml:13:20: policies.attempt_timeout: `11s` is out of range
  allowed: at most the deadline
policies.yaml:14:3: policies.braker: unknown key
  allowed: adaptive, attempt_timeout, breaker, cache, concurrency, deadline, fallback, hedge, rate_limit, retry, throttle
  did you mean: breaker
policies.yaml:16:5: policies.concurrency: is not a map
  allowed: a map of its options, or on, or off";
    assert_eq!(report, expected, "\n{report}");
}

#[test]
fn one_that_may_be_off_is_on_when_it_is_given() {
    let read = |text: &str, mut options: Option<RateLimit>| {
        let document = Document::parse("policies.yaml", text, &Env::default()).unwrap();
        document.root().get("limit").optional_policy(&mut options);
        document.finish().map(|()| options).map_err(|problems| problems.to_string())
    };
    let five = RateLimit::per_second(NonZeroU32::new(5).unwrap());
    assert_eq!(read("limit: 5/s", None), Ok(Some(five)));
    assert_eq!(read("limit: {limit: 5}", None), Ok(Some(five)));
    assert_eq!(read("{}", Some(five)), Ok(Some(five)));
    assert_eq!(
        read("limit: {period: 1m}", Some(five)).unwrap_err().lines().count(),
        2,
        "the limit is required"
    );
    assert_eq!(read("limit: off", Some(five)), Ok(None));
    assert_eq!(read("limit: on", Some(five)), Ok(Some(five)));
    let on = read("limit: on", None).unwrap_err();
    assert!(on.contains("limit.limit: is required"), "{on}");
    let allowed = "a map of its options, or a rate as 100/s, or as 100/s burst 200, or on, or off";
    let expected = format!("policies.yaml:1:8: limit: `5` is not understood\n  allowed: {allowed}");
    assert_eq!(read("limit: 5", None), Err(expected));
    let expected = "policies.yaml:1:8: limit: `5/2d` is out of range\n  allowed: 1ms to 1d".to_owned();
    assert_eq!(read("limit: 5/2d", None), Err(expected));
}
