//! Adaptive throttling as a tower layer.

use std::fmt;
use std::sync::Arc;

use super::{Permit, Throttler};
use crate::layer::permit::{self, Admit, AdmitRequest, PermitFuture, PermitLayer, PermitService};
use crate::outcome::{Class, Rejected};
use crate::priority::Priority;
use crate::time::{Clock, Instant};

/// Puts a [`Throttler`] in front of a service. Every service that the layer makes shares its window.
pub type ThrottleLayer<C, P> = PermitLayer<Prioritized<P>, C>;

/// A service behind a [`Throttler`].
pub type ThrottleService<S, C, P> = PermitService<S, Prioritized<P>, C>;

/// The call of a [`ThrottleService`]. Dropped before its end, it was cancelled.
pub type ThrottleFuture<F, C> = PermitFuture<F, Permit, C>;

/// A [`Throttler`] that knows the priority of a request.
#[derive(Clone)]
pub struct Prioritized<P> {
    throttler: Throttler,
    priority_of: P,
}

impl<P> fmt::Debug for Prioritized<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.throttler.fmt(f)
    }
}

impl<C, P> ThrottleLayer<C, P> {
    /// `classify` is a `Fn(&Result<Response, Error>) -> Class`, `priority_of` a `Fn(&Request) -> Priority`: always
    /// [`Priority::Normal`] where there are none.
    #[must_use]
    pub const fn new(throttler: Throttler, classify: C, priority_of: P) -> Self {
        Self { admit: Prioritized { throttler, priority_of }, classify }
    }
}

impl<P: Clone> Admit for Prioritized<P> {
    type Permit = Permit;

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.throttler.shared.clock
    }
}

impl<P, Request> AdmitRequest<Request> for Prioritized<P>
where
    P: Fn(&Request) -> Priority + Clone,
{
    fn admit(&self, request: &Request, now: Instant) -> Result<Permit, Rejected> {
        self.throttler.acquire((self.priority_of)(request), now)
    }
}

impl permit::Permit for Permit {
    fn end(self, class: Class, now: Instant) {
        self.record(class, now);
    }
}
