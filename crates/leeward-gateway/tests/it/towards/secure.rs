//! The echoing service behind TLS that a test may change while it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustls::{HandshakeKind, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::rig::Upstream;

/// Handshakes that may be done and not served yet.
const DONE_MAX: usize = 64;

/// What a test sees and changes of the handshakes.
#[derive(Debug)]
pub(crate) struct Shaking {
    pub(crate) config: Mutex<Arc<ServerConfig>>,
    pub(crate) full: AtomicUsize,
    pub(crate) resumed: AtomicUsize,
}

/// A service behind TLS.
#[derive(Debug)]
pub(crate) struct Secure {
    pub(crate) upstream: Upstream,
    pub(crate) shaking: Arc<Shaking>,
}

struct Door {
    addr: SocketAddr,
    done: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl axum::serve::Listener for Door {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.done.recv().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

impl Secure {
    pub(crate) async fn start(config: ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (full, resumed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let shaking = Arc::new(Shaking { config: Mutex::new(Arc::new(config)), full, resumed });
        let (sender, done) = mpsc::channel(DONE_MAX);
        let accepting = accept(listener, Arc::clone(&shaking), sender);
        #[allow(
            clippy::disallowed_methods,
            reason = "a test's own upstream: it ends with the service that it feeds"
        )]
        drop(tokio::spawn(accepting));
        Self { upstream: Upstream::over(Door { addr, done }, addr), shaking }
    }

    /// Shakes hands like this from now on.
    pub(crate) fn change(&self, config: ServerConfig) {
        *self.shaking.config.lock() = Arc::new(config);
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.upstream.addr)
    }

    /// Connections that came about: with a full handshake, and resumed.
    pub(crate) fn shaken(&self) -> (usize, usize) {
        (self.shaking.full.load(Ordering::SeqCst), self.shaking.resumed.load(Ordering::SeqCst))
    }
}

async fn accept(
    listener: TcpListener,
    shaking: Arc<Shaking>,
    sender: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    while !sender.is_closed() {
        let Ok((stream, from)) = listener.accept().await else { continue };
        let acceptor = TlsAcceptor::from(Arc::clone(&shaking.config.lock()));
        let (shaking, sender) = (Arc::clone(&shaking), sender.clone());
        let shake = async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let count = match stream.get_ref().1.handshake_kind() {
                Some(HandshakeKind::Resumed) => &shaking.resumed,
                _ => &shaking.full,
            };
            count.fetch_add(1, Ordering::SeqCst);
            let _gone = sender.send((stream, from)).await;
        };
        #[allow(clippy::disallowed_methods, reason = "a test's own upstream")]
        drop(tokio::spawn(shake));
    }
}
