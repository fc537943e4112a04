//! The customers: each has an account, a session, and at most one order under way.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use http::HeaderValue;
use serde_json::{Value, json};

use super::report::Report;
use super::shop::{API, Shop};
use crate::http::{Answer, Http};

/// Sign-ups under way at once. A password is hashed on half of the cores, and the service lets 48 wait for it.
const AT_ONCE: usize = 16;

/// Attempts at one sign-up that the service is too busy for, or that the limit by address does not let through yet.
const ATTEMPTS_MAX: u32 = 50;

/// How long before the next attempt, unless the answer says.
const PAUSE: Duration = Duration::from_millis(100);

/// Tokens older than this are renewed before a measurement. They live for 15 minutes.
const RENEW_AFTER: Duration = Duration::from_secs(5 * 60);

/// One customer's session.
#[derive(Clone, Debug)]
struct Session {
    authorization: HeaderValue,
    refresh_token: String,
}

/// All customers.
#[derive(Debug)]
pub(super) struct Customers {
    sessions: RefCell<Vec<Session>>,
    /// Those without an order under way, the longest idle first.
    free: RefCell<VecDeque<usize>>,
    renewed: Cell<Instant>,
}

impl Customers {
    /// Signs `count` customers up and logs them in.
    pub(super) async fn prepare(shop: &Shop, count: usize, report: &mut Report) -> Result<Self, String> {
        let from = Instant::now();
        let progress = report.progress(count, "customers registered and logged in");
        let sessions = stream::iter(0..count).map(|number| sign_up(shop.gateway(), number));
        let mut sessions = sessions.buffered(AT_ONCE);
        let mut all = Vec::with_capacity(count);
        while let Some(session) = sessions.next().await {
            all.push(session?);
            progress.inc(1);
        }
        progress.finish_and_clear();
        report.prepared(count, from.elapsed(), shop.memory()?);
        Ok(Self {
            sessions: RefCell::new(all),
            free: RefCell::new((0..count).collect()),
            renewed: Cell::new(from),
        })
    }

    /// Renews all tokens that would end during the next measurement.
    pub(super) async fn keep_logged_in(&self, shop: &Shop) -> Result<(), String> {
        if self.renewed.get().elapsed() < RENEW_AFTER {
            return Ok(());
        }
        let old = self.sessions.borrow().clone();
        let at = Instant::now();
        let renewed = stream::iter(&old).map(async |session| {
            let body = json!({ "refresh_token": session.refresh_token });
            tokens(&patiently(shop.gateway(), "/auth/refresh", &body).await?)
        });
        let renewed: Vec<_> = renewed.buffered(AT_ONCE).collect().await;
        *self.sessions.borrow_mut() = renewed.into_iter().collect::<Result<_, String>>()?;
        self.renewed.set(at);
        Ok(())
    }

    /// A customer without an order under way, and how it identifies itself.
    pub(super) fn take(&self) -> Option<(usize, HeaderValue)> {
        let customer = self.free.borrow_mut().pop_front()?;
        Some((customer, self.sessions.borrow()[customer].authorization.clone()))
    }

    /// The customer's order is answered.
    pub(super) fn put_back(&self, customer: usize) {
        self.free.borrow_mut().push_back(customer);
    }
}

async fn sign_up(http: &Http, number: usize) -> Result<Session, String> {
    let (email, password) = (format!("bench-{number}@shop.example"), "bench-customer");
    let register = json!({ "email": email, "password": password, "name": "Bench" });
    patiently(http, "/auth/register", &register).await?.json(201)?;
    log_in(http, &email, password).await
}

async fn log_in(http: &Http, email: &str, password: &str) -> Result<Session, String> {
    let login = json!({ "email": email, "password": password });
    tokens(&patiently(http, "/auth/login", &login).await?)
}

/// What one customer presents.
pub(super) async fn authorization(http: &Http, email: &str, password: &str) -> Result<HeaderValue, String> {
    Ok(log_in(http, email, password).await?.authorization)
}

async fn patiently(http: &Http, path: &str, body: &Value) -> Result<Answer, String> {
    let path = format!("{API}{path}");
    for _ in 0..ATTEMPTS_MAX {
        let answer = http.post(&path, body).await?;
        if !matches!(answer.status, 429 | 503) {
            return Ok(answer);
        }
        tokio::time::sleep(answer.retry_after.unwrap_or(PAUSE)).await;
    }
    Err(format!("{path} was refused {ATTEMPTS_MAX} times"))
}

fn tokens(answer: &Answer) -> Result<Session, String> {
    let tokens = answer.json(200)?;
    let text = |name: &str| tokens[name].as_str().ok_or(format!("no {name} in {tokens}"));
    let authorization = HeaderValue::try_from(format!("Bearer {}", text("access_token")?));
    let authorization = authorization.map_err(|error| error.to_string())?;
    Ok(Session { authorization, refresh_token: text("refresh_token")?.to_owned() })
}
