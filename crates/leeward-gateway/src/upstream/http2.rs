//! HTTP/2 towards services, over the `h2` crate.
//!
//! A connection is one task, and each request a stream of it that whoever asks carries, all on one core. What a service can make the
//! gateway do is bounded: streams at a time, bytes that wait for a client, the size of a head, interim answers, and frames that cost
//! work and answer nothing. A connection that goes beyond, or that says nothing when it is asked whether it lives, ends.
//!
//! A request that a service says it has not looked at, since the connection ends (above the last stream of a `GOAWAY`), is sent again on
//! another connection, whatever its method. One that it refuses alone (`REFUSED_STREAM`) is the retry policy's to send again, within
//! its budget: a service that refuses may have enough to do.

mod answer;
mod connection;
mod pump;
mod questions;
mod table;
mod wire;

pub(crate) use self::answer::Answer;
pub(crate) use self::connection::Connection;
pub(crate) use self::table::{Next, Table};
