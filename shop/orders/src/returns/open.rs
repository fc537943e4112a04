//! Opening a return: which goods, and how much for them.

use leeward_service::{Invalid, Problem};
use leeward_store::Tx;
use leeward_telemetry::Correlation;
use shop_contracts::inventory::StockLine;
use shop_contracts::orders::{OrderLine, OrderStatus};
use shop_contracts::returns::{RequestReturn, Return, ReturnRequested, ReturnStatus};
use shop_contracts::{Money, ReturnId, UserId, problem};

use super::{DUE_MS, book as rows};
use crate::desk::Desk;
use crate::idempotency::{self, Key, Meaning};
use crate::{Error, book, error};

/// What comes back, and what the customer gets for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Goods {
    pub(crate) lines: Vec<StockLine>,
    pub(crate) refund: Money,
}

/// Why goods cannot come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// All of them are in returns already.
    NothingLeft,
    /// More than was bought and is not in a return, or something that was not bought.
    NotBought,
}

/// Which of the `bought` goods come back when `returned` are in returns already; all that are left when none are
/// `wanted` by name.
pub(crate) fn goods(
    bought: &[OrderLine],
    returned: &[StockLine],
    wanted: &[StockLine],
) -> Result<Goods, Obstacle> {
    let left = |line: &OrderLine| {
        let gone =
            returned.iter().filter(|it| it.product_id == line.product_id).map(|it| it.quantity).sum::<u32>();
        line.quantity.saturating_sub(gone)
    };
    let everything = || {
        let each = |line: &OrderLine| StockLine { product_id: line.product_id.clone(), quantity: left(line) };
        bought.iter().map(each).filter(|line| line.quantity > 0).collect::<Vec<_>>()
    };
    let lines = if wanted.is_empty() { everything() } else { wanted.to_vec() };
    if lines.is_empty() {
        return Err(Obstacle::NothingLeft);
    }
    let mut prices = Vec::with_capacity(lines.len());
    for (place, line) in lines.iter().enumerate() {
        let twice = lines[..place].iter().any(|other| other.product_id == line.product_id);
        let source = bought.iter().find(|it| it.product_id == line.product_id).filter(|_| !twice);
        match source {
            Some(source) if (1..=left(source)).contains(&line.quantity) => {
                prices.push(source.unit_price.times(line.quantity).map_err(|_| Obstacle::NotBought)?);
            }
            Some(source) if left(source) == 0 => return Err(Obstacle::NothingLeft),
            Some(_) | None => return Err(Obstacle::NotBought),
        }
    }
    let refund = Money::sum(prices).ok().flatten().ok_or(Obstacle::NotBought)?;
    Ok(Goods { lines, refund })
}

/// Opens the return that `request` asks for, or finds the one that it opened before under the same key.
pub(crate) async fn open(
    desk: &Desk,
    key: Option<Key>,
    user_id: UserId,
    request: RequestReturn,
    cause: Correlation,
) -> Result<Return, Problem> {
    let work = desk.clone();
    let opened = desk
        .db
        .write(async move |tx: &mut Tx| {
            let now_ms = work.clock.unix_ms();
            let word_for_word = json(&request)?;
            if let Some(key) = &key {
                match idempotency::meaning(idempotency::find(tx, key).await?, &word_for_word, now_ms) {
                    Meaning::Repeat(answer) => return book::json(&answer, "answer"),
                    Meaning::Reused => return Err(error::key_reused().into()),
                    Meaning::Fresh => {}
                }
            }
            let entry = new(tx, &user_id, request, now_ms).await?;
            rows::insert(tx, &entry, &user_id).await?;
            if let Some(key) = &key {
                idempotency::record(tx, key, &word_for_word, &json(&entry)?, now_ms).await?;
            }
            let requested = ReturnRequested {
                return_id: entry.return_id.clone(),
                order_id: entry.order_id.clone(),
                user_id,
                lines: entry.lines.clone(),
                refund: entry.refund,
            };
            work.outbox.append(tx, &requested, &cause).await?;
            Ok::<Return, Error>(entry)
        })
        .await?;
    Ok(opened)
}

async fn new(tx: &mut Tx, user_id: &UserId, request: RequestReturn, now_ms: i64) -> Result<Return, Error> {
    let order =
        book::find(tx, request.order_id.as_str(), user_id.as_str()).await?.ok_or_else(error::no_order)?;
    if order.status != OrderStatus::Confirmed {
        let detail =
            format!("the order is {}; only goods of a confirmed order can come back", order.status.as_str());
        return Err(Problem::conflict(problem::ORDER_STATUS, detail).into());
    }
    let returned = rows::lines_of_order(tx, order.order_id.as_str()).await?;
    let Goods { lines, refund } = goods(&order.lines, &returned, &request.lines).map_err(refusal)?;
    Ok(Return {
        return_id: ReturnId::generate(),
        order_id: order.order_id,
        status: ReturnStatus::Requested,
        lines,
        refund,
        reason: request.reason,
        refusal: None,
        requested_at_ms: now_ms,
        due_at_ms: now_ms + DUE_MS,
        updated_at_ms: now_ms,
    })
}

fn refusal(obstacle: Obstacle) -> Problem {
    match obstacle {
        Obstacle::NothingLeft => {
            Problem::conflict(problem::RETURN_EXISTS, "these goods are in a return already")
        }
        Obstacle::NotBought => Invalid::default()
            .check(false, "lines", "must be goods of the order, each product once, no more than were bought")
            .finish()
            .err()
            .unwrap_or_else(|| Problem::malformed("lines")),
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| Error::foreign("request", "what is no JSON"))
}

#[cfg(test)]
mod tests {
    use shop_contracts::Currency;

    use super::*;

    fn bought() -> Vec<OrderLine> {
        let line = |id: &str, quantity, price| OrderLine {
            product_id: id.into(),
            name: id.into(),
            quantity,
            unit_price: Money::new(price, Currency::EUR),
        };
        vec![line("a", 2, 100), line("b", 1, 30)]
    }

    fn stock(lines: &[(&str, u32)]) -> Vec<StockLine> {
        lines.iter().map(|&(id, quantity)| StockLine { product_id: id.into(), quantity }).collect()
    }

    #[test]
    fn goods_come_back_once() {
        let table = [
            (&[][..], &[][..], Ok((vec![("a", 2), ("b", 1)], 230))),
            (&[("a", 1)], &[], Ok((vec![("a", 1), ("b", 1)], 130))),
            (&[("a", 1)], &[("a", 1)], Ok((vec![("a", 1)], 100))),
            (&[("a", 2), ("b", 1)], &[], Err(Obstacle::NothingLeft)),
            (&[("a", 2)], &[("a", 1)], Err(Obstacle::NothingLeft)),
            (&[("a", 1)], &[("a", 2)], Err(Obstacle::NotBought)),
            (&[], &[("a", 0)], Err(Obstacle::NotBought)),
            (&[], &[("a", 1), ("a", 1)], Err(Obstacle::NotBought)),
            (&[], &[("c", 1)], Err(Obstacle::NotBought)),
        ];
        for (returned, wanted, expected) in table {
            let expected = expected.map(|(lines, refund)| Goods {
                lines: stock(&lines),
                refund: Money::new(refund, Currency::EUR),
            });
            assert_eq!(
                goods(&bought(), &stock(returned), &stock(wanted)),
                expected,
                "{returned:?} {wanted:?}"
            );
        }
    }
}
