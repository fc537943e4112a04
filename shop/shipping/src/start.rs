//! How the service is put together.

use std::sync::Arc;

use leeward_events::{HandlerError, Outbox};
use leeward_resilience::Clock;
use leeward_service::{Commanded, Kit, Service};
use leeward_store::Tx;
use shop_contracts::shipping::{CreateShipment, ShipmentCreated, ShipmentOpened};
use uuid::Uuid;

use crate::api::{Shipping, api};
use crate::schema::MIGRATIONS;
use crate::shipments::{self, Opened};

/// The service's name.
pub const NAME: &str = "shipping";

/// Why the service could not be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kit: its database, its routes, its consumer.
    #[error(transparent)]
    Kit(#[from] leeward_service::BuildError),
}

/// Puts the service together.
///
/// # Errors
/// When the database or the definition of a consumer fails.
pub async fn build(kit: Kit) -> Result<Service, StartError> {
    let db = kit.db(MIGRATIONS).await?;
    let desk = Desk { outbox: kit.outbox.clone(), clock: Arc::clone(&kit.clock) };
    let commands = kit.consumer("shipping.commands").on_command(
        async move |tx: &mut Tx, command: Commanded<CreateShipment>| desk.create(tx, command).await,
    );
    let shipping = Shipping { db, clock: Arc::clone(&kit.clock) };
    Ok(Service::builder(kit).api(api()).state(shipping).consumer(commands).build()?)
}

#[derive(Clone, Debug)]
struct Desk {
    outbox: Outbox,
    clock: Arc<dyn Clock>,
}

impl Desk {
    /// Opens the shipment of an order; a repeat answers with the one that exists.
    async fn create(
        &self,
        tx: &mut Tx,
        command: Commanded<CreateShipment>,
    ) -> Result<ShipmentOpened, HandlerError> {
        let goods = serde_json::to_string(&command.event.lines);
        let goods = goods.map_err(|error| HandlerError::Poison(error.to_string()))?;
        // A random UUID, since a code that can be guessed would show strangers' parcels.
        let code = Uuid::new_v4().simple().to_string();
        let opened = shipments::open(tx, &command.event, &goods, code, self.clock.unix_ms()).await?;
        let Opened { shipment_id, tracking_code, is_new } = opened;
        if is_new {
            let CreateShipment { order_id, user_id, lines } = command.event.clone();
            let (shipment_id, tracking_code) = (shipment_id.clone(), tracking_code.clone());
            let created = ShipmentCreated { shipment_id, order_id, user_id, tracking_code, lines };
            self.outbox.append(tx, &created, command.correlation()).await?;
        }
        Ok(ShipmentOpened { shipment_id, tracking_code })
    }
}
