//! Random public handles: the ids of keys and the access keys of clients. They are names, not secrets.

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A handle of so many random digits of base 62.
pub(crate) fn handle(length: usize) -> String {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let bytes: [u8; 32] = random();
        // 248 is the largest multiple of 62 a byte can hold; what is above it would favour some digits.
        let digits = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        text.extend(digits.take(length - text.len()));
    }
    text
}

/// So many random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the generator aborts the process rather than return an error");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_has_its_length_and_is_not_repeated() {
        for length in [1, 20, 64] {
            let (one, other) = (handle(length), handle(length));
            assert!(one.len() == length && one.bytes().all(|digit| digit.is_ascii_alphanumeric()));
            assert!(length == 1 || one != other);
        }
    }
}
