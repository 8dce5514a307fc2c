//! The canonical form of a request's host and path, and the decision form made of it.
//!
//! A path has two forms, because what backends read alike must be decided alike, and what is forwarded must stay what
//! the caller asked for:
//!
//! - **forwarded** ([`Path::forwarded`]): escapes of unreserved characters are decoded, other escapes get upper-case
//!   digits, bytes that may not stand in a path are escaped, dot segments are resolved (RFC 3986 section 6.2.2) and runs
//!   of slashes become one. Escapes of other characters stay as the caller wrote them.
//! - **decision** ([`DecisionPath`]): the same with every escape of a `pchar` decoded, so that `/%40me` is `/@me`. Routes,
//!   conditions, rules and limits take this type, and only this room makes one.
//!
//! What two parties could read in two ways is refused, or marked for routes that take it ([`Path::has_parameters`],
//! [`Path::has_encoded_slash`]).

mod decision;
mod host;
mod path;
mod pattern;

pub use decision::{DecisionPath, FoldedPath};
pub use host::Host;
pub use path::Path;
pub use pattern::read_pattern;

/// What a byte is in a path and in a host, as bits.
static KINDS: [u8; 256] = kinds();
/// It does not stand for itself in a path, or is looked at twice there.
const FOREIGN: u8 = 1;
/// Behind a slash or a dot it may mean something else: a dot may begin a dot segment or an empty label, and a slash is
/// one too many.
const DOUBTFUL: u8 = 2;
/// It is a slash. Shifted by one, it is the bit of what is doubtful behind it.
const SLASH: u8 = 4;
/// It stands in nearly all names of hosts.
const NAMING: u8 = 8;

const fn kinds() -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b'/' => DOUBTFUL | SLASH,
            b'.' => DOUBTFUL | NAMING,
            b'a'..=b'z' | b'0'..=b'9' | b'-' => NAMING,
            // It stands for itself, and makes a path ambiguous.
            b';' => FOREIGN,
            byte if stands_for_itself(byte) => 0,
            _ => FOREIGN,
        };
        byte += 1;
    }
    kinds
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` of RFC 3986, and `/`, without escapes.
const fn stands_for_itself(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' | b'/'
        )
}

fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}
