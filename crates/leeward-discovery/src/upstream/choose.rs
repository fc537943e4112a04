//! From what is known about the endpoints to the one that gets the call.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use leeward_resilience::Instant;

use super::member::Member;
use super::set::Set;
use super::{PickHint, Shared};
use crate::balance::Algorithm;
use crate::choice::{self, Candidates, Draws};

/// How long the count of sound endpoints is believed. Changes of health and ejections are told at once; what comes by
/// itself is the end of an ejection.
const RECOUNT: Duration = Duration::from_millis(10);

impl Shared {
    /// The member that gets the call, with the call already counted as on its way; `None` when all are full.
    pub(super) fn choose<'a>(
        &self,
        set: &'a Set,
        now: Instant,
        hint: &PickHint<'a>,
    ) -> Option<&'a Arc<Member>> {
        let mut draws = Draws::new(self.rng.next_u64());
        let panic = self.is_panic(set, now);
        // A key comes back to an endpoint that is starting once, and does not go to and fro.
        let patience = hint.key.map_or_else(|| draws.unit(), |key| Draws::new(key).unit());
        let field = Field { set, now, panic, avoid: hint.avoid, starting: Some(patience) };
        let any_speed = Field { starting: None, ..field };
        let anybody = Field { avoid: &[], ..any_speed };
        // Who is still starting steps back first, then whoever the call failed at.
        [field, any_speed, anybody].into_iter().find_map(|field| self.choose_among(&field, hint, &mut draws))
    }

    fn choose_among<'a>(
        &self,
        field: &Field<'a>,
        hint: &PickHint<'a>,
        draws: &mut Draws,
    ) -> Option<&'a Arc<Member>> {
        let (set, limit) = (field.set, field.set.balance.outstanding_max);
        let place = match (set.balance.algorithm, hint.key) {
            (_, Some(key)) => choice::ring_hash(field, set.ring(), key, set.balance.bounded_load()),
            (Algorithm::PeakEwma(_), None) => choice::peak_ewma(field, draws),
            (Algorithm::LeastRequest, None) => choice::least_request(field, draws),
            (Algorithm::RoundRobin, None) => {
                choice::round_robin(field, self.turn.fetch_add(1, Ordering::Relaxed))
            }
            (Algorithm::RandomOfTwo | Algorithm::RingHash(_), None) => choice::random_of_two(field, draws),
        };
        // Others pick at the same time: a place that was free may be gone, and then any that is left will do.
        let rest = (0..field.len()).filter(|place| field.is_eligible(*place));
        let mut places = place.into_iter().chain(rest).map(|place| &set.members[place]);
        places.find(|member| member.take(limit))
    }

    /// Whether so few are sound that soundness does not count.
    fn is_panic(&self, set: &Set, now: Instant) -> bool {
        if now.as_nanos() >= self.recount_at.load(Ordering::Relaxed) {
            let sound = set.members.iter().filter(|member| member.is_sound(now)).count();
            let panic = set.balance.is_panic(sound, set.members.len());
            self.panic.store(panic, Ordering::Relaxed);
            self.recount_at.store((now + RECOUNT).as_nanos(), Ordering::Relaxed);
            self.count_panic_picks();
        }
        let panic = self.panic.load(Ordering::Relaxed);
        if panic {
            self.panic_picks.fetch_add(1, Ordering::Relaxed);
        }
        panic
    }

    /// Shows the picks of a panic in the metrics.
    pub(super) fn count_panic_picks(&self) {
        if self.panic_picks.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(metrics) = self.metrics.get() {
            metrics.panic_picks.with([&self.name]).add(self.panic_picks.swap(0, Ordering::Relaxed));
        }
    }
}

/// The endpoints as one call sees them.
#[derive(Clone, Copy)]
struct Field<'a> {
    set: &'a Set,
    now: Instant,
    panic: bool,
    avoid: &'a [Arc<str>],
    /// A number in 0 .. 1 above which the share of a starting endpoint must be; `None`: it has its whole share.
    starting: Option<f64>,
}

impl Candidates for Field<'_> {
    fn len(&self) -> usize {
        self.set.members.len()
    }

    fn is_eligible(&self, place: usize) -> bool {
        let member = &self.set.members[place];
        let balance = &self.set.balance;
        (self.panic || member.is_sound(self.now))
            && member.has_room(balance.outstanding_max)
            && !self.avoid.contains(member.endpoint.id())
            && self.starting.is_none_or(|patience| member.ramp(self.now, balance.slow_start) > patience)
    }

    fn weight(&self, place: usize) -> u32 {
        self.set.weights[place]
    }

    fn weight_max(&self) -> u32 {
        self.set.weight_max
    }

    fn outstanding(&self, place: usize) -> u32 {
        self.set.members[place].outstanding()
    }

    fn cost(&self, place: usize) -> f64 {
        self.set.members[place].cost(self.load(place), self.now, self.set.balance.decay())
    }
}
