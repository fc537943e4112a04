//! A checkout over fakes: stock by command and reply, payment by call, the order in the saga's own database.
//!
//! The fakes are the outside world: they keep books by idempotency key, and live on when the process dies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leeward_saga::testing::{Finished, World};
use leeward_saga::{Action, Definition, End, Fault, Outcome, Sagas, Signal, Status, StepCx, Undo};
use leeward_store::{Db, Error, Migration, ReadTx, Tx, params};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) reservation: Option<String>,
    pub(crate) authorisation: Option<String>,
    pub(crate) shipment: Option<String>,
}

/// The participants, and the defects that a test builds in.
#[derive(Debug, Default)]
pub(crate) struct Shop {
    pub(crate) books: Mutex<Books>,
    /// Leaves the idempotency key out: every call is a new effect.
    pub(crate) forgets_keys: bool,
    /// Voids nothing.
    pub(crate) forgets_to_void: bool,
}

/// Effects by key. An undo leaves a tombstone under the key of its action.
#[derive(Debug, Default)]
pub(crate) struct Books {
    stock: BTreeMap<String, Effect>,
    authorised: BTreeMap<String, Effect>,
    captured: BTreeMap<String, Effect>,
    shipped: BTreeMap<String, Effect>,
    calls: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    There,
    Undone,
}

const TABLES: &[Migration] = &[Migration {
    version: 1,
    name: "outbox, orders",
    sqlite: "CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL, action_key TEXT NOT NULL) STRICT;
             CREATE TABLE orders (id TEXT NOT NULL, what TEXT NOT NULL) STRICT;",
    postgres: "",
}];

impl Shop {
    fn do_once(
        &self,
        pick: impl Fn(&mut Books) -> &mut BTreeMap<String, Effect>,
        key: &str,
    ) -> Option<String> {
        let mut books = self.books.lock().unwrap();
        books.calls += 1;
        let key = if self.forgets_keys { format!("{key} {}", books.calls) } else { key.to_owned() };
        let effect = *pick(&mut books).entry(key.clone()).or_insert(Effect::There);
        (effect == Effect::There).then_some(key)
    }

    fn undo(&self, pick: impl Fn(&mut Books) -> &mut BTreeMap<String, Effect>, action_key: &str) {
        let mut books = self.books.lock().unwrap();
        let book = pick(&mut books);
        book.insert(action_key.to_owned(), Effect::Undone);
        let made = format!("{action_key} ");
        book.iter_mut()
            .filter(|(key, _)| key.starts_with(&made))
            .for_each(|(_, effect)| *effect = Effect::Undone);
    }
}

fn called(done: Option<String>, change: impl FnOnce(String) -> Order) -> Outcome<Order> {
    match done {
        Some(key) => Outcome::Done(change(key)),
        None => Outcome::rejected("too_late", "it was undone before"),
    }
}

async fn send(tx: &mut Tx, cx: StepCx, kind: &str) -> Result<(), Fault> {
    let sql = "INSERT INTO outbox (kind, key, action_key) VALUES ($1, $2, $3)";
    tx.execute(sql, params![kind, cx.key(), cx.action_key()]).await?;
    Ok(())
}

fn replied(order: Order, reply: &Signal, change: impl FnOnce(Order, String) -> Order) -> Outcome<Order> {
    match reply.json::<Option<String>>() {
        Ok(Some(key)) => Outcome::Done(change(order, key)),
        Ok(None) => Outcome::rejected("too_late", "it was undone before"),
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}

fn reserve() -> Action<Order> {
    Action::command(
        async |tx: &mut Tx, cx, _order| send(tx, cx, "reserve").await,
        |order, reply| replied(order, reply, |order, key| Order { reservation: Some(key), ..order }),
    )
    .reply_within(Duration::from_secs(5))
}

fn release() -> Undo<Order> {
    Undo::command(
        async |tx: &mut Tx, cx, _order| send(tx, cx, "release").await,
        |order, reply| replied(order, reply, |order, _| Order { reservation: None, ..order }),
    )
}

impl World for Shop {
    type State = Order;

    fn definition(self: &Arc<Self>) -> Definition<Order> {
        let shop = || self.clone();
        Definition::builder("checkout")
            .step("reserve-stock", reserve(), release())
            .step(
                "authorise",
                Action::call_with(shop(), async |shop: Arc<Shop>, cx: StepCx, order: Order| {
                    let done = shop.do_once(|books| &mut books.authorised, cx.key());
                    called(done, |key| Order { authorisation: Some(key), ..order })
                }),
                Undo::call_with(shop(), async |shop: Arc<Shop>, cx: StepCx, order: Order| {
                    if !shop.forgets_to_void {
                        shop.undo(|books| &mut books.authorised, cx.action_key());
                    }
                    Outcome::Done(Order { authorisation: None, ..order })
                }),
            )
            .step(
                "hold-order",
                Action::tx(async |tx: &mut Tx, cx: StepCx, order: Order| {
                    let sql = "INSERT INTO orders (id, what) VALUES ($1, 'held')";
                    tx.execute(sql, params![cx.saga_id()]).await?;
                    Ok(Outcome::Done(order))
                }),
                Undo::tx(async |tx: &mut Tx, cx: StepCx, order: Order| {
                    let sql = "DELETE FROM orders WHERE id = $1 AND what = 'held'";
                    tx.execute(sql, params![cx.saga_id()]).await?;
                    Ok(Outcome::Done(order))
                }),
            )
            .pivot(
                "capture",
                Action::call_with(shop(), async |shop: Arc<Shop>, cx: StepCx, order: Order| {
                    called(shop.do_once(|books| &mut books.captured, cx.key()), |_| order)
                }),
            )
            .retriable(
                "ship",
                Action::command(
                    async |tx: &mut Tx, cx, _order| send(tx, cx, "ship").await,
                    |order, reply| replied(order, reply, |order, key| Order { shipment: Some(key), ..order }),
                ),
            )
            .retriable("settle", Action::sleep(Duration::from_secs(3)))
            .retriable(
                "confirm",
                Action::tx(async |tx: &mut Tx, cx: StepCx, order: Order| {
                    let sql = "INSERT INTO orders (id, what) VALUES ($1, 'confirmed')";
                    tx.execute(sql, params![cx.saga_id()]).await?;
                    Ok(Outcome::Done(order))
                }),
            )
            .on_end(async |tx: &mut Tx, cx: leeward_saga::EndCx, end: End, _order: Order| {
                let sql = "INSERT INTO orders (id, what) VALUES ($1, $2)";
                tx.execute(sql, params![cx.saga_id(), end.name()]).await?;
                Ok(())
            })
            .build()
            .unwrap()
    }

    fn state(&self) -> Order {
        Order::default()
    }

    async fn migrate(&self, db: &Db) -> Result<(), Error> {
        db.migrate("shop", TABLES).await
    }

    /// The participants take the commands in their order, whatever happens between their effect and their reply.
    async fn deliver(&self, sagas: &Sagas, db: &Db) {
        let sql = "SELECT seq, kind, key, action_key FROM outbox ORDER BY seq LIMIT 100";
        let rows = db.read(async move |tx: &mut ReadTx| tx.query(sql, params![]).await).await.unwrap();
        for row in rows {
            let (seq, kind): (i64, String) = (row.get(0).unwrap(), row.get(1).unwrap());
            let (key, action_key): (String, String) = (row.get(2).unwrap(), row.get(3).unwrap());
            let reply = match kind.as_str() {
                "reserve" => self.do_once(|books| &mut books.stock, &key),
                "ship" => self.do_once(|books| &mut books.shipped, &key),
                _ => {
                    self.undo(|books| &mut books.stock, &action_key);
                    Some("released".to_owned())
                }
            };
            let (sagas, payload) = (sagas.clone(), serde_json::to_vec(&reply).unwrap());
            let done = async move |tx: &mut Tx| -> Result<(), leeward_saga::Error> {
                tx.execute("DELETE FROM outbox WHERE seq = $1", params![seq]).await?;
                sagas.reply(tx, &key, &format!("reply-{seq}"), &payload).await.map(drop)
            };
            db.write(done).await.unwrap();
        }
    }

    async fn check(&self, end: &Finished<Order>, db: &Db) -> Result<(), String> {
        let sql = "SELECT what FROM orders ORDER BY rowid";
        let rows = db.read(async move |tx: &mut ReadTx| tx.query(sql, params![]).await).await.unwrap();
        let rows: Vec<String> = rows.iter().map(|row| row.get(0).unwrap()).collect();
        let books = self.books.lock().unwrap();
        let there = |book: &BTreeMap<String, Effect>| {
            book.values().filter(|effect| **effect == Effect::There).count()
        };
        let counts =
            [there(&books.stock), there(&books.authorised), there(&books.captured), there(&books.shipped)];
        let (wanted_counts, wanted_rows) = match end.status {
            Status::Completed => ([1, 1, 1, 1], &["held", "confirmed", "completed"][..]),
            _ => ([0, 0, 0, 0], &["compensated"][..]),
        };
        let refused_undo = end.scenario.contains("undo") && end.scenario.contains("rejected");
        if counts != wanted_counts && !refused_undo {
            return Err(format!("the books show {counts:?}, not {wanted_counts:?}"));
        }
        if rows != wanted_rows {
            return Err(format!("the orders are {rows:?}, not {wanted_rows:?}"));
        }
        Ok(())
    }
}
