//! Refunds: goods are back on the shelf, so the money goes back.
//!
//! `stock.returned` > a refund row and a saga of one step, in one transaction > the provider, until it says yes or no >
//! `payment.refunded` or `payment.refund_refused`, in the transaction that ends the saga.

use std::sync::Arc;

use leeward_events::Outbox;
use leeward_resilience::Clock;
use leeward_saga::{Action, Definition, End, EndCx, Fault, Outcome, Retry, Sagas, StepCx};
use leeward_store::{Tx, params};
use leeward_telemetry::Correlation;
use serde::{Deserialize, Serialize};
use shop_contracts::inventory::StockReturned;
use shop_contracts::payments::{PaymentRefundRefused, PaymentRefunded};
use shop_contracts::provider::Verdict;
use shop_contracts::{Money, OrderId, PaymentId, ReturnId, UserId};

use crate::book::{self, Record};
use crate::provider::{self, CallCx, Charge, PaymentProvider};
use crate::{Error, decide};

/// The name of the saga.
pub(crate) const SAGA: &str = "refund";

/// What a refund's saga knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refund {
    return_id: ReturnId,
    payment_id: PaymentId,
    order_id: OrderId,
    user_id: UserId,
    amount: Money,
    /// The captured authorisation, by the provider's id.
    authorisation: String,
}

/// The saga: one step, and no way but forward or refused.
pub(crate) fn definition(
    provider: Arc<dyn PaymentProvider>,
    outbox: Outbox,
    clock: Arc<dyn Clock>,
) -> Result<Definition<Refund>, leeward_saga::definition::Error> {
    Definition::builder(SAGA)
        // Asked until the provider says yes or no: the customer's goods are on our shelf already.
        .pivot("refund-payment", Action::call_with(provider, refund).retry(Retry::FOR_EVER))
        .on_end(async move |tx: &mut Tx, cx: EndCx, end: End, refund: Refund| {
            settle(&outbox, clock.unix_ms(), tx, cx, end, refund).await
        })
        .build()
}

async fn refund(provider: Arc<dyn PaymentProvider>, cx: StepCx, state: Refund) -> Outcome<Refund> {
    let charge = Charge::Refund { authorisation: state.authorisation.clone(), amount: state.amount };
    let call = CallCx { correlation: cx.correlation().clone(), deadline: cx.deadline() };
    match provider::settle(&*provider, cx.key(), &charge, cx.reconcile(), &call).await {
        Ok(receipt) if receipt.verdict == Verdict::Approved => Outcome::Done(state),
        Ok(receipt) => refused(receipt.code),
        Err(provider::Error::Refused { code }) => refused(Some(code)),
        Err(provider::Error::NotDone(why)) => Outcome::Transient(why),
        Err(provider::Error::Unknown(why)) => Outcome::Unknown(why),
    }
}

fn refused(code: Option<String>) -> Outcome<Refund> {
    Outcome::rejected(code.unwrap_or_else(|| "refund_refused".into()), "the provider refuses the refund")
}

/// Writes down how it ended, and tells.
async fn settle(
    outbox: &Outbox,
    now_ms: i64,
    tx: &mut Tx,
    cx: EndCx,
    end: End,
    refund: Refund,
) -> Result<(), Fault> {
    let Refund { return_id, payment_id, order_id, user_id, amount, .. } = refund;
    match end {
        End::Completed => {
            close(tx, &return_id, "refunded", None, now_ms).await?;
            book::move_refund(tx, &payment_id, 0, amount.amount_minor).await?;
            let event = PaymentRefunded { return_id, payment_id, order_id, user_id, amount };
            outbox.append(tx, &event, cx.correlation()).await?;
        }
        End::Compensated { reason } => {
            let code = reason.code.to_string();
            close(tx, &return_id, "refused", Some(&code), now_ms).await?;
            book::move_refund(tx, &payment_id, -amount.amount_minor, 0).await?;
            let event = PaymentRefundRefused { return_id, order_id, user_id, amount, code };
            outbox.append(tx, &event, cx.correlation()).await?;
        }
    }
    Ok(())
}

/// Begins the refund of a return, or refuses it, once.
pub(crate) async fn begin(
    tx: &mut Tx,
    sagas: &Sagas,
    outbox: &Outbox,
    returned: StockReturned,
    cause: &Correlation,
    now_ms: i64,
) -> Result<(), Error> {
    let StockReturned { return_id, order_id, user_id, refund: amount, .. } = returned;
    let captured = book::captured(tx, &order_id).await?;
    let decided = decide::refund(captured.as_ref(), amount);
    let (status, code) = match decided {
        Ok(_) => ("pending", None),
        Err(no) => ("refused", Some(no.code())),
    };
    let payment_id = captured.as_ref().map(|record| record.payment_id.as_str());
    let inserted = tx
        .execute(
            "INSERT INTO refunds (return_id, payment_id, order_id, amount_minor, currency, status, code,
                 created_at_ms, updated_at_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT (return_id) DO NOTHING",
            params![
                return_id.as_str(),
                payment_id,
                order_id.as_str(),
                amount.amount_minor,
                amount.currency.as_str(),
                status,
                code,
                now_ms
            ],
        )
        .await?;
    if inserted == 0 {
        return Ok(());
    }
    match decided {
        Ok(record) => {
            let refund = Refund {
                return_id,
                payment_id: record.payment_id.clone(),
                order_id,
                user_id,
                amount,
                authorisation: authorisation(record)?,
            };
            book::move_refund(tx, &refund.payment_id, amount.amount_minor, 0).await?;
            let _existing = sagas.start(tx, SAGA, refund.return_id.as_str(), &refund, cause).await?;
        }
        Err(no) => {
            let code = no.code().to_owned();
            let event = PaymentRefundRefused { return_id, order_id, user_id, amount, code };
            outbox.append(tx, &event, cause).await?;
        }
    }
    Ok(())
}

fn authorisation(record: &Record) -> Result<String, Error> {
    let missing = || Error::Foreign { what: "authorisation", found: "nothing".into() };
    record.authorisation.clone().ok_or_else(missing)
}

async fn close(
    tx: &mut Tx,
    return_id: &ReturnId,
    status: &'static str,
    code: Option<&str>,
    now_ms: i64,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE refunds SET status = $2, code = $3, updated_at_ms = $4 WHERE return_id = $1 AND status = 'pending'",
        params![return_id.as_str(), status, code, now_ms],
    )
    .await?;
    Ok(())
}
