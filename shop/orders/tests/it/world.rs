//! Orders, payments and a provider on port 0, peers that follow a script, and an ear on the bus.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use leeward_discovery::{Directory, Endpoint};
use leeward_events::bus::{self, Start, Subscription};
use leeward_events::{Bus, Envelope, Event, Patterns};
use leeward_resilience::{Clock, Instant, TokioClock};
use leeward_runtime::{Stage, Tasks};
use leeward_service::identity::ASSERTION_HEADER;
use leeward_service::{Kit, KitOptions, Minter, Principal, RouteInfo, Service, User};
use leeward_store::{Db, Tx};
use serde_json::{Value, json};
use shop_contracts::catalog::ProductChanged;
use shop_contracts::{Currency, Money};
use shop_payments::HttpProvider;
use shop_provider::{Options, Provider};
use tokio::net::TcpListener;

use crate::http::{Answer, send};
use crate::peers::{self, Script, Shared};

pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) directory: Directory,
    pub(crate) tasks: Tasks,
    pub(crate) clock: Arc<Shifted>,
    pub(crate) script: Shared,
    pub(crate) orders: SocketAddr,
    pub(crate) payments: SocketAddr,
    pub(crate) provider: SocketAddr,
    pub(crate) routes: Vec<RouteInfo>,
    probes: AtomicU32,
    gateway: Minter,
    stranger: Minter,
    teller: (Db, Kit),
    ear: tokio::sync::Mutex<(Subscription, Vec<Envelope>)>,
}

/// Real time, moved on by hand: only the calendar, so that timeouts stay what they are.
#[derive(Debug, Default)]
pub(crate) struct Shifted(AtomicI64);

impl Shifted {
    pub(crate) fn advance(&self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).unwrap();
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Shifted {
    fn now(&self) -> Instant {
        TokioClock.now()
    }

    fn unix_ms(&self) -> i64 {
        TokioClock.unix_ms() + self.0.load(Ordering::SeqCst)
    }
}

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    Nobody,
    Stranger,
    User(&'static str),
    Admin,
    /// Whoever operates the platform.
    Operator,
}

pub(crate) const ANNA: Who = Who::User("u-anna");
pub(crate) const BERT: Who = Who::User("u-bert");

impl World {
    pub(crate) async fn new() -> Self {
        Self::over(tempfile::tempdir().unwrap()).await
    }

    /// The same after a restart of everything, with what `sql` does to the files of orders meanwhile.
    pub(crate) async fn again(self, sql: &'static str) -> Self {
        self.stop().await;
        let folder = self.into_folder();
        let url = format!("sqlite:{}", folder.path().join("orders.db").display());
        let db = Db::open(&url, leeward_store::Options::default()).await.unwrap();
        let change = async move |tx: &mut Tx| {
            for statement in sql.split(';') {
                tx.execute(statement, leeward_store::params![]).await?;
            }
            Ok::<_, leeward_store::Error>(())
        };
        db.write(change).await.unwrap();
        db.close().await;
        drop(db);
        Self::over(folder).await
    }

    /// Drops all that holds a file.
    fn into_folder(self) -> tempfile::TempDir {
        self.folder
    }

    async fn over(folder: tempfile::TempDir) -> Self {
        let (tasks, directory) = (Tasks::new(), Directory::new());
        let file = format!("sqlite:{}", folder.path().join("bus.db").display());
        let bus = Bus::open(&file, bus::Options::default(), &tasks).await.unwrap();
        let (clock, script) = (Arc::<Shifted>::default(), Shared::new(Script::default().into()));
        let kit = async |name: &str| {
            let mut options = KitOptions::new(name, folder.path(), directory.clone(), bus.clone());
            options.tasks = tasks.clone();
            Kit::new(options).await.unwrap()
        };

        let gateway = kit("gateway").await;
        let stranger = kit("shipping").await;
        let (minter, strange) = (gateway.minter().clone(), stranger.minter().clone());
        serve(&directory, Service::builder(gateway).build().unwrap()).await;
        serve(&directory, Service::builder(stranger).build().unwrap()).await;
        let participants = kit("inventory").await;
        let teller = (participants.db(&[]).await.unwrap(), participants.clone());
        serve(&directory, peers::participants(participants, &script).await).await;
        serve(&directory, peers::catalog(kit("catalog").await, &script)).await;

        let provider = provider(&tasks, &directory).await;
        let kit_of_payments = kit("payments").await;
        let client = shop_payments::provider_client(&kit_of_payments).unwrap();
        let payments =
            shop_payments::build(kit_of_payments, Arc::new(HttpProvider::new(client))).await.unwrap();
        let payments = serve(&directory, payments).await;

        let mut options = KitOptions::new("orders", folder.path(), directory.clone(), bus.clone());
        options.tasks = tasks.clone();
        options.clock = Arc::<Shifted>::clone(&clock);
        let service = shop_orders::build(Kit::new(options).await.unwrap()).await.unwrap();
        let routes = service.routes().to_vec();
        let orders = serve(&directory, service).await;
        let patterns = Patterns::new(["order.*", "return.*"]).unwrap();
        let ear = bus.subscribe("test.ear", patterns, Start::Beginning).await.unwrap();
        Self {
            folder,
            probes: AtomicU32::new(0),
            directory,
            tasks,
            clock,
            script,
            orders,
            payments,
            provider,
            routes,
            gateway: minter,
            stranger: strange,
            teller,
            ear: tokio::sync::Mutex::new((ear, Vec::new())),
        }
    }

    /// Calls orders.
    pub(crate) async fn call(
        &self,
        who: Who,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let key = key.map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
        let (minter, principal) = match who {
            Who::Nobody => return send(self.orders, method, path, &key, body.as_ref()).await,
            Who::Stranger => (&self.stranger, Principal::Service),
            Who::Operator => (&self.gateway, Principal::Operator),
            Who::User(id) => (&self.gateway, Principal::User(User::new(id))),
            Who::Admin => (&self.gateway, Principal::User(User::new("u-admin").with_role("admin"))),
        };
        let token = minter.mint(&principal, "orders", self.clock.unix_ms()).unwrap();
        let headers = format!("{key}{ASSERTION_HEADER}: {}\r\n", token.to_str().unwrap());
        send(self.orders, method, path, &headers, body.as_ref()).await
    }

    pub(crate) async fn get(&self, who: Who, path: &str) -> Answer {
        self.call(who, "GET", path, None, None).await
    }

    pub(crate) async fn put(&self, who: Who, product: &str, quantity: i64) -> Answer {
        let path = format!("/cart/items/{product}");
        self.call(who, "PUT", &path, None, Some(json!({"quantity": quantity}))).await
    }

    pub(crate) async fn checkout(&self, who: Who, key: &str, body: Value) -> Answer {
        self.call(who, "POST", "/checkout", Some(key), Some(body)).await
    }

    /// An accepted order of two `p-1` at 12.50 each; its id.
    pub(crate) async fn order(&self, who: Who, key: &str, token: &str) -> String {
        self.price("p-1", 1250, 1).await;
        assert_eq!(self.put(who, "p-1", 2).await.status, 200);
        let accepted = self.checkout(who, key, json!({"payment_token": token})).await;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        accepted.body["order_id"].as_str().unwrap().to_owned()
    }

    /// An order that is confirmed; its id.
    pub(crate) async fn confirmed(&self, who: Who, key: &str, token: &str) -> String {
        let id = self.order(who, key, token).await;
        assert_eq!(self.hear("order.confirmed").await["order_id"], id);
        id
    }

    /// The catalog tells a price, and orders has heard it. A version that it knows already changes nothing.
    pub(crate) async fn price(&self, product: &str, amount_minor: i64, version: i64) {
        self.tell_price(product, amount_minor, version).await;
        self.caught_up().await;
    }

    async fn tell_price(&self, product: &str, amount_minor: i64, version: i64) {
        self.tell(ProductChanged {
            product_id: product.into(),
            name: format!("Product {product}"),
            category_id: "c-1".into(),
            price: Money::new(amount_minor, Currency::EUR),
            active: true,
            version,
        })
        .await;
    }

    /// Waits until orders has handled all that was told so far: what is told last is handled last.
    pub(crate) async fn caught_up(&self) {
        let probe = format!("probe-{}", self.probes.fetch_add(1, Ordering::SeqCst));
        self.tell_price(&probe, 1, 1).await;
        self.until(async || self.put(Who::User("u-probe"), &probe, 1).await.status == 200).await;
        assert_eq!(self.call(Who::User("u-probe"), "DELETE", "/cart", None, None).await.status, 204);
    }

    /// Waits until the newest order of the history is in this status.
    pub(crate) async fn history_says(&self, who: Who, order: &str, status: &str) {
        self.until(async || {
            let newest = self.get(who, "/orders?limit=1").await.body["items"][0].clone();
            newest["order_id"] == order && newest["status"] == status
        })
        .await;
    }

    /// Waits until `look` says so.
    pub(crate) async fn until(&self, look: impl AsyncFn() -> bool) {
        let looking = async {
            while !look().await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), looking).await.expect("it did not come about");
    }

    /// The teller tells `event`.
    pub(crate) async fn tell<E: Event>(&self, event: E) {
        let (db, kit) = &self.teller;
        let (outbox, cause) = (kit.outbox.clone(), kit.correlation());
        db.write(async move |tx: &mut Tx| outbox.append(tx, &event, &cause).await.map(|_| ())).await.unwrap();
    }

    /// Waits for the next event of this kind, past or to come, that was not heard before.
    pub(crate) async fn hear(&self, kind: &str) -> Value {
        let mut ear = self.ear.lock().await;
        let (subscription, heard) = &mut *ear;
        let listening = async {
            loop {
                if let Some(place) = heard.iter().position(|envelope| &*envelope.kind == kind) {
                    return heard.remove(place);
                }
                let batch = subscription.next_batch(100).await.unwrap();
                heard.extend(batch.deliveries.iter().map(|delivery| delivery.envelope().unwrap()));
            }
        };
        let envelope =
            tokio::time::timeout(Duration::from_secs(30), listening).await.expect("nobody told it");
        serde_json::from_str(envelope.data.get()).unwrap()
    }

    /// What the peers did for an order.
    pub(crate) fn handled(&self, order: &str) -> Vec<&'static str> {
        self.script.lock().handled.iter().filter(|(_, id)| id == order).map(|(kind, _)| *kind).collect()
    }

    /// The provider's books: kind and verdict of each line.
    pub(crate) async fn ledger(&self) -> Vec<String> {
        let page = send(self.provider, "GET", "/ledger", "", None).await.body;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let line = |line: &Value| format!("{} {}", text(&line["kind"]), text(&line["verdict"]));
        page["entries"].as_array().unwrap().iter().map(line).collect()
    }

    pub(crate) async fn faults(&self, faults: Value) {
        assert_eq!(send(self.provider, "PUT", "/faults", "", Some(&faults)).await.status, 200);
    }

    pub(crate) async fn stop(&self) {
        let report = self.tasks.shutdown(Duration::from_secs(10)).await;
        assert!(report.is_clean(), "{report}");
    }
}

async fn provider(tasks: &Tasks, directory: &Directory) -> SocketAddr {
    let mut options = Options::new("sqlite::memory:");
    options.allow_faults = true;
    let provider = Provider::open(options, tasks.stop(Stage::Serve)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    directory.set("provider", [Endpoint::from(address)]);
    tasks.spawn(
        Stage::Serve,
        "provider",
        move |_stop| async move { provider.serve(listener).await.unwrap() },
    );
    address
}

pub(crate) async fn serve(directory: &Directory, service: Service) -> SocketAddr {
    let name = service.name().clone();
    let address = service.serve(TcpListener::bind("127.0.0.1:0").await.unwrap()).await.unwrap();
    directory.set(&name, [Endpoint::from(address)]);
    address
}
