//! What a command writes: results to stdout, notes and errors to stderr, so that a pipe gets the result alone.
//!
//! Texts come from the network (a path in the log, a user's name); what would steer the terminal is made visible.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use super::failure::Failure;
use super::table::Table;
use crate::process::Diagnostics;

/// A colour of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Success.
    Green,
    /// The caller's mistake.
    Yellow,
    /// A fault.
    Red,
    /// Less important.
    Grey,
}

/// Both streams, and how to write on them.
pub(crate) struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    colour: bool,
    json: bool,
}

impl Output {
    /// The process's own streams; colours only on a terminal, and not with `NO_COLOR`.
    pub(crate) fn standard(json: bool, diagnostics: Diagnostics) -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { out: Box::new(io::stdout()), err: Box::new(diagnostics), colour, json }
    }

    /// Streams of one's own, without colours.
    #[cfg(test)]
    pub(crate) fn to(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, json: bool) -> Self {
        Self { out, err, colour: false, json }
    }

    /// Whether results are written as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// A line of the result.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        // In one piece, so that nobody reads half a line.
        self.out.write_all(format!("{text}\n").as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// A line beside the result, and the last thing many commands do. That it cannot be written is no failure: what was
    /// done is done, and what is shown on stdout must not depend on it.
    pub(crate) fn note(&mut self, text: &str) -> Result<(), Failure> {
        let _ = self.err.write_all(format!("{text}\n").as_bytes());
        Ok(())
    }

    /// A result as JSON, in lines.
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(&format!("{value:#}"))
    }

    /// A list: as JSON what the API said, else as a table.
    pub(crate) fn list(&mut self, items: Vec<Value>, table: impl FnOnce(&[Value]) -> Table) -> Result<(), Failure> {
        if self.json {
            return self.json(&Value::Array(items));
        }
        if items.is_empty() {
            return self.note("none");
        }
        for line in table(&items).lines() {
            self.line(&line)?;
        }
        Ok(())
    }

    /// A secret that is shown this once: alone on stdout, with the note beside it.
    pub(crate) fn secret(&mut self, reply: &Value, field: &str, note: &str) -> Result<(), Failure> {
        if self.json {
            return self.json(reply);
        }
        let secret = reply.get(field).and_then(Value::as_str);
        let secret = secret.ok_or_else(|| Failure::failed(format!("the gateway's answer has no '{field}'")))?;
        self.note(note)?;
        self.line(secret)
    }

    /// Paints a text, if there is a terminal to see it.
    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Red => 31,
            Colour::Grey => 90,
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Tells why the command ended early: one line, and one for each problem. That stderr is gone changes nothing.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        if matches!(failure, Failure::Closed | Failure::Differs | Failure::Found) {
            return;
        }
        let detail = failure.to_string();
        let mut text = format!("error: {}\n", printable(&detail));
        // The gateway's words may be those of its only problem already.
        for problem in failure.problems().iter().filter(|problem| !detail.contains(&problem.message)) {
            let _ = writeln!(text, "  {}", printable(&problem.to_string()));
        }
        let _ = self.err.write_all(text.as_bytes());
    }
}

/// The text with its control characters made visible, so that it cannot steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() { shown.extend(character.escape_default()) } else { shown.push(character) }
    }
    shown
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use portcullis_core::model::Problem;
    use serde_json::json;

    use super::*;

    /// A stream that can be looked into.
    #[derive(Clone, Default)]
    pub(crate) struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("UTF-8")
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(crate) fn output(json: bool) -> (Output, Shared, Shared) {
        let (out, err) = (Shared::default(), Shared::default());
        (Output::to(Box::new(out.clone()), Box::new(err.clone()), json), out, err)
    }

    #[test]
    fn a_secret_is_alone_on_stdout() {
        let (mut output, out, err) = output(false);
        output.secret(&json!({"api_key": "pck_x", "id": "1"}), "api_key", "shown once").expect("written");
        assert_eq!((out.text().as_str(), err.text().as_str()), ("pck_x\n", "shown once\n"));
    }

    #[test]
    fn a_failure_names_its_problems() {
        let (mut output, out, err) = output(false);
        let problems = vec![Problem::new("services.a/v1", "bad\u{1b}[31m"), Problem::new("x", "worse")];
        output.failure(&Failure::Refused { detail: "refused".into(), problems });
        assert_eq!(err.text(), "error: refused\n  services.a/v1: bad\\u{1b}[31m\n  x: worse\n");
        assert_eq!(out.text(), "");
    }

    /// A stream that cannot be written to.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_secret_that_is_shown_once_is_shown_though_stderr_is_full() {
        let out = Shared::default();
        let mut output = Output::to(Box::new(out.clone()), Box::new(Full), false);
        output.secret(&json!({"api_key": "pck_x"}), "api_key", "shown once").expect("written");
        output.note("made").expect("no failure");
        output.failure(&Failure::failed("no"));
        assert_eq!(out.text(), "pck_x\n");
        let mut output = Output::to(Box::new(Full), Box::new(Full), false);
        assert!(matches!(output.line("a result"), Err(Failure::Failed(_))), "a result that is lost is a failure");
    }

    #[test]
    fn a_reader_who_leaves_ends_the_command_quietly() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let err = Shared::default();
        let mut output = Output::to(Box::new(Gone), Box::new(err.clone()), false);
        let failure = output.line("x").expect_err("gone");
        assert!(matches!(failure, Failure::Closed));
        output.failure(&failure);
        assert_eq!(err.text(), "");
    }
}
