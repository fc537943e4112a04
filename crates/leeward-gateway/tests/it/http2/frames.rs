//! Frames written by hand, and read as they come.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::{Rig, Upstream};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// The code of a reset, or of the end of the connection.
    pub(super) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Header lines without compression.
pub(super) fn block(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in lines {
        bytes.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// The head of a request.
pub(super) fn head(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut lines =
        vec![(":method", method), (":scheme", "http"), (":path", path), (":authority", "a.example")];
    lines.extend(more);
    block(&lines)
}

pub(super) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", path, &[]))
}

/// A connection that said hello.
pub(super) struct Raw {
    pub(super) stream: TcpStream,
}

impl Raw {
    pub(super) async fn connect(rig: &Rig) -> Self {
        Self::with(rig, &[]).await
    }

    /// Says hello with these settings.
    pub(super) async fn with(rig: &Rig, settings: &[(u16, u32)]) -> Self {
        let mut stream = TcpStream::connect(rig.gateway.addr()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut payload = Vec::new();
        // No table of headers that were seen: each block says all that is in it.
        for (id, value) in [(1, 0)].iter().chain(settings) {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &payload)).await.unwrap();
        stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await.unwrap();
        Self { stream }
    }

    /// Sends, however the gateway takes it.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The next frame; none when the connection ended.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
            Some(Frame { kind: head[3], flags: head[4], stream, payload })
        };
        tokio::time::timeout(Duration::from_secs(5), read).await.expect("a frame or an end within 5 s")
    }

    /// The next frame of this kind.
    pub(super) async fn wait_for(&mut self, kind: u8) -> Option<Frame> {
        while let Some(frame) = self.next().await {
            if frame.kind == kind {
                return Some(frame);
            }
        }
        None
    }

    /// What becomes of a stream: the status that its answer begins with (as the one byte or the text that stands in the block), or the
    /// code of its reset.
    pub(super) async fn outcome(&mut self, stream: u32) -> Outcome {
        while let Some(frame) = self.next().await {
            match frame.kind {
                HEADERS if frame.stream == stream => return Outcome::Status(status(&frame.payload)),
                RST_STREAM if frame.stream == stream => return Outcome::Reset(frame.code()),
                GOAWAY if frame.code() != 0 => return Outcome::Ended(frame.code()),
                _ => {}
            }
        }
        Outcome::Closed
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Status(u16),
    Reset(u32),
    Ended(u32),
    Closed,
}

/// The status stands first in a block: one of the static table, or its name there and a text.
fn status(block: &[u8]) -> u16 {
    let block = match block {
        // A change of the table's size may stand before it.
        [first, rest @ ..] if first >> 5 == 1 => rest,
        block => block,
    };
    match block[0] {
        0x88 => 200,
        0x89 => 204,
        0x8a => 206,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        _ => {
            let (length, text) = (usize::from(block[1] & 0x7f), &block[2..]);
            if block[1] & 0x80 == 0 {
                return std::str::from_utf8(&text[..length]).unwrap().parse().unwrap();
            }
            digits(&text[..length])
        }
    }
}

/// Three digits in the Huffman code: 0, 1 and 2 have five bits (0, 1, 2), 3 to 9 have six (25 to 31).
fn digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let take = |from: usize, count: usize| {
            bits[from..from + count].iter().fold(0, |sum, bit| sum * 2 + u16::from(*bit))
        };
        let five = take(at, 5);
        if five <= 2 {
            number = number * 10 + five;
            at += 5;
        } else {
            number = number * 10 + take(at, 6) - 25 + 3;
            at += 6;
        }
    }
    number
}

/// A gateway that speaks HTTP/2 alone, without encryption.
pub(super) async fn rig(more: &str) -> (Rig, Upstream) {
    let upstream = Upstream::start().await;
    let yaml = format!(
        "{more}\nrate_limits: {{address: \"off\"}}\nlisten: [{{address: \"127.0.0.1:0\", protocols: [http2]}}]\nroutes:\n  - {{path: /, service: \"{}\"}}\n",
        upstream.url()
    );
    (Rig::start(&yaml).await, upstream)
}
