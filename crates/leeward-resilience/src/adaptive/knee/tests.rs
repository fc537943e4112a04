//! The knee against a model of an upstream.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a model's nanoseconds are far below 2^52 and not negative"
)]
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::super::Adaptive;
use super::*;
use crate::random::{FastRng, Rng};

const MS: u64 = 1_000_000;

/// An upstream of so many workers that each take so long for a call, with a queue that refuses nobody.
struct World {
    core: Core,
    now: u64,
    workers: usize,
    service: u64,
    /// Ends of the calls in service with their samples, and the calls that wait.
    busy: Vec<(u64, Sample)>,
    waiting: VecDeque<Sample>,
    arrives: f64,
    rng: FastRng,
    latencies: Vec<u64>,
    /// How long callers stay. The upstream works on what it has all the same.
    patience: u64,
    /// On their way as the limit counts them.
    held: VecDeque<Sample>,
}

impl World {
    fn new(workers: usize, service_ms: u64) -> Self {
        let limit = Limit::new(&Adaptive::default());
        Self {
            core: Core::new(Knee::default(), limit, Instant::ZERO),
            now: 0,
            workers,
            service: service_ms * MS,
            busy: Vec::new(),
            waiting: VecDeque::new(),
            arrives: 0.0,
            rng: FastRng::seeded(5),
            latencies: Vec::new(),
            patience: u64::MAX,
            held: VecDeque::new(),
        }
    }

    /// Calls a second that it can do.
    fn capacity(&self) -> f64 {
        self.workers as f64 * 1e9 / self.service as f64
    }

    /// Lets so much time pass under `load` times its capacity, with exponential times between arrivals; the share of its
    /// capacity that it did.
    fn run(&mut self, load: f64, time: Duration) -> f64 {
        let (end, rate) = (self.now + u64::try_from(time.as_nanos()).unwrap(), load * self.capacity());
        self.latencies.clear();
        self.arrives = self.arrives.max(self.now as f64);
        while self.now < end {
            if (self.next_end() as f64) < self.arrives {
                self.end();
            } else {
                self.arrive(self.arrives as u64);
                self.arrives += -(1.0 - self.rng.unit_f64()).ln() / rate * 1e9;
            }
            self.work();
        }
        self.latencies.len() as f64 / (self.capacity() * time.as_secs_f64())
    }

    /// The same under so many clients of which each asks again so long after an answer or a refusal; the calls that it did a second, and the share
    /// of what was asked that was refused.
    fn run_clients(&mut self, clients: usize, pause: u64, time: Duration) -> (f64, f64) {
        let end = self.now + u64::try_from(time.as_nanos()).unwrap();
        self.latencies.clear();
        // Those of an earlier run whose calls are still on their way do not ask again.
        let old = self.held.len();
        let first = |client: usize| Reverse(self.now + client as u64 * 1_000);
        let mut asking: BinaryHeap<Reverse<u64>> = (0..clients).map(first).collect();
        let (mut refused, mut asked, mut old_ended) = (0_u32, 0_u32, 0);
        while self.now < end {
            let next = asking.peek().map_or(u64::MAX, |next| next.0);
            if self.next_end() < next {
                if self.end() {
                    // Those that came first end first, as a rule.
                    if old_ended < old { old_ended += 1 } else { asking.push(Reverse(self.now + pause)) }
                }
            } else {
                asking.pop();
                asked += 1;
                if !self.arrive(next) {
                    refused += 1;
                    asking.push(Reverse(next + pause));
                }
            }
            self.work();
        }
        (self.latencies.len() as f64 / time.as_secs_f64(), f64::from(refused) / f64::from(asked))
    }

    fn next_end(&self) -> u64 {
        self.busy.iter().map(|(at, _)| *at).min().unwrap_or(u64::MAX)
    }

    /// The call that ends next does; whether somebody still waited for it.
    fn end(&mut self) -> bool {
        let done = self.next_end();
        self.now = done;
        let place = self.busy.iter().position(|(at, _)| *at == done).unwrap();
        let (_, sample) = self.busy.swap_remove(place);
        self.leave(done);
        let Some(at) = self.held.iter().position(|held| held.started == sample.started) else { return false };
        let left = u32::try_from(self.held.len()).unwrap();
        self.held.remove(at);
        self.latencies.push(done - sample.started.as_nanos());
        let sample = Sample { left, ..sample };
        self.core.sample(sample, Instant::from_nanos(done));
        true
    }

    /// A call comes; whether it is let in.
    fn arrive(&mut self, now: u64) -> bool {
        self.now = now;
        self.leave(now);
        let on_their_way = u32::try_from(self.held.len()).unwrap();
        let started = Instant::from_nanos(now);
        if on_their_way >= self.core.limit.whole() {
            self.core.rejected(started);
            return false;
        }
        let in_flight = on_their_way + 1;
        let sample = Sample { started, in_flight, left: in_flight, end: End::Success };
        self.waiting.push_back(sample);
        self.held.push_back(sample);
        true
    }

    /// Workers that are free take what waits.
    fn work(&mut self) {
        while self.busy.len() < self.workers
            && let Some(sample) = self.waiting.pop_front()
        {
            // A tenth up or down: no two calls are alike.
            let service = self.service as f64 * (0.9 + 0.2 * self.rng.unit_f64());
            self.busy.push((self.now + service as u64, sample));
        }
    }

    /// Those who have waited for too long leave.
    fn leave(&mut self, now: u64) {
        while let Some(first) = self.held.front()
            && now - first.started.as_nanos() > self.patience
        {
            let at = Instant::from_nanos(first.started.as_nanos() + self.patience);
            let left = u32::try_from(self.held.len()).unwrap();
            self.core.sample(Sample { end: End::Cut, left, ..*first }, at);
            self.held.pop_front();
        }
    }

    fn p99(&mut self) -> Duration {
        self.latencies.sort_unstable();
        Duration::from_nanos(self.latencies[self.latencies.len() * 99 / 100])
    }
}

const S: Duration = Duration::from_secs(1);

#[test]
fn goodput_holds_at_any_overload_and_latency_is_bounded() {
    for (workers, service_ms) in [(1, 10), (4, 20), (16, 5), (64, 50), (200, 100)] {
        for load in [2.0, 5.0, 10.0] {
            let mut world = World::new(workers, service_ms);
            world.run(load, 10 * S);
            let goodput = world.run(load, 20 * S);
            let (p99, service) = (world.p99(), Duration::from_nanos(world.service));
            assert!(goodput > 0.95, "{workers} x {service_ms} ms at {load}: {goodput}");
            assert!(p99 < 3 * service || workers < 3, "{workers} x {service_ms} ms at {load}: p99 {p99:?}");
        }
    }
}

#[test]
fn capacity_that_shrinks_is_used() {
    // By fewer workers, or by slower ones.
    for (workers, service_ms) in [(4, 20), (16, 80), (8, 100)] {
        let mut world = World::new(16, 20);
        world.run(2.0, 10 * S);
        (world.workers, world.service) = (workers, service_ms * MS);
        let load = 2.0 * (16.0 / 20.0) / (workers as f64 / service_ms as f64);
        let goodput = world.run(load, 10 * S);
        assert!(goodput > 0.85, "to {workers} x {service_ms} ms: {goodput}");
        world.run(load, 5 * S);
        assert!(world.p99() < Duration::from_millis(4 * service_ms), "{:?}", world.p99());
    }
}

/// The limit does not go to its minimum to find out.
#[test]
fn slower_workers_are_told_from_a_queue_at_once() {
    let mut world = World::new(16, 20);
    world.run(2.0, 10 * S);
    world.service = 80 * MS;
    let goodput = world.run(2.0, 3 * S);
    assert!(goodput > 0.85, "{goodput}");
}

#[test]
fn capacity_that_grows_is_used() {
    for (workers, service_ms) in [(64, 20), (16, 5), (32, 10)] {
        let mut world = World::new(16, 20);
        world.run(2.0, 10 * S);
        (world.workers, world.service) = (workers, service_ms * MS);
        let goodput = world.run(2.0, 10 * S);
        assert!(goodput > 0.95, "to {workers} x {service_ms} ms: {goodput}");
    }
}

#[test]
fn it_is_back_within_a_second_after_five_of_slowness() {
    let mut world = World::new(16, 20);
    world.run(0.8, 10 * S);
    world.service = 400 * MS;
    world.run(16.0, 5 * S);
    world.service = 20 * MS;
    world.run(0.8, S);
    let goodput = world.run(0.8, 4 * S);
    assert!(goodput > 0.95 * 0.8, "{goodput}");
}

/// Clients that are refused ask again at once, so that a limit that is too small stays full: that must not keep it small.
#[test]
fn clients_that_ask_again_at_once_do_not_keep_it_small() {
    for (workers, service_ms) in [(200, 100), (200, 10), (64, 20), (32, 5), (8, 2), (2, 1)] {
        for pause_us in [1_000, 10_000] {
            let mut world = World::new(workers, service_ms);
            world.run_clients(64, pause_us * 1_000, 3 * S);
            world.run_clients(1_000, pause_us * 1_000, S);
            world.run_clients(64, pause_us * 1_000, 5 * S);
            let (did, refused) = world.run_clients(64, pause_us * 1_000, 10 * S);
            let most = world.capacity().min(64e9 / (world.service as f64 + pause_us as f64 * 1e3));
            let of =
                format!("{workers} x {service_ms} ms, {pause_us} us: {did} of {most}, {refused} refused");
            assert!(did > 0.93 * most, "{of}");
            assert!(refused == 0.0 || workers < 64, "{of}");
        }
    }
}

/// A limit that is in use in part is cut to what is used, and what the latency then should fall by goes by that.
#[test]
fn a_trial_of_a_limit_in_part_use_finds_a_queue() {
    let mut core = at_200();
    // Three times the latency without a queue, by a hundred calls.
    core.baseline = Some(0.1);
    core.step(&window(100, End::Success, |_| 300.0));
    let tried = core.limit.value;
    assert!((69.0..=71.0).contains(&tried), "{tried}");
    core.step(&window(tried as u32, End::Success, |_| 3.0 * tried));
    assert!(core.baseline.unwrap() < 0.15, "it is no upstream that got slower: {:?}", core.baseline);
    let tried = core.limit.value;
    assert!((48.0..=51.0).contains(&tried), "and goes on down: {tried}");
    // Also of what is left: of the 70 there are 52, so that 50 are hardly less.
    let mut core = at_200();
    core.baseline = Some(0.1);
    for calls in [100, 52, 50] {
        core.step(&window(calls, End::Success, |_| 4.0 * f64::from(calls)));
    }
    assert!(core.baseline.unwrap() < 0.15, "it is a queue all the same: {:?}", core.baseline);
    assert!(core.limit.value < 45.0, "{}", core.limit.value);
    // The same where the latency does not fall with it.
    let mut core = at_200();
    core.baseline = Some(0.1);
    core.step(&window(100, End::Success, |_| 300.0));
    core.step(&window(tried as u32, End::Success, |_| 290.0));
    assert!((core.limit.value - 200.0).abs() < 0.1, "back to what it was: {}", core.limit.value);
    assert!(core.baseline.is_some_and(|it| (it - 0.29).abs() < 0.001), "{:?}", core.baseline);
}

#[test]
fn a_limit_that_nobody_reaches_stays() {
    let mut world = World::new(100, 20);
    world.run(0.02, 30 * S);
    assert_eq!(world.core.limit.whole(), Adaptive::default().limit_initial.get());
}

/// What was taken for normal while the limit was out of reach was a queue all the same.
#[test]
fn a_queue_that_was_taken_for_normal_is_found_out() {
    let mut world = World::new(4, 20);
    world.core.limit.value = 100.0;
    world.core.baseline = Some(0.3);
    world.run(5.0, 25 * S);
    let goodput = world.run(5.0, 10 * S);
    assert!(goodput > 0.95 && world.p99() < Duration::from_millis(80), "{goodput} {:?}", world.p99());
}

/// Were calls that are cut short left out, the limit would never learn of a queue that is longer than its callers' patience.
#[test]
fn callers_that_leave_do_not_hide_an_overload() {
    let mut world = World::new(16, 20);
    world.core.limit.value = 200.0;
    world.patience = 1_000 * MS;
    world.run(0.8, 10 * S);
    world.service = 400 * MS;
    world.run(16.0, 5 * S);
    assert!(world.core.limit.whole() < 50, "{}", world.core.limit.whole());
    world.service = 20 * MS;
    world.run(0.8, S);
    let goodput = world.run(0.8, 4 * S);
    assert!(goodput > 0.95 * 0.8, "{goodput}");
}

/// The same with less patience than any answer takes: nothing but cancellations to go by.
#[test]
fn a_limit_that_only_hears_of_callers_that_leave_shrinks_and_comes_back() {
    let mut world = World::new(16, 20);
    world.core.limit.value = 200.0;
    world.patience = 300 * MS;
    world.run(0.8, 5 * S);
    world.service = 400 * MS;
    world.run(16.0, 10 * S);
    assert!(world.core.limit.whole() <= 10, "{}", world.core.limit.whole());
    world.service = 20 * MS;
    world.run(0.8, S);
    let goodput = world.run(0.8, 4 * S);
    assert!(goodput > 0.95 * 0.8, "{goodput}");
}

/// A pause of the upstream costs no more than itself and a moment.
#[test]
fn a_standstill_is_noticed_before_any_call_ends_and_forgotten_after_it() {
    let mut world = World::new(16, 20);
    world.run(3.0, 10 * S);
    let full = world.core.limit.whole();
    for _ in 0..2_000 {
        world.now += MS;
        world.core.rejected(Instant::from_nanos(world.now));
    }
    for (end, _) in &mut world.busy {
        *end += 2_000 * MS;
    }
    assert!(world.core.limit.whole() <= full / 4, "{full} {}", world.core.limit.whole());
    world.run(3.0, S);
    let goodput = world.run(3.0, 4 * S);
    assert!(goodput > 0.95, "{goodput} {}", world.core.limit.whole());
}

/// Calls at once after a silence find the limit full, and that is no standstill.
#[test]
fn a_burst_after_a_silence_is_no_standstill() {
    let mut core = Core::new(Knee::default(), Limit::new(&Adaptive::default()), Instant::ZERO);
    core.baseline = Some(0.02);
    for second in 1..10_u64 {
        let now = Instant::from_nanos(second * 1_000 * MS);
        for _ in 0..100 {
            core.rejected(now);
        }
        for left in (1..=20).rev() {
            core.sample(
                Sample { started: now, in_flight: 21 - left, left, end: End::Success },
                now + Duration::from_millis(20),
            );
        }
    }
    assert!(core.limit.whole() >= 20, "{}", core.limit.whole());
}

/// Feeds windows in which this share fails.
fn failing(every: u32) -> u32 {
    let mut core = Core::new(Knee::default(), Limit::new(&Adaptive::default()), Instant::ZERO);
    for call in 0..2_000_u64 {
        let (started, end) = (Instant::from_nanos(call * 5 * MS), Instant::from_nanos((call + 1) * 5 * MS));
        let overload = call % u64::from(every) == 0;
        let how = if overload { End::Overload } else { End::Success };
        core.sample(Sample { started, in_flight: 20, left: 20, end: how }, end);
    }
    core.limit.whole()
}

#[test]
fn an_endpoint_that_fails_does_not_shrink_it_and_an_upstream_that_fails_does() {
    assert!(failing(4) >= 20);
    assert_eq!(failing(1), 5);
}

/// From a cold start under a load that it never stands: shares of what is possible in the time after `settle`, with these arrivals.
fn from_cold(
    seed: u64,
    (workers, service_ms): (usize, u64),
    load: f64,
    initial: f64,
    settle: Duration,
) -> f64 {
    let mut world = World::new(workers, service_ms);
    world.rng = FastRng::seeded(seed);
    (world.core.limit.value, world.core.limit.max) = (initial, 1_024.0);
    world.patience = (4 * service_ms).max(1_000) * MS;
    world.run(load, settle);
    world.run(load, 10 * S) / load.min(1.0)
}

#[test]
fn an_overload_that_was_there_before_the_first_answer_is_one() {
    for initial in [20.0, 200.0] {
        for (workers, service_ms) in [(4, 20), (16, 5), (16, 20), (64, 50), (200, 100)] {
            for load in [0.9, 1.2, 2.0, 5.0, 10.0] {
                let world = (workers, service_ms);
                let runs: Vec<f64> =
                    (1..=4).map(|seed| from_cold(seed, world, load, initial, 3 * S)).collect();
                let mean = runs.iter().sum::<f64>() / 4.0;
                let least = runs.iter().copied().fold(1.0, f64::min);
                let of = format!("{workers} x {service_ms} ms at {load} from {initial}: {runs:?}");
                // Around what it can do a queue comes and goes by chance; four workers with one look much as they do without.
                let wanted = match load {
                    2.0.. => [0.96, 0.94],
                    _ if workers > 4 => [0.95, 0.94],
                    _ => [0.91, 0.88],
                };
                assert!(mean > wanted[0] && least > wanted[1], "{of}");
            }
        }
    }
}

/// What the limit let through before the first answer is work for seconds.
#[test]
fn a_slow_upstream_that_is_overloaded_from_the_start_recovers() {
    for (workers, service_ms) in [(1, 10), (16, 160), (100, 1_000)] {
        for load in [2.0, 5.0, 10.0] {
            let goodput = from_cold(5, (workers, service_ms), load, 200.0, 12 * S);
            assert!(goodput > 0.9, "{workers} x {service_ms} ms at {load}: {goodput}");
        }
    }
}

/// Calls of which so many are under way all the time, each ending as it is told; the least limit meanwhile.
fn steady(core: &mut Core, in_flight: u32, calls: u64, mut call: impl FnMut(u64) -> (u64, End)) -> u32 {
    let mut least = core.limit.whole();
    for number in 0..calls {
        let (took, end) = call(number);
        let ended = 60_000 * MS + number * 2 * MS;
        let sample =
            Sample { started: Instant::from_nanos(ended - took * MS), in_flight, left: in_flight, end };
        least = least.min(core.sample(sample, Instant::from_nanos(ended)));
    }
    least
}

fn at_200() -> Core {
    let mut limit = Limit::new(&Adaptive::default());
    limit.value = 200.0;
    Core::new(Knee::default(), limit, Instant::ZERO)
}

/// Callers that wait for news and leave before there is any: nothing tells what a call takes.
#[test]
fn calls_that_have_always_been_left_say_nothing() {
    let mut core = at_200();
    assert_eq!(steady(&mut core, 150, 10_000, |_| (25_000, End::Cut)), 200);
}

/// Twenty calls of a step, of which so many are under way, with these latencies in milliseconds.
fn window(in_flight: u32, end: End, latency: impl Fn(u32) -> f64) -> Window {
    let mut window = Window::new(Instant::ZERO);
    for call in 0..20 {
        let sample = Sample { started: Instant::ZERO, in_flight, left: in_flight, end };
        window.count(sample, latency(call) / 1e3, true, 200.0);
    }
    window
}

/// One call of twenty waits for news, and takes up most of the places.
#[test]
fn a_few_long_calls_do_not_make_the_others_slow() {
    let window = window(150, End::Success, |call| if call == 7 { 30_000.0 } else { 5.0 });
    assert!((window.latency(10) - 0.005).abs() < 1e-6, "{}", window.latency(10));
}

/// Where the limit was out of reach, taking from what nobody uses proves nothing.
#[test]
fn a_trial_begins_at_what_is_in_use() {
    let mut core = at_200();
    core.baseline = Some(0.01);
    core.step(&window(120, End::Success, |_| 100.0));
    assert!(core.limit.value < 0.75 * 120.0, "{}", core.limit.value);
}

#[test]
fn callers_that_leave_before_the_limit_is_reached_shrink_it_all_the_same() {
    let mut core = at_200();
    core.baseline = Some(0.01);
    core.step(&window(24, End::Cut, |_| 1_000.0));
    assert_eq!(core.limit.whole(), 12);
}

#[test]
fn of_a_burst_the_first_call_tells_the_latency_without_a_queue() {
    let mut core = at_200();
    let mut burst = window(200, End::Success, |call| f64::from(10 * (call + 1)));
    burst.rejects = true;
    core.step(&burst);
    assert_eq!(core.baseline, Some(0.01));
}

/// A queue may grow for a while before it comes near the limit.
#[test]
fn a_latency_far_below_the_limit_becomes_the_normal_slowly() {
    let mut core = at_200();
    core.baseline = Some(0.02);
    for _ in 0..10 {
        core.step(&window(50, End::Success, |_| 400.0));
    }
    assert!((0.05..0.2).contains(&core.baseline.unwrap()), "{:?}", core.baseline);
}

#[test]
fn the_latencies_that_are_kept_are_spread_over_the_step() {
    let mut window = Window::new(Instant::ZERO);
    for call in 0..4_000 {
        let sample = Sample { started: Instant::ZERO, in_flight: 1, left: 1, end: End::Success };
        window.count(sample, if call < 2_000 { 1.0 } else { 3.0 }, false, 200.0);
    }
    assert!((window.latency(10) - 2.0).abs() < 0.1, "{}", window.latency(10));
}

/// Failures that say nothing of the load are ends all the same.
#[test]
fn an_upstream_that_fails_by_itself_stands_not_still() {
    let mut core = at_200();
    core.baseline = Some(0.2);
    for number in 0..2_000_u64 {
        let now = Instant::from_nanos(number * MS);
        let started = now.saturating_sub(Duration::from_millis(200));
        core.sample(Sample { started, in_flight: 200, left: 200, end: End::Other }, now);
        core.rejected(now);
    }
    assert!(core.limit.whole() >= 100, "{}", core.limit.whole());
}
