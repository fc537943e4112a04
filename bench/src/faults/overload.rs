//! More requests than a service can answer, and a capacity that changes.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::load::{Client, Clients, Fate, Seen};
use super::upstream::{Mode, Shape};
use super::verdict::{Check, Row};
use super::world::{Gateway, Upstream};

const S: Duration = Duration::from_secs(1);

/// A client leaves after a second and does not come back.
const CLIENT: Client = Client { patience: S, retries: 0 };

/// How long the gateway has to find out what the service bears, and how long is looked at then.
const SETTLE: Duration = Duration::from_secs(3);
const WINDOW: Duration = Duration::from_secs(5);

/// What changes in the middle, if anything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Requests, in shares of the capacity before.
    load: f64,
    /// Workers and service time, in shares of those before.
    change: Option<(f64, f64)>,
    /// The least goodput, in shares of the capacity.
    goodput_min: f64,
}

pub(super) const CASES: [Case; 6] = [
    Case { name: "overload-2x", load: 2.0, change: None, goodput_min: 0.95 },
    Case { name: "overload-5x", load: 5.0, change: None, goodput_min: 0.95 },
    Case { name: "overload-10x", load: 10.0, change: None, goodput_min: 0.95 },
    Case { name: "shrinks-workers", load: 2.0, change: Some((0.25, 1.0)), goodput_min: 0.85 },
    Case { name: "shrinks-slower", load: 2.0, change: Some((1.0, 4.0)), goodput_min: 0.85 },
    Case { name: "grows", load: 5.0, change: Some((4.0, 1.0)), goodput_min: 0.95 },
];

/// The service before anything happens.
pub(super) fn shape(capacity_scale: f64) -> Shape {
    Shape {
        workers: 16,
        service: Duration::from_millis(20).div_f64(capacity_scale),
        backlog: 1_000,
        mode: Mode::Works,
    }
}

/// Runs one; `service` is what the configuration says about the service beside its address.
pub(super) async fn run(binary: &Path, case: &Case, scale: f64, service: &str) -> Result<Row, String> {
    let before = shape(scale);
    let upstream = Upstream::start(before).await?;
    let gateway = Gateway::start(binary, &config(&[&upstream], service)).await?;
    let clients = Clients::new(gateway.address, CLIENT);
    let rate = case.load * before.capacity();
    let message = get(&gateway);
    let (mut from, mut after) = (SETTLE, before);
    if let Some((workers, slower)) = case.change {
        after.workers = scaled(before.workers, workers);
        after.service = before.service.mul_f64(slower);
        from += SETTLE + SETTLE;
    }
    let change = async {
        if after != before {
            tokio::time::sleep(SETTLE + SETTLE).await;
            upstream.set(after).await?;
        }
        Ok::<(), String>(())
    };
    let (loaded, changed) = tokio::join!(clients.load(rate, from + WINDOW, |_| Rc::clone(&message)), change);
    loaded.and(changed)?;
    #[allow(clippy::cast_precision_loss, reason = "some thousand KiB")]
    let peak_mib = gateway.memory()?.peak_kib as f64 / 1024.0;
    let requests = clients.take();
    let ended = Seen::ended(&requests, from, from + WINDOW);
    let due = Seen::due(&requests, from, from + WINDOW);
    let possible = after.capacity().min(rate) * WINDOW.as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let (goodput, offered) =
        (ended.count(Fate::Good) as f64 / possible, due.len() as f64 / (rate * WINDOW.as_secs_f64()));
    Ok(Row::new(
        case.name,
        vec![
            Check::at_least("goodput", goodput, case.goodput_min),
            // Else it is not the overload that it says.
            Check::at_least("offered", offered, 0.95),
            Check::at_most(
                "accepted_p99_ms",
                ended.p99_ms(Fate::Good),
                8.0 * after.service.as_secs_f64() * 1e3,
            ),
            Check::at_most("refused_p99_ms", ended.p99_ms(Fate::Refused), 10.0),
            Check::at_most("refused_without_retry_after", ended.share(Fate::Failed), 0.001),
            Check::at_most("late", ended.share(Fate::Late), 0.01),
            Check::at_most("peak_mib", peak_mib, 200.0),
        ],
    ))
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few workers"
)]
pub(super) fn scaled(workers: usize, share: f64) -> usize {
    (workers as f64 * share).round() as usize
}

/// One service with these endpoints.
pub(super) fn config(upstreams: &[&Upstream], service: &str) -> String {
    let urls: Vec<String> = upstreams.iter().map(|it| format!("\"http://{}\"", it.address)).collect();
    let urls = urls.join(", ");
    format!("services:\n  one: {{urls: [{urls}]{service}}}\nroutes:\n  - {{path: /, service: one}}\n")
}

pub(super) fn get(gateway: &Gateway) -> Rc<[u8]> {
    format!("GET /x HTTP/1.1\r\nhost: {}\r\n\r\n", gateway.address).into_bytes().into()
}
