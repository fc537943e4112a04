//! Where the lines of a head end.

use memchr::memchr2;

use super::rule::Rule;

/// How far a head has been looked through.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Scan {
    /// Everything before it is looked through.
    at: usize,
    /// Where the present line begins.
    line: usize,
}

impl Scan {
    /// The length of the head at the beginning of `bytes`, with its empty line, once it is there. `bytes` is what there was the last time, and
    /// more.
    ///
    /// # Errors
    /// A line that does not end in CR LF, or a carriage return anywhere else.
    pub(super) fn end_of_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Rule> {
        while let Some(found) = memchr2(b'\r', b'\n', &bytes[self.at..]) {
            let at = self.at + found;
            if bytes[at] == b'\n' {
                return Err(Rule::BareLineFeed);
            }
            match bytes.get(at + 1) {
                Some(b'\n') => {}
                Some(_) => return Err(Rule::BareCarriageReturn),
                None => {
                    self.at = at;
                    return Ok(None);
                }
            }
            let is_empty = at == self.line;
            self.at = at + 2;
            self.line = self.at;
            if is_empty {
                return Ok(Some(self.at));
            }
        }
        self.at = bytes.len();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> Result<Option<usize>, Rule> {
        Scan::default().end_of_head(bytes)
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        assert_eq!(whole(b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest\n"), Ok(Some(24)));
        assert_eq!(whole(b"GET / HTTP/1.1\r\nA: b\r\n\r"), Ok(None));
        assert_eq!(whole(b"GET / HTTP/1.1\nA: b\n\n"), Err(Rule::BareLineFeed));
        assert_eq!(whole(b"GET / HTTP/1.1\r\nA: b\n\r\n"), Err(Rule::BareLineFeed));
        assert_eq!(whole(b"GET / HTTP/1.1\rA: b\r\n\r\n"), Err(Rule::BareCarriageReturn));
        assert_eq!(whole(b"GET / HTTP/1.1\r\n\r\r\n"), Err(Rule::BareCarriageReturn));
    }

    /// The naive model looks at every byte with its neighbours.
    fn naive(bytes: &[u8]) -> Result<Option<usize>, Rule> {
        let mut line = 0;
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if at == 0 || bytes[at - 1] != b'\r' => return Err(Rule::BareLineFeed),
                b'\r' if at + 1 < bytes.len() && bytes[at + 1] != b'\n' => {
                    return Err(Rule::BareCarriageReturn);
                }
                b'\n' if at - 1 == line => return Ok(Some(at + 1)),
                b'\n' => line = at + 1,
                _ => {}
            }
        }
        Ok(None)
    }

    proptest! {
        /// However the bytes come in, in one piece or in many.
        #[test]
        fn it_sees_what_a_naive_reader_sees(
            bytes in prop::collection::vec(prop::sample::select(b"\r\n\r\na".to_vec()), 0..40),
            cuts in prop::collection::vec(0_usize..40, 0..6),
        ) {
            let expected = naive(&bytes);
            prop_assert_eq!(whole(&bytes), expected);
            let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < bytes.len()).collect();
            cuts.sort_unstable();
            let mut scan = Scan::default();
            let mut seen = Ok(None);
            for cut in cuts.into_iter().chain([bytes.len()]) {
                seen = scan.end_of_head(&bytes[..cut]);
                if seen != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
