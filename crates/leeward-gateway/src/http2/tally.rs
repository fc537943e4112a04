//! What a connection's frames ask for, and what they only cost. Pure but for the bytes that pass.
//!
//! Answers to frames that ask for nothing (`PING`, `SETTINGS`), and requests that are taken back as soon as they are made, are
//! cheap for a client and not for the gateway. A request that is reset has done its work here, or behind here, all the same, so that
//! resets are counted over the whole life of a connection and in both directions: a client can also make the gateway reset streams
//! by breaking rules on them (CVE-2023-44487 and CVE-2025-8671).

use tokio::time::Instant;

/// Control frames at once, and how many a second come back. A client that pings before each answer is far below.
const CONTROL_BURST: f64 = 500.0;
const CONTROL_PER_S: f64 = 20.0;
/// Window updates for each piece of an answer, beyond a burst: a client sends one or two, for the stream and for the connection.
const WINDOWS_PER_DATA: f64 = 8.0;
const WINDOW_BURST: f64 = 2_000.0;
/// Resets that mean nothing yet. Beyond them, a client that takes back more than half of what it asks for means harm.
const RESETS_FREE: u64 = 100;

/// Why a connection is ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flood {
    /// `PING`, `SETTINGS`, `PRIORITY`, and frames of unknown kinds.
    Control,
    /// `WINDOW_UPDATE`.
    Windows,
    /// `RST_STREAM`, in either direction.
    Resets,
}

impl Flood {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Windows => "windows",
            Self::Resets => "resets",
        }
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// One frame's beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    /// Of a reset, its reason is `NO_ERROR`: what was answered early is not read to its end.
    is_in_order: bool,
}

/// What stands in front of a frame, and of a reset the reason behind it.
const HEAD_BYTES: usize = 9;
const RESET_BYTES: usize = 13;

/// Finds the frames in one direction's bytes.
#[derive(Debug)]
struct Frames {
    head: [u8; RESET_BYTES],
    have: usize,
    /// Bytes until the next frame begins.
    skip: usize,
}

impl Frames {
    /// Frames begin after so many bytes.
    const fn after(skip: usize) -> Self {
        Self { head: [0; RESET_BYTES], have: 0, skip }
    }

    /// Calls `each` for every frame that begins in these bytes.
    fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = if self.have < HEAD_BYTES { HEAD_BYTES } else { RESET_BYTES };
            let taken = (wanted - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < wanted {
                continue;
            }
            let [a, b, c, kind, flags, _, _, _, _, reason @ ..] = self.head;
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            let has_reason = kind == RST_STREAM && length == reason.len();
            if has_reason && self.have == HEAD_BYTES {
                continue;
            }
            self.skip = if has_reason { 0 } else { length };
            self.have = 0;
            each(Frame { kind, flags, is_in_order: has_reason && reason == [0; 4] });
        }
    }
}

/// The account of one connection.
#[derive(Debug)]
pub(crate) struct Tally {
    inbound: Frames,
    outbound: Frames,
    requests: u64,
    /// Frames of heads and bodies that came in.
    content: u64,
    /// Whether the other side takes no further requests.
    is_leaving: bool,
    resets: u64,
    control: f64,
    control_at: Instant,
    windows: f64,
    /// Since when a head is coming in.
    head_since: Option<Instant>,
    /// Whether that head ends with the frame that came last.
    ends_block: bool,
    flood: Option<Flood>,
    /// Whether requests go out on it. What the gateway takes back then is no fault of the other side.
    is_asking: bool,
}

/// What a client says before its first frame.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Tally {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            inbound: Frames::after(PREFACE.len()),
            outbound: Frames::after(0),
            requests: 0,
            content: 0,
            is_leaving: false,
            resets: 0,
            control: CONTROL_BURST,
            control_at: now,
            windows: WINDOW_BURST,
            head_since: None,
            ends_block: false,
            flood: None,
            is_asking: false,
        }
    }

    /// The account of a connection to a service.
    pub(crate) fn of_service(now: Instant) -> Self {
        Self {
            inbound: Frames::after(0),
            outbound: Frames::after(PREFACE.len()),
            is_asking: true,
            ..Self::new(now)
        }
    }

    /// The first bound that was passed.
    pub(crate) fn flood(&self) -> Option<Flood> {
        self.flood
    }

    /// How many frames of heads and bodies came in.
    pub(crate) fn content(&self) -> u64 {
        self.content
    }

    /// Whether the other side said that it takes no further requests.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Since when a head is coming in, if one is.
    pub(crate) fn head_since(&self) -> Option<Instant> {
        self.head_since
    }

    /// These bytes came in.
    pub(crate) fn came(&mut self, bytes: &[u8], now: Instant) {
        let mut inbound = std::mem::replace(&mut self.inbound, Frames::after(0));
        inbound.feed(bytes, |frame| self.count(frame, now));
        // A head that ends with its frame ends when that is whole.
        if self.head_since.is_some() && inbound.skip == 0 && inbound.have == 0 && self.ends_block {
            self.head_since = None;
        }
        self.inbound = inbound;
    }

    fn count(&mut self, frame: Frame, now: Instant) {
        // Another frame begins: what was before it is whole.
        if self.ends_block {
            self.head_since = None;
        }
        self.content += u64::from(matches!(frame.kind, DATA | HEADERS | CONTINUATION));
        self.is_leaving |= frame.kind == GOAWAY;
        match frame.kind {
            DATA => {}
            HEADERS | CONTINUATION => {
                self.requests += u64::from(frame.kind == HEADERS && !self.is_asking);
                self.head_since.get_or_insert(now);
                self.ends_block = frame.flags & END_HEADERS != 0;
            }
            RST_STREAM => self.reset(),
            WINDOW_UPDATE => {
                self.windows -= 1.0;
                self.judge(self.windows < 0.0, Flood::Windows);
            }
            _ => {
                let passed = now.saturating_duration_since(self.control_at).as_secs_f64();
                self.control_at = now;
                self.control = (self.control + passed * CONTROL_PER_S).min(CONTROL_BURST) - 1.0;
                self.judge(self.control < 0.0, Flood::Control);
            }
        }
    }

    /// These bytes went out.
    pub(crate) fn went(&mut self, bytes: &[u8]) {
        let mut outbound = std::mem::replace(&mut self.outbound, Frames::after(0));
        outbound.feed(bytes, |frame| match frame.kind {
            DATA => self.windows = (self.windows + WINDOWS_PER_DATA).min(WINDOW_BURST),
            HEADERS if self.is_asking => self.requests += 1,
            RST_STREAM if !self.is_asking && !frame.is_in_order => self.reset(),
            _ => {}
        });
        self.outbound = outbound;
    }

    fn reset(&mut self) {
        self.resets += 1;
        self.judge(self.resets > RESETS_FREE && self.resets * 2 > self.requests, Flood::Resets);
    }

    fn judge(&mut self, is_flood: bool, flood: Flood) {
        if is_flood && self.flood.is_none() {
            self.flood = Some(flood);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        bytes.resize(9 + usize::from(length), 0xff);
        bytes
    }

    fn connection() -> (Tally, Instant) {
        let now = Instant::now();
        let mut tally = Tally::new(now);
        tally.came(PREFACE, now);
        (tally, now)
    }

    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut() {
        let all =
            [PREFACE.to_vec(), frame(HEADERS, 4, 200), frame(DATA, 1, 0), frame(HEADERS, 4, 3)].concat();
        for cut in 1..all.len() {
            let now = Instant::now();
            let mut tally = Tally::new(now);
            tally.came(&all[..cut], now);
            tally.came(&all[cut..], now);
            assert_eq!((tally.requests, tally.content, tally.head_since), (2, 3, None), "{cut}");
        }
    }

    #[test]
    fn a_request_that_is_answered_before_its_end_is_no_reset() {
        let (mut tally, now) = connection();
        let reset = |reason: u8| [0, 0, 4, RST_STREAM, 0, 0, 0, 0, 1, 0, 0, 0, reason];
        for at in 0..1_000 {
            tally.came(&frame(HEADERS, END_HEADERS, 1), now);
            // The next frame begins where it should, wherever the bytes are cut.
            let (begin, end) = (reset(0), reset(0));
            tally.went(&begin[..at % 13]);
            tally.went(&begin[at % 13..]);
            tally.went(&end);
        }
        assert_eq!((tally.flood(), tally.resets), (None, 0));
        for _ in 0..600 {
            tally.went(&reset(1));
        }
        assert_eq!((tally.flood(), tally.resets), (Some(Flood::Resets), 600));
    }

    #[test]
    fn a_client_says_no_error_with_a_reset_in_vain() {
        let (mut tally, now) = connection();
        for _ in 0..101 {
            tally.came(&frame(HEADERS, END_HEADERS, 1), now);
            tally.came(&[0, 0, 4, RST_STREAM, 0, 0, 0, 0, 1, 0, 0, 0, 0], now);
        }
        assert_eq!(tally.flood(), Some(Flood::Resets));
    }

    #[test]
    fn a_side_that_leaves_is_heard() {
        let (mut tally, now) = connection();
        tally.came(&frame(DATA, 0, 8), now);
        assert!(!tally.is_leaving());
        tally.came(&frame(GOAWAY, 0, 8), now);
        assert!(tally.is_leaving());
    }

    #[test]
    fn a_head_is_open_until_its_last_byte() {
        let (mut tally, now) = connection();
        let later = now + Duration::from_secs(1);
        tally.came(&frame(HEADERS, 0, 5), now);
        tally.came(&frame(CONTINUATION, 0, 5), later);
        assert_eq!(tally.head_since(), Some(now), "the time of all its frames is one");
        let last = frame(CONTINUATION, END_HEADERS, 5);
        tally.came(&last[..last.len() - 1], later);
        assert_eq!(tally.head_since(), Some(now));
        tally.came(&last[last.len() - 1..], later);
        assert_eq!(tally.head_since(), None);
    }

    #[test]
    fn resets_count_in_both_directions_and_however_slowly_they_come() {
        for outbound in [false, true] {
            let (mut tally, mut now) = connection();
            for round in 1..=101 {
                assert_eq!(tally.flood(), None, "{round}");
                now += Duration::from_secs(60);
                tally.came(&frame(HEADERS, 5, 1), now);
                let reset = frame(RST_STREAM, 0, 4);
                if outbound { tally.went(&reset) } else { tally.came(&reset, now) }
            }
            assert_eq!(tally.flood(), Some(Flood::Resets));
        }
    }

    #[test]
    fn who_takes_back_less_than_half_is_left_alone() {
        let (mut tally, now) = connection();
        for _ in 0..5_000 {
            tally.came(&frame(HEADERS, 5, 1), now);
            tally.came(&frame(HEADERS, 5, 1), now);
            tally.came(&frame(RST_STREAM, 0, 4), now);
        }
        assert_eq!(tally.flood(), None);
    }

    #[test]
    fn control_frames_have_a_rate_and_a_burst() {
        const PING: u8 = 6;
        let (mut tally, mut now) = connection();
        for _ in 0..10_000 {
            now += Duration::from_millis(100);
            tally.came(&frame(PING, 0, 8), now);
        }
        assert_eq!(tally.flood(), None, "ten a second, for ever");
        for _ in 0..501 {
            tally.came(&frame(PING, 0, 8), now);
        }
        assert_eq!(tally.flood(), Some(Flood::Control));
    }

    #[test]
    fn window_updates_go_with_what_is_sent() {
        let (mut tally, now) = connection();
        for _ in 0..10_000 {
            tally.went(&frame(DATA, 0, 100));
            tally.came(&frame(WINDOW_UPDATE, 0, 4), now);
            tally.came(&frame(WINDOW_UPDATE, 0, 4), now);
        }
        assert_eq!(tally.flood(), None);
        for _ in 0..2_001 {
            tally.came(&frame(WINDOW_UPDATE, 0, 4), now);
        }
        assert_eq!(tally.flood(), Some(Flood::Windows));
    }
}
