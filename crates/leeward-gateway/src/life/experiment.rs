//! A request on a route on which an operator has something go wrong.

use std::rc::Rc;
use std::time::Duration;

use http::{Response, StatusCode};
use leeward_resilience::FaultInjector;

use super::trip::Trip;
use super::{Core, Going, further};
use crate::body::Download;
use crate::refusal::{Refusal, Stage, code};

/// By so much a wait on purpose may outlast the request's deadline, so that what the gateway says about it comes first.
const GRACE: Duration = Duration::from_millis(250);

/// The request, or what the experiment makes of it. What it makes is no service's doing: no breaker and no endpoint hears of it.
pub(super) async fn run(
    faults: &FaultInjector,
    core: &Rc<Core>,
    trip: &mut Trip,
    going: Going<'_>,
) -> Result<Response<Download>, Refusal> {
    let left = going.deadline.remaining(core.shared.clock.now()).saturating_add(GRACE);
    let left = left.saturating_add(going.route.beyond_deadline());
    let id = &going.route.config.id;
    let broken = |fault| {
        let detail = format!("a request of {id} was broken on purpose: {fault}");
        Err(Refusal::unavailable(code::UNAVAILABLE, Stage::Upstream, detail)
            .hint("an operator runs an experiment with faults on this route: GET /v1/holds"))
    };
    match tokio::time::timeout(left, faults.call(|| further(core, trip, going), broken)).await {
        Ok(answer) => answer,
        Err(_) => {
            let detail = "an experiment with faults took longer than the request has";
            Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, code::DEADLINE_EXCEEDED, Stage::Deadline, detail))
        }
    }
}
