//! Customers who buy one thing after the other, through whatever happens to the shop meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use leeward_resilience::{FastRng, Rng};
use serde_json::json;
use tokio::task::JoinSet;

use crate::customer::{Customer, new_key};
use crate::oracle::{Claims, Rule, Violation};
use crate::shop::poll;

/// At least so many orders are accepted before a test does anything to the shop.
const WARM_ORDERS: usize = 5;
/// They are, by then.
const WARM_WITHIN: Duration = Duration::from_secs(60);
/// Most different products of one order.
const LINES_MAX: u64 = 3;
/// Most of one product.
const QUANTITY_MAX: u64 = 3;
/// The longest pause between two orders of one customer, in milliseconds.
const PAUSE_MS_MAX: u64 = 40;

/// A card that pays.
const TOKEN_GOOD: &str = "tok_visa";
/// A card that is declined at once.
const TOKEN_DECLINED: &str = "tok_decline";
/// A card on which money is set aside and then not handed over: its orders have a payment to void.
const TOKEN_REFUSED_LATE: &str = "tok_nocapture";
/// Of so many customers one begins with an order that is refused late, so that every load has some.
const REFUSED_LATE_EVERY: u64 = 4;

/// An order that a customer wanted, and got an answer for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Who wanted it.
    pub customer: Customer,
    /// The Idempotency-Key of every attempt.
    pub key: String,
    /// What was paid with.
    pub payment_token: &'static str,
    /// The order, when it was accepted.
    pub order_id: Option<String>,
    /// The answer, when it was another.
    pub refusal: Option<String>,
}

/// Customers at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    customers: JoinSet<Vec<Wish>>,
}

impl Load {
    /// Sends the customers in. Each buys until it is stopped; what it buys follows from the seed.
    #[must_use]
    pub fn start(customers: &[Customer], products: &[String], seed: u64) -> Self {
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for (number, customer) in (0_u64..).zip(customers) {
            let rng = FastRng::seeded(seed.wrapping_mul(1_000_003).wrapping_add(number));
            let buyer = Buyer { number, customer: customer.clone(), products: products.to_vec(), rng };
            tasks.spawn(buyer.buy(Arc::clone(&stop), Arc::clone(&accepted)));
        }
        Self { stop, accepted, customers: tasks }
    }

    /// Waits until the first orders are accepted.
    pub async fn warm(&self) {
        let seen = poll(WARM_WITHIN, async || {
            let accepted = self.accepted.load(Ordering::Relaxed);
            if accepted >= WARM_ORDERS { Ok(()) } else { Err(format!("{accepted} orders")) }
        });
        seen.await.unwrap_or_else(|last| panic!("the load does not start: {last}"));
    }

    /// How many orders were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Lets every customer bring its order to an answer, and gives all of them.
    pub async fn finish(self) -> Vec<Wish> {
        self.stop.store(true, Ordering::Relaxed);
        self.customers.join_all().await.into_iter().flatten().collect()
    }
}

struct Buyer {
    number: u64,
    customer: Customer,
    products: Vec<String>,
    rng: FastRng,
}

impl Buyer {
    async fn buy(self, stop: Arc<AtomicBool>, accepted: Arc<AtomicUsize>) -> Vec<Wish> {
        let mut wishes = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let wish = self.order(self.token(wishes.is_empty())).await;
            let is_accepted = wish.order_id.is_some();
            wishes.push(wish);
            if !is_accepted {
                // Something is wrong already: no need to say it a thousand times.
                break;
            }
            accepted.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(self.rng.below(PAUSE_MS_MAX))).await;
        }
        wishes
    }

    fn token(&self, is_first: bool) -> &'static str {
        match self.rng.below(10) {
            _ if is_first && self.number.is_multiple_of(REFUSED_LATE_EVERY) => TOKEN_REFUSED_LATE,
            0 | 1 => TOKEN_DECLINED,
            2 => TOKEN_REFUSED_LATE,
            _ => TOKEN_GOOD,
        }
    }

    async fn order(&self, payment_token: &'static str) -> Wish {
        let (customer, key) = (self.customer.clone(), new_key());
        let mut wish = Wish { customer, key, payment_token, order_id: None, refusal: None };
        for _ in 0..=self.rng.below(LINES_MAX) {
            let number = usize::try_from(self.rng.next_u64() % self.products.len() as u64).unwrap_or(0);
            let path = format!("/cart/items/{}", self.products[number]);
            let body = json!({ "quantity": 1 + self.rng.below(QUANTITY_MAX) });
            let put = self.customer.http.insist(Method::PUT, &path, &[], Some(&body)).await;
            if put.status != 200 {
                wish.refusal = Some(format!("PUT {path}: {} {}", put.status, put.json()));
                return wish;
            }
        }
        wish.repeat().await
    }
}

impl Wish {
    /// Sends the checkout, again and again until it is answered, always with the same key and body.
    async fn repeat(mut self) -> Self {
        let (headers, body) =
            ([("idempotency-key", &*self.key)], json!({ "payment_token": self.payment_token }));
        let answer = self.customer.http.insist(Method::POST, "/checkout", &headers, Some(&body)).await;
        if answer.status == 202 {
            self.order_id = Some(answer.order_id());
        } else {
            self.refusal = Some(format!("{} {}", answer.status, answer.json()));
        }
        self
    }

    /// Notes what the customer was promised, and gives what it should not have been told.
    pub fn note(&self, claims: &mut Claims) -> Option<Violation> {
        if let Some(order_id) = &self.order_id {
            claims.only(&self.customer.user_id, order_id);
            if self.payment_token != TOKEN_GOOD {
                claims.unpaid(order_id);
            }
        }
        let refusal = self.refusal.as_ref()?;
        Some(Violation { rule: Rule::Answer, detail: format!("{} was answered {refusal}", self.key) })
    }

    /// Sends the checkout once more; gives what is wrong when it is not the same order again.
    pub async fn once_more(&self) -> Option<Violation> {
        let again = Self { order_id: None, refusal: None, ..self.clone() }.repeat().await;
        let same = again.order_id == self.order_id && again.refusal.is_none();
        let detail = || {
            format!("{} is {:?} and then {:?} {:?}", self.key, self.order_id, again.order_id, again.refusal)
        };
        (!same).then(|| Violation { rule: Rule::Accepted, detail: detail() })
    }
}
