//! One sample of each wire type, with every field filled in.

use shop_contracts::inventory::{
    ReleaseStock, ReserveStock, ReturnReceived, ShortLine, StockChanged, StockLine, StockRelease,
    StockReleased, StockReservation, StockReserved, StockReturnUndone, StockReturned,
};
use shop_contracts::orders::{
    CancelReason, Cart, CartLine, CheckoutAccepted, CheckoutRequest, ExpectedLine, Order, OrderCancelled,
    OrderConfirmed, OrderLine, OrderPlaced, OrderStatus, OrderSummary, PutCartItem,
};
use shop_contracts::payments::{
    AuthoriseRequest, CaptureRequest, Invoice, KeyedPayment, OperationKind, Payment, PaymentAuthorised,
    PaymentCaptured, PaymentRefundRefused, PaymentRefunded, PaymentStatus, PaymentVoided, VoidRequest,
};
use shop_contracts::returns::{
    OverdueReturn, RequestReturn, Return, ReturnCompleted, ReturnRefused, ReturnRequested, ReturnStatus,
};
use shop_contracts::shipping::{CreateShipment, ShipmentCreated, ShipmentOpened};
use shop_contracts::users::{Channel, TokenRevoked, UserErased, UserPreferencesChanged, UserRegistered};
use shop_contracts::{Currency, Money, Page, catalog, provider};

use crate::golden::Golden;

const NOW_MS: i64 = 1_767_225_600_000;

const fn eur(amount_minor: i64) -> Money {
    Money::new(amount_minor, Currency::EUR)
}

fn stock_lines() -> Vec<StockLine> {
    vec![StockLine { product_id: "p-1".into(), quantity: 2 }]
}

fn order_lines() -> Vec<OrderLine> {
    vec![OrderLine { product_id: "p-1".into(), name: "Kettle".into(), quantity: 2, unit_price: eur(1250) }]
}

fn reason() -> CancelReason {
    CancelReason { code: "card_declined".into(), detail: "the payment was declined".into() }
}

fn cart() -> Cart {
    let line = CartLine {
        product_id: "p-1".into(),
        name: "Kettle".into(),
        quantity: 2,
        unit_price: eur(1250),
        line_total: eur(2500),
        price_when_put: Some(eur(1200)),
        sold: true,
    };
    Cart { lines: vec![line], total: Some(eur(2500)) }
}

fn payment() -> Payment {
    Payment {
        payment_id: "pay-1".into(),
        order_id: "o-1".into(),
        user_id: "u-1".into(),
        status: PaymentStatus::Captured,
        amount: eur(2500),
        refunded: eur(0),
        invoice_number: Some(7),
        decline_code: Some("declined".into()),
        created_at_ms: NOW_MS,
        updated_at_ms: NOW_MS + 1,
    }
}

fn operation() -> provider::Operation {
    provider::Operation {
        key: "k-1".into(),
        kind: OperationKind::Authorise,
        verdict: provider::Verdict::Declined,
        code: Some("declined".into()),
        authorisation: "auth-1".into(),
        amount: Some(eur(2500)),
    }
}

/// Hands every sample to `golden`.
pub(crate) fn all(golden: &mut Golden) {
    catalog_and_users(golden);
    inventory_and_shipping(golden);
    orders_http(golden);
    orders_events(golden);
    payments(golden);
    returns(golden);
    the_provider(golden);
}

fn catalog_and_users(golden: &mut Golden) {
    golden.check(
        "product",
        &catalog::Product {
            product_id: "p-1".into(),
            name: "Kettle".into(),
            description: "Boils water".into(),
            category_id: "c-1".into(),
            price: eur(1250),
            active: true,
            version: 3,
            available: Some(12),
        },
    );
    golden.check(
        "product.changed",
        &catalog::ProductChanged {
            product_id: "p-1".into(),
            name: "Kettle".into(),
            category_id: "c-1".into(),
            price: eur(1250),
            active: true,
            version: 3,
        },
    );
    golden.check("product.removed", &catalog::ProductRemoved { product_id: "p-1".into(), version: 4 });
    golden.check("user.registered", &UserRegistered { user_id: "u-1".into(), registered_at_ms: NOW_MS });
    golden.check("user.erased", &UserErased { user_id: "u-1".into() });
    golden.check(
        "user.preferences_changed",
        &UserPreferencesChanged {
            user_id: "u-1".into(),
            channels: vec![Channel::Email, Channel::Sms, Channel::Push],
            language: "en".into(),
            version: 2,
        },
    );
    golden.check(
        "token.revoked",
        &TokenRevoked {
            user_id: "u-1".into(),
            token_id: Some("jti-1".into()),
            revoked_at_ms: NOW_MS,
            expires_at_ms: NOW_MS + 900_000,
        },
    );
}

fn inventory_and_shipping(golden: &mut Golden) {
    let (order_id, return_id, lines) = (|| "o-1".into(), || "r-1".into(), stock_lines);
    golden.check("reserve_stock", &ReserveStock { order_id: order_id(), lines: lines() });
    golden.check("reserve_stock.reserved", &StockReservation::Reserved);
    golden.check(
        "reserve_stock.out_of_stock",
        &StockReservation::OutOfStock {
            short: vec![ShortLine { product_id: "p-1".into(), wanted: 2, available: 1 }],
        },
    );
    golden.check("reserve_stock.released", &StockReservation::Released);
    golden.check("release_stock", &ReleaseStock { order_id: order_id() });
    golden.check("release_stock.reply", &StockRelease { released: true });
    golden.check("stock.reserved", &StockReserved { order_id: order_id(), lines: lines() });
    golden.check("stock.released", &StockReleased { order_id: order_id(), lines: lines() });
    golden.check(
        "stock.changed",
        &StockChanged { product_id: "p-1".into(), on_hand: 10, reserved: 2, version: 5 },
    );
    golden.check(
        "return.received",
        &ReturnReceived { return_id: return_id(), order_id: order_id(), user_id: "u-1".into() },
    );
    golden.check(
        "stock.returned",
        &StockReturned {
            return_id: return_id(),
            order_id: order_id(),
            user_id: "u-1".into(),
            lines: lines(),
            refund: eur(2500),
        },
    );
    golden.check(
        "stock.return_undone",
        &StockReturnUndone { return_id: return_id(), order_id: order_id(), lines: lines() },
    );
    golden.check(
        "create_shipment",
        &CreateShipment { order_id: order_id(), user_id: "u-1".into(), lines: lines() },
    );
    golden.check(
        "create_shipment.reply",
        &ShipmentOpened { shipment_id: "s-1".into(), tracking_code: "LW-1".into() },
    );
    golden.check(
        "shipment.created",
        &ShipmentCreated {
            shipment_id: "s-1".into(),
            order_id: order_id(),
            user_id: "u-1".into(),
            tracking_code: "LW-1".into(),
            lines: lines(),
        },
    );
}

fn orders_http(golden: &mut Golden) {
    golden.check("put_cart_item", &PutCartItem { quantity: 2 });
    golden.check("cart", &cart());
    golden.check(
        "checkout",
        &CheckoutRequest {
            payment_token: "tok_visa".into(),
            expected_total: Some(eur(2500)),
            expected_lines: vec![ExpectedLine {
                product_id: "p-1".into(),
                quantity: 2,
                unit_price: eur(1250),
            }],
        },
    );
    golden.check(
        "checkout.accepted",
        &CheckoutAccepted { order_id: "o-1".into(), status: OrderStatus::Placed, total: eur(2500) },
    );
    golden.check(
        "order",
        &Order {
            order_id: "o-1".into(),
            status: OrderStatus::Cancelled,
            lines: order_lines(),
            total: eur(2500),
            cancelled: Some(reason()),
            payment_id: Some("pay-1".into()),
            invoice_number: Some(7),
            shipment_id: Some("s-1".into()),
            tracking_code: Some("LW-1".into()),
            placed_at_ms: NOW_MS,
            updated_at_ms: NOW_MS + 1,
        },
    );
    let summary = OrderSummary {
        order_id: "o-1".into(),
        status: OrderStatus::Confirmed,
        total: eur(2500),
        items: 2,
        tracking_code: Some("LW-1".into()),
        placed_at_ms: NOW_MS,
        updated_at_ms: NOW_MS + 1,
    };
    golden.check("orders", &Page { items: vec![summary], next: Some("o-1".into()) });
}

fn orders_events(golden: &mut Golden) {
    golden.check(
        "order.placed",
        &OrderPlaced {
            order_id: "o-1".into(),
            user_id: "u-1".into(),
            lines: order_lines(),
            total: eur(2500),
            placed_at_ms: NOW_MS,
        },
    );
    golden.check(
        "order.confirmed",
        &OrderConfirmed {
            order_id: "o-1".into(),
            user_id: "u-1".into(),
            total: eur(2500),
            payment_id: "pay-1".into(),
            shipment_id: "s-1".into(),
            tracking_code: "LW-1".into(),
            confirmed_at_ms: NOW_MS,
        },
    );
    golden.check(
        "order.cancelled",
        &OrderCancelled {
            order_id: "o-1".into(),
            user_id: "u-1".into(),
            reason: reason(),
            cancelled_at_ms: NOW_MS,
        },
    );
}

fn payments(golden: &mut Golden) {
    let (payment_id, order_id, user_id, amount) = ("pay-1", "o-1", "u-1", eur(2500));
    golden.check(
        "authorise",
        &AuthoriseRequest {
            order_id: order_id.into(),
            user_id: user_id.into(),
            amount,
            payment_token: "tok_visa".into(),
        },
    );
    golden.check("capture", &CaptureRequest { payment_id: payment_id.into() });
    golden.check(
        "void",
        &VoidRequest {
            authorisation_key: "k-1".into(),
            order_id: order_id.into(),
            user_id: user_id.into(),
            amount,
        },
    );
    golden.check("payment", &payment());
    golden.check("payment.by_key", &KeyedPayment { kind: OperationKind::Capture, payment: payment() });
    golden.check(
        "invoice",
        &Invoice {
            number: 7,
            payment_id: payment_id.into(),
            order_id: order_id.into(),
            user_id: user_id.into(),
            amount,
            issued_at_ms: NOW_MS,
        },
    );
    payment_events(golden);
}

fn payment_events(golden: &mut Golden) {
    let amount = eur(2500);
    let (payment_id, order_id, user_id) = (|| "pay-1".into(), || "o-1".into(), || "u-1".into());
    golden.check(
        "payment.authorised",
        &PaymentAuthorised { payment_id: payment_id(), order_id: order_id(), user_id: user_id(), amount },
    );
    golden.check(
        "payment.captured",
        &PaymentCaptured {
            payment_id: payment_id(),
            order_id: order_id(),
            user_id: user_id(),
            amount,
            invoice_number: 7,
        },
    );
    golden.check(
        "payment.voided",
        &PaymentVoided { payment_id: payment_id(), order_id: order_id(), user_id: user_id(), amount },
    );
    golden.check(
        "payment.refunded",
        &PaymentRefunded {
            return_id: "r-1".into(),
            payment_id: payment_id(),
            order_id: order_id(),
            user_id: user_id(),
            amount,
        },
    );
    golden.check(
        "payment.refund_refused",
        &PaymentRefundRefused {
            return_id: "r-1".into(),
            order_id: order_id(),
            user_id: user_id(),
            amount,
            code: "refund_refused".into(),
        },
    );
}

fn returns(golden: &mut Golden) {
    golden.check(
        "request_return",
        &RequestReturn { order_id: "o-1".into(), lines: stock_lines(), reason: "too loud".into() },
    );
    let entry = Return {
        return_id: "r-1".into(),
        order_id: "o-1".into(),
        status: ReturnStatus::RefundRefused,
        lines: stock_lines(),
        refund: eur(2500),
        reason: "too loud".into(),
        refusal: Some("refund_refused".into()),
        requested_at_ms: NOW_MS,
        due_at_ms: NOW_MS + 2,
        updated_at_ms: NOW_MS + 1,
    };
    golden.check("return", &entry);
    golden.check("return.overdue", &OverdueReturn { user_id: "u-1".into(), entry });
    golden.check(
        "return.requested",
        &ReturnRequested {
            return_id: "r-1".into(),
            order_id: "o-1".into(),
            user_id: "u-1".into(),
            lines: stock_lines(),
            refund: eur(2500),
        },
    );
    golden.check(
        "return.completed",
        &ReturnCompleted {
            return_id: "r-1".into(),
            order_id: "o-1".into(),
            user_id: "u-1".into(),
            refund: eur(2500),
        },
    );
    golden.check(
        "return.refused",
        &ReturnRefused {
            return_id: "r-1".into(),
            order_id: "o-1".into(),
            user_id: "u-1".into(),
            code: "refund_refused".into(),
        },
    );
}

fn the_provider(golden: &mut Golden) {
    let amount = eur(2500);
    golden.check(
        "provider.authorise",
        &provider::Authorise { amount, token: "tok_visa".into(), reference: "o-1".into() },
    );
    golden.check("provider.capture", &provider::Capture { authorisation: "auth-1".into(), amount });
    golden.check("provider.void", &provider::Void { authorisation_key: "k-1".into() });
    golden.check("provider.refund", &provider::Refund { authorisation: "auth-1".into(), amount });
    golden.check("provider.operation", &operation());
    let entry = provider::LedgerEntry {
        seq: 1,
        operation: operation(),
        reference: Some("o-1".into()),
        request_hash: "ab".repeat(32),
        at_ms: NOW_MS,
    };
    golden.check("provider.ledger", &provider::LedgerPage { entries: vec![entry], next: Some(1) });
    golden.check(
        "provider.faults",
        &provider::Faults {
            latency_ms: 20,
            error_rate: 0.5,
            lost_reply_rate: 0.25,
            refuse_all: true,
            refuse_refunds: true,
        },
    );
}
