//! `portcullis explain`: what would become of a call, for people.

mod signature;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::admin::Admin;
use super::args::Explain;
use super::declarations::read_file;
use super::failure::Failure;
use super::json::text;
use super::output::{Colour, Output, printable};

/// Routes not taken that are shown.
const SHOWN: usize = 10;

/// Asks, and shows the answer.
pub(super) async fn run(asked: &Explain, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let fields = asked.headers.iter().map(|line| {
        let parts = line.split_once(':').map(|(name, value)| json!([name.trim(), value.trim()]));
        parts.ok_or_else(|| Failure::Usage("-H: expected 'NAME: VALUE'".to_owned()))
    });
    let files = [&asked.body_file, &asked.string_to_sign_file];
    if files.iter().all(|file| file.as_deref() == Some(Path::new("-"))) {
        return Err(Failure::Usage("--body-file and --string-to-sign-file: only one of them can be stdin".to_owned()));
    }
    let read = |file: &Option<PathBuf>| file.as_deref().map(|file| read_file(file).map(|bytes| STANDARD.encode(bytes)));
    let [body, string_to_sign] = files.map(|file| read(file).transpose());
    let question = json!({
        "method": asked.method,
        "url": asked.url,
        "headers": fields.collect::<Result<Vec<_>, _>>()?,
        "client": asked.client,
        "user": asked.user,
        "from": asked.from,
        "body": body?,
        "string_to_sign": string_to_sign?,
    });
    let explanation = admin.post("/explain", &question).await?.body;
    if output.is_json() {
        return output.json(&explanation);
    }
    for line in lines(&asked.method, &explanation, asked.string_to_sign_file.is_some(), output) {
        output.line(&line)?;
    }
    Ok(())
}

/// The explanation in lines; `is_compared` where the client's own string was sent along.
fn lines(method: &str, explanation: &Value, is_compared: bool, output: &Output) -> Vec<String> {
    let shown = |object: &Value, field: &str| printable(&text(object, field));
    let of = |field: &str| explanation.get(field).unwrap_or(&Value::Null);
    let list = |field: &str| of(field).as_array().map(Vec::as_slice).unwrap_or_default();
    let request = of("request");
    let url = format!("{}://{}{}", shown(request, "scheme"), shown(request, "host"), shown(request, "path"));
    let preflight = match shown(request, "preflight_for") {
        announced if announced.is_empty() => String::new(),
        announced => format!(", a preflight for {announced}"),
    };
    let mut lines =
        vec![format!("request  {} {url} from {}{preflight}", printable(method), shown(request, "client_ip"))];
    lines.push(match of("route") {
        Value::Null => "route    none".to_owned(),
        route => {
            let of = |word: &str, field: &str| match shown(route, field) {
                text if text.is_empty() => text,
                text => format!(" {word} {text}"),
            };
            format!("route    {}{}{}", shown(route, "name"), of("to", "service"), of("for the client", "client"))
        }
    });
    let others = list("others");
    for other in others.iter().take(SHOWN) {
        let line = format!("         not {}: {}", shown(other, "name"), shown(other, "why_not"));
        lines.push(output.paint(Colour::Grey, &line));
    }
    let left = of("others_left_out").as_u64().unwrap_or_default() + others.len().saturating_sub(SHOWN) as u64;
    if left > 0 {
        lines.push(output.paint(Colour::Grey, &format!("         nor {left} more")));
    }
    for (position, step) in list("steps").iter().enumerate() {
        let verdict = text(step, "verdict");
        let colour = match verdict.as_str() {
            "refused" => Colour::Red,
            "not_reached" => Colour::Grey,
            _ => Colour::Green,
        };
        let because: String = ["code", "reason"].map(|field| shown(step, field)).join(" ");
        let verdict = printable(&verdict.replace('_', " "));
        let line = format!("{verdict} {because}");
        let name = shown(step, "policy");
        let title = if position == 0 { "policies" } else { "" };
        lines.push(format!("{title:<8} {name:<15} {}", output.paint(colour, line.trim_end())));
    }
    if let Some(report) = explanation.get("signature") {
        lines.extend(signature::lines(report, is_compared, output));
    }
    lines.push(end(of("outcome"), output));
    lines
}

/// How the call ends, in one line.
fn end(outcome: &Value, output: &Output) -> String {
    let shown = |field: &str| printable(&text(outcome, field));
    let kind = shown("kind");
    let (colour, line) = match kind.as_str() {
        "refused" => {
            let again = match shown("retry_after") {
                seconds if seconds.is_empty() => String::new(),
                seconds => format!("; again after {seconds} s"),
            };
            (Colour::Red, format!("{} {}: {}{again}", shown("status"), shown("code"), shown("detail")))
        }
        "forwarded" => (Colour::Green, format!("to {} with 'Host: {}'", shown("url"), shown("host"))),
        "answered" => match shown("location") {
            location if location.is_empty() => (Colour::Green, shown("status")),
            location => (Colour::Green, format!("{} to {location}", shown("status"))),
        },
        _ => (Colour::Green, "by the gateway, which looks at the body".to_owned()),
    };
    format!("{kind:<8} {}", output.paint(colour, &line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::output;

    #[test]
    fn an_explanation_is_shown_in_lines() {
        let (out, _, _) = output(false);
        let explanation = json!({
            "request": {"scheme": "http", "host": "gate", "path": "/a/v1", "client_ip": "10.0.0.1"},
            "route": {"name": "/a/v1", "service": "a/v1", "client": "shop"},
            "others": [{"name": "b\n", "why_not": "it is for the host 'x'"}],
            "others_left_out": 2,
            "steps": [
                {"policy": "cors", "verdict": "passed"},
                {"policy": "require", "verdict": "refused", "code": "invalid_credential", "reason": "an unknown key"},
                {"policy": "acl", "verdict": "not_reached"},
            ],
            "outcome": {"kind": "refused", "status": 401, "code": "invalid_credential", "detail": "no", "retry_after": 3},
        });
        assert_eq!(
            lines("GET", &explanation, false, &out),
            [
                "request  GET http://gate/a/v1 from 10.0.0.1",
                "route    /a/v1 to a/v1 for the client shop",
                "         not b\\n: it is for the host 'x'",
                "         nor 2 more",
                "policies cors            passed",
                "         require         refused invalid_credential an unknown key",
                "         acl             not reached",
                "refused  401 invalid_credential: no; again after 3 s",
            ]
        );
        let forwarded = json!({"kind": "forwarded", "url": "http://10.0.0.7/x", "host": "10.0.0.7"});
        assert_eq!(end(&forwarded, &out), "forwarded to http://10.0.0.7/x with 'Host: 10.0.0.7'");
        assert_eq!(end(&json!({"kind": "answered", "status": 308, "location": "/b"}), &out), "answered 308 to /b");
        assert_eq!(end(&json!({"kind": "handled"}), &out), "handled  by the gateway, which looks at the body");
    }
}
