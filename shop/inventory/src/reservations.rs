//! Reservations: what an order set aside. All of its lines or none; a release leaves a tombstone.

use leeward_events::HandlerError;
use leeward_store::{Error, Tx, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shop_contracts::inventory::{ShortLine, StockLine};

use crate::stock::{self, Move};

/// Where a reservation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Goods are set aside.
    Reserved,
    /// There was not enough; the answer is kept, so that a repeat hears the same.
    Short,
    /// Given back, or told to be before it was made: a late reservation is refused.
    Released,
    /// The goods left the house.
    Issued,
}

impl Status {
    const ALL: [Self; 4] = [Self::Reserved, Self::Short, Self::Released, Self::Issued];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Short => "short",
            Self::Released => "released",
            Self::Issued => "issued",
        }
    }
}

/// What an order that wants its goods set aside gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserve {
    /// Set the goods aside if there are enough.
    SetAside,
    /// They are set aside already, or even shipped.
    Have,
    /// There was not enough: answer as then.
    WasShort,
    /// The release overtook it.
    Refuse,
}

/// What an order that gives its goods back gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Give them back.
    GiveBack,
    /// There are none: leave a tombstone.
    Tombstone,
    /// It happened before.
    Nothing,
    /// They have left the house.
    TooLate,
}

/// What a shipment gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Issue {
    /// Take the goods off the shelf.
    TakeOut,
    /// It happened before.
    Nothing,
    /// They were never set aside, or given back.
    Never,
}

/// The rule for an order that wants its goods; `status` is none where there is no reservation yet.
pub(crate) const fn on_reserve(status: Option<Status>) -> Reserve {
    match status {
        None => Reserve::SetAside,
        Some(Status::Reserved | Status::Issued) => Reserve::Have,
        Some(Status::Short) => Reserve::WasShort,
        Some(Status::Released) => Reserve::Refuse,
    }
}

/// The rule for an order that gives its goods back.
pub(crate) const fn on_release(status: Option<Status>) -> Release {
    match status {
        None | Some(Status::Short) => Release::Tombstone,
        Some(Status::Reserved) => Release::GiveBack,
        Some(Status::Released) => Release::Nothing,
        Some(Status::Issued) => Release::TooLate,
    }
}

/// The rule for goods that are shipped.
pub(crate) const fn on_issue(status: Option<Status>) -> Issue {
    match status {
        Some(Status::Reserved) => Issue::TakeOut,
        Some(Status::Issued) => Issue::Nothing,
        None | Some(Status::Short | Status::Released) => Issue::Never,
    }
}

/// A reservation as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Reservation {
    pub(crate) status: Status,
    lines: String,
}

impl Reservation {
    /// The goods.
    pub(crate) fn lines(&self) -> Result<Vec<StockLine>, HandlerError> {
        parse(&self.lines)
    }

    /// What was missing, of one that was short.
    pub(crate) fn short(&self) -> Result<Vec<ShortLine>, HandlerError> {
        parse(&self.lines)
    }
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, HandlerError> {
    serde_json::from_str(json)
        .map_err(|error| HandlerError::Poison(format!("the stored reservation: {error}")))
}

/// The order's reservation.
pub(crate) async fn find(tx: &mut Tx, order_id: &str) -> Result<Option<Reservation>, HandlerError> {
    let sql = "SELECT status, lines FROM reservations WHERE order_id = $1";
    let Some(row) = tx.query_opt(sql, params![order_id]).await? else { return Ok(None) };
    let text: &str = row.get(0)?;
    let status = Status::ALL.into_iter().find(|status| status.as_str() == text);
    let status = status.ok_or_else(|| HandlerError::Poison(format!("the stored reservation is {text}")))?;
    Ok(Some(Reservation { status, lines: row.get(1)? }))
}

/// Writes where the order's reservation stands; `lines` are its goods, or what was missing.
pub(crate) async fn put<T: Serialize>(
    tx: &mut Tx,
    order_id: &str,
    status: Status,
    lines: &[T],
    at_ms: i64,
) -> Result<(), HandlerError> {
    let lines = serde_json::to_string(lines).map_err(|error| HandlerError::Poison(error.to_string()))?;
    tx.execute(
        "INSERT INTO reservations (order_id, status, lines, at_ms) VALUES ($1, $2, $3, $4)
         ON CONFLICT (order_id) DO UPDATE SET status = excluded.status, lines = excluded.lines, at_ms = excluded.at_ms",
        params![order_id, status.as_str(), lines, at_ms],
    )
    .await?;
    Ok(())
}

/// Moves a reservation on, its goods unchanged.
pub(crate) async fn set(tx: &mut Tx, order_id: &str, status: Status, at_ms: i64) -> Result<(), Error> {
    let sql = "UPDATE reservations SET status = $2, at_ms = $3 WHERE order_id = $1";
    tx.execute(sql, params![order_id, status.as_str(), at_ms]).await?;
    Ok(())
}

/// The lines with each product once: two lines of one product need their sum.
pub(crate) fn merged(lines: &[StockLine]) -> Vec<StockLine> {
    let mut merged: Vec<StockLine> = Vec::with_capacity(lines.len());
    for line in lines {
        match merged.iter_mut().find(|known| known.product_id == line.product_id) {
            Some(known) => known.quantity = known.quantity.saturating_add(line.quantity),
            None => merged.push(line.clone()),
        }
    }
    merged
}

/// The lines that the stock does not cover; empty when all can be set aside.
pub(crate) async fn shortages(tx: &mut Tx, lines: &[StockLine]) -> Result<Vec<ShortLine>, Error> {
    let mut short = Vec::new();
    for line in lines {
        let available = stock::available(tx, line.product_id.as_str()).await?;
        if available < i64::from(line.quantity) {
            short.push(ShortLine { product_id: line.product_id.clone(), wanted: line.quantity, available });
        }
    }
    Ok(short)
}

/// Moves the level of every line by `(on_hand, reserved)` times its quantity. `false` when one could not move: then
/// the transaction must be undone.
pub(crate) async fn shift_all(
    tx: &mut Tx,
    lines: &[StockLine],
    kind: &'static str,
    reference: &str,
    (on_hand, reserved): (i64, i64),
    at_ms: i64,
) -> Result<bool, Error> {
    for line in lines {
        let quantity = i64::from(line.quantity);
        let by = Move { kind, reference, on_hand: on_hand * quantity, reserved: reserved * quantity };
        if !stock::shift(tx, line.product_id.as_str(), by, at_ms).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_overtakes_its_reservation_wins() {
        assert_eq!(on_release(None), Release::Tombstone);
        assert_eq!(on_reserve(Some(Status::Released)), Reserve::Refuse);
    }

    #[test]
    fn goods_that_left_are_neither_given_back_nor_taken_twice() {
        assert_eq!(on_release(Some(Status::Issued)), Release::TooLate);
        assert_eq!(on_issue(Some(Status::Issued)), Issue::Nothing);
    }

    #[test]
    fn nothing_is_taken_out_that_was_not_set_aside() {
        for status in [None, Some(Status::Short), Some(Status::Released)] {
            assert_eq!(on_issue(status), Issue::Never, "{status:?}");
        }
    }

    #[test]
    fn two_lines_of_one_product_are_one() {
        let line = |product: &str, quantity| StockLine { product_id: product.into(), quantity };
        let lines = [line("a", 1), line("b", 2), line("a", 3)];
        assert_eq!(merged(&lines), [line("a", 4), line("b", 2)]);
    }
}
