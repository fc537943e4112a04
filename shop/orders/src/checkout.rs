//! Accepting a checkout: one transaction, after which the order is as good as a promise.

use http::StatusCode;
use leeward_service::Problem;
use leeward_store::Tx;
use leeward_telemetry::Correlation;
use shop_contracts::inventory::StockLine;
use shop_contracts::orders::{CheckoutAccepted, CheckoutRequest, OrderPlaced, OrderStatus};
use shop_contracts::{OrderId, UserId, problem};

use crate::cart::{self, Line, Obstacle, Purchase};
use crate::desk::Desk;
use crate::idempotency::{self, Key, Meaning};
use crate::saga::{self, Checkout};
use crate::{Error, basket, book, error};

/// Places the order that `request` asks for, or finds the one that it placed before under the same key.
///
/// Order, saga, event, key and the emptied cart are one transaction: whatever happens after the answer, the saga brings
/// the order to its end; whatever happens before it, there is no order.
pub(crate) async fn place(
    desk: &Desk,
    key: Key,
    user_id: UserId,
    request: CheckoutRequest,
    cause: Correlation,
) -> Result<CheckoutAccepted, Problem> {
    let work = desk.clone();
    let answer = desk
        .db
        .write(async move |tx: &mut Tx| {
            let now_ms = work.clock.unix_ms();
            let word_for_word = json(&request)?;
            match idempotency::meaning(idempotency::find(tx, &key).await?, &word_for_word, now_ms) {
                Meaning::Repeat(answer) => return book::json(&answer, "answer"),
                Meaning::Reused => return Err(error::key_reused().into()),
                Meaning::Fresh => {}
            }

            let lines = basket::lines(tx, user_id.as_str()).await?;
            let purchase = match cart::purchase(lines, &request) {
                Ok(purchase) => purchase,
                Err((obstacle, lines)) => return Err(refusal(obstacle, &lines).into()),
            };
            let order_id = OrderId::generate();
            let accepted = CheckoutAccepted {
                order_id: order_id.clone(),
                status: OrderStatus::Placed,
                total: purchase.total,
            };

            book::place(tx, &order_id, &user_id, &purchase, now_ms).await?;
            basket::clear(tx, user_id.as_str()).await?;
            idempotency::record(tx, &key, &word_for_word, &json(&accepted)?, now_ms).await?;
            let saga = begin(&user_id, &purchase, request.payment_token);
            let _new = work.sagas.start(tx, saga::NAME, order_id.as_str(), &saga, &cause).await?;
            let Purchase { lines, total } = purchase;
            let placed = OrderPlaced { order_id, user_id, lines, total, placed_at_ms: now_ms };
            work.outbox.append(tx, &placed, &cause).await?;
            Ok(accepted)
        })
        .await?;
    Ok(answer)
}

fn begin(user_id: &UserId, purchase: &Purchase, payment_token: String) -> Checkout {
    let stock = |line: &shop_contracts::orders::OrderLine| StockLine {
        product_id: line.product_id.clone(),
        quantity: line.quantity,
    };
    let lines = purchase.lines.iter().map(stock).collect();
    Checkout::new(user_id.clone(), lines, purchase.total, payment_token)
}

/// What the client is told, with the cart as it is now: whoever reads it knows what to agree to.
fn refusal(obstacle: Obstacle, lines: &[Line]) -> Problem {
    let (code, detail) = match obstacle {
        Obstacle::Empty => (problem::CART_EMPTY, "the cart is empty"),
        Obstacle::Unavailable => (problem::PRODUCT_UNAVAILABLE, "a product of the cart is no longer sold"),
        Obstacle::NoTotal => (problem::MIXED_CURRENCIES, "the lines of the cart have no common total"),
        Obstacle::PriceChanged => {
            (problem::PRICE_CHANGED, "prices have changed; the quote has those in force")
        }
    };
    Problem::new(StatusCode::CONFLICT, code).detail(detail).with("quote", cart::quote(lines))
}

fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| Error::foreign("request", "what is no JSON"))
}
