//! `portcullis enrolment`.

use serde_json::{Map, Value};

use super::admin::{Admin, encode};
use super::args::EnrolmentCommand;
use super::failure::Failure;
use super::json::text;
use super::output::Output;
use super::table::Table;
use crate::config::duration;

/// Does what was asked for.
pub(super) async fn run(command: EnrolmentCommand, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    match command {
        EnrolmentCommand::Create { name, pattern, max_uses, ttl } => {
            let reply = admin.post("/enrolment-tokens", &body(&name, pattern, max_uses, ttl.as_deref())?).await?.body;
            output.secret(&reply, "token", "This enrolment token is shown once; keep it.")
        }
        EnrolmentCommand::List => output.list(admin.all("/enrolment-tokens").await?, table),
        EnrolmentCommand::Delete { name } => {
            admin.delete(&format!("/enrolment-tokens/{}", encode(&name))).await?;
            output.note(&format!("deleted enrolment token {name}"))
        }
    }
}

fn body(name: &str, pattern: Option<String>, max_uses: Option<u64>, ttl: Option<&str>) -> Result<Value, Failure> {
    let mut body = Map::new();
    body.insert("name".to_owned(), name.into());
    if let Some(pattern) = pattern {
        body.insert("pattern".to_owned(), pattern.into());
    }
    if let Some(max_uses) = max_uses {
        body.insert("max_uses".to_owned(), max_uses.into());
    }
    if let Some(text) = ttl {
        body.insert("ttl".to_owned(), span("--ttl", text)?.into());
    }
    Ok(body.into())
}

/// The seconds of a span that an option says.
pub(super) fn span(option: &str, text: &str) -> Result<u64, Failure> {
    let span = duration(text).filter(|span| span.as_secs() > 0);
    let span =
        span.ok_or_else(|| Failure::Usage(format!("expected {option} like 3600, 90s, 24h or 7d, found '{text}'")))?;
    Ok(span.as_secs())
}

fn table(enrolments: &[Value]) -> Table {
    let mut table = Table::new(["name", "pattern", "uses", "max uses", "expires"]);
    for enrolment in enrolments {
        table.row(["name", "pattern", "uses", "max_uses", "expires_at"].map(|field| text(enrolment, field)));
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_given_is_not_sent() {
        assert_eq!(body("ci", None, None, None).expect("good"), json!({"name": "ci"}));
        assert_eq!(
            body("ci", Some("team-*".into()), Some(3), Some("24h")).expect("good"),
            json!({"name": "ci", "pattern": "team-*", "max_uses": 3, "ttl": 86_400})
        );
        for bad in ["", "soon", "0", "10ms"] {
            assert!(matches!(body("ci", None, None, Some(bad)), Err(Failure::Usage(_))), "{bad}");
        }
    }
}
