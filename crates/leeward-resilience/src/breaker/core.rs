//! The pure state machine of the breaker: (state, input, now, randomness) to state.

use std::time::Duration;

use super::sample::Sample;
use super::{Breaker, NAME, State};
use crate::outcome::{Class, Opened, OpenedBy, Reason, Rejected, per_mille};
use crate::random::Rng;
use crate::time::Instant;
use crate::window::Counts;

/// What a permit carries: who gave it, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) generation: u64,
    pub(super) started: Instant,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure { retry_after: Option<Duration> },
    Ignored,
    Cancelled,
}

impl Outcome {
    pub(super) const fn of(class: Class) -> Self {
        match class {
            Class::Success => Self::Success,
            Class::Failure { retry_after, .. } => Self::Failure { retry_after },
            Class::Ignored => Self::Ignored,
        }
    }
}

#[derive(Debug)]
enum Phase {
    Closed { since: Instant },
    Open { until: Instant, reason: Reason },
    HalfOpen { in_flight: u32, successes: u32, progress_at: Instant, reason: Reason },
    ForcedOpen,
    ForcedClosed,
}

/// At most this share of a break is added to it.
const JITTER: f64 = 0.25;

#[derive(Debug)]
pub(super) struct Core {
    config: Breaker,
    /// Grows with every change of phase; the outcome of a ticket with another one is ignored.
    generation: u64,
    /// Grows with every change of the options, from 1.
    version: u32,
    phase: Phase,
    sample: Sample,
    /// Grows with every new sample.
    samples: u64,
    /// So many successes that were counted elsewhere for this sample are in it.
    absorbed: u64,
    consecutive: u32,
    /// Breaks without a healthy window between them.
    breaks: u32,
    /// The latest `Retry-After` that an upstream named.
    not_before: Instant,
}

impl Core {
    pub(super) fn new(config: Breaker, now: Instant) -> Self {
        let sample = Sample::new(&config, now);
        let phase = Phase::Closed { since: now };
        let not_before = Instant::ZERO;
        Self {
            config,
            generation: 0,
            version: 1,
            phase,
            sample,
            samples: 0,
            absorbed: 0,
            consecutive: 0,
            breaks: 0,
            not_before,
        }
    }

    pub(super) const fn config(&self) -> &Breaker {
        &self.config
    }

    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) const fn samples(&self) -> u64 {
        self.samples
    }

    /// Until when, and why, the rules hold it open, if they do.
    pub(super) const fn broken(&self) -> Option<(Instant, Opened)> {
        match self.phase {
            Phase::Open { until, reason: Reason::Open(opened) } => Some((until, opened)),
            _ => None,
        }
    }

    /// Takes in all the successes of this sample that were counted elsewhere, as [`quiet_until`](Self::quiet_until) allows.
    pub(super) fn absorb(&mut self, total: u64) {
        let before = std::mem::replace(&mut self.absorbed, total);
        self.sample.absorb(total.saturating_sub(before));
    }

    /// The instant, in nanoseconds, before which a success that is not slow changes nothing but its own count, so that it may
    /// be counted elsewhere and absorbed later. 0 when the next success may matter.
    pub(super) fn quiet_until(&self) -> u64 {
        match self.phase {
            Phase::Closed { .. } if self.consecutive == 0 && !self.a_success_may_open() => {
                self.sample.stands_until()
            }
            Phase::ForcedClosed => u64::MAX,
            _ => 0,
        }
    }

    /// As long as nothing is forgotten, successes lower every rate. So if any of those to come opens it, then the one that
    /// makes the calls enough does, or else the very next, under options that were changed.
    fn a_success_may_open(&self) -> bool {
        let counts = self.sample.latest();
        let mut calls = counts.all().saturating_add(1).max(self.config.minimum_calls.get());
        if let Some(most) = self.config.window_calls {
            calls = calls.min(most.get());
        }
        self.cause(Counts { hits: calls.saturating_sub(counts.misses), ..counts }).is_some()
    }

    pub(super) fn acquire(&mut self, now: Instant, rng: &dyn Rng) -> Result<Ticket, Rejected> {
        self.end_break(now);
        self.end_probation(now, rng);
        match &mut self.phase {
            Phase::Closed { .. } | Phase::ForcedClosed => {}
            Phase::HalfOpen { in_flight, successes, progress_at, .. } => {
                if *in_flight > (*successes).min(self.config.probes.get() - 1) {
                    let (in_flight, probes) = (*in_flight, self.config.probes.get());
                    return Err(self.reject(now, Reason::Probing { in_flight, probes }));
                }
                *in_flight += 1;
                *progress_at = now;
            }
            Phase::Open { reason, .. } => {
                let reason = *reason;
                return Err(self.reject(now, reason));
            }
            Phase::ForcedOpen => return Err(self.reject(now, Reason::ForcedOpen)),
        }
        Ok(Ticket { generation: self.generation, started: now })
    }

    pub(super) fn record(&mut self, ticket: Ticket, outcome: Outcome, now: Instant, rng: &dyn Rng) {
        if ticket.generation != self.generation {
            return;
        }
        let outcome = match outcome {
            Outcome::Cancelled
                if now.saturating_duration_since(ticket.started) >= self.config.abandoned_after =>
            {
                Outcome::Failure { retry_after: None }
            }
            other => other,
        };
        if let Outcome::Failure { retry_after: Some(after) } = outcome {
            self.not_before = self.not_before.max(now + after.min(self.config.break_max));
        }
        let took = now.saturating_duration_since(ticket.started);
        let slow = self.config.slow_after.is_some_and(|after| took >= after);
        match self.phase {
            Phase::Closed { .. } => self.record_closed(outcome, slow, now, rng),
            Phase::HalfOpen { .. } => self.record_probe(outcome, slow, now, rng),
            Phase::Open { .. } | Phase::ForcedOpen | Phase::ForcedClosed => {}
        }
    }

    fn record_closed(&mut self, outcome: Outcome, slow: bool, now: Instant, rng: &dyn Rng) {
        let failed = match outcome {
            Outcome::Success => {
                self.consecutive = 0;
                false
            }
            Outcome::Failure { .. } => {
                self.consecutive = self.consecutive.saturating_add(1);
                true
            }
            Outcome::Ignored | Outcome::Cancelled => return,
        };
        let counts = self.sample.record(now, failed, slow);
        if let Some(cause) = self.cause(counts) {
            let opened = Opened {
                cause,
                failures: counts.misses,
                slow: counts.slow,
                calls: counts.all(),
                consecutive: self.consecutive,
                version: self.version,
            };
            self.open(Reason::Open(opened), now, rng);
        }
    }

    /// Why these counts open it, if they do.
    fn cause(&self, counts: Counts) -> Option<OpenedBy> {
        let config = &self.config;
        let calls = counts.all();
        let reaches = |part: u32, rate: f64| {
            calls >= config.minimum_calls.get() && f64::from(part) >= rate * f64::from(calls)
        };
        if reaches(counts.misses, config.failure_rate) {
            Some(OpenedBy::FailureRate { per_mille: per_mille(config.failure_rate) })
        } else if config.slow_after.is_some() && reaches(counts.slow, config.slow_rate) {
            Some(OpenedBy::SlowRate { per_mille: per_mille(config.slow_rate) })
        } else {
            let limit = config.consecutive_failures.filter(|limit| self.consecutive >= limit.get());
            limit.map(|limit| OpenedBy::Consecutive { threshold: limit.get() })
        }
    }

    fn record_probe(&mut self, outcome: Outcome, slow: bool, now: Instant, rng: &dyn Rng) {
        let Phase::HalfOpen { in_flight, successes, progress_at, reason } = &mut self.phase else { return };
        *in_flight = in_flight.saturating_sub(1);
        match outcome {
            Outcome::Success if slow => {
                let reason = *reason;
                self.open(reason, now, rng);
            }
            Outcome::Success => {
                *successes += 1;
                *progress_at = now;
                if *successes >= self.config.probes.get() {
                    self.close(now);
                }
            }
            Outcome::Failure { .. } => {
                let reason = *reason;
                self.open(reason, now, rng);
            }
            Outcome::Ignored | Outcome::Cancelled => *progress_at = now,
        }
    }

    /// Open to half-open, once the break is over.
    fn end_break(&mut self, now: Instant) {
        if let Phase::Open { until, reason } = self.phase
            && now >= until
        {
            self.enter(Phase::HalfOpen { in_flight: 0, successes: 0, progress_at: now, reason });
        }
    }

    /// Half-open to open, once the probes had their time.
    fn end_probation(&mut self, now: Instant, rng: &dyn Rng) {
        if let Phase::HalfOpen { in_flight, successes, progress_at, reason } = self.phase
            && in_flight > successes.min(self.config.probes.get() - 1)
            && now.saturating_duration_since(progress_at) >= self.config.probation
        {
            self.open(reason, now, rng);
        }
    }

    fn open(&mut self, reason: Reason, now: Instant, rng: &dyn Rng) {
        if let Phase::Closed { since } = self.phase
            && now.saturating_duration_since(since) >= self.config.window
        {
            self.breaks = 0;
        }
        let exponent = i32::try_from(self.breaks).unwrap_or(i32::MAX);
        self.breaks = self.breaks.saturating_add(1);
        // Infinity is fine: the minimum caps it.
        let grown = self.config.break_initial.as_secs_f64() * self.config.break_growth.powi(exponent);
        let longest = self.config.break_max.as_secs_f64();
        let jittered = (grown * (1.0 + JITTER * rng.unit_f64())).min(longest);
        let until = (now + Duration::from_secs_f64(jittered)).max(self.not_before);
        self.enter(Phase::Open { until, reason });
    }

    fn begin_sample(&mut self, now: Instant) {
        self.sample = Sample::new(&self.config, now);
        self.samples += 1;
        self.absorbed = 0;
    }

    fn close(&mut self, now: Instant) {
        self.begin_sample(now);
        self.consecutive = 0;
        self.enter(Phase::Closed { since: now });
    }

    pub(super) fn force(&mut self, open: bool) {
        self.enter(if open { Phase::ForcedOpen } else { Phase::ForcedClosed });
    }

    pub(super) fn reset(&mut self, now: Instant) {
        self.breaks = 0;
        self.not_before = Instant::ZERO;
        self.close(now);
    }

    pub(super) fn reconfigure(&mut self, config: Breaker, now: Instant) {
        let by_time = config.window_calls.is_none() && config.window != self.config.window;
        let other_window = by_time || config.window_calls != self.config.window_calls;
        self.version = self.version.saturating_add(1);
        self.config = config;
        if other_window && !self.sample.resize(&self.config, now) {
            self.begin_sample(now);
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.generation += 1;
        self.phase = phase;
    }

    fn reject(&self, now: Instant, reason: Reason) -> Rejected {
        Rejected::new(NAME, reason).with_retry_after(self.retry_after(now)).with_version(self.version)
    }

    pub(super) fn retry_after(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Open { until, .. } if now < until => Some(until.saturating_duration_since(now)),
            // Whoever comes while the probes run is best told to wait for about as long as a first break.
            Phase::HalfOpen { in_flight, successes, .. }
                if in_flight > successes.min(self.config.probes.get() - 1) =>
            {
                Some(self.config.break_initial.min(Duration::from_secs(1)))
            }
            Phase::ForcedOpen => Some(self.config.break_max),
            _ => None,
        }
    }

    pub(super) fn state(&self, now: Instant) -> State {
        match self.phase {
            Phase::Open { until, .. } if now >= until => State::HalfOpen,
            _ => self.phase_state(),
        }
    }

    pub(super) fn phase_state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
            Phase::ForcedOpen => State::ForcedOpen,
            Phase::ForcedClosed => State::ForcedClosed,
        }
    }
}

#[cfg(test)]
mod tests;
