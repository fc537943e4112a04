//! A client's connection as the codec sees it: a socket with a clock on it, and what came in and was not read yet.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::BodyError;
use super::chunked::Step;
use super::head::{Bounds, Head, Length, Reader};
use super::reading::{self, READ_BYTES_MAX, Reading};
use super::rule::Rule;
use super::wire::Wire;
use crate::config::Limits;
use crate::socket::Socket;

/// What a client that is being left may still send, and how long: closed with bytes unread, a socket takes its last answer back.
/// So much that a client in the middle of an upload has read the answer by then, also over the fastest network: what bounds it is the time.
const LINGER_BYTES_MAX: usize = 256 * 1_024 * 1_024;
const LINGER: Duration = Duration::from_secs(2);
/// How long it may take to say that nothing more comes.
const GOODBYE: Duration = Duration::from_millis(100);
/// The answer to `Expect: 100-continue`.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Why there is no further request.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The client is gone, or was silent for too long between two requests.
    Closed,
    /// What it sent is no request.
    Broken(Rule),
}

/// One connection. Shared by its task and by the body of the request that it serves, both on one core.
#[derive(Debug)]
pub(crate) struct Io {
    wire: RefCell<Wire>,
    buffer: RefCell<BytesMut>,
    heads: RefCell<Reader>,
    reading: RefCell<Reading>,
    /// How much of `100 Continue` is still to be sent before the body is read.
    to_continue: Cell<usize>,
    /// Counts the requests, so that the body of an earlier one reads nothing any more.
    request: Cell<u64>,
    /// Who waits for more of the body.
    reader: RefCell<Option<Waker>>,
    /// Who waits for the end of the body, to look out for the client leaving.
    watcher: RefCell<Option<Waker>>,
    bounds: Bounds,
}

impl Io {
    /// A connection on which `read` came in already.
    pub(crate) fn new(socket: Socket, read: BytesMut, limits: &Limits) -> Self {
        Self {
            wire: RefCell::new(Wire::new(socket, limits)),
            buffer: RefCell::new(read),
            heads: RefCell::default(),
            reading: RefCell::new(Reading::Over),
            to_continue: Cell::new(0),
            request: Cell::new(0),
            reader: RefCell::default(),
            watcher: RefCell::default(),
            bounds: Bounds { bytes: limits.head_bytes, headers: limits.headers },
        }
    }

    /// The next request. The body of the one before has been read to its end.
    ///
    /// # Cancel safety
    /// Nothing that came in is lost.
    pub(crate) async fn head(&self) -> Result<Head, Ended> {
        poll_fn(|cx| self.poll_head(cx)).await
    }

    fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Result<Head, Ended>> {
        loop {
            let read = {
                let mut buffer = self.buffer.borrow_mut();
                if buffer.is_empty() {
                    Ok(None)
                } else {
                    self.heads.borrow_mut().read(&mut buffer, self.bounds)
                }
            };
            match read {
                Ok(Some(head)) => {
                    self.wire.borrow_mut().serve();
                    self.begin(&head);
                    return Poll::Ready(Ok(head));
                }
                Ok(None) => {}
                Err(rule) => return Poll::Ready(Err(Ended::Broken(rule))),
            }
            let has_begun = self.has_begun();
            if has_begun {
                // One that is whole at once needs no time.
                self.wire.borrow_mut().head_begins();
            }
            match ready!(self.poll_fill(cx, READ_BYTES_MAX)) {
                Ok(0) => return Poll::Ready(Err(Ended::Closed)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut && has_begun => {
                    return Poll::Ready(Err(Ended::Broken(Rule::HeadTimeout)));
                }
                Err(_) => return Poll::Ready(Err(Ended::Closed)),
            }
        }
    }

    /// The number of the request that is being served.
    pub(super) fn request(&self) -> u64 {
        self.request.get()
    }

    /// What is left of the body belongs to nobody: whoever reads it finds it broken off.
    pub(super) fn part_with_body(&self) {
        self.request.set(self.request.get() + 1);
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
    }

    /// Parts with memory that nothing is in: an empty buffer still owns what it was cut from.
    fn shrink(&self) {
        let mut buffer = self.buffer.borrow_mut();
        if buffer.is_empty() {
            *buffer = BytesMut::new();
        }
    }

    fn begin(&self, head: &Head) {
        self.shrink();
        let waits = head.expects_continue && head.length != Length::Known(0);
        *self.reading.borrow_mut() = Reading::of(head.length, self.bounds);
        self.to_continue.set(if waits { CONTINUE.len() } else { 0 });
    }

    /// The next bytes of the body, and then its trailers, if it has some; `None` at its end.
    pub(super) fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let step = self.step();
            match step {
                Ok(Step::Data(bytes)) => {
                    self.notice_end();
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Ok(Step::Trailers(trailers)) => {
                    self.notice_end();
                    return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
                }
                Ok(Step::Over) => {
                    self.notice_end();
                    return Poll::Ready(None);
                }
                Ok(Step::More) => {}
                Err(error) => {
                    *self.reading.borrow_mut() = Reading::Broken;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            match self.poll_more_body(cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => {
                    *self.reading.borrow_mut() = Reading::Broken;
                    return Poll::Ready(Some(Err(BodyError::BrokenOff)));
                }
                Poll::Pending => {
                    *self.reader.borrow_mut() = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }

    /// Whether more of the body came in; if not, there is no more.
    fn poll_more_body(&self, cx: &mut Context<'_>) -> Poll<bool> {
        if ready!(self.poll_continue(cx)).is_err() || ready!(self.poll_flush(cx)).is_err() {
            return Poll::Ready(false);
        }
        self.poll_fill(cx, READ_BYTES_MAX).map(|filled| matches!(filled, Ok(1..)))
    }

    fn step(&self) -> Result<Step, BodyError> {
        let mut buffer = self.buffer.borrow_mut();
        let mut reading = self.reading.borrow_mut();
        if matches!(*reading, Reading::Broken) {
            return Err(BodyError::BrokenOff);
        }
        if !buffer.is_empty() && !reading.is_over() {
            self.came_unasked();
        }
        Ok(reading.step(&mut buffer)?)
    }

    /// A client that sends its body needs no leave any more.
    fn came_unasked(&self) {
        if self.to_continue.get() == CONTINUE.len() {
            self.to_continue.set(0);
        }
    }

    fn notice_end(&self) {
        if self.is_read()
            && let Some(watcher) = self.watcher.borrow_mut().take()
        {
            watcher.wake();
        }
    }

    /// So many bytes are still to come; `None` when nobody knows.
    pub(super) fn left(&self) -> Option<u64> {
        self.reading.borrow().left()
    }

    /// Whether the body has been read to its end.
    pub(super) fn is_read(&self) -> bool {
        self.reading.borrow().is_over()
    }

    /// Comes to an end with `100 Continue` before the answer: one that began goes out whole, one that did not is not sent any more.
    /// Whether the client was not told to send its body, so that it may never send it.
    pub(super) async fn end_continue(&self) -> io::Result<bool> {
        if self.to_continue.get() == CONTINUE.len() {
            self.to_continue.set(0);
            return Ok(!self.is_read());
        }
        poll_fn(|cx| self.poll_continue(cx)).await?;
        Ok(false)
    }

    /// Whether something of the next head is there.
    pub(crate) fn has_begun(&self) -> bool {
        !self.buffer.borrow().is_empty()
    }

    /// Ready when the client has left. It is not asked while a body is being read, which notices by itself.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_read() {
            let mut watcher = self.watcher.borrow_mut();
            if !watcher.as_ref().is_some_and(|watcher| watcher.will_wake(cx.waker())) {
                *watcher = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        // What comes in now is the next request, of which a client may send the head already.
        loop {
            let room = self.bounds.bytes.saturating_sub(self.buffer.borrow().len());
            if room == 0 {
                return Poll::Pending;
            }
            match ready!(self.poll_fill(cx, room)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    fn poll_fill(&self, cx: &mut Context<'_>, bytes_max: usize) -> Poll<io::Result<usize>> {
        let mut wire = self.wire.borrow_mut();
        reading::poll_fill(&mut *wire, cx, &mut self.buffer.borrow_mut(), bytes_max)
    }

    /// Tells a client that waits for it to send its body.
    fn poll_continue(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.to_continue.get() > 0 {
            let rest = &CONTINUE[CONTINUE.len() - self.to_continue.get()..];
            let written = ready!(Pin::new(&mut *self.wire.borrow_mut()).poll_write(cx, rest))?;
            self.to_continue.set(self.to_continue.get() - written);
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut *self.wire.borrow_mut()).poll_write(cx, bytes)) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(written),
        }
    }

    /// Writes both, one after the other, in one write if the socket takes it.
    pub(super) async fn write(&self, mut first: &[u8], mut second: &[u8]) -> io::Result<()> {
        while !(first.is_empty() && second.is_empty()) {
            let written = poll_fn(|cx| {
                let mut wire = self.wire.borrow_mut();
                match (first, second) {
                    (one, []) | ([], one) => Pin::new(&mut *wire).poll_write(cx, one),
                    (one, two) => {
                        Pin::new(&mut *wire).poll_write_vectored(cx, &[IoSlice::new(one), IoSlice::new(two)])
                    }
                }
            })
            .await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            second = &second[written.saturating_sub(first.len()).min(second.len())..];
            first = &first[written.min(first.len())..];
        }
        Ok(())
    }

    /// Sees to it that what was written is on its way.
    pub(super) async fn flush(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// What comes in on a connection that speaks HTTP no more, beginning with what came in already.
    pub(crate) fn poll_read_switched(
        &self,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut buffer = self.buffer.borrow_mut();
        if buffer.is_empty() {
            return Pin::new(&mut *self.wire.borrow_mut()).poll_read(cx, room);
        }
        let count = buffer.len().min(room.remaining());
        room.put_slice(&buffer.split_to(count));
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more comes.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.wire.borrow_mut()).poll_shutdown(cx)
    }

    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.wire.borrow_mut()).poll_flush(cx)
    }

    /// Says that nothing more comes, where the protocol below has a word for it.
    pub(crate) async fn say_goodbye(&self) {
        if self.wire.borrow().socket().is_encrypted() {
            let shut = poll_fn(|cx| Pin::new(&mut *self.wire.borrow_mut()).poll_shutdown(cx));
            let _late = tokio::time::timeout(GOODBYE, shut).await;
        }
    }

    /// The answer is out: the next request may come.
    pub(super) fn answered(&self) {
        self.wire.borrow_mut().idle();
        self.shrink();
    }

    /// Reads what is left of a short body and drops it. Whether the connection can go on.
    pub(super) async fn skip_body(&self, within: Duration) -> bool {
        let skip = async {
            while let Some(frame) = poll_fn(|cx| self.poll_body(cx)).await {
                if frame.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(within, skip).await.unwrap_or(false)
    }

    /// Leaves a client that may still be sending, so that it can read its last answer.
    pub(crate) async fn leave(&self) {
        let shut = poll_fn(|cx| Pin::new(&mut *self.wire.borrow_mut()).poll_shutdown(cx)).await;
        if shut.is_err() {
            return;
        }
        let listen = async {
            let mut heard = 0;
            while heard < LINGER_BYTES_MAX {
                self.buffer.borrow_mut().clear();
                match poll_fn(|cx| self.poll_fill(cx, READ_BYTES_MAX)).await {
                    Ok(0) | Err(_) => break,
                    Ok(more) => heard += more,
                }
            }
        };
        let _late = tokio::time::timeout(LINGER, listen).await;
    }

    /// Breaks the connection off so that the client sees that its answer is not whole.
    pub(super) fn abort(&self) {
        let wire = self.wire.borrow();
        let _best_effort = socket2::SockRef::from(wire.socket().stream()).set_linger(Some(Duration::ZERO));
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        // A body that somebody still reads has broken off.
        self.part_with_body();
    }
}
