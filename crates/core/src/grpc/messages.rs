//! Where one message of gRPC ends and the next begins: each stands behind a flag and its length in four bytes.

/// Bytes before a message.
pub const HEAD: usize = 5;

/// Follows the messages of a body, however it is cut into pieces.
#[derive(Debug, Default)]
pub struct Messages {
    head: [u8; HEAD],
    /// Bytes of the head that are there.
    have: usize,
    /// Bytes of the message that are still to come.
    left: u32,
}

impl Messages {
    /// Passes the next piece. `begins` is told the length of each message that begins in it; the first it does not take
    /// ends the look, and is returned.
    pub fn pass(&mut self, mut bytes: &[u8], mut begins: impl FnMut(u32) -> bool) -> Result<(), u32> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = bytes.len().min(self.left as usize);
                self.left -= taken as u32;
                bytes = &bytes[taken..];
                continue;
            }
            let taken = bytes.len().min(HEAD - self.have);
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD {
                let [_, length @ ..] = self.head;
                let length = u32::from_be_bytes(length);
                if !begins(length) {
                    return Err(length);
                }
                (self.have, self.left) = (0, length);
            }
        }
        Ok(())
    }

    /// Whether a message has begun that has not ended.
    pub fn is_within(&self) -> bool {
        self.have > 0 || self.left > 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_are_found_however_they_are_cut(
            lengths in vec(0_u32..300, 0..20),
            cuts in vec(1_usize..40, 1..40),
        ) {
            let mut wire = Vec::new();
            for length in &lengths {
                wire.push(0);
                wire.extend_from_slice(&length.to_be_bytes());
                wire.extend(std::iter::repeat_n(7, *length as usize));
            }
            let (mut messages, mut found, mut rest) = (Messages::default(), Vec::new(), &wire[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, behind) = rest.split_at(rest.len().min(*cut));
                let passed = messages.pass(piece, |length| { found.push(length); true });
                prop_assert_eq!(passed, Ok(()));
                rest = behind;
                prop_assert!(!rest.is_empty() || !messages.is_within());
            }
            prop_assert_eq!(found, lengths);
        }
    }

    #[test]
    fn the_first_that_is_not_taken_ends_the_look() {
        let mut messages = Messages::default();
        assert_eq!(messages.pass(b"\0\0\0\0\x02ab\0\0\0", |length| length < 3), Ok(()));
        assert!(messages.is_within());
        assert_eq!(messages.pass(b"\0\x03", |length| length < 3), Err(3));
    }

    #[test]
    fn fuzz_grpc_messages() {
        let seeds =
            ["\0\0\0\0\u{3}abc", "\0\0\0\0\0\0\0\0\0\u{1}a", "\u{1}\0\0\u{1}\0", "\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}"];
        crate::fuzzing::run("grpc_messages", &seeds, |input| {
            let look = |size: usize| {
                let (mut messages, mut found) = (Messages::default(), Vec::new());
                let passed = input.chunks(size).try_for_each(|piece| {
                    messages.pass(piece, |length| {
                        found.push(length);
                        length < 1 << 20
                    })
                });
                (passed, found, messages.is_within())
            };
            let whole = look(usize::MAX);
            assert_eq!(look(1), whole, "however it is cut");
            assert_eq!(look(3), whole, "however it is cut");
            // Another reader: lengths add up to what there is.
            let taken: usize = whole.1.iter().map(|length| HEAD + *length as usize).sum();
            assert!(whole.0.is_err() || whole.2 == (taken != input.len()), "{whole:?}");
            (whole.0.is_ok(), whole.1.len().min(5), whole.2)
        });
    }
}
