//! What the inventory does, apart from HTTP and the bus.

use std::sync::Arc;

use leeward_events::Outbox;
use leeward_resilience::Clock;
use leeward_service::{Problem, code};
use leeward_store::{Db, ReadTx, Tx};
use leeward_telemetry::Correlation;
use shop_contracts::inventory::{ReturnReceived, StockLine, StockReturned};
use shop_contracts::returns::ReturnRequested;

use crate::returns::{self, Event, ReturnEntry};
use crate::stock::{self, Level};
use crate::{announce, reservations};

/// The service's parts, shared by all handlers.
#[derive(Clone, Debug)]
pub(crate) struct Inventory {
    pub(crate) db: Db,
    pub(crate) outbox: Outbox,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Inventory {
    /// Up to `rows` levels after the product `after`.
    pub(crate) async fn levels(&self, after: String, rows: u32) -> Result<Vec<Level>, Problem> {
        Ok(self.db.read(async move |tx: &mut ReadTx| stock::page(tx, &after, rows).await).await?)
    }

    /// The level of one product.
    pub(crate) async fn level(&self, product_id: String) -> Result<Level, Problem> {
        let found = self.db.read(async move |tx: &mut ReadTx| stock::find(tx, &product_id).await).await?;
        found.ok_or_else(no_such_stock)
    }

    /// Sets what is on the shelf.
    pub(crate) async fn set_level(
        &self,
        product_id: String,
        on_hand: i64,
        by: String,
    ) -> Result<Level, Problem> {
        let at_ms = self.clock.unix_ms();
        let set = async move |tx: &mut Tx| {
            if !stock::set(tx, &product_id, on_hand, &by, at_ms).await? {
                return Err(Problem::conflict(code::CONFLICT, "more than that is set aside for orders"));
            }
            tx.wake(announce::TOPIC);
            stock::find(tx, &product_id).await?.ok_or_else(no_such_stock)
        };
        self.db.write(set).await
    }

    /// Up to `rows` returns after the id `after`.
    pub(crate) async fn returns(&self, after: String, rows: u32) -> Result<Vec<ReturnEntry>, Problem> {
        Ok(self.db.read(async move |tx: &mut ReadTx| returns::page(tx, &after, rows).await).await?)
    }

    /// The goods of a return have arrived: they are held on the shelf, and their refund becomes due.
    pub(crate) async fn receive(&self, return_id: String, cause: Correlation) -> Result<(), Problem> {
        let (outbox, at_ms) = (self.outbox.clone(), self.clock.unix_ms());
        let receive = async move |tx: &mut Tx| {
            let found = returns::find(tx, &return_id).await?;
            let found = found.ok_or_else(|| Problem::not_found("no such return was announced"))?;
            let Some(to) = returns::next(found.status, Event::Receive) else {
                return Err(Problem::conflict(code::CONFLICT, "the return has ended"));
            };
            if found.status == to {
                return Ok(());
            }
            let requested = found.requested().map_err(|error| Problem::internal(&error))?;
            hold(tx, &requested.lines, &return_id, at_ms).await?;
            returns::set(tx, &return_id, to, at_ms).await?;
            let ReturnRequested { return_id, order_id, user_id, lines, refund } = requested;
            let (of_return, of_order, of_user) = (return_id.clone(), order_id.clone(), user_id.clone());
            let received = ReturnReceived { return_id: of_return, order_id: of_order, user_id: of_user };
            outbox.append(tx, &received, &cause).await?;
            outbox.append(tx, &StockReturned { return_id, order_id, user_id, lines, refund }, &cause).await?;
            Ok(())
        };
        self.db.write(receive).await
    }
}

/// Puts goods on the shelf, held.
async fn hold(tx: &mut Tx, lines: &[StockLine], return_id: &str, at_ms: i64) -> Result<(), Problem> {
    tx.wake(announce::TOPIC);
    if reservations::shift_all(tx, lines, "return_held", return_id, (1, 1), at_ms).await? {
        return Ok(());
    }
    Err(Problem::conflict(code::CONFLICT, "the inventory has no shelf for a product of this return"))
}

fn no_such_stock() -> Problem {
    Problem::not_found("there is no stock of this product")
}
