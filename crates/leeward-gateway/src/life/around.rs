//! The layers of the program around what is still to come of a request.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http::{Response, StatusCode};

use super::trip::Trip;
use super::{Core, Going, onward};
use crate::body::Download;
use crate::layer::{Ask, End};
use crate::refusal::{Refusal, Stage, code};

/// By so much layers may outlast the request's deadline, so that what the gateway says about it comes first.
const GRACE: Duration = Duration::from_millis(250);

pub(super) async fn layers(
    core: &Rc<Core>,
    trip: &mut Trip,
    mut going: Going<'_>,
) -> Result<Response<Download>, Refusal> {
    let route = &going.route.config.id;
    let ask = Ask::new(&mut going.head, going.path, route, trip.client, going.subject.as_ref());
    let left = going.deadline.remaining(core.shared.clock.now()).saturating_add(GRACE);
    let left = left.saturating_add(going.route.beyond_deadline());
    let (way, goes_on) = (&mut *trip, Cell::new(false));
    let asked = &goes_on;
    let end: End<'_> = Box::new(move |headers| {
        asked.set(true);
        Box::pin(async move {
            going.head.headers = headers;
            onward(core, way, going).await
        })
    });
    let done = tokio::time::timeout(left, Box::pin(core.layers.run(ask, end))).await;
    let answer = done.unwrap_or_else(|_| Err(late()))?;
    if !goes_on.get() {
        trip.is_answered_here();
    }
    Ok(answer)
}

fn late() -> Refusal {
    let detail = "a layer of this gateway took longer than the request has";
    Refusal::new(StatusCode::GATEWAY_TIMEOUT, code::DEADLINE_EXCEEDED, Stage::Layer, detail)
        .hint("limits.deadline, or the route's deadline")
}
