//! How the service is put together.

use std::sync::Arc;

use leeward_events::Received;
use leeward_service::{Commanded, ConsumerBuilder, Kit, Service};
use leeward_store::{Db, Tx};
use shop_contracts::ProductId;
use shop_contracts::inventory::{ReleaseStock, ReserveStock};
use shop_contracts::payments::{PaymentRefundRefused, PaymentRefunded};
use shop_contracts::returns::ReturnRequested;
use shop_contracts::shipping::ShipmentCreated;

use crate::api::api;
use crate::handlers::Handlers;
use crate::schema::MIGRATIONS;
use crate::service::Inventory;
use crate::{announce, stock};

/// The service's name.
pub const NAME: &str = "inventory";

/// Why the service could not be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kit: its database, its routes, its consumers.
    #[error(transparent)]
    Kit(#[from] leeward_service::BuildError),
    /// The first stock could not be written.
    #[error("first stock: {0}")]
    Seed(leeward_store::Error),
}

/// Puts the service together. `first` is what lies on the shelves of an empty database.
///
/// # Errors
/// When the database, the first stock or the definition of a consumer fails.
pub async fn build(kit: Kit, first: Vec<(ProductId, i64)>) -> Result<Service, StartError> {
    let db = kit.db(MIGRATIONS).await?;
    seed(&db, first, kit.clock.unix_ms()).await.map_err(StartError::Seed)?;
    let handlers = Handlers { outbox: kit.outbox.clone(), clock: Arc::clone(&kit.clock) };
    let (commands, goods) = (commands(&kit, &handlers), goods(&kit, &handlers));
    let inventory = Inventory { db: db.clone(), outbox: kit.outbox.clone(), clock: Arc::clone(&kit.clock) };
    let announcer = kit.clone();
    let service = Service::builder(kit)
        .api(api())
        .state(inventory)
        .consumer(commands)
        .consumer(goods)
        .task("inventory.announce", move |stop| announce::run(announcer, db, stop))
        .build()?;
    Ok(service)
}

/// What orders ask for.
fn commands(kit: &Kit, handlers: &Handlers) -> ConsumerBuilder {
    let (reserve, release) = (handlers.clone(), handlers.clone());
    kit.consumer("inventory.commands")
        .on_command(async move |tx: &mut Tx, command: Commanded<ReserveStock>| {
            reserve.reserve(tx, command).await
        })
        .on_command(async move |tx: &mut Tx, command: Commanded<ReleaseStock>| {
            release.release(tx, command).await
        })
}

/// What becomes of goods elsewhere.
fn goods(kit: &Kit, handlers: &Handlers) -> ConsumerBuilder {
    let on = || handlers.clone();
    let (shipped, expected, refunded, refused) = (on(), on(), on(), on());
    kit.consumer("inventory.goods")
        .on(async move |tx: &mut Tx, event: Received<ShipmentCreated>| shipped.shipped(tx, event).await)
        .on(async move |tx: &mut Tx, event: Received<ReturnRequested>| {
            expected.expect_return(tx, event).await
        })
        .on(async move |tx: &mut Tx, event: Received<PaymentRefunded>| refunded.refunded(tx, event).await)
        .on(async move |tx: &mut Tx, event: Received<PaymentRefundRefused>| {
            refused.refund_refused(tx, event).await
        })
}

async fn seed(db: &Db, first: Vec<(ProductId, i64)>, now_ms: i64) -> Result<(), leeward_store::Error> {
    let seed = async move |tx: &mut Tx| {
        if !stock::page(tx, "", 1).await?.is_empty() {
            return Ok(());
        }
        for (product_id, on_hand) in first {
            stock::set(tx, product_id.as_str(), on_hand, "seed", now_ms).await?;
        }
        Ok(())
    };
    db.write(seed).await
}
