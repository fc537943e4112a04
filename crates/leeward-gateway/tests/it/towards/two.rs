//! A service over HTTP/2, on the bare library: what it did with each stream a test can see.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What a test sees.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicUsize,
    pub(crate) hits: AtomicUsize,
    pub(crate) taken_back: AtomicUsize,
    /// How often it was asked whether it lives.
    pub(crate) asked: AtomicUsize,
    /// Streams at a time on one connection, at most.
    pub(crate) most: AtomicUsize,
}

impl Seen {
    pub(crate) fn get(&self, of: impl FnOnce(&Self) -> &AtomicUsize) -> usize {
        of(self).load(Ordering::SeqCst)
    }
}

/// What is wrong with the first connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum First {
    /// Nothing.
    Fine,
    /// It says at the first request that it has not looked at it, and takes no further one.
    GoesAway,
    /// It reads and says nothing.
    IsSilent,
    /// It asks a thousand times whether the gateway lives.
    Pings,
    /// It answers after two seconds, and ends a connection on which it is asked for a fourth time whether it lives, as servers of gRPC do.
    IsSlow,
}

/// A service over HTTP/2.
#[derive(Debug)]
pub(crate) struct Two {
    pub(crate) addr: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Two {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Two {
    pub(crate) async fn start(tls: Option<rustls::ServerConfig>, streams: u32, first: First) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let accepting = accept(listener, tls, Arc::clone(&seen), streams, first);
        #[allow(clippy::disallowed_methods, reason = "a test's own upstream")]
        let task = tokio::spawn(accepting);
        Self { addr, seen, task }
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    seen: Arc<Seen>,
    streams: u32,
    first: First,
) {
    // What belongs to this service ends with it.
    let mut all = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let number = seen.connections.fetch_add(1, Ordering::SeqCst);
        let (seen, tls) = (Arc::clone(&seen), tls.clone());
        let first = if number == 0 { first } else { First::Fine };
        all.spawn(async move {
            match (tls, first) {
                (Some(tls), _) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, seen, streams).await,
                    Err(_) => {
                        seen.connections.fetch_sub(1, Ordering::SeqCst);
                    }
                },
                (None, First::Fine) => serve(stream, seen, streams).await,
                (None, First::IsSlow) => answer_late(stream, &seen).await,
                (None, first) => misbehave(stream, first).await,
            }
        });
    }
}

const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const GOAWAY_BEFORE_ALL: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

/// What the gateway says before its first request is shorter than this, and the request longer than what is left.
const REQUEST_AFTER: usize = 200;

async fn misbehave(mut stream: TcpStream, first: First) {
    stream.write_all(&SETTINGS).await.unwrap();
    let mut heard = 0;
    let mut is_said = false;
    let mut chunk = [0; 4_096];
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        heard += count;
        // More than the preface, settings and a window: a request.
        if heard < REQUEST_AFTER || is_said {
            continue;
        }
        is_said = true;
        match first {
            First::GoesAway => stream.write_all(&GOAWAY_BEFORE_ALL).await.unwrap(),
            First::Pings => {
                let _ended = stream.write_all(&PING.repeat(1_000)).await;
            }
            First::IsSilent | First::IsSlow | First::Fine => {}
        }
    }
}

/// A head that is all of an answer: 200.
const ANSWER: [u8; 10] = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];
const PREFACE_BYTES: usize = 24;
const PING_KIND: u8 = 6;
const ACK: u8 = 1;

async fn answer_late(mut stream: TcpStream, seen: &Seen) {
    stream.write_all(&SETTINGS).await.unwrap();
    let mut late = std::pin::pin!(tokio::time::sleep(Duration::from_secs(2)));
    let (mut is_said, mut came, mut at) = (false, Vec::new(), PREFACE_BYTES);
    loop {
        tokio::select! {
            read = stream.read_buf(&mut came) => if !matches!(read, Ok(1..)) { return },
            () = &mut late, if !is_said => {
                is_said = true;
                stream.write_all(&ANSWER).await.unwrap();
            }
        }
        while let Some(frame) = came.get(at..).filter(|rest| rest.len() >= 9) {
            let whole = 9 + (usize::from(frame[1]) << 8 | usize::from(frame[2]));
            let Some(frame) = frame.get(..whole) else { break };
            at += whole;
            if frame[3] == PING_KIND && frame[4] & ACK == 0 {
                if seen.asked.fetch_add(1, Ordering::SeqCst) >= 3 {
                    return;
                }
                let mut answer = frame.to_vec();
                answer[4] = ACK;
                stream.write_all(&answer).await.unwrap();
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, seen: Arc<Seen>, streams: u32) {
    let mut options = server::Builder::new();
    options.max_concurrent_streams(streams);
    let Ok(mut connection) = options.handshake::<_, Bytes>(stream).await else { return };
    let open = Arc::new(AtomicUsize::new(0));
    let mut all = tokio::task::JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        if request.uri().path() == "/leaves" {
            connection.graceful_shutdown();
        }
        seen.most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let (seen, open) = (Arc::clone(&seen), Arc::clone(&open));
        all.spawn(async move {
            answer(request, respond, &seen).await;
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, seen: &Seen) {
    let hit = seen.hits.fetch_add(1, Ordering::SeqCst);
    let (head, mut body) = request.into_parts();
    if head.uri.path() == "/refused" && hit == 0 {
        respond.send_reset(Reason::REFUSED_STREAM);
        return;
    }
    let mut received = 0;
    while let Some(Ok(data)) = body.data().await {
        received += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    if head.uri.path() == "/waits" {
        std::future::poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
        seen.taken_back.fetch_add(1, Ordering::SeqCst);
        return;
    }
    match head.uri.path() {
        "/slow" => tokio::time::sleep(Duration::from_millis(30)).await,
        "/leaves" => tokio::time::sleep(Duration::from_secs(3)).await,
        _ => {}
    }
    let query = head.uri.query().unwrap_or_default();
    let bytes: usize = query.strip_prefix("bytes=").map_or(0, |bytes| bytes.parse().unwrap());
    let text =
        format!("{} {} {:?} {received} ", head.method, head.uri, head.headers.get("x-request-id").is_some());
    let mut data = Bytes::from(text + &"x".repeat(bytes));
    let mut response = Response::new(());
    if let Some(trace) = head.headers.get("traceparent") {
        response.headers_mut().insert("x-seen-traceparent", trace.clone());
    }
    let mut stream = respond.send_response(response, false).unwrap();
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(Ok(count)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        let piece = data.split_to(count.min(data.len()));
        let is_last = data.is_empty();
        if stream.send_data(piece, is_last).is_err() {
            return;
        }
    }
}
