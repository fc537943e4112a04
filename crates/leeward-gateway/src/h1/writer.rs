//! Answers on their way to a client: written anew from the model, with one way to find their end.

use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::response::Parts;
use http::{Method, Response, StatusCode, Version};
use http_body::{Body, Frame};

use super::date;
use super::head::has_option;
use super::io::Io;
use crate::headers::Names;
use crate::lines::{Lines, line};
use crate::spare;

/// Pieces of a body up to this size are copied behind what is to be written, so that many small ones go out in one write.
const COPY_BYTES_MAX: usize = 16 * 1_024;
/// As before, for a piece with which the body is complete: a longer one has nothing to wait for, and is written from where it is, in
/// one write with what is in front of it.
const LAST_COPY_BYTES_MAX: usize = 2 * 1_024;
/// What is left of a request's body up to this size is read and dropped, so that the connection can go on.
const SKIP_BYTES_MAX: u64 = 64 * 1_024;

/// What a head has as a rule beside what the gateway says in it: room for it is made at once.
const HEAD_BYTES: usize = 512;

/// What the answer to a request depends on.
#[derive(Clone, Debug)]
pub(crate) struct Answering {
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// Whether the client wants to go on with this connection.
    pub(crate) keep_alive: bool,
    pub(crate) unix_ms: i64,
    /// How long the rest of a short body may take to come in.
    pub(crate) body_timeout: Duration,
}

/// How the client finds the end of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    /// It has no body: by its status, or since only its head was asked for.
    Head,
    /// So many bytes.
    Known(u64),
    /// In chunks.
    Chunked,
    /// The connection ends with it: HTTP/1.0.
    Close,
}

impl Ending {
    fn of(answering: &Answering, status: StatusCode, body: &impl Body) -> Self {
        let is_bare = answering.method == Method::HEAD
            || status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        match body.size_hint().exact() {
            _ if is_bare => Self::Head,
            Some(length) => Self::Known(length),
            None if answering.version == Version::HTTP_11 => Self::Chunked,
            None => Self::Close,
        }
    }

    /// So much of the body is copied behind the head, if it comes in one piece.
    fn bytes_to_copy(self) -> usize {
        match self {
            Self::Known(length) => {
                usize::try_from(length).ok().filter(|length| *length <= LAST_COPY_BYTES_MAX).unwrap_or(0)
            }
            Self::Head | Self::Chunked | Self::Close => 0,
        }
    }
}

/// Sends an answer, in whose head `lines` stand beside its headers. Whether the connection can go on; if it cannot, it is left by [`Io::leave`].
///
/// # Errors
/// The client is gone, or the answer's body broke off: the connection is closed without further ado.
pub(crate) async fn send<B>(
    io: &Io,
    answering: &Answering,
    answer: Response<B>,
    lines: &Lines,
) -> io::Result<bool>
where
    B: Body<Data = Bytes>,
{
    let (head, body) = answer.into_parts();
    let names = Names::of(&head.headers);
    let ending = Ending::of(answering, head.status, &body);
    // A body that was not read is read and dropped if that is cheap; one that the client holds back may never come.
    let is_held_back = io.end_continue().await?;
    let can_skip = io.left().is_some_and(|left| left <= SKIP_BYTES_MAX) && !is_held_back;
    let closes = names.may_have(&header::CONNECTION) && has_option(&head.headers, "close");
    let keep_alive = answering.keep_alive && can_skip && ending != Ending::Close && !closes;
    let mut out = spare::take();
    out.reserve(HEAD_BYTES + lines.as_bytes().len() + ending.bytes_to_copy());
    write_head(&mut out, answering, (&head, names, lines), ending, keep_alive);
    let written = write_body(io, &mut out, body, ending).await;
    spare::give_back(out);
    if let Err(error) = written {
        io.abort();
        return Err(error);
    }
    io.part_with_body();
    if !keep_alive || !(io.is_read() || io.skip_body(answering.body_timeout).await) {
        return Ok(false);
    }
    io.answered();
    Ok(true)
}

/// Sends the head behind which a connection speaks HTTP no more.
///
/// # Errors
/// The client is gone.
pub(crate) async fn switch(io: &Io, unix_ms: i64, head: &Parts, lines: &Lines) -> io::Result<()> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in &head.headers {
        let is_ours =
            [header::CONNECTION, header::UPGRADE, header::CONTENT_LENGTH, header::DATE].contains(name);
        if !is_ours {
            line(&mut out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    out.extend_from_slice(lines.as_bytes());
    line(&mut out, b"date", &date::at(unix_ms));
    line(&mut out, b"upgrade", b"websocket");
    line(&mut out, b"connection", b"upgrade");
    out.extend_from_slice(b"\r\n");
    io.write(&out, &[]).await?;
    io.flush().await
}

fn write_head(
    out: &mut Vec<u8>,
    answering: &Answering,
    (head, names, lines): (&Parts, Names, &Lines),
    ending: Ending,
    keep_alive: bool,
) {
    let status = head.status;
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    // When a service made its answer it knows best, if it says it in a way that others understand.
    let in_table = names.may_have(&header::DATE) && date::is_said(&head.headers);
    let has_date = in_table || lines.get(&header::DATE).is_some();
    for (name, value) in &head.headers {
        let is_ours = *name == header::CONNECTION
            || *name == header::TRANSFER_ENCODING
            || (*name == header::DATE && !has_date);
        if is_ours || (*name == header::CONTENT_LENGTH && !keeps_length(&answering.method, status)) {
            continue;
        }
        line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(lines.as_bytes());
    if !has_date {
        line(out, b"date", &date::at(answering.unix_ms));
    }
    match ending {
        Ending::Known(length) => line(out, b"content-length", itoa::Buffer::new().format(length).as_bytes()),
        Ending::Chunked => line(out, b"transfer-encoding", b"chunked"),
        Ending::Head | Ending::Close => {}
    }
    if !keep_alive {
        line(out, b"connection", b"close");
    } else if answering.version == Version::HTTP_10 {
        line(out, b"connection", b"keep-alive");
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether the length that a service says stands for a body that is not sent: what a GET would have brought.
pub(crate) fn keeps_length(method: &Method, status: StatusCode) -> bool {
    status == StatusCode::NOT_MODIFIED
        || (*method == Method::HEAD && !status.is_informational() && status != StatusCode::NO_CONTENT)
}

/// What ends a body in chunks.
pub(super) fn last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

async fn write_body<B>(io: &Io, out: &mut Vec<u8>, body: B, ending: Ending) -> io::Result<()>
where
    B: Body<Data = Bytes>,
{
    let mut left = match ending {
        Ending::Head => {
            io.write(out, &[]).await?;
            return io.flush().await;
        }
        Ending::Known(length) => length,
        Ending::Chunked | Ending::Close => u64::MAX,
    };
    let mut body = pin!(body);
    let mut trailers = None;
    while left > 0 {
        let Some(frame) = next(io, out, body.as_mut()).await? else { break };
        let Ok(frame) = frame else {
            // What there is of it the client may have, and then sees that it is not all.
            io.write(out, &[]).await?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                trailers = frame.into_trailers().ok();
                break;
            }
        };
        if data.is_empty() {
            continue;
        }
        let length = data.len() as u64;
        if ending != Ending::Close && ending != Ending::Chunked {
            left = left.checked_sub(length).ok_or(io::ErrorKind::InvalidData)?;
        }
        let is_chunked = ending == Ending::Chunked;
        if is_chunked {
            drop(write!(out, "{length:x}\r\n"));
        }
        let copied_max = if left == 0 { LAST_COPY_BYTES_MAX } else { COPY_BYTES_MAX };
        if data.len() <= copied_max {
            out.extend_from_slice(&data);
        } else {
            io.write(out, &data).await?;
            out.clear();
        }
        if is_chunked {
            out.extend_from_slice(b"\r\n");
        }
        if out.len() > COPY_BYTES_MAX {
            io.write(out, &[]).await?;
            out.clear();
        }
        if body.is_end_stream() {
            break;
        }
    }
    match ending {
        Ending::Known(_) if left > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ending::Chunked => last_chunk(out, trailers.as_ref()),
        _ => {}
    }
    io.write(out, &[]).await?;
    io.flush().await
}

/// The next piece. While there is none, what is there goes out, and the client is watched. The body is asked on while the client
/// takes its time, so that it sees whose time that is.
async fn next<B>(
    io: &Io,
    out: &mut Vec<u8>,
    mut body: Pin<&mut B>,
) -> io::Result<Option<Result<Frame<Bytes>, B::Error>>>
where
    B: Body<Data = Bytes>,
{
    let mut frame = None;
    let mut written = 0;
    poll_fn(|cx| {
        if frame.is_none()
            && let Poll::Ready(next) = body.as_mut().poll_frame(cx)
        {
            frame = Some(next);
        }
        // A piece that is there at once goes out with what was there before.
        if written == 0
            && let Some(next) = frame.take()
        {
            return Poll::Ready(Ok(next));
        }
        while written < out.len() {
            match io.poll_write(cx, &out[written..]) {
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if let Some(next) = frame.take() {
            return Poll::Ready(Ok(next));
        }
        ready!(io.poll_flush(cx))?;
        io.poll_gone(cx).map(|()| Err(io::ErrorKind::ConnectionReset.into()))
    })
    .await
    .inspect(|_| drop(out.drain(..written)))
}
