//! Giving an authorisation up, whether it is known, under way, or was never heard of.

use leeward_events::Outbox;
use leeward_service::Problem;
use leeward_store::Tx;
use shop_contracts::PaymentId;
use shop_contracts::payments::{Payment, PaymentStatus, PaymentVoided, VoidRequest};
use shop_contracts::provider::Verdict;

use crate::book::{self, By, Record};
use crate::decide::{self, Void};
use crate::desk::Desk;
use crate::provider::{self, CallCx, Charge};
use crate::status::Event;
use crate::{Error, error};

enum Begun {
    /// The provider is to give it up. It may have heard so before.
    GiveUp(Record),
    /// Nothing is left to give up.
    Known(Record),
}

/// Voids the authorisation made, or to be made, under the request's key.
pub(crate) async fn void(desk: &Desk, request: VoidRequest, cx: CallCx) -> Result<Payment, Problem> {
    let now_ms = desk.clock.unix_ms();
    let begun = desk.db.write(async move |tx: &mut Tx| begin(tx, request, now_ms).await).await?;
    let record = match begun {
        Begun::Known(record) => return Ok(record.into_payment()),
        Begun::GiveUp(record) => record,
    };

    // Derived, so that a void repeated by whoever it may be is the same void to the provider.
    let key = format!("{}/void", record.authorisation_key);
    let charge = Charge::Void { authorisation_key: record.authorisation_key.clone() };
    let receipt = provider::settle(&*desk.provider, &key, &charge, false, &cx).await?;
    let gone = receipt.verdict == Verdict::Approved || receipt.code.as_deref() == Some("already_voided");
    if !gone {
        return Err(error::wrong_status(PaymentStatus::Captured));
    }
    let record = record.after(Event::Voided, desk.clock.unix_ms())?;
    let outbox = desk.outbox.clone();
    let finishing = desk.db.write(async move |tx: &mut Tx| finish(tx, &outbox, record, &cx).await);
    let record = finishing.await.map_err(|error| error::unrecorded(&error))?;
    Ok(record.into_payment())
}

async fn begin(tx: &mut Tx, request: VoidRequest, now_ms: i64) -> Result<Begun, Error> {
    if let Some(record) = book::begin_void(tx, &request.authorisation_key, now_ms).await? {
        return Ok(Begun::GiveUp(record));
    }
    let tombstone = Record {
        payment_id: PaymentId::generate(),
        authorisation_key: request.authorisation_key,
        capture_key: None,
        order_id: request.order_id,
        user_id: request.user_id,
        amount: request.amount,
        payment_token: String::new(),
        status: PaymentStatus::Voided,
        authorisation: None,
        decline_code: None,
        invoice_number: None,
        refund_reserved_minor: 0,
        refunded_minor: 0,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
    };
    if book::insert(tx, &tombstone).await? {
        // The provider was never asked to set the money aside, and now never will be.
        return Ok(Begun::Known(tombstone));
    }
    let known = book::find(tx, By::AuthorisationKey, &tombstone.authorisation_key).await?;
    let known = known.ok_or_else(error::not_found)?;
    match decide::void(known.status) {
        Void::Resume => Ok(Begun::GiveUp(known)),
        Void::Answer => Ok(Begun::Known(known)),
        Void::Conflict => Err(error::wrong_status(known.status).into()),
    }
}

async fn finish(tx: &mut Tx, outbox: &Outbox, record: Record, cx: &CallCx) -> Result<Record, Error> {
    if !book::voided(tx, &record.payment_id, record.updated_at_ms).await? {
        return book::find(tx, By::Id, record.payment_id.as_str())
            .await?
            .ok_or_else(|| error::not_found().into());
    }
    let event = PaymentVoided {
        payment_id: record.payment_id.clone(),
        order_id: record.order_id.clone(),
        user_id: record.user_id.clone(),
        amount: record.amount,
    };
    outbox.append(tx, &event, &cx.correlation).await?;
    Ok(record)
}
