//! Options from a document, and back.

use std::num::NonZeroU32;
use std::time::Duration;

use leeward_resilience::config::{self, Options, Value, read, read_into, write};
use leeward_resilience::hedge::Delay;
use leeward_resilience::rate::Rule;
use leeward_resilience::{
    Adaptive, Algorithm, Breaker, Budget, Cache, Concurrency, Fallback, Gradient2, Hedge, Jitter, Mode,
    Order, PipelineOptions, RateLimit, Retry, SlidingWindow, Throttle, Timeout,
};

use super::document;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// Every option once, none at its default.
const FULL: &str = r#"{
    "fallback": {
        "on_rejected": false, "on_timeout": false, "on_deadline": false, "on_retryable": false, "on_permanent": true,
        "within": "30ms", "mode": "shadow"
    },
    "cache": {
        "ttl": "1h", "ttl_jitter": 0, "stale_max": "0s", "stale_on": {"on_timeout": false}, "negative_ttl": "1s",
        "negative_entries_max": 5, "waiters_max": 0, "wait_max": "1s", "store_timeout": "1s", "mode": "shadow"
    },
    "deadline": "2s",
    "retry": {
        "max_retries": 1, "jitter": "decorrelated", "backoff_base": "10ms", "backoff_max": "100ms",
        "retry_after_max": "1s", "attempt_min": "1ms", "budget": {"ratio": "10%", "floor": 3, "window": "1m"}, "mode": "shadow"
    },
    "hedge": {"delay": "30ms", "max_hedges": 2, "attempt_min": "0s", "budget": {"ratio": 0.05}, "mode": "shadow"},
    "throttle": {"k": 1.5, "window": "2m", "requests_min": 0, "rejection_max": 1, "abandoned_after": "1s", "mode": "shadow"},
    "breaker": {
        "failure_rate": "30%", "window": "1s", "window_calls": 100, "minimum_calls": 10, "slow_after": "250ms",
        "slow_rate": "60%", "consecutive_failures": "off", "break_initial": "1s", "break_max": "30s",
        "break_growth": 3, "probes": 1, "probation": "5s", "abandoned_after": "1s", "mode": "shadow"
    },
    "rate_limit": {"sliding_window": {"limit": 100, "period": "1m", "mode": "shadow"}},
    "adaptive": {
        "limit_min": 1, "limit_max": 100, "limit_initial": 10, "algorithm": {"gradient2": {
            "window": "1s", "samples_min": 5, "baseline_steps": 100, "tolerance": 2, "smoothing": 0.5, "headroom": 2,
            "backoff": 0.8
        }}, "abandoned_after": "1s", "mode": "shadow"
    },
    "concurrency": {
        "limit": 8, "queue": 4, "max_wait": "50ms", "order": {"lifo_under_overload": {"after": "20ms"}}, "mode": "shadow"
    },
    "attempt_timeout": {"after": "500ms", "mode": "shadow"}
}"#;

#[allow(clippy::too_many_lines, reason = "one line an option")]
fn full() -> PipelineOptions {
    let fallback = Fallback {
        on_rejected: false,
        on_timeout: false,
        on_deadline: false,
        on_retryable: false,
        on_permanent: true,
        within: 30 * MS,
        mode: Mode::Shadow,
    };
    let cache = Cache {
        ttl: 3600 * SECOND,
        ttl_jitter: 0.0,
        stale_max: Duration::ZERO,
        stale_on: Fallback { on_timeout: false, ..Fallback::default() },
        negative_ttl: Some(SECOND),
        negative_entries_max: 5,
        waiters_max: 0,
        wait_max: SECOND,
        store_timeout: SECOND,
        mode: Mode::Shadow,
    };
    let retry = Retry {
        max_retries: 1,
        jitter: Jitter::Decorrelated,
        backoff_base: 10 * MS,
        backoff_max: 100 * MS,
        retry_after_max: SECOND,
        attempt_min: MS,
        budget: Budget { ratio: 0.1, floor: 3, window: 60 * SECOND },
        mode: Mode::Shadow,
    };
    let hedge = Hedge {
        delay: Delay::Fixed(30 * MS),
        max_hedges: 2,
        attempt_min: Duration::ZERO,
        budget: Budget { ratio: 0.05, ..Budget::default() },
        mode: Mode::Shadow,
    };
    let throttle = Throttle {
        k: 1.5,
        window: 120 * SECOND,
        requests_min: 0,
        rejection_max: 1.0,
        abandoned_after: SECOND,
        mode: Mode::Shadow,
    };
    let breaker = Breaker {
        failure_rate: 0.3,
        window: SECOND,
        window_calls: Some(count(100)),
        minimum_calls: count(10),
        slow_after: Some(250 * MS),
        slow_rate: 0.6,
        consecutive_failures: None,
        break_initial: SECOND,
        break_max: 30 * SECOND,
        break_growth: 3.0,
        probes: count(1),
        probation: 5 * SECOND,
        abandoned_after: SECOND,
        mode: Mode::Shadow,
    };
    let gradient = Gradient2 {
        window: SECOND,
        samples_min: 5,
        baseline_steps: 100,
        tolerance: 2.0,
        smoothing: 0.5,
        headroom: 2,
        backoff: 0.8,
    };
    let adaptive = Adaptive {
        limit_min: count(1),
        limit_max: count(100),
        limit_initial: count(10),
        algorithm: Algorithm::Gradient2(gradient),
        abandoned_after: SECOND,
        mode: Mode::Shadow,
    };
    let order = Order::LifoUnderOverload { after: 20 * MS };
    PipelineOptions {
        fallback: Some(fallback),
        cache: Some(cache),
        deadline: 2 * SECOND,
        retry: Some(retry),
        hedge: Some(hedge),
        throttle: Some(throttle),
        breaker: Some(breaker),
        rate_limit: Some(SlidingWindow { limit: count(100), period: 60 * SECOND, mode: Mode::Shadow }.into()),
        adaptive: Some(adaptive),
        concurrency: Some(Concurrency {
            limit: count(8),
            queue: 4,
            max_wait: 50 * MS,
            order,
            mode: Mode::Shadow,
        }),
        attempt_timeout: Some(Timeout { after: 500 * MS, mode: Mode::Shadow }),
    }
}

#[test]
fn a_document_is_the_same_as_code_and_comes_back() {
    let options: PipelineOptions = serde_json::from_str(FULL).unwrap();
    assert_eq!(options, full());
    let unchanged: Vec<_> = config::settings(&options).into_iter().filter(|it| it.is_default).collect();
    let names: Vec<_> = unchanged.iter().map(|setting| setting.name.as_str()).collect();
    let of_fallback = ["on_rejected", "on_deadline", "on_retryable", "on_permanent", "within", "mode"];
    let mut expected: Vec<_> = of_fallback.iter().map(|name| format!("cache.stale_on.{name}")).collect();
    expected.extend(["hedge.budget.floor", "hedge.budget.window"].map(str::to_owned));
    assert_eq!(names, expected, "the document has every option, none at its default");
    for options in [options, PipelineOptions::default()] {
        assert_eq!(read(&write(&options)), Ok(options.clone()));
        let json = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<PipelineOptions>(&json).unwrap(), options, "{json}");
    }
}

#[test]
fn what_is_written_is_short_where_it_can_be() {
    let json = serde_json::to_string(&Concurrency::default()).unwrap();
    assert_eq!(json, r#"{"limit":256,"queue":256,"max_wait":"500ms","order":"fifo","mode":"enforced"}"#);
    let json = serde_json::to_string(&Timeout::default()).unwrap();
    assert_eq!(json, r#"{"after":"1s","mode":"enforced"}"#);
}

#[test]
fn a_policy_is_switched_on_and_off() {
    let on = |text: &str| serde_json::from_str::<PipelineOptions>(text).unwrap();
    for text in [r#"{"retry": {}}"#, r#"{"retry": "on"}"#, r#"{"retry": true}"#] {
        assert_eq!(on(text), PipelineOptions { retry: Some(Retry::default()), ..PipelineOptions::default() });
    }
    for text in [r#"{"retry": "off"}"#, r#"{"retry": false}"#, r#"{"retry": null}"#, "{}"] {
        assert_eq!(on(text), PipelineOptions::default(), "{text}");
    }
    // Over options that are there, what is not said stays.
    let mut options = full();
    read_into(&mut options, &document(&[("retry", "off"), ("breaker.probes", "2"), ("rate_limit", "off")]))
        .unwrap();
    let breaker = full().breaker.map(|breaker| Breaker { probes: count(2), ..breaker });
    assert_eq!(options, PipelineOptions { retry: None, breaker, rate_limit: None, ..full() });
    // And with a mistake, everything does.
    read_into(&mut options, &document(&[("deadline", "1s"), ("retry", "maybe")])).unwrap_err();
    assert_eq!(options.deadline, 2 * SECOND);
}

#[test]
fn short_forms() {
    let rule = |text| read::<PipelineOptions>(&document(&[("rate_limit", text)])).map(|it| it.rate_limit);
    let gcra = |limit, period, burst| {
        Some(Rule::Gcra(RateLimit { limit: count(limit), period, burst: count(burst), mode: Mode::Enforced }))
    };
    assert_eq!(rule("100/s"), Ok(gcra(100, SECOND, 100)));
    assert_eq!(rule("10/1m30s burst 20"), Ok(gcra(10, 90 * SECOND, 20)));
    for wrong in ["100", "0/s", "100/s burst", "100/s burst none", "100/s burst 0"] {
        assert_eq!(rule(wrong).unwrap_err().paths(), ["rate_limit"], "{wrong}");
    }
    assert_eq!(rule("100/2d").unwrap_err().paths(), ["rate_limit.gcra.period"]);
    let limit = read::<RateLimit>(&document(&[("limit", "5")])).unwrap();
    assert_eq!(limit, RateLimit::per_second(count(5)), "the burst follows the limit");
    assert_eq!(read::<RateLimit>(&"7/s".into()).unwrap(), RateLimit::per_second(count(7)));
    assert_eq!(read::<Timeout>(&"7s".into()).unwrap(), Timeout::from(7 * SECOND));
    let delay = |entries: &[(&str, &str)]| read::<Hedge>(&document(entries)).map(|it| it.delay);
    assert_eq!(delay(&[("delay", "7ms")]), Ok(Delay::Fixed(7 * MS)));
    assert_eq!(delay(&[("delay", "fixed")]), Ok(Delay::Fixed(100 * MS)));
    assert_eq!(delay(&[("delay", "quantile")]), Ok(Delay::default()));
    let gradient = read::<Adaptive>(&document(&[("algorithm", "gradient2")])).unwrap();
    assert_eq!(gradient.algorithm, Algorithm::Gradient2(Gradient2::default()));
}

fn mistakes<T: Options>(json: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(json).unwrap();
    let errors = read::<T>(&value).err().unwrap_or_else(|| panic!("{json} was read"));
    errors.mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn all_mistakes_of_a_document_are_reported_at_once() {
    let json = r#"{
        "retry": {"max_retires": 1, "backoff_base": "5 parsecs", "budget": [1], "jitter": "ful", "banana": {}},
        "braker": {},
        "hedge": {"delay": {"fixd": {}}, "max_hedges": -1},
        "cache": "yes",
        "breaker": {"probes": 0, "failure_rate": "1.5", "consecutive_failures": true},
        "rate_limit": "gcra",
        "adaptive": {"algorithm": {"aimd": {}, "gradient2": {}}},
        "concurrency": {"order": 3, "limit": 1.5}
    }"#;
    let retry = "max_retries, jitter, backoff_base, backoff_max, retry_after_max, attempt_min, budget, mode";
    let root = "fallback, cache, deadline, retry, hedge, throttle, breaker, rate_limit, adaptive, concurrency, \
                attempt_timeout";
    let expected = [
        "cache is `yes`, allowed: a map of its options, or on, or off",
        "retry.jitter is `ful`, allowed: full, decorrelated, did you mean: full",
        "retry.backoff_base is `5 parsecs`, allowed: a duration as 250ms, 5s or 1m30s, more than 0s, at most backoff_max",
        "retry.budget is a list, allowed: a map of its options",
        &format!("retry.max_retires is an unknown option, allowed: {retry}, did you mean: max_retries"),
        &format!("retry.banana is an unknown option, allowed: {retry}"),
        "hedge.delay is `fixd`, allowed: one of quantile, fixed, or a fixed delay as 30ms, did you mean: fixed",
        "hedge.max_hedges is -1, allowed: a whole number, 1 to 4",
        "breaker.failure_rate is `1.5`, allowed: more than 0%, at most 100%",
        "breaker.consecutive_failures is true, allowed: a whole number, 1 to 1000000, or off",
        "breaker.probes is 0, allowed: 1 to 1000",
        "rate_limit.gcra.limit is nothing, allowed: a whole number, 1 to 1000000",
        "adaptive.algorithm is a map, allowed: one of aimd, gradient2, knee",
        "concurrency.limit is 1.5, allowed: a whole number, 1 to 1000000",
        "concurrency.order is 3, allowed: one of fifo, lifo_under_overload",
        &format!("braker is an unknown option, allowed: {root}, did you mean: breaker"),
    ];
    assert_eq!(mistakes::<PipelineOptions>(json), expected);
    let twice = r#"{"max_retries": 1, "max_retries": 2}"#;
    assert_eq!(mistakes::<Retry>(twice), ["retry.max_retries is given twice, allowed: each option once"]);
    assert_eq!(mistakes::<Retry>("[]"), ["retry is a list, allowed: a map of its options"]);
    let text = mistakes::<Timeout>(r#""soon""#);
    assert_eq!(text, ["attempt_timeout is `soon`, allowed: a map of its options, or a duration as 500ms"]);
    let error = serde_json::from_str::<Retry>(r#"{"max_retries": 99}"#).unwrap_err().to_string();
    assert!(error.starts_with("retry.max_retries is 99, allowed: 0 to 10"), "{error}");
}
