//! The seconds that count: what was used between their beginning and their end.

use std::time::Instant;

use leeward_resilience::{Clock, TokioClock};

use crate::orders::metrics::Counts;
use crate::orders::shop::Shop;
use crate::orders::syncs::{Syncs, SyncsFound};
use crate::process::{Cpu, load_average};

/// What the seconds that count cost.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) from: Instant,
    pub(super) until: Instant,
    /// The same on the wall clock.
    pub(super) from_ms: i64,
    pub(super) until_ms: i64,
    pub(super) cpu: Cpu,
    pub(super) counts: Counts,
    pub(super) syncs: SyncsFound,
    pub(super) load_average: String,
}

impl Window {
    /// Measures what `shop` uses between `from` and `until`.
    pub(super) async fn measure(shop: &Shop, from: Instant, until: Instant) -> Result<Self, String> {
        tokio::time::sleep_until(from.into()).await;
        let (from_ms, cpu) = (TokioClock.unix_ms(), Cpu::now(shop.pid())?);
        let syncs = Syncs::begin(shop.pid(), until.saturating_duration_since(from));
        let counts = Counts::read(shop).await?;

        tokio::time::sleep_until(until.into()).await;
        let (until_ms, cpu) = (TokioClock.unix_ms(), Cpu::now(shop.pid())?.since(cpu));
        let counts = Counts::read(shop).await?.since(&counts);
        let syncs =
            tokio::task::spawn_blocking(move || syncs.end()).await.map_err(|error| error.to_string())?;
        Ok(Self { from, until, from_ms, until_ms, cpu, counts, syncs, load_average: load_average() })
    }
}
