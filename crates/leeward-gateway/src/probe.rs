//! Health checks over TLS and HTTP/2: asked in the same way as requests are sent.

use std::pin::Pin;

use http::{HeaderMap, Method};
use leeward_discovery::{Endpoint, Probe};

use crate::config::Protocol;
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
        let way = self.0.current().service(service).map(|service| service.way.clone());
        let protocol = way.as_ref().map_or(Protocol::Http1, |way| way.protocol);
        (endpoint.is_encrypted() || protocol == Protocol::Http2).then(|| {
            let question =
                Question { method: Method::GET, path, headers: HeaderMap::new(), body: bytes::Bytes::new() };
            let asked = async move {
                let tls = way.as_ref().and_then(|way| way.tls.as_deref());
                let answer = ask_alone(endpoint, (tls, protocol), question).await;
                answer.is_ok_and(|answer| answer.status.is_success())
            };
            Box::pin(asked) as Pin<Box<dyn Future<Output = bool> + Send>>
        })
    }
}
