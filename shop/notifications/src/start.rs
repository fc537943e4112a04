//! How the service is put together.

use std::sync::Arc;

use leeward_events::Received;
use leeward_service::{ConsumerBuilder, Kit, Service};
use leeward_store::Tx;
use shop_contracts::orders::{OrderCancelled, OrderConfirmed};
use shop_contracts::returns::{ReturnCompleted, ReturnRefused};
use shop_contracts::shipping::ShipmentCreated;
use shop_contracts::users::{UserErased, UserPreferencesChanged, UserRegistered};

use crate::api::api;
use crate::handlers::Handlers;
use crate::schema::MIGRATIONS;
use crate::templates::Templates;

/// The service's name.
pub const NAME: &str = "notifications";

/// Why the service could not be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kit: its database, its routes, its consumer.
    #[error(transparent)]
    Kit(#[from] leeward_service::BuildError),
    /// A template is malformed.
    #[error("templates: {0}")]
    Templates(String),
}

/// Puts the service together.
///
/// # Errors
/// When the database, a template or the definition of the consumer fails.
pub async fn build(kit: Kit) -> Result<Service, StartError> {
    let db = kit.db(MIGRATIONS).await?;
    let templates = Templates::new().map_err(|error| StartError::Templates(error.to_string()))?;
    let handlers = Handlers { templates: Arc::new(templates), clock: Arc::clone(&kit.clock) };
    let messages = messages(&kit, &handlers);
    Ok(Service::builder(kit).api(api()).state(db).consumer(messages).build()?)
}

/// Everything that makes a message, and what says how to send it.
fn messages(kit: &Kit, handlers: &Handlers) -> ConsumerBuilder {
    let on = || handlers.clone();
    let (registered, preferred, erased) = (on(), on(), on());
    let (confirmed, cancelled, shipped) = (on(), on(), on());
    let (returned, return_refused) = (on(), on());
    kit.consumer("notifications.messages")
        .on(async move |tx: &mut Tx, event: Received<UserRegistered>| registered.registered(tx, event).await)
        .on(async move |tx: &mut Tx, event: Received<UserPreferencesChanged>| {
            preferred.preferred(tx, event).await
        })
        .on(async move |tx: &mut Tx, event: Received<UserErased>| erased.erased(tx, event).await)
        .on(async move |tx: &mut Tx, event: Received<OrderConfirmed>| confirmed.confirmed(tx, event).await)
        .on(async move |tx: &mut Tx, event: Received<OrderCancelled>| cancelled.cancelled(tx, event).await)
        .on(async move |tx: &mut Tx, event: Received<ShipmentCreated>| shipped.shipped(tx, event).await)
        .on(async move |tx: &mut Tx, event: Received<ReturnCompleted>| returned.returned(tx, event).await)
        .on(async move |tx: &mut Tx, event: Received<ReturnRefused>| {
            return_refused.return_refused(tx, event).await
        })
}
