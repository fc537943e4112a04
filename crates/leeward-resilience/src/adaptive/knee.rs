//! The knee of the latency.

mod window;

use self::window::Window;
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

/// The part of the way that the baseline goes down in a step, and
const FOLLOW: f64 = 0.3;
/// up while the limit is not in use: it may be a queue all the same.
const FOLLOW_UP: f64 = 0.03;
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
const STANDSTILL: f64 = 2.0;
/// A limit of which so little is in use when a call ends has not been full since.
const SLACK: f64 = 0.7;
/// Where calls must take so many times the latency without a queue, the limit goes at once to where they would not.
const JAM: f64 = 4.0;
/// A step waits for so many windows, and
const WINDOWS_MAX: f64 = 5.0;
/// so many times the latency without a queue, for calls that were made in full use.
const LATENCIES_MAX: f64 = 4.0;
/// A standstill leaves this share of the limit: calls that end have to show what is right.
const STANDSTILL_LEAVES: f64 = 0.125;

#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Knee,
    pub(super) limit: Limit,
    /// The latency without a queue of our own, in seconds; `None` before the first step.
    baseline: Option<f64>,
    window: Window,
    /// What is compared when a latency was found too long.
    trial: Option<Trial>,
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

/// What there was before less was tried.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// The limit, to go back to.
    limit: f64,
    /// What was in use of it, and
    used: f64,
    /// the latency with that.
    latency: f64,
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
        let known = self.baseline.unwrap_or(self.window.least);
        let is_slow = seconds > self.config.tolerance * known;
        if f64::from(sample.left) < SLACK * self.limit.value {
            self.full = None;
        }
        let worked = sample.end == End::Success || sample.end == End::Other;
        if worked || sample.end == End::Overload && !is_slow {
            self.ended = self.ended.saturating_add(1);
        }
        let is_news = sample.end != End::Other && (sample.end != End::Cut || is_slow);
        if sample.started < self.window.since || !is_news {
            return self.limit.whole();
        }
        self.window.count(sample, seconds, is_slow, self.limit.value);
        if self.is_over(now) {
            let window = std::mem::replace(&mut self.window, Window::new(now));
            self.step(&window);
        }
        self.limit.whole()
    }

    /// Whether the running step knows enough.
    fn is_over(&self, now: Instant) -> bool {
        let (window, config) = (&self.window, &self.config);
        let lasted = now.saturating_duration_since(window.since);
        if window.calls < config.samples_min || lasted < config.window {
            return false;
        }
        let known = self.baseline.unwrap_or(window.least);
        let long = (LATENCIES_MAX * known).max(WINDOWS_MAX * config.window.as_secs_f64());
        !window.rejects || window.is_measured(config.samples_min) || lasted.as_secs_f64() >= long
    }

    /// A call was rejected: the limit is in full use. How many of its calls end meanwhile says how long they take, by Little's law, and
    /// sooner than they themselves would.
    pub(super) fn rejected(&mut self, now: Instant) -> u32 {
        self.window.rejects = true;
        let since = *self.full.get_or_insert_with(|| {
            self.ended = 0;
            now
        });
        let known = self.baseline.unwrap_or(self.window.least);
        let lasted = now.saturating_duration_since(since).as_secs_f64();
        if lasted < (STANDSTILL * known).max(self.config.window.as_secs_f64()) {
            return self.limit.whole();
        }
        let ended = std::mem::take(&mut self.ended);
        self.full = Some(now);
        if ended < self.config.samples_min {
            self.stand_still(ended, now);
        } else {
            self.jam(lasted * self.limit.value / f64::from(ended), known, now);
        }
        self.limit.whole()
    }

    /// Hardly a call ended.
    fn stand_still(&mut self, ended: u32, now: Instant) {
        let known = self.known.max(self.limit.value);
        if f64::from(ended) < LOST * self.limit.value && self.limit.value > known * STANDSTILL_LEAVES {
            self.window = Window::new(now);
            self.cut(LOST);
        }
    }

    /// Calls take so many seconds: where that is far too long, there is no need to wait for them to end.
    fn jam(&mut self, latency: f64, known: f64, now: Instant) {
        if latency < JAM * known || self.trial.is_some() || self.limit.value <= self.limit.min {
            return;
        }
        self.baseline = Some(known);
        let limit = self.limit.value;
        (self.trial, self.dipped) = (Some(Trial { limit, used: limit, latency }), None);
        self.limit.set(self.limit.value * (self.config.tolerance * known / latency).max(STANDSTILL_LEAVES));
        self.window = Window::new(now);
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
            // They may leave before the limit is reached.
            self.limit.set(self.limit.value.min(f64::from(window.in_flight_max)));
            self.cut(LOST);
            return;
        }
        self.known = 0.0;
        let latency = window.latency(self.config.samples_min);
        // The first calls of a burst find no queue.
        let baseline = self.baseline.unwrap_or(if window.rejects { window.least } else { latency });
        if let Some(before) = self.dipped.take() {
            self.baseline = Some(baseline.min(latency));
            self.dipped(before, latency);
            return;
        }
        if latency < QUICKER * baseline {
            self.baseline = Some(latency);
        } else if !in_use || latency < baseline {
            let part = if latency < baseline { FOLLOW } else { FOLLOW_UP };
            self.baseline = Some(baseline + (latency - baseline) * part);
        } else {
            self.baseline = Some(baseline);
        }
        if in_use {
            self.move_limit(latency, window);
            self.dip(latency);
        } else {
            self.trial = None;
        }
    }

    /// Moves the limit to where the latency would be the tolerated one if it were proportional to the limit.
    fn move_limit(&mut self, latency: f64, window: &Window) {
        let ratio = self.config.tolerance * self.baseline.unwrap_or(latency) / latency;
        if ratio >= 1.0 {
            self.trial = None;
            self.grow(ratio, window.rejects);
            return;
        }
        let at_minimum = self.limit.value <= self.limit.min;
        match self.trial {
            Some(trial) if self.limit.value <= TRIED * trial.used => {
                let expected = trial.latency * (1.0 - self.limit.value / trial.used);
                if trial.latency - latency < FELL * expected {
                    // Less on its way made it no quicker: it is slow by itself.
                    (self.baseline, self.trial) = (Some(latency), None);
                    self.limit.set(trial.limit);
                    // Unless it was about to get slower just then: that is found out soon.
                    (self.steps, self.steps_to_dip) = (0, STEPS_IN_DOUBT);
                    return;
                }
                self.trial = Some(self.trial_of(window, latency));
            }
            // There is no less to try.
            _ if at_minimum => (self.baseline, self.trial) = (Some(latency), None),
            None => {
                // What nobody makes use of changes nothing when it is taken away.
                let trial = self.trial_of(window, latency);
                self.trial = Some(trial);
                self.limit.set(trial.used);
            }
            Some(_) => {}
        }
        self.limit.set(self.limit.value * ratio.max(SHRINK_MAX));
    }

    /// What there is now, before less is tried.
    fn trial_of(&self, window: &Window, latency: f64) -> Trial {
        let limit = self.limit.value;
        Trial { limit, used: limit.min(f64::from(window.in_flight_max)), latency }
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
mod tests;
