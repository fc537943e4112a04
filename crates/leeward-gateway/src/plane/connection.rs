//! One connection of a client: request after request, until one of the two has had enough.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, Version};
use tokio::sync::watch;

use super::Handed;
use super::begin::{Begun, begin};
use super::current::Current;
use super::drain::Drain;
use crate::access::Delivery;
use crate::h1::{self, Answering, Ended, Head, Io, Rule};
use crate::http2;
use crate::incoming::Incoming;
use crate::life::{self, Peer};

/// How long a drain waits for the next request of an idle connection: it is answered with `Connection: close`, and the
/// client learns that way instead of from a closed socket under its request.
const LINGER: Duration = Duration::from_millis(400);

/// Serves a connection until it ends.
pub(super) async fn serve(current: Rc<Current>, handed: Handed, draining: watch::Receiver<bool>) {
    let begun = begin(&current, handed).await;
    let Some(Begun { socket, peer, read, is_http2 }) = begun else { return };
    if is_http2 {
        // A connection over HTTP/1.1 need not be as large as one over HTTP/2.
        Box::pin(http2::serve(current, socket, read, peer, draining)).await;
    } else {
        let io = Rc::new(Io::new(socket, read, &current.core().shared.config.limits));
        in_turn(&current, &io, &peer, draining).await;
    }
}

/// HTTP/1.1: one request after the other.
async fn in_turn(current: &Current, io: &Rc<Io>, peer: &Peer, draining: watch::Receiver<bool>) {
    let mut drain = Drain::new(draining);
    loop {
        match next(io, &mut drain).await {
            Ok(head) => {
                if !one(current, io, peer, head, &drain).await {
                    return;
                }
            }
            Err(Ended::Closed) => return io.say_goodbye().await,
            // Where the next message would begin nobody knows: the connection ends with the answer.
            Err(Ended::Broken(rule)) => {
                let core = current.core();
                let answering = Answering {
                    method: Method::GET,
                    version: Version::HTTP_11,
                    keep_alive: false,
                    unix_ms: core.shared.clock.unix_ms(),
                    body_timeout: Duration::ZERO,
                };
                let mut answer = life::broken(&core, peer, rule);
                let lines = answer.body_mut().take_lines();
                if h1::send(io, &answering, answer, &lines).await.is_ok() {
                    io.leave().await;
                }
                return;
            }
        }
    }
}

/// The next request. A drain leaves an idle client a moment for one more.
async fn next(io: &Io, drain: &mut Drain) -> Result<Head, Ended> {
    let mut head = pin!(io.head());
    let early = poll_fn(|cx| match head.as_mut().poll(cx) {
        Poll::Ready(head) => Poll::Ready(Some(head)),
        Poll::Pending => drain.poll(cx).map(|()| None),
    });
    if let Some(head) = early.await {
        return head;
    }
    let late = || if io.has_begun() { Ended::Broken(Rule::HeadTimeout) } else { Ended::Closed };
    tokio::time::timeout(LINGER, head).await.unwrap_or_else(|_| Err(late()))
}

/// Serves one request. Whether there may be another one.
async fn one(current: &Current, io: &Rc<Io>, peer: &Peer, head: Head, drain: &Drain) -> bool {
    // The snapshot that the request keeps; it is given up when the answer's head is there, however long its body takes.
    let core = current.core();
    let answering = Answering {
        method: head.parts.method.clone(),
        version: head.parts.version,
        keep_alive: head.keep_alive,
        unix_ms: core.shared.clock.unix_ms(),
        body_timeout: core.shared.config.limits.body_timeout,
    };
    let request = Request::from_parts(head.parts, Incoming::H1(h1::Incoming::new(io)));
    let answer = {
        let mut serving = pin!(life::serve(core, peer, request));
        // A client that leaves takes its request with it.
        poll_fn(|cx| match serving.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => io.poll_gone(cx).map(|()| None),
        })
        .await
    };
    let Some(mut answer) = answer else { return false };
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        // What is not needed on every connection is not carried along by it.
        Box::pin(switched(io, answering.unix_ms, answer, drain.wanted())).await;
        return false;
    }
    let lines = answer.body_mut().take_lines();
    match h1::send(io, &answering, answer, &lines).await {
        Ok(true) => true,
        Ok(false) => {
            io.leave().await;
            false
        }
        Err(_gone) => false,
    }
}

/// Serves a connection that speaks HTTP no more, to its end.
async fn switched(io: &Io, unix_ms: i64, answer: Response<Delivery>, mut draining: watch::Receiver<bool>) {
    let (head, mut delivery) = answer.into_parts();
    let Some(tunnel) = delivery.switch() else { return };
    if h1::switch(io, unix_ms, &head, &delivery.take_lines()).await.is_err() {
        return;
    }
    let (end, bytes) = tunnel.run(io, &mut draining).await;
    delivery.ended(end, bytes);
}
