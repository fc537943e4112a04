//! Texts of bounded length that need no memory of their own.

use std::fmt;

/// The first `N` bytes of a text at most, cut between two characters.
#[derive(Clone, Copy)]
pub(crate) struct Text<const N: usize> {
    length: u16,
    bytes: [u8; N],
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self { length: 0, bytes: [0; N] }
    }
}

impl<const N: usize> From<&str> for Text<N> {
    fn from(text: &str) -> Self {
        let cut = &text[..text.floor_char_boundary(N)];
        let mut kept = Self { length: u16::try_from(cut.len()).unwrap_or_default(), bytes: [0; N] };
        kept.bytes[..cut.len()].copy_from_slice(cut.as_bytes());
        kept
    }
}

impl<const N: usize> Text<N> {
    /// The first `N` of these characters, each of which is a byte.
    pub(crate) fn from_ascii(text: &[u8]) -> Self {
        let cut = &text[..text.len().min(N)];
        let mut kept = Self { length: u16::try_from(cut.len()).unwrap_or_default(), bytes: [0; N] };
        kept.bytes[..cut.len()].copy_from_slice(cut);
        kept
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(Text::<4>::from("abcdef").as_str(), "abcd");
        assert_eq!(Text::<4>::from("abcé").as_str(), "abc");
        assert_eq!(Text::<5>::from("abcé").as_str(), "abcé");
        assert_eq!(Text::<4>::default().as_str(), "");
    }
}
