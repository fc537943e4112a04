//! Reading how a new version of a service takes over.

use leeward_runtime::config::Node;

use super::routes::{Services, service};
use super::split::{choices, hundredths};
use crate::delivery::Kind;
use crate::split::{Arm, Split, Unit, WHOLE};

/// `delivery` with what says how requests are shared out.
pub(super) fn delivery(route: &Node<'_>, services: &mut Services, knows_users: bool) -> Option<Split> {
    let node = route.get("delivery");
    let kind = node.get("kind").required().one_of(&Kind::ALL);
    let stable = service(&node.get("stable").required(), services);
    let candidate_node = node.get("candidate").required();
    let candidate = service(&candidate_node, services);
    let share_node = node.get("share");
    let share =
        share_node.parse_with("a share", "a share from 0% to 100%, by hundredths of a percent", hundredths);
    if !route.get("id").is_given() {
        node.reject(
            "needs an `id` of the route, by which operators move it",
            "`id` beside it, as `id: orders`",
        );
    }
    let (kind, stable, candidate) = (kind?, stable?, candidate?);
    let share = share.unwrap_or(0);
    if !kind.allows(share) {
        share_node
            .reject(format_args!("does not go with {}, which is at one moment", kind.as_str()), "0% or 100%");
    }
    if stable == candidate {
        candidate_node.reject("is `stable` as well", "another service");
    }
    let arms =
        vec![Arm { service: stable, weight: WHOLE - share }, Arm { service: candidate, weight: share }];
    let (deal, pins, sticky) = choices(route, &arms, services, knows_users);
    Some(Split { arms, unit: Unit::Percent, deal, pins, sticky, delivery: Some(kind) })
}
