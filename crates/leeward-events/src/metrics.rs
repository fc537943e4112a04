//! What this crate counts, and under which names.

use std::sync::Arc;

use leeward_telemetry::metrics::{Counter, Gauge, Registry};

use crate::outbox::Outbox;

/// Age in seconds of the oldest event that the relay has not published: the one figure that grows whenever events do not leave.
pub const OUTBOX_OLDEST_UNRELAYED_SECONDS: &str = "leeward_events_outbox_oldest_unrelayed_seconds";
/// Bytes of events that wait for the relay.
pub const OUTBOX_PENDING_BYTES: &str = "leeward_events_outbox_pending_bytes";
/// Events published by the relay, repeats included.
pub const RELAYED_TOTAL: &str = "leeward_events_relayed_total";
/// Attempts of the relay that failed.
pub const RELAY_FAILURES_TOTAL: &str = "leeward_events_relay_failures_total";
/// Events behind the head of the bus, by group.
pub const GROUP_LAG_EVENTS: &str = "leeward_events_group_lag_events";
/// Events taken from the bus by group and outcome: `applied`, `duplicate` or `parked`.
pub const CONSUMED_TOTAL: &str = "leeward_events_consumed_total";
/// Handlers that failed, by group.
pub const HANDLER_FAILURES_TOTAL: &str = "leeward_events_handler_failures_total";
/// Events that wait for another attempt, or behind one that does, by group; dead letters are among them.
pub const PARKED_EVENTS: &str = "leeward_events_parked_events";
/// Dead letters that wait for somebody, by group.
pub const DEAD_LETTERS: &str = "leeward_events_dead_letters";
/// Commits of the bus's own file, in the process that owns it.
pub const BUS_COMMITS: &str = "leeward_bus_commits";
/// Syncs of the disk for the bus's own file.
pub const BUS_SYNCS: &str = "leeward_bus_syncs";

/// All names, for the test of names and uniqueness.
pub const NAMES: &[&str] = &[
    OUTBOX_OLDEST_UNRELAYED_SECONDS,
    OUTBOX_PENDING_BYTES,
    RELAYED_TOTAL,
    RELAY_FAILURES_TOTAL,
    GROUP_LAG_EVENTS,
    CONSUMED_TOTAL,
    HANDLER_FAILURES_TOTAL,
    PARKED_EVENTS,
    DEAD_LETTERS,
    BUS_COMMITS,
    BUS_SYNCS,
];

/// What a relay counts. The default counts for nobody.
#[derive(Clone, Debug, Default)]
pub struct RelayMetrics {
    published: Counter,
    failures: Counter,
}

impl RelayMetrics {
    /// Registers a relay's metrics and those of its outbox.
    #[must_use]
    pub fn new(registry: &Registry, outbox: &Outbox) -> Self {
        let (status, clock) = (outbox.status.clone(), outbox.config.clock.clone());
        let age = move || status.oldest_age(clock.unix_ms()).as_secs_f64();
        let help = "Age of the oldest event in the outbox that the relay has not published.";
        registry.gauge_fn(OUTBOX_OLDEST_UNRELAYED_SECONDS, help, age);
        let status = Arc::clone(&outbox.status);
        #[allow(clippy::cast_precision_loss, reason = "a size for people; 53 bits of it are exact")]
        let pending = move || status.pending_bytes() as f64;
        registry.gauge_fn(OUTBOX_PENDING_BYTES, "Bytes of events that wait for the relay.", pending);
        Self {
            published: registry.counter(RELAYED_TOTAL, "Events published by the relay, repeats included."),
            failures: registry.counter(RELAY_FAILURES_TOTAL, "Attempts of the relay that failed."),
        }
    }

    pub(crate) fn published(&self, events: usize) {
        self.published.add(u64::try_from(events).unwrap_or(u64::MAX));
    }

    pub(crate) fn failed(&self) {
        self.failures.inc();
    }
}

/// What a consumer counts. The default counts for nobody but those who hold a clone.
#[derive(Clone, Debug, Default)]
pub struct ConsumerMetrics {
    /// Events whose effect was committed.
    pub applied: Counter,
    /// Events recognised as seen before.
    pub duplicates: Counter,
    /// Events set aside on arrival: they failed, or their key waits already.
    pub parked_total: Counter,
    /// Handlers that failed.
    pub failures: Counter,
    /// Events behind the head of the bus.
    pub lag: Gauge,
    /// Events set aside now.
    pub parked: Gauge,
    /// Dead letters now.
    pub dead: Gauge,
}

impl ConsumerMetrics {
    /// Registers the metrics of the consumer of a group.
    #[must_use]
    pub fn new(registry: &Registry, group: &str) -> Self {
        let help = "Events taken from the bus by outcome: applied, duplicate or parked.";
        let consumed = registry.counters(CONSUMED_TOTAL, help, ["group", "outcome"]);
        let gauge = |name, help| registry.gauges(name, help, ["group"]).with([group]);
        Self {
            applied: consumed.with([group, "applied"]),
            duplicates: consumed.with([group, "duplicate"]),
            parked_total: consumed.with([group, "parked"]),
            failures: registry
                .counters(HANDLER_FAILURES_TOTAL, "Handlers that failed.", ["group"])
                .with([group]),
            lag: gauge(GROUP_LAG_EVENTS, "Events behind the head of the bus."),
            parked: gauge(PARKED_EVENTS, "Events that wait for another attempt, or behind one that does."),
            dead: gauge(DEAD_LETTERS, "Dead letters that wait for somebody."),
        }
    }
}
