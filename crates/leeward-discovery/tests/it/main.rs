//! The public behaviour of discovery.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "test tasks end with their runtime")]

mod balance;
mod check;
mod moving;
mod pick;

use std::sync::Arc;

use leeward_discovery::{Balance, Directory, Endpoint, Upstream};
use leeward_resilience::{FastRng, ManualClock};

/// Endpoints `e0`, `e1`, ... of one service, on a clock that the test moves.
struct World {
    directory: Directory,
    upstream: Upstream,
    clock: ManualClock,
}

impl World {
    fn new(endpoints: u16) -> Self {
        Self::with(Balance::default(), endpoints)
    }

    fn with(balance: Balance, endpoints: u16) -> Self {
        let clock = ManualClock::new();
        let directory =
            Directory::with(balance, Arc::new(clock.clone()), Arc::new(FastRng::seeded(11))).unwrap();
        directory.set("inventory", (0..endpoints).map(endpoint));
        let upstream = directory.service("inventory").unwrap();
        Self { directory, upstream, clock }
    }
}

fn endpoint(number: u16) -> Endpoint {
    Endpoint::parse(&format!("http://10.0.0.1:{}", 4000 + number)).unwrap().with_id(format!("e{number}"))
}
