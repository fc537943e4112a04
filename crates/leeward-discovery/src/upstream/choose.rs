//! The choice of two.

use std::cmp::Ordering;
use std::sync::Arc;

use leeward_resilience::Instant;

use super::member::Member;
use super::{PickHint, Shared};

impl Shared {
    /// The member that gets the call, with the call already counted as on its way; `None` when all are full.
    pub(super) fn choose<'a>(
        &self,
        members: &'a [Arc<Member>],
        now: Instant,
        hint: &PickHint<'_>,
    ) -> Option<&'a Arc<Member>> {
        let limit = self.balance.outstanding_max;
        let sound = members.iter().filter(|member| member.is_sound(now)).count();
        let panic = self.balance.is_panic(sound, members.len());
        if panic && let Some(metrics) = self.metrics.get() {
            metrics.panic_picks.with([&self.name]).inc();
        }
        let usable = |member: &Member| (panic || member.is_sound(now)) && member.has_room(limit);
        let fresh = |member: &Member| usable(member) && !hint.avoid.contains(member.endpoint.id());
        self.choose_among(members, now, fresh).or_else(|| self.choose_among(members, now, usable))
    }

    fn choose_among<'a>(
        &self,
        members: &'a [Arc<Member>],
        now: Instant,
        eligible: impl Fn(&Member) -> bool,
    ) -> Option<&'a Arc<Member>> {
        let count = members.iter().filter(|member| eligible(member)).count();
        let (first, second) = self.two_of(count);
        let mut drawn = members.iter().filter(|member| eligible(member)).enumerate();
        let first = drawn.by_ref().find(|(place, _)| *place == first).map(|(_, member)| member);
        let second = drawn.find(|(place, _)| *place == second).map(|(_, member)| member);
        let (better, other) = match (first, second) {
            (Some(a), Some(b)) if self.is_better(b, a, now) => (Some(b), Some(a)),
            (Some(a), b) => (Some(a), b),
            (None, _) => (None, None),
        };
        // Others pick at the same time: a place that was free may be gone, and then any that is left will do.
        let limit = self.balance.outstanding_max;
        let rest = members.iter().filter(|member| eligible(member));
        [better, other].into_iter().flatten().chain(rest).find(|member| member.take(limit))
    }

    /// Whether `one` is expected to cost less than `other`; equals are tossed for.
    fn is_better(&self, one: &Member, other: &Member, now: Instant) -> bool {
        let cost = |member: &Member| member.cost(now, self.balance.decay);
        match cost(one).total_cmp(&cost(other)) {
            Ordering::Less => true,
            Ordering::Equal => self.rng.below(2) == 0,
            Ordering::Greater => false,
        }
    }

    /// Two different places below `count`, the smaller first; the second is out of range when there is only one.
    fn two_of(&self, count: usize) -> (usize, usize) {
        let below = |bound: usize| usize::try_from(self.rng.below(bound as u64)).unwrap_or(0);
        if count < 2 {
            return (0, 1);
        }
        let first = below(count);
        let second = (first + 1 + below(count - 1)) % count;
        (first.min(second), first.max(second))
    }
}
