//! Request smuggling: looks at raw lines before a parser sees them, for a `Content-Length` that hyper hides behind a
//! `Transfer-Encoding`.

use memchr::memchr;

/// Looks at the beginnings of lines for a `Content-Length` that comes after a `Transfer-Encoding` in one block.
///
/// It does not know where bodies are: lines in a body can only make it say yes too often, and all that follows
/// from a yes is that the connection ends after an answer.
#[derive(Debug, Default)]
pub struct FramingScanner {
    /// The beginning of the line under way, in lower case.
    start: [u8; LONGEST],
    length: usize,
    coding_seen: bool,
}

const LONGEST: usize = 18;
const CODING: &[u8] = b"transfer-encoding:";
const LENGTH: &[u8] = b"content-length:";

impl FramingScanner {
    /// Looks at what has come. Whether it ends such a block.
    pub fn scan(&mut self, mut bytes: &[u8]) -> bool {
        let mut found = false;
        while let Some(first) = bytes.first() {
            let end = memchr(b'\n', bytes);
            if self.length == 0
                && !matches!(first, b't' | b'T' | b'c' | b'C' | b'\r' | b'\n')
                && let Some(end) = end
            {
                // No line that matters begins like this.
                bytes = &bytes[end + 1..];
                continue;
            }
            let line = &bytes[..end.unwrap_or(bytes.len())];
            for byte in line.iter().take(LONGEST - self.length) {
                self.start[self.length] = byte.to_ascii_lowercase();
                self.length += 1;
                if self.length == 1 && !matches!(self.start[0], b't' | b'c' | b'\r') {
                    // No line that matters begins like this: do not look at the rest.
                    self.length = LONGEST;
                    self.start[0] = 0;
                    break;
                }
            }
            let Some(end) = end else { break };
            found |= self.end_line();
            bytes = &bytes[end + 1..];
        }
        found
    }

    fn end_line(&mut self) -> bool {
        let line = &self.start[..self.length];
        let mut found = false;
        if line.is_empty() || line == b"\r" {
            self.coding_seen = false;
        } else if line.starts_with(CODING) {
            self.coding_seen = true;
        } else if line.starts_with(LENGTH) {
            found = self.coding_seen;
        }
        self.length = 0;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(pieces: &[&[u8]]) -> bool {
        let mut scanner = FramingScanner::default();
        pieces.iter().fold(false, |found, piece| scanner.scan(piece) | found)
    }

    #[test]
    fn a_length_behind_a_coding_is_seen_however_it_is_cut() {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX: y\r\nCONTENT-Length: 3\r\n\r\n";
        assert!(scan(&[head]));
        for cut in 1..head.len() {
            assert!(scan(&[&head[..cut], &head[cut..]]), "{cut}");
        }
    }

    #[test]
    fn a_coding_and_a_length_in_two_heads_are_no_pair() {
        let heads = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
        assert!(!scan(&[heads]));
        assert!(!scan(&[b"POST / HTTP/1.1\nContent-Length: 0\nTransfer-Encoding: chunked\n\n"]));
        assert!(!scan(&[b"A: Transfer-Encoding:\nB: Content-Length:\n\n"]));
    }

    #[test]
    fn fuzz_lines() {
        let seeds = [
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            "transfer-encoding:x\n\ncontent-length:1\n",
            "Content-Length: 1\r\n\r\n",
            "T\nC\n\r",
        ];
        crate::fuzzing::run("lines", &seeds, |input| {
            let whole = scan(&[input]);
            for size in [1, 2, 7] {
                assert_eq!(scan(&input.chunks(size).collect::<Vec<_>>()), whole, "however it is cut");
            }
            // Another reader, line by line.
            let (mut coding, mut found) = (false, false);
            for line in input.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
                let line = line[..line.len() - 1].to_ascii_lowercase();
                match line.as_slice() {
                    b"" | b"\r" => coding = false,
                    line if line.starts_with(CODING) => coding = true,
                    line if line.starts_with(LENGTH) => found |= coding,
                    _ => {}
                }
            }
            assert_eq!(whole, found);
            (whole, coding)
        });
    }
}
