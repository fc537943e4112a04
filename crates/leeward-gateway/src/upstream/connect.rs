//! Opening a connection to an endpoint, handshake and all, in the time for it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use leeward_discovery::Endpoint;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::{Error, Stream};
use crate::config::Protocol;
use crate::tls::{self, Outward};

/// A connection, and the TLS that it began with.
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    pub(crate) under: Option<Arc<ClientConfig>>,
    pub(crate) is_http2: bool,
}

/// Connects to an endpoint. `within` is for all of it.
///
/// # Errors
/// Nobody is there in time, or it is not whom it should be.
///
/// # Cancel safety
/// The connection is closed.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    tls: Option<&Outward>,
    protocol: Protocol,
    within: Duration,
) -> Result<Opened, Error> {
    let due = Instant::now() + within;
    let late = |_| Err(io::ErrorKind::TimedOut.into());
    let stream = timeout_at(due, open(endpoint)).await.unwrap_or_else(late).map_err(Error::Connect)?;
    if !endpoint.is_encrypted() {
        return Ok(Opened {
            stream: Stream::Plain(stream),
            under: None,
            is_http2: protocol == Protocol::Http2,
        });
    }
    let tls =
        tls.ok_or_else(|| Error::Connect(io::Error::other("it is https:// and the service has no `tls`")))?;
    let shaken = timeout_at(due, tls.connect(endpoint, stream))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let reached = shaken.map_err(|error| {
        let failure = tls::Failure::of(&error);
        tls.failed(failure, endpoint);
        tracing::debug!(%endpoint, %error, "a handshake failed");
        Error::Handshake(failure)
    })?;
    let is_http2 = reached.stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if protocol == Protocol::Http2 && !is_http2 {
        tls.failed(tls::Failure::Versions, endpoint);
        return Err(Error::Handshake(tls::Failure::Versions));
    }
    Ok(Opened { stream: Stream::Tls(Box::new(reached.stream)), under: Some(reached.under), is_http2 })
}

async fn open(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((endpoint.host(), endpoint.port())).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
