//! A server whose methods do what a test needs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{Messages, framed, send_all};
use crate::rig::serve_each;

/// What a test sees, and decides.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) hits: AtomicUsize,
    pub(super) taken_back: AtomicUsize,
    /// So many calls more do not go well.
    pub(super) failing: AtomicUsize,
    pub(super) head: Mutex<HeaderMap>,
    /// What the last call sent, in one.
    pub(super) received: Mutex<Vec<u8>>,
    pub(super) goes_on: Notify,
}

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    pub(super) seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let (addr, tasks) = serve_each(move |stream| serve(stream, Arc::clone(&shared))).await;
        Self { addr, seen, _tasks: tasks }
    }

    pub(super) fn hits(&self) -> usize {
        self.seen.hits.load(Ordering::SeqCst)
    }

    pub(super) fn fail(&self, calls: usize) {
        self.seen.failing.store(calls, Ordering::SeqCst);
    }

    /// A header of the last call.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.seen.head.lock().get(name).map(|value| value.to_str().unwrap().to_owned())
    }
}

async fn serve(stream: TcpStream, seen: Arc<Seen>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut all = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        all.spawn(answer(request, respond, Arc::clone(&seen)));
    }
}

fn said(status: &str) -> HeaderMap {
    let mut said = HeaderMap::new();
    said.insert("grpc-status", HeaderValue::try_from(status).unwrap());
    said.insert("grpc-message", HeaderValue::from_static("by the server"));
    said
}

fn head() -> Response<()> {
    Response::builder().header("content-type", "application/grpc+raw").body(()).unwrap()
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, seen: Arc<Seen>) {
    seen.hits.fetch_add(1, Ordering::SeqCst);
    let (parts, stream) = request.into_parts();
    *seen.head.lock() = parts.headers.clone();
    let mut messages = Messages::new(stream);
    let less = |count: usize| count.checked_sub(1);
    let fails = seen.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok();
    let how = parts.headers.get("x-fails").filter(|_| fails).map(|how| how.to_str().unwrap().to_owned());
    match how.as_deref().map(|how| how.split_once(' ').unwrap()) {
        Some(("refused", _)) => return respond.send_reset(Reason::REFUSED_STREAM),
        // A head that says it all, before anything of the call was read.
        Some(("first", status)) => {
            let mut answer = head();
            answer.headers_mut().extend(said(status));
            respond.send_response(answer, true).unwrap();
            return;
        }
        // The same once all was read.
        Some(("read", status)) => {
            while let Some(Ok(_)) = messages.next().await {}
            let mut answer = head();
            answer.headers_mut().extend(said(status));
            respond.send_response(answer, true).unwrap();
            return;
        }
        Some(("late", status)) => {
            let mut stream = respond.send_response(head(), false).unwrap();
            stream.send_data(framed(b"some"), false).unwrap();
            stream.send_trailers(said(status)).unwrap();
            return;
        }
        _ => {}
    }
    if parts.uri.path().ends_with("/Hang") {
        std::future::poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
        seen.taken_back.fetch_add(1, Ordering::SeqCst);
        return;
    }
    let mut stream = respond.send_response(head(), false).unwrap();
    if parts.uri.path().ends_with("/Half") {
        return half(stream, &seen).await;
    }
    let is_stream = parts.uri.path().ends_with("/Stream");
    seen.received.lock().clear();
    while let Some(Ok(message)) = messages.next().await {
        seen.received.lock().extend_from_slice(&message);
        if !send_all(&mut stream, framed(&message)).await {
            break;
        }
    }
    if is_stream {
        // The client left, or the test lets it go on.
        loop {
            let left = std::future::poll_fn(|cx| stream.poll_reset(cx));
            tokio::select! {
                _left = left => {
                    seen.taken_back.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                () = seen.goes_on.notified() => {}
            }
            if seen.failing.load(Ordering::SeqCst) > 0 {
                break;
            }
            if !send_all(&mut stream, framed(b"more")).await {
                return;
            }
        }
    }
    let _left = stream.send_trailers(said("0"));
}

/// Begins a message and never ends it.
async fn half(mut stream: SendStream<Bytes>, seen: &Seen) {
    stream.send_data(framed(b"half").split_to(7), false).unwrap();
    std::future::poll_fn(|cx| stream.poll_reset(cx)).await.unwrap();
    seen.taken_back.fetch_add(1, Ordering::SeqCst);
}
