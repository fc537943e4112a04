//! Both rules against naive models, and what other adaptive limits got wrong.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::outcome::Class;
use crate::time::ManualClock;

const START: Instant = Instant::from_nanos(100_000_000_000);
const MS: Duration = Duration::from_millis(1);

fn adaptive(algorithm: Algorithm) -> Adaptive {
    Adaptive { algorithm, ..Adaptive::default() }
}

fn both() -> [Algorithm; 2] {
    [Algorithm::Aimd(Aimd::default()), Algorithm::Gradient2(Gradient2::default())]
}

fn core(algorithm: Algorithm) -> Core {
    let limit = Limit::new(&adaptive(algorithm));
    match algorithm {
        Algorithm::Aimd(aimd) => Core::Aimd(aimd::Core::new(aimd, limit)),
        Algorithm::Gradient2(gradient) => Core::Gradient2(gradient::Core::new(gradient, limit, START)),
        Algorithm::Knee(knee) => Core::Knee(knee::Core::new(knee, limit, START)),
    }
}

/// Everything that was sampled, to be gone through from the start each time.
type History = Vec<(Sample, Instant)>;

fn aimd_model(history: &History, latency_max: Duration) -> f64 {
    let (mut limit, mut cuts) = (20.0_f64, Vec::new());
    for (sample, now) in history {
        let slow = now.saturating_duration_since(sample.started) > latency_max;
        if sample.end == End::Overload || slow {
            if cuts.iter().all(|cut: &Instant| *cut < sample.started) {
                limit = (limit * 0.9).max(5.0);
                cuts.push(*now);
            }
        } else if f64::from(sample.in_flight) >= limit / 2.0 {
            limit = (limit + 1.0 / limit).min(500.0);
        }
    }
    limit
}

fn gradient_model(history: &History) -> f64 {
    let (mut limit, mut cuts) = (20.0_f64, Vec::new());
    let (mut long, mut begin, mut step) = (None, START, Vec::<(f64, u32)>::new());
    for (sample, now) in history {
        if sample.end == End::Overload {
            if cuts.iter().all(|cut: &Instant| *cut < sample.started) {
                limit = (limit * 0.9).max(5.0);
                cuts.push(*now);
            }
            continue;
        }
        step.push(((now.as_nanos() - sample.started.as_nanos()) as f64 / 1e9, sample.in_flight));
        if now.as_nanos() - begin.as_nanos() < 200_000_000 || step.len() < 10 {
            continue;
        }
        let short = (step.iter().map(|it| it.0).sum::<f64>() / step.len() as f64).max(1e-9);
        let busiest = step.iter().map(|it| it.1).max().unwrap();
        let before = long.unwrap_or(short);
        let mut average = before * (599.0 / 601.0) + short * (2.0 / 601.0);
        if f64::from(busiest) >= limit / 2.0 && limit > 5.0 {
            average = average.min(before);
        }
        if average > 2.0 * short {
            average *= 0.95;
        }
        (long, begin) = (Some(average), *now);
        step.clear();
        if f64::from(busiest) >= limit / 2.0 {
            let slowness = 1.5 * average / short;
            let target = if slowness >= 1.0 { limit + 4.0 } else { limit * slowness.max(0.5) };
            limit = (limit * 0.8 + target * 0.2).clamp(5.0, 500.0);
        }
    }
    limit
}

fn value(core: &Core) -> f64 {
    match core {
        Core::Aimd(core) => core.limit.value,
        Core::Gradient2(core) => core.limit.value,
        Core::Knee(core) => core.limit.value,
    }
}

proptest! {
    #[test]
    fn both_do_what_their_naive_models_say(
        steps in prop::collection::vec((0_u32..60, 0_u32..400, 1_u32..200, prop::bool::weighted(0.1)), 1..200),
        bounded: bool,
    ) {
        let latency_max = if bounded { 150 * MS } else { Duration::MAX };
        let aimd = Aimd { latency_max: bounded.then_some(latency_max), ..Aimd::default() };
        let mut cores = [core(Algorithm::Aimd(aimd)), core(Algorithm::Gradient2(Gradient2::default()))];
        let (mut history, mut now) = (History::new(), START);
        for (pause, latency, in_flight, overload) in steps {
            now = now + pause * MS;
            let end = if overload { End::Overload } else { End::Success };
            let sample = Sample { started: now.saturating_sub(latency * MS), in_flight, left: in_flight, end };
            history.push((sample, now));
            let models = [aimd_model(&history, latency_max), gradient_model(&history)];
            for (core, model) in cores.iter_mut().zip(models) {
                let before = value(core);
                let whole = core.sample(sample, now);
                let after = value(core);
                prop_assert!((after - model).abs() < 1e-6 * model, "{after} {model}");
                prop_assert!((5..=500).contains(&whole) && f64::from(whole) <= after);
                prop_assert!(!overload || after <= before, "overload never grows it");
            }
        }
    }
}

/// An upstream in a closed loop: as many calls as there are permits, up to `demand`, all of them end after `latency`.
struct Loop {
    clock: ManualClock,
    limit: AdaptiveLimit,
}

impl Loop {
    fn new(algorithm: Algorithm) -> Self {
        let clock = ManualClock::new();
        let limit = AdaptiveLimit::with("loop", adaptive(algorithm), Arc::new(clock.clone()), None).unwrap();
        Self { clock, limit }
    }

    fn round(&self, demand: u32, latency: impl Fn(u32) -> Duration, class: Class) {
        let permits: Vec<_> = (0..demand).map_while(|_| self.limit.acquire(self.clock.now()).ok()).collect();
        self.clock.advance(latency(u32::try_from(permits.len()).unwrap()));
        for permit in permits {
            permit.record(class, self.clock.now());
        }
        assert_eq!(self.limit.in_flight(), 0);
    }
}

#[test]
fn defect_15_stable_timeouts_do_not_grow_the_limit() {
    for algorithm in both() {
        let it = Loop::new(algorithm);
        for _ in 0..10 {
            it.round(1000, |_| 50 * MS, Class::Success);
        }
        let healthy = it.limit.limit();
        assert!(healthy > 20, "{algorithm:?}");
        let mut last = healthy;
        for _ in 0..100 {
            it.round(1000, |_| Duration::from_secs(5), Class::RETRYABLE);
            assert!(it.limit.limit() <= last, "{algorithm:?}");
            last = it.limit.limit();
        }
        assert_eq!(last, 5, "{algorithm:?}");
        for _ in 0..1000 {
            it.round(1000, |_| 50 * MS, Class::Success);
        }
        assert!(it.limit.limit() > healthy, "{algorithm:?} recovers: the outage is not its new normal");
        // An upstream that never did anything else looks the most stable of all.
        let it = Loop::new(algorithm);
        for _ in 0..1000 {
            it.round(1000, |_| Duration::from_secs(5), Class::RETRYABLE);
        }
        assert_eq!(it.limit.limit(), 5, "{algorithm:?}");
    }
}

#[test]
fn defect_15_the_limit_grows_only_while_it_is_in_use() {
    for algorithm in both() {
        let it = Loop::new(algorithm);
        for _ in 0..5000 {
            it.round(15, |_| 50 * MS, Class::Success);
        }
        assert!((29..=31).contains(&it.limit.limit()), "{algorithm:?} {}", it.limit.limit());
    }
}

#[test]
fn both_find_what_an_upstream_can_take() {
    // 50 at a time take 20 ms, more of them share it.
    let latency = |calls: u32| 20 * MS * calls.max(50) / 50;
    let aimd = Aimd { latency_max: Some(40 * MS), ..Aimd::default() };
    for algorithm in [Algorithm::Aimd(aimd), Algorithm::Gradient2(Gradient2::default())] {
        let it = Loop::new(algorithm);
        let mut seen = Vec::new();
        for round in 0..3000 {
            it.round(1000, latency, Class::Success);
            if round >= 1000 {
                seen.push(it.limit.limit());
            }
        }
        let (least, most) = (seen.iter().min().unwrap(), seen.iter().max().unwrap());
        assert!(*least >= 45 && *most <= 115, "{algorithm:?} {least} to {most}");
    }
}

#[test]
fn defect_15_a_slowness_of_its_own_making_does_not_become_the_normal() {
    let it = Loop::new(Algorithm::Gradient2(Gradient2::default()));
    for _ in 0..10_000 {
        it.round(1000, |calls| 20 * MS * calls.max(50) / 50, Class::Success);
    }
    assert!(it.limit.limit() < 100, "{}", it.limit.limit());
}

#[test]
fn an_upstream_that_is_slower_for_good_is_the_new_normal_in_the_end() {
    let it = Loop::new(Algorithm::Gradient2(Gradient2::default()));
    for _ in 0..200 {
        it.round(1000, |_| 20 * MS, Class::Success);
    }
    for _ in 0..200 {
        it.round(1000, |_| 100 * MS, Class::Success);
    }
    assert_eq!(it.limit.limit(), 5);
    for _ in 0..4000 {
        it.round(1000, |_| 100 * MS, Class::Success);
    }
    assert!(it.limit.limit() > 100, "{}", it.limit.limit());
}

#[test]
fn one_overload_shrinks_it_once() {
    for algorithm in both() {
        let it = Loop::new(algorithm);
        it.round(20, |_| 50 * MS, Class::RETRYABLE);
        assert_eq!(it.limit.limit(), 18, "{algorithm:?}");
        it.clock.advance(MS);
        it.round(20, |_| 50 * MS, Class::RETRYABLE);
        assert_eq!(it.limit.limit(), 16, "{algorithm:?}");
    }
}

#[test]
fn what_says_nothing_changes_nothing() {
    for algorithm in both() {
        let it = Loop::new(algorithm);
        for _ in 0..200 {
            it.round(20, |_| 50 * MS, Class::PERMANENT);
            it.round(20, |_| 50 * MS, Class::Ignored);
            let cancelled: Vec<_> = (0..20).map(|_| it.limit.acquire(it.clock.now()).unwrap()).collect();
            it.clock.advance(Duration::from_millis(9_999));
            drop(cancelled);
        }
        assert_eq!((it.limit.limit(), it.limit.in_flight()), (20, 0), "{algorithm:?}");
        let abandoned = it.limit.acquire(it.clock.now()).unwrap();
        it.clock.advance(Duration::from_secs(10));
        drop(abandoned);
        assert_eq!((it.limit.limit(), it.limit.in_flight()), (18, 0), "{algorithm:?}");
    }
}

#[test]
fn a_permit_can_end_by_the_clock_of_its_limit() {
    let it = Loop::new(Algorithm::Aimd(Aimd { latency_max: Some(50 * MS), ..Aimd::default() }));
    // A tenth less after what the upstream refused, and after what took too long; nothing else says so.
    for (class, took, expected) in [
        (Class::Success, 50 * MS, 20),
        (Class::Success, 51 * MS, 18),
        (Class::Ignored, 51 * MS, 18),
        (Class::RETRYABLE, MS, 16),
    ] {
        let permit = it.limit.acquire(it.clock.now()).unwrap();
        it.clock.advance(took);
        permit.finish(class);
        assert_eq!((it.limit.limit(), it.limit.in_flight()), (expected, 0), "{class:?} after {took:?}");
    }
}

#[test]
fn a_call_that_begins_later_than_its_permit_is_not_slower_for_it() {
    let it = Loop::new(Algorithm::Aimd(Aimd { latency_max: Some(50 * MS), ..Aimd::default() }));
    for (begins_late, expected) in [(true, 20), (false, 18)] {
        let mut permit = it.limit.acquire(it.clock.now()).unwrap();
        it.clock.advance(45 * MS);
        if begins_late {
            permit.start_at(it.clock.now());
        }
        it.clock.advance(45 * MS);
        permit.success(it.clock.now());
        assert_eq!(it.limit.limit(), expected, "{begins_late}");
    }
}

#[test]
fn a_rejection_names_the_limit_and_all_mistakes_come_together() {
    let it = Loop::new(Algorithm::default());
    let _held: Vec<_> = (0..20).map(|_| it.limit.acquire(it.clock.now()).unwrap()).collect();
    let rejected = it.limit.acquire(it.clock.now()).unwrap_err();
    assert_eq!(
        (rejected.policy, rejected.reason),
        (NAME, Reason::AdaptiveLimit { limit: 20, in_flight: 20 })
    );
    let one = NonZeroU32::MIN;
    let gradient = Gradient2 { samples_min: 0, smoothing: 0.0, tolerance: f64::NAN, ..Gradient2::default() };
    let config = Adaptive { limit_initial: one, ..adaptive(Algorithm::Gradient2(gradient)) };
    let errors = config.validate().unwrap_err();
    let paths = errors.paths();
    let expected = [
        "adaptive.limit_initial",
        "adaptive.algorithm.gradient2.samples_min",
        "adaptive.algorithm.gradient2.tolerance",
        "adaptive.algorithm.gradient2.smoothing",
    ];
    assert_eq!(paths, expected);
}
