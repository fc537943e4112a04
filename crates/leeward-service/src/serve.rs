//! From a listening socket to the router: connections, and how they end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use leeward_runtime::{Stage, Stop, Tasks};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use crate::inbound::Cut;

/// Connections at a time; the next ones wait in the kernel's backlog. Callers pool connections, so that this is far more
/// than a service ever has.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a connection may be idle or take over a request's head. Longer than the 30 s for which a client of the kit
/// keeps an idle connection, so that it is the client who closes.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// The largest request head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The pause after a failed accept: most often the process is out of file descriptors, which a tight loop makes no better.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the edge stops; each connection is served by a task of its own until serving stops.
pub(crate) async fn accept(listener: TcpListener, router: axum::Router, tasks: Tasks, stop: Stop) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Some(Ok(place)) = stop.or(Arc::clone(&places).acquire_owned()).await else { return };
        match stop.or(listener.accept()).await {
            None => return,
            Some(Ok((stream, _peer))) => {
                let router = router.clone();
                tasks.spawn(Stage::Serve, "http.connection", move |stop| {
                    connection(stream, router, place, stop)
                });
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection; when it is asked to stop it finishes the request it is at.
async fn connection(stream: TcpStream, router: axum::Router, place: OwnedSemaphorePermit, stop: Stop) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let service = service_fn(move |request| answer(router.clone(), request));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let end = tokio::select! {
        end = serving.as_mut() => end,
        () = stop.requested() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = end {
        tracing::debug!(%error, "connection ended");
    }
    drop(place);
}

async fn answer(router: axum::Router, request: Request<Incoming>) -> Result<Response, Severed> {
    let response =
        router.oneshot(request.map(Body::new)).await.unwrap_or_else(|never: Infallible| match never {});
    // hyper answers an error by closing the connection without a word, which is what is wanted here.
    if response.extensions().get::<Cut>().is_some() { Err(Severed) } else { Ok(response) }
}

#[derive(Debug, thiserror::Error)]
#[error("cut by an injected fault")]
struct Severed;
