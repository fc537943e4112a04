//! How often a service may be asked whether it lives (`PING`).
//!
//! **Rule.** Twice, and then once in five minutes, until it says something of its own accord: a head or a piece of a body. Servers of gRPC count
//! the questions that come sooner since they last did, and end the connection with all its calls at the fourth (`too_many_pings`; "Server
//! enforcement" in gRPC's proposal A8). One may cross what the service says, so that it is counted there and not here; so two, not three.
//!
//! Trade-off: a service that hangs behind two good answers is found out by the times of its requests, and not by a third question. A machine
//! that is gone is found out by the system, which asks on its own (`SO_KEEPALIVE`).

use std::time::Duration;

use tokio::time::Instant;

/// Questions in a row.
const IN_A_ROW: u32 = 2;
/// And then: what servers of gRPC demand unless they are told otherwise, and some for clocks and the way.
const APART: Duration = Duration::from_secs(5 * 60 + 5);

/// What was asked on one connection.
#[derive(Default, Debug)]
pub(super) struct Questions {
    /// How many frames of answers had come when it was asked last.
    answers: u64,
    in_a_row: u32,
    last: Option<Instant>,
}

impl Questions {
    /// Whether it may be asked now that so many frames of answers have come.
    pub(super) fn are_welcome(&self, answers: u64, now: Instant) -> bool {
        answers != self.answers
            || self.in_a_row < IN_A_ROW
            || self.last.is_none_or(|last| now.saturating_duration_since(last) >= APART)
    }

    /// It was asked.
    pub(super) fn asked(&mut self, answers: u64, now: Instant) {
        let before = if answers == self.answers { self.in_a_row } else { 0 };
        *self = Self { answers, in_a_row: before.saturating_add(1), last: Some(now) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server of gRPC makes of questions: whether it ends the connection.
    #[derive(Default)]
    struct Server {
        strikes: u32,
        last: Option<Instant>,
    }

    impl Server {
        fn is_asked(&mut self, now: Instant) -> bool {
            let is_soon = self.last.is_some_and(|last| now < last + Duration::from_secs(300));
            self.last = Some(now);
            self.strikes += u32::from(is_soon);
            self.strikes > 2
        }
    }

    #[test]
    fn a_server_of_grpc_bears_them_for_ever() {
        let (mut server, mut questions, start) = (Server::default(), Questions::default(), Instant::now());
        let mut asked = Vec::new();
        for second in 0..7_200 {
            let now = start + Duration::from_secs(second);
            // Each ten seconds of silence.
            if second % 10 == 0 && questions.are_welcome(0, now) {
                questions.asked(0, now);
                asked.push(second);
                assert!(!server.is_asked(now), "it ends the connection after {asked:?}");
            }
        }
        assert_eq!(asked[..4], [0, 10, 320, 630], "soon, and then seldom");
    }

    #[test]
    fn what_the_service_says_makes_them_welcome_again() {
        let (mut questions, now) = (Questions::default(), Instant::now());
        for answers in 1..4 {
            for _ in 0..IN_A_ROW {
                assert!(questions.are_welcome(answers, now));
                questions.asked(answers, now);
            }
            assert!(!questions.are_welcome(answers, now + APART / 2), "{answers}");
        }
    }
}
