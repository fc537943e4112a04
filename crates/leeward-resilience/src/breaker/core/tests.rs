//! The state machine against a naive model, and the cases that other breakers got wrong.

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::random::Rng;

/// No jitter.
#[derive(Debug)]
struct Steady;

impl Rng for Steady {
    fn next_u64(&self) -> u64 {
        0
    }
}

const START: Instant = Instant::from_nanos(100_000_000_000);
const MS: Duration = Duration::from_millis(1);
const FAILURE: Outcome = Outcome::Failure { retry_after: None };

fn config(minimum_calls: u32, consecutive: Option<u32>) -> Breaker {
    let count = |number| NonZeroU32::new(number).unwrap();
    let (minimum_calls, consecutive_failures) = (count(minimum_calls), consecutive.map(count));
    Breaker { minimum_calls, consecutive_failures, ..Breaker::default() }
}

fn call(core: &mut Core, outcome: Outcome, now: Instant) {
    let ticket = core.acquire(now, &Steady).unwrap();
    core.record(ticket, outcome, now, &Steady);
}

fn opened(config: Breaker) -> Core {
    let mut core = Core::new(config, START);
    while core.phase_state() == State::Closed {
        call(&mut core, FAILURE, START);
    }
    core
}

#[test]
fn after_any_number_of_successes_it_opens_after_exactly_what_the_rate_says() {
    for successes in [0_u32, 1, 5, 19, 20, 50, 1000, 10_000] {
        let mut core = Core::new(config(20, None), START);
        for _ in 0..successes {
            call(&mut core, Outcome::Success, START);
        }
        let mut failures = 0;
        while core.phase_state() == State::Closed {
            call(&mut core, FAILURE, START);
            failures += 1;
        }
        assert_eq!(failures, successes.max(20 - successes.min(20)), "after {successes} successes");
    }
}

/// Defect 1: a window of calls that never slides.
#[test]
fn a_window_of_calls_slides_so_that_old_successes_do_not_count() {
    for successes in [0_u32, 1, 19, 20, 50, 99, 100, 101, 10_000] {
        let options = Breaker { window_calls: NonZeroU32::new(100), ..config(20, None) };
        let mut core = Core::new(options, START);
        for _ in 0..successes {
            call(&mut core, Outcome::Success, START);
        }
        let mut failures = 0;
        while core.phase_state() == State::Closed {
            // Time does not matter to it.
            call(&mut core, FAILURE, START + Duration::from_secs(3600) * failures);
            failures += 1;
        }
        let expected = match successes {
            0..20 => successes.max(20 - successes),
            20..50 => successes,
            _ => 50,
        };
        assert_eq!(failures, expected, "after {successes} successes");
    }
}

fn slow_options() -> Breaker {
    Breaker { slow_after: Some(Duration::from_secs(1)), slow_rate: 0.5, ..config(20, None) }
}

fn takes(core: &mut Core, outcome: Outcome, now: Instant, time: Duration) {
    let ticket = core.acquire(now, &Steady).unwrap();
    core.record(ticket, outcome, now + time, &Steady);
}

#[test]
fn an_upstream_that_is_slow_for_enough_opens_it_although_it_answers() {
    for (time, opens) in [(999, false), (1_000, true)] {
        let mut core = Core::new(slow_options(), START);
        for _ in 0..10 {
            takes(&mut core, Outcome::Success, START, MS);
        }
        for _ in 0..9 {
            takes(&mut core, Outcome::Success, START, MS * time);
        }
        assert_eq!(core.phase_state(), State::Closed);
        takes(&mut core, Outcome::Success, START, MS * time);
        assert_eq!(core.phase_state() == State::Open, opens, "{time} ms");
        if opens {
            let expected = Opened {
                cause: OpenedBy::SlowRate { per_mille: 500 },
                failures: 0,
                slow: 10,
                calls: 20,
                consecutive: 0,
                version: 1,
            };
            assert!(
                matches!(core.phase, Phase::Open { reason: Reason::Open(opened), .. } if opened == expected)
            );
        }
    }
}

#[test]
fn a_slow_probe_is_a_failed_one() {
    let mut core = opened(Breaker { consecutive_failures: NonZeroU32::new(5), ..slow_options() });
    let later = START + Duration::from_secs(6);
    takes(&mut core, Outcome::Success, later, Duration::from_secs(2));
    assert_eq!(core.phase_state(), State::Open);
    let again = later + Duration::from_secs(60);
    takes(&mut core, Outcome::Success, again, MS);
    assert_eq!(core.phase_state(), State::HalfOpen);
}

#[test]
fn other_options_keep_the_window_unless_it_is_another() {
    let nineteen = |options: &Breaker| {
        let mut core = Core::new(options.clone(), START);
        (0..19).for_each(|_| call(&mut core, FAILURE, START));
        core
    };
    for window_calls in [None, NonZeroU32::new(100)] {
        let before = Breaker { window_calls, ..config(20, None) };
        let mut core = nineteen(&before);
        core.reconfigure(Breaker { failure_rate: 0.9, ..before.clone() }, START);
        call(&mut core, FAILURE, START);
        assert_eq!(core.phase_state(), State::Open, "the window is kept");
        let mut core = nineteen(&before);
        core.reconfigure(Breaker { window_calls: NonZeroU32::new(50), ..before.clone() }, START);
        call(&mut core, FAILURE, START);
        assert_eq!(core.phase_state(), State::Closed, "another window begins anew");
    }
}

#[test]
fn a_dead_upstream_with_little_traffic_opens_it_too() {
    let core = opened(config(20, Some(5)));
    let expected = Opened {
        cause: OpenedBy::Consecutive { threshold: 5 },
        failures: 5,
        slow: 0,
        calls: 5,
        consecutive: 5,
        version: 1,
    };
    assert!(matches!(core.phase, Phase::Open { reason: Reason::Open(opened), .. } if opened == expected));
}

#[test]
fn an_outcome_of_an_earlier_state_changes_nothing() {
    let mut core = Core::new(config(20, Some(5)), START);
    let old = core.acquire(START, &Steady).unwrap();
    let mut core_opened = opened(config(20, Some(5)));
    let later = START + Duration::from_secs(6);
    let probe = core_opened.acquire(later, &Steady).unwrap();
    core_opened.record(old, FAILURE, later, &Steady);
    assert_eq!(core_opened.phase_state(), State::HalfOpen);
    core_opened.record(old, Outcome::Success, later, &Steady);
    assert!(matches!(core_opened.phase, Phase::HalfOpen { successes: 0, in_flight: 1, .. }));
    core_opened.record(probe, Outcome::Success, later, &Steady);
    assert!(matches!(core_opened.phase, Phase::HalfOpen { successes: 1, in_flight: 0, .. }));
}

#[test]
fn probes_are_let_in_as_a_ramp() {
    let mut core = opened(Breaker::default());
    let now = START + Duration::from_secs(6);
    let mut passed = Vec::new();
    while core.phase_state() != State::Closed {
        let mut probes = Vec::new();
        while let Ok(ticket) = core.acquire(now, &Steady) {
            probes.push(ticket);
        }
        passed.push(probes.len());
        core.record(probes[0], Outcome::Success, now, &Steady);
        // The others are given up without a verdict.
        for probe in &probes[1..] {
            core.record(*probe, Outcome::Ignored, now, &Steady);
        }
    }
    assert_eq!(passed, [1, 2, 3, 4, 5]);
}

#[test]
fn a_probe_that_never_ends_does_not_hold_it_half_open() {
    let mut core = opened(Breaker::default());
    let now = START + Duration::from_secs(6);
    let lost = core.acquire(now, &Steady).unwrap();
    let almost = now + Duration::from_millis(29_999);
    let rejected = core.acquire(almost, &Steady).unwrap_err();
    assert_eq!(rejected.reason, Reason::Probing { in_flight: 1, probes: 5 });
    assert!(
        core.acquire(now + Duration::from_secs(30), &Steady).is_err(),
        "its probation is over: a break again"
    );
    assert_eq!(core.phase_state(), State::Open);
    let again = now + Duration::from_secs(60);
    assert!(core.acquire(again, &Steady).is_ok());
    core.record(lost, FAILURE, again, &Steady);
    assert_eq!(core.phase_state(), State::HalfOpen);
}

#[test]
fn a_cancelled_call_counts_once_it_had_its_time() {
    for (held, opens) in [(Duration::from_secs(9), false), (Duration::from_secs(10), true)] {
        let mut core = Core::new(Breaker::default(), START);
        let tickets: Vec<_> = (0..5).map(|_| core.acquire(START, &Steady).unwrap()).collect();
        for ticket in tickets {
            core.record(ticket, Outcome::Cancelled, START + held, &Steady);
        }
        assert_eq!(core.phase_state() == State::Open, opens, "{held:?}");
    }
}

#[test]
fn breaks_grow_to_their_maximum_and_a_healthy_window_forgets_them() {
    let mut core = opened(Breaker::default());
    let mut now = START;
    for seconds in [5, 10, 20, 40, 60, 60] {
        assert_eq!(core.retry_after(now), Some(Duration::from_secs(seconds)));
        now = now + Duration::from_secs(seconds);
        call(&mut core, FAILURE, now);
    }
    core.reset(now);
    now = now + Duration::from_secs(11);
    for _ in 0..5 {
        call(&mut core, FAILURE, now);
    }
    assert_eq!(core.retry_after(now), Some(Duration::from_secs(5)));
}

#[test]
fn jitter_only_makes_a_break_longer() {
    let rng = crate::random::FastRng::seeded(3);
    let mut lengths = Vec::new();
    for _ in 0..50 {
        let mut core = Core::new(Breaker::default(), START);
        for _ in 0..5 {
            let ticket = core.acquire(START, &rng).unwrap();
            core.record(ticket, FAILURE, START, &rng);
        }
        lengths.push(core.retry_after(START).unwrap());
    }
    lengths.sort();
    assert!(
        lengths[0] >= Duration::from_secs(5) && lengths[49] <= Duration::from_millis(6250),
        "{lengths:?}"
    );
    assert!(lengths[49] - lengths[0] > Duration::from_millis(500), "{lengths:?}");
}

#[test]
fn retry_after_is_honoured_up_to_the_longest_break() {
    for (asked, waits) in [(2, 5), (30, 30), (86_400, 60)] {
        let mut core = Core::new(Breaker::default(), START);
        for _ in 0..5 {
            call(&mut core, Outcome::Failure { retry_after: Some(Duration::from_secs(asked)) }, START);
        }
        assert_eq!(core.retry_after(START), Some(Duration::from_secs(waits)));
    }
}

#[test]
fn forced_states_hold_until_reset() {
    let mut core = Core::new(Breaker::default(), START);
    core.force(true);
    assert_eq!(
        core.acquire(START + Duration::from_secs(3600), &Steady).unwrap_err().reason,
        Reason::ForcedOpen
    );
    core.force(false);
    for _ in 0..100 {
        call(&mut core, FAILURE, START);
    }
    assert_eq!(core.phase_state(), State::ForcedClosed);
    core.reset(START);
    for _ in 0..4 {
        call(&mut core, FAILURE, START);
    }
    assert_eq!(core.phase_state(), State::Closed);
    call(&mut core, FAILURE, START);
    assert_eq!(core.phase_state(), State::Open);
}

#[test]
fn new_options_keep_the_window() {
    let mut core = Core::new(config(20, None), START);
    for _ in 0..10 {
        call(&mut core, FAILURE, START);
    }
    core.reconfigure(config(11, None), START);
    call(&mut core, FAILURE, START);
    assert_eq!(core.phase_state(), State::Open);
}

#[test]
fn a_time_that_nobody_looks_back_over_does_not_empty_a_window_of_calls() {
    let by_calls = |window: u64| Breaker {
        window: Duration::from_secs(window),
        window_calls: NonZeroU32::new(100),
        ..config(11, None)
    };
    let mut core = Core::new(by_calls(10), START);
    for _ in 0..10 {
        call(&mut core, FAILURE, START);
    }
    core.reconfigure(by_calls(20), START);
    call(&mut core, FAILURE, START);
    assert_eq!(core.phase_state(), State::Open);
}

#[test]
fn a_window_of_another_length_takes_over_the_calls_that_it_reaches() {
    let within = |window: u64| Breaker { window: Duration::from_secs(window), ..config(11, None) };
    // From ten seconds to so many, and the eleventh failure so long after the first ten.
    for (seconds, later, opens) in [(100, 50, true), (1, 5, false), (10, 5, true), (10, 50, false)] {
        let mut core = Core::new(within(10), START);
        (0..10).for_each(|_| call(&mut core, FAILURE, START));
        core.reconfigure(within(seconds), START);
        call(&mut core, FAILURE, START + Duration::from_secs(later));
        assert_eq!(core.phase_state() == State::Open, opens, "{seconds} s, {later} s later");
    }
}

#[test]
fn fewer_probes_than_have_succeeded_already_hold_for_those_to_come() {
    let mut core = opened(Breaker::default());
    let now = START + Duration::from_secs(6);
    (0..3).for_each(|_| call(&mut core, Outcome::Success, now));
    let two = NonZeroU32::new(2).unwrap();
    core.reconfigure(Breaker { probes: two, ..Breaker::default() }, now);
    let probes = [core.acquire(now, &Steady).unwrap(), core.acquire(now, &Steady).unwrap()];
    assert_eq!(core.retry_after(now), Some(Duration::from_secs(1)));
    let rejected = core.acquire(now, &Steady).unwrap_err();
    assert_eq!(rejected.reason, Reason::Probing { in_flight: 2, probes: 2 });
    core.record(probes[0], Outcome::Ignored, now, &Steady);
    assert!(core.acquire(now, &Steady).is_ok());
    assert!(core.acquire(now + Duration::from_secs(30), &Steady).is_err());
    assert_eq!(core.phase_state(), State::Open, "the probation of both is over");
}

#[test]
fn whoever_is_refused_hears_how_long() {
    for (break_initial, expected) in [(5_000, 1_000), (300, 300)] {
        let mut core = opened(Breaker { break_initial: break_initial * MS, ..Breaker::default() });
        let over = START + break_initial * MS;
        assert_eq!(core.retry_after(over.saturating_sub(MS)), Some(MS));
        let probe = core.acquire(over, &Steady).unwrap();
        assert_eq!(core.acquire(over, &Steady).unwrap_err().retry_after, Some(expected * MS));
        core.record(probe, Outcome::Ignored, over, &Steady);
        assert_eq!(core.retry_after(over), None, "half-open, and a probe may go");
    }
    let mut core = Core::new(Breaker::default(), START);
    assert_eq!(core.retry_after(START), None);
    core.force(true);
    assert_eq!(core.acquire(START, &Steady).unwrap_err().retry_after, Some(Duration::from_secs(60)));
    core.force(false);
    assert_eq!(core.retry_after(START), None);
}

/// The rule once more, without any cleverness: every outcome is kept and counted anew.
struct Model {
    config: Breaker,
    state: Simple,
    generation: u64,
    outcomes: Vec<(u64, bool, bool)>,
    breaks: u32,
    closed_since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Simple {
    Closed,
    Open { until: Instant },
    HalfOpen { in_flight: u32, successes: u32 },
}

impl Model {
    fn acquire(&mut self, now: Instant) -> Option<u64> {
        if let Simple::Open { until } = self.state
            && now >= until
        {
            self.go(Simple::HalfOpen { in_flight: 0, successes: 0 });
        }
        match &mut self.state {
            Simple::Closed => Some(self.generation),
            Simple::Open { .. } => None,
            Simple::HalfOpen { in_flight, successes } => {
                let room = *in_flight <= *successes && *in_flight < self.config.probes.get();
                *in_flight += u32::from(room);
                room.then_some(self.generation)
            }
        }
    }

    fn record(&mut self, generation: u64, failed: bool, slow: bool, now: Instant) {
        if generation != self.generation {
            return;
        }
        match &mut self.state {
            Simple::Closed => {
                let bucket = now.as_nanos() / 1_000_000_000;
                self.outcomes.push((bucket, failed, slow));
                let recent: Vec<_> = match self.config.window_calls {
                    Some(calls) => self.outcomes.iter().rev().take(calls.get() as usize).collect(),
                    None => self.outcomes.iter().filter(|(at, ..)| at + 10 > bucket).collect(),
                };
                let failures = recent.iter().filter(|(_, failed, _)| *failed).count();
                let slow = recent.iter().filter(|(.., slow)| *slow).count();
                let in_a_row = self.outcomes.iter().rev().take_while(|(_, failed, _)| *failed).count();
                let limit = self.config.consecutive_failures.map_or(usize::MAX, |it| it.get() as usize);
                let enough = recent.len() >= self.config.minimum_calls.get() as usize;
                let too_slow = self.config.slow_after.is_some() && slow * 10 >= recent.len() * 8;
                if (enough && (failures * 2 >= recent.len() || too_slow)) || in_a_row >= limit {
                    self.open(now);
                }
            }
            Simple::HalfOpen { in_flight, successes } => {
                *in_flight -= 1;
                let failed = failed || slow;
                *successes += u32::from(!failed);
                if failed {
                    self.open(now);
                } else if *successes >= self.config.probes.get() {
                    self.outcomes.clear();
                    self.closed_since = now;
                    self.go(Simple::Closed);
                }
            }
            Simple::Open { .. } => {}
        }
    }

    fn open(&mut self, now: Instant) {
        if self.state == Simple::Closed
            && now.saturating_duration_since(self.closed_since) >= self.config.window
        {
            self.breaks = 0;
        }
        let seconds = (5_u64 << self.breaks.min(10)).min(60);
        self.breaks += 1;
        self.go(Simple::Open { until: now + Duration::from_secs(seconds) });
    }

    fn go(&mut self, state: Simple) {
        self.generation += 1;
        self.state = state;
    }
}

proptest! {
    #[test]
    fn it_does_what_the_naive_model_does(
        steps in prop::collection::vec((0_u8..8, 0_u64..3000, any::<prop::sample::Index>()), 1..600),
        minimum_calls in 1_u32..20,
        consecutive in prop::option::of(1_u32..8),
        window_calls in prop::option::of(20_u32..50),
        slow_ms in prop::option::of(1_u64..4000),
    ) {
        // The probation is a case of its own, tested above.
        let config = Breaker {
            probation: Duration::from_secs(3600),
            window_calls: window_calls.and_then(NonZeroU32::new),
            slow_after: slow_ms.map(Duration::from_millis),
            ..config(minimum_calls, consecutive)
        };
        let mut core = Core::new(config.clone(), START);
        let (state, closed_since) = (Simple::Closed, START);
        let mut model = Model { config, state, generation: 0, outcomes: Vec::new(), breaks: 0, closed_since };
        let mut open: Vec<(Ticket, u64)> = Vec::new();
        let mut now = START;
        for (step, ms, which) in steps {
            match step {
                0..3 => {
                    let (got, expected) = (core.acquire(now, &Steady).ok(), model.acquire(now));
                    prop_assert_eq!(got.map(|ticket| ticket.generation), expected);
                    open.extend(got.zip(expected));
                }
                3..7 if !open.is_empty() => {
                    let (ticket, generation) = open.swap_remove(which.index(open.len()));
                    let failed = step >= 5;
                    core.record(ticket, if failed { FAILURE } else { Outcome::Success }, now, &Steady);
                    let slow = slow_ms.is_some_and(|ms| {
                        now.saturating_duration_since(ticket.started) >= Duration::from_millis(ms)
                    });
                    model.record(generation, failed, slow, now);
                }
                _ => now = now + u32::try_from(ms).unwrap() * MS,
            }
            prop_assert_eq!(core.generation, model.generation);
        }
    }
}
