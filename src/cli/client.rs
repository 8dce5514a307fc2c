//! `portcullis client`.

use http::HeaderValue;
use serde_json::{Map, Value, json};

use super::admin::{Admin, encode};
use super::args::{ClientCommand, ClientLogins, CreateClient};
use super::client_secret;
use super::failure::Failure;
use super::json::text;
use super::output::Output;
use super::stdin::secret_line;
use super::table::Table;

/// Does what was asked for.
pub(super) async fn run(command: ClientCommand, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    match command {
        ClientCommand::List => output.list(admin.all("/clients").await?, table),
        ClientCommand::Get { name } => output.json(&admin.get(&path(&name)).await?.body),
        ClientCommand::Create(new) => create(&new, admin, output).await,
        ClientCommand::Update { name, logins } => update(&name, &logins, admin, output).await,
        ClientCommand::Delete { name } => {
            admin.delete(&path(&name)).await?;
            output.note(&format!("deleted client {name}"))
        }
        ClientCommand::Grant { name, services } => grant(&name, services, admin, output).await,
        ClientCommand::ApiKey { name } => {
            let reply = admin.post(&format!("{}/api-keys", path(&name)), &json!({})).await?.body;
            output.secret(&reply, "api_key", "This API key is shown once; keep it.")
        }
        ClientCommand::Secret(command) => client_secret::run(command, admin, output).await,
        ClientCommand::ApiKeys { name } => output.list(admin.all(&format!("{}/api-keys", path(&name))).await?, keys),
    }
}

async fn create(new: &CreateClient, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let mut body = Map::new();
    body.insert("name".to_owned(), new.name.clone().into());
    body.insert("services".to_owned(), json!(new.services));
    if let Some(access_key) = &new.access_key {
        body.insert("access_key".to_owned(), access_key.clone().into());
    }
    if new.secret_key_stdin {
        body.insert("secret_key".to_owned(), secret_line("secret key")?.expose().into());
    }
    body.extend(login_fields(&new.logins));
    let reply = admin.post("/clients", &body.into()).await?.body;
    if output.is_json() {
        return output.json(&reply);
    }
    output.line(&format!("access_key={}", text(&reply, "access_key")))?;
    if new.secret_key_stdin {
        return Ok(());
    }
    output.line(&format!("secret_key={}", text(&reply, "secret_key")))?;
    output.note("The secret key is shown once; keep it. An API key is made with 'portcullis client api-key'.")
}

/// Changes how users log in through a client, unless somebody else has changed it meanwhile.
async fn update(name: &str, logins: &ClientLogins, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let found = admin.get(&path(name)).await?;
    let mut body = login_fields(logins);
    body.insert("services".to_owned(), found.body.get("services").cloned().unwrap_or_else(|| json!([])));
    let reply = admin.put(&path(name), &body.into(), found.etag).await?.body;
    output.json(&reply)
}

/// The fields that were given, as the admin API takes them: null for an empty text.
fn login_fields(logins: &ClientLogins) -> Map<String, Value> {
    let texts = [
        ("login_auth_url", &logins.login_auth_url),
        ("sms_login_auth_url", &logins.sms_login_auth_url),
        ("change_password_url", &logins.change_password_url),
        ("sms_change_password_url", &logins.sms_change_password_url),
        ("access_token_ttl", &logins.access_token_ttl),
        ("refresh_token_ttl", &logins.refresh_token_ttl),
    ];
    let given = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)));
    let value = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    let mut fields: Map<_, _> = given.map(|(name, text)| (name.to_owned(), value(text))).collect();
    fields.extend(logins.single_login.map(|is_single| ("single_login".to_owned(), is_single.into())));
    fields
}

/// Adds to what a client may call, unless somebody else has changed it meanwhile.
async fn grant(name: &str, services: Vec<String>, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let found = admin.get(&path(name)).await?;
    let body = with_grants(&found.body, services);
    let etag: Option<HeaderValue> = found.etag;
    let reply = admin.put(&path(name), &body, etag).await?.body;
    if output.is_json() {
        return output.json(&reply);
    }
    output.line(&format!("{name} may call {}", text(&body, "services")))
}

/// The client as the admin API takes it, with further services.
fn with_grants(client: &Value, services: Vec<String>) -> Value {
    let mut granted = client.get("services").and_then(Value::as_array).cloned().unwrap_or_default();
    for service in services {
        if !granted.contains(&service.clone().into()) {
            granted.push(service.into());
        }
    }
    json!({"services": granted})
}

fn table(clients: &[Value]) -> Table {
    let mut table = Table::new(["client", "enabled", "services", "access key"]);
    for client in clients {
        table.row(["name", "enabled", "services", "access_key"].map(|field| text(client, field)));
    }
    table
}

fn keys(keys: &[Value]) -> Table {
    let mut table = Table::new(["id", "created"]);
    for key in keys {
        table.row(["id", "created_at"].map(|field| text(key, field)));
    }
    table
}

/// Where the admin API has a client.
pub(super) fn path(name: &str) -> String {
    format!("/clients/{}", encode(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_adds_and_repeats_nothing() {
        let client = json!({"name": "shop", "services": ["orders/v1"], "enabled": true});
        let body = with_grants(&client, vec!["orders/v1".into(), "inventory".into(), "inventory".into()]);
        assert_eq!(body, json!({"services": ["orders/v1", "inventory"]}));
    }
}
