//! Where in its body a message stands, whichever side sent it.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::chunked::{Decoder, Step};
use super::head::{Bounds, Length};
use super::rule::Rule;

/// What is read at a time: 64 KiB, which is what many send at a time, and a head in front of it.
pub(super) const READ_BYTES_MAX: usize = 80 * 1_024;
/// From here on what came in is handed on in the memory that it was read into, all of which is held as long as somebody has a byte of it.
const HANDED_BYTES_MIN: usize = 32 * 1_024;

/// How the rest of a body is found.
#[derive(Debug)]
pub(super) enum Reading {
    /// So many bytes are still to come.
    Known(u64),
    /// In chunks.
    Chunked(Decoder),
    /// All that comes, to the end of the connection: answers only.
    Close,
    /// There is no more.
    Over,
    /// Where it ends nobody knows.
    Broken,
}

impl Reading {
    /// A body of this length. What may stand behind it is within the bounds of a head.
    pub(super) fn of(length: Length, bounds: Bounds) -> Self {
        match length {
            Length::Known(0) => Self::Over,
            Length::Known(length) => Self::Known(length),
            Length::Chunked => Self::Chunked(Decoder::new(bounds)),
        }
    }

    /// The next bytes of the body off the buffer.
    ///
    /// # Errors
    /// The rule that the body breaks. It is [`Reading::Broken`] then.
    pub(super) fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, Rule> {
        let step = match self {
            Self::Over => Step::Over,
            Self::Known(_) | Self::Close | Self::Broken if buffer.is_empty() => Step::More,
            Self::Known(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= count as u64;
                let data = buffer.split_to(count).freeze();
                if *left == 0 {
                    *self = Self::Over;
                }
                Step::Data(data)
            }
            Self::Chunked(decoder) => match decoder.step(buffer) {
                Ok(last @ (Step::Over | Step::Trailers(_))) => {
                    *self = Self::Over;
                    last
                }
                Ok(step) => step,
                Err(rule) => {
                    *self = Self::Broken;
                    return Err(rule);
                }
            },
            Self::Close => Step::Data(buffer.split().freeze()),
            Self::Broken => Step::More,
        };
        Ok(step)
    }

    /// So many bytes are still to come; `None` when nobody knows.
    pub(super) fn left(&self) -> Option<u64> {
        match self {
            Self::Over => Some(0),
            Self::Known(left) => Some(*left),
            Self::Chunked(_) | Self::Close | Self::Broken => None,
        }
    }

    /// Whether the body has been read to its end.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }
}

/// Lets more come in, `bytes_max` at most. It is read into memory that all connections of a core share, so that one which waits
/// holds none. What is short is copied out of it, once; what is long takes it along, and the next read finds other memory or, once
/// what was read is gone, the same again.
pub(super) fn poll_fill(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
    bytes_max: usize,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        if buffer.is_empty() {
            // It still owns what it was cut from.
            *buffer = BytesMut::new();
        }
        scratch.reserve(READ_BYTES_MAX);
        let mut room = (&mut *scratch).limit(bytes_max.min(READ_BYTES_MAX));
        let count = ready!(pin!(stream.read_buf(&mut room)).poll(cx))?;
        if buffer.is_empty() && count >= HANDED_BYTES_MIN {
            *buffer = scratch.split();
        } else {
            buffer.extend_from_slice(scratch);
            scratch.clear();
        }
        Poll::Ready(Ok(count))
    })
}

thread_local! {
    /// Empty between two reads.
    static SCRATCH: RefCell<BytesMut> = RefCell::default();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::task::Waker;

    use super::*;

    fn fill(mut from: &[u8], buffer: &mut BytesMut, bytes_max: usize) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        match poll_fill(&mut from, &mut cx, buffer, bytes_max) {
            Poll::Ready(count) => count.unwrap(),
            Poll::Pending => panic!("a slice is always there"),
        }
    }

    #[test]
    fn what_is_long_is_handed_on_and_its_memory_is_not_used_while_somebody_has_it() {
        let long = |byte| vec![byte; HANDED_BYTES_MIN];
        let (mut one, mut two) = (BytesMut::new(), BytesMut::new());
        assert_eq!(fill(&long(1), &mut one, READ_BYTES_MAX), HANDED_BYTES_MIN);
        fill(&long(2), &mut two, READ_BYTES_MAX);
        assert_eq!((&one[..], &two[..]), (&long(1)[..], &long(2)[..]));
        let held = one.split_to(7).freeze();
        one.clear();
        fill(b"short", &mut one, READ_BYTES_MAX);
        assert_eq!((&held[..], &one[..], &two[..]), (&[1; 7][..], &b"short"[..], &long(2)[..]));
    }

    #[test]
    fn what_nobody_has_any_more_is_used_again() {
        let long = vec![1; HANDED_BYTES_MIN];
        let mut buffer = BytesMut::new();
        fill(&long, &mut buffer, READ_BYTES_MAX);
        let place = buffer.as_ptr();
        // Read to its end, and still the owner of what it was cut from.
        drop(buffer.split());
        fill(&long, &mut buffer, READ_BYTES_MAX);
        assert_eq!(buffer.as_ptr(), place);
    }

    #[test]
    fn what_is_short_takes_no_more_memory_than_it_needs() {
        let mut buffer = BytesMut::new();
        assert_eq!(fill(&[1; HANDED_BYTES_MIN - 1], &mut buffer, READ_BYTES_MAX), HANDED_BYTES_MIN - 1);
        assert!(buffer.capacity() < READ_BYTES_MAX);
        assert_eq!(fill(&[2; 2 * READ_BYTES_MAX], &mut buffer, 5), 5, "and no more comes in than may");
        assert_eq!(
            (buffer.len(), &buffer[HANDED_BYTES_MIN - 2..]),
            (HANDED_BYTES_MIN + 4, &[1, 2, 2, 2, 2, 2][..])
        );
        assert_eq!(
            fill(&[3; 2 * READ_BYTES_MAX], &mut buffer, usize::MAX),
            READ_BYTES_MAX,
            "behind what is there"
        );
        assert_eq!(buffer.len(), HANDED_BYTES_MIN + 4 + READ_BYTES_MAX);
        assert_eq!(fill(&[], &mut buffer, READ_BYTES_MAX), 0);
    }

    #[test]
    fn one_that_waits_holds_no_memory() {
        let (mut here, _there) = tokio::io::duplex(1);
        let mut buffer = BytesMut::new();
        fill(&vec![1; HANDED_BYTES_MIN], &mut buffer, READ_BYTES_MAX);
        drop(buffer.split());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(poll_fill(&mut here, &mut cx, &mut buffer, READ_BYTES_MAX).is_pending());
        assert_eq!(buffer.capacity(), 0);
    }
}
