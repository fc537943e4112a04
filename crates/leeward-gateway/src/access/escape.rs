//! Texts that came from outside, so that none of them ends a line, a field, or looks like something else.

use std::io::Write;

/// How a text is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Escape {
    /// The inside of a JSON string. Bytes that are no UTF-8 become U+FFFD.
    Json,
    /// Between other texts: `\xNN` for what is not printable, for a quote and for a backslash. Bytes that are no UTF-8 stay
    /// recognisable.
    Text,
}

impl Escape {
    pub(super) fn write(self, out: &mut Vec<u8>, bytes: &[u8]) {
        // The usual text has nothing to escape.
        // All of it is looked at, since then several bytes are at a time.
        if bytes.iter().fold(true, |all, byte| all & is_plain(*byte)) {
            return out.extend_from_slice(bytes);
        }
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                self.character(out, character);
            }
            match self {
                Self::Json if !chunk.invalid().is_empty() => out.extend_from_slice("\u{fffd}".as_bytes()),
                Self::Json => {}
                Self::Text => chunk.invalid().iter().for_each(|byte| hex(out, *byte)),
            }
        }
    }

    fn character(self, out: &mut Vec<u8>, character: char) {
        let mut utf8 = [0; 4];
        let utf8 = character.encode_utf8(&mut utf8).as_bytes();
        match (self, character) {
            (Self::Json, '"' | '\\') => out.extend_from_slice(&[b'\\', utf8[0]]),
            // Writing into a vector does not fail.
            (Self::Json, _) if is_hidden(character) => drop(write!(out, "\\u{:04x}", u32::from(character))),
            (Self::Text, _) if is_hidden(character) || matches!(character, '"' | '\\') => {
                utf8.iter().for_each(|byte| hex(out, *byte));
            }
            _ => out.extend_from_slice(utf8),
        }
    }
}

fn hex(out: &mut Vec<u8>, byte: u8) {
    drop(write!(out, "\\x{byte:02X}"));
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
}

/// Control characters, what some readers take for the end of a line, and what turns the direction of a text. All of them are of the
/// basic plane, so that four digits name them.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn written(escape: Escape, bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape.write(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_could_end_a_line_or_a_field_is_escaped() {
        for (bytes, json, text) in [
            (&b"plain text"[..], "plain text", "plain text"),
            (b"a\"b\\c", "a\\\"b\\\\c", "a\\x22b\\x5Cc"),
            (
                b"a\r\nb\0\x1b[31m\x7f",
                "a\\u000d\\u000ab\\u0000\\u001b[31m\\u007f",
                "a\\x0D\\x0Ab\\x00\\x1B[31m\\x7F",
            ),
            (b"\xff\xfea", "\u{fffd}\u{fffd}a", "\\xFF\\xFEa"),
            (
                "é\u{2028}\u{202e}\u{85}".as_bytes(),
                "é\\u2028\\u202e\\u0085",
                "é\\xE2\\x80\\xA8\\xE2\\x80\\xAE\\xC2\\x85",
            ),
        ] {
            assert_eq!(written(Escape::Json, bytes), json);
            assert_eq!(written(Escape::Text, bytes), text);
        }
    }

    proptest! {
        /// A reader of JSON sees what was sent, and no byte of it ends a line of either form.
        #[test]
        fn any_bytes_are_one_string_on_one_line(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let json = written(Escape::Json, &bytes);
            let read: String = serde_json::from_str(&format!("\"{json}\"")).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
            for line in [json, written(Escape::Text, &bytes)] {
                prop_assert!(!line.chars().any(is_hidden), "{}", line);
            }
        }
    }
}
