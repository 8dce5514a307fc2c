//! The lines of what a caller says, looked at before a parser sees them: for a length that hyper hides behind a coding, and
//! for how many there are, because room for more fields than most heads have is dear.

use memchr::memchr;

/// Looks at the beginnings of lines for a `Content-Length` that comes after a `Transfer-Encoding` in one block.
///
/// It does not know where bodies are: lines in a body can only make it say yes too often, and all that follows
/// from a yes is that the connection ends after an answer. Nor may it count too few of them: a head that is longer than
/// was thought would be refused.
#[derive(Debug, Default)]
pub struct LineScanner {
    /// The beginning of the line under way, in lower case.
    start: [u8; LONGEST],
    length: usize,
    coding_seen: bool,
    /// Lines of the block under way.
    lines: usize,
}

/// What has been seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Such a length.
    pub framed_twice: bool,
    /// The most lines that there were in one block.
    pub lines: usize,
}

const LONGEST: usize = 18;
const CODING: &[u8] = b"transfer-encoding:";
const LENGTH: &[u8] = b"content-length:";

impl LineScanner {
    /// Looks at what has come.
    pub fn scan(&mut self, mut bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        while let Some(first) = bytes.first() {
            let end = memchr(b'\n', bytes);
            if self.length == 0
                && !matches!(first, b't' | b'T' | b'c' | b'C' | b'\r' | b'\n')
                && let Some(end) = end
            {
                // No line that matters begins like this.
                bytes = &bytes[end + 1..];
                self.lines += 1;
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
            seen.lines = seen.lines.max(self.lines + 1);
            seen.framed_twice |= self.end_line();
            bytes = &bytes[end + 1..];
        }
        seen.lines = seen.lines.max(self.lines);
        seen
    }

    fn end_line(&mut self) -> bool {
        let line = &self.start[..self.length];
        let mut found = false;
        self.lines += 1;
        if line.is_empty() || line == b"\r" {
            (self.coding_seen, self.lines) = (false, 0);
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
        let mut scanner = LineScanner::default();
        pieces.iter().fold(false, |found, piece| scanner.scan(piece).framed_twice | found)
    }

    #[test]
    fn the_lines_of_a_block_are_counted_however_it_is_cut() {
        let blocks = b"\r\nGET / HTTP/1.1\r\nTe: x\nHost: a\r\n\r\nPOST / HTTP/1.1\nCost: 0\n\n";
        for cut in 0..blocks.len() {
            let mut scanner = LineScanner::default();
            let [first, second] = [&blocks[..cut], &blocks[cut..]].map(|piece| scanner.scan(piece).lines);
            // The line that ends a block is one of it.
            assert_eq!(first.max(second), 4, "{cut}");
            assert_eq!(scanner.scan(b"a\nb").lines, 1, "{cut}");
        }
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
}
