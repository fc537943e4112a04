//! Policies by key: their bound, who is forgotten, and breakers that would all refuse at once.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use leeward_resilience::breaker::State;
use leeward_resilience::{
    AdaptiveLimit, Breaker, CircuitBreaker, Class, Clock, Concurrency, ConcurrencyLimit, Event, FastRng,
    Keyed, KeyedBreakers, KeyedOptions, ManualClock, Panic, Priority, Reason, Throttle, Throttler,
};
use proptest::prelude::*;

use crate::allocations::allocations;
use crate::seen::Seen;

fn rng() -> Arc<FastRng> {
    Arc::new(FastRng::seeded(1))
}

fn limits(keys_max: usize, seen: &Arc<Seen>) -> Keyed<u32, ConcurrencyLimit> {
    let options = KeyedOptions { policy: Concurrency::default(), keys_max };
    Keyed::with("upstream", options, Arc::new(ManualClock::new()), rng(), seen.observer()).unwrap()
}

#[test]
fn a_key_has_a_policy_of_its_own_and_always_the_same() {
    let keyed = limits(10, &Seen::new());
    let permit = keyed.get(&1).try_acquire().unwrap();
    assert_eq!(
        (keyed.get(&1).in_flight(), keyed.clone().get(&1).in_flight(), keyed.get(&2).in_flight()),
        (1, 1, 0)
    );
    drop(permit);
    assert_eq!((keyed.get(&1).in_flight(), keyed.keys()), (0, 2));
    let mut keys: Vec<_> = keyed.entries().into_iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    assert_eq!(keys, [1, 2]);
}

proptest! {
    /// The naive model is a list of keys, the one used last at its end, and the permits that are held.
    #[test]
    fn keys_are_bounded_and_no_permit_is_forgotten_while_another_key_can_go(
        steps in prop::collection::vec((0_u32..12, any::<bool>()), 1..200),
        keys_max in 1_usize..8,
    ) {
        let seen = Seen::new();
        let keyed = limits(keys_max, &seen);
        let (mut model, mut held) = (Vec::<u32>::new(), HashMap::new());
        for (key, hold) in steps {
            let (mut expected, mut still_held) = (Vec::new(), None);
            match model.iter().position(|&other| other == key) {
                Some(place) => {
                    model.remove(place);
                }
                None if model.len() == keys_max => {
                    let idle = model.iter().position(|key| !held.contains_key(key));
                    let gone = model.remove(idle.unwrap_or(0));
                    still_held = held.remove(&gone);
                    expected.push(Event::KeyEvicted { busy: idle.is_none() });
                }
                None => {}
            }
            model.push(key);
            let policy = keyed.get(&key);
            drop(still_held);
            if hold && !held.contains_key(&key) {
                held.insert(key, policy.try_acquire().unwrap());
            } else if !hold {
                held.remove(&key);
            }
            prop_assert_eq!(policy.in_flight(), u32::from(held.contains_key(&key)));
            prop_assert_eq!(seen.take(), expected);
            let mut keys: Vec<_> = keyed.entries().into_iter().map(|(key, _)| key).collect();
            let mut sorted = model.clone();
            keys.sort_unstable();
            sorted.sort_unstable();
            prop_assert_eq!(keys, sorted);
        }
    }
}

#[test]
fn many_keys_are_bounded_too() {
    let keyed = limits(10_000, &Seen::new());
    for key in 0..30_000 {
        let _ = keyed.get(&key);
    }
    assert_eq!(keyed.keys(), 10_000);
}

#[test]
fn what_refuses_calls_is_not_forgotten_for_what_does_not() {
    let (clock, seen) = (ManualClock::new(), Seen::new());
    let options = KeyedOptions { policy: Breaker::default(), keys_max: 2 };
    let breakers = Keyed::<u32, CircuitBreaker>::with(
        "upstream",
        options,
        Arc::new(clock.clone()),
        rng(),
        seen.observer(),
    );
    let breakers = breakers.unwrap();
    for _ in 0..5 {
        breakers.get(&1).acquire(clock.now()).unwrap().failure(clock.now());
    }
    // A permit is enough, without a clone of the handle.
    let permit = breakers.get(&2).acquire(clock.now()).unwrap();
    seen.take();
    let _ = breakers.get(&3);
    assert_eq!(seen.take(), [Event::KeyEvicted { busy: true }]);
    assert!(breakers.get(&2).acquire(clock.now()).is_ok(), "its permit was younger than the break");
    permit.success(clock.now());
    assert_eq!(breakers.keys(), 2);

    let options = KeyedOptions { policy: Throttle::default(), keys_max: 2 };
    let throttlers =
        Keyed::<u32, Throttler>::with("upstream", options, Arc::new(clock.clone()), rng(), seen.observer());
    let throttlers = throttlers.unwrap();
    for _ in 0..50 {
        if let Ok(permit) = throttlers.get(&1).acquire(Priority::Normal, clock.now()) {
            permit.record(Class::RETRYABLE, clock.now());
        }
    }
    seen.take();
    (2..4).for_each(|key| drop(throttlers.get(&key)));
    assert_eq!(seen.take(), [Event::KeyEvicted { busy: false }]);
    assert!(throttlers.get(&1).probability(Priority::Low, clock.now()) > 0.5);

    let options = KeyedOptions { policy: leeward_resilience::Adaptive::default(), keys_max: 2 };
    let adaptive = Keyed::<u32, AdaptiveLimit>::new("upstream", options).unwrap();
    let held = adaptive.get(&1).acquire(clock.now()).unwrap();
    (2..4).for_each(|key| drop(adaptive.get(&key)));
    assert_eq!(adaptive.get(&1).in_flight(), 1);
    drop(held);
    // A handle is enough, without a permit.
    let handle = adaptive.get(&1);
    (3..5).for_each(|key| drop(adaptive.get(&key)));
    let held = handle.acquire(clock.now()).unwrap();
    assert_eq!(adaptive.get(&1).in_flight(), 1, "it is the same one");
    drop(held);
}

#[test]
fn a_breaker_that_refuses_nothing_and_that_nobody_holds_goes_first() {
    let (clock, seen) = (ManualClock::new(), Seen::new());
    let options = KeyedOptions { policy: Breaker::default(), keys_max: 2 };
    let its = Arc::new(clock.clone());
    let breakers =
        Keyed::<u32, CircuitBreaker>::with("upstream", options, its, rng(), seen.observer()).unwrap();
    for _ in 0..5 {
        breakers.get(&1).acquire(clock.now()).unwrap().failure(clock.now());
    }
    drop(breakers.get(&2));
    seen.take();
    drop(breakers.get(&3));
    assert_eq!(seen.take(), [Event::KeyEvicted { busy: false }]);
    assert!(breakers.get(&1).acquire(clock.now()).is_err(), "that was the younger one, which is closed");
    // A handle is held, and a younger breaker is not.
    let held = breakers.get(&3);
    breakers.get(&1).reset();
    seen.take();
    drop(breakers.get(&4));
    assert_eq!(seen.take(), [Event::KeyEvicted { busy: false }]);
    held.force_open();
    assert!(breakers.get(&3).acquire(clock.now()).is_err(), "it is the same one");
}

#[test]
fn all_are_reconfigured_at_once_and_those_to_come() {
    let seen = Seen::new();
    let keyed = limits(10, &seen);
    let held: Vec<_> = (0..4).map(|key| keyed.get(&key).try_acquire().unwrap()).collect();
    let one = Concurrency { limit: NonZeroU32::MIN, ..Concurrency::default() };
    let options = KeyedOptions { policy: one.clone(), keys_max: 3 };
    keyed.reconfigure(options.clone()).unwrap();
    assert_eq!(keyed.keys(), 3);
    assert_eq!(seen.names(), ["key_evicted", "reconfigured", "reconfigured", "reconfigured"]);
    assert!((1..4).all(|key| keyed.get(&key).try_acquire().is_none()), "their permits are kept");
    assert_eq!(keyed.get(&9).config(), one);
    drop(held);
    let wrong = KeyedOptions { policy: Concurrency { queue: u32::MAX, ..one }, keys_max: 0 };
    let paths: Vec<_> =
        keyed.reconfigure(wrong).unwrap_err().mistakes.into_iter().map(|it| it.path).collect();
    assert_eq!((paths, keyed.config()), (vec!["concurrency.queue".into(), "keyed.keys_max".into()], options));
}

#[test]
fn a_known_key_allocates_nothing() {
    let options = KeyedOptions { policy: Breaker::default(), keys_max: 10_000 };
    let breakers = KeyedBreakers::<String>::new("upstream", options, Some(Panic::default())).unwrap();
    let now = leeward_resilience::TokioClock.now();
    let call = || breakers.acquire("10.0.0.7:8080", now).unwrap().success(now);
    call();
    assert_eq!(allocations(|| (0..100).for_each(|_| call())), 0);
}

struct Hosts {
    breakers: KeyedBreakers<u32>,
    clock: ManualClock,
    seen: Arc<Seen>,
}

impl Hosts {
    fn new(panic: Panic) -> Self {
        let (clock, seen) = (ManualClock::new(), Seen::new());
        let (options, its) = (KeyedOptions::default(), Arc::new(clock.clone()));
        let breakers = KeyedBreakers::with("upstream", options, Some(panic), its, rng(), seen.observer());
        Self { breakers: breakers.unwrap(), clock, seen }
    }

    fn know(&self, hosts: std::ops::Range<u32>) {
        for host in hosts {
            self.breakers.acquire(&host, self.clock.now()).unwrap().success(self.clock.now());
        }
    }

    fn fail(&self, host: u32) {
        for _ in 0..5 {
            self.breakers.acquire(&host, self.clock.now()).unwrap().failure(self.clock.now());
        }
    }

    fn passes(&self, host: u32) -> bool {
        self.breakers.acquire(&host, self.clock.now()).is_ok()
    }

    fn panics(&self) -> Vec<Event> {
        self.seen.take().into_iter().filter(|event| matches!(event, Event::PanicChanged { .. })).collect()
    }
}

#[test]
fn when_more_than_half_are_open_everything_passes() {
    let hosts = Hosts::new(Panic::default());
    hosts.know(0..10);
    (0..5).for_each(|host| hosts.fail(host));
    assert!(!hosts.passes(0) && !hosts.passes(4) && hosts.passes(9), "half of them is not more than half");
    assert_eq!(hosts.panics(), []);
    hosts.fail(5);
    assert!((0..10).all(|host| hosts.passes(host)));
    assert_eq!(hosts.panics(), [Event::PanicChanged { panicking: true, open: 6, keys: 10 }]);
    assert_eq!(hosts.breakers.passed_in_panic(), 6);
    // What an operator holds open stays so, and does not count.
    hosts.breakers.breakers().get(&0).force_open();
    let refused = hosts.breakers.acquire(&0, hosts.clock.now()).unwrap_err();
    assert_eq!(refused.reason, Reason::ForcedOpen);
    assert!(!hosts.passes(5), "that were six, and now are five");
    assert_eq!(hosts.panics(), [Event::PanicChanged { panicking: false, open: 5, keys: 10 }]);
}

#[test]
fn what_an_operator_holds_open_stays_so_in_a_panic() {
    let hosts = Hosts::new(Panic::default());
    hosts.know(0..10);
    (0..7).for_each(|host| hosts.fail(host));
    hosts.breakers.breakers().get(&0).force_open();
    let refused = hosts.breakers.acquire(&0, hosts.clock.now()).unwrap_err();
    assert_eq!(refused.reason, Reason::ForcedOpen);
    assert!(hosts.passes(1) && hosts.breakers.is_panicking(), "six others are open too");
}

#[test]
fn keys_that_come_begin_and_end_a_panic_as_well() {
    let hosts = Hosts::new(Panic { keys_min: 5, ..Panic::default() });
    hosts.know(0..4);
    (0..3).for_each(|host| hosts.fail(host));
    assert!(!hosts.passes(0), "three of four, which are too few keys");
    hosts.know(4..5);
    assert!(hosts.passes(0), "three of five");
    hosts.know(5..100);
    assert!(!hosts.passes(0), "three of a hundred");
}

#[test]
fn what_passes_in_a_panic_is_recorded_and_ends_it() {
    let hosts = Hosts::new(Panic::default());
    hosts.know(0..6);
    (0..5).for_each(|host| hosts.fail(host));
    assert!(hosts.passes(0) && hosts.breakers.is_panicking());
    // After the break they are half-open, and all that pass are probes, more at a time than would be otherwise.
    hosts.clock.advance(Duration::from_secs(10));
    let state = |host: u32| hosts.breakers.breakers().get(&host).state(hosts.clock.now());
    for host in 0..2 {
        let probes: Vec<_> =
            (0..5).map(|_| hosts.breakers.acquire(&host, hosts.clock.now()).unwrap()).collect();
        probes.into_iter().for_each(|probe| probe.success(hosts.clock.now()));
        assert_eq!(state(host), State::Closed);
    }
    hosts.breakers.acquire(&2, hosts.clock.now()).unwrap().failure(hosts.clock.now());
    assert_eq!(state(2), State::Open);
    assert!(!hosts.passes(2) && !hosts.breakers.is_panicking());
    // The upstream's own `Retry-After` is kept too, for the next break.
    hosts.fail(0);
    let patience = Some(Duration::from_secs(55));
    hosts.breakers.acquire(&0, hosts.clock.now()).unwrap().failure_until(hosts.clock.now(), patience);
    hosts.clock.advance(Duration::from_secs(15));
    hosts.breakers.acquire(&0, hosts.clock.now()).unwrap().failure(hosts.clock.now());
    let breaker = hosts.breakers.breakers().get(&0);
    assert_eq!(breaker.retry_after(hosts.clock.now()), Some(Duration::from_secs(40)));
}

#[test]
fn a_few_keys_do_not_panic_and_options_can_change() {
    let hosts = Hosts::new(Panic { keys_min: 5, ..Panic::default() });
    hosts.know(0..4);
    (0..4).for_each(|host| hosts.fail(host));
    assert!((0..4).all(|host| !hosts.passes(host)));
    let options = hosts.breakers.breakers().config();
    hosts.breakers.reconfigure(options.clone(), Some(Panic { keys_min: 4, ..Panic::default() })).unwrap();
    assert!((0..4).all(|host| hosts.passes(host)));
    hosts.breakers.reconfigure(options.clone(), None).unwrap();
    assert!((0..4).all(|host| !hosts.passes(host)));
    let wrong = Panic { open_share: 0.0, keys_min: 0 };
    let errors = hosts.breakers.reconfigure(options, Some(wrong)).unwrap_err();
    let paths: Vec<_> = errors.mistakes.into_iter().map(|it| it.path).collect();
    assert_eq!(
        (paths, hosts.breakers.panic()),
        (vec!["keyed.panic.open_share".into(), "keyed.panic.keys_min".into()], None)
    );
}
