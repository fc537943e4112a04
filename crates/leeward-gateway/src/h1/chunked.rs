//! The body in chunks (RFC 9112, 7.1), strictly: what two servers could cut in two ways is no chunk.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::head::{Bounds, fields};
use super::rule::Rule;
use super::scan::Scan;

/// The most digits of a size: 64 bits.
const DIGITS_MAX: usize = 16;
/// The longest extension of a chunk. Nobody sends any; long ones were used to make servers work.
const EXTENSION_BYTES_MAX: usize = 128;
/// The longest line with a size, without its end.
const LINE_BYTES_MAX: usize = DIGITS_MAX + 1 + EXTENSION_BYTES_MAX;

/// Where in the body the decoder stands.
#[derive(Debug, Clone, Copy)]
enum At {
    /// Before a size.
    Size,
    /// In a chunk with so many bytes to come.
    Data(u64),
    /// Behind a chunk's bytes.
    End,
    /// Behind the last chunk.
    Trailers(Scan),
}

/// Takes chunks off a buffer.
#[derive(Debug)]
pub(super) struct Decoder {
    at: At,
    /// All trailers together are no larger than a head.
    bounds: Bounds,
}

/// What came off.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Some bytes of the body.
    Data(Bytes),
    /// What stands behind the last chunk, if something does. The body is over.
    Trailers(Box<HeaderMap>),
    /// Nothing before more comes in.
    More,
    /// The body is over.
    Over,
}

impl Decoder {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self { at: At::Size, bounds }
    }

    /// The next bytes of the body.
    ///
    /// # Errors
    /// The rule that the body breaks.
    pub(super) fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, Rule> {
        loop {
            match &mut self.at {
                At::Size => {
                    let Some(line) = size_line(buffer)? else { return Ok(Step::More) };
                    let size = size(&buffer[..line])?;
                    buffer.advance(line + 2);
                    self.at = if size == 0 { At::Trailers(Scan::default()) } else { At::Data(size) };
                }
                At::Data(0) => self.at = At::End,
                At::Data(left) => {
                    if buffer.is_empty() {
                        return Ok(Step::More);
                    }
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    *left -= count as u64;
                    return Ok(Step::Data(buffer.split_to(count).freeze()));
                }
                At::End => {
                    if !b"\r\n".starts_with(&buffer[..buffer.len().min(2)]) {
                        return Err(Rule::ChunkEnd);
                    }
                    if buffer.len() < 2 {
                        return Ok(Step::More);
                    }
                    buffer.advance(2);
                    self.at = At::Size;
                }
                At::Trailers(scan) => {
                    let Bounds { bytes, headers } = self.bounds;
                    return match scan.end_of_head(buffer)? {
                        Some(2) => {
                            buffer.advance(2);
                            Ok(Step::Over)
                        }
                        Some(end) if end <= bytes => trailers(&buffer.split_to(end).freeze(), headers),
                        None if buffer.len() < bytes => Ok(Step::More),
                        _ => Err(Rule::Trailer),
                    };
                }
            }
        }
    }
}

fn trailers(section: &Bytes, count_max: usize) -> Result<Step, Rule> {
    // No line is shorter than `a:` and its end.
    let mut lines = vec![httparse::EMPTY_HEADER; count_max.min(section.len() / 4)];
    match httparse::parse_headers(section, &mut lines) {
        Ok(httparse::Status::Complete((_, lines))) => {
            let trailers = fields(section, lines).map_err(|_| Rule::Trailer)?;
            Ok(Step::Trailers(Box::new(trailers)))
        }
        _ => Err(Rule::Trailer),
    }
}

/// The length of the line with a size, once it is there, without its end.
fn size_line(buffer: &[u8]) -> Result<Option<usize>, Rule> {
    let seen = &buffer[..buffer.len().min(LINE_BYTES_MAX + 1)];
    let Some(end) = memchr::memchr2(b'\r', b'\n', seen) else {
        if seen.len() > LINE_BYTES_MAX {
            return Err(if seen.contains(&b';') { Rule::ChunkExtension } else { Rule::ChunkSize });
        }
        return Ok(None);
    };
    match (seen[end], buffer.get(end + 1)) {
        (b'\n', _) => Err(Rule::BareLineFeed),
        (_, Some(b'\n')) => Ok(Some(end)),
        (_, Some(_)) => Err(Rule::BareCarriageReturn),
        (_, None) => Ok(None),
    }
}

fn size(line: &[u8]) -> Result<u64, Rule> {
    let (digits, extension) = match line.iter().position(|byte| *byte == b';') {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &line[..0]),
    };
    let is_visible = |byte: &u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
    if extension.len() > EXTENSION_BYTES_MAX || !extension.iter().all(is_visible) {
        return Err(Rule::ChunkExtension);
    }
    if !(1..=DIGITS_MAX).contains(&digits.len()) {
        return Err(Rule::ChunkSize);
    }
    digits.iter().try_fold(0_u64, |size, digit| {
        let digit = char::from(*digit).to_digit(16).ok_or(Rule::ChunkSize)?;
        Ok(size << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 1_024, headers: 16 };

    /// The body, and what is left behind it; `None` when it is not over.
    fn whole(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Rule> {
        pieces(&[bytes])
    }

    fn pieces(pieces: &[&[u8]]) -> Result<Option<(Vec<u8>, usize)>, Rule> {
        let (mut decoder, mut buffer, mut body) = (Decoder::new(BOUNDS), BytesMut::new(), Vec::new());
        let mut is_over = false;
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while !is_over {
                match decoder.step(&mut buffer)? {
                    Step::Data(bytes) => body.extend_from_slice(&bytes),
                    Step::More => break,
                    Step::Over | Step::Trailers(_) => is_over = true,
                }
            }
        }
        Ok(is_over.then_some((body, buffer.len())))
    }

    #[test]
    fn chunks_make_a_body() {
        assert_eq!(whole(b"3\r\nabc\r\n0\r\n\r\n"), Ok(Some((b"abc".to_vec(), 0))));
        assert_eq!(
            whole(b"1\r\na\r\n00000000000000A\r\n0123456789\r\n0\r\n\r\nGET"),
            Ok(Some((b"a0123456789".to_vec(), 3)))
        );
        assert_eq!(whole(b"0\r\n\r\n"), Ok(Some((Vec::new(), 0))));
        assert_eq!(
            whole(b"3;a=\"b\" c\r\nabc\r\n0;d\r\nX: y\r\nZ: a\r\n\r\n"),
            Ok(Some((b"abc".to_vec(), 0)))
        );
        assert_eq!(whole(b"3\r\nabc\r\n0\r\n"), Ok(None));
    }

    #[test]
    fn what_can_be_cut_in_two_ways_is_no_chunk() {
        let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(EXTENSION_BYTES_MAX + 1));
        let trailers = format!("0\r\n{}\r\n", "X: y\r\n".repeat(BOUNDS.headers + 1));
        let trailer = format!("0\r\nX: {}\r\n\r\n", "y".repeat(BOUNDS.bytes));
        let endless = format!("0\r\nX: {}", "y".repeat(BOUNDS.bytes));
        let cases: &[(&str, Rule)] = &[
            ("\r\nabc", Rule::ChunkSize),
            (" 3\r\nabc", Rule::ChunkSize),
            ("3 \r\nabc", Rule::ChunkSize),
            ("+3\r\nabc", Rule::ChunkSize),
            ("-1\r\n", Rule::ChunkSize),
            ("0x3\r\nabc", Rule::ChunkSize),
            ("g\r\n", Rule::ChunkSize),
            ("3_0\r\n", Rule::ChunkSize),
            ("00000000000000003\r\nabc", Rule::ChunkSize),
            ("11111111111111111\r\n", Rule::ChunkSize),
            (";a\r\n", Rule::ChunkSize),
            ("3\nabc\n0\n\n", Rule::BareLineFeed),
            ("3\rabc", Rule::BareCarriageReturn),
            ("3;a\rb\r\nabc", Rule::BareCarriageReturn),
            ("3;a\nabc", Rule::BareLineFeed),
            ("3;\u{0}\r\nabc", Rule::ChunkExtension),
            (&long, Rule::ChunkExtension),
            ("3\r\nabcd\r\n0\r\n\r\n", Rule::ChunkEnd),
            ("3\r\nabc0\r\n\r\n", Rule::ChunkEnd),
            ("3\r\nabc\n0\r\n\r\n", Rule::ChunkEnd),
            ("3\r\nabc\r0\r\n\r\n", Rule::ChunkEnd),
            ("0\r\nX : y\r\n\r\n", Rule::Trailer),
            ("0\r\n X: y\r\n\r\n", Rule::Trailer),
            ("0\r\nX: y\n\r\n", Rule::BareLineFeed),
            ("0\r\nGET / HTTP/1.1\r\n\r\n", Rule::Trailer),
            (&trailers, Rule::Trailer),
            (&trailer, Rule::Trailer),
            (&endless, Rule::Trailer),
        ];
        for (text, rule) in cases {
            assert_eq!(whole(text.as_bytes()), Err(*rule), "{text:?}");
        }
    }

    #[test]
    fn what_stands_behind_the_last_chunk_is_said_once() {
        let mut decoder = Decoder::new(BOUNDS);
        let mut buffer = BytesMut::from(&b"0\r\nX-Sum: 7\r\nx-sum: 8\r\nY:\r\n\r\nGET"[..]);
        let Ok(Step::Trailers(trailers)) = decoder.step(&mut buffer) else { panic!("trailers") };
        let all: Vec<_> = trailers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(all, [("x-sum", &b"7"[..]), ("x-sum", b"8"), ("y", b"")]);
        assert_eq!(&buffer[..], b"GET");
        // As large as a head may be, and no larger.
        let line = |bytes: usize| format!("0\r\nX: {}\r\n\r\n", "y".repeat(bytes - "X: \r\n\r\n".len()));
        assert!(matches!(whole(line(BOUNDS.bytes).as_bytes()), Ok(Some(_))));
        assert_eq!(whole(line(BOUNDS.bytes + 1).as_bytes()), Err(Rule::Trailer));
        let lines = |count: usize| format!("0\r\n{}\r\n", "X: y\r\n".repeat(count));
        assert!(matches!(whole(lines(BOUNDS.headers).as_bytes()), Ok(Some(_))));
    }

    #[test]
    fn a_size_that_never_ends_is_refused_before_it_is_buffered() {
        let digits = "0".repeat(LINE_BYTES_MAX + 1);
        assert_eq!(whole(digits.as_bytes()), Err(Rule::ChunkSize));
        let extension = format!("0;{}", "a".repeat(LINE_BYTES_MAX));
        assert_eq!(whole(extension.as_bytes()), Err(Rule::ChunkExtension));
    }

    proptest! {
        /// However the body is cut into chunks, and the bytes into pieces.
        #[test]
        fn what_was_put_into_chunks_comes_out(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            extension in prop::option::of(prop_oneof![0_usize..4, EXTENSION_BYTES_MAX - 1..EXTENSION_BYTES_MAX + 1]),
            zeros in 0_usize..DIGITS_MAX - 1,
            cuts in prop::collection::vec(0_usize..1_000, 0..9),
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                let extension = extension.map(|length| format!(";{}", "e".repeat(length))).unwrap_or_default();
                bytes.extend_from_slice(format!("{}{:x}{extension}\r\n", "0".repeat(zeros - zeros.min(1)), chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let cut: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(pieces(&cut), Ok(Some((chunks.concat(), 0))));
        }
    }
}
