//! A gateway with code of one's own on the path: it tells services the tenant, and answers for what is closed.
//!
//! Run it with `cargo run -p leeward-gateway --example layers -- http://127.0.0.1:4001`, in front of any service, and ask it:
//! `curl -i http://127.0.0.1:8080/closed`.
#![allow(clippy::print_stdout, reason = "a program")]

use http::{HeaderName, HeaderValue, StatusCode};
use leeward_gateway::layer::{Answer, Answering, Ask, Next};
use leeward_gateway::{Config, Gateway, Layer};
use leeward_runtime::{Env, Tasks};

type BoxError = Box<dyn std::error::Error>;

const TENANT: HeaderName = HeaderName::from_static("x-tenant");
const EDGE: HeaderName = HeaderName::from_static("x-edge");

/// Tells services which tenant a request is for, by the name that the client used, and says in the answer who told.
struct Tenants;

impl Layer for Tenants {
    fn call<'a>(&'a self, mut ask: Ask, next: Next<'a>) -> Answering<'a> {
        Box::pin(async move {
            let host = ask.headers().get("host").and_then(|host| host.to_str().ok());
            let tenant = host.and_then(|host| host.split(['.', ':']).next()).unwrap_or("none").to_owned();
            if let Ok(tenant) = HeaderValue::try_from(tenant) {
                // Only headers that are the gateway's cannot be set.
                let _is_set = ask.set_header(TENANT, tenant);
            }
            let mut answer = next.run(ask).await?;
            let _is_set = answer.set_header(EDGE, HeaderValue::from_static("tenants"));
            Ok(answer)
        })
    }
}

/// Answers for a part of the shop that is closed.
struct Closed;

impl Layer for Closed {
    fn call<'a>(&'a self, ask: Ask, next: Next<'a>) -> Answering<'a> {
        Box::pin(async move {
            if ask.path().starts_with("/closed") {
                let text = HeaderValue::from_static("text/plain");
                return Ok(Answer::new(StatusCode::SERVICE_UNAVAILABLE, text, "closed until Monday\n"));
            }
            next.run(ask).await
        })
    }
}

/// Starts the gateway in front of a service.
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn start(listen: &str, service: &str, tasks: &Tasks) -> Result<Gateway, BoxError> {
    let text = format!(
        "listen: {listen}\nadmin: {{listen: \"127.0.0.1:0\"}}\nroutes: [{{path: /, service: \"{service}\"}}]"
    );
    let config = Config::parse("layers", &text, &Env::default())?;
    let builder = Gateway::builder(config).layer("tenants", || Tenants).layer("closed", || Closed);
    Ok(builder.start(tasks).await?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let service = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:4001".to_owned());
    let tasks = Tasks::new();
    let gateway = start("127.0.0.1:8080", &service, &tasks).await?;
    println!("http://{} in front of {service}", gateway.addr());
    std::future::pending().await
}
