//! A service that is slow for a while, before clients that ask again and again.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::load::{Client, Clients, Fate, Request, Seen};
use super::overload::{config, get, shape};
use super::verdict::{Check, Row};
use super::world::{Gateway, Upstream};

pub(super) const NAME: &str = "retry-storm";

const S: Duration = Duration::from_secs(1);

/// A client leaves after a second and asks again at once, twice.
const CLIENT: Client = Client { patience: S, retries: 2 };

/// The load, in shares of the capacity: with what clients ask again it is 2.4 times that.
const LOAD: f64 = 0.8;
/// How much slower the service becomes.
const SLOWER: u32 = 20;

const BEFORE: Duration = Duration::from_secs(5);
const SLOW: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(8);

/// What is looked at as one, to find out from when on all is well.
const BUCKET: Duration = Duration::from_millis(250);
const WELL: f64 = 0.95;

pub(super) async fn run(binary: &Path, scale: f64, service: &str) -> Result<Row, String> {
    let well = shape(scale);
    let slow = super::upstream::Shape { service: well.service * SLOWER, ..well };
    let upstream = Upstream::start(well).await?;
    let gateway = Gateway::start(binary, &config(&[&upstream], service)).await?;
    let clients = Clients::new(gateway.address, CLIENT);
    let message = get(&gateway);
    let change = async {
        tokio::time::sleep(BEFORE).await;
        upstream.set(slow).await?;
        tokio::time::sleep(SLOW).await;
        upstream.set(well).await?;
        Ok::<Duration, String>(clients.now())
    };
    let time = BEFORE + SLOW + AFTER;
    let (loaded, end) =
        tokio::join!(clients.load(LOAD * well.capacity(), time, |_| Rc::clone(&message)), change);
    loaded?;
    let end = end?;
    let received = upstream.set(well).await?;
    let requests = clients.take();
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let amplification = received as f64 / clients.tries() as f64;
    let before = Seen::due(&requests, S, BEFORE - S);
    let after = Seen::due(&requests, end + S, end + AFTER - S);
    Ok(Row::new(
        NAME,
        vec![
            Check::at_least("good_before", before.share(Fate::Good), 0.99),
            Check::at_most("back_after_s", back_after(&requests, end).as_secs_f64(), 1.0),
            Check::at_least("good_after", after.share(Fate::Good), WELL),
            Check::at_most("amplification", amplification, 1.1),
        ],
    ))
}

/// From when on every bucket is well.
fn back_after(requests: &[Request], end: Duration) -> Duration {
    let mut back = Duration::ZERO;
    let mut at = Duration::ZERO;
    while at + BUCKET < AFTER {
        let bucket = Seen::due(requests, end + at, end + at + BUCKET);
        at += BUCKET;
        if bucket.share(Fate::Good) < WELL {
            back = at;
        }
    }
    back
}
