//! What the inventory does when it hears of an event or gets a command.

use std::sync::Arc;

use leeward_events::{HandlerError, Outbox, Received};
use leeward_resilience::Clock;
use leeward_service::Commanded;
use leeward_store::Tx;
use shop_contracts::inventory::{
    ReleaseStock, ReserveStock, StockLine, StockRelease, StockReleased, StockReservation, StockReserved,
    StockReturnUndone,
};
use shop_contracts::payments::{PaymentRefundRefused, PaymentRefunded};
use shop_contracts::returns::ReturnRequested;
use shop_contracts::shipping::ShipmentCreated;

use crate::reservations::{
    self, Issue, Release, Reserve, Status, on_issue, on_release, on_reserve, shift_all,
};
use crate::{announce, returns};

/// Handlers with what they need.
#[derive(Clone, Debug)]
pub(crate) struct Handlers {
    pub(crate) outbox: Outbox,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Handlers {
    /// Sets the lines of an order aside, all or none.
    pub(crate) async fn reserve(
        &self,
        tx: &mut Tx,
        command: Commanded<ReserveStock>,
    ) -> Result<StockReservation, HandlerError> {
        let order_id = &command.event.order_id;
        let found = reservations::find(tx, order_id.as_str()).await?;
        match on_reserve(found.as_ref().map(|found| found.status)) {
            Reserve::SetAside => {}
            Reserve::Have => return Ok(StockReservation::Reserved),
            Reserve::Refuse => return Ok(StockReservation::Released),
            Reserve::WasShort => {
                let short = found.map_or_else(|| Ok(Vec::new()), |found| found.short())?;
                return Ok(StockReservation::OutOfStock { short });
            }
        }
        let (now, lines) = (self.clock.unix_ms(), reservations::merged(&command.event.lines));
        let short = reservations::shortages(tx, &lines).await?;
        if !short.is_empty() {
            reservations::put(tx, order_id.as_str(), Status::Short, &short, now).await?;
            return Ok(StockReservation::OutOfStock { short });
        }
        if !shift_all(tx, &lines, "reserved", order_id.as_str(), (0, 1), now).await? {
            return Err(HandlerError::Poison("a level moved within one transaction".into()));
        }
        reservations::put(tx, order_id.as_str(), Status::Reserved, &lines, now).await?;
        tx.wake(announce::TOPIC);
        let event = StockReserved { order_id: order_id.clone(), lines };
        self.outbox.append(tx, &event, command.correlation()).await?;
        Ok(StockReservation::Reserved)
    }

    /// Gives back what an order set aside; leaves a tombstone where there is nothing.
    pub(crate) async fn release(
        &self,
        tx: &mut Tx,
        command: Commanded<ReleaseStock>,
    ) -> Result<StockRelease, HandlerError> {
        let order_id = &command.event.order_id;
        let found = reservations::find(tx, order_id.as_str()).await?;
        let now = self.clock.unix_ms();
        match on_release(found.as_ref().map(|found| found.status)) {
            Release::Nothing => return Ok(StockRelease { released: false }),
            Release::TooLate => return Err(HandlerError::Poison("the goods have left the house".into())),
            Release::Tombstone => {
                reservations::put::<StockLine>(tx, order_id.as_str(), Status::Released, &[], now).await?;
                return Ok(StockRelease { released: false });
            }
            Release::GiveBack => {}
        }
        let lines = found.map_or_else(|| Ok(Vec::new()), |found| found.lines())?;
        if !shift_all(tx, &lines, "released", order_id.as_str(), (0, -1), now).await? {
            return Err(HandlerError::Poison("the reservation is larger than what is set aside".into()));
        }
        reservations::set(tx, order_id.as_str(), Status::Released, now).await?;
        tx.wake(announce::TOPIC);
        let event = StockReleased { order_id: order_id.clone(), lines };
        self.outbox.append(tx, &event, command.correlation()).await?;
        Ok(StockRelease { released: true })
    }

    /// The goods of an order leave the house.
    pub(crate) async fn shipped(
        &self,
        tx: &mut Tx,
        event: Received<ShipmentCreated>,
    ) -> Result<(), HandlerError> {
        let order_id = event.event.order_id.as_str();
        let found = reservations::find(tx, order_id).await?;
        match on_issue(found.as_ref().map(|found| found.status)) {
            Issue::Nothing => return Ok(()),
            Issue::Never => {
                return Err(HandlerError::Poison("goods were shipped that were not set aside".into()));
            }
            Issue::TakeOut => {}
        }
        let (now, lines) =
            (self.clock.unix_ms(), found.map_or_else(|| Ok(Vec::new()), |found| found.lines())?);
        if !shift_all(tx, &lines, "issued", order_id, (-1, -1), now).await? {
            return Err(HandlerError::Poison("the shipment is larger than what is set aside".into()));
        }
        tx.wake(announce::TOPIC);
        Ok(reservations::set(tx, order_id, Status::Issued, now).await?)
    }

    /// Goods are to come back.
    pub(crate) async fn expect_return(
        &self,
        tx: &mut Tx,
        event: Received<ReturnRequested>,
    ) -> Result<(), HandlerError> {
        returns::expect(tx, &event.event, self.clock.unix_ms()).await
    }

    /// The refund has gone through: the goods may be sold again.
    pub(crate) async fn refunded(
        &self,
        tx: &mut Tx,
        event: Received<PaymentRefunded>,
    ) -> Result<(), HandlerError> {
        let id = event.event.return_id.as_str();
        let Some(held) = self.advance(tx, id, returns::Event::Refunded).await? else { return Ok(()) };
        self.shift(tx, &held.lines, "return_freed", id, (0, -1)).await
    }

    /// The refund was refused: the goods go off the shelf again.
    pub(crate) async fn refund_refused(
        &self,
        tx: &mut Tx,
        event: Received<PaymentRefundRefused>,
    ) -> Result<(), HandlerError> {
        let id = event.event.return_id.as_str();
        let Some(held) = self.advance(tx, id, returns::Event::RefundRefused).await? else { return Ok(()) };
        self.shift(tx, &held.lines, "return_undone", id, (-1, -1)).await?;
        let ReturnRequested { return_id, order_id, lines, .. } = held;
        let undone = StockReturnUndone { return_id, order_id, lines };
        self.outbox.append(tx, &undone, event.correlation()).await?;
        Ok(())
    }

    /// Moves a return on; none when it stands there already.
    async fn advance(
        &self,
        tx: &mut Tx,
        return_id: &str,
        event: returns::Event,
    ) -> Result<Option<ReturnRequested>, HandlerError> {
        let Some(found) = returns::find(tx, return_id).await? else {
            return Err(HandlerError::Poison("the return was never announced".into()));
        };
        let status = found.status;
        let to = returns::next(status, event)
            .ok_or_else(|| HandlerError::Poison(format!("{event:?} cannot follow {status:?}")))?;
        if to == status {
            return Ok(None);
        }
        returns::set(tx, return_id, to, self.clock.unix_ms()).await?;
        let requested = found.requested().map_err(|error| HandlerError::Poison(error.to_string()))?;
        Ok(Some(requested))
    }

    async fn shift(
        &self,
        tx: &mut Tx,
        lines: &[StockLine],
        kind: &'static str,
        reference: &str,
        by: (i64, i64),
    ) -> Result<(), HandlerError> {
        tx.wake(announce::TOPIC);
        if shift_all(tx, lines, kind, reference, by, self.clock.unix_ms()).await? {
            return Ok(());
        }
        Err(HandlerError::Poison("the return is larger than what is held".into()))
    }
}
