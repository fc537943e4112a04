//! A cart and what it costs: pure.

use shop_contracts::orders::{Cart, CartLine, CheckoutRequest, ExpectedLine, OrderLine};
use shop_contracts::{Money, ProductId};

/// Different products in one cart, at most: an order stays one readable document.
pub(crate) const LINES_MAX: usize = 50;

/// How many of one product a cart may hold.
pub(crate) const QUANTITY_MAX: u32 = 99;

/// A line as it is stored, with the price in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) product_id: ProductId,
    pub(crate) name: String,
    pub(crate) quantity: u32,
    /// The price in force.
    pub(crate) price: Money,
    /// The price when the line was put.
    pub(crate) price_when_put: Money,
    pub(crate) sold: bool,
}

/// The cart of these lines, at the prices in force. A line or a sum that no integer holds has no total.
pub(crate) fn quote(lines: &[Line]) -> Cart {
    let total =
        Money::sum(lines.iter().filter_map(|line| line.price.times(line.quantity).ok())).ok().flatten();
    let lines = lines
        .iter()
        .map(|line| CartLine {
            product_id: line.product_id.clone(),
            name: line.name.clone(),
            quantity: line.quantity,
            unit_price: line.price,
            line_total: line.price.times(line.quantity).unwrap_or(line.price),
            price_when_put: (line.price != line.price_when_put).then_some(line.price_when_put),
            sold: line.sold,
        })
        .collect();
    Cart { lines, total }
}

/// What a checkout buys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purchase {
    pub(crate) lines: Vec<OrderLine>,
    pub(crate) total: Money,
}

/// Why a cart cannot be bought as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// It has no lines.
    Empty,
    /// A product is no longer sold.
    Unavailable,
    /// The lines do not share a currency, or their sum does not fit.
    NoTotal,
    /// A price is not the one that the client knows.
    PriceChanged,
}

/// What `request` buys of `lines`, at the prices in force and no others; the lines come back with an obstacle.
///
/// A client that names what it expects must be right in all of it. One that names nothing agrees to the prices at
/// which it put the lines.
pub(crate) fn purchase(
    lines: Vec<Line>,
    request: &CheckoutRequest,
) -> Result<Purchase, (Obstacle, Vec<Line>)> {
    let total = match total(&lines, request) {
        Ok(total) => total,
        Err(obstacle) => return Err((obstacle, lines)),
    };
    let lines = lines
        .into_iter()
        .map(|line| OrderLine {
            product_id: line.product_id,
            name: line.name,
            quantity: line.quantity,
            unit_price: line.price,
        })
        .collect();
    Ok(Purchase { lines, total })
}

fn total(lines: &[Line], request: &CheckoutRequest) -> Result<Money, Obstacle> {
    if lines.is_empty() {
        return Err(Obstacle::Empty);
    }
    if lines.iter().any(|line| !line.sold) {
        return Err(Obstacle::Unavailable);
    }
    let totals = lines.iter().map(|line| line.price.times(line.quantity)).collect::<Result<Vec<_>, _>>();
    let total = totals.and_then(Money::sum).ok().flatten().ok_or(Obstacle::NoTotal)?;
    let names_nothing = request.expected_total.is_none() && request.expected_lines.is_empty();
    let as_known = if names_nothing {
        lines.iter().all(|line| line.price == line.price_when_put)
    } else {
        request.expected_total.is_none_or(|expected| expected == total)
            && (request.expected_lines.is_empty() || same_lines(lines, &request.expected_lines))
    };
    if as_known { Ok(total) } else { Err(Obstacle::PriceChanged) }
}

fn same_lines(lines: &[Line], expected: &[ExpectedLine]) -> bool {
    let is_expected = |line: &Line| {
        expected.iter().any(|wanted| {
            line.product_id == wanted.product_id
                && line.quantity == wanted.quantity
                && line.price == wanted.unit_price
        })
    };
    // A product stands in a cart once, so when each line is expected and there are as many, none is left over.
    lines.len() == expected.len() && lines.iter().all(is_expected)
}

#[cfg(test)]
mod tests {
    use shop_contracts::Currency;

    use super::*;

    const fn eur(amount_minor: i64) -> Money {
        Money::new(amount_minor, Currency::EUR)
    }

    fn line(product_id: &str, quantity: u32, price: i64, when_put: i64) -> Line {
        Line {
            product_id: product_id.into(),
            name: product_id.to_uppercase(),
            quantity,
            price: eur(price),
            price_when_put: eur(when_put),
            sold: true,
        }
    }

    fn request() -> CheckoutRequest {
        CheckoutRequest { payment_token: "tok_visa".into(), expected_total: None, expected_lines: Vec::new() }
    }

    fn expected(product_id: &str, quantity: u32, price: i64) -> ExpectedLine {
        ExpectedLine { product_id: product_id.into(), quantity, unit_price: eur(price) }
    }

    fn obstacle(lines: Vec<Line>, request: &CheckoutRequest) -> Option<Obstacle> {
        purchase(lines, request).err().map(|(obstacle, _)| obstacle)
    }

    #[test]
    fn a_quote_names_the_prices_that_moved() {
        let cart = quote(&[line("a", 2, 110, 100), line("b", 1, 50, 50)]);
        assert_eq!(cart.total, Some(eur(270)));
        assert_eq!(cart.lines[0].line_total, eur(220));
        assert_eq!(cart.lines[0].price_when_put, Some(eur(100)));
        assert_eq!(cart.lines[1].price_when_put, None);
        assert_eq!(quote(&[]).total, None);
    }

    #[test]
    fn a_silent_client_agrees_to_the_prices_it_saw() {
        assert_eq!(purchase(vec![line("a", 2, 100, 100)], &request()).unwrap().total, eur(200));
        assert_eq!(obstacle(vec![line("a", 2, 101, 100)], &request()), Some(Obstacle::PriceChanged));
        assert_eq!(
            obstacle(vec![line("a", 2, 99, 100)], &request()),
            Some(Obstacle::PriceChanged),
            "cheaper is changed"
        );
    }

    #[test]
    fn what_a_client_expects_must_be_so_and_decides() {
        let lines = || vec![line("a", 2, 110, 100), line("b", 1, 50, 50)];
        let with = |total: Option<i64>, expected_lines: Vec<ExpectedLine>| CheckoutRequest {
            expected_total: total.map(eur),
            expected_lines,
            ..request()
        };
        assert!(purchase(lines(), &with(Some(270), vec![])).is_ok(), "it knows the new price");
        assert!(purchase(lines(), &with(None, vec![expected("b", 1, 50), expected("a", 2, 110)])).is_ok());
        for wrong in [
            with(Some(250), vec![]),
            with(Some(1), vec![]),
            with(Some(270), vec![expected("a", 2, 110)]),
            with(None, vec![expected("a", 2, 100), expected("b", 1, 50)]),
            with(None, vec![expected("a", 1, 110), expected("b", 1, 50)]),
            with(None, vec![expected("a", 2, 110), expected("a", 2, 110)]),
        ] {
            assert_eq!(obstacle(lines(), &wrong), Some(Obstacle::PriceChanged), "{wrong:?}");
        }
    }

    #[test]
    fn what_cannot_be_bought() {
        let gone = Line { sold: false, ..line("a", 1, 1, 1) };
        let dollars = Line {
            price: Money::new(1, Currency::parse("USD").unwrap()),
            price_when_put: Money::new(1, Currency::parse("USD").unwrap()),
            ..line("b", 1, 1, 1)
        };
        assert_eq!(obstacle(vec![], &request()), Some(Obstacle::Empty));
        assert_eq!(obstacle(vec![gone], &request()), Some(Obstacle::Unavailable));
        assert_eq!(obstacle(vec![line("a", 1, 1, 1), dollars], &request()), Some(Obstacle::NoTotal));
        assert_eq!(obstacle(vec![line("a", 2, i64::MAX, i64::MAX)], &request()), Some(Obstacle::NoTotal));
    }
}
