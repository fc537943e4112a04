//! Named policies: options that are written once and used by many services or routes.
//!
//! A service or a route names one, or a list of which a later one wins; its own keys win over all. Maps are laid over each
//! other key by key, anything else is taken whole. A policy names no other one, so that there are no circles.

use std::cell::RefCell;
use std::collections::BTreeMap;

use leeward_runtime::config::{Node, Origin};

/// A named policy, as a configuration defines it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// Its place, as `policies.services.patient`.
    pub path: String,
    /// Where it stands.
    pub origin: Origin,
    /// How many services or routes use it.
    pub uses: usize,
}

/// The policies of one kind.
pub(super) struct Policies<'d> {
    known: BTreeMap<&'d str, Node<'d>>,
    uses: RefCell<BTreeMap<&'d str, usize>>,
}

impl<'d> Policies<'d> {
    /// Those of `policies.services` or `policies.routes`.
    pub(super) fn read(node: &Node<'d>) -> Self {
        Self { known: node.entries().into_iter().collect(), uses: RefCell::default() }
    }

    /// The node over the policies that it names.
    pub(super) fn under(&self, node: &Node<'d>) -> Node<'d> {
        let policy = node.get("policy");
        let mut named = Vec::new();
        let items = if policy.is_list() { policy.items() } else { vec![policy] };
        for item in items {
            let Some(name) = item.text() else { continue };
            match self.known.get_key_value(name.as_str()) {
                Some((name, node)) => {
                    *self.uses.borrow_mut().entry(name).or_default() += 1;
                    named.push(node.clone());
                }
                None => item.reject_name("is no policy of its kind", self.known.keys().copied()),
            }
        }
        // A later one wins over an earlier one.
        named.reverse();
        node.clone().over(&named)
    }

    /// Those that nothing uses: whatever is wrong with the others is found by their users.
    pub(super) fn unused(&self) -> impl Iterator<Item = Node<'d>> {
        let uses = self.uses.borrow();
        let unused: Vec<_> = self.known.iter().filter(|(name, _)| !uses.contains_key(**name)).collect();
        unused.into_iter().map(|(_, node)| node.clone().partial()).collect::<Vec<_>>().into_iter()
    }

    pub(super) fn list(&self) -> impl Iterator<Item = Named> {
        let uses = self.uses.borrow();
        let named = |(name, node): (&&str, &Node<'_>)| Named {
            path: node.path().to_owned(),
            origin: node.origin(),
            uses: uses.get(name).copied().unwrap_or_default(),
        };
        self.known.iter().map(named).collect::<Vec<_>>().into_iter()
    }
}
