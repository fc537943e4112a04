//! The payments' rows: each change is one conditional statement, so that two requests cannot both make it.

use leeward_store::{ReadTx, Row, Tx, params};
use shop_contracts::payments::{Payment, PaymentStatus};
use shop_contracts::{Currency, Money, OrderId, PaymentId, UserId};

use crate::Error;
use crate::status::{Event, next};

/// A payment as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) payment_id: PaymentId,
    pub(crate) authorisation_key: String,
    pub(crate) capture_key: Option<String>,
    pub(crate) order_id: OrderId,
    pub(crate) user_id: UserId,
    pub(crate) amount: Money,
    /// The provider's token; empty where a void came before the authorisation.
    pub(crate) payment_token: String,
    pub(crate) status: PaymentStatus,
    /// The provider's id of the authorisation, once there is one.
    pub(crate) authorisation: Option<String>,
    pub(crate) decline_code: Option<String>,
    pub(crate) invoice_number: Option<i64>,
    /// What was given back or is about to be.
    pub(crate) refund_reserved_minor: i64,
    pub(crate) refunded_minor: i64,
    pub(crate) created_at_ms: i64,
    pub(crate) updated_at_ms: i64,
}

impl Record {
    /// The payment as callers see it.
    pub(crate) fn into_payment(self) -> Payment {
        Payment {
            payment_id: self.payment_id,
            order_id: self.order_id,
            user_id: self.user_id,
            status: self.status,
            amount: self.amount,
            refunded: Money::new(self.refunded_minor, self.amount.currency),
            invoice_number: self.invoice_number,
            decline_code: self.decline_code,
            created_at_ms: self.created_at_ms,
            updated_at_ms: self.updated_at_ms,
        }
    }

    /// The same after `event`.
    ///
    /// # Errors
    /// [`Error::Illegal`] where the machine has no such step.
    pub(crate) fn after(mut self, event: Event, now_ms: i64) -> Result<Self, Error> {
        self.status = next(self.status, event)?;
        self.updated_at_ms = now_ms;
        Ok(self)
    }
}

const COLUMNS: &str = "id, authorisation_key, capture_key, order_id, user_id, amount_minor, currency, payment_token, \
     status, authorisation, decline_code, invoice_number, refund_reserved_minor, refunded_minor, created_at_ms, \
     updated_at_ms";

/// A column that names at most one payment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    Id,
    AuthorisationKey,
    CaptureKey,
}

impl By {
    const fn column(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::AuthorisationKey => "authorisation_key",
            Self::CaptureKey => "capture_key",
        }
    }
}

/// The payment whose `by` is `value`.
pub(crate) async fn find(tx: &mut ReadTx, by: By, value: &str) -> Result<Option<Record>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM payments WHERE {} = $1", by.column());
    tx.query_opt(&sql, params![value]).await?.as_ref().map(read).transpose()
}

/// The captured payment of an order.
pub(crate) async fn captured(tx: &mut ReadTx, order_id: &OrderId) -> Result<Option<Record>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM payments WHERE order_id = $1 AND status = 'captured' ORDER BY id LIMIT 1"
    );
    tx.query_opt(&sql, params![order_id.as_str()]).await?.as_ref().map(read).transpose()
}

/// Payments after the id `after`, of `user_id` or of everybody, at most `limit`.
pub(crate) async fn list(
    tx: &mut ReadTx,
    user_id: Option<&UserId>,
    after: &str,
    limit: u32,
) -> Result<Vec<Record>, Error> {
    let rows = match user_id {
        Some(user_id) => {
            let sql = format!(
                "SELECT {COLUMNS} FROM payments WHERE user_id = $1 AND id > $2 ORDER BY user_id, id LIMIT $3"
            );
            tx.query(&sql, params![user_id.as_str(), after, limit]).await?
        }
        None => {
            let sql = format!("SELECT {COLUMNS} FROM payments WHERE id > $1 ORDER BY id LIMIT $2");
            tx.query(&sql, params![after, limit]).await?
        }
    };
    rows.iter().map(read).collect()
}

/// Writes a new payment; false when its authorisation key is taken.
pub(crate) async fn insert(tx: &mut Tx, record: &Record) -> Result<bool, Error> {
    let inserted = tx
        .execute(
            "INSERT INTO payments (id, authorisation_key, order_id, user_id, amount_minor, currency, payment_token,
                 status, created_at_ms, updated_at_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
             ON CONFLICT (authorisation_key) DO NOTHING",
            params![
                record.payment_id.as_str(),
                record.authorisation_key,
                record.order_id.as_str(),
                record.user_id.as_str(),
                record.amount.amount_minor,
                record.amount.currency.as_str(),
                record.payment_token,
                record.status.as_str(),
                record.created_at_ms
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Records what the provider said about an authorisation; false when the payment stands elsewhere by now.
pub(crate) async fn authorised(tx: &mut Tx, record: &Record) -> Result<bool, Error> {
    let changed = tx
        .execute(
            "UPDATE payments SET status = $2, authorisation = $3, decline_code = $4, updated_at_ms = $5
             WHERE id = $1 AND status = 'authorising'",
            params![
                record.payment_id.as_str(),
                record.status.as_str(),
                record.authorisation,
                record.decline_code,
                record.updated_at_ms
            ],
        )
        .await?;
    Ok(changed == 1)
}

/// Moves an authorised payment to capturing under `key`; none when it is not authorised.
pub(crate) async fn begin_capture(
    tx: &mut Tx,
    payment_id: &PaymentId,
    key: &str,
    now_ms: i64,
) -> Result<Option<Record>, Error> {
    let (from, to) = step(PaymentStatus::Authorised, Event::CaptureBegun)?;
    let sql = format!(
        "UPDATE payments SET status = $4, capture_key = $2, updated_at_ms = $3
         WHERE id = $1 AND status = $5 RETURNING {COLUMNS}"
    );
    tx.query_opt(&sql, params![payment_id.as_str(), key, now_ms, to, from])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Records what the provider said about a capture; false when the payment stands elsewhere by now.
pub(crate) async fn captured_or_not(tx: &mut Tx, record: &Record) -> Result<bool, Error> {
    let changed = tx
        .execute(
            "UPDATE payments SET status = $2, capture_key = $3, invoice_number = $4, decline_code = $5, updated_at_ms = $6
             WHERE id = $1 AND status = 'capturing'",
            params![
                record.payment_id.as_str(),
                record.status.as_str(),
                record.capture_key,
                record.invoice_number,
                record.decline_code,
                record.updated_at_ms
            ],
        )
        .await?;
    Ok(changed == 1)
}

/// Moves a payment that is not captured to voiding; none when it does not exist or stands elsewhere.
pub(crate) async fn begin_void(
    tx: &mut Tx,
    authorisation_key: &str,
    now_ms: i64,
) -> Result<Option<Record>, Error> {
    let (known, to) = step(PaymentStatus::Authorised, Event::VoidBegun)?;
    let (under_way, _) = step(PaymentStatus::Authorising, Event::VoidBegun)?;
    let sql = format!(
        "UPDATE payments SET status = $3, updated_at_ms = $2
         WHERE authorisation_key = $1 AND status IN ($4, $5) RETURNING {COLUMNS}"
    );
    tx.query_opt(&sql, params![authorisation_key, now_ms, to, known, under_way])
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

/// Records that an authorisation is given up; false when that is known already.
pub(crate) async fn voided(tx: &mut Tx, payment_id: &PaymentId, now_ms: i64) -> Result<bool, Error> {
    let (from, to) = step(PaymentStatus::Voiding, Event::Voided)?;
    let changed = tx
        .execute(
            "UPDATE payments SET status = $3, updated_at_ms = $2 WHERE id = $1 AND status = $4",
            params![payment_id.as_str(), now_ms, to, from],
        )
        .await?;
    Ok(changed == 1)
}

/// Moves `reserved` and `done` minor units between a payment's refund columns.
pub(crate) async fn move_refund(
    tx: &mut Tx,
    payment_id: &PaymentId,
    reserved_minor: i64,
    done_minor: i64,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE payments SET refund_reserved_minor = refund_reserved_minor + $2, refunded_minor = refunded_minor + $3
         WHERE id = $1",
        params![payment_id.as_str(), reserved_minor, done_minor],
    )
    .await?;
    Ok(())
}

/// The machine's step as the two texts of a conditional statement.
fn step(from: PaymentStatus, event: Event) -> Result<(&'static str, &'static str), Error> {
    Ok((from.as_str(), next(from, event)?.as_str()))
}

fn read(row: &Row) -> Result<Record, Error> {
    let status: &str = row.get(8)?;
    Ok(Record {
        payment_id: row.get::<String>(0)?.into(),
        authorisation_key: row.get(1)?,
        capture_key: row.get(2)?,
        order_id: row.get::<String>(3)?.into(),
        user_id: row.get::<String>(4)?.into(),
        amount: money(row.get(5)?, row.get(6)?)?,
        payment_token: row.get(7)?,
        status: PaymentStatus::parse(status)
            .ok_or_else(|| Error::Foreign { what: "status", found: status.into() })?,
        authorisation: row.get(9)?,
        decline_code: row.get(10)?,
        invoice_number: row.get(11)?,
        refund_reserved_minor: row.get(12)?,
        refunded_minor: row.get(13)?,
        created_at_ms: row.get(14)?,
        updated_at_ms: row.get(15)?,
    })
}

/// An amount out of its two columns.
pub(crate) fn money(amount_minor: i64, currency: &str) -> Result<Money, Error> {
    let currency =
        Currency::parse(currency).map_err(|_| Error::Foreign { what: "currency", found: currency.into() })?;
    Ok(Money::new(amount_minor, currency))
}
