//! The admin API as the command line speaks to it.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::cli::Admin;
use crate::{Error, process};

/// The admin API of a running shop.
pub(crate) struct Api {
    base: String,
    token: Option<String>,
    runtime: Runtime,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Api {
    /// The admin API that the flags name.
    pub(crate) fn new(admin: &Admin) -> Result<Self, Error> {
        let base = admin.admin.trim_end_matches('/').to_owned();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { base, token: admin.admin_token.clone(), runtime: process::runtime()?, client })
    }

    /// GET.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Error> {
        self.send(Method::GET, &format!("{}{path}", self.base), None)
    }

    /// Any method, with a JSON body or none.
    pub(crate) fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        self.send(method, &format!("{}{path}", self.base), body)
    }

    /// The same at a URL that is not the admin API's.
    pub(crate) fn send(&self, method: Method, url: &str, body: Option<&Value>) -> Result<Value, Error> {
        let mut request =
            Request::builder().method(method).uri(url).header("content-type", "application/json");
        if let Some(token) = self.token.as_ref().filter(|_| url.starts_with(&self.base)) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = request.body(Full::new(body))?;
        let (status, bytes) = self.runtime.block_on(async {
            let response = self.client.request(request).await.map_err(|error| unreachable(url, &error))?;
            let status = response.status();
            let bytes = response.into_body().collect().await.map_err(|error| unreachable(url, &error))?;
            Ok::<_, Error>((status, bytes.to_bytes()))
        })?;
        let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        if status.is_success() { Ok(value) } else { Err(refused(status, &value)) }
    }

    /// What every service answers to `GET /_leeward/PATH`, by name; those that do not know the path are left out.
    pub(crate) fn all(&self, path: &str) -> Result<Vec<(String, Value)>, Error> {
        let said = self.get(&format!("/v1/all/_leeward/{path}"))?;
        let said = said.as_object().cloned().unwrap_or_default();
        let mut answers = Vec::new();
        for (service, answer) in said {
            if answer["status"] == 200 {
                answers.push((service, answer["body"].clone()));
            } else if let Some(error) = answer["error"].as_str() {
                eprintln!("{service}: {error}");
            }
        }
        Ok(answers)
    }
}

fn unreachable(url: &str, error: &dyn std::error::Error) -> Error {
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    format!("{url}: {cause}; is it running? --admin says where").into()
}

fn refused(status: StatusCode, problem: &Value) -> Error {
    let words = ["detail", "title", "code"].iter().find_map(|key| problem[*key].as_str());
    format!("{status}: {}", words.unwrap_or("no reason given")).into()
}
