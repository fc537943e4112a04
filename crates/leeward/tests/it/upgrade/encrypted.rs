//! The same over TLS and HTTP/2: many requests at a time on a connection, which is told to leave, and handshakes that are under way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Site, ended, pause, service, until};

/// The whole of it, with debug binaries on a busy machine.
const AT_MOST: Duration = Duration::from_secs(15);
const HOST: &str = "edge.example";
/// Clients that keep their connection, requests of each at a time, and clients that come anew for each request.
const KEEPERS: usize = 4;
const AT_A_TIME: usize = 4;
const NEWCOMERS: usize = 4;

/// A certificate in files, and who trusts it.
struct Pki {
    folder: tempfile::TempDir,
    trusting: Arc<ClientConfig>,
}

impl Pki {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(cert.der().to_vec())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut trusting = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        trusting.alpn_protocols = vec![b"h2".to_vec()];
        Self { folder, trusting: Arc::new(trusting) }
    }

    fn config(&self, service: SocketAddr) -> String {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let listen = format!(
            "listen: [{{address: \"127.0.0.1:0\", tls: {{certificates: [{{cert: \"{}\", key: \"{}\"}}]}}}}]\n",
            file("cert.pem"),
            file("key.pem")
        );
        super::config(service).replacen("listen: 127.0.0.1:0\n", &listen, 1)
    }
}

/// What every client needs to know.
#[derive(Clone)]
struct Way {
    edge: SocketAddr,
    trusting: Arc<ClientConfig>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    opened: Arc<AtomicUsize>,
    /// Requests that were on their way when a connection's last word came.
    crossed: Arc<AtomicUsize>,
}

/// Whether the other side has said in peace that it did not look at the request.
fn is_untouched(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A connection, which moves for as long as this lives.
struct Open {
    send: SendRequest<Bytes>,
    _moving: JoinSet<()>,
}

impl Way {
    async fn open(&self) -> Result<Open, Fault> {
        let stream = TcpStream::connect(self.edge).await.map_err(|error| format!("connect: {error}"))?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.trusting));
        let shaken = connector.connect(HOST.try_into()?, stream).await;
        let stream = shaken.map_err(|error| format!("handshake: {error}"))?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (send, connection) = h2::client::handshake(stream).await?;
        let mut moving = JoinSet::new();
        moving.spawn(async move {
            let _requests_hear_of_it = connection.await;
        });
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Open { send, _moving: moving })
    }

    /// Asks over a connection that is kept, for as long as that takes requests; over another one then.
    async fn keeps(self) -> Result<(), Fault> {
        while !self.stop.load(Ordering::Relaxed) {
            let open = self.open().await?;
            let mut all = JoinSet::new();
            for _ in 0..AT_A_TIME {
                let (way, send) = (self.clone(), open.send.clone());
                all.spawn(async move {
                    while !way.stop.load(Ordering::Relaxed) && way.ask(&send, "/fast").await?.is_some() {}
                    Ok::<_, Fault>(())
                });
            }
            while let Some(done) = all.join_next().await {
                done??;
            }
        }
        Ok(())
    }

    async fn comes_anew(self) -> Result<(), Fault> {
        while !self.stop.load(Ordering::Relaxed) {
            let open = self.open().await?;
            self.ask(&open.send, "/fast").await?;
        }
        Ok(())
    }

    /// One request. `None` when the gateway takes no more on this connection: it was not sent, or it crossed the gateway's last word on
    /// which streams it takes, by which a client knows that it was not looked at and may be sent again (RFC 9113, 6.8). Any other must
    /// be answered.
    async fn ask(&self, send: &SendRequest<Bytes>, path: &str) -> Result<Option<String>, Fault> {
        let Ok(mut send) = send.clone().ready().await else { return Ok(None) };
        let request = Request::get(format!("https://{HOST}{path}")).body(())?;
        let Ok((answer, _sent)) = send.send_request(request, true) else { return Ok(None) };
        let (head, mut body) = match answer.await {
            Ok(answer) => answer.into_parts(),
            Err(error) if is_untouched(&error) => {
                self.crossed.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            Err(error) => return Err(format!("no answer: {error}").into()),
        };
        let mut text = Vec::new();
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(|error| format!("the answer broke off: {error}"))?;
            body.flow_control().release_capacity(piece.len())?;
            text.extend_from_slice(&piece);
        }
        let text = String::from_utf8(text)?;
        if head.status.as_u16() != 200 {
            return Err(format!("{}: {text}", head.status).into());
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        Ok(Some(text))
    }
}

/// Clients of both kinds.
struct Load {
    way: Way,
    clients: JoinSet<Result<(), Fault>>,
}

impl Load {
    fn start(edge: SocketAddr, pki: &Pki) -> Self {
        let (stop, answered, opened, crossed) = Default::default();
        let way = Way { edge, trusting: Arc::clone(&pki.trusting), stop, answered, opened, crossed };
        let mut clients = JoinSet::new();
        for _ in 0..KEEPERS {
            clients.spawn(way.clone().keeps());
        }
        for _ in 0..NEWCOMERS {
            clients.spawn(way.clone().comes_anew());
        }
        Self { way, clients }
    }

    /// Waits until so many more requests were answered.
    fn goes_on(&self, more: usize) {
        let wanted = self.way.answered.load(Ordering::Relaxed) + more;
        assert!(until(|| self.way.answered.load(Ordering::Relaxed) >= wanted), "the load stands still");
    }

    /// Ends it; gives what failed.
    async fn end(mut self) -> Vec<String> {
        self.way.stop.store(true, Ordering::Relaxed);
        let mut failed = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            failed.extend(client.unwrap().err().map(|error| error.to_string()));
        }
        failed
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_over_tls_and_http2_fails_while_binaries_follow_each_other() {
    let pki = Pki::new();
    let mut site = Site::start(&pki.config(service().await), &[]);
    let began = tokio::time::Instant::now();
    let load = Load::start(site.edge, &pki);
    for _ in 0..2 {
        load.goes_on(200);
        let way = load.way.clone();
        let mut slow = JoinSet::new();
        slow.spawn(async move {
            let open = way.open().await?;
            way.ask(&open.send, "/slow").await
        });
        // It is on its way when the next process is asked for.
        pause(100);
        site.upgrade();
        let late = slow.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!(late.as_deref(), Some("late"), "{}", site.log());
        load.goes_on(200);
    }
    let crossed = Arc::clone(&load.way.crossed);
    let failed = load.end().await;
    assert!(failed.is_empty(), "{failed:?}\n{}", site.log());
    // Clients are told to leave before the last word, so that few cross it: without that all would that are on their way.
    let crossed = crossed.load(Ordering::Relaxed);
    assert!(crossed < KEEPERS * AT_A_TIME, "{crossed} requests were sent in vain");
    assert!(began.elapsed() < AT_MOST, "{:?}", began.elapsed());
}

/// The control: with a next process that says all the right words and keeps nothing, the same load fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_sockets_are_seen_over_tls_and_http2() {
    let pki = Pki::new();
    let site = Site::start(&pki.config(service().await), &[]);
    site.exchange_for(
        "echo hello >&5; read -r go <&5; echo ready >&5; read -r begin <&5; exec 3<&- 4<&- 5<&-; sleep 1",
    );
    let mut load = Load::start(site.edge, &pki);
    load.goes_on(200);
    site.ask_for_upgrade();
    assert_eq!(ended(site.pid).exit_status(), Some(0), "{}", site.log());
    // As long as they may go on, clients end only by a failure: each of them comes to its own.
    let mut failed = Vec::new();
    while let Some(client) = timeout(AT_MOST, load.clients.join_next()).await.expect("it is noticed") {
        failed.push(client.unwrap().unwrap_err().to_string());
    }
    assert!(failed.iter().any(|why| why.starts_with("connect: ")), "nobody noticed: {failed:?}");
    let lost: Vec<_> = failed.iter().filter(|why| why.starts_with("no answer")).collect();
    assert!(lost.is_empty(), "what was begun is answered all the same: {lost:?}");
}
