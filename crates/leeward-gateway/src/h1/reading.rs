//! Where in its body a message stands, whichever side sent it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

use super::chunked::{Decoder, Step};
use super::head::{Bounds, Length};
use super::rule::Rule;

/// What is read at a time.
pub(super) const READ_BYTES_MAX: usize = 64 * 1_024;

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

/// Lets more come in, `bytes_max` at most. What comes in is copied once, out of a buffer that all connections of a core share, so
/// that one which waits holds no memory.
pub(super) fn poll_fill(
    stream: Pin<&mut impl AsyncRead>,
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
    bytes_max: usize,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let bytes_max = bytes_max.min(scratch.len());
        let mut room = ReadBuf::new(&mut scratch[..bytes_max]);
        ready!(stream.poll_read(cx, &mut room))?;
        buffer.extend_from_slice(room.filled());
        Poll::Ready(Ok(room.filled().len()))
    })
}

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES_MAX].into_boxed_slice());
}
