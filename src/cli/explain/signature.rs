//! What was verified of a signature, in lines.

use serde_json::Value;

use super::super::json::text;
use super::super::output::{Colour, Output, printable};

/// The report, line by line; `is_compared` where the client's own string was sent along.
pub(super) fn lines(report: &Value, is_compared: bool, output: &Output) -> Vec<String> {
    let shown = |field: &str| printable(&text(report, field));
    let list = |field: &str| report.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let texts = |field: &str| list(field).iter().filter_map(Value::as_str).map(printable).collect::<Vec<_>>();
    let keys = match texts("keys") {
        keys if keys.is_empty() => "no key".to_owned(),
        keys => keys.join(", "),
    };
    let verdict = shown("verdict");
    let colour = if verdict == "matches" { Colour::Green } else { Colour::Red };
    let verdict = output.paint(colour, &verdict.replace('_', " "));
    let mut lines =
        vec![format!("signed   {} by {}, verified with {keys}: {verdict}", shown("scheme"), shown("client"))];
    lines
        .extend(text(report, "string_to_sign").split_inclusive('\n').map(|line| format!("         {}", visible(line))));
    if let Some(body) = report.get("body") {
        let (bytes, sha256) = (printable(&text(body, "bytes")), printable(&text(body, "sha256")));
        let line = format!("         and a body of {bytes} bytes with the SHA-256 {sha256}");
        lines.push(output.paint(Colour::Grey, &line));
    }
    match report.get("difference") {
        Some(difference) => {
            let is_digest = text(report, "verdict") == "body_differs" && text(difference, "part") == "body";
            let line = if is_digest { of_digest(difference) } else { of_strings(difference) };
            lines.push(format!("differs  {}", output.paint(Colour::Red, &line)));
        }
        None if is_compared => lines.push("equal    your string is the gateway's".to_owned()),
        None => {}
    }
    lines.extend(texts("hints").into_iter().map(|hint| format!("hint     {hint}")));
    lines
}

/// A line whose end can be seen.
fn visible(line: &str) -> String {
    let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "␊"));
    let trimmed = text.trim_end_matches(' ');
    format!("{}{}{end}", printable(trimmed), "·".repeat(text.len() - trimmed.len()))
}

fn of_strings(difference: &Value) -> String {
    let side =
        |field: &str| difference.get(field).and_then(Value::as_str).map(|text| format!("\"{}\"", printable(text)));
    let part = printable(&text(difference, "part"));
    let from = match text(difference, "offset") {
        offset if offset.is_empty() => String::new(),
        offset => format!(" from byte {offset} on"),
    };
    match (side("gateway"), side("client")) {
        (Some(gateway), Some(client)) => {
            format!("your string differs in '{part}'{from}: yours is {client}, the gateway's {gateway}")
        }
        (Some(gateway), None) => {
            format!("your string lacks '{part}', or has it in another place: the gateway's is {gateway}")
        }
        (None, Some(client)) => {
            format!("your string has '{part}' there, and the gateway's does not: yours is {client}")
        }
        (None, None) => format!("your string differs in '{part}'"),
    }
}

fn of_digest(difference: &Value) -> String {
    let side = |field: &str| printable(&text(difference, field));
    format!("the digest of the body is {}, and the signed 'Content-Digest' is {}", side("gateway"), side("client"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::tests::output;

    #[test]
    fn a_report_is_shown_in_lines_whose_ends_can_be_seen() {
        let (out, _, _) = output(false);
        let mut report = json!({
            "scheme": "fo", "verdict": "differs", "client": "shop", "keys": ["a", "b"],
            "string_to_sign": "GET\n/a  \nhost: g\u{7}\n", "body": {"bytes": 3, "sha256": "ab"},
            "difference": {"part": "host", "gateway": "g", "client": "h"}, "hints": ["sign what is sent"],
        });
        assert_eq!(
            lines(&report, true, &out),
            [
                "signed   fo by shop, verified with a, b: differs",
                "         GET␊",
                "         /a··␊",
                "         host: g\\u{7}␊",
                "         and a body of 3 bytes with the SHA-256 ab",
                "differs  your string differs in 'host': yours is \"h\", the gateway's \"g\"",
                "hint     sign what is sent",
            ]
        );
        report["difference"] = json!({"part": "body", "gateway": "x", "client": "y", "offset": 7});
        assert!(lines(&report, true, &out)[5].contains("in 'body' from byte 7 on"));
        report["difference"] = json!({"part": "x-fo-nonce", "gateway": "x", "client": null});
        assert!(lines(&report, true, &out)[5].contains("lacks 'x-fo-nonce'"));
        report["difference"] = json!({"part": "x-fo-more", "gateway": null, "client": "x"});
        assert!(lines(&report, true, &out)[5].contains("has 'x-fo-more' there"));
        report["verdict"] = json!("body_differs");
        report["difference"] = json!({"part": "body", "gateway": "sha-256=:a:", "client": "sha-256=:b:"});
        assert!(lines(&report, false, &out)[5].contains("the digest of the body is sha-256=:a:"));
        report.as_object_mut().expect("an object").remove("difference");
        assert!(lines(&report, true, &out)[5].starts_with("equal"));
        assert!(lines(&report, false, &out)[5].starts_with("hint"));
    }
}
