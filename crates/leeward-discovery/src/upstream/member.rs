//! One endpoint of a set with its history.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use leeward_resilience::Instant;
use parking_lot::Mutex;

use super::{Balance, Status};
use crate::endpoint::Endpoint;
use crate::health::{Health, Pulse};
use crate::load::{Load, Sample};
use crate::outlier::{Outlier, Record};

#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Endpoint,
    outstanding: AtomicU32,
    healthy: AtomicBool,
    /// Nanoseconds of an `Instant`; in the past when it is not ejected.
    ejected_until: AtomicU64,
    history: Mutex<History>,
    pulse: Mutex<Pulse>,
}

#[derive(Debug)]
struct History {
    load: Load,
    record: Record,
}

impl Member {
    pub(super) fn new(endpoint: Endpoint, latency: Duration, now: Instant) -> Self {
        Self {
            endpoint,
            outstanding: AtomicU32::new(0),
            healthy: AtomicBool::new(true),
            ejected_until: AtomicU64::new(0),
            history: Mutex::new(History { load: Load::new(latency, now), record: Record::default() }),
            pulse: Mutex::new(Pulse::new()),
        }
    }

    /// Healthy and not ejected.
    pub(super) fn is_sound(&self, now: Instant) -> bool {
        self.is_healthy() && self.ejected_until.load(Ordering::Relaxed) <= now.as_nanos()
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    pub(super) fn has_room(&self, limit: u32) -> bool {
        self.outstanding.load(Ordering::Relaxed) < limit
    }

    /// Counts a call as on its way; `false` when there is no room for it.
    pub(super) fn take(&self, limit: u32) -> bool {
        let more = |outstanding| (outstanding < limit).then_some(outstanding + 1);
        self.outstanding.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn give_back(&self) {
        self.outstanding.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn cost(&self, now: Instant, decay: Duration) -> f64 {
        let outstanding = self.outstanding.load(Ordering::Relaxed);
        self.history.lock().load.cost(outstanding, now, decay)
    }

    /// Its latency, unless nobody has measured it yet.
    pub(super) fn measured_latency(&self) -> Option<Duration> {
        let load = self.history.lock().load;
        load.is_measured().then(|| load.latency())
    }

    /// Takes in how a call ended, and says whether that was one failure too many.
    pub(super) fn record(&self, sample: Sample, latency: Duration, now: Instant, balance: &Balance) -> bool {
        let mut history = self.history.lock();
        history.load.record(sample, latency, now, balance.decay);
        match sample {
            Sample::Success => history.record.success(now, &balance.outlier),
            Sample::Failure { .. } => return history.record.failure(now, &balance.outlier),
            Sample::Unknown => {}
        }
        false
    }

    pub(super) fn eject(&self, now: Instant, options: &Outlier) -> Instant {
        let until = self.history.lock().record.eject(now, options);
        self.ejected_until.store(until.as_nanos(), Ordering::Relaxed);
        until
    }

    pub(super) fn ejected_for(&self, now: Instant) -> Option<Duration> {
        let until = Instant::from_nanos(self.ejected_until.load(Ordering::Relaxed));
        (until > now).then(|| until.saturating_duration_since(now))
    }

    /// Takes in the answer to a health check, and says the new state when it changed.
    pub(super) fn checked(&self, good: bool, options: &Health) -> Option<bool> {
        let changed = self.pulse.lock().record(good, options);
        if let Some(healthy) = changed {
            self.healthy.store(healthy, Ordering::Relaxed);
        }
        changed
    }

    pub(super) fn status(&self, now: Instant, decay: Duration) -> Status {
        let history = self.history.lock();
        Status {
            endpoint: self.endpoint.clone(),
            healthy: self.is_healthy(),
            ejected_for: self.ejected_for(now),
            outstanding: self.outstanding.load(Ordering::Relaxed),
            latency: history.load.latency(),
            failures: history.load.failures(now, decay),
        }
    }
}
