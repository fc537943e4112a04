//! What all parties wrote down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, Row};
use serde::Deserialize;
use shop_contracts::payments::OperationKind;
use shop_contracts::provider::{LedgerEntry, LedgerPage, Verdict};

use crate::files::{number, open, rows};
use crate::http::Http;
use crate::shop::Shop;

/// Goods: how many of which product.
pub type Goods = BTreeMap<String, i64>;

/// What all parties wrote down.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// By id.
    pub orders: BTreeMap<String, Order>,
    /// By order: the status in the order history.
    pub history: BTreeMap<String, (String, i64)>,
    /// Customers' returns, by id.
    pub returns: BTreeMap<String, Return>,
    /// All payments.
    pub payments: Vec<Payment>,
    /// All invoices, in their order.
    pub invoices: Vec<Invoice>,
    /// All refunds, by return.
    pub refunds: BTreeMap<String, Refund>,
    /// By product.
    pub stock: BTreeMap<String, Level>,
    /// By order: the status, and the goods.
    pub reservations: BTreeMap<String, (String, Goods)>,
    /// By return: the status in the warehouse.
    pub warehouse: BTreeMap<String, String>,
    /// All changes of levels.
    pub movements: Vec<Movement>,
    /// All shipments.
    pub shipments: Vec<Shipment>,
    /// All messages.
    pub mail: Vec<Mail>,
    /// Customers who said how they want to be reached.
    pub particular: BTreeSet<String>,
    /// By product: what the catalog shows as available.
    pub shelf: BTreeMap<String, i64>,
    /// The provider's ledger.
    pub ledger: Vec<LedgerEntry>,
    /// Sagas that have not ended, of whichever service.
    pub unended_sagas: i64,
}

/// An order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The customer.
    pub user_id: String,
    /// Its status.
    pub status: String,
    /// What was bought.
    pub goods: Goods,
    /// The sum of its lines.
    pub lines_minor: i64,
    /// What it cost.
    pub total_minor: i64,
    /// Its payment, once confirmed.
    pub payment_id: Option<String>,
    /// Its invoice, once confirmed.
    pub invoice_number: Option<i64>,
    /// Its shipment, once confirmed.
    pub shipment_id: Option<String>,
}

/// A return, as orders has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// The order.
    pub order_id: String,
    /// Its status.
    pub status: String,
    /// What came back.
    pub goods: Goods,
    /// What is due for it.
    pub refund_minor: i64,
}

/// A payment, as payments has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Its id.
    pub id: String,
    /// The order.
    pub order_id: String,
    /// Its status.
    pub status: String,
    /// How much.
    pub amount_minor: i64,
    /// The provider's authorisation.
    pub authorisation: Option<String>,
    /// How much of it is promised to go back, or went back.
    pub refund_reserved_minor: i64,
    /// How much of it went back.
    pub refunded_minor: i64,
}

/// An invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// Its number.
    pub number: i64,
    /// The payment.
    pub payment_id: String,
    /// The order.
    pub order_id: String,
    /// How much.
    pub amount_minor: i64,
}

/// A refund, as payments has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// Its status.
    pub status: String,
    /// How much.
    pub amount_minor: i64,
}

/// A level of the inventory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// On the shelf.
    pub on_hand: i64,
    /// Of those, set aside.
    pub reserved: i64,
}

/// A change of a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// The product.
    pub product_id: String,
    /// What happened.
    pub kind: String,
    /// The order or return behind it.
    pub reference: String,
    /// How the shelf changed.
    pub on_hand: i64,
    /// How the part set aside changed.
    pub reserved: i64,
}

/// A shipment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipment {
    /// Its id.
    pub id: String,
    /// The order.
    pub order_id: String,
    /// The customer.
    pub user_id: String,
    /// What is in it.
    pub goods: Goods,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The customer.
    pub user_id: String,
    /// Which template.
    pub kind: String,
    /// The order or return that it is about.
    pub reference: String,
    /// How it was sent.
    pub channel: String,
}

#[derive(Deserialize)]
struct Line {
    product_id: String,
    #[serde(alias = "wanted")]
    quantity: i64,
    #[serde(default)]
    unit_price: Option<Price>,
}

#[derive(Deserialize)]
struct Price {
    amount_minor: i64,
}

impl Books {
    /// Reads all of it.
    pub async fn read(shop: &Shop) -> Self {
        let mut books = Self::of_files(shop.data());
        books.ledger = ledger(&shop.provider()).await;
        books
    }

    /// How many authorisations the provider gave up that had money set aside.
    #[must_use]
    pub fn voided(&self) -> usize {
        let operations = self.ledger.iter().map(|entry| &entry.operation);
        let freed = operations.filter(|it| it.kind == OperationKind::Void && it.verdict == Verdict::Approved);
        freed.filter(|it| it.amount.is_some()).count()
    }

    /// Reads the services' databases.
    fn of_files(data: &Path) -> Self {
        let file = |name| open(data, name);
        let mut books = Self::default();
        books.read_orders(&file("orders"));
        books.read_payments(&file("payments"));
        books.read_inventory(&file("inventory"));
        books.shipments =
            rows(&file("shipping"), "SELECT id, order_id, user_id, lines FROM shipments", |row| {
                Ok(Shipment {
                    id: row.get(0)?,
                    order_id: row.get(1)?,
                    user_id: row.get(2)?,
                    goods: goods(row, 3)?.0,
                })
            });
        let mailbox = file("notifications");
        books.mail = rows(&mailbox, "SELECT user_id, kind, reference, channel FROM mailbox", |row| {
            Ok(Mail { user_id: row.get(0)?, kind: row.get(1)?, reference: row.get(2)?, channel: row.get(3)? })
        });
        books.particular =
            rows(&mailbox, "SELECT user_id FROM preferences", |row| row.get(0)).into_iter().collect();
        books.shelf = pairs(&file("catalog"), "SELECT product_id, available FROM shelf");
        books
    }

    fn read_orders(&mut self, conn: &Connection) {
        let sql = "SELECT id, user_id, status, lines, total_minor, payment_id, invoice_number, shipment_id FROM orders";
        let orders = rows(conn, sql, |row| {
            let (goods, lines_minor) = goods(row, 3)?;
            let order = Order {
                user_id: row.get(1)?,
                status: row.get(2)?,
                goods,
                lines_minor,
                total_minor: row.get(4)?,
                payment_id: row.get(5)?,
                invoice_number: row.get(6)?,
                shipment_id: row.get(7)?,
            };
            Ok((row.get(0)?, order))
        });
        self.orders = orders.into_iter().collect();
        let history = "SELECT order_id, status, total_minor FROM order_history";
        let history = rows(conn, history, |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))));
        self.history = history.into_iter().collect();
        let returns = rows(conn, "SELECT id, order_id, status, lines, refund_minor FROM returns", |row| {
            let goods = goods(row, 3)?.0;
            Ok((
                row.get(0)?,
                Return { order_id: row.get(1)?, status: row.get(2)?, goods, refund_minor: row.get(4)? },
            ))
        });
        self.returns = returns.into_iter().collect();
        self.unended_sagas += number(conn, UNENDED);
    }

    fn read_payments(&mut self, conn: &Connection) {
        let sql =
            "SELECT id, order_id, status, amount_minor, authorisation, refund_reserved_minor, refunded_minor
             FROM payments";
        self.payments = rows(conn, sql, |row| {
            Ok(Payment {
                id: row.get(0)?,
                order_id: row.get(1)?,
                status: row.get(2)?,
                amount_minor: row.get(3)?,
                authorisation: row.get(4)?,
                refund_reserved_minor: row.get(5)?,
                refunded_minor: row.get(6)?,
            })
        });
        let sql = "SELECT number, payment_id, order_id, amount_minor FROM invoices ORDER BY number";
        self.invoices = rows(conn, sql, |row| {
            let (number, payment_id) = (row.get(0)?, row.get(1)?);
            Ok(Invoice { number, payment_id, order_id: row.get(2)?, amount_minor: row.get(3)? })
        });
        let refunds = rows(conn, "SELECT return_id, status, amount_minor FROM refunds", |row| {
            Ok((row.get(0)?, Refund { status: row.get(1)?, amount_minor: row.get(2)? }))
        });
        self.refunds = refunds.into_iter().collect();
        self.unended_sagas += number(conn, UNENDED);
    }

    fn read_inventory(&mut self, conn: &Connection) {
        let stock = rows(conn, "SELECT product_id, on_hand, reserved FROM stock", |row| {
            Ok((row.get(0)?, Level { on_hand: row.get(1)?, reserved: row.get(2)? }))
        });
        self.stock = stock.into_iter().collect();
        let reservations = rows(conn, "SELECT order_id, status, lines FROM reservations", |row| {
            Ok((row.get(0)?, (row.get(1)?, goods(row, 2)?.0)))
        });
        self.reservations = reservations.into_iter().collect();
        self.warehouse = pairs(conn, "SELECT return_id, status FROM returns");
        self.movements =
            rows(conn, "SELECT product_id, kind, reference, on_hand, reserved FROM movements", |row| {
                let (product_id, kind, reference) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(Movement { product_id, kind, reference, on_hand: row.get(3)?, reserved: row.get(4)? })
            });
    }
}

const UNENDED: &str = "SELECT COUNT(*) FROM leeward_sagas WHERE status NOT IN ('completed', 'compensated')";

fn pairs<T: rusqlite::types::FromSql>(conn: &Connection, sql: &str) -> BTreeMap<String, T> {
    rows(conn, sql, |row| Ok((row.get(0)?, row.get(1)?))).into_iter().collect()
}

/// The goods in a column of JSON lines, and what the lines cost.
fn goods(row: &Row<'_>, column: usize) -> rusqlite::Result<(Goods, i64)> {
    let text: String = row.get(column)?;
    let lines: Vec<Line> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let cost = |line: &Line| line.unit_price.as_ref().map_or(0, |price| price.amount_minor * line.quantity);
    let minor = lines.iter().map(cost).sum();
    let mut goods = Goods::new();
    for line in lines {
        *goods.entry(line.product_id).or_default() += line.quantity;
    }
    Ok((goods, minor))
}

/// All pages of the provider's ledger.
pub async fn ledger(provider: &Http) -> Vec<LedgerEntry> {
    let (mut entries, mut after) = (Vec::new(), Some(0));
    while let Some(seq) = after {
        let page = provider.get(&format!("/ledger?after={seq}")).await.expect(200);
        let page: LedgerPage = serde_json::from_slice(&page.body).unwrap();
        entries.extend(page.entries);
        after = page.next;
    }
    entries
}
