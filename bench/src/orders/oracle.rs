//! Whether it all adds up: read from the files of the shop once it has stopped.
//!
//! Every check is a statement that counts what breaks a rule, over all services' databases at once. No service can see
//! this much, which is what makes it an oracle.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, params};
use serde_json::Value;

use super::load::OrderId;
use super::shop::SERVICES;

/// Databases beside that of the orders.
const OTHERS: [&str; 5] = ["inventory", "payments", "provider", "shipping", "notifications"];

/// What SQLite reads back where the log is synced before a commit returns.
const FULL: &str = "2";

/// One rule, and how often it is broken.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) rule: String,
    pub(super) broken: u64,
}

/// The rules: each statement counts what breaks it.
const RULES: &[(&str, &str)] = &[
    (
        "every order that was accepted is confirmed and names its shipment",
        "SELECT count(*) FROM accepted a LEFT JOIN orders o ON o.id = a.id
         WHERE o.status IS NOT 'confirmed' OR o.shipment_id IS NULL",
    ),
    (
        "there is no order but those accepted and those left without an answer",
        "SELECT max(0, (SELECT count(*) FROM orders WHERE id NOT IN (SELECT id FROM accepted)) - ?1)",
    ),
    (
        "every saga has come to a good end",
        "SELECT count(*) FROM leeward_sagas WHERE status <> 'completed'",
    ),
    (
        "every order has one shipment, and every shipment an order",
        "SELECT (SELECT count(*) FROM orders o WHERE status = 'confirmed'
                 AND (SELECT count(*) FROM shipping.shipments s WHERE s.order_id = o.id) <> 1)
              + (SELECT count(*) FROM shipping.shipments WHERE order_id NOT IN
                 (SELECT id FROM orders WHERE status = 'confirmed'))",
    ),
    (
        "what is on the shelf is what was counted less what was sold, and nothing is set aside",
        "WITH sold AS (SELECT json_extract(line.value, '$.product_id') AS id,
                              sum(json_extract(line.value, '$.quantity')) AS quantity
                       FROM orders, json_each(orders.lines) AS line WHERE status = 'confirmed' GROUP BY 1)
         SELECT count(*) FROM inventory.stock s LEFT JOIN sold ON sold.id = s.product_id
         WHERE s.reserved <> 0 OR s.on_hand + coalesce(sold.quantity, 0) <>
               (SELECT sum(m.on_hand) FROM inventory.movements m
                WHERE m.product_id = s.product_id AND m.kind = 'counted')",
    ),
    (
        "the movements of every product add up to its level",
        "SELECT count(*) FROM inventory.stock s WHERE (s.on_hand, s.reserved) <>
             (SELECT sum(m.on_hand), sum(m.reserved) FROM inventory.movements m WHERE m.product_id = s.product_id)",
    ),
    (
        "the provider took every order's total once",
        "SELECT (SELECT count(*) FROM orders o WHERE o.status = 'confirmed' AND NOT EXISTS
                 (SELECT 1 FROM payments.payments p JOIN taken t ON t.authorisation = p.authorisation
                  WHERE p.order_id = o.id AND p.status = 'captured' AND t.times = 1
                  AND t.total_minor = o.total_minor AND p.amount_minor = o.total_minor))
              + (SELECT count(*) FROM orders o WHERE
                 (SELECT count(*) FROM payments.payments p WHERE p.order_id = o.id) > 1)",
    ),
    (
        "the provider took no more than that",
        "SELECT (SELECT coalesce(sum(total_minor), 0) FROM taken)
             <> (SELECT coalesce(sum(total_minor), 0) FROM orders WHERE status = 'confirmed')",
    ),
    (
        "every order has one invoice over its total",
        "SELECT count(*) FROM orders o WHERE o.status = 'confirmed' AND
             (SELECT count(*) FROM payments.invoices i
              WHERE i.number = o.invoice_number AND i.order_id = o.id AND i.amount_minor = o.total_minor) <> 1",
    ),
    (
        "every invoice is the one that its order names",
        "SELECT count(*) FROM payments.invoices i WHERE NOT EXISTS
             (SELECT 1 FROM orders o WHERE o.id = i.order_id AND o.status = 'confirmed'
              AND o.invoice_number = i.number)",
    ),
    (
        "the numbers of the invoices have no gap",
        "SELECT abs((SELECT coalesce(max(number), 0) FROM payments.invoices)
             - (SELECT count(*) FROM payments.invoices))",
    ),
    (
        "every order was confirmed to its customer once, by each channel",
        "SELECT (SELECT count(*) FROM orders o WHERE o.status = 'confirmed' AND NOT EXISTS
                 (SELECT 1 FROM told t WHERE t.reference = o.id AND t.times = 1))
              + (SELECT count(*) FROM told WHERE times > 1)",
    ),
    (
        "no event was parked or given up",
        "SELECT (SELECT count(*) FROM parked) + (SELECT count(*) FROM inventory.parked)
              + (SELECT count(*) FROM shipping.parked) + (SELECT count(*) FROM notifications.parked)
              + (SELECT count(*) FROM payments.parked)",
    ),
];

/// Checks everything. `unanswered` checkouts may or may not have become orders.
pub(super) fn judge(
    data: &Path,
    accepted: &[OrderId],
    unanswered: u64,
    settings: &Value,
) -> Result<Vec<Check>, String> {
    let failed = |error: rusqlite::Error| format!("the files do not add up: {error}");
    let files = open(data).map_err(failed)?;
    prepare(&files, accepted).map_err(failed)?;
    let doubles = accepted.len() - accepted.iter().collect::<BTreeSet<_>>().len();
    let mut checks =
        vec![Check { rule: "no two checkouts got the same order".into(), broken: count(doubles) }];
    for (rule, sql) in RULES {
        let mut statement = files.prepare(sql).map_err(failed)?;
        let in_doubt = i64::try_from(unanswered).unwrap_or(i64::MAX);
        let parameters = if statement.parameter_count() == 1 { vec![in_doubt] } else { Vec::new() };
        let broken: i64 =
            statement.query_row(rusqlite::params_from_iter(parameters), |row| row.get(0)).map_err(failed)?;
        checks.push(Check { rule: (*rule).into(), broken: broken.unsigned_abs() });
    }
    let not_full = SERVICES.iter().filter(|name| settings[**name]["body"]["database"]["synchronous"] != FULL);
    let rule = "every service reads back synchronous=FULL and a write-ahead log".to_owned();
    let no_log = SERVICES.iter().filter(|name| settings[**name]["body"]["database"]["journal_mode"] != "wal");
    checks.push(Check { rule, broken: count(not_full.chain(no_log).count()) });
    Ok(checks)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// All files as one database, none of which can be written.
fn open(data: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let files = Connection::open_with_flags(data.join("orders.db"), flags)?;
    for name in OTHERS {
        let path = format!("file:{}?mode=ro", data.join(format!("{name}.db")).display());
        files.execute(&format!("ATTACH ?1 AS {name}"), params![path])?;
    }
    Ok(files)
}

/// What the rules look at more than once: in memory, since the files are only read.
fn prepare(files: &Connection, accepted: &[OrderId]) -> rusqlite::Result<()> {
    files.execute_batch(
        "PRAGMA temp_store = MEMORY;
         CREATE TEMP TABLE accepted (id TEXT PRIMARY KEY) WITHOUT ROWID;
         CREATE TEMP TABLE taken (authorisation TEXT PRIMARY KEY, times INTEGER, total_minor INTEGER) WITHOUT ROWID;
         INSERT INTO taken SELECT authorisation, count(*), sum(amount_minor) FROM provider.ledger
             WHERE kind = 'capture' AND verdict = 'approved' GROUP BY authorisation;
         CREATE TEMP TABLE told (reference TEXT, channel TEXT, times INTEGER, PRIMARY KEY (reference, channel))
             WITHOUT ROWID;
         INSERT INTO told SELECT reference, channel, count(*) FROM notifications.mailbox
             WHERE kind = 'order_confirmed' GROUP BY reference, channel;
         BEGIN;",
    )?;
    let mut insert = files.prepare("INSERT INTO accepted (id) VALUES (?1) ON CONFLICT DO NOTHING")?;
    for order in accepted {
        insert.execute([order.to_string()])?;
    }
    files.execute_batch("COMMIT")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three orders with their invoices, less what `wrong` does to them: how often each rule about invoices is broken.
    fn broken(wrong: &str) -> Vec<i64> {
        let files = Connection::open_in_memory().unwrap();
        files
            .execute_batch(
                "ATTACH ':memory:' AS payments;
                 CREATE TABLE orders (id TEXT, status TEXT, invoice_number INTEGER, total_minor INTEGER);
                 CREATE TABLE payments.invoices (number INTEGER, order_id TEXT, amount_minor INTEGER);
                 INSERT INTO orders VALUES ('a', 'confirmed', 1, 10), ('b', 'confirmed', 2, 20), ('c', 'confirmed', 3, 30);
                 INSERT INTO payments.invoices VALUES (1, 'a', 10), (2, 'b', 20), (3, 'c', 30);",
            )
            .unwrap();
        files.execute_batch(wrong).unwrap();
        let of_invoices = RULES.iter().filter(|(rule, _)| rule.contains("invoice"));
        of_invoices.map(|(_, sql)| files.query_row(sql, [], |row| row.get(0)).unwrap()).collect()
    }

    #[test]
    fn an_invoice_too_few_is_not_made_up_for_by_another() {
        assert_eq!(broken(""), [0, 0, 0]);
        for (wrong, counts) in [
            // The last is missing, so that there is no gap either.
            ("DELETE FROM payments.invoices WHERE number = 3", [1, 0, 0]),
            ("DELETE FROM payments.invoices WHERE number = 2", [1, 0, 1]),
            ("DELETE FROM payments.invoices", [3, 0, 0]),
            ("INSERT INTO payments.invoices VALUES (4, 'a', 10)", [0, 1, 0]),
            ("UPDATE payments.invoices SET order_id = 'x' WHERE number = 1", [1, 1, 0]),
            ("UPDATE payments.invoices SET amount_minor = 1 WHERE number = 1", [1, 0, 0]),
            ("UPDATE orders SET status = 'cancelled' WHERE id = 'b'", [0, 1, 0]),
        ] {
            assert_eq!(broken(wrong), counts, "{wrong}");
        }
    }
}
