//! Each option, one step out of its range on each side, is exactly one mistake; the ends of its range are none.

use leeward_resilience::cache::Memory;
use leeward_resilience::config::{Kind, Options, check, read, rows};
use leeward_resilience::{
    Adaptive, Breaker, Budget, Cache, Concurrency, Fallback, Faults, Hedge, Mistake, PipelineOptions,
    RateLimit, Retry, SharedRate, Shed, SlidingWindow, Throttle, Timeout,
};

use super::{document, set};

/// The option below its policy; values out of range; values in range; what is allowed.
type Line = (&'static str, &'static [&'static str], &'static [&'static str], &'static str);

fn holds<T: Options>(given: &[(&str, &str)], table: &[Line]) {
    let prefix =
        |path: &str| if T::NAME.is_empty() { path.to_owned() } else { format!("{}.{path}", T::NAME) };
    let base = || {
        let mut options = T::base();
        given.iter().for_each(|(path, text)| assert!(set(&mut options, &prefix(path), text)));
        options
    };
    assert_eq!(check(&base()), Ok(()));
    for (option, out, within, allowed) in table {
        let path = prefix(option);
        let read = |text: &str| {
            let mut entries: Vec<_> = given.iter().copied().filter(|(path, _)| path != option).collect();
            entries.push((option, text));
            read::<T>(&document(&entries))
        };
        for text in *out {
            let errors = read(text).err().unwrap_or_else(|| panic!("{path}: {text} was read"));
            let found: Vec<_> =
                errors.mistakes.iter().map(|it| (it.path.as_str(), it.allowed.as_str())).collect();
            assert_eq!(found, [(path.as_str(), *allowed)], "{text} read");
            let mut options = base();
            if set(&mut options, &path, text) {
                assert_eq!(check(&options).unwrap_err().mistakes, [Mistake::new(&path, text, *allowed)]);
            }
        }
        for text in *within {
            read(text).map(drop).unwrap_or_else(|errors| panic!("{text}: {errors}"));
            let mut options = base();
            assert!(set(&mut options, &path, text));
            assert_eq!(check(&options), Ok(()), "{path} {text}");
        }
    }
    let tested: Vec<_> = table.iter().map(|(option, ..)| (*option).to_owned()).collect();
    let ranged =
        |kind: &str| !["group", Kind::Flag.as_str(), Kind::Choice(Vec::new()).as_str()].contains(&kind);
    let all: Vec<_> = rows::<T>().into_iter().filter(|row| ranged(row.kind)).map(|row| row.option).collect();
    assert_eq!(tested, all, "an option of {} is not tested", T::NAME);
}

const SHARE: &str = "0% to 100%";
const SOME_SHARE: &str = "more than 0%, at most 100%";
const COUNT: &str = "1 to 1000000";
const SOME_HOUR: &str = "more than 0s, at most 1h";
const SOME_MINUTE: &str = "more than 0s, at most 1m";
const MINUTE: &str = "0s to 1m";
const MILLI_MINUTE: &str = "1ms to 1m";

const BUDGET: [Line; 3] = [
    ("ratio", &["-1%", "100.1%"], &["0%", "100%"], SHARE),
    ("floor", &["10001"], &["0", "10000"], "0 to 10000"),
    ("window", &["999ms", "10m1ns"], &["1s", "10m"], "1s to 10m"),
];

#[test]
fn of_a_breaker() {
    holds::<Breaker>(
        &[],
        &[
            ("failure_rate", &["0%", "100.1%"], &["0.1%", "100%"], SOME_SHARE),
            ("window", &["99ms", "1h1ns"], &["100ms", "1h"], "100ms to 1h"),
            ("window_calls", &["10001"], &["20", "10000"], "1 to 10000, or off"),
            ("minimum_calls", &["0", "1000001"], &["1", "1000000"], "1 to 1000000, at most window_calls"),
            ("slow_after", &["0s", "1h1ns"], &["1ns", "1h"], "more than 0s, at most 1h, or off"),
            ("slow_rate", &["0%", "100.1%"], &["0.1%", "100%"], SOME_SHARE),
            ("consecutive_failures", &["0", "1000001"], &["1", "1000000"], "1 to 1000000, or off"),
            ("break_initial", &["999us", "1m1ns", "2h"], &["1ms", "1m"], "1ms to break_max"),
            ("break_max", &["999us", "1h1ns"], &["5s", "1h"], "1ms to 1h"),
            ("break_growth", &["0.99", "10.01"], &["1", "10"], "1 to 10"),
            ("probes", &["0", "1001"], &["1", "1000"], "1 to 1000"),
            ("probation", &["0s", "1h1ns"], &["1ns", "1h"], SOME_HOUR),
            ("abandoned_after", &["0s", "1h1ns"], &["1ns", "1h"], SOME_HOUR),
        ],
    );
    let calls = [("window_calls", "50"), ("minimum_calls", "51")];
    let errors = read::<Breaker>(&document(&calls)).unwrap_err();
    assert_eq!(errors.mistakes, [Mistake::new("breaker.minimum_calls", "51", "1 to window_calls")]);
}

#[test]
fn of_retry() {
    let [ratio, floor, window] = BUDGET;
    holds::<Retry>(
        &[],
        &[
            ("max_retries", &["11"], &["0", "10"], "0 to 10"),
            ("backoff_base", &["0s", "251ms", "2m"], &["1ns", "250ms"], "more than 0s, at most backoff_max"),
            ("backoff_max", &["999us", "1m1ns"], &["25ms", "1m"], "1ms to 1m"),
            ("retry_after_max", &["1h1ns"], &["0s", "1h"], "0s to 1h"),
            ("attempt_min", &["1m1ns"], &["0s", "1m"], MINUTE),
            ("budget.ratio", ratio.1, ratio.2, ratio.3),
            ("budget.floor", floor.1, floor.2, floor.3),
            ("budget.window", window.1, window.2, window.3),
        ],
    );
    holds::<Budget>(&[], &BUDGET);
}

#[test]
fn of_hedging() {
    let [ratio, floor, window] = BUDGET;
    holds::<Hedge>(
        &[],
        &[
            ("delay.quantile.quantile", &["49.9%", "99.91%"], &["50%", "99.9%"], "50% to 99.9%"),
            ("delay.quantile.initial", &["4ms", "1s1ms", "2m"], &["5ms", "1s"], "min to max"),
            ("delay.quantile.min", &["0s", "1s1ms"], &["1ns", "250ms"], "more than 0s, at most max"),
            ("delay.quantile.max", &["0s", "1m1ns"], &["250ms", "1m"], SOME_MINUTE),
            ("delay.fixed.after", &["0s", "1m1ns"], &["1ns", "1m"], SOME_MINUTE),
            ("max_hedges", &["0", "5"], &["1", "4"], "1 to 4"),
            ("attempt_min", &["1m1ns"], &["0s", "1m"], MINUTE),
            ("budget.ratio", ratio.1, ratio.2, ratio.3),
            ("budget.floor", floor.1, floor.2, floor.3),
            ("budget.window", window.1, window.2, window.3),
        ],
    );
}

#[test]
fn of_what_stands_in() {
    let within: Line = ("within", &["0s", "1m1ns"], &["1ns", "1m"], SOME_MINUTE);
    holds::<Fallback>(&[], &[within]);
    holds::<Cache>(
        &[],
        &[
            ("ttl", &["999us", "1d1ns"], &["1ms", "1d"], "1ms to 1d"),
            ("ttl_jitter", &["-1%", "50.1%"], &["0%", "50%"], "0% to 50%"),
            ("stale_max", &["1d1ns"], &["0s", "1d"], "0s to 1d"),
            ("stale_on.within", within.1, within.2, within.3),
            ("negative_ttl", &["0s", "1h1ns"], &["1ns", "1h"], "more than 0s, at most 1h, or off"),
            ("negative_entries_max", &["0", "1000001"], &["1", "1000000"], COUNT),
            ("waiters_max", &["1000001"], &["0", "1000000"], "0 to 1000000"),
            ("wait_max", &["0s", "1h1ns"], &["1ns", "1h"], SOME_HOUR),
            ("store_timeout", &["0s", "10s1ns"], &["1ns", "10s"], "more than 0s, at most 10s"),
        ],
    );
    holds::<Memory>(
        &[],
        &[
            ("entries_max", &["0", "10000001"], &["1", "10000000"], "1 to 10000000"),
            ("bytes_max", &["1023B", "1099511627777B"], &["1KiB", "1TiB"], "1KiB to 1TiB"),
        ],
    );
    let none = ["on_rejected", "on_timeout", "on_deadline", "on_retryable"].map(|name| (name, "false"));
    let errors = read::<Fallback>(&document(&none)).unwrap_err();
    assert_eq!(errors.mistakes, [Mistake::new("fallback", "for no cause", "at least one cause")]);
}

#[test]
fn of_rates() {
    let limit: Line = ("limit", &["0", "1000001"], &["1", "1000000"], COUNT);
    let period: Line = ("period", &["999us", "1d1ns"], &["1ms", "1d"], "1ms to 1d");
    let given = [("limit", "5"), ("burst", "7")];
    holds::<RateLimit>(&given, &[limit, period, ("burst", limit.1, limit.2, limit.3)]);
    holds::<SlidingWindow>(&given[..1], &[limit, period]);
    holds::<SharedRate>(
        &[],
        &[
            ("wait_max", &["999us", "5s1ns"], &["1ms", "5s"], "1ms to 5s"),
            ("failures_max", &["0", "1001"], &["1", "1000"], "1 to 1000"),
            ("pause", &["999us", "1m1ns"], &["1ms", "1m"], MILLI_MINUTE),
        ],
    );
}

const CONCURRENCY: [Line; 4] = [
    ("limit", &["0", "1000001"], &["1", "1000000"], COUNT),
    ("queue", &["1000001"], &["0", "1000000"], "0 to 1000000"),
    ("max_wait", &["1m1ns"], &["0s", "1m"], MINUTE),
    ("order.lifo_under_overload.after", &["999us", "1m1ns"], &["1ms", "1m"], MILLI_MINUTE),
];

#[test]
fn of_limits() {
    let [limit, queue, max_wait, after] = CONCURRENCY;
    holds::<Concurrency>(&[], &CONCURRENCY);
    holds::<Shed>(
        &[],
        &[
            ("target", &["999us", "1s1ns"], &["1ms", "100ms"], "1ms to 1s"),
            ("interval", &["4ms", "9ms", "10s1ns"], &["10ms", "10s"], "target to 10s"),
            ("concurrency.limit", limit.1, limit.2, limit.3),
            ("concurrency.queue", queue.1, queue.2, queue.3),
            ("concurrency.max_wait", max_wait.1, max_wait.2, max_wait.3),
            ("concurrency.order.lifo_under_overload.after", after.1, after.2, after.3),
        ],
    );
    holds::<Throttle>(
        &[],
        &[
            ("k", &["1.09", "10.1"], &["1.1", "10"], "1.1 to 10"),
            ("window", &["999ms", "1h1ns"], &["1s", "1h"], "1s to 1h"),
            ("requests_min", &["1000001"], &["0", "1000000"], "0 to 1000000"),
            ("rejection_max", &["0%", "100.1%"], &["0.1%", "100%"], SOME_SHARE),
            ("abandoned_after", &["0s", "1h1ns"], &["1ns", "1h"], SOME_HOUR),
        ],
    );
    let backoff = ("0.5 to 0.99", &["0.49", "0.995"][..], &["0.5", "0.99"][..]);
    holds::<Adaptive>(
        &[],
        &[
            ("limit_min", &["0", "501", "1000001"], &["1", "20"], "1 to limit_max"),
            ("limit_max", &["0", "1000001"], &["20", "1000000"], COUNT),
            ("limit_initial", &["4", "501", "1000001"], &["5", "500"], "limit_min to limit_max"),
            ("algorithm.aimd.backoff", backoff.1, backoff.2, backoff.0),
            (
                "algorithm.aimd.latency_max",
                &["0s", "1h1ns"],
                &["1ns", "1h"],
                "more than 0s, at most 1h, or off",
            ),
            ("algorithm.gradient2.window", &["9ms", "1m1ns"], &["10ms", "1m"], "10ms to 1m"),
            ("algorithm.gradient2.samples_min", &["0", "10001"], &["1", "10000"], "1 to 10000"),
            ("algorithm.gradient2.baseline_steps", &["9", "100001"], &["10", "100000"], "10 to 100000"),
            ("algorithm.gradient2.tolerance", &["0.99", "3.01"], &["1", "3"], "1 to 3"),
            ("algorithm.gradient2.smoothing", &["0%", "100.1%"], &["0.1%", "100%"], SOME_SHARE),
            ("algorithm.gradient2.headroom", &["0", "101"], &["1", "100"], "1 to 100"),
            ("algorithm.gradient2.backoff", backoff.1, backoff.2, backoff.0),
            ("algorithm.knee.window", &["9ms", "1m1ns"], &["10ms", "1m"], "10ms to 1m"),
            ("algorithm.knee.samples_min", &["0", "10001"], &["1", "10000"], "1 to 10000"),
            ("algorithm.knee.tolerance", &["1.09", "5.1"], &["1.1", "5"], "1.1 to 5"),
            ("algorithm.knee.backoff", backoff.1, backoff.2, backoff.0),
            ("abandoned_after", &["0s", "1h1ns"], &["1ns", "1h"], SOME_HOUR),
        ],
    );
}

#[test]
fn of_timeouts_and_faults() {
    holds::<Timeout>(&[], &[("after", &["0s", "1h1ns"], &["1ns", "1h"], SOME_HOUR)]);
    let share = (&["-1%", "100.1%"][..], &["0%", "100%"][..]);
    holds::<Faults>(
        &[],
        &[
            ("latency_share", share.0, share.1, SHARE),
            ("latency_min", &["1m1ns"], &["0s", "100ms"], MINUTE),
            ("latency_max", &["99ms", "1m1ns"], &["100ms", "1m"], "latency_min to 1m"),
            ("refused_share", share.0, share.1, SHARE),
            ("error_share", share.0, share.1, SHARE),
            ("lost_reply_share", share.0, share.1, SHARE),
            ("faults_max", &["0"], &["1", "18446744073709551615"], "at least 1"),
            ("lasts", &["0s", "1d1ns"], &["1ns", "1d"], "more than 0s, at most 1d"),
        ],
    );
    let shares = [("refused_share", "40%"), ("error_share", "40%"), ("lost_reply_share", "30%")];
    let errors = read::<Faults>(&document(&shares)).unwrap_err();
    assert_eq!(errors.paths(), ["faults"]);
    assert!(errors.to_string().contains("refused, error and lost reply at most 100% together"), "{errors}");
}

#[test]
fn of_a_pipeline() {
    let table: [Line; 1] = [("deadline", &["0s", "1h1ns"], &["1ns", "1h"], SOME_HOUR)];
    for (option, out, within, allowed) in table {
        for text in out {
            let errors = read::<PipelineOptions>(&document(&[(option, text)])).unwrap_err();
            assert_eq!(errors.mistakes.len(), 1);
            assert_eq!(
                (errors.mistakes[0].path.as_str(), errors.mistakes[0].allowed.as_str()),
                (option, allowed)
            );
        }
        for text in within {
            read::<PipelineOptions>(&document(&[(option, text)])).unwrap();
        }
    }
    // The paths of the policies are those of the document.
    let wrong = [("retry.budget.ratio", "2"), ("hedge.max_hedges", "9"), ("attempt_timeout", "11s")];
    let errors = read::<PipelineOptions>(&document(&wrong)).unwrap_err();
    assert_eq!(errors.paths(), ["retry.budget.ratio", "hedge.max_hedges", "attempt_timeout.after"]);
    assert_eq!(errors.mistakes[2], Mistake::new("attempt_timeout.after", "11s", "at most the deadline"));
}

/// An option that leaves no room for others is the one that is wrong.
#[test]
fn one_slip_is_one_mistake() {
    let retry = read::<Retry>(&document(&[("backoff_max", "0s"), ("backoff_base", "1ms")])).unwrap_err();
    assert_eq!(retry.paths(), ["retry.backoff_max"]);
    let crossed = [("limit_min", "600"), ("limit_max", "500")];
    let adaptive = read::<Adaptive>(&document(&crossed)).unwrap_err();
    assert_eq!(adaptive.paths(), ["adaptive.limit_min"]);
    let mut faults = Faults::default();
    assert!(set(&mut faults, "faults.latency_min", "2m"));
    assert_eq!(check(&faults).unwrap_err().paths(), ["faults.latency_min"]);
}
