//! The one inbound stack: what happens to a request between the socket and the handler.

mod body;
mod metrics;
mod stack;
mod trip;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use http::HeaderValue;
use leeward_resilience::{Deadline, Priority};
use leeward_runtime::unpanicked;
use leeward_telemetry::Correlation;
use tower::{Layer, Service, ServiceExt};

pub use metrics::{HTTP_REQUEST_DURATION_SECONDS, HTTP_REQUESTS_TOTAL};
pub use stack::InboundOptions;
use stack::rate_allows;
pub(crate) use stack::{Cut, Parts, Stack};

use crate::access::Access;
use crate::api::RouteOptions;
use crate::identity::Caller;
use crate::problem::Problem;
use trip::Trip;

/// What the stack found out about a request, for the extractors.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext {
    pub(crate) caller: Option<Caller>,
    pub(crate) correlation: Correlation,
    pub(crate) deadline: Deadline,
    pub(crate) priority: Priority,
}

/// The fixed part of a route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) options: RouteOptions,
}

/// Serves one request. Outermost first, a reason each.
async fn inbound(stack: Arc<Stack>, spec: Spec, mut request: Request, handler: Route) -> Response {
    // Request id and trace: before anything can go wrong, so that every answer and every log line carries them.
    let trip = Trip::begin(&stack, spec.path, &mut request);
    // The deadline starts: the caller's, or ours where that is nearer. It covers everything below.
    let deadline = stack.deadline(spec, request.headers(), trip.started);
    // What the rate limit said goes onto every answer after it, a refusal above all.
    let mut rate = None;
    let work = async {
        // Size: refused by its Content-Length before a byte is read, or cut off where it exceeds the limit.
        let mut request = body::bounded(request, spec.options.body_bytes_max)?;
        // Authenticate: by the signed assertion and nothing else; a wrong one is refused even where none is needed.
        let caller = stack.authenticate(request.headers()).await?;
        // Authorise: by what the route table says. The handler only narrows it down to the things that are one's own.
        spec.access.permits(caller.as_ref())?;
        // Rate limit, per principal: only who is known and allowed uses up a rate.
        rate = stack.rate(spec, caller.as_ref());
        rate.as_ref().map_or(Ok(()), rate_allows)?;
        // Shed: under overload a quick 503 is worth more than a late answer, and goes to the least important first.
        let priority = Stack::priority(spec, request.headers(), caller.as_ref());
        let permit = stack.admit(spec, priority, deadline).await?;
        // Past its deadline nothing is begun: nobody waits for it any more.
        stack.in_time(deadline)?;
        request.extensions_mut().insert(RequestContext {
            caller,
            correlation: trip.correlation(),
            deadline,
            priority,
        });
        // Injected faults stand where the work would, so that everything above is exercised as in a real outage.
        let response = stack.with_faults(spec, request, handler).await;
        // The permit is held to the end of the body: a streaming answer is work too.
        Ok::<_, Problem>(body::holding(permit, response))
    };
    // A panic is an answer like any other: the connection lives on, and it is counted below.
    let work = answered(work);
    // The ids stand on every line that is logged inside, by whomever.
    let work = trip.correlation().scope(work);
    let response = match tokio::time::timeout(deadline.remaining(trip.started), work).await {
        Ok(response) => response,
        Err(_past) => Problem::deadline_exceeded().into_response(),
    };
    // Metrics, log and span, and the headers by which the caller knows who answered what.
    trip.end(&stack, spec.path, response, rate)
}

/// The answer of the work below, whatever becomes of it.
async fn answered(work: impl Future<Output = Result<Response, Problem>>) -> Response {
    match unpanicked(work).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        Err(panic) => {
            // The work may have been done before it panicked: a 500 promises nothing.
            Problem::internal(&format_args!("a handler panicked: {panic}")).into_response()
        }
    }
}

/// Puts [`inbound`] around every method of a route.
pub(crate) fn layer(stack: &Arc<Stack>, spec: Spec) -> InboundLayer {
    InboundLayer { stack: Arc::clone(stack), spec }
}

#[derive(Debug, Clone)]
pub(crate) struct InboundLayer {
    stack: Arc<Stack>,
    spec: Spec,
}

impl Layer<Route> for InboundLayer {
    type Service = Inbound;

    fn layer(&self, handler: Route) -> Inbound {
        Inbound { stack: Arc::clone(&self.stack), spec: self.spec, handler }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Inbound {
    stack: Arc<Stack>,
    spec: Spec,
    handler: Route,
}

impl Service<Request> for Inbound {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let served = inbound(Arc::clone(&self.stack), self.spec, request, self.handler.clone());
        Box::pin(async move { Ok(served.await) })
    }
}

/// Runs the handler itself.
async fn run(handler: Route, request: Request) -> Response {
    handler.oneshot(request).await.unwrap_or_else(|never| match never {})
}

/// What the `RateLimit` headers call the limit by principal.
const RATED: &str = "principal";

/// The names by which services know each other and a request.
pub(crate) const SERVICE_NAME: http::HeaderName = http::HeaderName::from_static("x-service-name");

/// A header value of a name that is known to be one.
pub(crate) fn name_value(name: &str) -> HeaderValue {
    HeaderValue::from_str(name).unwrap_or_else(|_| HeaderValue::from_static("service"))
}
