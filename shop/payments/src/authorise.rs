//! Setting money aside: the intent is on disk before the provider hears of it, and the outcome before the caller does.

use leeward_events::Outbox;
use leeward_service::Problem;
use leeward_store::Tx;
use shop_contracts::PaymentId;
use shop_contracts::payments::{AuthoriseRequest, Payment, PaymentAuthorised, PaymentStatus};
use shop_contracts::provider::Verdict;

use crate::book::{self, By, Record};
use crate::decide::{self, Authorise};
use crate::desk::Desk;
use crate::provider::{self, CallCx, Charge};
use crate::status::Event;
use crate::{Error, error};

/// What the book says about the key.
enum Begun {
    /// The intent is written now.
    New(Record),
    /// The intent was written before; the provider may know more.
    Before(Record),
    /// The outcome is known.
    Known(Record),
}

/// Authorises under `key`, once.
pub(crate) async fn authorise(
    desk: &Desk,
    key: String,
    request: AuthoriseRequest,
    cx: CallCx,
) -> Result<Payment, Problem> {
    let now_ms = desk.clock.unix_ms();
    let begun = desk.db.write(async move |tx: &mut Tx| begin(tx, key, request, now_ms).await).await?;
    let (record, sent_before) = match begun {
        Begun::Known(record) => return Ok(record.into_payment()),
        Begun::New(record) => (record, false),
        Begun::Before(record) => (record, true),
    };

    let charge = Charge::Authorise {
        amount: record.amount,
        token: record.payment_token.clone(),
        reference: record.order_id.as_str().to_owned(),
    };
    let settled =
        provider::settle(&*desk.provider, &record.authorisation_key, &charge, sent_before, &cx).await;
    let now_ms = desk.clock.unix_ms();
    let record = match settled {
        Ok(receipt) if receipt.verdict == Verdict::Approved => {
            Record { authorisation: Some(receipt.authorisation), ..record.after(Event::Approved, now_ms)? }
        }
        Ok(receipt) => Record { decline_code: receipt.code, ..record.after(Event::Declined, now_ms)? },
        Err(provider::Error::Refused { code }) => {
            Record { decline_code: Some(code), ..record.after(Event::Declined, now_ms)? }
        }
        Err(unsettled) => return Err(unsettled.into()),
    };
    let outbox = desk.outbox.clone();
    let finishing = desk.db.write(async move |tx: &mut Tx| finish(tx, &outbox, record, &cx).await);
    answer(finishing.await.map_err(|error| error::unrecorded(&error))?)
}

/// Writes `record` as it stands after the provider's receipt; the payment as another request with its key, or a void, left
/// it if that was faster.
async fn finish(tx: &mut Tx, outbox: &Outbox, record: Record, cx: &CallCx) -> Result<Record, Error> {
    if !book::authorised(tx, &record).await? {
        return book::find(tx, By::Id, record.payment_id.as_str())
            .await?
            .ok_or_else(|| error::not_found().into());
    }
    if record.status == PaymentStatus::Authorised {
        let event = PaymentAuthorised {
            payment_id: record.payment_id.clone(),
            order_id: record.order_id.clone(),
            user_id: record.user_id.clone(),
            amount: record.amount,
        };
        outbox.append(tx, &event, &cx.correlation).await?;
    }
    Ok(record)
}

async fn begin(tx: &mut Tx, key: String, request: AuthoriseRequest, now_ms: i64) -> Result<Begun, Error> {
    let record = Record {
        payment_id: PaymentId::generate(),
        authorisation_key: key,
        capture_key: None,
        order_id: request.order_id.clone(),
        user_id: request.user_id.clone(),
        amount: request.amount,
        payment_token: request.payment_token.clone(),
        status: PaymentStatus::Authorising,
        authorisation: None,
        decline_code: None,
        invoice_number: None,
        refund_reserved_minor: 0,
        refunded_minor: 0,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
    };
    if book::insert(tx, &record).await? {
        return Ok(Begun::New(record));
    }
    let known = book::find(tx, By::AuthorisationKey, &record.authorisation_key)
        .await?
        .ok_or_else(error::not_found)?;
    match decide::authorise(&known, &request) {
        Authorise::Resume => Ok(Begun::Before(known)),
        Authorise::Answer => Ok(Begun::Known(known)),
        Authorise::Declined => Err(error::declined(known.decline_code.as_deref()).into()),
        Authorise::Voided => Err(error::voided().into()),
        Authorise::KeyReused => Err(error::key_reused().into()),
    }
}

fn answer(record: Record) -> Result<Payment, Problem> {
    use PaymentStatus as S;
    match record.status {
        S::Authorised | S::Capturing | S::Captured => Ok(record.into_payment()),
        S::Declined => Err(error::declined(record.decline_code.as_deref())),
        S::Voiding | S::Voided => Err(error::voided()),
        S::Authorising => Err(error::wrong_status(record.status)),
    }
}
