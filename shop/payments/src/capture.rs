//! Taking money that is set aside; the invoice is written in the transaction that records it.

use leeward_events::Outbox;
use leeward_service::Problem;
use leeward_store::Tx;
use shop_contracts::PaymentId;
use shop_contracts::payments::{Payment, PaymentCaptured, PaymentStatus};
use shop_contracts::provider::Verdict;

use crate::book::{self, By, Record};
use crate::decide::{self, Capture};
use crate::desk::Desk;
use crate::provider::{self, CallCx, Charge};
use crate::status::Event;
use crate::{Error, error, invoices};

enum Begun {
    New(Record),
    Before(Record),
    Known(Record),
}

/// Captures `payment_id` under `key`, once.
pub(crate) async fn capture(
    desk: &Desk,
    key: String,
    payment_id: PaymentId,
    cx: CallCx,
) -> Result<Payment, Problem> {
    let now_ms = desk.clock.unix_ms();
    let begun = desk.db.write(async move |tx: &mut Tx| begin(tx, &key, &payment_id, now_ms).await).await?;
    let (record, sent_before) = match begun {
        Begun::Known(record) => return Ok(record.into_payment()),
        Begun::New(record) => (record, false),
        Begun::Before(record) => (record, true),
    };

    let (Some(authorisation), Some(key)) = (record.authorisation.clone(), record.capture_key.clone()) else {
        return Err(Problem::internal(&"a capture without its authorisation or key"));
    };
    let charge = Charge::Capture { authorisation, amount: record.amount };
    let settled = provider::settle(&*desk.provider, &key, &charge, sent_before, &cx).await;
    let now_ms = desk.clock.unix_ms();
    let record = match settled {
        Ok(receipt) if receipt.verdict == Verdict::Approved => record.after(Event::Captured, now_ms)?,
        Ok(receipt) => refused(record, receipt.code, now_ms)?,
        Err(provider::Error::Refused { code }) => refused(record, Some(code), now_ms)?,
        Err(unsettled) => return Err(unsettled.into()),
    };
    let outbox = desk.outbox.clone();
    let finishing = desk.db.write(async move |tx: &mut Tx| finish(tx, &outbox, record, &cx).await);
    let record = finishing.await.map_err(|error| error::unrecorded(&error))?;
    match record.status {
        PaymentStatus::Captured => Ok(record.into_payment()),
        PaymentStatus::Authorised => Err(error::capture_refused(record.decline_code.as_deref())),
        other => Err(error::wrong_status(other)),
    }
}

async fn begin(tx: &mut Tx, key: &str, payment_id: &PaymentId, now_ms: i64) -> Result<Begun, Error> {
    if let Some(record) = book::begin_capture(tx, payment_id, key, now_ms).await? {
        return Ok(Begun::New(record));
    }
    let known = book::find(tx, By::Id, payment_id.as_str()).await?.ok_or_else(error::not_found)?;
    match decide::capture(&known, key) {
        Capture::Resume => Ok(Begun::Before(known)),
        Capture::Answer => Ok(Begun::Known(known)),
        Capture::Conflict => Err(error::wrong_status(known.status).into()),
    }
}

fn refused(record: Record, code: Option<String>, now_ms: i64) -> Result<Record, Error> {
    Ok(Record { decline_code: code, capture_key: None, ..record.after(Event::CaptureRefused, now_ms)? })
}

/// Writes `record` as it stands after the provider's receipt; the payment as another request left it if that was faster.
async fn finish(tx: &mut Tx, outbox: &Outbox, mut record: Record, cx: &CallCx) -> Result<Record, Error> {
    if record.status == PaymentStatus::Captured {
        record.invoice_number = invoices::issue(tx, &record.payment_id, record.updated_at_ms).await?;
    }
    if !book::captured_or_not(tx, &record).await? {
        return book::find(tx, By::Id, record.payment_id.as_str())
            .await?
            .ok_or_else(|| error::not_found().into());
    }
    if let Some(invoice_number) = record.invoice_number {
        let event = PaymentCaptured {
            payment_id: record.payment_id.clone(),
            order_id: record.order_id.clone(),
            user_id: record.user_id.clone(),
            amount: record.amount,
            invoice_number,
        };
        outbox.append(tx, &event, &cx.correlation).await?;
    }
    Ok(record)
}
