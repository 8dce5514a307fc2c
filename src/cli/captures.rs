//! `portcullis captures`: whole exchanges of routes that are being debugged.

use serde_json::Value;

use super::admin::{Admin, conditions_of, encode};
use super::args::{CapturesCommand, ListCaptures};
use super::failure::Failure;
use super::json::text;
use super::output::{Output, printable};
use super::table::Table;

/// How many exchanges are listed where nothing else is said.
const USUAL: u64 = 100;

/// Does what was asked for.
pub(super) async fn run(command: CapturesCommand, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    match command {
        CapturesCommand::List(wanted) => list(&wanted, admin, output).await,
        CapturesCommand::Show { id } => {
            let capture = admin.get(&format!("/captures/{}", encode(&id))).await?.body;
            if output.is_json() { output.json(&capture) } else { show(&capture, output) }
        }
        CapturesCommand::Clear => {
            let reply = admin.delete("/captures").await?.body;
            if output.is_json() {
                return output.json(&reply);
            }
            output.note(&format!("{} captured exchanges are gone", text(&reply, "cleared")))
        }
    }
}

/// Lists the newest exchanges, the newest first.
async fn list(wanted: &ListCaptures, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let limit = wanted.limit.unwrap_or(USUAL);
    let conditions = [("service", &wanted.service), ("route", &wanted.route)];
    let filter = conditions_of(conditions);
    let found = admin.newest("/captures", &filter, limit).await?;
    output.list(found, |items| {
        let mut table = Table::new(["time", "id", "status", "method", "path", "route"]);
        for item in items {
            table.row(["time", "request_id", "status", "method", "path", "route"].map(|field| text(item, field)));
        }
        table
    })
}

/// An exchange as it looked, one message under the other.
fn show(capture: &Value, output: &mut Output) -> Result<(), Failure> {
    let line = |field: &str| printable(&text(capture, field));
    let query = match line("query") {
        query if query.is_empty() => query,
        query => format!("?{query}"),
    };
    output.line(&format!("# {} {} from {}", line("time"), line("request_id"), line("client_ip")))?;
    output.line(&format!("{} {}{query}", line("method"), line("path")))?;
    message(&capture["request"], output)?;
    output.line("")?;
    let status = capture["status"].as_u64().map_or("no answer: the caller left".to_owned(), |it| it.to_string());
    output.line(&status)?;
    message(&capture["response"], output)
}

fn message(message: &Value, output: &mut Output) -> Result<(), Failure> {
    for field in message["headers"].as_array().into_iter().flatten() {
        let part = |at: usize| printable(field[at].as_str().unwrap_or_default());
        output.line(&format!("{}: {}", part(0), part(1)))?;
    }
    if message["headers_truncated"] == true {
        output.line("# further fields were not captured")?;
    }
    let body = &message["body"];
    if body.is_null() {
        return Ok(());
    }
    output.line("")?;
    for form in ["text", "base64"] {
        for line in body[form].as_str().unwrap_or_default().lines() {
            output.line(&printable(line))?;
        }
    }
    for (is_so, words) in [
        (body["truncated"] == true, format!("the first bytes of {}", text(body, "bytes"))),
        (body["complete"] == false, "the body did not come to its end, or nobody read it".to_owned()),
        (body["note"].is_string(), text(body, "note")),
    ] {
        if is_so {
            output.line(&format!("# {}", printable(&words)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::admin::tests::server;
    use crate::cli::output::tests::output;

    #[tokio::test]
    async fn an_exchange_is_shown_as_it_looked_and_cannot_steer_the_terminal() {
        let capture = json!({
            "time": "T", "request_id": "a/b", "client_ip": "192.0.2.1", "method": "POST", "path": "/a", "query": "x=1",
            "status": 401,
            "request": {
                "headers": [["host", "gate"], ["x-a", "\u{1b}[2J"]], "headers_truncated": true,
                "body": {"bytes": 7, "complete": false, "truncated": true, "text": "a\n\u{1b}b", "base64": null,
                    "note": null},
            },
            "response": {"headers": null, "headers_truncated": false, "body": null},
        });
        let (admin, seen) = server(move |_| (200, capture.to_string())).await;
        let (mut output, shown, _) = output(false);
        run(CapturesCommand::Show { id: "a/b".into() }, &admin, &mut output).await.expect("shown");
        assert_eq!(
            shown.text(),
            "# T a/b from 192.0.2.1\nPOST /a?x=1\nhost: gate\nx-a: \\u{1b}[2J\n# further fields were not captured\n\n\
             a\n\\u{1b}b\n# the first bytes of 7\n# the body did not come to its end, or nobody read it\n\n401\n"
        );
        assert!(seen.lock().expect("not poisoned")[0].starts_with("GET /base/api/v1/captures/a%2Fb "));
    }

    #[tokio::test]
    async fn a_list_is_fetched_in_pieces() {
        let (admin, _) = server(|asked| match asked.split_once("/captures?").map(|(_, query)| query) {
            Some("limit=1000&route=a") => (200, json!({"items": vec![json!({}); 1_000], "next": "7"}).to_string()),
            Some("limit=1&route=a&cursor=7") => (200, json!({"items": [{"status": 200}], "next": "6"}).to_string()),
            _ => (500, String::new()),
        })
        .await;
        let (mut output, shown, _) = output(false);
        let wanted = ListCaptures { service: None, route: Some("a".into()), limit: Some(1_001) };
        run(CapturesCommand::List(wanted), &admin, &mut output).await.expect("listed");
        assert_eq!(shown.text().lines().count(), 1_002);
    }
}
