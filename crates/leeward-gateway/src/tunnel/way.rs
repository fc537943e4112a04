//! One direction of a tunnel.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;

/// What is read and not taken yet, at most.
const BUFFER_BYTES: usize = 16 * 1024;

/// Who broke it off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Broken {
    Reader,
    Writer,
}

/// One direction: what was read of the one side and the other has not taken yet.
#[derive(Default, Debug)]
pub(super) struct Way {
    buffer: Vec<u8>,
    written: usize,
    frames: Frames,
    /// Whether the reader has said that nothing more comes.
    is_read: bool,
    is_shut: bool,
    /// Whether the writer was told that this is over: what comes behind is dropped.
    is_told: bool,
    passed: u64,
}

impl Way {
    /// How many bytes came.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// Moves bytes, and says goodbye between two frames where there is one to say. Ready when the reader has closed its side, and the
    /// writer knows.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
        goodbye: Option<&[u8]>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            while self.written < self.buffer.len() {
                let rest = &self.buffer[self.written..];
                match ready!(Pin::new(&mut *writer).poll_write(cx, rest)) {
                    Ok(count @ 1..) => self.written += count,
                    Ok(0) | Err(_) => return Poll::Ready(Err(Broken::Writer)),
                }
            }
            // A tunnel on which nothing passes holds no buffer.
            (self.buffer, self.written) = (Vec::new(), 0);
            if self.is_read {
                if !self.is_shut {
                    // One that is closed already knows.
                    let _closed = ready!(Pin::new(&mut *writer).poll_shutdown(cx));
                    self.is_shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            if let (Some(goodbye), false, true) = (goodbye, self.is_told, self.frames.are_whole()) {
                self.is_told = true;
                self.buffer.extend_from_slice(goodbye);
                continue;
            }
            let mut bytes = [0; BUFFER_BYTES];
            let mut room = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *reader).poll_read(cx, &mut room) {
                Poll::Ready(Ok(())) if room.filled().is_empty() => self.is_read = true,
                Poll::Ready(Ok(())) => {
                    self.passed += room.filled().len() as u64;
                    if !self.is_told {
                        self.frames.pass(room.filled());
                        self.buffer.extend_from_slice(room.filled());
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Reader)),
                Poll::Pending => {
                    ready!(Pin::new(&mut *writer).poll_flush(cx)).map_err(|_| Broken::Writer)?;
                    return Poll::Pending;
                }
            }
        }
    }
}
