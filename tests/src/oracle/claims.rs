//! What clients know: the orders that were promised to them.

use std::collections::{BTreeMap, BTreeSet};

/// What clients know, to be held against the books.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// The customer of every order that got its 202.
    pub accepted: BTreeMap<String, String>,
    /// How many orders a customer wanted in all, for customers who know: each of their keys has been answered.
    pub wanted: BTreeMap<String, usize>,
    /// Accepted orders that were to be paid with a card from which no money comes.
    pub unpaid: BTreeSet<String>,
}

impl Claims {
    /// Notes a 202 of a customer, of whom nothing else is known.
    pub fn accepted(&mut self, user_id: &str, order_id: &str) {
        self.accepted.insert(order_id.to_owned(), user_id.to_owned());
    }

    /// Notes a 202 of a customer who notes all of them, one a key.
    pub fn only(&mut self, user_id: &str, order_id: &str) {
        self.accepted(user_id, order_id);
        *self.wanted.entry(user_id.to_owned()).or_default() += 1;
    }

    /// Notes that no money comes from the card of an order.
    pub fn unpaid(&mut self, order_id: &str) {
        self.unpaid.insert(order_id.to_owned());
    }
}
