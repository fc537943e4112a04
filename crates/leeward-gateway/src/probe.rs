//! Health checks over TLS: asked in the same way as requests are sent.

use std::pin::Pin;

use http::{HeaderMap, Method};
use leeward_discovery::{Endpoint, Probe};

use crate::control::{Question, ask_alone};
use crate::published::Published;

/// Asks the endpoints that plain HTTP does not reach.
#[derive(Debug)]
pub(crate) struct Encrypted(pub(crate) Published);

impl Probe for Encrypted {
    fn ask<'a>(
        &'a self,
        service: &'a str,
        endpoint: &'a Endpoint,
        path: &'a str,
    ) -> Option<Pin<Box<dyn Future<Output = bool> + Send + 'a>>> {
        endpoint.is_encrypted().then(|| {
            let tls = self.0.current().service(service).and_then(|service| service.way.tls.clone());
            let question =
                Question { method: Method::GET, path, headers: HeaderMap::new(), body: bytes::Bytes::new() };
            let asked = async move {
                let answer = ask_alone(endpoint, tls.as_deref(), question).await;
                answer.is_ok_and(|answer| answer.status.is_success())
            };
            Box::pin(asked) as Pin<Box<dyn Future<Output = bool> + Send>>
        })
    }
}
