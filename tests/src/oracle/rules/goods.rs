//! Reservations, shipments, levels.

use std::collections::BTreeMap;

use super::{Findings, by, of};
use crate::oracle::Rule::{Shipment, Stock};
use crate::oracle::books::{Books, Goods, Level, Movement};

/// The goods of a confirmed order left the house; nothing of another is set aside. Each happened once.
pub(super) fn reservations(books: &Books, findings: &mut Findings) {
    let movements = by(&books.movements, |movement| &movement.reference);
    for (id, order) in &books.orders {
        let reservation = books.reservations.get(id);
        let status = reservation.map(|(status, _)| status.as_str());
        let fits = match order.status.as_str() {
            "confirmed" => {
                reservation.is_some_and(|(status, goods)| status == "issued" && *goods == order.goods)
            }
            _ => matches!(status, None | Some("released" | "short")),
        };
        findings.check(Stock, fits, || {
            format!("{} order {id} of {:?} has {reservation:?}", order.status, order.goods)
        });

        let moved = |kind: &str| goods_of(of(&movements, id).iter().filter(|it| it.kind == kind));
        let (reserved, released, issued) = (moved("reserved"), moved("released"), moved("issued"));
        let nothing = Goods::new();
        let fits = match order.status.as_str() {
            "confirmed" => reserved == order.goods && issued == order.goods && released == nothing,
            _ => {
                reserved == released && issued == nothing && (reserved == nothing || reserved == order.goods)
            }
        };
        findings.check(Stock, fits, || {
            format!(
                "{} order {id} of {:?}: reserved {reserved:?}, released {released:?}, issued {issued:?}",
                order.status, order.goods
            )
        });
    }
    for (id, (status, goods)) in &books.reservations {
        let known = books.orders.contains_key(id) || goods.is_empty();
        findings.check(Stock, known, || format!("nobody ordered what is {status} for {id}: {goods:?}"));
    }
}

/// How many of each product were moved, whichever way.
fn goods_of<'a>(movements: impl Iterator<Item = &'a &'a Movement>) -> Goods {
    let mut goods = Goods::new();
    for movement in movements {
        *goods.entry(movement.product_id.clone()).or_default() += movement.reserved.abs();
    }
    goods
}

/// A confirmed order has one shipment with its goods, any other none.
pub(super) fn shipments(books: &Books, findings: &mut Findings) {
    let shipments = by(&books.shipments, |shipment| &shipment.order_id);
    for (id, order) in &books.orders {
        let of_order = of(&shipments, id);
        let fits = match of_order {
            [] => order.status != "confirmed",
            [one] => {
                let is_whole = one.goods == order.goods && one.user_id == order.user_id;
                order.status == "confirmed" && is_whole && Some(&one.id) == order.shipment_id.as_ref()
            }
            _ => false,
        };
        findings.check(Shipment, fits, || format!("{} order {id} {order:?} has {of_order:?}", order.status));
    }
    for shipment in &books.shipments {
        findings.check(Shipment, books.orders.contains_key(&shipment.order_id), || {
            format!("nobody ordered {shipment:?}")
        });
    }
}

/// Levels are the sum of their movements; and what is on the shelf is what was counted, less what was shipped, plus what
/// came back, whatever the movements say.
pub(super) fn levels(books: &Books, findings: &mut Findings) {
    let mut moved: BTreeMap<&str, Level> = BTreeMap::new();
    let mut expected: BTreeMap<&str, Level> = BTreeMap::new();
    for movement in &books.movements {
        let level = moved.entry(&movement.product_id).or_default();
        level.on_hand += movement.on_hand;
        level.reserved += movement.reserved;
        if movement.kind == "counted" {
            expected.entry(&movement.product_id).or_default().on_hand += movement.on_hand;
        }
    }
    let shipped = books.shipments.iter().flat_map(|shipment| &shipment.goods);
    shipped.for_each(|(product, quantity)| expected.entry(product).or_default().on_hand -= quantity);
    let back =
        books.returns.values().filter(|entry| entry.status == "completed").flat_map(|entry| &entry.goods);
    back.for_each(|(product, quantity)| expected.entry(product).or_default().on_hand += quantity);
    let aside =
        books.reservations.values().filter(|(status, _)| status == "reserved").flat_map(|(_, goods)| goods);
    aside.for_each(|(product, quantity)| expected.entry(product).or_default().reserved += quantity);
    for (product, level) in &books.stock {
        let (moved, expected) = (moved.get(product.as_str()), expected.get(product.as_str()));
        findings.check(Stock, moved == Some(level), || {
            format!("{product} is at {level:?}, and was moved by {moved:?}")
        });
        findings.check(Stock, expected == Some(level), || {
            format!("{product} is at {level:?}; by shipments, returns and reservations it is at {expected:?}")
        });
    }
}
