//! `portcullis route`.

use std::path::Path;

use serde_json::Value;

use super::admin::{Admin, encode};
use super::args::RouteCommand;
use super::declarations::read_file;
use super::failure::Failure;
use super::json::{require, targets, text};
use super::output::Output;
use super::table::Table;

/// Does what was asked for.
pub(super) async fn run(command: RouteCommand, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    match command {
        RouteCommand::List => list(admin, output).await,
        RouteCommand::Get { name } => output.json(&admin.get(&path(&name)).await?.body),
        RouteCommand::Put { name, file } => {
            let reply = admin.put(&path(&name), &read(&file)?, None).await?.body;
            if output.is_json() {
                return output.json(&reply);
            }
            output.line(&format!("{name}: {} -> {}", request(&reply), destination(&reply)))?;
            match text(&reply, "shadows") {
                services if services.is_empty() => Ok(()),
                services => output.note(&format!("it goes before registered services: {services}")),
            }
        }
        RouteCommand::Delete { name } => {
            admin.delete(&path(&name)).await?;
            output.note(&format!("deleted route {name}"))
        }
    }
}

/// Every route: the default ones of services, then the declared ones.
async fn list(admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let mut routes = admin.all("/services").await?;
    routes.retain(|service| service.get("path").is_some_and(|path| !path.is_null()));
    routes.extend(admin.all("/routes").await?);
    output.list(routes, |routes| {
        let mut table = Table::new(["route", "request", "leads to", "require", "owner"]);
        for route in routes {
            let owner = text(route, "owner");
            if route.get("match").is_some() {
                table.row([text(route, "name"), request(route), destination(route), require(route), owner]);
            } else {
                let path = text(route, "path");
                table.row([path.clone(), format!("{path}/*"), targets(route), require(route), owner]);
            }
        }
        table
    })
}

/// What a request must match, in short.
fn request(route: &Value) -> String {
    let matches = &route["match"];
    let mut parts = Vec::new();
    parts.extend(Some(text(matches, "methods")).filter(|methods| !methods.is_empty()));
    let hosts = text(matches, "hosts");
    let path = matches.get("path").and_then(Value::as_object).and_then(|path| path.iter().next());
    let path = path.map_or_else(String::new, |(kind, path)| {
        let below = if kind == "prefix" { "/*" } else { "" };
        format!("{}{below}", path.as_str().unwrap_or("").trim_end_matches('/'))
    });
    parts.push(if hosts.is_empty() { path } else { format!("{{{hosts}}}{path}") });
    for (kind, sign) in [("headers", ": "), ("query", "=")] {
        let conditions = matches.get(kind).and_then(Value::as_object).into_iter().flatten();
        parts.extend(conditions.map(|(name, value)| format!("{name}{sign}{}", value.as_str().unwrap_or(""))));
    }
    parts.extend(matches.get("client").and_then(Value::as_str).map(|client| format!("for {client}")));
    parts.join(" ")
}

/// Where a declared route leads, in short.
fn destination(route: &Value) -> String {
    if route.get("enabled") == Some(&Value::Bool(false)) {
        return "switched off".to_owned();
    }
    if let Some(redirect) = route.get("redirect") {
        return format!("{} {}", text(redirect, "status"), text(redirect, "to"));
    }
    if route.get("builtin") == Some(&Value::Bool(true)) {
        return "the gateway itself".to_owned();
    }
    match route.get("answer") {
        Some(answer) => format!("answer {}", text(answer, "status")),
        None => text(route, "service"),
    }
}

fn read(file: &Path) -> Result<Value, Failure> {
    let text = read_file(file)?;
    serde_json::from_slice(&text).map_err(|error| Failure::Usage(format!("{} is not JSON: {error}", file.display())))
}

fn path(name: &str) -> String {
    format!("/routes/{}", encode(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_route_is_shown_in_short() {
        for (route, request_shown, leads_to) in [
            (json!({"match": {"path": {"prefix": "/api/"}}, "service": "a/v1"}), "/api/*", "a/v1"),
            (
                json!({"match": {"path": {"prefix": "/api"}, "client": "shop"}, "service": "a/v1", "enabled": false}),
                "/api/* for shop",
                "switched off",
            ),
            (
                json!({"match": {"path": {"exact": "/x"}, "hosts": ["a", "b"], "methods": ["GET"]},
                    "redirect": {"to": "/y", "status": 308}}),
                "GET {a, b}/x",
                "308 /y",
            ),
            (
                json!({"match": {"path": {"pattern": "/u/{id}"}, "headers": {"X": "*"}, "query": {"a": "1"}},
                    "answer": {"status": 404}}),
                "/u/{id} X: * a=1",
                "answer 404",
            ),
            (json!({"match": {"path": {"exact": "/-/token"}}, "builtin": true}), "/-/token", "the gateway itself"),
        ] {
            assert_eq!((request(&route).as_str(), destination(&route).as_str()), (request_shown, leads_to));
        }
    }
}
