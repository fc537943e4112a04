//! The algorithms of balancing, and what they keep to together: weights, keys, slow start, ejection against peers.

use std::collections::BTreeMap;
use std::time::Duration;

use leeward_discovery::{Algorithm, Balance, Outlier, PickHint, RingHash, ring};
use leeward_resilience::{Class, Clock};

use crate::{World, endpoint};

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn by(algorithm: Algorithm) -> Balance {
    Balance { algorithm, ..Balance::default() }
}

/// So many calls of which `at_a_time` overlap, each taking as long and ending as `end` says of its endpoint.
fn share(world: &World, calls: u32, at_a_time: usize, end: impl Fn(&str) -> Class) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    let mut on_their_way = std::collections::VecDeque::new();
    for _ in 0..calls {
        let picked = world.upstream.pick(world.clock.now(), &PickHint::default()).unwrap();
        *counts.entry(picked.endpoint().id().to_string()).or_default() += 1;
        on_their_way.push_back(picked);
        world.clock.advance(MS);
        if on_their_way.len() >= at_a_time
            && let Some(done) = on_their_way.pop_front()
        {
            let class = end(done.endpoint().id());
            done.report(class, world.clock.now());
        }
    }
    counts
}

fn fine(_: &str) -> Class {
    Class::Success
}

#[test]
fn every_algorithm_shares_and_follows_the_weights() {
    for algorithm in [
        Algorithm::default(),
        Algorithm::LeastRequest,
        Algorithm::RoundRobin,
        Algorithm::RandomOfTwo,
        Algorithm::RingHash(RingHash::default()),
    ] {
        let world = World::with(by(algorithm), 3);
        let counts = share(&world, 3_000, 30, fine);
        assert!(counts.values().all(|count| (850..1_150).contains(count)), "{algorithm:?} {counts:?}");
        world
            .directory
            .set("inventory", [endpoint(0), endpoint(1).with_weight(2), endpoint(2).with_weight(3)]);
        let counts = share(&world, 6_000, 60, fine);
        for (id, expected) in [("e0", 1_000.0), ("e1", 2_000.0), ("e2", 3_000.0)] {
            let off = (f64::from(counts[id]) / expected - 1.0).abs();
            assert!(off < 0.2, "{algorithm:?} {counts:?}");
        }
    }
}

#[test]
fn turns_are_dealt_out_exactly() {
    let world = World::with(by(Algorithm::RoundRobin), 4);
    assert!(share(&world, 400, 1, fine).values().all(|count| *count == 100));
}

#[test]
fn a_key_stays_with_its_endpoint_whatever_the_algorithm() {
    for algorithm in [Algorithm::default(), Algorithm::RingHash(RingHash::default())] {
        let world = World::with(by(algorithm), 8);
        let home = |key: &str| {
            let hint = PickHint { key: Some(ring::hash(key.as_bytes())), ..PickHint::default() };
            let picked = world.upstream.pick(world.clock.now(), &hint).unwrap();
            let id = picked.endpoint().id().to_string();
            picked.report(Class::Success, world.clock.now());
            id
        };
        let keys: Vec<String> = (0..200).map(|user| format!("user-{user}")).collect();
        let homes: Vec<String> = keys.iter().map(|key| home(key)).collect();
        assert_eq!(keys.iter().map(|key| home(key)).collect::<Vec<_>>(), homes);
        world.directory.set("inventory", (1..8).map(endpoint));
        for (key, old) in keys.iter().zip(&homes) {
            assert!(*old == "e0" || home(key) == *old, "{key} left {old}, which is still there");
        }
        world.directory.set("inventory", (0..8).map(endpoint));
        world.clock.advance(5 * S);
        let halfway: Vec<_> = keys.iter().map(|key| home(key)).collect();
        let back = halfway.iter().filter(|id| **id == "e0").count();
        assert!(back > 0 && back < homes.iter().filter(|id| **id == "e0").count(), "a part of them, so far");
        assert_eq!(keys.iter().map(|key| home(key)).collect::<Vec<_>>(), halfway);
        world.clock.advance(5 * S);
        assert_eq!(keys.iter().map(|key| home(key)).collect::<Vec<_>>(), homes, "it is back");
    }
}

#[test]
fn one_busy_key_spreads_beyond_the_bound() {
    let world = World::with(by(Algorithm::RingHash(RingHash::default())), 4);
    let hint = PickHint { key: Some(7), ..PickHint::default() };
    let held: Vec<_> = (0..100).map(|_| world.upstream.pick(world.clock.now(), &hint).unwrap()).collect();
    let most = world.upstream.endpoints().iter().map(|it| it.outstanding).max().unwrap();
    assert!(most <= 32, "1.25 times a quarter, not {most}");
    drop(held);
}

#[test]
fn a_newcomer_gets_its_share_slowly() {
    let world = World::with(by(Algorithm::RoundRobin), 3);
    assert_eq!(share(&world, 300, 1, fine)["e0"], 100, "who came with the others has nothing to catch up");
    world.directory.set("inventory", (0..4).map(endpoint));
    let early = share(&world, 1_000, 1, fine)["e3"];
    assert!((5..60).contains(&early), "a tenth of its share, in the first second: {early}");
    world.clock.advance(4 * S);
    let half = share(&world, 1_000, 1, fine)["e3"];
    assert!((90..200).contains(&half), "half of it: {half}");
    world.clock.advance(5 * S);
    assert_eq!(share(&world, 1_000, 1, fine)["e3"], 250);
}

#[test]
fn other_options_keep_the_history() {
    let world = World::with(by(Algorithm::RoundRobin), 3);
    share(&world, 300, 3, |id| if id == "e1" { Class::RETRYABLE } else { Class::Success });
    let before = world.upstream.endpoints();
    assert!(before[1].ejected_for.is_some());
    world.upstream.configure(by(Algorithm::LeastRequest)).unwrap();
    assert_eq!(
        (world.upstream.endpoints(), world.upstream.balance().algorithm),
        (before, Algorithm::LeastRequest)
    );
    let wrong = Balance { panic_threshold: 7.0, ..Balance::default() };
    assert_eq!(world.upstream.configure(wrong).unwrap_err().paths(), ["panic_threshold"]);
    assert_eq!(world.upstream.balance().algorithm, Algorithm::LeastRequest, "the old ones stay");
}

fn ejected(world: &World) -> Vec<String> {
    let all = world.upstream.endpoints();
    all.iter().filter(|it| it.ejected_for.is_some()).map(|it| it.endpoint.id().to_string()).collect()
}

/// Fails every other call.
fn half(id: &str, only: &str, number: &std::cell::Cell<u32>) -> Class {
    number.set(number.get() + 1);
    if id.contains(only) && number.get().is_multiple_of(2) { Class::RETRYABLE } else { Class::Success }
}

#[test]
fn one_that_fails_half_of_its_calls_is_ejected_and_where_all_do_nobody_is() {
    // Never twice in a row: only the rate can tell.
    let number = std::cell::Cell::new(0);
    let world = World::with(by(Algorithm::RoundRobin), 3);
    let counts = share(&world, 6_000, 1, |id| half(id, "e2", &number));
    assert_eq!(ejected(&world), ["e2"], "{counts:?}");
    let world = World::with(by(Algorithm::RoundRobin), 3);
    share(&world, 6_000, 1, |id| half(id, "e", &number));
    assert!(ejected(&world).is_empty());
}

#[test]
fn where_all_fail_in_a_row_nobody_is_ejected() {
    for algorithm in [Algorithm::default(), Algorithm::RoundRobin] {
        let world = World::with(by(algorithm), 4);
        share(&world, 5_000, 8, |_| Class::RETRYABLE);
        assert!(
            ejected(&world).len() <= 1,
            "{algorithm:?}: the first to fail may be out before the others fail"
        );
    }
}

#[test]
fn one_that_is_ten_times_slower_is_ejected_by_its_latency() {
    for (slow_factor, expected) in [(Some(5.0), vec!["e1".to_owned()]), (None, vec![])] {
        let outlier = Some(Outlier { slow_factor, ..Outlier::default() });
        let world = World::with(Balance { outlier, ..by(Algorithm::RoundRobin) }, 4);
        for _ in 0..200 {
            for _ in 0..4 {
                let picked = world.upstream.pick(world.clock.now(), &PickHint::default()).unwrap();
                let slow = **picked.endpoint().id() == *"e1";
                world.clock.advance(if slow { 100 * MS } else { 10 * MS });
                picked.report(Class::Success, world.clock.now());
            }
        }
        assert_eq!(ejected(&world), expected);
    }
}
