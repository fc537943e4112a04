//! One connection of a client.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

use super::wire::{Wire, WireState};
use crate::body::Download;
use crate::framing::{self, Framing};
use crate::life::{self, Core};

/// How long a drain waits for the next request of an idle connection: it is answered with `Connection: close`, and the
/// client learns that way instead of from a closed socket under its request.
const LINGER: Duration = Duration::from_millis(400);

/// Serves a connection until it ends.
pub(super) async fn serve(
    core: Rc<Core>,
    stream: std::net::TcpStream,
    peer: SocketAddr,
    mut draining: watch::Receiver<bool>,
) {
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let _best_effort = stream.set_nodelay(true);
    let limits = core.shared.config.limits.clone();
    let (wire, state) = Wire::new(stream, &limits);
    let service = service_fn(|request: Request<Incoming>| {
        let framing = seen(&state, &request);
        state.serving();
        let answer = life::serve(Rc::clone(&core), peer.ip(), framing, request);
        let end = End(Rc::clone(&state));
        async move { Ok::<_, Infallible>(answer.await.map(|body| Sent { body, _end: end })) }
    });
    let mut options = http1::Builder::new();
    options.max_headers(limits.headers).max_header_size(limits.head_bytes).half_close(false).keep_alive(true);
    let mut connection = pin!(options.serve_connection(TokioIo::new(wire), service));
    tokio::select! {
        biased;
        _ended = connection.as_mut() => return,
        _drain = draining.wait_for(|draining| *draining) => {}
    }
    if tokio::time::timeout(LINGER, connection.as_mut()).await.is_ok() {
        return;
    }
    connection.as_mut().graceful_shutdown();
    let _ended = connection.await;
}

/// Only a message that says how long it is can say it twice.
fn seen(state: &WireState, request: &Request<Incoming>) -> Framing {
    let headers = request.headers();
    if headers.contains_key(header::TRANSFER_ENCODING) || headers.contains_key(header::CONTENT_LENGTH) {
        state.with_head(|head| framing::judge(head, request.method().as_str()))
    } else {
        Framing::Plain
    }
}

/// Tells the connection that the answer is out.
struct End(Rc<WireState>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// A body that says when it is done.
struct Sent {
    body: Download,
    _end: End,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
