//! `portcullis client secret`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use portcullis_core::secret::Secret;
use serde_json::{Map, Value};

use super::admin::{Admin, encode};
use super::args::{SecretCommand, SecretTerms};
use super::client;
use super::enrolment::span;
use super::failure::Failure;
use super::json::text;
use super::output::Output;
use super::stdin::secret_line;
use super::table::Table;

/// No file with a secret is longer. The gateway takes less.
const LIMIT: u64 = 4_096;

/// Does what was asked for.
pub(super) async fn run(command: SecretCommand, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    match command {
        SecretCommand::Make { name, terms } => {
            let reply = admin.post(&path(&name), &body(None, &terms)?).await?.body;
            output.secret(&reply, "secret", "This secret is shown once; keep it.")
        }
        SecretCommand::Import { name, file, terms } => {
            let secret = match &file {
                Some(file) => of_file("--file", file)?,
                None => secret_line("secret")?,
            };
            let reply = admin.post(&path(&name), &body(Some(&secret), &terms)?).await?.body;
            if output.is_json() {
                return output.json(&without_secret(reply));
            }
            output.line(&format!("imported secret {} of client {name}", text(&reply, "id")))
        }
        SecretCommand::List { name } => output.list(admin.all(&path(&name)).await?, table),
        SecretCommand::Retire { name, id, after: None } => {
            admin.delete(&one(&name, &id)).await?;
            output.note(&format!("retired secret {id} of client {name}"))
        }
        SecretCommand::Retire { name, id, after: Some(after) } => {
            let body = Map::from_iter([("ttl".to_owned(), span("--after", &after)?.into())]);
            let reply = admin.put(&one(&name, &id), &body.into(), None).await?.body;
            if output.is_json() {
                return output.json(&reply);
            }
            output.line(&format!("secret {id} of client {name} is accepted until {}", text(&reply, "not_after")))
        }
    }
}

/// The secret in a file: all of it but the end of its last line.
pub(super) fn of_file(flag: &str, file: &Path) -> Result<Secret, Failure> {
    let failed = |reason: &dyn std::fmt::Display| Failure::Usage(format!("{flag} {}: {reason}", file.display()));
    let mut content = String::new();
    let opened = File::open(file).map_err(|error| failed(&error))?;
    opened.take(LIMIT + 1).read_to_string(&mut content).map_err(|error| failed(&error))?;
    let content = Secret::from(content);
    if content.expose().len() as u64 > LIMIT {
        return Err(failed(&format!("expected a secret, found more than {LIMIT} bytes")));
    }
    let text = content.expose();
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(Secret::from(text.strip_suffix('\r').unwrap_or(text)))
}

fn body(secret: Option<&Secret>, terms: &SecretTerms) -> Result<Value, Failure> {
    let mut body = Map::new();
    if let Some(secret) = secret {
        body.insert("secret".to_owned(), secret.expose().into());
    }
    if !terms.uses.is_empty() {
        body.insert("uses".to_owned(), terms.uses.clone().into());
    }
    if let Some(ttl) = &terms.ttl {
        body.insert("ttl".to_owned(), span("--ttl", ttl)?.into());
    }
    Ok(body.into())
}

/// What was imported is known, and needs to be on no screen.
fn without_secret(mut reply: Value) -> Value {
    if let Some(members) = reply.as_object_mut() {
        members.remove("secret");
    }
    reply
}

fn table(secrets: &[Value]) -> Table {
    let mut table = Table::new(["id", "uses", "created", "not after", "last used"]);
    for secret in secrets {
        table.row(["id", "uses", "created_at", "not_after", "last_used"].map(|field| text(secret, field)));
    }
    table
}

fn path(client: &str) -> String {
    format!("{}/secrets", client::path(client))
}

fn one(client: &str, id: &str) -> String {
    format!("{}/{}", path(client), encode(id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_given_is_not_sent() {
        let terms = |uses: &[&str], ttl: Option<&str>| SecretTerms {
            uses: uses.iter().map(|one| (*one).to_owned()).collect(),
            ttl: ttl.map(str::to_owned),
        };
        assert_eq!(body(None, &terms(&[], None)).expect("good"), json!({}));
        assert_eq!(
            body(Some(&Secret::from("x")), &terms(&["sign", "seal"], Some("24h"))).expect("good"),
            json!({"secret": "x", "uses": ["sign", "seal"], "ttl": 86_400})
        );
        assert!(matches!(body(None, &terms(&[], Some("soon"))), Err(Failure::Usage(_))));
    }

    #[test]
    fn a_file_is_taken_whole_but_for_its_last_line_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("secret");
        for (content, want) in [
            ("x", Some("x")),
            (" x y \n", Some(" x y ")),
            ("x\r\n", Some("x")),
            ("x\ny\n", Some("x\ny")),
            (&"x".repeat(4_097), None),
        ] {
            std::fs::write(&file, content).expect("written");
            assert_eq!(of_file("--file", &file).ok().as_ref().map(Secret::expose), want, "{content:?}");
        }
        assert!(matches!(of_file("--file", &directory.path().join("none")), Err(Failure::Usage(_))));
    }
}
