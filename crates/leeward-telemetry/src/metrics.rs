//! Metrics for Prometheus: counters, gauges and histograms whose label sets cannot grow without bound.
//!
//! A [`Registry`] belongs to one service; a process that hosts several has several. Registering yields
//! handles that are cheap to clone and to use: a few atomic operations, no lock. A [`Family`] resolves a
//! label set to such a handle under a short read lock; hot paths resolve once and keep the handle.
//!
//! Names follow Prometheus: base units, `_total` on counters. They are constants of the crate that emits
//! them.

mod bound;
mod family;
pub mod http;
mod kinds;
mod process;
mod registry;

pub use self::bound::{Bound, OTHER};
pub use self::family::{Counters, Family, Gauges, Histograms};
pub use self::kinds::{Counter, Gauge, Histogram, LATENCY_BUCKETS};
pub use self::process::{PROCESS_CPU_SECONDS_TOTAL, PROCESS_OPEN_FDS, PROCESS_RESIDENT_MEMORY_BYTES};
pub use self::registry::{CONTENT_TYPE, Registry};
