//! A customer of the shop.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use shop_app::seed;

use crate::http::{Answer, Http};

/// An order that has not ended by then hangs. After an outage a checkout asks again every five seconds.
const ENDED_WITHIN: Duration = Duration::from_secs(60);
/// How often an order is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Every customer's password: there is nothing to protect.
const PASSWORD: &str = "a long password";

/// A customer who is logged in.
#[derive(Clone, Debug)]
pub struct Customer {
    /// The customer's own requests.
    pub http: Http,
    /// The customer's id.
    pub user_id: String,
    /// The address to log in with.
    pub email: String,
    /// The access token.
    pub access_token: String,
    /// The refresh token of the session.
    pub refresh_token: String,
}

impl Customer {
    /// Logs in.
    pub async fn login(http: &Http, email: &str, password: &str) -> Self {
        let body = json!({ "email": email, "password": password });
        let tokens = http.insist(Method::POST, "/auth/login", &[], Some(&body)).await;
        let tokens = tokens.expect(200).json();
        let access_token = tokens["access_token"].as_str().unwrap().to_owned();
        let refresh_token = tokens["refresh_token"].as_str().unwrap().to_owned();
        let http = http.with_token(&access_token);
        let me = http.insist(Method::GET, "/users/me", &[], None).await.expect(200).json();
        let user_id = me["user_id"].as_str().unwrap().to_owned();
        Self { http, user_id, email: email.to_owned(), access_token, refresh_token }
    }

    /// Registers a new customer and logs in.
    pub async fn register(http: &Http) -> Self {
        let email = format!("{}@customers.example", uuid::Uuid::now_v7());
        let body = json!({ "email": email, "password": PASSWORD, "name": "Someone" });
        let _profile = http.insist(Method::POST, "/auth/register", &[], Some(&body)).await.expect(201);
        Self::login(http, &email, PASSWORD).await
    }

    /// The administrator of a new shop.
    pub async fn admin(http: &Http) -> Self {
        Self::login(http, seed::ADMIN_EMAIL, seed::ADMIN_PASSWORD).await
    }

    /// The same customer in a new session.
    pub async fn again(&self) -> Self {
        Self::login(&self.http, &self.email, PASSWORD).await
    }

    /// So many new customers.
    pub async fn crowd(http: &Http, count: usize) -> Vec<Self> {
        /// Passwords are hashed on a bounded pool: more at a time would only wait.
        const AT_A_TIME: usize = 4;
        let mut tasks = tokio::task::JoinSet::new();
        let mut crowd = Vec::with_capacity(count);
        for _ in 0..count {
            if tasks.len() >= AT_A_TIME {
                crowd.push(tasks.join_next().await.unwrap().unwrap());
            }
            let http = http.clone();
            tasks.spawn(async move { Self::register(&http).await });
        }
        crowd.extend(tasks.join_all().await);
        crowd
    }

    /// Puts `quantity` of a product into the cart.
    pub async fn put(&self, product: &str, quantity: u32) -> Answer {
        self.http.put(&format!("/cart/items/{product}"), &json!({ "quantity": quantity })).await
    }

    /// Checks out under `key`, paying with `payment_token`.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn checkout(&self, key: &str, payment_token: &str) -> Result<Answer, String> {
        self.checkout_with(key, &json!({ "payment_token": payment_token })).await
    }

    /// Checks out under `key` with a body of one's own.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn checkout_with(&self, key: &str, body: &Value) -> Result<Answer, String> {
        self.http.send(Method::POST, "/checkout", &[("idempotency-key", key)], Some(body)).await
    }

    /// Puts a product into the cart and buys it; gives the order's id.
    pub async fn buy(&self, product: &str, quantity: u32, payment_token: &str) -> String {
        let _cart = self.put(product, quantity).await.expect(200);
        let key = new_key();
        self.checkout(&key, payment_token).await.unwrap().expect(202).order_id()
    }

    /// The order as it stands.
    pub async fn order(&self, order_id: &str) -> Value {
        self.http.get(&format!("/orders/{order_id}")).await.expect(200).json()
    }

    /// The order, once it is confirmed or cancelled.
    pub async fn ended(&self, order_id: &str) -> Value {
        self.until(&format!("/orders/{order_id}"), |order| {
            matches!(order["status"].as_str(), Some("confirmed" | "cancelled"))
        })
        .await
    }

    /// What is at `path`, once it is as it should be.
    pub async fn until(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let from = Instant::now();
        loop {
            let answer = self
                .http
                .send(Method::GET, path, &[], None)
                .await
                .map(|answer| answer.json())
                .unwrap_or_default();
            if fits(&answer) {
                return answer;
            }
            assert!(from.elapsed() < ENDED_WITHIN, "{path} stays {answer}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Answer {
    /// The order that this 202 promises.
    #[must_use]
    #[track_caller]
    pub fn order_id(&self) -> String {
        self.json()["order_id"].as_str().unwrap_or_else(|| panic!("no order in {self:?}")).to_owned()
    }
}

/// A key that nobody used.
#[must_use]
pub fn new_key() -> String {
    uuid::Uuid::now_v7().to_string()
}
