//! Inventory, shipping and catalog as far as orders sees them: they answer what the test tells them to.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use leeward_events::HandlerError;
use leeward_service::{Access, Api, Commanded, Json, Kit, Path, Problem, Service, routes};
use leeward_store::Tx;
use parking_lot::Mutex;
use shop_contracts::catalog::Product;
use shop_contracts::inventory::{ReleaseStock, ReserveStock, ShortLine, StockRelease, StockReservation};
use shop_contracts::shipping::{CreateShipment, ShipmentOpened};
use shop_contracts::{Currency, Money};

/// What the peers do, and what they did.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Whether there is stock.
    pub(crate) out_of_stock: bool,
    /// Commands of this type are not answered.
    pub(crate) deaf_to: Option<&'static str>,
    /// Every command that was handled: its type and the order.
    pub(crate) handled: Vec<(&'static str, String)>,
    /// What the catalog sells, with its price.
    pub(crate) products: BTreeMap<String, i64>,
    /// How often the catalog was asked.
    pub(crate) asked: usize,
}

pub(crate) type Shared = Arc<Mutex<Script>>;

/// Notes a command, unless the peers are deaf to it.
fn note(script: &Shared, kind: &'static str, order: &str) -> Result<(), HandlerError> {
    let mut script = script.lock();
    if script.deaf_to == Some(kind) {
        return Err(HandlerError::Wait("out of order".into()));
    }
    script.handled.push((kind, order.to_owned()));
    Ok(())
}

/// Inventory and shipping in one.
pub(crate) async fn participants(kit: Kit, script: &Shared) -> Service {
    kit.db(&[]).await.unwrap();
    let (reserving, releasing, shipping) = (Arc::clone(script), Arc::clone(script), Arc::clone(script));
    let consumer = kit
        .consumer("inventory")
        .on_command(async move |_tx: &mut Tx, it: Commanded<ReserveStock>| {
            note(&reserving, "reserve", it.event.order_id.as_str())?;
            if !reserving.lock().out_of_stock {
                return Ok(StockReservation::Reserved);
            }
            let short = |line: shop_contracts::inventory::StockLine| ShortLine {
                product_id: line.product_id,
                wanted: line.quantity,
                available: 0,
            };
            Ok(StockReservation::OutOfStock { short: it.event.lines.into_iter().map(short).collect() })
        })
        .on_command(async move |_tx: &mut Tx, it: Commanded<ReleaseStock>| {
            note(&releasing, "release", it.event.order_id.as_str())?;
            Ok(StockRelease { released: true })
        })
        .on_command(async move |_tx: &mut Tx, it: Commanded<CreateShipment>| {
            note(&shipping, "ship", it.event.order_id.as_str())?;
            Ok(ShipmentOpened { shipment_id: "s-1".into(), tracking_code: "LW-1".into() })
        })
        .build()
        .unwrap();
    Service::builder(kit).consumer(consumer).build().unwrap()
}

#[utoipa::path(get, path = "/products/{id}", responses((status = 200, body = Product)))]
async fn product(State(script): State<Shared>, Path(id): Path<String>) -> Result<Json<Product>, Problem> {
    let mut script = script.lock();
    script.asked += 1;
    let price = *script.products.get(&id).ok_or_else(|| Problem::not_found("no such product"))?;
    Ok(Json(Product {
        name: format!("Product {id}"),
        product_id: id.into(),
        description: String::new(),
        category_id: "c-1".into(),
        price: Money::new(price, Currency::EUR),
        active: true,
        version: 1,
        available: None,
    }))
}

/// The catalog.
pub(crate) fn catalog(kit: Kit, script: &Shared) -> Service {
    let api = Api::new().add(Access::Anyone, routes!(product));
    Service::builder(kit).api(api).state(Arc::clone(script)).build().unwrap()
}
