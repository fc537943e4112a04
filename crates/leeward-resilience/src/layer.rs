//! What the tower layers of several policies have in common.
//!
//! Two shapes: a [permit](self::permit) that is taken by the call and held until its answer, and a request that may be
//! [sent again](self::replay). Both take nothing in `poll_ready`: readiness is no promise of a call.

pub(crate) mod permit;
pub(crate) mod replay;

use std::future::Future;
use std::pin::Pin;

/// The one future that a layer allocates for a call.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The service that was polled ready, to go with the call; the clone that stays in its place must be polled anew.
pub(crate) fn take_ready<S: Clone>(service: &mut S) -> S {
    let clone = service.clone();
    std::mem::replace(service, clone)
}
