//! How a connection begins: the handshake, and which protocol is spoken.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use leeward_resilience::Instant;
use tokio::io::AsyncRead;
use tokio::io::ReadBuf;

use super::Handed;
use super::current::Current;
use crate::http2::PREFACE;
use crate::life::Peer;
use crate::socket::Socket;

/// A connection on which requests may come.
pub(super) struct Begun {
    pub(super) socket: Socket,
    pub(super) peer: Peer,
    /// What came in already.
    pub(super) read: BytesMut,
    pub(super) is_http2: bool,
}

/// Begins a connection. None when it came to nothing.
pub(super) async fn begin(current: &Current, handed: Handed) -> Option<Begun> {
    let Handed { stream, peer: from, entry, at } = handed;
    if entry.tls.is_some() && is_late(current, at) {
        turn_away(&stream);
        return None;
    }
    let stream = tokio::net::TcpStream::from_std(stream).ok()?;
    let _best_effort = stream.set_nodelay(true);
    let ip = from.ip();
    // What is in force when the connection begins.
    let core = current.core();
    let shared = &core.shared;
    if let Some(tls) = &entry.tls {
        let failed = |reason: &str| shared.metrics.handshakes_failed.with([reason]).inc();
        let Some(_place) = tls.admit() else {
            failed("too_many");
            return None;
        };
        let shaken = tls.accept(stream).await.inspect_err(|error| {
            tracing::debug!(client = %ip, %error, "a handshake failed");
            let is_late = error.kind() == std::io::ErrorKind::TimedOut;
            failed(if is_late { "timeout" } else { "refused" });
        });
        let shaken = shaken.ok()?;
        let peer = Peer {
            ip,
            is_encrypted: true,
            certificate: shaken.identity.map(Rc::new),
            timer: Rc::default(),
            has_paid: Cell::new(true),
        };
        let socket = Socket::Tls(Box::new(shaken.stream));
        return Some(Begun { socket, peer, read: BytesMut::new(), is_http2: shaken.is_http2 });
    }
    let mut socket = Socket::plain(stream);
    let peer =
        Peer { ip, is_encrypted: false, certificate: None, timer: Rc::default(), has_paid: Cell::new(false) };
    let mut read = BytesMut::new();
    let is_http2 = match (entry.protocols.http1, entry.protocols.http2) {
        (true, true) => {
            let waited = tokio::time::timeout(
                shared.config.limits.head_timeout,
                begins_with_preface(&mut socket, &mut read),
            );
            waited.await.ok()??
        }
        (_, http2) => http2,
    };
    Some(Begun { socket, peer, read, is_http2 })
}

/// Whether a connection has waited for longer than a core that is behind lets any wait: its handshake would be the larger part of the work.
fn is_late(current: &Current, taken_in: Instant) -> bool {
    let core = current.core();
    let now = core.shared.clock.now();
    let waited = now.saturating_duration_since(taken_in);
    let Err(late) = core.overload.judge_connection(waited, now) else { return false };
    core.shared.metrics.overload.connections.with([late.mode.as_str()]).inc();
    !late.mode.is_shadow()
}

/// What is closed after this is closed at once, so that neither side keeps anything of the connection.
pub(super) fn turn_away(stream: &std::net::TcpStream) {
    let _best_effort = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Whether a client begins with what only HTTP/2 begins with. None when it leaves before that is known.
async fn begins_with_preface(socket: &mut Socket, read: &mut BytesMut) -> Option<bool> {
    loop {
        let known = read.len().min(PREFACE.len());
        if read[..known] != PREFACE[..known] {
            return Some(false);
        }
        if known == PREFACE.len() {
            return Some(true);
        }
        let mut bytes = [0; PREFACE.len()];
        let mut room = ReadBuf::new(&mut bytes[known..]);
        poll_fn(|cx| Pin::new(&mut *socket).poll_read(cx, &mut room)).await.ok()?;
        if room.filled().is_empty() {
            return None;
        }
        read.extend_from_slice(room.filled());
    }
}
