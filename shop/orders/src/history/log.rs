//! What the order history is built again from: the orders' log, or where its beginning is past the log's retention, the orders
//! as they stand and the log behind them.
//!
//! The snapshot is told in the words of the log, so that the same handlers take it: an order was placed, and it was confirmed
//! or cancelled. Where the log ends is read before the first order. What happens later comes from the log, also where an
//! order shows it already: to the handlers an event that comes twice is one.

use std::sync::Arc;

use leeward_events::outbox::{LogEntry, LogPage};
use leeward_events::projection::{LocalLog, LogError, LogFuture, LogSource};
use leeward_events::{Envelope, Event, Outbox};
use leeward_store::Db;
use shop_contracts::UserId;
use shop_contracts::orders::{Order, OrderCancelled, OrderConfirmed, OrderPlaced, OrderStatus};
use tokio::sync::Mutex;

use crate::{Error, book};

/// Orders of a page: each makes two events at most, which are the handlers' transaction.
const ORDERS: u32 = 50;

/// The orders' log with a snapshot in the place of what it no longer has.
#[derive(Clone, Debug)]
pub(super) struct OwnLog {
    db: Db,
    log: LocalLog,
    /// The snapshot that is being read. One rebuild runs at a time, and each begins at zero.
    snapshot: Arc<Mutex<Option<Snapshot>>>,
}

#[derive(Clone, Debug)]
struct Snapshot {
    source: Arc<str>,
    /// Where the log ended when the snapshot began.
    log_seq: i64,
    /// The last order read.
    after: String,
}

impl OwnLog {
    pub(super) fn new(db: Db, outbox: Outbox) -> Self {
        Self { log: LocalLog::new(db.clone(), outbox), db, snapshot: Arc::default() }
    }

    async fn begin(&self, events_max: u32) -> Result<LogPage, LogError> {
        let mut snapshot = self.snapshot.lock().await;
        *snapshot = None;
        let page = self.log.page(0, events_max).await?;
        if page.oldest_seq == 1 {
            return Ok(page);
        }
        let begun = Snapshot { source: page.source, log_seq: page.newest_seq, after: String::new() };
        self.read(&mut snapshot, begun, 0).await
    }

    /// The next orders of a snapshot. All but the last page stand below the log's end: there are no more orders than events.
    async fn read(
        &self,
        rest: &mut Option<Snapshot>,
        now: Snapshot,
        after_seq: i64,
    ) -> Result<LogPage, LogError> {
        let Snapshot { source, log_seq, after } = now;
        let orders = self.db.read(async move |tx| book::all(tx, &after, ORDERS).await).await;
        let orders = orders.map_err(|error: Error| LogError(error.to_string()))?;
        let is_last = orders.len() < ORDERS as usize;
        let seq = if is_last { log_seq.max(after_seq + 1) } else { after_seq + 1 };
        let mut entries = Vec::with_capacity(2 * orders.len());
        for (user_id, order) in &orders {
            for event in told(&source, user_id, order).map_err(|error| LogError(error.to_string()))? {
                entries.push(LogEntry { seq, event });
            }
        }
        *rest = orders.last().filter(|_| !is_last).map(|(_, order)| Snapshot {
            source: Arc::clone(&source),
            log_seq,
            after: order.order_id.to_string(),
        });
        if entries.is_empty() {
            // Nothing is left but what the log still has.
            return Ok(LogPage { oldest_seq: 1, ..self.log.page(log_seq, ORDERS).await? });
        }
        Ok(LogPage { source, oldest_seq: 1, newest_seq: log_seq, entries })
    }
}

impl LogSource for OwnLog {
    fn page(&self, after_seq: i64, events_max: u32) -> LogFuture<'_> {
        Box::pin(async move {
            if after_seq == 0 {
                return self.begin(events_max).await;
            }
            let mut snapshot = self.snapshot.lock().await;
            match snapshot.take() {
                Some(now) => self.read(&mut snapshot, now, after_seq).await,
                None => self.log.page(after_seq, events_max).await,
            }
        })
    }
}

/// What the log would say of an order that stands as it does.
fn told(source: &Arc<str>, user_id: &UserId, order: &Order) -> Result<Vec<Envelope>, Error> {
    let (order_id, user_id, total) = (&order.order_id, user_id.clone(), order.total);
    let missing = |what| Error::foreign(what, "nothing");
    let mut events = vec![envelope(
        source,
        order.placed_at_ms,
        &OrderPlaced {
            order_id: order_id.clone(),
            user_id: user_id.clone(),
            lines: order.lines.clone(),
            total,
            placed_at_ms: order.placed_at_ms,
        },
    )?];
    match order.status {
        OrderStatus::Placed => {}
        OrderStatus::Confirmed => {
            let confirmed = OrderConfirmed {
                order_id: order_id.clone(),
                user_id,
                total,
                payment_id: order.payment_id.clone().ok_or_else(|| missing("payment"))?,
                shipment_id: order.shipment_id.clone().ok_or_else(|| missing("shipment"))?,
                tracking_code: order.tracking_code.clone().ok_or_else(|| missing("tracking code"))?,
                confirmed_at_ms: order.updated_at_ms,
            };
            events.push(envelope(source, order.updated_at_ms, &confirmed)?);
        }
        OrderStatus::Cancelled => {
            let reason = order.cancelled.clone().ok_or_else(|| missing("reason"))?;
            let cancelled_at_ms = order.updated_at_ms;
            let cancelled = OrderCancelled { order_id: order_id.clone(), user_id, reason, cancelled_at_ms };
            events.push(envelope(source, cancelled_at_ms, &cancelled)?);
        }
    }
    Ok(events)
}

fn envelope<E: Event>(source: &Arc<str>, time_ms: i64, event: &E) -> Result<Envelope, Error> {
    let data = serde_json::value::to_raw_value(event).map_err(|_| Error::foreign("event", E::TYPE))?;
    let (subject, id) = (event.key(), format!("snapshot/{}/{}", event.key(), E::TYPE));
    Ok(Envelope {
        correlation_id: id.as_str().into(),
        id: id.into(),
        source: Arc::clone(source),
        kind: E::TYPE.into(),
        subject: subject.into(),
        time_ms,
        version: E::VERSION,
        traceparent: None,
        causation_id: None,
        log_seq: None,
        data,
    })
}
