//! The knee of the latency.

use super::{Knee, Limit, Sample};
use crate::time::Instant;

/// The most that a step grows the limit by, and
const GROW_MAX: f64 = 1.25;
/// the most that it shrinks it by.
const SHRINK_MAX: f64 = 0.7;

/// A trial is judged when the limit has shrunk to this share of what it was.
const TRIED: f64 = 0.85;
/// A latency that fell by less than this part of what a queue of our own would have made it fall is not from one.
const FELL: f64 = 0.5;

/// The part of the way that the baseline goes in a step, down or while the limit is not in use.
const FOLLOW: f64 = 0.3;
/// The most steps of a limit that is in use from one dip to the next, and
const STEPS_TO_DIP: u32 = 50;
/// the fewest, at the start and after a latency was taken for the upstream's own; each time there are twice as many.
const STEPS_IN_DOUBT: u32 = 5;
/// What a dip leaves of the limit for a step.
const DIP: f64 = 0.5;
/// A latency that falls by this part of what a queue would make it fall is all queue: there is more to be found below.
const ALL_QUEUE: f64 = 0.75;
/// The share of failures by overload in a step that shrinks the limit. Fewer are those of an endpoint, or of chance, and for
/// ejection and breakers.
const FAILING: f64 = 0.5;

#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Knee,
    pub(super) limit: Limit,
    /// The latency without a queue of our own, in seconds; `None` before the first step.
    baseline: Option<f64>,
    window: Window,
    /// What the limit and the latency were when a latency was first found too long.
    trial: Option<(f64, f64)>,
    /// What the limit and the latency were before the dip that is on.
    dipped: Option<(f64, f64)>,
    /// Steps of a limit in use since the last dip.
    steps: u32,
    /// So many to the next one.
    steps_to_dip: u32,
}

/// The calls of the running step: those that started after the limit last changed, since the others queued behind more.
#[derive(Debug)]
struct Window {
    since: Instant,
    calls: u32,
    overloads: u32,
    seconds: f64,
    in_flight_max: u32,
}

impl Window {
    const fn new(since: Instant) -> Self {
        Self { since, calls: 0, overloads: 0, seconds: 0.0, in_flight_max: 0 }
    }

    fn latency(&self) -> f64 {
        // No latency at all would have no ratio.
        (self.seconds / f64::from(self.calls - self.overloads)).max(1e-9)
    }
}

impl Core {
    pub(super) const fn new(config: Knee, limit: Limit, now: Instant) -> Self {
        let window = Window::new(now);
        Self {
            config,
            limit,
            baseline: None,
            window,
            trial: None,
            dipped: None,
            steps: 0,
            steps_to_dip: STEPS_IN_DOUBT,
        }
    }

    pub(super) fn sample(&mut self, sample: Sample, now: Instant) -> u32 {
        let window = &mut self.window;
        if sample.started < window.since {
            return self.limit.whole();
        }
        window.calls = window.calls.saturating_add(1);
        window.in_flight_max = window.in_flight_max.max(sample.in_flight);
        if sample.overload {
            window.overloads = window.overloads.saturating_add(1);
        } else {
            window.seconds += now.saturating_duration_since(sample.started).as_secs_f64();
        }
        let over = now.saturating_duration_since(window.since) >= self.config.window;
        if over && window.calls >= self.config.samples_min {
            let window = std::mem::replace(window, Window::new(now));
            self.step(&window);
        }
        self.limit.whole()
    }

    fn step(&mut self, window: &Window) {
        if f64::from(window.overloads) > FAILING * f64::from(window.calls) {
            (self.trial, self.dipped) = (None, None);
            self.limit.set(self.limit.value * self.config.backoff);
            return;
        }
        let latency = window.latency();
        let baseline = self.baseline.unwrap_or(latency);
        if let Some(before) = self.dipped.take() {
            self.baseline = Some(baseline.min(latency));
            self.dipped(before, latency);
            return;
        }
        let in_use = self.limit.in_use(window.in_flight_max);
        if !in_use || latency < baseline {
            self.baseline = Some(baseline + (latency - baseline) * FOLLOW);
        } else {
            self.baseline = Some(baseline);
        }
        if in_use {
            self.move_limit(latency);
            self.dip(latency);
        } else {
            self.trial = None;
        }
    }

    /// Moves the limit to where the latency would be the tolerated one if it were proportional to the limit.
    fn move_limit(&mut self, latency: f64) {
        let ratio = self.config.tolerance * self.baseline.unwrap_or(latency) / latency;
        if ratio >= 1.0 {
            self.trial = None;
            self.limit.set((self.limit.value * ratio.min(GROW_MAX)).max(self.limit.value + ratio - 1.0));
            return;
        }
        let at_minimum = self.limit.value <= self.limit.min;
        match self.trial {
            Some((limit, slow)) if self.limit.value <= TRIED * limit => {
                let expected = slow * (1.0 - self.limit.value / limit);
                if slow - latency < FELL * expected {
                    // Less on its way made it no quicker: it is slow by itself.
                    (self.baseline, self.trial) = (Some(latency), None);
                    self.limit.set(limit);
                    // Unless it was about to get slower just then: that is found out soon.
                    (self.steps, self.steps_to_dip) = (0, STEPS_IN_DOUBT);
                    return;
                }
                self.trial = Some((self.limit.value, latency));
            }
            // There is no less to try.
            _ if at_minimum => (self.baseline, self.trial) = (Some(latency), None),
            None => self.trial = Some((self.limit.value, latency)),
            Some(_) => {}
        }
        self.limit.set(self.limit.value * ratio.max(SHRINK_MAX));
    }

    /// Now and then less for a step, so that a queue that was taken for normal is found out.
    fn dip(&mut self, latency: f64) {
        self.steps += 1;
        if self.steps >= self.steps_to_dip && self.trial.is_none() {
            (self.steps, self.steps_to_dip) = (0, (2 * self.steps_to_dip).min(STEPS_TO_DIP));
            self.dipped = Some((self.limit.value, latency));
            self.limit.set(self.limit.value * DIP);
        }
    }

    /// A dip is over: back to what the limit was, or further down while all of the latency is a queue of our own.
    fn dipped(&mut self, (limit, before): (f64, f64), latency: f64) {
        let value = self.limit.value;
        let expected = before * (1.0 - value / limit);
        if value > self.limit.min && before - latency >= ALL_QUEUE * expected {
            self.dipped = Some((value, latency));
            self.limit.set(value * DIP);
        } else {
            self.limit.set(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a model's nanoseconds are far below 2^52 and not negative"
    )]
    use std::collections::VecDeque;
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
                let done = self.busy.iter().map(|(at, _)| *at).min().unwrap_or(u64::MAX);
                if (done as f64) < self.arrives {
                    self.now = done;
                    let place = self.busy.iter().position(|(at, _)| *at == done).unwrap();
                    let (_, sample) = self.busy.swap_remove(place);
                    self.latencies.push(done - sample.started.as_nanos());
                    self.core.sample(sample, Instant::from_nanos(done));
                } else {
                    self.now = self.arrives as u64;
                    let on_their_way = u32::try_from(self.busy.len() + self.waiting.len()).unwrap();
                    if on_their_way < self.core.limit.whole() {
                        let (started, in_flight) = (Instant::from_nanos(self.now), on_their_way + 1);
                        self.waiting.push_back(Sample { started, in_flight, overload: false });
                    }
                    self.arrives += -(1.0 - self.rng.unit_f64()).ln() / rate * 1e9;
                }
                while self.busy.len() < self.workers
                    && let Some(sample) = self.waiting.pop_front()
                {
                    // A tenth up or down: no two calls are alike.
                    let service = self.service as f64 * (0.9 + 0.2 * self.rng.unit_f64());
                    self.busy.push((self.now + service as u64, sample));
                }
            }
            self.latencies.len() as f64 / (self.capacity() * time.as_secs_f64())
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
                assert!(
                    p99 < 3 * service || workers < 3,
                    "{workers} x {service_ms} ms at {load}: p99 {p99:?}"
                );
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

    /// Feeds windows in which this share fails.
    fn failing(every: u32) -> u32 {
        let mut core = Core::new(Knee::default(), Limit::new(&Adaptive::default()), Instant::ZERO);
        for call in 0..2_000_u64 {
            let (started, end) =
                (Instant::from_nanos(call * 5 * MS), Instant::from_nanos((call + 1) * 5 * MS));
            let overload = call % u64::from(every) == 0;
            core.sample(Sample { started, in_flight: 20, overload }, end);
        }
        core.limit.whole()
    }

    #[test]
    fn an_endpoint_that_fails_does_not_shrink_it_and_an_upstream_that_fails_does() {
        assert!(failing(4) >= 20);
        assert_eq!(failing(1), 5);
    }
}
