//! The body of an answer, as far as somebody takes it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};

use super::connection::{HEADERS_MAX, Place};
use super::pump::{Pump, Stopped};
use crate::h1::{AnswerError, Rule};

/// A body, and what is still to be sent of its request. Dropped before its end it is taken back.
pub(crate) struct Answer {
    stream: RecvStream,
    pump: Option<Pump>,
    /// What is left of the length that the head said, if it said one. That it is kept to the protocol sees to.
    left: Option<u64>,
    is_over: bool,
    _place: Place,
}

impl Answer {
    pub(super) fn new(stream: RecvStream, pump: Option<Pump>, length: Option<u64>, place: Place) -> Self {
        let is_over = stream.is_end_stream();
        Self { stream, pump, left: length, is_over, _place: place }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        if let Some(pump) = &mut self.pump {
            match pump.poll(cx) {
                Poll::Pending => {}
                // What the service did not take matters no more: it has answered.
                Poll::Ready(Ok(()) | Err(Stopped::Refused)) => self.pump = None,
                Poll::Ready(Err(Stopped::Body)) => {
                    self.pump = None;
                    self.is_over = true;
                    return Poll::Ready(Some(Err(AnswerError::RequestCut)));
                }
            }
        }
        if self.is_over {
            return Poll::Ready(None);
        }
        let broken = |error| AnswerError::BrokenOff(io::Error::other(error));
        match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => {
                // Whoever asked takes it now: the service may send as much again.
                self.stream.flow_control().release_capacity(data.len()).map_err(broken)?;
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                self.is_over = self.stream.is_end_stream();
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => {
                self.is_over = true;
                Poll::Ready(Some(Err(broken(error))))
            }
            None => {
                let trailers = ready!(self.stream.poll_trailers(cx));
                self.is_over = true;
                Poll::Ready(match trailers {
                    Ok(None) => None,
                    Ok(Some(trailers)) if trailers.len() > HEADERS_MAX => {
                        Some(Err(AnswerError::Broken(Rule::Trailer)))
                    }
                    Ok(Some(trailers)) => Some(Ok(Frame::trailers(trailers))),
                    Err(error) => Some(Err(broken(error))),
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.is_over => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}
