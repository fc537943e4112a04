//! A running shop with what the cases of a suite share.

use std::time::{Duration, Instant};

use leeward_tests::oracle::books;
use leeward_tests::shop::poll;
use leeward_tests::{Claims, Customer, Http, Options, Shop, Topology, Witness};
use serde_json::{Value, json};
use shop_contracts::provider::{LedgerEntry, OperationKind, Verdict};

/// What follows from an event is there by then.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A running shop, its administrator, what clients saw of it and what they were promised.
pub(crate) struct World {
    pub(crate) shop: Shop,
    pub(crate) witness: Witness,
    pub(crate) api: Http,
    pub(crate) admin: Customer,
    pub(crate) claims: Claims,
    opened: Instant,
}

impl World {
    pub(crate) async fn open(topology: Topology) -> Self {
        Self::open_with(Options::new(topology)).await
    }

    pub(crate) async fn open_with(options: Options) -> Self {
        let opened = Instant::now();
        let shop = options.open().await;
        println!("{:?} is open after {:?}", shop.topology(), opened.elapsed());
        let witness = Witness::default();
        let api = shop.api().seen_by(&witness);
        let admin = Customer::admin(&api).await;
        Self { shop, witness, api, admin, claims: Claims::default(), opened }
    }

    /// Says which case comes, and how far the suite is.
    pub(crate) fn case(&self, name: &str) {
        println!("{:>6.1} s  {:?}: {name}", self.opened.elapsed().as_secs_f64(), self.shop.topology());
    }

    pub(crate) async fn customer(&self) -> Customer {
        Customer::register(&self.api).await
    }

    /// Adds a product with so many on the shelf; gives its id.
    pub(crate) async fn product(&self, price_minor: i64, on_hand: i64) -> String {
        let price = json!({ "amount_minor": price_minor, "currency": "EUR" });
        let product = json!({ "name": "A thing", "category_id": "office", "price": price });
        let created = self.admin.http.post("/products", &product).await.expect(201).json();
        let id = created["product_id"].as_str().unwrap().to_owned();
        let _level = self
            .admin
            .http
            .put(&format!("/inventory/{id}"), &json!({ "on_hand": on_hand }))
            .await
            .expect(200);
        id
    }

    /// What is on the shelf: on hand, and of those set aside.
    pub(crate) async fn level(&self, product: &str) -> (i64, i64) {
        let level = self.admin.http.get(&format!("/inventory/{product}")).await.expect(200).json();
        (level["on_hand"].as_i64().unwrap(), level["reserved"].as_i64().unwrap())
    }

    /// Puts a product into the customer's cart and buys it; the order must end some time.
    pub(crate) async fn buy(
        &mut self,
        customer: &Customer,
        product: &str,
        quantity: u32,
        token: &str,
    ) -> String {
        let order_id = customer.buy(product, quantity, token).await;
        self.claims.accepted(&customer.user_id, &order_id);
        order_id
    }

    /// The same, to the end of the order.
    pub(crate) async fn order(
        &mut self,
        customer: &Customer,
        product: &str,
        quantity: u32,
        token: &str,
    ) -> Value {
        let order_id = self.buy(customer, product, quantity, token).await;
        customer.ended(&order_id).await
    }

    /// The provider's ledger lines about an order: what was set aside for it, and what became of that.
    pub(crate) async fn charges(&self, order_id: &str) -> Vec<LedgerEntry> {
        let ledger = books::ledger(&self.shop.provider()).await;
        let about = |entry: &&LedgerEntry| entry.reference.as_deref() == Some(order_id);
        let authorisations: Vec<String> =
            ledger.iter().filter(about).map(|it| it.operation.authorisation.clone()).collect();
        ledger.into_iter().filter(|entry| authorisations.contains(&entry.operation.authorisation)).collect()
    }

    /// How often an operation was carried out for an order.
    pub(crate) async fn times(&self, order_id: &str, kind: OperationKind) -> usize {
        let charges = self.charges(order_id).await;
        let done = charges
            .iter()
            .filter(|it| it.operation.kind == kind && it.operation.verdict == Verdict::Approved);
        done.count()
    }

    /// Looks until it is so.
    pub(crate) async fn soon(&self, what: &str, look: impl AsyncFn() -> Result<(), String>) {
        poll(SOON, look).await.unwrap_or_else(|last| panic!("{what}: {last}"));
    }

    /// The end of a suite: all that was written down must agree.
    pub(crate) async fn must_agree(&self) {
        self.case("the oracle");
        self.shop.must_agree(&self.claims).await;
        self.case("done");
    }
}
