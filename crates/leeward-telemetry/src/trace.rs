//! W3C trace context: the one header by which a request is followed through every service.
//!
//! Parsing is strict, as the recommendation (<https://www.w3.org/TR/trace-context/>, level 1) has it: a
//! header that is wrong in any way counts as none, and a new trace begins. `tracestate` is vendors' data,
//! which Leeward neither makes nor reads, and it is not carried.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use http::{HeaderName, HeaderValue};
use leeward_resilience::Rng;

/// The header that carries a [`TraceContext`].
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// `00-` 32 hex digits `-` 16 hex digits `-` 2 hex digits.
const LEN: usize = 55;
const SAMPLED: u8 = 0x01;

/// Where in which trace we are: the ids that the next span names as its parent.
///
/// Two are equal when their headers are.
#[derive(Clone, Copy, Debug)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
    /// Set when the trace begins here: no span has `span_id`, and the first span under it has no parent.
    begins_here: bool,
}

/// What is wrong with a `traceparent` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too short, or too long for its version.
    #[error("a traceparent has 55 characters")]
    Length,
    /// A field separator is not where it must be.
    #[error("a traceparent has its dashes at 2, 35 and 52")]
    Separator,
    /// A field has something else than lowercase hexadecimal digits.
    #[error("a traceparent has lowercase hexadecimal digits only")]
    Digit,
    /// Version ff is forbidden.
    #[error("version ff is not a traceparent version")]
    Version,
    /// A trace id or a parent id of all zeros.
    #[error("the trace id and the parent id are not zero")]
    Zero,
}

impl TraceContext {
    /// Begins a new, sampled trace.
    pub fn new_root(rng: &dyn Rng) -> Self {
        let trace_id = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        Self { trace_id: trace_id.max(1), span_id: rng.next_u64().max(1), sampled: true, begins_here: true }
    }

    /// The same trace one step deeper.
    #[must_use]
    pub fn child(&self, rng: &dyn Rng) -> Self {
        Self { span_id: rng.next_u64().max(1), begins_here: false, ..*self }
    }

    /// A context from ids that are already known.
    ///
    /// # Errors
    /// [`Error::Zero`] for an id of zero.
    pub const fn from_parts(trace_id: u128, span_id: u64, sampled: bool) -> Result<Self, Error> {
        if trace_id == 0 || span_id == 0 {
            return Err(Error::Zero);
        }
        Ok(Self { trace_id, span_id, sampled, begins_here: false })
    }

    /// Reads a `traceparent` header.
    ///
    /// # Errors
    /// What is wrong with it. A later version than 00 is read by the rules of 00, as the recommendation asks
    /// for.
    pub fn parse(header: &str) -> Result<Self, Error> {
        let text = header.as_bytes();
        if text.len() < LEN {
            return Err(Error::Length);
        }
        if [2, 35, 52].iter().any(|at| text[*at] != b'-') {
            return Err(Error::Separator);
        }
        match hex(&text[..2])? {
            0 if text.len() != LEN => return Err(Error::Length),
            0xff => return Err(Error::Version),
            _ if text.len() > LEN && text[LEN] != b'-' => return Err(Error::Length),
            _ => {}
        }
        let trace_id = u128::from(hex(&text[3..19])?) << 64 | u128::from(hex(&text[19..35])?);
        let flags = hex(&text[53..55])?;
        Self::from_parts(trace_id, hex(&text[36..52])?, flags & u64::from(SAMPLED) != 0)
    }

    /// The id of the whole trace.
    #[must_use]
    pub const fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The id of the span that is current here.
    #[must_use]
    pub const fn span_id(&self) -> u64 {
        self.span_id
    }

    /// The span that a span under this context has as its parent.
    pub(crate) fn parent_span_id(&self) -> Option<u64> {
        (!self.begins_here).then_some(self.span_id)
    }

    const fn identity(&self) -> (u128, u64, bool) {
        (self.trace_id, self.span_id, self.sampled)
    }

    /// Whether the trace is recorded.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The value of the `traceparent` header to send on.
    #[must_use]
    pub fn header_value(&self) -> String {
        self.to_string()
    }

    /// The same as a value ready for a header map.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.header_text()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// The same as the bytes that are written.
    #[must_use]
    pub fn header_text(&self) -> [u8; LEN] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], &self.trace_id.to_be_bytes());
        write_hex(&mut text[36..52], &self.span_id.to_be_bytes());
        text[54] += u8::from(self.sampled);
        text
    }
}

impl PartialEq for TraceContext {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for TraceContext {}

impl Hash for TraceContext {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

impl FromStr for TraceContext {
    type Err = Error;

    fn from_str(header: &str) -> Result<Self, Error> {
        Self::parse(header)
    }
}

/// At most 16 lowercase hexadecimal digits.
fn hex(digits: &[u8]) -> Result<u64, Error> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return Err(Error::Digit),
        };
        Ok(number << 4 | u64::from(digit))
    })
}

/// An id of 128 bits as it is written: 32 hexadecimal digits in lower case.
#[must_use]
pub fn hex_id(id: u128) -> [u8; 32] {
    let mut text = [b'0'; 32];
    write_hex(&mut text, &id.to_be_bytes());
    text
}

fn write_hex(into: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in into.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = PAIRS[usize::from(*byte)];
    }
}

/// The two digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;
    use leeward_resilience::FastRng;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn reads_what_it_writes() {
        let rng = FastRng::seeded(7);
        let root = TraceContext::new_root(&rng);
        let child = root.child(&rng);
        for context in [root, child] {
            assert_eq!(TraceContext::parse(&context.header_value()), Ok(context));
            assert_eq!(context.to_header().as_bytes(), context.header_value().as_bytes());
        }
        assert_eq!(root.trace_id(), child.trace_id());
        assert_ne!(root.span_id(), child.span_id());
        assert_eq!(TraceContext::parse(GOOD).map(|context| context.header_value()), Ok(GOOD.to_owned()));
    }

    #[test]
    fn every_defect_has_its_error() {
        let table = [
            ("", Error::Length),
            (&GOOD[..54], Error::Length),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x", Error::Length),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x", Error::Length),
            ("00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Error::Separator),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", Error::Digit),
            ("00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01", Error::Digit),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x", Error::Digit),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Error::Version),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", Error::Zero),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", Error::Zero),
        ];
        for (header, error) in table {
            assert_eq!(TraceContext::parse(header), Err(error), "{header}");
        }
    }

    #[test]
    fn a_later_version_may_be_longer_and_other_flags_are_not_ours() {
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-what-comes";
        let context = TraceContext::parse(later).unwrap();
        assert!(context.is_sampled());
        assert_eq!(context.header_value(), GOOD);
        let unsampled =
            TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02").unwrap();
        assert!(!unsampled.is_sampled());
    }
}
