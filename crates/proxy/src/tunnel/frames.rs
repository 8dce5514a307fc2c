//! Where the frames of a WebSocket end (RFC 6455 section 5.2): a frame of one's own may stand only between two others.
//! Nothing else of the protocol is looked at.

/// The longest header of a frame: two bytes, eight of length, four of mask.
const LONGEST: usize = 14;

/// How far a stream of frames has come.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Boundaries {
    /// The header under way.
    header: [u8; LONGEST],
    held: usize,
    /// Bytes of the payload that are still to come.
    left: u64,
}

impl Boundaries {
    /// Whether the last byte that passed has ended a frame.
    pub(super) fn is_between_frames(&self) -> bool {
        self.held == 0 && self.left == 0
    }

    /// Lets bytes pass.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.advance(bytes, false);
    }

    /// How many of these bytes belong to the frame under way. None of them is counted as having passed.
    pub(super) fn up_to_boundary(&self, bytes: &[u8]) -> usize {
        let mut probe = *self;
        if probe.is_between_frames() { 0 } else { probe.advance(bytes, true) }
    }

    /// Goes through the bytes, or through those up to the end of a frame. Returns how many that were.
    fn advance(&mut self, bytes: &[u8], stops: bool) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let step = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += step;
                self.left -= step as u64;
            } else {
                self.header[self.held] = bytes[at];
                self.held += 1;
                at += 1;
                let Some(length) = length(&self.header[..self.held]) else { continue };
                (self.held, self.left) = (0, length);
            }
            if stops && self.is_between_frames() {
                break;
            }
        }
        at
    }
}

/// The length of the payload behind a header, if the header is whole.
fn length(header: &[u8]) -> Option<u64> {
    let [_, second, rest @ ..] = header else { return None };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (extended, short) = match second & 0x7F {
        126 => (2, None),
        127 => (8, None),
        length => (0, Some(u64::from(length))),
    };
    if rest.len() < extended + mask {
        return None;
    }
    let long = || rest[..extended].iter().fold(0, |length: u64, byte| length << 8 | u64::from(*byte));
    Some(short.unwrap_or_else(long))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(length: usize, mask: bool) -> Vec<u8> {
        let marked = |length: u8| if mask { length | 0x80 } else { length };
        let mut frame = vec![0x82];
        match length {
            0..126 => frame.push(marked(length as u8)),
            126..65_536 => {
                frame.push(marked(126));
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                frame.push(marked(127));
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend(vec![7; length + if mask { 4 } else { 0 }]);
        frame
    }

    proptest! {
        #[test]
        fn the_ends_of_frames_are_found_however_they_come(
            lengths in proptest::collection::vec((prop_oneof![0_usize..200, 65_530_usize..65_540], any::<bool>()), 1..6),
            piece in 1_usize..400,
        ) {
            let frames: Vec<_> = lengths.iter().map(|(length, mask)| frame(*length, *mask)).collect();
            let ends: Vec<usize> = frames.iter().scan(0, |end, frame| { *end += frame.len(); Some(*end) }).collect();
            let bytes = frames.concat();
            let mut boundaries = Boundaries::default();
            let mut passed = 0;
            for piece in bytes.chunks(piece) {
                let wanted = if ends.contains(&passed) || passed == 0 { 0 } else {
                    ends.iter().find(|end| **end >= passed).map_or(0, |end| end - passed).min(piece.len())
                };
                prop_assert_eq!(boundaries.up_to_boundary(piece), wanted);
                boundaries.pass(piece);
                passed += piece.len();
                prop_assert_eq!(boundaries.is_between_frames(), ends.contains(&passed), "at {}", passed);
            }
        }
    }
}
