//! The admin API as the command line speaks to it.

use bytes::Bytes;
use http::{Method, Request};
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
        let value = serde_json::from_slice(&bytes);
        match value {
            Ok(value) if status.is_success() => Ok(value),
            Err(_) if status.is_success() && bytes.is_empty() => Ok(Value::Null),
            Err(error) if status.is_success() => {
                Err(format!("{url} answered no JSON: {error}; --admin says where the admin API is").into())
            }
            value => Err(refused(&status.to_string(), &value.unwrap_or_default()).into()),
        }
    }

    /// What every service answers to `GET /_leeward/PATH`, or that one alone.
    pub(crate) fn all(&self, path: &str, only: Option<&str>) -> Result<Said, Error> {
        let url = format!("/v1/all/_leeward/{path}");
        let said = self.get(&url)?;
        let said =
            said.as_object().ok_or_else(|| format!("{url} answered something that is no list by service"))?;
        if let Some(name) = only.filter(|name| !said.contains_key(*name)) {
            let known: Vec<&str> = said.keys().map(String::as_str).collect();
            return Err(format!("there is no service `{name}`; there are {}", known.join(", ")).into());
        }
        let mut all = Said::default();
        for (service, answer) in said.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
            match answer["status"].as_u64() {
                Some(200) => all.answers.push((service.clone(), answer["body"].clone())),
                // It has nothing of the kind.
                Some(404) => {}
                Some(status) => {
                    all.failed.push(format!("{service}: {}", refused(&status.to_string(), &answer["body"])))
                }
                None => {
                    all.failed.push(format!("{service}: {}", answer["error"].as_str().unwrap_or("no answer")))
                }
            }
        }
        Ok(all)
    }
}

/// What the services said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// By name; those that do not know the path are left out.
    pub(crate) answers: Vec<(String, Value)>,
    failed: Vec<String>,
}

impl Said {
    /// To be asked after the answers were shown: what is missing must not look like nothing.
    ///
    /// # Errors
    /// The services that could not be asked, or refused, each with its reason.
    pub(crate) fn complete(&self) -> Result<(), Error> {
        if self.failed.is_empty() {
            return Ok(());
        }
        Err(format!("this is not all, some did not say: {}", self.failed.join("; ")).into())
    }
}

fn unreachable(url: &str, error: &dyn std::error::Error) -> Error {
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    format!("{url}: {cause}; is it running? --admin says where").into()
}

fn refused(status: &str, problem: &Value) -> String {
    let words = ["detail", "title", "code"].iter().find_map(|key| problem[*key].as_str());
    format!("{status}: {}", words.or(problem.as_str()).unwrap_or("no reason given"))
}
