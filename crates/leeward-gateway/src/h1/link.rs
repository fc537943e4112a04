//! A connection to a service: one request at a time, carried by whoever asks. There is no task behind it: what it reads and
//! writes happens when the answer is awaited.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::{Body, Frame, SizeHint};

use super::asking::{Asking, Stopped};
use super::came::Came;
use super::chunked::Step;
use super::reading::{READ_BYTES_MAX, Reading, poll_fill};
use super::reply::{NoAnswer, Reply};
use super::rule::Rule;
use super::scan::Scan;
use crate::tls;
use crate::upstream::{Look, Stream};

/// Most interim answers (1xx) before the final one: a service that works for long may say so every second.
const INTERIM_MAX: u32 = 256;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection ended.
    Ended(io::Error),
    /// The request's body could not be read to its end.
    Body,
    /// What came back is no answer.
    Answer(NoAnswer),
}

/// A failure, and how far the request came.
#[derive(Debug)]
pub(crate) struct Failed<B> {
    pub(crate) why: Failure,
    /// The request, when nothing of it went out.
    pub(crate) unsent: Option<Box<Asking<B>>>,
    /// Whether something of an answer came back.
    pub(crate) is_answered: bool,
}

/// A connection that takes requests. What belongs to it stays in one place while it is handed from one to the next.
#[derive(Debug)]
pub(crate) struct Link(Box<Wire>);

#[derive(Debug)]
struct Wire {
    stream: Stream,
    /// What came in and was not read yet.
    buffer: BytesMut,
    /// Where it leads to.
    authority: Box<str>,
}

impl Link {
    pub(crate) fn new(stream: Stream, authority: &str) -> Self {
        Self(Box::new(Wire { stream, buffer: BytesMut::new(), authority: authority.into() }))
    }

    /// Where it leads to.
    pub(crate) fn authority(&self) -> &str {
        &self.0.authority
    }

    /// Whether it takes another request: the service has neither closed it nor said anything unasked.
    pub(crate) fn is_open(&mut self, look: Look) -> bool {
        self.0.stream.is_quiet(look)
    }

    /// Sends a request and reads the head of its answer, whose headers are in lines: [`Answer::take_came`]. The body of the request goes on being sent while that of the answer is read.
    ///
    /// # Errors
    /// There is no answer.
    ///
    /// # Cancel safety
    /// The connection is closed.
    pub(crate) async fn ask<B>(
        mut self,
        mut asking: Box<Asking<B>>,
    ) -> Result<(Response<()>, Answer<B>), Box<Failed<B>>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut scan = Scan::default();
        let mut interim = 0;
        let mut unwritable = None;
        let wire = &mut *self.0;
        let reply = poll_fn(|cx| {
            loop {
                if unwritable.is_none() {
                    match asking.poll(&mut wire.stream, cx) {
                        Poll::Ready(Err(Stopped::Body)) => return Poll::Ready(Err(Failure::Body)),
                        // The answer may be there all the same: a service need not read what it refuses.
                        Poll::Ready(Err(Stopped::Written(error))) => unwritable = Some(error),
                        Poll::Ready(Ok(())) | Poll::Pending => {}
                    }
                }
                match Reply::read(&mut wire.buffer, &mut scan) {
                    Ok(Some(reply)) if !reply.is_interim() => return Poll::Ready(Ok(reply)),
                    Ok(Some(_)) if interim < INTERIM_MAX => {
                        interim += 1;
                        continue;
                    }
                    Ok(Some(_)) => {
                        return Poll::Ready(Err(Failure::Answer(NoAnswer("too many interim answers"))));
                    }
                    Ok(None) => {}
                    Err(wrong) => return Poll::Ready(Err(Failure::Answer(wrong))),
                }
                let ended = match ready!(poll_fill(&mut wire.stream, cx, &mut wire.buffer, READ_BYTES_MAX)) {
                    Ok(1..) => continue,
                    Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                    Err(error) => error,
                };
                // That the service did not take the gateway explains more than that it took no more bytes.
                let unwritable = unwritable.take().filter(|_| tls::Failure::after(&ended).is_none());
                return Poll::Ready(Err(Failure::Ended(unwritable.unwrap_or(ended))));
            }
        })
        .await;
        match reply {
            Ok(reply) => {
                let reading = reply.reading(asking.is_head());
                let keep_alive = reply.keep_alive && unwritable.is_none() && asking.may_keep_alive();
                let asking = (!asking.is_over()).then_some(asking);
                let mut response = Response::new(());
                (*response.status_mut(), *response.version_mut()) = (reply.status, reply.version);
                let answer = Answer { link: self, asking, reading, keep_alive, came: Some(reply.came) };
                Ok((response, answer))
            }
            Err(why) => {
                let is_answered = interim > 0 || !self.0.buffer.is_empty();
                let unsent = (!asking.is_begun()).then_some(asking);
                Err(Box::new(Failed { why, unsent, is_answered }))
            }
        }
    }
}

/// Why the body of an answer ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// The connection ended.
    #[error("the service broke off: {0}")]
    BrokenOff(io::Error),
    /// It is no body.
    #[error("the answer's body: {}", .0.text())]
    Broken(Rule),
    /// The client broke its request off while the answer came.
    #[error("the request's body ended early")]
    RequestCut,
}

/// The body of an answer, read from its connection when it is asked for.
#[derive(Debug)]
pub(crate) struct Answer<B> {
    link: Link,
    /// What is still to be sent of the request.
    asking: Option<Box<Asking<B>>>,
    reading: Reading,
    keep_alive: bool,
    /// The header lines, until they are taken.
    came: Option<Came>,
}

impl<B> Answer<B> {
    /// The header lines, if nobody has taken them.
    pub(crate) fn came(&self) -> Option<&Came> {
        self.came.as_ref()
    }

    /// Takes the header lines.
    pub(crate) fn take_came(&mut self) -> Option<Came> {
        self.came.take()
    }

    /// The connection, which speaks HTTP no more, and what came in behind the head.
    pub(crate) fn into_stream(self) -> (Stream, BytesMut) {
        let Wire { stream, buffer, .. } = *self.link.0;
        (stream, buffer)
    }

    /// The connection, if it takes another request: the answer was read to its end, the request was sent to its end, and both
    /// sides want to go on.
    pub(crate) fn into_link(mut self) -> Option<Link> {
        let is_clean = self.reading.is_over() && self.asking.is_none() && self.link.0.buffer.is_empty();
        if !(self.keep_alive && is_clean) {
            return None;
        }
        // An empty buffer still owns what it was cut from.
        self.link.0.buffer = BytesMut::new();
        Some(self.link)
    }
}

impl<B> Body for Answer<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let this = &mut *self;
        if let Some(asking) = &mut this.asking {
            match asking.poll(&mut this.link.0.stream, cx) {
                Poll::Ready(Ok(())) => this.asking = None,
                // What the service did not take matters no more: it has answered.
                Poll::Ready(Err(Stopped::Written(_))) => {
                    this.keep_alive = false;
                    this.asking = None;
                }
                // A service that still waits for the rest would wait for ever.
                Poll::Ready(Err(Stopped::Body)) => {
                    this.asking = None;
                    this.reading = Reading::Broken;
                    this.keep_alive = false;
                    return Poll::Ready(Some(Err(AnswerError::RequestCut)));
                }
                Poll::Pending => {}
            }
        }
        loop {
            match this.reading.step(&mut this.link.0.buffer) {
                Ok(Step::Data(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Ok(Step::Trailers(trailers)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
                }
                Ok(Step::Over) => return Poll::Ready(None),
                Ok(Step::More) => {}
                Err(rule) => return Poll::Ready(Some(Err(AnswerError::Broken(rule)))),
            }
            let Wire { stream, buffer, .. } = &mut *this.link.0;
            let broken = match ready!(poll_fill(stream, cx, buffer, READ_BYTES_MAX)) {
                Ok(1..) => continue,
                Ok(0) if matches!(this.reading, Reading::Close) => {
                    this.reading = Reading::Over;
                    this.keep_alive = false;
                    return Poll::Ready(None);
                }
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Err(error) => error,
            };
            this.reading = Reading::Broken;
            return Poll::Ready(Some(Err(AnswerError::BrokenOff(broken))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.reading.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.reading.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
