//! The breaker's handle and its permits.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leeward_resilience::breaker::State;
use leeward_resilience::{
    Breaker, CircuitBreaker, Clock, Event, FastRng, ManualClock, Observer, Opened, OpenedBy, Reason,
};

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<(State, State)>>);

impl Observer for Seen {
    fn observe(&self, name: &str, event: &Event) {
        assert_eq!(name, "upstream");
        if let Event::BreakerChanged { from, to } = *event {
            self.0.lock().unwrap().push((from, to));
        }
    }
}

fn breaker(config: Breaker) -> (CircuitBreaker, ManualClock, Arc<Seen>) {
    let (clock, seen) = (ManualClock::new(), Arc::new(Seen::default()));
    let rng = Arc::new(FastRng::seeded(1));
    let breaker =
        CircuitBreaker::with("upstream", config, Arc::new(clock.clone()), rng, Some(seen.clone())).unwrap();
    (breaker, clock, seen)
}

/// What a breaker says that five failures in a row have opened.
pub(crate) const fn five_in_a_row() -> Opened {
    Opened {
        cause: OpenedBy::Consecutive { threshold: 5 },
        failures: 5,
        slow: 0,
        calls: 5,
        consecutive: 5,
        version: 1,
    }
}

fn fail(breaker: &CircuitBreaker, clock: &ManualClock, times: usize) {
    for _ in 0..times {
        breaker.acquire(clock.now()).unwrap().failure(clock.now());
    }
}

#[test]
fn it_opens_recovers_and_says_so() {
    let (breaker, clock, seen) = breaker(Breaker::default());
    fail(&breaker, &clock, 5);
    let rejected = breaker.clone().acquire(clock.now()).unwrap_err();
    assert_eq!(rejected.reason, Reason::Open(five_in_a_row()));
    let wait = rejected.retry_after.unwrap();
    assert!((5.0..=6.25).contains(&wait.as_secs_f64()), "{wait:?}");
    assert_eq!(breaker.retry_after(clock.now()), Some(wait));
    clock.advance(wait);
    assert_eq!((breaker.state(clock.now()), breaker.retry_after(clock.now())), (State::HalfOpen, None));
    for _ in 0..5 {
        breaker.acquire(clock.now()).unwrap().success(clock.now());
    }
    assert_eq!(breaker.state(clock.now()), State::Closed);
    let expected =
        [(State::Closed, State::Open), (State::Open, State::HalfOpen), (State::HalfOpen, State::Closed)];
    assert_eq!(*seen.0.lock().unwrap(), expected);
}

#[test]
fn a_dropped_probe_gives_its_place_back() {
    let (breaker, clock, _) = breaker(Breaker::default());
    fail(&breaker, &clock, 5);
    clock.advance(Duration::from_secs(7));
    for _ in 0..1000 {
        let probe = breaker.acquire(clock.now()).unwrap();
        assert!(breaker.acquire(clock.now()).is_err());
        drop(probe);
    }
    assert_eq!(breaker.state(clock.now()), State::HalfOpen);
}

#[test]
fn a_dropped_permit_is_a_failure_once_it_had_its_time() {
    let (breaker, clock, _) = breaker(Breaker::default());
    for _ in 0..100 {
        let permit = breaker.acquire(clock.now()).unwrap();
        clock.advance(Duration::from_millis(1));
        drop(permit);
    }
    assert_eq!(breaker.state(clock.now()), State::Closed);
    let permits: Vec<_> = (0..5).map(|_| breaker.acquire(clock.now()).unwrap()).collect();
    clock.advance(Duration::from_secs(10));
    drop(permits);
    assert_eq!(breaker.state(clock.now()), State::Open);
}

#[test]
fn a_late_answer_from_before_the_break_closes_nothing() {
    let (breaker, clock, _) = breaker(Breaker::default());
    let late: Vec<_> = (0..50).map(|_| breaker.acquire(clock.now()).unwrap()).collect();
    fail(&breaker, &clock, 5);
    clock.advance(Duration::from_secs(7));
    let probe = breaker.acquire(clock.now()).unwrap();
    for permit in late {
        permit.success(clock.now());
    }
    assert_eq!(breaker.state(clock.now()), State::HalfOpen);
    probe.failure(clock.now());
    assert_eq!(breaker.state(clock.now()), State::Open);
}

#[test]
fn the_probes_of_many_threads_never_exceed_their_number() {
    for _ in 0..20 {
        let (breaker, clock, _) = breaker(Breaker::default());
        fail(&breaker, &clock, 5);
        clock.advance(Duration::from_secs(7));
        let passed = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let held: Vec<_> = (0..100).filter_map(|_| breaker.acquire(clock.now()).ok()).collect();
                    passed.fetch_add(held.len(), Ordering::SeqCst);
                    std::mem::forget(held);
                });
            }
        });
        assert_eq!(passed.into_inner(), 1);
        // Nobody reported, the permits are lost: the probation ends that.
        clock.advance(Duration::from_secs(31));
        assert!(breaker.acquire(clock.now()).is_err());
        clock.advance(Duration::from_secs(31));
        assert!(breaker.acquire(clock.now()).is_ok());
    }
}

#[test]
fn an_operator_holds_it_open_or_closed() {
    let (breaker, clock, seen) = breaker(Breaker::default());
    breaker.force_open();
    assert_eq!(breaker.acquire(clock.now()).unwrap_err().reason, Reason::ForcedOpen);
    breaker.force_closed();
    fail(&breaker, &clock, 100);
    breaker.reset();
    assert_eq!(breaker.state(clock.now()), State::Closed);
    assert_eq!(seen.0.lock().unwrap().len(), 3);
}

#[test]
fn every_mistake_is_reported_at_once() {
    let wrong =
        Breaker { failure_rate: 1.5, window: Duration::ZERO, break_growth: 0.1, ..Breaker::default() };
    let errors = CircuitBreaker::new("upstream", wrong).unwrap_err();
    let paths = errors.paths();
    assert_eq!(paths, ["breaker.failure_rate", "breaker.window", "breaker.break_growth"]);
    assert!(
        errors.to_string().starts_with("breaker.failure_rate is 150%, allowed: more than 0%, at most 100%; ")
    );
}

#[test]
fn a_rejection_names_the_version_of_the_options_that_decided() {
    let (breaker, clock, _) = breaker(Breaker::default());
    breaker.reconfigure(Breaker { consecutive_failures: NonZeroU32::new(2), ..Breaker::default() }).unwrap();
    fail(&breaker, &clock, 2);
    let rejected = breaker.acquire(clock.now()).unwrap_err();
    let cause = OpenedBy::Consecutive { threshold: 2 };
    let opened = Opened { cause, failures: 2, slow: 0, calls: 2, consecutive: 2, version: 2 };
    assert_eq!(rejected.reason, Reason::Open(opened));
    assert_eq!(rejected.reason.to_string(), "open after 2 failures in a row, threshold 2");
    // What opened it stays what it was, whatever comes into force afterwards.
    breaker.reconfigure(Breaker::default()).unwrap();
    let rejected = breaker.acquire(clock.now()).unwrap_err();
    assert_eq!((rejected.reason, rejected.version), (Reason::Open(opened), 3));
    assert!(rejected.to_string().ends_with("; options of version 3"), "{rejected}");
}
