//! Runs the checks and remembers what they found.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leeward_resilience::{Clock, Instant};
use leeward_runtime::{Stage, Stop, Tasks};
use parking_lot::{Mutex, RwLock};

use super::{Check, CheckReport, Reading, Report, State};

/// A reading older than this many intervals is no longer believed: its check hangs or its task is gone.
const STALE_INTERVALS: u32 = 3;
/// How often the process shows that it makes progress.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Without progress for this long, the process is not alive. Generous: a paused container or a slow fsync is no reason to
/// be killed.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// The checks of one service. Cheap to clone; clones are the same checks.
#[derive(Debug, Clone)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: Arc<str>,
    clock: Arc<dyn Clock>,
    slots: RwLock<Vec<Arc<Slot>>>,
    heartbeat: AtomicU64,
    /// While set the service wants no traffic, whatever the checks say: it is starting or stopping.
    closed: Mutex<Option<&'static str>>,
}

#[derive(Debug)]
struct Slot {
    check: Check,
    last: Mutex<Option<(Instant, Reading)>>,
}

impl Health {
    /// No checks yet.
    #[must_use]
    pub fn new(service: impl Into<Arc<str>>, clock: Arc<dyn Clock>) -> Self {
        let heartbeat = AtomicU64::new(clock.now().as_nanos());
        Self(Arc::new(Inner {
            service: service.into(),
            clock,
            slots: RwLock::default(),
            heartbeat,
            closed: Mutex::new(None),
        }))
    }

    /// Adds a check. It counts from its first run on, which [`Health::start`] does at once.
    pub fn add(&self, check: Check) {
        self.0.slots.write().push(Arc::new(Slot { check, last: Mutex::new(None) }));
    }

    /// Starts one task a check, and the heartbeat.
    pub fn start(&self, tasks: &Tasks) {
        let health = self.clone();
        tasks.spawn(Stage::Work, "health.heartbeat", move |stop| async move { health.beat(stop).await });
        for slot in self.0.slots.read().iter() {
            let (slot, clock) = (Arc::clone(slot), Arc::clone(&self.0.clock));
            let name = format!("health.{}", slot.check.name());
            tasks.spawn(Stage::Work, name, move |stop| async move { slot.watch(&*clock, stop).await });
        }
    }

    /// Runs every check that gates readiness once, now: a start is then ready at its first probe, and does not wait for
    /// what it can do without.
    pub(crate) async fn run_gating(&self) {
        let mut slots = self.0.slots.read().clone();
        slots.retain(|slot| slot.check.gates_readiness);
        futures_util::future::join_all(slots.iter().map(|slot| slot.run(&*self.0.clock))).await;
    }

    /// Runs every check once, now.
    pub async fn run_all(&self) {
        let slots = self.0.slots.read().clone();
        futures_util::future::join_all(slots.iter().map(|slot| slot.run(&*self.0.clock))).await;
    }

    /// Wants no traffic from now on, for `reason`.
    pub fn close(&self, reason: &'static str) {
        *self.0.closed.lock() = Some(reason);
    }

    /// Whether the process makes progress.
    #[must_use]
    pub fn is_live(&self) -> bool {
        let last = Instant::from_nanos(self.0.heartbeat.load(Ordering::Relaxed));
        self.0.clock.now().saturating_duration_since(last) < DEAD_AFTER
    }

    /// Whether the service may take traffic.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let now = self.0.clock.now();
        self.0.closed.lock().is_none()
            && self
                .0
                .slots
                .read()
                .iter()
                .filter(|slot| slot.check.gates_readiness)
                .all(|slot| slot.state(now) != State::Down)
    }

    /// Everything that is known.
    #[must_use]
    pub fn report(&self) -> Report {
        let now = self.0.clock.now();
        let slots = self.0.slots.read();
        let mut checks: Vec<_> = slots.iter().map(|slot| slot.report(now)).collect();
        let worst = slots.iter().map(|slot| slot.weight(now)).max().unwrap_or(State::Up);
        let closed = *self.0.closed.lock();
        if let Some(reason) = closed {
            checks.push(closed_report(reason));
        }
        let state = if closed.is_some() { State::Down } else { worst };
        Report { service: Cow::Owned(self.0.service.to_string()), state, checks }
    }

    async fn beat(&self, stop: Stop) {
        loop {
            self.0.heartbeat.store(self.0.clock.now().as_nanos(), Ordering::Relaxed);
            if stop.or(tokio::time::sleep(HEARTBEAT)).await.is_none() {
                return;
            }
        }
    }
}

fn closed_report(reason: &'static str) -> CheckReport {
    CheckReport {
        name: Cow::Borrowed("traffic"),
        state: State::Down,
        value: Some(Cow::Borrowed(reason)),
        threshold: None,
        age_ms: Some(0),
    }
}

impl Slot {
    async fn watch(&self, clock: &dyn Clock, stop: Stop) {
        loop {
            let Some(()) = stop.or(self.run(clock)).await else { return };
            if stop.or(tokio::time::sleep(self.check.interval)).await.is_none() {
                return;
            }
        }
    }

    async fn run(&self, clock: &dyn Clock) {
        let reading = self.check.run().await;
        let mut last = self.last.lock();
        let before = last.as_ref().map(|(_, reading)| reading.state);
        if before != Some(reading.state) && (before.is_some() || reading.state != State::Up) {
            tracing::warn!(check = %self.check.name, state = ?reading.state, value = %reading.value, "health changed");
        }
        *last = Some((clock.now(), reading));
    }

    fn state(&self, now: Instant) -> State {
        match &*self.last.lock() {
            Some((at, reading)) if !self.is_stale(*at, now) => reading.state,
            _ => State::Down,
        }
    }

    /// What the check adds to the state of the whole: one that gates nothing can at most degrade it.
    fn weight(&self, now: Instant) -> State {
        let state = self.state(now);
        if self.check.gates_readiness { state } else { state.min(State::Degraded) }
    }

    fn report(&self, now: Instant) -> CheckReport {
        let last = self.last.lock();
        let base = CheckReport {
            name: self.check.name.clone(),
            state: State::Down,
            value: Some(Cow::Borrowed("has not run yet")),
            threshold: None,
            age_ms: None,
        };
        let Some((at, reading)) = &*last else { return base };
        let age = now.saturating_duration_since(*at);
        let stale = self.is_stale(*at, now);
        CheckReport {
            state: if stale { State::Down } else { reading.state },
            value: Some(if stale {
                Cow::Borrowed("the check does not come back")
            } else {
                reading.value.clone()
            }),
            threshold: (!reading.threshold.is_empty()).then(|| reading.threshold.clone()),
            age_ms: Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            ..base
        }
    }

    fn is_stale(&self, at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(at) > self.check.interval * STALE_INTERVALS + self.check.timeout
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU8;

    use leeward_resilience::ManualClock;

    use super::*;

    fn health() -> (Health, ManualClock) {
        let clock = ManualClock::new();
        (Health::new("orders", Arc::new(clock.clone())), clock)
    }

    fn switch(state: &Arc<AtomicU8>, name: &'static str) -> Check {
        let state = Arc::clone(state);
        Check::new(name, move || {
            let reading = match state.load(Ordering::SeqCst) {
                0 => Reading::up("fine"),
                1 => Reading::degraded("slow"),
                _ => Reading::down("gone"),
            };
            async move { reading }
        })
    }

    #[tokio::test]
    async fn not_ready_before_the_first_run() {
        let (health, _clock) = health();
        health.add(switch(&Arc::default(), "database"));
        assert!(!health.is_ready() && health.is_live());
        health.run_all().await;
        assert!(health.is_ready());
        assert_eq!(health.report().state, State::Up);
    }

    #[tokio::test]
    async fn a_gating_check_closes_and_an_informative_one_degrades() {
        let (health, _clock) = health();
        let (gate, info) = (Arc::<AtomicU8>::default(), Arc::<AtomicU8>::default());
        health.add(switch(&gate, "database"));
        health.add(switch(&info, "provider").informative());
        for (gate_state, info_state, ready, whole) in [
            (0, 0, true, State::Up),
            (0, 2, true, State::Degraded),
            (1, 0, true, State::Degraded),
            (2, 0, false, State::Down),
            (0, 0, true, State::Up),
        ] {
            gate.store(gate_state, Ordering::SeqCst);
            info.store(info_state, Ordering::SeqCst);
            health.run_all().await;
            assert_eq!((health.is_ready(), health.report().state), (ready, whole));
        }
    }

    #[tokio::test]
    async fn an_old_reading_is_not_believed() {
        let (health, clock) = health();
        health.add(switch(&Arc::default(), "database"));
        health.run_all().await;
        clock.advance(Duration::from_secs(17));
        assert!(health.is_ready());
        clock.advance(Duration::from_secs(1));
        assert!(!health.is_ready());
        assert_eq!(health.report().checks[0].state, State::Down);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_is_down() {
        let (health, _clock) = health();
        health.add(Check::new("database", std::future::pending::<Reading>));
        health.run_all().await;
        assert!(!health.is_ready());
        assert_eq!(health.report().checks[0].value.as_deref(), Some("no answer"));
    }

    #[tokio::test]
    async fn liveness_follows_progress_alone() {
        let (health, clock) = health();
        health.add(switch(&Arc::new(AtomicU8::new(2)), "database"));
        health.run_all().await;
        assert!(health.is_live(), "a dependency that is down is no reason to be killed");
        clock.advance(Duration::from_secs(30));
        assert!(!health.is_live());
    }

    #[tokio::test]
    async fn who_stops_wants_no_traffic() {
        let (health, _clock) = health();
        assert!(health.is_ready());
        health.close("stopping");
        assert!(!health.is_ready());
        assert_eq!(health.report().state, State::Down);
    }

    #[tokio::test]
    async fn anyone_sees_states_only() {
        let (health, _clock) = health();
        health.add(switch(&Arc::default(), "database"));
        health.run_all().await;
        let check = &health.report().states_only().checks[0];
        assert_eq!((check.state, &check.value, check.age_ms), (State::Up, &None, None));
    }
}
