//! The breaker as threads share it against its core alone, which counts everything under one lock.

use std::num::NonZeroU32;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use proptest::prelude::*;

use super::core::{Core, Outcome, Ticket};
use super::*;
use crate::mode::Mode;
use crate::outcome::{Class, Opened, Reason};
use crate::random::Rng;
use crate::time::ManualClock;

/// No jitter.
#[derive(Debug)]
struct Steady;

impl Rng for Steady {
    fn next_u64(&self) -> u64 {
        0
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads that take turns, so that there is one order of calls although each counts in a place of its own.
struct Turns {
    threads: Vec<(SyncSender<Job>, Receiver<()>)>,
}

impl Turns {
    fn new(threads: usize) -> Self {
        let thread = |_| {
            let (send, jobs) = sync_channel::<Job>(0);
            let (done, is_done) = sync_channel(1);
            std::thread::spawn(move || {
                for job in jobs {
                    job();
                    done.send(()).unwrap();
                }
            });
            (send, is_done)
        };
        Self { threads: (0..threads).map(thread).collect() }
    }

    fn run(&self, which: usize, job: impl FnOnce() + Send + 'static) {
        let (send, is_done) = &self.threads[which % self.threads.len()];
        send.send(Box::new(job)).unwrap();
        is_done.recv().unwrap();
    }
}

#[derive(Clone, Debug)]
enum Step {
    Begin,
    End { failed: bool, which: prop::sample::Index, thread: usize },
    Drop { which: prop::sample::Index, thread: usize },
    Successes { calls: u8, thread: usize },
    Wait { ms: u64 },
    Reconfigure { minimum_calls: u32, window_calls: Option<u32> },
    Force { open: bool },
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        20 => Just(Step::Begin),
        20 => (any::<bool>(), index(), 0_usize..3)
            .prop_map(|(failed, which, thread)| Step::End { failed, which, thread }),
        2 => (index(), 0_usize..3).prop_map(|(which, thread)| Step::Drop { which, thread }),
        6 => (1_u8..40, 0_usize..3).prop_map(|(calls, thread)| Step::Successes { calls, thread }),
        10 => (0_u64..4000).prop_map(|ms| Step::Wait { ms }),
        1 => (1_u32..20, prop::option::of(20_u32..50))
            .prop_map(|(minimum_calls, window_calls)| Step::Reconfigure { minimum_calls, window_calls }),
        1 => any::<bool>().prop_map(|open| Step::Force { open }),
        1 => Just(Step::Reset),
    ];
    prop::collection::vec(step, 1..200)
}

fn options(minimum_calls: u32, window_calls: Option<u32>, slow_ms: Option<u64>) -> Breaker {
    Breaker {
        minimum_calls: NonZeroU32::new(minimum_calls).unwrap(),
        window_calls: window_calls.and_then(NonZeroU32::new),
        slow_after: slow_ms.map(Duration::from_millis),
        consecutive_failures: NonZeroU32::new(7),
        ..Breaker::default()
    }
}

/// The core, every step of which is taken in order under no lock at all.
struct Alone(Core);

impl Alone {
    fn acquire(&mut self, now: Instant) -> Result<Ticket, Rejected> {
        self.0.acquire(now, &Steady)
    }

    fn record(&mut self, ticket: Ticket, outcome: Outcome, now: Instant) {
        self.0.record(ticket, outcome, now, &Steady);
    }
}

fn check(steps: Vec<Step>, config: Breaker, turns: &Turns) -> Result<(), TestCaseError> {
    let (slow_after, clock) = (config.slow_after, ManualClock::new());
    let mut alone = Alone(Core::new(config.clone(), clock.now()));
    let breaker =
        CircuitBreaker::with("shared", config, Arc::new(clock.clone()), Arc::new(Steady), None).unwrap();
    let mut open: Vec<(Permit, Ticket)> = Vec::new();
    for step in steps {
        let now = clock.now();
        match step {
            Step::Begin => match (breaker.acquire(now), alone.acquire(now)) {
                (Ok(permit), Ok(ticket)) => open.push((permit, ticket)),
                (Err(ours), Err(theirs)) => prop_assert_eq!(ours, theirs),
                (ours, theirs) => prop_assert!(false, "{:?}, {:?}", ours, theirs),
            },
            Step::End { failed, which, thread } if !open.is_empty() => {
                let (permit, ticket) = open.swap_remove(which.index(open.len()));
                let class = if failed { Class::RETRYABLE } else { Class::Success };
                turns.run(thread, move || permit.record(class, now));
                alone.record(ticket, Outcome::of(class), now);
            }
            Step::Drop { which, thread } if !open.is_empty() => {
                let (permit, ticket) = open.swap_remove(which.index(open.len()));
                turns.run(thread, move || drop(permit));
                alone.record(ticket, Outcome::Cancelled, now);
            }
            Step::Successes { calls, thread } => {
                let shared = breaker.clone();
                turns.run(thread, move || {
                    for _ in 0..calls {
                        if let Ok(permit) = shared.acquire_ref(now) {
                            permit.success(now);
                        }
                    }
                });
                for _ in 0..calls {
                    if let Ok(ticket) = alone.acquire(now) {
                        alone.record(ticket, Outcome::Success, now);
                    }
                }
            }
            Step::Wait { ms } => clock.advance(Duration::from_millis(ms / 4)),
            Step::Reconfigure { minimum_calls, window_calls } => {
                let config = Breaker { slow_after, ..options(minimum_calls, window_calls, None) };
                breaker.reconfigure(config.clone()).unwrap();
                alone.0.reconfigure(config, now);
            }
            Step::Force { open } => {
                if open {
                    breaker.force_open()
                } else {
                    breaker.force_closed()
                }
                alone.0.force(open);
            }
            Step::Reset => {
                breaker.reset();
                alone.0.reset(now);
            }
            Step::End { .. } | Step::Drop { .. } => {}
        }
        let now = clock.now();
        prop_assert_eq!(breaker.state(now), alone.0.state(now));
        prop_assert_eq!(breaker.retry_after(now), alone.0.retry_after(now));
    }
    // Whoever still holds a permit lets it go before the threads are needed for the next case.
    open.into_iter().for_each(|(permit, _)| permit.ignored(clock.now()));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn shared_by_threads_that_take_turns_it_does_what_its_core_does(
        steps in steps(),
        minimum_calls in 1_u32..20,
        window_calls in prop::option::of(20_u32..50),
        slow_ms in prop::option::of(1_u64..4000),
    ) {
        check(steps, options(minimum_calls, window_calls, slow_ms), &Turns::new(3))?;
    }
}

fn alone_with_clock(config: Breaker) -> (CircuitBreaker, ManualClock) {
    let clock = ManualClock::new();
    let breaker = CircuitBreaker::with("shared", config, Arc::new(clock.clone()), Arc::new(Steady), None);
    (breaker.unwrap(), clock)
}

/// The counts that a breaker opens with, after one failure more.
fn opened_by_one_failure(breaker: &CircuitBreaker, clock: &ManualClock) -> Opened {
    breaker.acquire_now().unwrap().failure(clock.now());
    match breaker.acquire_now().unwrap_err().reason {
        Reason::Open(opened) => opened,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_success_without_a_time_counts_between_its_start_and_its_end() {
    // Seen through what is forgotten, in tenths of ten seconds: a failure rate of one half opens at the second call.
    let config = Breaker { failure_rate: 0.5, ..options(2, None, None) };
    for (took_ms, later_ms, calls) in [
        // It started in the running tenth and is counted in that.
        (900, 9_000, 2),
        (900, 9_100, 1),
        // It ended in a later one, and nobody looked at the breaker meanwhile.
        (5_000, 4_900, 2),
        (5_000, 5_100, 1),
    ] {
        let (breaker, clock) = alone_with_clock(config.clone());
        let permit = breaker.acquire_now().unwrap();
        clock.advance(Duration::from_millis(took_ms));
        permit.finish(Class::Success);
        clock.advance(Duration::from_millis(later_ms));
        if calls == 2 {
            assert_eq!(opened_by_one_failure(&breaker, &clock).calls, calls, "{took_ms} ms");
        } else {
            breaker.acquire_now().unwrap().failure(clock.now());
            assert_eq!(breaker.state(clock.now()), State::Closed, "{took_ms} ms: it is forgotten");
        }
    }
    // It started after the tenth that anybody knew: it is counted at its end.
    let (breaker, clock) = alone_with_clock(config);
    clock.advance(Duration::from_millis(1_500));
    let permit = breaker.acquire_now().unwrap();
    clock.advance(Duration::from_secs(5));
    permit.finish(Class::Success);
    clock.advance(Duration::from_secs(9));
    assert_eq!(opened_by_one_failure(&breaker, &clock).calls, 2);
}

#[test]
fn a_slow_success_is_never_counted_as_any_other() {
    // All of three calls must have been slow, and a tenth of the window is long enough for them.
    let window = Duration::from_secs(100);
    let config = Breaker { window, slow_rate: 1.0, ..options(3, None, Some(1_000)) };
    for (took_ms, timeless) in [(1_000, false), (1_000, true), (1_001, false), (1_001, true)] {
        let (breaker, clock) = alone_with_clock(config.clone());
        for _ in 0..3 {
            let permit = breaker.acquire_now().unwrap();
            clock.advance(Duration::from_millis(took_ms));
            if timeless { permit.finish(Class::Success) } else { permit.success(clock.now()) }
        }
        assert_eq!(breaker.state(clock.now()), State::Open, "{took_ms} ms, {timeless}");
    }
}

#[test]
fn the_success_that_makes_the_calls_enough_opens_it_whatever_the_window_is_made_of() {
    for window_calls in [None, Some(20)] {
        let (breaker, clock) = alone_with_clock(options(4, window_calls, None));
        let now = clock.now();
        for class in [Class::RETRYABLE, Class::RETRYABLE, Class::Success] {
            breaker.acquire(now).unwrap().record(class, now);
        }
        assert_eq!(breaker.state(now), State::Closed);
        breaker.acquire(now).unwrap().success(now);
        assert_eq!(breaker.state(now), State::Open, "two of four, {window_calls:?}");
    }
}

#[test]
fn in_shadow_mode_calls_pass_also_where_nobody_is_told() {
    for (mode, passes) in [(Mode::Enforced, false), (Mode::Shadow, true)] {
        let (breaker, clock) = alone_with_clock(Breaker { mode, ..options(20, None, None) });
        let now = clock.now();
        (0..7).for_each(|_| breaker.acquire(now).unwrap().failure(now));
        assert_eq!(breaker.state(now), State::Open);
        assert_eq!(breaker.acquire(now).is_ok(), passes, "{mode:?}");
    }
}

#[test]
fn finish_takes_every_class() {
    let (breaker, _) = alone_with_clock(options(20, None, None));
    for _ in 0..6 {
        breaker.acquire_now().unwrap().finish(Class::RETRYABLE);
        breaker.acquire_now().unwrap().finish(Class::Ignored);
    }
    assert!(breaker.acquire_now().is_ok(), "six of seven in a row");
    breaker.acquire_now().unwrap().finish(Class::RETRYABLE);
    assert!(breaker.acquire_now().is_err());
}

#[test]
fn a_borrowed_permit_that_is_dropped_is_cancelled() {
    let (breaker, clock) = alone_with_clock(options(20, None, None));
    let now = clock.now();
    let permits: Vec<_> = (0..7).map(|_| breaker.acquire_ref(now).unwrap()).collect();
    clock.advance(Duration::from_secs(10));
    drop(permits);
    assert_eq!(breaker.state(clock.now()), State::Open);
}

#[test]
fn what_all_threads_count_is_there_when_it_decides() {
    const EACH: u32 = 500;
    let (breaker, clock) =
        alone_with_clock(Breaker { consecutive_failures: None, ..options(20, None, None) });
    let now = clock.now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..EACH).for_each(|_| breaker.acquire(now).unwrap().success(now)));
        }
    });
    // As many failures as there were successes make half of the calls.
    for _ in 0..4 * EACH - 1 {
        breaker.acquire(now).unwrap().failure(now);
    }
    assert_eq!(breaker.state(now), State::Closed);
    assert_eq!(opened_by_one_failure(&breaker, &clock).calls, 8 * EACH);
}
