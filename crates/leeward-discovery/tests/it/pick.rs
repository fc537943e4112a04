//! Which endpoint gets a call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leeward_discovery::{Balance, Endpoint, NoEndpoint, Outlier, PickHint, Picked};
use leeward_resilience::{Class, Clock, Reason, Rejected};
use leeward_telemetry::metrics::Registry;

use crate::{World, endpoint};

const MS: Duration = Duration::from_millis(1);

impl World {
    fn pick(&self) -> Picked {
        self.upstream.pick(self.clock.now(), &PickHint::default()).unwrap()
    }

    /// Calls one after the other, each ended by `end`, and says how many each endpoint got.
    fn calls(&self, count: usize, end: impl Fn(&World, &str) -> Class) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for _ in 0..count {
            let picked = self.pick();
            let id = picked.endpoint().id().to_string();
            let class = end(self, &id);
            picked.report(class, self.clock.now());
            *counts.entry(id).or_default() += 1;
        }
        counts
    }

    /// Makes one endpoint fail until it is ejected or has failed 50 times.
    fn break_down(&self, id: &str) {
        let others: Vec<Arc<str>> =
            self.upstream.endpoints().iter().map(|it| Arc::clone(it.endpoint.id())).collect();
        let others: Vec<_> = others.into_iter().filter(|other| **other != *id).collect();
        for _ in 0..50 {
            let picked = self
                .upstream
                .pick(self.clock.now(), &PickHint { avoid: &others, ..PickHint::default() })
                .unwrap();
            if **picked.endpoint().id() != *id {
                return;
            }
            picked.report(Class::RETRYABLE, self.clock.now());
        }
    }

    fn ejected(&self) -> Vec<String> {
        let all = self.upstream.endpoints();
        all.iter().filter(|it| it.ejected_for.is_some()).map(|it| it.endpoint.id().to_string()).collect()
    }
}

fn quick(world: &World, _: &str) -> Class {
    world.clock.advance(MS);
    Class::Success
}

#[test]
fn equals_share_the_calls() {
    let counts = World::new(4).calls(4000, quick);
    assert!(counts.values().all(|&count| (700..1300).contains(&count)), "{counts:?}");
}

#[test]
fn calls_on_their_way_go_by_the_least_outstanding() {
    let world = World::new(2);
    let held: Vec<_> = (0..20).map(|_| world.pick()).collect();
    assert!(world.upstream.endpoints().iter().all(|it| it.outstanding == 10));
    drop(held);
    assert!(world.upstream.endpoints().iter().all(|it| it.outstanding == 0));
}

#[test]
fn the_slow_one_gets_little_and_recovers() {
    let world = World::new(2);
    let slow = |world: &World, id: &str| {
        world.clock.advance(if id == "e0" { 50 * MS } else { MS });
        Class::Success
    };
    let counts = world.calls(1000, slow);
    assert!(counts["e1"] > 950, "{counts:?}");
    world.clock.advance(Duration::from_secs(60));
    let counts = world.calls(1000, quick);
    assert!(counts["e0"] > 200, "{counts:?}");
}

#[test]
fn quick_failures_attract_nothing() {
    let world = World::with(Balance { outlier: None, ..Balance::default() }, 3);
    let failing = |world: &World, id: &str| {
        if id == "e2" {
            return Class::of_http_status(429, None);
        }
        world.clock.advance(5 * MS);
        Class::Success
    };
    let counts = world.calls(3000, failing);
    assert!(counts.get("e2").copied().unwrap_or(0) < 60, "{counts:?}");
}

#[test]
fn one_that_keeps_failing_is_ejected_and_comes_back() {
    let world = World::new(3);
    world.break_down("e0");
    assert_eq!(world.ejected(), ["e0"]);
    assert!(!world.calls(500, quick).contains_key("e0"));
    world.clock.advance(Duration::from_secs(60));
    assert!(world.ejected().is_empty());
    let steady = |world: &World, _: &str| {
        world.clock.advance(20 * MS);
        Class::Success
    };
    assert!(world.calls(2000, steady)["e0"] > 400);
}

#[test]
fn never_are_all_ejected_and_one_alone_never_is() {
    let world = World::new(4);
    for number in 0..4 {
        world.break_down(&format!("e{number}"));
    }
    assert_eq!(world.ejected(), ["e0", "e1"]);
    let alone = World::new(1);
    alone.break_down("e0");
    assert!(alone.ejected().is_empty());
    assert_eq!(&**alone.pick().endpoint().id(), "e0");
}

#[test]
fn in_a_panic_everybody_is_asked_again() {
    let outlier = Outlier { ejected_share_max: 1.0, ..Outlier::default() };
    let world =
        World::with(Balance { outlier: Some(outlier), panic_threshold: 0.5, ..Balance::default() }, 4);
    for number in 0..2 {
        world.break_down(&format!("e{number}"));
    }
    assert_eq!(world.calls(400, quick).len(), 2, "half of them is enough");
    world.break_down("e2");
    assert_eq!(world.ejected(), ["e0", "e1", "e2"]);
    world.clock.advance(MS);
    let held: Vec<_> = (0..400).map(|_| world.pick()).collect();
    assert!(held.iter().any(|picked| **picked.endpoint().id() != *"e3"));
}

#[test]
fn nobody_sound_is_a_panic_at_any_threshold() {
    let outlier = Outlier { ejected_share_max: 1.0, ..Outlier::default() };
    let world =
        World::with(Balance { outlier: Some(outlier), panic_threshold: 0.0, ..Balance::default() }, 2);
    world.break_down("e0");
    assert_eq!(world.ejected(), ["e0"]);
    world.directory.set("inventory", [endpoint(0)]);
    assert_eq!((&**world.pick().endpoint().id(), world.upstream.is_available()), ("e0", false));
}

#[test]
fn equals_that_nobody_measured_are_tossed_for() {
    let counts = World::new(2).calls(1000, |_, _| Class::Success);
    assert!(counts.values().all(|&count| count > 400), "{counts:?}");
}

#[test]
fn what_a_call_failed_at_is_avoided_while_there_is_another() {
    let world = World::new(3);
    let tried = [endpoint(0).id().clone(), endpoint(1).id().clone()];
    for _ in 0..100 {
        let picked = world
            .upstream
            .pick(world.clock.now(), &PickHint { avoid: &tried, ..PickHint::default() })
            .unwrap();
        assert_eq!(&**picked.endpoint().id(), "e2");
        picked.report(Class::Success, world.clock.now());
    }
    world.directory.set("inventory", [endpoint(0)]);
    assert!(
        world.upstream.pick(world.clock.now(), &PickHint { avoid: &tried, ..PickHint::default() }).is_ok()
    );
}

#[test]
fn an_endpoint_has_room_for_so_many_calls() {
    let world = World::with(Balance { outstanding_max: 3, ..Balance::default() }, 2);
    let mut held: Vec<_> = (0..6).map(|_| world.pick()).collect();
    let busy = world.upstream.pick(world.clock.now(), &PickHint::default()).unwrap_err();
    assert_eq!(busy, NoEndpoint::Busy { service: "inventory".into(), limit: 3 });
    assert_eq!(Rejected::from(&busy).reason, Reason::EndpointsBusy { limit: 3 });
    held.pop();
    assert!(world.upstream.pick(world.clock.now(), &PickHint::default()).is_ok());
}

#[test]
fn hung_calls_that_are_dropped_eject_and_impatience_does_not() {
    for (held, ejected) in [(Duration::from_secs(9), 0), (Duration::from_secs(10), 1)] {
        let world = World::new(2);
        let (picks, other): (Vec<_>, Vec<_>) =
            (0..20).map(|_| world.pick()).partition(|picked| **picked.endpoint().id() == *"e0");
        other.into_iter().for_each(|picked| picked.report(Class::Success, world.clock.now()));
        world.clock.advance(held);
        drop(picks);
        assert_eq!(world.ejected().len(), ejected);
    }
}

#[test]
fn our_own_rejections_say_nothing_about_an_endpoint() {
    let world = World::new(2);
    world.calls(100, |_, _| Class::Ignored);
    assert!(world.upstream.endpoints().iter().all(|it| it.failures == 0.0 && it.ejected_for.is_none()));
}

#[test]
fn many_threads_keep_the_counts_right() {
    let world = World::with(Balance { outstanding_max: 1, ..Balance::default() }, 3);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..2000 {
                    let Ok(picked) = world.upstream.pick(world.clock.now(), &PickHint::default()) else {
                        continue;
                    };
                    assert!(world.upstream.endpoints().iter().all(|it| it.outstanding <= 1));
                    if round % 3 == 0 {
                        picked.report(Class::RETRYABLE, world.clock.now());
                    }
                }
            });
        }
    });
    assert!(world.upstream.endpoints().iter().all(|it| it.outstanding == 0));
    assert!(world.ejected().len() <= 1);
}

#[test]
fn nobody_at_all_is_an_error_that_says_so() {
    let world = World::new(0);
    let empty = world.upstream.pick(world.clock.now(), &PickHint::default()).unwrap_err();
    assert_eq!(empty.to_string(), "inventory has no endpoints");
    assert_eq!(Rejected::from(&empty).reason, Reason::NoEndpoint);
    world.directory.set("inventory", [Endpoint::parse("http://127.0.0.1:1").unwrap()]);
    assert!(world.upstream.pick(world.clock.now(), &PickHint::default()).is_ok());
}

#[test]
fn what_happens_is_counted() {
    let (world, registry) = (World::new(2), Registry::new());
    world.directory.export(&registry);
    world.break_down("e0");
    world.directory.set("inventory", [endpoint(0), endpoint(1), endpoint(2)]);
    let text = registry.encode();
    assert!(text.contains("leeward_endpoints{service=\"inventory\"} 3\n"), "{text}");
    assert!(
        text.contains(
            "leeward_endpoint_ejections_total{service=\"inventory\",reason=\"consecutive_failures\"} 1\n"
        ),
        "{text}"
    );
    assert!(text.contains("leeward_endpoints_unhealthy{service=\"inventory\"} 0\n"), "{text}");
}
