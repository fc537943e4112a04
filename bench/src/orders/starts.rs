//! From nothing to the first order: several times over, since one start says little.

use std::path::Path;
use std::time::{Duration, Instant};

use super::customers::authorization;
use super::facts::Facts;
use super::load::{self, OrderId};
use super::report::Report;
use super::shop::Shop;
use super::{Arguments, Zipf};

/// The customer that every new shop has.
const EMAIL: &str = "customer@shop.example";
const PASSWORD: &str = "customer-demo";

/// A first order that takes longer than this will never be confirmed.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(20);

/// How often the database is asked whether it is.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// Starts the shop on empty folders; keeps the last one, and gives its first order.
pub(super) async fn run(
    arguments: &Arguments,
    folder: &Path,
    report: &mut Report,
) -> Result<(Shop, OrderId), String> {
    let mut number = 0;
    loop {
        number += 1;
        let data = folder.join(format!("start-{number}"));
        std::fs::create_dir(&data).map_err(|error| error.to_string())?;
        let shop = Shop::start(&arguments.binary, &data, arguments.config.as_deref()).await?;
        let (order, took) = first_order(&shop).await?;
        report.start(shop.ready, took);
        if number == arguments.starts {
            return Ok((shop, order));
        }
        shop.stop()?;
        std::fs::remove_dir_all(&data).map_err(|error| error.to_string())?;
    }
}

/// Logs in, orders, and waits until the order is confirmed; gives the time since the process was started.
async fn first_order(shop: &Shop) -> Result<(OrderId, Duration), String> {
    let authorization = authorization(shop.gateway(), EMAIL, PASSWORD).await?;
    let products = Zipf::new(vec!["desk-lamp-oak".into(), "kettle-oak".into()], 1.0, 0);
    let order = load::order(
        shop.gateway(),
        &authorization,
        products.two(&leeward_resilience::FastRng::seeded(0)),
        "first",
    );
    let answered = order.await.map_err(|error| format!("the first order: {error}"))?;
    let facts = Facts::open(shop.data())?;
    let asked = Instant::now();
    while !facts.is_confirmed(answered.order_id)? {
        if asked.elapsed() > CONFIRMED_WITHIN {
            return Err("the first order is not confirmed".to_owned());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok((answered.order_id, shop.from.elapsed()))
}
