//! HTTP/1.1 towards clients and services: a strict codec of the gateway's own.
//!
//! **Why our own.** A gateway has to see what a message says about its length before anybody resolves it: a library may drop a
//! `Content-Length` that stands beside a `Transfer-Encoding`, and is right to as a server. In front of other servers such a
//! message must end here, for the next one may see its end elsewhere. The grammar of lines is `httparse`'s; what stands here is
//! where lines end, what a message may say, and where it ends. Everything that is refused has a [`Rule`].
//!
//! ```text
//! bytes > lines end in CRLF (scan) > grammar (httparse) > one target, one length (head) > body (length | chunks) > answer
//! ```
//!
//! A message is parsed to a model and written again from the model: no byte of a client's framing passes through. A connection
//! is one task on one core; the request's body reads from the same socket when somebody asks for it, so that nothing is
//! buffered that nobody reads.

mod asking;
mod body;
mod came;
mod chunked;
pub(crate) mod date;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod differential;
mod head;
mod io;
mod link;
mod reading;
mod reply;
mod rule;
mod scan;
mod wire;
mod writer;

pub(crate) use self::asking::{Asking, Saying};
pub(crate) use self::body::{BodyError, Incoming};
pub(crate) use self::came::{Came, Passes};
pub(crate) use self::date::at as date_at;
pub(crate) use self::head::{Bounds, Head, Length, Reader, said};
pub(crate) use self::io::{Ended, Io};
pub(crate) use self::link::{Answer, AnswerError, Failed, Failure, Link};
pub(crate) use self::reply::NoAnswer;
pub use self::rule::Rule;
pub(crate) use self::writer::{Answering, keeps_length, send, switch};
