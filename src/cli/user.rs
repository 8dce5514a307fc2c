//! `portcullis user`.

use portcullis_core::secret::Secret;
use serde_json::{Map, Value, json};

use super::admin::{Admin, encode};
use super::args::UserCommand;
use super::failure::Failure;
use super::json::text;
use super::output::Output;
use super::stdin::secret_line;
use super::table::Table;
use crate::config::ENV_PASSWORD;

/// Does what was asked for.
pub(super) async fn run(command: UserCommand, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    match command {
        UserCommand::List => output.list(admin.all("/users").await?, table),
        UserCommand::Get { name } => output.json(&admin.get(&path(&name)).await?.body),
        UserCommand::Create { name, password_stdin, user_info } => {
            let user_info = user_info.as_deref().map(read_user_info).transpose()?;
            let password = if password_stdin { secret_line("password")? } else { password_of_env()? };
            let reply = admin.post("/users", &body(&name, &password, user_info)).await?.body;
            if output.is_json() {
                return output.json(&reply);
            }
            output.note(&format!("made user {name}"))
        }
        UserCommand::Disable { name } => {
            admin.put(&path(&name), &json!({"enabled": false}), None).await?;
            output.note(&format!("disabled user {name} and ended their sessions"))
        }
        UserCommand::Enable { name } => {
            admin.put(&path(&name), &json!({"enabled": true}), None).await?;
            output.note(&format!("enabled user {name}"))
        }
        UserCommand::Sessions { name } => {
            output.list(admin.all(&format!("{}/sessions", path(&name))).await?, session_table)
        }
        UserCommand::EndSessions { name, session: None } => {
            admin.delete(&format!("{}/sessions", path(&name))).await?;
            output.note(&format!("ended the sessions of user {name}"))
        }
        UserCommand::EndSessions { name, session: Some(id) } => {
            admin.delete(&format!("{}/sessions/{}", path(&name), encode(&id))).await?;
            output.note(&format!("ended session {id} of user {name}"))
        }
        UserCommand::Delete { name } => {
            admin.delete(&path(&name)).await?;
            output.note(&format!("deleted user {name}"))
        }
    }
}

fn body(name: &str, password: &Secret, user_info: Option<Value>) -> Value {
    let mut body = Map::new();
    body.insert("username".to_owned(), name.into());
    body.insert("password".to_owned(), password.expose().into());
    if let Some(user_info) = user_info {
        body.insert("user_info".to_owned(), user_info);
    }
    body.into()
}

fn read_user_info(text: &str) -> Result<Value, Failure> {
    let bad = |reason: String| Failure::Usage(format!("expected --user-info as a JSON object: {reason}"));
    let value: Value = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
    if value.is_object() { Ok(value) } else { Err(bad("found something else".to_owned())) }
}

fn password_of_env() -> Result<Secret, Failure> {
    match std::env::var(ENV_PASSWORD) {
        Ok(password) if !password.is_empty() => Ok(Secret::from(password)),
        _ => Err(Failure::Usage(format!("the password is missing: give --password-stdin, or set {ENV_PASSWORD}"))),
    }
}

fn table(users: &[Value]) -> Table {
    let mut table = Table::new(["user", "enabled", "created", "user info"]);
    for user in users {
        table.row(["username", "enabled", "created_at", "user_info"].map(|field| text(user, field)));
    }
    table
}

fn session_table(sessions: &[Value]) -> Table {
    let mut table = Table::new(["session", "client", "opened", "refreshed", "expires"]);
    for session in sessions {
        table.row(["id", "client", "created_at", "refreshed_at", "expires_at"].map(|field| text(session, field)));
    }
    table
}

fn path(name: &str) -> String {
    format!("/users/{}", encode(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_info_is_an_object() {
        assert!(read_user_info("{\"name\":\"Ada\"}").is_ok());
        for bad in ["", "1", "[]", "{", "null"] {
            assert!(matches!(read_user_info(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }
}
