//! The checkout: what happens to an order between its 202 and its end.
//!
//! ```text
//! reserve stock      command to inventory    undo: release stock
//! authorise payment  call to payments        undo: void payment
//! capture payment    call to payments        the pivot: from here on the order is confirmed, whatever it takes
//! create shipment    command to shipping     tried for ever
//! confirm order      own transaction         tried for ever
//! ```
//!
//! A business "no" (out of stock, card declined) undoes what was done and cancels the order. An outcome that is not
//! known is asked after under the same key, and nothing is undone or repeated until it is.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use leeward_events::Outbox;
use leeward_resilience::Clock;
use leeward_saga::definition::Error as DefinitionError;
use leeward_saga::{Action, Definition, End, EndCx, Fault, Outcome, Retry, Signal, StepCx, Undo};
use leeward_service::{CallError, Client, Command, Effect, command};
use leeward_store::Tx;
use serde::{Deserialize, Serialize};
use shop_contracts::inventory::{ReleaseStock, ReserveStock, StockLine, StockRelease, StockReservation};
use shop_contracts::orders::{CancelReason, OrderCancelled, OrderConfirmed};
use shop_contracts::payments::{AuthoriseRequest, CaptureRequest, Payment, VoidRequest};
use shop_contracts::shipping::{CreateShipment, ShipmentOpened};
use shop_contracts::{Money, OrderId, PaymentId, ShipmentId, UserId, problem};

use crate::book::{self, Confirmation};

/// The name of the saga. Its id is the order's.
pub(crate) const NAME: &str = "checkout";

/// For about an hour a checkout waits for payments to come back before it gives up and frees the stock, and its undoing
/// waits as long before an operator is asked. Within an outage it tries every five seconds: orders finish some seconds
/// after its end.
const PATIENCE: Retry = match NonZeroU32::new(720) {
    Some(attempts) => Retry::attempts(attempts).backoff(Duration::from_millis(100), Duration::from_secs(5)),
    None => Retry::ACTION,
};

/// The same without an end: an order whose money is set aside is not given up for want of an answer.
const STUBBORNNESS: Retry = Retry::FOR_EVER.backoff(Duration::from_millis(100), Duration::from_secs(5));

/// What the steps hand on to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkout {
    user_id: UserId,
    lines: Vec<StockLine>,
    total: Money,
    payment_token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payment_id: Option<PaymentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invoice_number: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shipment: Option<Shipment>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Shipment {
    shipment_id: ShipmentId,
    tracking_code: String,
}

impl Checkout {
    /// A checkout that has not begun.
    pub(crate) fn new(user_id: UserId, lines: Vec<StockLine>, total: Money, payment_token: String) -> Self {
        Self { user_id, lines, total, payment_token, payment_id: None, invoice_number: None, shipment: None }
    }
}

/// What the steps work with.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    pub(crate) payments: Client,
    pub(crate) outbox: Outbox,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Means {
    /// A step's function with these means in hand.
    fn with<F, R>(
        &self,
        step: F,
    ) -> impl AsyncFn(&mut Tx, StepCx, Checkout) -> Result<R, Fault> + Send + Sync + 'static
    where
        F: AsyncFn(&Self, &mut Tx, StepCx, Checkout) -> Result<R, Fault> + Send + Sync + 'static,
    {
        let means = self.clone();
        async move |tx: &mut Tx, cx: StepCx, state: Checkout| step(&means, tx, cx, state).await
    }
}

/// The checkout.
pub(crate) fn definition(means: &Means) -> Result<Definition<Checkout>, DefinitionError> {
    let (payments, last) = (|| means.payments.clone(), means.clone());
    Definition::builder(NAME)
        .step(
            "reserve-stock",
            Action::command(means.with(reserve_stock), stock_reserved).retry(PATIENCE),
            Undo::command(means.with(release_stock), stock_released).retry(PATIENCE),
        )
        .step(
            "authorise-payment",
            Action::call_with(payments(), authorise_payment).retry(PATIENCE),
            Undo::call_with(payments(), void_payment).retry(PATIENCE),
        )
        .pivot("capture-payment", Action::call_with(payments(), capture_payment).retry(STUBBORNNESS))
        .retriable("create-shipment", Action::command(means.with(create_shipment), shipment_created))
        .retriable("confirm-order", Action::tx(means.with(confirm_order)))
        .on_end(async move |tx: &mut Tx, cx: EndCx, end: End, state: Checkout| {
            cancel_unless_completed(&last, tx, cx, end, state).await
        })
        .build()
}

// ---- reserve stock ----

async fn reserve_stock(means: &Means, tx: &mut Tx, cx: StepCx, state: Checkout) -> Result<(), Fault> {
    let reserve = ReserveStock { order_id: order_id(&cx), lines: state.lines };
    send(means, tx, &cx, &reserve).await
}

fn stock_reserved(state: Checkout, reply: &Signal) -> Outcome<Checkout> {
    match reply.json() {
        Ok(StockReservation::Reserved) => Outcome::Done(state),
        Ok(StockReservation::OutOfStock { short }) => {
            let each = |line: &shop_contracts::inventory::ShortLine| {
                format!("{}: {} wanted, {} left", line.product_id, line.wanted, line.available)
            };
            Outcome::rejected(problem::OUT_OF_STOCK, short.iter().map(each).collect::<Vec<_>>().join("; "))
        }
        Ok(StockReservation::Released) => {
            Outcome::rejected("reservation_released", "its stock was released before")
        }
        Err(error) => Outcome::Unknown(format!("unreadable reply: {error}")),
    }
}

async fn release_stock(means: &Means, tx: &mut Tx, cx: StepCx, _state: Checkout) -> Result<(), Fault> {
    let release = ReleaseStock { order_id: order_id(&cx) };
    send(means, tx, &cx, &release).await
}

fn stock_released(state: Checkout, reply: &Signal) -> Outcome<Checkout> {
    match reply.json::<StockRelease>() {
        Ok(_) => Outcome::Done(state),
        Err(error) => Outcome::Unknown(format!("unreadable reply: {error}")),
    }
}

// ---- authorise payment ----

async fn authorise_payment(payments: Client, cx: StepCx, mut state: Checkout) -> Outcome<Checkout> {
    let request = AuthoriseRequest {
        order_id: order_id(&cx),
        user_id: state.user_id.clone(),
        amount: state.total,
        payment_token: state.payment_token.clone(),
    };
    let call = payments.post("/internal/payments/authorise").json(&request).key(cx.key());
    match call.correlation(cx.correlation()).deadline(cx.deadline()).send::<Payment>().await {
        Ok(payment) => {
            state.payment_id = Some(payment.payment_id);
            Outcome::Done(state)
        }
        Err(error) => judge(&error),
    }
}

async fn void_payment(payments: Client, cx: StepCx, state: Checkout) -> Outcome<Checkout> {
    let request = VoidRequest {
        authorisation_key: cx.action_key().to_string(),
        order_id: order_id(&cx),
        user_id: state.user_id.clone(),
        amount: state.total,
    };
    let call = payments.post("/internal/payments/void").json(&request).key(cx.key());
    match call.correlation(cx.correlation()).deadline(cx.deadline()).send::<Payment>().await {
        Ok(_) => Outcome::Done(state),
        Err(error) => judge(&error),
    }
}

// ---- capture payment: the pivot ----

async fn capture_payment(payments: Client, cx: StepCx, mut state: Checkout) -> Outcome<Checkout> {
    let Some(payment_id) = state.payment_id.clone() else {
        return Outcome::rejected("payment_missing", "there is no authorised payment");
    };
    let call = payments.post("/internal/payments/capture").json(&CaptureRequest { payment_id }).key(cx.key());
    match call.correlation(cx.correlation()).deadline(cx.deadline()).send::<Payment>().await {
        Ok(payment) => {
            state.invoice_number = payment.invoice_number;
            Outcome::Done(state)
        }
        Err(error) => judge(&error),
    }
}

// ---- create shipment ----

async fn create_shipment(means: &Means, tx: &mut Tx, cx: StepCx, state: Checkout) -> Result<(), Fault> {
    let create = CreateShipment { order_id: order_id(&cx), user_id: state.user_id, lines: state.lines };
    send(means, tx, &cx, &create).await
}

fn shipment_created(mut state: Checkout, reply: &Signal) -> Outcome<Checkout> {
    match reply.json() {
        Ok(ShipmentOpened { shipment_id, tracking_code }) => {
            state.shipment = Some(Shipment { shipment_id, tracking_code });
            Outcome::Done(state)
        }
        Err(error) => Outcome::Unknown(format!("unreadable reply: {error}")),
    }
}

// ---- confirm order ----

async fn confirm_order(
    means: &Means,
    tx: &mut Tx,
    cx: StepCx,
    state: Checkout,
) -> Result<Outcome<Checkout>, Fault> {
    let (Some(payment_id), Some(shipment)) = (&state.payment_id, &state.shipment) else {
        return Ok(Outcome::rejected("incomplete", "a paid order without payment or shipment"));
    };
    let now_ms = means.clock.unix_ms();
    let confirmation = Confirmation {
        payment_id: payment_id.as_str(),
        invoice_number: state.invoice_number,
        shipment_id: shipment.shipment_id.as_str(),
        tracking_code: &shipment.tracking_code,
    };
    book::confirm(tx, cx.saga_id(), confirmation, now_ms).await?;
    let confirmed = OrderConfirmed {
        order_id: order_id(&cx),
        user_id: state.user_id.clone(),
        total: state.total,
        payment_id: payment_id.clone(),
        shipment_id: shipment.shipment_id.clone(),
        tracking_code: shipment.tracking_code.clone(),
        confirmed_at_ms: now_ms,
    };
    means.outbox.append(tx, &confirmed, cx.correlation()).await?;
    Ok(Outcome::Done(state))
}

// ---- the end ----

async fn cancel_unless_completed(
    means: &Means,
    tx: &mut Tx,
    cx: EndCx,
    end: End,
    state: Checkout,
) -> Result<(), Fault> {
    let End::Compensated { reason } = end else { return Ok(()) };
    let now_ms = means.clock.unix_ms();
    let reason = CancelReason { code: reason.code.to_string(), detail: reason.detail.to_string() };
    book::cancel(tx, cx.saga_id(), &reason, now_ms).await?;
    let order_id = OrderId::from(&**cx.saga_id());
    let cancelled = OrderCancelled { order_id, user_id: state.user_id, reason, cancelled_at_ms: now_ms };
    means.outbox.append(tx, &cancelled, cx.correlation()).await?;
    Ok(())
}

/// What a failed call to payments means. Payments answers 503 only when nothing was done.
fn judge(error: &CallError) -> Outcome<Checkout> {
    match (error.effect(), error.problem()) {
        (Effect::Unknown, _) => Outcome::Unknown(error.to_string()),
        (Effect::None, Some(body)) if is_final(body.status) => {
            Outcome::rejected(body.code.clone(), body.detail.clone().unwrap_or_else(|| body.title.clone()))
        }
        (Effect::None, _) => Outcome::Transient(error.to_string()),
    }
}

/// The business said no. What identity, limits and a wrong address answer passes by itself or is mended by an operator;
/// no order is cancelled for it.
const fn is_final(status: u16) -> bool {
    matches!(status, 402 | 409 | 422)
}

/// Sends a command under the step's key, by which its reply finds back.
async fn send<C: Command>(means: &Means, tx: &mut Tx, cx: &StepCx, order: &C) -> Result<(), Fault> {
    command::send(tx, &means.outbox, order, cx.key(), cx.correlation()).await?;
    Ok(())
}

fn order_id(cx: &StepCx) -> OrderId {
    OrderId::from(&**cx.saga_id())
}
