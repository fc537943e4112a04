//! The bodies that pass through: what clients send, what services answer, what the gateway says itself.
//!
//! Trailers pass a [`Sieve`] here, in both directions, so that nothing can be said after the headers were checked.

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use leeward_discovery::Picked;
use leeward_resilience::Class;
use leeward_resilience::pipeline::Guard;
use tokio::time::Sleep;

use crate::access::Notes;
use crate::h1::{AnswerError, BodyError, Rule};
use crate::life::Held;
use crate::lines::Lines;
use crate::trailers::Sieve;
use crate::tunnel::Tunnel;
use crate::upstream::{Answer, Lease};
use crate::{grpc, incoming};

/// Why a body ended before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Cut {
    /// Longer than the limit.
    #[error("the body is larger than allowed")]
    TooLarge,
    /// It took too long.
    #[error("the body took too long")]
    TimedOut,
    /// It is no body.
    #[error("{}", .0.text())]
    Broken(Rule),
    /// The sender broke off.
    #[error("the body was broken off")]
    BrokenOff,
}

impl From<BodyError> for Cut {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Broken(rule) => Self::Broken(rule),
            BodyError::BrokenOff => Self::BrokenOff,
        }
    }
}

/// A request body on its way to a service.
pub(crate) enum Upload {
    /// Nothing.
    Empty,
    /// Wholly read before, with what stood behind it: it can be sent again.
    Whole(Option<Bytes>, Option<Box<HeaderMap>>),
    /// As the client sends it.
    Streaming(Lent),
}

/// A body as it comes in, counted and timed.
pub(crate) struct Streaming {
    inner: incoming::Incoming,
    left: u64,
    timer: Pin<Box<Sleep>>,
    sieve: Sieve,
    /// Read by the request after the call failed, which only says that the body ended early.
    cut: Rc<Cell<Option<Cut>>>,
    notes: Notes,
    /// What was read of it so far, where that is kept and all of it.
    kept: Option<BytesMut>,
    /// Whether something was read of it that is not kept.
    is_gone: bool,
    /// Whether the time for it is not counted any more.
    is_timeless: bool,
    /// Which attempt has it.
    turn: u32,
}

/// What is kept of a body as it comes in, so that it can be sent again.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A body that an attempt has, until the next one takes it.
pub(crate) struct Lent {
    of: Rc<RefCell<Streaming>>,
    turn: u32,
    /// How much of what is kept went out.
    at: usize,
}

impl Lent {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let mut of = self.of.borrow_mut();
        if of.turn != self.turn {
            return Poll::Ready(Some(Err(Cut::BrokenOff)));
        }
        if let Some(again) =
            of.kept.as_ref().and_then(|kept| kept.get(self.at..)).filter(|rest| !rest.is_empty())
        {
            self.at += again.len();
            return Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(again)))));
        }
        let polled = of.poll(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.at += of.remember(frame.data_ref());
        }
        polled
    }

    /// What is kept and has not gone out yet.
    fn again(&self) -> usize {
        let of = self.of.borrow();
        of.kept.as_ref().map_or(0, |kept| kept.len().saturating_sub(self.at))
    }
}

impl Streaming {
    pub(crate) fn new(
        inner: incoming::Incoming,
        bytes_max: u64,
        within: Duration,
        sieve: Sieve,
        cut: Rc<Cell<Option<Cut>>>,
        notes: Notes,
    ) -> Self {
        let timer = Box::pin(tokio::time::sleep(within));
        let (kept, is_gone, is_timeless, turn) = (None, false, false, 0);
        Self { inner, left: bytes_max, timer, sieve, cut, notes, kept, is_gone, is_timeless, turn }
    }

    /// Keeps what is read of it while that is short, so that it can be sent again.
    pub(crate) fn keep(&mut self) {
        self.kept = Some(BytesMut::new());
    }

    /// Whether all of it can be sent, from its beginning.
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_gone
    }

    /// Counts its time no more: it is one side of a conversation, which goes on for as long as the service takes part.
    pub(crate) fn is_timeless(&mut self) {
        self.is_timeless = true;
    }

    /// Gives it to the next attempt, from its beginning, and takes it from the one before.
    pub(crate) fn lend(of: &Rc<RefCell<Self>>) -> Option<Lent> {
        let mut body = of.borrow_mut();
        if body.is_gone {
            return None;
        }
        body.turn += 1;
        Some(Lent { of: Rc::clone(of), turn: body.turn, at: 0 })
    }

    /// Keeps a piece that was read. How much was kept.
    fn remember(&mut self, piece: Option<&Bytes>) -> usize {
        match (&mut self.kept, piece) {
            (Some(kept), Some(piece)) if kept.len() + piece.len() <= KEPT_BYTES_MAX => {
                kept.extend_from_slice(piece);
                piece.len()
            }
            _ => {
                self.kept = None;
                self.is_gone = true;
                0
            }
        }
    }

    fn end(&self, cut: Cut) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.cut.set(Some(cut));
        Poll::Ready(Some(Err(cut)))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            let frame = match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Pending if self.is_timeless => return Poll::Pending,
                Poll::Pending => {
                    ready!(self.timer.as_mut().poll(cx));
                    return self.end(Cut::TimedOut);
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return self.end(error.into()),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => match kept(frame, &self.sieve) {
                    Some(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                    None => continue,
                },
            };
            let length = data.len() as u64;
            self.notes.received(data.len());
            if length > self.left {
                return self.end(Cut::TooLarge);
            }
            self.left -= length;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes, trailers) => {
                let data = bytes.take().map(Frame::data);
                let frame = data.or_else(|| trailers.take().map(|trailers| Frame::trailers(*trailers)));
                Poll::Ready(frame.map(Ok))
            }
            Self::Streaming(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes, trailers) => bytes.as_ref().is_none_or(Bytes::is_empty) && trailers.is_none(),
            Self::Streaming(lent) => lent.again() == 0 && lent.of.borrow().inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes, _) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Streaming(lent) => {
                let rest = lent.of.borrow().inner.size_hint().exact();
                let again = lent.again() as u64;
                rest.map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest.saturating_add(again)))
            }
        }
    }
}

/// What of the trailers passes, if something does.
fn kept(frame: Frame<Bytes>, sieve: &Sieve) -> Option<HeaderMap> {
    let mut trailers = frame.into_trailers().ok()?;
    sieve.keep(&mut trailers);
    (!trailers.is_empty()).then_some(trailers)
}

/// Reads a whole body of at most `bytes_max`, and what stands behind it. Only one that is not there yet is waited for, and timed.
pub(crate) async fn read_whole(
    mut body: incoming::Incoming,
    bytes_max: u64,
    within: impl FnOnce() -> Duration,
    sieve: impl FnOnce() -> Sieve,
    notes: &Notes,
) -> Result<(Bytes, Option<Box<HeaderMap>>), Cut> {
    let mut read = pin!(async {
        let mut first: Option<Bytes> = None;
        let mut all = BytesMut::new();
        let mut left = bytes_max;
        let mut trailers = None;
        while let Some(frame) = body.frame().await {
            let data = match frame?.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    trailers = kept(frame, &sieve()).map(Box::new);
                    break;
                }
            };
            notes.received(data.len());
            left = left.checked_sub(data.len() as u64).ok_or(Cut::TooLarge)?;
            // The usual small body is one frame, handed on as it is.
            match first.take() {
                None if all.is_empty() => first = Some(data),
                None => all.extend_from_slice(&data),
                Some(earlier) => {
                    all.extend_from_slice(&earlier);
                    all.extend_from_slice(&data);
                }
            }
        }
        Ok((first.unwrap_or_else(|| all.freeze()), trailers))
    });
    match read.as_mut().now_or_never() {
        Some(read) => read,
        None => tokio::time::timeout(within(), read).await.unwrap_or(Err(Cut::TimedOut)),
    }
}

/// Why an answer ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The service broke it off.
    #[error(transparent)]
    Upstream(#[from] AnswerError),
    /// The service fell silent.
    #[error("the service was silent for too long")]
    Silent,
}

/// A response body on its way to a client.
pub(crate) enum Download {
    /// Made here.
    Own(Option<Bytes>),
    /// From a service.
    Service(Box<Passing>),
    /// None: the connection is switched. `None` once it is.
    Switched(Option<Box<Tunnel>>),
}

impl Download {
    /// The header lines that go on as they came.
    pub(crate) fn take_passed(&mut self) -> Lines {
        match self {
            Self::Service(body) => std::mem::take(&mut body.passed),
            Self::Own(_) | Self::Switched(_) => Lines::default(),
        }
    }
}

impl Default for Download {
    fn default() -> Self {
        Self::Own(None)
    }
}

/// What happens to a copy of the body when it is complete.
pub(crate) type OnComplete = Box<dyn FnOnce(Bytes)>;

/// A copy that is taken while the body passes.
pub(crate) struct Tee {
    pub(crate) copy: BytesMut,
    pub(crate) bytes_max: usize,
    pub(crate) done: OnComplete,
}

/// A body that passes from a service to a client.
pub(crate) struct Passing {
    /// The header lines that go on as they came, until they are taken.
    passed: Lines,
    /// `None` once it was read to its end.
    inner: Option<Answer>,
    /// Where the connection goes when the body has been read to its end; it is closed otherwise.
    lease: Option<Lease>,
    tee: Option<Tee>,
    /// The permits of the outbound policies, which learn here how the answer ended.
    guard: Option<Guard>,
    /// How long the service may be silent, and since when it is.
    read_timeout: Duration,
    silence: Option<Pin<Box<Sleep>>>,
    is_silent: bool,
    sieve: Sieve,
    /// The endpoint of a call of gRPC, which learns here how the call ended.
    picked: Option<Picked>,
    /// The place among the requests on their way.
    _held: Held,
}

impl Passing {
    pub(crate) fn new(
        (passed, inner): (Lines, Answer),
        lease: Lease,
        read_timeout: Duration,
        (tee, sieve): (Option<Tee>, Sieve),
        (guard, picked): (Option<Guard>, Option<Picked>),
        held: Held,
    ) -> Self {
        let (silence, is_silent) = (None, false);
        let (is_over, inner, lease) = (inner.is_end_stream(), Some(inner), Some(lease));
        let mut passing = Self {
            passed,
            inner,
            lease,
            tee,
            guard,
            read_timeout,
            silence,
            is_silent,
            sieve,
            picked,
            _held: held,
        };
        if is_over {
            passing.complete(None);
        }
        passing
    }

    /// All of it came, with what stood behind it.
    fn complete(&mut self, trailers: Option<&HeaderMap>) {
        if let (Some(lease), Some(answer)) = (self.lease.take(), self.inner.take()) {
            lease.give_back(answer);
        }
        if let Some(tee) = self.tee.take() {
            (tee.done)(tee.copy.freeze());
        }
        // A call that does not say how it went has not gone well.
        let is_call = self.picked.is_some();
        let end = trailers.filter(|_| is_call).and_then(grpc::class);
        self.settle(end.unwrap_or(if is_call { Class::PERMANENT } else { Class::Success }));
    }

    fn settle(&mut self, class: Class) {
        if let Some(picked) = self.picked.take() {
            picked.report_now(class);
        }
        if let Some(guard) = self.guard.take() {
            guard.record(class);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        // Between a frame and the question for the next one it is the client that takes its time.
        if let Some(guard) = &mut self.guard {
            guard.resume();
        }
        let polled = match self.poll_inner(cx) {
            Poll::Pending => self.poll_silence(cx),
            ready => ready,
        };
        if polled.is_ready() {
            self.is_silent = false;
            if let Some(guard) = &mut self.guard {
                guard.pause();
            }
        }
        polled
    }

    /// Ends the answer of a service that says nothing for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let timer = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.read_timeout)));
        if !std::mem::replace(&mut self.is_silent, true) {
            timer.as_mut().reset(tokio::time::Instant::now() + self.read_timeout);
        }
        ready!(timer.as_mut().poll(cx));
        self.tee = None;
        self.settle(Class::RETRYABLE);
        Poll::Ready(Some(Err(Broken::Silent)))
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        match ready!(Pin::new(&mut *inner).poll_frame(cx)) {
            None => {
                self.complete(None);
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                self.tee = None;
                // A client that breaks its request off says nothing about the service.
                let is_ours = matches!(error, AnswerError::RequestCut);
                self.settle(if is_ours { Class::Ignored } else { Class::PERMANENT });
                Poll::Ready(Some(Err(error.into())))
            }
            Some(Ok(frame)) => {
                let data = match frame.into_data() {
                    Ok(data) => data,
                    Err(frame) => {
                        // Nothing comes behind them.
                        self.complete(frame.trailers_ref());
                        let trailers = kept(frame, &self.sieve);
                        return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                    }
                };
                // The server asks no further once the length is reached, so the end is noticed here.
                let is_over = inner.is_end_stream();
                self.keep(&data);
                if is_over {
                    self.complete(None);
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }

    fn keep(&mut self, data: &Bytes) {
        if let Some(tee) = &mut self.tee {
            if tee.copy.len() + data.len() > tee.bytes_max {
                self.tee = None;
            } else {
                tee.copy.extend_from_slice(data);
            }
        }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        // A client that goes away, however late, says nothing about the service.
        self.settle(Class::Ignored);
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Service(body) => body.poll(cx),
            Self::Switched(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Service(body) => body.inner.as_ref().is_none_or(Body::is_end_stream),
            Self::Switched(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Service(body) => {
                body.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
            }
            Self::Switched(_) => SizeHint::with_exact(0),
        }
    }
}
