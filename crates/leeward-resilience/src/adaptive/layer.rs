//! The adaptive limit as a tower layer.

use super::{AdaptiveLimit, Permit};
use crate::layer::permit::{Admit, Ends, PermitFuture, PermitLayer, PermitService};
use crate::outcome::{Class, Rejected};

/// Puts an [`AdaptiveLimit`] in front of a service. Every service that the layer makes shares its state.
pub type AdaptiveLayer<C> = PermitLayer<AdaptiveLimit, C>;

/// A service behind an [`AdaptiveLimit`].
pub type AdaptiveService<S, C> = PermitService<S, AdaptiveLimit, C>;

/// The call of an [`AdaptiveService`]. Dropped before its end, it was cancelled.
pub type AdaptiveFuture<F, C> = PermitFuture<F, Permit, C>;

impl<C> AdaptiveLayer<C> {
    /// `classify` is a `Fn(&Result<Response, Error>) -> Class`.
    #[must_use]
    pub const fn new(limit: AdaptiveLimit, classify: C) -> Self {
        Self { admit: limit, classify }
    }
}

impl<Request> Admit<Request> for AdaptiveLimit {
    type Permit = Permit;

    fn admit(&self, _: &Request) -> Result<Permit, Rejected> {
        self.acquire(self.shared.clock.now())
    }
}

impl Ends for Permit {
    fn end(self, class: Class) {
        self.finish(class);
    }
}
