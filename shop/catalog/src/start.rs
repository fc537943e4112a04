//! How the service is put together.

use leeward_events::projection::{self, Form, Mode};
use leeward_service::{Kit, Problem, Service};
use leeward_store::{ReadTx, Tx};
use leeward_telemetry::Correlation;
use shop_contracts::catalog::Product;

use crate::api::{Catalog, api};
use crate::products::{self, Category, Draft};
use crate::schema::MIGRATIONS;
use crate::shelf;

/// The service's name.
pub const NAME: &str = "catalog";

/// Who owns what lies on the shelf.
const INVENTORY: &str = "inventory";

/// Why the service could not be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The kit: its database, its routes, its consumer.
    #[error(transparent)]
    Kit(#[from] leeward_service::BuildError),
    /// The definition of its projection.
    #[error(transparent)]
    Projection(#[from] projection::BuildError),
    /// The table of its projection.
    #[error(transparent)]
    Store(#[from] leeward_store::Error),
    /// The first products could not be written.
    #[error("first products: {0}")]
    Seed(String),
}

/// Puts the service together. `categories` and `products` are what an empty database starts with.
///
/// # Errors
/// When the database, the projection, the first products or the definition of the consumer fail.
pub async fn build(kit: Kit, categories: Vec<Category>, products: Vec<Draft>) -> Result<Service, StartError> {
    let db = kit.db(MIGRATIONS).await?;
    let catalog = Catalog { db: db.clone(), outbox: kit.outbox.clone() };
    let seeded = seed(&catalog, categories, products, kit.correlation()).await;
    seeded.map_err(|problem| StartError::Seed(problem.to_string()))?;
    let shelf = shelf::projection(db)?;
    if shelf.open().await? == Form::Outdated {
        tracing::warn!("the shelf has the form of another version: rebuild {}", shelf::GROUP);
    }
    let (consumer, inventory) = (kit.project(&shelf), kit.client(INVENTORY));
    let rebuild = move || {
        let (shelf, inventory) = (shelf.clone(), inventory.clone());
        async move {
            let report = shelf.rebuild(&inventory, Mode::Replace).await;
            let report = report.map_err(|error| Problem::unavailable(error.to_string()))?;
            serde_json::to_value(report).map_err(|error| Problem::internal(&error))
        }
    };
    Ok(Service::builder(kit)
        .api(api())
        .state(catalog)
        .consumer(consumer)
        .projection(shelf::GROUP, rebuild)
        .build()?)
}

async fn seed(
    catalog: &Catalog,
    categories: Vec<Category>,
    drafts: Vec<Draft>,
    cause: Correlation,
) -> Result<(), Problem> {
    if !catalog.db.read(async |tx: &mut ReadTx| products::is_empty(tx).await).await? {
        return Ok(());
    }
    let outbox = catalog.outbox.clone();
    let seed = async move |tx: &mut Tx| {
        for category in &categories {
            products::put_category(tx, category).await?;
        }
        for product in drafts.into_iter().map(Product::from) {
            let version = products::put(tx, &product).await?;
            outbox.append(tx, &products::changed(&product, version), &cause).await?;
        }
        Ok(())
    };
    catalog.db.write(seed).await
}
