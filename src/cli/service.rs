//! `portcullis service`.

use serde_json::{Map, Value, json};

use super::admin::{Admin, encode};
use super::args::{PutService, RegistrationCommand, ServiceCommand};
use super::failure::Failure;
use super::json::{require, targets, text};
use super::output::Output;
use super::table::Table;

/// Does what was asked for.
pub(super) async fn run(command: ServiceCommand, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    match command {
        ServiceCommand::List => output.list(admin.all("/services").await?, table),
        ServiceCommand::Get { service } => output.json(&admin.get(&path(&service)?).await?.body),
        ServiceCommand::Put(put) => {
            let reply = admin.put(&path(&put.service)?, &body(&put)?, None).await?.body;
            if output.is_json() {
                return output.json(&reply);
            }
            let path = Some(text(&reply, "path")).filter(|path| !path.is_empty());
            let path = path.unwrap_or_else(|| format!("{} by its routes alone", put.service));
            output.line(&format!("{path} -> {}", targets(&reply)))
        }
        ServiceCommand::Delete { service } => {
            admin.delete(&path(&service)?).await?;
            output.note(&format!("deleted service {service}"))
        }
        ServiceCommand::ApiKey { name } => {
            let reply = admin.post(&format!("/services/{}/api-keys", encode(&name)), &json!({})).await?.body;
            output.secret(&reply, "api_key", "This API key is shown once; keep it.")
        }
        ServiceCommand::Registration(command) => registration(command, admin, output).await,
    }
}

async fn registration(command: RegistrationCommand, admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    let path = |name: &str| format!("/services/{}/registration", encode(name));
    match command {
        RegistrationCommand::Get { name } => output.json(&admin.get(&path(&name)).await?.body),
        RegistrationCommand::Revoke { name } => {
            admin.delete(&path(&name)).await?;
            output.note(&format!("revoked the registration of {name}; the service goes on until it is deleted"))
        }
        RegistrationCommand::Rotate { name } => {
            let reply = admin.post(&format!("{}/rotate", path(&name)), &json!({})).await?.body;
            output.secret(&reply, "registration_key", "This registration key is shown once; keep it.")
        }
    }
}

fn table(services: &[Value]) -> Table {
    let mut table = Table::new(["service", "require", "targets", "owner"]);
    for service in services {
        table.row([id(service), require(service), targets(service), text(service, "owner")]);
    }
    table
}

fn id(service: &Value) -> String {
    format!("{}/{}", text(service, "name"), text(service, "version"))
}

fn path(service: &str) -> Result<String, Failure> {
    match service.split_once('/') {
        Some((name, version)) if !name.is_empty() && !version.is_empty() => {
            Ok(format!("/services/{}/{}", encode(name), encode(version)))
        }
        _ => Err(Failure::Usage(format!("expected a service as NAME/VERSION like 'orders/v1', found '{service}'"))),
    }
}

/// The service as the admin API takes it.
fn body(put: &PutService) -> Result<Value, Failure> {
    let targets: Vec<_> = put.targets.iter().map(|url| json!({"url": url})).collect();
    let mut body = Map::new();
    body.insert("targets".to_owned(), targets.into());
    if put.open {
        body.insert("require".to_owned(), json!([]));
    } else if !put.require.is_empty() {
        let alternatives: Vec<Vec<&str>> = put.require.iter().map(|kinds| kinds.split('+').collect()).collect();
        body.insert("require".to_owned(), json!(alternatives));
    }
    if !put.audiences.is_empty() {
        body.insert("audiences".to_owned(), json!(put.audiences));
    }
    if let Some(protocol) = &put.protocol {
        body.insert("protocol".to_owned(), json!(protocol));
    }
    if let Some(default_route) = put.default_route {
        body.insert("default_route".to_owned(), json!(default_route));
    }
    for (field, flag, texts) in [("policies", POLICY, &put.policies), ("traffic", TRAFFIC, &put.traffic)] {
        if !texts.is_empty() {
            let settings: Map<_, _> = texts.iter().map(|text| by_kind(flag, text)).collect::<Result<_, _>>()?;
            body.insert(field.to_owned(), settings.into());
        }
    }
    Ok(body.into())
}

const POLICY: &str = "--policy as KIND=JSON like 'rate_limit={\"rate\": 10}'";
const TRAFFIC: &str = "--traffic as KIND=JSON like 'timeouts={\"idle\": \"5m\"}'";

/// Settings and the kind they are of.
fn by_kind(flag: &str, text: &str) -> Result<(String, Value), Failure> {
    let expected = |reason: String| Failure::Usage(format!("expected {flag}, found '{text}'{reason}"));
    let (kind, json) = text.split_once('=').ok_or_else(|| expected(String::new()))?;
    let settings: Value = serde_json::from_str(json).map_err(|error| expected(format!(": {error}")))?;
    match settings.is_object() && !kind.is_empty() {
        true => Ok((kind.to_owned(), settings)),
        false => Err(expected(String::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(require: &[&str], open: bool, policies: &[&str]) -> Result<Value, Failure> {
        body(&PutService {
            service: "orders/v1".into(),
            targets: vec!["http://a".into(), "http://b".into()],
            require: require.iter().map(|text| (*text).to_owned()).collect(),
            open,
            policies: policies.iter().map(|text| (*text).to_owned()).collect(),
            traffic: vec!["timeouts={\"idle\":\"5m\"}".into()],
            audiences: Vec::new(),
            protocol: None,
            default_route: None,
        })
    }

    #[test]
    fn a_service_is_written_as_the_admin_api_takes_it() {
        let targets = json!([{"url": "http://a"}, {"url": "http://b"}]);
        let traffic = json!({"timeouts": {"idle": "5m"}});
        assert_eq!(put(&[], false, &[]).expect("good"), json!({"targets": targets, "traffic": traffic}));
        assert_eq!(put(&[], true, &[]).expect("good"), json!({"targets": targets, "require": [], "traffic": traffic}));
        assert_eq!(
            put(&["bearer+api_key", "signature"], false, &["cors={\"origins\":[\"*\"]}"]).expect("good"),
            json!({
                "targets": targets,
                "require": [["bearer", "api_key"], ["signature"]],
                "policies": {"cors": {"origins": ["*"]}},
                "traffic": traffic,
            })
        );
    }

    #[test]
    fn a_policy_is_a_kind_and_an_object() {
        for bad in ["cors", "cors=", "cors=1", "={}", "cors={"] {
            assert!(matches!(put(&[], false, &[bad]), Err(Failure::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn a_service_has_a_name_and_a_version() {
        assert_eq!(path("orders/v1").expect("good"), "/services/orders/v1");
        assert_eq!(path("a b/v/1").expect("good"), "/services/a%20b/v%2F1");
        for bad in ["orders", "orders/", "/v1", ""] {
            assert!(matches!(path(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }
}
