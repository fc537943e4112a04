//! The endpoints of a service at one time, with the options in force: what a pick goes by.

use std::sync::{Arc, OnceLock};

use super::Hold;
use super::member::Member;
use crate::balance::Balance;
use crate::ring::Ring;

/// Replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub(super) members: Box<[Arc<Member>]>,
    /// Those that get no calls since an operator drains them, with their weights.
    pub(super) aside: Box<[(Arc<Member>, u32)]>,
    /// The weight of each, at least 1.
    pub(super) weights: Box<[u32]>,
    pub(super) weight_max: u32,
    pub(super) balance: Arc<Balance>,
    ring: OnceLock<Ring>,
}

impl Set {
    /// Those that are drained stand aside, as long as there is anybody else.
    pub(super) fn new(all: Vec<(Arc<Member>, u32)>, balance: Arc<Balance>) -> Self {
        let (mut aside, mut members): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(member, _)| member.held() == Some(Hold::Drained));
        if members.is_empty() {
            std::mem::swap(&mut aside, &mut members);
        }
        let (members, weights): (Vec<_>, Vec<u32>) = members.into_iter().unzip();
        let weight_max = weights.iter().copied().max().unwrap_or(1);
        Self {
            members: members.into(),
            aside: aside.into(),
            weights: weights.into(),
            weight_max,
            balance,
            ring: OnceLock::new(),
        }
    }

    /// Everybody, also who gets no calls.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Arc<Member>, u32)> {
        let aside = self.aside.iter().map(|(member, weight)| (member, *weight));
        self.members.iter().zip(self.weights.iter().copied()).chain(aside)
    }

    /// Where keys go. Made for the first call that has one.
    pub(super) fn ring(&self) -> &Ring {
        self.ring.get_or_init(|| {
            let ids = self.members.iter().map(|member| &**member.endpoint.id());
            Ring::new(ids.zip(self.weights.iter().copied()))
        })
    }

    /// Whether it has the same members with the same weights.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let same = |(one, other): (&Arc<Member>, &Arc<Member>)| Arc::ptr_eq(one, other);
        self.members.len() == other.members.len()
            && self.aside.len() == other.aside.len()
            && self.weights == other.weights
            && self.members.iter().zip(&other.members).all(same)
            && self
                .aside
                .iter()
                .zip(&other.aside)
                .all(|(one, other)| same((&one.0, &other.0)) && one.1 == other.1)
    }
}
