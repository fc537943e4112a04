//! The codec against hyper's, on the same bytes: what is accepted here means the same there. What is refused here may be accepted
//! there; the other way round would be a message that two servers read in two ways.
#![allow(clippy::unwrap_used, reason = "tests and fuzz targets")]

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::chunked::{Decoder, Step};
use super::head::{Bounds, Length, Reader};
use super::rule::Rule;

const BOUNDS: Bounds = Bounds { bytes: 8 * 1_024, headers: 64 };

/// A request as somebody read it.
#[derive(Debug, PartialEq)]
struct Read {
    method: String,
    target: String,
    version: Version,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    /// What stands behind it.
    rest: Vec<u8>,
}

/// In the order of names: neither side keeps the order of lines of different names.
fn listed(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut list: Vec<_> =
        headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    list.sort_by(|one, other| one.0.cmp(&other.0));
    list
}

/// Ours; `None` when the bytes end before the message does.
fn ours(bytes: &[u8]) -> Result<Option<Read>, Rule> {
    let mut buffer = BytesMut::from(bytes);
    let Some(head) = Reader::default().read(&mut buffer, BOUNDS)? else { return Ok(None) };
    let mut body = Vec::new();
    match head.length {
        Length::Known(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if buffer.len() < length {
                return Ok(None);
            }
            body.extend_from_slice(&buffer.split_to(length));
        }
        Length::Chunked => {
            let mut decoder = Decoder::new(BOUNDS);
            loop {
                match decoder.step(&mut buffer)? {
                    Step::Data(data) => body.extend_from_slice(&data),
                    Step::More => return Ok(None),
                    Step::Over | Step::Trailers(_) => break,
                }
            }
        }
    }
    let parts = head.parts;
    Ok(Some(Read {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        version: parts.version,
        headers: listed(&parts.headers),
        body,
        rest: buffer.to_vec(),
    }))
}

/// Hyper's; `None` when it refuses.
fn theirs(bytes: &[u8]) -> Option<Read> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let read: Rc<RefCell<Option<Read>>> = Rc::default();
    let service = service_fn(|request: Request<Incoming>| {
        let read = Rc::clone(&read);
        async move {
            let (parts, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                *read.borrow_mut() = Some(Read {
                    method: parts.method.to_string(),
                    target: parts.uri.to_string(),
                    version: parts.version,
                    headers: listed(&parts.headers),
                    body: body.to_bytes().to_vec(),
                    rest: Vec::new(),
                });
            }
            let last = Response::builder().header("connection", "close").body(Empty::<Bytes>::new());
            Ok::<_, Infallible>(last.unwrap())
        }
    });
    let io = TokioIo::new(tokio::io::join(bytes, tokio::io::sink()));
    let mut connection = http1::Builder::new();
    connection.half_close(true);
    let left = runtime.block_on(connection.serve_connection(io, service).without_shutdown());
    let mut read = read.take()?;
    let left = left.ok()?;
    let (unread, _sink) = left.io.into_inner().into_inner();
    read.rest = [&left.read_buf[..], unread].concat();
    Some(read)
}

/// The value that stands for a length is written anew here, as the number that it is.
fn with_plain_length(mut read: Read) -> Read {
    for (name, value) in &mut read.headers {
        if name == "content-length" {
            *value = read.body.len().to_string().into_bytes();
        }
    }
    read
}

/// Reads a request in both ways. Whether it was accepted here, and then there, with the same meaning.
///
/// # Errors
/// What was read here, and there, where the two are not the same.
pub(crate) fn compare(bytes: &[u8]) -> Result<bool, String> {
    let Ok(Some(read)) = ours(bytes) else { return Ok(false) };
    let there = theirs(bytes).map(with_plain_length);
    if there.as_ref() == Some(&read) {
        return Ok(true);
    }
    Err(format!("{:?}\n  here: {read:?}\n  there: {there:?}", String::from_utf8_lossy(bytes)))
}

#[cfg(test)]
mod tests;
