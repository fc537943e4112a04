//! The body of a request on its way, as fast as the service takes it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

use crate::body::Upload;

/// Why sending stopped.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The service takes no more. It may have answered all the same.
    Refused,
    /// The body could not be read to its end.
    Body,
}

/// A body, and the stream that it goes to.
pub(super) struct Pump {
    stream: SendStream<Bytes>,
    body: Upload,
    /// Read and not taken yet. More is read only when the service took it.
    rest: Bytes,
}

impl Pump {
    pub(super) fn new(stream: SendStream<Bytes>, body: Upload) -> Self {
        Self { stream, body, rest: Bytes::new() }
    }

    /// Sends on. Ready when all of it is on its way.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            while !self.rest.is_empty() {
                self.stream.reserve_capacity(self.rest.len());
                if self.stream.capacity() == 0 {
                    match ready!(self.stream.poll_capacity(cx)) {
                        Some(Ok(_)) => continue,
                        _ => return Poll::Ready(Err(Stopped::Refused)),
                    }
                }
                let count = self.stream.capacity().min(self.rest.len());
                let piece = self.rest.split_to(count);
                let is_last = self.rest.is_empty() && self.body.is_end_stream();
                self.stream.send_data(piece, is_last).map_err(|_| Stopped::Refused)?;
                if is_last {
                    return Poll::Ready(Ok(()));
                }
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        let sent = self.stream.send_trailers(trailers);
                        return Poll::Ready(sent.map_err(|_| Stopped::Refused));
                    }
                },
                Some(Err(_cut)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(Stopped::Body));
                }
                None => {
                    let sent = self.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(sent.map_err(|_| Stopped::Refused));
                }
            }
        }
    }
}
