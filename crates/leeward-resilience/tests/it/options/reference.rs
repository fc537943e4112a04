//! The reference names every option, with the default that holds.

use std::fmt::Debug;
use std::time::Duration;

use leeward_resilience::cache::Memory;
use leeward_resilience::config::{Options, line, rows, settings};
use leeward_resilience::{
    Adaptive, Aimd, Algorithm, Breaker, Budget, Cache, Concurrency, Fallback, Faults, Gradient2, Hedge,
    Order, PipelineOptions, RateLimit, Retry, SharedRate, Shed, SlidingWindow, Throttle, Timeout,
};

#[path = "../../../examples/options.rs"]
mod example;

#[test]
fn the_reference_in_the_docs_is_up_to_date() {
    let docs = include_str!("../../../docs/options.md");
    assert_eq!(example::text(), docs, "run the example `options` into docs/options.md");
    example::main();
}

/// The names of a struct's fields. Without `..`, so that a new field does not compile until it is listed here, and does
/// not pass until it is described.
macro_rules! fields {
    ($options:expr, $name:ident { $($field:ident),* $(,)? }) => {{
        let $name { $($field: _),* } = $options;
        [$(stringify!($field)),*]
    }};
}

fn names<T: Options>(below: &str) -> Vec<String> {
    let below = |row: leeward_resilience::config::Row| row.option.strip_prefix(below).map(str::to_owned);
    rows::<T>().into_iter().filter_map(below).filter(|name| !name.contains('.')).collect()
}

#[test]
#[rustfmt::skip]
fn every_field_is_described() {
    let it = Breaker::default();
    assert_eq!(names::<Breaker>(""), fields!(it, Breaker {
        failure_rate, window, window_calls, minimum_calls, slow_after, slow_rate, consecutive_failures, break_initial,
        break_max, break_growth, probes, probation, abandoned_after, mode,
    }));
    let it = Retry::default();
    assert_eq!(names::<Retry>(""), fields!(it, Retry {
        max_retries, jitter, backoff_base, backoff_max, retry_after_max, attempt_min, budget, mode,
    }));
    assert_eq!(names::<Budget>(""), fields!(Budget::default(), Budget { ratio, floor, window }));
    assert_eq!(names::<Hedge>(""), fields!(Hedge::default(), Hedge { delay, max_hedges, attempt_min, budget, mode }));
    assert_eq!(names::<Timeout>(""), fields!(Timeout::default(), Timeout { after, mode }));
    let it = Fallback::default();
    assert_eq!(names::<Fallback>(""), fields!(it, Fallback {
        on_rejected, on_timeout, on_deadline, on_retryable, on_permanent, within, mode,
    }));
    let it = Cache::default();
    assert_eq!(names::<Cache>(""), fields!(it, Cache {
        ttl, ttl_jitter, stale_max, stale_on, negative_ttl, negative_entries_max, waiters_max, wait_max, store_timeout,
        mode,
    }));
    assert_eq!(names::<Memory>(""), fields!(Memory::default(), Memory { entries_max, bytes_max }));
    assert_eq!(names::<RateLimit>(""), fields!(RateLimit::base(), RateLimit { limit, period, burst, mode }));
    assert_eq!(names::<SlidingWindow>(""), fields!(SlidingWindow::base(), SlidingWindow { limit, period, mode }));
    let it = SharedRate::default();
    assert_eq!(names::<SharedRate>(""), fields!(it, SharedRate { wait_max, on_failure, failures_max, pause, mode }));
    let it = Concurrency::default();
    assert_eq!(names::<Concurrency>(""), fields!(it, Concurrency { limit, queue, max_wait, order, mode }));
    let it = Adaptive::default();
    assert_eq!(names::<Adaptive>(""), fields!(it, Adaptive {
        limit_min, limit_max, limit_initial, algorithm, abandoned_after, mode,
    }));
    assert_eq!(names::<Adaptive>("algorithm.aimd."), fields!(Aimd::default(), Aimd { backoff, latency_max }));
    let it = Gradient2::default();
    assert_eq!(names::<Adaptive>("algorithm.gradient2."), fields!(it, Gradient2 {
        window, samples_min, baseline_steps, tolerance, smoothing, headroom, backoff,
    }));
    let it = Throttle::default();
    assert_eq!(names::<Throttle>(""), fields!(it, Throttle { k, window, requests_min, rejection_max, abandoned_after, mode }));
    assert_eq!(names::<Shed>(""), fields!(Shed::default(), Shed { target, interval, concurrency, mode }));
    let it = Faults::default();
    assert_eq!(names::<Faults>(""), fields!(it, Faults {
        latency_share, latency_min, latency_max, refused_share, error_share, lost_reply_share, faults_max, lasts, mode,
    }));
    let it = PipelineOptions::default();
    assert_eq!(names::<PipelineOptions>(""), fields!(it, PipelineOptions {
        fallback, cache, deadline, retry, hedge, throttle, breaker, rate_limit, adaptive, concurrency, attempt_timeout,
    }));
}

/// The reference's defaults are those of `Default`, and each has its reason.
fn defaults_hold<T: Options + Default + PartialEq + Debug>() {
    assert_eq!(T::base(), T::default());
    let in_force = settings(&T::default());
    assert!(in_force.iter().all(|setting| setting.is_default), "{in_force:?}");
    let rows = rows::<T>();
    for setting in &in_force {
        let row = rows.iter().find(|row| row.option == setting.name).unwrap();
        assert_eq!(row.default, setting.value, "{}", row.option);
    }
    for row in rows {
        let is_plain = row.kind == "group" && row.default.is_empty();
        assert!(row.what.ends_with(['.']) && (is_plain || row.why.ends_with(['.'])), "{row:?}");
    }
}

#[test]
fn every_default_is_printed_with_its_reason() {
    defaults_hold::<Adaptive>();
    defaults_hold::<Breaker>();
    defaults_hold::<Budget>();
    defaults_hold::<Cache>();
    defaults_hold::<Concurrency>();
    defaults_hold::<Fallback>();
    defaults_hold::<Faults>();
    defaults_hold::<Hedge>();
    defaults_hold::<Memory>();
    defaults_hold::<PipelineOptions>();
    defaults_hold::<Retry>();
    defaults_hold::<Shed>();
    defaults_hold::<SharedRate>();
    defaults_hold::<Throttle>();
    defaults_hold::<Timeout>();
    let default = |option| rows::<RateLimit>().into_iter().find(|row| row.option == option).unwrap().default;
    assert_eq!(["limit", "period", "burst"].map(default), ["required", "1s", "`limit`"]);
}

#[test]
fn what_differs_from_its_default_is_not_marked() {
    let order = Order::LifoUnderOverload { after: Duration::from_millis(100) };
    let concurrency = Concurrency { queue: 0, order, ..Concurrency::default() };
    assert_eq!(
        line(&concurrency),
        "limit 256 (default), queue 0, max_wait 500ms (default), order lifo_under_overload, \
         order.lifo_under_overload.after 100ms (default), mode enforced (default)"
    );
    let gradient = Algorithm::Gradient2(Gradient2 { headroom: 8, ..Gradient2::default() });
    let changed: Vec<_> = settings(&Adaptive { algorithm: gradient, ..Adaptive::default() })
        .into_iter()
        .filter(|setting| !setting.is_default)
        .map(|setting| setting.to_string())
        .collect();
    assert_eq!(changed, ["algorithm gradient2", "algorithm.gradient2.headroom 8"]);
    let retry = Some(Retry { budget: Budget { floor: 0, ..Budget::default() }, ..Retry::default() });
    let options = PipelineOptions { retry, ..PipelineOptions::default() };
    let changed: Vec<_> =
        settings(&options).into_iter().filter(|it| !it.is_default).map(|it| it.name).collect();
    assert_eq!(changed, ["retry", "retry.budget.floor"]);
    assert!(
        line(&options)
            .starts_with("fallback off (default), cache off (default), deadline 10s (default), retry on, ")
    );
    let limit = RateLimit::per_minute(std::num::NonZeroU32::MIN);
    assert_eq!(line(&limit), "limit 1, period 1m, burst 1 (default), mode enforced (default)");
}
