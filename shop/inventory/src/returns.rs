//! Goods that come back. They are held until the refund has gone through, so that undoing the return never meets an
//! empty shelf.

use leeward_events::HandlerError;
use leeward_store::{Error, ReadTx, Row, Tx, params};
use serde::Serialize;
use shop_contracts::ReturnId;
use shop_contracts::returns::ReturnRequested;
use utoipa::ToSchema;

/// Where a return stands in the warehouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Expected: the customer announced it.
    Expected,
    /// On the shelf, held until the refund has gone through.
    Held,
    /// Free to be sold again.
    Restocked,
    /// The refund was refused: off the shelf again, waiting for the customer.
    Undone,
}

impl Status {
    const ALL: [Self; 4] = [Self::Expected, Self::Held, Self::Restocked, Self::Undone];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Held => "held",
            Self::Restocked => "restocked",
            Self::Undone => "undone",
        }
    }
}

/// What happens to a return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The goods arrived.
    Receive,
    /// The money went back.
    Refunded,
    /// The money did not go back.
    RefundRefused,
}

/// Where the return stands after `event`; the present status again when it happened before; none when it cannot happen.
pub(crate) fn next(status: Status, event: Event) -> Option<Status> {
    match (status, event) {
        (Status::Expected | Status::Held, Event::Receive) => Some(Status::Held),
        (Status::Held | Status::Restocked, Event::Refunded) => Some(Status::Restocked),
        (Status::Held | Status::Undone, Event::RefundRefused) => Some(Status::Undone),
        (Status::Restocked | Status::Undone, Event::Receive)
        | (Status::Expected | Status::Undone, Event::Refunded)
        | (Status::Expected | Status::Restocked, Event::RefundRefused) => None,
    }
}

/// A return as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Return {
    pub(crate) status: Status,
    requested: String,
}

impl Return {
    /// What the customer announced.
    pub(crate) fn requested(&self) -> Result<ReturnRequested, serde_json::Error> {
        serde_json::from_str(&self.requested)
    }
}

/// One line of the list of returns.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ReturnEntry {
    /// The return.
    pub(crate) return_id: ReturnId,
    /// Where it stands.
    pub(crate) status: Status,
    /// When that was written, Unix milliseconds.
    pub(crate) at_ms: i64,
}

fn status(row: &Row, column: usize) -> Result<Status, Error> {
    let text: &str = row.get(column)?;
    let known = Status::ALL.into_iter().find(|status| status.as_str() == text);
    // An unknown word can only come from a newer binary, which the migrations refuse.
    known.ok_or(Error::Column { index: column, expected: "the status of a return", found: "another word" })
}

/// Remembers that goods are to come back.
pub(crate) async fn expect(tx: &mut Tx, requested: &ReturnRequested, at_ms: i64) -> Result<(), HandlerError> {
    let json = serde_json::to_string(requested).map_err(|error| HandlerError::Poison(error.to_string()))?;
    let sql = "INSERT INTO returns (return_id, status, requested, at_ms) VALUES ($1, 'expected', $2, $3)
        ON CONFLICT (return_id) DO NOTHING";
    tx.execute(sql, params![requested.return_id.as_str(), json, at_ms]).await?;
    Ok(())
}

/// The return, if it was announced.
pub(crate) async fn find(tx: &mut ReadTx, return_id: &str) -> Result<Option<Return>, Error> {
    let sql = "SELECT status, requested FROM returns WHERE return_id = $1";
    let row = tx.query_opt(sql, params![return_id]).await?;
    row.map(|row| Ok(Return { status: status(&row, 0)?, requested: row.get(1)? })).transpose()
}

/// Writes where the return stands.
pub(crate) async fn set(tx: &mut Tx, return_id: &str, to: Status, at_ms: i64) -> Result<(), Error> {
    let sql = "UPDATE returns SET status = $2, at_ms = $3 WHERE return_id = $1";
    tx.execute(sql, params![return_id, to.as_str(), at_ms]).await?;
    Ok(())
}

/// Up to `rows` returns after the id `after`.
pub(crate) async fn page(tx: &mut ReadTx, after: &str, rows: u32) -> Result<Vec<ReturnEntry>, Error> {
    let sql = "SELECT return_id, status, at_ms FROM returns WHERE return_id > $1 ORDER BY return_id LIMIT $2";
    let rows = tx.query(sql, params![after, rows]).await?;
    rows.iter()
        .map(|row| {
            let return_id = row.get::<String>(0)?.into();
            Ok(ReturnEntry { return_id, status: status(row, 1)?, at_ms: row.get(2)? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_changes_nothing_and_a_contradiction_is_refused() {
        assert_eq!(next(Status::Held, Event::Receive), Some(Status::Held));
        assert_eq!(next(Status::Restocked, Event::Refunded), Some(Status::Restocked));
        assert_eq!(next(Status::Restocked, Event::RefundRefused), None);
        assert_eq!(next(Status::Undone, Event::Refunded), None);
        assert_eq!(next(Status::Expected, Event::Refunded), None);
    }
}
