//! Hedging as a tower layer.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_layer::Layer;
use tower_service::Service;

use super::Hedger;
use crate::deadline::Deadline;
use crate::outcome::Class;
use crate::pipeline::Call;

/// The time that a call and its hedges have unless [`HedgeLayer::within`] says otherwise.
const WITHIN: Duration = Duration::from_secs(10);

/// Hedges the calls of a service. Every service that the layer makes shares the latencies and the budget.
///
/// It costs one boxed future a call. The layer does not cut a call short (a deadline layer outside does), but it sends no
/// hedge that could not end in time.
#[derive(Clone, Debug)]
pub struct HedgeLayer<C, R> {
    hedger: Hedger,
    classify: C,
    replay: R,
    within: Duration,
}

impl<C, R> HedgeLayer<C, R> {
    /// `classify` is a `Fn(&Result<Response, Error>) -> Class`. `replay` is a `Fn(&Request) -> Option<Request>` that
    /// copies a request which may be sent again, and says `None` for any other.
    #[must_use]
    pub const fn new(hedger: Hedger, classify: C, replay: R) -> Self {
        Self { hedger, classify, replay, within: WITHIN }
    }

    /// The time that a call and its hedges have together.
    #[must_use]
    pub const fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }
}

impl<S, C: Clone, R: Clone> Layer<S> for HedgeLayer<C, R> {
    type Service = HedgeService<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        HedgeService { inner, layer: self.clone() }
    }
}

/// A service whose calls are hedged.
#[derive(Clone)]
pub struct HedgeService<S, C, R> {
    inner: S,
    layer: HedgeLayer<C, R>,
}

impl<S: fmt::Debug, C, R> fmt::Debug for HedgeService<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hedger = &self.layer.hedger;
        f.debug_struct("HedgeService")
            .field("inner", &self.inner)
            .field("hedger", hedger)
            .finish_non_exhaustive()
    }
}

impl<S, C, R, Request> Service<Request> for HedgeService<S, C, R>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    Request: Send + 'static,
    C: Fn(&Result<S::Response, S::Error>) -> Class + Clone + Send + Sync + 'static,
    R: Fn(&Request) -> Option<Request> + Clone + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The service that was polled ready goes with the call; the clone that stays must be polled anew.
        let clone = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, clone);
        Box::pin(run(ready, request, self.layer.clone()))
    }
}

async fn run<S, C, R, Request>(
    service: S,
    request: Request,
    layer: HedgeLayer<C, R>,
) -> Result<S::Response, S::Error>
where
    S: Service<Request> + Clone,
    C: Fn(&Result<S::Response, S::Error>) -> Class,
    R: Fn(&Request) -> Option<Request>,
{
    // A request is copied for all the hedges that may come, which is one unless the options say more.
    let hedges = layer.hedger.config().max_hedges;
    let mut copies: Vec<_> = (0..hedges).map_while(|_| (layer.replay)(&request)).collect();
    let replayable = copies.len() == usize::try_from(hedges).unwrap_or(usize::MAX);
    let now = layer.hedger.shared.clock.now();
    let call = Call { replayable, ..Call::ONCE }.deadline(Deadline::after(now, layer.within));
    copies.push(request);
    let spare = service.clone();
    let mut ready = Some(service);
    let send = move |_| {
        // The first attempt has the service that was polled ready; a hedge asks a clone of its own first.
        let (is_ready, service) = (ready.is_some(), ready.take().unwrap_or_else(|| spare.clone()));
        let request = copies.pop();
        async move {
            let (Some(request), mut service) = (request, service) else {
                unreachable!("a copy for each hedge")
            };
            if !is_ready {
                poll_fn(|cx| service.poll_ready(cx)).await?;
            }
            service.call(request).await
        }
    };
    layer.hedger.call(call, send, &layer.classify).await
}
