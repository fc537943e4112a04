//! HTTP/2 towards clients, over the `h2` crate: hyper's own.
//!
//! A connection is one task, each of its streams another, all on one core. A stream becomes the same request as one over HTTP/1.1
//! and lives the same life. A message that is malformed ends its stream and nothing else, unless the library cannot read it at all: a
//! name or a value that is none ends the connection, which the protocol allows (RFC 9113, 5.4.1).
//!
//! What a client can make the gateway do is bounded: streams at a time, the size of heads, bytes on their way in, the time in which
//! a head must come in and an answer must be taken, and frames that cost work without asking for anything ([`tally`]). A client
//! that goes beyond is told so (`ENHANCE_YOUR_CALM`), and its connection ends.

mod answer;
mod body;
mod connection;
mod request;
mod tally;
mod wire;

pub(crate) use self::body::Incoming;
pub(crate) use self::connection::serve;
pub(crate) use self::tally::{PREFACE, Tally};
