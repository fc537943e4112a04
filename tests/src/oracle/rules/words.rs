//! What customers were told, and what read models show.

use std::collections::BTreeMap;

use super::Findings;
use crate::oracle::Rule::{Message, ReadModel};
use crate::oracle::books::{Books, Mail};

/// Every customer heard once, on each channel, what became of an order or a return, and nobody else did.
pub(super) fn messages(books: &Books, findings: &mut Findings) {
    let mut told: BTreeMap<(&str, &str, &str), BTreeMap<&str, usize>> = BTreeMap::new();
    for mail in &books.mail {
        let what = (mail.user_id.as_str(), mail.reference.as_str(), mail.kind.as_str());
        *told.entry(what).or_default().entry(&mail.channel).or_default() += 1;
        findings.check(Message, whose(books, mail) == Some(&mail.user_id), || {
            format!("{mail:?} is about what belongs to {:?}", whose(books, mail))
        });
    }
    for ((user_id, reference, kind), channels) in &told {
        let twice = channels.values().any(|times| *times > 1);
        findings.check(Message, !twice, || {
            format!("{user_id} was told {kind} of {reference} more than once: {channels:?}")
        });
    }
    let mut expect = |user_id: &str, reference: &str, kind: &str, is_due: bool| {
        // Whoever has said how to be reached may have said nothing, or something else meanwhile.
        let is_told = told.contains_key(&(user_id, reference, kind));
        let holds = if is_due { is_told || books.particular.contains(user_id) } else { !is_told };
        findings.check(Message, holds, || {
            format!("{kind} of {reference} to {user_id}: due is {is_due}, told is {is_told}")
        });
    };
    for (id, order) in &books.orders {
        expect(&order.user_id, id, "order_confirmed", order.status == "confirmed");
        expect(&order.user_id, id, "shipped", order.status == "confirmed");
        expect(&order.user_id, id, "order_cancelled", order.status == "cancelled");
    }
    for (id, entry) in &books.returns {
        let user_id = books.orders.get(&entry.order_id).map_or("", |order| &order.user_id);
        expect(user_id, id, "return_completed", entry.status == "completed");
        expect(user_id, id, "return_refused", entry.status == "refused");
    }
}

/// The customer whom a message is about: a welcome names the customer itself, any other an order or a return.
fn whose<'b>(books: &'b Books, mail: &'b Mail) -> Option<&'b String> {
    if mail.kind == "welcome" {
        return Some(&mail.reference);
    }
    let order_id = books.returns.get(&mail.reference).map_or(&mail.reference, |entry| &entry.order_id);
    books.orders.get(order_id).map(|order| &order.user_id)
}

/// The order history shows every order as it is, the catalog every level.
pub(super) fn read_models(books: &Books, findings: &mut Findings) {
    findings.check(ReadModel, books.history.len() == books.orders.len(), || {
        format!("the history has {} of {} orders", books.history.len(), books.orders.len())
    });
    for (id, order) in &books.orders {
        let shown = books.history.get(id);
        let fits =
            shown.is_some_and(|(status, minor)| *status == order.status && *minor == order.total_minor);
        findings.check(ReadModel, fits, || format!("order {id} {order:?} is shown as {shown:?}"));
    }
    for (product, level) in &books.stock {
        let (shown, available) = (books.shelf.get(product), level.on_hand - level.reserved);
        findings.check(ReadModel, shown == Some(&available), || {
            format!("{available} of {product} are available, and the catalog shows {shown:?}")
        });
    }
}
