//! `portcullis audit`: who changed what, when and from where, and whether that is what was written.

use serde_json::{Value, json};

use super::admin::{Admin, conditions_of};
use super::args::AuditCommand;
use super::failure::Failure;
use super::json::text;
use super::output::{Colour, Output, printable};

/// How many entries are shown where nothing else is said.
const USUAL: u64 = 100;

/// Prints the newest entries that are asked for, oldest first.
pub(super) async fn list(command: &AuditCommand, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let limit = command.limit.unwrap_or(USUAL);
    let conditions = [("kind", &command.kind), ("key", &command.key)];
    let filter = conditions_of(conditions);
    let found = admin.newest("/audit", &filter, limit).await?;
    for entry in found.iter().rev() {
        let line = if output.is_json() { entry.to_string() } else { line(entry, output) };
        output.line(&line)?;
    }
    Ok(())
}

/// Asks a running gateway to look at every entry.
pub(super) async fn verify(admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    judge(&admin.get("/audit/verify").await?.body, output)
}

/// Says what was found; a trail that is not what was written is a failure.
pub(super) fn judge(verdict: &Value, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        output.json(verdict)?;
    }
    if verdict.get("intact") == Some(&json!(true)) {
        if output.is_json() {
            return Ok(());
        }
        let (entries, head) = (text(verdict, "entries"), text(verdict, "head"));
        return output.line(&format!("intact: {entries} entries, the last has the hash {head}"));
    }
    let (place, reason) = (text(verdict, "first_broken"), printable(&text(verdict, "reason")));
    let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
    Err(Failure::failed(format!("the audit trail is broken, it is not what was written from entry {place} on{reason}")))
}

/// An entry in one line: number, time, actor, address, action, kind, key, revision.
fn line(entry: &Value, output: &Output) -> String {
    let shown = |field: &str| match text(entry, field) {
        text if text.is_empty() => "-".to_owned(),
        text => printable(&text),
    };
    let action = shown("action");
    let colour = match action.as_str() {
        "created" => Colour::Green,
        "deleted" => Colour::Red,
        _ => Colour::Yellow,
    };
    format!(
        "{:>6}  {}  {}  {}  {}  {} {}  r{}",
        shown("seq"),
        output.paint(Colour::Grey, &shown("time")),
        shown("actor"),
        shown("address"),
        output.paint(colour, &action),
        shown("kind"),
        shown("key"),
        shown("revision"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::admin::tests::server;
    use crate::cli::output::tests::output;

    fn entry(seq: u64) -> Value {
        json!({
            "seq": seq, "time": "2026-01-31T12:00:00.123Z", "actor": "admin token", "address": "127.0.0.1",
            "action": "changed", "kind": "service", "key": "orders/v1\u{1b}[2J", "revision": 2,
            "before": {}, "after": {}, "previous": "00", "hash": "01"
        })
    }

    #[tokio::test]
    async fn entries_are_told_oldest_first_in_one_line_each() {
        let (admin, seen) = server(|asked| match asked.split_once("/audit?").map(|(_, query)| query) {
            Some("limit=1000&kind=service&key=a%2Fb") => {
                (200, json!({"items": vec![entry(9); 1_000], "next": "9"}).to_string())
            }
            Some("limit=1&kind=service&key=a%2Fb&cursor=9") => {
                (200, json!({"items": [entry(7)], "next": "7"}).to_string())
            }
            _ => (500, String::new()),
        })
        .await;
        let (mut output, shown, _) = output(false);
        let wanted =
            AuditCommand { limit: Some(1_001), kind: Some("service".into()), key: Some("a/b".into()), command: None };
        list(&wanted, &admin, &mut output).await.expect("told");
        let shown = shown.text();
        assert_eq!(
            shown.lines().next(),
            Some("     7  2026-01-31T12:00:00.123Z  admin token  127.0.0.1  changed  service orders/v1\\u{1b}[2J  r2")
        );
        assert_eq!((shown.lines().count(), seen.lock().expect("not poisoned").len()), (1_001, 2));
    }

    #[tokio::test]
    async fn a_broken_trail_is_a_failure() {
        for (verdict, outcome) in [
            (json!({"entries": 3, "intact": true, "head": "ab"}), Ok("intact: 3 entries, the last has the hash ab\n")),
            (json!({"entries": 3, "intact": false, "first_broken": 2, "head": "ab"}), Err("from entry 2 on")),
            (
                json!({"intact": false, "first_broken": 4, "reason": "user 'e\u{1b}ve' is in the registry"}),
                Err("from entry 4 on: user 'e\\u{1b}ve' is in the registry"),
            ),
            (json!({}), Err("not what was written")),
        ] {
            let (admin, _) = server(move |_| (200, verdict.to_string())).await;
            let (mut output, shown, _) = output(false);
            match (verify(&admin, &mut output).await, outcome) {
                (Ok(()), Ok(words)) => assert_eq!(shown.text(), words),
                (Err(failure), Err(words)) => assert!(failure.to_string().contains(words), "{failure}"),
                (found, _) => panic!("{found:?}"),
            }
        }
    }
}
