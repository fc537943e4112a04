//! A new version of a service that takes over from the one before it, at the pace of an operator.
//!
//! **Rule.** The file says where a delivery begins; from then on operators move the candidate's share, each knowing what they move from:
//! an order names the version of the state that it was given for, and one that comes too late changes nothing. A request goes by the
//! share at the moment when its service is chosen, and stays there.
//!
//! The state belongs to the route's id. It survives a reload as long as the route's `delivery` is the same, and begins anew when it is
//! not. Where a program names a file for it, it survives a restart in the same way; else a restart begins where the configuration says.

mod kept;
mod state;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use leeward_resilience::config::units::show_percentage;
use leeward_telemetry::metrics::Gauge;
use parking_lot::Mutex;

pub use self::kept::Problem;
pub(crate) use self::kept::{Kept, Progress};
pub(crate) use self::state::State;
pub use self::state::{Kind, Order, Refused};
use crate::split::{Shares, Split, WHOLE};

/// A delivery at work.
#[derive(Debug)]
pub(crate) struct Moving {
    /// As the file says it.
    pub(crate) kind: Kind,
    pub(crate) begins: u32,
    pub(crate) services: [Arc<str>; 2],
    shares: Arc<ArcSwap<Shares>>,
    state: Mutex<State>,
    /// Where the share is shown; `None` for a route beyond the budget of series.
    gauge: Mutex<Option<Gauge>>,
}

impl Moving {
    /// What the file says; `after` is what another file said of the same route before.
    pub(crate) fn new(split: &Split, kind: Kind, after: Option<&Self>, now_ms: i64) -> Option<Self> {
        let [stable, candidate] = split.arms.as_slice() else { return None };
        let version = after.map_or(1, |after| after.state().version + 1);
        let begins = candidate.weight;
        Some(Self {
            kind,
            begins,
            services: [Arc::clone(&stable.service), Arc::clone(&candidate.service)],
            shares: Arc::new(ArcSwap::from_pointee(split.shares())),
            state: Mutex::new(State { share: begins, version, since_ms: now_ms }),
            gauge: Mutex::default(),
        })
    }

    /// Goes on where it was left before a restart.
    pub(crate) fn resume(&self, route: &str, kept: &Kept) {
        let Some(left) = kept.left(route, self) else { return };
        self.put(left);
        *self.state.lock() = left;
    }

    fn put(&self, state: State) {
        let [stable, candidate] = &self.services;
        let weights = [(&**stable, WHOLE - state.share), (&**candidate, state.share)];
        self.shares.store(Arc::new(Shares::new(weights.into_iter())));
    }

    /// Whether the file says the same as another one did.
    pub(crate) fn begins_as(&self, other: &Self) -> bool {
        (self.kind, self.begins, &self.services) == (other.kind, other.begins, &other.services)
    }

    pub(crate) fn shares(&self) -> &Arc<ArcSwap<Shares>> {
        &self.shares
    }

    pub(crate) fn state(&self) -> State {
        *self.state.lock()
    }

    /// Shows the share in the metrics from here on, or nowhere.
    pub(crate) fn measure(&self, gauge: Option<Gauge>) {
        // Held, so that no order comes in between.
        let state = self.state.lock();
        if let Some(gauge) = &gauge {
            gauge.set(i64::from(state.share));
        }
        *self.gauge.lock() = gauge;
    }

    /// Does what an operator wants, at once for all cores, once `keep` has kept it.
    pub(crate) fn order(
        &self,
        order: Order,
        expected: Option<u64>,
        now_ms: i64,
        keep: impl FnOnce(State) -> Result<(), Problem>,
    ) -> Result<State, Failed> {
        let mut state = self.state.lock();
        let next = state.after(self.kind, order, expected, now_ms)?;
        match keep(next) {
            Err(problem) if order == Order::Abort => {
                tracing::error!(%problem, "a delivery is stopped, and a restart would not know it");
            }
            kept => kept?,
        }
        self.put(next);
        if let Some(gauge) = &*self.gauge.lock() {
            gauge.set(i64::from(next.share));
        }
        *state = next;
        Ok(next)
    }
}

impl fmt::Display for Moving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { share, version, .. } = self.state();
        let (candidate, share, begins) = (&self.services[1], show(share), show(self.begins));
        write!(f, "{candidate} has {share} ({begins} in the configuration), version {version}")
    }
}

/// A share in hundredths of a percent, as a configuration has it.
pub(crate) fn show(share: u32) -> String {
    show_percentage(f64::from(share) / f64::from(WHOLE))
}

/// Why an order is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Kept(#[from] Problem),
}
