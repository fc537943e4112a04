//! The order history: a read model that follows the orders' own events, and can be built again from their log.

mod log;

use std::sync::Arc;

use leeward_events::projection::{self, Form, Mode, Projection, Table};
use leeward_events::{Outbox, Received};
use leeward_service::health::{Check, Reading};
use leeward_service::{BuildError, Problem};
use leeward_store::{Db, ReadTx, Row, Tx, params};
use serde_json::Value;
use shop_contracts::orders::{Order, OrderCancelled, OrderConfirmed, OrderPlaced, OrderStatus, OrderSummary};

use self::log::OwnLog;
use crate::{Error, book};

/// The projection's name, under which an operator has it rebuilt.
pub(crate) const NAME: &str = "orders.history";

const SCHEMA: &[&str] = &[
    "CREATE TABLE {table} (
        order_id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL,
        status TEXT NOT NULL,
        total_minor BIGINT NOT NULL,
        currency TEXT NOT NULL,
        items BIGINT NOT NULL,
        tracking_code TEXT,
        placed_at_ms BIGINT NOT NULL,
        updated_at_ms BIGINT NOT NULL
    )",
    "CREATE INDEX {table}_by_user ON {table} (user_id, order_id)",
];

const DIGEST: &str =
    "SELECT order_id, user_id || ' ' || status || ' ' || total_minor || ' ' || currency || ' ' || items
    || ' ' || COALESCE(tracking_code, '') || ' ' || placed_at_ms || ' ' || updated_at_ms
    FROM {table} WHERE order_id > $1 ORDER BY order_id LIMIT $2";

/// The projection over the service's database.
fn define(db: Db) -> Result<Projection, projection::BuildError> {
    Projection::builder(NAME, db, "order_history")
        .schema(SCHEMA)
        .digest(DIGEST)
        .on(async |tx: &mut Tx, table: &Table, it: Received<OrderPlaced>| {
            Ok(placed(tx, table, &it.event).await?)
        })
        .on(async |tx: &mut Tx, table: &Table, it: Received<OrderConfirmed>| {
            Ok(confirmed(tx, table, &it.event).await?)
        })
        .on(async |tx: &mut Tx, table: &Table, it: Received<OrderCancelled>| {
            Ok(cancelled(tx, table, &it.event).await?)
        })
        .build()
}

/// The read model with its owner's log.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) projection: Projection,
    log: OwnLog,
    /// Why the table is not of this program's form, if it is not: then nothing follows the events, and the orders
    /// themselves are shown.
    outdated: Option<Arc<str>>,
}

impl History {
    /// Opens the read model, and builds it again where an earlier program left it in another form. Orders can be taken and
    /// shown without it: where it cannot be built, the service starts all the same.
    pub(crate) async fn open(db: &Db, outbox: &Outbox) -> Result<Self, BuildError> {
        let (projection, log) = (define(db.clone())?, OwnLog::new(db.clone(), outbox.clone()));
        let mut history = Self { projection, log, outdated: None };
        if history.projection.open().await? == Form::Outdated
            && let Err(error) = history.projection.rebuild(&history.log, Mode::Replace).await
        {
            tracing::error!(%error, "the order history was not built again; orders are shown without it");
            history.outdated = Some(error.to_string().into());
        }
        Ok(history)
    }

    /// Whether the read model follows the orders' events.
    pub(crate) fn follows(&self) -> bool {
        self.outdated.is_none()
    }

    /// Whether orders are shown from the read model, and what to do when they are not. Requests are served either way.
    pub(crate) fn check(&self) -> Check {
        let outdated = self.outdated.clone();
        let check = Check::new(NAME, move || {
            let reading = match &outdated {
                None => Reading::up("follows the events"),
                Some(error) => Reading::degraded(format!(
                    "not built again at the start, so that the orders themselves are shown: {error}; \
                     mend the cause and start again"
                )),
            };
            async move { reading }
        });
        check.informative()
    }

    /// Builds the read model again from the log; what came of it, for the operator who asked.
    pub(crate) async fn rebuild(self) -> Result<Value, Problem> {
        let report = self.projection.rebuild(&self.log, Mode::Replace).await;
        let report = report.map_err(|error| Problem::unavailable(error.to_string()))?;
        serde_json::to_value(report).map_err(|error| Problem::internal(&error))
    }

    /// The customer's orders before the id `before`, newest first, at most `limit`.
    pub(crate) async fn list(
        &self,
        tx: &mut ReadTx,
        user_id: &str,
        before: &str,
        limit: u32,
    ) -> Result<Vec<OrderSummary>, Error> {
        if !self.follows() {
            let orders = book::of_user(tx, user_id, before, limit).await?;
            return Ok(orders.into_iter().map(summary).collect());
        }
        let sql = self.projection.table().sql(
            "SELECT order_id, status, total_minor, currency, items, tracking_code, placed_at_ms, updated_at_ms
             FROM {table} WHERE user_id = $1 AND order_id < $2 ORDER BY user_id DESC, order_id DESC LIMIT $3",
        );
        tx.query(&sql, params![user_id, before, limit]).await?.iter().map(read).collect()
    }
}

async fn placed(tx: &mut Tx, table: &Table, event: &OrderPlaced) -> Result<(), Error> {
    let items: u32 = event.lines.iter().map(|line| line.quantity).sum();
    let sql = table.sql(
        "INSERT INTO {table} (user_id, order_id, status, total_minor, currency, items, placed_at_ms, updated_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (order_id) DO NOTHING",
    );
    tx.execute(
        &sql,
        params![
            event.user_id.as_str(),
            event.order_id.as_str(),
            OrderStatus::Placed.as_str(),
            event.total.amount_minor,
            event.total.currency.as_str(),
            items,
            event.placed_at_ms
        ],
    )
    .await?;
    Ok(())
}

async fn confirmed(tx: &mut Tx, table: &Table, event: &OrderConfirmed) -> Result<(), Error> {
    let sql = table
        .sql("UPDATE {table} SET status = $2, tracking_code = $3, updated_at_ms = $4 WHERE order_id = $1");
    let status = OrderStatus::Confirmed.as_str();
    tx.execute(&sql, params![event.order_id.as_str(), status, event.tracking_code, event.confirmed_at_ms])
        .await?;
    Ok(())
}

async fn cancelled(tx: &mut Tx, table: &Table, event: &OrderCancelled) -> Result<(), Error> {
    let sql = table.sql("UPDATE {table} SET status = $2, updated_at_ms = $3 WHERE order_id = $1");
    let status = OrderStatus::Cancelled.as_str();
    tx.execute(&sql, params![event.order_id.as_str(), status, event.cancelled_at_ms]).await?;
    Ok(())
}

/// An order as the history shows it.
fn summary(order: Order) -> OrderSummary {
    OrderSummary {
        order_id: order.order_id,
        status: order.status,
        total: order.total,
        items: order.lines.iter().map(|line| line.quantity).sum(),
        tracking_code: order.tracking_code,
        placed_at_ms: order.placed_at_ms,
        updated_at_ms: order.updated_at_ms,
    }
}

fn read(row: &Row) -> Result<OrderSummary, Error> {
    Ok(OrderSummary {
        order_id: row.get::<String>(0)?.into(),
        status: book::status(row.get(1)?)?,
        total: book::money(row.get(2)?, row.get(3)?)?,
        items: row.get(4)?,
        tracking_code: row.get(5)?,
        placed_at_ms: row.get(6)?,
        updated_at_ms: row.get(7)?,
    })
}
