//! A connection of the load in either protocol.

use std::net::TcpStream;
use std::time::Instant;

use http::Request;

use super::client::{Client, Step};
use super::streams::Streams;

/// A request, made beforehand.
#[derive(Clone, Debug)]
pub(in crate::gateway) enum Ask {
    /// As it is sent over HTTP/1.1, head and body.
    Bytes(Vec<u8>),
    /// As crate `h2` takes it; without a body.
    Head(Box<Request<()>>),
}

impl Ask {
    /// The bytes over HTTP/1.1.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Head(_) => &[],
        }
    }
}

/// One connection.
pub(super) enum Pipe {
    Lines(Client),
    Streams(Box<Streams>),
}

impl Pipe {
    /// Over `stream`, which never waits, in the protocol of `like`.
    pub(super) fn new(stream: TcpStream, like: &Ask) -> Result<Self, String> {
        Ok(match like {
            Ask::Bytes(_) => Self::Lines(Client::new(stream)),
            Ask::Head(_) => Self::Streams(Box::new(Streams::new(stream)?)),
        })
    }

    pub(super) fn is_waiting(&self) -> bool {
        match self {
            Self::Lines(client) => client.is_waiting(),
            Self::Streams(streams) => streams.is_waiting(),
        }
    }

    /// Starts request `number` of `requests`, which is due at `due`.
    pub(super) fn begin(&mut self, number: usize, due: Instant, requests: &[Ask]) -> Step {
        match (self, &requests[number]) {
            (Self::Lines(client), _) => client.begin(number, due, requests),
            (Self::Streams(streams), Ask::Head(head)) => streams.begin(head, due),
            (Self::Streams(_), Ask::Bytes(_)) => Step::Failed("a request of the other protocol".to_owned()),
        }
    }

    /// Writes and reads until there is nothing more to do. `expected` is the answer's body.
    pub(super) fn go_on(&mut self, requests: &[Ask], expected: &[u8], buffer: &mut [u8]) -> Step {
        match self {
            Self::Lines(client) => client.go_on(requests, expected, buffer),
            Self::Streams(streams) => streams.go_on(expected),
        }
    }
}
