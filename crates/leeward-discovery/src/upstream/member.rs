//! One endpoint of a set with its history. What a pick or the end of a call touches is atomic: no core waits for another.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use leeward_resilience::Instant;
use parking_lot::Mutex;

use super::{Hold, Status};
use crate::balance::Balance;
use crate::endpoint::Endpoint;
use crate::health::{Health, Pulse};
use crate::load::{Cell, Load, Sample};
use crate::outlier::{Counted, Outlier, Reason, Record, Tally};

/// The share with which an endpoint starts.
const RAMP_MIN: f64 = 0.1;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Endpoint,
    outstanding: AtomicU32,
    healthy: AtomicBool,
    /// Nanoseconds of an `Instant`; in the past when it is not ejected.
    ejected_until: AtomicU64,
    /// Nanoseconds of an `Instant`: since when it has been taking calls, 0 for always.
    since: AtomicU64,
    load: Cell,
    tally: Tally,
    record: Mutex<Record>,
    pulse: Mutex<Pulse>,
    /// What an operator says of it; a drain is a matter of the set.
    held: Mutex<Option<Hold>>,
}

impl Member {
    /// A newcomer with the latency that is expected of it; `since` when it has been taking calls.
    pub(super) fn new(endpoint: Endpoint, latency: Duration, now: Instant, since: Instant) -> Self {
        Self {
            endpoint,
            outstanding: AtomicU32::new(0),
            healthy: AtomicBool::new(true),
            ejected_until: AtomicU64::new(0),
            since: AtomicU64::new(since.as_nanos()),
            load: Cell::new(Load::new(latency, now)),
            tally: Tally::default(),
            record: Mutex::new(Record::default()),
            pulse: Mutex::new(Pulse::new()),
            held: Mutex::new(None),
        }
    }

    /// Healthy and not ejected.
    pub(super) fn is_sound(&self, now: Instant) -> bool {
        self.is_healthy() && self.ejected_until.load(Ordering::Relaxed) <= now.as_nanos()
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// The share of the calls that it takes, of its whole one, so soon after it began or came back.
    pub(super) fn ramp(&self, now: Instant, slow_start: Option<Duration>) -> f64 {
        let (Some(window), since) = (slow_start, self.since.load(Ordering::Relaxed)) else { return 1.0 };
        if since == 0 {
            return 1.0;
        }
        let up = now.saturating_duration_since(Instant::from_nanos(since));
        (up.as_secs_f64() / window.as_secs_f64()).clamp(RAMP_MIN, 1.0)
    }

    pub(super) fn has_room(&self, limit: u32) -> bool {
        self.outstanding() < limit
    }

    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Counts a call as on its way; `false` when there is no room for it.
    pub(super) fn take(&self, limit: u32) -> bool {
        let more = |outstanding| (outstanding < limit).then_some(outstanding + 1);
        self.outstanding.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn give_back(&self) {
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn cost(&self, outstanding: f64, now: Instant, decay: Duration) -> f64 {
        self.load.get().cost(outstanding, now, decay)
    }

    /// Its latency, unless nobody has measured it yet.
    pub(super) fn measured_latency(&self) -> Option<Duration> {
        let load = self.load.get();
        load.is_measured().then(|| load.latency())
    }

    /// Its share of failures, weighted towards the recent ones.
    pub(super) fn failures(&self, now: Instant, balance: &Balance) -> f64 {
        self.load.get().failures(now, balance.decay())
    }

    /// Takes in how a call ended, and says whether there were too many failures in a row.
    pub(super) fn record(&self, sample: Sample, latency: Duration, now: Instant, balance: &Balance) -> bool {
        self.load.record(sample, latency, now, balance.decay());
        // Calls that were on their way when it was ejected say nothing new.
        if sample == Sample::Unknown || self.ejected_for(now).is_some() {
            return false;
        }
        let most = balance.outlier.as_ref().and_then(|outlier| outlier.consecutive_failures);
        match sample {
            Sample::Success => self.tally.success(latency),
            Sample::Failure { .. } => return self.tally.failure(most),
            Sample::Unknown => {}
        }
        false
    }

    /// What its calls came to since it was asked last.
    pub(super) fn count(&self) -> Counted {
        self.tally.take()
    }

    /// Ejects it, and says until when; `None` where an operator decides.
    pub(super) fn eject(&self, now: Instant, options: &Outlier, reason: Reason) -> Option<Instant> {
        let held = self.held.lock();
        if held.is_some() {
            return None;
        }
        let until = self.record.lock().eject(now, options, reason);
        self.tally.put_on_probation(options.consecutive_failures);
        self.since.store(until.as_nanos(), Ordering::Relaxed);
        self.ejected_until.store(until.as_nanos(), Ordering::Relaxed);
        Some(until)
    }

    /// Does what an operator wants. Whoever was out and comes back starts slowly.
    pub(super) fn hold(&self, wanted: Option<Hold>, now: Instant) {
        let mut held = self.held.lock();
        if *held == wanted {
            return;
        }
        let was_out = self.ejected_for(now).is_some() || *held == Some(Hold::Drained);
        let until = if wanted == Some(Hold::Ejected) { u64::MAX } else { 0 };
        if was_out {
            self.since.store(now.as_nanos(), Ordering::Relaxed);
        }
        self.ejected_until.store(until, Ordering::Relaxed);
        *held = wanted;
    }

    pub(super) fn held(&self) -> Option<Hold> {
        *self.held.lock()
    }

    pub(super) fn ejected_for(&self, now: Instant) -> Option<Duration> {
        let until = Instant::from_nanos(self.ejected_until.load(Ordering::Relaxed));
        (until > now).then(|| until.saturating_duration_since(now))
    }

    /// Takes in the answer to a health check, and says the new state when it changed.
    pub(super) fn checked(&self, good: bool, now: Instant, options: &Health) -> Option<bool> {
        let changed = self.pulse.lock().record(good, options);
        if let Some(healthy) = changed {
            if healthy {
                self.since.store(now.as_nanos(), Ordering::Relaxed);
            }
            self.healthy.store(healthy, Ordering::Relaxed);
        }
        changed
    }

    /// Forgets the health checks, and says whether that made it healthy.
    pub(super) fn unchecked(&self, now: Instant) -> bool {
        *self.pulse.lock() = Pulse::new();
        let was_healthy = self.healthy.swap(true, Ordering::Relaxed);
        if !was_healthy {
            self.since.store(now.as_nanos(), Ordering::Relaxed);
        }
        !was_healthy
    }

    pub(super) fn status(&self, weight: u32, now: Instant, decay: Duration) -> Status {
        let load = self.load.get();
        let held = self.held();
        // What an operator holds has no time of its own here: whoever holds it knows that.
        let ejected_for = self.ejected_for(now).filter(|_| held.is_none());
        let ejected_because =
            ejected_for.and_then(|_| self.record.lock().reason()).map(|reason| reason.as_str());
        Status {
            endpoint: self.endpoint.clone().with_weight(weight),
            healthy: self.is_healthy(),
            ejected_for,
            ejected_because,
            held,
            outstanding: self.outstanding(),
            latency: load.latency(),
            failures: load.failures(now, decay),
        }
    }
}
