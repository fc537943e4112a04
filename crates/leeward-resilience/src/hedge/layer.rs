//! Hedging as a tower layer.

use std::future::poll_fn;
use std::time::Duration;

use tower_service::Service;

use super::Hedger;
use crate::deadline::Deadline;
use crate::layer::BoxFuture;
use crate::layer::replay::{Replay, ReplayLayer, ReplayService};
use crate::outcome::Class;
use crate::pipeline::Call;

/// The time that a call and its hedges have unless [`HedgeLayer::within`] says otherwise.
const WITHIN: Duration = Duration::from_secs(10);

/// Hedges the calls of a service. Every service that the layer makes shares the latencies and the budget.
///
/// It costs one boxed future a call. The layer does not cut a call short (a deadline layer outside does), but it sends no
/// hedge that could not end in time.
pub type HedgeLayer<C, R> = ReplayLayer<Hedging, C, R>;

/// A service whose calls are hedged.
pub type HedgeService<S, C, R> = ReplayService<S, Hedging, C, R>;

/// A [`Hedger`] and the time that a call has.
#[derive(Clone, Debug)]
pub struct Hedging {
    hedger: Hedger,
    within: Duration,
}

impl<C, R> HedgeLayer<C, R> {
    /// `classify` is a `Fn(&Result<Response, Error>) -> Class`. `replay` is a `Fn(&Request) -> Option<Request>` that
    /// copies a request which may be sent again, and says `None` for any other.
    #[must_use]
    pub const fn new(hedger: Hedger, classify: C, replay: R) -> Self {
        Self { policy: Hedging { hedger, within: WITHIN }, classify, replay }
    }

    /// The time that a call and its hedges have together. Default 10 s, that of a pipeline.
    #[must_use]
    pub const fn within(mut self, within: Duration) -> Self {
        self.policy.within = within;
        self
    }
}

impl<S, C, R, Request> Replay<S, Request, C, R> for Hedging
where
    S: Service<Request> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    Request: Send + 'static,
    C: Fn(&Result<S::Response, S::Error>) -> Class + Send + Sync + 'static,
    R: Fn(&Request) -> Option<Request> + Send + Sync + 'static,
{
    type Error = S::Error;

    fn broken(error: S::Error) -> S::Error {
        error
    }

    fn run(layer: HedgeLayer<C, R>, ready: S, request: Request) -> BoxFuture<Result<S::Response, S::Error>> {
        Box::pin(run(ready, request, layer))
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
    let Hedging { hedger, within } = &layer.policy;
    // A request is copied for all the hedges that may come, which is one unless the options say more.
    let hedges = hedger.config().max_hedges;
    let mut copies: Vec<_> = (0..hedges).map_while(|_| (layer.replay)(&request)).collect();
    let replayable = copies.len() == usize::try_from(hedges).unwrap_or(usize::MAX);
    let now = hedger.shared.clock.now();
    let call = Call { replayable, ..Call::ONCE }.deadline(Deadline::after(now, *within));
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
    hedger.call(call, send, &layer.classify).await
}
