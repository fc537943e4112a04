//! The adaptive limit as a tower layer.

use std::sync::Arc;

use super::{AdaptiveLimit, Permit};
use crate::layer::permit::{self, Admit, AdmitRequest, PermitFuture, PermitLayer, PermitService};
use crate::outcome::{Class, Rejected};
use crate::time::{Clock, Instant};

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

impl Admit for AdaptiveLimit {
    type Permit = Permit;

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }
}

impl<Request> AdmitRequest<Request> for AdaptiveLimit {
    fn admit(&self, _: &Request, now: Instant) -> Result<Permit, Rejected> {
        self.acquire(now)
    }
}

impl permit::Permit for Permit {
    fn end(self, class: Class, now: Instant) {
        self.record(class, now);
    }
}
