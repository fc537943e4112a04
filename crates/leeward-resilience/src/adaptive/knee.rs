//! The knee of the latency.

use super::{End, Knee, Limit, Sample};
use crate::time::Instant;

/// The most that a step grows the limit by, and
const GROW_MAX: f64 = 1.25;
/// the most while calls are rejected though nothing queues.
const GROW_REFUSING: f64 = 2.0;
/// Where the tolerated latency is so many times the latency, nothing queues.
const NO_QUEUE: f64 = 1.3;
/// The most that a step shrinks it by.
const SHRINK_MAX: f64 = 0.7;
/// What is left of it when nobody stays for the answers.
const LOST: f64 = 0.5;

/// A trial is judged when the limit has shrunk to this share of what it was.
const TRIED: f64 = 0.85;
/// A latency that fell by less than this part of what a queue of our own would have made it fall is not from one.
const FELL: f64 = 0.5;

/// The part of the way that the baseline goes in a step, down or while the limit is not in use.
const FOLLOW: f64 = 0.3;
/// A latency below this part of the baseline is no chance: the upstream got quicker.
const QUICKER: f64 = 0.5;
/// The most steps of a limit that is in use from one dip to the next, and
const STEPS_TO_DIP: u32 = 50;
/// the fewest, at the start and after a latency was taken for the upstream's own; each time there are twice as many.
const STEPS_IN_DOUBT: u32 = 5;
/// What a dip leaves of the limit for a step.
const DIP: f64 = 0.5;
/// A latency that falls by this part of what a queue would make it fall is all queue: there is more to be found below.
const ALL_QUEUE: f64 = 0.75;
/// The share of quick failures by overload in a step that shrinks the limit. Fewer are those of an endpoint, or of chance, and
/// for ejection and breakers.
const FAILING: f64 = 0.5;
/// The share of calls that were cut short from which the others are no measure of the latency.
const LEAVING: f64 = 0.5;
/// After so many times the latency without a queue, with the limit in full use, it is looked how many calls have ended meanwhile.
const STANDSTILL: f64 = 4.0;
/// The same in seconds where nothing has ended yet.
const UNKNOWN_S: f64 = 1.0;
/// A standstill leaves this share of the limit: calls that end have to show what is right.
const STANDSTILL_LEAVES: f64 = 0.125;

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
    /// What the limit was before failures, cancellations or a standstill cut it, until a latency is known again.
    known: f64,
    /// Since when calls are rejected, and calls that the upstream has ended since then.
    full: Option<Instant>,
    ended: u32,
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
    /// Of these, those that failed at once: they say nothing about the latency.
    refused: u32,
    /// Of these, those of which only the least that they would have taken is known.
    cut: u32,
    seconds: f64,
    in_flight_max: u32,
    /// Whether calls were rejected meanwhile.
    rejects: bool,
}

impl Window {
    const fn new(since: Instant) -> Self {
        Self { since, calls: 0, refused: 0, cut: 0, seconds: 0.0, in_flight_max: 0, rejects: false }
    }

    fn latency(&self) -> f64 {
        // No latency at all would have no ratio.
        (self.seconds / f64::from((self.calls - self.refused).max(1))).max(1e-9)
    }

    /// Whether more than this share of the calls are of a kind.
    fn is_mostly(&self, kind: u32, share: f64) -> bool {
        f64::from(kind) > share * f64::from(self.calls)
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
            known: 0.0,
            full: None,
            ended: 0,
            steps: 0,
            steps_to_dip: STEPS_IN_DOUBT,
        }
    }

    pub(super) fn sample(&mut self, sample: Sample, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(sample.started).as_secs_f64();
        // Whoever is cut short would have taken longer: that says something only if he was slow already.
        let is_slow = self.baseline.is_none_or(|baseline| seconds > self.config.tolerance * baseline);
        if sample.end == End::Success || sample.end == End::Overload && !is_slow {
            self.ended = self.ended.saturating_add(1);
        }
        if sample.started < self.window.since {
            return self.limit.whole();
        }
        let window = &mut self.window;
        match sample.end {
            End::Cut if !is_slow => return self.limit.whole(),
            End::Overload if !is_slow => window.refused = window.refused.saturating_add(1),
            End::Cut | End::Overload => {
                window.cut = window.cut.saturating_add(1);
                window.seconds += seconds;
            }
            End::Success => window.seconds += seconds,
        }
        window.calls = window.calls.saturating_add(1);
        window.in_flight_max = window.in_flight_max.max(sample.in_flight);
        let over = now.saturating_duration_since(window.since) >= self.config.window;
        if over && window.calls >= self.config.samples_min {
            let window = std::mem::replace(window, Window::new(now));
            self.step(&window);
        }
        self.limit.whole()
    }

    /// A call was rejected: the limit is in full use. Where few of its calls have ended for long, waiting for the ends of the others
    /// to find out takes as long as they do. That so few ended says how long they take: Little's law.
    pub(super) fn rejected(&mut self, now: Instant) -> u32 {
        self.window.rejects = true;
        let since = *self.full.get_or_insert(now);
        let usual = self.baseline.map_or(UNKNOWN_S, |baseline| STANDSTILL * baseline);
        if now.saturating_duration_since(since).as_secs_f64() < usual.max(self.config.window.as_secs_f64()) {
            return self.limit.whole();
        }
        let ended = std::mem::take(&mut self.ended);
        self.full = Some(now);
        let known = self.known.max(self.limit.value);
        if f64::from(ended) < LOST * self.limit.value && self.limit.value > known * STANDSTILL_LEAVES {
            self.window = Window::new(now);
            self.cut(LOST);
        }
        self.limit.whole()
    }

    /// Takes away all but this share, and remembers what there was.
    fn cut(&mut self, share: f64) {
        (self.trial, self.dipped) = (None, None);
        self.known = self.known.max(self.limit.value);
        self.limit.set(self.limit.value * share);
    }

    fn step(&mut self, window: &Window) {
        let in_use = self.limit.in_use(window.in_flight_max);
        if window.is_mostly(window.refused, FAILING) {
            if in_use {
                self.cut(self.config.backoff);
            }
            return;
        }
        if window.is_mostly(window.cut, LEAVING) {
            // All that is known is that it takes longer than callers wait; how much, a smaller limit will show.
            if in_use {
                self.cut(LOST);
            }
            return;
        }
        self.known = 0.0;
        let latency = window.latency();
        let baseline = self.baseline.unwrap_or(latency);
        if let Some(before) = self.dipped.take() {
            self.baseline = Some(baseline.min(latency));
            self.dipped(before, latency);
            return;
        }
        if latency < QUICKER * baseline {
            self.baseline = Some(latency);
        } else if !in_use || latency < baseline {
            self.baseline = Some(baseline + (latency - baseline) * FOLLOW);
        } else {
            self.baseline = Some(baseline);
        }
        if in_use {
            self.move_limit(latency, window.rejects);
            self.dip(latency);
        } else {
            self.trial = None;
        }
    }

    /// Moves the limit to where the latency would be the tolerated one if it were proportional to the limit.
    fn move_limit(&mut self, latency: f64, rejects: bool) {
        let ratio = self.config.tolerance * self.baseline.unwrap_or(latency) / latency;
        if ratio >= 1.0 {
            self.trial = None;
            self.grow(ratio, rejects);
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

    fn grow(&mut self, ratio: f64, rejects: bool) {
        let limit = self.limit.value;
        if rejects && ratio >= NO_QUEUE {
            return self.limit.set(limit * GROW_REFUSING);
        }
        self.limit.set((limit * ratio.min(GROW_MAX)).max(limit + ratio - 1.0));
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
                let done = self.busy.iter().map(|(at, _)| *at).min().unwrap_or(u64::MAX);
                if (done as f64) < self.arrives {
                    self.now = done;
                    let place = self.busy.iter().position(|(at, _)| *at == done).unwrap();
                    let (_, sample) = self.busy.swap_remove(place);
                    self.leave(done);
                    if let Some(at) = self.held.iter().position(|held| held.started == sample.started) {
                        self.held.remove(at);
                        self.latencies.push(done - sample.started.as_nanos());
                        self.core.sample(sample, Instant::from_nanos(done));
                    }
                } else {
                    self.now = self.arrives as u64;
                    self.leave(self.now);
                    let on_their_way = u32::try_from(self.held.len()).unwrap();
                    let started = Instant::from_nanos(self.now);
                    if on_their_way < self.core.limit.whole() {
                        let sample = Sample { started, in_flight: on_their_way + 1, end: End::Success };
                        self.waiting.push_back(sample);
                        self.held.push_back(sample);
                    } else {
                        self.core.rejected(started);
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

        /// Those who have waited for too long leave.
        fn leave(&mut self, now: u64) {
            while let Some(first) = self.held.front()
                && now - first.started.as_nanos() > self.patience
            {
                let at = Instant::from_nanos(first.started.as_nanos() + self.patience);
                self.core.sample(Sample { end: End::Cut, ..*first }, at);
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
            for _ in 0..20 {
                core.sample(
                    Sample { started: now, in_flight: 20, end: End::Success },
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
            let (started, end) =
                (Instant::from_nanos(call * 5 * MS), Instant::from_nanos((call + 1) * 5 * MS));
            let overload = call % u64::from(every) == 0;
            let how = if overload { End::Overload } else { End::Success };
            core.sample(Sample { started, in_flight: 20, end: how }, end);
        }
        core.limit.whole()
    }

    #[test]
    fn an_endpoint_that_fails_does_not_shrink_it_and_an_upstream_that_fails_does() {
        assert!(failing(4) >= 20);
        assert_eq!(failing(1), 5);
    }
}
