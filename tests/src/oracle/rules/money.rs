//! Payments, invoices, the provider's ledger, refunds.

use shop_contracts::payments::OperationKind;
use shop_contracts::provider::{LedgerEntry, Verdict};

use super::{Findings, by, of};
use crate::oracle::Claims;
use crate::oracle::Rule::{Money, Payment, Provider, Return};
use crate::oracle::books::{Books, Order};

/// No order is confirmed whose card hands nothing over.
pub(super) fn unpaid(books: &Books, claims: &Claims, findings: &mut Findings) {
    for id in &claims.unpaid {
        let status = books.orders.get(id).map(|order| order.status.as_str());
        findings.check(Payment, status == Some("cancelled"), || {
            format!("order {id} is {status:?}, and its card hands nothing over")
        });
    }
}

/// A confirmed order has one captured payment and one invoice, a cancelled one neither.
pub(super) fn payments(books: &Books, findings: &mut Findings) {
    let payments = by(&books.payments, |payment| &payment.order_id);
    let invoices = by(&books.invoices, |invoice| &invoice.order_id);
    for (id, order) in &books.orders {
        let captured: Vec<_> =
            of(&payments, id).iter().filter(|payment| payment.status == "captured").collect();
        let invoices = of(&invoices, id);
        if order.status != "confirmed" {
            let open =
                of(&payments, id).iter().find(|it| !matches!(it.status.as_str(), "declined" | "voided"));
            findings.check(Payment, open.is_none(), || format!("{} order {id} has {open:?}", order.status));
            findings.check(Payment, invoices.is_empty(), || {
                format!("{} order {id} has {invoices:?}", order.status)
            });
            continue;
        }
        let fits = matches!(captured[..], [payment] if payment.amount_minor == order.total_minor
            && Some(&payment.id) == order.payment_id.as_ref());
        findings.check(Payment, fits, || format!("confirmed order {id} {order:?} has {captured:?}"));
        let fits = matches!(invoices, [invoice] if invoice.amount_minor == order.total_minor
            && Some(&invoice.payment_id) == order.payment_id.as_ref()
            && Some(invoice.number) == order.invoice_number);
        findings.check(Payment, fits, || format!("confirmed order {id} {order:?} has {invoices:?}"));
    }
    for payment in &books.payments {
        findings.check(Payment, books.orders.contains_key(&payment.order_id), || {
            format!("nobody ordered {payment:?}")
        });
    }
    for (place, invoice) in (1..).zip(&books.invoices) {
        findings
            .check(Payment, invoice.number == place, || format!("invoice {place} is missing: {invoice:?}"));
    }
}

/// The provider set aside and took money once for a confirmed order, and keeps none for a cancelled one.
pub(super) fn provider(books: &Books, findings: &mut Findings) {
    let done = || books.ledger.iter().filter(|entry| entry.operation.verdict == Verdict::Approved);
    let of_kind = |kind| done().filter(move |entry| entry.operation.kind == kind);
    let authorisations =
        by(of_kind(OperationKind::Authorise), |entry| entry.reference.as_deref().unwrap_or_default());
    let captures = by(of_kind(OperationKind::Capture), |entry| &entry.operation.authorisation);
    let voids = by(of_kind(OperationKind::Void), |entry| &entry.operation.authorisation);
    for (id, order) in &books.orders {
        let mut kept = Vec::new();
        for authorisation in of(&authorisations, id) {
            let name = &authorisation.operation.authorisation;
            let (captures, voids) = (of(&captures, name), of(&voids, name));
            findings.check(Provider, captures.len() <= 1, || {
                format!("order {id} was charged twice: {captures:?}")
            });
            findings.check(Provider, captures.is_empty() || voids.is_empty(), || {
                format!("order {id} was charged on a voided authorisation: {captures:?} {voids:?}")
            });
            if voids.is_empty() {
                kept.push((*authorisation, captures));
            }
        }
        let fits = match &kept[..] {
            [] => order.status != "confirmed",
            [(authorisation, [capture])] => {
                order.status == "confirmed" && is_full(order, authorisation, capture)
            }
            _ => false,
        };
        findings.check(Provider, fits, || {
            format!("{} order {id} over {} has {kept:?}", order.status, order.total_minor)
        });
    }
    for (id, entries) in &authorisations {
        findings.check(Provider, books.orders.contains_key(*id), || format!("nobody ordered {entries:?}"));
    }
    for payment in books.payments.iter().filter(|payment| payment.status == "captured") {
        let name = payment.authorisation.as_deref().unwrap_or_default();
        findings.check(Provider, of(&captures, name).len() == 1, || {
            format!("the provider knows nothing of {payment:?}")
        });
    }
}

fn is_full(order: &Order, authorisation: &LedgerEntry, capture: &LedgerEntry) -> bool {
    let amount = |entry: &LedgerEntry| entry.operation.amount.map(|amount| amount.amount_minor);
    amount(authorisation) == Some(order.total_minor) && amount(capture) == Some(order.total_minor)
}

/// A completed return was refunded once and in full, any other not at all.
pub(super) fn returns(books: &Books, findings: &mut Findings) {
    let is_refund = |entry: &&LedgerEntry| entry.operation.kind == OperationKind::Refund;
    let approved = |entry: &&LedgerEntry| entry.operation.verdict == Verdict::Approved;
    let refunds: Vec<_> = books.ledger.iter().filter(is_refund).filter(approved).collect();
    for payment in &books.payments {
        let completed =
            books.returns.values().filter(|it| it.order_id == payment.order_id && it.status == "completed");
        let due: i64 = completed.map(|it| it.refund_minor).sum();
        let of_payment =
            refunds.iter().filter(|it| Some(&it.operation.authorisation) == payment.authorisation.as_ref());
        let given: i64 =
            of_payment.filter_map(|it| it.operation.amount).map(|amount| amount.amount_minor).sum();
        let fits = payment.status != "captured" || (due == given && due == payment.refunded_minor);
        findings.check(Return, fits, || format!("{due} is due of {payment:?}, and {given} was given back"));
        // At rest no refund is under way: what was promised went back, or the promise was taken back.
        let settled = payment.refund_reserved_minor == payment.refunded_minor;
        findings.check(Return, settled, || format!("a promise is left on {payment:?}"));
    }
    for (id, entry) in &books.returns {
        let refund = books.refunds.get(id).map(|refund| (refund.status.as_str(), refund.amount_minor));
        let warehouse = books.warehouse.get(id).map(String::as_str);
        let fits = match entry.status.as_str() {
            "completed" => refund == Some(("refunded", entry.refund_minor)) && warehouse == Some("restocked"),
            "refused" => refund == Some(("refused", entry.refund_minor)) && warehouse == Some("undone"),
            "requested" => refund.is_none() && warehouse == Some("expected"),
            _under_way => false,
        };
        findings.check(Return, fits, || format!("return {id} {entry:?} has {refund:?} and {warehouse:?}"));
    }
}

/// What the provider took and kept is what confirmed orders cost less what completed returns gave back.
pub(super) fn conserved(books: &Books, findings: &mut Findings) {
    let moved = |kind| -> i64 {
        let done = books.ledger.iter().map(|entry| &entry.operation);
        let of_kind =
            done.filter(|operation| operation.kind == kind && operation.verdict == Verdict::Approved);
        of_kind.filter_map(|operation| operation.amount).map(|amount| amount.amount_minor).sum()
    };
    let confirmed = books.orders.values().filter(|order| order.status == "confirmed");
    let completed = books.returns.values().filter(|entry| entry.status == "completed");
    let sold: i64 = confirmed.map(|order| order.total_minor).sum();
    let back: i64 = completed.map(|entry| entry.refund_minor).sum();
    let invoiced: i64 = books.invoices.iter().map(|invoice| invoice.amount_minor).sum();
    let (taken, given) = (moved(OperationKind::Capture), moved(OperationKind::Refund));
    findings.check(Money, (taken, given) == (sold, back), || {
        format!("{taken} was taken and {given} given back, for {sold} sold and {back} returned")
    });
    findings.check(Money, invoiced == sold, || format!("{invoiced} was invoiced, for {sold} sold"));
    // What was set aside was taken or given up, to the last cent.
    let (aside, freed) = (moved(OperationKind::Authorise), moved(OperationKind::Void));
    findings.check(Money, aside == taken + freed, || {
        format!("{aside} was set aside, {taken} of it taken and {freed} given up")
    });
}
