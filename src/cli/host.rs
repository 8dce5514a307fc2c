//! `portcullis host`.

use serde_json::{Map, Value};

use super::admin::{Admin, encode};
use super::args::{HostCommand, PutHost};
use super::failure::Failure;
use super::json::text;
use super::output::Output;
use super::table::Table;

/// Does what was asked for.
pub(super) async fn run(command: HostCommand, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    match command {
        HostCommand::List => output.list(admin.all("/hosts").await?, table),
        HostCommand::Get { name } => output.json(&admin.get(&path(&name)).await?.body),
        HostCommand::Put(put) => {
            let reply = admin.put(&path(&put.name), &body(&put), None).await?.body;
            if output.is_json() {
                return output.json(&reply);
            }
            output.line(&format!("{}: {}", put.name, dialect(&reply)))
        }
        HostCommand::Delete { name } => {
            admin.delete(&path(&name)).await?;
            output.note(&format!("deleted host {name}"))
        }
    }
}

fn body(put: &PutHost) -> Value {
    let mut body = Map::new();
    if let Some(dialect) = &put.dialect {
        body.insert("dialect".to_owned(), dialect.clone().into());
    }
    if let Some(public_url) = &put.public_url {
        body.insert("public_url".to_owned(), public_url.clone().into());
    }
    if let Some(builtin) = put.builtin {
        body.insert("builtin".to_owned(), builtin.into());
    }
    body.into()
}

/// The default is not shown by the gateway.
fn dialect(host: &Value) -> String {
    host.get("dialect").and_then(Value::as_str).unwrap_or("http").to_owned()
}

fn table(hosts: &[Value]) -> Table {
    let mut table = Table::new(["host", "dialect", "public URL", "built-in endpoints", "owner"]);
    for host in hosts {
        let [name, public_url, builtin, owner] =
            ["name", "public_url", "builtin", "owner"].map(|field| text(host, field));
        let builtin = if builtin.is_empty() { "by builtin_hosts".to_owned() } else { builtin };
        table.row([name, dialect(host), public_url, builtin, owner]);
    }
    table
}

fn path(name: &str) -> String {
    format!("/hosts/{}", encode(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_given_is_not_sent() {
        let bare = PutHost { name: "a".into(), dialect: None, public_url: None, builtin: None };
        assert_eq!(body(&bare), json!({}));
        let put =
            PutHost { dialect: Some("fo".into()), public_url: Some("https://a".into()), builtin: Some(false), ..bare };
        assert_eq!(body(&put), json!({"dialect": "fo", "public_url": "https://a", "builtin": false}));
    }
}
