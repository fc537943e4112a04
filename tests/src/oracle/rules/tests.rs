//! Each rule is shown to turn red: books that agree, and one thing that somebody did wrong.

use shop_contracts::payments::OperationKind;
use shop_contracts::provider::{LedgerEntry, Operation, Verdict};
use shop_contracts::{Currency, Money};

use super::judge;
use crate::oracle::books::{
    Books, Goods, Invoice, Level, Mail, Movement, Order, Payment, Refund, Return, Shipment,
};
use crate::oracle::{Claims, Rule};

fn goods(quantity: i64) -> Goods {
    Goods::from([("lamp".to_owned(), quantity)])
}

fn entry(kind: OperationKind, authorisation: &str, order: &str, minor: i64) -> LedgerEntry {
    let operation = Operation {
        key: format!("{order}/{kind:?}"),
        kind,
        verdict: Verdict::Approved,
        code: None,
        authorisation: authorisation.into(),
        amount: Some(Money::new(minor, Currency::EUR)),
    };
    let reference = (kind == OperationKind::Authorise).then(|| order.to_owned());
    LedgerEntry { seq: 0, operation, reference, request_hash: String::new(), at_ms: 0 }
}

fn movement(kind: &str, reference: &str, on_hand: i64, reserved: i64) -> Movement {
    let (product_id, kind, reference) = ("lamp".into(), kind.into(), reference.into());
    Movement { product_id, kind, reference, on_hand, reserved }
}

fn mail(kind: &str, reference: &str) -> Mail {
    Mail { user_id: "ada".into(), kind: kind.into(), reference: reference.into(), channel: "email".into() }
}

/// One order that was confirmed, of which one lamp came back; and one that was cancelled after its card was authorised.
fn sound() -> (Books, Claims) {
    let mut books = Books::default();
    let confirmed = Order {
        user_id: "ada".into(),
        status: "confirmed".into(),
        goods: goods(2),
        lines_minor: 200,
        total_minor: 200,
        payment_id: Some("p1".into()),
        invoice_number: Some(1),
        shipment_id: Some("s1".into()),
    };
    let cancelled =
        Order { user_id: "ada".into(), status: "cancelled".into(), goods: goods(3), ..Order::default() };
    let cancelled = Order { lines_minor: 300, total_minor: 300, ..cancelled };
    for (id, order) in [("o1", confirmed), ("o2", cancelled)] {
        books.history.insert(id.into(), (order.status.clone(), order.total_minor));
        books.orders.insert(id.into(), order);
    }
    let back =
        Return { order_id: "o1".into(), status: "completed".into(), goods: goods(1), refund_minor: 100 };
    books.returns.insert("r1".into(), back);
    books.refunds.insert("r1".into(), Refund { status: "refunded".into(), amount_minor: 100 });
    books.warehouse.insert("r1".into(), "restocked".into());
    let payment = |id: &str, order: &str, status: &str, amount_minor, refunded_minor| Payment {
        id: id.into(),
        order_id: order.into(),
        status: status.into(),
        amount_minor,
        authorisation: Some(format!("a-{order}")),
        refund_reserved_minor: refunded_minor,
        refunded_minor,
    };
    books.payments = vec![payment("p1", "o1", "captured", 200, 100), payment("p2", "o2", "voided", 300, 0)];
    books.invoices =
        vec![Invoice { number: 1, payment_id: "p1".into(), order_id: "o1".into(), amount_minor: 200 }];
    books.ledger = vec![
        entry(OperationKind::Authorise, "a-o1", "o1", 200),
        entry(OperationKind::Authorise, "a-o2", "o2", 300),
        entry(OperationKind::Capture, "a-o1", "o1", 200),
        entry(OperationKind::Void, "a-o2", "o2", 300),
        entry(OperationKind::Refund, "a-o1", "o1", 100),
    ];
    books.movements = vec![
        movement("counted", "seed", 10, 0),
        movement("reserved", "o1", 0, 2),
        movement("reserved", "o2", 0, 3),
        movement("issued", "o1", -2, -2),
        movement("released", "o2", 0, -3),
        movement("return_held", "r1", 1, 1),
        movement("return_freed", "r1", 0, -1),
    ];
    books.stock.insert("lamp".into(), Level { on_hand: 9, reserved: 0 });
    books.shelf.insert("lamp".into(), 9);
    books.reservations.insert("o1".into(), ("issued".into(), goods(2)));
    books.reservations.insert("o2".into(), ("released".into(), goods(3)));
    let (id, order_id, user_id) = ("s1".into(), "o1".into(), "ada".into());
    books.shipments = vec![Shipment { id, order_id, user_id, goods: goods(2) }];
    books.mail = vec![
        mail("order_confirmed", "o1"),
        mail("shipped", "o1"),
        mail("order_cancelled", "o2"),
        mail("return_completed", "r1"),
        mail("welcome", "ada"),
    ];
    let mut claims = Claims::default();
    claims.only("ada", "o1");
    claims.only("ada", "o2");
    claims.unpaid("o2");
    (books, claims)
}

#[test]
fn books_that_agree_break_no_rule() {
    let (books, claims) = sound();
    assert_eq!(judge(&books, &claims), []);
}

/// One thing done wrong to books that agree.
type Wrong = fn(&mut Books);

#[test]
fn whatever_is_done_wrong_breaks_its_rule() {
    let wrongs: [(&str, Rule, Wrong); 25] = [
        ("an order hangs", Rule::Accepted, |it| it.orders.get_mut("o2").unwrap().status = "placed".into()),
        ("an order is lost", Rule::Accepted, |it| drop(it.orders.remove("o2"))),
        ("an order is there twice", Rule::Accepted, |it| {
            let twin = it.orders["o2"].clone();
            it.orders.insert("o3".into(), twin);
        }),
        ("a saga is stuck", Rule::Accepted, |it| it.unended_sagas = 1),
        ("a payment stays open", Rule::Payment, |it| it.payments[1].status = "authorised".into()),
        ("an invoice is missing", Rule::Payment, |it| it.invoices.clear()),
        ("an invoice is of another amount", Rule::Payment, |it| it.invoices[0].amount_minor = 1),
        ("an authorisation is left", Rule::Provider, |it| drop(it.ledger.remove(3))),
        ("money is set aside twice", Rule::Provider, |it| {
            it.ledger.push(entry(OperationKind::Authorise, "a-twin", "o1", 200));
        }),
        ("money is taken twice", Rule::Provider, |it| {
            it.ledger.push(entry(OperationKind::Capture, "a-o1", "o1", 200))
        }),
        ("money is taken of nobody", Rule::Money, |it| {
            it.ledger.push(entry(OperationKind::Capture, "a-x", "x", 5))
        }),
        ("money is given back twice", Rule::Return, |it| {
            it.ledger.push(entry(OperationKind::Refund, "a-o1", "o1", 100))
        }),
        ("a promised refund is forgotten", Rule::Return, |it| it.payments[0].refund_reserved_minor = 150),
        ("a return hangs", Rule::Return, |it| it.returns.get_mut("r1").unwrap().status = "restocked".into()),
        ("goods stay set aside", Rule::Stock, |it| {
            it.reservations.get_mut("o2").unwrap().0 = "reserved".into()
        }),
        ("goods are issued twice", Rule::Stock, |it| it.movements.push(movement("issued", "o1", -2, -2))),
        ("a level is not its movements", Rule::Stock, |it| it.stock.get_mut("lamp").unwrap().on_hand = 8),
        ("a shipment is missing", Rule::Shipment, |it| it.shipments.clear()),
        ("a parcel leaves for a cancelled order", Rule::Shipment, |it| {
            let twin = Shipment { order_id: "o2".into(), ..it.shipments[0].clone() };
            it.shipments.push(twin);
        }),
        ("a message is sent twice", Rule::Message, |it| it.mail.push(mail("shipped", "o1"))),
        ("somebody else is told in the customer's place", Rule::Message, |it| {
            it.mail[0].user_id = "bob".into()
        }),
        ("a welcome goes to somebody else", Rule::Message, |it| {
            it.mail.push(Mail { user_id: "bob".into(), ..mail("welcome", "ada") })
        }),
        ("a message is missing", Rule::Message, |it| drop(it.mail.remove(2))),
        ("the history is behind", Rule::ReadModel, |it| {
            it.history.get_mut("o1").unwrap().0 = "placed".into()
        }),
        ("the catalog is behind", Rule::ReadModel, |it| *it.shelf.get_mut("lamp").unwrap() = 10),
    ];
    for (name, rule, wrong) in wrongs {
        let (mut books, claims) = sound();
        wrong(&mut books);
        let found = judge(&books, &claims);
        assert!(found.iter().any(|violation| violation.rule == rule), "{name}: {found:?}");
    }
}

/// Such an order may agree with all other books: the money was taken, and from a card that hands nothing over.
#[test]
fn a_card_that_hands_nothing_over_buys_nothing() {
    let (books, mut claims) = sound();
    claims.unpaid("o1");
    let rules: Vec<Rule> = judge(&books, &claims).iter().map(|violation| violation.rule).collect();
    assert_eq!(rules, [Rule::Payment]);
}
