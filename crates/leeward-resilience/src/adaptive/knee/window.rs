//! What the calls of a step say.

use super::super::{End, Sample};
use crate::time::Instant;

/// Latencies that are kept of a step, spread evenly over it.
const KEPT_MAX: usize = 128;
/// A call that found the limit filled by this share was made in full use.
const FULL: f64 = 0.9;

/// The calls of the running step: those that started after the limit last changed, since the others queued behind more.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) since: Instant,
    pub(super) calls: u32,
    /// Of these, those that failed at once: they say nothing about the latency.
    pub(super) refused: u32,
    /// Of these, those of which only the least that they would have taken is known.
    pub(super) cut: u32,
    all: Latencies,
    /// Of those that found the limit in full use: what it makes them wait.
    full: Latencies,
    /// Seconds that the quickest took; infinite without any.
    pub(super) least: f64,
    pub(super) in_flight_max: u32,
    /// Whether calls were rejected meanwhile.
    pub(super) rejects: bool,
}

impl Window {
    pub(super) const fn new(since: Instant) -> Self {
        Self {
            since,
            calls: 0,
            refused: 0,
            cut: 0,
            all: Latencies::new(),
            full: Latencies::new(),
            least: f64::INFINITY,
            in_flight_max: 0,
            rejects: false,
        }
    }

    /// Counts a call that took so long under this limit.
    pub(super) fn count(&mut self, sample: Sample, seconds: f64, is_slow: bool, limit: f64) {
        self.calls = self.calls.saturating_add(1);
        self.in_flight_max = self.in_flight_max.max(sample.in_flight);
        match sample.end {
            End::Overload if !is_slow => {
                self.refused = self.refused.saturating_add(1);
                return;
            }
            End::Cut | End::Overload => self.cut = self.cut.saturating_add(1),
            End::Success | End::Other => self.least = self.least.min(seconds),
        }
        self.all.push(seconds);
        if f64::from(sample.in_flight) >= FULL * limit {
            self.full.push(seconds);
        }
    }

    /// Seconds that a call takes: of those in full use where there are so many.
    pub(super) fn latency(&self, samples_min: u32) -> f64 {
        // No latency at all would have no ratio.
        if self.is_measured(samples_min) { self.full.middle() } else { self.all.middle() }.max(1e-9)
    }

    /// Whether so many calls were made in full use.
    pub(super) fn is_measured(&self, samples_min: u32) -> bool {
        self.full.count >= samples_min
    }

    /// Whether more than this share of the calls are of a kind.
    pub(super) fn is_mostly(&self, kind: u32, share: f64) -> bool {
        f64::from(kind) > share * f64::from(self.calls)
    }
}

/// Some of the latencies of a step, in seconds.
#[derive(Debug)]
struct Latencies {
    count: u32,
    /// Every so many of them is kept.
    stride: u32,
    kept: Vec<f32>,
}

impl Latencies {
    const fn new() -> Self {
        Self { count: 0, stride: 1, kept: Vec::new() }
    }

    fn push(&mut self, seconds: f64) {
        if self.count.is_multiple_of(self.stride) {
            if self.kept.len() == KEPT_MAX {
                let mut place = 0;
                self.kept.retain(|_| {
                    place += 1;
                    place % 2 == 1
                });
                self.stride *= 2;
            }
            #[allow(clippy::cast_possible_truncation, reason = "seven digits are more than latencies have")]
            self.kept.push(seconds as f32);
        }
        self.count = self.count.saturating_add(1);
    }

    /// The mean of the middle half. A few calls that are made to wait, as for news, do not make the others slow; and of two
    /// kinds that are equally frequent it takes neither alone, as the median would.
    fn middle(&self) -> f64 {
        let mut sorted = self.kept.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let quarter = sorted.len() / 4;
        let middle = sorted.get(quarter..sorted.len() - quarter).unwrap_or_default();
        #[allow(clippy::cast_precision_loss, reason = "at most KEPT_MAX")]
        let count = middle.len().max(1) as f64;
        middle.iter().copied().map(f64::from).sum::<f64>() / count
    }
}
