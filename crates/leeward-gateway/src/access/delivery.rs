//! An answer's body on its way out, counted.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::facts::{Outcome, Ticket};
use crate::body::{Broken, Download};
use crate::grpc::OwnTime;
use crate::lines::Lines;
use crate::tunnel::{End, Tunnel};

/// A body, and the place in the access log that waits for its end.
pub(crate) struct Delivery {
    body: Download,
    /// Header lines of the head, until they are taken.
    lines: Lines,
    ticket: Option<Ticket>,
    is_broken: bool,
    /// What a call of gRPC has left for it, where it has a time of its own.
    own_time: Option<OwnTime>,
    is_late: bool,
}

impl Delivery {
    pub(crate) fn new(
        body: Download,
        lines: Lines,
        ticket: Option<Ticket>,
        own_time: Option<OwnTime>,
    ) -> Self {
        Self { body, lines, ticket, is_broken: false, own_time, is_late: false }
    }

    /// In which time a call of gRPC must be over, where it has one of its own.
    pub(crate) fn own_time(&self) -> Option<OwnTime> {
        self.own_time
    }

    /// That time is over.
    pub(crate) fn is_late(&mut self) {
        self.is_late = true;
    }

    /// Takes the header lines that stand in the head beside those of its table.
    pub(crate) fn take_lines(&mut self) -> Lines {
        std::mem::take(&mut self.lines)
    }

    /// The service's side of a connection that is switched, if it is.
    pub(crate) fn switch(&mut self) -> Option<Box<Tunnel>> {
        match &mut self.body {
            Download::Switched(tunnel) => tunnel.take(),
            _ => None,
        }
    }

    /// How the switched connection ended, and how much of it the client got.
    pub(crate) fn ended(mut self, end: End, bytes: u64) {
        let Some(ticket) = self.ticket.take() else { return };
        ticket.sent(usize::try_from(bytes).unwrap_or(usize::MAX));
        ticket.ended(match end {
            End::Client => Outcome::ClientGone,
            End::Service => Outcome::UpstreamBroken,
            End::Closed | End::Idle | End::Duration | End::Drain => Outcome::Complete,
        });
    }
}

impl Body for Delivery {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match (&frame, &self.ticket) {
            (Some(Ok(frame)), Some(ticket)) => ticket.sent(frame.data_ref().map_or(0, Bytes::len)),
            (Some(Err(_)), _) => self.is_broken = true,
            _ => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let Some(ticket) = &self.ticket else { return };
        ticket.ended(match () {
            () if self.is_late => Outcome::DeadlineExceeded,
            () if self.is_broken => Outcome::UpstreamBroken,
            () if self.body.is_end_stream() => Outcome::Complete,
            () => Outcome::ClientGone,
        });
    }
}
