//! Where the frames of a WebSocket begin (RFC 6455, 5.2), and nothing else about them.

/// The longest head of a frame: two bytes, eight of a length, four of a mask.
const HEAD_BYTES_MAX: usize = 14;

/// Follows one direction.
#[derive(Default, Debug)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES_MAX],
    /// How much of the head is there.
    have: usize,
    /// What is still to come of the payload.
    left: u64,
}

impl Frames {
    /// These bytes pass.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let [first, rest @ ..] = bytes {
            if self.left > 0 {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= count as u64;
                bytes = &bytes[count..];
                continue;
            }
            self.head[self.have] = *first;
            self.have += 1;
            bytes = rest;
            if let Some(payload) = self.payload() {
                (self.have, self.left) = (0, payload);
            }
        }
    }

    /// Whether the next byte begins a frame.
    pub(super) fn are_whole(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// How long the payload is, once the head is there.
    fn payload(&self) -> Option<u64> {
        let [_, second, long @ ..] = &self.head;
        let length_bytes = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
        if self.have < 2 || self.have < 2 + length_bytes + mask_bytes {
            return None;
        }
        let long = long[..length_bytes].iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        Some(if length_bytes == 0 { u64::from(second & 0x7f) } else { long })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(payload: usize, is_masked: bool) -> Vec<u8> {
        let mask = if is_masked { 0x80 } else { 0 };
        let mut bytes = vec![0x82];
        match payload {
            0..=125 => bytes.push(mask | u8::try_from(payload).unwrap_or_default()),
            126..=65_535 => {
                bytes.push(mask | 126);
                bytes.extend(u16::try_from(payload).unwrap_or_default().to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((payload as u64).to_be_bytes());
            }
        }
        bytes.extend(if is_masked { &[0x88, 0x82, 0x7f, 0xff][..] } else { &[] });
        // What looks like heads in the payload is payload.
        bytes.extend(std::iter::repeat_n(0x82, payload));
        bytes
    }

    proptest! {
        #[test]
        fn frames_are_whole_between_two_and_nowhere_else(
            payloads in prop::collection::vec((prop_oneof![0..130_usize, Just(65_535), Just(65_536), 125..128_usize], any::<bool>()), 1..5),
            step in 1..9_000_usize,
        ) {
            let frames: Vec<Vec<u8>> = payloads.iter().map(|(payload, masked)| frame(*payload, *masked)).collect();
            let ends: Vec<usize> = frames.iter().scan(0, |at, frame| { *at += frame.len(); Some(*at) }).collect();
            let all = frames.concat();
            let (mut seen, mut at) = (Frames::default(), 0);
            prop_assert!(seen.are_whole());
            for piece in all.chunks(step) {
                seen.pass(piece);
                at += piece.len();
                prop_assert_eq!(seen.are_whole(), ends.contains(&at), "at {} of {:?}", at, ends);
            }
            prop_assert!(seen.are_whole());
        }
    }
}
