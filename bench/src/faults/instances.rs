//! Four instances of a service, of which one fails, or all do by half.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::load::{Client, Clients, Fate, Seen};
use super::overload::{config, get};
use super::upstream::{Mode, Shape};
use super::verdict::{Check, Row};
use super::world::{Gateway, Upstream};

const S: Duration = Duration::from_secs(1);

/// Longer than the gateway gives an attempt, so that what it repeats elsewhere still counts.
const CLIENT: Client = Client { patience: Duration::from_secs(10), retries: 0 };

const INSTANCES: usize = 4;
/// The load, in shares of the capacity of all: three of them bear it.
const LOAD: f64 = 0.4;

const BEFORE: Duration = Duration::from_secs(3);
const FIRST: Duration = Duration::from_secs(10);
const THEN: Duration = Duration::from_secs(10);

/// What becomes of the instances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    mode: Mode,
    slower: u32,
    /// How many of them.
    instances: usize,
}

pub(super) const CASES: [Case; 5] = [
    Case { name: "one-refuses", mode: Mode::Refuses, slower: 1, instances: 1 },
    Case { name: "one-hangs", mode: Mode::Hangs, slower: 1, instances: 1 },
    Case { name: "one-fails-fast", mode: Mode::Fails, slower: 1, instances: 1 },
    Case { name: "one-ten-times-slower", mode: Mode::Works, slower: 10, instances: 1 },
    Case { name: "all-fail-half", mode: Mode::FailsHalf, slower: 1, instances: INSTANCES },
];

pub(super) async fn run(binary: &Path, case: &Case, scale: f64, service: &str) -> Result<Row, String> {
    let well = Shape {
        workers: 8,
        service: Duration::from_millis(20).div_f64(scale),
        backlog: 1_000,
        mode: Mode::Works,
    };
    let ill = Shape { mode: case.mode, service: well.service * case.slower, ..well };
    let mut upstreams = Vec::with_capacity(INSTANCES);
    for _ in 0..INSTANCES {
        upstreams.push(Upstream::start(well).await?);
    }
    let all: Vec<&Upstream> = upstreams.iter().collect();
    let gateway = Gateway::start(binary, &config(&all, service)).await?;
    let clients = Clients::new(gateway.address, CLIENT);
    let message = get(&gateway);
    let change = async {
        tokio::time::sleep(BEFORE).await;
        let mut before = 0;
        for upstream in &upstreams[..case.instances] {
            before = upstream.set(ill).await?;
        }
        let began = clients.now();
        // The first moments are for finding out.
        tokio::time::sleep(S).await;
        let found_out = upstreams[0].set(ill).await?;
        tokio::time::sleep(FIRST + THEN - 2 * S).await;
        Ok::<_, String>((began, before, found_out, upstreams[0].set(ill).await?))
    };
    let time = BEFORE + FIRST + THEN;
    #[allow(clippy::cast_precision_loss, reason = "four")]
    let rate = LOAD * well.capacity() * INSTANCES as f64;
    let (loaded, changed) = tokio::join!(clients.load(rate, time, |_| Rc::clone(&message)), change);
    loaded?;
    let (began, _, found_out, at_end) = changed?;
    let mut received = 0;
    for upstream in &upstreams {
        received += upstream.set(well).await?;
    }
    let requests = clients.take();
    let first = Seen::due(&requests, began, began + FIRST);
    let then = Seen::due(&requests, began + FIRST, began + FIRST + THEN - S);
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let (amplification, still_asked) =
        (received as f64 / clients.tries() as f64, (at_end - found_out) as f64 / requests.len() as f64);
    let mut checks = vec![Check::at_most("amplification", amplification, 1.1)];
    if case.instances == INSTANCES {
        // Half of it fails, and what the retry budget saves comes on top.
        checks.push(Check::at_least("good", first.share(Fate::Good), 0.45));
        checks.push(Check::at_least("good_then", then.share(Fate::Good), 0.45));
    } else {
        checks.push(Check::at_most("failed_first_10_s", 1.0 - first.share(Fate::Good), 0.01));
        checks.push(Check::at_most("failed_then", 1.0 - then.share(Fate::Good), 0.002));
        checks.push(Check::at_most("later_than_1_s_then", then.share_later_than(S), 0.002));
        checks.push(Check::at_most(
            "still_asked",
            still_asked,
            if case.mode == Mode::Fails { 0.01 } else { 0.25 },
        ));
    }
    Ok(Row::new(case.name, checks))
}
