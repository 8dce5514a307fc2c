//! What is wrong with what callers were given: grants that are too wide, enrolment tokens without an end.

use portcullis_identity::DEFAULT_CLIENT;
use serde_json::Value;

use super::finding::{Location, Subject};
use super::services::plain_host;
use super::sites::objects;

/// The fields of a client that lead to its Auth API.
const AUTH_APIS: [&str; 4] = ["login_auth_url", "sms_login_auth_url", "change_password_url", "sms_change_password_url"];

/// The places of grants for everything, of living clients.
fn wide(subject: &Subject<'_>, is_meant: impl Fn(&str) -> bool) -> Vec<Location> {
    let clients = subject.declared.into_iter().flat_map(|declared| objects(declared, "clients"));
    let living = clients.filter(|(name, client)| is_meant(name) && client.get("enabled") != Some(&Value::Bool(false)));
    living
        .flat_map(|(name, client)| {
            let grants = client.get("services").and_then(Value::as_array).into_iter().flatten().enumerate();
            let wide = grants.filter(|(_, grant)| grant.as_str() == Some("*"));
            wide.map(move |(at, _)| Location::new(format!("clients.{name}.services[{at}]"), "'*'"))
        })
        .collect()
}

pub(super) fn wildcard_grant(subject: &Subject<'_>) -> Vec<Location> {
    wide(subject, |name| name != DEFAULT_CLIENT)
}

pub(super) fn wide_default_client(subject: &Subject<'_>) -> Vec<Location> {
    wide(subject, |name| name == DEFAULT_CLIENT)
}

/// Auth APIs that are asked in clear, with what users have said.
pub(super) fn plain_auth_api(subject: &Subject<'_>) -> Vec<Location> {
    let clients = subject.declared.into_iter().flat_map(|declared| objects(declared, "clients"));
    clients
        .flat_map(|(name, client)| {
            AUTH_APIS.into_iter().filter_map(move |field| {
                let host = plain_host(client.get(field)?.as_str()?)?;
                Some(Location::new(format!("clients.{name}.{field}"), format!("http to {host}")))
            })
        })
        .collect()
}

pub(super) fn endless_enrolment(subject: &Subject<'_>) -> Vec<Location> {
    let is_absent = |token: &Value, field: &str| token.get(field).is_none_or(Value::is_null);
    let endless = |token: &&Value| is_absent(token, "expires_at") && is_absent(token, "max_uses");
    let name = |token: &Value| token.get("name").and_then(Value::as_str).unwrap_or("?").to_owned();
    let pattern = |token: &Value| token.get("pattern").and_then(Value::as_str).unwrap_or("*").to_owned();
    let tokens = subject.enrolments.into_iter().flatten().filter(endless);
    let place = |token: &Value| {
        Location::new(format!("enrolments.{}", name(token)), format!("good for '{}' for ever", pattern(token)))
    };
    tokens.map(place).collect()
}
