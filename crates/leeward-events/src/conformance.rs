//! What every backend of the bus must do, as a suite that runs against any of them.
//!
//! A backend's test implements [`Subject`] and calls [`run`]; a failed check panics with its name. A new backend is finished when it passes.

mod delivery;
mod retention;
mod takeover;

use std::future::Future;
use std::time::Duration;

use leeward_resilience::FastRng;
use leeward_telemetry::Correlation;
use serde::{Deserialize, Serialize};

use crate::bus::{Batch, Bus, Delivery, Options, Position, Start, Subscription};
use crate::envelope::Envelope;
use crate::event::Event;
use crate::pattern::Patterns;

/// Longest time that a check may take before it counts as hanging.
const CHECK_MAX: Duration = Duration::from_secs(30);

/// What a backend can do beyond the minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Events and acknowledged positions survive closing and opening again.
    pub durable: bool,
}

/// A backend under test.
pub trait Subject: Sync {
    /// What it can do.
    fn features(&self) -> Features;

    /// Opens an empty bus with these options.
    fn open(&self, options: Options) -> impl Future<Output = Bus> + Send;

    /// Closes the bus and opens the same log again. Only called for a [`Features::durable`] backend.
    fn reopen(&self, bus: Bus, options: Options) -> impl Future<Output = Bus> + Send;
}

/// Runs every check, each on a bus of its own.
///
/// # Panics
/// When the backend does not do what a bus must.
pub async fn run(subject: &impl Subject) {
    macro_rules! checks {
        ($($module:ident :: $check:ident),* $(,)?) => {$({
            let name = concat!(stringify!($module), "::", stringify!($check));
            let done = tokio::time::timeout(CHECK_MAX, Box::pin($module::$check(subject))).await;
            assert!(done.is_ok(), "{name} hangs");
            tracing::info!(name, "holds");
        })*};
    }
    checks![
        delivery::what_was_published_arrives_in_order_and_unchanged,
        delivery::groups_do_not_see_each_other,
        delivery::patterns_choose_and_the_scan_goes_on,
        delivery::a_waiting_subscriber_is_woken,
        delivery::a_batch_is_not_larger_than_asked_for,
        delivery::publishers_keep_their_own_order,
        delivery::a_slow_subscriber_misses_nothing,
        delivery::a_batch_that_is_too_large_is_refused,
        delivery::starts_are_where_they_say,
        takeover::what_was_not_acknowledged_comes_again,
        takeover::the_newest_subscriber_takes_over,
        takeover::a_removed_group_starts_anew,
        retention::a_full_bus_refuses_whole_batches_and_recovers,
        retention::a_late_group_finds_what_is_kept,
        retention::lag_counts_what_is_not_acknowledged,
    ];
    if subject.features().durable {
        checks![takeover::log_and_positions_survive_a_restart];
    }
}

/// The event that the checks publish.
#[derive(Serialize, Deserialize)]
struct Happened<const KIND: u8> {
    key: String,
    number: u32,
    padding: String,
}

type Apple = Happened<0>;
type Brick = Happened<1>;

impl<const KIND: u8> Event for Happened<KIND> {
    const TYPE: &'static str = if KIND == 0 { "fruit.apple" } else { "stone.brick" };
    const VERSION: u32 = 1;
    fn key(&self) -> String {
        self.key.clone()
    }
}

fn event<E: Event>(event: &E, id: &str) -> Envelope {
    let cause = Correlation::new_root(&FastRng::seeded(1));
    Envelope::new(event, id, "conformance", 1_767_225_600_000, &cause).expect("an event is an event")
}

fn apple(number: u32) -> Envelope {
    event(&Apple { key: format!("k{}", number % 3), number, padding: String::new() }, &format!("a-{number}"))
}

fn brick(number: u32) -> Envelope {
    event(&Brick { key: format!("k{}", number % 3), number, padding: String::new() }, &format!("b-{number}"))
}

/// An apple of about a kilobyte.
fn heavy(number: u32) -> Envelope {
    event(&Apple { key: "k".to_owned(), number, padding: "x".repeat(700) }, &format!("h-{number}"))
}

async fn subscribe(bus: &Bus, group: &str, patterns: &[&str], start: Start) -> Subscription {
    let patterns = Patterns::new(patterns).expect("the suite's own patterns");
    bus.subscribe(group, patterns, start).await.expect("a subscription")
}

async fn publish(bus: &Bus, events: impl IntoIterator<Item = Envelope>) -> Position {
    bus.publish(events.into_iter().collect()).await.expect("a publish")
}

/// Takes exactly `count` events.
async fn take(subscription: &mut Subscription, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let batch: Batch = subscription.next_batch(count - taken.len()).await.expect("events");
        taken.extend(batch.deliveries);
    }
    taken
}

fn ids(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|one| one.envelope().expect("an event").id.to_string()).collect()
}

fn numbered(prefix: &str, numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("{prefix}-{number}")).collect()
}
