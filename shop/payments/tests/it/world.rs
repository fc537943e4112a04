//! Payments and a provider on port 0, callers that sign, and an ear on the bus.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leeward_discovery::{Directory, Endpoint};
use leeward_events::bus::{self, Start, Subscription};
use leeward_events::{Bus, Envelope, Event, Patterns};
use leeward_resilience::{Clock, TokioClock};
use leeward_runtime::{Stage, Tasks};
use leeward_service::identity::ASSERTION_HEADER;
use leeward_service::{ClientOptions, Kit, KitOptions, Minter, Principal, Service, User};
use leeward_store::{Db, Tx};
use serde_json::{Value, json};
use shop_payments::{HttpProvider, PaymentProvider};
use shop_provider::{Options, Provider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) directory: Directory,
    pub(crate) tasks: Tasks,
    pub(crate) payments: SocketAddr,
    pub(crate) provider: SocketAddr,
    pub(crate) routes: Vec<leeward_service::RouteInfo>,
    orders: Minter,
    gateway: Minter,
    stranger: Minter,
    /// What payments calls the provider with.
    pub(crate) client: leeward_service::Client,
    /// The checks of payments.
    pub(crate) health: leeward_service::health::Health,
    /// Another service, through whose outbox the test tells events.
    teller: (Db, Kit),
    ear: tokio::sync::Mutex<(Subscription, Vec<Envelope>)>,
}

/// Who calls.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    Nobody,
    /// The checkout.
    Orders,
    /// A service that has no business here.
    Stranger,
    /// A customer, through the gateway.
    User(&'static str),
    Admin,
    /// Whoever operates the platform.
    Operator,
}

impl World {
    /// Payments over the real provider by HTTP, impatient: an attempt takes 300 ms at most.
    pub(crate) async fn new() -> Self {
        Self::with(|kit| {
            let mut impatient = ClientOptions::outside();
            impatient.policies.attempt_timeout = Some(Duration::from_millis(300).into());
            impatient.policies.deadline = Duration::from_millis(700);
            Arc::new(HttpProvider::new(kit.client_with("provider", impatient).unwrap()))
        })
        .await
    }

    pub(crate) async fn with(provider: impl FnOnce(&Kit) -> Arc<dyn PaymentProvider>) -> Self {
        Self::open(tempfile::tempdir().unwrap(), |_| {}, provider).await
    }

    /// The same after a restart of everything, with what `change` does to the kit of payments.
    pub(crate) async fn again(self, change: impl FnOnce(&mut Kit)) -> Self {
        self.stop().await;
        let http = |kit: &Kit| -> Arc<dyn PaymentProvider> {
            Arc::new(HttpProvider::new(shop_payments::provider_client(kit).unwrap()))
        };
        Self::open(self.into_folder(), change, http).await
    }

    /// Drops all that holds a file.
    fn into_folder(self) -> tempfile::TempDir {
        self.folder
    }

    async fn open(
        folder: tempfile::TempDir,
        change: impl FnOnce(&mut Kit),
        provider: impl FnOnce(&Kit) -> Arc<dyn PaymentProvider>,
    ) -> Self {
        let (tasks, directory) = (Tasks::new(), Directory::new());
        let file = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
        let bus = Bus::open(&file("bus.db"), bus::Options::default(), &tasks).await.unwrap();
        let options = |name: &str| {
            let mut options = KitOptions::new(name, folder.path(), directory.clone(), bus.clone());
            options.tasks = tasks.clone();
            options
        };

        let mut simulated = Options::new(file("provider.db"));
        simulated.allow_faults = true;
        let simulated = Provider::open(simulated, tasks.stop(Stage::Serve)).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider_address = listener.local_addr().unwrap();
        directory.set("provider", [Endpoint::from(provider_address)]);
        tasks.spawn(Stage::Serve, "provider", move |_stop| async move {
            simulated.serve(listener).await.unwrap()
        });

        let mut minters = Vec::new();
        for name in ["orders", "gateway", "catalog"] {
            let kit = Kit::new(options(name)).await.unwrap();
            minters.push(kit.minter().clone());
            serve(&directory, Service::builder(kit).build().unwrap()).await;
        }
        let [orders, gateway, stranger] = minters.try_into().unwrap();

        let kit = Kit::new(options("inventory")).await.unwrap();
        let teller = (kit.db(&[]).await.unwrap(), kit.clone());
        serve(&directory, Service::builder(kit).build().unwrap()).await;

        let mut kit = Kit::new(options("payments")).await.unwrap();
        change(&mut kit);
        let provider = provider(&kit);
        let (client, health) = (kit.client("provider"), kit.health.clone());
        let service = shop_payments::build(kit, provider).await.unwrap();
        let routes = service.routes().to_vec();
        let payments = serve(&directory, service).await;
        let ear =
            bus.subscribe("test.ear", Patterns::new(["payment.*"]).unwrap(), Start::Beginning).await.unwrap();
        let ear = tokio::sync::Mutex::new((ear, Vec::new()));
        let provider = provider_address;
        Self {
            folder,
            directory,
            tasks,
            payments,
            provider,
            routes,
            orders,
            gateway,
            stranger,
            client,
            health,
            teller,
            ear,
        }
    }

    /// Calls payments.
    pub(crate) async fn call(
        &self,
        who: &Who,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let (minter, principal) = match who {
            Who::Nobody => return http(self.payments, method, path, &headers(None, key), body).await,
            Who::Orders => (&self.orders, Principal::Service),
            Who::Stranger => (&self.stranger, Principal::Service),
            Who::Operator => (&self.gateway, Principal::Operator),
            Who::User(id) => (&self.gateway, Principal::User(User::new(*id))),
            Who::Admin => (&self.gateway, Principal::User(User::new("u-admin").with_role("admin"))),
        };
        let token = minter.mint(&principal, "payments", TokioClock.unix_ms()).unwrap();
        http(self.payments, method, path, &headers(Some(token.to_str().unwrap()), key), body).await
    }

    /// A call by the checkout.
    pub(crate) async fn post(&self, operation: &str, key: &str, body: Value) -> (u16, Value) {
        let path = format!("/internal/payments/{operation}");
        self.call(&Who::Orders, "POST", &path, Some(key), Some(&body)).await
    }

    pub(crate) async fn authorise(&self, order: &str, token: &str) -> (u16, Value) {
        self.post("authorise", &format!("{order}/authorise-payment/1"), authorisation(order, token)).await
    }

    pub(crate) async fn void(&self, order: &str) -> (u16, Value) {
        let key = format!("{order}/authorise-payment/1");
        let body =
            json!({"authorisation_key": key, "order_id": order, "user_id": "u-anna", "amount": eur(2500)});
        self.post("void", "unused", body).await
    }

    /// A captured payment; its id.
    pub(crate) async fn captured(&self, order: &str, token: &str) -> String {
        let (status, payment) = self.authorise(order, token).await;
        assert_eq!(status, 200, "{payment}");
        let id = payment["payment_id"].as_str().unwrap().to_owned();
        let (status, payment) = self.capture(order, &id).await;
        assert_eq!(status, 200, "{payment}");
        id
    }

    pub(crate) async fn capture(&self, order: &str, payment_id: &str) -> (u16, Value) {
        self.post("capture", &format!("{order}/capture-payment/1"), json!({"payment_id": payment_id})).await
    }

    /// The provider's books: kind and verdict of each line.
    pub(crate) async fn ledger(&self) -> Vec<(String, String)> {
        let (status, page) = http(self.provider, "GET", "/ledger", "", None).await;
        assert_eq!(status, 200);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let entries = page["entries"].as_array().unwrap();
        entries.iter().map(|line| (text(&line["kind"]), text(&line["verdict"]))).collect()
    }

    pub(crate) async fn faults(&self, faults: Value) {
        assert_eq!(http(self.provider, "PUT", "/faults", "", Some(&faults)).await.0, 200);
    }

    /// Another service tells `event`.
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
            tokio::time::timeout(Duration::from_secs(20), listening).await.expect("nobody told it");
        serde_json::from_str(envelope.data.get()).unwrap()
    }

    /// How many events of this kind were told so far and not heard yet. Hear something later first.
    pub(crate) async fn unheard(&self, kind: &str) -> usize {
        self.ear.lock().await.1.iter().filter(|envelope| &*envelope.kind == kind).count()
    }

    pub(crate) async fn stop(&self) {
        let report = self.tasks.shutdown(Duration::from_secs(10)).await;
        assert!(report.is_clean(), "{report}");
    }
}

pub(crate) fn eur(amount_minor: i64) -> Value {
    json!({"amount_minor": amount_minor, "currency": "EUR"})
}

pub(crate) fn authorisation(order: &str, token: &str) -> Value {
    json!({"order_id": order, "user_id": "u-anna", "amount": eur(2500), "payment_token": token})
}

async fn serve(directory: &Directory, service: Service) -> SocketAddr {
    let name = service.name().clone();
    let address = service.serve(TcpListener::bind("127.0.0.1:0").await.unwrap()).await.unwrap();
    directory.set(&name, [Endpoint::from(address)]);
    address
}

fn headers(token: Option<&str>, key: Option<&str>) -> String {
    let token = token.map(|token| format!("{ASSERTION_HEADER}: {token}\r\n")).unwrap_or_default();
    let key = key.map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
    token + &key
}

/// One request over a connection of its own.
pub(crate) async fn http(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: Option<&Value>,
) -> (u16, Value) {
    let body = body.map(Value::to_string).unwrap_or_default();
    let content = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}{content}content-length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}
