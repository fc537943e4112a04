//! The body of a request over HTTP/2.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};

use crate::h1::{BodyError, Rule};

/// A body as it comes in. The client may send more as soon as somebody took what is there.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: RecvStream,
    /// What is left of the length that the head said, if it said one. That it is kept to the protocol sees to.
    left: Option<u64>,
    /// Most trailers.
    trailers_max: usize,
}

impl Incoming {
    pub(super) fn new(stream: RecvStream, length: Option<u64>, trailers_max: usize) -> Self {
        Self { stream, left: length, trailers_max }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => {
                let released = self.stream.flow_control().release_capacity(data.len());
                if released.is_err() {
                    return Poll::Ready(Some(Err(BodyError::BrokenOff)));
                }
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(_)) => Poll::Ready(Some(Err(BodyError::BrokenOff))),
            None => Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
                Ok(None) => None,
                Ok(Some(trailers)) if trailers.len() > self.trailers_max => {
                    Some(Err(BodyError::Broken(Rule::Trailer)))
                }
                Ok(Some(trailers)) => Some(Ok(Frame::trailers(trailers))),
                Err(_) => Some(Err(BodyError::BrokenOff)),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Some(left) => SizeHint::with_exact(left),
            None if self.stream.is_end_stream() => SizeHint::with_exact(0),
            None => SizeHint::default(),
        }
    }
}
