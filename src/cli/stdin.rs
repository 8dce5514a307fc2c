//! Secrets that come in on stdin, so that they stand in no process list and no shell history.

use std::io::{BufRead, BufReader};

use portcullis_core::secret::Secret;

use super::failure::Failure;

/// No secret line is longer.
const LIMIT: u64 = 4_096;

/// The first line of stdin.
pub(super) fn secret_line(what: &str) -> Result<Secret, Failure> {
    first_line(std::io::stdin().lock(), what)
}

fn first_line(stdin: impl BufRead, what: &str) -> Result<Secret, Failure> {
    let mut line = String::new();
    BufReader::new(stdin.take(LIMIT + 1)).read_line(&mut line)?;
    if line.len() as u64 > LIMIT {
        return Err(Failure::Usage(format!("the {what} on stdin is longer than {LIMIT} bytes")));
    }
    let text = line.strip_suffix('\n').unwrap_or(&line);
    match text.strip_suffix('\r').unwrap_or(text) {
        "" => Err(Failure::Usage(format!("expected the {what} on stdin, found nothing"))),
        text => Ok(Secret::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_first_line_without_its_end() {
        for (stdin, want) in
            [("a b \nmore", Some("a b ")), ("x\r\n", Some("x")), ("x", Some("x")), ("", None), ("\n", None)]
        {
            let found = first_line(stdin.as_bytes(), "password").ok();
            assert_eq!(found.as_ref().map(Secret::expose), want, "{stdin:?}");
        }
        let long = "x".repeat(LIMIT as usize + 1);
        assert!(first_line(long.as_bytes(), "password").is_err());
    }
}
