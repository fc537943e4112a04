//! An answer on its way to a client, as far as the client takes it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame};

use crate::access::Delivery;
use crate::grpc::{self, Messages};
use crate::h1::date;
use crate::socket::Pace;

/// Headers about a connection, which HTTP/2 has no place for (RFC 9113, 8.2.2).
const OF_THE_CONNECTION: [HeaderName; 4] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, HeaderName::from_static("keep-alive")];

/// How an answer ends that does not come to its end.
#[derive(Debug)]
pub(super) enum Ended {
    /// The client took it back, or is gone.
    ByClient,
    /// The service broke it off: the client must not take it for whole.
    Broken,
    /// The client took too little for too long.
    Stalled,
    /// It is a call of gRPC, whose own time was over before.
    Late,
}

/// Sends an answer.
///
/// # Errors
/// What kept it from its end; the stream is reset.
pub(super) async fn send(
    mut respond: SendResponse<Bytes>,
    method: &Method,
    answer: Response<Delivery>,
    unix_ms: i64,
    write_timeout: Duration,
) -> Result<(), Ended> {
    let (mut head, body) = answer.into_parts();
    let mut body = pin!(body);
    body.take_lines().put_into(&mut head.headers);
    for name in &OF_THE_CONNECTION {
        head.headers.remove(name);
    }
    if !date::is_said(&head.headers)
        && let Ok(date) = HeaderValue::from_bytes(&date::at(unix_ms))
    {
        head.headers.insert(header::DATE, date);
    }
    let has_none = head.status == StatusCode::NO_CONTENT || head.status == StatusCode::NOT_MODIFIED;
    let is_bare = has_none || *method == Method::HEAD;
    if !is_bare {
        // The length that is known, not the one that is said.
        head.headers.remove(header::CONTENT_LENGTH);
        if let Some(length) = body.size_hint().exact() {
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    } else if head.status == StatusCode::NO_CONTENT {
        head.headers.remove(header::CONTENT_LENGTH);
    }
    let is_whole = is_bare || body.is_end_stream();
    let own_time = body.own_time();
    // Behind a length that is said no end can stand but its own.
    let is_framed =
        own_time.is_some() && grpc::says_grpc(&head.headers) && body.size_hint().exact().is_none();
    let mut messages = is_framed.then(Messages::default);
    let response = Response::from_parts(head, ());
    let mut stream = respond.send_response(response, is_whole).map_err(|_| Ended::ByClient)?;
    if is_whole {
        return Ok(());
    }
    let pumping = pump(&mut stream, body.as_mut(), write_timeout, &mut messages);
    let sent = match own_time {
        Some(time) => tokio::time::timeout(time.left, pumping).await.unwrap_or(Err(Ended::Late)),
        None => pumping.await,
    };
    match &sent {
        Err(Ended::Late) => {
            body.is_late();
            match own_time.filter(|_| messages.is_some_and(|messages| messages.are_whole())) {
                Some(time) => stream.send_trailers(time.trailers()).map_err(|_| Ended::ByClient)?,
                None => stream.send_reset(Reason::CANCEL),
            }
        }
        Err(Ended::Broken) => stream.send_reset(Reason::INTERNAL_ERROR),
        Err(Ended::Stalled) => stream.send_reset(Reason::CANCEL),
        Ok(()) | Err(Ended::ByClient) => {}
    }
    sent
}

/// Passes the body on. More of it is asked for only when the client takes some, so that one who takes nothing holds no memory.
async fn pump(
    stream: &mut SendStream<Bytes>,
    mut body: Pin<&mut Delivery>,
    write_timeout: Duration,
    messages: &mut Option<Messages>,
) -> Result<(), Ended> {
    let mut pace = Pace::new(write_timeout);
    let mut taken = 0;
    loop {
        if body.is_end_stream() {
            return stream.send_data(Bytes::new(), true).map_err(|_| Ended::ByClient);
        }
        room(stream, 1, &mut pace, taken).await?;
        let frame = poll_fn(|cx| poll_next(stream, body.as_mut(), cx)).await?;
        let Some(frame) = frame else {
            return stream.send_data(Bytes::new(), true).map_err(|_| Ended::ByClient);
        };
        match frame.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    let count = room(stream, data.len(), &mut pace, taken).await?.min(data.len());
                    let piece = data.split_to(count);
                    let is_last = data.is_empty() && body.is_end_stream();
                    taken = taken.wrapping_add(count);
                    if let Some(messages) = messages {
                        messages.pass(&piece);
                    }
                    stream.send_data(piece, is_last).map_err(|_| Ended::ByClient)?;
                    if is_last {
                        return Ok(());
                    }
                }
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return stream.send_trailers(trailers).map_err(|_| Ended::ByClient);
            }
        }
    }
}

/// Waits until the client takes some of so many bytes. How many.
async fn room(
    stream: &mut SendStream<Bytes>,
    bytes: usize,
    pace: &mut Pace,
    taken: usize,
) -> Result<usize, Ended> {
    stream.reserve_capacity(bytes);
    poll_fn(|cx| {
        loop {
            if stream.capacity() > 0 {
                pace.rest_after(taken);
                return Poll::Ready(Ok(stream.capacity()));
            }
            match stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return Poll::Ready(Err(Ended::ByClient)),
                Poll::Pending => {
                    ready!(pace.poll_stalled(cx, taken));
                    return Poll::Ready(Err(Ended::Stalled));
                }
            }
        }
    })
    .await
}

/// The next piece, unless the client takes the request back first.
fn poll_next(
    stream: &mut SendStream<Bytes>,
    body: Pin<&mut Delivery>,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Frame<Bytes>>, Ended>> {
    if stream.poll_reset(cx).is_ready() {
        return Poll::Ready(Err(Ended::ByClient));
    }
    match ready!(body.poll_frame(cx)) {
        None => Poll::Ready(Ok(None)),
        Some(Ok(frame)) => Poll::Ready(Ok(Some(frame))),
        Some(Err(_)) => Poll::Ready(Err(Ended::Broken)),
    }
}
