//! The body of a request, as it comes in.

use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::io::Io;
use super::rule::Rule;

/// Why a body ended before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// It is no body.
    #[error("{}", .0.text())]
    Broken(Rule),
    /// The client left.
    #[error("the body was broken off")]
    BrokenOff,
}

impl From<Rule> for BodyError {
    fn from(rule: Rule) -> Self {
        Self::Broken(rule)
    }
}

/// The body of the request that a connection serves: read from its socket when it is asked for.
///
/// It may outlive its request, with an upstream connection that still sends it when the answer is out already. Then it has
/// broken off: it neither keeps the client's connection open nor reads what belongs to the next request.
#[derive(Debug)]
pub(crate) struct Incoming {
    io: Weak<Io>,
    request: u64,
}

impl Incoming {
    /// The body of the request that was read last.
    pub(crate) fn new(io: &Rc<Io>) -> Self {
        Self { io: Rc::downgrade(io), request: io.request() }
    }

    /// The connection, while it serves this request.
    fn io(&self) -> Option<Rc<Io>> {
        self.io.upgrade().filter(|io| io.request() == self.request)
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(io) = self.io() else { return Poll::Ready(Some(Err(BodyError::BrokenOff))) };
        io.poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.io().is_some_and(|io| io.is_read())
    }

    fn size_hint(&self) -> SizeHint {
        self.io().and_then(|io| io.left()).map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
