use std::num::NonZeroU32;

use super::*;
use crate::{Adaptive, Breaker, Budget, Cache, Concurrency, Hedge, Mode, Retry, Throttle};

const MS: Duration = Duration::from_millis(1);

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// Options that fit together.
fn sound() -> PipelineOptions {
    PipelineOptions {
        deadline: 2000 * MS,
        cache: Some(Cache { wait_max: 2000 * MS, ..Cache::default() }),
        retry: Some(Retry::default()),
        throttle: Some(Throttle::default()),
        breaker: Some(Breaker::default()),
        concurrency: Some(Concurrency::default()),
        attempt_timeout: Some((500 * MS).into()),
        ..PipelineOptions::default()
    }
}

/// What one change to sound options brings up.
fn found(change: impl FnOnce(&mut PipelineOptions)) -> Vec<(Kind, Vec<&'static str>)> {
    let mut options = sound();
    change(&mut options);
    options.validate().expect("each option is in its range");
    let facts = Facts { latency_p99: Some(100 * MS) };
    options.lint(&facts).into_iter().map(|finding| (finding.kind, finding.options)).collect()
}

#[test]
fn sound_options_and_the_defaults_have_no_findings() {
    assert_eq!(found(|_| {}), []);
    assert_eq!(PipelineOptions::default().lint(&Facts::default()), []);
}

#[test]
fn waits_and_attempts_that_do_not_fit_into_the_deadline() {
    let waits = found(|it| {
        it.concurrency = Some(Concurrency { max_wait: 2000 * MS, queue: 1, ..Concurrency::default() })
    });
    assert_eq!(waits, [(Kind::TimeoutInversion, vec!["concurrency.max_wait", "deadline"])]);
    let unused = found(|it| {
        it.concurrency = Some(Concurrency { max_wait: 2000 * MS, queue: 0, ..Concurrency::default() })
    });
    assert_eq!(unused, []);
    let loads = found(|it| it.cache = Some(Cache { wait_max: 2001 * MS, ..Cache::default() }));
    assert_eq!(loads, [(Kind::TimeoutInversion, vec!["cache.wait_max", "deadline"])]);
    let attempts = found(|it| it.attempt_timeout = Some((667 * MS).into()));
    assert_eq!(
        attempts,
        [(Kind::AttemptsOverDeadline, vec!["retry.max_retries", "attempt_timeout", "deadline"])]
    );
    let unbounded = found(|it| it.attempt_timeout = None);
    assert_eq!(unbounded, [(Kind::AttemptsOverDeadline, vec!["attempt_timeout", "deadline"])]);
    let late = found(|it| {
        (it.deadline, it.attempt_timeout) = (30 * MS, Some((9 * MS).into()));
        it.cache = None;
        it.concurrency = None;
    });
    assert!(late.contains(&(Kind::NeverReached, vec!["retry.backoff_base", "deadline"])), "{late:?}");
}

#[test]
fn what_makes_many_calls_of_one() {
    let hedged = found(|it| it.hedge = Some(Hedge::default()));
    assert_eq!(hedged, [(Kind::Amplification, vec!["retry.max_retries", "hedge.max_hedges"])]);
    let generous = found(|it| {
        it.retry = Some(Retry { budget: Budget { ratio: 0.6, ..Budget::default() }, ..Retry::default() });
    });
    assert_eq!(generous, [(Kind::Amplification, vec!["retry.budget.ratio"])]);
    let bare = found(|it| (it.breaker, it.throttle) = (None, None));
    assert_eq!(bare, [(Kind::Unprotected, vec!["retry", "breaker"])]);
    let nervous = found(|it| {
        it.breaker = Some(Breaker { consecutive_failures: Some(count(2)), ..Breaker::default() });
    });
    assert_eq!(nervous, [(Kind::NeverReached, vec!["breaker.consecutive_failures", "retry.max_retries"])]);
}

#[test]
fn the_numbers_of_amplification() {
    let options = PipelineOptions { hedge: Some(Hedge::default()), ..sound() };
    assert_eq!(options.attempts_max(), 6);
    assert!((options.amplification_max() - 1.2).abs() < 1e-9);
    assert!((PipelineOptions::default().amplification_max() - 1.0).abs() < 1e-9);
}

#[test]
fn windows_that_are_shorter_than_a_call() {
    let facts = Facts { latency_p99: Some(Duration::from_secs(11)) };
    let kinds: Vec<_> = sound().lint(&facts).into_iter().map(|it| (it.kind, it.options[0])).collect();
    assert!(kinds.contains(&(Kind::WindowTooShort, "breaker.window")), "{kinds:?}");
    assert!(kinds.contains(&(Kind::TimeoutInversion, "attempt_timeout")), "{kinds:?}");
    let by_calls = Breaker { window_calls: Some(count(100)), ..Breaker::default() };
    let kinds = PipelineOptions { breaker: Some(by_calls), ..sound() }.lint(&facts);
    assert!(!kinds.iter().any(|it| it.options == ["breaker.window"]));
}

#[test]
fn what_can_never_come_into_play() {
    let slow = found(|it| it.breaker = Some(Breaker { slow_after: Some(500 * MS), ..Breaker::default() }));
    assert_eq!(slow, [(Kind::NeverReached, vec!["breaker.slow_after", "attempt_timeout"])]);
    let hedge = found(|it| {
        it.retry = None;
        it.hedge = Some(Hedge { delay: Delay::Fixed(500 * MS), ..Hedge::default() });
    });
    assert_eq!(hedge, [(Kind::NeverReached, vec!["hedge.delay", "attempt_timeout"])]);
    let limits = found(|it| {
        it.adaptive = Some(Adaptive { limit_min: count(5), ..Adaptive::default() });
        it.concurrency = Some(Concurrency { limit: count(5), ..Concurrency::default() });
    });
    assert_eq!(limits, [(Kind::NeverReached, vec!["adaptive.limit_min", "concurrency.limit"])]);
    let watched = found(|it| {
        it.retry = None;
        it.attempt_timeout = Some(Timeout { after: 500 * MS, mode: Mode::Shadow });
    });
    assert_eq!(watched, [(Kind::Unprotected, vec!["attempt_timeout.mode"])]);
}

#[test]
fn a_callee_that_works_on_for_nobody_and_repeats_what_we_repeat() {
    let inner = PipelineOptions { deadline: 501 * MS, retry: None, ..PipelineOptions::default() };
    let kinds = |inner: &PipelineOptions| -> Vec<_> {
        sound().lint_callee(inner).into_iter().map(|finding| finding.kind).collect()
    };
    assert_eq!(kinds(&inner), [Kind::TimeoutInversion]);
    assert_eq!(kinds(&PipelineOptions { deadline: 500 * MS, ..inner.clone() }), []);
    let repeating = PipelineOptions { deadline: 500 * MS, retry: Some(Retry::default()), ..inner };
    let findings = sound().lint_callee(&repeating);
    assert!(findings[0].to_string().contains("up to 9 attempts"), "{}", findings[0]);
}

#[test]
fn at_its_bound_everything_still_fits() {
    let retries = |max_retries, ratio| {
        Some(Retry { max_retries, budget: Budget { ratio, ..Budget::default() }, ..Retry::default() })
    };
    assert_eq!(found(|it| (it.retry, it.attempt_timeout) = (retries(1, 0.2), Some((1000 * MS).into()))), []);
    assert_eq!(
        found(|it| (it.retry, it.attempt_timeout) = (retries(0, 0.2), None)),
        [],
        "nothing is repeated"
    );
    assert_eq!(found(|it| it.retry = retries(2, 0.5)), []);
    let bounds = [10_000 * MS, 500 * MS];
    for latency_p99 in bounds {
        let findings = sound().lint(&Facts { latency_p99: Some(latency_p99) });
        let is_found = |options: &[&str]| findings.iter().any(|it| it.options == options);
        assert!(!is_found(&["breaker.window"]), "{latency_p99:?}");
        assert_eq!(is_found(&["attempt_timeout"]), latency_p99 > 500 * MS);
    }
}

#[test]
fn retries_that_are_never_made_amplify_nothing() {
    let budget = |ratio| Budget { ratio, ..Budget::default() };
    let options = PipelineOptions {
        retry: Some(Retry { max_retries: 0, budget: budget(0.9), ..Retry::default() }),
        hedge: Some(Hedge { budget: budget(0.1), ..Hedge::default() }),
        ..sound()
    };
    assert!((options.amplification_max() - 1.1).abs() < 1e-9);
    let repeating = PipelineOptions { deadline: 500 * MS, ..sound() };
    let once = PipelineOptions { retry: None, ..sound() };
    assert_eq!(once.lint_callee(&repeating), []);
    assert_eq!(repeating.lint_callee(&PipelineOptions { deadline: 500 * MS, ..once }), []);
}

#[test]
fn a_finding_reads_as_its_kind_its_options_and_what_to_do() {
    let finding = Finding {
        kind: Kind::NeverReached,
        options: vec!["hedge.delay", "attempt_timeout"],
        message: "too late".to_owned(),
    };
    assert_eq!(finding.to_string(), "never-reached (hedge.delay, attempt_timeout): too late");
    let names = [
        (Kind::TimeoutInversion, "timeout-inversion"),
        (Kind::AttemptsOverDeadline, "attempts-over-deadline"),
        (Kind::WindowTooShort, "window-too-short"),
        (Kind::Amplification, "amplification"),
        (Kind::NeverReached, "never-reached"),
        (Kind::Unprotected, "unprotected"),
    ];
    assert!(names.iter().all(|(kind, name)| kind.as_str() == *name));
}
