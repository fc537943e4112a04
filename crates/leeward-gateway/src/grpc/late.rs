//! A call whose own time is over behind the head of its answer.
//!
//! The client is told in trailers where it can read them: between two messages. Inside one there is no place for them, and the call is reset
//! with `CANCEL`, which clients whose time is over read as the same.

use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};

use super::{MESSAGE, STATUS, code_of, encoded};
use crate::headers::Id;
use crate::refusal::code;

/// How much of a call's own time is left for its answer, and what is said when none is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnTime {
    pub(crate) left: Duration,
    pub(crate) request_id: Id,
}

impl OwnTime {
    /// What stands behind an answer that did not come to its end.
    pub(crate) fn trailers(&self) -> HeaderMap {
        let code = code::DEADLINE_EXCEEDED;
        let mut said = HeaderMap::with_capacity(2);
        said.insert(STATUS, HeaderValue::from(u16::from(code_of(code))));
        let id = self.request_id.as_str();
        let message = format!("{code}: the time that the call was given is over ({id})");
        if let Ok(message) = HeaderValue::try_from(encoded(&message)) {
            said.insert(MESSAGE, message);
        }
        said
    }
}

/// What stands in front of a message: whether it is compressed, and its length in four bytes.
const PREFIX_BYTES: usize = 5;

/// Where a stream of messages stands.
#[derive(Default, Debug)]
pub(crate) struct Messages {
    prefix: [u8; PREFIX_BYTES],
    /// How much of the prefix is known.
    known: usize,
    /// How much of the message is still to come.
    left: usize,
}

impl Messages {
    /// The next piece went out.
    pub(crate) fn pass(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            if self.left > 0 {
                let here = self.left.min(piece.len());
                self.left -= here;
                piece = &piece[here..];
                continue;
            }
            let here = (PREFIX_BYTES - self.known).min(piece.len());
            let (begin, rest) = piece.split_at(here);
            self.prefix[self.known..self.known + here].copy_from_slice(begin);
            (self.known, piece) = (self.known + here, rest);
            if self.known == PREFIX_BYTES {
                let [_, length @ ..] = self.prefix;
                (self.known, self.left) = (0, u32::from_be_bytes(length) as usize);
            }
        }
    }

    /// Whether every message that was begun is whole.
    pub(crate) fn are_whole(&self) -> bool {
        self.known == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;
    use crate::decisions::Text;

    #[test]
    fn a_client_is_told_what_a_refusal_would_tell() {
        let time = OwnTime { left: Duration::ZERO, request_id: Text::from_ascii(b"r1") };
        let said = time.trailers();
        assert_eq!(said["grpc-status"], "4");
        assert_eq!(said["grpc-message"], "deadline_exceeded: the time that the call was given is over (r1)");
    }

    proptest! {
        #[test]
        fn messages_are_whole_at_their_ends_and_nowhere_else(
            lengths in prop::collection::vec(0_usize..300, 0..12),
            cuts in prop::collection::vec(1_usize..40, 1..20),
        ) {
            let (mut bytes, mut ends) = (Vec::new(), vec![0]);
            for length in lengths {
                bytes.push(u8::from(length % 2 == 1));
                bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
                bytes.extend(std::iter::repeat_n(0xff, length));
                ends.push(bytes.len());
            }
            let (mut messages, mut at) = (Messages::default(), 0);
            let mut cuts = cuts.into_iter().cycle();
            while at < bytes.len() {
                let next = (at + cuts.next().unwrap()).min(bytes.len());
                messages.pass(&bytes[at..next]);
                at = next;
                prop_assert_eq!(messages.are_whole(), ends.contains(&at), "at {}", at);
            }
            prop_assert!(messages.are_whole());
        }
    }
}
